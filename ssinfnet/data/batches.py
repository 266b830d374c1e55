"""Slices in memory, and the batches that a network is trained on.

What a step sees depends on the seed, the epoch and the position in it alone, never on what ran
before: that is what makes a training resumable to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ssinfnet.data import augmentation, images
from ssinfnet.study.config import AugmentationConfig

__all__ = [
    "Batches",
    "SliceSet",
    "classes_of",
    "grey_rule",
    "inpainting_view",
    "lesion_view",
    "multi_view",
    "network_input",
    "refuse_empty",
    "subseed",
]

FREE_SHARE = 0.5  # of the device's free memory that slices may fill; the rest is for training
MEAN_GREY, GREY_DEVIATION = 0.45, 0.3  # of the window, near those of real slices of all sources
LEAST_DEVIATION = 1e-2  # of grey values in [0, 1]: a blank slice stays blank, noise stays faint
COACH_STRIDE = 16  # pixels a side of the cells that a mask of the inpainting task erases


@dataclass(frozen=True)
class SliceSet:
    """Slices held in memory, in one order; every field is (n, 1, size, size) uint8.

    Attributes
    ----------
    images : Tensor
        Grey values, 255 is the top of the window.
    labels : Tensor or None
        0 background, 1 GGO, 2 consolidation; None without masks.
    priors : Tensor or None
        Stage 1's lesion probability times 255; None where it is not an input.
    """

    images: Tensor
    labels: Tensor | None = None
    priors: Tensor | None = None

    @classmethod
    def of(
        cls, images: np.ndarray, masks: np.ndarray | None = None, priors: np.ndarray | None = None
    ) -> SliceSet:
        """Build from prepared arrays (n, size, size) uint8.

        Raises
        ------
        ValueError
            If the shapes differ, or an array is not of such slices.
        """
        arrays = {"images": images, "masks": masks, "priors": priors}
        for name, array in arrays.items():
            if array is None:
                continue
            if array.shape != images.shape or array.ndim != 3 or array.dtype != np.uint8:
                raise ValueError(
                    f"{name} are {array.dtype} {array.shape}; expected uint8 arrays "
                    f"(n, size, size), all of one shape as images {images.shape}"
                )
        return cls(
            *(
                None if array is None else torch.from_numpy(np.ascontiguousarray(array))[:, None]
                for array in arrays.values()
            )
        )

    def __len__(self) -> int:
        return len(self.images)

    def joined(self, other: SliceSet) -> SliceSet:
        """Return these labelled slices and others after them, without priors.

        Raises
        ------
        ValueError
            If either has no labels.
        """
        if self.labels is None or other.labels is None:
            raise ValueError("slices without labels cannot be joined to train on")
        return SliceSet(
            torch.cat([self.images, other.images]), torch.cat([self.labels, other.labels])
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return what there is, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def to(self, device: torch.device) -> SliceSet:
        """Move to the device if the slices fit in half of its free memory, else stay."""
        tensors = self.tensors()
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            if sum(tensor.nbytes for tensor in tensors.values()) > free * FREE_SHARE:
                return self
        return SliceSet(**{name: tensor.to(device) for name, tensor in tensors.items()})


def refuse_empty(train: SliceSet, validation: SliceSet) -> None:
    """Raise ValueError if there is nothing to train or to validate on."""
    for name, slices in (("training", train), ("validation", validation)):
        if not len(slices):
            raise ValueError(f"the {name} set is empty; see the split in 02_data_split")


def subseed(*parts: int) -> int:
    """Return a seed that is a function of several, such as (seed, epoch)."""
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


def network_input(
    grey: Tensor, prior: Tensor | None = None, *, tells_classes: bool = False
) -> Tensor:
    """Turn slices into what a network is given, in pretraining, training and prediction (D-23).

    Stage 1 finds what differs from the lung around it, whatever the window of a source: each slice
    is standardised by its own mean and deviation. Stage 2 tells ground glass from consolidation by
    density, which such a rule would hide: all slices are standardised by the same two numbers.

    Parameters
    ----------
    grey : (batch, 1, size, size) float tensor in [0, 1]
    prior : tensor of that shape in [0, 1], or None
    tells_classes : bool
        Whether it is stage 2's.

    Returns
    -------
    (batch, 3, size, size) float tensor of equal channels, or 6 channels with the prior's three
    """
    if tells_classes:
        return _input_channels((grey - MEAN_GREY) / GREY_DEVIATION, prior)
    # In double precision, so that sums in another order, of other threads, round to the same.
    moments = torch.std_mean(grey.double(), dim=(1, 2, 3), correction=0, keepdim=True)
    deviation, mean = (moment.to(grey.dtype) for moment in moments)
    slices = (grey - mean) / deviation.clamp(min=LEAST_DEVIATION)
    return _input_channels(slices, prior)


def grey_rule(*, tells_classes: bool) -> list[float] | str:
    """Return by what `network_input` standardises, as a training's description has it."""
    return [MEAN_GREY, GREY_DEVIATION] if tells_classes else "each slice's own"


