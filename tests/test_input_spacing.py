"""Slices that are not evenly spaced; see docs/inputs.md."""

import numpy as np
import pydicom
import pytest
import SimpleITK
from scan_files import write_series

from ssinfnet.data.sources.files import UnreadableFile
from ssinfnet.scans import Place, read_scan
from ssinfnet.scans.predicted_files import predict_into

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
    with pytest.raises(UnreadableFile, match="94.00 mm apart, others 2.00 mm; at most 3 times"):
        read_scan(Place("a", folder), resample=True)
    for path in write_uneven(tmp_path / "b", [0, 2, 4, 6, 8]).glob("*.dcm"):
        data = pydicom.dcmread(path)
        data.ImagePositionPatient = [
            -9 + data.ImagePositionPatient[2] ** 2 / 8,
            -4,
            data.ImagePositionPatient[2],
        ]
        data.save_as(path)
    with pytest.raises(UnreadableFile, match="do not follow one straight line"):
        read_scan(Place("a", tmp_path / "b"), resample=True)


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
