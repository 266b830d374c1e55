"""A study's notebooks as plain Python, where there is neither papermill nor Snakemake.

The Snakefile is the engine; this is for a bare GPU machine with torch, fastai and the library's
imports alone. The same cells run, in one process, one after the other; a killed run goes on where
its trainings stopped.
"""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ssinfnet import paths, progress
from ssinfnet.config import Study
from ssinfnet.models import MULTI_MODELS, PRIOR_MODEL, SINGLE_MODELS

__all__ = ["run_notebook", "run_study", "runs_of"]

Run = tuple[str, dict[str, Any]]  # notebook without ending, parameters beside the study


def runs_of(study: Study) -> Iterator[Run]:
    """Yield every notebook of a study with its parameters, each once and after what it reads."""
    yield "01_data_split", {}
    augmented = study.augmented
    single = dict.fromkeys((*study.single.models, *augmented.single_models))
    multi = dict.fromkeys(
        [(model, "predicted") for model in (*study.multi.models, *augmented.multi_models)]
        + [(model, "ground_truth") for model in study.multi.oracle_models]
    )
    for seed in study.seeds:
        yield from _trainings(study, list(single), list(multi), 0, seed)
    yield "05_segmentation_results", {}
    yield "08_ablation", {}
    if augmented.single_models:
        yield "08_augmentation", {}
    yield from _cross_validation(study)
    yield "13_report", {}


def _cross_validation(study: Study) -> Iterator[Run]:
    chosen = study.cross_validation
    if not chosen.single_models:
        return
    multi = [(model, "predicted") for model in chosen.multi_models]
    done = []
    for fold in range(1, study.split.folds + 1):
        for run in _trainings(study, chosen.single_models, multi, fold, study.seeds[0]):
            if run not in done:  # two folds share a cross-fitting network
                done.append(run)
                yield run
    yield "06_cross_validation", {}


def _trainings(
    study: Study,
    single: Sequence[str],
    multi: Sequence[tuple[str, str]],
    fold: int,
    seed: int,
) -> Iterator[Run]:
    """Yield the trainings of some stage-1 models, and of (stage-2 model, prior)."""
    at = {"fold": fold, "seed": seed}
    needed = [PRIOR_MODEL] if multi else []
    if any(SINGLE_MODELS[model].pretrained for model in single):
        yield "02_pretraining", {**at, "stage": "single"}
    for model in dict.fromkeys((*single, *needed)):
        yield "03_single_segmentation", {**at, "model": model}
    for its_fold, part in study.cross_fitted(fold) if multi else ():
        left_out = {"fold": its_fold, "seed": seed, "part": part}
        yield "03_single_segmentation", {**left_out, "model": PRIOR_MODEL}
    if any(MULTI_MODELS[model].pretrained for model, _ in multi):
        yield "02_pretraining", {**at, "stage": "multi"}
    for model, prior in multi:
        yield "04_multi_segmentation", {**at, "model": model, "prior": prior}


def run_study(study: Study, name: str) -> None:
    """Run all notebooks of a study in this process.

    Parameters
    ----------
    study : Study
    name : str
        As the notebooks take it: a study's name or the path of its YAML file.

    Raises
    ------
    RuntimeError
        If a cell fails; the message names notebook and cell.
    """
    os.environ.setdefault("MPLBACKEND", "Agg")
    runs = list(runs_of(study))
    for number, (notebook, parameters) in enumerate(runs, start=1):
        shown = ", ".join(f"{key}={value}" for key, value in parameters.items())
        progress.say(f"[{number}/{len(runs)}] {notebook} {shown}")
        path = paths.project_root() / "notebooks" / f"{notebook}.ipynb"
        run_notebook(path, {"study": name, **parameters})


def run_notebook(path: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Execute the code cells of a notebook as one Python program; return its variables.

    Parameters
    ----------
    path : Path
        The `.ipynb` file.
    parameters : mapping
        Override the cell tagged `parameters`.

    Raises
    ------
    ValueError
        If the notebook has no parameter of such a name.
    RuntimeError
        If a cell fails; the cell's own error is its cause.
    """
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    variables: dict[str, Any] = {"__name__": "__main__"}
    for number, cell in enumerate((c for c in cells if c["cell_type"] == "code"), start=1):
        source = "".join(cell["source"])
        try:
            exec(compile(ast.parse(source), f"{path.name}, code cell {number}", "exec"), variables)
        except Exception as error:
            raise RuntimeError(f"{path.name} failed in code cell {number}: {error}") from error
        if "parameters" in cell["metadata"].get("tags", []):
            if unknown := sorted(set(parameters) - variables.keys()):
                raise ValueError(f"{path.name} has no parameter {unknown}")
            variables.update(parameters)
    return variables
