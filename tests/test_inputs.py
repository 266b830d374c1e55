"""What real folders hold, re-created from public reports: each kind read right, or refused.

docs/inputs.md lists the kinds.
"""

import gzip
import os
import re
import shutil

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
from conftest import ROOT
from PIL import Image
from scan_files import HU, LPS, write_nifti, write_pictures, write_series

from ssinfnet.data.sources import dicom_seg
from ssinfnet.data.sources.files import UnreadableFile
from ssinfnet.data.sources.volume_files import as_stored, read_volume, write_mask
from ssinfnet.scans import Place, find_scans, read_scan
from ssinfnet.scans.prediction_plan import picture_names

pytestmark = pytest.mark.usefixtures("inputs_stay")


def kinds(folder):
    places, excluded = find_scans([folder])
    return {place.name: place.kind for place in places}, excluded


def read(path):
    return read_scan(Place("a", path))


def changed(path, **values):
    """Rewrite a DICOM file with other values; None removes one."""
    data = pydicom.dcmread(path)
    for name, value in values.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    data.save_as(path)
    return path


def test_the_page_of_inputs_names_every_test_and_no_other():
    page = (ROOT / "docs" / "inputs.md").read_text(encoding="utf-8")
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_input*.py")]
    ours = {name for text in texts for name in re.findall(r"^def (test_\w+)", text, re.M)}
    assert set(re.findall(r"`(test_\w+)`", page)) == {
        name for name in ours if not name.startswith("test_the_page_of_inputs")
    }


# What a folder is (D-100)


def test_a_picture_among_slices_leaves_the_series_a_series(tmp_path):
    write_series(tmp_path / "s")
    Image.new("L", (9, 9)).save(tmp_path / "s" / "0.png")
    assert kinds(tmp_path / "s") == ({"s": "DICOM"}, [])
    scan = read(tmp_path / "s")
    np.testing.assert_array_equal(scan.slices, HU)
    assert [(one.file, one.reason) for one in scan.left_out] == [("0.png", "is no DICOM file")]


def test_a_volume_in_the_folder_of_a_series_is_a_second_scan(tmp_path):
    write_series(tmp_path / "s")
    write_nifti(tmp_path / "s" / "mask.nii.gz")
    assert kinds(tmp_path) == ({"s": "DICOM", "mask": "NIfTI"}, [])


def test_files_beside_the_folders_of_patients_hide_none_and_are_listed(tmp_path):
    write_nifti(tmp_path / "p0.nii.gz")
    write_series(tmp_path / "p1" / "study" / "axial")
    write_pictures(tmp_path / "p2")
    (tmp_path / "README").write_text("read me")
    (tmp_path / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    Image.new("L", (9, 9)).save(tmp_path / "overview.png")
    (tmp_path / "p1" / "old.zip").write_bytes(b"PK\3\4")
    header = b"\0" * 128 + b"DICM\2\0\2\0UI\x14\x00" + b"1.2.840.10008.1.3.10"
    (tmp_path / "DICOMDIR").write_bytes(header)
    found, excluded = kinds(tmp_path)
    assert found == {"p0": "NIfTI", "axial": "DICOM", "p2": "pictures"}
    assert {one.file or one.input: one.reason for one in excluded} == {
        "p1": "holds old.zip, in which scans may lie; unpack first",  # no file beside
        "README": "is no image",
        "Thumbs.db": "is no image",
        "DICOMDIR": "is a DICOM directory, no image",
        "overview.png": "is a picture beside volumes",
        "p1/old.zip": "is an archive; unpack it first",
    }


def test_every_series_of_a_folder_is_a_scan(tmp_path):
    write_series(tmp_path / "s", SeriesNumber=2)
    for path in write_series(tmp_path / "other", HU + 5, SeriesNumber=7):
        shutil.move(path, tmp_path / "s" / f"b{path.name}")
    (tmp_path / "other").rmdir()
    (tmp_path / "s" / "notes.txt").write_text("x")
    places, _ = find_scans([tmp_path])
    assert [place.name for place in places] == ["s_2", "s_7"]
    scans = [read_scan(place) for place in places]
    np.testing.assert_array_equal(scans[0].slices, HU)
    np.testing.assert_array_equal(scans[1].slices, HU + 5)
    assert [len(scan.left_out) for scan in scans] == [1, 0]


def test_a_series_spread_over_folders_is_one_scan_and_a_copy_another(tmp_path):
    paths = write_series(tmp_path / "d" / "1")
    (tmp_path / "d" / "2").mkdir()
    for path in paths[:2]:
        shutil.move(path, tmp_path / "d" / "2" / "9.dcm" if path == paths[0] else tmp_path / "d/2")
    places, _ = find_scans([tmp_path / "d"])
    np.testing.assert_array_equal(read_scan(places[0]).slices, HU)
    assert len(places) == 1
    assert sorted(places[0].file_names().values()) == ["1/6.dcm", "1/7.dcm", "2/8.dcm", "2/9.dcm"]
    shutil.copytree(tmp_path / "d", tmp_path / "e" / "x")
    shutil.copytree(tmp_path / "d", tmp_path / "e" / "y")
    places, _ = find_scans([tmp_path / "e"])
    assert [(place.name, len(place.files)) for place in places] == [("x", 4), ("y", 4)]


def test_a_link_keeps_its_own_name_and_has_its_targets_kind(tmp_path):
    blob = write_nifti(tmp_path / "store" / "x.nii.gz").rename(tmp_path / "store" / "4f2a")
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "patient 7.nii.gz").symlink_to(blob)
    (tmp_path / "p" / "up").symlink_to(tmp_path / "p")
    (tmp_path / "p" / "gone.dcm").symlink_to(tmp_path / "nowhere")
    for given in (tmp_path / "p", tmp_path / "p" / "patient 7.nii.gz"):
        (place,), excluded = find_scans([given])
        assert (place.name, place.kind) == ("patient 7", "NIfTI")
        np.testing.assert_array_equal(read_scan(place).slices, HU)
    _, excluded = kinds(tmp_path / "p")
    assert {one.file: one.reason for one in excluded} == {
        "gone.dcm": "cannot be opened (it is a link to nothing)",
        "up": "is a link to a folder above it",
    }


