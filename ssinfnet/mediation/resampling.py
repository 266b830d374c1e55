"""Patients drawn with replacement, and intervals from what the draws give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

__all__ = [
    "FEWEST_DRAWS",
    "RESOLVING",
    "DrawnEffects",
    "Interval",
    "bca_interval",
    "drawn_weights",
    "expanded_interval",
    "left_out_weights",
    "percentile_interval",
    "refuse_negative",
]

Array = NDArray[np.float64]
Interval = Literal["percentile", "expanded", "bca"]

CHUNK = 500  # draws held at a time
FEWEST_DRAWS = 20  # usable ones, of which an interval or a p is shown (D-179)
RESOLVING = 200  # draws whose outermost five lie beyond a 95 % interval
OUTERMOST = 5  # draws at either end, beyond which quantiles follow a normal tail


def refuse_negative(**numbers: int) -> None:
    """Raise ValueError where numbers such as a seed, given by name, are below 0."""
    for name, number in numbers.items():
        if number < 0:
            raise ValueError(f"{name} must be at least 0, got {number}")


def drawn_weights(n: int, draws: int, seed: int) -> Iterator[Array]:
    """Yield how often each patient is drawn, chunk by chunk.

    Every draw has a stream of its own, so that it is the same whatever else is computed.

    Parameters
    ----------
    n : int
        Patients.
    draws, seed : int
        At least 0.

    Yields
    ------
    ndarray of float, shape (at most `CHUNK`, n)

    Raises
    ------
    ValueError
        If the draws or the seed are below 0.
    """
    refuse_negative(draws=draws, seed=seed)
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
        Draws that are NaN do not count; of fewer than `FEWEST_DRAWS` the bounds are NaN.
    level : float
    """
    return DrawnEffects.of(drawn).interval(level)


def expanded_interval(drawn: Array, cases: int, level: float = 0.95) -> tuple[Array, Array]:
    """Return the expanded percentile interval of each column (Hesterberg 2015).

    Percentile intervals of a mean are short by the two things that t intervals have beside normal
    ones: deviations with n - 1, and t quantiles. Expanded ones take quantiles further out by both.

    Parameters
    ----------
    drawn : ndarray of float, shape (draws, k)
        See `percentile_interval`.
    cases : int
        How many patients, or clusters, a draw has; at least 2.
    level : float
    """
    return DrawnEffects.expanded(drawn, cases).interval(level)


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
    return DrawnEffects.corrected(drawn, estimate, jackknife).interval(level)


