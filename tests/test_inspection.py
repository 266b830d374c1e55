"""What `ssinfnet data inspect` says of a folder."""

import nibabel
import numpy as np
import pytest
from typer.testing import CliRunner

from ssinfnet.cli import app
from ssinfnet.data import inspection

pytestmark = pytest.mark.usefixtures("inputs_stay")


@pytest.fixture
def folder(tmp_path, rng):
    """Three volumes: b repeats a slice of a, c has no image that can be read."""
    hu = rng.integers(-1000, 400, (40, 40, 3)).astype(np.int16)
    other = rng.integers(-1000, 400, (40, 40, 3)).astype(np.int16)
    other[..., 2] = hu[..., 0]
    labels = np.zeros((40, 40, 3), np.uint8)
    labels[:4, 0, 0], labels[:2, 1, 1], labels[:9, 2, 1] = 1, 2, 3
    for name, part, voxels in (
        ("a", "images", hu),
        ("a", "classes", labels),
        ("b", "images", other),
    ):
        path = tmp_path / part / f"{name}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(voxels, np.diag([-1, -1, 5, 1])), path)
    (tmp_path / "images" / "c.nii.gz").write_bytes(b"nothing")
    return tmp_path


def test_counts_are_of_patients_slices_and_pixels(folder):
    counts = inspection.inspect(folder, "volumes").counts()
    assert counts["slices"].to_dict() == {
        "all": 6, "labelled": 3, "unlabelled": 3, "with lesion": 2, "with GGO": 1,
        "with consolidation": 1, "with pleural effusion": 1, "lesion of unknown class": 0,
        "with a lung mask": 0, "with known spacing": 6,
    }  # fmt: skip
    assert counts.loc["all", "patients"] == 2
    assert counts.loc["with lesion", "pixels"] == 6
    assert counts.loc["with pleural effusion", "pixels"] == 9


def test_a_slice_under_two_patients_is_found(folder):
    (pair,) = inspection.inspect(folder, "volumes").duplicates.itertuples()
    assert {pair.slice_a, pair.slice_b} == {"volumes.a.000", "volumes.b.002"}
    assert pair.correlation == pytest.approx(1)


def test_the_command_says_all_of_it(folder):
    said = CliRunner().invoke(app, ["data", "inspect", str(folder), "--source", "volumes"])
    assert said.exit_code == 0
    for words in ("slices of 40 × 40", "left out: 1", "images/c.nii.gz", "look like one: 1"):
        assert words in said.output


@pytest.mark.parametrize(
    ("place", "source", "message"),
    [(".", "nifti", "is not one of 'medseg'"), ("gone", "volumes", "no folder"),
     ("classes", "ictcf", "no ictcf data")],
)  # fmt: skip
def test_what_cannot_be_inspected_is_said(folder, place, source, message):
    said = CliRunner().invoke(app, ["data", "inspect", str(folder / place), "--source", source])
    assert said.exit_code > 0
    assert message in said.output


def test_a_folder_without_faults_says_so(folder):
    (folder / "images" / "c.nii.gz").unlink()
    (folder / "images" / "b.nii.gz").unlink()
    text = inspection.inspect(folder, "volumes").text()
    assert "left out: none" in text
    assert "look like one: none" in text


def test_what_lies_beside_images_and_masks_is_listed(folder):
    """A folder of masks with another name, or a volume in the wrong place, is not lost."""
    (folder / "classes").rename(folder / "masks")
    (folder / "images" / "b.nii.gz").rename(folder / "b.nii.gz")
    left = inspection.inspect(folder, "volumes").listing.exclusions.set_index("file")["reason"]
    assert sorted(left.index) == ["b.nii.gz", "images/c.nii.gz", "masks"]
    for name in ("b.nii.gz", "masks"):
        assert (
            left[name] == "is not read: volumes lie in images, masks in classes, lesions or lungs"
        )
    (folder / "images" / "a.nii.gz").unlink()
    with pytest.raises(ValueError, match=r"no usable slice of volumes \(b\.nii\.gz: is not read"):
        inspection.inspect(folder, "volumes")
