"""Severity image by image, as V table V scores it: each slice has its patient's grade (D-157)."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ssinfnet.patients import severity

__all__ = ["image_scores"]


def image_scores(
    ratios: pd.DataFrame, patients: pd.DataFrame, draws: int = 2000, seed: int = 2021
) -> dict[str, pd.DataFrame]:
    """Grade every image by the published cut-points, and score it against its patient's grade.

    Parameters
    ----------
    ratios : DataFrame
        model, patient_id, lesion and lung of every slice, see `severity.patient_ratios`; slices
        whose lungs were not found are left out.
    patients : DataFrame
        From `severity.graded_patients`; those that fit cut-points are left out, so that images and
        patients are of the same people.
    draws, seed : int
        Size and seed of the bootstrap. Patients are drawn with all their images, since
        images of one patient are alike.

    Returns
    -------
    dict of str to DataFrame
        Model → as `severity.grade_scores` returns it; ``n`` counts images. Models without an image
        of a graded patient are left out.
    """
    judged = patients[patients["half"] == "judge"]
    scored = {}
    for model, slices in ratios.groupby("model", sort=False):
        grades = judged.loc[judged["model"] == model].set_index("patient_id")["grade"]
        known = slices[slices["patient_id"].isin(grades.index) & (slices["lung"] > 0)]
        known = known.dropna(subset=["lesion", "lung"])
        if known.empty:
            continue
        predicted = severity.grade((known["lesion"] / known["lung"]).astype(float))
        true = known["patient_id"].map(grades).to_numpy(dtype=np.int_)
        place, people = pd.factorize(known["patient_id"])
        cells = np.zeros((len(people), len(severity.GRADES), len(severity.GRADES)))
        np.add.at(cells, (place, true, predicted), 1)
        drawn = np.random.default_rng(seed).multinomial(
            len(people), np.full(len(people), 1 / len(people)), size=draws
        )
        resampled = severity.averages(np.tensordot(drawn.astype(np.float64), cells, axes=1))
        low, high = np.nanpercentile(resampled, [2.5, 97.5], axis=0)
        scored[model] = pd.DataFrame(severity.SCORED, columns=["average", "metric"]).assign(
            mean=severity.averages(cells.sum(axis=0)[None])[0], low=low, high=high, n=len(known)
        )
    return scored
