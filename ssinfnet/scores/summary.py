"""From slices to a table: means with their error and interval, and paired tests of models.

A table's entry is the mean over slices and its error 1.96 standard errors (J eq 12, 13); beside
them stand an interval over patients (D-13) and paired tests (D-15).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ssinfnet.scores.slices import CLASS_METRICS, CLASSES, METRICS, ratio

__all__ = ["compare_models", "holm", "summarise", "summarise_classes", "with_averages"]

COUNTED = ("tp", "fp", "fn", "tn")
AVERAGES = {"overall": CLASSES, "lesion_macro": CLASSES[1:]}
EXACT_PATIENTS = 12  # up to here all 2^n sign patterns are enumerated
EXACT_TIED_PAIRS = 13  # up to here scipy enumerates them for a signed rank test with ties


def summarise(
    slice_scores: pd.DataFrame,
    by: Sequence[str] = ("model",),
    metrics: Sequence[str] = METRICS,
    bootstrap_draws: int = 2000,
    seed: int = 2021,
) -> pd.DataFrame:
    """Average scores over slices, as a table of the paper does, with intervals over patients.

    A slice scored by several trainings (column ``seed``) counts once, with the mean of its
    defined values. Patients are drawn with replacement and whole: slices of one patient are
    alike, so a bootstrap over slices would be too narrow (D-13).

    Parameters
    ----------
    slice_scores : DataFrame
        From `score_slices`, one row for each slice (and seed) in each group of `by`.
    by : sequence of str
        Columns that make the groups.
    metrics : sequence of str
        Score columns.
    bootstrap_draws : int
        Resamples behind the interval.
    seed : int
        Seed of the resampling; every group starts from it, so groups with the same patients are
        resampled alike.

    Returns
    -------
    DataFrame
        One row for each group and metric: *by, metric, mean, error (1.96 SE, ddof 1 over slices;
        J eq 13), n (slices left in), n_slices, n_patients, low and high (95 % percentile
        interval), seeds, seed_spread (standard deviation of the means of the seeds). What is not
        defined is NaN: the error of one slice, the interval of one patient, the spread of one
        seed.

    Raises
    ------
    ValueError
        If a column is missing, or a slice occurs twice in a group.
    """
    _need_columns(slice_scores, [*by, "patient_id", "slice_id", *metrics])
    rows = []
    for key, group in slice_scores.groupby(list(by), sort=False, dropna=False):
        rows.append(_summary(group, metrics, bootstrap_draws, seed)[0])
        for position, (name, value) in enumerate(zip(by, key, strict=True)):
            rows[-1].insert(position, name, value)
    return pd.concat(rows, ignore_index=True)


def with_averages(slice_scores: pd.DataFrame) -> pd.DataFrame:
    """Add to each slice's classes the rows *overall* and *lesion_macro*.

    Their scores are unweighted means over the classes defined on the slice, their counts sums.
    Paired tests and rankings of slices need them; the tables' averages are means of the classes'
    means (`summarise_classes`), which differ where a class is undefined on some slices.

    Parameters
    ----------
    slice_scores : DataFrame
        From `score_class_slices`.
    """
    keys = [name for name in slice_scores if name not in (*COUNTED, *CLASS_METRICS, "class")]
    tables = [slice_scores]
    for name, joined in AVERAGES.items():
        joined_scores = slice_scores[slice_scores["class"].isin(joined)].groupby(keys, sort=False)
        averaged = (
            joined_scores[list(CLASS_METRICS)].mean().join(joined_scores[list(COUNTED)].sum())
        )
        tables.append(averaged.reset_index().assign(**{"class": name}))
    return pd.concat(tables, ignore_index=True)[list(slice_scores)]


def summarise_classes(
    slice_scores: pd.DataFrame,
    by: Sequence[str] = ("model",),
    metrics: Sequence[str] = CLASS_METRICS,
    bootstrap_draws: int = 2000,
    seed: int = 2021,
) -> pd.DataFrame:
    """Average stage 2's scores over slices by model and class, then over classes.

    *overall* is the unweighted mean of the three classes' means, and its error the mean of their
    errors, as J prints it; *lesion_macro* is the same of GGO and consolidation alone, since
    background lifts overall (D-13). Their intervals come from resampling patients once for all
    classes, so they know that classes share slices.

    Parameters
    ----------
    slice_scores : DataFrame
        From `score_class_slices`, one row for each model, class, slice and seed; averages of
        slices (`with_averages`) are not used.
    by : sequence of str
        Columns that make the groups of three classes.
    metrics, bootstrap_draws, seed
        As for `summarise`.

    Returns
    -------
    DataFrame
        *by, class and the columns of `summarise`. n of overall and lesion macro is the smallest
        of their classes', and so is n_slices.

    Raises
    ------
    ValueError
        As `summarise` does, or if a group lacks a class.
    """
    _need_columns(slice_scores, [*by, "class", "patient_id", "slice_id", *metrics])
    tables = []
    for key, group in slice_scores.groupby(list(by), sort=False):
        named = dict(zip(by, key, strict=True))
        parts = {
            name: _summary(group[group["class"] == name], metrics, bootstrap_draws, seed)
            for name in CLASSES
            if (group["class"] == name).any()
        }
        if missing := [name for name in CLASSES if name not in parts]:
            raise ValueError(f"{named} has no scores of {missing}")
        averaged = {
            name: _average([parts[own] for own in joined]) for name, joined in AVERAGES.items()
        }
        for name, table in {**{own: part[0] for own, part in parts.items()}, **averaged}.items():
            tables.append(table.assign(**named, **{"class": name}))
    both = pd.concat(tables, ignore_index=True)
    return both[[*by, "class", *both.columns.drop([*by, "class"])]]


def _average(
    parts: Sequence[tuple[pd.DataFrame, pd.DataFrame, NDArray[np.float64]]],
) -> pd.DataFrame:
    """Return the unweighted mean of several classes' summaries."""
    tables, seed_means, resampled = zip(*parts, strict=True)
    average = tables[0].copy()
    for name in ("mean", "error"):
        average[name] = np.mean([table[name] for table in tables], axis=0)
    for name in ("n", "n_slices", "n_patients"):
        average[name] = np.min([table[name] for table in tables], axis=0)
    alone = np.any([table["low"].isna() for table in tables], axis=0)
    average["low"], average["high"] = _interval(np.mean(resampled, axis=0), alone)
    spread = sum(seed_means) / len(seed_means)
    average["seed_spread"] = spread.std(ddof=1).to_numpy()
    return average


