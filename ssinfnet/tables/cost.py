"""What models cost: S table S8 and beyond."""

from __future__ import annotations

import pandas as pd

from ssinfnet.paper import published

__all__ = ["cost_table", "epoch_table", "training_table"]

REFERENCE = "sinfnet"  # what costs are relative to (S table S8)


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
        its rows do not give: 36.051 against 36.507.
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
    reference = table[table["model"] == REFERENCE].set_index("stage")["total_seconds"]
    table["relative"] = table["total_seconds"] / table["stage"].map(reference)
    return table
