"""What parts of masks are by their names; docs/inputs.md."""

import numpy as np
import pydicom
import pytest
from scan_files import HU, write_nifti, write_rtstruct, write_series

from ssinfnet.data.sources import volumes
from ssinfnet.data.sources.mask_files import label_named, read_mask
from ssinfnet.data.sources.volume_files import read_volume

pytestmark = pytest.mark.usefixtures("inputs_stay")


def box(slice_, first=0.0, last=2.0):
    """Return a square contour around pixels first to last of both axes, in a slice."""
    corners = [(first, first), (last, first), (last, last), (first, last)]
    return [(-9 + 0.7 * x, -4 + 0.8 * y, 30 + 2.5 * slice_) for x, y in corners]


def write_segments(path, labels, names):
    """Write a ``.seg.nrrd`` on the grid of `write_nifti`, value → name of its segments."""
    head = "NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: 5 6 4\n"
    head += "space directions: (0.7,0,0) (0,0.8,0) (0,0,2.5)\nspace origin: (0,0,0)\n"
    head += "encoding: raw\n"
    for number, (value, name) in enumerate(names.items()):
        head += f"Segment{number}_Name:={name}\nSegment{number}_LabelValue:={value}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head.encode() + b"\n" + labels.astype("u1").tobytes())
    return path


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("GGO", 1), ("ggo_1", 1), ("GGO left", 1), ("LeftGGO", 1), ("GGO - RLL", 1),
        ("Ground-glass opacity", 1), ("GroundGlassOpacity", 1), ("Lung GGO", 1),
        ("Ground glass opacities (GGO)", 1), ("GGO lesion 3", 1), ("Segment GGO mask", 1),
        ("Consolidation, right lower lobe", 2), ("consolidations", 2), ("COVID consolidation", 2),
        ("Pleural effusion R", 3), ("effusion", 3),
    ],
)  # fmt: skip
def test_a_class_is_known_by_its_whole_name(tmp_path, name, label):
    assert label_named(tmp_path / "a.dcm", name, {}) == label


@pytest.mark.parametrize(
    "name",
    [
        "Lung without GGO", "No GGO", "NoGGO", "not GGO", "non-GGO", "healthy (no GGO)",
        "GGO excluded", "lung minus ggo", "Lung - GGO", "no consolidation",
        "consolidation-free lung", "PTV GGO 5mm", "GGO margin", "Expanded consolidation ring",
        "GGO + 5", "GGO?", "old GGO", "GGO/consolidation", "Consolidated lung", "aGGOb",
        "Pericardial effusion", "pericardial_effusion", "BODY", "Lung",
    ],
)  # fmt: skip
def test_a_name_that_denies_or_widens_a_class_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="names no class") as refused:
        label_named(tmp_path / "a.dcm", name, {})
    assert f"mask_labels: {{{name!r}: 0}}" in str(refused.value)  # the line makes no lesion of it
    assert label_named(tmp_path / "a.dcm", name, {name.upper(): 2}) == 2


def test_contours_around_what_has_no_ground_glass_stop_the_listing(tmp_path):
    write_series(tmp_path / "images" / "a")
    write_rtstruct(tmp_path / "classes" / "a.dcm", {"Lung without GGO": [box(1)]})
    with pytest.raises(ValueError, match="part called 'Lung without GGO'"):
        volumes.list_slices(tmp_path)
    listing = volumes.list_slices(tmp_path, {"*without GGO": 0})
    assert listing.slices["lesion_pixels"].sum() == 0


def test_a_segment_of_an_nrrd_that_names_no_class_keeps_no_number(tmp_path):
    image = read_volume(write_nifti(tmp_path / "a.nii"))
    labels = np.resize([0, 1, 2], HU.shape)
    path = write_segments(tmp_path / "m.seg.nrrd", labels, {1: "No GGO", 2: "Segment_2"})
    with pytest.raises(ValueError, match="part called 'No GGO'"):
        read_mask(path, image)
    assert set(np.unique(read_mask(path, image, names={"no*": 0}).labels)) == {0, 2}
    assert set(np.unique(read_mask(path, image, names={"1": 3, "segment_2": 1}).labels)) == {
        0,
        1,
        3,
    }
    write_segments(path, labels, {1: "GGO", 2: "Segment_2", 3: "Heart"})  # the heart is empty
    assert set(np.unique(read_mask(path, image).labels)) == {0, 1, 2}


def outlined(path, names):
    """Write regions by their names: each its own slice of HU, 9 pixels, the first of them 25."""
    regions = {name: [box(index, 0, 2 + 2 * (not index))] for index, name in enumerate(names)}
    return write_rtstruct(path, regions)