@dataclass(frozen=True)
class DrawnEffects:
    """Draws of some effects: their intervals at any level, and the test that agrees with all.

    The interval at level 1 - c leaves out 0 exactly where p is below c (D-93). Quantiles beyond the
    five outermost draws are those of a normal tail with the draws' standard deviation. Of less than
    `FEWEST_DRAWS` usable draws both are NaN.

    Attributes
    ----------
    ordered : ndarray of float, shape (draws, k)
        Each column from the smallest draw to the largest, then NaN.
    bias, acceleration : ndarray of float, shape (k,)
        The two corrections of BCa intervals; 0 for percentile ones.
    cases : int, optional
        How many patients, or clusters, a draw has, where the intervals are expanded ones.
    """

    ordered: Array
    bias: Array
    acceleration: Array
    cases: int | None = None

    @classmethod
    def of(cls, drawn: Array) -> DrawnEffects:
        """Return the draws (draws, k) for percentile intervals; NaN draws do not count."""
        nothing = np.zeros(drawn.shape[1])
        return cls(np.sort(drawn, axis=0), nothing, nothing)

    @classmethod
    def expanded(cls, drawn: Array, cases: int) -> DrawnEffects:
        """Return the draws for expanded percentile intervals, see `expanded_interval`."""
        return replace(cls.of(drawn), cases=cases)

    @classmethod
    def corrected(cls, drawn: Array, estimate: Array, jackknife: Array) -> DrawnEffects:
        """Return the draws for BCa intervals, see `bca_interval`."""
        finite = np.isfinite(drawn)
        below = ((drawn < estimate) & finite).sum(axis=0) + (drawn == estimate).sum(axis=0) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            bias = norm.ppf(below / finite.sum(axis=0))
            away = np.nanmean(jackknife, axis=0) - jackknife
            acceleration = np.nansum(away**3, axis=0) / (6 * np.nansum(away**2, axis=0) ** 1.5)
        return cls(np.sort(drawn, axis=0), bias, acceleration)

    @property
    def draws(self) -> NDArray[np.intp]:
        """How many draws of each effect are usable."""
        return np.isfinite(self.ordered).sum(axis=0)

    def without(self, effects: NDArray[np.bool_]) -> DrawnEffects:
        """Return the same without any draw of some effects, bool (k,): no p and no interval."""
        return replace(self, ordered=np.where(effects, np.nan, self.ordered))

    def interval(self, level: float | Array = 0.95) -> tuple[Array, Array]:
        """Return lower and upper bounds at one level, or at a level of each effect's own."""
        tails = (1 - np.asarray(level)) / 2, (1 + np.asarray(level)) / 2
        low, high = (self._enough(self._quantile(self._corrected_level(tail))) for tail in tails)
        return low, high

    def p(self) -> Array:
        """Return the two-sided p of no effect: 1 less the level whose interval begins at 0."""
        with np.errstate(invalid="ignore", divide="ignore"):
            shifted = norm.ppf(self._share_below_zero()) - self.bias
            scale = np.maximum(1 + self.acceleration * shifted, 0)
            tail = self._tail(shifted / scale - self.bias)
        return self._enough(2 * np.minimum(tail, 1 - tail))

    def _enough(self, values: Array) -> Array:
        """Return numbers, NaN where too few draws are usable."""
        return np.where(self.draws >= FEWEST_DRAWS, values, np.nan)

    def _corrected_level(self, tail: float | Array) -> Array:
        shifted = self.bias + self._deviate(tail)
        with np.errstate(invalid="ignore", divide="ignore"):
            scale = np.maximum(1 - self.acceleration * shifted, 0)
            return norm.cdf(self.bias + shifted / scale)

    def _deviate(self, tail: float | Array) -> Array:
        """Return the normal deviate at which a tail is cut off."""
        if self.cases is None:
            return norm.ppf(tail)
        last = self.cases - 1
        return np.sqrt(self.cases / last) * student.ppf(tail, last)

    def _tail(self, deviate: Array) -> Array:
        """Return the tail that is cut off at a normal deviate."""
        if self.cases is None:
            return norm.cdf(deviate)
        last = self.cases - 1
        return student.cdf(np.sqrt(last / self.cases) * deviate, last)

    def _resolved(self) -> Array:
        """Return the smallest share that the draws of each effect resolve."""
        return np.minimum(OUTERMOST / (self.draws + 1), 0.25)

    def _spread(self) -> Array:
        counted = np.maximum(self.draws, 1)
        mean = np.nansum(self.ordered, axis=0) / counted
        return np.sqrt(np.nansum(np.square(self.ordered - mean), axis=0) / counted)

    def _quantile(self, level: Array) -> Array:
        """Return each effect's quantile at its level."""
        least = self._resolved()
        inside = _between(self.ordered, np.clip(level, least, 1 - least))
        beyond = (level < least) | (level > 1 - least)
        if not beyond.any():
            return inside
        edge = np.where(level < 0.5, least, 1 - least)
        with np.errstate(invalid="ignore"):
            outside = inside + self._spread() * (norm.ppf(level) - norm.ppf(edge))
        return np.where(beyond, outside, inside)

    def _share_below_zero(self) -> Array:
        """Return the level at which each effect's quantile is 0."""
        usable, least = self.draws, self._resolved()
        if not len(self.ordered):
            return np.full(self.ordered.shape[1], np.nan)
        columns, below = np.arange(len(usable)), (self.ordered < 0).sum(axis=0)
        before, after = (
            self.ordered[np.clip(place, 0, len(self.ordered) - 1), columns]
            for place in (below - 1, below)
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            inside = (below - 1 - before / (after - before)) / (usable - 1)
            share = np.where(below == 0, 0.0, np.where(below == usable, 1.0, inside))
            edge = np.where(share < 0.5, least, 1 - least)
            tail = norm.cdf(norm.ppf(edge) - _between(self.ordered, edge) / self._spread())
        share = np.where((share < least) | (share > 1 - least), tail, share)
        return np.where(usable > 1, share, np.nan)


def _between(ordered: Array, level: Array) -> Array:
    """Return a quantile of each ordered column, each at its own level, NaN draws left out."""
    if not len(ordered):
        return np.full(ordered.shape[1], np.nan)
    last = np.isfinite(ordered).sum(axis=0) - 1
    columns = np.arange(ordered.shape[1])
    usable = np.isfinite(level) & (last >= 0)
    place = np.where(usable, level, 0) * np.maximum(last, 0)
    lower = np.floor(place).astype(int)
    upper = np.minimum(lower + 1, np.maximum(last, 0))
    share = place - lower
    value = ordered[lower, columns] * (1 - share) + ordered[upper, columns] * share
    return np.where(usable, value, np.nan)
