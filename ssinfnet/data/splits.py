"""Patients divided into train, validation and test, and into folds, slices balanced (D-01)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.study.config import SplitConfig

__all__ = ["SPLITS", "assign_folds", "assign_splits", "divide_patients", "refuse_leakage"]

SPLITS = ("train", "validation", "test")
DRAWS = 100  # random assignments tried; the most balanced is kept


def assign_splits(slices: pd.DataFrame, config: SplitConfig) -> pd.Series:
    """Return each slice's split: patients whole, shares and lesion presence balanced (D-01).

    Of many seeded random assignments the one nearest to the asked shares, of slices and of slices
    with lesion, is kept. The result does not depend on the order of rows.

    Parameters
    ----------
    slices : DataFrame
        With patient_id, labelled, has_lesion, source_split.
    config : SplitConfig
        With `own_test_set`, the source's test slices are the test set, and if it has a validation
        set, that is kept too. `test_patients` are the test set, or join it; the rest is divided
        into train and validation.

    Raises
    ------
    ValueError
        If a split would be empty, or no labelled slice is of a patient that is named.
    """
    split = pd.Series("unlabelled", index=slices.index, dtype="str")
    to_divide = slices["labelled"].astype(bool)
    shares = {name: getattr(config, name) for name in SPLITS}
    if config.own_test_set:
        own = to_divide & slices["source_split"].isin(SPLITS[1:])
        split[own] = slices.loc[own, "source_split"]
        to_divide &= ~own
        shares = {name: share for name, share in shares.items() if name not in {*split, "test"}}
    if config.test_patients:
        named = to_divide & _belong_to(slices, config.test_patients)
        split[named] = "test"
        to_divide &= ~named
        shares.pop("test", None)
    rest = slices[to_divide]
    split[to_divide] = rest["patient_id"].map(_divide(rest, shares, config))
    counts = split.value_counts()
    empty = [name for name in SPLITS if not counts.get(name, 0)]
    if empty:
        patients = slices.loc[slices["labelled"], "patient_id"].nunique()
        raise ValueError(
            f"the split leaves {empty} empty: {patients} labelled patients"
            + (", and the source has no test set of its own" if config.own_test_set else "")
            + "; add labelled patients or change the study's split"
        )
    return split


def _belong_to(slices: pd.DataFrame, names: Sequence[str]) -> pd.Series:
    """Say which slices are of patients that are named, by the study's or the sources' names."""
    named = slices["patient_id"].isin(names) | slices["scan_id"].isin(names)
    labelled = slices[slices["labelled"].astype(bool)]
    missing = set(names) - {*labelled["patient_id"], *labelled["scan_id"]}
    if missing:
        raise ValueError(
            f"split.test_patients names {sorted(missing)}, of whom no labelled slice is known"
        )
    return slices["patient_id"].isin(slices.loc[named, "patient_id"])


def assign_folds(slices: pd.DataFrame, config: SplitConfig) -> pd.Series:
    """Return each labelled slice's part 1 to K of the cross-validation, patients whole."""
    labelled = slices[slices["labelled"].astype(bool)]
    parts = _divide(labelled, {str(k): 1.0 for k in range(1, config.folds + 1)}, config)
    return slices["patient_id"].map(parts).where(slices["labelled"]).astype("Int64")


def _divide(
    slices: pd.DataFrame, shares: Mapping[str, float], config: SplitConfig
) -> dict[str, str]:
    """Return patient → part, over all slices or, if the study asks, within each source."""
    if not config.each_source:
        return divide_patients(slices, shares, config.seed)
    # A patient of several sources counts with the first.
    source = slices.groupby("patient_id")["source"].transform("first")
    divided = [divide_patients(rows, shares, config.seed) for _, rows in slices.groupby(source)]
    return {patient: part for parts in divided for patient, part in parts.items()}


def refuse_leakage(slices: pd.DataFrame) -> None:
    """Refuse a table in which one patient is in two splits (D-01).

    Unlabelled slices may share a patient with the training set alone.

    Raises
    ------
    ValueError
        Naming the patients.
    """
    role = slices["split"].replace("unlabelled", "train")
    splits = role.groupby(slices["patient_id"]).unique()
    crossing = splits[splits.map(len) > 1]
    if len(crossing):
        named = "; ".join(f"{p} in {' and '.join(s)}" for p, s in crossing.head(5).items())
        raise ValueError(f"{len(crossing)} patients are in two splits: {named}")


def divide_patients(slices: pd.DataFrame, shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Return patient → part such that slices, and slices with lesion, follow the shares."""
    lesion = slices["has_lesion"].fillna(False).astype(int)
    patients = lesion.groupby(slices["patient_id"]).agg(["size", "sum"]).sort_index()
    names = list(shares)
    wanted = np.array([shares[name] for name in names]) / sum(shares.values())
    best: tuple[float, Sequence[int]] = (np.inf, [])
    for draw in range(DRAWS):
        rng = np.random.default_rng([seed, draw])
        # Large patients first, roughly: small ones then even out what is left.
        order = np.argsort(-patients["size"].to_numpy() * rng.uniform(0.5, 1.5, len(patients)))
        parts, imbalance = _fill(patients.to_numpy(), order, wanted)
        if imbalance < best[0]:
            best = (imbalance, parts)
    return {patient: names[part] for patient, part in zip(patients.index, best[1], strict=True)}


def _fill(
    counts: NDArray[np.int64], order: NDArray[np.int64], wanted: NDArray[np.float64]
) -> tuple[list[int], float]:
    """Give each patient in turn to the part that lacks most; return parts and imbalance.

    The last patients go to parts that have none yet, so that no part stays empty.
    """
    totals = counts.sum(axis=0).tolist()
    lacking = [[share * total for total in totals] for share in wanted.tolist()]
    weights = [1 / max(total, 1) for total in totals]
    parts = [0] * len(counts)
    empty = set(range(len(wanted)))
    for number, patient in enumerate(order.tolist()):
        sizes = counts[patient].tolist()
        need = [sum(gap * w for gap, w in zip(gaps, weights, strict=True)) for gaps in lacking]
        open_parts = empty if len(counts) - number <= len(empty) else range(len(wanted))
        part = max(open_parts, key=need.__getitem__)
        empty.discard(part)
        parts[patient] = part
        lacking[part] = [gap - size for gap, size in zip(lacking[part], sizes, strict=True)]
    gaps = np.abs(np.array(lacking)) * np.array(weights) / wanted[:, None]
    return parts, float(gaps.sum())
