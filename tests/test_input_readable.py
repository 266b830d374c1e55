"""Files that are odd and can be read all the same; see docs/inputs.md."""

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.uid import SecondaryCaptureImageStorage
from scan_files import HU, LPS, write_nifti, write_series

from ssinfnet.data.sources.files import UnreadableFile
from ssinfnet.data.sources.volume_files import read_volume, write_mask
from ssinfnet.scans import find_scans, read_scan

pytestmark = pytest.mark.usefixtures("inputs_stay")

UIDS = {"StudyInstanceUID": "1.2.1", "SeriesInstanceUID": "1.2.1.1"}
CORONAL = [1, 0, 0, 0, 0, -1]


def scan_of(folder):
    """Read the one scan in a folder, and say which files are left out of it."""
    (place,), _ = find_scans([folder])
    scan = read_scan(place)
    return scan, {one.file: one.reason for one in scan.left_out}


@pytest.mark.parametrize("size", [1, 37, 512])
def test_zeros_that_fill_a_slice_up_after_its_pixels_are_passed_over(tmp_path, size):
    for path in write_series(tmp_path / "s"):
        path.write_bytes(path.read_bytes() + b"\0" * size)
    np.testing.assert_array_equal(scan_of(tmp_path / "s")[0].slices, HU)


def test_other_bytes_after_the_pixels_are_refused(tmp_path):
    for path in write_series(tmp_path / "s"):
        path.write_bytes(path.read_bytes() + b"\0" * 20 + b"x" * 17)
    with pytest.raises(UnreadableFile):
        scan_of(tmp_path / "s")


@pytest.mark.parametrize(("off", "read"), [(2e-4, True), (2e-3, False)])
def test_directions_that_differ_by_rounding_are_of_one_volume(tmp_path, off, read):
    """Over the 400 mm of a slice 2e-4 are 0.08 mm, and 2e-3 are a pixel."""
    paths = write_series(tmp_path / "s")
    for number, path in enumerate(paths):
        data = pydicom.dcmread(path)
        turned = off * (number % 2)
        data.ImageOrientationPatient = [1, turned, 0, -turned, 1, 0]
        data.save_as(path)
    if read:
        np.testing.assert_array_equal(scan_of(tmp_path / "s")[0].slices, HU)
        return
    with pytest.raises(UnreadableFile, match="has ImageOrientationPatient .* not slices of one"):
        scan_of(tmp_path / "s")


def test_a_scout_of_another_plane_and_size_is_none_of_the_slices(tmp_path):
    write_series(tmp_path / "s", **UIDS)
    (scout,) = write_series(
        tmp_path / "scout", np.zeros((1, 12, 7)), ImageOrientationPatient=CORONAL, **UIDS
    )
    scout.rename(tmp_path / "s" / "0.dcm")
    scan, left_out = scan_of(tmp_path / "s")
    np.testing.assert_array_equal(scan.slices, HU)
    assert left_out == {"0.dcm": "is a scout: of another plane and size than the slices"}


@pytest.mark.parametrize(
    ("shape", "values"),
    [
        ((1, 12, 7), {}),  # of the slices' plane
        (HU[:1].shape, {"ImageOrientationPatient": CORONAL}),  # of their size
        ((6, 12, 7), {"ImageOrientationPatient": CORONAL}),  # a series of its own
    ],
)
def test_what_is_no_scout_among_slices_refuses_the_series(tmp_path, shape, values):
    write_series(tmp_path / "s", **UIDS)
    for path in write_series(tmp_path / "other", np.zeros(shape), **UIDS, **values):
        path.rename(tmp_path / "s" / f"other{path.name}")
    with pytest.raises(UnreadableFile, match="not slices of one volume"):
        scan_of(tmp_path / "s")


