"""The path model's slopes in thousands of draws of patients, from each draw's covariances alone.

Nothing acts back in J eq 15, so its likelihood falls into the outcome's regression, which least
squares solves, and the mediators'. Those are least squares too where what is left of them is not
correlated or all share their exposures; else they are seemingly unrelated regressions (Zellner
1962), iterated until the likelihood is at its maximum.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ssinfnet.mediation.collinearity import COLLINEAR, independent_in_draws
from ssinfnet.mediation.regressions import adjusted_products

__all__ = ["drawn_covariances", "mediator_slopes", "outcome_slopes"]

Array = NDArray[np.float64]

ROUNDS, SETTLED = 500, 1e-10  # of the iteration; largest change of a slope between the last two


def drawn_covariances(weights: Array, basis: Array, values: Array) -> Array:
    """Return the covariance of what covariates leave of some variables in each draw.

    Parameters
    ----------
    weights : ndarray of float, shape (draws, n)
        How often each patient is drawn.
    basis : ndarray of float, shape (n, rank)
        Orthonormal columns that span constant and covariates.
    values : ndarray of float, shape (n, p)
        On about the same scale.

    Returns
    -------
    ndarray of float, shape (draws, p, p)
        Divided by the number of patients; exactly 0 of a variable of which nothing is left.
    """
    products, size = adjusted_products(weights, basis, values)
    covariances = products / weights.sum(axis=1)[:, None, None]
    varies = np.einsum("dpp->dp", products) > COLLINEAR * size
    return covariances * (varies[:, :, None] & varies[:, None, :])


def outcome_slopes(covariances: Array, outcome: int, regressors: Sequence[int]) -> Array:
    """Return the slopes of one regression in each draw, shape (draws, regressors).

    Parameters
    ----------
    covariances : ndarray of float, shape (draws, p, p)
    outcome : int
        Its row.
    regressors : sequence of int
        Theirs. A draw in which they follow from each other is NaN.
    """
    rows = list(regressors)
    system = covariances[:, rows][:, :, rows]
    usable = _independent(system)
    found = np.full((len(covariances), len(rows)), np.nan)
    right = covariances[usable][:, rows, outcome]
    found[usable] = np.linalg.solve(system[usable], right[..., None])[..., 0]
    return found


def mediator_slopes(
    covariances: Array,
    mediators: Sequence[int],
    exposures: Sequence[int],
    free: NDArray[np.bool_],
    correlated: bool,
) -> Array:
    """Return the slopes of all mediators on their exposures in each draw.

    Parameters
    ----------
    covariances : ndarray of float, shape (draws, p, p)
    mediators, exposures : sequence of int
        Their rows.
    free : ndarray of bool, shape (mediators, exposures)
        Which exposure acts on which mediator.
    correlated : bool
        Whether what is left of the mediators is correlated.

    Returns
    -------
    ndarray of float, shape (draws, mediators, exposures)
        0 where not free; NaN in draws that have no solution.
    """
    slopes = np.zeros((len(covariances), *free.shape))
    for number, mediator in enumerate(mediators):
        own = [row for row, is_free in zip(exposures, free[number], strict=True) if is_free]
        slopes[:, number, free[number]] = outcome_slopes(covariances, mediator, own)
    if not correlated or free.all():
        return slopes
    x, m = list(exposures), list(mediators)
    whole = covariances[:, x + m][:, :, x + m]
    usable = np.isfinite(slopes).all(axis=(1, 2)) & _independent(whole)
    found = np.full_like(slopes, np.nan)
    found[usable] = _related(covariances[usable], m, x, free, slopes[usable])
    return found


def _independent(covariances: Array) -> NDArray[np.bool_]:
    """Return of each draw whether none of its variables follows from those before it."""
    return independent_in_draws(covariances, np.einsum("dpp->dp", covariances))


def _related(
    covariances: Array, m: list[int], x: list[int], free: NDArray[np.bool_], slopes: Array
) -> Array:
    """Return the slopes of seemingly unrelated regressions; NaN where they do not settle."""
    s_xx, s_mm = covariances[:, x][:, :, x], covariances[:, m][:, :, m]
    s_mx = covariances[:, m][:, :, x]
    i, a = np.nonzero(free)
    moving = np.ones(len(covariances), dtype=bool)
    for _ in range(ROUNDS):
        now = slopes[moving]
        across = np.einsum("dia,dja->dij", now, s_mx[moving])
        within = np.einsum("dia,dab,djb->dij", now, s_xx[moving], now)
        precision = np.linalg.inv(s_mm[moving] - across - across.transpose(0, 2, 1) + within)
        system = precision[:, i[:, None], i] * s_xx[moving][:, a[:, None], a]
        right = np.einsum("dij,dja->dia", precision, s_mx[moving])[:, i, a]
        solved = np.zeros_like(now)
        solved[:, i, a] = np.linalg.solve(system, right[..., None])[..., 0]
        change = np.abs(solved - now).max(axis=(1, 2))
        slopes[moving] = solved
        moving[np.flatnonzero(moving)[change < SETTLED]] = False
        if not moving.any():
            break
    slopes[moving] = np.nan
    return slopes
