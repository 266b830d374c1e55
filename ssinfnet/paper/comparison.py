"""Numbers side by side: ours with the paper's, and those of two studies.

The paper prints mean ± error, the error 1.96 standard errors over slices: its interval is that.
Ours is the bootstrap's over patients (D-13). That two intervals overlap is a description and no
test (D-66); the tests stand in tables of their own (D-15).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ssinfnet.paper import published
from ssinfnet.paper.contents import contents

__all__ = ["overlap", "paper_comparison", "read_table"]

# Tables of ours that count patients, slices or mediators: without models, and without intervals
COUNTS = ("table_2d_split", "table_lung_faults", "table_mediators", "table_patient_flow")
BOOTSTRAP = "95 % bootstrap over patients"
PRINTED = "mean ± printed error (1.96 SE over slices)"
KEYS = ["published", "table", "model", "class", "metric"]
COLUMNS = [
    *KEYS, "paper", "paper_low", "paper_high", "paper_interval", "ours", "ours_low", "ours_high",
    "ours_interval", "n", "difference", "intervals_overlap", "reason",
]  # fmt: skip


Key = tuple[str, str, str]  # model, class, metric


class Ours(NamedTuple):
    """One number of ours with its interval, and how many slices or patients it is of."""

    value: float
    low: float = np.nan
    high: float = np.nan
    n: float = np.nan


def paper_comparison(folder: Path) -> pd.DataFrame:
    """Put every number the paper prints beside ours.

    Parameters
    ----------
    folder : Path
        ``figures/<study>``, whose tables are read.

    Returns
    -------
    DataFrame
        published (table of `published.published_values`), table (ours), model, class,
        metric; paper with _low, _high and how that interval was had; ours likewise, and its n;
        difference (ours − paper), intervals_overlap, reason. Every published number has a row: one
        without a number of ours, or without two intervals, says why, and is NaN there.
    """
    beside = {printed: item.pattern for item in contents() for printed in item.published}
    saved = {name: read_table(folder, name) for name in set(beside.values())}
    ours = {name: dict(_numbers(name, frame)) for name, frame in saved.items() if frame is not None}
    rows = [
        _row(one.table, beside[one.table], _key(one), one.mean, one.error, ours)
        for one in published.published_values().itertuples()
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({"intervals_overlap": "boolean", "n": "Int64"})


def overlap(first: tuple[float, float], second: tuple[float, float]) -> bool | None:
    """Say whether two closed intervals share a point; None where one of the four is missing.

    Examples
    --------
    >>> overlap((0.1, 0.3), (0.3, 0.5)), overlap((0.1, 0.2), (0.3, 0.5))
    (True, False)
    """
    if any(pd.isna(bound) for bound in (*first, *second)):
        return None
    return bool(first[0] <= second[1] and second[0] <= first[1])


def read_table(folder: Path, name: str) -> pd.DataFrame | None:
    """Return a saved table with whole numbers whole, or None if there is none.

    Parameters
    ----------
    folder : Path
        ``figures/<study>``.
    name : str
        Such as ``table_3b``.
    """
    path = folder / f"{name}.csv"
    if not path.is_file():
        return None
    return pd.read_csv(path, dtype_backend="numpy_nullable", keep_default_na=False, na_values=[""])


def _key(one: Any) -> Key:
    """Return model, class and metric of a published value as our tables name them."""
    model, class_ = ("" if pd.isna(name) else name for name in one[2:4])
    if one.table == "draft1":  # two stages in one table, told apart by the model's name
        class_ = model.partition("_")[0]
    return published.PUBLISHED_NAMES.get(model, model), class_, one.metric


def _numbers(name: str, frame: pd.DataFrame) -> Iterator[tuple[Key, Ours]]:
    """Yield what a table of ours says of each model, class and metric."""
    frame = published.our_rows(frame)
    if name in COUNTS:
        yield from _counts(name, frame)
        return
    if name == "table_v5":  # the manuscript's kind: images, micro averages by its own cut-points
        frame = frame[(frame["cut_points"] == "published") & (frame["average"] == "micro")]
        unit = frame.get("unit", pd.Series("images", index=frame.index))
        frame = frame[unit == "images"] if (unit == "images").any() else frame
    for row in frame.to_dict("records"):
        model = row.get("model", "")
        if name == "table_s8":
            for column in [
                c for c in row if c.startswith("epoch_") or c in ("average", "relative")
            ]:
                metric = column if column == "relative" else f"{column}_seconds"
                yield (model, "", metric), Ours(row[column])
        elif name == "table_d1":
            yield (model, row["stage"], "test_loss"), Ours(row["test_loss"])
        else:
            class_ = row.get("class", "severity" if name == "table_v5" else "lesion")
            yield from _scores(model, class_, row)


def _counts(name: str, frame: pd.DataFrame) -> Iterator[tuple[Key, Ours]]:
    """Yield what a table of ours counts."""
    if name == "table_lung_faults":
        yield ("", "iCTCF", "slices left out"), Ours(len(frame))
    elif name == "table_mediators":
        for row in frame[frame["outcome"] == "infected"].to_dict("records"):  # the paper's outcome
            metric = f"mediators of {row['exposure']}"
            yield ("", row["class"], metric), Ours(row["by_criterion"], n=row["tested"])
    elif name == "table_patient_flow":
        for step, patients in zip(frame["step"], frame["patients"], strict=True):
            yield ("", step, "patients"), Ours(patients)
    else:
        # Of several sources the rows `all` count all of them together
        whole = frame[frame["source"] == "all"]
        for row in (frame if whole.empty else whole).to_dict("records"):
            for metric in ("slices", "patients"):
                yield ("", row["split"], metric), Ours(row[metric])


def _scores(model: str, class_: str, row: dict[str, Any]) -> Iterator[tuple[Key, Ours]]:
    for metric in [column.removesuffix("_mean") for column in row if column.endswith("_mean")]:
        value, low, high = (row.get(f"{metric}_{part}", np.nan) for part in ("mean", "low", "high"))
        n = row.get(f"{metric}_n", row.get("n", np.nan))
        yield (model, class_, metric), Ours(value, low, high, n)


def _row(
    printed: str, name: str, key: Key, paper: float, error: float, ours: dict[str, dict[Key, Ours]]
) -> dict[str, Any]:
    """Return one row of the comparison."""
    our_number = ours.get(name, {}).get(key, Ours(np.nan))
    our_number = Ours(*(np.nan if pd.isna(number) else float(number) for number in our_number))
    low, high = paper - error, paper + error
    both = pd.notna(our_number.low) and pd.notna(our_number.high)
    return {
        **dict(zip(KEYS, (printed, name, *key), strict=True)),
        "paper": paper, "paper_low": low, "paper_high": high,
        "paper_interval": "" if pd.isna(error) else PRINTED,
        "ours": our_number.value, "ours_low": our_number.low, "ours_high": our_number.high,
        "ours_interval": BOOTSTRAP if both else "", "n": our_number.n,
        "difference": our_number.value - paper,
        "intervals_overlap": overlap((our_number.low, our_number.high), (low, high)),
        "reason": _reason(name, key, our_number, error, ours),
    }  # fmt: skip


def _reason(name: str, key: Key, own: Ours, error: float, ours: dict[str, dict[Key, Ours]]) -> str:
    """Say what keeps a published number from being compared, or its interval; "" if nothing."""
    if name not in ours:
        return f"this study makes no {name}"
    if key not in ours[name]:
        has_model = any(key[0] == other[0] for other in ours[name])
        return f"{name} has no such number" if has_model else f"{name} has no such model"
    if pd.isna(own.value):
        return "ours is undefined here"
    if name in COUNTS:
        return "counts have no interval"
    lacking = [
        who
        for who, missing in (("the paper's", pd.isna(error)), ("ours", pd.isna(own.low)))
        if missing
    ]
    return f"no interval: {' and '.join(lacking)}" if lacking else ""
