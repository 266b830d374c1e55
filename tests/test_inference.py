from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from ssinfnet import inference, networks
from ssinfnet.data import batches, images, slice_sets
from ssinfnet.storage import artifacts
from ssinfnet.study.config import TrainingConfig, load_study
from ssinfnet.study.paths import PREDICTIONS, StudyPaths
from ssinfnet.training import checkpoints, fitting, segmentation
from ssinfnet.training.runs import Run

CPU = torch.device("cpu")


def random_slices(count, size):
    rng = np.random.default_rng(0)
    return batches.SliceSet.of(rng.integers(0, 255, (count, size, size)).astype(np.uint8))


def test_probabilities_come_at_each_slices_own_size():
    network = networks.seeded(0, networks.build_single, "infnet", 0.125)
    slices = random_slices(3, 64)
    sizes = [(50, 70), (64, 64), (130, 33)]
    maps = list(inference.predict(network, slices, sizes, batch_size=2, device=CPU))
    assert [m.shape for m in maps] == [(1, *size) for size in sizes]
    assert all(m.dtype == np.float16 and m.min() >= 0 and m.max() <= 1 for m in maps)


def test_batch_size_does_not_change_the_prediction():
    network = networks.seeded(0, networks.build_single, "unet", 0.125)
    slices = random_slices(5, 64)
    one, five = (
        np.stack(
            list(inference.predict(network, slices, [(64, 64)] * 5, batch_size=size, device=CPU))
        )
        for size in (1, 5)
    )
    np.testing.assert_allclose(one.astype(float), five.astype(float), atol=2e-3)


def test_flipped_views_are_averaged_after_they_are_flipped_back():
    class Left(torch.nn.Module):
        """Marks the left quarter of whatever it sees."""

        tells_classes = False

        def forward(self, x):
            from ssinfnet.networks.unet import UNetOutput

            logits = torch.full_like(x[:, :1], -30.0)
            logits[..., :16] = 30.0
            return UNetOutput(logits)

    slices, sizes = random_slices(1, 64), [(64, 64)]
    (one,) = inference.predict(Left(), slices, sizes, device=CPU)
    (four,) = inference.predict(Left(), slices, sizes, device=CPU, flipped_views=True)
    assert (one[0, 0, :16] == 1).all()
    assert (one[0, 0, 16:] == 0).all()
    np.testing.assert_array_equal(four[0, 0], np.repeat([0.5, 0, 0, 0.5], 16))


def test_a_network_without_evidence_predicts_no_lesion():
    # D-08: min–max normalisation would turn the slice's highest value into a lesion.
    class Healthy(torch.nn.Module):
        tells_classes = False

        def forward(self, x):
            from ssinfnet.networks.unet import UNetOutput

            return UNetOutput(-5 + x[:, :1] * 0.01)

    slices = random_slices(1, 32)
    (probability,) = inference.predict(Healthy(), slices, [(32, 32)], device=CPU)
    assert probability.max() < 0.01


def test_sizes_must_match_slices():
    network = networks.seeded(0, networks.build_single, "unet", 0.125)
    with pytest.raises(ValueError, match="2 slices and 1 sizes"):
        list(inference.predict(network, random_slices(2, 32), [(9, 9)]))


def test_a_trained_network_comes_back_with_what_made_it(square_slices, tmp_path):
    slices = batches.SliceSet.of(*square_slices)
    network = networks.seeded(3, networks.build_single, "unet", 0.125)
    segmentation.fit_single(
        network,
        slices,
        slices,
        TrainingConfig(epochs=1, scales=(1.0,)),
        device=CPU,
        folder=tmp_path,
        run=Run(model="unet", width=0.125, seed=3),
    )
    loaded, run = inference.load(tmp_path)
    assert run == Run(model="unet", width=0.125, seed=3)
    assert not loaded.training
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(loaded(x).logits, network.eval()(x).logits)


