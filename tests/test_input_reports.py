"""Public reports to other programs, re-created with made-up content; docs/inputs.md names each."""

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from scan_files import HU, LPS, write_enhanced, write_nifti, write_series

from ssinfnet.data.sources import dicom_seg
from ssinfnet.data.sources.files import UnreadableFile
from ssinfnet.data.sources.intensities import Declared
from ssinfnet.data.sources.volume_files import read_volume, write_mask
from ssinfnet.scans import Place, find_scans, read_scan

pytestmark = pytest.mark.usefixtures("inputs_stay")


def read(path, **options):
    return read_scan(Place("a", path), **options)


def rewritten(path, **values):
    data = pydicom.dcmread(path)
    for name, value in values.items():
        setattr(data, name, value)
    data.save_as(path)


@pytest.mark.parametrize("numbers", [[4, 3, 2, 1], [1, 1, 1, 1], [7, 7, 2, 9], [None] * 4])
def test_slices_are_ordered_by_place_whatever_their_numbers(tmp_path, numbers):
    for path, number in zip(write_series(tmp_path / "s"), numbers, strict=True):
        rewritten(path, InstanceNumber=number, SliceLocation=str(-(number or 0)))
    np.testing.assert_array_equal(read(tmp_path / "s").slices, HU)


def test_signed_numbers_of_twelve_bits_keep_their_sign(tmp_path):
    hu = HU - 200  # down to -1200, which 12 signed bits hold
    for path, slice_ in zip(write_series(tmp_path / "s"), hu, strict=True):
        stored = (slice_.astype(np.int16) & 0x0FFF).astype("<u2")  # the upper four bits are empty
        rewritten(path, BitsStored=12, HighBit=11, RescaleIntercept=0, PixelData=stored.tobytes())
    np.testing.assert_array_equal(read(tmp_path / "s").slices, hu)


def test_unsigned_numbers_with_a_negative_intercept_become_negative(tmp_path):
    write_series(tmp_path / "s", PixelRepresentation=0)
    assert read(tmp_path / "s").slices.min() == HU.min() < 0
    np.testing.assert_array_equal(read(tmp_path / "s").slices, HU)


def test_the_lowest_number_of_sixteen_bits_does_not_overflow(tmp_path):
    hu = HU.copy()
    hu[:, 0] = -32768
    for path, slice_ in zip(write_series(tmp_path / "s"), hu, strict=True):
        rewritten(path, RescaleIntercept=0, PixelData=slice_.astype("<i2").tobytes())
    scan = read(tmp_path / "s")
    np.testing.assert_array_equal(scan.slices, hu)
    assert scan.grey(0)[0].max() == 0


def test_a_part_of_the_chest_that_is_missing_is_refused(tmp_path):
    hu = np.resize(HU, (37, 6, 5))
    for index, path in enumerate(write_series(tmp_path / "s", hu)):
        height = 1.6 * index + (182.4 - 1.6) * (index > 18)
        rewritten(path, ImagePositionPatient=[-9, -4, round(height, 3)])
    for resample in (False, True):
        with pytest.raises(UnreadableFile, match=r"182\.4.* mm apart, others 1\.60 mm"):
            read(tmp_path / "s", resample=resample)


def test_a_slice_that_is_there_twice_counts_once(tmp_path):
    paths = write_series(tmp_path / "s")
    (tmp_path / "s" / "twice.dcm").write_bytes(paths[0].read_bytes())
    scan = read(tmp_path / "s")
    np.testing.assert_array_equal(scan.slices, HU)
    assert [one.reason for one in scan.left_out] == [f"repeats {paths[0].name}"]
    data = pydicom.dcmread(paths[0])
    rewritten(tmp_path / "s" / "twice.dcm", PixelData=data.PixelData[::-1])
    with pytest.raises(UnreadableFile, match="with other pixels"):
        read(tmp_path / "s")


def test_a_legacy_enhanced_ct_needs_no_dimensions(tmp_path):
    path = write_enhanced(tmp_path / "a.dcm")
    data = pydicom.dcmread(path)
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.2"
    data.save_as(path)
    assert "DimensionIndexSequence" not in data
    np.testing.assert_array_equal(read(path).slices, HU)


