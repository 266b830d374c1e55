"""Phenotypes of a whole cohort, chunk by chunk and processor by processor."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd

from ssinfnet.data.cohort import Cohort
from ssinfnet.evaluation.maps import class_masks, read_maps
from ssinfnet.patients.phenotypes.catalogue import CLASSES, columns
from ssinfnet.patients.phenotypes.regions import measure_masks
from ssinfnet.storage import artifacts
from ssinfnet.study.config import DEFAULT_TEXTURE, TextureConfig
from ssinfnet.work import parent_watch, progress

__all__ = ["measure_cohort"]


def measure_cohort(
    cohort: Cohort,
    chunks: Sequence[Path],
    folder: Path,
    *,
    texture: TextureConfig = DEFAULT_TEXTURE,
    threshold: float = 0.5,
    workers: int = 1,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Measure the features of three masks of every slice of some chunks.

    Parameters
    ----------
    cohort : Cohort
        Whose slices the chunks hold; images are read anew at their own size, at 8 bits (D-16).
    chunks : sequence of Path
        From `cohort_maps.segment_cohort`.
    folder : Path
        Receives two tables a chunk; those of unchanged chunks and settings are not made again.
    texture : TextureConfig
        What is measured; 204 phenotypes by default, and others where it asks for them.
    threshold : float
        See `class_masks`.
    workers : int
        Processes; the result is the same for any number.

    Returns
    -------
    slices : DataFrame
        patient_id, slice_id and the phenotypes, one row a slice, in the order of the chunks.
    reasons : DataFrame
        slice_id, class, family and reason of all that is NaN.
    """
    measure = partial(
        _measure_chunk, cohort=cohort, folder=folder, texture=texture, threshold=threshold
    )
    if workers == 1:
        measured = list(progress.track(map(measure, chunks), "measuring chunks", len(chunks)))
    else:
        # Spawned, since a fork of a process that has used torch's threads may hang.
        with ProcessPoolExecutor(
            workers, get_context("spawn"), parent_watch.start, (os.getpid(),)
        ) as pool:
            done = pool.map(measure, chunks)
            measured = list(progress.track(done, "measuring chunks", len(chunks)))
    slices, reasons = (
        [artifacts.read_table(path) for path in paths] for paths in zip(*measured, strict=True)
    )
    return pd.concat(slices, ignore_index=True), pd.concat(reasons, ignore_index=True)


def _measure_chunk(
    chunk: Path, *, cohort: Cohort, folder: Path, texture: TextureConfig, threshold: float
) -> tuple[Path, Path]:
    """Write the two tables of a chunk, unless they are there; return where they are."""
    settings = {"texture": texture.model_dump(mode="json"), "threshold": threshold}
    made = artifacts.made_by("phenotypes", settings, [chunk])
    paths = folder / f"{chunk.stem}_slices.parquet", folder / f"{chunk.stem}_reasons.parquet"
    if all(artifacts.is_current(path, made) for path in paths):
        return paths
    maps = dict(read_maps(chunk))
    rows = cohort.slices.set_index("slice_id", drop=False).loc[list(maps)]
    values, reasons = [], []
    for row, image, _ in cohort.read(rows):
        spacing = (row.spacing_row_mm, row.spacing_column_mm)
        measured = measure_masks(
            np.rint(image * 255).astype(np.uint8),
            class_masks(maps[row.slice_id], threshold),
            texture,
            None if np.isnan(spacing).any() else spacing,
        )
        features = np.concatenate([measured[name].values for name in CLASSES])
        named = dict(zip(columns(CLASSES, texture), features.tolist(), strict=True))
        values.append({"patient_id": row.patient_id, "slice_id": row.slice_id, **named})
        reasons += [
            (row.slice_id, name, *reason)
            for name in CLASSES
            for reason in measured[name].reasons.items()
        ]
    artifacts.write_table(paths[0], pd.DataFrame(values), made)
    listed = pd.DataFrame(reasons, columns=["slice_id", "class", "family", "reason"])
    artifacts.write_table(paths[1], listed, made)
    return paths
