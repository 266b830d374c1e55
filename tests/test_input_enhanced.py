"""Enhanced CT: a series in one file; see docs/inputs.md."""

import numpy as np
import pydicom
import pytest
from scan_files import HU, LPS, write_enhanced, write_series

from ssinfnet.data.sources.files import UnreadableFile
from ssinfnet.scans import Place, find_scans, read_scan
from ssinfnet.scans.predicted_files import predict_into

pytestmark = pytest.mark.usefixtures("inputs_stay")

AFFINE = LPS.copy()
AFFINE[:3, 3] = (9, 4, 30)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_frames_are_slices_with_their_own_places_and_rescale_numbers(tmp_path, packed, shared):
    hu = np.random.default_rng(5).integers(-1000, 500, (4, 36, 30))  # RLE needs some pixels
    hu -= (hu + 1024 + np.arange(4)[:, None, None]) % 2  # even, so that slopes lose nothing
    path = write_enhanced(tmp_path / "d" / "IM1", hu, shared=shared, packed=packed, slopes=(1, 2))
    for given in (path, path.parent):
        (place,), excluded = find_scans([given])
        assert (place.name, place.kind, excluded) == (given.name, "DICOM", [])
        scan = read_scan(place)
        np.testing.assert_array_equal(scan.slices, hu)
        np.testing.assert_allclose(scan.volume.affine[:3, 3], AFFINE[:3, 3])
        np.testing.assert_allclose(scan.spacing_mm, (2.5, 0.8, 0.7))
        assert (scan.series.thickness_mm, scan.series.plane, scan.series.slices) == (5, "axial", 4)


def test_units_of_frames_that_are_no_hounsfield_units_are_said(tmp_path):
    path = write_enhanced(tmp_path / "d" / "IM1")
    data = pydicom.dcmread(path)
    for group in data.PerFrameFunctionalGroupsSequence:
        group.PixelValueTransformationSequence[0].RescaleType = "Z_EFF"
    data.save_as(path)
    (place,), _ = find_scans([path])
    assert "call the intensities Z_EFF" in read_scan(place).volume.doubt


def test_several_enhanced_files_are_one_volume_or_one_each(tmp_path):
    same = {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2"}
    write_enhanced(tmp_path / "a" / "IM1", HU[:2], **same)
    write_enhanced(tmp_path / "a" / "IM2", HU[2:], first_mm=35, **same)
    (place,), _ = find_scans([tmp_path / "a"])
    np.testing.assert_array_equal(read_scan(place).slices, HU)
    for time in range(3):
        write_enhanced(tmp_path / "b" / f"IM{time}", HU + time, **same)
    (tmp_path / "b" / "README").write_text("x")
    places, _ = find_scans([tmp_path / "b"])
    assert [place.name for place in places] == ["IM0", "IM1", "IM2"]
    for time, place in enumerate(places):
        np.testing.assert_array_equal(read_scan(place).slices, HU + time)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data.PerFrameFunctionalGroupsSequence.pop(), "4 frames and 3 functional"),
        (lambda data: setattr(data, "NumberOfFrames", 3), "3 frames and 4 functional groups"),
        (lambda data: setattr(data, "PixelData", data.PixelData[:-10]), "not all of its 4 frames"),
        (lambda data: delattr(data, "SharedFunctionalGroupsSequence"), "1 lacks PixelSpacing"),
        (lambda data: setattr(data, "Modality", "MR"), "frame 1 has modality MR; expected CT"),
        (
            lambda data: setattr(
                data.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence[0],
                "ImagePositionPatient", [-9, -4, 30],
            ),
            "IM1, frame 4 of 4 lies where .*, with other pixels",
        ),
        (
            lambda data: setattr(
                data.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence[0],
                "ImagePositionPatient", [-9, -4, 20],
            ),
            "misses slices between frame 4 of 4 and frame 3 of 4",
        ),
    ],
)  # fmt: skip
def test_frames_that_do_not_make_a_volume_are_refused(tmp_path, spoil, message):
    path = write_enhanced(tmp_path / "d" / "IM1")
    data = pydicom.dcmread(path)
    spoil(data)
    data.save_as(path)
    with pytest.raises(UnreadableFile, match=message) as error:
        read_scan(Place("a", path.parent))
    assert "/frame" not in str(error.value)


def test_an_enhanced_ct_is_predicted_among_classic_series(tmp_path, predictor):
    write_enhanced(tmp_path / "cd" / "e" / "IM1", SeriesDescription="Thorax")
    write_series(tmp_path / "cd" / "c")
    done = predict_into(tmp_path / "out", [tmp_path / "cd"], predictor)
    rows = {row["scan"]: row for row in done.rows}
    assert set(rows) == {"c", "e"}
    assert rows["e"]["series_description"] == "Thorax"
    assert "no DICOM-SEG: its slices are frames of an enhanced file" in rows["e"]["reason"]
    assert (tmp_path / "out" / "e_classes.nii.gz").is_file()
    assert done.status == 0
