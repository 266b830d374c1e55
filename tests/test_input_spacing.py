"""Slices that are not evenly spaced; see docs/inputs.md."""

import nibabel
import numpy as np
import pandas as pd
import pydicom
import pytest
import SimpleITK
from PIL import Image
from scan_files import HU, LPS, write_nifti, write_series

from ssinfnet.data.sources.files import UnreadableFile
from ssinfnet.scans import Place, read_scan
from ssinfnet.scans.burden import measure_phenotypes, missing_phenotypes
from ssinfnet.scans.predicted_files import predict_into
from ssinfnet.study.config import TextureConfig

pytestmark = pytest.mark.usefixtures("inputs_stay")


def write_uneven(folder, heights, tilt=0.0):
    """Write slices whose intensities are linear in height, at these heights in mm."""
    rows = np.arange(6 * 5).reshape(6, 5)
    hu = np.stack([-900 + 8 * height + rows for height in heights])
    for height, path in zip(heights, write_series(folder, hu), strict=True):
        data = pydicom.dcmread(path)
        data.ImagePositionPatient = [-9, -4 - tilt * height, height]
        data.save_as(path)
    return folder


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        ([0, 2.5, 5, 7.5, 15, 22.5], np.arange(0, 23, 2.5)),  # fine, then coarse
        ([0, 5, 10, 20, 25, 30], np.arange(0, 31, 5)),  # one missing
        ([0, 2, 4, 6, 7, 9, 11], np.arange(0, 11, 2)),  # the last lies between two steps
    ],
)
def test_uneven_slices_are_refused_and_interpolated_where_it_is_asked_for(
    tmp_path, heights, expected
):
    folder = write_uneven(tmp_path / "s", heights)
    with pytest.raises(UnreadableFile, match="misses a slice .*--resample"):
        read_scan(Place("a", folder))
    scan = read_scan(Place("a", folder), resample=True)
    assert scan.resampled
    assert scan.spacing_mm[0] == pytest.approx(expected[1])
    np.testing.assert_allclose(scan.slices[:, 0, 0], -900 + 8 * expected, atol=0.6)
    assert "mm apart: it was resampled to" in scan.doubts[0]
    even = write_uneven(tmp_path / "even", expected)
    assert not read_scan(Place("a", even), resample=True).resampled


def test_a_wide_gap_or_a_bend_is_refused_all_the_same(tmp_path):
    folder = write_uneven(tmp_path / "s", [0, 2, 4, 6, 100, 102])
    for resample in (True, False):  # what does not help is not recommended
        with pytest.raises(UnreadableFile) as refused:
            read_scan(Place("a", folder), resample=resample)
        assert "94.00 mm apart, others 2.00 mm; at most 3 times" in str(refused.value)
        assert "Add the slices that are missing" in str(refused.value)
    for path in write_uneven(tmp_path / "b", [0, 2, 4, 6, 8]).glob("*.dcm"):
        data = pydicom.dcmread(path)
        data.ImagePositionPatient = [
            -9 + data.ImagePositionPatient[2] ** 2 / 8,
            -4,
            data.ImagePositionPatient[2],
        ]
        data.save_as(path)
    for resample in (True, False):
        with pytest.raises(
            UnreadableFile, match=r"do not follow one straight line, such as \d.dcm"
        ):
            read_scan(Place("a", tmp_path / "b"), resample=resample)


def test_maps_of_uneven_slices_lie_on_the_grid_of_their_ct(tmp_path, predictor):
    folder = write_uneven(tmp_path / "s", [0, 2.5, 5, 7.5, 15, 22.5])
    done = predict_into(tmp_path / "out", [folder], predictor, resample=True)
    (row,) = done.rows
    assert (row["slices"], row["spacing_slice_mm"]) == (10, 2.5)
    assert "resampled to 2.5 mm" in row["reason"]
    assert "no DICOM-SEG: it was resampled" in row["reason"]
    ct = SimpleITK.ReadImage(tmp_path / "out" / "s_ct.nii.gz")
    lesion = SimpleITK.ReadImage(tmp_path / "out" / "s_lesion.nii.gz")
    assert ct.GetSize() == lesion.GetSize() == (5, 6, 10)
    np.testing.assert_allclose(ct.GetOrigin(), (-9, -4, 0), atol=1e-5)


