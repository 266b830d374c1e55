"""Numbers in pairs as the pages show them: ours beside the paper's, or those of two studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ssinfnet import tables

__all__ = ["PRINTED", "matrix", "overview", "side_by_side"]

PRINTED = {
    "fig2d": "J figure 2D", "text_flow": "V §V-A", "text_faults": "V §IV-B",
    "fig3b": "J figure 3B", "fig3d": "J figure 3D", "text": "J text", "draft1": "D table I",
    "sev2": "V table II", "sev3": "V table III", "sev4": "V table IV", "sev5": "V table V",
}  # fmt: skip


def side_by_side(numbers: pd.DataFrame, first: str, second: str) -> list[dict[str, str]]:
    """Return two numbers of each row with their intervals, and their difference, as text.

    Parameters
    ----------
    numbers : DataFrame
        <first> and <second> with their _low and _high, difference, intervals_overlap.
    first, second : str
        Such as ``ours`` and ``paper``.

    Returns
    -------
    list of dict
        first, second, difference (with its sign) and state: ``overlap``, ``apart``, or "" where an
        interval is missing.
    """
    sides = [
        _texts(*(numbers[f"{side}{end}"].astype("float64") for end in ("", "_low", "_high")))
        for side in (first, second)
    ]
    difference = numbers["difference"].astype("float64")
    nothing = pd.Series(float("nan"), index=numbers.index)
    differences = _texts(difference, nothing, nothing)
    return [
        {
            "first": one,
            "second": other,
            "difference": f"+{text}" if change > 0 else text,
            "state": "" if pd.isna(overlap) else "overlap" if overlap else "apart",
        }
        for one, other, text, change, overlap in zip(
            *sides, differences, difference, numbers["intervals_overlap"], strict=True
        )
    ]


def _texts(values: pd.Series, low: pd.Series, high: pd.Series) -> list[str]:
    """Return numbers with their intervals as text; a count, which has none, stays whole."""
    shown = tables.display(pd.DataFrame({"mean": values, "low": low, "high": high})).iloc[:, 0]
    counts = low.isna() & (values % 1 == 0)
    return [
        tables.minus_sign(f"{int(value):,}") if whole else text
        for value, whole, text in zip(values, counts, shown, strict=True)
    ]


def matrix(rows: pd.DataFrame, unlearnt: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Lay a part of the comparison out, a row a model and class, a column a metric."""
    keys = [key for key in ("model", "class") if (rows[key] != "").any()]
    metrics = list(dict.fromkeys(rows["metric"]))
    texts = dict(zip(rows.index, side_by_side(rows, "ours", "paper"), strict=True))
    shown = []
    for _, part in rows.groupby(keys, sort=False):
        by_metric = dict(zip(part["metric"], part.index, strict=True))
        first = part.head(1)
        marks = tables.find_marks(first, rows["table"].iloc[0], unlearnt)
        named = marks.on(tables.display(first[keys])).iloc[0].tolist()
        cells_ = [texts[by_metric[metric]] if metric in by_metric else None for metric in metrics]
        shown.append({"of": named, "cells": cells_})
    return {
        "published": _printed(rows["published"].iloc[0]),
        "summary": _summary(rows),
        "columns": [*keys, "", *(metric.replace("_", " ") for metric in metrics)],
        "rows": shown,
    }


def _summary(rows: pd.DataFrame) -> str:
    """Return "12 numbers, 4 of 10 pairs of intervals overlap"."""
    known = rows["intervals_overlap"].dropna()
    counted = f"{len(rows)} {'number' if len(rows) == 1 else 'numbers'}"
    if known.empty:
        return f"{counted}; {rows['reason'].iloc[0]}"
    return f"{counted}, {int(known.sum())} of {len(known)} pairs of intervals overlap"


def _printed(name: str) -> str:
    return PRINTED.get(name, f"S table {name.upper()}")


def overview(compared: pd.DataFrame) -> pd.DataFrame:
    """Count what was compared of each published table that the study has, and how close it came."""
    rows = []
    compared = compared.groupby("published", sort=False).filter(
        lambda its: its["ours"].notna().any()
    )
    for (name, table), own in compared.groupby(["published", "table"], sort=False):
        known = own["intervals_overlap"].dropna()
        reasons = own.loc[own["reason"] != "", "reason"].value_counts()
        why = "; ".join(f"{reason} ({count})" for reason, count in reasons.items())
        rows.append(
            {
                "published": _printed(name), "ours": table, "numbers printed": len(own),
                "compared": int(own["difference"].notna().sum()), "with intervals": len(known),
                "intervals overlap": int(known.sum()),
                "median |difference|": own["difference"].abs().median(), "not compared": why,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)
