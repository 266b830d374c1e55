"""The three regressions of J eq 14 for all mediators at once, and their indirect effect by weights.

Mediators stand in the columns of one matrix. Constant and covariates are projected out once; what
is left of exposure, mediators and outcome gives every slope by a division. Covariates that follow
from others change nothing: `collinearity` projects by rank, over all patients and in each draw.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from ssinfnet.mediation.collinearity import COLLINEAR, independent_columns, unexplained, whitened

__all__ = [
    "Slopes",
    "adjusted_products",
    "indirect_effects",
    "slopes",
    "weighted_indirect_effects",
    "weighted_products",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Slopes:
    """One slope of every mediator's regressions, each an array of shape (mediators,).

    ``estimate``, ``se`` (ordinary least squares), ``hc3`` (MacKinnon & White 1985), and
    ``residual_df``, which bias-reduced errors have for each.
    """

    estimate: Array
    se: Array
    hc3: Array
    residual_df: int | Array

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
        Constant, which comes first, and covariates, in every regression. Their rank alone counts,
        in the degrees of freedom too.
    exposure, outcome : ndarray of float, shape (n,)
        NaN results where one of them follows from the others.
    mediators : ndarray of float, shape (n, k)
        Each by itself; NaN results where one follows from the others.

    Returns
    -------
    dict
        ``beta11``, ``beta21``, ``beta31`` and ``beta32`` → `Slopes`.
    """
    basis, _ = independent_columns(others)
    n, q = basis.shape
    x, y, m = (unexplained(basis, values) for values in (exposure, outcome, mediators))
    leverage = np.square(basis).sum(axis=1)
    k = m.shape[1]
    total = _one_slope(x, y[:, None], leverage, n - q - 1)
    to_mediator = _one_slope(x, m, leverage, n - q - 1)
    # What exposure leaves of the mediator, and the mediator of the exposure
    m_x = m - np.outer(x, x @ m / (x @ x))
    alone = np.square(m_x).sum(axis=0) <= COLLINEAR * np.square(m).sum(axis=0)
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
    # A patient whom a covariate singles out, alone in a hospital, is fitted exactly: adds nothing
    singled_out = (1 - leverage < COLLINEAR) & (np.square(own) < COLLINEAR * square)
    with np.errstate(divide="ignore", invalid="ignore"):
        deleted = np.where(singled_out, 0.0, own * residual / (1 - leverage))
        hc3 = np.sqrt(np.square(deleted).sum(axis=0)) / square
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
        NaN where exposure or mediator follows from the others, in a draw or over all patients.
    """
    basis, _ = independent_columns(others)
    x, y, m = (unexplained(basis, part) for part in (exposures, outcome[:, None], mediators))
    # On one scale, so that sums of products lose no digits
    spread_x, spread_y, spread_m = (_spread(part) for part in (x, y, m))
    x, y, m, z = x / spread_x, y / spread_y, m / spread_m, basis * np.sqrt(len(outcome))
    first, second = np.triu_indices(z.shape[1])
    parts = {"zz": z[:, first] * z[:, second], "zy": z * y, "xx": x * x, "xy": x * y,
             "my": m * y, "mm": m * m}  # fmt: skip
    for pair, columns, other in (("zx", z, x), ("zm", z, m), ("xm", x, m)):
        parts[pair] = np.hstack([column[:, None] * other for column in columns.T])
    products = np.hstack(list(parts.values()))
    ends = np.cumsum([part.shape[1] for part in parts.values()])[:-1]
    sums = (np.split(some @ products, ends, axis=1) for some in weights)
    effects = [_from_sums(dict(zip(parts, some, strict=True))) for some in sums]
    return np.concatenate(effects) * (spread_y / spread_x[:, None])


def _from_sums(sums: Mapping[str, Array]) -> Array:
    """Return β21·β32, shape (draws, e, k), of sums of products, one row a draw.

    They are named by pairs of ``z`` (q covariates), ``x`` (e exposures), ``m`` (k mediators) and
    ``y``, the outcome; in the columns of ``zm`` and the like the second letter runs fastest.
    """
    (d, q), e, k = sums["zy"].shape, sums["xx"].shape[1], sums["mm"].shape[1]
    coordinates = whitened(_symmetric(sums["zz"], q))
    y = np.einsum("dqr,dr->dq", coordinates, sums["zy"])
    x, m = (coordinates @ sums[pair].reshape(d, q, -1) for pair in ("zx", "zm"))
    # What the draw's covariates leave of each sum
    rest_xx = _kept(sums["xx"] - np.square(x).sum(axis=1), sums["xx"])
    rest_xy = sums["xy"] - np.einsum("dq,dqe->de", y, x)
    rest_xm = sums["xm"].reshape(d, e, k) - x.transpose(0, 2, 1) @ m
    rest_my = sums["my"] - (y[:, None] @ m)[:, 0]
    rest_mm = sums["mm"] - np.einsum("dqk,dqk->dk", m, m)
    effects = np.empty((d, e, k))
    for number in range(e):
        to_mediator = rest_xm[:, number] / rest_xx[:, [number]]
        beside_x = _kept(rest_mm - to_mediator * rest_xm[:, number], sums["mm"])
        mediated = (rest_my - to_mediator * rest_xy[:, [number]]) / beside_x
        effects[:, number] = to_mediator * mediated
    return effects


def _kept(remaining: Array, size: Array) -> Array:
    """Return what others leave of a sum of squares, NaN where that is nothing."""
    return np.where(remaining > COLLINEAR * size, remaining, np.nan)


def adjusted_products(weights: Array, basis: Array, columns: Array) -> tuple[Array, Array]:
    """Return weighted sums of products of what covariates leave of some columns in each draw.

    Parameters
    ----------
    weights : ndarray of float, shape (draws, n)
    basis : ndarray of float, shape (n, rank)
        From `collinearity.independent_columns`.
    columns : ndarray of float, shape (n, p)
        What the basis leaves of them over all patients, on about the same scale.

    Returns
    -------
    products : ndarray of float, shape (draws, p, p)
    size : ndarray of float, shape (draws, p)
        Each column's sum of squares before the draw's covariates were projected out.
    """
    q = basis.shape[1]
    cross = weighted_products(weights, np.hstack([basis * np.sqrt(len(basis)), columns]))
    explained = whitened(cross[:, :q, :q]) @ cross[:, :q, q:]
    whole = cross[:, q:, q:]
    return whole - explained.transpose(0, 2, 1) @ explained, np.einsum("dpp->dp", whole)


def _spread(values: Array) -> Array:
    return np.sqrt(np.square(values).mean(axis=0))
