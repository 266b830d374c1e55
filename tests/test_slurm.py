"""The Slurm executor against a stand-in for Slurm that records what is asked and runs it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from interrupted import PARTS

from ssinfnet.study.paths import project_root

pytestmark = pytest.mark.slow

# What the executor asks, it asks of these; nothing here knows the project.
COMMANDS = {
    "sbatch": """
        echo "$*" >> "$SLURM_RECORD/asked"
        for word in "$@"; do case $word in --wrap=*) job=${word#--wrap=};; esac; done
        bash -c "$job" >> "$SLURM_RECORD/output" 2>&1
        [ $? = 0 ] && echo COMPLETED > "$SLURM_RECORD/state" || echo FAILED > "$SLURM_RECORD/state"
        echo 4711
    """,
    "srun": """
        while [ "${1#-}" != "$1" ]; do shift; done
        exec "$@"
    """,
    "sacct": """
        case "$*" in *State*) echo "4711|$(cat "$SLURM_RECORD/state")";; esac
    """,
    "squeue": "",
    "scontrol": "",
    "sinfo": "",
    "sacctmgr": "",
    "scancel": "",
}


@pytest.fixture
def checkout(tmp_path):
    """A checkout of its own, so that no other test's run is in the way, and Slurm's commands."""
    root = project_root()
    for name in PARTS:
        copy = shutil.copytree if (root / name).is_dir() else shutil.copy
        copy(root / name, tmp_path / name)
    (tmp_path / "slurm").mkdir()
    for name, body in COMMANDS.items():
        command = tmp_path / "slurm" / name
        command.write_text(f"#!/bin/bash\n{body}\nexit 0\n")
        command.chmod(0o755)
    return tmp_path


def submit(checkout: Path, target: str, *options: str) -> subprocess.CompletedProcess:
    path = f"{checkout / 'slurm'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    given = {"PATH": path, "SLURM_RECORD": str(checkout / "slurm")}
    given |= {"SSINFNET_ROOT": str(checkout), "PYTHONPATH": str(project_root())}
    return subprocess.run(
        [
            sys.executable, "-m", "snakemake", target, "--cores", "1", "--executor", "slurm",
            "--jobs", "4", "--slurm-init-seconds-before-status-checks", "1", *options,
            "--config", "study=smoke",
        ],
        cwd=checkout, env=os.environ | given, capture_output=True, text=True, check=False,
        timeout=300,
    )  # fmt: skip


def test_a_job_runs_through_slurm_and_leaves_its_notebook(checkout):
    run = submit(checkout, "papermill_runs/smoke/02_data_split.ipynb")
    assert run.returncode == 0, run.stderr[-3000:]
    assert (checkout / "papermill_runs/smoke/artifacts/cohort/cohort.parquet").is_file()
    (asked,) = (checkout / "slurm" / "asked").read_text().splitlines()
    assert "--gpus" not in asked  # splitting needs none


def test_a_training_asks_for_what_it_needs_and_if_it_fails_again_for_more_time(checkout):
    notebook = checkout / "notebooks" / "01_lung_field.ipynb"
    notebook.write_text(notebook.read_text().replace("session = ", "1 / 0; session = "))
    run = submit(checkout, "papermill_runs/smoke_set3/01_lung_field.ipynb", "--retries", "1")
    assert run.returncode != 0
    first, second = (checkout / "slurm" / "asked").read_text().splitlines()
    for wanted in ("--gpus=1", "--mem 24000", "-t 240", "--cpus-per-task=1"):
        assert f" {wanted} " in first
    assert " -t 480 " in second
