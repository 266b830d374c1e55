"""Mediators that say the same: of each correlated pair one is kept (J, multiple mediation)."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.mediation.collinearity import adjustment, unexplained
from ssinfnet.mediation.frames import complete_groups, covariate_columns, number_frame

__all__ = ["MOST_CORRELATED", "PREFERRED", "correlations", "filter_correlated"]

MOST_CORRELATED = 0.8  # J
# J: of a correlated pair the first is kept over the second, whatever their effects.
PREFERRED = (("*_area", "*"), ("*_entropy", "*_uniformity"), ("*_imc1", "*_mcc"))


def correlations(
    table: pd.DataFrame, mediators: Sequence[str], covariates: Sequence[str] = ()
) -> pd.DataFrame:
    """Return Pearson's r of each pair of mediators, of what the covariates leave of them.

    Parameters
    ----------
    table : DataFrame
        One row a patient.
    mediators, covariates : sequence of str
        With covariates r is the partial correlation.

    Returns
    -------
    DataFrame
        Square, each pair over the patients who have both and all covariates; NaN where undefined.
    """
    values = number_frame(table, mediators)
    beside = covariate_columns(table, covariates)
    values = values.where(beside.notna().all(axis=1))
    groups = complete_groups(values)
    r = pd.DataFrame(np.nan, index=list(mediators), columns=list(mediators))
    for number, (names, known) in enumerate(groups):
        for others, also_known in groups[: number + 1]:
            both = known & also_known
            if not both.any():
                continue
            basis = adjustment(beside[both], list(beside)).basis
            first, second = (_unit(basis, values.loc[both, own]) for own in (names, others))
            r.loc[names, others] = first.T @ second
            r.loc[others, names] = second.T @ first
    return r.clip(-1, 1)  # rounding takes twins past 1


def _unit(basis: NDArray[np.float64], values: pd.DataFrame) -> NDArray[np.float64]:
    """Return what a basis leaves of some columns, each of length 1, NaN where it is nothing."""
    rest = unexplained(basis, values.to_numpy())
    return rest / np.linalg.norm(rest, axis=0)


def filter_correlated(
    table: pd.DataFrame,
    effects: pd.Series,
    most: float = MOST_CORRELATED,
    covariates: Sequence[str] = (),
    preferred: Sequence[tuple[str, str]] = PREFERRED,
) -> pd.DataFrame:
    """Keep one of each pair of mediators whose absolute correlation is above `most`.

    The most correlated pair comes first; of it goes the one that `preferred` ranks below the other,
    else the one of the smaller effect; and so on until no such pair is left.

    Parameters
    ----------
    table : DataFrame
        One row a patient.
    effects : Series
        Mediator → indirect effect (standardised, so that sizes compare); its index are the
        mediators that are compared.
    most : float
    covariates : sequence of str
        The same as `correlations` takes.
    preferred : sequence of (str, str)
        Patterns of names, kept and dropped.

    Returns
    -------
    DataFrame
        ``mediator``, ``kept``, ``dropped_for`` (empty where kept) and ``r`` with that one (NaN
        where kept), in the order of `effects`.

    Raises
    ------
    ValueError
        If an effect is missing, a mediator is named twice, or `most` is not within 0 and 1.
    """
    if not 0 < most < 1:
        raise ValueError(f"most must lie within 0 and 1, got {most}")
    if effects.isna().any() or not effects.index.is_unique:
        raise ValueError("effects must name each mediator once, with a number")
    names = list(effects.index)
    r = correlations(table, names, covariates).to_numpy(copy=True)
    size = np.nan_to_num(np.abs(np.triu(r, 1)))
    dropped: dict[str, tuple[str, float]] = {}
    while size.size and size.max() > most:
        i, j = np.unravel_index(np.argmax(size), size.shape)
        loser = j if _wins(names[i], names[j], effects, preferred) else i
        dropped[names[loser]] = names[i + j - loser], r[i, j]
        size[loser, :] = size[:, loser] = 0
    rows = [(name, name not in dropped, *dropped.get(name, ("", np.nan))) for name in names]
    return pd.DataFrame(rows, columns=["mediator", "kept", "dropped_for", "r"])


def _wins(
    first: str, second: str, effects: pd.Series, preferred: Sequence[tuple[str, str]]
) -> bool:
    for kept, lost in preferred:
        above = fnmatchcase(first, kept) and fnmatchcase(second, lost)
        below = fnmatchcase(second, kept) and fnmatchcase(first, lost)
        if above != below:
            return above
    return abs(effects[first]) >= abs(effects[second])
