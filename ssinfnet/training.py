"""Fit a network: fastai's training loop, fed from memory, resumable to the bit.

The only module that touches fastai. A run killed at any moment and started again ends with the
weights of an undisturbed one (same machine and thread count): see `batches` for why.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from fastai.callback.fp16 import AMPMode, MixedPrecision
from fastai.callback.progress import ProgressCallback
from fastai.callback.schedule import ParamScheduler, SchedCos
from fastai.data.core import DataLoaders
from fastai.learner import Callback, CancelFitException, Learner, Metric
from fastai.optimizer import OptimWrapper
from torch import Tensor, nn

from ssinfnet import artifacts, checkpoints, losses, progress
from ssinfnet.batches import Batches, SliceSet, intensity
from ssinfnet.config import TrainingConfig

__all__ = ["SliceF1", "best_device", "fit", "single_loss"]

WEIGHTS = "weights.safetensors"
STATE = "training.safetensors"
HISTORY = "history.csv"


def best_device() -> torch.device:
    """Return the CUDA device where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def single_loss(prediction: Any, lesion: Tensor, edge: Tensor) -> Tensor:
    """Return J eq 5 for the output of any stage-1 network."""
    edge_map = getattr(prediction, "edge", None)
    return losses.stage1_loss(prediction.segmentations, lesion, edge_map, edge)


class SliceF1(Metric):
    """Mean F1 over slices at probability 0.5 and network size; slices without any are left out."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all slices."""
        self._scores: list[Tensor] = []

    def accumulate(self, learn: Learner) -> None:
        """Add a batch."""
        predicted = learn.pred.segmentations[-1] > 0
        lesion = learn.yb[0] > 0.5
        twice_both = 2 * (predicted & lesion).sum((1, 2, 3))
        self._scores.append(twice_both / (predicted.sum((1, 2, 3)) + lesion.sum((1, 2, 3))))

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
    train: SliceSet,
    validation: SliceSet,
    config: TrainingConfig,
    *,
    seed: int,
    folder: Path,
    described: dict[str, Any],
    device: torch.device | None = None,
    loss: Callable[..., Tensor] = single_loss,
) -> pd.DataFrame:
    """Train a network, or go on where an earlier call was killed; leave its best weights.

    Parameters
    ----------
    network : Module
        Already initialised; holds the best validation weights afterwards.
    train, validation : SliceSet
        Of different patients (D-01); the best epoch is the one with the highest validation F1,
        ties by the lower validation loss (D-14).
    config : TrainingConfig
    seed : int
        Order and augmentation of every epoch derive from it.
    folder : Path
        Receives `weights.safetensors`, `history.csv` and, until finished, `training.safetensors`.
    described : dict
        What defines this run (study, model, width …), JSON-ready. A state found in `folder` is
        continued only if its description, data and settings equal this run's.
    device : torch.device or None
        `best_device()` if None. On CUDA: bf16 autocast and channels-last.
    loss : callable
        (prediction, lesion, edge) → scalar.

    Returns
    -------
    DataFrame
        One row an epoch: epoch, train_loss, validation_loss, validation_f1, seconds, best.

    Raises
    ------
    ValueError
        If a set is empty, or the loss stops being finite.
    """
    for name, slices in (("training", train), ("validation", validation)):
        if not len(slices):
            raise ValueError(f"the {name} set is empty; see the split in 01_data_split")
    device = device or best_device()
    run = {
        **described,
        "training": config.model_dump(mode="json"),
        "seed": seed,
        "intensity": intensity(train),
        "start_and_data": _fingerprint(network, train, validation),
    }
    history = _finished(folder / WEIGHTS, run)
    if history is None:
        batches = partial(
            Batches, statistics=run["intensity"], config=config, seed=seed, device=device
        )
        loaders = DataLoaders(batches(train, train=True), batches(validation, train=False))
        loaders.device = device
        keeper = Keeper(folder, run, config.patience)
        history = _train(network, loaders, config, keeper, loss)
    checkpoints.load_weights(network, folder / WEIGHTS)
    return history


def _fingerprint(network: nn.Module, train: SliceSet, validation: SliceSet) -> str:
    """Return a hash of the random start and the data: a run of others is another run."""
    tensors = {
        "train_images": train.images, "train_lesions": train.lesions,
        "validation_images": validation.images, "validation_lesions": validation.lesions,
        **{f"start.{name}": value for name, value in network.state_dict().items()},
    }  # fmt: skip
    return checkpoints.digest(tensors)