@pytest.mark.parametrize("modality", ["DX", "CR", "MR", "PT", "OT"])
def test_a_picture_of_another_modality_is_refused_by_its_name(tmp_path, modality):
    (path,) = write_series(tmp_path / "s", HU[:1], Modality=modality)
    with pytest.raises(UnreadableFile, match=f"has modality {modality}; expected CT"):
        read(path)


def test_numbers_that_begin_at_zero_are_refused_until_they_are_declared(tmp_path):
    chest = np.where(np.hypot(*np.mgrid[-20:20, -24:24]) < 18, 1040, 0) + np.zeros((3, 1, 1))
    chest[:, 14:26, 18:30] = 150
    values = chest + np.random.default_rng(2).integers(0, 30, chest.shape)
    path = write_nifti(tmp_path / "a.nii", values)
    with pytest.raises(UnreadableFile, match="hold no air.*--offset"):
        read(path)
    np.testing.assert_array_equal(read(path, declared=Declared(offset=-1000)).slices, values - 1000)


@pytest.mark.parametrize("shear", [0, 1e-6, 8e-5, 1.1e-4, 1e-3, 1e-2, 0.1])
def test_a_map_opens_in_itk_or_the_row_says_that_it_does_not(tmp_path, shear):
    affine = LPS.copy()
    affine[1, 2] = shear * 2.5
    scan = read(write_nifti(tmp_path / "a.nii", affine=affine))
    mask = write_mask(tmp_path / "m.nii", (scan.slices > 0).astype(np.uint8), scan.volume)
    try:
        SimpleITK.ReadImage(mask)
    except RuntimeError:
        assert any("programs built on ITK do not open" in doubt for doubt in scan.doubts)


def test_a_tilted_series_has_its_dicom_seg(tmp_path):
    for index, path in enumerate(write_series(tmp_path / "s")):
        rewritten(path, ImagePositionPatient=[-9, -4 - 0.9 * index, 30 + 2.5 * index])
    volume = read_volume(tmp_path / "s")
    assert volume.is_sheared
    mask = np.zeros(volume.slices.shape, bool)
    mask[1, 2, 3] = mask[3, 4, 1] = True
    path = dicom_seg.write_segmentation(tmp_path / "m.dcm", {"lesion": mask}, volume, "m", "1")
    stored = pydicom.dcmread(path)
    places = [
        group.PlanePositionSequence[0].ImagePositionPatient
        for group in stored.PerFrameFunctionalGroupsSequence
    ]
    assert sorted(np.round(place, 3).tolist() for place in places) == sorted(
        [[-9, -4 - 0.9 * index, 30 + 2.5 * index] for index in (1, 3)]
    )


def test_slices_of_several_orientations_are_no_volume(tmp_path):
    paths = write_series(tmp_path / "s")
    rewritten(paths[2], ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    with pytest.raises(UnreadableFile, match="they are not slices of one volume"):
        read(tmp_path / "s")


def test_a_single_slice_has_the_thickness_that_it_states(tmp_path):
    (path,) = write_series(tmp_path / "s", HU[:1])
    assert read(path).spacing_mm == (5, 0.8, 0.7)
    (place,), _ = find_scans([tmp_path / "s"])
    assert read_scan(place).voxel_ml == pytest.approx(5 * 0.8 * 0.7 / 1000)


@pytest.mark.parametrize("codes", [(1, 1), (0, 2), (1, 0), (2, 1)])
@pytest.mark.parametrize("turn", [0.0, 0.3])
def test_a_map_lies_where_its_scan_does_for_every_reader(tmp_path, codes, turn):
    """Some readers take qform, others sform; a file may state either or both."""
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    affine = turned @ LPS
    affine[:3, 3] = (11, -7, 40)
    image = nibabel.Nifti1Image(HU.transpose(2, 1, 0).astype(np.int16), affine)
    image.set_qform(affine if codes[0] else None, codes[0])
    image.set_sform(affine if codes[1] else None, codes[1])
    nibabel.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    path = write_mask(tmp_path / "m.nii", (volume.slices > 0).astype(np.uint8), volume)
    np.testing.assert_allclose(nibabel.load(path).affine, affine, atol=1e-5)
    ours, theirs = SimpleITK.ReadImage(path), SimpleITK.ReadImage(tmp_path / "a.nii")
    for fact in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(ours, fact)(), getattr(theirs, fact)(), atol=1e-5)
    np.testing.assert_array_equal(nibabel.load(path).get_fdata(), image.get_fdata() > 0)
