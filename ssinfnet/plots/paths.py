"""The path model of several mediators as a drawing (J figure 6)."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from ssinfnet.plots.boxes import draw_box, draw_line, write_on_line
from ssinfnet.plots.style import PAGE, PAGE_HEIGHT, plot_reason, styled
from ssinfnet.tables import minus_sign

if TYPE_CHECKING:
    from ssinfnet.mediation import PathFit

__all__ = ["plot_path_model", "plot_paths"]

MARGIN = 0.08  # all lengths here are inches
PAD = 0.07  # between a box and its text
GAP = 0.32  # between the boxes of a column, with room for a loop; less where a page ends
LEAST_GAP = 0.2
LANE = 0.24  # between direct effects that pass above or below the mediators
PORT = 0.13  # between arrows that leave or reach the same side of a box
LOOP = 0.2  # height of a loop
LETTERS = 20  # of a line in a box
LINE = 125  # letters of a line below the model
SHARES = (0.5, 0.42, 0.58, 0.34, 0.66, 0.26, 0.74, 0.18, 0.82)  # of an arrow, for its number
POSITIVE, NEGATIVE, NEUTRAL = "#D55E00", "#0072B2", "#767676"
ARROW: dict[str, Any] = {"zorder": 2, "mutation_scale": 8}
NOTE = (
    "Standardised estimates; * p < 0.05, ** p < 0.01, *** p < 0.001 by robust errors. "
    "Loops: share of the variance that the model leaves."
)


@dataclass
class Box:
    """A variable's box: its middle, its size and its text, in inches."""

    text: str
    width: float
    height: float
    x: float = 0.0
    y: float = 0.0

    @property
    def top(self) -> float:
        return self.y + self.height / 2

    @property
    def bottom(self) -> float:
        return self.y - self.height / 2

    def side(self, right: bool) -> float:
        """Return x of the right or left side."""
        return self.x + (self.width / 2 if right else -self.width / 2)

    def extent(self) -> Bbox:
        """Return the rectangle."""
        return Bbox.from_extents(self.side(False), self.bottom, self.side(True), self.top)


@styled
def plot_paths(
    estimates: pd.DataFrame,
    exposures: pd.DataFrame,
    outcome: str,
    names: Mapping[str, str],
    verdict: str = "",
    fit: str = "",
) -> Figure:
    """Draw a path model with its standardised estimates (J figure 6).

    Arrows run from border to border, pass no box, and have their estimates where no other stands.
    Warm colours raise, cold ones lower; what is not significant at 0.05 by robust errors is pale.
    Effects beside the mediators run around them. Covariances of what is left of the mediators are
    counted below and not drawn: ten mediators have 45.

    Parameters
    ----------
    estimates : DataFrame
        From `mediation.PathFit`.
    exposures : DataFrame
        Pearson's r between them, square.
    outcome : str
    names : mapping
        Column → how it is written.
    verdict : str
        Written below the model in colour, such as that the data reject it.
    fit : str
        Written below the model: patients and measures of fit.
    """
    figure = plt.figure(figsize=(PAGE, 3.0), layout="none")
    ax = figure.add_axes((0, 0, 1, 1))
    slopes = estimates[estimates["op"] == "~"]
    left = list(exposures.index)
    is_direct = (slopes["lhs"] == outcome) & slopes["rhs"].isin(left)
    through, direct = slopes[~is_direct], slopes[is_direct]
    mediators = _ordered(through, left, outcome)
    boxes = {
        name: _measured(figure, names.get(name, name), _ports(name, through))
        for name in (*left, *mediators, outcome)
    }
    lanes = _lanes(direct, left)
    note = _note(estimates, mediators, len(left), fit)
    below = 0.137 * (note.count("\n") + 1) + 0.17 * bool(verdict) + 0.1
    height = _place(boxes, left, mediators, outcome, lanes, below)
    figure.set_size_inches(PAGE, height)
    ax.set(xlim=(0, PAGE), ylim=(0, height))
    ax.axis("off")
    for box in boxes.values():
        _draw_box(ax, box)
    for name in (*mediators, outcome):
        (variance,) = _variances(estimates, name)
        _loop(ax, boxes[name], variance, on_top=name != outcome)
    for number, name in enumerate(left):
        for other in left[:number]:
            _correlation(ax, boxes[other], boxes[name], exposures.loc[other, name])
    arrows = _arrows(boxes, through, left, outcome)
    _draw_slopes(ax, arrows, [box.extent() for box in boxes.values()])
    over = max(box.top for box in boxes.values()) + LOOP
    under = min(box.bottom for box in boxes.values())
    for row in direct.itertuples():
        above, lane = lanes[row.rhs]
        y = over + (lane + 0.5) * LANE if above else under - (lane + 0.7) * LANE
        _draw_direct(ax, boxes[row.rhs], boxes[outcome], row, y, lane)
    ax.text(MARGIN, 0.06, note, fontsize=7, va="bottom")
    if verdict:
        ax.text(MARGIN, below - 0.04, f"Model {verdict}.", fontsize=7.5,
                color=POSITIVE, fontweight="bold", va="top")  # fmt: skip
    return figure


