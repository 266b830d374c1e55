"""Scores of models beside the paper's, and ROC curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from ssinfnet.paper.published import beside_paper
from ssinfnet.plots.style import HOLLOW, at_width, figure_width, model_colour, plot_reason, styled
from ssinfnet.scores import agreement
from ssinfnet.study.models import model_label
from ssinfnet.tables import minus_sign

__all__ = ["plot_class_scores", "plot_folds", "plot_by_training_set", "plot_roc", "plot_scores",
           "plot_volumes"]  # fmt: skip


@styled
def plot_scores(
    summary: pd.DataFrame,
    metrics: Sequence[str] | None = None,
    table: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw mean scores of models with their errors, and the paper's beside them (J figure 3B).

    Parameters
    ----------
    summary : DataFrame
        From `scores.summarise`, by model and of one class.
    metrics : sequence of str, optional
        Those to show, in that order; by default all of the summary.
    table : str, optional
        Published table whose means and errors are drawn as hollow squares.
    ax : Axes, optional
        A new figure's by default.

    Notes
    -----
    The thick bar is mean ± 1.96 SE over slices (J eq 13), the thin capped line the 95 % bootstrap
    interval over patients, n below a metric the number of slices on which it is defined (from the
    least to the most where models differ).
    """
    metrics = list(dict.fromkeys(summary["metric"]) if metrics is None else metrics)
    models = list(dict.fromkeys(summary["model"]))
    shown = summary[summary["metric"].isin(metrics)]
    if len(shown) != len(models) * len(metrics):
        raise ValueError(
            f"{len(shown)} rows for {len(models)} models and {len(metrics)} metrics; pass metrics "
            "that the summary has, of one class"
        )
    if ax is None:
        width = figure_width(max(3.2, 1.15 * len(metrics) + 0.6))
        ax = plt.figure(figsize=(width, 3.1)).subplots()
    paper = None if table is None else beside_paper(shown, table).set_index(["model", "metric"])
    rows = shown.set_index(["model", "metric"])
    step = 0.7 / len(models)
    for position, model in enumerate(models):
        x = np.arange(len(metrics)) + (position - (len(models) - 1) / 2) * step
        ours = rows.loc[model].loc[metrics]
        _draw_ours(ax, x - (0.1 * step if table else 0), ours, model_colour(model))
        if paper is not None:
            _draw_paper(ax, x + 0.28 * step, paper.loc[model].loc[metrics], model_colour(model))
    ax.set_xticks(range(len(metrics)), [_metric_label(shown, metric) for metric in metrics])
    ax.tick_params(axis="x", length=0)
    for border in np.arange(len(metrics) - 1) + 0.5:
        ax.axvline(border, color="0.9", linewidth=0.7, zorder=0)
    ax.set(ylabel="Mean over slices", ylim=(-0.03, 1.03), xlim=(-0.5, len(metrics) - 0.5))
    handles = _score_handles(models, with_paper=table is not None)
    ax.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
        ncols=at_width(page=3, column=2),
    )
    return ax


@styled
def plot_class_scores(
    summary: pd.DataFrame,
    metrics: Sequence[str] = ("F1", "IoU", "Recall", "Precision"),
    table: str | None = None,
) -> Figure:
    """Draw stage 2's mean scores, one panel a class, as `plot_scores` does (J figure 3D).

    Parameters
    ----------
    summary : DataFrame
        From `scores.summarise_classes`.
    metrics : sequence of str
        Those to show, in that order.
    table : str, optional
        Published table whose means and errors are drawn as hollow squares; lesion macro is ours
        alone.
    """
    names = list(dict.fromkeys(summary["class"]))
    columns, height = at_width(page=(2, 2.5), column=(1, 1.85))
    rows = -(-len(names) // columns)
    figure = plt.figure(figsize=(figure_width(), height * rows))
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).flatten()
    for ax, name in zip(panels, names, strict=False):
        own = summary[summary["class"] == name]
        plot_scores(own, metrics, None if name == "lesion_macro" else table, ax)
        ax.get_legend().remove()
        ax.set_title(_class_name(name), loc="left")
    for ax in panels[len(names) :]:
        ax.set_axis_off()
    handles = _score_handles(list(dict.fromkeys(summary["model"])), with_paper=table is not None)
    figure.legend(handles=handles, loc="outside upper center", ncols=at_width(page=4, column=2))
    return figure


