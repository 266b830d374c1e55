"""Mediation: forests of indirect effects, correlations, and the path model."""

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

from ssinfnet.plots.style import PAGE, at_width, figure_width, plot_reason, styled
from ssinfnet.tables import minus_sign, p_text

__all__ = ["plot_correlations", "plot_forest", "plot_power", "plot_rho"]

ROW = 0.17  # inches of one row of a forest
FOREST_NAMES = 0.235  # share of the width, left of a forest
COLUMNS = ("effect (adj. interval)", "adj. p", "n")  # right of it
COLUMN_GAP = 8  # points between them
LETTERS = 30  # of a line of a phenotype's name
WIDEST = 4.3  # inches of a matrix that leave room for its names on a page
SIGNIFICANT = 0.05
FAMILY_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
COLOURS = 7  # of the style, before they come again
NO_MEDIATOR = "No mediator passes the criterion."
FOREST_NOTE = "Interval and p by the same bootstrap, both adjusted for all phenotypes tested."
NO_INTERVAL = "–: draws give none; the table's reason says why."
NEUTRAL = "#767676"


@styled
def plot_forest(
    rows: pd.DataFrame,
    names: Mapping[str, str],
    effect: str,
    none: str | None = None,
    *,
    standardised: bool = False,
) -> Figure:
    """Draw indirect effects with adjusted intervals and p, grouped by family (J figure 4).

    Bold p are below 0.05. Phenotypes that are not stable (D-57) have hollow squares and grey names;
    of phenotypes that are one up to scale, one stands for all, and says for how many. Where draws
    give no interval (D-199) the effect stands alone.

    Parameters
    ----------
    rows : DataFrame
        From `mediation.shown_mediators`, one exposure.
    names : mapping
        Mediator → how it is written.
    effect : str
        What the effect is and its unit, below the axis.
    none : str, optional
        What is said where there is no row, such as by `report.findings.no_mediators`.
    standardised : bool
        Whether effects and intervals are divided by the outcome's and multiplied by the exposure's
        standard deviation, as ``indirect_standardised`` is.
    """
    if rows.empty:
        return plot_reason(none or NO_MEDIATOR).figure
    order = rows.sort_values(["family", "indirect"], ascending=[True, False])
    scale = order["indirect_standardised"] / order["indirect"] if standardised else 1.0
    ends = order[["indirect", "indirect_low_adjusted", "indirect_high_adjusted"]].mul(scale, axis=0)
    power = min(0, int(np.floor(np.log10(ends.abs().max(axis=None)))))
    ends, times = ends * 10.0**-power, f" (× $10^{{{power}}}$)" * (power != 0)
    labels = {row.Index: _name_in_forest(row, names) for row in order.itertuples()}
    beside = {row.Index: _beside_forest(row, ends.loc[row.Index]) for row in order.itertuples()}
    families = list(dict.fromkeys(order["family"]))
    headings = {family: textwrap.fill(family, LETTERS) for family in families}
    lines = sum(1 + 0.6 * text.count("\n") for text in (*labels.values(), *headings.values()))
    figure = plt.figure(figsize=(PAGE, ROW * lines + 1.0), layout="none")
    *starts, end = _columns(figure, [COLUMNS, *beside.values()])
    ax = figure.add_axes((FOREST_NAMES, 0, 1 - FOREST_NAMES - end / (72 * PAGE), 1))
    y, ticks = 0.0, {}
    for family, colour in zip(families, FAMILY_COLOURS * len(families), strict=False):
        y += 0.3 * headings[family].count("\n")
        ax.text(-0.01, y, headings[family], transform=ax.get_yaxis_transform(), ha="right",
                va="center", fontsize=7, fontweight="bold")  # fmt: skip
        y += 1 + 0.3 * headings[family].count("\n")
        for row in order[order["family"] == family].itertuples():
            y += 0.3 * labels[row.Index].count("\n")
            middle, low, high = ends.loc[row.Index]
            ax.plot([low, high], [y, y], color=colour, linewidth=1.1)
            ax.plot(middle, y, "s", color=colour, markersize=3.2,
                    markerfacecolor="white" if _unstable(row) else colour)  # fmt: skip
            small = row.p_indirect_adjusted < SIGNIFICANT
            for number, (x, text) in enumerate(zip(starts, beside[row.Index], strict=True)):
                _write_beside(ax, x, y, text, "bold" if small and number == 1 else "normal")
            ticks[y] = labels[row.Index]
            y += 1 + 0.3 * labels[row.Index].count("\n")
    for x, text in zip(starts, COLUMNS, strict=True):
        _write_beside(ax, x, -1, text, "bold")
    ax.axvline(0, color="black", linewidth=0.6)
    unstable = [_unstable(row) for row in order.itertuples()]
    alone = bool(ends["indirect_low_adjusted"].isna().any())
    said = " ".join([FOREST_NOTE, *["Hollow: unstable between masks."] * any(unstable),
                     *[NO_INTERVAL] * alone])  # fmt: skip
    unit = effect + ", standardised" * standardised + times
    ax.set(ylim=(y - 0.3, -1.6), xlabel="\n".join([unit, *textwrap.wrap(said, 60)]))
    ax.set_yticks(list(ticks), list(ticks.values()), fontsize=7)
    for label, is_unstable in zip(ax.get_yticklabels(), unstable, strict=True):
        label.set_color(NEUTRAL if is_unstable else "black")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    return figure


