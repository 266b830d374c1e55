"""The trainings of a study by name: what each starts from, leaves out, and writes down."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import ROOT

from ssinfnet import inference, networks
from ssinfnet.data import cohort, preparation
from ssinfnet.networks.efficientnet import installed_weights
from ssinfnet.study.config import load_study
from ssinfnet.study.paths import PREDICTIONS, StudyPaths
from ssinfnet.training import checkpoints, fitting, stages
from ssinfnet.training.runs import Run

WIDTH = 0.125


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Study smoke with a cohort of its own, a pretraining that nobody trained, and one epoch."""
    folder = tmp_path_factory.mktemp("stages")
    study, paths = load_study("smoke"), StudyPaths("smoke", folder)
    study = study.model_copy(
        update={
            "clinical": None,
            "multi": shortened(study.multi),
            "single": shortened(study.single),
        }
    )
    built = cohort.build(study, cohort.raw_folder(study, paths))
    built.save(paths.cohort, {})
    preparation.prepare_slices(built, study, paths.cohort, {})
    return study, paths


def shortened(stage):
    training = stage.training.model_copy(update={"epochs": 1})
    size = stage.network.model_copy(update={"width": WIDTH})
    return stage.model_copy(update={"training": training, "network": size})


def test_a_cross_fitted_network_predicts_whom_it_has_not_seen(opened):
    study, paths = opened
    trained = stages.train_single(study, paths, "sinfnet", part=1)
    rows = cohort.Cohort.load(paths.cohort).of_split("train")
    maps = inference.predict_held_out(study, paths, trained, {})
    left_out = set(rows.loc[rows["slice_id"].isin(maps), "patient_id"])
    assert left_out
    assert len(trained.train) == (~rows["patient_id"].isin(left_out)).sum()
    assert (trained.folder / PREDICTIONS).is_file()
    assert trained.folder == paths.single("sinfnet", 0, 1, part=1)


def test_the_weights_say_what_was_trained(opened):
    study, paths = opened
    trained = stages.train_single(study, paths, "sinfnet", part=1)
    network, run = inference.load(trained.folder)
    assert run == trained.run
    assert run == Run(study="smoke", model="sinfnet", width=WIDTH, part=1)
    for name, value in network.state_dict().items():
        assert torch.equal(value, trained.network.state_dict()[name]), name


def test_a_pretrained_model_starts_from_all_but_the_heads(opened):
    study, paths = opened
    inpainter = networks.seeded(9, networks.build_inpainter, "single", WIDTH)
    folder = paths.pretraining("single", 0, 1)
    checkpoints.save(folder / fitting.WEIGHTS, inpainter.state_dict(), {"finished": True})
    trained = stages.train_single(study, paths, "ssinfnet")
    assert trained.transfer.left_as_they_were
    heads = [networks.is_head(trained.network, name) for name in trained.transfer.loaded]
    assert not any(heads)
    assert f"{len(trained.transfer.loaded)} pretrained tensors" in repr(trained)


def test_the_lite_network_is_pretrained_and_gives_priors_where_a_study_says_so(opened):
    study, paths = opened
    paths = replace(paths, study="lite_priors")
    cohort.Cohort.load(opened[1].cohort).save(paths.cohort, {})
    for name in ("images.npy", "masks.npy", "prepared.json"):
        (paths.cohort / name).write_bytes((opened[1].cohort / name).read_bytes())
    phases = study.single.pretext.phases[:1]
    size = study.single.network.model_copy(update={"lite_weights": None})
    single = study.single.model_copy(
        update={
            "pretrained_network": "infnet_lite",
            "network": size,
            "pretext": study.single.pretext.model_copy(update={"phases": phases}),
        }
    )
    multi = study.multi.model_copy(update={"prior_model": "ssinfnet_lite"})
    study = study.model_copy(update={"single": single, "multi": multi})
    stages.pretrain_stage(study, paths, "single")
    with pytest.raises(FileNotFoundError, match="ssinfnet_lite"):
        stages.train_multi(study, paths, "sinfnet")
    for part in (0, 1, 2):
        trained = stages.train_single(study, paths, "ssinfnet_lite", part=part)
        inference.predict_held_out(study, paths, trained, {})
        heads = {name.rpartition(".")[0] for name in trained.transfer.left_as_they_were}
        assert all(networks.is_head(trained.network, f"{name}.") for name in heads)
        assert any(name.startswith("backbone.") for name in trained.transfer.loaded)
    priors = stages.train_multi(study, paths, "sinfnet").train.priors
    assert len(priors.unique()) > 2  # probabilities, no masks