def _finished(weights: Path, run: dict[str, Any]) -> pd.DataFrame | None:
    """Return the history of a finished equal run, or None."""
    stored = _readable(weights)
    if stored is None or stored.description["run"] != run or not stored.description["finished"]:
        return None
    progress.say("training finished earlier with the same settings; nothing to do")
    return pd.DataFrame(stored.description["history"])


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
    network: nn.Module,
    loaders: DataLoaders,
    config: TrainingConfig,
    keeper: Keeper,
    loss: Callable[..., Tensor],
) -> pd.DataFrame:
    """Run the epochs that are left; return the history of all."""
    device = loaders.device
    network.to(device, memory_format=torch.channels_last)
    callbacks: list[Callback] = [keeper, ClampGradients(config.gradient_clamp)]
    if config.schedule == "cosine":
        callbacks.append(ParamScheduler({"lr": SchedCos(config.learning_rate, 0.0)}))
    if device.type == "cuda":
        callbacks.append(Bf16(AMPMode.BF16))
    learner = Learner(
        loaders,
        network,
        loss_func=loss,
        opt_func=partial(OptimWrapper, opt=partial(torch.optim.Adam, fused=True)),
        lr=config.learning_rate,
        metrics=[SliceF1()],
        cbs=callbacks,
    )
    learner.create_opt()
    start = keeper.restore(learner)
    if not progress.in_jupyter():  # the keeper says a line an epoch instead
        learner.remove_cbs(ProgressCallback)
        learner.logger = lambda values: None
    learner.fit(config.epochs, lr=config.learning_rate, start_epoch=start)
    return keeper.finish()


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


class Keeper(Callback):
    """Keep the best weights and, every epoch, the whole training state; say how it goes.

    Order: the weights of a better epoch are written before the state that names it. Killed in
    between, the epoch runs again from the earlier state and writes the same weights.
    """

    order = 90  # after fastai's Recorder, which completes the epoch's losses

    def __init__(self, folder: Path, run: dict[str, Any], patience: int | None) -> None:
        self.folder = folder
        self.kept_run = run
        self.patience = patience
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
                f"{bad + 1}; lower training.learning_rate"
            )
        self.train_loss = losses_of_epoch.mean().item()

    def after_epoch(self) -> None:
        """Record the epoch and write what must survive."""
        if self.epoch < self.start:
            return
        _, validation_loss, f1 = (float(value) for value in self.recorder.values[-1])
        best = self._rank(f1, validation_loss) > max(
            (self._rank(row["validation_f1"], row["validation_loss"]) for row in self.history),
            default=(-2.0, 0.0),
        )
        self.history.append(
            {
                "epoch": self.epoch + 1,
                "train_loss": self.train_loss,
                "validation_loss": validation_loss,
                "validation_f1": None if math.isnan(f1) else f1,
                "seconds": round(time.perf_counter() - self.began, 3),
                "best": best,
            }
        )
        if best:
            self._write_weights(self.model.state_dict(), finished=False)
        self._write_state()
        self._say()
        if self._out_of_patience():
            raise CancelFitException

    def finish(self) -> pd.DataFrame:
        """Mark the best weights as final, drop the state and return the history."""
        best = checkpoints.read(self.folder / WEIGHTS)
        self._write_weights(best.tensors, finished=True)
        (self.folder / STATE).unlink(missing_ok=True)
        return pd.DataFrame(self.history)

    @staticmethod
    def _rank(f1: float | None, validation_loss: float) -> tuple[float, float]:
        # A NaN F1 (no lesion anywhere) ranks below every number, and then the loss decides.
        known = f1 is not None and not math.isnan(f1)
        return (f1 if known else -1.0, -validation_loss)

    def _out_of_patience(self) -> bool:
        if self.patience is None or not self.history:
            return False
        last_best = max(row["epoch"] for row in self.history if row["best"])
        return self.history[-1]["epoch"] - last_best >= self.patience

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
        f1 = "–" if row["validation_f1"] is None else f"{row['validation_f1']:.3f}"
        progress.say(
            f"epoch {row['epoch']}/{self.n_epoch}: train loss {row['train_loss']:.4f}, validation "
            f"loss {row['validation_loss']:.4f}, validation F1 {f1}, {row['seconds']:.1f} s"
            + (", best so far" if row["best"] else "")
        )
