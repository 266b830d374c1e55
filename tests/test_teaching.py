"""Self-training: what teachers label, whom it leaves out, and what the student learns from it."""

import numpy as np
import pytest
import torch

from ssinfnet.data import cohort, preparation
from ssinfnet.inference import teaching
from ssinfnet.storage import artifacts
from ssinfnet.study.config import StudentConfig, load_study
from ssinfnet.study.paths import StudyPaths
from ssinfnet.training import fitting, stages


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """Study smoke with two seeds, Inf-Net's teachers, and a student of one epoch."""
    study, paths = load_study("smoke"), StudyPaths("smoke", tmp_path_factory.mktemp("teaching"))
    single = study.single.model_copy(
        update={
            "student": StudentConfig(teachers=("sinfnet",), unlabelled_slices=9, epochs=1),
            "network": study.single.network.model_copy(
                update={"width": 0.125, "lite_weights": None}
            ),
        }
    )
    study = study.model_copy(update={"clinical": None, "single": single, "seeds": (1, 2)})
    built = cohort.build(study, cohort.raw_folder(study, paths))
    built.save(paths.cohort, {})
    preparation.prepare_slices(built, study, paths.cohort, {})
    return study, paths


@pytest.fixture
def teachers(opened, monkeypatch):
    """Make teachers of both seeds that see 0.2 and 0.9 on the left, and 0.2 and 0.7 elsewhere."""
    study, paths = opened
    asked = []
    for fold, part in ((0, 0), (0, 1)):
        for seed in study.seeds:
            folder = paths.single("sinfnet", fold, seed, part)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / fitting.WEIGHTS).write_text(f"{seed}")

    def probabilities(network, images, *, flipped_views):
        asked.append(network)
        maps = np.full((len(images), *images.shape[-2:]), 0.2 if network == 1 else 0.7, np.float32)
        maps[:, :, :5] = 0.2 if network == 1 else 0.9
        return maps

    monkeypatch.setattr(
        teaching.inference,
        "load",
        lambda folder: (int((folder / fitting.WEIGHTS).read_text()), None),
    )
    monkeypatch.setattr(teaching.inference, "predict_prepared", probabilities)
    return asked


def test_a_pixel_is_lesion_where_the_teachers_mean_is_a_half(opened, teachers):
    study, paths = opened
    taught = teaching.taught_slices(study, paths, "student_lite")
    assert teachers == [1, 2]
    assert len(taught) == 9  # evenly, at most
    assert taught.labels[..., :5].eq(1).all()  # 0.55
    assert taught.labels[..., 5:].eq(0).all()  # 0.45
    again = teaching.taught_slices(study, paths, "student_lite")
    assert teachers == [1, 2]  # kept beside the trainings
    assert torch.equal(again.labels, taught.labels)
    (paths.single("sinfnet", 0, 1) / fitting.WEIGHTS).write_text("2")  # another network now
    changed = teaching.taught_slices(study, paths, "student_lite")
    assert teachers == [1, 2, 2, 2]
    assert changed.labels.eq(1).all()


def test_models_that_are_no_students_are_taught_nothing(opened):
    study, paths = opened
    assert teaching.taught_slices(study, paths, "sinfnet") is None


@pytest.mark.parametrize("part", [0, 1])
def test_no_slice_of_a_patient_who_is_held_out_is_taught(opened, teachers, part):
    study, paths = opened
    study = study.model_copy(
        update={"single": study.single.model_copy(
            update={"student": StudentConfig(teachers=("sinfnet",))})}
    )  # fmt: skip
    own = cohort.Cohort.load(paths.cohort)
    # Give whoever is left out an unlabelled slice, as a patient with several scans has
    slices = own.slices.copy()
    left_out = own.leaving_out(1, study.multi.prior_parts).of_split(cohort.LEFT_OUT)
    unlabelled = own.of_split("unlabelled")
    slices.loc[unlabelled.index[0], "patient_id"] = left_out["patient_id"].iloc[0]
    renamed = cohort.Cohort(**{**vars(own), "slices": slices})
    renamed.save(paths.cohort, {})
    taught = teaching.taught_slices(study, paths, "student_lite", part=part)
    assert len(taught) == len(unlabelled) - part
    own.save(paths.cohort, {})


def test_a_study_without_unlabelled_slices_has_no_student(opened, teachers, monkeypatch):
    study, paths = opened
    monkeypatch.setattr(cohort.Cohort, "of_split", lambda self, *names: self.slices.iloc[:0])
    with pytest.raises(ValueError, match="no unlabelled slices of training patients to teach"):
        teaching.taught_slices(study, paths, "student_lite")


def test_a_student_learns_from_both(opened, teachers):
    study, paths = opened
    labelled = stages.single_slices(cohort.Cohort.load(paths.cohort).of_split("train"), paths)
    taught = teaching.taught_slices(study, paths, "student_lite")
    trained = stages.train_single(study, paths, "student_lite", taught=taught)
    assert len(trained.train) == len(labelled) + 9
    assert torch.equal(trained.train.labels[-9:], taught.labels)
    assert len(trained.history) == 1
    with pytest.raises(ValueError, match="student_lite learns from slices that teachers labelled"):
        stages.train_single(study, paths, "student_lite")
    with pytest.raises(ValueError, match="sinfnet does not learn from slices that teachers"):
        stages.train_single(study, paths, "sinfnet", taught=taught)


def test_the_labels_say_what_made_them(opened, teachers):
    study, paths = opened
    teaching.taught_slices(study, paths, "student_lite")
    said = artifacts.read_json(paths.taught(0).with_name("labels.npz.json"))
    assert len(said["parameters"]["slices"]) == 9
    assert set(said["parameters"]["teachers"]) == {"sinfnet, seed 1", "sinfnet, seed 2"}
