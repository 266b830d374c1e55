"""A notebook opened by hand on a fresh clone: what it reads is made, or named in one line."""

import json
import shutil

import pytest
import torch
from conftest import ROOT

from ssinfnet import engine
from ssinfnet.engine import lab
from ssinfnet.study import outputs, schedule
from ssinfnet.study.config import load_study
from ssinfnet.study.paths import StudyPaths
from ssinfnet.work import progress


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """Studies and notebooks alone, as a fresh clone has them."""
    for name in ("studies", "notebooks"):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.setenv("SSINFNET_ROOT", str(tmp_path))
    monkeypatch.delenv(progress.BATCH_VARIABLE, raising=False)
    before = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["smoke", "demo", "paper", "ccii"])
def test_what_a_notebook_reads_runs_before_it(name):
    done = []
    for notebook, parameters in schedule.runs_of(load_study(name), name):
        study = parameters["study"]
        read = list(schedule.read_by(load_study(study), study, notebook, parameters))
        assert [run for run in read if run not in done] == []
        assert (notebook, parameters) not in read
        done.append((notebook, parameters))


def test_a_training_reads_what_it_starts_from_and_no_more():
    at = {"study": "smoke", "fold": 0, "seed": 1, "part": 0}
    smoke = load_study("smoke")
    names = {
        model: [
            run[0]
            for run in schedule.read_by(
                smoke, "smoke", "05_single_segmentation", {**at, "model": model}
            )
        ]
        for model in ("unet", "ssinfnet")
    }
    assert names == {
        "unet": ["02_data_split"],
        "ssinfnet": ["02_data_split", "03_pretraining"],
    }


def test_the_report_reads_every_other_notebook():
    smoke = load_study("smoke")
    every = list(schedule.runs_of(smoke, "smoke"))
    read = list(schedule.read_by(smoke, "smoke", "18_report", {"study": "smoke"}))
    assert len(read) == len(every) - 1
    assert [run for run in every if run not in read] == every[-1:]


def test_every_notebook_that_is_read_leaves_a_file_of_its_own():
    smoke = load_study("smoke")
    runs = list(schedule.runs_of(smoke, "smoke"))
    files = {outputs.output_of(load_study(at["study"]), book, at) for book, at in runs}
    assert len(files) == len(runs)


def test_what_the_smallest_study_lacks_is_made(clone):
    session = engine.open_study(
        "smoke", notebook="05_single_segmentation", fold=0, seed=1, model="unet", part=0
    )
    assert (session.paths.cohort / "cohort.parquet").is_file()
    assert not (session.paths.artifacts / "single").exists()
    made = session.paths.figures / "manifest" / "table_2d_split.json"
    assert json.loads(made.read_text())["made"]["parameters"] == {"notebook": "02_data_split"}


@pytest.mark.parametrize("batch", [True, False])
def test_what_is_missing_of_a_larger_study_is_named_in_one_line(clone, monkeypatch, batch):
    name = "smoke" if batch else "demo"
    if batch:  # Snakemake has run what a notebook reads, or something is wrong
        monkeypatch.setenv(progress.BATCH_VARIABLE, "1")
    with pytest.raises(lab.CannotOpen) as caught:
        engine.open_study(name, notebook="07_segmentation_results", section="scores")
    said = str(caught.value)
    assert said.startswith(f"07_segmentation_results reads what 02_data_split (study={name}) and ")
    assert said.endswith(f"open 02_data_split first, or run `make reproduce STUDY={name}`")
    assert caught.value._render_traceback_() == [said]
    assert not StudyPaths.of(name).cohort.exists()


def test_mediation_of_a_study_without_patients_says_so(clone):
    with pytest.raises(lab.CannotOpen, match="covid_semiseg has no `clinical`, which this"):
        engine.open_study("covid_semiseg", notebook="15_mediation", section="clinical.mediation")


def test_a_study_that_is_not_there_is_said_with_those_that_are(clone):
    with pytest.raises(lab.CannotOpen, match=r"no study 'smok'.*'smoke'"):
        engine.open_study("smok", notebook="02_data_split")


def test_a_notebook_that_fails_while_it_is_made_is_named(clone):
    (clone / "notebooks/02_data_split.ipynb").write_text(
        (clone / "notebooks/02_data_split.ipynb").read_text().replace("cohort.build(", "no_such(")
    )
    with pytest.raises(
        lab.CannotOpen, match=r"02_data_split.ipynb failed in code cell 3.*made\.log"
    ):
        engine.open_study(
            "smoke", notebook="05_single_segmentation", fold=0, seed=1, model="unet", part=0
        )


def test_torch_takes_the_threads_of_the_study(clone):
    torch.set_num_threads(3)
    engine.open_study("smoke", notebook="02_data_split")
    assert torch.get_num_threads() == 1
