"""Fill what is missing by chained Bayesian linear regressions, as ``norm`` of R's mice does.

Each incomplete column in turn is drawn from its posterior given all others, round after round (van
Buuren & Groothuis-Oudshoorn 2011). Variance and coefficients are drawn once a regression (Rubin
1987, p. 167): if rows were drawn independently, the uncertainty of the coefficients, which they
share, would cancel in every table, and errors over tables would be too small.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular

__all__ = ["chained", "drawn_regression"]

Array = NDArray[np.float64]

ROUNDS = 10  # of the chain, before a table is taken
NEIGHBOURS = 40  # columns from which one is imputed, drawn by how they correlate with it
FAINTEST = 1e-6  # correlation by which a column may still be drawn
RIDGE = 1e-5  # of the diagonal, as mice adds it: columns may follow from each other
LEAST = 1e-8  # of a column that is 0 throughout


def chained(values: Array, rng: np.random.Generator) -> Array:
    """Return standardised columns with what is missing drawn from its posterior.

    Parameters
    ----------
    values : (n, k) array
        Each column with mean 0 and deviation 1; NaN where it is missing.
    rng : Generator

    Returns
    -------
    (n, k) array
        Without NaN; what is known is untouched.
    """
    missing = np.isnan(values)
    filled = values.copy()
    order = [
        index for index in np.argsort(missing.sum(0), kind="stable") if missing[:, index].any()
    ]
    for index in order:
        known = values[~missing[:, index], index]
        filled[missing[:, index], index] = rng.choice(known, missing[:, index].sum())
    closeness = _closeness(values) if values.shape[1] > NEIGHBOURS + 1 else None
    for _ in range(ROUNDS):
        for index in order:
            others = np.delete(np.arange(values.shape[1]), index)
            if closeness is not None:
                chance = closeness[index, others]
                others = rng.choice(others, NEIGHBOURS, replace=False, p=chance / chance.sum())
            gone = missing[:, index]
            coefficients, deviation = drawn_regression(
                filled[~gone][:, others], filled[~gone, index], rng
            )
            means = coefficients[0] + filled[gone][:, others] @ coefficients[1:]
            filled[gone, index] = means + deviation * rng.normal(size=gone.sum())
    return filled


def drawn_regression(given: Array, wanted: Array, rng: np.random.Generator) -> tuple[Array, float]:
    """Draw intercept and slopes, and the residuals' deviation, of a linear regression.

    Parameters
    ----------
    given : (n, k) array
    wanted : (n,) array
    rng : Generator

    Returns
    -------
    coefficients : (1 + k,) array
    deviation : float
    """
    columns = np.column_stack([np.ones(len(given)), given])
    squares = columns.T @ columns
    squares[np.diag_indices_from(squares)] *= 1 + RIDGE
    squares[np.diag_indices_from(squares)] += LEAST
    root = np.linalg.cholesky(squares)
    estimate = cho_solve((root, True), columns.T @ wanted)
    rest = wanted - columns @ estimate
    freedom = max(len(wanted) - columns.shape[1], 1)
    deviation = float(np.sqrt(rest @ rest / rng.chisquare(freedom)))
    noise = solve_triangular(root, rng.normal(size=len(estimate)), lower=True, trans="T")
    return estimate + deviation * noise, deviation


def _closeness(values: Array) -> Array:
    """Return absolute correlations of columns over the rows that both know, none of them 0."""
    known = ~np.isnan(values)
    zeroed = np.where(known, values, 0.0)
    both = known.T.astype(float) @ known
    squares = np.square(zeroed).T @ known
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.abs(zeroed.T @ zeroed) / np.sqrt(squares * squares.T)
    return np.maximum(np.where(both > 2, np.nan_to_num(r), 0.0), FAINTEST)
