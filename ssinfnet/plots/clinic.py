"""Patients: who is analysed, how severe, and what their lesions look like."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray

from ssinfnet.plots.slices import LUNG_COLOUR, plot_slice
from ssinfnet.plots.style import (
    PAGE,
    at_width,
    figure_width,
    grid,
    model_colour,
    same_number,
    styled,
)
from ssinfnet.study.models import model_label

__all__ = [
    "plot_calibration",
    "plot_confusions",
    "plot_lungs",
    "plot_patient_flow",
    "plot_phenotypes",
]

GRADE_NAMES = ("0\nmild", "1\nsevere", "2\ncritical")
FAULT_COLOUR = "#D55E00"
ROW = 0.118  # inches of a phenotype: 68 fit a page
LETTERS = 24  # of a line below a slice
GROUP_COLOURS = ("#999999", "#56B4E9", "#E69F00", "#D55E00")


@styled
def plot_patient_flow(flow: pd.DataFrame) -> Figure:
    """Draw how many patients each step leaves, as a flow diagram.

    Parameters
    ----------
    flow : DataFrame
        From `clinical.patient_flow`; its last two rows are the analyses, side by side.
    """
    steps, analyses = flow.iloc[:-2], flow.iloc[-2:]
    height, letters = at_width(page=(0.85, 36), column=(1.1, 22))
    figure = plt.figure(figsize=(figure_width(5.4), height * (len(steps) + 1) + 0.2))
    ax = figure.subplots()
    ax.set(xlim=(0, 10), ylim=(-len(steps) - 0.45, 0.45))
    ax.axis("off")
    boxes: list[Text] = []
    for y, row in enumerate(steps.itertuples()):
        boxes.append(_flow_box(ax, 3.2, -y, f"{row.step}\nn = {row.patients:,}"))
        if y:
            _arrow(ax, *boxes[-2:])
            if row.left_out:
                text = f"{row.left_out:,} left out:\n{textwrap.fill(row.reason, letters)}"
                ax.text(6.1, -y + 0.5, text, fontsize=7, va="center")
                ax.plot([3.2, 6.0], [-y + 0.5] * 2, color="black", linewidth=0.6)
    bottom = -len(steps)
    for x, row in zip((2.0, 6.6), analyses.itertuples(), strict=True):
        text = f"{row.step}\nn = {row.patients:,}"
        if row.left_out:
            text += "\n" + textwrap.fill(f"(without {row.left_out:,}: {row.reason})", letters)
        _arrow(ax, boxes[-1], _flow_box(ax, x, bottom, text, fontsize=7))
    return figure


def _flow_box(ax: Axes, x: float, y: float, text: str, fontsize: float = 8) -> Text:
    box = {"boxstyle": "round,pad=0.4", "facecolor": "white", "linewidth": 0.8}
    return ax.text(x, y, text, ha="center", va="center", fontsize=fontsize, bbox=box, wrap=True)


def _arrow(ax: Axes, start: Text, end: Text) -> None:
    """Draw an arrow from the edge of one box to that of another."""
    line = {"arrowstyle": "-|>", "linewidth": 0.8, "color": "black", "shrinkA": 0, "shrinkB": 0}
    boxes = {"patchA": start.get_bbox_patch(), "patchB": end.get_bbox_patch()}
    ax.annotate("", end.get_position(), start.get_position(), arrowprops=line | boxes)


@styled
def plot_lungs(
    slices: Sequence[NDArray[np.floating]],
    lungs: Sequence[NDArray[np.bool_]],
    faults: Sequence[str],
    columns: int = 5,
) -> Figure:
    """Draw a contact sheet: slices with their lungs outlined, those with a fault marked.

    Parameters
    ----------
    slices : sequence of (height, width) float arrays in [0, 1]
    lungs : sequence of (height, width) bool arrays
    faults : sequence of str
        Empty where there is none.
    columns : int
    """
    same_number(slices=slices, lungs=lungs, faults=faults)
    columns = min(at_width(page=columns, column=4), len(slices))
    rows = -(-len(slices) // columns)
    figure, axes = grid(rows, columns, legend=at_width(page=0, column=0.4 * rows))
    for ax in axes.flat[len(slices) :]:
        ax.axis("off")
    for ax, image, mask, fault in zip(axes.flat, slices, lungs, faults, strict=False):
        plot_slice(image, ax)
        if mask.any():
            ax.contour(mask, levels=[0.5], colors=[LUNG_COLOUR], linewidths=0.8)
        if fault:
            lines = textwrap.fill(fault, at_width(page=LETTERS, column=14))
            ax.set_xlabel(lines, fontsize=7, color=FAULT_COLOUR)
            ax.spines[:].set(visible=True, color=FAULT_COLOUR, linewidth=1.6)
    return figure


@styled
def plot_confusions(counted: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw a confusion matrix a model: patients by true and given grade.

    Parameters
    ----------
    counted : mapping of str to DataFrame
        Model → `severity.confusion`.
    """
    columns = min(len(counted), at_width(page=3, column=2))
    rows = -(-len(counted) // columns)
    size = figure_width(1.9 * columns + 0.5), at_width(page=2.2, column=1.85) * rows + 0.2
    figure = plt.figure(figsize=size)
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat[len(counted) :]:
        ax.axis("off")
    for ax, (model, table) in zip(axes.flat, counted.items(), strict=False):
        cells = table.to_numpy()
        share = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
        ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (row, column), number in np.ndenumerate(cells):
            colour = "white" if share[row, column] > 0.5 else "black"
            ax.text(column, row, f"{number:,}", ha="center", va="center", color=colour)
        predicted = np.flatnonzero(cells.sum(axis=0))
        alike = f", all given {predicted[0]}" if len(predicted) == 1 else ""
        ax.set_title(f"{model_label(model)}\nn = {cells.sum():,}{alike}", fontsize=8)
        ax.set_xticks(range(3), GRADE_NAMES, fontsize=7)
        ax.set_yticks(range(3), GRADE_NAMES, fontsize=7)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    figure.supxlabel("Grade given", fontsize=8.5)
    figure.supylabel("Grade in the clinic", fontsize=8.5)
    return figure


@styled
def plot_calibration(calibrated: Mapping[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """Draw the share of severe patients over the lesion's share of the lungs.

    Parameters
    ----------
    calibrated : mapping of str to DataFrame
        Model → `severity.calibration`.
    ax : Axes, optional
        A new figure's by default.
    """
    ax = ax if ax is not None else plt.figure(figsize=(figure_width(4.8), 2.6)).subplots()
    for model, table in calibrated.items():
        above = table["share"] - table["low"], table["high"] - table["share"]
        ax.errorbar(
            table["ratio_mean"], table["share"], yerr=above, fmt="o-", markersize=3.5, capsize=2,
            linewidth=1, color=model_colour(model), label=model_label(model),
        )  # fmt: skip
    ax.set(
        xlabel="Lesion, share of the lungs",
        ylabel="Severe or critical, share of patients",
        ylim=(-0.03, 1.03),
    )
    ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5))
    beside: dict[str, Any] = at_width(
        page={"loc": "center left", "bbox_to_anchor": (1.02, 0.5)},
        column={"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": 2},
    )
    ax.legend(title="95 % intervals", title_fontsize=7.5, **beside)
    return ax


@styled
def plot_phenotypes(
    values: pd.DataFrame, groups: pd.Series, names: Mapping[str, Mapping[str, str]]
) -> Figure:
    """Draw the distribution of each phenotype by group of patients: median, quartiles, 5 to 95 %.

    Parameters
    ----------
    values : DataFrame
        One row a patient, one column a phenotype; drawn in standard deviations from the mean.
    groups : Series
        Group of each patient, on the same index: ordered categories, in the order to draw.
    names : mapping
        Family → column → how it is written; a panel a family.
    """
    groups = groups.dropna()
    order = list(groups.cat.categories)
    standard = values.loc[groups.index].astype("float64")
    standard = (standard - standard.mean()) / standard.std().replace(0, np.nan)
    figure = plt.figure(
        figsize=(PAGE, ROW * sum(map(len, names.values())) + 0.25 * len(names) + 0.6)
    )
    heights = [len(own) + 1 for own in names.values()]
    panels = figure.subplots(len(names), 1, sharex=True, height_ratios=heights, squeeze=False)
    for ax, (family, own) in zip(panels[:, 0], names.items(), strict=True):
        _phenotype_rows(ax, standard, groups, order, own)
        known = values.loc[groups.index, list(own)].notna().sum()
        labels = [f"{title} ({known[name]:,})" for name, title in own.items()]
        ax.set_yticks(range(len(labels)), labels, fontsize=7)
        ax.set_title(family, fontsize=7, fontweight="bold", loc="right")
    panels[-1, 0].set_xlabel("SD from the mean of all patients", fontsize=7)
    handles = [plt.Line2D([], [], color=GROUP_COLOURS[i], linewidth=3) for i in range(len(order))]
    counted = [f"{group}, n = {int((groups == group).sum()):,}" for group in order]
    figure.legend(handles, counted, loc="outside upper center", ncols=len(order))
    return figure


def _phenotype_rows(
    ax: Axes, standard: pd.DataFrame, groups: pd.Series, order: list[str], names: Mapping[str, str]
) -> None:
    """Draw a row a phenotype, a line a group."""
    levels = standard[list(names)].groupby(groups, observed=False)
    spans = {q: levels.quantile(q) for q in (0.05, 0.25, 0.5, 0.75, 0.95)}
    rows = np.arange(len(names))
    for number, (group, colour) in enumerate(zip(order, GROUP_COLOURS, strict=False)):
        y = rows + (number - (len(order) - 1) / 2) * 0.19
        ends = [spans[q].loc[group].to_numpy() for q in (0.05, 0.25, 0.75, 0.95)]
        ax.hlines(y, ends[0], ends[3], color=colour, linewidth=0.6)
        ax.hlines(y, ends[1], ends[2], color=colour, linewidth=2.2)
        ax.plot(spans[0.5].loc[group], y, "|", color="black", markersize=3, markeredgewidth=0.9)
    low, high = ax.get_xlim()
    ax.set(ylim=(len(names) - 0.5, -0.5), xlim=(min(low, -1), max(high, 1)))
    ax.axvline(0, color="black", linewidth=0.4, linestyle=":")
    ax.tick_params(axis="y", length=0)