def _summary(
    group: pd.DataFrame, metrics: Sequence[str], draws: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, NDArray[np.float64]]:
    """Return a group's summary, each seed's means, and its resampled means (draws, metrics)."""
    values, seed_means, seeds = _per_slice(group, metrics)
    patients = values.index.get_level_values("patient_id")
    resampled, alone = _bootstrap(values, patients, draws, np.random.default_rng(seed))
    low, high = _interval(resampled, alone)
    table = pd.DataFrame(
        {
            "metric": metrics,
            "mean": values.mean().to_numpy(),
            "error": (1.96 * values.std(ddof=1) / np.sqrt(values.count().clip(lower=1))).to_numpy(),
            "n": values.count().to_numpy(),
            "n_slices": len(values),
            "n_patients": patients.nunique(),
            "low": low,
            "high": high,
            "seeds": seeds,
            "seed_spread": seed_means.std(ddof=1).to_numpy(),
        }
    )
    return table, seed_means, resampled


def compare_models(
    slice_scores: pd.DataFrame,
    reference: str,
    metric: str,
    permutation_draws: int = 10000,
    seed: int = 2021,
) -> pd.DataFrame:
    """Test each model against a reference on the same slices (D-15).

    Parameters
    ----------
    slice_scores : DataFrame
        From `score_slices`, with the column ``model`` and one class; all models on the same
        slices. Slices with a NaN in either model make no pair.
    reference : str
        Model that the others are compared with.
    metric : str
        Score column.
    permutation_draws : int
        Sign patterns drawn when there are more than 12 patients; else all are enumerated.
    seed : int
        Seed of the drawn sign patterns.

    Returns
    -------
    DataFrame
        One row for each other model: model, reference, metric, n_pairs, n_patients,
        mean_difference (model − reference, over pairs), seed_spread (standard deviation of the
        mean differences of the seeds, NaN of one seed; D-155), t, p_t, p_t_holm (paired t), w,
        p_wilcoxon, p_wilcoxon_holm (signed rank), p_permutation, p_permutation_holm (sign flips
        of each patient's mean difference), reason (why a p is NaN, else NA). All are two-sided;
        Holm's family is one test over the other models.

    Raises
    ------
    ValueError
        If a column or the reference is missing, there is no other model, or the slices differ.
    """
    _need_columns(slice_scores, ["model", "patient_id", "slice_id", metric])
    models = list(dict.fromkeys(slice_scores["model"]))
    if reference not in models or len(models) < 2:
        raise ValueError(f"reference {reference!r} and another model are needed, got {models}")
    values = {
        model: _per_slice(slice_scores[slice_scores["model"] == model], [metric])[0][metric]
        for model in models
    }
    rows = []
    for model in (name for name in models if name != reference):
        if not values[model].index.equals(values[reference].index):
            raise ValueError(f"{model} and {reference} are scored on different slices; score both")
        difference = (values[model] - values[reference]).dropna()
        tests = _paired_tests(difference, permutation_draws, np.random.default_rng(seed))
        rows.append({"model": model, "reference": reference, "metric": metric, **tests})
        rows[-1]["seed_spread"] = _difference_spread(slice_scores, model, reference, metric)
    compared = pd.DataFrame(rows)
    compared.insert(
        compared.columns.get_loc("mean_difference") + 1, "seed_spread", compared.pop("seed_spread")
    )
    for test in ("p_t", "p_wilcoxon", "p_permutation"):
        compared.insert(compared.columns.get_loc(test) + 1, f"{test}_holm", holm(compared[test]))
    return compared


