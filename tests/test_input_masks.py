"""Masks as DICOM-SEG, RTSTRUCT, parts of a grid and colours; see docs/inputs.md."""

import numpy as np
import pydicom
import pytest
import SimpleITK
from PIL import Image
from scan_files import HU, write_nifti, write_rtstruct, write_series

from ssinfnet.data import sources
from ssinfnet.data.sources import dicom_seg, rtstruct, volumes
from ssinfnet.data.sources.files import read_labels
from ssinfnet.data.sources.mask_files import read_mask
from ssinfnet.data.sources.volume_files import read_volume
from ssinfnet.scans.predicted_files import predict_into
from ssinfnet.study.config import SourceConfig

pytestmark = pytest.mark.usefixtures("inputs_stay")


def masks_of(folder, mask_labels=None):
    """List a folder of volumes and return the mask of every slice."""
    listing = volumes.list_slices(folder, mask_labels)
    assert listing.exclusions.empty, listing.exclusions["reason"].tolist()
    rows = listing.slices.itertuples(index=False)
    return np.stack([volumes.read(folder, row)[1] for row in rows])


def write_seg(path, folder, parts):
    path.parent.mkdir(parents=True, exist_ok=True)
    return dicom_seg.write_segmentation(path, parts, read_volume(folder), "m", "1")


def drawn(*voxels):
    """Return a mask of some voxels: slice from below, row, column."""
    mask = np.zeros(HU.shape, bool)
    mask[tuple(np.transpose(voxels))] = True
    return mask


GGO, DENSE = drawn((1, 2, 3), (1, 5, 0), (3, 0, 4)), drawn((1, 2, 2), (2, 4, 1))


@pytest.mark.parametrize("home", ["NAME.dcm", "NAME/deep/IM1"])
def test_a_dicom_seg_is_a_mask_on_its_slices_empty_ones_left_out(tmp_path, home):
    write_series(tmp_path / "images" / "a")
    path = tmp_path / "classes" / home.replace("NAME", "a")
    write_seg(path, tmp_path / "images" / "a", {"ggo": GGO, "consolidation": DENSE})
    assert int(pydicom.dcmread(path).NumberOfFrames) == 4  # of 8
    np.testing.assert_array_equal(masks_of(tmp_path), GGO * 1 + DENSE * 2)


def test_every_segment_is_lesion_or_lung_where_classes_are_not_told(tmp_path):
    write_series(tmp_path / "images" / "a")
    parts = {"ggo": GGO, "consolidation": DENSE}
    write_seg(tmp_path / "lesions" / "a.dcm", tmp_path / "images" / "a", parts)
    lungs = tmp_path / "lungs" / "a.dcm"
    write_seg(lungs, tmp_path / "images" / "a", {"lesion": GGO | DENSE})
    data = pydicom.dcmread(lungs)
    data.SegmentSequence[0].SegmentLabel = "Lung"
    data.save_as(lungs)
    np.testing.assert_array_equal(masks_of(tmp_path), (GGO | DENSE) * 255)
    rows = volumes.list_slices(tmp_path).slices.itertuples(index=False)
    lungs = np.stack([volumes.read_lungs(tmp_path, row) for row in rows])
    np.testing.assert_array_equal(lungs, GGO | DENSE)


def test_a_segment_is_named_by_the_study_where_its_name_tells_no_class(tmp_path):
    write_series(tmp_path / "images" / "a")
    write_seg(tmp_path / "classes" / "a.dcm", tmp_path / "images" / "a", {"lesion": GGO})
    with pytest.raises(ValueError, match=r"part called 'Lesion'.*mask_labels: \{'Lesion': 1\}"):
        volumes.list_slices(tmp_path)
    np.testing.assert_array_equal(masks_of(tmp_path, {"LES*": 2}), GGO * 2)
    both = {"ggo": GGO, "consolidation": DENSE}
    write_seg(tmp_path / "classes" / "a.dcm", tmp_path / "images" / "a", both)
    np.testing.assert_array_equal(masks_of(tmp_path, {"ground*": 0}), DENSE * 2)


