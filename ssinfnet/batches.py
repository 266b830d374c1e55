"""Slices in memory, and the batches that a network is trained on.

What a step sees depends on the seed, the epoch and the position in it alone, never on what ran
before: that is what makes a training resumable to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ssinfnet import images
from ssinfnet.config import TrainingConfig

__all__ = ["Batches", "SliceSet", "intensity", "network_input"]

FREE_SHARE = 0.5  # of the device's free memory that slices may fill; the rest is for training


@dataclass(frozen=True)
class SliceSet:
    """Slices held in memory, in one order.

    Attributes
    ----------
    images : (n, 1, size, size) uint8 tensor
        Grey values, 255 is the top of the window.
    lesions : (n, 1, size, size) uint8 tensor
        1 where lesion.
    """

    images: Tensor
    lesions: Tensor

    @classmethod
    def of(cls, images: np.ndarray, masks: np.ndarray) -> SliceSet:
        """Build from prepared arrays (n, size, size) uint8; every label above 0 is lesion."""
        if images.shape != masks.shape or images.ndim != 3:
            raise ValueError(f"images {images.shape} and masks {masks.shape} must be equal and 3-D")
        return cls(
            images=torch.from_numpy(np.ascontiguousarray(images))[:, None],
            lesions=torch.from_numpy((masks > 0).astype(np.uint8))[:, None],
        )

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device) -> SliceSet:
        """Move to the device if the slices fit in half of its free memory, else stay."""
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if self.images.nbytes + self.lesions.nbytes > free * FREE_SHARE:
                return self
        return SliceSet(self.images.to(device), self.lesions.to(device))


def intensity(slices: SliceSet) -> dict[str, float]:
    """Return mean and standard deviation of the grey values in [0, 1], for standardising inputs."""
    counts = torch.bincount(slices.images.flatten().to(torch.int64), minlength=256).double()
    grey = torch.arange(256, dtype=torch.float64, device=counts.device) / 255
    mean = (counts * grey).sum() / counts.sum()
    variance = (counts * (grey - mean) ** 2).sum() / counts.sum()
    return {"mean": mean.item(), "std": max(math.sqrt(variance.item()), 1e-3)}


def network_input(grey: Tensor, statistics: dict[str, float]) -> Tensor:
    """Turn grey values (batch, 1, size, size) in [0, 1] into the network's three equal channels."""
    return ((grey - statistics["mean"]) / statistics["std"]).expand(-1, 3, -1, -1)


class Batches:
    """What fastai iterates over: (input, lesion, edge) batches of one epoch, made on the device.

    Order, augmentation and scale are functions of (seed, epoch): set `epoch` before iterating.
    Several scales give several batches of the same slices, one optimiser step each (spec §3).
    A last batch of one slice joins the batch before it, since batch norm needs two.
    """

    n_inp = 1  # fastai asks how many of the three are the network's input

    def __init__(
        self,
        slices: SliceSet,
        statistics: dict[str, float],
        config: TrainingConfig,
        seed: int,
        *,
        train: bool,
        device: torch.device,
    ) -> None:
        self.slices = slices.to(device)
        self.statistics = statistics
        self.config = config
        self.seed = seed
        self.train = train
        self.device = device
        self.epoch = 0
        size = slices.images.shape[-1]
        scales = config.scales if train else (1.0,)
        self.sizes = [images.scaled_size(size, scale) for scale in scales]
        starts = list(range(0, len(slices), config.batch_size))
        if len(starts) > 1 and len(slices) - starts[-1] == 1:
            starts.pop()
        self._bounds = list(zip(starts, [*starts[1:], len(slices)], strict=True))

    def __len__(self) -> int:
        return len(self._bounds) * len(self.sizes)

    def to(self, device: torch.device) -> Batches:
        """Fastai asks loaders to move; batches are made on the device from the start."""
        return self

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.slices)) if self.train else np.arange(len(self.slices))
        for first, last in self._bounds:
            chosen = torch.from_numpy(order[first:last]).to(self.slices.images.device)
            grey = self.slices.images[chosen].to(self.device, non_blocking=True).float() / 255
            lesion = self.slices.lesions[chosen].to(self.device, non_blocking=True).float()
            if self.train:
                draw = images.draw_augmentation(rng, last - first, self.config.augmentation)
                grey = images.augment(grey, draw, labels=False)
                lesion = images.augment(lesion, draw, labels=True)
            for size in self.sizes:
                scaled = images.resize_slices(lesion, size, labels=True)
                shown = images.resize_slices(grey, size, labels=False)
                yield network_input(shown, self.statistics), scaled, images.lesion_edge(scaled)
