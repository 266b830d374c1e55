"""Errors of a path model that hold whatever the residuals' distribution and covariance.

The sandwich of Huber (1967) and White (1982), as lavaan's estimator MLR has it: observed
information on both sides of the sum of squared scores. Nothing acts back in J eq 15, so that the
likelihood is that of residuals which are linear in the slopes.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.mediation.path_syntax import Paths

__all__ = ["robust_covariance", "squared_scores"]

Array = NDArray[np.float64]


def robust_covariance(
    model: Paths, data: pd.DataFrame, labels: pd.Series, clusters: NDArray[np.intp] | None = None
) -> pd.DataFrame:
    """Return the robust covariance of a path model's estimates.

    Parameters
    ----------
    model : Paths
    data : DataFrame
        What constant and covariates leave of the variables, a row a patient.
    labels : Series
        Label → estimate at the likelihood's maximum.
    clusters : ndarray of int, shape (n,), optional
        Each row's, numbered from 0: rows of one are not taken for independent.

    Returns
    -------
    DataFrame
        Square, by the labels of slopes, then of residual variances and covariances.
    """
    slopes, pairs = model.slopes(), model.covariances()
    endogenous = [*model.mediators, model.outcome]
    row = {name: number for number, name in enumerate(endogenous)}
    left = data[endogenous].copy()
    psi = np.zeros((len(row), len(row)))
    for (y, x), label in slopes.items():
        left[y] -= labels[label] * data[x]
    for (a, b), label in pairs.items():
        psi[row[a], row[b]] = psi[row[b], row[a]] = labels[label]
    precision = np.linalg.inv(psi)
    u = left.to_numpy() @ precision
    responses = [row[y] for y, _ in slopes]
    regressors = data[[x for _, x in slopes]].to_numpy()
    shapes = _shapes(pairs, row)
    to_slopes = u[:, responses] * regressors
    to_pairs = (
        np.einsum("ni,kij,nj->nk", u, shapes, u) - np.einsum("ij,kij->k", precision, shapes)
    ) / 2
    scores = np.hstack([to_slopes, to_pairs])
    information = np.block(
        [
            [
                precision[np.ix_(responses, responses)] * (regressors.T @ regressors),
                _mixed(precision, u, shapes, responses, regressors),
            ],
            [
                _mixed(precision, u, shapes, responses, regressors).T,
                _of_pairs(precision, u, shapes),
            ],
        ]
    )
    inverse = np.linalg.inv(information)
    names = [*slopes.values(), *pairs.values()]
    return pd.DataFrame(inverse @ squared_scores(scores, clusters) @ inverse, names, names)


def squared_scores(scores: Array, clusters: NDArray[np.intp] | None) -> Array:
    """Return the sum of products of scores (n, parameters), of clusters' sums where there are any.

    Those of G clusters with the factor G / (G - 1), as lavaan has it.
    """
    factor = 1.0
    if clusters is not None:
        number = int(clusters.max()) + 1
        sums = np.zeros((number, scores.shape[1]))
        np.add.at(sums, clusters, scores)
        scores, factor = sums, number / (number - 1)
    return np.asarray(factor * scores.T @ scores, dtype=np.float64)


def _shapes(pairs: dict[tuple[str, str], str], row: dict[str, int]) -> Array:
    """Return how the residual covariance changes with each of its parameters."""
    shapes = np.zeros((len(pairs), len(row), len(row)))
    for number, (a, b) in enumerate(pairs):
        shapes[number, row[a], row[b]] = shapes[number, row[b], row[a]] = 1
    return shapes


def _mixed(
    precision: Array, u: Array, shapes: Array, responses: list[int], regressors: Array
) -> Array:
    """Return the information between slopes and residual covariances."""
    changed = np.einsum("ij,kjl,nl->nki", precision, shapes, u)
    return np.einsum("nb,nkb->bk", regressors, changed[:, :, responses])


def _of_pairs(precision: Array, u: Array, shapes: Array) -> Array:
    """Return the information of the residual covariances."""
    turned = shapes @ precision
    across = np.einsum("kij,ljm,im->kl", turned, shapes, u.T @ u)
    expected = np.einsum("kij,lji->kl", turned, turned)
    return across - len(u) / 2 * expected