def test_building_a_seeded_network_leaves_the_global_generator_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    networks.seeded(0, networks.build_single, "unet", 0.125)
    assert torch.equal(torch.rand(1), expected)


class Traced:
    """Two training patients in two parts and one test patient, with maps that name their maker."""

    def __init__(self, root):
        self.paths = StudyPaths("smoke", root)
        self.rows = pd.DataFrame(
            {
                "slice_id": ["a1", "a2", "b1", "t1"],
                "patient_id": ["a", "a", "b", "t"],
                "split": ["train", "train", "train", "test"],
            }
        )
        self.write(0, {name: 0.9 for name in ("t1",)})
        self.write(1, {"a1": 0.1, "a2": 0.1})
        self.write(2, {"b1": 0.2})

    def write(self, part, made, fold=0):
        maps = {name: np.full((1, 40, 50), value, np.float16) for name, value in made.items()}
        folder = self.paths.single("sinfnet", fold, 1, part)
        artifacts.write_arrays(folder / PREDICTIONS, maps, {})

    def maps(self, **changed):
        given = {"kind": "predicted", "fold": 0, "seed": 1, "size": 32} | changed
        given.setdefault("cross_fitted", [(0, 1), (0, 2)])
        kind = given.pop("kind")
        return slice_sets.prior_maps(self.rows, kind, self.paths, **given)


def test_each_slices_prior_comes_from_the_network_that_did_not_see_its_patient(tmp_path):
    maps = Traced(tmp_path).maps()
    assert maps.shape == (4, 32, 32)
    assert maps.dtype == np.uint8
    assert [int(m[0, 0]) for m in maps] == [25, 25, 51, 229]  # 0.1, 0.1, 0.2, 0.9 in half precision


def test_a_training_slice_never_gets_the_prior_of_the_network_of_all_patients(tmp_path):
    traced = Traced(tmp_path)
    traced.write(0, {"t1": 0.9, "a1": 0.9, "a2": 0.9, "b1": 0.9})  # as if it had predicted all
    assert [int(m[0, 0]) for m in traced.maps()][:3] == [25, 25, 51]


def test_in_a_fold_each_slices_prior_knows_neither_its_patient_nor_the_test_patients(tmp_path):
    traced = Traced(tmp_path)
    # Fold 2 tests; a is of fold 1, b of fold 3. A network without two folds predicts both.
    traced.write(0, {"t1": 0.9}, fold=2)
    traced.write(2, {"a1": 0.1, "a2": 0.1, "t1": 0.5}, fold=1)
    traced.write(3, {"b1": 0.2, "t1": 0.5}, fold=2)
    maps = traced.maps(fold=2, cross_fitted=load_study("paper").cross_fitted(2))
    assert [int(m[0, 0]) for m in maps] == [25, 25, 51, 229]


def test_a_slice_without_prior_or_with_two_is_refused(tmp_path):
    traced = Traced(tmp_path)
    traced.write(2, {})
    with pytest.raises(ValueError, match=r"1 slices have no prior, such as \['b1'\]"):
        traced.maps()
    traced.write(2, {"b1": 0.2, "a2": 0.2})
    with pytest.raises(ValueError, match=r"slices \['a2'\] have two priors"):
        traced.maps()


def test_the_oracles_prior_is_the_lesion_itself(tmp_path):
    traced = Traced(tmp_path)
    masks = np.zeros((4, 32, 32), np.uint8)
    masks[0, 0, 0], masks[1, 0, 0] = 1, 2
    traced.paths.cohort.mkdir(parents=True)
    np.save(traced.paths.cohort / "masks.npy", masks)
    maps = traced.maps(kind="ground_truth")
    np.testing.assert_array_equal(maps, np.where(masks > 0, 255, 0))


def test_another_kind_of_prior_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'predicted' or 'ground_truth'"):
        Traced(tmp_path).maps(kind="guessed")


