"""Cox's partial likelihood with weights, and what each patient adds to its slope."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["cox_likelihood"]

Array = NDArray[np.float64]


def cox_likelihood(
    theta: Array, time: Array, regressors: Array, event: Array, weights: Array, efron: bool
) -> tuple[float, Array, Array]:
    """Return a partial log-likelihood, the scores of its patients, and its Hessian.

    Of d events at one time the k-th one, counted from 0, has a risk set that counts these d by
    1 - k / d (Efron 1977), or wholly (Breslow 1974). With weights a patient counts in the risk set
    by the weight, and each of the d events by their mean weight (Therneau & Grambsch 2000,
    Modeling Survival Data, sections 3.3 and 7.2). Scores are the score residuals of Lin & Wei
    (1989), by the method of ties.

    Parameters
    ----------
    theta : ndarray of float, shape (q,)
        Slopes.
    time, event, weights : ndarray of float, shape (n,)
        Time until event or censoring, 1 where the event was seen, and weights above 0.
    regressors : ndarray of float, shape (n, q)
    efron : bool

    Returns
    -------
    (float, ndarray of float, shape (n, q), ndarray of float, shape (q, q))
        Scores add up to the gradient.
    """
    order = np.argsort(time, kind="stable")
    t, x, seen, w = time[order], regressors[order], event[order] == 1, weights[order]
    eta = x @ theta
    risk = w * np.exp(eta - eta.max())
    first = np.searchsorted(t, t[seen])  # where the risk set of each event begins
    places, group, tied = np.unique(first, return_inverse=True, return_counts=True)
    before = np.arange(len(first)) - np.searchsorted(first, first)  # events of the time before it
    share = before / tied[group] if efron else np.zeros(len(first))
    mean_weight = (_grouped(w[seen], group) / tied)[group]

    def sums(values: Array) -> Array:
        """Return sums over each event's risk set."""
        whole = np.cumsum(values[::-1], axis=0)[::-1][places]
        own = _grouped(values[seen], group)
        return whole[group] - (own[group].T * share).T

    total = sums(risk)
    mean = sums(risk[:, None] * x) / total[:, None]
    square = sums(risk[:, None, None] * x[:, :, None] * x[:, None, :])
    value = float(w[seen] @ (eta - eta.max())[seen] - mean_weight @ np.log(total))
    hazard = mean_weight / total
    curve = np.einsum("k,kij->ij", hazard, square) - (mean.T * mean_weight) @ mean
    # Each patient was at risk at the events up to the own time
    until = np.searchsorted(t[seen], t, side="right")
    steps = np.column_stack([hazard, hazard[:, None] * mean])
    past = np.vstack([np.zeros(steps.shape[1]), np.cumsum(steps, axis=0)])[until]
    past[seen] -= _grouped(share[:, None] * steps, group)[group]
    scores = -risk[:, None] * (x * past[:, :1] - past[:, 1:])
    expected = (_grouped(mean, group) / tied[:, None])[group]
    scores[seen] += w[seen, None] * (x[seen] - expected)
    found = np.empty_like(scores)
    found[order] = scores
    return value, found, -curve


def _grouped(values: Array, group: NDArray[np.intp]) -> Array:
    """Return sums over the members of each group, along the first axis."""
    found = np.zeros((group.max() + 1, *values.shape[1:]))
    np.add.at(found, group, values)
    return found
