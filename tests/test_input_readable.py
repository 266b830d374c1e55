"""Files that are odd and can be read all the same; see docs/inputs.md."""

import numpy as np
import pydicom
import pytest
from pydicom.uid import SecondaryCaptureImageStorage
from scan_files import HU, write_series

from ssinfnet.data.sources.files import UnreadableFile
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