def _name_in_forest(row: Any, names: Mapping[str, str]) -> str:
    """Return a phenotype's name, with how many others are the same up to scale."""
    same = getattr(row, "twins", 0)
    name = names.get(row.mediator, row.mediator)
    return textwrap.fill(f"{name} (and {same} alike)" if same else name, LETTERS)


def _unstable(row: Any) -> bool:
    return not (pd.isna(row.stable) or row.stable)


def _beside_forest(row: Any, ends: pd.Series) -> tuple[str, ...]:
    """Return what stands right of a mediator: effect with interval, p and n."""
    middle, low, high = ends
    if np.isnan(low):
        return minus_sign(f"{middle:.2f} (–)"), "–", f"{row.n:,}"
    effect = minus_sign(f"{middle:.2f} ({low:.2f} to {high:.2f})")
    return effect, p_text(row.p_indirect_adjusted), f"{row.n:,}"


def _columns(figure: Figure, rows: Sequence[Sequence[str]]) -> list[float]:
    """Return where each column begins and the last ends, in points: as wide as its widest text."""
    starts = [float(COLUMN_GAP)]
    for texts in zip(*rows, strict=True):
        drawn = figure.text(0, 0, "\n".join(texts), fontsize=7, fontweight="bold")
        starts.append(starts[-1] + drawn.get_window_extent().width * 72 / figure.dpi + COLUMN_GAP)
        drawn.remove()
    return starts


def _write_beside(ax: Axes, x: float, y: float, text: str, fontweight: str) -> None:
    """Write so many points right of the panel."""
    ax.annotate(text, (1, y), (x, 0), xycoords=ax.get_yaxis_transform(),
                textcoords="offset points", va="center", fontsize=7, fontweight=fontweight,
                annotation_clip=False)  # fmt: skip


@styled
def plot_correlations(r: pd.DataFrame, names: Mapping[str, str], none: str | None = None) -> Figure:
    """Draw a correlation matrix, alike rows side by side (J figure 5).

    Parameters
    ----------
    r : DataFrame
        Square; NaN where it is undefined. Of fewer than two phenotypes nothing is drawn but that.
    names : mapping
        Phenotype → how it is written.
    none : str, optional
        What is said where there is no phenotype, as `plot_forest` takes it.
    """
    import seaborn as sns  # two seconds of imports, which every notebook would wait for
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    if len(r) < 2:
        one = "Only one mediator passes the criterion, so there are no correlations."
        return plot_reason(one if len(r) else none or NO_MEDIATOR).figure
    shown = r.rename(index=names, columns=names)
    distance = np.clip(1 - np.abs(np.nan_to_num(shown.to_numpy())), 0, None)  # of r rounded past 1
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform((distance + distance.T) / 2, checks=False), "average")
    side = min(0.16 * len(shown), WIDEST)
    with mpl.rc_context({"font.size": 7, "figure.constrained_layout.use": False}):
        found = sns.clustermap(
            shown.fillna(0), row_linkage=tree, col_linkage=tree, mask=shown.isna(), cmap="RdBu_r",
            vmin=-1, vmax=1, figsize=(side + 1, side + 1), xticklabels=True, yticklabels=True,
            cbar_pos=(0, 0, 1, 1), linewidths=0.3,
            cbar_kws={"label": "Pearson's r", "ticks": [-1, 0, 1], "orientation": "horizontal"},
        )  # fmt: skip
        found.ax_heatmap.tick_params(length=0)
        found.ax_heatmap.set(xlabel="", ylabel="")
        found.ax_heatmap.tick_params(axis="x", labelrotation=90)
        found.ax_heatmap.tick_params(axis="y", labelrotation=0)
        found.ax_cbar.xaxis.set_label_position("top")
        _place_correlations(found, side)
    return found.figure


