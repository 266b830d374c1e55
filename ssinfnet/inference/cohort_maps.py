"""What the networks see in a whole cohort: probabilities chunk by chunk, however many slices.

One chunk is in memory at a time. A chunk that is on disk and was made by the same networks is not
made again, so a run that was killed goes on where it stopped.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ssinfnet import inference
from ssinfnet.data import lung_crop, slice_sets
from ssinfnet.data.batches import SliceSet
from ssinfnet.storage import artifacts
from ssinfnet.study.models import MULTI_MODELS, PRIOR_MODEL
from ssinfnet.study.paths import StudyPaths
from ssinfnet.training import fitting
from ssinfnet.work import progress

__all__ = ["CHUNK", "segment_cohort"]

CHUNK = 64  # slices: 64 MB of 512 px maps
BATCH = 4  # slices at once: below 2 GB at the paper's 352 px


def segment_cohort(
    paths: StudyPaths,
    rows: pd.DataFrame,
    folder: Path,
    *,
    image_size: int,
    single_model: str,
    multi_model: str,
    prior_model: str = PRIOR_MODEL,
    flipped_views: bool = False,
    fold: int = 0,
    seed: int = 1,
    device: torch.device | None = None,
) -> list[Path]:
    """Segment slices with a study's networks of both stages and store what they see.

    Parameters
    ----------
    paths : StudyPaths
        Folders of the study, whose networks are trained and whose slices are prepared.
    rows : DataFrame
        Rows of its cohort, index untouched; patients that no training saw with labels.
    folder : Path
        Receives one NPZ a chunk.
    image_size : int
        The study's image size, in pixels.
    single_model, multi_model : str
        Whose lesion and whose classes.
    prior_model : str
        Model of stage 1 whose probability stage 2 reads.
    flipped_views : bool
        Whether the study averages flipped views, see `inference.predict`.
    fold, seed : int
        Fold and seed of the trainings.
    device : torch.device or None

    Returns
    -------
    list of Path
        The chunks, in the order of `rows`; see `maps.read_maps`.
    """
    stages = {
        "single": paths.single(single_model, fold, seed),
        "prior": paths.single(prior_model, fold, seed),
        "multi": paths.multi(multi_model, fold, seed),
    }
    # The networks by their bytes: trained anew, they make all chunks anew.
    weights = {name: artifacts.sha256(folder / fitting.WEIGHTS) for name, folder in stages.items()}
    settings = {"image_size": image_size, "flipped_views": flipped_views}
    made = artifacts.made_by(paths.study, {**settings, "weights": weights})
    reads_prior = MULTI_MODELS[multi_model].prior
    chunks = []
    starts = range(0, len(rows), CHUNK)
    for number, first in enumerate(progress.track(starts, "segmenting chunks of slices")):
        path = folder / f"chunk{number:05d}.npz"
        chunks.append(path)
        part = rows.iloc[first : first + CHUNK]
        held = {**made, "slices": part["slice_id"].tolist()}
        if not artifacts.is_current(path, held):
            maps = _segment(paths, part, stages, **settings, reads_prior=reads_prior, device=device)
            artifacts.write_arrays(path, maps, held)
    for stale in sorted(set(folder.glob("chunk*.npz*")) - _with_sidecars(chunks)):
        stale.unlink()
    return chunks


def _with_sidecars(chunks: list[Path]) -> set[Path]:
    return {*chunks, *(path.with_name(f"{path.name}.json") for path in chunks)}


def _segment(
    paths: StudyPaths,
    rows: pd.DataFrame,
    stages: dict[str, Path],
    *,
    image_size: int,
    flipped_views: bool,
    reads_prior: bool,
    device: torch.device | None,
) -> dict[str, NDArray[np.uint8]]:
    """Return ``<slice_id>.lesion`` and ``<slice_id>.classes`` of some slices."""
    slices = slice_sets.single_slices(rows, paths)
    predict = partial(
        inference.predict_rows, device=device, batch_size=BATCH, flipped_views=flipped_views
    )
    lesions = predict(stages["single"], rows, slices)
    if reads_prior:
        priors = lesions
        if stages["prior"] != stages["single"]:
            priors = predict(stages["prior"], rows, slices)
        read = slice_sets.at_network_size(lung_crop.cropped(priors, rows), image_size)
        slices = replace(slices, priors=SliceSet.of(read).images)
    classes = predict(stages["multi"], rows, slices)
    maps = {f"{name}.lesion": lesions[name][0] for name in rows["slice_id"]}
    maps |= {f"{name}.classes": classes[name] for name in rows["slice_id"]}
    return {
        name: np.rint(map_.astype(np.float32) * 255).astype(np.uint8) for name, map_ in maps.items()
    }
