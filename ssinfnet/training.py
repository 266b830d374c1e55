"""Fit a network: fastai's training loop, fed from memory, resumable to the bit.

The only module that touches fastai. A run killed at any moment and started again ends with the
weights of an undisturbed one (same machine and thread count): see `batches` for why.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from fastai.callback.fp16 import AMPMode, MixedPrecision
from fastai.callback.progress import ProgressCallback
from fastai.callback.schedule import ParamScheduler
from fastai.data.core import DataLoaders
from fastai.learner import Callback, CancelFitException, Learner, Metric
from fastai.optimizer import OptimWrapper
from torch import Tensor, nn
from torch.optim import Optimizer

from ssinfnet import artifacts, checkpoints, progress
from ssinfnet.batches import Batches, SliceSet, subseed
from ssinfnet.optimizers import Lookahead

__all__ = ["Recipe", "SliceF1", "best_device", "finished", "fingerprint", "fit"]

WEIGHTS = "weights.safetensors"
STATE = "training.safetensors"
HISTORY = "history.csv"


@dataclass(frozen=True)
class Recipe:
    """How a network is fitted, whatever its data.

    Attributes
    ----------
    epochs : int
    optimiser : callable
        (parameters, lr) → Optimizer.
    rate : callable
        Share of the training that is done, 0 to 1 → learning rate.
    loss : callable
        (what the network returns, *targets) → scalar.
    score : callable or None
        (what the network returns, *targets) → predicted and true masks, (batch, classes, height,
        width) bool. The epoch with the best validation F1 is kept, ties by the lower validation
        loss (D-14). None keeps the last epoch.
    gradient_clamp : float or None
        Bound of each gradient entry.
    patience : int or None
        Epochs without a better one after which the training stops.
    """

    epochs: int
    optimiser: Callable[[Iterable[nn.Parameter], float], Optimizer]
    rate: Callable[[float], float]
    loss: Callable[..., Tensor]
    score: Callable[..., tuple[Tensor, Tensor]] | None = None
    gradient_clamp: float | None = None
    patience: int | None = None


def best_device() -> torch.device:
    """Return the CUDA device where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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
        predicted, true = self.masks(learn.pred, *learn.yb)
        twice_both = 2 * (predicted & true).sum((2, 3))
        self._scores.append(twice_both / (predicted.sum((2, 3)) + true.sum((2, 3))))

    @property
    def value(self) -> float:
        """The mean, NaN where no slice has lesion or prediction."""
        return torch.cat(self._scores).nanmean().item() if self._scores else math.nan

    @property
    def name(self) -> str:
        """Column name in fastai's table."""
        return "validation_f1"


def fit(
    network: nn.Module,
    train: Batches,
    validation: Batches,
    recipe: Recipe,
    *,
    folder: Path,
    described: dict[str, Any],
) -> pd.DataFrame:
    """Train a network, or go on where an earlier call was killed.

    Parameters
    ----------
    network : Module
        Already initialised; holds the kept weights afterwards.
    train, validation : Batches
        On the device to train on. On CUDA: bf16 autocast. Everywhere: channels-last.
    recipe : Recipe
    folder : Path
        Receives `weights.safetensors`, `history.csv` and, until finished, `training.safetensors`.
    described : dict
        What defines this run (study, model, settings, seed …), JSON-ready. A state found in
        `folder` is continued only if its description, start and data equal this run's.

    Returns
    -------
    DataFrame
        One row an epoch: epoch, train_loss, validation_loss, validation_f1 (where the recipe has
        a score), seconds, best.

    Raises
    ------
    ValueError
        If the loss stops being finite.
    """
    data = train.slices, validation.slices
    run = {**described, "start_and_data": fingerprint(network, *data)}
    if earlier := finished(folder / WEIGHTS, run):
        history = pd.DataFrame(earlier.description["history"])
    else:
        loaders = DataLoaders(train, validation)
        loaders.device = train.device
        cuda = [train.device] if train.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):  # a coach draws noise, seeded anew every epoch
            history = _train(network, loaders, recipe, Keeper(folder, run, recipe))
    checkpoints.load_weights(network, folder / WEIGHTS)
    return history


def fingerprint(network: nn.Module, train: SliceSet, validation: SliceSet) -> str:
    """Return a hash of the start and the data: a run of others is another run."""
    tensors = {f"start.{name}": value for name, value in network.state_dict().items()}
    for name, slices in (("train", train), ("validation", validation)):
        tensors |= {f"{name}.{key}": value for key, value in slices.tensors().items()}
    return checkpoints.digest(tensors)


