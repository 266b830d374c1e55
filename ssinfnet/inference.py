"""Trained networks and slices in, probabilities at the slices' own sizes out; priors of stage 2."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from ssinfnet import (
    artifacts,
    checkpoints,
    images,
    networks,
    progress,
    segmentation,
    training,
)
from ssinfnet.batches import Batches, SliceSet, lesion_view, multi_view, network_input
from ssinfnet.cohort import Cohort, prepared_array
from ssinfnet.config import Study
from ssinfnet.models import MULTI_MODELS, PRIOR_MODEL, SINGLE_MODELS
from ssinfnet.paths import PREDICTIONS, StudyPaths

__all__ = [
    "held_out_loss",
    "held_out_losses",
    "load",
    "multi_slices",
    "predict",
    "predict_elsewhere",
    "predict_rows",
    "pretext_slices",
    "prior_maps",
    "seeded",
    "single_slices",
    "start_from_pretraining",
]


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
    stored = checkpoints.read(folder / training.WEIGHTS)
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
        What made it: stage, model, width, intensity statistics, seed, settings.

    Raises
    ------
    FileNotFoundError, ValueError
        If the weights are absent, truncated, altered, or the training was never finished.
    """
    stored = checkpoints.read(folder / training.WEIGHTS)
    if not stored.description.get("finished"):
        raise ValueError(f"the training in {folder} was not finished; run it again to go on")
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
    statistics: dict[str, float],
    *,
    batch_size: int = 8,
    device: torch.device | None = None,
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
    statistics : dict
        Mean and standard deviation of the training slices, `run["intensity"]`.
    batch_size : int
    device : torch.device or None
        `training.best_device()` if None.

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
    device = device or training.best_device()
    network = network.to(device, memory_format=torch.channels_last).eval()
    starts = range(0, len(slices), batch_size)
    for first in progress.track(starts, "predicting batches of slices"):
        batch = slice(first, first + batch_size)
        logits = _logits(network, slices, batch, statistics, device)
        for own, size in zip(logits, sizes[batch], strict=True):
            enlarged = F.interpolate(
                own[None], size=tuple(size), mode="bilinear", align_corners=False
            )
            yield enlarged[0].sigmoid().cpu().numpy().astype(np.float16)