def square(slice_, rows, columns):
    """Outline pixels from first to last of rows and columns, along their edges, in mm."""
    top, bottom = -4 + 0.8 * (rows[0] - 0.5), -4 + 0.8 * (rows[1] + 0.5)
    left, right = -9 + 0.7 * (columns[0] - 0.5), -9 + 0.7 * (columns[1] + 0.5)
    height = 30 + 2.5 * slice_
    return [
        (left, top, height),
        (right, top, height),
        (right, bottom, height),
        (left, bottom, height),
    ]


@pytest.mark.parametrize("image", ["DICOM", "NIfTI"])
def test_contours_are_filled_with_their_holes_on_any_image(tmp_path, image):
    if image == "DICOM":
        write_series(tmp_path / "images" / "a")
    else:
        affine = np.diag([-0.7, -0.8, 2.5, 1])
        affine[:3, 3] = (9, 4, 30)
        write_nifti(tmp_path / "images" / "a.nii", affine=affine)
    middle = (-9 + 0.7 * 4, -4 + 0.8 * 5)
    write_rtstruct(tmp_path / "classes" / "a.dcm", {
        "GGO left": [square(1, (0, 4), (0, 3)), square(1, (1, 2), (1, 2)),
                     square(3, (5, 5), (4, 4))],
        "consolidation": [square(2, (2, 3), (0, 4)), [(*middle, 30.0), (*middle, 30.0)]],
    })  # fmt: skip
    expected = np.zeros(HU.shape, int)
    expected[1, :5, :4] = 1
    expected[1, 1:3, 1:3] = 0  # the hole
    expected[3, 5, 4] = 1
    expected[2, 2:4, :] = 2
    expected[0, 5, 4] = 2  # an outline of two points is a pixel
    np.testing.assert_array_equal(masks_of(tmp_path), expected)


@pytest.mark.parametrize(
    ("contour", "message"),
    [
        (square(9, (0, 4), (0, 3)), "outside the image"),
        (square(1, (0, 4), (0, 30)), "outside the image"),
        (square(1.4, (0, 4), (0, 3)), "lies on no slice of the image"),
    ],
)
def test_contours_that_do_not_lie_on_the_image_are_listed(tmp_path, contour, message):
    write_series(tmp_path / "images" / "a")
    write_series(tmp_path / "images" / "b")
    write_rtstruct(tmp_path / "lesions" / "a.dcm", {"x": [square(1, (0, 4), (0, 3)), contour]})
    listing = volumes.list_slices(tmp_path)
    assert set(listing.slices["patient_id"]) == {"b"}
    assert message in listing.exclusions["reason"].item()


def test_a_dicom_seg_of_another_image_is_listed(tmp_path):
    same = {"FrameOfReferenceUID": "1.2.3"}
    write_series(tmp_path / "images" / "a", **same)
    write_series(tmp_path / "images" / "b")
    other = write_series(tmp_path / "other", PixelSpacing=[0.4, 0.35], **same)[0].parent
    write_seg(tmp_path / "lesions" / "a.dcm", other, {"lesion": GGO})
    listing = volumes.list_slices(tmp_path)
    reasons = listing.exclusions.set_index("file")["reason"].drop("other")
    assert "pixels of another size" in reasons.item()
    assert listing.slices["labelled"].sum() == 0


def test_a_dicom_seg_of_another_patient_on_the_same_grid_is_listed(tmp_path):
    write_series(tmp_path / "images" / "a")
    write_series(tmp_path / "images" / "b")
    path = tmp_path / "classes" / "a.dcm"
    write_seg(path, tmp_path / "images" / "a", {"ggo": GGO})
    data = pydicom.dcmread(path)
    data.FrameOfReferenceUID = pydicom.uid.generate_uid()
    data.save_as(path)
    listing = volumes.list_slices(tmp_path)
    assert "is of another patient or visit" in listing.exclusions["reason"].item()
    assert listing.slices["labelled"].sum() == 0