def test_the_lite_networks_of_both_stages_start_from_their_weights(opened, monkeypatch):
    """None where the study says so, and those of the package otherwise."""
    study, paths = opened
    started = []
    monkeypatch.setattr(networks.LiteUNet, "load_imagenet", lambda _, file: started.append(file))
    stages.train_single(study, paths, "unet_lite")
    stages.train_multi(study, paths, "sinfnet_lite", prior="ground_truth")
    assert started == [str(installed_weights())] * 2
    at_random = study.multi.network.model_copy(update={"lite_weights": None})
    multi = study.multi.model_copy(update={"network": at_random})
    study = study.model_copy(update={"multi": multi})
    stages.train_multi(study, paths, "sinfnet_lite", seed=2, prior="ground_truth")
    assert len(started) == 2


def test_an_oracle_reads_the_true_lesion(opened):
    study, paths = opened
    trained = stages.train_multi(study, paths, "sinfnet", prior="ground_truth")
    lesion = (trained.train.labels > 0).byte() * 255
    assert torch.equal(trained.train.priors, lesion)
    assert trained.run.prior == "ground_truth"


def test_a_model_without_prior_says_so(opened):
    study, paths = opened
    trained = stages.train_multi(study, paths, "unet")
    assert trained.train.priors is None
    assert inference.load(trained.folder)[1].prior is None


@pytest.mark.parametrize("stage", ["single", "multi"])
def test_a_stage_trains_on_lesions_alone_and_is_judged_on_all_slices(opened, stage):
    study, paths = opened
    built = cohort.Cohort.load(paths.cohort)
    arrays = {name: np.load(paths.cohort / f"{name}.npy") for name in ("images", "masks")}
    rows = built.of_split if stage == "single" else built.with_classes
    healthy = [*rows("train").index[:3], *rows("validation").index[:1]]
    built.slices.loc[healthy, "has_lesion"] = False
    arrays["masks"][healthy] = 0
    paths = replace(paths, study="some_healthy")
    built.save(paths.cohort, {})
    for name, array in arrays.items():
        np.save(paths.cohort / f"{name}.npy", array)
    config = getattr(study, stage)
    training = config.training.model_copy(update={"lesion_alone": True, "epochs": 1})
    study = study.model_copy(update={stage: config.model_copy(update={"training": training})})
    train = stages.train_single if stage == "single" else stages.train_multi
    trained = train(study, paths, "unet")
    assert len(trained.train) == len(rows("train")) - 3
    assert (trained.train.labels > 0).flatten(1).any(1).all()
    assert len(trained.validation) == len(rows("validation"))


def test_a_pretraining_leaves_weights_without_a_model(opened):
    study, paths = opened
    pretext = study.single.pretext
    phases = tuple(phase.model_copy(update={"epochs": 1}) for phase in pretext.phases[:1])
    single = study.single.model_copy(
        update={"pretext": pretext.model_copy(update={"phases": phases})}
    )
    study = study.model_copy(update={"single": single})
    left = stages.pretrain_stage(study, paths, "single", seed=2)
    assert left.run == Run(study="smoke", width=WIDTH, seed=2)
    assert "model" not in left.run.record()
    with pytest.raises(ValueError, match="does not say which model"):
        inference.load(left.folder)


def test_runs_of_earlier_versions_are_read():
    stored = {"stage": "multi", "model": "unet", "width": 1.0, "seed": 4, "prior": None,
              "training": {"epochs": 3}, "start_and_data": "…"}  # fmt: skip
    assert Run.read(stored) == Run(stage="multi", model="unet", width=1.0, seed=4)
    assert "part" not in replace(Run.read(stored), part=2).record()


def test_no_notebook_describes_its_training_by_hand():
    for path in ROOT.glob("notebooks/*.ipynb"):
        assert '"stage": "single"' not in path.read_text(encoding="utf-8"), path.name