@pytest.mark.parametrize("ending", ["", ".IMA", ".DCM", ".1"])
def test_slices_are_known_by_content_whatever_their_ending(tmp_path, ending):
    for path in write_series(tmp_path / "s"):
        path.rename(path.with_suffix(ending))
    np.testing.assert_array_equal(read(tmp_path / "s").slices, HU)
    assert kinds(tmp_path)[0] == {"s": "DICOM"}


# Broken slices (D-41)


@pytest.mark.parametrize("at", [0, 3])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(bytes(500)),
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.write_bytes(path.read_bytes()[:300]),
        lambda path: path.write_bytes(path.read_bytes()[:-80]),
        lambda path: changed(path, RescaleIntercept=None),
        lambda path: changed(path, PixelData=None),
        lambda path: changed(path, ImagePositionPatient=None),
    ],
)
@pytest.mark.parametrize("ending", ["", ".dcm"])
def test_a_broken_slice_at_an_end_is_refused_and_not_lost(tmp_path, at, spoil, ending):
    paths = [path.rename(path.with_suffix(ending)) for path in write_series(tmp_path / "s")]
    spoil(paths[at])
    (place,), _ = find_scans([tmp_path / "s"])
    with pytest.raises(UnreadableFile, match=f"{paths[at].name}.*"):
        read_scan(place)


# Headers


def test_monochrome1_is_a_way_to_show_and_changes_no_number(tmp_path):
    write_series(tmp_path / "s", PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read(tmp_path / "s").slices, HU)


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("with_meta", [False, True])
def test_files_without_preamble_are_read(tmp_path, implicit, with_meta):
    for path in write_series(tmp_path / "s"):
        data = pydicom.dcmread(path)
        if with_meta:
            path.write_bytes(path.read_bytes()[132:])
            continue
        del data.file_meta, data.preamble
        pydicom.dcmwrite(
            path, data, implicit_vr=implicit, little_endian=True, enforce_file_format=False
        )
    assert not (tmp_path / "s" / "9.dcm").read_bytes().startswith(b"\0")
    np.testing.assert_array_equal(read(tmp_path / "s").slices, HU)


def test_declared_padding_below_air_is_air(tmp_path):
    hu = HU.copy()
    hu[:, 0] = -32768 - 1024  # stored as -32768
    write_series(tmp_path / "s", hu, PixelPaddingValue=-32768)
    expected = HU.copy()
    expected[:, 0] = -1024
    np.testing.assert_array_equal(read(tmp_path / "s").slices, expected)


def test_positions_rounded_in_the_header_lie_on_one_line(tmp_path):
    hu = np.arange(9 * 30).reshape(9, 6, 5) - 1000
    for index, path in enumerate(write_series(tmp_path / "s", hu)):
        height = round(index * 0.625 + 1e-9, 1)
        changed(path, ImagePositionPatient=[-9, -4, height])
    scan = read(tmp_path / "s")
    np.testing.assert_array_equal(scan.slices, hu)
    assert scan.spacing_mm[0] == pytest.approx(0.625, abs=0.005)


