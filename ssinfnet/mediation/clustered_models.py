"""Errors of two regressions together, by clusters and weights (Liang & Zeger 1986; D-139).

The rows of a cluster move the slopes of the mediator's model and of the outcome's at once, so the
two are not independent as they are of independent rows, and effects made of both take the
covariance of all their parameters.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ssinfnet.mediation.design import Design
from ssinfnet.mediation.outcome_models import Regression

__all__ = ["clustered_pair"]

Array = NDArray[np.float64]


def clustered_pair(
    design: Design, to_mediator: Regression, to_outcome: Regression, rest: Array,
    fitted: NDArray[np.bool_],
) -> tuple[Regression, Regression, Array]:  # fmt: skip
    """Return two regressions with errors by clusters, and the covariance of all parameters.

    Parameters
    ----------
    design : Design
        How the n rows of the outcome's model were sampled; without clusters each row is one.
    to_mediator, to_outcome : Regression
        Fitted with the design's weights.
    rest : ndarray of float
        Residuals of a linear mediator, of the rows that were fitted; else zeros.
    fitted : ndarray of bool, shape (n,)
        Rows of the mediator's model.

    Returns
    -------
    (Regression, Regression, ndarray of float, square)
        The covariance is of the mediator's slopes, the variance of its residuals, and the outcome's
        slopes, with the factors that `design.clustered_slopes` takes.
    """
    weights = design.weights[fitted]
    share = weights / weights.sum()
    spread = np.square(rest)
    varied = share * (spread - share @ spread)
    parts = np.zeros((len(fitted), to_mediator.moved.shape[1] + 1))
    parts[fitted] = np.column_stack([to_mediator.moved, varied])
    moved = np.hstack([_scaled(parts, to_mediator, design, int(fitted.sum())),
                       _scaled(to_outcome.moved, to_outcome, design, len(fitted))])  # fmt: skip
    total = np.zeros((design.number, moved.shape[1]))
    np.add.at(total, design.clusters, moved)
    joint = total.T @ total
    q = len(to_mediator.slopes)
    return (
        replace(to_mediator, covariance=joint[:q, :q]),
        replace(to_outcome, covariance=joint[q + 1 :, q + 1 :]),
        joint,
    )


def _scaled(moved: Array, fit: Regression, design: Design, n: int) -> Array:
    """Return what rows move by, with the root of the small-sample factor G/(G-1)·(n-1)/(n-k)."""
    return moved * np.sqrt(design.number / (design.number - 1) * (n - 1) / fit.residual_df)
