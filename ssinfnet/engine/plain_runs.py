"""A study's notebooks as plain Python, where there is neither papermill nor Snakemake.

The Snakefile is the engine; this is for a bare GPU machine with torch, fastai and the library's
imports alone. The same cells run, in one process, one after the other; a killed run goes on where
its trainings stopped.
"""

from __future__ import annotations

import ast
import json
import os
import sys
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ssinfnet.study import paths
from ssinfnet.study.config import Study
from ssinfnet.study.schedule import Run, runs_of
from ssinfnet.work import progress
from ssinfnet.work.threads import THREADS_VARIABLE, study_threads, use_threads

__all__ = ["run_notebook", "run_study", "runs_wanted"]


def run_study(
    study: Study, name: str, only: Sequence[str] = (), threads: int | None = None
) -> None:
    """Run the notebooks of a study in this process.

    Parameters
    ----------
    study : Study
    name : str
        The study, as notebooks take it: its name or the path of its YAML file.
    only : sequence of str
        Notebooks to run, see `runs_wanted`.
    threads : int or None
        Threads of the processor; those that the study names if None.

    Raises
    ------
    ValueError
        As `runs_wanted` raises it.
    RuntimeError
        If a cell fails; the message names notebook and cell.
    """
    os.environ.setdefault("MPLBACKEND", "Agg")
    runs = runs_wanted(study, name, only)
    if threads is not None:
        os.environ[THREADS_VARIABLE] = str(threads)
    with use_threads(study_threads(study.threads)):  # each notebook sets its study's
        for number, (notebook, parameters) in enumerate(runs, start=1):
            shown = ", ".join(f"{key}={value}" for key, value in parameters.items())
            progress.say(f"[{number}/{len(runs)}] {notebook} {shown}")
            run_notebook(paths.notebook_file(notebook), parameters)
            if "matplotlib.pyplot" in sys.modules:  # which holds every figure until it is closed
                sys.modules["matplotlib.pyplot"].close("all")


def runs_wanted(study: Study, name: str, only: Sequence[str] = ()) -> list[Run]:
    """Return a study's notebooks with their parameters, in an order in which each can run.

    Parameters
    ----------
    study, name
        As for `run_study`.
    only : sequence of str
        Patterns of notebooks' names such as ``0[1-6]_*``; all if empty.

    Raises
    ------
    ValueError
        If no notebook of the study matches one of the patterns.
    """
    runs = list(runs_of(study, name))
    if not only:
        return runs
    books = list(dict.fromkeys(notebook for notebook, _ in runs))
    for pattern in only:
        if not any(fnmatchcase(book, pattern) for book in books):
            raise ValueError(f"no notebook of {study.name} matches {pattern!r}; it has {books}")
    return [run for run in runs if any(fnmatchcase(run[0], pattern) for pattern in only)]


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
