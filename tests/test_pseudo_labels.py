"""Labelling by groups, on squares that are easy to find."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from ssinfnet import inference, networks, tables
from ssinfnet.data.batches import SliceSet
from ssinfnet.inference import pseudo_labels
from ssinfnet.study.config import AugmentationConfig, PseudoLabelConfig, TrainingConfig
from ssinfnet.training import segmentation
from ssinfnet.training.runs import Run

CPU = torch.device("cpu")
TRAINING = TrainingConfig(
    epochs=1, batch_size=4, learning_rate=1e-3, scales=(1.0,), augmentation=AugmentationConfig()
)
CONFIG = PseudoLabelConfig(group=2, groups=2, retraining=TRAINING)
RUN = Run(model="semi_infnet", width=0.125)


@pytest.fixture
def sets(square_slices):
    images, masks = square_slices
    labelled, validation = (SliceSet.of(images[p], masks[p]) for p in (slice(0, 4), slice(4, 6)))
    return labelled, SliceSet.of(images[6:]), validation


def label(sets, folder, config=CONFIG, seed=1):
    network = networks.seeded(0, networks.build_single, "infnet", 0.125)
    return pseudo_labels.label_by_groups(
        network, *sets, config, run=replace(RUN, seed=seed), folder=folder, device=CPU
    )


@pytest.fixture
def trained_on(monkeypatch):
    """What every retraining was given; the training itself is left out."""
    given = []

    def fit(network, train, validation, config, **more):
        given.append(train)
        return pd.DataFrame({"epoch": [1], "validation_f1": [0.5], "seconds": [2.0]})

    monkeypatch.setattr(segmentation, "fit_single", fit)
    return given


def test_each_group_is_learnt_before_the_next_is_labelled(sets, trained_on, tmp_path):
    found = label(sets, tmp_path)
    assert [len(train) for train in trained_on] == [6, 8]
    labelled, unlabelled, _ = sets
    for train in trained_on:
        torch.testing.assert_close(train.images[:4], labelled.images)
        torch.testing.assert_close(train.labels[:4], labelled.labels)
    torch.testing.assert_close(found.slices.images, unlabelled.images[found.order])
    torch.testing.assert_close(found.slices.labels, trained_on[-1].labels[4:])
    assert len(set(found.order.tolist())) == 4


def test_a_pseudo_label_is_what_the_network_finds(sets, trained_on, tmp_path, monkeypatch):
    def predict(network, slices, sizes, **more):
        for image in slices.images:
            yield (image > 90).numpy() * 0.5  # exactly at the threshold

    monkeypatch.setattr(inference.slices, "predict", predict)
    found = label(sets, tmp_path)
    torch.testing.assert_close(found.slices.labels, (found.slices.images > 90).byte())


def test_without_a_limit_every_unlabelled_slice_gets_a_label(sets, trained_on, tmp_path):
    found = label(sets, tmp_path, CONFIG.model_copy(update={"groups": None, "group": 4}))
    assert sorted(found.order.tolist()) == list(range(6))
    assert [len(train) for train in trained_on] == [8, 10]


def test_the_order_of_slices_is_the_seeds(sets, trained_on, tmp_path):
    orders = [label(sets, tmp_path, seed=seed).order.tolist() for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_killed_and_run_again_it_gives_the_same(sets, tmp_path):
    first = label(sets, tmp_path / "first")
    label(sets, tmp_path / "second", CONFIG.model_copy(update={"groups": 1}))  # stopped early
    again = label(sets, tmp_path / "second")
    torch.testing.assert_close(first.slices.labels, again.slices.labels, rtol=0, atol=0)
    assert first.history["validation_loss"].tolist() == again.history["validation_loss"].tolist()
    assert first.history["group"].tolist() == [1, 2]


def test_nothing_to_label_says_what_to_do(sets, tmp_path):
    labelled, unlabelled, validation = sets
    with pytest.raises(ValueError, match="no unlabelled slices of training patients"):
        label((labelled, SliceSet(unlabelled.images[:0]), validation), tmp_path)


def test_the_table_counts_groups(sets, trained_on, tmp_path):
    found = label(sets, tmp_path, CONFIG.model_copy(update={"groups": None, "group": 4}))
    labels = torch.zeros_like(found.slices.labels)
    labels[0, 0, :32], labels[4] = 1, 1
    config = CONFIG.model_copy(update={"group": 4})
    table = tables.pseudo_label_table(found.history, labels.numpy(), config)
    assert table["slices"].tolist() == [4, 2]
    assert table["slices_with_lesion"].tolist() == [1, 1]
    assert table["lesion_share"].tolist() == pytest.approx([1 / 8, 1 / 2])
    assert table["seconds"].tolist() == [2, 2]
