"""Comparisons that rest on a handful of patients, of which draws say too little (D-199).

Draws without any of them cannot be analysed and do not count, and in those that count a single
patient is the whole group: the interval leaves out what one patient says of others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.mediation.design import FEWEST_CLUSTERS

__all__ = ["FEWEST", "UNDRAWN", "few_of_exposure", "few_of_mediator", "few_of_pairs"]

FEWEST = 20  # patients of either class of an outcome (D-19), or value of a pair (D-199)
UNDRAWN = "no p or interval by draws: "  # how a reason begins where all else is known


def few_of_mediator(
    values: pd.Series, fewest: int, clusters: NDArray[np.intp] | None = None
) -> str:
    """Say that too few patients differ from a mediator's most frequent value.

    Parameters
    ----------
    values : Series
        What is known of it; missing values do not count.
    fewest : int
        Patients who must differ.
    clusters : ndarray of int, optional
        Each patient's, where clusters are drawn: those who differ must be of eight (D-180).

    Returns
    -------
    str
        Empty if enough do, or if most of all patients differ from any one value, as they do of
        continuous mediators.
    """
    return _few_differ(values, "the mediator's most frequent value", fewest, clusters)


def few_of_exposure(
    values: pd.DataFrame, exposure: str, siblings: Sequence[str], fewest: int,
    clusters: NDArray[np.intp] | None = None,
) -> str:  # fmt: skip
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
    clusters : ndarray of int, optional
        Each patient's, see `few_of_mediator`.

    Returns
    -------
    str
        Empty if enough do.
    """
    if not siblings:
        what = f"the most frequent value of {exposure}"
        return _few_differ(values[exposure], what, fewest, clusters)
    levels = values[[exposure, *siblings]]
    compared = levels[exposure] == 1, (levels == 0).all(axis=1)
    smaller = min(int(level.sum()) for level in compared)
    if smaller < fewest:
        return f"{_patients(smaller)} of a level of {exposure}, fewer than {fewest}"
    least = min(_clusters(clusters, level.to_numpy()) for level in compared)
    if least < FEWEST_CLUSTERS:
        return f"a level of {exposure} is in {least} clusters, fewer than {FEWEST_CLUSTERS}"
    return ""


def few_of_pairs(
    values: pd.DataFrame, exposures: Mapping[str, Sequence[str]], mediators: Sequence[str],
    fewest: int, clusters: NDArray[np.intp] | None = None,
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
    clusters : ndarray of int, optional
        Each patient's, see `few_of_mediator`.
    """
    of_mediators = {name: few_of_mediator(values[name], fewest, clusters) for name in mediators}
    found = {}
    for exposure, siblings in exposures.items():
        own = few_of_exposure(values, exposure, siblings, fewest, clusters)
        for mediator, also in of_mediators.items():
            reasons = "; ".join(reason for reason in (own, also) if reason)
            found[exposure, mediator] = UNDRAWN + reasons if reasons else ""
    return found


def _few_differ(
    values: pd.Series, what: str, fewest: int, clusters: NDArray[np.intp] | None
) -> str:
    """Say that fewer than so many, and at most half of all, differ from the most frequent value."""
    known = values.notna().to_numpy()
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    distinct, counted = np.unique(numbers[known], return_counts=True)
    most = int(counted.max(initial=0))
    differ = int(known.sum()) - most
    if differ > most:
        return ""
    verb = "differs" if differ == 1 else "differ"
    if differ < fewest:
        return f"{_patients(differ)} {verb} from {what}, fewer than {fewest}"
    least = _clusters(clusters, known & (numbers != distinct[counted.argmax()]))
    if least < FEWEST_CLUSTERS:
        return f"patients of {least} clusters {verb} from {what}, fewer than {FEWEST_CLUSTERS}"
    return ""


def _clusters(clusters: NDArray[np.intp] | None, patients: NDArray[np.bool_]) -> int:
    """Return of how many clusters some patients are; as many as are needed without clusters."""
    return FEWEST_CLUSTERS if clusters is None else len(np.unique(clusters[patients]))


def _patients(number: int) -> str:
    return f"{number} patient{'s' * (number != 1)}"
