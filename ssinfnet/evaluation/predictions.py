"""Predictions of a study's networks against the truth: scores, curves and examples for 05.

Predictions were written by the training notebooks; the truth is read again from the raw masks, at
the slices' own size. No torch here, so that the notebook starts fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, tee
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet import scores
from ssinfnet.data.cohort import Cohort
from ssinfnet.data.images import mean_of_maps
from ssinfnet.evaluation.maps import SliceMaps, class_masks
from ssinfnet.storage import artifacts
from ssinfnet.study.config import Study
from ssinfnet.study.paths import PREDICTIONS, StudyPaths

__all__ = [
    "Examples",
    "held_out",
    "pooled_rocs",
    "predicted_masks",
    "read_predictions",
    "score_multi",
    "score_single",
    "score_volumes",
    "thresholds",
    "typical_class_examples",
    "typical_examples",
]


def read_predictions(folder: Path) -> dict[str, NDArray[np.float16]]:
    """Return slice_id → probability: (height, width) in stage 1, (3, height, width) in stage 2."""
    stored = artifacts.read_arrays(folder / PREDICTIONS)
    return {name: maps[0] if len(maps) == 1 else maps for name, maps in stored.items()}


def held_out(
    cohort: Cohort, *folders: Path, split: str = "test", classes: bool = False
) -> Iterator[scores.Slice]:
    """Yield (patient_id, slice_id, truth, probability) of one training's held-out slices.

    Parameters
    ----------
    cohort : Cohort
        In the fold of that training.
    *folders : Path
        Folder of the training; holds `predictions.npz`. Of several, the mean of their maps, which
        is what a packed model of as many members answers.
    split : str
        "test", or "validation" for whatever is chosen (D-14).
    classes : bool
        True leaves out slices whose masks do not tell GGO from consolidation.

    Raises
    ------
    ValueError
        If a slice has no prediction: the training saw another split.
    """
    several = [read_predictions(folder) for folder in folders]
    rows = cohort.with_classes(split) if classes else cohort.of_split(split)
    for folder, predictions in zip(folders, several, strict=True):
        if missing := sorted(set(rows["slice_id"]) - predictions.keys()):
            raise ValueError(
                f"{folder} has no prediction of {len(missing)} {split} slices {missing[:3]}; the "
                "cohort has changed since, run its training notebook again"
            )
    for row, _, mask in cohort.read(rows):
        mean = mean_of_maps([predictions[row.slice_id] for predictions in several])
        yield row.patient_id, row.slice_id, mask, mean


def score_single(
    study: Study,
    paths: StudyPaths,
    cohort: Cohort,
    models: Sequence[str],
    seeds: Sequence[int] | None = None,
    thresholds: pd.DataFrame | None = None,
    split: str = "test",
    *,
    averaged: bool = False,
) -> pd.DataFrame:
    """Score every held-out slice of some stage-1 models and seeds of a study.

    Parameters
    ----------
    study, paths
    cohort : Cohort
        In the fold whose trainings are scored.
    models : sequence of str
    seeds : sequence of int, optional
        All of the study's by default.
    thresholds : DataFrame or None
        model, seed, threshold as `thresholds` returns them; the study's one threshold if None.
    split : str
        Which slices are scored, see `held_out`.
    averaged : bool
        Score the mean of all seeds' maps once, under the first seed, and not each seed's.

    Returns
    -------
    DataFrame
        model, seed, fold, class, patient_id, slice_id, the four counts and `scores.METRICS`.
    """
    tables = []
    for model in models:
        for seed, *others in _together(seeds or study.seeds, averaged):
            threshold = study.scores.threshold
            if thresholds is not None:
                row = (thresholds["model"] == model) & (thresholds["seed"] == seed)
                threshold = float(thresholds.loc[row, "threshold"].item())
            folders = [paths.single(model, cohort.fold, each) for each in (seed, *others)]
            slices = held_out(cohort, *folders, split=split)
            labels = {"model": model, "seed": seed, "fold": cohort.fold, "class": "lesion"}
            tables.append(scores.score_slices(slices, threshold, **labels))
    return pd.concat(tables, ignore_index=True)


def _together(seeds: Sequence[int], averaged: bool) -> list[tuple[int, ...]]:
    """Return seeds in the groups whose maps are averaged: all in one, or each in its own."""
    return [tuple(seeds)] if averaged else [(seed,) for seed in seeds]


def score_multi(
    study: Study,
    paths: StudyPaths,
    cohort: Cohort,
    models: Sequence[str],
    prior: str = "predicted",
    seeds: Sequence[int] | None = None,
    split: str = "test",
    *,
    averaged: bool = False,
) -> pd.DataFrame:
    """Score every held-out slice of some stage-2 models and seeds of a study.

    Parameters
    ----------
    study, paths, cohort
        As for `score_single`.
    models : sequence of str
        Names in `study.multi.models`, or with ``prior="ground_truth"`` of its oracle models.
    prior : {"predicted", "ground_truth"}
    seeds : sequence of int, optional
        All of the study's by default.
    split : str
        Which slices are scored, see `held_out`.
    averaged : bool
        Score the mean of all seeds' probabilities, as `score_single` does.

    Returns
    -------
    DataFrame
        model, seed, fold, prior, class, patient_id, slice_id, the four counts and
        `scores.CLASS_METRICS`; classes as `scores.with_averages` leaves them.
    """
    tables = []
    for model in models:
        for seed, *others in _together(seeds or study.seeds, averaged):
            folders = [paths.multi(model, cohort.fold, each, prior) for each in (seed, *others)]
            slices = held_out(cohort, *folders, split=split, classes=True)
            labels = {"model": model, "seed": seed, "fold": cohort.fold, "prior": prior}
            tables.append(scores.score_class_slices(slices, **labels))
    return scores.with_averages(pd.concat(tables, ignore_index=True))


def score_volumes(
    study: Study,
    paths: StudyPaths,
    cohort: Cohort,
    single_models: Sequence[str],
    multi_models: Sequence[str],
    seeds: Sequence[int] | None = None,
) -> pd.DataFrame:
    """Score the test volumes of some models of both stages, where slices form volumes.

    Parameters
    ----------
    study, paths, cohort, seeds
        As for `score_single`.
    single_models, multi_models : sequence of str
        With predicted priors.

    Returns
    -------
    DataFrame
        model, seed, fold and the columns of `scores.score_volumes`; class tells the stage.
    """
    tables = []
    for seed in seeds or study.seeds:
        folders = [
            (model, paths.single(model, cohort.fold, seed), False) for model in single_models
        ]
        folders += [(model, paths.multi(model, cohort.fold, seed), True) for model in multi_models]
        for model, folder, classes in folders:
            labels = {"model": model, "seed": seed, "fold": cohort.fold}
            rows = cohort.with_classes("test") if classes else cohort.of_split("test")
            slices = held_out(cohort, folder, classes=classes)
            tables.append(scores.score_volumes(slices, rows, study.scores.threshold, **labels))
    return pd.concat(tables, ignore_index=True)


def predicted_masks(
    study: Study, paths: StudyPaths, rows: pd.DataFrame
) -> dict[str, dict[str, NDArray[np.bool_]]]:
    """Return slice_id → the three masks whose phenotypes are measured, of held-out slices.

    Parameters
    ----------
    study : Study
        With ``clinical``, whose models and threshold count.
    paths : StudyPaths
    rows : DataFrame
        Rows of the study's own cohort, validation or test.

    Raises
    ------
    ValueError
        If the study has no ``clinical``.
    """
    clinical, seed = study.clinical, study.seeds[0]
    if clinical is None:
        raise ValueError(f"study {study.name!r} measures no phenotypes: it has no clinical")
    lesions = read_predictions(paths.single(clinical.single_model, 0, seed))
    classes = read_predictions(paths.multi(clinical.multi_model, 0, seed))
    masks = {}
    for name in rows["slice_id"]:
        scaled = (
            np.rint(own[name].astype(np.float32) * 255).astype(np.uint8)
            for own in (lesions, classes)
        )
        lesion, three = scaled
        masks[name] = class_masks(SliceMaps(lesion, three), clinical.threshold)
    return masks


def thresholds(study: Study, paths: StudyPaths, cohort: Cohort) -> pd.DataFrame:
    """Return model, seed, threshold: the best mean F1 on validation patients (D-14).

    Raises
    ------
    ValueError
        If F1 is undefined on every validation slice of a training.
    """
    rows = []
    for model in study.single.models:
        for seed in study.seeds:
            slices = held_out(cohort, paths.single(model, 0, seed), split="validation")
            rows.append(
                {"model": model, "seed": seed, "threshold": scores.choose_threshold(slices)}
            )
    return pd.DataFrame(rows)


def pooled_rocs(
    study: Study, paths: StudyPaths, cohort: Cohort
) -> tuple[dict[str, pd.DataFrame], dict[str, float]]:
    """Return each model's ROC curve over all test pixels, of all its seeds, and its area."""
    curves = {}
    for model in study.single.models:
        slices = chain.from_iterable(
            held_out(cohort, paths.single(model, 0, seed)) for seed in study.seeds
        )
        # Read in step, the two hold one slice between them, so memory stays flat.
        for_truth, for_map = tee(slices)
        curves[model] = scores.pooled_roc(
            (truth for _, _, truth, _ in for_truth), (map_ for _, _, _, map_ in for_map)
        )
    return curves, {model: scores.pooled_auc(curve) for model, curve in curves.items()}


