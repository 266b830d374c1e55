"""A study as its notebooks use it: opened by one line, saved to under one label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from ssinfnet import tables
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
    empty : str
        Why a table has no rows, where it has none; its title then ends in it.
    """

    settings: Study
    paths: StudyPaths
    made: dict[str, Any]
    networks_of: tuple[Study, ...]
    empty: str = ""

    def showing(self, *studies: Study) -> Session:
        """Return the session for results that show the networks of other studies, or of none."""
        return replace(self, networks_of=studies)

    @cached_property
    def _label(self) -> dict[str, Any]:
        # Read at the first save: in a notebook that trains, the training has then left its record.
        return writer.label(self.made, *self.networks_of)

    def save_table(self, table: pd.DataFrame, name: str, title: str, **options: Any) -> Path:
        """Save a table into the study's figures; options are those of `report.save_table`."""
        options = {"empty": self.empty} | self._label | options
        return writer.save_table(self.paths.figures, table, name, title, **options)

    def save_figure(self, figure: Figure, name: str, title: str, **options: Any) -> Path:
        """Save a figure into the study's figures; options are those of `report.save_figure`."""
        return writer.save_figure(self.paths.figures, figure, name, title, **self._label | options)

    def save_tables(
        self, frames: Mapping[str, pd.DataFrame], name: str, title: str, **options: Any
    ) -> None:
        """Save several tables; ``{}`` in name and title is the key of each, in titles in words."""
        for key, its in frames.items():
            titled = tables.in_words(title.format(key))
            self.save_table(its, name.format(key), titled, **options)

    def save_figures(
        self,
        figures: Mapping[str, Figure],
        name: str,
        title: str | Mapping[str, str],
        data: Mapping[str, pd.DataFrame] | None = None,
    ) -> None:
        """Save several figures, as `save_tables` does, each with the title and data of its key."""
        for key, figure in figures.items():
            its = tables.in_words(title.format(key) if isinstance(title, str) else title[key])
            self.save_figure(figure, name.format(key), its, data=data[key] if data else None)

    def write_table(self, path: Path, table: pd.DataFrame) -> None:
        """Write a table that later notebooks read, with what made it beside it."""
        artifacts.write_table(path, table, self.made)

    def write_tables(self, tables: Mapping[Path, pd.DataFrame]) -> None:
        """Write several tables that later notebooks read."""
        for path, table in tables.items():
            self.write_table(path, table)


def open_study(
    study: str, *, fold: int = 0, section: str = "", empty: str = "", **parameters: Any
) -> Session:
    """Open a study for a notebook.

    Parameters
    ----------
    study : str
        A name in `studies/`, or the path of a YAML file.
    fold : int
        Fold of the cross-validation; 0 is the study's own split.
    section : str
        The section of the settings that the results depend on, such as ``scores`` or
        ``clinical.mediation``; it is recorded with them.
    empty : str
        Why tables may be empty, see `Session`.
    parameters
        Recorded with the results too, such as ``model="unet"``.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such study, a key or value of it is wrong, or it has no such section.
    """
    settings = load_study(study).in_fold(fold)
    recorded = dict(parameters)
    if section:
        recorded = _section(settings, section).model_dump(mode="json") | recorded
    made = artifacts.made_by(settings.name, recorded)
    return Session(settings, StudyPaths.of(settings.name), made, (settings,), empty)


def _section(settings: Study, name: str) -> Any:
    section: Any = settings
    for part in name.split("."):
        section = getattr(section, part, None)
    if section is None:
        raise ValueError(
            f"study {settings.name} has no `{name.partition('.')[0]}`, which this notebook is "
            "about; docs/studies.md says what to write there"
        )
    return section
