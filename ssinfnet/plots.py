"""One function a figure panel: data in, Axes out (or the Figure, where a figure is many panels).

Nothing here computes, saves or shows. Every function draws in `STYLE`, whatever the caller's
settings; `style()` gives the same look to what a notebook draws itself. Colours are Okabe and
Ito's (2008), which readers with colour-blindness tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from ssinfnet.published import MODEL_NAMES, beside_paper

__all__ = [
    "CLASS_COLOURS",
    "MODEL_COLOURS",
    "MODEL_NAMES",
    "STYLE",
    "plot_cohort_examples",
    "plot_overlay",
    "plot_roc",
    "plot_scores",
    "plot_slice",
    "plot_slices_by_model",
    "plot_training",
    "style",
]

MODEL_COLOURS = {"unet": "#E69F00", "sinfnet": "#0072B2", "ssinfnet": "#009E73"}
OTHER_COLOUR = "#999999"
CLASS_COLOURS = {"GGO": "#56B4E9", "consolidation": "#D55E00", "lesion": "#CC79A7"}
LABELS = {1: "GGO", 2: "consolidation", 255: "lesion"}  # values of a mask
FILL = 0.35  # opacity of a lesion over its slice
HOLLOW: dict[str, Any] = {"marker": "s", "markerfacecolor": "white", "linestyle": "none"}
PANEL = 1.55  # inches, side of one slice in a grid

STYLE: dict[str, Any] = {
    "figure.figsize": (4.5, 3.2),
    "figure.constrained_layout.use": True,
    "figure.dpi": 120,
    "savefig.dpi": 200,
    "pdf.fonttype": 42,
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.prop_cycle": mpl.cycler(
        color=["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000"]
    ),
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "image.cmap": "gray",
    "image.interpolation": "nearest",
}


def style() -> AbstractContextManager[None]:
    """Return a context in which Matplotlib draws in `STYLE`; the settings before come back."""
    return mpl.rc_context(STYLE)


@mpl.rc_context(STYLE)
def plot_slice(image: NDArray[np.floating], ax: Axes | None = None) -> Axes:
    """Draw one slice in grey.

    Parameters
    ----------
    image : (height, width) float array
        Windowed slice in [0, 1]; 0 is black in every panel, so panels compare.
    ax : Axes, optional
        A new figure's by default.
    """
    ax = ax if ax is not None else plt.figure(figsize=(2.6, 2.6)).subplots()
    ax.imshow(image, cmap="gray", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax


@mpl.rc_context(STYLE)
def plot_overlay(image: NDArray[np.floating], mask: NDArray[Any], ax: Axes | None = None) -> Axes:
    """Draw a slice with its lesion filled and outlined.

    Parameters
    ----------
    image : (height, width) float array
        Windowed slice in [0, 1].
    mask : (height, width) uint8 or bool array
        1 GGO, 2 consolidation, 255 (or True) lesion of unknown class; 0 background.
    ax : Axes, optional
        A new figure's by default.
    """
    if image.shape != mask.shape:
        raise ValueError(f"image {image.shape} and mask {mask.shape} must have equal shapes")
    ax = plot_slice(image, ax)
    labels = np.where(mask, 255, 0) if mask.dtype == bool else mask
    for label, name in LABELS.items():
        region = labels == label
        if region.any():
            fill = np.zeros((*region.shape, 4))
            fill[region] = to_rgba(CLASS_COLOURS[name], FILL)
            ax.imshow(fill)
            ax.contour(region, levels=[0.5], colors=[CLASS_COLOURS[name]], linewidths=0.7)
    return ax


@mpl.rc_context(STYLE)
def plot_cohort_examples(
    images: Sequence[NDArray[np.floating]],
    masks: Sequence[NDArray[Any]],
    names: Sequence[str] | None = None,
) -> Figure:
    """Draw slices with their annotation: raw, overall lesion, classes (J figure 2A-C).

    Parameters
    ----------
    images : sequence of (height, width) float arrays
        Windowed slices in [0, 1], one a column.
    masks : sequence of (height, width) uint8 arrays
        Their masks, as `plot_overlay` takes them.
    names : sequence of str, optional
        Titles of the columns.
    """
    _same_number(images=images, masks=masks, names=names if names is not None else images)
    figure, axes = _grid(3, len(images), legend=0.3)
    for column, (image, mask) in enumerate(zip(images, masks, strict=True)):
        plot_slice(image, axes[0, column])
        plot_overlay(image, mask > 0, axes[1, column])
        plot_overlay(image, mask, axes[2, column])
        if names is not None:
            axes[0, column].set_title(names[column])
    for row, title in enumerate(["A  CT slice", "B  Overall lesion", "C  GGO, consolidation"]):
        _name_row(axes[row, 0], title)
    drawn = {name for label, name in LABELS.items() if any((mask == label).any() for mask in masks)}
    _class_legend(figure, [name for name in CLASS_COLOURS if name in drawn | {"lesion"}])
    return figure


@mpl.rc_context(STYLE)
def plot_slices_by_model(
    images: Sequence[NDArray[np.floating]],
    truths: Sequence[NDArray[Any]],
    probabilities: Mapping[str, Sequence[NDArray[np.floating]]],
    f1: Mapping[str, Sequence[float]] | None = None,
    threshold: float = 0.5,
    names: Sequence[str] | None = None,
) -> Figure:
    """Draw slices beside what each model predicts and the truth (J figure 3A).

    Parameters
    ----------
    images, truths : sequences of (height, width) arrays
        Windowed slices in [0, 1] and their masks, one a row.
    probabilities : mapping of model to sequence of (height, width) float arrays
        Predicted lesion probability of each slice; models are columns in this order.
    f1 : mapping of model to sequence of float, optional
        F1 of each slice, printed in a corner of its panel; NaN shows as undefined.
    threshold : float
        Pixels of at least this probability are drawn as lesion.
    names : sequence of str, optional
        Names of the rows.
    """
    _same_number(images=images, truths=truths, names=names if names is not None else images)
    _same_number(images=images, **probabilities)
    figure, axes = _grid(len(images), len(probabilities) + 2, legend=0.0)
    for row, image in enumerate(images):
        plot_slice(image, axes[row, 0])
        for column, (model, maps) in enumerate(probabilities.items(), start=1):
            plot_overlay(image, np.asarray(maps[row]) >= threshold, axes[row, column])
            if f1 is not None:
                _write_f1(axes[row, column], f1[model][row])
        plot_overlay(image, np.asarray(truths[row]) > 0, axes[row, -1])
        if names is not None:
            _name_row(axes[row, 0], names[row])
    titles = ["CT slice", *(MODEL_NAMES.get(model, model) for model in probabilities), "Truth"]
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title)
    return figure


@mpl.rc_context(STYLE)
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
    interval over patients, n below a metric the number of slices on which it is defined.
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
        ax = plt.figure(figsize=(max(3.2, 1.15 * len(metrics) + 0.6), 3.1)).subplots()
    paper = None if table is None else beside_paper(shown, table).set_index(["model", "metric"])
    rows = shown.set_index(["model", "metric"])
    step = 0.7 / len(models)
    for position, model in enumerate(models):
        x = np.arange(len(metrics)) + (position - (len(models) - 1) / 2) * step
        ours = rows.loc[model].loc[metrics]
        _draw_ours(ax, x - (0.1 * step if table else 0), ours, _colour(model))
        if paper is not None:
            _draw_paper(ax, x + 0.28 * step, paper.loc[model].loc[metrics], _colour(model))
    ax.set_xticks(range(len(metrics)), [_metric_label(shown, metric) for metric in metrics])
    ax.tick_params(axis="x", length=0)
    for border in np.arange(len(metrics) - 1) + 0.5:
        ax.axvline(border, color="0.9", linewidth=0.7, zorder=0)
    ax.set(ylabel="Mean over slices", ylim=(-0.03, 1.03), xlim=(-0.5, len(metrics) - 0.5))
    _score_legend(ax, models, with_paper=table is not None)
    return ax


@mpl.rc_context(STYLE)
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
            color=_colour(model),
            label=f"{MODEL_NAMES.get(model, model)} (AUC {auc[model]:.3f})",
            clip_on=False,
        )
    ax.set(
        xlabel="False-positive rate (1 − specificity)",
        ylabel="True-positive rate (recall)",
        xlim=(0, 1),
        ylim=(0, 1),
        aspect="equal",
    )
    ax.legend(loc="lower right")
    return ax


@mpl.rc_context(STYLE)
def plot_training(history: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the losses of one training and, on the right axis, its validation F1.

    Parameters
    ----------
    history : DataFrame
        epoch (from 1), train_loss, validation_loss, validation_f1 (NaN where undefined).
    ax : Axes, optional
        A new figure's by default.

    Returns
    -------
    Axes
        That of the losses; the F1 axis is its twin.
    """
    ax = ax if ax is not None else plt.figure().subplots()
    marker = "o" if len(history) < 25 else None
    shared: dict[str, Any] = {"marker": marker, "markersize": 2.5}
    ax.plot(history["epoch"], history["train_loss"], color="#000000", **shared)
    ax.plot(history["epoch"], history["validation_loss"], color="#CC79A7", **shared)
    ax.set(xlabel="Epoch", ylabel="Loss", ylim=(0, None))
    ax.xaxis.get_major_locator().set_params(integer=True)
    right = ax.twinx()
    right.plot(
        history["epoch"], history["validation_f1"], color="#009E73", linestyle="--", **shared
    )
    right.set(ylabel="Validation F1 (mean over slices)", ylim=(0, 1))
    right.spines["right"].set_visible(True)
    right.spines["right"].set_color("#009E73")
    right.tick_params(axis="y", colors="#009E73")
    right.yaxis.label.set_color("#009E73")
    handles = [*ax.get_lines(), Line2D([], [], color="#009E73", linestyle="--")]
    ax.legend(
        handles,
        ["Training loss", "Validation loss", "Validation F1"],
        loc="lower center",
        bbox_to_anchor=(0.5, 1),
        ncols=3,
    )
    return ax


