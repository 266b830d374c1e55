"""One function a table of the paper: tidy numbers in, tidy numbers out.

Nothing is rounded here but in `display`, which makes the text that notebooks and Markdown show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet import published, scores
from ssinfnet.config import PseudoLabelConfig

__all__ = [
    "class_comparison_table",
    "comparison_table",
    "cost_table",
    "display",
    "epoch_table",
    "loss_table",
    "moved_table",
    "pseudo_label_table",
    "segmentation_table",
    "split_table",
    "training_table",
    "volume_table",
]

SPLITS = ("train", "validation", "test", "unlabelled", "excluded")
REFERENCE = "sinfnet"  # what costs are relative to (S table S8)
COUNTED = {
    "has_lesion": "slices_with_lesion",
    "has_ggo": "slices_with_ggo",
    "has_consolidation": "slices_with_consolidation",
}
PARTS = ("mean", "error", "low", "high")
MISSING = "–"


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
            chosen = of_source[of_source["split"] == split]
            if split == "excluded" and len(chosen) + elsewhere:
                rows.append({"source": source, "split": split, "excluded": len(chosen) + elsewhere})
            elif split != "excluded" and len(chosen):
                rows.append({"source": source, "split": split, **_count(chosen)})
    table = pd.DataFrame(rows, columns=["source", "split", *_count(slices)])
    return table.astype(dict.fromkeys(table.columns[2:], "Int64"))


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
        own = labels[(number - 1) * config.group : number * config.group] > 0
        rows.append(
            {
                "group": number,
                "slices": len(own),
                "slices_with_lesion": int(own.any(axis=(1, 2, 3)).sum()),
                "lesion_share": own.mean(),
                "epochs": len(epochs),
                "seconds": epochs["seconds"].sum(),
                "validation_f1": epochs["validation_f1"].max(),
            }
        )
    return pd.DataFrame(rows)


def epoch_table(seconds: pd.DataFrame) -> pd.DataFrame:
    """Lay the seconds of epochs out as S table S8 does, the paper's rows below ours.

    Parameters
    ----------
    seconds : DataFrame
        From `cost.epoch_seconds`.

    Returns
    -------
    DataFrame
        model, values (``ours`` or ``paper``), epoch_1 …, average, relative (to SInfNet's average;
        NaN where SInfNet was not trained). The paper's average of FCN8s is the one it prints, which
        its rows do not give (spec §8).
    """
    ours = seconds.pivot(index="model", columns="epoch", values="seconds")
    ours = ours.reindex(dict.fromkeys(seconds["model"]))
    ours.columns = [f"epoch_{epoch}" for epoch in ours.columns]
    ours["average"] = ours.mean(axis=1)
    reference = ours["average"].get(REFERENCE, float("nan"))
    ours["relative"] = ours["average"] / reference
    printed = published.published_values("s8")
    printed["model"] = printed["model"].replace(published.PUBLISHED_NAMES)
    paper = printed.pivot(index="model", columns="metric", values="mean")
    paper.columns = [name.removesuffix("_seconds") for name in paper.columns]
    both = pd.concat({"ours": ours, "paper": paper.reindex(ours.index)}, names=["values"])
    both = both.reorder_levels(["model", "values"]).loc[list(ours.index)].reset_index()
    epochs = sorted({*ours, *paper} - {"average", "relative"}, key=lambda name: int(name[6:]))
    return both[["model", "values", *epochs, "average", "relative"]]


def cost_table(measured: pd.DataFrame) -> pd.DataFrame:
    """Lay out what each model costs, medians over rounds.

    Parameters
    ----------
    measured : DataFrame
        From `cost.measure`.

    Returns
    -------
    DataFrame
        stage, model, parameters, gmac, step_mib, training_ms, prediction_ms and joule a slice, and
        training_relative and prediction_relative: the median over rounds of the ratio to the
        stage's SInfNet in the same round (NaN without one).
    """
    keys, times = ["stage", "model"], ["training_ms", "prediction_ms"]
    reference = measured[measured["model"] == REFERENCE][["stage", "round", *times]]
    paired = measured.merge(reference, on=["stage", "round"], how="left", suffixes=("", "_of"))
    for name in times:
        paired[name.replace("_ms", "_relative")] = paired[name] / paired[f"{name}_of"]
    relative = ["training_relative", "prediction_relative"]
    table = paired.groupby(keys, sort=False)[
        ["parameters", "gmac", "step_mib", *times, *relative, "joule"]
    ].median()
    return table.astype({"parameters": "int64"}).reset_index()


def training_table(seconds: pd.DataFrame) -> pd.DataFrame:
    """Lay the seconds of whole trainings out.

    Parameters
    ----------
    seconds : DataFrame
        From `cost.training_seconds`.

    Returns
    -------
    DataFrame
        stage, model, start_seconds, seconds, total_seconds, relative (to the stage's SInfNet; NaN
        without one).
    """
    table = seconds[["stage", "model", "start_seconds", "seconds"]].copy()
    table["total_seconds"] = table["start_seconds"] + table["seconds"]
    own = table[table["model"] == REFERENCE].set_index("stage")["total_seconds"]
    table["relative"] = table["total_seconds"] / table["stage"].map(own)
    return table


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
        limits of agreement (Bland and Altman).
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
    return pd.DataFrame(rows)


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
        is, which is how J marks its tables; the Holm-adjusted p stand beside.
    """
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


