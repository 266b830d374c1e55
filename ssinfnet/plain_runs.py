"""A study's notebooks as plain Python, where there is neither papermill nor Snakemake.

The Snakefile is the engine; this is for a bare GPU machine with torch, fastai and the library's
imports alone. The same cells run, in one process, one after the other; a killed run goes on where
its trainings stopped.
"""

from __future__ import annotations

import ast
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssinfnet import paths, progress
from ssinfnet.config import Study
from ssinfnet.study_runs import runs_of

__all__ = ["run_notebook", "run_study"]


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
    runs = list(runs_of(study, name))
    for number, (notebook, parameters) in enumerate(runs, start=1):
        shown = ", ".join(f"{key}={value}" for key, value in parameters.items())
        progress.say(f"[{number}/{len(runs)}] {notebook} {shown}")
        path = paths.project_root() / "notebooks" / f"{notebook}.ipynb"
        run_notebook(path, parameters)


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