def test_stage_2_predicts_three_classes_with_the_prior_as_input():
    network = networks.seeded(0, networks.build_multi, "unet", True, 0.125)
    slices = random_slices(2, 64)
    blank, full = (
        replace(slices, priors=torch.full_like(slices.images, value)) for value in (0, 255)
    )
    one, other = (
        np.stack(list(inference.predict(network, s, [(50, 70)] * 2, device=CPU)))
        for s in (blank, full)
    )
    assert one.shape == (2, 3, 50, 70)
    assert not np.array_equal(one, other)


class Unlabelled:
    """A cohort of two training slices, one for validation, five without labels."""

    splits = ["train", "train", "validation", *["unlabelled"] * 5]

    def __init__(self):
        patients = [f"p{number}" for number in range(8)]
        self.slices = pd.DataFrame({"split": self.splits, "patient_id": patients})

    def of_split(self, *splits):
        return self.slices[self.slices["split"].isin(splits)]

    with_classes = of_split


@pytest.fixture
def unlabelled(tmp_path):
    paths = StudyPaths("smoke", tmp_path)
    paths.cohort.mkdir(parents=True)
    numbered = np.arange(8, dtype=np.uint8)[:, None, None] * np.ones((1, 32, 32), np.uint8)
    np.save(paths.cohort / "images.npy", numbered)
    np.save(paths.cohort / "masks.npy", numbered * 0)
    artifacts.write_table(paths.cohort / "cohort.parquet", Unlabelled().slices, {})
    return paths


def seen(paths, split, most, seed=1):
    study = load_study("smoke")
    pretext = study.single.pretext.model_copy(update={"unlabelled_slices": most})
    study = study.model_copy(
        update={"single": study.single.model_copy(update={"pretext": pretext})}
    )
    slices = slice_sets.pretext_slices(Unlabelled(), split, "single", study, paths, 0, seed)
    assert slices.labels is None
    return slices.images[:, 0, 0, 0].tolist()


def test_stage_1s_pretraining_sees_unlabelled_slices_and_validation_does_not(unlabelled):
    assert seen(unlabelled, "train", None) == [0, 1, 3, 4, 5, 6, 7]
    assert seen(unlabelled, "validation", None) == [2]


def test_pretraining_sees_no_unlabelled_slice_of_a_patient_who_validates(unlabelled):
    stored = Unlabelled().slices
    stored.loc[4, "patient_id"] = stored.loc[2, "patient_id"]
    artifacts.write_table(unlabelled.cohort / "cohort.parquet", stored, {})
    assert seen(unlabelled, "train", None) == [0, 1, 3, 5, 6, 7]


def test_a_study_may_limit_the_unlabelled_slices(unlabelled):
    few = seen(unlabelled, "train", 2)
    assert few[:2] == [0, 1]
    assert len(few) == 4
    assert set(few[2:]) < {3, 4, 5, 6, 7}
    assert few == seen(unlabelled, "train", 2)
    assert seen(unlabelled, "train", 0) == [0, 1]


def test_stage_2s_pretraining_sees_slices_with_priors_alone(unlabelled, monkeypatch):
    monkeypatch.setattr(
        slice_sets, "prior_maps", lambda rows, *_, **__: np.full((len(rows), 32, 32), 9, np.uint8)
    )
    study = load_study("smoke")
    slices = slice_sets.pretext_slices(Unlabelled(), "train", "multi", study, unlabelled, 0, 1)
    assert len(slices) == 2
    assert slices.priors.unique().tolist() == [9]
    assert slices.labels is None


def test_stage_2_says_that_masks_of_lesion_alone_teach_it_nothing(unlabelled):
    rows = Unlabelled().with_classes("train").iloc[:0]
    with pytest.raises(ValueError, match=r"train stage 1 alone: multi: \{models: \[\]"):
        slice_sets.multi_slices(rows, load_study("smoke"), unlabelled, 0, 1, "predicted")


