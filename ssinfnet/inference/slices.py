"""Trained networks and slices in, probabilities at the slices' own sizes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from ssinfnet import networks
from ssinfnet.data import lung_crop
from ssinfnet.data.batches import Batches, SliceSet, lesion_view, multi_view, network_input
from ssinfnet.data.images import mean_of_maps
from ssinfnet.study.models import MULTI_MODELS, SINGLE_MODELS
from ssinfnet.training import checkpoints, fitting
from ssinfnet.training.runs import Run
from ssinfnet.work import progress

__all__ = [
    "FLIPS",
    "flips_of",
    "judged_batches",
    "load",
    "load_file",
    "predict",
    "predict_batch",
    "predict_prepared",
    "predict_rows",
]

FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))  # axes; those of training


def load(folder: Path) -> tuple[nn.Module, Run]:
    """Load a trained network from the folder of its training.

    Returns
    -------
    network : Module
        In evaluation mode, on the CPU.
    run : Run
        What it was trained for.

    Raises
    ------
    FileNotFoundError, ValueError
        If the weights are absent, truncated, altered, of a network of the caller's own, or the
        training was never finished.
    """
    return load_file(folder / fitting.WEIGHTS)


def load_file(path: Path) -> tuple[nn.Module, Run]:
    """Load a trained network from its file of weights, wherever that lies; see `load`."""
    stored = checkpoints.read(path)
    if not stored.description.get("finished"):
        raise ValueError(f"the training of {path} was not finished; run it again to go on")
    run = Run.read(stored.description["run"])
    if run.model is None or run.width is None:
        raise ValueError(
            f"{path} does not say which model of a study it holds; build the network that was "
            "trained and give it these weights by training.checkpoints.load_weights"
        )
    if run.stage == "single":
        network = networks.build_single(SINGLE_MODELS[run.model].network, run.width)
    else:
        model = MULTI_MODELS[run.model]
        network = networks.build_multi(model.network, model.prior, run.width)
    checkpoints.fill(network, stored)
    return network.eval(), run


def predict(
    network: nn.Module,
    slices: SliceSet,
    sizes: Sequence[tuple[int, int]],
    *,
    batch_size: int = 8,
    device: torch.device | None = None,
    flipped_views: bool = False,
) -> Iterator[NDArray[np.float16]]:
    """Yield each slice's probabilities at its own size.

    The network's logits, not its probabilities, are enlarged, and nothing is min–max normalised:
    a healthy slice may come out empty (D-08).

    Parameters
    ----------
    network : Module
        Network of either stage.
    slices : SliceSet
        Prepared slices, with priors where the network reads them.
    sizes : n pairs (height, width)
        The slices' own sizes in pixels.
    batch_size : int
    device : torch.device or None
        `fitting.best_device()` if None.
    flipped_views : bool
        Average over the four `FLIPS`; four times the work (D-83).

    Yields
    ------
    (channels, height, width) float16 array in [0, 1]
        One channel, lesion, in stage 1; background, GGO and consolidation in stage 2.

    Raises
    ------
    ValueError
        If there are not as many sizes as slices.
    """
    if len(slices) != len(sizes):
        raise ValueError(f"got {len(slices)} slices and {len(sizes)} sizes; one size a slice")
    device = device or fitting.best_device()
    network = networks.to_device(network, device).eval()
    starts = range(0, len(slices), batch_size)
    for first in progress.track(starts, "predicting batches of slices"):
        batch = slice(first, first + batch_size)
        batch_slices = SliceSet(**{name: held[batch] for name, held in slices.tensors().items()})
        views = [
            predict_batch(network, batch_slices, sizes[batch], device, flip=flip)
            for flip in flips_of(flipped_views)
        ]
        yield from (mean_of_maps(maps) for maps in zip(*views, strict=True))


def flips_of(flipped_views: bool) -> tuple[tuple[int, ...], ...]:
    """Return the flips by which slices are shown: all `FLIPS`, or the first, which is none."""
    return FLIPS if flipped_views else FLIPS[:1]


def predict_batch(
    network: nn.Module,
    slices: SliceSet,
    sizes: Sequence[tuple[int, int]],
    device: torch.device,
    *,
    flip: Sequence[int] = (),
    mixed_precision: bool | None = None,
) -> Iterator[NDArray[np.float16]]:
    """Yield the probabilities of slices that the device takes at once; see `predict`.

    Parameters
    ----------
    network : Module
        On the device, in evaluation mode.
    slices, sizes, device
        As for `predict`.
    flip : sequence of int
        Axes along which the network sees the slices flipped; -1 is left for right. Its logits are
        flipped back before they are enlarged, so that a flip moves no pixel.
    mixed_precision : bool or None
        Compute in bfloat16 where that is safe; None does so on CUDA alone.
    """
    logits = _logits(network, slices, device, tuple(flip), mixed_precision)
    for own, size in zip(logits, sizes, strict=True):
        enlarged = F.interpolate(own[None], size=tuple(size), mode="bilinear", align_corners=False)
        yield enlarged[0].sigmoid().cpu().numpy().astype(np.float16)


def predict_prepared(
    network: nn.Module,
    images: torch.Tensor,
    *,
    device: torch.device | None = None,
    flipped_views: bool = False,
) -> NDArray[np.float16]:
    """Return the lesion probability of prepared slices at the size that the network reads.

    Parameters
    ----------
    network : Module
        Network of stage 1.
    images : (n, 1, size, size) uint8 tensor
    device, flipped_views
        See `predict`.

    Returns
    -------
    (n, size, size) float16 array in [0, 1]
    """
    height, width = images.shape[-2:]
    sizes = [(height, width)] * len(images)
    maps = predict(network, SliceSet(images), sizes, device=device, flipped_views=flipped_views)
    return np.stack([map_[0] for map_ in maps])


def predict_rows(
    folder: Path,
    rows: pd.DataFrame,
    slices: SliceSet,
    device: torch.device | None = None,
    *,
    batch_size: int = 8,
    flipped_views: bool = False,
) -> dict[str, NDArray[np.float16]]:
    """Return slice_id → probabilities of some rows of a cohort, by the network of a training.

    Parameters
    ----------
    folder : Path
        Folder of the training, see `load`.
    rows : DataFrame
        Rows of the cohort, in the order of `slices`.
    slices : SliceSet
        From `single_slices` or `multi_slices`.
    device, batch_size, flipped_views
        As for `predict`.

    Returns
    -------
    dict
        Probabilities as `predict` yields them; where the study cuts its slices, there is no
        lesion outside their boxes.
    """
    network, _ = load(folder)
    boxes = [lung_crop.box_of(row) for row in rows.itertuples(index=False)]
    maps = predict(
        network,
        slices,
        [(box.height, box.width) for box in boxes],
        batch_size=batch_size,
        device=device,
        flipped_views=flipped_views,
    )
    items = zip(rows["slice_id"], rows["height"], rows["width"], boxes, maps, strict=True)
    return {
        name: lung_crop.framed(map_, box, height, width) for name, height, width, box, map_ in items
    }


def judged_batches(
    network: nn.Module, stage: str, slices: SliceSet, device: torch.device
) -> Iterator[tuple[Any, list[torch.Tensor]]]:
    """Yield what a trained network answers on labelled slices, batch by batch, with the truth.

    Parameters
    ----------
    network : Module
        On the device, in evaluation mode.
    stage : {"single", "multi"}
    slices : SliceSet
        With labels, and with priors where the network reads them; whole and in order.
    device : torch.device

    Yields
    ------
    prediction
        What the network returns, at its own size.
    targets : list of Tensor
        Those of `lesion_view` or `multi_view`.
    """
    view = multi_view if stage == "multi" else lesion_view
    batches = Batches(slices, view, batch_size=8, seed=0, device=device)
    for inputs, *targets in progress.track(batches, "judging batches of slices"):
        yield network(inputs), targets


@torch.inference_mode()
def _logits(
    network: nn.Module,
    slices: SliceSet,
    device: torch.device,
    flip: tuple[int, ...],
    mixed_precision: bool | None,
) -> torch.Tensor:
    """Return the prediction's logits (batch, channels, size, size) in float32."""
    grey, prior = (
        None if stored is None else stored.to(device).float() / 255
        for stored in (slices.images, slices.priors)
    )
    given = network_input(grey, prior, tells_classes=network.tells_classes)
    inputs = given.flip(flip).contiguous(memory_format=torch.channels_last)
    mixed = device.type == "cuda" if mixed_precision is None else mixed_precision
    with torch.autocast(device.type, torch.bfloat16, enabled=mixed):
        return network(inputs).segmentations[-1].float().flip(flip)
