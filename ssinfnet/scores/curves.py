"""Scores over many thresholds: the pooled ROC curve and the choice of a threshold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.scores.slices import Slice, checked, counts_at, f1, ratio

__all__ = ["choose_threshold", "pooled_auc", "pooled_roc"]


def pooled_roc(
    truths: Iterable[NDArray[Any]], probabilities: Iterable[NDArray[np.floating]], bins: int = 4096
) -> pd.DataFrame:
    """Return the ROC curve of all pixels of all slices together (S figure 4).

    The pixels go through a histogram of the probability, so memory does not grow with slices and
    the curve is exact at the thresholds k / `bins`; between them it is a straight line.

    Returns
    -------
    DataFrame
        threshold (falling, from inf), false_positive_rate, true_positive_rate; rates are NaN if
        the pixels are of one class. Bins without pixels have no row.

    Raises
    ------
    ValueError
        If there are no slices, or not as many truths as probabilities.
    """
    histogram = np.zeros((2, bins), dtype=np.int64)  # rows: not lesion, lesion
    for truth, probability in zip(truths, probabilities, strict=True):
        lesion, probability = checked(truth, probability)
        bin_ = np.minimum((probability * bins).astype(np.int64), bins - 1)
        for row, chosen in enumerate((~lesion, lesion)):
            histogram[row] += np.bincount(bin_[chosen], minlength=bins)
    if not histogram.any():
        raise ValueError("no slices for the ROC curve; the predictions are empty")
    falling = histogram[:, ::-1]
    kept = falling.any(axis=0)
    reached = falling.cumsum(axis=1)[:, kept]
    rates = ratio(reached, histogram.sum(axis=1, keepdims=True))
    rates = np.hstack([rates[:, :1] * 0, rates])
    thresholds = (np.arange(bins)[::-1] / bins)[kept]
    return pd.DataFrame(
        {
            "threshold": np.concatenate([[np.inf], thresholds]),
            "false_positive_rate": rates[0],
            "true_positive_rate": rates[1],
        }
    )


def pooled_auc(roc: pd.DataFrame) -> float:
    """Return the area under a curve of `pooled_roc` by trapezoids, in [0, 1]; NaN stays NaN."""
    return float(np.trapezoid(roc["true_positive_rate"], roc["false_positive_rate"]))


def choose_threshold(slices: Iterable[Slice]) -> float:
    """Return the threshold with the highest mean F1 over validation slices (D-14).

    Searched are 0.01, 0.02, … 0.99; of equally good ones the nearest to 0.5 is taken.

    Parameters
    ----------
    slices : iterable of (patient_id, slice_id, truth, probability)
        Slices of validation patients, never of test ones.

    Raises
    ------
    ValueError
        If F1 is undefined everywhere: no slices, or neither lesion nor prediction in any.
    """
    grid = np.arange(1, 100) / 100
    scores = [f1(*counts_at(truth, map_, grid)) for _, _, truth, map_ in slices]
    mean = pd.DataFrame(scores, columns=grid, dtype=np.float64).mean()
    if mean.isna().all():
        raise ValueError("F1 is undefined on all validation slices; they need slices with lesion")
    best = grid[np.isclose(mean, mean.max(), rtol=0, atol=1e-12)]
    return float(best[np.argmin(np.abs(best - 0.5))])
