"""How much of the lungs is lesion in every slice of a cohort, by several networks (V eq 7)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ssinfnet import inference
from ssinfnet.data import slice_sets
from ssinfnet.data.classical_lungs import find_lungs, lung_fault
from ssinfnet.data.cohort import Cohort
from ssinfnet.inference.cohort_maps import CHUNK
from ssinfnet.inference.lung_field import clean_field
from ssinfnet.patients.severity import lesion_and_lung
from ssinfnet.storage import artifacts
from ssinfnet.study.paths import StudyPaths
from ssinfnet.training import fitting
from ssinfnet.work import progress

__all__ = ["cohort_lungs", "contact_rows", "lesion_ratios"]


def cohort_lungs(
    paths: StudyPaths,
    cohort: Cohort,
    rows: pd.DataFrame,
    network: Path | None = None,
    device: torch.device | None = None,
) -> dict[str, tuple[NDArray[np.bool_], str]]:
    """Return slice_id → lungs at the slice's own size, and what is wrong with them (D-51).

    Parameters
    ----------
    paths : StudyPaths
        Folders of the study that prepared the slices.
    cohort : Cohort
    rows : DataFrame
        Some of its rows, index untouched.
    network : Path or None
        Folder of a lung-field training (01_lung_field); None finds the lungs by classical means.
    device : torch.device or None
    """
    fields = {}
    if network is not None:
        slices = slice_sets.single_slices(rows, paths)
        predicted = inference.predict_rows(network, rows, slices, device)
        fields = {name: clean_field(maps[0] >= 0.5) for name, maps in predicted.items()}
    found = {}
    for row, image, _ in cohort.read(rows):
        lungs = fields[row.slice_id] if fields else find_lungs(image)
        found[row.slice_id] = lungs, lung_fault(image, lungs)
    return found


def contact_rows(rows: pd.DataFrame, faulty: Collection[str], most: int = 24) -> pd.DataFrame:
    """Return the slices that a contact sheet shows: faulty ones first, then others evenly spread.

    Parameters
    ----------
    rows : DataFrame
        Rows of a cohort.
    faulty : collection of str
        slice_id of those whose lungs were not found; they take at most half of the sheet.
    most : int
    """
    first = rows[rows["slice_id"].isin(list(faulty))].head(most // 2)
    others = rows.drop(first.index)
    chosen = np.unique(np.linspace(0, len(others) - 1, most - len(first)).round().astype(int))
    return pd.concat([first, others.iloc[chosen[: len(others)]]])


def lesion_ratios(
    paths: StudyPaths,
    cohort: Cohort,
    rows: pd.DataFrame,
    folder: Path,
    models: Sequence[str],
    *,
    flipped_views: bool = False,
    fold: int = 0,
    seed: int = 1,
    lung_network: Path | None = None,
    device: torch.device | None = None,
) -> pd.DataFrame:
    """Measure lesion and lungs of slices by each stage-1 model, chunk by chunk and resumable.

    Parameters
    ----------
    paths, cohort, rows, lung_network, device
        As `cohort_lungs` takes them.
    folder : Path
        Receives one table a chunk.
    models : sequence of str
        Stage-1 models of the study.
    flipped_views : bool
        Whether the study averages flipped views, see `inference.predict`.
    fold, seed : int
        Fold and seed of their trainings.

    Returns
    -------
    DataFrame
        model, patient_id, slice_id, lesion (sum of probability within the lungs, pixels), lung
        (pixels) and fault; the two are missing where the lungs have a fault. From here
        `severity.patient_ratios`.
    """
    trained = {model: paths.single(model, fold, seed) for model in models}
    used = dict(trained) | ({} if lung_network is None else {"lungs": lung_network})
    weights = {name: artifacts.sha256(path / fitting.WEIGHTS) for name, path in used.items()}
    tables = []
    starts = range(0, len(rows), CHUNK)
    for number, first in enumerate(progress.track(starts, "measuring chunks of slices")):
        part = rows.iloc[first : first + CHUNK]
        held = {
            "weights": weights,
            "flipped_views": flipped_views,
            "slices": part["slice_id"].tolist(),
        }
        made = artifacts.made_by(paths.study, held)
        path = folder / f"ratios{number:05d}.parquet"
        if not artifacts.is_current(path, made):
            lungs = cohort_lungs(paths, cohort, part, lung_network, device)
            measured = _measure(paths, part, trained, lungs, flipped_views, device)
            artifacts.write_table(path, measured, made)
        tables.append(artifacts.read_table(path))
    return pd.concat(tables, ignore_index=True)


def _measure(
    paths: StudyPaths,
    rows: pd.DataFrame,
    trained: dict[str, Path],
    lungs: dict[str, tuple[NDArray[np.bool_], str]],
    flipped_views: bool,
    device: torch.device | None,
) -> pd.DataFrame:
    slices = slice_sets.single_slices(rows, paths)
    measured = []
    for model, network in trained.items():
        predicted = inference.predict_rows(
            network, rows, slices, device, flipped_views=flipped_views
        )
        for row in rows.itertuples():
            mask, fault = lungs[row.slice_id]
            lesion, lung = (
                (None, None) if fault else lesion_and_lung(predicted[row.slice_id][0], mask)
            )
            measured.append((model, row.patient_id, row.slice_id, lesion, lung, fault))
    columns = ["model", "patient_id", "slice_id", "lesion", "lung", "fault"]
    table = pd.DataFrame(measured, columns=columns)
    return table.astype({"lesion": "float64", "lung": "Int64"})
