"""Decode every slice once: arrays of one size for the networks, and near-duplicates on the way.

Slices are streamed, so memory stays flat however many there are. Prepared arrays are 8-bit: the
256 grey values over the window of D-03 are 5.5 HU apart, below a scanner's noise (D-25).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.data import duplicates, images, lung_crop, same_patient
from ssinfnet.data.cohort import Cohort, prepared_array
from ssinfnet.storage import artifacts
from ssinfnet.study.config import FittingConfig, Study
from ssinfnet.work import progress

__all__ = ["augmented_examples", "examples", "prepare_slices"]


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
        Near-duplicates across splits, see `duplicates.near_duplicates`.

    Raises
    ------
    ValueError
        If volumes of different patients look like one patient's (D-71), or if there are
        near-duplicates across splits and the study refuses them.
    """
    size, rows = study.image_size, cohort.slices
    shape = (len(rows), size, size)
    with ExitStack() as stack:
        arrays = {
            name: np.lib.format.open_memmap(
                stack.enter_context(artifacts.replacing(folder / f"{name}.npy")),
                mode="w+",
                dtype=np.uint8,
                shape=shape,
            )
            for name in ("images", "masks")
        }
        thumbnails = duplicates.thumbnail_store(len(rows), folder)
        shown = progress.track(cohort.read(rows), "preparing slices", len(rows))
        for index, (row, image, mask) in enumerate(shown):
            within = lung_crop.box_of(row).within
            grey = images.resize_image(image[within], size)
            arrays["images"][index] = np.rint(grey * 255)
            arrays["masks"][index] = 0 if mask is None else images.resize_mask(mask[within], size)
            thumbnails[index] = duplicates.thumbnail(image)
        for array in arrays.values():
            array.flush()
    bits, correlation = study.split.near_duplicate_bits, study.split.near_duplicate_correlation
    alike = duplicates.near_duplicates(rows, thumbnails, rows["patient_id"], bits, correlation)
    if study.data.phantom is None:  # whose patients differ by design, however alike when small
        same_patient.refuse_look_alikes(alike, rows)
    # Unlabelled slices count as training slices, since stage 1 may train on them.
    roles = alike[["split_a", "split_b"]].replace("unlabelled", "train")
    across = alike[roles["split_a"] != roles["split_b"]].reset_index(drop=True)
    artifacts.write_table(folder / "duplicates.parquet", across, made)
    artifacts.write_json(folder / "prepared.json", {**made, "shape": shape})
    if len(across) and study.split.refuse_near_duplicates:
        pairs = across[["slice_a", "slice_b"]].head(5).values.tolist()
        raise ValueError(
            f"{len(across)} near-duplicate slices lie in different splits: {pairs}; give them "
            "one patient_id, or set split.refuse_near_duplicates to false"
        )
    return across


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
    positions = np.unique(np.linspace(0, len(largest) - 1, min(count, len(largest))).round())
    rows = largest.iloc[positions.astype(int)]
    grey = prepared_array(folder, "images", rows)
    return (grey / np.float32(255)).astype(np.float32), prepared_array(folder, "masks", rows)


def unlabelled_examples(cohort: Cohort, folder: Path) -> tuple[NDArray[np.float32], list[str]]:
    """Return a prepared image in [0, 1] of each source that has slices without labels, and names.

    The middle slice of the middle patient: without a mask nothing tells a typical one.
    """
    chosen = []
    for _, rows in cohort.of_split("unlabelled").groupby("source", sort=False):
        patients = sorted(rows["patient_id"].unique())
        of_patient = rows[rows["patient_id"] == patients[len(patients) // 2]]
        chosen.append(of_patient.iloc[[len(of_patient) // 2]])
    rows = pd.concat([cohort.slices.iloc[:0], *chosen])
    grey = prepared_array(folder, "images", rows)
    names = [f"{source},\nunlabelled" for source in rows["source"]]
    return (grey / np.float32(255)).astype(np.float32), names


def augmented_examples(
    cohort: Cohort, folder: Path, training: FittingConfig, fractions: Sequence[float], seed: int
) -> dict[str, NDArray[np.float32]]:
    """Return prepared slices as training changes them: cutout of each fraction, crop (V fig 6).

    Returns
    -------
    dict
        "As scanned", "Cutout <fraction>" of each, and "Crop and flip": (4, size, size) float32
        arrays in [0, 1]. Every slice shown is erased, or cropped and flipped upside down; other
        changes are those of `training`.
    """
    import torch

    from ssinfnet.data import augmentation

    scanned, _ = examples(cohort, folder)
    shown = {"As scanned": scanned}
    changes: dict[str, dict[str, float]] = {
        f"Cutout {fraction:g}": {"cutout": 1.0, "cutout_fraction": fraction}
        for fraction in fractions
    }
    changes["Crop and flip"] = {"crop": 1.0, "flip_vertical": 1.0}
    for name, change in changes.items():
        config = training.augmentation.model_copy(update=change)
        draw = augmentation.draw_augmentation(np.random.default_rng(seed), len(scanned), config)
        changed = augmentation.augment(torch.from_numpy(scanned)[:, None], draw, kind="image")
        shown[name] = changed[:, 0].numpy()
    return shown
