"""Raw files that are new, changed or not there are noticed before a notebook runs."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from typer.testing import CliRunner

from ssinfnet.cli import app
from ssinfnet.data import inspection, sources
from ssinfnet.study.config import SourceConfig

STUDY = """
name: mine
description: Lesion masks alone.
data: {sources: [{name: ccii, folder: scans}]}
multi: {models: [], oracle_models: []}
augmented: {single_models: [], multi_models: []}
cross_validation: {single_models: [], multi_models: []}
"""
SOURCE = SourceConfig(name="ccii", folder="scans")


def save(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(path)


@pytest.fixture
def raw(tmp_path):
    """Two patients of one slice each, in CC-CCII's layout."""
    folder = tmp_path / "raw" / "scans" / "ct_lesion_seg"
    for patient in ("1", "2"):
        save(folder / "image" / patient / "0.jpg", np.full((32, 32), 90))
        save(folder / "mask" / patient / "0.png", np.eye(32) * 2)
    return tmp_path / "raw"


def mask(raw, patient):
    return raw / "scans" / "ct_lesion_seg" / "mask" / patient / "0.png"


def test_the_state_of_raw_files_tells_what_is_new_gone_or_changed(raw):
    states = [sources.state_of([SOURCE], raw)]
    assert sources.state_of([SOURCE], raw) == states[0]
    save(raw / "scans" / "ct_lesion_seg" / "image" / "3" / "0.jpg", np.full((32, 32), 80))
    states.append(sources.state_of([SOURCE], raw))
    mask(raw, "2").unlink()
    states.append(sources.state_of([SOURCE], raw))
    os.utime(mask(raw, "1"), (0, 0))  # edited, as large as before
    states.append(sources.state_of([SOURCE], raw))
    assert len(set(states)) == 4


def test_hidden_files_are_no_raw_files(raw):
    before = sources.state_of([SOURCE], raw)
    (raw / "scans" / ".DS_Store").write_text("of macOS")
    assert sources.state_of([SOURCE], raw) == before
    (raw / "scans" / ".git").mkdir()
    (raw / "scans" / ".git" / "config").write_text("of a tool")
    assert sources.state_of([SOURCE], raw) == before


def test_a_slice_with_a_dot_in_front_of_its_name_is_a_raw_file(raw):
    before = sources.state_of([SOURCE], raw)
    (raw / "scans" / ".012.dcm").write_text("a slice")
    assert sources.state_of([SOURCE], raw) != before


def dry_run(folder, study, data):
    """Return the exit status of a planned run, and what was said, which is no traceback."""
    (folder / "mine.yaml").write_text(study)
    (folder / "notebooks").symlink_to(ROOT / "notebooks")
    run = subprocess.run(
        [sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", "--directory", folder,
         "--snakefile", ROOT / "Snakefile", "--config", f"study={folder / 'mine.yaml'}"],
        env=os.environ | {"SSINFNET_ROOT": str(ROOT), "PYTHONPATH": str(ROOT),
                          "SSINFNET_DATA": str(data)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = run.stdout + run.stderr
    assert "Exception" not in said
    assert "Traceback" not in said
    return run.returncode, said


@pytest.mark.parametrize(
    ("data", "words"),
    [("nowhere", "is not a folder"), (".", "no ccii data at"), ("raw", "rule data_split")],
)
def test_a_wrong_data_folder_ends_a_run_before_it_begins(raw, data, words):
    code, said = dry_run(raw.parent, STUDY, raw.parent / data)
    assert (code == 0) == (data == "raw"), said
    assert words in said


def test_a_clinical_table_that_is_not_there_ends_a_run_before_it_begins(raw):
    save(raw / "ictcf" / "Patient 1" / "0.jpg", np.full((32, 32), 90))
    (raw / "ictcf" / "All_Patients.csv").write_text("ID\n")
    more = "{name: ictcf, folder: ictcf}]}\nclinical: {tables: [All_Patients.csv, Liyuan.csv]}"
    code, said = dry_run(
        raw.parent, STUDY.replace("folder: scans}]}", "folder: scans}, " + more), raw
    )
    assert code == 1
    assert "clinical.tables names ['Liyuan.csv'], which" in said


def test_every_mask_with_a_foreign_label_is_listed(raw):
    for patient in ("1", "2"):
        save(mask(raw, patient), np.eye(32) * 6)
    with pytest.raises(ValueError, match="2 masks hold foreign labels:") as caught:
        inspection.inspect(raw / "scans", "ccii")
    lines = str(caught.value).splitlines()
    assert [line.split(" holds labels ")[1][:3] for line in lines[1:]] == ["[6]", "[6]"]
    assert len({line.split(" holds labels ")[0] for line in lines[1:]}) == 2


def test_inspect_prints_json_for_programs(raw):
    asked = ["data", "inspect", str(raw / "scans"), "--source", "ccii", "--json"]
    said = CliRunner().invoke(app, asked)
    found = json.loads(said.stdout)
    assert found["source"] == "ccii"
    assert found["counts"][0] == {"what": "all", "patients": 2, "slices": 2, "pixels": None}
    assert found["duplicates"] == []