def _input_channels(slices: Tensor, prior: Tensor | None) -> Tensor:
    """Return slices as three equal channels, followed by three of the prior where there is one."""
    parts = [slices] if prior is None else [slices, prior]
    return torch.cat([part.expand(-1, 3, -1, -1) for part in parts], dim=1)


def classes_of(labels: Tensor) -> Tensor:
    """Return one channel a class, (batch, 3, size, size), of labels (batch, 1, size, size)."""
    return torch.cat([labels == value for value in range(3)], dim=1).float()


class Shown(NamedTuple):
    """Slices of a batch after augmentation, at one scale: floats, or None where there are none."""

    grey: Tensor
    labels: Tensor | None
    priors: Tensor | None


# How a batch looks to a network: inputs first, targets last.
View = Callable[[Shown, np.random.Generator], tuple[Tensor, ...]]


def lesion_view(batch: Shown, rng: np.random.Generator) -> tuple[Tensor, ...]:
    """Return stage 1's batch: input, lesion, edge."""
    lesion = (batch.labels > 0.5).float()
    return network_input(batch.grey), lesion, images.lesion_edge(lesion)


def multi_view(batch: Shown, rng: np.random.Generator) -> tuple[Tensor, ...]:
    """Return stage 2's batch: input with prior where there is one, and the three classes."""
    inputs = network_input(batch.grey, batch.priors, tells_classes=True)
    return inputs, classes_of(batch.labels)


def inpainting_view(
    batch: Shown, rng: np.random.Generator, kind: str = "mse"
) -> tuple[Tensor, ...]:
    """Return the inpainting task's batch: input, random scores of its cells, what to restore.

    What is restored is the input itself, or, with ``kind="bce"``, slice and prior in [0, 1].
    """
    inputs = network_input(batch.grey, batch.priors, tells_classes=batch.priors is not None)
    cells = inputs.shape[-1] // COACH_STRIDE
    scores = torch.from_numpy(rng.random((len(inputs), 1, cells, cells), dtype=np.float32))
    target = inputs if kind == "mse" else _input_channels(batch.grey, batch.priors)
    return inputs, scores.to(inputs.device), target


class Batches:
    """What fastai iterates over: the batches of one epoch, made on the device.

    Order, augmentation and scale are functions of (seed, epoch): set `epoch` before iterating.
    Several scales give several batches of the same slices, one optimiser step each (Inf-Net).
    A last batch of one slice joins the batch before it, since batch norm needs two.

    Parameters
    ----------
    slices : SliceSet
    view : callable
        `lesion_view`, `multi_view` or `inpainting_view`.
    batch_size, seed : int
    device : torch.device
    inputs : int
        How many tensors of a batch are the network's input; the others are targets.
    augmentation : AugmentationConfig or None
        None for validation: slices come whole, unchanged and in order.
    scales : sequence of float
        Factors on the slices' size.
    """

    def __init__(
        self,
        slices: SliceSet,
        view: View,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        inputs: int = 1,
        augmentation: AugmentationConfig | None = None,
        scales: tuple[float, ...] = (1.0,),
    ) -> None:
        self.slices = slices.to(device)
        self.view = view
        self.seed = seed
        self.device = device
        self.n_inp = inputs  # fastai's name
        self.augmentation = augmentation
        self.epoch = 0
        size = slices.images.shape[-1]
        self.sizes = [images.scaled_size(size, scale) for scale in scales]
        starts = list(range(0, len(slices), batch_size))
        if len(starts) > 1 and len(slices) - starts[-1] == 1:
            starts.pop()
        self._bounds = list(zip(starts, [*starts[1:], len(slices)], strict=True))

    def __len__(self) -> int:
        return len(self._bounds) * len(self.sizes)

    def to(self, device: torch.device) -> Batches:
        """Fastai asks loaders to move; batches are made on the device from the start."""
        return self

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        augmented = self.augmentation is not None
        order = rng.permutation(len(self.slices)) if augmented else np.arange(len(self.slices))
        for first, last in self._bounds:
            shown = self._pick(order[first:last])
            if augmented:
                draw = augmentation.draw_augmentation(rng, last - first, self.augmentation)
                shown = _each(shown, partial(augmentation.augment, draw=draw))
            for size in self.sizes:
                scaled = _each(shown, partial(images.resize_slices, size=size))
                yield self.view(scaled, rng)

    def _pick(self, chosen: np.ndarray) -> Shown:
        rows = torch.from_numpy(chosen).to(self.slices.images.device)

        def floats(tensor: Tensor | None, top: int) -> Tensor | None:
            if tensor is None:
                return None
            return tensor[rows].to(self.device, non_blocking=True).float() / top

        slices = self.slices
        return Shown(
            floats(slices.images, 255), floats(slices.labels, 1), floats(slices.priors, 255)
        )


def _each(shown: Shown, change: Callable[..., Tensor]) -> Shown:
    """Apply the same change to what there is, as its kind asks for it."""
    return Shown(
        *(
            None if tensor is None else change(tensor, kind=kind)
            for tensor, kind in zip(shown, ("image", "labels", "prior"), strict=True)
        )
    )
