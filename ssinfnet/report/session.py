"""A study as its notebooks use it: opened by one line, saved to under one label."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ssinfnet.report import writer
from ssinfnet.storage import artifacts
from ssinfnet.study.config import Study, load_study
from ssinfnet.study.paths import StudyPaths

__all__ = ["Session", "open_study"]


@dataclass(frozen=True)
class Session:
    """An open study: its settings, its folders, and where its tables and figures go.

    Attributes
    ----------
    settings : Study
    paths : StudyPaths
    made : dict
        What makes the results, see `artifacts.made_by`; every file records it.
    networks_of : tuple of Study
        Whose networks the results show. Results say which of these networks were trained for
        fewer epochs than the paper's, or have not learnt (D-77).
    """

    settings: Study
    paths: StudyPaths
    made: dict[str, Any]
    networks_of: tuple[Study, ...]

    def showing(self, *studies: Study) -> Session:
        """Return the session for results that show the networks of other studies, or of none."""
        return replace(self, networks_of=studies)

    @cached_property
    def _label(self) -> dict[str, Any]:
        # Read at the first save: in a notebook that trains, the training has then left its record.
        return writer.label(self.made, *self.networks_of)

    def save_table(self, table: pd.DataFrame, name: str, title: str, **options: Any) -> Path:
        """Save a table into the study's figures; options are those of `report.save_table`."""
        return writer.save_table(self.paths.figures, table, name, title, **self._label | options)

    def save_figure(self, figure: Figure, name: str, title: str, **options: Any) -> Path:
        """Save a figure into the study's figures; options are those of `report.save_figure`."""
        return writer.save_figure(self.paths.figures, figure, name, title, **self._label | options)

    def write_table(self, path: Path, table: pd.DataFrame) -> None:
        """Write a table that later notebooks read, with what made it beside it."""
        artifacts.write_table(path, table, self.made)


def open_study(study: str, *, fold: int = 0, part: str = "", **parameters: Any) -> Session:
    """Open a study for a notebook.

    Parameters
    ----------
    study : str
        A name in `studies/`, or the path of a YAML file.
    fold : int
        Of the cross-validation; 0 is the study's own split.
    part : str
        The part of the settings that the results depend on, such as ``scores`` or
        ``clinical.mediation``; it is recorded with them.
    parameters
        Recorded with the results too, such as ``model="unet"``.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such study, or a key or value of it is wrong.
    AttributeError
        If the study has no such part.
    """
    settings = load_study(study).in_fold(fold)
    recorded = dict(parameters)
    if part:
        held: Any = settings
        for name in part.split("."):
            held = getattr(held, name)
        recorded = held.model_dump(mode="json") | recorded
    made = artifacts.made_by(settings.name, recorded)
    return Session(settings, StudyPaths.of(settings.name), made, (settings,))