@dataclass(frozen=True)
class Examples:
    """Test slices with their truth and predictions, as `plots.plot_slices_by_model` takes them."""

    images: Sequence[NDArray[np.float32]]
    truths: Sequence[NDArray[np.uint8]]
    predictions: dict[str, list[NDArray[np.uint8]]]
    f1: dict[str, list[float]]
    names: Sequence[str]
    note: str


def typical_examples(
    study: Study, paths: StudyPaths, cohort: Cohort, per_slice: pd.DataFrame, count: int = 4
) -> Examples:
    """Return test slices that span what stage 1's last model does, from its worst F1 to its best.

    Slices with lesion are ranked by the F1 of the study's last model and first seed, and `count`
    of them taken at equal distances, so that nobody picks the flattering ones. Below them stands
    the slice without lesion in which the model finds most; `note` says where there is none. Masks
    hold 255 where lesion.
    """
    seed, models = study.seeds[0], study.single.models
    folders = {model: paths.single(model, 0, seed) for model in models}
    shown = per_slice[per_slice["seed"] == seed]
    threshold = study.scores.threshold
    return _examples(
        cohort, folders, shown, count, lambda maps: np.where(maps >= threshold, 255, 0)
    )


def typical_class_examples(
    study: Study,
    paths: StudyPaths,
    cohort: Cohort,
    per_class: pd.DataFrame,
    prior: str = "predicted",
    count: int = 4,
) -> Examples:
    """Return test slices that span what stage 2's last model does, as `typical_examples`.

    They are ranked by the mean F1 of GGO and consolidation; masks hold 1 and 2.
    """
    seed = study.seeds[0]
    macro = per_class[(per_class["class"] == "lesion_macro") & (per_class["seed"] == seed)]
    models = list(dict.fromkeys(macro["model"]))
    folders = {model: paths.multi(model, 0, seed, prior) for model in models}
    return _examples(cohort, folders, macro, count, lambda maps: maps.argmax(0))


