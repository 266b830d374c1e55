import numpy as np
import pytest
from PIL import Image

from ssinfnet.data import cohort, images, preparation
from ssinfnet.data.cohort import prepared_array
from ssinfnet.study.config import load_study


@pytest.fixture
def pictures(tmp_path, rng):
    """A cohort of 20 pictures of 40 × 50 px; slice 3 is a brighter copy of slice 0."""
    from ssinfnet.data.sources import covid_semiseg

    folder = tmp_path / "raw"
    smooth = [
        np.asarray(Image.fromarray(rng.integers(0, 200, (6, 6)).astype(np.uint8)).resize((50, 40)))
        for _ in range(20)
    ]
    smooth[3] = smooth[0] + np.uint8(20)
    for stem, pixels in enumerate(smooth):
        for part, data in (("Imgs", pixels), ("GT", np.where(pixels > 120, 255, 0))):
            path = folder / covid_semiseg.TRAIN / part / f"{stem}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(data.astype(np.uint8)).save(path)
    listing = covid_semiseg.list_slices(folder)
    slices = listing.slices.assign(split="train", fold=1)
    slices.loc[3:5, "split"] = "test"
    slices.loc[6:7, "split"] = "validation"
    return cohort.Cohort(cohort.validate(slices), listing.exclusions, {"covid_semiseg": folder}, {})


@pytest.fixture
def study():
    return load_study("smoke")


def test_prepared_arrays_hold_every_slice_in_row_order(pictures, study, tmp_path):
    preparation.prepare_slices(pictures, study, tmp_path, {})
    stored, masks = (np.load(tmp_path / f"{name}.npy") for name in ("images", "masks"))
    assert stored.shape == masks.shape == (20, 64, 64)
    for index, (_, image, mask) in enumerate(pictures.read(pictures.slices)):
        expected = np.rint(images.resize_image(image, 64) * 255)
        np.testing.assert_array_equal(stored[index], expected)
        np.testing.assert_array_equal(masks[index], images.resize_mask(mask, 64))
    rows = pictures.of_split("train")
    train = prepared_array(tmp_path, "images", rows)
    np.testing.assert_array_equal(train[3], stored[8])
    assert len(prepared_array(tmp_path, "masks", rows)) == 15


def test_a_copy_across_splits_is_reported_and_within_a_split_is_not(pictures, study, tmp_path):
    duplicates = preparation.prepare_slices(pictures, study, tmp_path, {})
    pairs = duplicates[["slice_a", "slice_b"]].to_numpy().tolist()
    assert pairs == [["covid_semiseg.train.0", "covid_semiseg.train.3"]]
    assert duplicates["correlation"][0] > 0.99
    pictures.slices["split"] = "train"
    assert preparation.prepare_slices(pictures, study, tmp_path, {}).empty


def test_near_duplicates_are_refused_when_the_study_is_strict(pictures, study, tmp_path):
    split = study.split.model_copy(update={"refuse_near_duplicates": True})
    strict = study.model_copy(update={"split": split})
    with pytest.raises(ValueError, match="1 near-duplicate slices lie in different splits"):
        preparation.prepare_slices(pictures, strict, tmp_path, {})


def test_the_known_near_duplicates_of_the_real_slices_are_found(real_data, tmp_path):
    study = load_study("covid_semiseg_cpu")
    found = preparation.prepare_slices(cohort.build(study, real_data), study, tmp_path, {})
    pairs = {tuple(pair) for pair in found[["slice_a", "slice_b"]].to_numpy().tolist()}
    known = {("5", "93"), ("17", "91"), ("46", "93")}  # the data set's README, by correlation
    assert pairs == {(f"covid_semiseg.train.{a}", f"covid_semiseg.test.{b}") for a, b in known}


def test_a_killed_preparation_leaves_no_array_behind(pictures, study, tmp_path, monkeypatch):
    def killed(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(preparation.images, "resize_mask", killed)
    with pytest.raises(KeyboardInterrupt):
        preparation.prepare_slices(pictures, study, tmp_path / "out", {})
    assert not list((tmp_path / "out").iterdir())


def test_examples_span_lesion_sizes_of_different_patients(pictures, study, tmp_path):
    preparation.prepare_slices(pictures, study, tmp_path, {})
    shown, masks = preparation.examples(pictures, tmp_path, count=3)
    assert shown.shape == masks.shape == (3, 64, 64)
    areas = (masks > 0).sum((1, 2))
    assert areas[0] < areas[1] < areas[2]
    assert shown.max() <= 1


def test_patients_of_the_phantom_may_look_alike(pictures, study, tmp_path):
    pictures.slices["patient_id"] = np.repeat(["a", "b", "c", "d"], [3, 3, 7, 7])
    raw = pictures.folders["covid_semiseg"]
    for row in pictures.slices.itertuples():
        path = raw / row.image_path
        Image.open(raw / pictures.slices["image_path"].iloc[row.Index % 3]).save(path)
    assert len(preparation.prepare_slices(pictures, study, tmp_path, {}))
    real = study.model_copy(update={"data": study.data.model_copy(update={"phantom": None})})
    with pytest.raises(ValueError, match="look like one patient's"):
        preparation.prepare_slices(pictures, real, tmp_path, {})