@pytest.mark.parametrize("flip", [False, True])
def test_a_mask_cut_to_its_lesion_lies_where_it_belongs(tmp_path, flip):
    image = SimpleITK.GetImageFromArray(HU.astype(np.int16))
    image.SetSpacing((0.7, 0.8, 2.5))
    image.SetOrigin((-9, -4, 30))
    (tmp_path / "images").mkdir()
    (tmp_path / "classes").mkdir()
    SimpleITK.WriteImage(image, tmp_path / "images" / "a.nrrd")
    mask = SimpleITK.GetImageFromArray((GGO * 1 + DENSE * 2).astype(np.uint8))
    mask.CopyInformation(image)
    cut = mask[0:5, 2:6, 1:3]
    SimpleITK.WriteImage(
        SimpleITK.Flip(cut, [flip, False, flip]), tmp_path / "classes" / "a.seg.nrrd"
    )
    expected = GGO * 1 + DENSE * 2
    expected[[0, 3]] = 0
    expected[:, :2] = 0
    np.testing.assert_array_equal(masks_of(tmp_path), expected)


def test_numbers_of_a_volume_are_named_by_the_study(tmp_path):
    write_nifti(tmp_path / "images" / "a.nii")
    write_nifti(tmp_path / "classes" / "a.nii", GGO * 4 + DENSE * 7)
    with pytest.raises(ValueError, match=r"labels \[4, 7\]"):
        volumes.list_slices(tmp_path)
    np.testing.assert_array_equal(masks_of(tmp_path, {"4": 1, "7": 2}), GGO * 1 + DENSE * 2)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_are_labels_where_the_study_names_them(tmp_path, mode):
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    labels = np.arange(24).reshape(4, 6) % 4
    picture = Image.fromarray(colours[labels])
    (picture.quantize(4) if mode == "P" else picture.convert(mode)).save(tmp_path / "m.png")
    named = {"#FF0000": 1, "#00ff00": 2, "#0000ff": 3}
    np.testing.assert_array_equal(read_labels(tmp_path / "m.png", names=named), labels)
    with pytest.raises(ValueError, match="has 1 colours that mask_labels does not name.*#0000ff"):
        read_labels(tmp_path / "m.png", names={"#ff0000": 1, "#00ff00": 2})


def test_colour_masks_of_a_source_are_read_by_the_studys_key(tmp_path):
    train = tmp_path / "TrainingSet"
    rng = np.random.default_rng(3)
    labels = np.arange(48).reshape(6, 8) % 3
    colours = np.array([[0, 0, 0], [200, 10, 10], [10, 10, 200]], np.uint8)
    for part, pixels in (
        ("LungInfection-Train/Doctor-label/Imgs", rng.integers(0, 255, (6, 8)).astype(np.uint8)),
        ("MultiClassInfection-Train/GT", colours[labels]),
    ):
        (train / part).mkdir(parents=True)
        Image.fromarray(pixels).save(train / part / "1.png")
    plain = {"name": "covid_semiseg", "folder": "."}
    likely = r"is in colour.*mask_labels: \{'#(0a0ac8|c80a0a)': 1\} \(it holds #\w{6}, #\w{6};"
    with pytest.raises(ValueError, match=likely):
        sources.list_slices(SourceConfig(**plain), tmp_path)
    named = SourceConfig(**plain, mask_labels={"#c80a0a": 1, "#0a0ac8": 2})
    listing = sources.list_slices(named, tmp_path)
    read = sources.read_slices({"covid_semiseg": tmp_path}, listing.slices)
    ((_, _, mask),) = read
    np.testing.assert_array_equal(mask, labels)
    assert listing.slices["has_consolidation"].tolist() == [True]
    assert listing.exclusions.empty
    more = SourceConfig(**plain, mask_labels={**named.mask_labels, "#FFFFFF": 3, "128": 1})
    (reason,) = sources.list_slices(more, tmp_path).exclusions["reason"]
    assert reason == "mask_labels names '#FFFFFF', '128', which no mask holds"


def test_a_key_that_no_picture_can_hold_is_refused(tmp_path):
    (tmp_path / "TrainingSet/LungInfection-Train/Doctor-label/Imgs").mkdir(parents=True)
    source = SourceConfig(name="covid_semiseg", folder=".", mask_labels={"red": 2, "1": 1})
    with pytest.raises(ValueError, match="names 'red', and the masks of covid_semiseg are pict"):
        sources.list_slices(source, tmp_path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [({"x": 4}, r"maps to \[4\]"), ({"#ff00": 1}, "a colour is written #ff0000")],
)
def test_impossible_codings_are_refused(tmp_path, labels, message):
    with pytest.raises(ValueError, match=message):
        SourceConfig(name="volumes", folder=".", mask_labels=labels)
    other = SourceConfig(name="ccii", folder=".", mask_labels={"x": 1})
    with pytest.raises(ValueError, match="mask_labels is for covid_semiseg and volumes"):
        sources.list_slices(other, tmp_path)


