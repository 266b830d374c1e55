"""Patients whom the sources know under several names: found, joined, or refused (D-18, D-71)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import pandas as pd

from ssinfnet.data.sources import RADIOPAEDIA_CASES

__all__ = [
    "join_patients",
    "look_alikes",
    "refuse_look_alikes",
    "refuse_separate_cases",
    "study_key",
]

FEWEST_SLICES = 3  # of a volume; single slices that look alike are listed pair by pair (D-26)
MOST = 0.5  # more than this share of a volume's slices must be another's


def join_patients(slices: pd.DataFrame, groups: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Give all patients of a group one patient_id; `scan_id` keeps the name that the source gave.

    Parameters
    ----------
    slices : DataFrame
        With patient_id, as the sources name patients.
    groups : sequence of sequences of str
        Names of one patient each. Groups that share a name are one group.

    Returns
    -------
    DataFrame
        The same rows; patient_id is the first name of the group.

    Raises
    ------
    ValueError
        If no slice is of a named patient.
    """
    known = set(slices["patient_id"])
    unknown = sorted({name for group in groups for name in group} - known)
    if unknown:
        raise ValueError(
            f"data.same_patient names {unknown}, whom no source has; patients are named as in "
            f"{sorted(known)[:5]}"
        )
    first = {name: group[0] for group in _connected(groups) for name in group}
    return slices.assign(patient_id=slices["patient_id"].replace(first))


def look_alikes(duplicates: pd.DataFrame, slices: pd.DataFrame) -> pd.DataFrame:
    """List volumes most of whose slices are near-duplicates of another patient's.

    Parameters
    ----------
    duplicates : DataFrame
        From `duplicates.near_duplicates`, of slices of different patients.
    slices : DataFrame
        With slice_id and patient_id.

    Returns
    -------
    DataFrame
        patient (whose slices recur), other (where), alike (how many recur), slices (of how many).
    """
    patient = slices.set_index("slice_id")["patient_id"]
    sizes = patient.value_counts()
    both = pd.DataFrame(
        {
            "slice": [*duplicates["slice_a"], *duplicates["slice_b"]],
            "match": [*duplicates["slice_b"], *duplicates["slice_a"]],
        },
        dtype="str",
    )
    both = both.assign(patient=both["slice"].map(patient), other=both["match"].map(patient))
    alike = both.groupby(["patient", "other"])["slice"].nunique().rename("alike").reset_index()
    alike = alike.assign(slices=alike["patient"].map(sizes).astype("int64"))
    recurs = (alike["slices"] >= FEWEST_SLICES) & (alike["alike"] > MOST * alike["slices"])
    return alike[recurs].reset_index(drop=True)


def refuse_look_alikes(duplicates: pd.DataFrame, slices: pd.DataFrame) -> None:
    """Refuse volumes that look like one patient's and are named as different patients (D-71).

    Raises
    ------
    ValueError
        With the key that names them as one.
    """
    alike = look_alikes(duplicates, slices)
    if len(alike):
        listed = "; ".join(
            f"{row.alike} of {row.slices} slices of {row.patient} recur in {row.other}"
            for row in alike.head(5).itertuples()
        )
        pairs = zip(alike["patient"], alike["other"], strict=True)
        raise ValueError(
            f"volumes of different patients look like one patient's: {listed}. Name them as one in "
            f"the study, under data: {study_key(pairs)}"
        )


def refuse_separate_cases(slices: pd.DataFrame) -> None:
    """Refuse scans of one Radiopaedia case under several patients (D-73).

    Med-Seg's volumes are also among COVID-SemiSeg's unlabelled slices, turned, cropped and in
    another window, so their near-duplicates cannot be found by thumbnails.

    Parameters
    ----------
    slices : DataFrame
        With source, scan_id and patient_id.

    Raises
    ------
    ValueError
        With the key that names them as one.
    """
    of_case = slices["source"].isin(["medseg", "covid_semiseg"])
    scans = slices[of_case].drop_duplicates(["source", "scan_id"]).set_index("scan_id")
    separate = []
    for case in RADIOPAEDIA_CASES:
        names = [name for name in case if name in scans.index]
        if scans.loc[names, "patient_id"].nunique() > 1:
            separate.append(names)
    if separate:
        raise ValueError(
            "Med-Seg's volumes and COVID-SemiSeg's unlabelled slices are scans of the same "
            "Radiopaedia cases (D-73). Name each case as one patient in the study, under data: "
            f"{study_key(separate)}"
        )


def study_key(groups: Iterable[Sequence[str]]) -> str:
    """Return the line of a study that names each group as one patient; groups that overlap join.

    Examples
    --------
    >>> study_key([("a", "b"), ("b", "c")])
    'same_patient: [["a", "b", "c"]]'
    """
    return f"same_patient: {json.dumps(_connected(groups), ensure_ascii=False)}"


def _connected(groups: Iterable[Sequence[str]]) -> list[list[str]]:
    """Join groups that share a name; names stay in their order."""
    joined: list[list[str]] = []
    for group in groups:
        touching = [one for one in joined if set(one) & set(group)]
        names = [name for one in touching for name in one] + list(group)
        joined = [one for one in joined if one not in touching] + [list(dict.fromkeys(names))]
    return joined
