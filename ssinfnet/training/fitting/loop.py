"""One training from its start, or from where an earlier call was killed, to its kept weights."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from fastai.callback.core import TrainEvalCallback
from fastai.callback.progress import ProgressCallback
from fastai.callback.schedule import ParamScheduler
from fastai.data.core import DataLoaders
from fastai.learner import Callback, Learner
from fastai.optimizer import OptimWrapper
from torch import nn

from ssinfnet import networks
from ssinfnet.data.batches import Batches, SliceSet
from ssinfnet.training import checkpoints
from ssinfnet.training.fitting.callbacks import AveragedWeights, EpochRecorder, SliceF1, SlowWeights
from ssinfnet.training.fitting.keeper import WEIGHTS, Keeper, readable
from ssinfnet.training.fitting.recipe import Recipe
from ssinfnet.training.fitting.step import GraphedStep, Step
from ssinfnet.training.fitting.writer import StateWriter
from ssinfnet.work import progress

__all__ = ["best_device", "fingerprint", "finished", "fit"]

GRAPHS = True  # on CUDA: steps are recorded and replayed; False does them one operation at a time


class StepLearner(Learner):
    """Fastai's learner with all of a training step in one object, `one_step`."""

    one_step: Step

    def _do_one_batch(self) -> None:
        """Learn from a batch, or judge by it."""
        if self.training:
            self.loss = self.one_step(self.xb, self.yb)
        else:
            self.pred, self.loss = self.one_step.judge(self.model, self.xb, self.yb)


def best_device() -> torch.device:
    """Return the CUDA device where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fit(
    network: nn.Module,
    train: Batches,
    validation: Batches,
    recipe: Recipe,
    *,
    folder: Path,
    identity: dict[str, Any],
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
    identity : dict
        What defines this run (study, model, settings, seed …), JSON-ready. A state found in
        `folder` is continued only if its identity, start and data equal this run's.

    Returns
    -------
    DataFrame
        One row an epoch: epoch, train_loss, validation_loss (NaN where the epoch was not
        validated), validation_f1 (where the recipe has a score), seconds, best.

    Raises
    ------
    ValueError
        If the loss stops being finite.
    OSError
        If a state cannot be written, such as on a full disk.
    """
    data = train.slices, validation.slices
    run = {**identity, "start_and_data": fingerprint(network, *data)}
    if earlier := finished(folder / WEIGHTS, run):
        history = pd.DataFrame(earlier.description["history"])
    else:
        loaders = DataLoaders(train, validation)
        loaders.device = train.device
        cuda = [train.device] if train.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):  # a coach draws noise, seeded anew every epoch
            size = sum(value.nbytes for value in network.state_dict().values())
            # A state holds the network, its best weights and two moments.
            with StateWriter(folder, recipe.state_seconds, 4 * size) as writer:
                history = _train(network, loaders, recipe, writer, run)
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
    stored = readable(weights)
    if stored is None or stored.description["run"] != run or not stored.description["finished"]:
        return None
    progress.say("training finished earlier with the same settings; nothing to do")
    return stored


def _train(
    network: nn.Module,
    loaders: DataLoaders,
    recipe: Recipe,
    writer: StateWriter,
    run: dict[str, Any],
) -> pd.DataFrame:
    """Run the epochs that are left; return the history of all."""
    networks.to_device(network, loaders.device)
    averaged = recipe.averaging and AveragedWeights(network, recipe.averaging)
    keeper = Keeper(writer, run, recipe, averaged)
    callbacks: list[Callback] = [
        TrainEvalCallback(),
        EpochRecorder(),
        keeper,
        SlowWeights(),
        ParamScheduler({"lr": recipe.rate}),
        *([averaged] if averaged else []),
        *([ProgressCallback()] if progress.in_jupyter() else []),  # else the keeper says a line
    ]
    learner = StepLearner(
        loaders,
        network,
        loss_func=recipe.loss,
        opt_func=partial(OptimWrapper, opt=recipe.optimiser),
        lr=recipe.rate(0.0),
        metrics=[] if recipe.score is None else [SliceF1(recipe.score)],
        cbs=callbacks,
        default_cbs=False,
    )
    learner.create_opt()
    start = keeper.restore(learner)
    cuda = loaders.device.type == "cuda"
    learner.one_step = (GraphedStep if cuda and GRAPHS else Step)(
        network,
        recipe.loss,
        learner.opt.opt,
        clamp=recipe.gradient_clamp,
        norm=recipe.gradient_norm,
        averaging=averaged.update if averaged else None,
        bf16=cuda,
    )
    if not progress.in_jupyter():
        learner.logger = lambda values: None
    learner.fit(recipe.epochs, lr=recipe.rate(0.0), start_epoch=start)
    return keeper.finish()
