"""The look of every figure: style, colours, small shared pieces.

Colours are Okabe and Ito's (2008), which readers with colour-blindness tell apart.
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ssinfnet.study.models import MODEL_NAMES

__all__ = [
    "COLUMN",
    "HOLLOW",
    "MODEL_COLOURS",
    "MODEL_NAMES",
    "PAGE",
    "PAGE_HEIGHT",
    "PAGE_ONLY",
    "PANEL",
    "STYLE",
    "at_width",
    "figure_width",
    "grid",
    "in_column",
    "model_colour",
    "name_row",
    "plot_reason",
    "same_number",
    "style",
    "styled",
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
# A journal's page of 183 by 247 mm and its column of 89 mm, in inches, less the margin of a saved
# figure: none is larger.
PAGE = 7.16
PAGE_HEIGHT = 9.68
COLUMN = 3.46
# Functions whose figures cannot be read in a column, and why; the others are saved for both.
PAGE_ONLY = {
    "plot_augmented": "the slices of a row side by side would be 12 mm wide",
    "plot_cohort_examples": "six slices side by side would be 14 mm wide",
    "plot_correlations": "phenotypes' names on two sides leave no room for the matrix",
    "plot_forest": "names, effect, p and n take more than 89 mm beside the intervals",
    "plot_known_truth": "a matrix of panels with names on one side and quotients on the other",
    "plot_network": "blocks side by side, each with its name and size",
    "plot_paths": "three columns of boxes with numbers on the arrows between them",
    "plot_phenotypes": "68 names with their units take two thirds of it",
    "plot_scan": "the slices of a scan stand in one row, with words below each",
    "plot_slices_by_model": "slice, models and truth side by side would be 14 mm wide each",
    "plot_system": "six boxes side by side, with words in each",
}

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


Arguments = ParamSpec("Arguments")
Drawn = TypeVar("Drawn", Axes, Figure)
T = TypeVar("T")
_width: ContextVar[float] = ContextVar("width", default=PAGE)
_again: WeakKeyDictionary[Any, Callable[[], Any]] = WeakKeyDictionary()


def styled(draw: Callable[Arguments, Drawn]) -> Callable[Arguments, Drawn]:
    """Let a plot function draw in `STYLE`, and `in_column` draw its figure once more."""

    @functools.wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Drawn:
        def again() -> Drawn:
            with mpl.rc_context(STYLE):
                return draw(*args, **kwargs)

        made = again()
        given = any(isinstance(value, Axes) for value in (*args, *kwargs.values()))
        if draw.__name__ not in PAGE_ONLY and not given:  # a given Axes is of another's figure
            _again[made.figure] = again
        return made

    return drawn


def in_column(figure: Figure) -> Figure | None:
    """Draw a figure anew for one column of a journal, 89 mm.

    Parameters
    ----------
    figure : Figure
        From a function of `plots`.

    Returns
    -------
    Figure or None
        None of a figure that cannot be read in a column (`PAGE_ONLY`), or that is not ours.
    """
    if figure not in _again:
        return None
    before = _width.set(COLUMN)
    try:
        return _again[figure]().figure
    finally:
        _width.reset(before)


def at_width(*, page: T, column: T) -> T:
    """Return what holds for the width that is drawn at."""
    return column if _width.get() == COLUMN else page


def figure_width(page: float = PAGE) -> float:
    """Return the width of a figure in inches: what it has on a page, but at most a column's."""
    return min(page, at_width(page=PAGE, column=COLUMN))


@styled
def plot_reason(reason: str, ax: Axes | None = None) -> Axes:
    """Draw, in place of a figure that has nothing to show, why that is so.

    Parameters
    ----------
    reason : str
        One or more sentences.
    ax : Axes, optional
        A new figure's by default.
    """
    lines = textwrap.wrap(reason, at_width(page=70, column=50))
    if ax is None:
        ax = plt.figure(figsize=(figure_width(4.5), 0.5 + 0.16 * len(lines))).subplots()
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
    """Return a figure of square panels, as wide as fits, with `legend` inches below them."""
    panel = min(PANEL, (figure_width() - 0.25) / columns)
    figure = plt.figure(figsize=(panel * columns + 0.25, panel * rows + 0.25 + legend))
    axes = figure.subplots(rows, columns, squeeze=False)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01)
    return figure, axes


def name_row(ax: Axes, name: str) -> None:
    """Write the name of a row of panels beside its first."""
    ax.set_ylabel(name, fontsize=at_width(page=STYLE["axes.titlesize"], column=7))