TILT = np.deg2rad(30)  # of a gantry, whose slices are 5 mm apart along their normal
TILTED = LPS + np.array([[0.0] * 4, [0, 0, 5 * np.tan(TILT), 0], [0, 0, 2.5, 0], [0.0] * 4])
UPRIGHT = LPS + np.diag([0, 0, 2.5, 0])
SHAPE = TextureConfig(dimensions=3, families=("shape",))


def measured(path, texture, *, resample=False):
    """Return a scan of tissue around a block of it, what is measured of the block, and why not."""
    scan = read_scan(Place("a", path), resample=resample)
    block = scan.slices > 200
    found = measure_phenotypes(scan, {"lesion": block}, texture)
    return (
        scan,
        block,
        {name: value for name, value in found.items() if name != "scan"},
        (missing_phenotypes(scan, texture)),
    )


@pytest.fixture
def block_hu(rng):
    """Tissue with a brighter block, 4 slices of 10 x 8 pixels."""
    hu = rng.integers(-900, 100, (8, 30, 24))
    hu[2:6, 9:19, 8:16] = rng.integers(250, 390, (4, 10, 8))
    return hu


def test_slices_of_a_tilted_gantry_are_apart_along_their_normal(tmp_path):
    scan = read_scan(Place("a", write_nifti(tmp_path / "a.nii", affine=TILTED)))
    assert scan.spacing_mm == pytest.approx((5, 0.8, 0.7))
    assert np.prod(scan.spacing_mm) / 1000 == pytest.approx(scan.voxel_ml)
    assert np.linalg.norm(TILTED[:3, 2]) == pytest.approx(5.7735, abs=1e-4)  # along the table


def test_phenotypes_in_mm_of_a_tilted_gantry_are_missing_until_it_is_resampled(tmp_path, block_hu):
    tilted = write_nifti(tmp_path / "t.nii", block_hu, TILTED)
    upright = write_nifti(tmp_path / "u.nii", block_hu, UPRIGHT)
    scan, block, found, why = measured(tilted, SHAPE)
    *_, plain, nothing = measured(upright, SHAPE)
    in_mm = {name for name in plain if "_shape_" in name or name.endswith("_totalenergy")}
    assert {name for name in found if np.isnan(found[name])} == in_mm
    assert not np.isnan(list(plain.values())).any()
    kept = sorted(found.keys() - in_mm)
    assert [found[name] for name in kept] == [plain[name] for name in kept]
    assert "total energy, shape" in why
    assert "right angles; --resample" in why
    assert nothing == ""
    _, again, mended, reason = measured(tilted, SHAPE, resample=True)
    assert reason == ""
    assert mended["lesion_shape_voxelvolume"] == pytest.approx(again.sum() * 5 * 0.8 * 0.7)
    true_mm3 = np.count_nonzero(block) * 1000 * scan.voxel_ml
    assert mended["lesion_shape_voxelvolume"] == pytest.approx(true_mm3, rel=0.1)


@pytest.mark.parametrize(
    ("settings", "lost", "words"),
    [
        ({"pixel_mm": 2}, ("",), "all, which are of resampled pixels"),
        ({"log_mm": (2,)}, ("_log2mm_", "_totalenergy"), "total energy, Laplacians of Gaussians"),
    ],
)
def test_what_is_resampled_or_filtered_in_mm_is_missing_of_a_tilted_gantry(
    tmp_path, block_hu, settings, lost, words
):
    path = write_nifti(tmp_path / "t.nii", block_hu, TILTED)
    *_, found, why = measured(path, TextureConfig(dimensions=3, **settings))
    missing = {name for name in found if np.isnan(found[name])}
    assert missing == {name for name in found if any(part in name for part in lost)}
    assert words in why


