"""Say what each column of a table is taken for, before any number is computed from it (D-94)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ssinfnet.mediation.cell_texts import thousands, unknown_levels
from ssinfnet.mediation.dates import partly_dates, written_as_date
from ssinfnet.mediation.missing_codes import countable, doubtful_values, without_codes

__all__ = ["AS_TIME", "CODED", "KINDS", "TYPED", "columns_text", "names_places", "typed_columns"]

AS_TIME = "outcome as time"  # role of an outcome that is a time until an event
TYPED = "typed"  # attribute of a table that `typed_columns` returned
KINDS = ("continuous", "count", "ordinal", "binary", "category", "date", "id")
COUNTED = ("count", "ordinal", "binary", "id")  # what times in whole days or months look like
PLACE = re.compile(  # columns that say where a patient was seen
    r"(hospital|centre|center|site|institution)([ _.-]?(id|code|name|no|nr|number))?",
    re.IGNORECASE,
)
CODED = re.compile(  # in a note
    "taken as missing|a code, or a limit|a level like any other|look like dates"
)
FEW = 6  # columns of a role that are named one by one
MOST_LEVELS = 10  # different whole numbers, up to which they are grades
SKEWED = 3.0  # skewness beyond which single patients decide a slope
ROUNDING = 1e-9  # by which two values may differ and are one


def typed_columns(
    table: pd.DataFrame,
    roles: Mapping[str, str],
    kinds: Mapping[str, str] | None = None,
    missing: Sequence[float] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Say what each column is taken for, and return a table in which it is that.

    Parameters
    ----------
    table : DataFrame
        One row a patient.
    roles : mapping of str to str
        Column → ``exposure``, ``outcome``, ``mediator`` or ``covariate``; an outcome that is a time
        until an event is `AS_TIME`, and numbers of it are times.
    kinds : mapping of str to str, optional
        Column → one of `KINDS`, where it is something else than it looks. A column of dates that is
        named ``continuous`` is counted in days, as durations are; numbers such as 20200315 stay
        numbers.
    missing : sequence of float, optional
        Numbers that mean a missing value in any of these columns; by default -99, -999 and -9999 of
        columns in which nothing else is negative. An empty sequence takes none for missing.

    Returns
    -------
    DataFrame
        The columns of `roles`, missing codes as NaN, two-valued exposures and outcomes as 0 and 1
        (the larger), named categories as text.
    DataFrame
        ``column``, ``role``, ``kind``, ``values`` (how many different ones), ``known`` (patients)
        and ``note``: codes, what was changed, and what to look at.

    Raises
    ------
    ValueError
        If a kind is unknown or its column has no role; or if an exposure, outcome or mediator is a
        date, a category or an id.
    """
    kinds = dict(kinds or {})
    if wrong := sorted(set(kinds.values()) - set(KINDS)):
        raise ValueError(f"kinds must be of {', '.join(KINDS)}; got {wrong}")
    if unused := [name for name in kinds if name not in roles]:
        raise ValueError(f"kinds names columns {unused[:5]} that have no role; name used ones")
    typed, rows = {}, []
    for name, role in roles.items():
        column, notes = without_codes(table[name], missing)
        if pd.api.types.is_timedelta64_dtype(column.dtype):
            column = column / pd.Timedelta(days=1)
            notes.append("counted in days")
        kind = kinds.get(name) or _looks(column)
        if role == AS_TIME and kind in COUNTED:
            kind = "continuous"  # no grades or two codes, however few months there are
        if role == "covariate" and name not in kinds and _numbers_places(name, column, kind):
            kind = "category"
            notes.append("its numbers name places: taken as categories")
        shown = "outcome" if role == AS_TIME else role
        _refuse(name, shown, kind, named=name in kinds, dtype=column.dtype)
        if name not in kinds:
            notes += partly_dates(column, kind)
        if kind not in ("category", "date", "id"):
            notes += doubtful_values(column, times=role == AS_TIME)
        elif kind == "category":
            notes += unknown_levels(column)
        column, told = _as_kind(column, kind, role)
        typed[name] = column
        known = column.dropna()
        rows.append({"column": name, "role": shown, "kind": kind, "values": known.nunique(),
                     "known": len(known), "note": "; ".join([*notes, *told])})  # fmt: skip
    names = ["column", "role", "kind", "values", "known", "note"]
    found = pd.DataFrame(typed, index=table.index)
    found.attrs = {**table.attrs, TYPED: True}
    return found, pd.DataFrame(rows, columns=names)


def columns_text(taken: pd.DataFrame) -> list[str]:
    """Return a line a role, and one a column with a note, of the second table of `typed_columns`.

    Of a role of many columns the notes are counted and the first is shown.

    Parameters
    ----------
    taken : DataFrame
    """
    lines = []
    for role, own in taken.groupby("role", sort=False):
        counted = own["kind"].value_counts()
        few = len(own) <= FEW
        said = (
            [f"{row.column} ({row.kind})" for row in own.itertuples()]
            if few
            else [f"{number} {kind}" for kind, number in counted.items()]
        )
        lines.append(f"{role}: {', '.join(said)}")
    for role, own in taken[taken["note"] != ""].groupby("role", sort=False):
        # What may be a code comes before what may be skewed
        rows = sorted(own.itertuples(), key=lambda row: not CODED.search(row.note))
        shown = [f"{row.column}: {row.note}" for row in rows]
        if len(own) > FEW:
            shown = [f"{len(own)} of role {role} have a note, listed in `columns`; {shown[0]}"]
        lines += shown
    return lines


