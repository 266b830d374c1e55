"""Pretraining by inpainting: the network restores what a coach's mask has erased (J eq 1–3).

The coach learns masks that make this hard, under the constraint that a fixed share of the slice
is kept.
"""

from ssinfnet.training.pretext.alternation import COACH_WEIGHTS, Pretrained, pretrain
from ssinfnet.training.pretext.masks import hard_mask, local_mean_fill, soft_mask
from ssinfnet.training.pretext.task import Inpainted, Task, Turn, assess, verdict

__all__ = [
    "COACH_WEIGHTS",
    "Inpainted",
    "Pretrained",
    "Task",
    "Turn",
    "assess",
    "hard_mask",
    "local_mean_fill",
    "pretrain",
    "soft_mask",
    "verdict",
]
