"""Errors by clusters that few clusters do not make too small: CR2 of Bell & McCaffrey (2002).

The residuals of cluster g are multiplied by the inverse root of their covariance B_g, were all rows
independent and equally exact, so that the error's square is then unbiased. Degrees of freedom are
Satterthwaite's under the same independence. With weights these are Pustejovsky & Tipton's (2018)
formulas with the identity as working model, which R's clubSandwich takes for lm (D-88). With every
row a cluster they are HC2 (MacKinnon & White 1985).

With X of the regression, M = (X'WX)⁻¹ and H = X M X'W, both B_g and the products of what the
residuals are made of are those of (I - H)(I - H)' = I + Z K Z', Z = (X, WX), so that everything
follows from matrices of a few rows a cluster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssinfnet.mediation.collinearity import COLLINEAR, independent_columns, left_by
from ssinfnet.mediation.regressions import Slopes

__all__ = ["bias_reduced_errors", "bias_reduced_slopes"]

Array = NDArray[np.float64]

SINGULAR = (
    1e-10  # of B_g: where a covariate follows from the cluster, one direction has no residual
)


def bias_reduced_errors(
    regressors: Array, residuals: Array, weights: Array, clusters: NDArray[np.intp], column: int
) -> tuple[Array, float]:
    """Return the CR2 errors of one slope, and its degrees of freedom.

    Parameters
    ----------
    regressors : ndarray of float, shape (n, p)
        Constant included; none follows from the others.
    residuals : ndarray of float, shape (n, r)
        The residuals of r responses, each on the same regressors.
    weights : ndarray of float, shape (n,)
    clusters : ndarray of int, shape (n,)
        Numbered from 0, each of them met.
    column : int
        The slope's regressor.

    Returns
    -------
    ndarray of float, shape (r,)
    float
    """
    places = _Places.of(clusters)
    wx = regressors * weights[:, None]
    inverse: Array = np.asarray(np.linalg.inv(regressors.T @ wx), dtype=np.float64)
    kernel: Array = -inverse
    if np.ptp(weights) == 0 and weights[0] == 1:
        z = regressors
    else:
        z = np.hstack([regressors, wx])
        none = np.zeros_like(inverse)
        kernel = np.block([[inverse @ (wx.T @ wx) @ inverse, -inverse], [-inverse, none]])
    own = places.padded(wx @ inverse[:, [column]])  # (G, L, 1), which residuals are summed by
    z = places.padded(z)
    adjusted = _with_inverse_root(z, kernel, own)
    totals = np.einsum("glo,glr->gr", adjusted, places.padded(residuals))
    se = np.sqrt(np.square(totals).sum(axis=0))
    # Covariance of the clusters' totals, were rows independent: diag(size) + left K left'
    size = np.square(adjusted).sum(axis=(1, 2))
    left = np.einsum("glq,glo->gq", z, adjusted)
    turned = left @ kernel
    trace = float(size.sum() + (turned * left).sum())
    crossed = left.T @ turned
    squares = np.square(size).sum() + 2 * size @ (turned * left).sum(axis=1)
    squares += np.einsum("ij,ji->", crossed, crossed)
    return se, trace**2 / float(squares)


def _with_inverse_root(z: Array, kernel: Array, own: Array) -> Array:
    """Return B_g to the power of -1/2 times each cluster's own, B_g = I + z_g K z_g'.

    Directions in which B_g is 0 give 0 (Moore and Penrose).
    """
    basis, factor = np.linalg.qr(z)
    inside = np.eye(basis.shape[2]) + factor @ kernel @ factor.transpose(0, 2, 1)
    values, vectors = np.linalg.eigh(inside)
    usable = values > SINGULAR
    root = np.where(usable, 1 / np.sqrt(np.where(usable, values, 1.0)), 0.0)
    along = vectors.transpose(0, 2, 1) @ (basis.transpose(0, 2, 1) @ own)
    return own + basis @ (vectors @ ((root - 1)[:, :, None] * along))


@dataclass(frozen=True)
class _Places:
    """Where rows stand when each cluster is a matrix of as many rows as the largest has."""

    cluster: NDArray[np.intp]
    row: NDArray[np.intp]
    shape: tuple[int, int]

    @classmethod
    def of(cls, clusters: NDArray[np.intp]) -> _Places:
        counted = np.bincount(clusters)
        order = np.argsort(clusters, kind="stable")
        row = np.empty(len(clusters), dtype=np.intp)
        row[order] = np.arange(len(clusters)) - np.repeat(np.cumsum(counted) - counted, counted)
        return cls(clusters, row, (len(counted), int(counted.max())))

    def padded(self, rows: Array) -> Array:
        """Return rows (n, q) as (clusters, rows of the largest, q), 0 where there is none."""
        found = np.zeros((*self.shape, rows.shape[1]))
        found[self.cluster, self.row] = rows
        return found


def bias_reduced_slopes(
    clusters: NDArray[np.intp],
    weights: Array,
    others: Array,
    exposure: Array,
    mediators: Array,
    outcome: Array,
) -> dict[str, Slopes]:
    """Fit the three regressions of `regressions.slopes` by weights, with CR2 errors.

    Parameters
    ----------
    clusters, weights
        As `bias_reduced_errors` takes them.
    others, exposure, mediators, outcome : ndarray of float
        The same as `regressions.slopes` takes.

    Returns
    -------
    dict
        As `regressions.slopes` returns it; both errors of a slope are CR2, and degrees of freedom
        are each mediator's own.
    """
    basis, _ = independent_columns(others)
    given = (weights, clusters)
    x, k = exposure - exposure.mean(), mediators.shape[1]
    y = (outcome - outcome.mean())[:, None]
    total = _fitted(np.column_stack([basis, x]), y, *given, [-1])[0]
    to_mediator = _fitted(np.column_stack([basis, x]), mediators, *given, [-1])[0]
    both = []
    for m in mediators.T:
        columns = np.column_stack([basis, x, m - m.mean()])
        both.append(
            _fitted(columns, y, *given, [-2, -1])
            if _independent(columns)
            else [_Fitted.nothing(), _Fitted.nothing()]
        )
    direct, mediated = (_Fitted.joined(own) for own in zip(*both, strict=True))
    alone = _Fitted(*(np.repeat(part, k) for part in (total.estimate, total.se, total.df)))
    found = {"beta11": alone, "beta21": to_mediator, "beta31": direct, "beta32": mediated}
    return {beta: Slopes(own.estimate, own.se, own.se, own.df) for beta, own in found.items()}


@dataclass(frozen=True)
class _Fitted:
    """Slopes of one regressor, their errors and degrees of freedom, each of shape (responses,)."""

    estimate: Array
    se: Array
    df: Array

    @classmethod
    def nothing(cls) -> _Fitted:
        return cls(*np.full((3, 1), np.nan))

    @classmethod
    def joined(cls, parts: tuple[_Fitted, ...]) -> _Fitted:
        return cls(
            *(
                np.concatenate([getattr(own, name) for own in parts])
                for name in ("estimate", "se", "df")
            )
        )


def _fitted(
    columns: Array, responses: Array, weights: Array, clusters: NDArray[np.intp], shown: list[int]
) -> list[_Fitted]:
    """Return the weighted regressions of some responses, for each of the columns that are shown."""
    size = np.linalg.norm(columns, axis=0)
    scaled, root = columns / size, np.sqrt(weights)[:, None]
    slopes = np.linalg.lstsq(scaled * root, responses * root, rcond=None)[0]
    residuals = responses - scaled @ slopes
    found = []
    for column in shown:
        se, df = bias_reduced_errors(
            scaled, residuals, weights, clusters, column % columns.shape[1]
        )
        found.append(
            _Fitted(
                slopes[column] / size[column], se / size[column], np.full(responses.shape[1], df)
            )
        )
    return found


def _independent(columns: Array) -> bool:
    """Say whether the last column does not follow from those before it."""
    basis = np.linalg.qr(columns[:, :-1])[0]
    rest = left_by(basis, columns[:, -1])
    return bool(rest @ rest > COLLINEAR * (columns[:, -1] @ columns[:, -1]))
