"""Networks as figures, from what `networks.diagram` read off them (J fig 1, S figs 1–3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch
from matplotlib.text import Annotation

from ssinfnet.plots.style import STYLE

__all__ = ["plot_network", "plot_networks", "plot_system"]

NAMES = {
    "backbone.conv1": "Stem",
    "conv1": "Stem",
    "decoder": "Partial decoder",
    "edge": "Edge branch",
    "first": "Conv ×2",
    "head": "1×1 conv",
    "bottleneck": "Mean, variance",
    "score": "Score",
    "output:s_g": "$S_g$",
    "output:s_5": "$S_5$",
    "output:s_4": "$S_4$",
    "output:s_3": "$S_3$",
    "output:edge": "Edge map",
    "output:logits": "Output",
    "output:scores": "Score map",
    "input": "Input",
}
PATTERNS = {
    "backbone.layer": "Res2Net stage ",
    "layer": "ResNet stage ",
    "rfb": "RFB ",
    "attention": "Reverse attention ",
    "down.": "Down ",
    "up.": "Up ",
}
PLAIN, END, HEAD = "#DCE9F5", "#F2F2F2", "#F3D9E8"
WIDTH, HEIGHT = 1.0, 0.44  # of a block's box, inches


@mpl.rc_context(STYLE)
def plot_network(drawn: Any, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Draw a network: blocks from left to right as they are computed, finer maps above.

    Parameters
    ----------
    drawn : networks.diagram.Diagram
    ax : Axes, optional
        A new figure's by default.
    title : str, optional
    """
    places = _places(drawn)
    if ax is None:
        width, height = _extent(places)
        ax = plt.figure(figsize=(width, height)).subplots()
    for before, after in drawn.edges:
        (x0, y0), (x1, y1) = places[before], places[after]
        ends = (x0 + WIDTH / 2, y0), (x1 - WIDTH / 2, y1)
        bent = {"connectionstyle": "arc3,rad=0.06", "shrinkA": 0, "shrinkB": 0}
        _arrow(ax, *ends, color="0.45", lw=0.7, mutation_scale=7, **bent).set_zorder(0)
    for block in drawn.blocks:
        _draw_block(ax, block, *places[block.name])
    xs, ys = zip(*places.values(), strict=True)
    _frame(ax, (min(xs) - WIDTH, max(xs) + WIDTH), (min(ys) - HEIGHT, max(ys) + HEIGHT))
    if title:
        ax.set_title(title, loc="left")
    return ax


@mpl.rc_context(STYLE)
def plot_networks(drawn: Mapping[str, Any]) -> Figure:
    """Draw several networks below each other, with the blocks that pretraining changes marked.

    Parameters
    ----------
    drawn : mapping of title to networks.diagram.Diagram
    """
    extents = [_extent(_places(network)) for network in drawn.values()]
    figure = plt.figure(
        figsize=(max(w for w, _ in extents), sum(h for _, h in extents) + 0.3 * len(extents) + 0.3)
    )
    panels = figure.subplots(
        len(drawn), 1, squeeze=False, height_ratios=[h for _, h in extents]
    ).flatten()
    for ax, (title, network) in zip(panels, drawn.items(), strict=True):
        plot_network(network, ax, title)
    handles = [
        Patch(facecolor=PLAIN, edgecolor="0.4", label="Transferred after inpainting"),
        Patch(facecolor=HEAD, edgecolor="0.4", label="Its last layer is swapped"),
    ]
    if any(block.head for network in drawn.values() for block in network.blocks):
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure


@mpl.rc_context(STYLE)
def plot_system(drawn: Mapping[str, Any]) -> Figure:
    """Draw how the parts work together, with the size of each network (J figure 1).

    Parameters
    ----------
    drawn : mapping of str to networks.diagram.Diagram
        From `networks.diagrams`.
    """

    def sized(words: str, *names: str) -> str:
        return "\n".join([words, *(f"{drawn[name].parameters / 1e6:.2f} M" for name in names)])

    rows = {
        "Pretraining, stage 1": [
            "Slice", sized("Coach", "coach_single"), "Mask", "Masked\nslice",
            sized("Inf-Net,\nlinear heads", "inpainter_single"), "Restored slice,\nits edges",
        ],
        "Stage 1": ["Slice", sized("Single\nSSInfNet", "single"), "Lesion\n(the prior), edge"],
        "Pretraining, stage 2": [
            "Slice + prior", sized("Coach", "coach_multi"), "Mask",
            "Masked slice\n+ prior", sized("U-Net,\nlinear head", "inpainter_multi"),
            "Restored slice\n+ prior",
        ],
        "Stage 2": [
            "Slice + prior", sized("Multi\nSSInfNet", "multi"), "GGO,\nconsolidation",
            "204 phenotypes", "Mediation",
        ],
    }  # fmt: skip
    step_x, step_y, half = WIDTH * 1.3, HEIGHT * 2.1, 0.29  # half of a box's height
    figure = plt.figure(figsize=(7.6, 4.2))
    ax = figure.subplots()
    arrow = {"lw": 0.8, "mutation_scale": 8}
    for row, (name, steps) in enumerate(rows.items()):
        y = -row * step_y
        ax.text(-0.75 * WIDTH, y, name, ha="right", va="center", fontsize=7.5, weight="bold")
        for column, words in enumerate(steps):
            x = column * step_x
            _box(ax, x, y, 2 * half, PLAIN if words.endswith(" M") else END)
            ax.text(x, y, words, ha="center", va="center", fontsize=6.5)
            if column:
                ends = (x - step_x + WIDTH / 2, y), (x - WIDTH / 2, y)
                _arrow(ax, *ends, color="0.35", **arrow)
    for row, (source, words) in enumerate(
        [(4, "weights, without heads"), (2, "prior"), (4, "weights, without head")]
    ):
        end = (1 if row != 1 else 0) * step_x
        top, bottom = -row * step_y - half, -(row + 1) * step_y + half
        ends = (source * step_x, top), (end, bottom)
        _arrow(ax, *ends, color="#CC79A7", connectionstyle="arc3,rad=0", **arrow)
        middle = ((end + source * step_x) / 2, (top + bottom) / 2)
        ax.text(
            *middle,
            words,
            fontsize=6,
            color="#A03C78",
            ha="center",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5},
        )
    _frame(ax, (-2.1 * WIDTH, 5.6 * step_x), (-3.5 * step_y, 0.6 * step_y))
    return figure


def _places(drawn: Any) -> dict[str, tuple[float, float]]:
    """Return where each block lies: right by depth, down by stride, apart where they coincide."""
    taken: dict[tuple[int, int], int] = {}
    places = {}
    for block in drawn.blocks:
        row = round(math.log2(drawn.size / block.shape[-1]))
        shift = taken.setdefault((block.depth, row), 0)
        taken[block.depth, row] += 1
        places[block.name] = (
            block.depth * WIDTH * 1.17,
            -(row + 0.55 * shift) * HEIGHT * 1.9,
        )
    return places


def _extent(places: Mapping[str, tuple[float, float]]) -> tuple[float, float]:
    xs, ys = zip(*places.values(), strict=True)
    return max(xs) - min(xs) + 2 * WIDTH, max(ys) - min(ys) + 2.4 * HEIGHT


def _draw_block(ax: Axes, block: Any, x: float, y: float) -> None:
    end = block.name == "input" or block.name.startswith("output:")
    _box(ax, x, y, HEIGHT, HEAD if block.head else END if end else PLAIN)
    shape = " × ".join(map(str, block.shape))
    count = f"{block.parameters / 1e6:.2f} M" if block.parameters >= 1e4 else ""
    ax.text(x, y + 0.12, _name(block.name), ha="center", va="center", fontsize=6.5)
    ax.text(x, y - 0.02, shape, ha="center", va="center", fontsize=5.5, color="0.25")
    ax.text(x, y - 0.15, count, ha="center", va="center", fontsize=5.5, color="0.25")


def _box(ax: Axes, x: float, y: float, height: float, colour: str) -> None:
    """Draw a box around (x, y)."""
    box = FancyBboxPatch(
        (x - WIDTH / 2, y - height / 2), WIDTH, height,
        boxstyle="round,pad=0,rounding_size=0.06", facecolor=colour, edgecolor="0.4", lw=0.7,
    )  # fmt: skip
    ax.add_patch(box)


def _arrow(
    ax: Axes, start: tuple[float, float], end: tuple[float, float], **style: Any
) -> Annotation:
    """Draw an arrow."""
    return ax.annotate("", end, start, arrowprops={"arrowstyle": "-|>", **style})


def _frame(ax: Axes, across: tuple[float, float], up: tuple[float, float]) -> None:
    """Show this part of the plane alone, undistorted."""
    ax.set(xlim=across, ylim=up)
    ax.set_aspect("equal")
    ax.set_axis_off()


def _name(name: str) -> str:
    if name in NAMES:
        return NAMES[name]
    for start, words in PATTERNS.items():
        if name.startswith(start):
            rest = name.removeprefix(start)
            # Stages are numbered from 1 in print; lists of modules count from 0.
            return words + (str(int(rest) + 1) if start.endswith(".") else rest)
    return name.removeprefix("output:")
