"""Boxes, lines between them and words on the lines: what drawings of models are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path
from matplotlib.text import Text
from numpy.typing import NDArray

__all__ = ["draw_box", "draw_line", "write_on_line"]


def draw_box(ax: Axes, middle: tuple[float, float], size: tuple[float, float], **look: Any) -> None:
    """Draw a box with round corners, `size` its width and height; `look` as Matplotlib has it."""
    (x, y), (width, height) = middle, size
    shape = "round,pad=0,rounding_size=0.06"
    ax.add_patch(
        FancyBboxPatch((x - width / 2, y - height / 2), width, height, boxstyle=shape, **look)
    )


def draw_line(
    ax: Axes,
    points: Sequence[tuple[float, float]] | NDArray[np.floating],
    *,
    curved: bool = False,
    style: str = "-|>",
    **look: Any,
) -> None:
    """Draw a line through points with its arrow heads, which end at the last and first point.

    Parameters
    ----------
    ax : Axes
    points : sequence of (x, y)
        Corners; of a curve four, of which the inner two draw it towards them (Bézier).
    curved : bool
    style : str
        Matplotlib's arrow style.
    look
        Of the line, as Matplotlib has it.
    """
    codes = [Path.MOVETO, *[Path.CURVE4 if curved else Path.LINETO] * (len(points) - 1)]
    ax.add_patch(
        FancyArrowPatch(
            path=Path(points, codes), arrowstyle=style, shrinkA=0, shrinkB=0, fill=False, **look
        )
    )


def write_on_line(ax: Axes, x: float, y: float, words: str, colour: str) -> Text:
    """Write on a line, which a white ground interrupts; return the text."""
    ground = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    return ax.text(
        x, y, words, fontsize=7, color=colour, ha="center", va="center", bbox=ground, zorder=3
    )