@styled
def plot_folds(folds: pd.DataFrame, pooled: pd.DataFrame, metric: str = "F1") -> Figure:
    """Draw a score of each fold of a cross-validation, and of all slices together (S2, S3).

    Parameters
    ----------
    folds : DataFrame
        From `scores.summarise` or `summarise_classes`, by model and fold, with ``class``.
    pooled : DataFrame
        The same by model.
    metric : str
    """
    names = list(dict.fromkeys(pooled["class"]))
    models = list(dict.fromkeys(pooled["model"]))
    columns = min(len(names), at_width(page=len(names), column=2))
    rows = -(-len(names) // columns)
    figure = plt.figure(figsize=(figure_width(1.2 + 1.25 * len(names)), 0.3 + 2.8 * rows))
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for ax in panels.flat[len(names) :]:
        ax.set_axis_off()
    for ax, name in zip(panels.flat, names, strict=False):
        for x, model in enumerate(models):
            labels = {"class": name, "model": model, "metric": metric}
            own, whole = (_rows(table, labels) for table in (folds, pooled))
            _draw_ours(ax, np.array([x]), whole, model_colour(model))
            for number, row in enumerate(own.itertuples()):  # side by side, or equal ones overprint
                beside = x + 0.24 + 0.2 * number
                ax.text(beside, row.mean, row.fold, fontsize=7, ha="center", va="center")
        n = int(_rows(pooled, {"class": name, "metric": metric})["n"].min())
        ax.set_title(f"{_class_name(name)}\nn = {n}", fontsize=8)
        ax.set(xlim=(-0.4, len(models) - 0.1), ylim=(-0.03, 1.03))
        ax.set_xticks(range(len(models)), [model_label(m) for m in models], rotation=90)
        ax.tick_params(axis="x", length=0)
    for ax in panels[:, 0]:
        ax.set_ylabel(f"{metric}, mean over slices")
    handles = _score_handles([], with_paper=False)
    handles.append(Line2D([], [], color="black", marker="$1$", linestyle="none", label="Fold"))
    figure.legend(handles=handles, loc="outside upper center", ncols=at_width(page=3, column=2))
    return figure


@styled
def plot_by_training_set(
    summaries: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]], table: str, metric: str = "F1"
) -> Figure:
    """Draw a score of both stages by where the networks were trained (S tables S5, S6).

    Parameters
    ----------
    summaries : mapping of str to (DataFrame, DataFrame)
        Where they were trained → summaries of stage 1 (class lesion) and stage 2. The first is
        that of the data set itself, which the paper's values stand beside.
    table : str
        Published tables, such as ``s5`` for ``s5a`` and ``s5b``.
    metric : str
    """
    figure = plt.figure(figsize=(figure_width(), 0.5 + 2.5 * len(summaries)))
    panels = figure.subplots(len(summaries), 1, sharex=True, sharey=True, squeeze=False).flatten()
    models: dict[str, None] = {}
    beside = [table] + [None] * (len(summaries) - 1)
    for ax, (name, stages), paper in zip(panels, summaries.items(), beside, strict=True):
        joined = pd.concat(
            beside_paper(summary[summary["metric"] == metric], paper and paper + letter)
            for summary, letter in zip(stages, "ab", strict=True)
        )
        _draw_classes(ax, joined)
        models |= dict.fromkeys(joined["model"])
        ax.set_title(name, loc="left")
        ax.set(ylabel=f"{metric}, mean over slices", ylim=(-0.03, 1.03))
    handles = _score_handles(list(models), with_paper=True)
    figure.legend(handles=handles, loc="outside upper center", ncols=at_width(page=3, column=2))
    return figure


def _draw_classes(ax: Axes, joined: pd.DataFrame) -> None:
    """Draw ours and the paper's means, classes side by side, models within a class."""
    classes = list(dict.fromkeys(joined["class"]))
    models = list(dict.fromkeys(joined["model"]))
    step = 0.7 / len(models)
    for position, model in enumerate(models):
        of_model = joined[joined["model"] == model]
        offset = (position - (len(models) - 1) / 2) * step
        x = of_model["class"].map(classes.index).to_numpy() + offset
        ours = of_model.filter(regex="^ours_").rename(
            columns=lambda name: name.removeprefix("ours_")
        )
        _draw_ours(ax, x - 0.1 * step, ours, model_colour(model))
        _draw_paper(ax, x + 0.28 * step, of_model, model_colour(model))
    n = joined.groupby("class", sort=False)["n"].min()
    ax.set_xticks(range(len(classes)), [f"{_class_name(name)}\nn = {n[name]}" for name in classes])
    turned = at_width(page=0, column=90)
    ax.tick_params(axis="x", length=0, labelbottom=True, labelrotation=turned)


@styled
def plot_roc(
    roc: Mapping[str, pd.DataFrame], auc: Mapping[str, float], ax: Axes | None = None
) -> Axes:
    """Draw ROC curves of all pixels of the test slices (S figure 4).

    Parameters
    ----------
    roc : mapping of model to DataFrame
        false_positive_rate and true_positive_rate, from `scores.pooled_roc`.
    auc : mapping of model to float
        Area under each curve, for the legend.
    ax : Axes, optional
        A new figure's by default.
    """
    ax = ax if ax is not None else plt.figure(figsize=(3.4, 3.4)).subplots()
    ax.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, linestyle=(0, (4, 3)), label="Chance (0.5)")
    for model, curve in roc.items():
        ax.plot(
            curve["false_positive_rate"],
            curve["true_positive_rate"],
            color=model_colour(model),
            label=f"{model_label(model)} ({auc[model]:.3f})",
            clip_on=False,
        )
    ax.set(
        xlabel="False-positive rate (1 − specificity)",
        ylabel="True-positive rate (recall)",
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
    )
    pooled = "AUC of all pixels together;\ntables have the mean of slices"
    ax.legend(loc="lower right", title=pooled, title_fontsize=7)
    return ax