def predict_rows(
    folder: Path,
    rows: pd.DataFrame,
    slices: SliceSet,
    device: torch.device | None = None,
    *,
    batch_size: int = 8,
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
    device : torch.device or None
    batch_size : int

    Returns
    -------
    dict
        As `predict` yields them.
    """
    network, run = load(folder)
    sizes = list(zip(rows["height"], rows["width"], strict=True))
    how = {"batch_size": batch_size, "device": device}
    maps = predict(network, slices, sizes, run["intensity"], **how)
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
    for seed in study.seeds:
        rows = held_out.of_split("test")
        slices = single_slices(rows, source)
        for model in dict.fromkeys((*single_models, *needed)):
            maps = predict_rows(places.single(model, 0, seed), rows, slices)
            artifacts.write_arrays(into.single(model, 0, seed) / PREDICTIONS, maps, made)
        rows = held_out.with_classes("test")
        slices = single_slices(rows, source)
        for model in multi_models:
            given = slices
            if MULTI_MODELS[model].prior:
                priors = prior_maps(rows, "predicted", into, fold=0, seed=seed, cross_fitted=[],
                                    size=other.image_size)  # fmt: skip
                given = replace(slices, priors=SliceSet.of(priors).images)
            maps = predict_rows(places.multi(model, 0, seed), rows, given)
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
    device = device or training.best_device()
    network.to(device, memory_format=torch.channels_last)
    view, loss = (lesion_view, segmentation.single_loss)
    if run["stage"] == "multi":
        view, loss = multi_view, partial(segmentation.multi_loss, gamma=0.0)
    batches = Batches(slices, view, run["intensity"], batch_size=8, seed=0, device=device)
    summed = 0.0
    for inputs, *targets in progress.track(batches, "measuring the loss of batches"):
        summed += len(inputs) * loss(network(inputs), *targets).item()
    return summed / len(slices)


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


def single_slices(rows: pd.DataFrame, places: StudyPaths) -> SliceSet:
    """Hold some rows of a cohort in memory for stage 1, as 01_data_split prepared them.

    Parameters
    ----------
    rows : DataFrame
        Of the cohort, index untouched.
    places : StudyPaths
    """
    stored = (prepared_array(places.cohort, name, rows) for name in ("images", "masks"))
    return SliceSet.of(*stored)


def multi_slices(
    rows: pd.DataFrame, study: Study, places: StudyPaths, fold: int, seed: int, prior: str | None
) -> SliceSet:
    """Hold some rows of a cohort in memory for stage 2, with priors.

    Parameters
    ----------
    rows : DataFrame
        Of the cohort in `fold`, index untouched, from `Cohort.with_classes`.
    study, places
    fold, seed : int
        Of the stage-1 trainings that made the priors.
    prior : {"predicted", "ground_truth"} or None
        As for `prior_maps`; None leaves priors out.
    """
    slices = single_slices(rows, places)
    if prior is None:
        return slices
    maps = prior_maps(
        rows, prior, places, fold=fold, seed=seed, cross_fitted=study.cross_fitted(fold),
        size=study.image_size,
    )  # fmt: skip
    return replace(slices, priors=SliceSet.of(maps).images)


def pretext_slices(
    cohort: Cohort, split: str, stage: str, study: Study, places: StudyPaths, fold: int, seed: int
) -> SliceSet:
    """Hold what a stage's pretraining sees of a split in memory: no labels.

    Stage 1 trains on unlabelled slices too; stage 2 only on those that have a prior (J). Where the
    study limits the unlabelled slices, they are drawn by the seed.

    Parameters
    ----------
    cohort : Cohort
        In `fold`.
    split : {"train", "validation"}
    stage : {"single", "multi"}
    study, places, fold, seed
        As for `multi_slices`.
    """
    if stage == "multi":
        rows = cohort.with_classes(split)
        return replace(multi_slices(rows, study, places, fold, seed, "predicted"), labels=None)
    rows = cohort.of_split(split)
    if split == "train":
        unlabelled, most = cohort.of_split("unlabelled"), study.single.pretext.unlabelled_slices
        if most is not None and most < len(unlabelled):
            unlabelled = unlabelled.sample(most, random_state=seed).sort_index()
        rows = pd.concat([rows, unlabelled])
    return replace(single_slices(rows, places), labels=None)


def prior_maps(
    rows: pd.DataFrame,
    kind: Literal["predicted", "ground_truth"],
    places: StudyPaths,
    *,
    fold: int,
    seed: int,
    cross_fitted: Sequence[tuple[int, int]],
    size: int,
) -> NDArray[np.uint8]:
    """Return stage 1's lesion probability of some slices, times 255, as stage 2 reads it (D-12).

    A training slice's prior comes from the network that left its patient out; that of any other
    slice from the network of all training patients.

    Parameters
    ----------
    rows : DataFrame
        Of the cohort in `fold`, index untouched.
    kind : {"predicted", "ground_truth"}
        The second is the lesion mask itself: an oracle, labelled so wherever it appears (V).
    places : StudyPaths
    fold, seed : int
        Of the stage-1 trainings.
    cross_fitted : sequence of (fold, part)
        The trainings that left training patients out, `Study.cross_fitted`.
    size : int
        Side of the prepared slices in pixels.

    Returns
    -------
    (n, size, size) uint8 array

    Raises
    ------
    FileNotFoundError
        If a stage-1 training has not run.
    ValueError
        If a slice has no prior, or a training slice has more than one.
    """
    if kind == "ground_truth":
        return (prepared_array(places.cohort, "masks", rows) > 0).astype(np.uint8) * 255
    if kind != "predicted":
        raise ValueError(f"a prior is 'predicted' or 'ground_truth', got {kind!r}")
    training_rows = rows["split"] == "train"
    whole = places.single(PRIOR_MODEL, fold, seed)
    lefts = [places.single(PRIOR_MODEL, its, seed, part) for its, part in cross_fitted]
    maps: dict[str, NDArray[np.float16]] = {}
    for wanted, folders in ((~training_rows, [whole]), (training_rows, lefts)):
        names = set(rows.loc[wanted, "slice_id"])
        for folder in folders if names else ():
            stored = artifacts.read_arrays(folder / PREDICTIONS)
            found = {name: array for name, array in stored.items() if name in names}
            if repeated := sorted(found.keys() & maps.keys()):
                raise ValueError(f"slices {repeated[:3]} have two priors; remove {folder.parent}")
            maps |= found
    missing = sorted(set(rows["slice_id"]) - maps.keys())
    if missing:
        raise ValueError(
            f"{len(missing)} slices have no prior, such as {missing[:3]}; the cohort has changed "
            f"since {PRIOR_MODEL} was trained, run 03_single_segmentation again"
        )
    resized = [
        images.resize_image(maps[name][0].astype(np.float32), size) for name in rows["slice_id"]
    ]
    return np.rint(np.stack(resized) * 255).astype(np.uint8)


@torch.inference_mode()
def _logits(
    network: nn.Module,
    slices: SliceSet,
    batch: slice,
    statistics: dict[str, float],
    device: torch.device,
) -> torch.Tensor:
    """Return the prediction's logits (batch, channels, size, size) in float32."""
    grey, prior = (
        None if stored is None else stored[batch].to(device).float() / 255
        for stored in (slices.images, slices.priors)
    )
    inputs = network_input(grey, statistics, prior).contiguous(memory_format=torch.channels_last)
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        return network(inputs).segmentations[-1].float()