def _examples(
    cohort: Cohort,
    folders: dict[str, Path],
    scored: pd.DataFrame,
    count: int,
    mask_of: Callable[[NDArray[np.float16]], NDArray[np.integer]],
) -> Examples:
    of_slice = scored.set_index(["model", "slice_id"])
    per_slice = of_slice.loc[list(folders)[-1]]
    has_lesion = per_slice["tp"] + per_slice["fn"] > 0
    ranked = per_slice[has_lesion].sort_values("F1_missed_as_zero")
    if ranked.empty:
        raise ValueError("no test slice has lesion, so there is nothing to show")
    at = np.unique(np.linspace(0, len(ranked) - 1, count).round().astype(int))
    healthy = per_slice[~has_lesion].sort_values("fp").index[-1:]
    names = [*ranked.index[at], *healthy]
    by_id = cohort.slices.set_index("slice_id", drop=False)
    read = [(image, mask) for _, image, mask in cohort.read(by_id.loc[names])]
    stored = {model: read_predictions(folder) for model, folder in folders.items()}
    return Examples(
        images=[image for image, _ in read],
        truths=[mask for _, mask in read],
        predictions={
            model: [mask_of(maps[name]).astype(np.uint8) for name in names]
            for model, maps in stored.items()
        },
        f1={
            model: [float(of_slice.loc[(model, name), "F1_missed_as_zero"]) for name in names]
            for model in folders
        },
        names=[
            by_id.loc[name, "patient_id"] + "\nwithout lesion" * (name in healthy) for name in names
        ],
        note="" if len(healthy) else "No test slice is without lesion",
    )
