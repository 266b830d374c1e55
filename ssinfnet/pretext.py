"""Pretraining by inpainting: masks, the task, and the alternation of network and coach.

J eq 1–3 and Algorithm 1 of S; spec §3, D-10, D-11, D-21, D-22. The network restores what a mask
has erased; the coach learns masks that make this hard, under the constraint that a fixed share of
the slice is kept.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from ssinfnet import artifacts, checkpoints, losses, networks, progress, training
from ssinfnet.batches import COACH_STRIDE, Batches, SliceSet, inpainting_view, intensity
from ssinfnet.config import AugmentationConfig, PhaseConfig, PretextConfig

__all__ = [
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

COACH_WEIGHTS = "coach.safetensors"
HISTORY = "history.parquet"
ASSESSMENT = "assessment.parquet"
EXAMPLES = "examples.npz"
EXAMPLE_SLICES = 3
LOCAL_MEAN_CELLS = 3  # cells a side of the square whose kept pixels fill an erased one
FALLS_AT = (0.4, 0.8, 0.9)  # shares of a phase at which the network's rate falls tenfold (D-22)


def hard_mask(scores: Tensor, kept: float) -> Tensor:
    """Keep exactly the share `kept` of the cells, those with the highest scores (J eq 3, α → ∞).

    Parameters
    ----------
    scores : (batch, 1, cells, cells) float tensor
        The coach's, or random ones.
    kept : float
        k in (0, 1); ⌊k·cells² + ½⌋ cells are kept, at least one and not all. Among equal scores
        the cell nearer to the top left is kept.

    Returns
    -------
    (batch, 1, cells, cells) float tensor of 0 (erased) and 1 (kept)
    """
    flat = scores.flatten(1)
    order = flat.argsort(dim=1, descending=True, stable=True)
    mask = torch.zeros_like(flat)
    mask.scatter_(1, order[:, : _count(flat.shape[1], kept)], 1.0)
    return mask.view_as(scores)


def soft_mask(scores: Tensor, kept: float, sharpness: float = 1.0) -> Tensor:
    """Return M = σ(α·B̂), B̂ the scores less their k-th largest (J eq 2, 3).

    Parameters
    ----------
    scores : (batch, 1, cells, cells) float tensor
    kept : float
        As for `hard_mask`.
    sharpness : float
        α; 1 while the coach trains.

    Returns
    -------
    (batch, 1, cells, cells) float tensor in (0, 1), at least ½ where `hard_mask` keeps
    """
    flat = scores.flatten(1)
    last_kept = flat.topk(_count(flat.shape[1], kept), dim=1).values[:, -1:]
    return torch.sigmoid(sharpness * (flat - last_kept)).view_as(scores)


def _count(cells: int, kept: float) -> int:
    return min(max(math.floor(kept * cells + 0.5), 1), cells - 1)


class Inpainted(NamedTuple):
    """What the task gives for a batch."""

    restored: Tensor  # (batch, outputs, channels, size, size): coarse to fine, then the edge's
    mask: Tensor  # (batch, 1, size, size): 1 kept, 0 erased
    divergence: Tensor  # (batch,): of the coach's bottleneck; 0 under random masks


class Turn(nn.Module):
    """The inpainting task with one of its two networks learning and the other fixed.

    Parameters
    ----------
    network : Module
        With reconstructing heads (`networks.swap_heads`).
    coach : Coach or None
        None: masks are cut from the random scores of the batch.
    learner : {"network", "coach"}
    kept : float
        k of J eq 2.
    device : torch.device
        To which both are moved.
    """

    def __init__(
        self,
        network: nn.Module,
        coach: networks.Coach | None,
        learner: str,
        kept: float,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.learner = network if learner == "network" else coach
        # In a tuple, so that the fixed one is neither trained nor stored with this turn.
        self.pair = (network, coach)
        self.kept = kept
        for part in self.pair:
            if part is not None:
                part.to(device, memory_format=torch.channels_last).eval()
                part.requires_grad_(part is self.learner)

    def digest_of_fixed(self) -> str | None:
        """Return a hash of the fixed network's weights, None where there is none."""
        fixed = [part for part in self.pair if part is not None and part is not self.learner]
        return checkpoints.digest(fixed[0].state_dict()) if fixed else None

    def forward(self, given: Tensor, random_scores: Tensor) -> Inpainted:
        """Mask (batch, channels, size, size) and restore it.

        While the coach learns its mask is soft, and gradients reach it through the masked slice,
        the fixed network and the weights of the error (D-10). Otherwise masks are hard.
        """
        network, coach = self.pair
        if coach is None:
            scores, divergence = random_scores, given.new_zeros(len(given))
        else:
            scores, divergence = coach(given)
        coach_learns = self.learner is coach and self.training
        cut = soft_mask if coach_learns else hard_mask
        mask = F.interpolate(cut(scores, self.kept), size=given.shape[-2:], mode="nearest")
        restored = network(given * mask)
        return Inpainted(torch.stack(tuple(restored), dim=1), mask, divergence)


