"""Compare predictions with the truth, count what networks cost, and tell whether they learnt."""

from ssinfnet.evaluation.predictions import (
    Examples,
    held_out,
    pooled_rocs,
    predicted_masks,
    read_predictions,
    score_multi,
    score_single,
    score_volumes,
    thresholds,
    typical_class_examples,
    typical_examples,
)

__all__ = [
    "Examples",
    "held_out",
    "pooled_rocs",
    "predicted_masks",
    "read_predictions",
    "score_multi",
    "score_single",
    "score_volumes",
    "thresholds",
    "typical_class_examples",
    "typical_examples",
]