def _numeric(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column.dtype)


def _looks(column: pd.Series) -> str:
    """Return what a column looks like, one of `KINDS`."""
    known = column.dropna()
    if pd.api.types.is_datetime64_any_dtype(column.dtype) or written_as_date(known):
        return "date"
    if isinstance(column.dtype, pd.CategoricalDtype):
        return "category" if not _numeric(column.cat.categories.to_series()) else "ordinal"
    if not _numeric(column):
        text = known.astype(str)
        # A slip among numbers, or decimal commas
        numbers = pd.to_numeric(text.str.replace(",", "."), errors="coerce").notna().any()
        numbers |= thousands(text).any()
        return "id" if len(text) > MOST_LEVELS and text.is_unique and not numbers else "category"
    levels = np.unique(known.to_numpy(dtype=np.float64))
    if len(levels) == 2 and not np.isclose(levels[0], levels[1], rtol=ROUNDING, atol=0):
        return "binary"
    if not (levels == np.round(levels)).all():
        return "continuous"
    if len(levels) <= MOST_LEVELS:
        return "ordinal"
    if len(levels) == len(known) == levels[-1] - levels[0] + 1:
        return "id"
    return "count" if levels[0] == 0 and known.skew() > 1 else "continuous"


def names_places(name: object) -> bool:
    """Say whether a column's name is that of a hospital, centre, site or institution (D-89)."""
    return bool(PLACE.fullmatch(str(name).strip()))


def _numbers_places(name: str, column: pd.Series, kind: str) -> bool:
    """Say whether a column numbers hospitals or the like, which have no order (D-90)."""
    return names_places(name) and _numeric(column) and kind not in ("binary", "id")


def _refuse(name: str, role: str, kind: str, named: bool, dtype: Any) -> None:
    """Raise ValueError where a kind cannot have a role; text is refused by its first value."""
    if role == "covariate" and kind not in ("date", "id"):
        return
    if kind == "date":
        counted = pd.api.types.is_datetime64_any_dtype(dtype)
        way = (
            "count days, or name its kind continuous, which does"
            if counted
            else "count days, or name its kind continuous if it is a number"
            if pd.api.types.is_numeric_dtype(dtype)
            else "count days, such as since the first symptom, and put them in its place"
        )
        raise ValueError(f"{role} {name!r} is a date; {way}")
    if kind == "id":
        raise ValueError(
            f"{role} {name!r} numbers or names the patients one by one; leave it out, or name its "
            "kind if it measures something"
        )
    if kind == "category" and named:
        raise ValueError(f"{role} {name!r} is a category; make a 0/1 column of each but the first")


def _as_kind(column: pd.Series, kind: str, role: str) -> tuple[pd.Series, list[str]]:
    """Return a column as its kind says, with notes."""
    if kind == "category":
        return column.astype("str").where(column.notna()) if _numeric(column) else column, []
    if kind != "date" and pd.api.types.is_datetime64_any_dtype(column.dtype):
        return (column - pd.Timestamp(0)) / pd.Timedelta(days=1), ["counted in days"]
    if not countable(column):
        return column, []
    levels = np.unique(column.dropna().to_numpy(dtype=np.float64))
    if not len(levels):
        return column, []  # of which nothing is known, as is said later
    shown = ", ".join(f"{level:g}" for level in levels[:MOST_LEVELS])
    if kind == "binary" and len(levels) == 2 and levels.tolist() != [0, 1]:
        if role in ("exposure", "outcome"):
            recoded = (column == levels[1]).astype("float64").mask(column.isna())
            return recoded, [f"coded {shown}: taken as 0, 1"]
        return column, [f"coded {shown}"]
    if kind == "ordinal":
        gaps = (np.diff(levels) != 1).any()
        notes = [f"{shown}: has gaps, which count as steps"] if gaps else []
        if role == "exposure":
            notes.append(f"{shown}: one slope for every step; of categories make 0/1 columns")
        if role == "covariate":
            notes.append(f"{shown}: one slope for every step; of categories name the kind category")
        if role == "outcome" and not gaps and levels[0] != 0:
            notes.append(
                f"{shown}: grades, counted from the lowest; if it is no grade, name the "
                "kind continuous"
            )
        return column, notes
    skewness = column.skew() if kind == "continuous" and len(levels) > MOST_LEVELS else 0.0
    skewed = abs(skewness) > SKEWED and role != AS_TIME
    note = f"skewness {skewness:.1f}: few patients decide the slopes; think of a logarithm"
    return column, [note] if skewed else []