def finished(weights: Path, run: dict[str, Any]) -> checkpoints.Checkpoint | None:
    """Return what an equal run has finished, or None."""
    stored = _readable(weights)
    if stored is None or stored.description["run"] != run or not stored.description["finished"]:
        return None
    progress.say("training finished earlier with the same settings; nothing to do")
    return stored


def _readable(path: Path) -> checkpoints.Checkpoint | None:
    """Return a checkpoint of an earlier call, or None: one that is damaged is trained again."""
    if not path.is_file():
        return None
    try:
        return checkpoints.read(path)
    except ValueError as error:
        progress.say(f"starting over: {error}")
        return None


def _train(
    network: nn.Module, loaders: DataLoaders, recipe: Recipe, keeper: Keeper
) -> pd.DataFrame:
    """Run the epochs that are left; return the history of all."""
    network.to(loaders.device, memory_format=torch.channels_last)
    callbacks: list[Callback] = [keeper, SlowWeights(), ParamScheduler({"lr": recipe.rate})]
    if recipe.gradient_clamp is not None:
        callbacks.append(ClampGradients(recipe.gradient_clamp))
    if loaders.device.type == "cuda":
        callbacks.append(Bf16(AMPMode.BF16))
    learner = Learner(
        loaders,
        network,
        loss_func=recipe.loss,
        opt_func=partial(OptimWrapper, opt=recipe.optimiser),
        lr=recipe.rate(0.0),
        metrics=[] if recipe.score is None else [SliceF1(recipe.score)],
        cbs=callbacks,
    )
    learner.create_opt()
    start = keeper.restore(learner)
    if not progress.in_jupyter():  # the keeper says a line an epoch instead
        learner.remove_cbs(ProgressCallback)
        learner.logger = lambda values: None
    learner.fit(recipe.epochs, lr=recipe.rate(0.0), start_epoch=start)
    return keeper.finish(learner)


class ClampGradients(Callback):
    """Clamp each gradient entry, as Inf-Net does; fastai's own callback clips the norm."""

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def before_step(self) -> None:
        """Clamp in place."""
        nn.utils.clip_grad_value_(self.model.parameters(), self.bound)


class Bf16(MixedPrecision):
    """Fastai's bf16 autocast for networks that return a named tuple of logits."""

    def after_pred(self) -> None:
        """Compute the losses in float32."""
        self.learn.pred = type(self.pred)(*(logits.float() for logits in self.pred))


class SlowWeights(Callback):
    """Validate with Lookahead's slow weights, where the optimiser is Lookahead."""

    order = 95  # gives the fast weights back after the keeper has taken the slow ones

    def before_validate(self) -> None:
        """Swap them in."""
        self.swapped = ExitStack()
        if isinstance(self.opt.opt, Lookahead):
            self.swapped.enter_context(self.opt.opt.slow_weights())

    def after_validate(self) -> None:
        """Swap them out."""
        self.swapped.close()