@styled
def plot_volumes(volumes: pd.DataFrame) -> Figure:
    """Draw Bland and Altman's plot of lesion volumes, one panel a class (1986).

    Parameters
    ----------
    volumes : DataFrame
        From `scores.score_volumes`, with the column ``model``.

    Notes
    -----
    A dot is one volume and model; lines are each model's mean difference, bands its limits of
    agreement, mean ± 1.96 SD. Where no volume has a score the figure says why.
    """
    scored = volumes.dropna(subset="error_ml")
    if scored.empty:
        reasons = volumes["reason"].value_counts()
        told = "; ".join(f"{reason}: {count}" for reason, count in reasons.items())
        return plot_reason(f"No volume could be scored. {told or 'Slices stand alone.'}").figure
    names = list(dict.fromkeys(scored["class"]))
    columns = at_width(page=len(names), column=1)
    rows = len(names) // columns
    figure = plt.figure(figsize=(figure_width(0.6 + 2.4 * len(names)), 0.6 + 2.5 * rows))
    panels = figure.subplots(rows, columns, squeeze=False)
    for ax, name in zip(panels.flat, names, strict=True):
        ax.axhline(0, color="0.6", lw=0.8, ls=(0, (4, 3)))
        biases = []
        for model, own in scored[scored["class"] == name].groupby("model", sort=False):
            colour, limits = model_colour(model), agreement(own["error_ml"])
            middle = (own["true_ml"] + own["predicted_ml"]) / 2
            ax.plot(middle, own["error_ml"], "o", color=colour, markersize=3.5, clip_on=False)
            ax.axhline(limits.bias, color=colour, lw=1)
            ax.axhspan(limits.low, limits.high, color=colour, alpha=0.1, lw=0)
            biases.append(limits.bias)
        n = scored.loc[scored["class"] == name, "scan_id"].nunique()
        ends = dict.fromkeys(f"{bias:+,.0f}" for bias in (min(biases), max(biases)))
        bias = minus_sign(" to ".join(ends))
        ax.set_title(f"{_class_name(name)}, n = {n} volumes\nmean error {bias} ml", loc="left")
    figure.supxlabel("Mean of true and predicted volume (ml)", fontsize=8.5)
    for ax in panels[:, 0]:
        ax.set_ylabel("Predicted − true volume (ml)")
    models = dict.fromkeys(scored["model"])
    figure.legend(
        handles=_score_handles(list(models), with_paper=False)[: len(models)],
        loc="outside upper center",
        ncols=at_width(page=4, column=2),
    )
    return figure


def _draw_ours(ax: Axes, x: NDArray[np.floating], rows: pd.DataFrame, colour: str) -> None:
    low, mean, high = rows["low"], rows["mean"], rows["high"]
    ax.vlines(x, mean - rows["error"], mean + rows["error"], color=colour, lw=4.5, alpha=0.4)
    ax.vlines(x, low, high, color=colour, lw=0.9)
    for end in (low, high):
        ax.plot(x, end, marker="_", color=colour, markersize=6, linestyle="none")
    ax.plot(x, mean, marker="o", color=colour, markersize=4.5, linestyle="none", clip_on=False)


def _draw_paper(ax: Axes, x: NDArray[np.floating], rows: pd.DataFrame, colour: str) -> None:
    mean, error = rows["paper_mean"], rows["paper_error"]
    ax.vlines(x, mean - error, mean + error, color=colour, lw=0.9)
    ax.plot(x, mean, color=colour, markersize=4.5, clip_on=False, **HOLLOW)


def _rows(table: pd.DataFrame, chosen: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows that have these values."""
    return table[(table[list(chosen)] == pd.Series(chosen)).all(axis=1)]


def _class_name(name: str) -> str:
    return {"ggo": "GGO"}.get(name, name.replace("_", " ").capitalize())


def _metric_label(summary: pd.DataFrame, metric: str) -> str:
    numbers = summary.loc[summary["metric"] == metric, "n"]
    gap, dash = at_width(page=(" ", "–"), column=("\n", "–\n"))
    n = dash.join(map(str, dict.fromkeys((numbers.min(), numbers.max()))))
    return f"{metric.replace('_', ' ')}\nn ={gap}{n}"


def _score_handles(models: Sequence[str], with_paper: bool) -> list[Line2D]:
    full: dict[str, Any] = {"marker": "o", "linestyle": "none"}
    handles = [
        Line2D([], [], color=model_colour(model), label=model_label(model), **full)
        for model in models
    ]
    handles.append(Line2D([], [], color="0.3", lw=4.5, alpha=0.4, label="± 1.96 SE, slices"))
    handles.append(Line2D([], [], color="0.3", lw=0.9, label="95 % bootstrap, patients"))
    if with_paper:
        handles.append(Line2D([], [], color="0.3", label="Paper ± 1.96 SE", **HOLLOW))
    return handles
