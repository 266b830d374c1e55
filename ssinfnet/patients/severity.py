"""Severity from segmentations: ratio, grades, and how well they agree with the clinic (V, D).

The ratio (V eq 7) is the sum of lesion probability within the lungs over their area. Grades 0, 1
and 2 follow from it by two cut-points, published or fitted.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint

__all__ = [
    "CUT_POINTS",
    "GRADES",
    "SCORED",
    "averages",
    "calibration",
    "confusion",
    "fit_cut_points",
    "fitted_cut_points",
    "grade",
    "grade_scores",
    "graded_patients",
    "judge",
    "lesion_and_lung",
    "patient_ratios",
    "separation",
]

CUT_POINTS = (0.01, 0.5)  # those of the paper's public code
GRADES = (0, 1, 2)
SCORED = [
    (average, metric) for average in ("micro", "macro") for metric in ("F1", "Precision", "Recall")
]


def lesion_and_lung(
    probability: NDArray[np.floating], lungs: NDArray[np.bool_]
) -> tuple[float, int]:
    """Return the numerator and the denominator of the ratio of one slice (V eq 7).

    Parameters
    ----------
    probability : ndarray of float, shape (h, w)
        Probability of lesion, in [0, 1].
    lungs : ndarray of bool, shape (h, w)
        The lung parenchyma; lesion outside it does not count.

    Returns
    -------
    float, int
        Sum of probability within the lungs, and their pixels.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if probability.shape != lungs.shape:
        raise ValueError(f"probability has shape {probability.shape}, lungs {lungs.shape}")
    return float(probability[lungs].sum(dtype=np.float64)), int(np.count_nonzero(lungs))


def patient_ratios(slices: pd.DataFrame) -> pd.DataFrame:
    """Return each patient's ratio: the lesion of all slices over the lungs of all slices.

    Parameters
    ----------
    slices : DataFrame
        ``patient_id``, ``lesion`` and ``lung`` of each slice, from `lesion_and_lung`; missing where
        the lungs were not found.

    Returns
    -------
    DataFrame
        Indexed by ``patient_id``: ``ratio`` (NaN without a slice whose lungs were found),
        ``n_slices`` behind it and ``n_left_out``.
    """
    measured = slices["lung"].notna() & slices["lesion"].notna() & (slices["lung"] > 0)
    used = slices.where(measured)[["lesion", "lung"]].groupby(slices["patient_id"]).sum(min_count=1)
    counted = measured.groupby(slices["patient_id"])
    return pd.DataFrame(
        {
            "ratio": used["lesion"].astype("float64") / used["lung"].astype("float64"),
            "n_slices": counted.sum(),
            "n_left_out": counted.size() - counted.sum(),
        }
    )


def grade(ratio: ArrayLike, cut_points: Sequence[float] = CUT_POINTS) -> NDArray[np.int_]:
    """Return 0 below the first cut-point, 1 below the second, 2 from there on.

    Raises
    ------
    ValueError
        If a ratio is NaN, or the cut-points are not two growing numbers.

    Examples
    --------
    >>> grade([0.0, 0.01, 0.49, 0.5]).tolist()
    [0, 1, 1, 2]
    """
    ratio = np.asarray(ratio, dtype=np.float64)
    if np.isnan(ratio).any():
        raise ValueError(f"{np.isnan(ratio).sum()} ratios are NaN; leave those patients out")
    if len(cut_points) != 2 or not cut_points[0] < cut_points[1]:
        raise ValueError(f"cut_points must be two growing numbers, got {tuple(cut_points)}")
    return np.digitize(ratio, cut_points)


def fit_cut_points(ratio: ArrayLike, true_grade: ArrayLike) -> tuple[float, float]:
    """Return the cut-points with the best macro F1, for patients other than those graded by them.

    All pairs of midpoints between neighbouring ratios are tried; the first of equals is taken.

    Raises
    ------
    ValueError
        If a grade is missing, or there are fewer than three different ratios.
    """
    ratio = np.asarray(ratio, dtype=np.float64)
    true_grade = np.asarray(true_grade, dtype=np.int_)
    values = np.unique(ratio)
    present = set(true_grade.tolist())
    if present != set(GRADES) or len(values) < 3:
        raise ValueError(
            f"cut-points need patients of grades {list(GRADES)} with three different ratios or "
            f"more, got grades {sorted(present)} and {len(values)} ratios"
        )
    cuts = (values[1:] + values[:-1]) / 2
    below = [np.searchsorted(np.sort(ratio[true_grade == g]), cuts) for g in GRADES]
    all_of = [np.count_nonzero(true_grade == g) for g in GRADES]
    below_any = np.sum(below, axis=0)
    first, second = np.triu_indices(len(cuts), 1)
    hits = below[0][first], below[1][second] - below[1][first], all_of[2] - below[2][second]
    given = below_any[first], below_any[second] - below_any[first], len(ratio) - below_any[second]
    macro = np.mean([2 * hits[g] / (given[g] + all_of[g]) for g in GRADES], axis=0)
    best = np.argmax(macro)
    return float(cuts[first[best]]), float(cuts[second[best]])


