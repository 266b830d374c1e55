"""Mediation: forests of indirect effects, correlations, and the path model."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from matplotlib.path import Path as PathOfPoints

from ssinfnet.plots.style import STYLE, plot_reason
from ssinfnet.tables import p_text

if TYPE_CHECKING:
    from ssinfnet.mediation import PathFit

__all__ = [
    "plot_correlations", "plot_forest", "plot_path_model", "plot_paths", "plot_power", "plot_rho",
]  # fmt: skip

ROW = 0.17  # inches of one row of a forest
COLUMNS = (8, 128, 166)  # points from a forest to what is written beside it
FAMILY_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
MOST_COVARIANCES = 4  # mediators up to which a path plot has room for their covariances' numbers
COLOURS = 7  # of the style, before they come again
BESIDE_VARIANCE = 0.045  # of the width: covariances of mediators pass left of their variances
NO_MEDIATOR = "No mediator passes the criterion"
FOREST_NOTE = "Interval and p by the same bootstrap, both adjusted for all phenotypes tested."
POSITIVE, NEGATIVE, NEUTRAL = "#D55E00", "#0072B2", "#999999"


@mpl.rc_context(STYLE)
def plot_forest(rows: pd.DataFrame, names: Mapping[str, str], effect: str) -> Figure:
    """Draw indirect effects with adjusted intervals and p, grouped by family (J figure 4).

    Phenotypes that are not stable (D-57) have hollow squares and grey names.

    Parameters
    ----------
    rows : DataFrame
        From `mediation.described`, one exposure.
    names : mapping
        Mediator → how it is written.
    effect : str
        What the effect is and its unit, below the axis.
    """
    if rows.empty:
        return plot_reason(f"{NO_MEDIATOR}.").figure
    order = rows.sort_values(["family", "indirect"], ascending=[True, False])
    families = list(dict.fromkeys(order["family"]))
    height = ROW * (len(order) + len(families)) + 0.9
    figure = plt.figure(figsize=(6.3, height))
    ax = figure.subplots()
    y, ticks = 0.0, {}
    for family, colour in zip(families, FAMILY_COLOURS * len(families), strict=False):
        ax.text(-0.01, y, family, transform=ax.get_yaxis_transform(), ha="right", va="center",
                fontsize=7.5, fontweight="bold")  # fmt: skip
        y += 1
        for row in order[order["family"] == family].itertuples():
            low, high = row.indirect_low_adjusted, row.indirect_high_adjusted
            face = "white" if _unstable(row) else colour
            ax.plot([low, high], [y, y], color=colour, linewidth=1.1)
            ax.plot(row.indirect, y, "s", color=colour, markersize=3.2, markerfacecolor=face)
            said = f"{row.indirect:.2g} ({low:.2g} to {high:.2g})"
            for column, text in zip(COLUMNS, (said, p_text(row.p_indirect_adjusted), f"{row.n:,}"),
                                    strict=True):  # fmt: skip
                _beside(ax, y, column, text)
            ticks[y] = names.get(row.mediator, row.mediator)
            y += 1
    for column, text in zip(COLUMNS, ("effect (adj. interval)", "adj. p", "n"), strict=True):
        _beside(ax, -1, column, text, fontweight="bold")
    ax.axvline(0, color="black", linewidth=0.6)
    unstable = [_unstable(row) for row in order.itertuples()]
    said = [FOREST_NOTE, *["Hollow: unstable between masks."] * any(unstable)]
    ax.set(ylim=(y - 0.3, -1.6), xlabel="\n".join([effect, *said]))
    ax.set_yticks(list(ticks), list(ticks.values()), fontsize=6.5)
    for label, is_unstable in zip(ax.get_yticklabels(), unstable, strict=True):
        label.set_color(NEUTRAL if is_unstable else "black")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    return figure


def _unstable(row: object) -> bool:
    return not (pd.isna(row.stable) or row.stable)  # type: ignore[attr-defined]


def _beside(ax: Axes, y: float, column: float, text: str, fontweight: str = "normal") -> None:
    """Write right of the panel, `column` points from it."""
    ax.annotate(text, (1, y), (column, 0), xycoords=ax.get_yaxis_transform(),
                textcoords="offset points", va="center", fontsize=6.5, fontweight=fontweight,
                annotation_clip=False)  # fmt: skip


@mpl.rc_context(STYLE)
def plot_correlations(r: pd.DataFrame, names: Mapping[str, str]) -> Figure:
    """Draw a correlation matrix, alike rows side by side (J figure 5).

    Parameters
    ----------
    r : DataFrame
        Square; NaN where it is undefined. Of fewer than two phenotypes nothing is drawn but that.
    names : mapping
        Phenotype → how it is written.
    """
    import seaborn as sns  # two seconds of imports, which every notebook would wait for
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    if len(r) < 2:
        few = "Only one mediator passes" if len(r) else NO_MEDIATOR.removesuffix(" the criterion")
        return plot_reason(f"{few} the criterion, so there are no correlations.").figure
    shown = r.rename(index=names, columns=names)
    distance = 1 - np.abs(np.nan_to_num(shown.to_numpy()))
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform((distance + distance.T) / 2, checks=False), "average")
    side = max(4.2, 0.2 * len(shown) + 3.0)
    fonts = {"font.size": 6.5, "axes.labelsize": 6.5, "xtick.labelsize": 6.5,
             "ytick.labelsize": 6.5, "figure.constrained_layout.use": False}  # fmt: skip
    with mpl.rc_context(fonts):
        found = sns.clustermap(
            shown.fillna(0), row_linkage=tree, col_linkage=tree, mask=shown.isna(), cmap="RdBu_r",
            vmin=-1, vmax=1, figsize=(side, side), xticklabels=True, yticklabels=True,
            dendrogram_ratio=0.12, cbar_pos=(0.8, 0.06, 0.16, 0.02), linewidths=0.3,
            cbar_kws={"orientation": "horizontal", "label": "Pearson's r", "ticks": [-1, 0, 1]},
        )  # fmt: skip
        found.ax_heatmap.tick_params(length=0)
        found.ax_heatmap.set(xlabel="", ylabel="")
    return found.figure


@mpl.rc_context(STYLE)
def plot_paths(
    estimates: pd.DataFrame, exposures: pd.DataFrame, outcome: str, names: Mapping[str, str],
    verdict: str = "",
) -> Figure:  # fmt: skip
    """Draw a path model with its standardised estimates (J figure 6).

    Arrows are slopes; solid curves above a box its residual variance, dashed ones an exposure's
    variance; straight dashed lines covariances, of exposures and, where the model has them, of what
    is left of the mediators. Warm colours raise, cold ones lower, pale is not significant at 0.05
    by robust errors.

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
        Written below the model, such as that the data reject it.
    """
    slopes = estimates[estimates["op"] == "~"]
    mediators = [name for name in dict.fromkeys(slopes["lhs"]) if name != outcome]
    left = list(exposures.index)
    reach = max(len(mediators), len(left), 2)
    place = {
        name: (0.5, y) for name, y in zip(mediators, _heights(len(mediators), reach), strict=True)
    }
    place |= {name: (0.08, y) for name, y in zip(left, _heights(len(left), reach), strict=True)}
    place[outcome] = (0.92, reach / 2)
    written = {name: textwrap.fill(names.get(name, name), 20) for name in place}
    above = {name: 0.2 + 0.08 * text.count("\n") for name, text in written.items()}
    figure = plt.figure(figsize=(6.6, 0.85 * reach + 0.9))
    ax = figure.subplots()
    ax.axis("off")
    ax.set(xlim=(0, 1), ylim=(-0.9, reach + 0.5))
    direct = (slopes["lhs"] == outcome) & slopes["rhs"].isin(left)
    for row in slopes[~direct].itertuples():
        _slope(ax, place[row.rhs], place[row.lhs], row)
    for row in slopes[direct].itertuples():
        number = left.index(row.rhs)
        over = number < len(left) / 2
        middle = reach + 0.35 - 0.2 * number if over else -0.3 - 0.2 * (len(left) - 1 - number)
        _direct(ax, place[row.rhs], place[outcome], middle, row)
    for row in estimates[estimates["op"] == "~~"].itertuples():
        if row.lhs == row.rhs:
            _variance(ax, place[row.lhs], above[row.lhs], f"{row.standardised:.2f}", "-")
        else:
            colour, opacity, text = _look(row)
            text = text if opacity == 1 and len(mediators) <= MOST_COVARIANCES else ""
            _covariance(ax, place[row.lhs], place[row.rhs], colour, opacity, text)
    for number, name in enumerate(left):
        _variance(ax, place[name], above[name], "1.00", "--")
        for other in left[:number]:
            r = exposures.loc[name, other]
            _covariance(ax, place[name], place[other], "black", 1.0, f"{r:.2f}")
    for name, (x, y) in place.items():
        box = {"boxstyle": "round,pad=0.35", "facecolor": "white", "linewidth": 0.9}
        ax.text(x, y, written[name], ha="center", va="center", bbox=box, zorder=4, fontsize=7)
    note = (
        "Standardised estimates; * p < 0.05, ** p < 0.01, *** p < 0.001 by robust errors.\n"
        "Curves: variances that nothing explains; dashed lines: covariances."
    )
    ax.text(0, -0.85, note, fontsize=6.5)
    if verdict:
        ax.text(1, -0.85, verdict, fontsize=7.5, color=POSITIVE, fontweight="bold", ha="right")
    return figure


def plot_path_model(
    fits: Mapping[str, PathFit], measures: pd.DataFrame, model: str, outcome: str,
    names: Mapping[str, str],
) -> Figure:  # fmt: skip
    """Draw one of an outcome's path models, or why it could not be fitted.

    Parameters
    ----------
    fits, measures
        From `mediation.path_models`.
    model : str
        One of the column ``model`` of `measures`.
    outcome : str
    names : mapping
        As `plot_paths` takes it.
    """
    if model in fits:
        fit = fits[model]
        return plot_paths(fit.estimates, fit.exposures, outcome, names, fit.verdict)
    reason = measures.set_index("model").loc[model, "reason"]
    return plot_reason(f"The path model was not fitted: {reason}.").figure


def _heights(count: int, reach: int) -> list[float]:
    """Return the middles of `count` equal parts of `reach`, from above."""
    return [reach - (number + 0.5) * reach / count for number in range(count)]


def _look(row: object) -> tuple[str, float, str]:
    """Return colour, opacity and words of an estimate."""
    stars = "*" * sum(row.p_robust < bound for bound in (0.05, 0.01, 0.001))  # type: ignore[attr-defined]
    value = row.standardised  # type: ignore[attr-defined]
    return (POSITIVE if value > 0 else NEGATIVE), (1.0 if stars else 0.3), f"{value:.2f}{stars}"


def _slope(ax: Axes, start: tuple[float, float], end: tuple[float, float], row: object) -> None:
    """Draw an arrow from one column to the next, with its estimate."""
    colour, opacity, _ = _look(row)
    line = {"arrowstyle": "-|>", "color": colour, "alpha": opacity, "linewidth": 1.1,
            "shrinkA": 30, "shrinkB": 30}  # fmt: skip
    ax.annotate("", end, start, arrowprops=line, zorder=1)
    # Nearer to where arrows part, or meet, estimates would lie on each other
    share = 0.45 if start[0] < 0.3 else 0.5
    x, y = (start[i] + share * (end[i] - start[i]) for i in (0, 1))
    _estimate(ax, x, y, row)


def _direct(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], middle: float, row: object
) -> None:
    """Draw an arrow past the mediators, at the height `middle` half-way."""
    colour, opacity, _ = _look(row)
    side = 1 if middle > end[1] else -1
    first, last = (start[0], start[1] + side * 0.3), (end[0], end[1] + side * 0.3)
    # Half-way a quadratic curve is half its control point and a quarter of either end
    control = (first[0] + last[0]) / 2, 2 * middle - (first[1] + last[1]) / 2
    kinds = [PathOfPoints.MOVETO, PathOfPoints.CURVE3, PathOfPoints.CURVE3]
    curve = PathOfPoints([first, control, last], kinds)
    ax.add_patch(
        FancyArrowPatch(path=curve, arrowstyle="-|>", mutation_scale=10, color=colour,
                        alpha=opacity, linewidth=1.1, fill=False, zorder=1)
    )  # fmt: skip
    _estimate(ax, control[0], middle, row)


def _estimate(ax: Axes, x: float, y: float, row: object) -> None:
    colour, opacity, text = _look(row)
    background = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}
    ax.text(x, y, text, fontsize=6.5, color=colour if opacity == 1 else NEUTRAL, ha="center",
            va="center", bbox=background, zorder=3)  # fmt: skip


def _variance(ax: Axes, place: tuple[float, float], above: float, text: str, style: str) -> None:
    """Draw a curve with two heads that begins so much above the middle of a box."""
    x, y = place[0], place[1] + above - 0.2
    line = {"arrowstyle": "<|-|>,head_length=0.25,head_width=0.12", "linewidth": 0.7,
            "linestyle": style, "connectionstyle": "arc3,rad=-1.4", "color": "black",
            "shrinkA": 0, "shrinkB": 0}  # fmt: skip
    ax.annotate("", (x + 0.018, y + 0.2), (x - 0.018, y + 0.2), arrowprops=line, zorder=5)
    ax.text(x + 0.028, y + 0.34, text, fontsize=5.5, va="center", zorder=5)


def _covariance(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, opacity: float,
    text: str,
) -> None:  # fmt: skip
    """Draw a dashed line between boxes of one column; it bows past those between them."""
    lower_y, upper_y = sorted((start[1], end[1]))
    is_left = start[0] < 0.3
    bow = 0.0 if is_left else 0.06 * (upper_y - lower_y)
    x = start[0] if is_left else start[0] - BESIDE_VARIANCE
    line = {"arrowstyle": "<|-|>", "color": colour, "alpha": opacity, "linewidth": 0.8,
            "linestyle": (0, (4, 2)), "shrinkA": 14, "shrinkB": 14,
            "connectionstyle": f"arc3,rad={0.25 if bow else 0}"}  # fmt: skip
    ax.annotate("", (x, lower_y), (x, upper_y), arrowprops=line, zorder=0)
    if text:
        background = {"facecolor": "white", "edgecolor": "none", "pad": 0.4, "alpha": 0.85}
        ax.text(x - bow, (upper_y + lower_y) / 2, text, fontsize=5.5, color=colour,
                ha="center", va="center", bbox=background, zorder=2)  # fmt: skip


@mpl.rc_context(STYLE)
def plot_rho(curves: Mapping[str, pd.DataFrame], ax: Axes | None = None) -> Axes:
    """Draw how indirect effects change with the correlation of the errors.

    Parameters
    ----------
    curves : mapping
        Name of the mediator → ``rho`` and ``indirect`` (any common unit); where there is none, the
        figure says so.
    ax : Axes, optional
        A new figure's by default.
    """
    if not curves:
        return plot_reason(f"{NO_MEDIATOR}, so no effect can be followed.", ax)
    ax = ax if ax is not None else plt.figure(figsize=(6.6, 2.9)).subplots()
    for number, (name, curve) in enumerate(curves.items()):
        style = "-" if number < COLOURS else "--"
        ax.plot(curve["rho"], curve["indirect"], style, label=name)
    ax.axhline(0, color="black", linewidth=0.6)
    ax.axvline(0, color="black", linewidth=0.6, linestyle=":")
    ax.set(xlabel="Correlation of the errors of mediator and outcome, ρ",
           ylabel="Indirect effect (standardised)", xlim=(-1, 1))  # fmt: skip
    ax.legend(fontsize=6.5, loc="center left", bbox_to_anchor=(1.02, 0.5))
    return ax


@mpl.rc_context(STYLE)
def plot_power(power: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the share of simulated cohorts in which a mediator was found, by their size.

    Parameters
    ----------
    power : DataFrame
        ``criterion``, ``n``, ``share``, ``low`` and ``high`` (95 %).
    ax : Axes, optional
        A new figure's by default.
    """
    ax = ax if ax is not None else plt.figure(figsize=(4.2, 2.9)).subplots()
    for criterion, rows in power.groupby("criterion", sort=False):
        above = rows["share"] - rows["low"], rows["high"] - rows["share"]
        ax.errorbar(rows["n"], rows["share"], yerr=above, fmt="o-", markersize=3, capsize=2,
                    linewidth=1, label=criterion)  # fmt: skip
    ax.set(xlabel="Patients", ylabel="Share of cohorts in which it is found", ylim=(-0.03, 1.03),
           xscale="log")  # fmt: skip
    ax.legend()
    return ax
