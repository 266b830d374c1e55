"""Trained networks and slices in, probabilities out: slice by slice, cohort by cohort."""

from ssinfnet.inference.slices import (
    FLIPS,
    flips_of,
    judged_batches,
    load,
    load_file,
    predict,
    predict_batch,
    predict_prepared,
    predict_rows,
)
from ssinfnet.inference.studies import (
    held_out_loss,
    held_out_losses,
    predict_elsewhere,
    predict_held_out,
)

__all__ = [
    "FLIPS",
    "flips_of",
    "held_out_loss",
    "held_out_losses",
    "judged_batches",
    "load",
    "load_file",
    "predict",
    "predict_batch",
    "predict_elsewhere",
    "predict_held_out",
    "predict_prepared",
    "predict_rows",
]