def graded_patients(
    ratios: pd.DataFrame, patients: pd.DataFrame, fitted_on: float, seed: int
) -> pd.DataFrame:
    """Return ratio and clinical grade of every patient by every model, and who fits cut-points.

    Parameters
    ----------
    ratios : DataFrame
        model, patient_id, lesion and lung of every slice, see `patient_ratios`.
    patients : DataFrame
        Indexed by patient, with ``grade``; from `clinical.read_patients`.
    fitted_on : float
        Share of the patients of each grade that cut-points are fitted on.
    seed : int
        Seed of the draw, the same for all models.

    Returns
    -------
    DataFrame
        model, patient_id, ratio, n_slices, n_left_out, grade and half (``fit`` or ``judge``); only
        patients with a grade.
    """
    graded = patients["grade"].dropna().astype(int)
    rng = np.random.default_rng(seed)
    half = pd.Series("judge", index=graded.index, dtype="str")
    for _, own in graded.groupby(graded):
        drawn = rng.permutation(len(own))[: round(fitted_on * len(own))]
        half[own.index[np.sort(drawn)]] = "fit"
    rows = []
    for model, slices in ratios.groupby("model", sort=False):
        own = patient_ratios(slices).join(graded, how="inner").join(half.rename("half"))
        rows.append(own.rename_axis("patient_id").reset_index().assign(model=model))
    whole = pd.concat(rows, ignore_index=True)
    return whole[["model", *whole.columns.drop("model")]]


def fitted_cut_points(patients: pd.DataFrame) -> pd.DataFrame:
    """Fit cut-points of each model on the patients that are there to fit them.

    Parameters
    ----------
    patients : DataFrame
        From `graded_patients`.

    Returns
    -------
    DataFrame
        Indexed by model: ``first``, ``second`` (NaN where they cannot be fitted), ``n`` patients
        and ``reason``.
    """
    rows = {}
    for model, own in patients.groupby("model", sort=False):
        used = own[(own["half"] == "fit") & own["ratio"].notna()]
        try:
            first, second = fit_cut_points(used["ratio"], used["grade"])
            reason = ""
        except ValueError as error:
            first = second = np.nan
            reason = str(error)
        rows[model] = {"first": first, "second": second, "n": len(used), "reason": reason}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def judge(patients: pd.DataFrame, fitted: pd.DataFrame) -> dict[tuple[str, str], pd.DataFrame]:
    """Count true and given grades of the patients that fitted nothing.

    Parameters
    ----------
    patients : DataFrame
        From `graded_patients`.
    fitted : DataFrame
        From `fitted_cut_points`.

    Returns
    -------
    dict
        (model, cut points) → `confusion`; the cut points are ``published``, ``fitted``, or
        ``majority``, which gives every patient the commonest grade of the others.
    """
    counted = {}
    for model, own in patients.groupby("model", sort=False):
        used = own[(own["half"] == "judge") & own["ratio"].notna()]
        if used.empty:
            continue
        counted[model, "published"] = confusion(used["grade"], grade(used["ratio"]))
        cuts = fitted.loc[model, ["first", "second"]].astype(float)
        if cuts.notna().all():
            counted[model, "fitted"] = confusion(used["grade"], grade(used["ratio"], tuple(cuts)))
        commonest = own.loc[own["half"] == "fit", "grade"].mode().iloc[0]
        alike = confusion(used["grade"], np.full(len(used), commonest))
        counted[model, "majority"] = alike
    return counted


def confusion(true_grade: ArrayLike, given_grade: ArrayLike) -> pd.DataFrame:
    """Count patients by true grade (rows) and given grade (columns)."""
    table = pd.crosstab(
        pd.Series(np.asarray(true_grade, dtype=np.int_), name="true"),
        pd.Series(np.asarray(given_grade, dtype=np.int_), name="given"),
    )
    return table.reindex(index=list(GRADES), columns=list(GRADES), fill_value=0).rename_axis(
        index="true", columns="given"
    )


def grade_scores(counted: pd.DataFrame, draws: int = 2000, seed: int = 2021) -> pd.DataFrame:
    """Return micro and macro F1, precision and recall with intervals over patients (V table V).

    Parameters
    ----------
    counted : DataFrame
        From `confusion`.
    draws, seed : int
        Size and seed of the bootstrap. To draw patients with replacement is to draw the
        cells of the confusion matrix from a multinomial distribution, which is what is done.

    Returns
    -------
    DataFrame
        ``average`` (micro, macro), ``metric``, ``mean`` (the estimate), ``low`` and ``high`` (95 %)
        and ``n`` patients. Micro F1, precision and recall are all the accuracy. A grade that no
        patient has, and none was given, does not count in a macro average.
    """
    cells = counted.to_numpy(dtype=np.float64)
    n = int(cells.sum())
    if not n:
        raise ValueError("no patient is graded; scores need one at least")
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(n, cells.ravel() / n, size=draws).reshape(-1, *cells.shape)
    estimate, spread = averages(cells[None]), averages(drawn.astype(np.float64))
    low, high = np.nanpercentile(spread, [2.5, 97.5], axis=0)
    return pd.DataFrame(SCORED, columns=["average", "metric"]).assign(
        mean=estimate[0], low=low, high=high, n=n
    )


