"""The radiomic features of one mask: first order, GLCM, GLDM and NGTDM.

PyRadiomics' own C code counts the matrices; its formulas, written once for all directions, follow
from them, so that values agree with PyRadiomics to rounding. Where a formula divides by zero its
conventions are kept (a flat mask has skewness 0, correlation 1, coarseness 1e6).

Functions take plain arrays and return a mapping from PyRadiomics' feature name to float. Deprecated
features, equal to others by identity, are left to the catalogue.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from radiomics import cMatrices

__all__ = ["cooccurrence", "dependence", "first_order", "tone_difference"]

Floats = NDArray[np.float64]
Levels = NDArray[np.intc]
Features = dict[str, float]

EPSILON = np.spacing(1.0)  # inside logarithms, as PyRadiomics has it
DISTANCES = np.array([1])  # pixels between neighbours
COARSEST = 1e6  # coarseness of a mask without any difference in tone


def first_order(
    tones: Floats, counts: NDArray[np.int_], level_counts: NDArray[np.int_], pixel_mm2: float
) -> Features:
    """Return the 19 first-order features that PyRadiomics has; the number of pixels is the 20th.

    Parameters
    ----------
    tones : ndarray of float64, shape (k,)
        Different grey values within the mask, ascending, none NaN.
    counts : ndarray of int, shape (k,)
        Pixels of each.
    level_counts : ndarray of int, shape (top + 1,)
        Pixels of each grey level after discretisation.
    pixel_mm2 : float
        Area of a pixel, which scales TotalEnergy.
    """
    pixels = int(counts.sum())
    p10, p25, p50, p75, p90 = _percentiles(tones, counts, (10, 25, 50, 75, 90))
    mean = float(tones @ counts) / pixels
    off = tones - mean
    variance, third, fourth = (float(off**power @ counts) / pixels for power in (2, 3, 4))
    energy = float(tones**2 @ counts)
    within = (tones >= p10) & (tones <= p90)
    shares = level_counts[level_counts > 0] / pixels
    return {
        "Energy": energy,
        "TotalEnergy": energy * pixel_mm2,
        "Entropy": float(_entropy(shares)),
        "Minimum": float(tones[0]),
        "10Percentile": p10,
        "90Percentile": p90,
        "Maximum": float(tones[-1]),
        "Mean": mean,
        "Median": p50,
        "InterquartileRange": p75 - p25,
        "Range": float(tones[-1] - tones[0]),
        "MeanAbsoluteDeviation": _mean_deviation(tones, counts),
        "RobustMeanAbsoluteDeviation": _mean_deviation(tones[within], counts[within]),
        "RootMeanSquared": float(np.sqrt(energy / pixels)),
        "StandardDeviation": float(np.sqrt(variance)),
        "Skewness": third / variance**1.5 if variance else 0.0,
        "Kurtosis": fourth / variance**2 if variance else 0.0,
        "Variance": variance,
        "Uniformity": float(shares @ shares),
    }


def _mean_deviation(tones: Floats, counts: NDArray[np.int_]) -> float:
    """Return the mean distance from the mean, or NaN where there is no pixel."""
    pixels = counts.sum()
    if not pixels:
        return float("nan")
    return float(np.abs(tones - tones @ counts / pixels) @ counts / pixels)


def _percentiles(
    tones: Floats, counts: NDArray[np.int_], wanted: tuple[int, ...]
) -> tuple[float, ...]:
    """Return percentiles of the values that the histogram counts, interpolated as numpy does."""
    upto = np.cumsum(counts)
    rank = np.array(wanted) / 100 * (upto[-1] - 1)
    low = tones[np.searchsorted(upto, np.floor(rank), side="right")]
    high = tones[np.searchsorted(upto, np.ceil(rank), side="right")]
    return tuple(float(value) for value in low + (high - low) * (rank - np.floor(rank)))


def cooccurrence(
    levels: Levels, mask: NDArray[np.bool_], level_counts: NDArray[np.int_]
) -> Features | None:
    """Return the 24 features of the grey-level co-occurrence matrix, or None without a pair.

    Each is the mean over the four directions of a slice that have a pair of neighbours.

    Parameters
    ----------
    levels : ndarray of int, shape (h, w)
        Grey levels from 1 within the mask.
    mask : ndarray of bool, shape (h, w)
    level_counts : ndarray of int, shape (top + 1,)
        Pixels of each grey level within the mask.
    """
    top = level_counts.size - 1
    counts, _ = cMatrices.calculate_glcm(levels, mask, DISTANCES, top, False, 0)
    counts = np.moveaxis(counts[0], -1, 0)  # (direction, i, j)
    counts = counts + counts.transpose(0, 2, 1)  # a pair counts both ways
    totals = counts.sum(axis=(1, 2))
    if not totals.any():
        return None
    present = np.flatnonzero(level_counts[1:])
    p = counts[totals > 0][:, present[:, None], present] / totals[totals > 0, None, None]
    return _cooccurrence_features(p, (present + 1).astype(np.float64), top)


def _cooccurrence_features(p: Floats, grey: Floats, top: int) -> Features:
    """Return the features of matrices `p` (direction, i, j) over the grey levels present."""
    i, j = grey[:, None], grey[None, :]
    px = p.sum(axis=2)  # (direction, i); the matrices are symmetric, so py is the same
    mean = px @ grey
    centred = grey - mean[:, None]
    variance = (px * centred**2).sum(axis=1)
    covariance = np.einsum("dij,di,dj->d", p, centred, centred)
    correlation = np.ones_like(variance)
    varied = variance != 0
    correlation[varied] = covariance[varied] / (variance[varied] + EPSILON)
    sums = _by_value(p, (i + j).astype(int) - 2, 2 * top - 1)
    differences = _by_value(p, np.abs(i - j).astype(int), top)
    k_sum, k = np.arange(2.0, 2 * top + 1), np.arange(float(top))
    spread = i + j - 2 * mean[:, None, None]
    tendency = (p * spread**2).sum(axis=(1, 2))
    difference = differences @ k
    joint_entropy = _entropy(p, axis=(1, 2))
    imc1, imc2 = _information(p, px, joint_entropy)
    by_direction = {
        "Autocorrelation": (p * (i * j)).sum(axis=(1, 2)),
        "JointAverage": mean,
        "ClusterProminence": (p * spread**4).sum(axis=(1, 2)),
        "ClusterShade": (p * spread**3).sum(axis=(1, 2)),
        "ClusterTendency": tendency,
        "Contrast": (p * (i - j) ** 2).sum(axis=(1, 2)),
        "Correlation": correlation,
        "DifferenceAverage": difference,
        "DifferenceEntropy": _entropy(differences, axis=1),
        "DifferenceVariance": (differences * (k - difference[:, None]) ** 2).sum(axis=1),
        "JointEnergy": (p * p).sum(axis=(1, 2)),
        "JointEntropy": joint_entropy,
        "Imc1": imc1,
        "Imc2": imc2,
        "Idm": differences @ (1 / (1 + k**2)),
        "MCC": _maximal_correlation(p, px),
        "Idmn": differences @ (1 / (1 + k**2 / top**2)),
        "Id": differences @ (1 / (1 + k)),
        "Idn": differences @ (1 / (1 + k / top)),
        "InverseVariance": differences[:, 1:] @ (1 / k[1:] ** 2),
        "MaximumProbability": p.max(axis=(1, 2)),
        "SumAverage": sums @ k_sum,
        "SumEntropy": _entropy(sums, axis=1),
        "SumSquares": variance,
    }
    return {name: _mean(values) for name, values in by_direction.items()}


def _mean(values: Floats) -> float:
    """Return the mean over the directions in which a feature is defined, or NaN."""
    defined = values[~np.isnan(values)]
    return float(defined.mean().real) if defined.size else float("nan")


def _by_value(p: Floats, index: NDArray[np.int_], size: int) -> Floats:
    """Return the probability of each value of a function of (i, j), one row a direction."""
    flat = index.ravel()
    return np.stack([np.bincount(flat, weights=rows.ravel(), minlength=size) for rows in p])


def _entropy(p: Floats, axis: int | tuple[int, ...] | None = None) -> Floats:
    return -(p * np.log2(p + EPSILON)).sum(axis=axis)


def _information(p: Floats, px: Floats, joint: Floats) -> tuple[Floats, Floats]:
    """Return the two informational measures of correlation of each direction."""
    independent = px[:, :, None] * px[:, None, :]
    bits = np.log2(independent + EPSILON)
    crossed, product = -(p * bits).sum(axis=(1, 2)), -(independent * bits).sum(axis=(1, 2))
    entropy = _entropy(px, axis=1)
    first = joint - crossed
    first[entropy != 0] /= entropy[entropy != 0]
    first[entropy == 0] = 0
    with np.errstate(invalid="ignore"):  # rounding may put the root of a small negative number
        second = np.sqrt(1 - np.exp(-2 * (product - joint)))
    second[product == joint] = 0
    return first, second


def _maximal_correlation(p: Floats, px: Floats) -> Floats:
    """Return the root of the second largest eigenvalue of Q, where Q shows how i and j share k."""
    if p.shape[1] < 2:
        return np.ones(1)  # one grey level
    q = np.zeros_like(p)
    for k in range(p.shape[1]):
        shared = p[:, :, None, k] * p[:, None, :, k]
        q += shared / (px[:, :, None] * px[:, None, k, None] + EPSILON)
    second = np.sort(np.linalg.eigvals(q))[:, -2]  # complex where rounding made a pair of them
    with np.errstate(invalid="ignore"):
        return np.sqrt(second)


def dependence(levels: Levels, mask: NDArray[np.bool_], top: int) -> Features:
    """Return the 14 features of the grey-level dependence matrix.

    A pixel's dependence is the number of its neighbours of the same grey level, and itself.

    Parameters
    ----------
    levels : ndarray of int, shape (h, w)
        Grey levels from 1 within the mask.
    mask : ndarray of bool, shape (h, w)
        With one pixel or more.
    top : int
        Highest grey level within the mask.
    """
    counts = cMatrices.calculate_gldm(levels, mask, DISTANCES, top, 0, False, 0)[0]
    p = counts / counts.sum()
    i2 = np.arange(1.0, top + 1) ** 2
    j = np.arange(1.0, p.shape[1] + 1)
    j2 = j**2
    by_level, by_size = p.sum(axis=1), p.sum(axis=0)
    pixels = counts.sum()
    return {
        "SmallDependenceEmphasis": float(by_size @ (1 / j2)),
        "LargeDependenceEmphasis": float(by_size @ j2),
        "GrayLevelNonUniformity": float(by_level @ by_level) * pixels,
        "DependenceNonUniformity": float(by_size @ by_size) * pixels,
        "DependenceNonUniformityNormalized": float(by_size @ by_size),
        "GrayLevelVariance": _variance(by_level),
        "DependenceVariance": _variance(by_size),
        "DependenceEntropy": float(_entropy(p)),
        "LowGrayLevelEmphasis": float(by_level @ (1 / i2)),
        "HighGrayLevelEmphasis": float(by_level @ i2),
        "SmallDependenceLowGrayLevelEmphasis": float((1 / i2) @ p @ (1 / j2)),
        "SmallDependenceHighGrayLevelEmphasis": float(i2 @ p @ (1 / j2)),
        "LargeDependenceLowGrayLevelEmphasis": float((1 / i2) @ p @ j2),
        "LargeDependenceHighGrayLevelEmphasis": float(i2 @ p @ j2),
    }


def _variance(shares: Floats) -> float:
    """Return the variance of 1, 2, … taken with these shares."""
    values = np.arange(1.0, shares.size + 1)
    return float(shares @ (values - shares @ values) ** 2)


def tone_difference(levels: Levels, mask: NDArray[np.bool_], top: int) -> Features:
    """Return the 5 features of the neighbouring grey-tone difference matrix.

    Parameters
    ----------
    levels : ndarray of int, shape (h, w)
        Grey levels from 1 within the mask.
    mask : ndarray of bool, shape (h, w)
        With a pair of neighbours or more.
    top : int
        Highest grey level within the mask.
    """
    rows = cMatrices.calculate_ngtdm(levels, mask, DISTANCES, top, False, 0)[0]
    n, s, i = rows[rows[:, 0] > 0].T  # pixels, summed differences to their neighbours' mean, level
    pixels = n.sum()
    p = n / pixels
    apart = i[:, None] - i[None, :]
    weighted = float(p @ s)
    either = p[:, None] + p[None, :]
    both = (p * s)[:, None] + (p * s)[None, :]
    steps = float(np.abs((i * p)[:, None] - (i * p)[None, :]).sum())
    pairs = len(n) * (len(n) - 1)
    contrast = float(p @ apart**2 @ p) * float(s.sum()) / pixels
    return {
        "Coarseness": 1 / weighted if weighted else COARSEST,
        "Contrast": contrast / pairs if pairs else 0.0,
        "Busyness": weighted / steps if steps else 0.0,
        "Complexity": float((np.abs(apart) * both / either).sum()) / pixels,
        "Strength": float((either * apart**2).sum()) / float(s.sum()) if s.any() else 0.0,
    }
