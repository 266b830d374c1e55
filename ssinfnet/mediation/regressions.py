"""The three regressions of J eq 14 for all mediators at once, and their indirect effect by weights.

Mediators stand in the columns of one matrix. Constant and covariates are projected out once; what
is left of exposure, mediators and outcome gives every slope by a division.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

__all__ = [
    "COLLINEAR",
    "Slopes",
    "indirect_effects",
    "residuals",
    "slopes",
    "weighted_indirect_effects",
    "weighted_products",
]

Array = NDArray[np.float64]

COLLINEAR = 1e-10  # share of a variable's variance that others must leave


@dataclass(frozen=True)
class Slopes:
    """One slope of every mediator's regressions, each an array of shape (mediators,).

    ``estimate``, ``se`` (ordinary least squares), ``hc3`` (MacKinnon & White 1985), and
    ``residual_df``.
    """

    estimate: Array
    se: Array
    hc3: Array
    residual_df: int

    @property
    def p(self) -> Array:
        """Two-sided p by Student's t and the classic error."""
        return 2 * student.sf(np.abs(self.estimate / self.se), self.residual_df)

    @property
    def p_hc3(self) -> Array:
        """Two-sided p by Student's t and the robust error."""
        return 2 * student.sf(np.abs(self.estimate / self.hc3), self.residual_df)


def slopes(others: Array, exposure: Array, mediators: Array, outcome: Array) -> dict[str, Slopes]:
    """Fit outcome ~ exposure, mediator ~ exposure, and outcome ~ exposure + mediator (J eq 14).

    Parameters
    ----------
    others : ndarray of float, shape (n, q)
        Constant and covariates, in every regression.
    exposure, outcome : ndarray of float, shape (n,)
    mediators : ndarray of float, shape (n, k)
        Each by itself; NaN results where one follows from the others.

    Returns
    -------
    dict
        ``beta11``, ``beta21``, ``beta31`` and ``beta32`` → `Slopes`.
    """
    n, q = others.shape
    basis, _ = np.linalg.qr(others)
    x, y, m = (_left(basis, values) for values in (exposure, outcome, mediators))
    leverage = np.square(basis).sum(axis=1)
    k = m.shape[1]
    total = _one_slope(x, y[:, None], leverage, n - q - 1)
    to_mediator = _one_slope(x, m, leverage, n - q - 1)
    # What exposure leaves of the mediator, and the mediator of the exposure
    m_x = m - np.outer(x, x @ m / (x @ x))
    with np.errstate(divide="ignore", invalid="ignore"):
        alone = np.square(m_x).sum(axis=0) < COLLINEAR * np.square(m).sum(axis=0)
        alone |= ~np.square(m).any(axis=0)
        x_m = x[:, None] - m * (x @ m / np.square(m).sum(axis=0))
    m_x[:, alone] = np.nan
    x_m[:, alone] = np.nan
    mediated = (y @ m_x) / np.square(m_x).sum(axis=0)
    direct = (y @ x_m) / np.square(x_m).sum(axis=0)
    residual = y[:, None] - np.outer(x, direct) - m * mediated
    # Leverage of all three: what the others leave of the exposure, then the mediator beside it
    full = leverage[:, None] + (x**2 / (x @ x))[:, None] + m_x**2 / np.square(m_x).sum(axis=0)
    return {
        "beta11": Slopes(*(np.repeat(part, k) for part in total), n - q - 1),
        "beta21": Slopes(*to_mediator, n - q - 1),
        "beta31": _with_errors(direct, x_m, residual, full, n - q - 2),
        "beta32": _with_errors(mediated, m_x, residual, full, n - q - 2),
    }


def residuals(given: Array, values: Array) -> Array:
    """Return what columns `given`, shape (n, q), leave of values by least squares, of their shape.

    Unlike a projection it does with columns that follow from each other.
    """
    return values - given @ np.linalg.lstsq(given, values, rcond=None)[0]


def weighted_products(weights: Array, columns: Array) -> Array:
    """Return the weighted sums of products of all pairs of columns, a matrix a set of weights.

    Parameters
    ----------
    weights : ndarray of float, shape (draws, n)
    columns : ndarray of float, shape (n, p)

    Returns
    -------
    ndarray of float, shape (draws, p, p)
    """
    first, second = np.triu_indices(columns.shape[1])
    return _symmetric(weights @ (columns[:, first] * columns[:, second]), columns.shape[1])


def _symmetric(upper: Array, p: int) -> Array:
    """Return symmetric matrices (draws, p, p) of their upper triangles (draws, pairs)."""
    whole = np.empty((len(upper), p, p))
    first, second = np.triu_indices(p)
    whole[:, first, second] = whole[:, second, first] = upper
    return whole