def plot_path_model(
    fits: Mapping[str, PathFit],
    measures: pd.DataFrame,
    model: str,
    outcome: str,
    names: Mapping[str, str],
    none: str | None = None,
) -> Figure:
    """Draw one of an outcome's path models, or why it could not be fitted.

    Parameters
    ----------
    fits, measures
        From `mediation.path_models`.
    model : str
        One of the column ``model`` of `measures`.
    outcome : str
    names : mapping
        Names to write, as `plot_paths` takes them.
    none : str, optional
        What is said in place of a model that was not fitted, for want of mediators.
    """
    if model in fits:
        fit = fits[model]
        numbers = [f"{name} {fit.measures[name]:.2f}" for name in ("CFI", "RMSEA", "SRMR")]
        without = " by construction, without degrees of freedom" * bool(fit.measures["df"] == 0)
        said = f"{fit.n:,} patients. Fit{without}: {', '.join(numbers)}."
        return plot_paths(fit.estimates, fit.exposures, outcome, names, fit.verdict, said)
    reason = measures.set_index("model").loc[model, "reason"]
    return plot_reason(none or f"The path model was not fitted: {reason}.").figure


def _ordered(through: pd.DataFrame, left: Sequence[str], outcome: str) -> list[str]:
    """Return the mediators by the exposures that act on them, so that few arrows cross."""
    place = {name: number for number, name in enumerate(left)}
    towards = through[through["lhs"] != outcome]
    weight = towards["standardised"].abs()
    mean = (towards["rhs"].map(place) * weight).groupby(towards["lhs"]).sum()
    mean /= weight.groupby(towards["lhs"]).sum()
    mediators = list(dict.fromkeys(through["lhs"]))
    return sorted((name for name in mediators if name != outcome), key=lambda name: mean[name])


def _ports(name: str, through: pd.DataFrame) -> int:
    """Return how many arrows the busier side of a box has."""
    return max((through["lhs"] == name).sum(), (through["rhs"] == name).sum())


def _measured(figure: Figure, name: str, ports: int) -> Box:
    """Return a box as large as its text and its arrows need."""
    text = figure.text(0, 0, textwrap.fill(name, LETTERS), fontsize=7)
    size = text.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
    text.remove()
    height = max(size.height + 2 * PAD, PORT * ports + PAD)
    return Box(text.get_text(), max(size.width + 2 * PAD, 0.9), height)


def _lanes(direct: pd.DataFrame, left: Sequence[str]) -> dict[str, tuple[bool, int]]:
    """Return exposure → whether its direct effect passes above, and in which lane from inside."""
    found, used = {}, {True: 0, False: 0}
    last = len(left) - 1
    for name in sorted(direct["rhs"], key=lambda n: min(left.index(n), last - left.index(n))):
        above = left.index(name) < len(left) / 2
        found[name] = above, used[above]
        used[above] += 1
    return found


