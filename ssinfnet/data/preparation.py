"""Decode every slice once: arrays of one size for the networks, and near-duplicates on the way.

Slices are streamed, so memory stays flat however many there are. Prepared arrays are 8-bit: the
256 grey values over the window of D-03 are 5.5 HU apart, below a scanner's noise (D-25).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.data import images, same_patient
from ssinfnet.data.cohort import Cohort, prepared_array
from ssinfnet.storage import artifacts
from ssinfnet.study.config import FittingConfig, Study
from ssinfnet.work import progress

__all__ = ["augmented_examples", "examples", "near_duplicates", "perceptual_hash",
           "prepare_slices", "thumbnail"]  # fmt: skip

THUMBNAIL = 32  # pixels, square
BLOCK = 512  # slices compared at once, which bounds the memory


def prepare_slices(
    cohort: Cohort, study: Study, folder: Path, made: Mapping[str, Any]
) -> pd.DataFrame:
    """Write `images.npy` and `masks.npy` (n, size, size) uint8 in the cohort's row order.

    Parameters
    ----------
    cohort : Cohort
    study : Study
        Its `image_size` and `split`.
    folder : Path
        Receives the arrays, `duplicates.parquet` and `prepared.json`.
    made : mapping
        What makes them (`artifacts.made_by`).

    Returns
    -------
    DataFrame
        Near-duplicates across splits, see `near_duplicates`.

    Raises
    ------
    ValueError
        If volumes of different patients look like one patient's (D-71), or if there are
        near-duplicates across splits and the study refuses them.
    """
    size, rows = study.image_size, cohort.slices
    shape = (len(rows), size, size)
    # All that is held of every slice: 2 KB, and 63 bits when they are compared
    thumbnails = np.empty((len(rows), THUMBNAIL, THUMBNAIL), np.float16)
    with ExitStack() as stack:
        arrays = {
            name: np.lib.format.open_memmap(
                stack.enter_context(artifacts.replacing(folder / f"{name}.npy")),
                mode="w+", dtype=np.uint8, shape=shape,
            )
            for name in ("images", "masks")
        }  # fmt: skip
        shown = progress.track(cohort.read(rows), "preparing slices", len(rows))
        for index, (_, image, mask) in enumerate(shown):
            grey = images.resize_image(image, size)
            arrays["images"][index] = np.rint(grey * 255)
            arrays["masks"][index] = 0 if mask is None else images.resize_mask(mask, size)
            thumbnails[index] = thumbnail(image)
        for array in arrays.values():
            array.flush()
    bits, correlation = study.split.near_duplicate_bits, study.split.near_duplicate_correlation
    alike = near_duplicates(rows, thumbnails, rows["patient_id"], bits, correlation)
    if study.data.phantom is None:  # whose patients differ by design, however alike when small
        same_patient.refuse_look_alikes(alike, rows)
    # Unlabelled slices count as training slices, since stage 1 may train on them.
    roles = alike[["split_a", "split_b"]].replace("unlabelled", "train")
    duplicates = alike[roles["split_a"] != roles["split_b"]].reset_index(drop=True)
    artifacts.write_table(folder / "duplicates.parquet", duplicates, made)
    artifacts.write_json(folder / "prepared.json", {**made, "shape": shape})
    if len(duplicates) and study.split.refuse_near_duplicates:
        pairs = duplicates[["slice_a", "slice_b"]].head(5).values.tolist()
        raise ValueError(
            f"{len(duplicates)} near-duplicate slices lie in different splits: {pairs}; give them "
            "one patient_id, or set split.refuse_near_duplicates to false"
        )
    return duplicates


def thumbnail(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a slice at the size at which slices are compared, 32 × 32."""
    return images.resize_image(image, THUMBNAIL)