@pytest.mark.parametrize(
    ("names", "pixels", "unread"),
    [
        (["BODY", "Lesion"], 9, "'BODY'"),
        (["BODY", "Heart", "COVID infection", "GGO left"], 18, "'BODY', 'Heart'"),
        (["Pleural effusion", "lung opacity"], 9, "'Pleural effusion'"),  # D-02
        (["no GGO", "Consolidation"], 9, "'no GGO'"),
        (["Segment_1", "Lesion"], 9, "'Segment_1'"),
        (["Lesion 1", "Lesion 2"], 34, ""),
        (["Segment_1"], 25, ""),
    ],
)
def test_of_lesions_the_parts_are_read_that_are_named_so(tmp_path, names, pixels, unread):
    write_series(tmp_path / "images" / "a")
    outlined(tmp_path / "lesions" / "a.dcm", names)
    listing = volumes.list_slices(tmp_path)
    assert listing.slices["lesion_pixels"].sum() == pixels
    rows = listing.slices.itertuples(index=False)
    assert sum((volumes.read(tmp_path, row)[1] > 0).sum() for row in rows) == pixels
    said = f"its parts {unread} are not named as lesion is, and were not read"
    assert listing.exclusions["reason"].tolist() == ([said] if unread else [])


def test_lesions_of_no_name_that_says_so_stop_the_listing_with_what_to_do(tmp_path):
    write_series(tmp_path / "images" / "a")
    outlined(tmp_path / "lesions" / "a.dcm", ["BODY", "Segment_2"])
    with pytest.raises(ValueError, match=r"no part that is named.*mask_labels: \{'BODY': 1\}"):
        volumes.list_slices(tmp_path)
    for named, pixels in (({"segment_2": 1}, 9), ({"BODY": 2, "seg*": 0}, 25)):
        assert volumes.list_slices(tmp_path, named).slices["lesion_pixels"].sum() == pixels


def test_of_lungs_the_parts_are_read_that_are_named_so(tmp_path):
    write_series(tmp_path / "images" / "a")
    path = outlined(tmp_path / "lungs" / "a.dcm", ["BODY", "Lung_L", "right upper lobe"])
    listing = volumes.list_slices(tmp_path)
    rows = list(listing.slices.itertuples(index=False))
    read = [int(volumes.read_lungs(tmp_path, row).sum()) for row in rows]
    assert read == [0, 9, 9, 0]
    said = "its parts 'BODY' are not named as lungs are, and were not read"
    assert listing.exclusions["reason"].tolist() == [said]
    outlined(path, ["BODY", "Heart"])
    listing = volumes.list_slices(tmp_path)
    assert listing.slices["lung_path"].isna().all()
    assert "no part that is named as lungs are" in listing.exclusions["reason"].item()


def test_of_the_segments_of_an_nrrd_those_are_read_that_are_named_so(tmp_path):
    image = read_volume(write_nifti(tmp_path / "a.nii"))
    labels = np.resize([0, 1, 2], HU.shape)
    path = write_segments(tmp_path / "m.seg.nrrd", labels, {1: "Lung", 2: "Lesion"})
    for of, value, unread in (("lesions", 2, "Lung"), ("lungs", 1, "Lesion")):
        found = read_mask(path, image, of=of)
        np.testing.assert_array_equal(found.labels > 0, read_volume(path).slices == value)
        assert found.unread == (unread,)


@pytest.mark.parametrize("form", ["RTSTRUCT", "NIfTI", "NRRD"])
def test_a_key_of_the_study_that_matches_nothing_is_named(tmp_path, form):
    if form == "RTSTRUCT":
        write_series(tmp_path / "images" / "a")
        outlined(tmp_path / "classes" / "a.dcm", ["solid", "GGO"])
        good = {"SOL*": 2}
    else:
        write_nifti(tmp_path / "images" / "a.nii")
        good = {"7": 2}
        labels = np.resize([0, 1, 7], HU.shape)
        if form == "NRRD":
            image = tmp_path / "images" / "a.nii"
            write_nifti(image, affine=np.diag([-0.7, -0.8, 2.5, 1]))
            write_segments(tmp_path / "classes" / "a.seg.nrrd", labels, {1: "hazy", 7: "Segment_7"})
            good |= {"HAZY": 1}
        else:
            write_nifti(tmp_path / "classes" / "a.nii", labels)
    assert volumes.list_slices(tmp_path, good).exclusions.empty
    listing = volumes.list_slices(tmp_path, {**good, "sulid": 2, "9": 1})
    assert listing.exclusions[["file", "reason"]].to_numpy().tolist() == [
        [".", "mask_labels names '9', 'sulid', which no mask holds"]
    ]


def test_parts_that_overlap_and_files_that_lack_something_are_refused_with_what_to_do(tmp_path):
    write_series(tmp_path / "images" / "a")
    image = read_volume(tmp_path / "images" / "a")
    path = write_rtstruct(tmp_path / "m.dcm", {"GGO": [box(1)], "consolidation": [box(1)]})
    with pytest.raises(ValueError, match=r"overlap, .*: mask_labels: \{'consolidation': 0\}"):
        read_mask(path, image)
    assert read_mask(path, image, names={"consolidation": 0}).labels.sum() == 9
    data = pydicom.dcmread(path)
    del data.StructureSetROISequence
    data.save_as(path)
    with pytest.raises(ValueError, match="it lacks StructureSetROISequence; write it again"):
        read_mask(path, image)
