"""What needs no training, against scores counted by hand and by trying every band."""

import itertools

import numpy as np
import pytest
import torch

from ssinfnet.data.batches import SliceSet
from ssinfnet.evaluation import rivals


def drawn(rng, count=3, size=8, classes=3):
    """Slices of few grey values, the last of them without any lesion."""
    grey = rng.integers(0, 256, 6).astype(np.uint8)
    images = rng.choice(grey, (count, size, size))
    masks = rng.integers(0, classes, (count, size, size)).astype(np.uint8)
    masks[-1] = 0
    return images, masks


def f1(found, true):
    size = found.sum() + true.sum()
    return np.nan if size == 0 else 2 * (found & true).sum() / size


def test_everything_found_has_twice_p_over_one_plus_p():
    masks = np.zeros((1, 4, 4), np.uint8)
    masks[0, 0] = 1  # 4 of 16 pixels: p = 1/4, F1 = (1/2) / (5/4)
    slices = SliceSet.of(np.full((1, 4, 4), 9, np.uint8), masks)
    scores = rivals.rival_f1(slices, slices, by_class=False)
    assert scores[rivals.EVERYTHING] == pytest.approx(0.4)
    assert scores[rivals.NOTHING] == 0
    assert scores[rivals.BAND] == pytest.approx(0.4)  # one grey value: a band has all or nothing
    assert rivals.PRIOR not in scores


def test_a_slice_without_lesion_counts_against_everything_and_not_against_nothing():
    masks = np.zeros((2, 4, 4), np.uint8)
    masks[0, 0] = 1
    slices = SliceSet.of(np.zeros((2, 4, 4), np.uint8), masks)
    scores = rivals.rival_f1(slices, slices, by_class=False)
    assert scores[rivals.EVERYTHING] == pytest.approx(0.2)  # the mean of 0.4 and 0
    healthy = SliceSet.of(np.zeros((2, 4, 4), np.uint8), np.zeros((2, 4, 4), np.uint8))
    scores = rivals.rival_f1(slices, healthy, by_class=False)
    assert np.isnan(scores[rivals.NOTHING])  # 0/0 everywhere


def test_a_lesion_of_unknown_class_is_a_lesion_of_stage_1(rng):
    images, masks = drawn(rng)
    known = SliceSet.of(images, masks)
    unknown = SliceSet.of(images, np.where(masks > 0, 255, 0).astype(np.uint8))
    expected = rivals.rival_f1(known, known, by_class=False)
    assert rivals.rival_f1(unknown, unknown, by_class=False) == expected


@pytest.mark.parametrize("by_class", [False, True])
def test_the_best_band_is_that_of_a_search_over_all_bands(rng, by_class):
    images, masks = drawn(rng)
    truths = [masks == 1, masks == 2] if by_class else [masks > 0]
    ends = sorted(set(images.flatten().tolist()))
    best = [
        max(
            np.nanmean(
                [
                    f1((image >= low) & (image <= high), true)
                    for image, true in zip(images, truth, strict=True)
                ]
            )
            for low, high in itertools.combinations_with_replacement(ends, 2)
        )
        for truth in truths
    ]
    slices = SliceSet.of(images, masks)
    bands = rivals.best_bands(*rivals._grey_counts(slices, by_class))
    for (low, high), truth, expected in zip(bands, truths, best, strict=True):
        found = (images >= low) & (images <= high)
        means = np.nanmean([f1(*pair) for pair in zip(found, truth, strict=True)])
        assert means == pytest.approx(expected)


def test_a_band_without_a_pixel_in_a_healthy_slice_is_not_judged_there():
    images = np.array([[[10, 20, 20]], [[10, 10, 10]]], np.uint8)
    masks = np.array([[[1, 1, 1]], [[0, 0, 0]]], np.uint8)
    # 20 alone: 4/5 and 0/0; 10 to 20: 1 and 0. From 11 on it is the same band with lower ends.
    counts = rivals._grey_counts(SliceSet.of(images, masks), by_class=False)
    assert rivals.best_bands(*counts) == [(11, 20)]


def test_the_band_is_chosen_on_training_slices_alone():
    bright, dark = np.array([[[200, 10]]], np.uint8), np.array([[[10, 200]]], np.uint8)
    left = np.array([[[1, 0]]], np.uint8)
    train, validation = SliceSet.of(bright, left), SliceSet.of(dark, left)
    assert rivals.rival_f1(train, train, by_class=False)[rivals.BAND] == 1
    assert rivals.rival_f1(train, validation, by_class=False)[rivals.BAND] == 0


def test_the_prior_alone_is_given_to_the_class_that_is_commoner_in_training():
    masks = np.array([[[1, 1, 1, 2]]], np.uint8)
    priors = np.array([[[128, 255, 127, 255]]], np.uint8)  # at 0.5: the first two and the last
    slices = SliceSet.of(np.zeros((1, 1, 4), np.uint8), masks, priors)
    scores = rivals.rival_f1(slices, slices, by_class=True)
    # GGO: 2 of 3 hit, 3 said, 3 true: F1 = 2/3; consolidation is never said: 0
    assert scores[rivals.PRIOR] == pytest.approx(1 / 3)
    # GGO everywhere: 2 · 3 / (4 + 3); consolidation 0
    assert scores[rivals.EVERYTHING] == pytest.approx(3 / 7)


def test_f1_agrees_with_scikit_learn(rng):
    from sklearn.metrics import f1_score

    images, masks = drawn(rng)
    validation, _ = drawn(rng), None
    train, held = SliceSet.of(images, masks), SliceSet.of(*validation)
    ((low, high),) = rivals.best_bands(*rivals._grey_counts(train, by_class=False))
    found = (validation[0] >= low) & (validation[0] <= high)
    expected = [
        f1_score(true.flatten() > 0, one.flatten(), zero_division=np.nan)
        for true, one in zip(validation[1], found, strict=True)
    ]
    scores = rivals.rival_f1(train, held, by_class=False)
    assert scores[rivals.BAND] == pytest.approx(np.nanmean(expected))


def test_slices_f1_leaves_out_what_is_neither_predicted_nor_true():
    from ssinfnet.training.fitting import slice_f1

    predicted = torch.tensor([[[[1, 1, 0]], [[0, 0, 0]]]]).bool()
    true = torch.tensor([[[[1, 0, 0]], [[0, 0, 0]]]]).bool()
    assert slice_f1(predicted, true)[0, 0] == pytest.approx(2 / 3)
    assert slice_f1(predicted, true)[0, 1].isnan()
