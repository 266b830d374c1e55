"""CDs and series as people have them: reports, viewers, slices given one by one; docs/inputs.md."""

import numpy as np
import pydicom
import pytest
from PIL import Image
from scan_files import HU, LPS, write_nifti, write_pictures, write_series

from ssinfnet.scans import choose_series, find_scans, read_scan
from ssinfnet.scans.predicted_files import predict_into

pytestmark = pytest.mark.usefixtures("inputs_stay")

DICOMDIR = b"\0" * 128 + b"DICM\2\0\2\0UI\x14\x00" + b"1.2.840.10008.1.3.10\0"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def write_report(path, source, **changed):
    """Write a structured report of a series."""
    data = pydicom.dcmread(source)
    del data.PixelData
    data.Modality = "SR"
    for name, value in changed.items():
        setattr(data, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path)


def test_reports_localisers_and_dose_sheets_of_a_disc_are_files_beside(tmp_path, predictor):
    disc = tmp_path / "cd"
    slices = write_series(disc / "IMAGES" / "S2")
    write_report(disc / "IMAGES" / "S900" / "I1", slices[0])
    write_series(disc / "IMAGES" / "S1", HU[:1], ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_series(disc / "IMAGES" / "S501", HU[:1], SOPClassUID=SECONDARY_CAPTURE,
                 ImagePositionPatient=None, RescaleSlope=None)  # fmt: skip
    (disc / "DICOMDIR").write_bytes(DICOMDIR)
    (disc / "VIEWER" / "icons").mkdir(parents=True)
    Image.new("RGB", (16, 16), (0, 90, 200)).save(disc / "VIEWER" / "icons" / "open.png")
    done = predict_into(tmp_path / "out", [disc], predictor)
    assert [row["scan"] for row in done.rows] == ["S2"]
    assert {one.file: one.reason for one in done.excluded} == {
        "DICOMDIR": "is a DICOM directory, no image",
        "IMAGES/S900/I1": "has no pixels (modality SR)",
        "IMAGES/S1/9.dcm": "is a localiser",
        "IMAGES/S501/9.dcm": "lacks ImagePositionPatient, RescaleSlope",
        "VIEWER/icons/open.png": "is a picture beside volumes",
    }
    assert done.status == 3


def test_a_folder_of_broken_slices_is_refused_and_no_file_beside(tmp_path, predictor):
    write_series(tmp_path / "cd" / "good")
    write_series(tmp_path / "cd" / "bad", RescaleSlope=None)
    for cut in write_series(tmp_path / "cd" / "cut"):
        cut.write_bytes(cut.read_bytes()[:140])
    done = predict_into(tmp_path / "out", [tmp_path / "cd"], predictor)
    assert {one.input for one in done.refused} == {"bad", "cut"}
    assert done.status == 1


def test_a_folder_with_nothing_but_reports_holds_no_scan(tmp_path):
    (slice_,) = write_series(tmp_path / "s", HU[:1])
    write_report(tmp_path / "cd" / "I1", slice_)
    places, excluded = find_scans([tmp_path / "cd"])
    assert places == []
    assert [(one.file, one.reason) for one in excluded] == [
        ("I1", "has no pixels (modality SR)"),
        ("", "it holds no scan"),
    ]


def test_slices_that_are_given_one_by_one_are_their_series(tmp_path):
    slices = write_series(tmp_path / "s")
    other = write_series(tmp_path / "t", HU[:1])
    volume = write_nifti(tmp_path / "s" / "v.nii")
    places, excluded = find_scans([*slices, volume, *other])
    assert [place.name for place in places] == ["s", "v", "9"]
    assert excluded == []
    np.testing.assert_array_equal(read_scan(places[0]).slices, HU)
    slices[0].write_bytes(slices[0].read_bytes()[:140])
    (place,), _ = find_scans(slices)
    with pytest.raises(ValueError, match="broken slice of the series"):
        read_scan(place)


def test_series_of_one_slice_in_a_folder_have_the_names_of_their_files(tmp_path):
    for name in ("anna", "ben"):
        (slice_,) = write_series(tmp_path / name, HU[:1])
        slice_.rename(tmp_path / f"{name}.dcm")
        slice_.parent.rmdir()
    assert [place.name for place in find_scans([tmp_path])[0]] == ["anna", "ben"]
    assert [place.name for place in find_scans(sorted(tmp_path.iterdir()))[0]] == ["anna", "ben"]


def test_pictures_beside_a_dicomdir_are_scans_where_they_are_grey(tmp_path):
    (tmp_path / "DICOMDIR").write_bytes(DICOMDIR)
    write_pictures(tmp_path / "p1")
    assert [place.name for place in find_scans([tmp_path])[0]] == ["p1"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("lung", ["s1", "s3"]),  # a part of it
        ("Lung [B70f]", ["s1"]),  # brackets mean themselves
        ("*[B*", ["s1", "s2"]),
        ("thorax", ["s4"]),  # called so; else it would be two
        ("b?0f", []),  # a pattern is of the whole
    ],
)
def test_a_series_is_named_by_a_part_of_its_description_or_a_pattern(tmp_path, wanted, expected):
    told = {"s1": "Lung [B70f]", "s2": "Thorax soft [B30f]", "s3": "Lung high", "s4": "Thorax"}
    for name, text in told.items():
        write_series(tmp_path / name, SeriesDescription=text)
    places, _ = find_scans([tmp_path])
    if not expected:
        with pytest.raises(ValueError, match="expected a description or a part of it"):
            choose_series(places, [wanted])
        return
    assert [place.name for place in choose_series(places, [wanted])[0]] == expected


def test_text_under_a_slices_name_is_said_in_the_row(tmp_path):
    for number, path in enumerate(write_series(tmp_path / "s")):
        path.rename(tmp_path / "s" / f"I000{number:X}A3F")
    (tmp_path / "s" / "I0003A3F").write_text("<html>404 not found</html>")
    (tmp_path / "s" / "notes").write_text("thin slices")
    (place,), _ = find_scans([tmp_path])
    scan = read_scan(place)
    assert len(scan) == 3
    assert [one.reason for one in scan.left_out] == [
        "is no DICOM file, though it has a slice's name",
        "is no DICOM file",
    ]
    assert any(doubt.startswith("I0003A3F has a slice's name") for doubt in scan.doubts)


@pytest.mark.parametrize(("factor", "said"), [(1, False), (0.1, True), (0.001, True), (1e3, True)])
def test_pixels_of_no_ct_are_said_in_the_row(tmp_path, factor, said):
    write_nifti(tmp_path / "a.nii", affine=LPS @ np.diag([factor, factor, factor, 1]))
    (place,), _ = find_scans([tmp_path / "a.nii"])
    assert any("none of a CT" in doubt for doubt in read_scan(place).doubts) == said
