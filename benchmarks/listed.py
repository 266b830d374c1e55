"""What slices cost a training that are listed and prepared, but that it does not train on: memory.

Pictures in iCTCF's layout are listed and prepared as `preparation.py` does it. An inpainting of one
epoch then draws 64 of them (`unlabelled_slices`), and a training of stage 1 reads none, each in a
process of its own. Writes listed.csv: the most memory that is the process's own (mapped arrays are
the system's to drop), and bytes a listed slice above the row before.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import preparation

from ssinfnet.storage import artifacts
from ssinfnet.study.config import (
    NetworkConfig,
    PhaseConfig,
    PretextConfig,
    SingleConfig,
    Study,
    TrainingConfig,
)
from ssinfnet.study.paths import DATA_VARIABLE, StudyPaths

COUNTS = (2_000, 200_000)
DRAWN = 64  # by the inpainting, of the slices without labels
TASKS = ("pretext", "stage_1")


def study() -> Study:
    """Return the study of the pictures, with trainings of one epoch."""
    single = SingleConfig(
        models=("sinfnet",),
        network=NetworkConfig(width=0.125),
        training=TrainingConfig(epochs=1, scales=(1.0,)),
        pretext=PretextConfig(
            phases=(PhaseConfig(train="network", epochs=1),), unlabelled_slices=DRAWN
        ),
    )
    return preparation.study_of("pictures").model_copy(update={"single": single})


def train(folder: Path, task: str) -> None:
    """Train on what is prepared in a folder; print slices trained on, slices prepared and MiB."""
    from ssinfnet.training import stages

    os.environ[DATA_VARIABLE] = str(folder)
    paths = StudyPaths("bench", folder / "out")
    with preparation.watched_memory() as most:
        if task == "pretext":
            trained = stages.pretrain_stage(study(), paths, "single")
        else:
            trained = stages.train_single(study(), paths, "sinfnet")
    prepared = np.load(paths.cohort / "images.npy", mmap_mode="r")
    print(f"{len(trained.train)} {len(prepared)} {most[0]}")


def measure(folder: str, slices: int) -> list[dict[str, float | str]]:
    """Return, for each training, MiB beside so many slices that are prepared in a folder."""
    rows: list[dict[str, float | str]] = []
    for task in TASKS:
        words = [sys.executable, __file__, "--train", folder, "--task", task]
        said = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
        on, prepared, mib = map(float, said.splitlines()[-1].split())
        rows.append({"training": task, "listed": slices, "prepared": int(prepared),
                     "trained_on": int(on), "own_mib": mib})  # fmt: skip
    return rows


def write(rows: list[dict[str, float | str]]) -> None:
    """Write the table, by training."""
    table = pd.DataFrame(rows).sort_values("training", kind="stable")
    grown = table.groupby("training")[["own_mib", "listed"]].diff()
    table["bytes_a_slice"] = grown["own_mib"] * 2**20 / grown["listed"]
    path = Path(__file__).with_name("listed.csv")
    artifacts.write_text(path, table.round(1).to_csv(index=False))


def main() -> None:
    """Measure every number of slices, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path)
    parser.add_argument("--task", choices=TASKS)
    asked = parser.parse_args()
    if asked.train:
        train(asked.train, asked.task)
        return
    rows: list[dict[str, float | str]] = []
    for slices in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            preparation.write_pictures(Path(folder), slices)
            preparation.prepared_elsewhere(folder, "pictures")
            rows += measure(folder, slices)
        print(rows[-len(TASKS) :], flush=True)
    write(rows)


if __name__ == "__main__":
    main()