def averages(tables: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return micro F1, precision, recall and the same macro, one row a confusion matrix.

    Parameters
    ----------
    tables : (n, grades, grades) float array
        Counts by true and given grade.

    Returns
    -------
    (n, 6) float array
        In the order of `SCORED`.
    """
    hits = np.diagonal(tables, axis1=1, axis2=2)
    true, predicted = tables.sum(axis=2), tables.sum(axis=1)
    accuracy = hits.sum(axis=1) / tables.sum(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        f1 = 2 * hits / (true + predicted)
        precision = np.where((predicted == 0) & (true > 0), 0, hits / predicted)
        recall = np.where((true == 0) & (predicted > 0), 0, hits / true)
    macro = [np.nanmean(values, axis=1) for values in (f1, precision, recall)]
    return np.stack([accuracy] * 3 + macro, axis=1)


def separation(
    ratio: ArrayLike, true_grade: ArrayLike, draws: int = 2000, seed: int = 2021
) -> pd.DataFrame:
    """Return how well the ratio tells grades apart: AUC with 95 % intervals over patients.

    Returns
    -------
    DataFrame
        One row for grades 1 and 2 against 0, one for 2 against the others: ``positive``, ``AUC``,
        ``low``, ``high``, ``n``, ``n_positive`` and ``reason`` where the AUC is NaN.
    """
    ratio = np.asarray(ratio, dtype=np.float64)
    true_grade = np.asarray(true_grade, dtype=np.int_)
    rows = []
    for lowest, positive in ((1, "severe or critical"), (2, "critical")):
        truth = true_grade >= lowest
        row = {"positive": positive, "n": truth.size, "n_positive": int(truth.sum()), "reason": ""}
        if truth.all() or not truth.any():
            nothing = dict.fromkeys(("AUC", "low", "high"), np.nan)
            rows.append(row | nothing | {"reason": "all patients are on one side"})
            continue
        drawn = _drawn_aucs(ratio, truth, draws, np.random.default_rng(seed))
        low, high = np.percentile(drawn, [2.5, 97.5])
        rows.append(row | {"AUC": roc_auc_score(truth, ratio), "low": low, "high": high})
    columns = ["positive", "AUC", "low", "high", "n", "n_positive", "reason"]
    return pd.DataFrame(rows)[columns]


def _drawn_aucs(
    ratio: NDArray[np.float64], truth: NDArray[np.bool_], draws: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the AUC of patients drawn with replacement; draws of one class are drawn again."""
    drawn = rng.integers(0, truth.size, (draws, truth.size))
    while (alike := np.ptp(truth[drawn].astype(np.int8), axis=1) == 0).any():
        drawn[alike] = rng.integers(0, truth.size, (int(alike.sum()), truth.size))
    positive = truth[drawn]
    number = positive.sum(axis=1)
    # The AUC is the share of pairs in the right order, which ranks count (Mann & Whitney 1947).
    ranks = rankdata(ratio[drawn], axis=1)
    pairs = (ranks * positive).sum(axis=1) - number * (number + 1) / 2
    return pairs / (number * (truth.size - number))


def calibration(
    ratio: ArrayLike, true_grade: ArrayLike, bins: int = 5, lowest: int = 1
) -> pd.DataFrame:
    """Return the share of patients of grade `lowest` or above in bins of the ratio.

    Bins hold about as many patients each; patients of one ratio stay together.

    Returns
    -------
    DataFrame
        ``ratio_from``, ``ratio_to``, ``ratio_mean``, ``n``, ``share``, ``low`` and ``high``
        (Wilson's 95 % interval).
    """
    ratio = np.asarray(ratio, dtype=np.float64)
    reached = np.asarray(true_grade, dtype=np.int_) >= lowest
    edges = np.unique(np.quantile(ratio, np.linspace(0, 1, bins + 1)))
    place = np.clip(np.searchsorted(edges, ratio, side="right") - 1, 0, max(len(edges) - 2, 0))
    rows = []
    for bin_ in np.unique(place):
        within = place == bin_
        n, hits = int(within.sum()), int(reached[within].sum())
        low, high = proportion_confint(hits, n, method="wilson")
        rows.append(
            {"ratio_from": ratio[within].min(), "ratio_to": ratio[within].max(),
             "ratio_mean": ratio[within].mean(), "n": n, "share": hits / n,
             "low": low, "high": high}
        )  # fmt: skip
    return pd.DataFrame(rows)
