"""Network and coach by turns, resumable as any training is (D-21, D-34)."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from ssinfnet import networks
from ssinfnet.data.batches import SliceSet, grey_rule, refuse_empty, subseed
from ssinfnet.storage import artifacts
from ssinfnet.study.config import PretextConfig
from ssinfnet.training import checkpoints, fitting
from ssinfnet.training.pretext.task import Task, Turn, assess, examples
from ssinfnet.training.runs import Run
from ssinfnet.work import progress

__all__ = ["COACH_WEIGHTS", "Pretrained", "pretrain"]

COACH_WEIGHTS = "coach.safetensors"
HISTORY = "history.parquet"
ASSESSMENT = "assessment.parquet"
EXAMPLES = "examples.npz"


@dataclass(frozen=True)
class Pretrained:
    """The history, assessment and examples of a pretraining, beside its weights.

    Attributes
    ----------
    history : DataFrame
        One row an epoch: phase (1, 2, …), train ("network" or "coach"), and the columns of
        `fitting.fit`; the losses are L_rec and L_coach = 1 − L_rec.
    assessment : DataFrame
        After each phase: phase, train, and the columns of `assess`.
    examples : dict
        Arrays (n, size, size) float32 in units of the normalised slice: "slice", and after each
        phase "<phase>.mask" and "<phase>.restored".
    """

    history: pd.DataFrame
    assessment: pd.DataFrame
    examples: dict[str, NDArray[np.float32]]


def pretrain(
    network: nn.Module,
    coach: networks.Coach,
    train: SliceSet,
    validation: SliceSet,
    config: PretextConfig,
    *,
    run: Run,
    folder: Path,
    device: torch.device | None = None,
) -> Pretrained:
    """Train network and coach by turns, or go on where an earlier call was killed.

    Every phase is a training of its own that starts from the weights the phase before left, so
    the whole alternation resumes as a training does. Before the first phase of the coach masks
    are random at the same share.

    Parameters
    ----------
    network : Module
        With reconstructing heads; holds the pretrained weights afterwards.
    coach : Coach
        With as many input channels as the network.
    train, validation : SliceSet
        Slices of different patients; with priors where the network reads them. Labels are not used.
    config : PretextConfig
    run : Run
        What is trained, without a model; all that is drawn derives from its seed.
    folder : Path
        Receives `weights.safetensors`, `coach.safetensors`, history, assessment and examples and,
        until finished, a folder a phase.
    device : torch.device or None
        `fitting.best_device()` if None.

    Raises
    ------
    ValueError
        If a set is empty, or a loss stops being finite.
    """
    refuse_empty(train, validation)
    device = device or fitting.best_device()
    task = Task(config, "edge.head" in network.heads, device)
    identity = {
        **run.record(),
        "pretext": config.identity(),
        "grey": grey_rule(tells_classes=train.priors is not None),
        "start_and_data": fitting.fingerprint(network, train, validation),
    }
    if fitting.finished(folder / fitting.WEIGHTS, identity):
        checkpoints.load_weights(network, folder / fitting.WEIGHTS)
        checkpoints.load_weights(coach, folder / COACH_WEIGHTS)
        return _read(folder)
    held_out = task.batches(validation, run.seed)
    coached = False
    histories, assessments = [], []
    shown: dict[str, NDArray[np.float32]] = {}
    for number, phase in enumerate(config.phases, start=1):
        coached |= phase.train == "coach"
        progress.say(f"phase {number} of {len(config.phases)}: the {phase.train} learns")
        turn = Turn(network, coach if coached else None, phase.train, config, device)
        history = fitting.fit(
            turn,
            task.batches(train, subseed(run.seed, number), config.augmentation),
            held_out,
            task.recipe(phase),
            folder=folder / f"phase{number:02d}",
            identity={**identity, "phase": number, "fixed": turn.digest_of_fixed()},
        )
        of_phase = {"phase": number, "train": phase.train}
        histories.append(history.assign(**of_phase))
        assessments.append(assess(turn, held_out, task).assign(**of_phase))
        shown |= examples(turn, held_out, task, f"phase{number:02d}")
    result = Pretrained(
        pd.concat(histories, ignore_index=True), pd.concat(assessments, ignore_index=True), shown
    )
    _write(folder, result, network, coach, identity)
    network.requires_grad_(True)  # a last turn of the coach's has left it fixed
    return result


def _write(
    folder: Path, left: Pretrained, network: nn.Module, coach: nn.Module, identity: dict[str, Any]
) -> None:
    """Write what is left, the weights last, since they say that all is there."""
    made = {"run": identity}
    artifacts.write_table(folder / HISTORY, left.history, made)
    artifacts.write_table(folder / ASSESSMENT, left.assessment, made)
    artifacts.write_arrays(folder / EXAMPLES, left.examples, made)
    checkpoints.save(folder / COACH_WEIGHTS, coach.state_dict(), made)
    checkpoints.save(folder / fitting.WEIGHTS, network.state_dict(), {**made, "finished": True})
    for phase in folder.glob("phase*"):
        shutil.rmtree(phase)


def _read(folder: Path) -> Pretrained:
    return Pretrained(
        artifacts.read_table(folder / HISTORY),
        artifacts.read_table(folder / ASSESSMENT),
        artifacts.read_arrays(folder / EXAMPLES),
    )
