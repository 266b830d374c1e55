"""Rows of the cohort as slices in memory, for both stages and pretraining; priors of stage 2."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.data import images, lung_crop
from ssinfnet.data.batches import SliceSet
from ssinfnet.data.cohort import Cohort, prepared_array
from ssinfnet.data.splits import SPLITS
from ssinfnet.storage import artifacts
from ssinfnet.study.config import Study
from ssinfnet.study.models import PRIOR_MODEL
from ssinfnet.study.paths import PREDICTIONS, StudyPaths

__all__ = ["at_network_size", "multi_slices", "pretext_slices", "prior_maps", "single_slices"]


def single_slices(rows: pd.DataFrame, paths: StudyPaths) -> SliceSet:
    """Hold some rows of a cohort in memory for stage 1, as 02_data_split prepared them.

    Parameters
    ----------
    rows : DataFrame
        Rows of the cohort, index untouched.
    paths : StudyPaths
    """
    stored = (prepared_array(paths.cohort, name, rows) for name in ("images", "masks"))
    return SliceSet.of(*stored)


def multi_slices(
    rows: pd.DataFrame, study: Study, paths: StudyPaths, fold: int, seed: int, prior: str | None
) -> SliceSet:
    """Hold some rows of a cohort in memory for stage 2, with priors.

    Parameters
    ----------
    rows : DataFrame
        Rows of the cohort in `fold`, index untouched, from `Cohort.with_classes`.
    study, paths
    fold, seed : int
        Fold and seed of the stage-1 trainings that made the priors.
    prior : {"predicted", "ground_truth"} or None
        Which priors are read, see `prior_maps`; None leaves priors out.

    Raises
    ------
    ValueError
        If there is no such slice: masks of lesion alone train stage 1 only.
    """
    if rows.empty:
        raise ValueError(
            "no slice here has a mask that tells ground glass from consolidation, which stage 2 "
            "learns; give more patients such masks, or train stage 1 alone: "
            "multi: {models: [], oracle_models: []}"
        )
    slices = single_slices(rows, paths)
    if prior is None:
        return slices
    maps = prior_maps(
        rows, prior, paths, fold=fold, seed=seed, cross_fitted=study.cross_fitted(fold),
        size=study.image_size, model=study.multi.prior_model,
    )  # fmt: skip
    return replace(slices, priors=SliceSet.of(maps).images)


def pretext_slices(
    cohort: Cohort, split: str, stage: str, study: Study, paths: StudyPaths, fold: int, seed: int
) -> SliceSet:
    """Hold what a stage's pretraining sees of a split in memory: no labels.

    Stage 1 trains on unlabelled slices too; stage 2 only on those that have a prior (J). Where the
    study limits the unlabelled slices, they are drawn by the seed.

    Parameters
    ----------
    cohort : Cohort
        In `fold`; its slices without labels are read from where it is saved.
    split : {"train", "validation"}
    stage : {"single", "multi"}
    study, paths, fold, seed
        As for `multi_slices`.
    """
    if stage == "multi":
        rows = cohort.with_classes(split)
        return replace(multi_slices(rows, study, paths, fold, seed, "predicted"), labels=None)
    index = cohort.of_split(split).index
    if split == "train":
        unlabelled = _unlabelled(cohort, paths)
        most = study.single.pretext.unlabelled_slices
        if most is not None and most < len(unlabelled):
            unlabelled = unlabelled.to_series().sample(most, random_state=seed).index.sort_values()
        index = index.append(unlabelled)
    return replace(single_slices(pd.DataFrame(index=index), paths), labels=None)


def _unlabelled(cohort: Cohort, paths: StudyPaths) -> pd.Index:
    """Return the index of slices without labels of other patients than the cohort's held-out ones.

    Only patients and splits are read: a study may draw few of hundreds of thousands.
    """
    columns = ["patient_id", "split"]
    stored = artifacts.read_table(paths.cohort / "cohort.parquet", columns=columns)
    held_out = cohort.of_split(*SPLITS[1:])["patient_id"]
    seen = ~stored["patient_id"].isin(held_out)
    return stored.index[(stored["split"] == "unlabelled") & seen]


def prior_maps(
    rows: pd.DataFrame,
    kind: Literal["predicted", "ground_truth"],
    paths: StudyPaths,
    *,
    fold: int,
    seed: int,
    cross_fitted: Sequence[tuple[int, int]],
    size: int,
    model: str = PRIOR_MODEL,
) -> NDArray[np.uint8]:
    """Return stage 1's lesion probability of some slices, times 255, as stage 2 reads it (D-12).

    A training slice's prior comes from the network that left its patient out; that of any other
    slice from the network of all training patients.

    Parameters
    ----------
    rows : DataFrame
        Rows of the cohort in `fold`, index untouched.
    kind : {"predicted", "ground_truth"}
        The second is the lesion mask itself: an oracle, labelled so wherever it appears (V).
    paths : StudyPaths
    fold, seed : int
        Fold and seed of the stage-1 trainings.
    cross_fitted : sequence of (fold, part)
        The trainings that left training patients out, `Study.cross_fitted`.
    size : int
        Side of the prepared slices in pixels.
    model : str
        Model of stage 1 whose probability is read.

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
        return (prepared_array(paths.cohort, "masks", rows) > 0).astype(np.uint8) * 255
    if kind != "predicted":
        raise ValueError(f"a prior is 'predicted' or 'ground_truth', got {kind!r}")
    training_rows = rows["split"] == "train"
    whole = paths.single(model, fold, seed)
    lefts = [paths.single(model, its, seed, part) for its, part in cross_fitted]
    maps: dict[str, NDArray[np.float16]] = {}
    for wanted, folders in ((~training_rows, [whole]), (training_rows, lefts)):
        names = set(rows.loc[wanted, "slice_id"])
        for folder in folders if names else ():
            stored = artifacts.read_arrays(folder / PREDICTIONS)
            priors = {name: array for name, array in stored.items() if name in names}
            if repeated := sorted(priors.keys() & maps.keys()):
                raise ValueError(f"slices {repeated[:3]} have two priors; remove {folder.parent}")
            maps |= priors
    missing = sorted(set(rows["slice_id"]) - maps.keys())
    if missing:
        raise ValueError(
            f"{len(missing)} slices have no prior, such as {missing[:3]}; the cohort has changed "
            f"since {model} was trained, run 05_single_segmentation again"
        )
    return at_network_size(lung_crop.cropped(maps, rows), size)


def at_network_size(maps: Iterable[NDArray[np.float16]], size: int) -> NDArray[np.uint8]:
    """Return lesion probabilities at the network's size, times 255, as stage 2 reads them.

    Parameters
    ----------
    maps : iterable of (1, height, width) array
        Lesion probabilities of stage 1, at the slices' own sizes, cut to their boxes.
    size : int
        Side of the prepared slices in pixels.

    Returns
    -------
    (n, size, size) uint8 array
    """
    resized = [images.resize_image(lesion[0].astype(np.float32), size) for lesion in maps]
    return np.rint(np.stack(resized) * 255).astype(np.uint8)
