"""Let a study's networks predict held-out slices: its own, and those of another study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ssinfnet import networks
from ssinfnet.data.batches import SliceSet
from ssinfnet.data.cohort import LEFT_OUT, Cohort
from ssinfnet.data.slice_sets import multi_slices, prior_maps, single_slices
from ssinfnet.inference.slices import judged_batches, load, predict_rows
from ssinfnet.storage import artifacts
from ssinfnet.study.config import Study
from ssinfnet.study.models import MULTI_MODELS
from ssinfnet.study.paths import PREDICTIONS, StudyPaths
from ssinfnet.training import fitting, segmentation
from ssinfnet.training.stages import Trained

__all__ = ["held_out_loss", "held_out_losses", "predict_elsewhere", "predict_held_out"]


def predict_held_out(
    study: Study, paths: StudyPaths, trained: Trained, made: Mapping[str, Any]
) -> dict[str, NDArray[np.float16]]:
    """Write, beside a training's weights, what its network sees in slices it was not trained on.

    These are the test slices and the validation slices, on which alone thresholds may be chosen. A
    network that left a part of the training patients out predicts these instead: they are the
    priors of stage 2 (D-12).

    Parameters
    ----------
    study : Study
    paths : StudyPaths
    trained : Trained
    made : mapping
        From `artifacts.made_by`.

    Returns
    -------
    dict
        slice_id → probabilities at the slice's own size, as `predict` yields them.
    """
    run = trained.run
    if run.stage == "single":
        splits = [LEFT_OUT] if run.part else ["validation", "test"]
        rows = trained.cohort.of_split(*splits)
        slices = single_slices(rows, paths)
    else:
        rows = trained.cohort.with_classes("validation", "test")
        slices = multi_slices(rows, study, paths, run.fold, run.seed, run.prior)
    maps = predict_rows(trained.folder, rows, slices, flipped_views=study.flipped_views)
    artifacts.write_arrays(trained.folder / PREDICTIONS, maps, made)
    return maps


def predict_elsewhere(
    study: Study,
    paths: StudyPaths,
    other: Study,
    single_models: Sequence[str],
    multi_models: Sequence[str],
) -> StudyPaths:
    """Let a study's networks predict another study's test slices, without retraining.

    Stage 2 reads priors of the same study's stage 1.

    Parameters
    ----------
    study, paths
        Whose networks predict, those of fold 0 and every seed.
    other : Study
        The study that the slices are of, prepared by its 02_data_split.
    single_models, multi_models : sequence of str

    Returns
    -------
    StudyPaths
        Where the predictions lie, as if `study` had been tested there.

    Raises
    ------
    ValueError
        If the two studies' images differ in size, or one alone cuts them to the lungs.
    """
    if study.data.crop != other.data.crop:
        raise ValueError(
            f"study {study.name!r} has data.crop: {study.data.crop} and {other.name!r} "
            f"{other.data.crop}; its networks expect slices as they were trained on"
        )
    if study.image_size != other.image_size:
        raise ValueError(
            f"networks of {study.name!r} read {study.image_size} px and {other.name!r} prepared "
            f"{other.image_size} px; give both studies one image_size"
        )
    source, into = replace(paths, study=other.name), paths.tested_on(other.name)
    held_out = Cohort.load(source.cohort)
    prior = study.multi.prior_model
    needed = [prior] if any(MULTI_MODELS[model].prior for model in multi_models) else []
    made = artifacts.made_by(study.name, {"tested_on": other.name})
    seen = partial(predict_rows, flipped_views=study.flipped_views)
    for seed in study.seeds:
        rows = held_out.of_split("test")
        slices = single_slices(rows, source)
        for model in dict.fromkeys((*single_models, *needed)):
            maps = seen(paths.single(model, 0, seed), rows, slices)
            artifacts.write_arrays(into.single(model, 0, seed) / PREDICTIONS, maps, made)
        rows = held_out.with_classes("test")
        slices = single_slices(rows, source)
        for model in multi_models:
            given = slices
            if MULTI_MODELS[model].prior:
                priors = prior_maps(rows, "predicted", into, fold=0, seed=seed, cross_fitted=[],
                                    size=other.image_size, model=prior)  # fmt: skip
                given = replace(slices, priors=SliceSet.of(priors).images)
            maps = seen(paths.multi(model, 0, seed), rows, given)
            artifacts.write_arrays(into.multi(model, 0, seed) / PREDICTIONS, maps, made)
    return into


@torch.inference_mode()
def held_out_loss(folder: Path, slices: SliceSet, device: torch.device | None = None) -> float:
    """Return the mean loss of some slices at the network's size (D table I).

    Parameters
    ----------
    folder : Path
        Folder of the training, see `load`.
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
    networks.to_device(network, device)
    loss = segmentation.multi_loss if run.stage == "multi" else segmentation.single_loss
    summed = 0.0
    for prediction, targets in judged_batches(network, run.stage, slices, device):
        summed += len(targets[0]) * loss(prediction, *targets).item()
    return summed / len(slices)


def held_out_losses(
    study: Study, paths: StudyPaths, cohort: Cohort, stage: str, models: Sequence[str]
) -> pd.DataFrame:
    """Return stage, model, seed and test_loss: `held_out_loss` of the test slices."""
    rows = []
    for model in models:
        for seed in study.seeds:
            if stage == "single":
                folder, slices = paths.single(model, cohort.fold, seed), cohort.of_split("test")
                held_out = single_slices(slices, paths)
            else:
                folder, slices = paths.multi(model, cohort.fold, seed), cohort.with_classes("test")
                prior = "predicted" if MULTI_MODELS[model].prior else None
                held_out = multi_slices(slices, study, paths, cohort.fold, seed, prior)
            loss = held_out_loss(folder, held_out)
            rows.append({"stage": stage, "model": model, "seed": seed, "test_loss": loss})
    return pd.DataFrame(rows)