def _difference_spread(
    slice_scores: pd.DataFrame, model: str, reference: str, metric: str
) -> float:
    """Return the standard deviation over seeds of two models' mean difference, NaN of one seed."""
    if "seed" not in slice_scores:
        return float("nan")
    both = slice_scores[slice_scores["model"].isin([model, reference])]
    values = both.pivot(index=["seed", "slice_id"], columns="model", values=metric)
    difference = (values[model] - values[reference]).dropna()
    return float(difference.groupby("seed").mean().std(ddof=1))


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return Holm's step-down adjusted p-values; NaN stays NaN and is no member of the family."""
    p = np.asarray(p_values, dtype=np.float64)
    adjusted = np.full(p.shape, np.nan)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaN sorts last
    stepped = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted


def _need_columns(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in frame.columns]
    if missing or frame.empty:
        raise ValueError(f"slice scores lack {missing}, have {len(frame)} rows; see score_slices")


def _per_slice(
    group: pd.DataFrame, metrics: Sequence[str]
) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """Return each slice's mean over seeds, each seed's mean over slices, the number of seeds."""
    seeds = group["seed"] if "seed" in group else pd.Series(0, index=group.index, name="seed")
    keyed = group.assign(seed=seeds)
    repeated = keyed.duplicated(["patient_id", "slice_id", "seed"])
    if repeated.any():
        names = keyed.loc[repeated, "slice_id"].unique()[:3].tolist()
        raise ValueError(f"slices occur twice, such as {names}; group by class, fold or source too")
    per_slice = keyed.groupby(["patient_id", "slice_id"])[list(metrics)].mean()
    per_seed = keyed.groupby("seed")[list(metrics)].mean()
    return per_slice, per_seed, len(per_seed)