def _left(basis: Array, values: Array) -> Array:
    """Return what an orthonormal basis leaves of some columns, centred twice against rounding."""
    left = values - basis @ (basis.T @ values)
    return left - basis @ (basis.T @ left)


def _one_slope(x: Array, responses: Array, leverage: Array, df: int) -> tuple[Array, Array, Array]:
    estimate = x @ responses / (x @ x)
    residual = responses - np.outer(x, estimate)
    full = leverage + x**2 / (x @ x)
    repeated = np.repeat(x[:, None], responses.shape[1], axis=1)
    found = _with_errors(estimate, repeated, residual, full[:, None], df)
    return found.estimate, found.se, found.hc3


def _with_errors(estimate: Array, own: Array, residual: Array, leverage: Array, df: int) -> Slopes:
    """Return slopes with errors; `own` is what the other regressors leave of each one's own."""
    square = np.square(own).sum(axis=0)
    se = np.sqrt(np.square(residual).sum(axis=0) / df / square)
    with np.errstate(divide="ignore", invalid="ignore"):
        hc3 = np.sqrt(np.square(own * residual / (1 - leverage)).sum(axis=0)) / square
    return Slopes(estimate, se, hc3, df)


def indirect_effects(others: Array, exposures: Array, mediators: Array, outcome: Array) -> Array:
    """Return β21·β32 of every exposure and mediator, shape (exposures, mediators)."""
    ones = [np.ones((1, len(outcome)))]
    return weighted_indirect_effects(ones, others, exposures, mediators, outcome)[0]


def weighted_indirect_effects(
    weights: Iterable[Array], others: Array, exposures: Array, mediators: Array, outcome: Array
) -> Array:
    """Return β21·β32 by weighted least squares, for many sets of weights at once.

    All regressions follow from weighted sums of products, which one matrix product makes for every
    set of weights: this is what makes thousands of draws cheap.

    Parameters
    ----------
    weights : iterable of ndarray of float, shape (any, n)
        How often each patient counts, some draws at a time.
    others : ndarray of float, shape (n, q)
        Constant and covariates.
    exposures : ndarray of float, shape (n, e)
        Each by itself.
    mediators : ndarray of float, shape (n, k)
    outcome : ndarray of float, shape (n,)

    Returns
    -------
    ndarray of float, shape (draws, e, k)
        NaN where a draw leaves no variation.
    """
    q, e, k = others.shape[1], exposures.shape[1], mediators.shape[1]
    # On one scale, so that sums of products lose no digits
    basis, _ = np.linalg.qr(others)
    x, y, m = (_scaled(_left(basis, part)) for part in (exposures, outcome[:, None], mediators))
    spread_x, spread_y = (_spread(_left(basis, part)) for part in (exposures, outcome[:, None]))
    z = basis * np.sqrt(len(outcome))
    regressors = np.hstack([z, x])
    p = q + e
    first, second = np.triu_indices(p)
    products = np.hstack(
        [regressors[:, first] * regressors[:, second], regressors * y, m * y, m * m]
        + [regressors[:, [i]] * m for i in range(p)]
    )
    found = np.concatenate([_from_sums(some @ products, q, e, k) for some in weights])
    return found * (spread_y / spread_x[:, None])


def _from_sums(sums: Array, q: int, e: int, k: int) -> Array:
    """Return β21·β32, shape (draws, e, k), of sums of products, one row a draw."""
    p = q + e
    pairs = p * (p + 1) // 2
    cross = _symmetric(sums[:, :pairs], p)
    with_y = sums[:, pairs : pairs + p]
    m_y, m_m = (sums[:, pairs + p + i * k : pairs + p + (i + 1) * k] for i in (0, 1))
    with_m = sums[:, pairs + p + 2 * k :].reshape(len(sums), p, k)
    found = np.empty((len(sums), e, k))
    for number in range(e):
        own = [*range(q), q + number]
        system = cross[:, own][:, :, own]
        usable = np.linalg.cond(system) < 1 / COLLINEAR
        system[~usable] = np.eye(len(own))
        solved = np.linalg.inv(system) @ with_m[:, own]
        left_m = m_m - np.einsum("dqk,dqk->dk", with_m[:, own], solved)
        left_my = m_y - np.einsum("dq,dqk->dk", with_y[:, own], solved)
        left_m[(left_m <= COLLINEAR * m_m) | ~usable[:, None]] = np.nan
        found[:, number] = solved[:, -1] * left_my / left_m
    return found


def _spread(values: Array) -> Array:
    return np.sqrt(np.square(values).mean(axis=0))


def _scaled(values: Array) -> Array:
    spread = _spread(values)
    return values / np.where(spread > 0, spread, 1)
