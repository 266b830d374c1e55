"""Marks on what a table or figure shows of trainings that did not learn (D-77).

A model's name gets a dagger in the rows that are of such a training, and the reason stands below.
Where no column names models, as in figures, the title gets it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import pandas as pd

__all__ = ["ITEMS", "MARK", "Marks", "find_marks"]

MARK = "†"
NAMING = ("model", "reference")  # columns that name models
STAGES = {"lesion": "single", "single": "single", "multi": "multi"}  # what a row's class tells

Rule = Mapping[str, Any]

# What an item shows that no rule is for: networks of the study's own split
PLAIN: Rule = {"part": 0, "validated": False, "oracle": False}
SINGLE: Rule = {**PLAIN, "stage": "single"}
MULTI: Rule = {**PLAIN, "stage": "multi"}
FOLDS: Rule = {**PLAIN, "validated": True}
ORACLE: Rule = {**PLAIN, "stage": "multi", "oracle": True}
GRADES: Rule = {"severity": True}
PATIENTS: Rule = {"clinical": True}
LUNGS: Rule = {"stage": "lung field"}

# Pattern of an item's name → fields of the trainings it shows, as `learnt.unlearnt` has them. The
# first that matches counts. Columns stage, class, fold and seed tell more, row by row. Items
# without a column of models are marked only if a rule is for them.
ITEMS: dict[str, Rule] = {
    "*_oracle": ORACLE,
    "figure_3a": {**SINGLE, "main": True}, "figure_s4": {**SINGLE, "main": True},
    "figure_3c": {**MULTI, "main": True},
    "table_3b*": SINGLE, "figure_3b": SINGLE, "table_v2": SINGLE, "figure_v2": SINGLE,
    "table_s[56]a*": SINGLE, "figure_s[56]": {**PLAIN, "main": True}, "*_s[56]_volumes": PLAIN,
    "table_s[23]*": FOLDS, "figure_s2_s3_folds": FOLDS, "*_volumes": FOLDS,
    "table_s8": MULTI,
    "table_v5": GRADES, "table_cut_points": GRADES, "table_severity_auc": GRADES,
    "figure_severity": GRADES, "figure_calibration": GRADES,
    "figure_phenotypes_*": PATIENTS, "table_phenotype_gaps": PATIENTS, "table_stability": PATIENTS,
    "table_site_effects": PATIENTS,
    "table_mediators": PATIENTS, "table_mediators_*": PATIENTS, "table_mediation_*": PATIENTS,
    "figure_[456]*": PATIENTS, "table_paths_*": PATIENTS, "table_natural_*": PATIENTS,
    "*_rho_*": PATIENTS, "table_repeated_*": PATIENTS, "table_joint_*": PATIENTS,
    "table_directions_*": PATIENTS,
    "*_pretraining_{stage}_fold{fold}_seed{seed}": {"model": "inpainting"},
    "*_inpainting_{stage}_fold{fold}_seed{seed}": {"model": "inpainting"},
    "table_lung_field*": LUNGS, "figure_lung_field": LUNGS,
}  # fmt: skip


@dataclass(frozen=True)
class Marks:
    """Which cells of a table, or its title, are marked and why.

    Attributes
    ----------
    cells : set of (index, column)
        Whose text gets the mark.
    trainings : tuple of dict
        The trainings behind the marks, from `learnt.unlearnt`.
    title : bool
        Whether the title gets it.
    """

    cells: frozenset[tuple[Hashable, str]] = frozenset()
    trainings: tuple[Mapping[str, Any], ...] = ()
    title: bool = False

    def on(self, texts: pd.DataFrame) -> pd.DataFrame:
        """Return a table of `display` with its marks."""
        texts = texts.copy()
        for index, column in self.cells:
            texts.loc[index, column] += MARK
        return texts

    def titled(self, title: str) -> str:
        """Return the title with its mark, if it has one."""
        return f"{title}{MARK}" if self.title else title

    def notes(self, study: str) -> list[str]:
        """Return what stands below the table: one note of all reasons, or none.

        Parameters
        ----------
        study : str
            Whose table it is; trainings of another say so.
        """
        sentences = dict.fromkeys(
            f"{one['text']}{'' if one['study'] == study else ' of ' + one['study']} "
            f"{one['reason']}."
            for one in self.trainings
        )
        return [f"{MARK} {' '.join(sentences)}"] if sentences else []


def find_marks(
    frame: pd.DataFrame | None, name: str, unlearnt: Sequence[Mapping[str, Any]]
) -> Marks:
    """Return the marks of a table or figure.

    Parameters
    ----------
    frame : DataFrame or None
        The rows that are shown, index unique; of a figure the data behind it, or None.
    name : str
        Such as ``table_3b``.
    unlearnt : sequence of dict
        From `learnt.unlearnt`.
    """
    columns = [] if frame is None else [column for column in NAMING if column in frame]
    if not unlearnt or name == "table_learning":  # which has columns for it
        return Marks()
    if not columns:
        shown = [one for one in unlearnt if _has_rule(name, one) and _fits(_rule(name, one), one)]
        return Marks(trainings=tuple(shown), title=bool(shown))
    cells, shown = set(), []
    for index, row in zip(frame.index, frame.to_dict("records"), strict=True):
        of_row = [one for one in unlearnt if _is_of_row(one, row, row.get("table", name))]
        for column in columns:
            behind = [one for one in of_row if one["model"] == row[column]]
            cells |= {(index, column)} if behind else set()
            shown += [one for one in behind if one not in shown]
    figure = name.startswith("figure")
    return Marks(frozenset() if figure else frozenset(cells), tuple(shown), figure and bool(shown))


def _is_of_row(one: Mapping[str, Any], row: Mapping[str, Any], name: str) -> bool:
    """Say whether a row can be of a training, its model left aside."""
    if row.get("values") == "paper" or pd.isna(row.get("ours", 0)):  # no number of ours
        return False
    rule = dict(_rule(name, one))
    rule |= {key: row[key] for key in ("stage", "fold", "seed") if pd.notna(row.get(key, pd.NA))}
    kind = row.get("class", pd.NA)
    if pd.notna(kind) and kind != "":
        rule.setdefault("stage", STAGES.get(kind, "multi"))
    if "fold" in row:
        rule.pop("validated", None)
    return _fits(rule, one)


def _matching(name: str, one: Mapping[str, Any]) -> Iterable[Rule]:
    return (rule for pattern, rule in ITEMS.items() if fnmatchcase(name, pattern.format(**one)))


def _has_rule(name: str, one: Mapping[str, Any]) -> bool:
    return any(True for _ in _matching(name, one))


def _rule(name: str, one: Mapping[str, Any]) -> Rule:
    return next(iter(_matching(name, one)), PLAIN)


def _fits(rule: Rule, one: Mapping[str, Any]) -> bool:
    return all(one[key] == value for key, value in rule.items())
