"""CT-SS and Dice of whole volumes, as annotated and as the networks see them (D eq 6)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet import evaluation, scores
from ssinfnet.data import sources
from ssinfnet.data.classical_lungs import find_lungs
from ssinfnet.data.cohort import Cohort
from ssinfnet.patients import ct_score
from ssinfnet.scores.volumes import volume_fault
from ssinfnet.study.config import Study
from ssinfnet.study.paths import StudyPaths

__all__ = ["volume_severity"]

COLUMNS = ["model", "fold", "patient_id", "scan_id", "slices", "annotated", "predicted", "DSC",
           "reason"]  # fmt: skip


def volume_severity(
    study: Study, paths: StudyPaths, cohort: Cohort, folds: Iterable[int], model: str, seed: int
) -> pd.DataFrame:
    """Score the test volumes of some folds.

    Parameters
    ----------
    study, paths : Study, StudyPaths
    cohort : Cohort
        Not yet in a fold.
    folds : iterable of int
        Whose networks are trained; 0 is the study's own split.
    model : str
        Model of stage 1.
    seed : int

    Returns
    -------
    DataFrame
        A row a volume: model, fold, patient_id, scan_id (a patient may have several scans), slices,
        CT-SS (0 to 40) as ``annotated`` and as ``predicted``, ``DSC`` of the lesion, and ``reason``
        where they are missing. Slices that stand alone are no volume and have no row.
    """
    rows = []
    for fold in folds:
        fold_cohort = cohort.in_fold(fold)
        predictions = evaluation.read_predictions(paths.single(model, fold, seed))
        for scan, slices in fold_cohort.of_split("test").groupby("scan_id", sort=False):
            fault = volume_fault(slices)
            if fault == "slices stand alone":
                continue
            named = {
                "model": model,
                "fold": fold,
                "patient_id": slices["patient_id"].iloc[0],
                "scan_id": scan,
                "slices": len(slices),
            }
            scored = (
                {"reason": fault}
                if fault
                else _score(
                    fold_cohort,
                    slices.sort_values("image_index"),
                    predictions,
                    study.scores.threshold,
                )
            )
            rows.append(named | scored)
    return pd.DataFrame(rows, columns=COLUMNS).astype({"annotated": "Int64", "predicted": "Int64"})


def _score(
    cohort: Cohort, slices: pd.DataFrame, predictions: dict[str, NDArray], threshold: float
) -> dict[str, object]:
    """Return the scores of one volume, its slices in order."""
    truth = np.stack([mask > 0 for _, _, mask in cohort.read(slices)])
    found = np.stack([predictions[name] >= threshold for name in slices["slice_id"]])
    try:
        regions = ct_score.lung_regions(_lungs(cohort, slices))
    except ValueError as error:  # a lung that was not found
        return {"reason": str(error)}
    annotated, predicted = (
        int(ct_score.ct_severity_score(mask, regions)["score"].sum()) for mask in (truth, found)
    )
    flat = (mask.reshape(len(mask), -1) for mask in (truth, found))
    dice = float(scores.f1(*scores.counts(*flat)))
    return {"annotated": annotated, "predicted": predicted, "DSC": dice, "reason": ""}


def _lungs(cohort: Cohort, slices: pd.DataFrame) -> NDArray[np.bool_]:
    """Return the volume's lungs: annotated where they are, else found slice by slice (D-51)."""
    if slices["lung_path"].notna().all():
        read = sources.read_lungs(cohort.folders, slices)
        return np.stack([lungs for _, _, lungs in read])
    return np.stack([find_lungs(image) for _, image, _ in cohort.read(slices)])
