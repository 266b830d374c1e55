"""Exposures that are categories: a contrast of each level against a named one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from ssinfnet.mediation.dates import written_as_date
from ssinfnet.mediation.missing_codes import MISSING_CODES, without_codes

__all__ = ["with_contrasts"]

MOST_LEVELS = 20  # of an exposure; more are hardly categories


def with_contrasts(
    table: pd.DataFrame,
    exposures: Sequence[str],
    kinds: Mapping[str, str],
    reference: Mapping[str, str],
    missing: Sequence[float] | None = None,
) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Replace exposures that are categories by a 0/1 column a level but the one compared with.

    Parameters
    ----------
    table : DataFrame
    exposures : sequence of str
        Those of text, those whose kind is ``category``, and those with a reference are categories.
    kinds : mapping of str to str
        Column → kind.
    reference : mapping of str to str
        Exposure → the level, as text, that the others are compared with; by default the most
        frequent, of two equally frequent ones the first in order.
    missing : sequence of float, optional
        Numbers that mean a missing value, see `columns.typed_columns`; they are no level.

    Returns
    -------
    DataFrame
        With columns such as ``stage: II against I``.
    dict
        Exposure, or contrast → the other contrasts of its exposure, beside which it is analysed.

    Raises
    ------
    ValueError
        If a reference is of no exposure or no level, or an exposure has one level or too many.
    """
    if unused := [name for name in reference if name not in exposures]:
        raise ValueError(f"a reference is given for {unused}, which are no exposures")
    beside: dict[str, list[str]] = {}
    parts = [table]
    for name in exposures:
        if not _is_category(table, name, kinds, reference):
            beside[name] = []
            continue
        text = without_codes(table[name], missing)[0].map(_written, na_action="ignore")
        if not pd.api.types.is_numeric_dtype(table[name].dtype):
            codes = MISSING_CODES if missing is None else missing
            text = text.mask(text.isin([_written(float(code)) for code in codes]))
        counted = text.value_counts().sort_index().sort_values(ascending=False, kind="stable")
        if not 2 <= len(counted) <= MOST_LEVELS:
            raise ValueError(
                f"exposure {name!r} has {len(counted)} levels; 2 to {MOST_LEVELS} can be compared"
            )
        base = str(reference.get(name, counted.index[0]))
        if base not in counted.index:
            raise ValueError(
                f"exposure {name!r} has no level {base!r}; it has {sorted(counted.index)}"
            )
        contrasts = {
            f"{name}: {level} against {base}": (text == level).astype("float64")
            for level in sorted(counted.index)
            if level != base
        }
        parts.append(pd.DataFrame(contrasts).mask(text.isna()))
        beside |= {own: [other for other in contrasts if other != own] for own in contrasts}
    return (pd.concat(parts, axis=1) if len(parts) > 1 else table), beside


def _is_category(
    table: pd.DataFrame, name: str, kinds: Mapping[str, str], reference: Mapping[str, str]
) -> bool:
    """Say whether an exposure is a category; dates, names of patients and slips are not."""
    if name in reference or kinds.get(name) == "category":
        return True
    column = table[name]
    if name in kinds or pd.api.types.is_numeric_dtype(column.dtype):
        return False
    known = column.dropna()
    if column.dtype.kind in "mM" or written_as_date(known):
        return False
    numbers = pd.to_numeric(known, errors="coerce").notna().any()
    return len(known) > 0 and not numbers and 2 <= known.nunique() <= MOST_LEVELS


def _written(level: object) -> str:
    """Return a level as text, whole numbers without a point."""
    if isinstance(level, float) and level.is_integer():
        return str(int(level))
    return str(level)
