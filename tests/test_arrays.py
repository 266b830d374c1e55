"""Training on arrays as a beginner does: what is split off, scored, drawn and refused."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import ssinfnet as ss
from ssinfnet.scans.arrays import Trained
from ssinfnet.training import segmentation

HISTORY = pd.DataFrame(
    {"epoch": [1, 2, 3], "validation_f1": [0.1, 0.61, 0.5], "best": [True, True, False]}
)


class LeftHalf(nn.Module):
    """Sees lesion in the left half of every slice."""

    tells_classes = False

    def forward(self, x):
        logits = torch.full_like(x[:, :1], -30.0)
        logits[..., : x.shape[-1] // 2] = 30.0
        return SimpleNamespace(segmentations=(logits,))


@pytest.fixture
def halves():
    """Slices whose truth is the left half, the upper half, and nothing."""
    masks = np.zeros((3, 32, 32), np.uint8)
    masks[0, :, :16] = 1
    masks[1, :16] = 2
    return np.full((3, 32, 32), 9, np.uint8), masks


@pytest.fixture
def given(monkeypatch):
    """Receives what the training itself is given."""
    seen = []

    def fit(network, train, validation, config, **more):
        seen.append((network, train, validation))
        return HISTORY

    monkeypatch.setattr(segmentation, "fit_single", fit)
    return seen


def patients_of(slices):
    return {int(value) for value in slices.images.unique()}


def ten_patients():
    """Three slices a patient, each of the patient's own grey; half of the patients have lesions."""
    names = np.repeat(np.arange(10, dtype=np.uint8), 3)
    images = np.broadcast_to(names[:, None, None], (30, 32, 32)).copy()
    return images, (images % 2 == 0).astype(np.uint8), names


def test_a_fifth_is_split_off_for_validation_and_patients_stay_whole(given):
    images, masks, names = ten_patients()
    trained = ss.train(images, masks, patients=names)
    ((network, train, validation),) = given
    assert isinstance(network, ss.InfNet)
    assert (len(train), len(validation)) == trained.slices == (24, 6)
    assert trained.patients == (8, 2)
    assert not patients_of(train) & patients_of(validation)
    assert validation.labels.any()


def test_the_split_and_the_start_follow_from_the_seed(given):
    images, masks, names = ten_patients()
    for seed in (1, 1, 2):
        ss.train(images, masks, patients=names, seed=seed)
    weights = [next(network.parameters()) for network, _, _ in given]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    validated = [patients_of(validation) for _, _, validation in given]
    assert validated[0] == validated[1] != validated[2]


def test_a_network_and_a_validation_set_of_ones_own_are_taken_as_they_are(given, halves):
    network, other = LeftHalf(), ten_patients()[:2]
    trained = ss.train(*halves, network=network, validation=other)
    assert trained.network is given[0][0] is network
    assert (trained.slices, trained.patients) == ((3, 30), None)


def test_a_trained_network_says_what_it_is():
    said = repr(Trained(LeftHalf(), HISTORY, (24, 6), (8, 2)))
    assert said == (
        "LeftHalf, trained on 24 slices of 8 patients: best of 3 epochs was 2, "
        "F1 0.61 on 6 validation slices of 2 patients"
    )
    assert " patients" not in repr(Trained(LeftHalf(), HISTORY, (24, 6)))


def test_scores_are_means_over_slices_with_intervals_over_patients(halves):
    trained = Trained(LeftHalf(), HISTORY, (24, 6))
    of_slices = trained.score(*halves)
    # The second has a quarter of its pixels right, one too many and one missed; the third has no
    # lesion, so no recall
    expected = {
        "F1": (1 + 1 / 2 + 0) / 3,
        "IoU": (1 + 1 / 3 + 0) / 3,
        "Recall": (1 + 1 / 2) / 2,
        "Precision": (1 + 1 / 2 + 0) / 3,
    }
    assert of_slices["mean"].to_dict() == pytest.approx(expected)
    assert of_slices["n"].to_dict() == {"F1": 3, "IoU": 3, "Recall": 2, "Precision": 3}
    of_patients = trained.score(*halves, patients=["a", "b", "b"])
    assert of_patients["n_patients"].tolist() == [2] * 4
    assert of_patients.loc["F1", ["low", "high"]].tolist() == [1 / 4, 1]  # two of b, two of a
    with pytest.raises(ValueError, match=r"patients are \(2,\); expected one a slice, \(3,\)"):
        trained.score(*halves, patients=["a", "b"])


def test_a_slice_is_drawn_beside_what_is_seen_and_the_truth(halves):
    trained, (images, masks) = Trained(LeftHalf(), HISTORY, (24, 6)), halves
    for drawn, panels in ((trained.plot(images[0]), 2), (trained.plot(images[0], masks[0]), 3)):
        assert isinstance(drawn, Figure)
        assert len(drawn.axes) == panels


IMAGES, MASKS = np.zeros((4, 32, 32), np.uint8), np.ones((4, 32, 32), np.uint8)


@pytest.mark.parametrize(
    ("passed", "more", "words"),
    [
        ((IMAGES / 255, MASKS), {}, r"images are float64 \(4, 32, 32\); expected uint8.*np\.rint"),
        ((IMAGES[0], MASKS[0]), {}, r"images have shape \(32, 32\); expected \(n, size, size\)"),
        ((IMAGES[:, :, :30], MASKS), {}, r"shape \(4, 32, 30\)"),
        ((IMAGES[:, :30, :30], MASKS), {}, "size a multiple of 32"),
        ((IMAGES, MASKS[:3]), {}, "got 4 images and 3 masks.*leave out the slices without labels"),
        ((IMAGES, MASKS[:, :16]), {}, r"masks have shape \(4, 16, 32\), the images \(4, 32, 32\)"),
        ((IMAGES, None), {}, "masks are a NoneType"),
        ((IMAGES, MASKS * 255), {}, "such values as 255; expected 0 background.*masks > 0"),
        ((IMAGES, MASKS / 2), {}, "such values as 0.5"),
        ((IMAGES, MASKS * 0), {}, "none of the 3 train masks marks a lesion"),
        ((nn.Identity(), (IMAGES, MASKS)), {}, "images are a Identity.*network="),
        ((IMAGES, MASKS), {"patients": list("aaaa")}, "4 slices of one patient cannot be split"),
        ((IMAGES, MASKS), {"patients": list("abc")}, "expected one a slice"),
        ((IMAGES, MASKS), {"validation": (IMAGES, MASKS[:1])}, "4 validation images and 1 masks"),
        ((IMAGES, MASKS), {"patients": list("abcd"), "validation": (IMAGES, MASKS)}, "pass one"),
        ((IMAGES, MASKS), {"priors": MASKS / 1}, "priors are float64"),
    ],
)
def test_an_error_names_what_was_passed_and_what_was_expected(passed, more, words):
    with pytest.raises(ValueError, match=words):
        ss.train(*passed, **more)
