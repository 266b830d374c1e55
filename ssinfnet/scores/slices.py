"""Scores of one slice: pixels counted once, every score a function of the four counts.

F1 (= Dice), IoU, Recall and Precision are J eq 8-11; Specificity and mean absolute error are named
by V and D. 0/0 is NaN: a score that cannot be measured is no score of 0. A pixel is predicted
lesion where its probability is at least the threshold.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ssinfnet.work import progress

__all__ = [
    "CLASSES",
    "CLASS_METRICS",
    "METRICS",
    "Counts",
    "Slice",
    "auc",
    "checked",
    "counts",
    "f1",
    "f1_missed_as_zero",
    "iou",
    "counts_at",
    "mask_scores",
    "mean_absolute_error",
    "mean_dice_over_thresholds",
    "precision",
    "ratio",
    "recall",
    "score_class_slices",
    "score_slices",
    "slice_scores",
    "specificity",
]

CLASSES = ("background", "ggo", "consolidation")  # of stage 2, by label
CLASS_METRICS = ("F1", "IoU", "Recall", "Precision", "Specificity", "F1_missed_as_zero")
METRICS = (
    "F1", "IoU", "Recall", "Precision", "AUC", "Specificity", "MAE", "F1_missed_as_zero",
    "MeanDice",
)  # fmt: skip

# patient_id, slice_id, truth, probability
Slice = tuple[str, str, NDArray[Any], NDArray[np.floating]]


class Counts(NamedTuple):
    """Pixels by truth and prediction: hits, false alarms, misses, correct rejections."""

    tp: Any
    fp: Any
    fn: Any
    tn: Any


def counts(truth: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> Counts:
    """Count the pixels of one slice by truth and prediction.

    Parameters
    ----------
    truth, prediction : (height, width) bool array
        True where lesion.

    Raises
    ------
    ValueError
        If the shapes differ, or either is not bool.
    """
    if truth.shape != prediction.shape or truth.dtype != bool or prediction.dtype != bool:
        raise ValueError(
            f"truth {truth.shape} {truth.dtype} and prediction {prediction.shape} "
            f"{prediction.dtype} must be bool masks of one shape; use mask > 0 for label masks"
        )
    tp = int(np.count_nonzero(truth & prediction))
    fp = int(np.count_nonzero(prediction)) - tp
    fn = int(np.count_nonzero(truth)) - tp
    return Counts(tp, fp, fn, truth.size - tp - fp - fn)


def f1(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, tn: ArrayLike) -> Any:
    """Return F1 = Dice = 2 tp / (2 tp + fp + fn), in [0, 1]; NaN for 0/0 (J eq 8).

    Examples
    --------
    >>> float(f1(1, 1, 0, 2))
    0.6666666666666666
    """
    return ratio(2 * np.asarray(tp), 2 * np.asarray(tp) + np.add(fp, fn))


def iou(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, tn: ArrayLike) -> Any:
    """Return intersection over union, tp / (tp + fp + fn), in [0, 1]; NaN for 0/0 (J eq 9)."""
    return ratio(tp, np.asarray(tp) + np.add(fp, fn))


def recall(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, tn: ArrayLike) -> Any:
    """Return recall, tp / (tp + fn), in [0, 1]; NaN without lesion in the truth (J eq 10)."""
    return ratio(tp, np.asarray(tp) + fn)


def precision(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, tn: ArrayLike) -> Any:
    """Return precision, tp / (tp + fp), in [0, 1]; NaN where nothing is predicted (J eq 11)."""
    return ratio(tp, np.asarray(tp) + fp)


def specificity(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, tn: ArrayLike) -> Any:
    """Return specificity, tn / (tn + fp), in [0, 1]; NaN where all pixels are lesion (V, D)."""
    return ratio(tn, np.asarray(tn) + fp)


def f1_missed_as_zero(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, tn: ArrayLike) -> Any:
    """Return F1 through precision and recall, with every missed lesion counted 0 (D-13).

    The rule: without lesion in the truth and without prediction (tp = fp = fn = 0) NaN; else
    with no lesion pixel hit (tp = 0) exactly 0; else the harmonic mean of precision and recall.

    Notes
    -----
    The harmonic mean alone is undefined for tp = 0, so averaging it leaves missed lesions out.
    `f1` is taken from the counts (J eq 8) and is 0 there already: the two agree on every slice,
    and a difference between their columns would be an error.
    """
    hit, missed = precision(tp, fp, fn, tn), recall(tp, fp, fn, tn)
    harmonic = ratio(2 * hit * missed, hit + missed)
    unhit = (np.asarray(tp) == 0) & (np.asarray(fp) + np.asarray(fn) > 0)
    return np.where(unhit, 0.0, harmonic)[()]


def mean_absolute_error(truth: NDArray[np.bool_], probability: NDArray[np.floating]) -> float:
    """Return the mean of |probability − truth| over the pixels, in [0, 1] (V, D)."""
    return float(np.abs(probability.astype(np.float64) - truth).mean())


def auc(truth: NDArray[np.bool_], probability: NDArray[np.floating]) -> float:
    """Return the area under the ROC curve of one slice's pixels; NaN when they are of one class."""
    from sklearn.metrics import roc_auc_score  # a second of import, needed only here

    if truth.all() or not truth.any():
        return float("nan")
    return float(roc_auc_score(truth.ravel(), probability.ravel()))


def mean_dice_over_thresholds(truth: NDArray[Any], probability: NDArray[np.floating]) -> float:
    """Return the mean Dice of one slice over 256 thresholds, as Inf-Net publishes it (D-13).

    The thresholds are k / 255 for k = 0 … 255; thresholds where Dice is 0/0 are left out.
    """
    return float(np.nanmean(f1(*counts_at(truth, probability, np.arange(256) / 255))))


