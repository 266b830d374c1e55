"""What happens around the steps of a training: averages and scores."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import ExitStack

import torch
from fastai.learner import Callback, Learner, Metric, Recorder
from fastai.torch_core import find_bs
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ssinfnet.training.optimizers import Lookahead

__all__ = ["AveragedWeights", "EpochRecorder", "MeanLoss", "SliceF1", "SlowWeights", "slice_f1"]

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


class MeanLoss(Metric):
    """Mean loss over the slices of an epoch, which waits for the device when it is asked for."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self.losses: list[Tensor] = []
        self.sizes: list[int] = []

    def accumulate(self, learn: Learner) -> None:
        """Add a batch."""
        self.losses.append(learn.loss.detach())
        self.sizes.append(find_bs(learn.yb))

    @property
    def value(self) -> float:
        """The mean, NaN where there was no batch."""
        if not self.losses:
            return math.nan
        total, losses = sum(self.sizes), torch.stack(self.losses).tolist()
        return sum(size / total * loss for size, loss in zip(self.sizes, losses, strict=True))

    @property
    def count(self) -> int:
        """Batches so far, which fastai's recorder notes."""
        return len(self.losses)

    @property
    def name(self) -> str:
        """Column name in fastai's table."""
        return "loss"


class EpochRecorder(Recorder):
    """Fastai's recorder of losses and scores, which waits for the device once an epoch.

    Fastai's own copies the loss to the processor after every step, to smooth it over earlier
    epochs, which a resumed run has not seen.
    """

    name = "recorder"  # by which fastai's table looks for it

    def __init__(self) -> None:
        super().__init__()
        self.smooth_loss, self.loss = MeanLoss(), MeanLoss()

    def before_train(self) -> None:
        """Forget the epoch before."""
        self.smooth_loss.reset()

    def after_batch(self) -> None:
        """Add a batch to what is averaged."""
        for metric in [self.smooth_loss] if self.training else self._valid_mets:
            metric.accumulate(self.learn)

    def after_validate(self) -> None:
        """Note losses and scores, NaN where the epoch was not validated."""
        if self.cancel_valid:
            self.log += [math.nan] * (1 + len(self.metrics))
        else:
            super().after_validate()


class SlowWeights(Callback):
    """Validate with Lookahead's slow weights, where the optimiser is Lookahead."""

    order = SWAPPED

    def before_fit(self) -> None:
        """Note that nothing is swapped: an epoch may not be validated."""
        self.swapped = ExitStack()

    def before_validate(self) -> None:
        """Swap them in."""
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
        self.averaged = AveragedModel(network, use_buffers=True)

    def before_fit(self) -> None:
        """Pair the averages with the tensors of the network that learns."""
        self.fast = self.model
        pairs = list(zip(_tensors(self.averaged.module), _tensors(self.fast), strict=True))
        self.floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self.counts = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Take a step's weights into the average.

        PyTorch's `update_parameters` copies the count of steps to the device, and waits for that.
        """
        steps = int(self.averaged.n_averaged)  # on the processor
        kept = min((1 + steps) / (10 + steps), self.decay) if steps else 0.0
        torch._foreach_lerp_(*map(list, zip(*self.floats, strict=True)), 1 - kept)
        if self.counts:  # how many batches each norm has seen
            torch._foreach_copy_(*map(list, zip(*self.counts, strict=True)))
        self.averaged.n_averaged += 1

    def before_validate(self) -> None:
        """Let the averaged network be validated."""
        self.learn.model = self.averaged.module.eval()

    def after_validate(self) -> None:
        """Go on training the other."""
        self.learn.model = self.fast


def _tensors(network: nn.Module) -> list[Tensor]:
    """Return parameters and buffers, not detached, in one order."""
    return [*network.parameters(), *network.buffers()]