class Keeper(Callback):
    """Keep the best weights and, every epoch, the whole training state; say how it goes.

    Order: the weights of a better epoch are written before the state that names it. Killed in
    between, the epoch runs again from the earlier state and writes the same weights.
    """

    order = 90  # after fastai's Recorder, which completes the epoch's losses

    def __init__(self, folder: Path, run: dict[str, Any], recipe: Recipe) -> None:
        self.folder = folder
        self.kept_run = run
        self.recipe = recipe
        self.history: list[dict[str, Any]] = []
        self.start = 0

    def restore(self, learner: Learner) -> int:
        """Load the state in the folder if it is of this run; return the epoch to start at."""
        state = _readable(self.folder / STATE)
        if state is None:
            return 0
        if state.description["run"] != self.kept_run:
            progress.say(f"the state in {self.folder} is of other settings or data; starting over")
            return 0
        network = {
            name.removeprefix("network."): value
            for name, value in state.tensors.items()
            if name.startswith("network.")
        }
        learner.model.load_state_dict(network)
        parameters = [p for group in learner.opt.param_groups for p in group["params"]]
        optimiser = learner.opt.state_dict()
        optimiser["state"] = {}
        for name, value in state.tensors.items():
            if name.startswith("optimiser."):
                _, index, key = name.split(".")
                if value.ndim == 4:
                    # Fused Adam pairs moments and weights by memory, so both must lie alike.
                    value = torch.empty_like(parameters[int(index)]).copy_(value)
                optimiser["state"].setdefault(int(index), {})[key] = value
        learner.opt.load_state_dict(optimiser)
        self.history = state.description["history"]
        self.start = len(self.history)
        progress.say(f"resuming after epoch {self.start}")
        return self.start

    def before_epoch(self) -> None:
        """Tell the loader its epoch; stop where an earlier call stopped early."""
        self.dls.train.epoch = self.epoch
        torch.manual_seed(subseed(self.dls.train.seed, self.epoch))
        self.batch_losses: list[Tensor] = []
        self.began = time.perf_counter()
        if self.epoch == self.start and self._out_of_patience():
            raise CancelFitException

    def after_batch(self) -> None:
        """Collect training losses without waiting for the device.

        Fastai's own figure is smoothed over earlier epochs, which a resumed run has not seen.
        """
        if self.training:
            self.batch_losses.append(self.loss.detach())

    def after_train(self) -> None:
        """Refuse to go on with a loss that is not finite, before anything is written."""
        if not self.batch_losses:  # an epoch that an earlier call has done
            return
        losses_of_epoch = torch.stack(self.batch_losses)
        if not losses_of_epoch.isfinite().all():
            bad = int(losses_of_epoch.isfinite().logical_not().nonzero()[0])
            raise ValueError(
                f"the loss is {losses_of_epoch[bad].item()} in epoch {self.epoch + 1}, batch "
                f"{bad + 1}; lower the learning rate"
            )
        self.train_loss = losses_of_epoch.mean().item()

    def after_validate(self) -> None:
        """Judge the epoch by what was validated, and keep that if it is the best so far."""
        if self.epoch < self.start:
            return
        _, _, validation_loss, *scores = self.recorder.log
        row: dict[str, Any] = {
            "epoch": self.epoch + 1,
            "train_loss": self.train_loss,
            "validation_loss": float(validation_loss),
        }
        if self.recipe.score is not None:
            (f1,) = scores
            row["validation_f1"] = None if math.isnan(f1) else f1
            row["best"] = all(self._rank(row) > self._rank(earlier) for earlier in self.history)
            if row["best"]:
                self._write_weights(self.model.state_dict(), finished=False)
        self.row = row

    def after_epoch(self) -> None:
        """Record the epoch and write the state to go on from."""
        if self.epoch < self.start:
            return
        seconds = round(time.perf_counter() - self.began, 3)
        self.history.append({**self.row, "seconds": seconds})
        self._write_state()
        self._say()
        if self._out_of_patience():
            raise CancelFitException

    def finish(self, learner: Learner) -> pd.DataFrame:
        """Mark the kept weights as final, drop the state and return the history."""
        if self.recipe.score is None:
            kept = learner.model.state_dict()
        else:
            kept = checkpoints.read(self.folder / WEIGHTS).tensors
        self._write_weights(kept, finished=True)
        (self.folder / STATE).unlink(missing_ok=True)
        return pd.DataFrame(self.history)

    @staticmethod
    def _rank(row: dict[str, Any]) -> tuple[float, float]:
        # No F1 (no lesion anywhere) ranks below every number, and then the loss decides.
        f1 = row["validation_f1"]
        return (-1.0 if f1 is None else f1, -row["validation_loss"])

    def _out_of_patience(self) -> bool:
        if self.recipe.patience is None or not self.history:
            return False
        last_best = max(row["epoch"] for row in self.history if row["best"])
        return self.history[-1]["epoch"] - last_best >= self.recipe.patience

    def _write_weights(self, tensors: dict[str, Tensor], *, finished: bool) -> None:
        description: dict[str, Any] = {"run": self.kept_run, "finished": finished}
        if finished:
            description["history"] = self.history
        checkpoints.save(self.folder / WEIGHTS, tensors, description)

    def _write_state(self) -> None:
        tensors = {f"network.{name}": value for name, value in self.model.state_dict().items()}
        for index, entries in self.opt.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{key}": value for key, value in entries.items()}
        description = {"run": self.kept_run, "history": self.history}
        checkpoints.save(self.folder / STATE, tensors, description)
        artifacts.write_text(self.folder / HISTORY, pd.DataFrame(self.history).to_csv(index=False))

    def _say(self) -> None:
        if progress.in_jupyter():  # fastai's table shows it
            return
        row = self.history[-1]
        text = (
            f"epoch {row['epoch']}/{self.n_epoch}: train loss {row['train_loss']:.4f}, validation "
            f"loss {row['validation_loss']:.4f}"
        )
        if "validation_f1" in row:
            f1 = row["validation_f1"]
            text += f", validation F1 {'–' if f1 is None else format(f1, '.3f')}"
        best = ", best so far" if row.get("best") else ""
        progress.say(f"{text}, {row['seconds']:.1f} s{best}")
