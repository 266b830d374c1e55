"""How much phenotypes depend on where exactly the mask ends: intraclass correlations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from ssinfnet.data.cohort import Cohort
from ssinfnet.patients.phenotypes.catalogue import CLASSES, columns
from ssinfnet.patients.phenotypes.regions import measure_masks
from ssinfnet.study.config import DEFAULT_TEXTURE, TextureConfig

__all__ = [
    "STABLE",
    "changed_masks",
    "intraclass_correlation",
    "phenotypes_by_mask",
    "stability_table",
]

STABLE = 0.75  # an ICC of "good" reliability begins here (Koo & Li 2016)


def changed_masks(mask: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    """Return a mask one pixel smaller and one pixel larger all around."""
    return {
        "eroded": ndimage.binary_erosion(mask, border_value=1),
        "dilated": ndimage.binary_dilation(mask),
    }


def phenotypes_by_mask(
    cohort: Cohort,
    rows: pd.DataFrame,
    predicted: Mapping[str, Mapping[str, NDArray[np.bool_]]],
    texture: TextureConfig = DEFAULT_TEXTURE,
) -> dict[str, pd.DataFrame]:
    """Measure slices on their annotation, on it eroded and dilated, and on predicted masks.

    Parameters
    ----------
    cohort : Cohort
    rows : DataFrame
        Rows of the cohort, with annotated classes.
    predicted : mapping
        slice_id → the three masks, see `maps.class_masks`.
    texture : TextureConfig
        What is measured.

    Returns
    -------
    dict
        ``annotated``, ``eroded``, ``dilated`` and ``predicted`` → the phenotypes, indexed by slice.
    """
    found: dict[str, dict[str, NDArray[np.float64]]] = {}
    for row, image, mask in cohort.read(rows):
        annotated = {"lesion": mask > 0, "ggo": mask == 1, "consolidation": mask == 2}
        versions = {"annotated": annotated, "predicted": predicted[row.slice_id]}
        for name, own in annotated.items():
            for change, changed in changed_masks(own).items():
                versions.setdefault(change, {})[name] = changed
        grey = np.rint(image * 255).astype(np.uint8)
        edges = (row.spacing_row_mm, row.spacing_column_mm)
        spacing = None if np.isnan(edges).any() else edges
        for version, masks in versions.items():
            measured = measure_masks(grey, masks, texture, spacing)
            values = np.concatenate([measured[name].values for name in CLASSES])
            found.setdefault(version, {})[row.slice_id] = values
    return {
        version: pd.DataFrame.from_dict(values, orient="index", columns=columns(CLASSES, texture))
        for version, values in found.items()
    }


def intraclass_correlation(values: ArrayLike) -> float:
    """Return ICC(2,1): two-way random effects, absolute agreement, one measurement.

    Shrout & Fleiss (1979), case 2.

    Parameters
    ----------
    values : array, shape (n subjects, k measurements)
        Rows with a NaN are left out.

    Returns
    -------
    float
        At most 1; NaN with fewer than three whole rows, or where nothing varies.

    Examples
    --------
    >>> intraclass_correlation([[1, 1], [2, 2], [4, 4]])
    1.0
    """
    table = np.asarray(values, dtype=np.float64)
    table = table[np.isfinite(table).all(axis=1)]
    n, k = table.shape
    if n < 3 or k < 2 or np.ptp(table) == 0:
        return float("nan")
    mean = table.mean()
    subjects, measurements = table.mean(axis=1), table.mean(axis=0)
    of_subjects = k * ((subjects - mean) ** 2).sum() / (n - 1)
    of_measurements = n * ((measurements - mean) ** 2).sum() / (k - 1)
    residuals = table - subjects[:, None] - measurements[None, :] + mean
    error = (residuals**2).sum() / ((n - 1) * (k - 1))
    total = of_subjects + (k - 1) * error + k * (of_measurements - error) / n
    return float((of_subjects - error) / total) if total else float("nan")


def stability_table(reference: pd.DataFrame, others: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Compare phenotypes of slices with those measured on other masks of the same slices.

    Parameters
    ----------
    reference : DataFrame
        Phenotypes, indexed by slice.
    others : mapping
        What differs → DataFrame of the same form; slices that are not in both do not count.

    Returns
    -------
    DataFrame
        One row a phenotype: for each comparison its ICC and ``<comparison>_n`` slices, the
        smallest ICC as ``least``, and ``stable``, whether that is at least `STABLE`; missing where
        an ICC is not defined.
    """
    table = pd.DataFrame(index=reference.columns.rename("phenotype"))
    for name, other in others.items():
        shared = reference.index.intersection(other.index)
        pairs = np.stack([reference.loc[shared].to_numpy(float), other.loc[shared].to_numpy(float)])
        table[name] = [
            intraclass_correlation(pairs[:, :, column].T) for column in range(len(table))
        ]
        table[f"{name}_n"] = np.isfinite(pairs).all(axis=0).sum(axis=0)
    table["least"] = table[list(others)].min(axis=1, skipna=False)
    table["stable"] = (table["least"] >= STABLE).astype("boolean").mask(table["least"].isna())
    return table.reset_index()