def centres(slice_, *pixels):
    """Draw through the centres of pixels (row, column), in mm."""
    return [(-9 + 0.7 * column, -4 + 0.8 * row, 30 + 2.5 * slice_) for row, column in pixels]


def test_contours_through_the_centres_of_pixels_mean_these_pixels(tmp_path):
    write_series(tmp_path / "images" / "a")
    outer = centres(1, (0, 0), (4, 0), (4, 3), (0, 3))
    around = centres(1, (1, 1), (1, 2), (2, 3), (3, 2), (3, 1), (2, 0))  # a hole of two pixels
    line = centres(2, (3, 1), (3, 4), (3, 1))
    write_rtstruct(tmp_path / "classes" / "a.dcm", {"GGO": [outer, around, line]})
    expected = np.zeros(HU.shape, int)
    expected[1, :5, :4] = 1
    expected[1, 2, 1:3] = 0
    expected[2, 3, 1:5] = 1
    np.testing.assert_array_equal(masks_of(tmp_path), expected)


def ring_and_rest():
    """Return masks with a hole, an island in it, single pixels, and pixels at each edge."""
    ring = np.zeros(HU.shape, bool)
    ring[1] = True
    ring[1, 1:5, 1:4] = False
    ring[1, 3, 2] = ring[3, 0, 0] = ring[3, 5, 4] = True
    return {"ggo": ring, "consolidation": drawn((1, 2, 2), (2, 4, 1), (2, 5, 2), (2, 4, 3))}


@pytest.mark.parametrize("turned", [False, True])
def test_contours_that_are_written_are_the_mask_again(tmp_path, turned):
    oblique = [0.8, 0.6, 0, 0, 0, -1] if turned else [1, 0, 0, 0, 1, 0]
    for index, path in enumerate(write_series(tmp_path / "s", ImageOrientationPatient=oblique)):
        data = pydicom.dcmread(path)
        step = np.cross(oblique[:3], oblique[3:]) * 2.5 * index
        data.ImagePositionPatient = (np.array([-9, -4, 30]) + step).round(4).tolist()
        data.save_as(path)
    volume = read_volume(tmp_path / "s")
    masks = ring_and_rest()
    if turned:
        masks = {name: np.resize(mask, volume.slices.shape) for name, mask in masks.items()}
        masks["consolidation"] &= ~masks["ggo"]
    path = rtstruct.write_structures(tmp_path / "m.dcm", masks, volume, "model", "1")
    again = rtstruct.write_structures(tmp_path / "n.dcm", masks, volume, "model", "1")
    assert path.read_bytes() == again.read_bytes()
    labels = read_mask(path, volume).labels
    np.testing.assert_array_equal(labels, masks["ggo"] * 1 + masks["consolidation"] * 2)
    stored = pydicom.dcmread(path)
    uids = {pydicom.dcmread(one).SOPInstanceUID for one in (tmp_path / "s").glob("*.dcm")}
    for region in stored.ROIContourSequence:
        for contour in region.ContourSequence:
            assert contour.ContourImageSequence[0].ReferencedSOPInstanceUID in uids
            assert len(contour.ContourData) == 3 * contour.NumberOfContourPoints


def test_an_rtstruct_is_written_where_it_is_asked_for(tmp_path, predictor):
    write_series(tmp_path / "in" / "s")
    write_nifti(tmp_path / "in" / "a.nii")
    out = tmp_path / "out"
    done = predict_into(out, [tmp_path / "in"], predictor, structures=True)
    assert done.refused == []
    stored = pydicom.dcmread(out / "s_rtstruct.dcm")
    names = [one.ROIName for one in stored.StructureSetROISequence]
    assert names == ["Ground-glass opacity", "Consolidation"]
    assert not (out / "a_rtstruct.dcm").exists()
    predict_into(out, [tmp_path / "in"], predictor)
    assert not (out / "s_rtstruct.dcm").exists()  # made obsolete by a call that did not ask
