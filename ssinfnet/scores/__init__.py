"""Scores of a segmentation, in the order they are computed: slices, curves, summary."""

from ssinfnet.scores.curves import (
    choose_threshold,
    pooled_auc,
    pooled_roc,
)
from ssinfnet.scores.slices import (
    METRICS,
    Counts,
    Slice,
    auc,
    counts,
    f1,
    f1_missed_as_zero,
    iou,
    mean_absolute_error,
    mean_dice_over_thresholds,
    precision,
    recall,
    score_slices,
    slice_scores,
    specificity,
)
from ssinfnet.scores.summary import compare_models, holm, summarise

__all__ = [
    "METRICS",
    "Counts",
    "Slice",
    "auc",
    "choose_threshold",
    "compare_models",
    "counts",
    "f1",
    "f1_missed_as_zero",
    "holm",
    "iou",
    "mean_absolute_error",
    "mean_dice_over_thresholds",
    "pooled_auc",
    "pooled_roc",
    "precision",
    "recall",
    "score_slices",
    "slice_scores",
    "specificity",
    "summarise",
]
