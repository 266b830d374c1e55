"""Tests of one model against another, slice by slice (D-15)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ssinfnet import scores

__all__ = ["class_comparison_table", "comparison_table", "leakage_table", "moved_table"]

COMPARED = (
    "model", "reference", "metric", "n_pairs", "n_patients", "mean_difference", "seed_spread",
    "t", "p_t", "p_t_holm", "w", "p_wilcoxon", "p_wilcoxon_holm", "p_permutation",
    "p_permutation_holm", "mark", "reason",
)  # fmt: skip


def comparison_table(
    slice_scores: pd.DataFrame,
    reference: str,
    metrics: Sequence[str] = ("F1", "IoU", "Recall", "Precision", "AUC"),
    permutation_draws: int = 10000,
    seed: int = 2021,
) -> pd.DataFrame:
    """Test each model against a reference on every metric (D-15).

    Returns
    -------
    DataFrame
        The rows of `scores.compare_models` for one metric after the other, with ``mark`` before
        ``reason``: ``*`` where the paired t and ``^`` where the Wilcoxon test has p < 0.05 as it
        is, which is how J marks its tables; the Holm-adjusted p stand beside. Without the
        reference, or without another model, there is nothing to compare and the table is empty.
    """
    models = set(slice_scores["model"])
    if reference not in models or len(models) == 1:
        return pd.DataFrame(columns=list(COMPARED))
    compared = pd.concat(
        [
            scores.compare_models(slice_scores, reference, metric, permutation_draws, seed)
            for metric in metrics
        ],
        ignore_index=True,
    )
    stars = (compared["p_t"] < 0.05).map({True: "*", False: ""})
    hats = (compared["p_wilcoxon"] < 0.05).map({True: "^", False: ""})
    compared.insert(compared.columns.get_loc("reason"), "mark", stars + hats)
    return compared


def class_comparison_table(
    slice_scores: pd.DataFrame,
    reference: str,
    metrics: Sequence[str] = ("F1", "IoU", "Recall", "Precision"),
    permutation_draws: int = 10000,
    seed: int = 2021,
) -> pd.DataFrame:
    """Test each stage-2 model against a reference, class by class (D-15; J figure 3D, table S4).

    Parameters
    ----------
    slice_scores : DataFrame
        From `scores.with_averages`.
    reference, metrics, permutation_draws, seed
        As for `comparison_table`.

    Returns
    -------
    DataFrame
        class and the columns of `comparison_table`; background is left out. Holm's family is the
        other models within a class and metric.
    """
    tables = [
        comparison_table(rows, reference, metrics, permutation_draws, seed).assign(
            **{"class": name}
        )
        for name, rows in slice_scores.groupby("class", sort=False)
        if name != "background"
    ]
    both = pd.concat(tables, ignore_index=True)
    return both[["class", *both.columns.drop("class")]]


def moved_table(
    there: pd.DataFrame,
    elsewhere: pd.DataFrame,
    metric: str = "F1",
    permutation_draws: int = 10000,
    seed: int = 2021,
) -> pd.DataFrame:
    """Test each model trained elsewhere against itself trained there, on the same slices (D-15).

    Parameters
    ----------
    there, elsewhere : DataFrame
        Slice scores with ``class``; models that were not moved are left out, and background.
    metric, permutation_draws, seed
        As `scores.compare_models` takes them.

    Returns
    -------
    DataFrame
        class, model and the columns of `scores.compare_models` after reference; mean_difference is
        elsewhere − there. Holm's family is the models within a class.
    """
    rows = []
    for (name, model), moved in elsewhere.groupby(["class", "model"], sort=False):
        own = there[(there["class"] == name) & (there["model"] == model)]
        if name == "background" or own.empty:
            continue
        both = pd.concat([own.assign(model="there"), moved.assign(model="elsewhere")])
        compared = scores.compare_models(both, "there", metric, permutation_draws, seed)
        rows.append(compared.assign(model=model, **{"class": name}))
    table = pd.concat(rows, ignore_index=True).drop(columns="reference")
    for test in ("p_t", "p_wilcoxon", "p_permutation"):
        table[f"{test}_holm"] = table.groupby("class")[test].transform(scores.holm)
    return table[["class", "model", *table.columns.drop(["class", "model"])]]


def leakage_table(
    slice_scores: pd.DataFrame,
    share_seen: pd.Series,
    *,
    reference: str,
    intervals: Mapping[str, Any],
    tests: Mapping[str, Any],
) -> pd.DataFrame:
    """Say what a network scores by each way of dividing the same slices (D-147).

    Parameters
    ----------
    slice_scores : DataFrame
        From `evaluation.leakage.leak_scores`; its model is what was divided.
    share_seen : Series
        Way → share of test slices whose patient is among the training slices.
    reference : str
        The way that leaks nothing.
    intervals, tests : mapping
        `ScoreConfig.for_intervals` and `for_tests`.

    Returns
    -------
    DataFrame
        divided_by, share_seen, n_slices, n_patients, seeds, F1 (_mean, _error, _low, _high, _n,
        _seed_spread), gain (mean difference of the F1 to the reference, over slices) and its
        p_permutation over patients, missing for the reference.
    """
    summary = scores.summarise(slice_scores, metrics=["F1"], **intervals).set_index("model")
    parts = ["mean", "error", "low", "high", "n", "seed_spread"]
    table = summary[["n_slices", "n_patients", "seeds"]].join(summary[parts].add_prefix("F1_"))
    table.insert(0, "share_seen", share_seen)
    compared = scores.compare_models(slice_scores, reference, "F1", **tests).set_index("model")
    gains = compared[["mean_difference", "p_permutation"]].rename(
        columns={"mean_difference": "gain"}
    )
    return table.join(gains).rename_axis("divided_by").reset_index()
