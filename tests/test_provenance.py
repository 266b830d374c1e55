"""What was run, read from what lies on disk."""

import json
import platform
import socket
import subprocess

import pandas as pd
import pytest

from ssinfnet.storage import artifacts, provenance


def executed(folder, name, parameters, duration=12.5):
    noted = {
        "parameters": parameters,
        "duration": duration,
        "output_path": "/home/me/x.ipynb",
        "start_time": "2026-01-02T03:04:05.678+00:00",
    }
    folder.mkdir(parents=True, exist_ok=True)
    book = {"cells": [], "metadata": {"papermill": noted}}
    (folder / f"{name}.ipynb").write_text(json.dumps(book))


def test_runs_have_the_parameters_and_duration_that_papermill_noted(tmp_path):
    toy = tmp_path / "toy"
    executed(
        toy, "05_single_segmentation.unet.fold0.seed1", {"study": "/home/me/toy.yaml", "fold": 0}
    )
    executed(toy, "02_data_split", {"study": "toy"}, duration=3.0)
    runs = provenance.notebook_runs([toy, tmp_path / "absent"])
    assert runs.to_dict("records") == [
        {"study": "toy", "notebook": "02_data_split", "parameters": {}, "seconds": 3.0,
         "started": "2026-01-02T03:04:05"},
        {"study": "toy", "notebook": "05_single_segmentation", "parameters": {"fold": 0},
         "seconds": 12.5, "started": "2026-01-02T03:04:05"},
    ]  # fmt: skip
    assert "/home" not in runs.to_csv()


def test_failed_hidden_and_running_notebooks_are_left_out(tmp_path):
    for name in ("03_pretraining.failed", ".03_single.123.partial", "18_report"):
        executed(tmp_path, name, {})
    (tmp_path / "04_mine.ipynb").write_text('{"metadata": {}}')  # not by papermill
    assert provenance.notebook_runs([tmp_path]).empty


def test_a_file_that_is_no_notebook_is_refused(tmp_path):
    (tmp_path / "02_data_split.ipynb").write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        provenance.notebook_runs([tmp_path])


def test_hashes_are_those_of_the_files(tmp_path):
    made = artifacts.made_by("toy", {})
    artifacts.write_table(tmp_path / "cohort" / "cohort.parquet", pd.DataFrame({"x": [1, 2]}), made)
    (tmp_path / "cohort" / "images.npy").write_bytes(b"slices")
    (tmp_path / "cohort" / "sources.json").write_text('{"folder": "/secret/place"}')
    table = provenance.hashed_artifacts({"toy": tmp_path, "gone": tmp_path / "gone"})
    assert table["artifact"].tolist() == ["cohort/cohort.parquet", "cohort/images.npy"]
    assert table["rows"].tolist() == [2, pd.NA]
    sums = subprocess.run(
        ["sha256sum", *(tmp_path / a for a in table["artifact"])],
        capture_output=True,
        text=True,
        check=True,
    )
    assert table["sha256"].tolist() == [line.split()[0] for line in sums.stdout.splitlines()]


def test_the_machine_is_described_and_not_named():
    described = provenance.machine()
    assert set(described) == {"processor", "cores", "memory_gib", "operating_system"}
    assert described["cores"] >= 1
    assert described["memory_gib"] > 0.1
    assert platform.machine() in described["operating_system"]
    assert socket.gethostname() not in str(described).split()


def test_the_commit_is_that_of_the_checkout_and_says_whether_files_differ(tmp_path):
    assert provenance.code_version(tmp_path / "absent") == ""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    (tmp_path / "ssinfnet").mkdir()
    file = tmp_path / "ssinfnet" / "a.py"
    file.write_text("1")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert provenance.code_version(tmp_path) == commit.stdout[:12]
    file.write_text("2")
    assert provenance.code_version(tmp_path) == f"{commit.stdout[:12]}, with changes"