def _place(
    boxes: Mapping[str, Box],
    left: Sequence[str],
    mediators: Sequence[str],
    outcome: str,
    lanes: Mapping[str, tuple[bool, int]],
    below: float,
) -> float:
    """Put the boxes into three columns; return the figure's height."""
    columns = [list(left), list(mediators), [outcome]]
    lanes_above = sum(above for above, _ in lanes.values())
    bottom = below + LANE * (len(lanes) - lanes_above + 0.5)
    over = LANE * (lanes_above + 0.5) + MARGIN
    tall, least = (
        max(sum(boxes[n].height + gap for n in column) for column in columns)
        for gap in (GAP, LEAST_GAP)
    )
    tall = max(min(tall, PAGE_HEIGHT - bottom - over), least)
    widest = [max((boxes[n].width for n in column), default=0) for column in columns]
    first = MARGIN + LANE * max(len(left) - 1, 1) + widest[0] / 2
    last = PAGE - MARGIN - 0.55 - widest[2] / 2
    inner = (first + widest[0] / 2, last - widest[2] / 2)
    for x, column in zip((first, sum(inner) / 2, last), columns, strict=True):
        spare = (tall - sum(boxes[n].height for n in column)) / max(len(column), 1)
        top = bottom + tall
        for name in column:
            box = boxes[name]
            box.x, box.y = x, top - spare / 2 - box.height / 2
            top -= spare + box.height
    return bottom + tall + over


def _look(row: Any) -> tuple[str, str, str, bool]:
    """Return the colour of an estimate's arrow and of its number, its text, and if it counts."""
    stars = "*" * sum(row.p_robust < bound for bound in (0.05, 0.01, 0.001))
    colour = POSITIVE if row.standardised > 0 else NEGATIVE
    text = minus_sign(f"{row.standardised:.2f}{stars}")
    return colour, colour if stars else NEUTRAL, text, bool(stars)


def _variances(estimates: pd.DataFrame, name: str) -> pd.Series:
    is_variance = (
        (estimates["op"] == "~~") & (estimates["lhs"] == name) & (estimates["rhs"] == name)
    )
    return estimates.loc[is_variance, "standardised"]


def _note(estimates: pd.DataFrame, mediators: Sequence[str], exposures: int, fit: str) -> str:
    """Say below the model what is drawn how, what is not drawn, and how well it fits."""
    said = [NOTE, *["Dashed: correlation of the exposures."] * (exposures > 1)]
    between = (estimates["op"] == "~~") & (estimates["lhs"] != estimates["rhs"])
    values = estimates.loc[between & estimates["lhs"].isin(mediators), "standardised"]
    if len(values):
        ends = [minus_sign(f"{value:.2f}") for value in (values.min(), values.max())]
        plural = "covariances" if len(values) > 1 else "covariance"
        span = " to ".join(dict.fromkeys(ends))
        said.append(f"Not drawn: {len(values)} {plural} of the mediators' residuals, {span}.")
    return textwrap.fill(" ".join([*said, fit]).strip(), LINE)


def _draw_box(ax: Axes, box: Box) -> None:
    size = box.width, box.height
    draw_box(ax, (box.x, box.y), size, zorder=4, facecolor="white", linewidth=0.9)
    ax.text(box.x, box.y, box.text, ha="center", va="center", fontsize=7, zorder=5)


def _loop(ax: Axes, box: Box, variance: float, *, on_top: bool) -> None:
    """Draw a loop with two heads on top of a box or on its right, and its number beside it."""
    half = 0.1
    points = np.array([(-half, 0), (-1.3 * half, LOOP), (1.3 * half, LOOP), (half, 0)])
    middle = (box.x, box.top) if on_top else (box.side(True), box.y)
    path = (points if on_top else points[:, ::-1]) + middle
    heads = "<|-|>,head_length=0.25,head_width=0.12"
    draw_line(ax, path, curved=True, style=heads, color="black", linewidth=0.7, **ARROW)
    x, y = (box.x + 0.16, box.top + 0.09) if on_top else (box.side(True) + LOOP, box.y)
    ax.text(x, y, f"{variance:.2f}", fontsize=7, va="center", zorder=5)


