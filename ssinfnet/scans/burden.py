"""How much of a scan is lesion: its row of the table of predictions, and its phenotypes.

Lesion counts inside the lungs, in shares and in millilitres alike; what lies outside them has a
column of its own. What cannot be told (millilitres of pictures, the lungs of a slice that shows
none) is NaN, and the row says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.data.classical_lungs import find_lungs, lung_fault
from ssinfnet.data.images import LUNG_WINDOW_HU
from ssinfnet.patients import ct_score, phenotypes, severity
from ssinfnet.scans import Scan
from ssinfnet.study.config import DEFAULT_TEXTURE, TextureConfig

__all__ = ["COLUMNS", "headline", "measure", "measure_phenotypes", "missing_phenotypes",
           "outside_words"]  # fmt: skip

COLUMNS = (
    "scan", "kind", "slices", "height", "width",
    "spacing_slice_mm", "spacing_row_mm", "spacing_column_mm",
    "slices_with_lungs", "lesion_fraction", "grade",
    "lesion_ml", "ggo_ml", "consolidation_ml", "lesion_outside_ml", "ct_ss", "reason",
    "series_description", "study_uid", "series_uid",
)  # fmt: skip

COLUMNS_ML = tuple(name for name in COLUMNS if name.endswith("_ml"))

# What V's grades mean; by the cut-points of the paper's public code, 1 % and 50 % of the lungs
GRADES = {0: "mild or regular", 1: "severe", 2: "critical"}

OUTSIDE = 0.05  # of all lesion: more outside the lungs than spills over their border is said

Masks = Mapping[str, NDArray[np.bool_]]


def measure(
    scan: Scan,
    probability: NDArray[np.floating],
    masks: Masks,
    window_hu: tuple[float, float] = LUNG_WINDOW_HU,
) -> dict[str, Any]:
    """Return a scan's row.

    Parameters
    ----------
    scan : Scan
    probability : (n, height, width) float array
        Probability of lesion, in [0, 1].
    masks : mapping of name to (n, height, width) bool array
        ``lesion``; and ``ggo`` and ``consolidation`` where there is a second stage.
    window_hu : (low, high)

    Returns
    -------
    dict
        Of `COLUMNS`. ``lesion_fraction`` is V eq 7 pooled over the slices whose lungs were found
        (D-52), ``grade`` follows from it by the published cut-points, ``ct_ss`` is 0 to 40.
        ``lesion_ml``, ``ggo_ml`` and ``consolidation_ml`` are millilitres inside those lungs, NaN
        where no slice shows any; ``lesion_outside_ml`` is the rest of the lesion, outside the lungs
        and in slices whose lungs were not found (D-184). The last three are None unless the scan is
        a DICOM series.
    """
    lungs, faults = _lungs(scan, window_hu)
    per_slice = [
        (None, None) if fault else severity.lesion_and_lung(map_, lung)
        for map_, lung, fault in zip(probability, lungs, faults, strict=True)
    ]
    pooled = severity.patient_ratios(
        pd.DataFrame(per_slice, columns=["lesion", "lung"], dtype="float64").assign(patient_id="")
    ).iloc[0]
    fraction, reasons = float(pooled["ratio"]), []
    if np.isnan(fraction):
        reasons.append(f"lesion_fraction, grade: no slice shows its lungs, such as: {faults[0]}")
    ml, missing = _millilitres(scan, masks, lungs, faults)
    reasons += missing
    ct_ss, why = _ct_ss(scan, masks["lesion"], lungs)
    reasons += [f"ct_ss: {why}"] if why else []
    found = {
        "scan": scan.name,
        "kind": scan.kind,
        "slices": len(scan),
        "height": scan.slices.shape[1],
        "width": scan.slices.shape[2],
        **dict(zip(COLUMNS[5:8], scan.known_mm, strict=True)),
        "slices_with_lungs": int(pooled["n_slices"]),
        "lesion_fraction": fraction,
        "grade": np.nan if np.isnan(fraction) else int(severity.grade([fraction])[0]),
        **ml,
        "ct_ss": ct_ss,
        "reason": "; ".join([*reasons, *scan.doubts]),
        "series_description": scan.series.description if scan.series else None,
        "study_uid": scan.series.study_uid if scan.series else None,
        "series_uid": scan.series.uid if scan.series else None,
    }
    return {name: found[name] for name in COLUMNS}


def headline(row: Mapping[str, Any]) -> str:
    """Say in one line what a row tells: share of the lungs, grade in words, millilitres.

    Parameters
    ----------
    row : mapping
        From `measure`; what is missing is NaN or None.

    Examples
    --------
    >>> row = {"scan": "a", "lesion_fraction": 0.1, "grade": 1, "slices": 40,
    ...        "slices_with_lungs": 30, "lesion_ml": 400.0, "ggo_ml": 300.0,
    ...        "consolidation_ml": 50.0, "lesion_outside_ml": 2.0}
    >>> print(headline(row))
    a: lesion is 10.0 % of the lungs (30 of 40 slices), grade 1 of 2, severe; 400 ml of lesion, of \
