"""A study opened in a notebook by hand: what the notebook reads is there, or made, or named."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from ssinfnet.engine import plain_runs
from ssinfnet.report import session
from ssinfnet.study import outputs, schedule
from ssinfnet.study.config import Study, load_study
from ssinfnet.study.paths import StudyPaths, notebook_file
from ssinfnet.work import parent_watch, progress
from ssinfnet.work.threads import study_threads

__all__ = ["CannotOpen", "missing_runs", "open_study"]

MADE_AT_ONCE = ("smoke", "smoke_set3", "start")  # minutes of one core; other studies take longer


class CannotOpen(RuntimeError):
    """A notebook cannot open its study; Jupyter shows what it says and no frames of the library."""

    def _render_traceback_(self) -> list[str]:  # IPython asks for it
        return [str(self)]


def open_study(
    study: str, *, notebook: str, fold: int = 0, section: str = "", empty: str = "",
    **parameters: Any,
) -> session.Session:  # fmt: skip
    """Open a study for a notebook, with all that the notebook reads.

    What is missing of the smallest studies is made, with a bar; of any other study the notebook
    or command that makes it is named. Torch computes with as many threads as the study says.

    Parameters
    ----------
    study, fold, section, empty
        As for `report.open_study`.
    notebook : str
        The notebook's own name, without ending.
    parameters
        The notebook's other parameters, such as ``model="unet"``. They are recorded with the
        results, and tell which trainings it reads.

    Raises
    ------
    CannotOpen
        If there is no such study, a key or value of it is wrong, it lacks the section, or what the
        notebook reads is missing and is not made; the message says what to run.
    """
    try:
        opened = session.open_study(
            study, fold=fold, section=section, empty=empty, notebook=notebook, **parameters
        )
    except (FileNotFoundError, ValueError) as error:
        raise CannotOpen(str(error)) from error
    torch.set_num_threads(study_threads(opened.settings.threads))
    whole = load_study(study)
    missing = missing_runs(whole, study, notebook, {"study": study, "fold": fold, **parameters})
    if missing and whole.name in MADE_AT_ONCE and progress.BATCH_VARIABLE not in os.environ:
        _make(missing, opened.paths)
    elif missing:
        raise CannotOpen(_what_to_run(missing, notebook, study))
    return opened


def missing_runs(
    study: Study, name: str, notebook: str, parameters: Mapping[str, Any]
) -> list[schedule.Run]:
    """Return the notebooks that must run before another can, in their order.

    Parameters
    ----------
    study, name, notebook, parameters
        As for `schedule.read_by`.
    """
    studies = {name: study}  # each is read once: a report follows a hundred notebooks
    missing = []
    for run in schedule.read_by(study, name, notebook, parameters):
        before, its = run
        if its["study"] not in studies:
            studies[its["study"]] = load_study(its["study"])
        if not outputs.output_of(studies[its["study"]], before, its).exists():
            missing.append(run)
    return missing


def _what_to_run(missing: Sequence[schedule.Run], notebook: str, study: str) -> str:
    first, parameters = missing[0]
    at = ", ".join(f"{name}={value}" for name, value in parameters.items())
    more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
    return (
        f"{notebook} reads what {first} ({at}){more} leaves, and that has not been run: open "
        f"{first} first, or run `make reproduce STUDY={study}`"
    )


def _make(missing: Sequence[schedule.Run], paths: StudyPaths) -> None:
    """Run notebooks in a process of their own, so that what they show does not show here."""
    log = paths.runs / "made.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    what = f"making what study {paths.study} lacks, once"
    with ProcessPoolExecutor(1, get_context("spawn"), _begin, (os.getpid(), str(log))) as pool:
        done = pool.map(_run, missing)
        try:
            for _ in progress.track(done, what, len(missing)):
                pass
        except BrokenProcessPool as error:
            raise CannotOpen(f"the process that made it died; what it said: {log}") from error
        except RuntimeError as error:
            raise CannotOpen(f"{error}; what it said: {log}") from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _begin(parent: int, log: str) -> None:
    """Let the process end with its parent, draw on no screen, and write what it says to a file."""
    parent_watch.start(parent)
    os.environ["MPLBACKEND"] = "Agg"
    os.environ[progress.BATCH_VARIABLE] = "1"
    sys.stdout = sys.stderr = Path(log).open("w", encoding="utf-8", buffering=1)  # noqa: SIM115


def _run(run: schedule.Run) -> None:
    notebook, parameters = run
    plain_runs.run_notebook(notebook_file(notebook), parameters)