@pytest.mark.parametrize("count", [3, 4, 9])
def test_a_missing_slice_is_found_in_a_series_of_any_length(tmp_path, count):
    for missing in range(1, count):
        hu = np.repeat(HU, 3, axis=0)[: count + 1]
        paths = write_series(tmp_path / f"{missing}", hu)
        paths[missing].unlink()
        with pytest.raises(UnreadableFile, match="misses a slice"):
            read(tmp_path / f"{missing}")


IDENTITY = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber",
            "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName",
            "SliceThickness")  # fmt: skip


@pytest.mark.parametrize(
    "values",
    [
        dict.fromkeys(IDENTITY),
        {"PatientSex": "UNKNOWN", "PatientBirthDate": "ANON", "StudyTime": "removed"},
    ],
    ids=["removed", "replaced"],
)
@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_a_de_identified_series_has_its_dicom_seg_with_empty_values(tmp_path, values):
    with pydicom.config.disable_value_validation():
        paths = write_series(tmp_path / "s", **values)
    volume = read_volume(tmp_path / "s")
    lesion = volume.slices > -500
    path = dicom_seg.write_segmentation(tmp_path / "a.dcm", {"lesion": lesion}, volume, "m", "1")
    stored = highdicom.seg.segread(path)
    for name in set(IDENTITY[:-1]) & set(values):
        assert not stored.get(name), name
    thickness = stored.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness
    assert thickness == (2.5 if "SliceThickness" in values else 5)
    uids = [pydicom.dcmread(path).SOPInstanceUID for path in paths]
    np.testing.assert_array_equal(stored.get_pixels_by_source_instance(uids)[..., 0], lesion)


# NIfTI


@pytest.mark.parametrize("shape", [(5, 6, 4, 1), (5, 6, 4, 1, 1)])
def test_a_volume_of_more_dimensions_is_written_back_with_them(tmp_path, shape):
    voxels = HU.transpose(2, 1, 0).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels.reshape(shape), LPS), tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(volume.slices, HU)
    mask = write_mask(tmp_path / "m.nii", (volume.slices > -500).astype(np.uint8), volume)
    np.testing.assert_array_equal(nibabel.load(mask).dataobj, voxels.reshape(shape) > -500)


def test_a_flat_nifti_is_a_slice_without_thickness(tmp_path):
    flat = HU[0].T.astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(flat, LPS), tmp_path / "a.nii")
    scan = read(tmp_path / "a.nii")
    np.testing.assert_array_equal(scan.slices, HU[:1])
    assert scan.voxel_ml is None
    assert as_stored(scan.slices, scan.volume)[..., 0].tolist() == flat.tolist()


def test_several_volumes_in_a_file_are_refused(tmp_path):
    voxels = np.zeros((5, 6, 4, 2), np.int16)
    nibabel.save(nibabel.Nifti1Image(voxels, LPS), tmp_path / "a.nii")
    with pytest.raises(UnreadableFile, match="expected three dimensions"):
        read(tmp_path / "a.nii")


def test_packed_or_not_is_told_by_content_and_endings_in_any_case(tmp_path):
    plain = write_nifti(tmp_path / "a.nii").read_bytes()
    (tmp_path / "PLAIN.nii.gz").write_bytes(plain)
    (tmp_path / "packed.nii").write_bytes(gzip.compress(plain))
    (tmp_path / "Upper.NII.GZ").write_bytes(gzip.compress(plain))
    (tmp_path / "Upper2.NII").write_bytes(plain)
    found, excluded = kinds(tmp_path)
    assert set(found) == {"a", "PLAIN", "packed", "Upper", "Upper2"}
    for place in find_scans([tmp_path])[0]:
        np.testing.assert_array_equal(read_scan(place).slices, HU)


def test_names_that_differ_in_case_alone_are_told_apart(tmp_path):
    write_nifti(tmp_path / "a" / "CT.nii")
    write_nifti(tmp_path / "b" / "ct.nii")
    assert {place.name for place in find_scans([tmp_path])[0]} == {"a_CT", "b_ct"}


def test_no_two_pictures_share_an_output(tmp_path):
    paths = [tmp_path / name for name in ("a.1.png", "a_1.png", "a.png", "a.jpg", "a_1_png-2.jpg")]
    assert picture_names(paths)[:2] == ["a_1_png.png", "a_1_png-2.png"]
    assert len(set(picture_names(paths))) == 5
    assert picture_names([tmp_path / "A.png", tmp_path / "a.png"]) == ["A_png.png", "a_png-2.png"]
    assert len(os.fsencode(picture_names([tmp_path / ("ü" * 120 + ".png")])[0])) < 200