which ground glass 300 ml (75 %), consolidation 50 ml (12 %)
    """
    lesion, outside = row["lesion_ml"], row["lesion_outside_ml"]
    parts = []
    if not pd.isna(row["lesion_fraction"]):
        grade, seen = int(row["grade"]), f"{row['slices_with_lungs']} of {row['slices']} slices"
        parts.append(
            f"lesion is {100 * row['lesion_fraction']:.1f} % of the lungs ({seen}), grade {grade} "
            f"of 2, {GRADES[grade]}"
        )
    elif pd.isna(outside):
        parts.append("no slice shows its lungs, so no share and no grade")
    else:
        parts.append("no slice shows its lungs, so no share, no grade and no millilitres in them")
        parts.append(f"{outside:.0f} ml of the whole scan were called lesion")
    if pd.isna(outside):
        parts.append("no millilitres, since the spacing is not known")
    elif pd.isna(lesion):
        pass  # said above
    elif lesion == 0 or pd.isna(row["ggo_ml"]):
        parts.append(f"{lesion:.0f} ml of lesion")
    else:
        classes = {"ground glass": row["ggo_ml"], "consolidation": row["consolidation_ml"]}
        told = [f"{name} {ml:.0f} ml ({100 * ml / lesion:.0f} %)" for name, ml in classes.items()]
        parts.append(f"{lesion:.0f} ml of lesion, of which {', '.join(told)}")
    if told_outside := outside_words(row):
        parts.append(f"{told_outside}, which do not count")
    return f"{row['scan']}: {'; '.join(parts)}"


def outside_words(row: Mapping[str, Any]) -> str:
    """Say how much lesion lies outside the lungs, where it is not negligible; else nothing.

    Parameters
    ----------
    row : mapping
        From `measure`.
    """
    lesion, outside = row["lesion_ml"], row["lesion_outside_ml"]
    if pd.isna(lesion) or round(outside) < 1 or outside < OUTSIDE * (lesion + outside):
        return ""
    return f"{outside:.0f} ml more outside the lungs that were found"


def _lungs(scan: Scan, window_hu: tuple[float, float]) -> tuple[NDArray[np.bool_], list[str]]:
    """Return the lungs of every slice by classical means (D-51), and what is wrong with each."""
    lungs = np.empty(scan.slices.shape, bool)
    faults = []
    for index in range(len(scan)):
        grey = scan.grey(index, window_hu)
        lungs[index] = find_lungs(grey)
        faults.append(lung_fault(grey, lungs[index]))
    return lungs, faults


def _millilitres(
    scan: Scan, masks: Masks, lungs: NDArray[np.bool_], faults: list[str]
) -> tuple[dict[str, float], list[str]]:
    """Return the millilitres of a row, and why they are missing or not all of the lesion."""
    inside = masks["lesion"] & lungs
    inside[[bool(fault) for fault in faults]] = False  # as in the fraction (D-184)
    called, counted = int(np.count_nonzero(masks["lesion"])), int(np.count_nonzero(inside))
    reasons = []
    if all(faults):
        reasons.append("ml: no slice shows its lungs")
    elif called - counted >= OUTSIDE * max(called, 1):
        share = f"{100 * (1 - counted / called):.0f} %"
        reasons.append(f"{share} of the lesion lies outside the lungs that were found")
    if scan.voxel_ml is None:
        return dict.fromkeys(COLUMNS_ML, np.nan), [*reasons, f"ml: {_why_unknown(scan)}"]
    if "ggo" not in masks:
        reasons.append("ml: the model has no second stage, which tells classes apart")
    # Of the classes, which stage 2 tells everywhere, what stage 1 calls lesion (D-166)
    volumes = (
        {}
        if all(faults)
        else {
            f"{name}_ml": float(np.count_nonzero(mask & inside) * scan.voxel_ml)
            for name, mask in masks.items()
        }
    )
    volumes["lesion_outside_ml"] = float((called - counted) * scan.voxel_ml)
    return {name: volumes.get(name, np.nan) for name in COLUMNS_ML}, reasons


def _ct_ss(scan: Scan, lesion: NDArray[np.bool_], lungs: NDArray[np.bool_]) -> tuple[float, str]:
    """Return CT-SS, or NaN and why (D-53)."""
    if scan.volume is None:
        return np.nan, "pictures are no volume"
    try:
        scored = ct_score.ct_severity_score(lesion, ct_score.lung_regions(lungs))["score"]
    except ValueError as error:
        return np.nan, str(error)
    if empty := int(scored.isna().sum()):
        return np.nan, f"{empty} of {len(scored)} lung regions hold no voxel; too few slices"
    return int(scored.sum()), ""


def measure_phenotypes(
    scan: Scan,
    masks: Masks,
    texture: TextureConfig = DEFAULT_TEXTURE,
    window_hu: tuple[float, float] = LUNG_WINDOW_HU,
) -> dict[str, Any]:
    """Return the phenotypes of a scan: of its slices, averaged (J; D-16, D-19), or of its volume.

    Parameters
    ----------
    scan, masks, window_hu
        As for `measure`.
    texture : TextureConfig
        What is measured, and of which intensities.

    Returns
    -------
    dict
        ``scan``, and the features of each mask; NaN where no slice has the mask, and where they
        are in millimetres and `missing_phenotypes` says why these are not known.

    Raises
    ------
    ValueError
        If volumes or HU are asked for and the scan has none.
    """
    hu = texture.intensities == "hu"
    if texture.dimensions == 3 and scan.volume is None:
        raise ValueError(f"{scan.name} are pictures, no volume to measure in 3 dimensions")
    if hu and (scan.volume is None or scan.volume.windowed):
        raise ValueError(f"{scan.name} has grey values, no HU; leave intensities: hu out")
    names = [name for name in phenotypes.CLASSES if name in masks]
    grey = [
        scan.slices[index] if hu else _grey_8_bit(scan, index, window_hu)
        for index in range(len(scan))
    ]
    spacing, unknown = _spacing(scan, texture)
    if texture.dimensions == 3:
        own = {name: masks[name] for name in names}
        measured = [phenotypes.measure_masks(np.stack(grey), own, texture, spacing)]
    else:
        measured = [
            phenotypes.measure_masks(
                image, {name: masks[name][index] for name in names}, texture, spacing
            )
            for index, image in enumerate(grey)
        ]
    columns = phenotypes.columns(names, texture)
    values = [np.concatenate([one[name].values for name in names]) for one in measured]
    table = pd.DataFrame(np.array(values), columns=columns)
    if unknown:
        table[[name for name in columns if texture.pixel_mm or _in_mm(name)]] = np.nan
    table = table.assign(patient_id=scan.name, slice_id=range(len(table)))
    means, _ = phenotypes.patient_means(table, columns, texture.slice_weights)
    return {"scan": scan.name, **means.iloc[0].to_dict()}


def missing_phenotypes(scan: Scan, texture: TextureConfig = DEFAULT_TEXTURE) -> str:
    """Say which phenotypes of a scan are missing since its millimetres are not known, and why.

    Parameters
    ----------
    scan : Scan
    texture : TextureConfig
        What is measured.

    Returns
    -------
    str
        "" if none is missing for that.
    """
    _, unknown = _spacing(scan, texture)
    if not unknown:
        return ""
    missing = ["total energy"]
    missing += ["shape"] if "shape" in texture.families else []
    missing += ["Laplacians of Gaussians"] if texture.log_mm else []
    missing = ["all, which are of resampled pixels"] if texture.pixel_mm else missing
    return f"phenotypes in mm ({', '.join(missing)}): {unknown}"


def _spacing(scan: Scan, texture: TextureConfig) -> tuple[tuple[float, ...] | None, str]:
    """Return the spacing along the axes that are measured, or None and why (D-137)."""
    spacing = scan.known_mm[3 - texture.dimensions :]
    if scan.volume is None or np.isnan(spacing).any():
        return None, _why_unknown(scan)
    whole = texture.dimensions == 3
    if scan.volume.is_sheared if whole else scan.volume.has_sheared_pixels:
        axes = "its axes" if whole else "its rows and columns"
        return None, f"{axes} are not at right angles; --resample puts it on a grid where they are"
    return spacing, ""


def _why_unknown(scan: Scan) -> str:
    """Say which millimetres of a scan are not known."""
    if scan.volume is None:
        return "pictures have no spacing"
    return f"the {'thickness' if scan.pixel_mm else 'spacing'} is unknown"


def _in_mm(column: str) -> bool:
    """Say whether a phenotype is in millimetres even of an image that is not resampled."""
    return "_shape_" in column or column.endswith("_totalenergy")


def _grey_8_bit(scan: Scan, index: int, window_hu: tuple[float, float]) -> NDArray[np.uint8]:
    """Return a slice as the networks and phenotypes of the lung window read it."""
    return np.rint(scan.grey(index, window_hu) * 255).astype(np.uint8)
