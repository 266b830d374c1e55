"""Data, segmentation, volumes and losses: figures 2D and 3B, S2 to S7, V II to IV, D I."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet import scores
from ssinfnet.paper import published
from ssinfnet.study.config import PseudoLabelConfig
from ssinfnet.tables.text import PARTS

__all__ = [
    "loss_table",
    "over_all_sources",
    "pseudo_label_table",
    "segmentation_table",
    "split_table",
    "volume_table",
]

SPLITS = ("train", "validation", "test", "unlabelled", "excluded")
COUNTED = {
    "has_lesion": "slices_with_lesion",
    "has_ggo": "slices_with_ggo",
    "has_consolidation": "slices_with_consolidation",
}


def split_table(
    cohort_slices: pd.DataFrame, excluded_slices: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Count patients and slices of each source in each split (J figure 2D).

    Parameters
    ----------
    cohort_slices : DataFrame
        The cohort table, one row a slice. A slice without split counts as excluded.
    excluded_slices : DataFrame, optional
        Further excluded slices that the cohort table does not hold, one a row, with ``source``.

    Returns
    -------
    DataFrame
        source, split, patients, slices, slices_with_lesion, slices_with_ggo,
        slices_with_consolidation, excluded. Counts of lesion are NA where no slice's answer is
        known (unlabelled slices; masks without classes). Excluded slices have a row of their own,
        with split ``excluded``, and are in no other count. Several sources end with rows ``all``.

    Raises
    ------
    ValueError
        If a split has an unknown name.
    """
    slices = cohort_slices.assign(split=cohort_slices["split"].fillna("excluded"))
    unknown = sorted(set(slices["split"]) - set(SPLITS))
    if unknown:
        raise ValueError(f"splits must be among {SPLITS}, got {unknown}")
    sources = list(dict.fromkeys(slices["source"]))
    if len(sources) > 1:
        slices = pd.concat([slices, slices.assign(source="all")])
        sources.append("all")
    rows = []
    for source in sources:
        of_source = slices[slices["source"] == source]
        elsewhere = _count_excluded(excluded_slices, source)
        for split in SPLITS:
            of_split = of_source[of_source["split"] == split]
            if split == "excluded" and len(of_split) + elsewhere:
                rows.append(
                    {"source": source, "split": split, "excluded": len(of_split) + elsewhere}
                )
            elif split != "excluded" and len(of_split):
                rows.append({"source": source, "split": split, **_count(of_split)})
    table = pd.DataFrame(rows, columns=["source", "split", *_count(slices)])
    return table.astype(dict.fromkeys(table.columns[2:], "Int64"))


