"""Trained networks and slices in, probabilities at the slices' own sizes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from ssinfnet import networks
from ssinfnet.data.batches import Batches, SliceSet, lesion_view, multi_view, network_input
from ssinfnet.data.cohort import Cohort
from ssinfnet.data.slice_sets import multi_slices, prior_maps, single_slices
from ssinfnet.storage import artifacts
from ssinfnet.study.config import Study
from ssinfnet.study.models import MULTI_MODELS, PRIOR_MODEL, SINGLE_MODELS
from ssinfnet.study.paths import PREDICTIONS, StudyPaths
from ssinfnet.training import checkpoints, fitting, segmentation
from ssinfnet.work import progress

__all__ = [
    "FLIPS",
    "flips_of",
    "held_out_loss",
    "held_out_losses",
    "judged_batches",
    "load",
    "load_file",
    "mean_of_views",
    "predict",
    "predict_batch",
    "predict_elsewhere",
    "predict_rows",
    "seeded",
    "start_from_pretraining",
]

FLIPS: tuple[tuple[int, ...], ...] = ((), (-1,), (-2,), (-2, -1))  # axes; those of training


def seeded(seed: int, build: Callable[..., nn.Module], *arguments: Any) -> nn.Module:
    """Build a network whose random start depends on the seed alone.

    The global generator is left as it was.

    Parameters
    ----------
    seed : int
    build : callable
        Such as `networks.build_single`, called with the other arguments.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(*arguments)


def start_from_pretraining(
    network: nn.Module, folder: Path, *, with_heads: bool = False
) -> checkpoints.Transfer:
    """Give a network all pretrained weights but the heads; return what was loaded.

    Parameters
    ----------
    network : Module
        With its own heads.
    folder : Path
        Of the pretraining (02_pretraining, or 02_pseudo_labels, whose heads segment).
    with_heads : bool
        The heads' weights too.

    Raises
    ------
    FileNotFoundError, ValueError
        If the weights are absent, damaged, or differ in anything but the heads.
    """
    stored = checkpoints.read(folder / fitting.WEIGHTS)
    if with_heads:
        return checkpoints.fill(network, stored)
    return checkpoints.fill(network, stored, but=lambda name: networks.is_head(network, name))


