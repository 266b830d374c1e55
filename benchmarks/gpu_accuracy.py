"""Train a study as far as the seconds carry, and score each network as soon as it is trained.

`python benchmarks/gpu_accuracy.py covid_semiseg --to DIR [--seconds 300] [--data FOLDER]` runs the
study's notebooks in this process, as `ssinfnet train` does, and after each writes DIR/accuracy.csv
anew: notebook, parameters, seconds, the epochs trained, and for the networks of the tables mean F1
on test slices with its interval. When all that they read is trained, the notebooks of tables run
too; those over many slices are copied to DIR/tables. Started again it goes on: what is trained is
not trained again.
"""

from __future__ import annotations

import argparse
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pandas as pd

from ssinfnet import evaluation, report, scores
from ssinfnet.data import cohort
from ssinfnet.engine import plain_runs
from ssinfnet.report import publication
from ssinfnet.storage import artifacts
from ssinfnet.study import config
from ssinfnet.study.paths import DATA_VARIABLE, StudyPaths, notebook_file
from ssinfnet.training import fitting

WANTED = ("0[1-8]_*",)  # without radiomics and mediation
SINGLE, MULTI = "05_single_segmentation", "06_multi_segmentation"


def main() -> None:
    """Run notebook after notebook."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study")
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    ends = time.perf_counter() + options.seconds
    os.environ.setdefault("MPLBACKEND", "Agg")
    if options.data is not None:
        os.environ[DATA_VARIABLE] = str(options.data.resolve())
    study = config.load_study(options.study)
    rows: list[dict[str, Any]] = []
    for notebook, parameters in plain_runs.runs_wanted(study, options.study, WANTED):
        if time.perf_counter() > ends:
            print("the time is up; the notebooks that are not there did not run", flush=True)
            break
        began = time.perf_counter()
        plain_runs.run_notebook(notebook_file(notebook), parameters)
        shown = {key: value for key, value in parameters.items() if key != "study"}
        row = {
            "notebook": notebook,
            "parameters": " ".join(f"{key}={value}" for key, value in shown.items()),
            "seconds": round(time.perf_counter() - began, 2),
            **scored(study, notebook, parameters),
        }
        rows.append(row)
        print(row, flush=True)
        artifacts.write_text(options.to / "accuracy.csv", pd.DataFrame(rows).to_csv(index=False))
        copy_tables(study, options.to / "tables")


def scored(study: config.Study, notebook: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the epochs of a training and, where its network is one of the tables', its scores."""
    paths = StudyPaths.of(study.name)
    if notebook not in (SINGLE, MULTI) or parameters.get("part"):
        return {}
    single = notebook == SINGLE
    model, seeds = parameters["model"], [parameters["seed"]]
    resampled = {"bootstrap_draws": study.scores.bootstrap_draws, "seed": study.scores.seed}
    slices = cohort.Cohort.load(paths.cohort)
    if single:
        folder = paths.single(model, 0, seeds[0])
        per_slice = evaluation.score_single(study, paths, slices, [model], seeds)
        summary = scores.summarise(per_slice, **resampled)
    else:
        folder = paths.multi(model, 0, seeds[0], parameters["prior"])
        per_slice = evaluation.score_multi(
            study, paths, slices, [model], parameters["prior"], seeds
        )
        summary = scores.summarise_classes(per_slice, **resampled)
        summary = summary[summary["class"] == "overall"]
    (row,) = summary[summary["metric"] == "F1"].to_dict("records")
    history = pd.read_csv(folder / fitting.HISTORY)
    return {
        "epochs": len(history),
        "epoch_seconds": round(history["seconds"].median(), 4),
        **{f"F1_{name}": round(row[name], 4) for name in ("mean", "low", "high")},
    }


def copy_tables(study: config.Study, to: Path) -> None:
    """Copy the tables that a repository may show: of real data those over many slices (D-74)."""
    figures = StudyPaths.of(study.name).figures
    real = publication.reads_real_data(study)
    for record in report.read_manifest(figures).to_dict("records"):
        table = figures / f"{record['name']}.csv"
        if record["kind"] == "table" and not publication.reason_against(figures, record, real):
            to.mkdir(parents=True, exist_ok=True)
            shutil.copy2(table, to / table.name)


if __name__ == "__main__":
    main()
