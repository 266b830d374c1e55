"""Scores of whole volumes: surface distance and lesion volume, from slices that form a scan.

A volume is scored only where all its slices are: a surface through a gap would be a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.data.sources import SPACING
from ssinfnet.scores.slices import CLASSES, Slice, counts, f1

__all__ = ["Agreement", "agreement", "hd95", "score_volumes", "volume_fault"]

FEWEST_SLICES = 3  # of a volume; fewer have no inside
SCORES = ("Dice", "HD95_mm", "true_ml", "predicted_ml", "error_ml")


def score_volumes(
    slices: Iterable[Slice], rows: pd.DataFrame, threshold: float, **labels: Any
) -> pd.DataFrame:
    """Score the volumes among some slices.

    Parameters
    ----------
    slices : iterable of (patient_id, slice_id, truth, probability)
        Slices, as `evaluation.held_out` yields them, those of a volume together. Probabilities
        (height, width) are of lesion; (3, height, width) of background, GGO and consolidation.
    rows : DataFrame
        Rows of the cohort; they tell which slices form a volume, and their spacing.
    threshold : float
        From which a lesion probability is lesion; classes are the likeliest.
    **labels
        Columns that are the same in every row, such as model and seed.

    Returns
    -------
    DataFrame
        A row for each volume and class: the labels, patient_id, scan_id (a patient may have several
        scans), class, slices, Dice, HD95_mm, true_ml, predicted_ml, error_ml (predicted − true),
        and reason where a score is NaN. Empty where slices stand alone.
    """
    of_scan = dict(iter(rows.groupby("scan_id", sort=False)))
    scan_of = rows.set_index("slice_id")["scan_id"]
    scored = []
    for scan, own in groupby(slices, key=lambda one: scan_of[one[1]]):
        ordered = of_scan[scan].sort_values("image_index")
        named = {**labels, "patient_id": ordered["patient_id"].iloc[0], "scan_id": scan}
        if fault := volume_fault(ordered):
            if len(ordered) >= FEWEST_SLICES:
                scored.append({**named, "reason": fault})
            continue
        spacing = tuple(ordered[list(SPACING)].iloc[0])
        masks = {name: (truth, map_) for _, name, truth, map_ in own}
        for name, truth, found in _by_class([masks[i] for i in ordered["slice_id"]], threshold):
            scores = _score_volume(truth, found, spacing)
            scored.append({**named, "class": name, "slices": len(ordered), **scores})
    columns = [*labels, "patient_id", "scan_id", "class", "slices", *SCORES, "reason"]
    return pd.DataFrame(scored).reindex(columns=columns)


def volume_fault(rows: pd.DataFrame) -> str:
    """Say why a scan's slices are no volume that can be scored; "" where they are.

    Parameters
    ----------
    rows : DataFrame
        Rows of the cohort that belong to one scan.
    """
    if len(rows) < FEWEST_SLICES or rows["image_index"].isna().any():
        return "slices stand alone"
    if not np.isfinite(rows[list(SPACING)].to_numpy()).all():
        return "spacing unknown"
    if any(later - earlier != 1 for earlier, later in pairwise(sorted(rows["image_index"]))):
        return "slices are missing within the volume"
    return ""


def hd95(
    truth: NDArray[np.bool_], prediction: NDArray[np.bool_], spacing: tuple[float, ...]
) -> float:
    """Return the 95 % Hausdorff distance of two masks, in the unit of `spacing`.

    The larger of the two directed 95th percentiles of distances between surface voxels, as monai
    defines it; surface voxels are those of the mask that a face-connected erosion removes. NaN
    where either mask is empty.

    Parameters
    ----------
    truth, prediction : bool arrays of one shape
    spacing : tuple of float
        Distance of neighbours along each axis.
    """
    from scipy.ndimage import binary_erosion, distance_transform_edt

    if truth.shape != prediction.shape:
        raise ValueError(f"truth {truth.shape} and prediction {prediction.shape} differ")
    if not (truth.any() and prediction.any()):
        return float("nan")
    surfaces = [mask & ~binary_erosion(mask) for mask in (truth, prediction)]
    directed = [
        np.percentile(distance_transform_edt(~other, sampling=spacing)[own], 95)
        for own, other in (surfaces, surfaces[::-1])
    ]
    return float(max(directed))


class Agreement(NamedTuple):
    """Bland and Altman's (1986) limits: mean difference ± 1.96 standard deviations."""

    n: int
    bias: float
    low: float
    high: float


def agreement(error: pd.Series) -> Agreement:
    """Return the limits of agreement of differences predicted − true; NaN below two of them."""
    known = error.dropna()
    bias, reach = float(known.mean()), 1.96 * float(known.std(ddof=1))
    return Agreement(len(known), bias, bias - reach, bias + reach)


def _by_class(
    slices: list[tuple[NDArray[Any], NDArray[np.floating]]], threshold: float
) -> Iterator[tuple[str, NDArray[np.bool_], NDArray[np.bool_]]]:
    """Yield class, truth and prediction, (slices, height, width)."""
    truth = np.stack([labels for labels, _ in slices])
    if slices[0][1].ndim == 2:
        predicted = np.stack([map_ >= threshold for _, map_ in slices])
        yield "lesion", truth > 0, predicted
        return
    predicted = np.stack([maps.argmax(0) for _, maps in slices])
    for label, name in enumerate(CLASSES[1:], start=1):
        yield name, truth == label, predicted == label


def _score_volume(
    truth: NDArray[np.bool_], found: NDArray[np.bool_], spacing: tuple[float, ...]
) -> dict[str, Any]:
    flat = (mask.reshape(len(mask), -1) for mask in (truth, found))
    millilitres = float(np.prod(spacing)) / 1000
    true, predicted = (float(mask.sum()) * millilitres for mask in (truth, found))
    distance = hd95(truth, found, spacing)
    empty = [name for name, mask in (("truth", truth), ("prediction", found)) if not mask.any()]
    return {
        "Dice": float(f1(*counts(*flat))),
        "HD95_mm": distance,
        "true_ml": true,
        "predicted_ml": predicted,
        "error_ml": predicted - true,
        "reason": f"no {' nor '.join(empty)} to measure a distance from" if empty else "",
    }
