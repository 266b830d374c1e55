"""Predictions of a study's networks against the truth: scores, curves and examples for 05.

Predictions were written by the training notebooks; the truth is read again from the raw masks, at
the slices' own size. No torch here, so that the notebook starts fast.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, tee
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet import artifacts, scores
from ssinfnet.cohort import Cohort
from ssinfnet.config import Study
from ssinfnet.paths import StudyPaths

__all__ = [
    "Examples",
    "PREDICTIONS",
    "held_out",
    "pooled_rocs",
    "score_single",
    "thresholds",
    "typical_examples",
]

PREDICTIONS = "predictions.npz"


def held_out(cohort: Cohort, folder: Path, split: str = "test") -> Iterator[scores.Slice]:
    """Yield (patient_id, slice_id, truth, probability) of one training's held-out slices.

    Parameters
    ----------
    cohort : Cohort
        In the fold of that training.
    folder : Path
        Of the training; holds `predictions.npz`.
    split : str
        "test", or "validation" for whatever is chosen (D-14).

    Raises
    ------
    ValueError
        If a slice has no prediction: the training saw another split.
    """
    predictions = artifacts.read_arrays(folder / PREDICTIONS)
    rows = cohort.of_split(split)
    missing = sorted(set(rows["slice_id"]) - predictions.keys())
    if missing:
        raise ValueError(
            f"{folder} has no prediction of {len(missing)} {split} slices {missing[:3]}; the "
            "cohort has changed since, run 03_single_segmentation again"
        )
    for row, _, mask in cohort.read(rows):
        yield row.patient_id, row.slice_id, mask, predictions[row.slice_id]


def score_single(
    study: Study,
    places: StudyPaths,
    cohort: Cohort,
    chosen: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Score every test slice of every stage-1 model and seed of a study.

    Parameters
    ----------
    study, places, cohort
    chosen : DataFrame or None
        model, seed, threshold as `thresholds` returns them; the study's one threshold if None.

    Returns
    -------
    DataFrame
        model, seed, fold, class, patient_id, slice_id, the four counts and `scores.METRICS`.
    """
    tables = []
    for model in study.single.models:
        for seed in study.seeds:
            threshold = study.scores.threshold
            if chosen is not None:
                own = (chosen["model"] == model) & (chosen["seed"] == seed)
                threshold = float(chosen.loc[own, "threshold"].item())
            slices = held_out(cohort, places.single(model, 0, seed))
            labels = {"model": model, "seed": seed, "fold": 0, "class": "lesion"}
            tables.append(scores.score_slices(slices, threshold, **labels))
    return pd.concat(tables, ignore_index=True)


def thresholds(study: Study, places: StudyPaths, cohort: Cohort) -> pd.DataFrame:
    """Return model, seed, threshold: the best mean F1 on validation patients (D-14).

    Raises
    ------
    ValueError
        If F1 is undefined on every validation slice of a training.
    """
    rows = []
    for model in study.single.models:
        for seed in study.seeds:
            slices = held_out(cohort, places.single(model, 0, seed), "validation")
            rows.append(
                {"model": model, "seed": seed, "threshold": scores.choose_threshold(slices)}
            )
    return pd.DataFrame(rows)


def pooled_rocs(
    study: Study, places: StudyPaths, cohort: Cohort
) -> tuple[dict[str, pd.DataFrame], dict[str, float]]:
    """Return each model's ROC curve over all test pixels, of all its seeds, and its area."""
    curves = {}
    for model in study.single.models:
        slices = chain.from_iterable(
            held_out(cohort, places.single(model, 0, seed)) for seed in study.seeds
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
    probabilities: dict[str, list[NDArray[np.float16]]]
    f1: dict[str, list[float]]
    names: Sequence[str]


def typical_examples(
    study: Study, places: StudyPaths, cohort: Cohort, per_slice: pd.DataFrame, count: int = 4
) -> Examples:
    """Return test slices that span what the last model does, from its worst F1 to its best.

    Slices with lesion are ranked by the F1 of the study's last model and first seed, and `count`
    of them taken at equal distances, so that nobody picks the flattering ones.
    """
    seed = study.seeds[0]
    of_seed = per_slice[(per_slice["seed"] == seed)].set_index(["model", "slice_id"])
    ranked = of_seed.loc[study.single.models[-1]]
    ranked = ranked[ranked["tp"] + ranked["fn"] > 0].sort_values("F1_missed_as_zero")
    if ranked.empty:
        raise ValueError("no test slice has lesion, so there is nothing to show")
    places_in_rank = np.unique(np.linspace(0, len(ranked) - 1, count).round().astype(int))
    chosen = ranked.index[places_in_rank].tolist()
    by_id = cohort.slices.set_index("slice_id", drop=False)
    read = [(image, mask) for _, image, mask in cohort.read(by_id.loc[chosen])]
    stored = {
        model: artifacts.read_arrays(places.single(model, 0, seed) / PREDICTIONS)
        for model in study.single.models
    }
    return Examples(
        images=[image for image, _ in read],
        truths=[mask for _, mask in read],
        probabilities={model: [maps[name] for name in chosen] for model, maps in stored.items()},
        f1={
            model: [float(of_seed.loc[(model, name), "F1_missed_as_zero"]) for name in chosen]
            for model in stored
        },
        names=[by_id.loc[name, "patient_id"] for name in chosen],
    )
