"""What a training leaves on disk, and how it goes on from there."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from fastai.learner import Callback, CancelFitException, CancelValidException, Learner
from torch import Tensor

from ssinfnet.data.batches import subseed
from ssinfnet.training import checkpoints
from ssinfnet.training.fitting.callbacks import AveragedWeights
from ssinfnet.training.fitting.recipe import Recipe
from ssinfnet.training.fitting.writer import STATE, StateWriter, write_history
from ssinfnet.work import progress

__all__ = ["WEIGHTS", "Keeper", "readable"]

WEIGHTS = "weights.safetensors"


def readable(path: Path) -> checkpoints.Checkpoint | None:
    """Return a checkpoint of an earlier call, or None: one that is damaged is trained again."""
    if not path.is_file():
        return None
    try:
        return checkpoints.read(path)
    except ValueError as error:
        progress.say(f"starting over: {error}")
        return None


class Keeper(Callback):
    """Keep the best weights and, now and then, the whole training state; say how it goes.

    The state is one file: network, optimiser, moving average, the best weights so far and the
    history. Killed at any moment, a training goes on from the last whole one; the epochs after it
    are repeated, to the same weights.

    Parameters
    ----------
    writer : StateWriter
        Writer for the training's folder.
    run : dict
        What defines this run; a state of another run is not continued.
    recipe : Recipe
    averaged : AveragedWeights or None
    """

    order = 90  # after fastai's Recorder, which completes the epoch's losses

    def __init__(
        self,
        writer: StateWriter,
        run: dict[str, Any],
        recipe: Recipe,
        averaged: AveragedWeights | None,
    ) -> None:
        self.writer = writer
        self.folder = writer.folder
        self.kept_run = run
        self.recipe = recipe
        self.averaged = averaged
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Tensor] = {}
        self.start = 0

    def restore(self, learner: Learner) -> int:
        """Load the state in the folder if it is of this run; return the epoch to start at."""
        state = readable(self.folder / STATE)
        if state is None:
            return 0
        if state.description["run"] != self.kept_run:
            progress.say(f"the state in {self.folder} is of other settings or data; starting over")
            return 0
        learner.model.load_state_dict(_unprefixed(state.tensors, "network."))
        if self.averaged is not None:
            self.averaged.averaged.load_state_dict(_unprefixed(state.tensors, "averaged."))
        self.best = _unprefixed(state.tensors, "best.")
        _restore_optimiser(learner, _unprefixed(state.tensors, "optimiser."))
        self.history = state.description["history"]
        self.start = len(self.history)
        progress.say(f"resuming after epoch {self.start}")
        return self.start

    def before_epoch(self) -> None:
        """Tell the loader its epoch; stop where an earlier call stopped early."""
        self.dls.train.epoch = self.epoch
        torch.manual_seed(subseed(self.dls.train.seed, self.epoch))
        self.began = time.perf_counter()
        if self.epoch == self.start and self._out_of_patience():
            raise CancelFitException

    def after_train(self) -> None:
        """Refuse to go on with a loss that is not finite, before anything is written."""
        losses_of_epoch = torch.stack(self.recorder.smooth_loss.losses)
        if not losses_of_epoch.isfinite().all():
            bad = int(losses_of_epoch.isfinite().logical_not().nonzero()[0])
            raise ValueError(
                f"the loss is {losses_of_epoch[bad].item()} in epoch {self.epoch + 1}, batch "
                f"{bad + 1}; lower the learning rate"
            )

    def before_validate(self) -> None:
        """Skip the validation of all but every so many epochs and the last."""
        done = self.epoch + 1
        if done % self.recipe.validate_every and done < self.n_epoch:
            raise CancelValidException

    def after_validate(self) -> None:
        """Judge the epoch by what was validated, and keep that if it is the best so far."""
        _, train_loss, validation_loss, *scores = self.recorder.log
        row: dict[str, Any] = {
            "epoch": self.epoch + 1,
            "train_loss": train_loss,
            "validation_loss": None if self.recorder.cancel_valid else validation_loss,
        }
        if self.recipe.score is not None:
            (f1,) = scores
            row["validation_f1"] = None if math.isnan(f1) else f1
            row["best"] = self._is_best(row)
        if row.get("best", self.epoch == self.n_epoch - 1):
            self.best = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.row = row

    def after_epoch(self) -> None:
        """Record the epoch and, if it is time, write the state to go on from."""
        if self.epoch < self.start:
            return
        seconds = round(time.perf_counter() - self.began, 3)
        self.history.append({**self.row, "seconds": seconds})
        if self.writer.is_due():
            self._write_state()
        self._say()
        if self._out_of_patience():
            raise CancelFitException

    def finish(self) -> pd.DataFrame:
        """Write the history and the kept weights, drop the state and return the history."""
        self.writer.wait()
        write_history(self.folder, self.history)
        description = {"run": self.kept_run, "finished": True, "history": self.history}
        checkpoints.save(self.folder / WEIGHTS, self.best, description)
        (self.folder / STATE).unlink(missing_ok=True)
        return pd.DataFrame(self.history)

    def _is_best(self, row: dict[str, Any]) -> bool:
        """Return whether an epoch is to be kept: it ranks above all before it, or is the last."""
        if self.recipe.judged_over is None:
            return row["epoch"] == self.recipe.epochs
        if not _is_validated(row):
            return False
        earlier = [*filter(_is_validated, self.history)]
        bests = [number for number, known in enumerate(earlier, start=1) if known["best"]]
        # The last of the bests so far ranks above all others.
        return not bests or self._rank([*earlier, row]) > self._rank(earlier[: bests[-1]])

    def _rank(self, rows: list[dict[str, Any]]) -> tuple[float, float]:
        """Return what the last of some epochs is ranked by: mean F1, then the lower mean loss."""
        recent = rows[-self.recipe.judged_over :]
        # No F1 (no lesion anywhere) ranks below every number, and then the loss decides.
        f1 = [-1.0 if row["validation_f1"] is None else row["validation_f1"] for row in recent]
        loss = [row["validation_loss"] for row in recent]
        return sum(f1) / len(recent), -sum(loss) / len(recent)

    def _out_of_patience(self) -> bool:
        if self.recipe.patience is None:
            return False
        best = [row["best"] for row in self.history if _is_validated(row)]
        return len(best) > self.recipe.patience and not any(best[-self.recipe.patience :])

    def _write_state(self) -> None:
        parts = {"network": self.model.state_dict(), "best": self.best}
        if self.averaged is not None:
            parts["averaged"] = self.averaged.averaged.state_dict()
        for index, entries in self.opt.state_dict()["state"].items():
            parts[f"optimiser.{index}"] = entries
        tensors = {
            f"{part}.{name}": value for part, held in parts.items() for name, value in held.items()
        }
        self.writer.write(tensors, {"run": self.kept_run}, self.history)

    def _say(self) -> None:
        if progress.in_jupyter():  # fastai's table shows it
            return
        row = self.history[-1]
        text = f"epoch {row['epoch']}/{self.n_epoch}: train loss {row['train_loss']:.4f}"
        if _is_validated(row):
            text += f", validation loss {row['validation_loss']:.4f}"
        if _is_validated(row) and "validation_f1" in row:
            f1 = row["validation_f1"]
            text += f", validation F1 {'–' if f1 is None else format(f1, '.3f')}"
        best = ", best so far" if row.get("best") else ""
        progress.say(f"{text}, {row['seconds']:.1f} s{best}")


def _is_validated(row: Mapping[str, Any]) -> bool:
    return row["validation_loss"] is not None


def _unprefixed(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names start so, without that start."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _restore_optimiser(learner: Learner, tensors: Mapping[str, Tensor]) -> None:
    """Give a learner's optimiser stored moments, named `<number of the parameter>.<key>`."""
    parameters = [p for group in learner.opt.param_groups for p in group["params"]]
    optimiser = learner.opt.state_dict()
    optimiser["state"] = {}
    for name, value in tensors.items():
        index, key = name.split(".")
        if value.ndim == 4:
            # Fused Adam pairs moments and weights by memory, so both must lie alike.
            value = torch.empty_like(parameters[int(index)]).copy_(value)
        optimiser["state"].setdefault(int(index), {})[key] = value
    learner.opt.load_state_dict(optimiser)
