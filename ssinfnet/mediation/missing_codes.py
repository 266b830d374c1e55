"""Numbers that may mean a missing value: those that are taken so, and those that are told of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["MISSING_CODES", "countable", "doubtful_values", "without_codes"]

Array = NDArray[np.float64]

MISSING_CODES = (-99.0, -999.0, -9999.0)  # where nothing else is negative
SUSPECT_CODES = (-9.0, 99.0, 999.0, 9999.0)  # told of, as those, where they lie far from the rest
USUAL_CODES = (*MISSING_CODES, *SUSPECT_CODES, -1.0, 9.0, 77.0, 88.0, 777.0, 888.0)
FAR = 5.0  # interquartile ranges from the quartiles
FEWEST, LEAST = 3, 0.01  # patients, and their share, who share a value that is told of
MOST_GRADES = 10  # different numbers, up to which they are grades or doses
GAPS = 2.0  # times the widest gap, and the interquartile range, of the others
NEAREST, HEAP = 10, 4  # values nearest to an end; how many times as often as each of them it occurs
STEPS = 1.5  # times the finest step; a value no further from its neighbour ends a scale


def without_codes(
    column: pd.Series, missing: Sequence[float] | None
) -> tuple[pd.Series, list[str]]:
    """Return a column without codes of missing values, and what was found.

    Parameters
    ----------
    column : Series
    missing : sequence of float or None
        See `columns.typed_columns`.
    """
    if not countable(column):
        return column, []
    codes = MISSING_CODES if missing is None else tuple(missing)
    coded = column.isin(codes)
    if not coded.any():
        return column, []  # as of thousands of phenotypes
    if missing is None:
        rest = column[~coded].dropna()
        if not (len(rest) and (rest >= 0).all()):
            return column, []
    notes = [
        f"{code:g} of {number} patients is taken as missing"
        for code, number in column[coded].value_counts().items()
    ]
    return column.mask(coded), notes


def countable(column: pd.Series) -> bool:
    """Return whether a column holds finite numbers alone; others are refused when analysed."""
    return (
        pd.api.types.is_numeric_dtype(column.dtype)
        and not pd.api.types.is_bool_dtype(column.dtype)
        and not np.isinf(column.to_numpy(dtype=np.float64, na_value=np.nan)).any()
    )


def doubtful_values(column: pd.Series, times: bool = False) -> list[str]:
    """Return what is told of values that may stand for a missing one, or for a limit (D-108).

    Parameters
    ----------
    column : Series
        Numbers, codes that are taken as missing left out; of others nothing is told.
    times : bool
        Whether they are times until an event, which end together where a study ends.

    Returns
    -------
    list of str
        A sentence a value: usual codes far from the rest, and a lowest or highest value that 3
        patients and 1 % share and that lies apart, or occurs far oftener than those next to it.
        0 is none where it is the lowest, since sizes and counts are 0.
    """
    if not countable(column):
        return []
    levels, counts = np.unique(column.dropna().to_numpy(dtype=np.float64), return_counts=True)
    if len(levels) < 3:
        return []
    found = _usual_codes(levels, counts)
    ends = dict(_shared_ends(levels, counts, times))
    told = {value: "lies far from the rest" for value in found} | ends
    return [
        _note(value, int(counts[levels == value][0]), how) for value, how in sorted(told.items())
    ]


def _note(value: float, number: int, how: str) -> str:
    code = _written(value)
    return (
        f"{code} of {number} patients {how}: a code, or a limit? If it means missing, say "
        f"--missing={code} (missing=[{code}] in Python), for all columns"
    )


def _written(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(float(value))


def _usual_codes(levels: Array, counts: NDArray[np.int_]) -> list[float]:
    """Return usual codes beyond all others and far beyond the quartiles, whatever their number."""
    usual = np.isin(levels, (*SUSPECT_CODES, *MISSING_CODES))
    codes, others = levels[usual], levels[~usual]
    if not len(codes) or not len(others):
        return []
    codes = codes[(codes < others[0]) | (codes > others[-1])]
    low, high = np.quantile(np.repeat(levels, counts), [0.25, 0.75])
    reach = FAR * (high - low)
    return [float(code) for code in codes if not low - reach <= code <= high + reach]


def _shared_ends(levels: Array, counts: NDArray[np.int_], times: bool) -> list[tuple[float, str]]:
    """Return lowest and highest values that stand out → how, the outermost first."""
    found: list[tuple[float, str]] = []
    fewest = max(FEWEST, LEAST * counts.sum())
    while len(levels) > 2:
        for end in (slice(None), slice(None, None, -1))[: 1 if times else 2]:
            own, often = levels[end], counts[end]
            how = _stands_out(own, often) if often[0] >= fewest else ""
            if how and not (own[0] == 0 and own[1] > 0):
                found.append((float(own[0]), how))
                levels, counts = np.sort(own[1:]), often[1:][np.argsort(own[1:])]
                break
        else:
            return found
    return found


def _stands_out(levels: Array, counts: NDArray[np.int_]) -> str:
    """Say how the first of some values stands out among the others, which are sorted from it on."""
    value, rest, others = levels[0], levels[1:], counts[1:]
    gap, inner = abs(value - rest[0]), np.abs(np.diff(rest))
    apart = gap > GAPS * inner.max()
    usual = bool(np.isin(value, USUAL_CODES))
    if len(levels) <= MOST_GRADES:
        return "lies far from the rest" if apart and usual else ""
    if value < 0 <= rest[0] and usual:
        return "is the only negative number"
    low, high = np.quantile(np.repeat(rest, others), [0.25, 0.75])
    if apart and gap > GAPS * (high - low):
        return "lies far from the rest"
    heaped = counts[0] >= HEAP * others[:NEAREST].max() and gap > STEPS * inner.min()
    return "occurs far oftener than the values next to it" if heaped else ""