@pytest.mark.parametrize("is_screen", [True, False])
def test_a_picture_of_a_screen_under_the_uid_of_a_series_is_listed(tmp_path, is_screen):
    write_series(tmp_path / "s", **UIDS)
    lacking = dict.fromkeys(("ImageOrientationPatient", "ImagePositionPatient", "RescaleSlope"))
    (path,) = write_series(tmp_path / "sheet", HU[:1], **UIDS, **lacking)
    data = pydicom.dcmread(path)
    if is_screen:
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    data.save_as(tmp_path / "s" / "0.dcm")
    if not is_screen:
        with pytest.raises(UnreadableFile, match="seems to be a broken slice"):
            scan_of(tmp_path / "s")
        return
    scan, left_out = scan_of(tmp_path / "s")
    np.testing.assert_array_equal(scan.slices, HU)
    assert left_out["0.dcm"].startswith("lacks ImageOrientationPatient")


def write_in_unit(path, unit, length_mm, affine=LPS):
    """Write a NIfTI whose lengths are in another unit, and which says so."""
    own = affine.copy()
    own[:3, 3] = (11, -7, 40)
    own[:3] /= length_mm
    image = nibabel.Nifti1Image(HU.transpose(2, 1, 0).astype(np.int16), own)
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


@pytest.mark.parametrize(("unit", "length_mm"), [("micron", 1e-3), ("meter", 1e3), ("mm", 1)])
def test_lengths_of_a_nifti_are_in_the_unit_that_it_names(tmp_path, unit, length_mm):
    """SimpleITK, which reads the units too, is the oracle."""
    path = write_in_unit(tmp_path / "a.nii", unit, length_mm)
    scan, _ = scan_of(path)
    assert scan.spacing_mm == pytest.approx(SimpleITK.ReadImage(path).GetSpacing()[::-1])
    assert scan.voxel_ml == pytest.approx(0.7 * 0.8 * 2.5 / 1000)
    assert scan.doubts == ()
    mask = (scan.slices > 0).astype(np.uint8)
    written = write_mask(tmp_path / "m.nii", mask, scan.volume)
    np.testing.assert_allclose(nibabel.load(written).affine, nibabel.load(path).affine, rtol=1e-6)
    for fact in ("GetSpacing", "GetOrigin"):
        ours, theirs = (getattr(SimpleITK.ReadImage(one), fact)() for one in (written, path))
        assert ours == pytest.approx(theirs, rel=1e-5)
    np.testing.assert_array_equal(read_volume(written).slices, mask)


@pytest.mark.parametrize("unit", ["micron", "meter"])
def test_a_unit_that_makes_no_pixels_of_a_ct_leaves_the_spacing_unknown(tmp_path, unit):
    scan, _ = scan_of(write_in_unit(tmp_path / "a.nii", unit, 1))  # 0.7 micron, or 0.7 m
    assert scan.spacing_mm is None
    assert np.isnan(scan.known_mm).all()


def round_field(values, holes=()):
    """Return slices with NaN outside a circle, and at some places within."""
    grid = np.hypot(*(np.indices(values.shape[1:]).T - (np.array(values.shape[1:]) - 1) / 2).T)
    seen = np.where(grid > values.shape[1] / 2, np.nan, values)
    for place in holes:
        seen[place] = np.nan
    return seen.astype(np.float32)


def test_nan_outside_the_field_of_view_is_air_and_is_said(tmp_path, rng):
    values = rng.integers(-1000, 300, (4, 30, 30))
    scan, _ = scan_of(write_nifti(tmp_path / "a.nii", round_field(values)))
    circle = ~np.isnan(round_field(values))
    np.testing.assert_array_equal(scan.slices, np.where(circle, values, -1024))
    share = f"{1 - circle[0].mean():.0%}"
    assert scan.doubts == (
        f"NaN at the edges of slices, {share} of one at most, was taken for air",
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda seen: seen.__setitem__((2, 15, 15), np.nan),  # within the field of view
        lambda seen: seen.__setitem__(1, np.nan),  # a slice that is lost
        lambda seen: seen.__setitem__((0, slice(None), slice(0, 18)), np.nan),  # more than half
        lambda seen: np.clip(seen / 1300, 0, 1, out=seen),  # no Hounsfield units
    ],
    ids=["a hole", "a slice", "more than half", "normalised"],
)
def test_nan_elsewhere_is_refused(tmp_path, rng, change):
    seen = round_field(rng.integers(-1000, 300, (4, 30, 30)))
    change(seen)
    with pytest.raises(UnreadableFile, match="are NaN or infinite"):
        scan_of(write_nifti(tmp_path / "a.nii", seen))