def _correlation(ax: Axes, upper: Box, lower: Box, r: float) -> None:
    """Draw a dashed arc between two exposures, left of those between them, with its number."""
    x, bow = upper.side(False), 0.16 + 0.1 * (upper.bottom - lower.top)
    start, end = (upper.side(False), upper.y), (lower.side(False), lower.y)
    bow = min(bow, x - MARGIN)
    path = np.array([start, (x - bow, upper.y), (x - bow, lower.y), end])
    dashed: dict[str, Any] = {"linewidth": 0.8, "linestyle": (0, (4, 2))}
    draw_line(ax, path, curved=True, style="<|-|>", color="black", **dashed, **ARROW)
    write_on_line(ax, x - 0.75 * bow, (upper.y + lower.y) / 2, minus_sign(f"{r:.2f}"), "black")


def _arrows(
    boxes: Mapping[str, Box], through: pd.DataFrame, left: Sequence[str], outcome: str
) -> list[tuple[Any, tuple[float, float], tuple[float, float]]]:
    """Return (row, start, end) of each slope; ends share a side of a box in the order of origin."""
    starts: dict[int, tuple[float, float]] = {}
    ends: dict[int, tuple[float, float]] = {}
    for name, rows in through.groupby("rhs"):
        by_end = sorted(rows.index, key=lambda i: -boxes[through.loc[i, "lhs"]].y)
        starts |= dict(zip(by_end, _along(boxes[name], len(rows), right=True), strict=True))
    for name, rows in through.groupby("lhs"):
        by_start = sorted(rows.index, key=lambda i: -boxes[through.loc[i, "rhs"]].y)
        ends |= dict(zip(by_start, _along(boxes[name], len(rows), right=False), strict=True))
    return [(row, starts[row.Index], ends[row.Index]) for row in through.itertuples()]


def _along(box: Box, count: int, *, right: bool) -> list[tuple[float, float]]:
    """Return so many points of a side, from above."""
    step = min(PORT, (box.height - PAD) / count)
    return [(box.side(right), box.y + step * ((count - 1) / 2 - number)) for number in range(count)]


def _draw_slopes(
    ax: Axes,
    arrows: Iterable[tuple[Any, tuple[float, float], tuple[float, float]]],
    taken: list[Bbox],
) -> None:
    """Draw arrows between columns; the most significant have the first choice of a place."""
    for row, start, end in sorted(arrows, key=lambda arrow: arrow[0].p_robust):
        colour, ink, text, counts = _look(row)
        draw_line(ax, [start, end], **_weight(colour, counts))
        written = write_on_line(ax, *start, text, ink)
        for share in SHARES:
            (x, y), (x_end, y_end) = start, end
            written.set_position((x + share * (x_end - x), y + share * (y_end - y)))
            extent = _extent(ax, written)
            if not any(extent.overlaps(other) for other in taken):
                break
        taken.append(extent)


def _draw_direct(ax: Axes, start: Box, end: Box, row: Any, y: float, lane: int) -> None:
    """Draw an effect beside the mediators: out of a box, along at height y, into the outcome."""
    colour, ink, text, counts = _look(row)
    above = y > start.y
    x_end = end.x + (0.5 - lane) * PORT
    if lane:  # another exposure stands in the way
        x = start.side(False) - lane * LANE * 0.6
        leaves = start.y + (PAD if above else -PAD)
        out = [(start.side(False), leaves), (x, leaves)]
    else:
        x = start.x - 0.25
        out = [(x, start.top if above else start.bottom)]
    path = [*out, (x, y), (x_end, y), (x_end, end.top if above else end.bottom)]
    draw_line(ax, path, joinstyle="round", **_weight(colour, counts))
    write_on_line(ax, (x + x_end) / 2, y, text, ink)


def _weight(colour: str, counts: bool) -> dict[str, Any]:
    """Return how a slope is drawn: what is not significant is thin and pale."""
    weight: dict[str, Any] = (
        {"linewidth": 1.2, "alpha": 1.0} if counts else {"linewidth": 0.8, "alpha": 0.35}
    )
    return {"color": colour, **weight, **ARROW}


def _extent(ax: Axes, text: Any) -> Bbox:
    """Return where a text stands, in inches."""
    return text.get_window_extent().transformed(ax.figure.dpi_scale_trans.inverted())