def display(frame: pd.DataFrame, digits: int = 3) -> pd.DataFrame:
    """Return a table as text to show: rounded, mean and error in one column, words for names.

    A column ``<name>_mean`` with its ``_error`` becomes ``0.612 ± 0.034``, followed by the 95 %
    interval in brackets and n where there are such columns; p-values below 0.001 say so; what is
    missing is a dash. The numbers themselves stay in `frame`.

    Examples
    --------
    >>> frame = pd.DataFrame({"model": ["unet"], "F1_mean": [0.6123], "F1_error": [0.0341]})
    >>> display(frame).to_dict("records")
    [{'model': 'U-Net', 'F1': '0.612 ± 0.034'}]
    """
    shown: dict[str, list[str]] = {}
    for name in frame.columns:
        stem, _, part = name.rpartition("_")
        prefix = f"{stem}_" if stem else ""
        joined = {f"{prefix}mean", f"{prefix}error"} <= set(frame.columns)
        if part == "mean" and joined:
            shown[_words(stem or "mean")] = _joined(frame, prefix, digits)
        elif not (joined and part in PARTS + ("n",) * bool(stem)):  # a tidy summary shows its n
            texts = [_text(value, digits, is_p=name.startswith("p_")) for value in frame[name]]
            if part != "spread" or set(texts) != {MISSING}:  # one seed has no spread to show
                shown[_words(name)] = texts
    if "metric" in shown:
        shown["metric"] = [_words(metric) for metric in shown["metric"]]
    return pd.DataFrame(shown, index=frame.index, dtype="str")


def _joined(frame: pd.DataFrame, prefix: str, digits: int) -> list[str]:
    texts = []
    for _, row in frame.iterrows():
        text = _text(row[f"{prefix}mean"], digits)
        if text != MISSING and pd.notna(row[f"{prefix}error"]):
            text += f" ± {_text(row[f'{prefix}error'], digits)}"
        low, high = row.get(f"{prefix}low"), row.get(f"{prefix}high")
        if pd.notna(low) and pd.notna(high):
            text += f" [{_text(low, digits)}, {_text(high, digits)}]"
        n = row.get(f"{prefix}n") if prefix else None
        texts.append(text if pd.isna(n) else f"{text}, n = {int(n)}")
    return texts


def _words(name: str) -> str:
    return " ".join({"ggo": "GGO"}.get(word, word) for word in name.split("_"))


def _text(value: Any, digits: int, is_p: bool = False) -> str:
    if pd.isna(value) or value == "":
        return MISSING
    if isinstance(value, str):
        return published.MODEL_NAMES.get(value, value)
    if pd.api.types.is_bool(value):
        return "yes" if value else "no"
    if pd.api.types.is_integer(value):
        return f"{value:,}"
    if is_p and value < 10**-digits:
        return f"<{10**-digits:.{digits}f}"
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


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