@dataclass(frozen=True)
class Pretrained:
    """What pretraining leaves beside the weights.

    Attributes
    ----------
    history : DataFrame
        One row an epoch: phase (1, 2, …), train ("network" or "coach"), and the columns of
        `training.fit`; the losses are L_rec and L_coach = 1 − L_rec.
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
    seed: int,
    folder: Path,
    described: dict[str, Any],
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
        Of different patients; with priors where the network reads them. Labels are not used.
    config : PretextConfig
    seed : int
    folder : Path
        Receives `weights.safetensors`, `coach.safetensors`, history, assessment and examples and,
        until finished, a folder a phase.
    described : dict
        What defines this run, JSON-ready.
    device : torch.device or None
        `training.best_device()` if None.

    Raises
    ------
    ValueError
        If a set is empty, or a loss stops being finite.
    """
    training.refuse_empty(train, validation)
    device = device or training.best_device()
    task = Task(config, "edge.head" in network.heads, intensity(train), device)
    run = {
        **described,
        "pretext": config.model_dump(mode="json"),
        "seed": seed,
        "intensity": task.statistics,
        "start_and_data": training.fingerprint(network, train, validation),
    }
    if training.finished(folder / training.WEIGHTS, run):
        checkpoints.load_weights(network, folder / training.WEIGHTS)
        checkpoints.load_weights(coach, folder / COACH_WEIGHTS)
        return _read(folder)
    held_out = task.batches(validation, seed)
    coached = False
    histories, assessments, examples = [], [], {}
    for number, phase in enumerate(config.phases, start=1):
        coached |= phase.train == "coach"
        progress.say(f"phase {number} of {len(config.phases)}: the {phase.train} learns")
        turn = Turn(network, coach if coached else None, phase.train, config.kept, device)
        history = training.fit(
            turn,
            task.batches(train, training.subseed(seed, number), config.augmentation),
            held_out,
            task.recipe(phase),
            folder=folder / f"phase{number:02d}",
            described={**run, "phase": number, "fixed": turn.digest_of_fixed()},
        )
        of_phase = {"phase": number, "train": phase.train}
        histories.append(history.assign(**of_phase))
        assessments.append(assess(turn, held_out, task).assign(**of_phase))
        examples |= _examples(turn, held_out, f"phase{number:02d}")
    left = Pretrained(
        pd.concat(histories, ignore_index=True),
        pd.concat(assessments, ignore_index=True),
        examples,
    )
    _write(folder, left, network, coach, run)
    return left