def perceptual_hash(thumbnails: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return 63 bits a slice: which low frequencies of the cosine transform exceed their median.

    The pHash of Zauner (2010), without the constant term: brightness does not matter.

    Parameters
    ----------
    thumbnails : (n, 32, 32) float array

    Returns
    -------
    (n, 63) bool array
    """
    from scipy.fft import dctn

    waves = dctn(thumbnails.astype(np.float32), axes=(1, 2), norm="ortho")
    low = waves[:, :8, :8].reshape(len(thumbnails), -1)[:, 1:]
    return low > np.median(low, axis=1, keepdims=True)


def near_duplicates(
    rows: pd.DataFrame,
    thumbnails: NDArray[np.float32],
    apart: pd.Series,
    most_bits: int,
    least_correlation: float,
) -> pd.DataFrame:
    """List pairs of slices that should have nothing in common and look like one slice (D-26).

    Their hashes differ by at most `most_bits` bits, and their thumbnails correlate by at least
    `least_correlation`: the first alone also finds two patients' whole-body slices of one level.

    Parameters
    ----------
    rows : DataFrame
        Slices, with slice_id, and split where they have one.
    thumbnails : (n, 32, 32) float array
    apart : Series
        Slices of different values are compared: of different roles in training, or patients.
    most_bits, least_correlation

    Returns
    -------
    DataFrame
        slice_a, slice_b, split_a, split_b, bits, correlation (of the thumbnails).
    """
    starts = range(0, len(rows), BLOCK)
    blocks = [slice(first, first + BLOCK) for first in starts]
    hashes = np.concatenate([perceptual_hash(thumbnails[block]) for block in blocks])
    ids = rows["slice_id"].to_numpy()
    split = rows["split"].to_numpy() if "split" in rows else np.full(len(rows), None)
    group = apart.to_numpy()
    found = []
    for one, other in combinations_with_replacement(blocks, 2):
        first, second = one.start, other.start
        bits = _different_bits(hashes[one], hashes[other])
        correlation = _unit(thumbnails[one]) @ _unit(thumbnails[other]).T
        near = (bits <= most_bits) & (correlation >= least_correlation)
        near &= group[one][:, None] != group[other]
        for a, b in np.argwhere(near):
            if first + a < second + b:
                pair = (first + a, second + b)
                found.append((*pair, int(bits[a, b]), float(correlation[a, b])))
    found.sort()
    pairs = [
        (ids[a], ids[b], split[a], split[b], bits, correlation) for a, b, bits, correlation in found
    ]
    columns = ["slice_a", "slice_b", "split_a", "split_b", "bits", "correlation"]
    table = pd.DataFrame(pairs, columns=columns)
    return table.sort_values("correlation", ascending=False, ignore_index=True)


def _different_bits(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return how many bits differ, each of `one` against each of `other`."""
    a, b = one.astype(np.float32), other.astype(np.float32)
    return a.sum(1)[:, None] + b.sum(1) - 2 * (a @ b.T)  # |a − b| over bits = Σa + Σb − 2ab


def _unit(thumbnails: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return thumbnails as vectors of mean 0 and length 1: their products are correlations."""
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    # A blank slice has no pattern to share: its correlation with anything counts as 0.
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)


def examples(
    cohort: Cohort, folder: Path, count: int = 4
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return prepared images in [0, 1] and masks of labelled slices of `count` patients.

    The slices with the most lesion of the patients in the middle of the ranking by lesion size, so
    that a figure shows typical lesions, both classes where there are any.
    """
    labelled = cohort.slices[cohort.slices["has_lesion"].fillna(False).astype(bool)]
    largest = labelled.sort_values("lesion_pixels").groupby("patient_id").tail(1)
    largest = largest.sort_values(["has_consolidation", "lesion_pixels"])
    chosen = np.unique(np.linspace(0, len(largest) - 1, min(count, len(largest))).round())
    rows = largest.iloc[chosen.astype(int)]
    grey = prepared_array(folder, "images", rows)
    return (grey / np.float32(255)).astype(np.float32), prepared_array(folder, "masks", rows)


def unlabelled_examples(cohort: Cohort, folder: Path) -> tuple[NDArray[np.float32], list[str]]:
    """Return a prepared image in [0, 1] of each source that has slices without labels, and names.

    The middle slice of the middle patient: without a mask nothing tells a typical one.
    """
    chosen = []
    for _, rows in cohort.of_split("unlabelled").groupby("source", sort=False):
        patients = sorted(rows["patient_id"].unique())
        own = rows[rows["patient_id"] == patients[len(patients) // 2]]
        chosen.append(own.iloc[[len(own) // 2]])
    rows = pd.concat([cohort.slices.iloc[:0], *chosen])
    grey = prepared_array(folder, "images", rows)
    names = [f"{source},\nunlabelled" for source in rows["source"]]
    return (grey / np.float32(255)).astype(np.float32), names


def augmented_examples(
    cohort: Cohort, folder: Path, training: FittingConfig, fractions: Sequence[float], seed: int
) -> dict[str, NDArray[np.float32]]:
    """Return prepared slices as training changes them, with cutout of several fractions (V fig 6).

    Returns
    -------
    dict
        "As scanned", then "Cutout <fraction>": (4, size, size) float32 arrays in [0, 1]. Other
        changes are those of `training`; every slice shown is erased.
    """
    import torch

    from ssinfnet.data import augmentation

    scanned, _ = examples(cohort, folder)
    shown = {"As scanned": scanned}
    for fraction in fractions:
        erasing = training.augmentation.model_copy(
            update={"cutout": 1.0, "cutout_fraction": fraction}
        )
        draw = augmentation.draw_augmentation(np.random.default_rng(seed), len(scanned), erasing)
        changed = augmentation.augment(torch.from_numpy(scanned)[:, None], draw, kind="image")
        shown[f"Cutout {fraction:g}"] = changed[:, 0].numpy()
    return shown