def counts_at(
    truth: NDArray[Any], probability: NDArray[np.floating], thresholds: NDArray[np.float64]
) -> Counts:
    """Count one slice at many rising thresholds at once; the counts are arrays."""
    lesion, probability = checked(truth, probability)
    reached = np.searchsorted(thresholds, probability, side="right")  # thresholds it is at least
    predicted = [
        np.bincount(reached[chosen], minlength=len(thresholds) + 1)[::-1].cumsum()[-2::-1]
        for chosen in (lesion, ~lesion)
    ]
    tp, fp = predicted
    return Counts(tp, fp, lesion.sum() - tp, (~lesion).sum() - fp)


def slice_scores(
    truth: NDArray[Any], probability: NDArray[np.floating], threshold: float
) -> dict[str, float]:
    """Return all stage-1 scores of one slice.

    Parameters
    ----------
    truth : (height, width) uint8 or bool array
        Mask; every value above 0 is lesion.
    probability : (height, width) float array
        Predicted lesion probability in [0, 1].
    threshold : float
        A pixel is predicted lesion where its probability is at least this.

    Returns
    -------
    dict
        tp, fp, fn, tn in pixels and the scores named in `METRICS`; undefined ones are NaN.

    Raises
    ------
    ValueError
        If the shapes differ, a probability is outside [0, 1] or not finite, or the threshold is.
    """
    lesion, probability = checked(truth, probability)
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be a probability in [0, 1], got {threshold}")
    return {
        **mask_scores(lesion, probability >= threshold),
        "AUC": auc(lesion, probability),
        "MAE": mean_absolute_error(lesion, probability),
        "MeanDice": mean_dice_over_thresholds(truth, probability),
    }


def mask_scores(truth: NDArray[np.bool_], prediction: NDArray[np.bool_]) -> dict[str, float]:
    """Return tp, fp, fn, tn in pixels and the scores named in `CLASS_METRICS` of one slice."""
    four = counts(truth, prediction)
    return {
        **four._asdict(),
        "F1": float(f1(*four)),
        "IoU": float(iou(*four)),
        "Recall": float(recall(*four)),
        "Precision": float(precision(*four)),
        "Specificity": float(specificity(*four)),
        "F1_missed_as_zero": float(f1_missed_as_zero(*four)),
    }


def score_class_slices(slices: Iterable[Slice], **labels: Any) -> pd.DataFrame:
    """Score stage 2's slices, each class against the others; a pixel is of its likeliest class.

    Parameters
    ----------
    slices : iterable of (patient_id, slice_id, truth, probabilities)
        Truth (height, width) of 0 background, 1 GGO, 2 consolidation; probabilities (3, height,
        width). They are read once.
    **labels
        Columns that are the same in every row.

    Returns
    -------
    DataFrame
        Three rows a slice: the labels, patient_id, slice_id, class and the entries of
        `mask_scores`.

    Raises
    ------
    ValueError
        If a truth has another label, or shapes differ.
    """
    rows = []
    for patient, name, truth, maps in progress.track(slices, "scoring slices"):
        if maps.shape != (len(CLASSES), *truth.shape) or truth.max() >= len(CLASSES):
            raise ValueError(
                f"slice {name}: truth {truth.shape} with labels up to {truth.max()} and "
                f"probabilities {maps.shape}; expected labels 0, 1, 2 and one map a class"
            )
        predicted = maps.argmax(0)
        for label, own in enumerate(CLASSES):
            scored = mask_scores(truth == label, predicted == label)
            rows.append({**labels, "patient_id": patient, "slice_id": name, "class": own, **scored})
    if not rows:
        raise ValueError("no slices to score; the split or the predictions are empty")
    return pd.DataFrame(rows)


def score_slices(slices: Iterable[Slice], threshold: float, **labels: Any) -> pd.DataFrame:
    """Score slices one after the other.

    Parameters
    ----------
    slices : iterable of (patient_id, slice_id, truth, probability)
        Slices, as `slice_scores` takes them; they are read once, so a generator keeps memory flat.
    threshold : float
        Probability from which a pixel is predicted lesion.
    **labels
        Columns that are the same in every row, such as model, seed, fold; the class goes in as
        ``**{"class": "lesion"}``.

    Returns
    -------
    DataFrame
        One row a slice: the labels, patient_id, slice_id and the entries of `slice_scores`.
    """
    shown = progress.track(slices, "scoring slices")
    rows = [
        {**labels, "patient_id": patient, "slice_id": name, **slice_scores(truth, map_, threshold)}
        for patient, name, truth, map_ in shown
    ]
    if not rows:
        raise ValueError("no slices to score; the split or the predictions are empty")
    return pd.DataFrame(rows)


def checked(
    truth: NDArray[Any], probability: NDArray[np.floating]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return lesion mask and probabilities of one slice; bad ones are a ValueError."""
    # float64, because comparing float32 with 0.3 would round the threshold
    lesion, probability = np.asarray(truth) > 0, np.asarray(probability, dtype=np.float64)
    if lesion.shape != probability.shape:
        raise ValueError(f"truth {lesion.shape} and probability {probability.shape} differ")
    if not (lesion.size and probability.min() >= 0 and probability.max() <= 1):  # NaN fails too
        raise ValueError("probabilities must be finite and in [0, 1]; apply the sigmoid to logits")
    return lesion, probability


def ratio(numerator: ArrayLike, denominator: ArrayLike) -> Any:
    """Divide element by element; 0/0 is NaN, silently, because it is expected."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, dtype=np.float64), denominator)
    return np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom != 0)[()]
