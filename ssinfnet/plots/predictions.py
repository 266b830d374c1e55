"""What a model sees in one scan, as one picture to look at before trusting any number."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ssinfnet.plots.slices import class_legend, plot_overlay, plot_slice
from ssinfnet.plots.style import STYLE, grid, name_row, same_number

__all__ = ["plot_prediction", "slices_to_show"]

UNCERTAINTY_TOP = 0.25  # standard deviation; members that are at odds on 0 and 1 reach 0.5
SCALE_MM = 50
LETTERS_AN_INCH = 15  # of a title
NOTICE = "Research only, not a medical device"


def slices_to_show(lesion_pixels: NDArray[np.int_], most: int = 4) -> list[int]:
    """Return the slices with most lesion, in order, no two of them close to each other.

    Slices without lesion fill the rest evenly, from the middle of the scan, so that a scan without
    any shows that.

    Parameters
    ----------
    lesion_pixels : (n,) int array
    most : int

    Examples
    --------
    >>> slices_to_show(np.array([0, 5, 9, 8, 0, 0, 0, 3]), most=2)
    [2, 7]
    """
    number = len(lesion_pixels)
    apart = max(1, number // (2 * most))
    middle = (number - 1) / 2
    order = sorted(range(number), key=lambda i: (-lesion_pixels[i], abs(i - middle), i))
    chosen: list[int] = []
    for index in order:
        if len(chosen) < most and all(abs(index - other) >= apart for other in chosen):
            chosen.append(index)
    return sorted(chosen)


@mpl.rc_context(STYLE)
def plot_prediction(
    images: Sequence[NDArray[np.floating]],
    masks: Sequence[NDArray[np.uint8]],
    captions: Sequence[str],
    title: str,
    *,
    legend: Sequence[str] = ("GGO", "consolidation"),
    uncertainty: Sequence[NDArray[np.floating]] | None = None,
    pixel_mm: tuple[float, float] | None = None,
) -> Figure:
    """Draw slices of a scan, what a model sees in them below, and how sure it is of it.

    A single slice has its panels side by side.

    Parameters
    ----------
    images : sequence of (height, width) float arrays in [0, 1]
    masks : sequence of (height, width) uint8 arrays
        Masks, as `plot_overlay` takes them.
    captions : sequence of str
        One a slice.
    title : str
        Title of the scan, broken into lines that fit the figure.
    legend : sequence of str
        Keys of `CLASS_COLOURS` that masks may show.
    uncertainty : sequence of (height, width) float arrays, optional
        Standard deviation of the lesion probability, a third row.
    pixel_mm : (row, column), optional
        Distance of pixels of a volume: draws a scale of 5 cm and the patient's right, and pixels in
        their true shape.
    """
    given: dict[str, Sequence[Any]] = {"images": images, "masks": masks, "captions": captions}
    same_number(**given, **({} if uncertainty is None else {"uncertainty": uncertainty}))
    names = ("CT", "Prediction", "Uncertainty (SD)")[: 2 if uncertainty is None else 3]
    alone = len(images) == 1
    shape = (1, len(names)) if alone else (len(names), len(images))
    # The bar of a third row narrows all panels, which lowers them too.
    figure, axes = grid(*shape, legend=0.75 if uncertainty is None or alone else 0.5)
    by_slice = axes if alone else axes.T  # a row of panels each
    for own, image, mask, caption in zip(by_slice, images, masks, captions, strict=True):
        plot_slice(image, own[0]).set_title(caption, fontsize=7)
        plot_overlay(image, mask, own[1])
        if pixel_mm is not None:
            for ax in own:
                ax.set_aspect(pixel_mm[0] / pixel_mm[1])
    for ax, name in zip(by_slice[0], names, strict=True):
        if alone:
            ax.set_title(name if ax is not by_slice[0, 0] else f"{name}, {captions[0]}", fontsize=7)
        else:
            name_row(ax, name)
    if pixel_mm is not None:
        _draw_scale(by_slice[0, 0], images[0].shape, pixel_mm[1])
    if uncertainty is not None:
        _plot_uncertainties(figure, by_slice[:, 2], uncertainty)
    width = int(figure.get_figwidth() * LETTERS_AN_INCH)
    lines = [textwrap.fill(line, width) for line in title.split("\n")]
    figure.suptitle("\n".join(lines), fontsize=STYLE["axes.titlesize"])
    class_legend(figure, legend).set_title(NOTICE, prop={"size": 7})
    return figure


def _plot_uncertainties(
    figure: Figure, axes: NDArray[Any], uncertainty: Sequence[NDArray[np.floating]]
) -> None:
    for ax, deviation in zip(axes, uncertainty, strict=True):
        _plot_uncertainty(deviation, ax)
    shown = ScalarMappable(Normalize(0, UNCERTAINTY_TOP), "cividis")
    bar = figure.colorbar(shown, ax=axes, fraction=0.04, pad=0.01, extend="max")
    bar.ax.tick_params(labelsize=7)


def _plot_uncertainty(deviation: NDArray[np.floating], ax: Axes) -> None:
    shown = deviation.astype(np.float32)
    ax.imshow(shown, cmap="cividis", vmin=0, vmax=UNCERTAINTY_TOP)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def _draw_scale(ax: Axes, shape: tuple[int, ...], column_mm: float) -> None:
    """Draw the patient's right, and a bar of 5 cm in a corner where the slice is that wide."""
    length, (height, width) = SCALE_MM / column_mm, shape
    ax.text(0.03 * width, 0.05 * height, "R", color="white", fontsize=7, va="top")
    if length > 0.8 * width:
        return
    left, at = 0.05 * width, 0.95 * height
    ax.plot([left, left + length], [at, at], color="white", linewidth=1.6, solid_capstyle="butt")
    ax.text(left + length / 2, at - 0.02 * height, "5 cm", color="white", fontsize=7,
            ha="center", va="bottom")  # fmt: skip
