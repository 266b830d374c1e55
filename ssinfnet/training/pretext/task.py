"""The inpainting task: masked slice in, slice out; what each phase minimises; how well it goes.

J eq 1–3 and Algorithm 1 of S; D-10, D-11, D-22.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from ssinfnet import networks
from ssinfnet.data.batches import Batches, SliceSet, inpainting_view
from ssinfnet.study.config import AugmentationConfig, PhaseConfig, PretextConfig
from ssinfnet.training import checkpoints, fitting, losses
from ssinfnet.training.pretext.masks import hard_mask, local_mean_fill, soft_mask
from ssinfnet.work import progress

__all__ = ["Inpainted", "Task", "Turn", "assess", "examples", "verdict"]

EXAMPLE_SLICES = 3
FALLS_AT = (0.4, 0.8, 0.9)  # shares of a phase at which the network's rate falls tenfold (D-22)


class Inpainted(NamedTuple):
    """The restored slices of a batch, their masks, and the coach's divergence."""

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
    config : PretextConfig
        Its `kept`, k of J eq 2, and `random_share`.
    device : torch.device
        To which both are moved.
    """

    def __init__(
        self,
        network: nn.Module,
        coach: networks.Coach | None,
        learner: str,
        config: PretextConfig,
        device: torch.device,
    ) -> None:
        super().__init__()
        self.learner = network if learner == "network" else coach
        # In a tuple, so that the fixed one is neither trained nor stored with this turn.
        self.pair = (network, coach)
        self.config = config
        for part in self.pair:
            if part is not None:
                networks.to_device(part, device).eval()
                part.requires_grad_(part is self.learner)

    def digest_of_fixed(self) -> str | None:
        """Return a hash of the fixed network's weights, None where there is none."""
        fixed = [part for part in self.pair if part is not None and part is not self.learner]
        return checkpoints.digest(fixed[0].state_dict()) if fixed else None

    def forward(self, slices: Tensor, random_scores: Tensor) -> Inpainted:
        """Mask (batch, channels, size, size) and restore it.

        While the coach learns its mask is soft, and gradients reach it through the masked slice,
        the fixed network and the weights of the error (D-10). Otherwise masks are hard.
        """
        network, coach = self.pair
        if coach is None:
            scores, divergence = random_scores, slices.new_zeros(len(slices))
        else:
            scores, divergence = coach(slices)
        coach_learns = self.learner is coach and self.training
        if self.training and not coach_learns:
            # Slices come in random order, so the first ones of a batch are a random share.
            drawn = round(self.config.random_share * len(slices))
            scores = torch.cat([random_scores[:drawn], scores[drawn:]])
        cut = soft_mask if coach_learns else hard_mask
        mask = F.interpolate(cut(scores, self.config.kept), size=slices.shape[-2:], mode="nearest")
        restored = network(slices * mask)
        return Inpainted(torch.stack(tuple(restored), dim=1), mask, divergence)


@dataclass(frozen=True)
class Task:
    """What all phases share: the settings, and the device."""

    config: PretextConfig
    edge: bool  # whether the network's last output is an edge map
    device: torch.device

    def batches(
        self, slices: SliceSet, seed: int, augmentation: AugmentationConfig | None = None
    ) -> Batches:
        """Return the task's batches of some slices; without augmentation in order and whole."""
        view = partial(inpainting_view, kind=self.config.reconstruction)
        return Batches(
            slices,
            view,
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

    def finest(self, inpainted: Inpainted) -> Tensor:
        """Return the slice as the network's finest map restores it, (batch, channels, h, w)."""
        return inpainted.restored[:, -2 if self.edge else -1]

    def recipe(self, phase: PhaseConfig) -> fitting.Recipe:
        """Return how a phase is trained (J, Experimental settings; D-22)."""
        config = self.config

        def network_loss(inpainted: Inpainted, target: Tensor) -> Tensor:
            return self.l_rec(inpainted, target).mean()

        def coach_loss(inpainted: Inpainted, target: Tensor) -> Tensor:
            divergence = config.divergence_weight * inpainted.divergence
            return (1 - self.l_rec(inpainted, target) + divergence).mean()

        def network_rate(done: float) -> float:
            # The small number forgives that 0.4 of a phase is reached in steps that round.
            falls = sum(done + 1e-9 >= share for share in FALLS_AT)
            return config.network_learning_rate * 0.1**falls

        if phase.train == "network":
            optimiser: Callable[..., Optimizer] = partial(
                torch.optim.SGD,
                momentum=config.network_momentum,
                weight_decay=config.network_weight_decay,
                fused=True,
            )
            rate, loss = network_rate, network_loss
        else:
            optimiser, loss = partial(torch.optim.Adam, fused=True), coach_loss

            def rate(done: float) -> float:
                return config.coach_learning_rate

        return fitting.Recipe(
            epochs=phase.epochs,
            optimiser=optimiser,
            rate=rate,
            loss=loss,
            gradient_norm=config.gradient_norm,
            validate_every=config.validate_every,
            state_seconds=config.state_seconds,
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
        judged = Turn(network, judge, "network", task.config, task.device).eval()
        measured = []
        for given, scores, target in progress.track(held_out, f"assessing under {mask} masks"):
            inpainted = judged(given.contiguous(memory_format=torch.channels_last), scores)
            finest = task.finest(inpainted)
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


@torch.no_grad()
def examples(
    turn: Turn, held_out: Batches, task: Task, phase: str
) -> dict[str, NDArray[np.float32]]:
    """Return a few held-out slices, their masks and what is restored, after a phase."""
    given, scores, target = (part[:EXAMPLE_SLICES] for part in next(iter(held_out)))
    inpainted = turn.eval()(given.contiguous(memory_format=torch.channels_last), scores)
    arrays = {
        "slice": target[:, 0],
        f"{phase}.mask": inpainted.mask[:, 0],
        f"{phase}.restored": task.finest(inpainted)[:, 0],
    }
    return {name: array.float().cpu().numpy() for name, array in arrays.items()}
