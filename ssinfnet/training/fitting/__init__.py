"""Fit a network: fastai's training loop, fed from memory, resumable to the bit.

The only room that touches fastai. A run killed at any moment and started again ends with the
weights of an undisturbed one (same machine and thread count): see `batches` for why.
"""

from ssinfnet.training.fitting.callbacks import SliceF1, slice_f1
from ssinfnet.training.fitting.keeper import WEIGHTS
from ssinfnet.training.fitting.loop import best_device, fingerprint, finished, fit
from ssinfnet.training.fitting.recipe import Recipe
from ssinfnet.training.fitting.step import GraphedStep, Step
from ssinfnet.training.fitting.writer import HISTORY, STATE, StateWriter

__all__ = [
    "HISTORY",
    "STATE",
    "WEIGHTS",
    "GraphedStep",
    "Recipe",
    "SliceF1",
    "StateWriter",
    "Step",
    "best_device",
    "fingerprint",
    "finished",
    "fit",
    "slice_f1",
]