@dataclass(frozen=True)
class Task:
    """What all phases share: the settings, the slices' statistics, the device."""

    config: PretextConfig
    edge: bool  # whether the network's last output is an edge map
    statistics: dict[str, float]
    device: torch.device

    def batches(
        self, slices: SliceSet, seed: int, augmentation: AugmentationConfig | None = None
    ) -> Batches:
        """Return the task's batches of some slices; without augmentation in order and whole."""
        view = partial(inpainting_view, kind=self.config.reconstruction)
        return Batches(
            slices,
            view,
            self.statistics,
            batch_size=self.config.batch_size,
            seed=seed,
            device=self.device,
            inputs=2,
            augmentation=augmentation,
        )

    def l_rec(self, inpainted: Inpainted, target: Tensor) -> Tensor:
        """Return L_rec of each slice (batch,), the mean over the network's outputs (D-11)."""
        kind = self.config.reconstruction
        targets = [target] * inpainted.restored.shape[1]
        if self.edge:
            magnitude = losses.sobel_magnitude(target)
            targets[-1] = magnitude if kind == "mse" else magnitude.clamp(max=1)
        error = losses.reconstruction_error(inpainted.restored, torch.stack(targets, dim=1), kind)
        return losses.reconstruction_loss(error, inpainted.mask)

    def recipe(self, phase: PhaseConfig) -> training.Recipe:
        """Return how a phase is trained (J, Experimental settings; D-22)."""
        config = self.config

        def network_loss(inpainted: Inpainted, target: Tensor) -> Tensor:
            return self.l_rec(inpainted, target).mean()

        def coach_loss(inpainted: Inpainted, target: Tensor) -> Tensor:
            divergence = config.divergence_weight * inpainted.divergence
            return (1 - self.l_rec(inpainted, target) + divergence).mean()

        def network_optimiser(parameters: Iterable[nn.Parameter], lr: float) -> Optimizer:
            return torch.optim.SGD(
                parameters,
                lr=lr,
                momentum=config.network_momentum,
                weight_decay=config.network_weight_decay,
                fused=True,
            )

        def network_rate(done: float) -> float:
            # The small number forgives that 0.4 of a phase is reached in steps that round.
            falls = sum(done + 1e-9 >= share for share in FALLS_AT)
            return config.network_learning_rate * 0.1**falls

        if phase.train == "network":
            return training.Recipe(phase.epochs, network_optimiser, network_rate, network_loss)
        adam = partial(torch.optim.Adam, fused=True)
        return training.Recipe(
            phase.epochs, adam, lambda done: config.coach_learning_rate, coach_loss
        )


@torch.no_grad()
def assess(turn: Turn, held_out: Batches, task: Task) -> pd.DataFrame:
    """Measure inpainting on held-out slices under random masks and under the coach's.

    Returns
    -------
    DataFrame
        One row a kind of mask ("random", and "coach" once it has learnt): mask, l_rec,
        erased_error (mean squared error, clipped at 2, of the finest reconstruction over erased
        pixels), local_mean_error (the same of filling them with the mean of what is kept around
        them), n_slices. Errors are in units of the slice as the network restores it.
    """
    network, coach = turn.eval().pair
    rows = []
    for mask, judge in (("random", None), ("coach", coach)):
        if mask == "coach" and coach is None:
            continue
        judged = Turn(network, judge, "network", task.config.kept, task.device).eval()
        measured = []
        for given, scores, target in progress.track(held_out, f"assessing under {mask} masks"):
            inpainted = judged(given.contiguous(memory_format=torch.channels_last), scores)
            finest = inpainted.restored[:, -2 if task.edge else -1]
            if task.config.reconstruction == "bce":
                finest = finest.sigmoid()
            filled = local_mean_fill(target, inpainted.mask)
            erased = 1 - inpainted.mask[:, 0]
            errors = [
                (losses.reconstruction_error(shown, target) * erased).sum((1, 2))
                / erased.sum((1, 2))
                for shown in (finest, filled)
            ]
            measured.append(torch.stack([task.l_rec(inpainted, target), *errors]))
        l_rec, erased_error, local_mean_error = torch.cat(measured, dim=1).double().mean(1).tolist()
        rows.append(
            {
                "mask": mask,
                "l_rec": l_rec,
                "erased_error": erased_error,
                "local_mean_error": local_mean_error,
                "n_slices": len(held_out.slices),
            }
        )
    return pd.DataFrame(rows)


