"""Masks that meant something else without a word, as a sceptic found; docs/inputs.md."""

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.seg import SegmentationTypeValues
from PIL import Image
from scan_files import HU, write_nifti, write_rtstruct, write_series

from ssinfnet.data.sources import dicom_masks, dicom_seg, volumes
from ssinfnet.data.sources.files import UnreadableFile, read_labels
from ssinfnet.data.sources.mask_files import read_mask
from ssinfnet.data.sources.volume_files import read_volume

pytestmark = pytest.mark.usefixtures("inputs_stay")

TALL = np.resize(HU, (9, 6, 5))


def test_what_is_transparent_in_a_mask_is_background(tmp_path):
    lesion = np.zeros((8, 8), bool)
    lesion[2:4, 3:7] = True
    pixels = np.full((8, 8, 4), (255, 0, 0, 0), np.uint8)
    pixels[lesion, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "m.png")
    found = read_labels(tmp_path / "m.png", names={"#ff0000": 1})
    np.testing.assert_array_equal(found == 1, lesion)
    white = np.where(lesion[..., None], 255, (255, 0)).astype(np.uint8)
    Image.fromarray(white).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "m.png", binary=True) == 255, lesion)


@pytest.mark.parametrize(
    ("values", "taken"),
    [([0, 1], True), ([0, 1, 2], True), ([0, 5], True), ([0, 255], True), ([0, 10, 14], False),
     ([-1000, 40], False), ([0, 0.5], False), ([0, np.nan], False)],
)  # fmt: skip
def test_a_lung_mask_holds_lungs_or_their_lobes(tmp_path, values, taken):
    write_nifti(tmp_path / "images" / "a.nii")
    lungs = np.zeros(HU.shape)
    lungs[:, 1:5, 1:4] = np.resize(np.array(values, float), (4, 4, 3))
    write_nifti(tmp_path / "lungs" / "a.nii", lungs)
    listing = volumes.list_slices(tmp_path)
    assert listing.slices["lung_path"].notna().all() == taken
    reasons = listing.exclusions["reason"].tolist()
    assert not reasons if taken else "a lung mask has 0 and 1" in reasons[0]


@pytest.mark.parametrize(("marked", "reason"), [(False, "is empty"), (True, "edge of the image")])
def test_a_lung_mask_that_is_empty_or_inverted_is_listed(tmp_path, marked, reason):
    write_nifti(tmp_path / "images" / "a.nii")
    lungs = np.full(HU.shape, marked)
    lungs[:, 1:5, 1:4] = False
    write_nifti(tmp_path / "lungs" / "a.nii", lungs * 1)
    listing = volumes.list_slices(tmp_path)
    assert listing.slices["lung_path"].isna().all()
    assert reason in listing.exclusions["reason"].item()


def test_a_lesion_mask_beside_classes_is_listed(tmp_path):
    write_nifti(tmp_path / "images" / "a.nii")
    for part in ("lesions", "classes"):
        write_nifti(tmp_path / part / "a.nii", np.resize([0, 1], HU.shape))
    listing = volumes.list_slices(tmp_path)
    assert listing.exclusions[["file", "reason"]].to_numpy().tolist() == [
        ["lesions/a.nii", "its mask in classes says more"]
    ]


@pytest.fixture
def series(tmp_path):
    write_series(tmp_path / "images" / "a", TALL, PatientName="a^b")
    return read_volume(tmp_path / "images" / "a")


def box(height, first=0.0, last=2.0):
    """Return a square contour around pixels first to last of both axes, in a slice."""
    corners = [(first, first), (last, first), (last, last), (first, last)]
    return [(-9 + 0.7 * x, -4 + 0.8 * y, 30 + 2.5 * height) for x, y in corners]


def test_contours_drawn_twice_are_one_and_contours_that_cross_are_refused(tmp_path, series):
    once = write_rtstruct(tmp_path / "once.dcm", {"lesion": [box(1)]})
    twice = write_rtstruct(tmp_path / "twice.dcm", {"lesion": [box(1), box(1)]})
    expected, found = (dicom_masks.read_parts(one, series)["lesion"] for one in (once, twice))
    assert expected.any()
    np.testing.assert_array_equal(found, expected)
    crossing = [box(1, 0.4, 3.6), box(1, 1.4, 4.4)]
    crossed = write_rtstruct(tmp_path / "crossed.dcm", {"lesion": crossing})
    with pytest.raises(UnreadableFile, match="cross each other in a slice"):
        dicom_masks.read_parts(crossed, series)


