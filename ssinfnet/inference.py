"""Trained networks and slices in, lesion probabilities at the slices' own sizes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from ssinfnet import checkpoints, networks, progress, training
from ssinfnet.batches import network_input
from ssinfnet.cohort import Cohort, prepared_array

__all__ = ["load_single", "predict", "predict_held_out", "seeded_single"]


def seeded_single(
    model: str, width: float, seed: int, imagenet_weights: str | None = None
) -> nn.Module:
    """Build a stage-1 network whose random start depends on the seed alone.

    The global generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return networks.build_single(model, width, imagenet_weights)


def load_single(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Load a trained stage-1 network from the folder of its training.

    Returns
    -------
    network : Module
        In evaluation mode, on the CPU.
    run : dict
        What made it: model, width, image size, intensity statistics, seed, settings.

    Raises
    ------
    FileNotFoundError, ValueError
        If the weights are absent, truncated, altered, or the training was never finished.
    """
    stored = checkpoints.read(folder / training.WEIGHTS)
    if not stored.description.get("finished"):
        raise ValueError(f"the training in {folder} was not finished; run it again to go on")
    run = stored.description["run"]
    network = networks.build_single(run["model"], run["width"])
    checkpoints.fill(network, stored)
    return network.eval(), run


def predict(
    network: nn.Module,
    slices: NDArray[np.uint8],
    sizes: Sequence[tuple[int, int]],
    statistics: dict[str, float],
    *,
    batch_size: int = 8,
    device: torch.device | None = None,
) -> Iterator[NDArray[np.float16]]:
    """Yield each slice's lesion probability at its own size.

    The network's logits, not its probabilities, are enlarged, and nothing is min–max normalised:
    a healthy slice may come out empty (D-08).

    Parameters
    ----------
    network : Module
        A stage-1 network.
    slices : (n, size, size) uint8 array
        Prepared slices.
    sizes : n pairs (height, width)
        The slices' own sizes in pixels.
    statistics : dict
        Mean and standard deviation of the training slices, `run["intensity"]`.
    batch_size : int
    device : torch.device or None
        `training.best_device()` if None.

    Yields
    ------
    (height, width) float16 array in [0, 1]

    Raises
    ------
    ValueError
        If there are not as many sizes as slices.
    """
    if len(slices) != len(sizes):
        raise ValueError(f"got {len(slices)} slices and {len(sizes)} sizes; one size a slice")
    device = device or training.best_device()
    network = network.to(device, memory_format=torch.channels_last).eval()
    starts = range(0, len(slices), batch_size)
    for first in progress.track(starts, "predicting batches of slices"):
        batch = np.ascontiguousarray(slices[first : first + batch_size])
        for logits, size in zip(
            _logits(network, batch, statistics, device), sizes[first:], strict=False
        ):
            enlarged = F.interpolate(
                logits[None], size=tuple(size), mode="bilinear", align_corners=False
            )
            yield enlarged[0, 0].sigmoid().cpu().numpy().astype(np.float16)


def predict_held_out(
    folder: Path, cohort: Cohort, prepared: Path, device: torch.device | None = None
) -> dict[str, NDArray[np.float16]]:
    """Return slice_id → lesion probability of all validation and test slices of a cohort.

    Parameters
    ----------
    folder : Path
        Of the training, see `load_single`.
    cohort : Cohort
        In the fold of that training.
    prepared : Path
        Folder of the prepared arrays.
    device : torch.device or None

    Returns
    -------
    dict
        (height, width) float16 array in [0, 1] a slice, at the slice's own size.
    """
    network, run = load_single(folder)
    rows = cohort.of_split("validation", "test")
    slices = prepared_array(prepared, "images", rows)
    sizes = list(zip(rows["height"], rows["width"], strict=True))
    maps = predict(network, slices, sizes, run["intensity"], device=device)
    return dict(zip(rows["slice_id"], maps, strict=True))


@torch.inference_mode()
def _logits(
    network: nn.Module,
    batch: NDArray[np.uint8],
    statistics: dict[str, float],
    device: torch.device,
) -> torch.Tensor:
    """Return the prediction's logits (batch, 1, size, size) in float32."""
    grey = torch.from_numpy(batch)[:, None].to(device).float() / 255
    inputs = network_input(grey, statistics).contiguous(memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        return network(inputs).segmentations[-1].float()
