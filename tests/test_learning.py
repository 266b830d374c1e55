"""What trainings leave of their learning, who is named, and which rows of tables are marked."""

import json
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from ssinfnet import inference, networks, report, tables
from ssinfnet.data.batches import SliceSet
from ssinfnet.evaluation import learning, learnt
from ssinfnet.evaluation.learnt import Training
from ssinfnet.networks.unet import UNetOutput
from ssinfnet.storage import artifacts
from ssinfnet.study import schedule
from ssinfnet.study.config import TrainingConfig, load_study
from ssinfnet.study.paths import LEARNING, StudyPaths
from ssinfnet.training import segmentation
from ssinfnet.training.runs import Run

CPU = torch.device("cpu")
MADE = {"study": "smoke", "parameters": {}, "versions": {}, "inputs": {}}
RIVALS = {"nothing found": 0.0, "everything found": 0.2, "the best grey band": 0.35}


class Constant(nn.Module):
    """A network that says the same of every pixel: logits, one a channel."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, inputs):
        shape = (len(inputs), len(self.logits), *inputs.shape[2:])
        return UNetOutput(self.logits[None, :, None, None].expand(shape))


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A checkout of its own, with the studies of this one."""
    from conftest import ROOT

    for folder in ("studies", "notebooks"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.setenv("SSINFNET_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def split(square_slices):
    images, masks = square_slices
    return SliceSet.of(images[:8], masks[:8]), SliceSet.of(images[8:], masks[8:])


def leave(training, root, **changed):
    """Write what a training that learnt leaves, but for what is changed."""
    content = {"training_slices": 8, "validation_slices": 4, "train_F1": 0.9, "validation_F1": 0.8,
               "recall": {"lesion": 0.7}, "rivals": RIVALS}  # fmt: skip
    if training.stage == "multi":
        content["recall"] = {"ggo": 0.7, "consolidation": 0.6}
    if training.model == "inpainting":
        errors = [{"mask": "random", "erased_error": 0.5, "local_mean_error": 0.9}]
        content = {"training_slices": 8, "validation_slices": 4, "errors": errors}
    artifacts.write_json(training.folder(root) / LEARNING, content | changed)


def leave_all(root, changed):
    """Let every training of smoke leave something; `changed` says what is different, of whom."""
    for training in learnt.trainings(load_study("smoke")):
        leave(training, root, **changed.get(training, {}))


# Measuring


def test_the_validation_f1_is_that_of_the_epoch_that_was_kept(split, tmp_path):
    network = networks.seeded(1, networks.build_single, "unet", 0.125)
    config = TrainingConfig(epochs=3, scales=(1.0,), batch_size=4, learning_rate=1e-2)
    run = Run(study="smoke", model="unet", width=0.125)
    history = segmentation.fit_single(network, *split, config, run=run, folder=tmp_path, device=CPU)
    measured = learning.record(tmp_path, *split, CPU)
    assert measured["validation_F1"] > 0
    assert measured["validation_F1"] == pytest.approx(history["validation_f1"].max())
    stored = artifacts.read_json(tmp_path / LEARNING)
    assert stored["validation_F1"] == measured["validation_F1"]
    assert (stored["training_slices"], stored["validation_slices"]) == (8, 4)
    assert stored["made"]["parameters"]["seed"] == 1
    assert stored["made"]["inputs"]["weights.safetensors"]


def of_constant(monkeypatch, folder, split, stage, *logits):
    run = Run(study="smoke", stage=stage, model="unet")
    monkeypatch.setattr(inference, "load", lambda _: (Constant(*logits), run))
    (folder / "weights.safetensors").write_bytes(b"")
    learning.record(folder, *split, CPU)
    return artifacts.read_json(folder / LEARNING)


def test_a_network_that_finds_nothing_is_named_with_its_reason(split, tmp_path, monkeypatch):
    stored = of_constant(monkeypatch, tmp_path, split, "single", -9.0)
    assert stored["recall"] == {"lesion": 0.0}
    assert stored["validation_F1"] == 0
    did, reason = learnt.verdict(stored)
    assert did is False
    assert "validation F1 0.000 is not above that of" in reason
    assert reason.endswith("finds no lesion: recall 0.000")


def test_a_network_that_finds_everything_equals_its_rival(split, tmp_path, monkeypatch):
    stored = of_constant(monkeypatch, tmp_path, split, "single", 9.0)
    share = 16 * 16 / (64 * 64)  # one square a slice
    assert stored["validation_F1"] == pytest.approx(2 * share / (1 + share))
    assert stored["rivals"]["everything found"] == pytest.approx(stored["validation_F1"])
    assert stored["recall"] == {"lesion": 1.0}
    assert learnt.verdict(stored)[0] is False


def test_a_class_that_no_slice_shows_has_no_recall(split, tmp_path, monkeypatch):
    stored = of_constant(monkeypatch, tmp_path, split, "multi", 0.0, 9.0, 0.0)
    assert stored["recall"] == {"ggo": 1.0, "consolidation": None}
    assert "NaN" not in (tmp_path / LEARNING).read_text()


# Judging


@pytest.mark.parametrize(
    ("changed", "did", "reason"),
    [
        ({}, True, ""),
        ({"validation_F1": 0.31}, False,
         "validation F1 0.310 is not above that of the best grey band, 0.350"),
        ({"validation_F1": 0.35}, False,
         "validation F1 0.350 is not above that of the best grey band, 0.350"),
        ({"recall": {"ggo": 0.5, "consolidation": 0.0}}, False,
         "finds no consolidation: recall 0.000"),
        ({"recall": {"ggo": 0.5, "consolidation": None}}, True, ""),
        ({"recall": {"ggo": 0.01, "consolidation": 0.0099}}, False,
         "finds no consolidation: recall 0.010"),
        ({"validation_F1": None}, None, learnt.NO_CLASS),
    ],
)  # fmt: skip
def test_a_training_learnt_if_it_beats_every_rival_and_finds_every_class(changed, did, reason):
    record = {"validation_F1": 0.8, "recall": {"ggo": 0.5}, "rivals": RIVALS}
    assert learnt.verdict(record | changed) == (did, reason)


def test_an_inpainting_learnt_if_both_masks_are_restored_below_the_local_mean():
    errors = [{"mask": "random", "erased_error": 0.5, "local_mean_error": 0.9}]
    assert learnt.verdict({"errors": errors}) == (True, "")
    errors += [{"mask": "coach", "erased_error": 0.94, "local_mean_error": 0.90}]
    text = "restores erased pixels no better than their local mean: 0.940 against 0.900"
    assert learnt.verdict({"errors": errors}) == (False, text)


# Listing


def test_every_training_of_a_study_is_listed_once_with_a_folder_of_its_own(root):
    study = load_study("smoke")
    listed = list(learnt.trainings(study))
    notebooks = Counter(book for book, _ in schedule.runs_of(study, "smoke"))
    training_books = (
        "01_lung_field",
        "03_pretraining",
        "04_pseudo_labels",
        "05_single_segmentation",
        "06_multi_segmentation",
    )
    assert len(listed) == sum(notebooks[book] for book in training_books)
    assert len({training.folder(root) for training in listed}) == len(listed)
    assert Training(study="smoke_set3", stage="lung field", model="unet") in listed


def test_a_run_in_which_all_learnt_says_so_in_one_line(root):
    study, count = load_study("smoke"), len(list(learnt.trainings(load_study("smoke"))))
    leave_all(root, {})
    assert learnt.of_study(study) == f"all {count} trainings beat their trivial rivals"
    assert learnt.unlearnt(study, StudyPaths.of("smoke")) == []


def test_the_line_and_the_table_name_what_did_not_learn(root):
    study, count = load_study("smoke"), len(list(learnt.trainings(load_study("smoke"))))
    failed = Training(study="smoke", stage="multi", model="sinfnet", fold=2, prior="predicted")
    leave_all(root, {failed: {"recall": {"ggo": 0.5, "consolidation": 0.0}}})
    (Training(study="smoke", stage="single", model="unet").folder(root) / LEARNING).unlink()
    table = learnt.learning_table(study, StudyPaths.of("smoke"))
    first = table.iloc[0]
    assert (first["model"], first["stage"], first["fold"]) == ("sinfnet", "multi", 2)
    assert not first["learnt"]
    assert first["reason"] == "finds no consolidation: recall 0.000"
    assert (first["rival"], first["rival_F1"]) == ("the best grey band", 0.35)
    assert table["learnt"].isna().sum() == 1
    assert learnt.summary(table, "smoke") == (
        f"1 of {count} trainings did not learn: SInfNet (stage 2, fold 2); 1 could not be "
        "judged; see table_learning"
    )
    assert len(tables.first_rows(table, 5)) == 5
    assert tables.first_rows(table, 5).iloc[0]["reason"]  # the table's head shows who failed


def test_trainings_are_called_by_what_tells_them_apart():
    training = Training(study="smoke", stage="single", model="sinfnet", fold=1, part=3, seed=7)
    assert training.text(seed=True) == "SInfNet (stage 1, without folds 1 and 3, seed 7)"
    oracle = Training(study="smoke", stage="multi", model="ssinfnet", prior="ground_truth")
    assert oracle.text(seed=False) == "SSInfNet (stage 2, oracle)"


# Marking

COLLAPSED = {"recall": {"lesion": 0.0}}


def label_of(root, changed):
    leave_all(root, changed)
    return report.label(MADE, load_study("smoke"))


def test_the_mark_stands_after_the_models_name_in_md_html_and_latex_and_nowhere_else(root):
    failed = Training(study="smoke", stage="single", model="sinfnet")
    label = label_of(root, {failed: COLLAPSED})
    frame = pd.DataFrame(
        {
            "model": ["unet", "sinfnet", "sinfnet"],
            "values": ["ours", "ours", "paper"],
            "F1_mean": [0.8, 0.0, 0.39],
        }
    )
    csv = report.save_table(root / "f", frame, "table_3b", "Scores", **label)
    why = "SInfNet (stage 1) did not learn: finds no lesion: recall 0.000."
    text, latex = (csv.with_suffix(end).read_text() for end in (".md", ".tex"))
    page = report.write_page(root / "f", load_study("smoke")).read_text()
    assert [line.split("|")[1].strip() for line in text.splitlines()[4:7]] == [
        "U-Net",
        "SInfNet†",
        "SInfNet",
    ]
    assert f"† {why}" in text
    assert "SInfNet$\\dagger$ & ours" in latex
    assert "SInfNet & paper" in latex
    assert "U-Net &" in latex
    assert f"$\\dagger$ {why}" in latex
    assert page.count("<td>SInfNet†</td>") >= 1
    assert "<td>U-Net</td>" in page
    assert "<td>U-Net†</td>" not in page
    assert f'<p class="note">† {why}</p>' in page
    assert "†" not in csv.read_text()
    assert not json.loads((root / "f/manifest/table_3b.json").read_text())["title"].endswith("†")


def marked_models(frame, name, label):
    marks = tables.find_marks(frame, name, label["unlearnt"])
    return [frame.loc[index, column] for index, column in sorted(marks.cells)]


def test_a_model_of_the_other_stage_or_another_fold_is_not_marked(root):
    failed = Training(study="smoke", stage="single", model="sinfnet", fold=2)
    label = label_of(root, {failed: COLLAPSED})
    frame = pd.DataFrame({"model": ["sinfnet", "sinfnet"], "class": ["lesion", "lesion"]})
    assert marked_models(frame, "table_3b", label) == []
    assert marked_models(frame, "table_s2", label) == ["sinfnet", "sinfnet"]
    by_fold = tables.find_marks(frame.assign(fold=[1, 2]), "table_s2_folds", label["unlearnt"])
    assert by_fold.cells == {(1, "model")}
    stage_2 = pd.DataFrame({"model": ["sinfnet"], "class": ["ggo"]})
    marks = tables.find_marks(stage_2, "table_s3", label["unlearnt"])
    (note,) = marks.notes("smoke")  # it reads the priors of the one that failed
    assert "reads priors of SInfNet (stage 1, fold 2), which did not learn" in note
    assert marked_models(stage_2, "table_3d_s4", label) == []


def test_a_model_that_starts_from_an_inpainting_that_failed_says_so(root):
    errors = [{"mask": "random", "erased_error": 1.5, "local_mean_error": 0.9}]
    failed = Training(study="smoke", stage="single", model="inpainting")
    label = label_of(root, {failed: {"errors": errors}})
    frame = pd.DataFrame({"model": ["sinfnet", "ssinfnet"], "reference": ["ssinfnet", "sinfnet"]})
    marks = tables.find_marks(frame, "table_3b_tests", label["unlearnt"])
    assert marks.cells == {(1, "model"), (0, "reference")}
    assert marks.notes("smoke") == [
        "† SSInfNet (stage 1) starts from inpainting (stage 1), which did not "
        "learn: restores erased pixels no better than their local mean: 1.500 against 0.900."
    ]
    own = tables.find_marks(None, "figure_inpainting_single_fold0_seed1", label["unlearnt"])
    assert own.titled("Restored") == "Restored†"
    other = tables.find_marks(None, "figure_inpainting_multi_fold0_seed1", label["unlearnt"])
    assert other.titled("Restored") == "Restored"


def test_what_follows_from_the_networks_is_marked_in_its_title_and_the_data_are_not(root):
    failed = Training(study="smoke", stage="multi", model="ssinfnet", prior="predicted")
    label = label_of(root, {failed: {"validation_F1": 0.1}})
    frame = pd.DataFrame({"exposure": ["age"], "mediator": ["ggo_area"]})
    assert tables.find_marks(frame, "table_mediators", label["unlearnt"]).title
    assert tables.find_marks(None, "figure_3c", label["unlearnt"]).title
    for name in ("figure_3a", "figure_2", "table_2d_split", "table_patient_flow"):
        assert not tables.find_marks(None, name, label["unlearnt"]).title
    report.save_table(root / "f", frame, "table_mediators", "Mediators", **label)
    assert (root / "f/table_mediators.md").read_text().startswith("**Mediators†** (undertrained)")


def test_a_figure_with_data_is_marked_if_the_data_hold_the_model(root):
    failed = Training(study="smoke", stage="single", model="sinfnet_cutout40")
    label = label_of(root, {failed: COLLAPSED})
    both = pd.DataFrame({"model": ["sinfnet", "sinfnet_cutout40"], "F1": [0.5, np.nan]})
    assert tables.find_marks(both, "figure_v2", label["unlearnt"]).title
    assert not tables.find_marks(both.head(1), "figure_3b", label["unlearnt"]).title
    assert not tables.find_marks(None, "figure_3a", label["unlearnt"]).title  # of main models alone


def test_no_rule_has_outlived_its_items():
    from fnmatch import fnmatchcase

    from conftest import ROOT

    saved = report.read_manifest(ROOT / "docs/results/demo")["name"]
    later = {"table_lung_field*", "figure_lung_field", "*_s[56]_volumes"}  # of others
    at = {"stage": "single", "fold": 0, "seed": 1}
    idle = {
        pattern
        for pattern in tables.ITEMS
        if not any(fnmatchcase(name, pattern.format(**at)) for name in saved)
    }
    assert idle <= later