def load(folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Load a trained network from the folder of its training.

    Returns
    -------
    network : Module
        In evaluation mode, on the CPU.
    run : dict
        What made it: stage, model, width, seed, settings.

    Raises
    ------
    FileNotFoundError, ValueError
        If the weights are absent, truncated, altered, or the training was never finished.
    """
    return load_file(folder / fitting.WEIGHTS)


def load_file(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Load a trained network from its file of weights, wherever that lies; see `load`."""
    stored = checkpoints.read(path)
    if not stored.description.get("finished"):
        raise ValueError(f"the training of {path} was not finished; run it again to go on")
    run = stored.description["run"]
    if run["stage"] == "single":
        network = networks.build_single(SINGLE_MODELS[run["model"]].network, run["width"])
    else:
        model = MULTI_MODELS[run["model"]]
        network = networks.build_multi(model.network, model.prior, run["width"])
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
        Of either stage.
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
    network = network.to(device, memory_format=torch.channels_last).eval()
    starts = range(0, len(slices), batch_size)
    for first in progress.track(starts, "predicting batches of slices"):
        batch = slice(first, first + batch_size)
        own = SliceSet(**{name: held[batch] for name, held in slices.tensors().items()})
        views = [
            predict_batch(network, own, sizes[batch], device, flip=flip)
            for flip in flips_of(flipped_views)
        ]
        yield from (mean_of_views(maps) for maps in zip(*views, strict=True))


def mean_of_views(maps: Sequence[NDArray[np.float16]]) -> NDArray[np.float16]:
    """Return the mean of equally shaped float16 maps, summed in float32; one is its own mean."""
    return maps[0] if len(maps) == 1 else np.mean(maps, axis=0, dtype=np.float32).astype(np.float16)


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
        Of the training, see `load`.
    rows : DataFrame
        Of the cohort, in the order of `slices`.
    slices : SliceSet
        From `single_slices` or `multi_slices`.
    device, batch_size, flipped_views
        As for `predict`.

    Returns
    -------
    dict
        As `predict` yields them.
    """
    network, _ = load(folder)
    sizes = list(zip(rows["height"], rows["width"], strict=True))
    maps = predict(
        network, slices, sizes, batch_size=batch_size, device=device, flipped_views=flipped_views
    )
    return dict(zip(rows["slice_id"], maps, strict=True))


def predict_elsewhere(
    study: Study,
    places: StudyPaths,
    other: Study,
    single_models: Sequence[str],
    multi_models: Sequence[str],
) -> StudyPaths:
    """Let a study's networks predict another study's test slices, without retraining.

    Stage 2 reads priors of the same study's stage 1.

    Parameters
    ----------
    study, places
        Whose networks predict, those of fold 0 and every seed.
    other : Study
        Of the slices, prepared by its 01_data_split.
    single_models, multi_models : sequence of str

    Returns
    -------
    StudyPaths
        Where the predictions lie, as if `study` had been tested there.

    Raises
    ------
    ValueError
        If the two studies' images differ in size.
    """
    if study.image_size != other.image_size:
        raise ValueError(
            f"networks of {study.name!r} read {study.image_size} px and {other.name!r} prepared "
            f"{other.image_size} px; give both studies one image_size"
        )
    source, into = replace(places, study=other.name), places.tested_on(other.name)
    held_out = Cohort.load(source.cohort)
    needed = [PRIOR_MODEL] if any(MULTI_MODELS[model].prior for model in multi_models) else []
    made = artifacts.made_by(study.name, {"tested_on": other.name})
    seen = partial(predict_rows, flipped_views=study.flipped_views)
    for seed in study.seeds:
        rows = held_out.of_split("test")
        slices = single_slices(rows, source)
        for model in dict.fromkeys((*single_models, *needed)):
            maps = seen(places.single(model, 0, seed), rows, slices)
            artifacts.write_arrays(into.single(model, 0, seed) / PREDICTIONS, maps, made)
        rows = held_out.with_classes("test")
        slices = single_slices(rows, source)
        for model in multi_models:
            given = slices
            if MULTI_MODELS[model].prior:
                priors = prior_maps(rows, "predicted", into, fold=0, seed=seed, cross_fitted=[],
                                    size=other.image_size)  # fmt: skip
                given = replace(slices, priors=SliceSet.of(priors).images)
            maps = seen(places.multi(model, 0, seed), rows, given)
            artifacts.write_arrays(into.multi(model, 0, seed) / PREDICTIONS, maps, made)
    return into


@torch.inference_mode()
def held_out_loss(folder: Path, slices: SliceSet, device: torch.device | None = None) -> float:
    """Return the mean loss of some slices at the network's size (D table I).

    Parameters
    ----------
    folder : Path
        Of the training, see `load`.
    slices : SliceSet
        With labels.
    device : torch.device or None

    Returns
    -------
    float
        J eq 5 in stage 1; eq 6 in stage 2, without focal weights, so that models compare.
    """
    network, run = load(folder)
    device = device or fitting.best_device()
    network.to(device, memory_format=torch.channels_last)
    loss = segmentation.multi_loss if run["stage"] == "multi" else segmentation.single_loss
    summed = 0.0
    for prediction, targets in judged_batches(network, run["stage"], slices, device):
        summed += len(targets[0]) * loss(prediction, *targets).item()
    return summed / len(slices)


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


def held_out_losses(
    study: Study, places: StudyPaths, cohort: Cohort, stage: str, models: Sequence[str]
) -> pd.DataFrame:
    """Return stage, model, seed and test_loss: `held_out_loss` of the test slices."""
    rows = []
    for model in models:
        for seed in study.seeds:
            if stage == "single":
                folder, slices = places.single(model, cohort.fold, seed), cohort.of_split("test")
                held_out = single_slices(slices, places)
            else:
                folder, slices = places.multi(model, cohort.fold, seed), cohort.with_classes("test")
                prior = "predicted" if MULTI_MODELS[model].prior else None
                held_out = multi_slices(slices, study, places, cohort.fold, seed, prior)
            loss = held_out_loss(folder, held_out)
            rows.append({"stage": stage, "model": model, "seed": seed, "test_loss": loss})
    return pd.DataFrame(rows)


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