def verdict(assessment: pd.DataFrame) -> pd.DataFrame:
    """Say after each phase whether pretraining works, from what `assess` measured.

    Returns
    -------
    DataFrame
        phase, train, l_rec_random, l_rec_coach (NaN before the coach has learnt),
        coach_is_harder, and below_local_mean: by which share the erased pixels are restored
        better than by the mean around them, the smaller of both masks' shares.
    """
    rows = []
    for (phase, train), group in assessment.groupby(["phase", "train"], sort=False):
        by_mask = group.set_index("mask")
        gain = 1 - by_mask["erased_error"] / by_mask["local_mean_error"]
        random, coach = (by_mask["l_rec"].get(mask, np.nan) for mask in ("random", "coach"))
        rows.append(
            {
                "phase": phase,
                "train": train,
                "l_rec_random": random,
                "l_rec_coach": coach,
                "coach_is_harder": pd.NA if np.isnan(coach) else bool(coach > random),
                "below_local_mean": gain.min(),
            }
        )
    return pd.DataFrame(rows)


def local_mean_fill(slices: Tensor, mask: Tensor) -> Tensor:
    """Fill each erased pixel with the mean of the kept ones around it: the rival of inpainting.

    Around is a square of three cells' side; where it holds no kept pixel, the whole slice.

    Parameters
    ----------
    slices : (batch, channels, size, size) float tensor
    mask : (batch, 1, size, size) float tensor
        1 kept, 0 erased.
    """
    side = LOCAL_MEAN_CELLS * COACH_STRIDE + 1

    def around(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, side, stride=1, padding=side // 2)

    share = around(mask)
    whole = (slices * mask).mean((2, 3), keepdim=True) / mask.mean((2, 3), keepdim=True)
    mean = torch.where(share > 0, around(slices * mask) / share.clamp(min=1e-6), whole)
    return slices * mask + mean * (1 - mask)


@torch.no_grad()
def _examples(turn: Turn, held_out: Batches, phase: str) -> dict[str, NDArray[np.float32]]:
    """Return a few held-out slices, their masks and what is restored, after a phase."""
    given, scores, target = (part[:EXAMPLE_SLICES] for part in next(iter(held_out)))
    inpainted = turn.eval()(given.contiguous(memory_format=torch.channels_last), scores)
    finest = inpainted.restored[:, -2 if inpainted.restored.shape[1] > 1 else -1]
    arrays = {
        "slice": target[:, 0],
        f"{phase}.mask": inpainted.mask[:, 0],
        f"{phase}.restored": finest[:, 0],
    }
    return {name: array.float().cpu().numpy() for name, array in arrays.items()}


def _write(
    folder: Path, left: Pretrained, network: nn.Module, coach: nn.Module, run: dict[str, Any]
) -> None:
    """Write what is left, the weights last, since they say that all is there."""
    made = {"run": run}
    artifacts.write_table(folder / HISTORY, left.history, made)
    artifacts.write_table(folder / ASSESSMENT, left.assessment, made)
    artifacts.write_arrays(folder / EXAMPLES, left.examples, made)
    checkpoints.save(folder / COACH_WEIGHTS, coach.state_dict(), made)
    checkpoints.save(folder / training.WEIGHTS, network.state_dict(), {**made, "finished": True})
    for phase in folder.glob("phase*"):
        shutil.rmtree(phase)


def _read(folder: Path) -> Pretrained:
    return Pretrained(
        artifacts.read_table(folder / HISTORY),
        artifacts.read_table(folder / ASSESSMENT),
        artifacts.read_arrays(folder / EXAMPLES),
    )