def _place_correlations(drawn: Any, side: float) -> None:
    """Lay out a matrix of `side` inches, trees of half an inch, and a bar above, all apart."""
    whole, tree, bar = side + 1.0, 0.45, (0.9, 0.08)
    drawn.figure.set_size_inches(whole, whole)
    for ax, (x, y, width, height) in {
        drawn.ax_heatmap: (tree, 0, side, side),
        drawn.ax_row_dendrogram: (0, 0, tree, side),
        drawn.ax_col_dendrogram: (tree, side, side, tree),
        drawn.ax_cbar: (tree + side + 0.3, side + 0.28, *bar),
    }.items():
        ax.set_position([x / whole, y / whole, width / whole, height / whole])


@styled
def plot_rho(
    curves: Mapping[str, pd.DataFrame], ax: Axes | None = None, none: str | None = None
) -> Axes:
    """Draw how indirect effects change with the correlation of the errors.

    Parameters
    ----------
    curves : mapping
        Name of the mediator → ``rho`` and ``indirect`` (any common unit); where there is none, the
        figure says so. The seven with the largest effects have colours of their own.
    ax : Axes, optional
        A new figure's by default.
    none : str, optional
        What is said where there is no mediator, as `plot_forest` takes it.
    """
    if not curves:
        return plot_reason(none or NO_MEDIATOR, ax)
    height, letters = at_width(page=2.9, column=4.6), at_width(page=60, column=40)
    ax = ax if ax is not None else plt.figure(figsize=(figure_width(), height)).subplots()
    by_effect = sorted(curves, key=lambda name: -_without_cause(curves[name]))
    for number, name in enumerate(by_effect):
        largest = number < COLOURS
        label = textwrap.fill(name, at_width(page=110, column=56))
        look = {"label": label} if largest else {"color": "0.75", "linewidth": 0.8, "zorder": 1}
        ax.plot(curves[name]["rho"], curves[name]["indirect"], **look)
    if len(curves) > COLOURS:
        ax.plot([], [], color="0.75", linewidth=0.8, label=f"{len(curves) - COLOURS} smaller ones")
    ax.axhline(0, color="black", linewidth=0.6)
    ax.axvline(0, color="black", linewidth=0.6, linestyle=":")
    ax.set(
        xlabel=textwrap.fill("Correlation of the errors of mediator and outcome, ρ", letters),
        ylabel="Indirect effect (standardised)",
        xlim=(-1, 1),
    )
    beside: dict[str, Any] = at_width(
        page={"loc": "center left", "bbox_to_anchor": (1.02, 0.5)},
        column={"loc": "lower center", "bbox_to_anchor": (0.5, 1)},
    )
    ax.legend(fontsize=7, **beside)
    return ax


def _without_cause(curve: pd.DataFrame) -> float:
    """Return the size of an indirect effect where errors do not correlate."""
    return abs(np.interp(0.0, curve["rho"], curve["indirect"]))


@styled
def plot_power(power: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the share of simulated cohorts in which a mediator was found, by their size.

    Parameters
    ----------
    power : DataFrame
        ``criterion``, ``n``, ``share``, ``low`` and ``high`` (95 %).
    ax : Axes, optional
        A new figure's by default.
    """
    ax = ax if ax is not None else plt.figure(figsize=(figure_width(4.2), 2.9)).subplots()
    for criterion, rows in power.groupby("criterion", sort=False):
        above = rows["share"] - rows["low"], rows["high"] - rows["share"]
        ax.errorbar(rows["n"], rows["share"], yerr=above, fmt="o-", markersize=3, capsize=2,
                    linewidth=1, label=criterion)  # fmt: skip
    ax.set(
        xlabel="Patients",
        ylabel="Share of cohorts in which it is found",
        ylim=(-0.03, 1.03),
        xscale="log",
    )
    ax.legend()
    return ax
