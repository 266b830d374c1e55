"""What a study itself has found, in a few sentences and one small table: the head of its page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from ssinfnet import tables
from ssinfnet.data.cohort import Cohort
from ssinfnet.paper.published import our_rows
from ssinfnet.report import findings
from ssinfnet.study.paths import StudyPaths

__all__ = ["PICTURE", "own_result"]

PICTURE = "figure_3a"  # predicted lesions beside the truth, from the worst slice to the best
NEEDED = ("model", "n_slices", "n_patients", "F1_mean", "F1_low", "F1_high")
OUTCOMES = ("infected", "severe")
CLASSES = {"lesion": "any lesion", "ggo": "ground glass", "consolidation": "consolidation"}


def own_result(
    read: Callable[[str], pd.DataFrame | None],
    unlearnt: Mapping[str, Sequence[Mapping[str, Any]]],
    study: str,
    paths: StudyPaths | None = None,
) -> dict[str, Any]:
    """Return the result of a study from its tables.

    Parameters
    ----------
    read : callable
        Name of a table → the table, or None if the study has none.
    unlearnt : mapping
        Name of a table → trainings behind its marks, see `report.read_manifest`.
    study : str
    paths : StudyPaths, optional
        Where its cohort lies, of which the patients with consolidation are counted.

    Returns
    -------
    dict
        ``sentences`` (list of str), ``scores`` (DataFrame of text: class, model, F1 with its 95 %
        interval over patients and its slices; no rows where nothing was tested), ``marks``
        (list of str: what † means in it) and ``limits`` (list of str: what the numbers rest on).
    """
    sentences, rows, notes = [], [], []
    for name, found in (("table_3b", read("table_3b")), ("table_3d_s4", read("table_3d_s4"))):
        if found is None or not set(NEEDED) <= set(found):  # saved by hand, or by an old version
            continue
        for of in CLASSES:
            own = found[found["class"] == of] if "class" in found else found
            if own.empty or ("class" not in found and of != "lesion"):
                continue
            sentences.append(findings.ranking(found, of=of))
            scores = _scores(own)
            marks = tables.find_marks(scores, name, unlearnt.get(name, ()))
            rows.append(marks.on(tables.display(scores)).assign(**{"class": CLASSES[of]}))
            notes += marks.notes(study)
    for table, said in (("table_v5", findings.grades), ("table_mediators", findings.mediators)):
        found = read(table)
        if found is not None and len(found):
            sentences.append(said(found))
    table = pd.concat(rows, ignore_index=True) if rows else pd.DataFrame({"class": []})
    first = ["class", *(column for column in table if column != "class")]
    return {
        "sentences": sentences,
        "scores": table[first],
        "marks": list(dict.fromkeys(notes)),
        "limits": _limits(read, paths, set(table["class"])),
    }


def _limits(
    read: Callable[[str], pd.DataFrame | None], paths: StudyPaths | None, scored: set[str]
) -> list[str]:
    """Return what readers of the scores and of the mediators should know beside them."""
    said = []
    by_class = CLASSES["consolidation"] in scored
    if by_class and paths is not None and (paths.cohort / "sources.json").is_file():
        said.append(findings.consolidation(Cohort.load(paths.cohort).with_classes("test")))
    if scored:
        said.append(findings.ONE_READING)
    tested = {name: read(f"table_mediation_{name}") for name in OUTCOMES}
    effects = {
        name: table
        for name, table in tested.items()
        if table is not None and {"mediator_by_criterion", "stable"} <= set(table)
    }
    if effects:
        said.append(findings.stable_mediators(effects))
    return said


def _scores(table: pd.DataFrame) -> pd.DataFrame:
    """Return the F1 of our own rows, the highest first."""
    rows = our_rows(table)
    columns = ["model", "class", "F1_mean", "F1_low", "F1_high", "F1_n"]
    known = rows[[column for column in columns if column in rows]].dropna(subset="F1_mean")
    return known.sort_values("F1_mean", ascending=False, ignore_index=True)
