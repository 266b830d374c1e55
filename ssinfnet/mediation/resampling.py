"""Patients drawn with replacement, and intervals from what the draws give."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

__all__ = ["bca_interval", "drawn_weights", "left_out_weights", "percentile_interval"]

Array = NDArray[np.float64]

CHUNK = 500  # draws held at a time


def drawn_weights(n: int, draws: int, seed: int) -> Iterator[Array]:
    """Yield how often each patient is drawn, chunk by chunk.

    Every draw has a stream of its own, so that it is the same whatever else is computed.

    Parameters
    ----------
    n : int
        Patients.
    draws : int
    seed : int
        At least 0.

    Yields
    ------
    ndarray of float, shape (at most `CHUNK`, n)
    """
    for first in range(0, draws, CHUNK):
        weights = np.empty((min(CHUNK, draws - first), n))
        for row, draw in enumerate(range(first, first + len(weights))):
            stream = np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, 0, draw]))
            weights[row] = np.bincount(stream.integers(0, n, n), minlength=n)
        yield weights


def left_out_weights(n: int) -> Iterator[Array]:
    """Yield weights that leave out one patient after the other: the jackknife."""
    for first in range(0, n, CHUNK):
        weights = np.ones((min(CHUNK, n - first), n))
        weights[np.arange(len(weights)), first + np.arange(len(weights))] = 0
        yield weights


def percentile_interval(drawn: Array, level: float = 0.95) -> tuple[Array, Array]:
    """Return the percentile interval of each column.

    Parameters
    ----------
    drawn : ndarray of float, shape (draws, k)
        Draws that are NaN do not count.
    level : float
    """
    tail = (1 - level) / 2
    low, high = _quantiles(drawn, np.full(drawn.shape[1], tail), np.full(drawn.shape[1], 1 - tail))
    return low, high


def bca_interval(
    drawn: Array, estimate: Array, jackknife: Array, level: float = 0.95
) -> tuple[Array, Array]:
    """Return the bias-corrected and accelerated interval of each column (Efron 1987).

    Parameters
    ----------
    drawn : ndarray of float, shape (draws, k)
    estimate : ndarray of float, shape (k,)
    jackknife : ndarray of float, shape (n, k)
        The estimate without each patient.
    level : float
    """
    finite = np.isfinite(drawn)
    below = ((drawn < estimate) & finite).sum(axis=0) + (drawn == estimate).sum(axis=0) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        bias = norm.ppf(below / finite.sum(axis=0))
        away = np.nanmean(jackknife, axis=0) - jackknife
        acceleration = np.nansum(away**3, axis=0) / (6 * np.nansum(away**2, axis=0) ** 1.5)
        tails = []
        for tail in ((1 - level) / 2, (1 + level) / 2):
            shifted = bias + norm.ppf(tail)
            tails.append(norm.cdf(bias + shifted / (1 - acceleration * shifted)))
    return _quantiles(drawn, *tails)


def _quantiles(drawn: Array, *levels: Array) -> tuple[Array, ...]:
    """Return a quantile of each column, each at its own level, NaN draws left out."""
    ordered = np.sort(drawn, axis=0)  # NaN last
    if not len(drawn):
        return tuple(np.full(drawn.shape[1], np.nan) for _ in levels)
    last = np.isfinite(drawn).sum(axis=0) - 1
    columns = np.arange(drawn.shape[1])
    found = []
    for level in levels:
        usable = np.isfinite(level) & (last >= 0)
        place = np.where(usable, level, 0) * np.maximum(last, 0)
        lower = np.floor(place).astype(int)
        upper = np.minimum(lower + 1, np.maximum(last, 0))
        share = place - lower
        value = ordered[lower, columns] * (1 - share) + ordered[upper, columns] * share
        found.append(np.where(usable, value, np.nan))
    return tuple(found)