def over_all_sources(table: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a `split_table` that count all its sources together."""
    return table[table["source"] == "all"] if "all" in set(table["source"]) else table


def _count(slices: pd.DataFrame) -> dict[str, Any]:
    counted: dict[str, Any] = {"patients": slices["patient_id"].nunique(), "slices": len(slices)}
    for flag, name in COUNTED.items():
        known = slices[flag].astype("boolean").dropna()
        counted[name] = int(known.sum()) if len(known) else pd.NA
    return {**counted, "excluded": 0}


def _count_excluded(excluded_slices: pd.DataFrame | None, source: str) -> int:
    if excluded_slices is None:
        return 0
    return len(excluded_slices) if source == "all" else (excluded_slices["source"] == source).sum()


def segmentation_table(
    summary: pd.DataFrame, table: str | None = "fig3b", metrics: Sequence[str] | None = None
) -> pd.DataFrame:
    """Lay a summary out as the paper does, ours and the paper's values in rows by turns (J fig 3B).

    Parameters
    ----------
    summary : DataFrame
        From `scores.summarise`, by model, or by model and class.
    table : str or None
        Published table that stands beside ours; None where there is none.
    metrics : sequence of str, optional
        Those to show, in that order; by default all of the summary.

    Returns
    -------
    DataFrame
        The groups of the summary (model, …), values (``ours`` or ``paper``), n_slices, n_patients,
        seeds, then for each metric <metric>_mean, _error, _low, _high, _n, _seed_spread. Rows of
        the paper hold means and errors only; a model it does not print has no such row.

    Raises
    ------
    ValueError
        If the published table or a metric is missing.
    """
    metrics = list(dict.fromkeys(summary["metric"]) if metrics is None else metrics)
    missing = [metric for metric in metrics if metric not in set(summary["metric"])]
    if missing:
        raise ValueError(f"the summary has no {missing}; pass them to scores.summarise")
    groups = list(summary.columns[: summary.columns.get_loc("metric")])
    both = published.beside_paper(summary, table)
    rows: list[dict[str, Any]] = []
    for key, group in both.groupby(groups, sort=False):
        by_metric = group.set_index("metric")
        named = dict(zip(groups, key, strict=True))
        ours: dict[str, Any] = {**named, "values": "ours"}
        ours |= {name: int(group[name].iloc[0]) for name in ("n_slices", "n_patients", "seeds")}
        paper: dict[str, Any] = {**named, "values": "paper"}
        for metric in metrics:
            row = by_metric.loc[metric]
            ours |= {f"{metric}_{part}": row[f"ours_{part}"] for part in PARTS}
            ours |= {f"{metric}_n": row["n"], f"{metric}_seed_spread": row["seed_spread"]}
            paper |= {f"{metric}_{part}": row[f"paper_{part}"] for part in PARTS[:2]}
        rows.append(ours)
        if group["paper_mean"].notna().any():
            rows.append(paper)
    wide = pd.DataFrame(rows)
    whole = ["n_slices", "n_patients", "seeds", *(f"{metric}_n" for metric in metrics)]
    return wide.astype(dict.fromkeys(whole, "Int64"))


VOLUME_COLUMNS = [
    "model", "class", "n_volumes", "Dice_mean", "Dice_error", "Dice_n",
    "HD95_mm_mean", "HD95_mm_error", "HD95_mm_n",
    "error_ml_mean", "error_ml_error", "error_ml_low", "error_ml_high",
]  # fmt: skip


def volume_table(volumes: pd.DataFrame) -> pd.DataFrame:
    """Lay the scores of whole volumes out, a row for each model and class.

    Parameters
    ----------
    volumes : DataFrame
        From `scores.score_volumes`, with the column ``model``.

    Returns
    -------
    DataFrame
        model, class, n_volumes; Dice and HD95_mm with _mean, _error (1.96 SE over volumes) and _n,
        how many volumes have it; error_ml_mean, predicted − true in ml, with its _low and _high
        limits of agreement (Bland and Altman). Empty where slices form no volumes.
    """
    rows = []
    for (model, name), own in volumes.groupby(["model", "class"], sort=False):
        row: dict[str, Any] = {"model": model, "class": name, "n_volumes": len(own)}
        for score in ("Dice", "HD95_mm"):
            known = own[score].dropna()
            row[f"{score}_mean"] = known.mean()
            row[f"{score}_error"] = 1.96 * known.sem()
            row[f"{score}_n"] = len(known)
        limits = scores.agreement(own["error_ml"])
        row |= {"error_ml_mean": limits.bias, "error_ml_error": float("nan")}
        row |= {"error_ml_low": limits.low, "error_ml_high": limits.high}
        rows.append(row)
    return pd.DataFrame(rows, columns=VOLUME_COLUMNS)


def loss_table(losses: pd.DataFrame) -> pd.DataFrame:
    """Lay test losses out beside the draft's (D table I).

    Parameters
    ----------
    losses : DataFrame
        From `inference.held_out_losses`: stage, model, seed, test_loss.

    Returns
    -------
    DataFrame
        stage, model, test_loss (mean over seeds), seeds, test_loss_seed_spread, paper_test_loss
        (NaN where none is printed). The draft's losses are of other slices and another size: the
        order of the models compares, not the numbers.
    """
    grouped = losses.groupby(["stage", "model"], sort=False)["test_loss"]
    table = grouped.agg(["mean", "count", "std"]).reset_index()
    table.columns = ["stage", "model", "test_loss", "seeds", "test_loss_seed_spread"]
    printed = published.published_values("draft1")
    paper = {
        (name.partition("_")[0], published.PUBLISHED_NAMES[name]): loss
        for name, loss in zip(printed["model"], printed["mean"], strict=True)
    }
    keys = zip(table["stage"], table["model"], strict=True)
    return table.assign(paper_test_loss=[paper.get(key, float("nan")) for key in keys])


def pseudo_label_table(
    history: pd.DataFrame, labels: NDArray[np.uint8], config: PseudoLabelConfig
) -> pd.DataFrame:
    """Count what each group of pseudo-labels held and cost.

    Parameters
    ----------
    history, labels
        Of a `pseudo_labels.PseudoLabelled`; labels (n, 1, size, size).
    config : PseudoLabelConfig

    Returns
    -------
    DataFrame
        group, slices, slices_with_lesion, lesion_share (of their pixels), epochs, seconds,
        validation_f1 (the best of the retraining).
    """
    rows = []
    for number, epochs in history.groupby("group"):
        group = labels[(number - 1) * config.group : number * config.group] > 0
        rows.append(
            {
                "group": number,
                "slices": len(group),
                "slices_with_lesion": int(group.any(axis=(1, 2, 3)).sum()),
                "lesion_share": group.mean(),
                "epochs": len(epochs),
                "seconds": epochs["seconds"].sum(),
                "validation_f1": epochs["validation_f1"].max(),
            }
        )
    return pd.DataFrame(rows)