def test_a_mask_of_thicker_slices_is_refused(tmp_path, series):
    thick = write_rtstruct(tmp_path / "m.dcm", {"lesion": [box(k) for k in (0, 2, 4, 6)]})
    with pytest.raises(UnreadableFile, match="drawn on one of 2 slices"):
        dicom_masks.read_parts(thick, series)
    scattered = write_rtstruct(tmp_path / "n.dcm", {"lesion": [box(k) for k in (0, 1, 4, 7)]})
    assert dicom_masks.read_parts(scattered, series)["lesion"].any()


def test_an_open_contour_and_a_region_that_is_not_listed_are_refused(tmp_path, series):
    path = write_rtstruct(tmp_path / "m.dcm", {"lesion": [box(1), box(2)]})
    data = pydicom.dcmread(path)
    data.ROIContourSequence[0].ContourSequence[1].ContourGeometricType = "OPEN_PLANAR"
    data.save_as(path)
    with pytest.raises(UnreadableFile, match="open contour of 'lesion'"):
        dicom_masks.read_parts(path, series)
    data.ROIContourSequence[0].ReferencedROINumber = 9
    data.save_as(path)
    with pytest.raises(UnreadableFile, match="a region 9 that it does not list"):
        dicom_masks.read_parts(path, series)


def test_the_background_of_a_label_map_is_no_lesion(tmp_path, series):
    lesion = np.zeros(TALL.shape, np.uint8)
    lesion[1:3, 2:4, 1:3] = 1
    described = dicom_seg._segment(1, "lesion", "1.2.3", "m", "1")
    segmentation = highdicom.seg.Segmentation(
        source_images=dicom_seg.series_headers(series), pixel_array=lesion,
        segmentation_type=SegmentationTypeValues.LABELMAP, segment_descriptions=[described],
        series_instance_uid="1.2.4", series_number=1, sop_instance_uid="1.2.5", instance_number=1,
        manufacturer="m", manufacturer_model_name="m", software_versions="1",
        device_serial_number="0",
    )  # fmt: skip
    segmentation.save_as(tmp_path / "m.dcm")
    parts = dicom_masks.read_parts(tmp_path / "m.dcm", series)
    assert list(parts) == ["Lesion"]
    assert parts["Lesion"].sum() == lesion.sum()
    data = pydicom.dcmread(tmp_path / "m.dcm")
    data.SegmentSequence = data.SegmentSequence[:1]  # the background alone
    data.save_as(tmp_path / "m.dcm")
    with pytest.raises(UnreadableFile, match="holds no segment or contour"):
        dicom_masks.read_parts(tmp_path / "m.dcm", series)


def test_segments_of_an_nrrd_mean_what_their_names_say(tmp_path):
    image = read_volume(write_nifti(tmp_path / "a.nii"))
    labels = np.resize([0, 1, 2], HU.shape).astype("u1")
    head = "NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: 5 6 4\n"
    head += "space directions: (0.7,0,0) (0,0.8,0) (0,0,2.5)\nspace origin: (0,0,0)\n"
    head += "encoding: raw\nSegment0_Name:=Consolidation\nSegment0_LabelValue:=1\n"
    head += "Segment1_Name:=GGO left\nSegment1_LabelValue:=2\n\n"
    path = tmp_path / "m.seg.nrrd"
    path.write_bytes(head.encode() + labels.tobytes())
    found = read_mask(path, image).labels
    np.testing.assert_array_equal(np.bincount(found.ravel()), np.bincount(labels.ravel()))
    swapped = {0: 0, 1: 2, 2: 1}
    assert (found == np.vectorize(swapped.get)(read_volume(path).slices)).all()
    assert set(np.unique(read_mask(path, image, of="lesions").labels)) == {0, 1}
    assert set(np.unique(read_mask(path, image, names={"cons*": 3}).labels)) == {0, 1, 3}
