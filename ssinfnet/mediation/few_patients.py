"""Comparisons that rest on a handful of patients, of which draws say too little (D-199).

Draws without any of them cannot be analysed and do not count, and in those that count a single
patient is the whole group: the interval leaves out what one patient says of others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["FEWEST", "UNDRAWN", "few_of_exposure", "few_of_mediator", "few_of_pairs"]

FEWEST = 20  # patients of either class of an outcome (D-19), or value of a pair (D-199)
UNDRAWN = "no p or interval by draws: "  # how a reason begins where all else is known


def few_of_mediator(values: pd.Series, fewest: int) -> str:
    """Say that too few patients differ from a mediator's most frequent value.

    Parameters
    ----------
    values : Series
        What is known of it; missing values do not count.
    fewest : int
        Patients who must differ.

    Returns
    -------
    str
        Empty if enough do, or if most of all patients differ from any one value, as they do of
        continuous mediators.
    """
    return _few_differ(values, "the mediator's most frequent value", fewest)


def few_of_exposure(
    values: pd.DataFrame, exposure: str, siblings: Sequence[str], fewest: int
) -> str:
    """Say that too few patients differ from an exposure's most frequent value, or have a level.

    Parameters
    ----------
    values : DataFrame
        Has the columns that are named.
    exposure : str
    siblings : sequence of str
        The other contrasts of its category, see `contrasts.with_contrasts`: patients with none of
        them are of the level compared with.
    fewest : int
        Patients who must differ, or have either level of a contrast.

    Returns
    -------
    str
        Empty if enough do.
    """
    if not siblings:
        return _few_differ(values[exposure], f"the most frequent value of {exposure}", fewest)
    levels = values[[exposure, *siblings]].dropna()
    compared = int((levels[exposure] == 1).sum()), int((levels == 0).all(axis=1).sum())
    if min(compared) >= fewest:
        return ""
    return f"{_patients(min(compared))} of a level of {exposure}, fewer than {fewest}"


def few_of_pairs(
    values: pd.DataFrame, exposures: Mapping[str, Sequence[str]], mediators: Sequence[str],
    fewest: int,
) -> dict[tuple[str, str], str]:  # fmt: skip
    """Return exposure and mediator → why draws give no p and no interval; empty where they do.

    Parameters
    ----------
    values : DataFrame
        The patients of these pairs, as they were observed: imputed values are no patients who
        differ.
    exposures : mapping of str to sequence of str
        Exposure → the other contrasts of its category.
    mediators : sequence of str
    fewest : int
    """
    of_mediators = {name: few_of_mediator(values[name], fewest) for name in mediators}
    found = {}
    for exposure, siblings in exposures.items():
        own = few_of_exposure(values, exposure, siblings, fewest)
        for mediator, also in of_mediators.items():
            reasons = "; ".join(reason for reason in (own, also) if reason)
            found[exposure, mediator] = UNDRAWN + reasons if reasons else ""
    return found


def _few_differ(values: pd.Series, what: str, fewest: int) -> str:
    """Say that fewer than so many, and at most half of all, differ from the most frequent value."""
    known: NDArray[np.float64] = values.dropna().to_numpy(dtype=np.float64)
    counted = np.unique(known, return_counts=True)[1]
    most = int(counted.max(initial=0))
    differ = len(known) - most
    if differ >= fewest or differ > most:
        return ""
    return f"{_patients(differ)} {'differs' if differ == 1 else 'differ'} from {what}, " + (
        f"fewer than {fewest}"
    )


def _patients(number: int) -> str:
    return f"{number} patient{'s' * (number != 1)}"
