"""The chapters of a report, in the order of the contents, and how many slices a figure shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pandas as pd

from ssinfnet import tables
from ssinfnet.paper.contents import contents, find_item

__all__ = ["REST", "caption_count", "chaptered"]

REST = "Further tables and figures"

NOUNS = {"n_slices": "slices", "n_patients": "patients", "n_volumes": "volumes", "n": "patients"}


def chaptered(names: Iterable[str]) -> dict[str, list[str]]:
    """Sort names of tables and figures into chapters; chapters without any are left out.

    Examples
    --------
    >>> chaptered(["table_x", "figure_3b", "table_3b"])
    {'Lesions: stage 1': ['table_3b', 'figure_3b'], 'Further tables and figures': ['table_x']}
    """
    items = {name: find_item(name) for name in sorted(names)}
    chapters: dict[str, list[str]] = {}
    for item in contents():
        members = [name for name, its in items.items() if its is item]
        if members:
            chapters.setdefault(item.chapter, []).extend(members)
    if unknown := [name for name, item in items.items() if item is None]:
        chapters[REST] = unknown
    return chapters


def caption_count(name: str, read: Callable[[str], pd.DataFrame | None]) -> str:
    """Return how many slices or patients a figure is of, or "" where no table says.

    Parameters
    ----------
    name : str
        Name of a figure.
    read : callable
        Name of a table → the table, or None if the study has none.

    Notes
    -----
    Models may be scored on fewer of them, where a score is undefined; the tables show each n. Where
    rows differ, as between exposures, the lowest and the highest are named.
    """
    item = find_item(name)
    if item is None or not item.counted:
        return ""
    table, _, columns = item.counted.partition(": ")
    frame = read(table.format(name=name, rest=item.rest(name)))
    if frame is None or not set(columns.split()) <= set(frame):
        return ""
    if "outcome" in frame:
        frame = frame[[outcome in name for outcome in frame["outcome"]]]
    if "unit" in frame:  # severity stands in the table image by image too
        frame = frame[frame["unit"] == "patients"]
    parts = [_range(frame, name, column, NOUNS.get(column, column)) for column in columns.split()]
    return "n = " + " of ".join(part for part in parts if part) if any(parts) else ""


def _range(frame: pd.DataFrame, name: str, column: str, noun: str) -> str:
    if name == "figure_2":  # the rows are splits, and `all` repeats them
        return f"{int(tables.over_all_sources(frame)[column].sum()):,} {noun}"
    if column == "patients":  # steps of the flow: those left at its end
        return f"{int(frame[column].iloc[-1]):,} {noun}"
    values = frame[column].dropna()
    if values.empty:
        return ""
    low, high = int(values.min()), int(values.max())
    return f"{low:,} {noun}" if low == high else f"{low:,} to {high:,} {noun}"
