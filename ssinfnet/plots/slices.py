"""Slices with masks, predictions and reconstructions over them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.patches import Patch
from numpy.typing import NDArray

from ssinfnet.plots.style import grid, name_row, same_number, styled
from ssinfnet.study.models import model_label

__all__ = [
    "CLASS_COLOURS",
    "class_legend",
    "plot_augmented",
    "plot_cohort_examples",
    "plot_overlay",
    "plot_scan",
    "plot_slice",
    "plot_slices_by_model",
]

CLASS_COLOURS = {"GGO": "#56B4E9", "consolidation": "#D55E00", "lesion": "#CC79A7"}
LUNG_COLOUR = "#F0E442"
LABELS = {1: "GGO", 2: "consolidation", 255: "lesion"}  # values of a mask
FILL = 0.35  # opacity of a lesion over its slice


@styled
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


@styled
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


@styled
def plot_cohort_examples(
    images: Sequence[NDArray[np.floating]],
    masks: Sequence[NDArray[Any] | None],
    names: Sequence[str] | None = None,
) -> Figure:
    """Draw slices with their annotation: raw, overall lesion, classes (J figure 2A-C).

    Parameters
    ----------
    images : sequence of (height, width) float arrays
        Windowed slices in [0, 1], one a column.
    masks : sequence of (height, width) uint8 arrays
        Their masks, as `plot_overlay` takes them; None of a slice that nobody annotated.
    names : sequence of str, optional
        Titles of the columns.
    """
    same_number(images=images, masks=masks, names=images if names is None else names)
    figure, axes = grid(3, len(images), legend=0.3)
    for column, (image, mask) in enumerate(zip(images, masks, strict=True)):
        plot_slice(image, axes[0, column])
        if mask is None:
            for ax in axes[1:, column]:
                ax.axis("off")
            axes[1, column].text(0.5, 0.5, "not annotated", ha="center", va="center", fontsize=7)
        else:
            plot_overlay(image, mask > 0, axes[1, column])
            plot_overlay(image, mask, axes[2, column])
        if names is not None:
            axes[0, column].set_title(names[column], fontsize=7)
    for row, title in enumerate(["A  CT slice", "B  Overall lesion", "C  GGO, consolidation"]):
        name_row(axes[row, 0], title)
    known = [mask for mask in masks if mask is not None]
    drawn = {name for label, name in LABELS.items() if any((mask == label).any() for mask in known)}
    class_legend(figure, [name for name in CLASS_COLOURS if name in drawn | {"lesion"}])
    return figure


@styled
def plot_augmented(examples: Mapping[str, Sequence[NDArray[np.floating]]]) -> Figure:
    """Draw training slices as augmentation changes them (V figure 6).

    Parameters
    ----------
    examples : mapping of str to sequence of (height, width) float arrays
        Name of a row → slices in [0, 1], the same slices in every row.
    """
    same_number(**examples)
    figure, axes = grid(len(examples), len(next(iter(examples.values()))))
    for row, (name, slices) in enumerate(examples.items()):
        for column, image in enumerate(slices):
            plot_slice(image, axes[row, column])
        name_row(axes[row, 0], name)
    return figure


@styled
def plot_scan(
    slices: Sequence[NDArray[np.floating]],
    fields: Sequence[NDArray[np.bool_]],
    captions: Sequence[str],
) -> Figure:
    """Draw the slices of a scan with the outline of their lung field, and a caption each.

    Parameters
    ----------
    slices : sequence of (height, width) float arrays in [0, 1]
    fields : sequence of (height, width) bool arrays
    captions : sequence of str
    """
    same_number(slices=slices, fields=fields, captions=captions)
    figure, axes = grid(1, len(slices), legend=0.35)
    for ax, image, field, caption in zip(axes[0], slices, fields, captions, strict=True):
        plot_slice(image, ax)
        if field.any():
            ax.contour(field, levels=[0.5], colors=[LUNG_COLOUR], linewidths=0.9)
        ax.set_xlabel(textwrap.fill(caption, 24), fontsize=7)
    return figure


@styled
def plot_slices_by_model(
    images: Sequence[NDArray[np.floating]],
    truths: Sequence[NDArray[Any]],
    predictions: Mapping[str, Sequence[NDArray[np.uint8]]],
    f1: Mapping[str, Sequence[float]] | None = None,
    names: Sequence[str] | None = None,
    note: str = "",
) -> Figure:
    """Draw slices beside what each model predicts and the truth (J figure 3A and 3C).

    Where the models tell classes apart the truth is drawn by class, else as one lesion.

    Parameters
    ----------
    images, truths : sequences of (height, width) arrays
        Windowed slices in [0, 1] and their masks, one a row.
    predictions : mapping of model to sequence of (height, width) uint8 arrays
        Predicted mask of each slice, as `plot_overlay` takes it; models are columns in this order.
    f1 : mapping of model to sequence of float, optional
        F1 of each slice, printed in a corner of its panel; NaN shows as undefined.
    names : sequence of str, optional
        Names of the rows.
    note : str
        Written below, such as that no test slice is without lesion.
    """
    same_number(images=images, truths=truths, names=images if names is None else names)
    same_number(images=images, **predictions)
    labels = {
        value for masks in predictions.values() for mask in masks for value in np.unique(mask)
    }
    classes = bool(labels & {1, 2})
    figure, axes = grid(len(images), len(predictions) + 2, legend=0.3 if classes else 0.0)
    for row, image in enumerate(images):
        plot_slice(image, axes[row, 0])
        for column, (model, masks) in enumerate(predictions.items(), start=1):
            plot_overlay(image, masks[row], axes[row, column])
            if f1 is not None:
                _write_f1(axes[row, column], f1[model][row])
        truth = truths[row] if classes else np.where(truths[row] > 0, 255, 0)
        plot_overlay(image, truth, axes[row, -1])
        if names is not None:
            name_row(axes[row, 0], names[row])
    titles = ["CT slice", *(model_label(model) for model in predictions), "Truth"]
    for ax, title in zip(axes[0], titles, strict=True):
        ax.set_title(title)
    meant = "F1: mean of GGO and consolidation" if classes else "F1 of the lesion"
    said = "\n".join(filter(None, [meant if f1 else None, note]))
    if classes:
        class_legend(figure, ["GGO", "consolidation"]).set_title(said, prop={"size": 7})
    elif said:
        figure.supxlabel(said, fontsize=7)
    return figure


def class_legend(figure: Figure, names: Sequence[str]) -> Legend:
    """Say below a figure what the colours of some of `CLASS_COLOURS` are."""
    words = {"lesion": "Lesion (any class)", "GGO": "Ground-glass opacity (GGO)"}
    handles = []
    for name in names:
        face, edge = to_rgba(CLASS_COLOURS[name], 2 * FILL), CLASS_COLOURS[name]
        label = words.get(name, name.capitalize())
        handles.append(Patch(facecolor=face, edgecolor=edge, label=label))
    return figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def _write_f1(ax: Axes, value: float) -> None:
    text = "F1 undefined" if np.isnan(value) else f"F1 {value:.2f}"
    box = {"facecolor": "black", "alpha": 0.55, "edgecolor": "none", "pad": 1.5}
    ax.text(0.03, 0.03, text, transform=ax.transAxes, color="white", fontsize=7, bbox=box)
