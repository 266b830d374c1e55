"""The look of every figure: style, colours, small shared pieces.

Colours are Okabe and Ito's (2008), which readers with colour-blindness tell apart.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ssinfnet.study.models import MODEL_NAMES

__all__ = [
    "HOLLOW",
    "MODEL_COLOURS",
    "MODEL_NAMES",
    "PAGE",
    "PAGE_HEIGHT",
    "PANEL",
    "STYLE",
    "grid",
    "model_colour",
    "name_row",
    "plot_reason",
    "same_number",
    "style",
]

MODEL_COLOURS = {
    "unet": "#E69F00",
    "fcn8s": "#CC79A7",
    "sinfnet": "#0072B2",
    "ssinfnet": "#009E73",
    "sinfnet_lite": "#56B4E9",  # of either stage; the next three of stage 1 alone
    "ssinfnet_lite": "#CC79A7",
    "unet_lite": "#882255",
    "student_lite": "#000000",
    "semi_infnet": "#D55E00",
    "ssinfnet_no_focal_no_lookahead": "#56B4E9",
    "ssinfnet_no_lookahead": "#D55E00",
    "ssinfnet_no_focal": "#000000",
    # Never in one figure with the ablations
    "sinfnet_cutout20": "#CC79A7",
    "sinfnet_cutout40": "#56B4E9",
    "sinfnet_cutout50": "#000000",
    "ssinfnet_cutout40": "#D55E00",
    # Beside those with cutout: light where nothing is changed, dark where all is
    "sinfnet_unaugmented": "#8FC1E3",
    "sinfnet_augmented40": "#00446B",
    "sinfnet_augmented50": "#6A3D9A",
    "ssinfnet_unaugmented": "#8AD9BD",
    "ssinfnet_augmented40": "#7A3300",
}
OTHER_COLOUR = "#999999"
HOLLOW: dict[str, Any] = {"marker": "s", "markerfacecolor": "white", "linestyle": "none"}
PANEL = 1.55  # inches, side of one slice in a grid
PAGE = 7.2  # inches, width of a journal's page (183 mm): no figure is wider
PAGE_HEIGHT = 9.7  # inches, its height (247 mm)

STYLE: dict[Any, Any] = {  # keys are those of rcParams
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
    "axes.prop_cycle": plt.cycler(
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

# Matplotlib loads its backend at the first figure, and Jupyter's then turns drawing at once on. In
# a context of STYLE that would end with the context, and no further figure of a notebook show.
plt.switch_backend(mpl.get_backend())


def style() -> AbstractContextManager[None]:
    """Return a context in which Matplotlib draws in `STYLE`; the settings before come back."""
    return mpl.rc_context(STYLE)


@mpl.rc_context(STYLE)
def plot_reason(reason: str, ax: Axes | None = None) -> Axes:
    """Draw, in place of a figure that has nothing to show, why that is so.

    Parameters
    ----------
    reason : str
        One or more sentences.
    ax : Axes, optional
        A new figure's by default.
    """
    lines = textwrap.wrap(reason, 70)
    if ax is None:
        ax = plt.figure(figsize=(4.5, 0.5 + 0.16 * len(lines))).subplots()
    ax.axis("off")
    ax.text(0.5, 0.5, "\n".join(lines), ha="center", va="center", transform=ax.transAxes)
    return ax


def model_colour(model: str) -> str:
    """Return the colour of a model in every figure."""
    return MODEL_COLOURS.get(model, OTHER_COLOUR)


def same_number(**sequences: Sequence[Any]) -> None:
    """Raise ValueError unless all have one entry a slice, and at least one."""
    numbers = {name: len(sequence) for name, sequence in sequences.items()}
    if len(set(numbers.values())) != 1 or 0 in numbers.values():
        raise ValueError(f"one entry a slice is needed in each, got {numbers}")


def grid(rows: int, columns: int, legend: float = 0.0) -> tuple[Figure, NDArray[Any]]:
    """Return a figure of square panels, at most a page wide, with `legend` inches below them."""
    panel = min(PANEL, (PAGE - 0.25) / columns)
    figure = plt.figure(figsize=(panel * columns + 0.25, panel * rows + 0.25 + legend))
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    return figure, axes


def name_row(ax: Axes, name: str) -> None:
    """Write the name of a row of panels beside its first."""
    ax.set_ylabel(name, fontsize=STYLE["axes.titlesize"])
