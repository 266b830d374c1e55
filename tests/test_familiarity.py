"""Slices unlike the training slices: statistics by hand, and what a prediction says of them."""

import json

import numpy as np
import pytest
from scan_files import write_nifti

from ssinfnet.scans import Place, familiarity, model_folder, read_scan
from ssinfnet.scans.familiarity import doubt, learn, statistics, unfamiliar
from ssinfnet.scans.prediction import Predictor


def test_statistics_of_slices_that_are_known():
    flat = np.full((1, 32, 32), 51, np.uint8)
    np.testing.assert_allclose(statistics(flat)[0], [0.2] * 8 + [0.0] * 4)
    halves = np.zeros((1, 32, 32), np.uint8)
    halves[:, :, 16:] = 255
    found = statistics(halves)[0]
    np.testing.assert_allclose(found[:5], [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(found[5:8], 0.5)
    # One of 31 neighbours across, and two of 30 that are two pixels apart, differ; none along
    np.testing.assert_allclose(found[8:10], [1 / 31 / 2, 2 / 30 / 2])
    np.testing.assert_allclose(found[10:], 0.5)
    framed = np.full((1, 30, 30), 255, np.uint8)
    framed[:, 5:-5, 5:-5] = 0
    np.testing.assert_allclose(statistics(framed)[0][5:8], [1, 0, 0])


def test_the_limit_is_between_patients_not_between_slices_of_one():
    grey = np.repeat([50, 60, 70, 80], 5)  # five equal slices a patient
    slices = np.broadcast_to(grey.astype(np.uint8)[:, None, None], (20, 32, 32))
    learnt = learn(slices, [str(value) for value in grey])
    step = np.linalg.norm(np.full(8, 10 / 255) / np.std(grey / 255))
    assert learnt.limit == pytest.approx(step, rel=1e-3)
    shown = np.broadcast_to(np.array([85, 95], np.uint8)[:, None, None], (2, 32, 32))
    assert unfamiliar(learnt, shown).tolist() == [False, True]
    with pytest.raises(ValueError, match="of one patient"):
        learn(slices, ["a"] * 20)


def test_many_training_slices_are_thinned():
    slices = np.random.default_rng(0).integers(0, 255, (600, 16, 16)).astype(np.uint8)
    assert len(learn(slices, [str(index % 7) for index in range(600)]).known) == familiarity.MOST


def test_a_scan_is_doubted_where_most_of_its_slices_are_unfamiliar():
    assert doubt(np.array([True, False])) == ""
    assert doubt(np.array([True, True, False])).startswith("2 of 3 slices look like none")


def test_a_prediction_of_noise_says_so_and_one_of_a_test_slice_does_not(packed, tmp_path):
    model = model_folder.load(packed.model)
    assert 0 <= model.description.familiar.false_alarms < 0.5
    predictor = Predictor.of(model, device="cpu")
    noise = np.random.default_rng(0).integers(-1000, 400, (2, 64, 64))
    read = packed.cohort.read(packed.cohort.of_split("test"))
    grey = np.stack([image for _, image, _ in read])
    shown = {"noise": noise, "test": np.rint(grey * 1400 - 1000).astype(np.int16)}
    reasons = {
        name: predictor(read_scan(Place(name, write_nifti(tmp_path / f"{name}.nii", hu)))).row[
            "reason"
        ]
        for name, hu in shown.items()
    }
    assert "2 of 2 slices look like none that the model was trained on" in reasons["noise"]
    assert "look like none" not in reasons["test"]


def test_a_model_of_an_earlier_version_knows_no_training_slices(packed):
    described = model_folder.load(packed.model).description
    content = described.model_dump(mode="json", by_alias=True)
    del content["familiar"]
    assert model_folder.Description.model_validate_json(json.dumps(content)).familiar is None