class Elsewhere(Unlabelled):
    """Another study's cohort: five test slices of 40 × 50 pixels."""

    splits = ["train", "train", "validation", *["test"] * 5]

    def __init__(self):
        super().__init__()
        names = [f"s{i}" for i in range(8)]
        self.slices = self.slices.assign(slice_id=names, height=40, width=50)


@pytest.fixture
def moved(tmp_path, monkeypatch):
    """A study with two trained networks, and another one's prepared slices."""
    study = load_study("smoke").model_copy(update={"image_size": 32})
    other = study.model_copy(update={"name": "other"})
    paths = StudyPaths("smoke", tmp_path)
    rng = np.random.default_rng(5)
    for name in ("images", "masks"):
        path = StudyPaths("other", tmp_path).cohort / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, rng.integers(0, 255, (8, 32, 32)).astype(np.uint8))
    monkeypatch.setattr(inference.studies.Cohort, "load", lambda folder: Elsewhere())
    trained = {
        ("single", "sinfnet"): networks.seeded(1, networks.build_single, "infnet", 0.125),
        ("multi", "sinfnet"): networks.seeded(2, networks.build_multi, "unet", True, 0.125),
    }
    for (stage, model), network in trained.items():
        run = {"stage": stage, "model": model, "width": 0.125}
        checkpoints.save(
            getattr(paths, stage)(model, 0, 1) / fitting.WEIGHTS,
            network.state_dict(),
            {"run": run, "finished": True, "history": []},
        )
    return study, other, paths, trained


def test_networks_predict_another_studys_test_slices_with_priors_of_their_own(moved):
    study, other, paths, trained = moved
    into = inference.predict_elsewhere(study, paths, other, ["sinfnet"], ["sinfnet"])
    assert into.single("sinfnet", 0, 1).is_relative_to(paths.runs / "on_other")
    single = artifacts.read_arrays(into.single("sinfnet", 0, 1) / PREDICTIONS)
    assert sorted(single) == ["s3", "s4", "s5", "s6", "s7"]
    assert single["s3"].shape == (1, 40, 50)
    stored = np.load(StudyPaths("other", paths.root).cohort / "images.npy")[3:]
    slices = batches.SliceSet.of(stored)
    expected = inference.predict(trained["single", "sinfnet"], slices, [(40, 50)] * 5)
    np.testing.assert_array_equal(np.stack(list(expected)), np.stack(list(single.values())))
    priors = np.stack([images.resize_image(m[0].astype(np.float32), 32) for m in single.values()])
    given = batches.SliceSet.of(stored, None, np.rint(priors * 255).astype(np.uint8))
    expected = inference.predict(trained["multi", "sinfnet"], given, [(40, 50)] * 5)
    multi = artifacts.read_arrays(into.multi("sinfnet", 0, 1) / PREDICTIONS)
    np.testing.assert_array_equal(np.stack(list(expected)), np.stack(list(multi.values())))


def test_slices_of_another_size_are_refused(moved):
    study, other, paths, _ = moved
    larger = other.model_copy(update={"image_size": 64})
    with pytest.raises(ValueError, match="read 32 px and 'other' prepared 64 px"):
        inference.predict_elsewhere(study, paths, larger, ["sinfnet"], [])


def test_the_test_loss_of_stage_2_is_the_plain_cross_entropy(moved):
    _, _, paths, trained = moved
    rng = np.random.default_rng(6)
    arrays = [rng.integers(0, high, (3, 32, 32)).astype(np.uint8) for high in (255, 3, 255)]
    slices = batches.SliceSet.of(*arrays)
    given = (slices.images.float() / 255, slices.priors.float() / 255)
    grey = batches.network_input(*given, tells_classes=True)
    network = trained["multi", "sinfnet"].eval()
    with torch.no_grad():
        logits = network(grey).logits
    truth = torch.cat([slices.labels == label for label in range(3)], 1).float()
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
    loss = inference.held_out_loss(paths.multi("sinfnet", 0, 1), slices, CPU)
    assert loss == pytest.approx(expected.item(), rel=1e-5)