def test_slices_of_a_tilted_gantry_have_their_pixels(tmp_path, block_hu):
    texture = TextureConfig(families=("shape",))
    *_, tilted, why = measured(write_nifti(tmp_path / "t.nii", block_hu, TILTED), texture)
    *_, upright, _ = measured(write_nifti(tmp_path / "u.nii", block_hu, UPRIGHT), texture)
    assert tilted == upright
    assert why == ""
    skewed = UPRIGHT + np.array([[0, 0.2, 0, 0], *np.zeros((3, 4))])  # rows run aslant
    *_, found, why = measured(write_nifti(tmp_path / "s.nii", block_hu, skewed), texture)
    assert np.isnan(found["lesion_shape_pixelsurface"])
    assert "its rows and columns are not at right angles" in why


def test_the_row_says_which_phenotypes_of_a_tilted_gantry_are_missing(tmp_path, predictor):
    path = write_nifti(tmp_path / "a.nii", affine=TILTED)
    (row,) = predict_into(tmp_path / "o", [path], predictor, phenotypes=True, texture=SHAPE).rows
    assert "phenotypes in mm (total energy, shape): its axes are not at right" in row["reason"]
    assert row["spacing_slice_mm"] == pytest.approx(5)


def test_a_slice_without_thickness_has_the_size_of_its_pixels(tmp_path, block_hu):
    whole = write_nifti(tmp_path / "whole.nii", block_hu[3:4])
    flat = nibabel.load(whole)
    nibabel.save(nibabel.Nifti1Image(np.asarray(flat.dataobj)[..., 0], LPS), tmp_path / "a.nii")
    texture = TextureConfig(families=("shape",))
    scan, block, found, why = measured(tmp_path / "a.nii", texture)
    assert scan.known_mm == pytest.approx((np.nan, 0.8, 0.7), nan_ok=True)
    assert scan.voxel_ml is None
    assert why == ""
    assert found["lesion_shape_pixelsurface"] == pytest.approx(block.sum() * 0.8 * 0.7)
    assert found == measured(whole, texture)[2]
    *_, volume, why = measured(tmp_path / "a.nii", SHAPE)
    assert np.isnan(volume["lesion_shape_voxelvolume"])
    assert np.isnan(volume["lesion_firstorder_totalenergy"])
    assert "the thickness is unknown" in why


def test_the_row_of_a_slice_without_thickness_has_the_size_of_its_pixels(tmp_path, predictor):
    nibabel.save(nibabel.Nifti1Image(HU[0].T.astype(np.int16), LPS), tmp_path / "a.nii")
    predict_into(tmp_path / "out", [tmp_path / "a.nii"], predictor)
    row = pd.read_csv(tmp_path / "out" / "predictions.csv").iloc[0]
    assert row.filter(like="spacing_").tolist() == pytest.approx([np.nan, 0.8, 0.7], nan_ok=True)


def test_phenotypes_in_mm_are_missing_where_no_spacing_is_known(tmp_path, block_hu):
    path = write_nifti(tmp_path / "a.nii", block_hu)
    with path.open("r+b") as stream:
        header = nibabel.Nifti1Header.from_fileobj(stream)
        header["pixdim"][2], header["sform_code"], header["qform_code"] = 0, 0, 1
        stream.seek(0)
        stream.write(header.binaryblock)
    grey = np.clip((block_hu[3] + 1000) / 5.5, 0, 255).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "a.png")
    for name, reason in (("a.nii", "the spacing is unknown"), ("a.png", "pictures have no")):
        *_, found, why = measured(tmp_path / name, TextureConfig(families=("shape",)))
        assert np.isnan(found["lesion_shape_perimeter"])
        assert np.isnan(found["lesion_firstorder_totalenergy"])
        assert not np.isnan(found["lesion_firstorder_energy"])
        assert why.startswith(f"phenotypes in mm (total energy, shape): {reason}")