def _bootstrap(
    values: pd.DataFrame, patients: pd.Index, draws: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return each column's resampled means (draws, columns), and which have one patient alone."""
    by_patient = values.groupby(patients)
    sums, left_in = by_patient.sum().to_numpy(), by_patient.count().to_numpy()
    n = len(sums)
    # how often each patient is drawn, (draws, patients): the mean then is two matrix products
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=draws)
    means = ratio(drawn @ sums, drawn @ left_in)
    # One patient resampled is always the same patient.
    return means, (left_in > 0).sum(axis=0) < 2


def _interval(
    means: NDArray[np.float64], alone: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the 2.5 and 97.5 % points of resampled means, NaN where a patient is alone."""
    low, high = pd.DataFrame(means).quantile([0.025, 0.975]).to_numpy()
    return np.where(alone, np.nan, low), np.where(alone, np.nan, high)


def _paired_tests(
    difference: pd.Series, permutation_draws: int, rng: np.random.Generator
) -> dict[str, Any]:
    from scipy import stats  # a second of import, needed only by paired tests

    by_patient = difference.groupby("patient_id").mean().to_numpy()
    found: dict[str, Any] = {
        "n_pairs": len(difference),
        "n_patients": len(by_patient),
        "mean_difference": difference.mean(),
        **dict.fromkeys(("t", "p_t", "w", "p_wilcoxon", "p_permutation"), np.nan),
        "reason": pd.NA,
    }
    if len(difference) < 2:
        return {**found, "reason": f"{len(difference)} pairs, 2 are needed"}
    if (difference == 0).all():
        return {**found, "reason": "all differences are zero"}
    reasons = []
    # differences equal but for rounding have no standard error to divide by
    if difference.std() > 1e-12 * difference.abs().max():
        found["t"], found["p_t"] = stats.ttest_1samp(difference, 0)
    else:
        reasons.append("paired t: all differences are equal")
    found["w"], found["p_wilcoxon"] = _signed_rank(difference.to_numpy())
    if len(by_patient) > 1:
        found["p_permutation"] = _sign_flip_p(by_patient, permutation_draws, rng)
    else:
        reasons.append("permutation: 1 patient")
    return {**found, "reason": "; ".join(reasons) or pd.NA}


def _signed_rank(difference: NDArray[np.float64]) -> tuple[float, float]:
    """Return scipy's Wilcoxon statistic and p, without its seconds a test where ranks are tied."""
    from scipy import stats

    changed = difference[difference != 0]
    signed = stats.rankdata(np.abs(changed)) * np.sign(changed)
    tied = len(np.unique(np.abs(signed))) < len(difference)  # a zero counts as a tie
    if not tied or len(difference) > EXACT_TIED_PAIRS:
        return tuple(stats.wilcoxon(difference))
    smaller = min(signed[signed > 0].sum(), -signed[signed < 0].sum())
    return float(smaller), _exact_sign_flip_p(signed)


def _exact_sign_flip_p(values: NDArray[np.float64]) -> float:
    """Return the two-sided p of a sum under free signs, all of them enumerated."""
    signs = np.array(list(product((1, -1), repeat=len(values))))
    observed = abs(values.sum()) * (1 - 1e-12)  # so that rounding does not break ties
    return float((np.abs(signs @ values) >= observed).mean())


def _sign_flip_p(difference: NDArray[np.float64], draws: int, rng: np.random.Generator) -> float:
    """Return the two-sided p of the mean difference under free signs; exact for few patients."""
    n = len(difference)
    if n <= EXACT_PATIENTS:
        return _exact_sign_flip_p(difference)
    observed = abs(difference.sum()) * (1 - 1e-12)
    extreme = 0
    for start in range(0, draws, 1000):  # in parts, so that memory stays flat
        signs = rng.choice((-1, 1), size=(min(1000, draws - start), n))
        extreme += int((np.abs(signs @ difference) >= observed).sum())
    return (extreme + 1) / (draws + 1)  # the observed pattern is one of the draws