def _colour(model: str) -> str:
    return MODEL_COLOURS.get(model, OTHER_COLOUR)


def _same_number(**sequences: Sequence[Any]) -> None:
    numbers = {name: len(sequence) for name, sequence in sequences.items()}
    if len(set(numbers.values())) != 1 or 0 in numbers.values():
        raise ValueError(f"one entry a slice is needed in each, got {numbers}")


def _grid(rows: int, columns: int, legend: float) -> tuple[Figure, NDArray[Any]]:
    figure = plt.figure(figsize=(PANEL * columns + 0.25, PANEL * rows + 0.25 + legend))
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    return figure, axes


def _name_row(ax: Axes, name: str) -> None:
    ax.set_ylabel(name, fontsize=STYLE["axes.titlesize"])


def _class_legend(figure: Figure, names: Sequence[str]) -> None:
    words = {"lesion": "Lesion (any class)", "GGO": "Ground-glass opacity (GGO)"}
    handles = []
    for name in names:
        face, edge = to_rgba(CLASS_COLOURS[name], 2 * FILL), CLASS_COLOURS[name]
        label = words.get(name, name.capitalize())
        handles.append(Patch(facecolor=face, edgecolor=edge, label=label))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def _write_f1(ax: Axes, value: float) -> None:
    text = "F1 undefined" if np.isnan(value) else f"F1 {value:.2f}"
    box = {"facecolor": "black", "alpha": 0.55, "edgecolor": "none", "pad": 1.5}
    ax.text(0.03, 0.03, text, transform=ax.transAxes, color="white", fontsize=7, bbox=box)


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


def _metric_label(summary: pd.DataFrame, metric: str) -> str:
    numbers = summary.loc[summary["metric"] == metric, "n"]
    n = f"{numbers.iloc[0]}" if numbers.nunique() == 1 else " / ".join(map(str, numbers))
    return f"{metric.replace('_', ' ')}\nn = {n}"


def _score_legend(ax: Axes, models: Sequence[str], with_paper: bool) -> None:
    full: dict[str, Any] = {"marker": "o", "linestyle": "none"}
    handles = [
        Line2D([], [], color=_colour(model), label=MODEL_NAMES.get(model, model), **full)
        for model in models
    ]
    handles.append(Line2D([], [], color="0.3", lw=4.5, alpha=0.4, label="± 1.96 SE, slices"))
    handles.append(Line2D([], [], color="0.3", lw=0.9, label="95 % bootstrap, patients"))
    if with_paper:
        handles.append(Line2D([], [], color="0.3", label="Paper ± 1.96 SE", **HOLLOW))
    ax.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=3)
