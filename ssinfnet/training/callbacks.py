"""What happens around the steps of a training: bounds, averages and scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack

import torch
from fastai.callback.fp16 import MixedPrecision
from fastai.learner import Callback, Learner, Metric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ssinfnet.optimizers import Lookahead

__all__ = ["AveragedWeights", "Bf16", "BoundGradients", "SliceF1", "SlowWeights", "slice_f1"]

SWAPPED = 95  # order of what swaps weights for validation: back only after the keeper took them


def slice_f1(predicted: Tensor, true: Tensor) -> Tensor:
    """Return the F1 of each slice and class.

    Parameters
    ----------
    predicted, true : (n, classes, height, width) bool tensor

    Returns
    -------
    (n, classes) float tensor in [0, 1]
        NaN where a class is neither predicted nor true, which is 0/0.
    """
    twice_both = 2 * (predicted & true).sum((2, 3))
    return twice_both / (predicted.sum((2, 3)) + true.sum((2, 3)))


class SliceF1(Metric):
    """Mean F1 over slices and classes at network size; 0/0 is left out."""

    def __init__(self, masks: Callable[..., tuple[Tensor, Tensor]]) -> None:
        self.masks = masks
        self.reset()

    def reset(self) -> None:
        """Forget all slices."""
        self._scores: list[Tensor] = []

    def accumulate(self, learn: Learner) -> None:
        """Add a batch."""
        self._scores.append(slice_f1(*self.masks(learn.pred, *learn.yb)))

    @property
    def value(self) -> float:
        """The mean, NaN where no slice has lesion or prediction."""
        return torch.cat(self._scores).nanmean().item() if self._scores else math.nan

    @property
    def name(self) -> str:
        """Column name in fastai's table."""
        return "validation_f1"


class BoundGradients(Callback):
    """Clamp each gradient entry, as Inf-Net does, and shorten the whole gradient, or neither."""

    def __init__(self, entry: float | None, norm: float | None) -> None:
        self.entry = entry
        self.norm = norm

    def before_step(self) -> None:
        """Change the gradients in place."""
        if self.entry is not None:
            nn.utils.clip_grad_value_(self.model.parameters(), self.entry)
        if self.norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.norm)


class Bf16(MixedPrecision):
    """Fastai's bf16 autocast for networks that return a named tuple of logits."""

    def after_pred(self) -> None:
        """Compute the losses in float32."""
        self.learn.pred = type(self.pred)(*(logits.float() for logits in self.pred))


class SlowWeights(Callback):
    """Validate with Lookahead's slow weights, where the optimiser is Lookahead."""

    order = SWAPPED

    def before_validate(self) -> None:
        """Swap them in."""
        self.swapped = ExitStack()
        if isinstance(self.opt.opt, Lookahead):
            self.swapped.enter_context(self.opt.opt.slow_weights())

    def after_validate(self) -> None:
        """Swap them out."""
        self.swapped.close()


class AveragedWeights(Callback):
    """Validate, and so keep, an exponential moving average of the weights.

    Batch-norm statistics are averaged likewise. Early on the decay is (1 + n) / (10 + n) after n
    steps where that is less, so that the random start is soon forgotten.

    Parameters
    ----------
    network : Module
        On its device.
    decay : float
        In (0, 1); the average reaches back some 1 / (1 − decay) steps.
    """

    order = SWAPPED

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.averaged = AveragedModel(network, multi_avg_fn=self._average, use_buffers=True)

    @torch.no_grad()
    def _average(self, averages: list[Tensor], values: list[Tensor], steps: Tensor) -> None:
        kept = ((1 + steps) / (10 + steps)).clamp(max=self.decay)
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value, 1 - kept)
            else:  # how many batches a norm has seen
                average.copy_(value)

    def after_step(self) -> None:
        """Take the step's weights into the average."""
        self.averaged.update_parameters(self.model)

    def before_validate(self) -> None:
        """Let the averaged network be validated."""
        self.fast = self.model
        self.learn.model = self.averaged.module.eval()

    def after_validate(self) -> None:
        """Go on training the other."""
        self.learn.model = self.fast
