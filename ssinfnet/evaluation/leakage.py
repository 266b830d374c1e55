"""What a split by slice or by volume leaks, measured on the same slices (D-147).

V §V-A assigns slices at random, and data set 1 has eight patients in nine volumes. Here one
network is cross-validated three times, divided by slice, by volume and by patient: every labelled
slice is tested once by each, so that the scores differ in what the network had seen of the patient.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from ssinfnet import inference, networks, scores
from ssinfnet.data.cohort import Cohort
from ssinfnet.data.slice_sets import single_slices
from ssinfnet.data.splits import divide_patients
from ssinfnet.study.config import Study
from ssinfnet.study.models import PRIOR_MODEL, SINGLE_MODELS
from ssinfnet.study.paths import StudyPaths
from ssinfnet.training import segmentation
from ssinfnet.training.runs import Run

__all__ = ["UNITS", "divided", "leak_scores", "seen_before"]

UNITS = {"slice": "slice_id", "volume": "scan_id", "patient": "patient_id"}


def divided(rows: pd.DataFrame, unit: str, folds: int, fold: int, seed: int) -> pd.Series:
    """Return the split of each slice in a fold, divided by a unit.

    Parameters
    ----------
    rows : DataFrame
        Labelled slices of a cohort.
    unit : {"slice", "volume", "patient"}
        What is divided whole. By slice or volume a patient may be in two splits.
    folds, fold : int
        How many, and which, from 1 on; its units test, one in seven of the others validates.
    seed : int

    Returns
    -------
    Series
        train, validation or test, with the index of `rows`.
    """
    units = rows.assign(patient_id=rows[UNITS[unit]])
    parts = divide_patients(units, {str(k): 1.0 for k in range(1, folds + 1)}, seed)
    test = units["patient_id"].map(parts) == str(fold)
    rest = divide_patients(units[~test], {"train": 6.0, "validation": 1.0}, seed=fold)
    return units["patient_id"].map(rest).where(~test, "test")


def leak_scores(study: Study, paths: StudyPaths, units: list[str]) -> pd.DataFrame:
    """Train and score SInfNet in every fold of each unit, with each of the study's seeds.

    Parameters
    ----------
    study : Study
        Its stage-1 settings, folds, seeds and threshold count.
    paths : StudyPaths
        Holds the cohort that 02_data_split wrote, and receives the trainings below
        ``leakage/``; one that was killed goes on, and one that is finished is not repeated.
    units : list of str
        Units by which slices are divided, each one of `UNITS`.

    Returns
    -------
    DataFrame
        model (the unit), seed, fold, patient_id, slice_id, counts and `scores.METRICS`.
    """
    cohort = Cohort.load(paths.cohort)
    rows = cohort.slices[cohort.slices["labelled"]]
    folds = study.split.folds
    tables = [
        scores.score_slices(
            _tested(study, paths, cohort, rows, unit, fold, seed),
            study.scores.threshold, model=unit, seed=seed, fold=fold,
        )
        for unit in units for fold in range(1, folds + 1) for seed in study.seeds
    ]  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def _tested(
    study: Study, paths: StudyPaths, cohort: Cohort, rows: pd.DataFrame, unit: str, fold: int,
    seed: int,
) -> Iterator[scores.Slice]:  # fmt: skip
    """Train in one fold, and yield its test slices as `scores.score_slices` takes them."""
    split = divided(rows, unit, study.split.folds, fold, study.split.seed)
    train, validation, test = (rows[split == name] for name in ("train", "validation", "test"))
    size = study.single.network
    network = networks.seeded(
        seed,
        networks.build_single,
        SINGLE_MODELS[PRIOR_MODEL].network,
        size.width,
        paths.published_weights(size.imagenet_weights),
    )
    run = Run(study=study.name, model=PRIOR_MODEL, width=size.width, fold=fold, seed=seed)
    folder = paths.artifacts / "leakage" / unit / f"fold{fold}" / f"seed{seed}"
    segmentation.fit_single(
        network,
        single_slices(train, paths),
        single_slices(validation, paths),
        study.single.training,
        run=run,
        folder=folder,
    )
    maps = inference.predict_rows(
        folder, test, single_slices(test, paths), flipped_views=study.flipped_views
    )
    for row, _, mask in cohort.read(test):
        if mask is not None:  # all are labelled
            yield row.patient_id, row.slice_id, mask, maps[row.slice_id][0]


def seen_before(study: Study, paths: StudyPaths, units: list[str]) -> pd.Series:
    """Return, of each unit, the share of test slices whose patient is among the training slices."""
    slices = Cohort.load(paths.cohort).slices
    rows = slices[slices["labelled"]]
    seen = {}
    for unit in units:
        known = 0
        for fold in range(1, study.split.folds + 1):
            split = divided(rows, unit, study.split.folds, fold, study.split.seed)
            trained = set(rows.loc[split == "train", "patient_id"])
            known += rows.loc[split == "test", "patient_id"].isin(trained).sum()
        seen[unit] = known / len(rows)
    return pd.Series(seen, name="share_seen")
