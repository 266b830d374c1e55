"""Networks as figures, from what `networks.diagram` read off them (J fig 1, S figs 1–3)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ssinfnet.plots.boxes import draw_box, draw_line, write_on_line
from ssinfnet.plots.style import PAGE, styled

__all__ = ["plot_network", "plot_system"]

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
    "attention": "Reverse att. ",
    "down.": "Down ",
    "up.": "Up ",
}
PLAIN, END, HEAD = "#DCE9F5", "#F2F2F2", "#F3D9E8"
EDGE: dict[str, Any] = {"edgecolor": "0.4", "linewidth": 0.7}
ARROW: dict[str, Any] = {"linewidth": 0.8, "mutation_scale": 6, "zorder": 0}
WIDTH, HEIGHT = 0.98, 0.4  # of a block's box, inches
ACROSS, DOWN = 1.2, 0.63  # from one block to the next
PORT = 0.16  # between lines that leave or reach a box
LANE = 0.05  # between lines that run side by side

STEP, BOX = (1.06, 1.0), (0.92, 0.5)  # of the system's figure, inches
ACCENT = "#A03C78"
ROWS = ("Pretraining,\nstage 1", "Stage 1", "Pretraining,\nstage 2", "Stage 2", "Patients")
LOSSES = ("", "$L_{seg} + L_{edge}$", "", "focal loss,\nLookahead", "mediation")
# (column, row) of a box → its words, and whose size stands below them
SYSTEM: dict[tuple[int, int], tuple[str, str]] = {
    (0, 0): ("Slice", ""),
    (1, 0): ("Coach", "coach_single"),
    (2, 0): ("Masked slice,\n75 % kept", ""),
    (3, 0): ("Inf-Net,\nlinear heads", "inpainter_single"),
    (4, 0): ("Restored slice,\nits edges", ""),
    (0, 1): ("Slice", ""),
    (1, 1): ("SInfNet", "single"),
    (2, 1): ("Lesion map:\nthe prior", ""),
    (3, 1): ("SSInfNet,\nsame slice", "single"),
    (4, 1): ("Lesion,\nits edge", ""),
    (0, 2): ("Slice + prior", ""),
    (1, 2): ("Coach", "coach_multi"),
    (2, 2): ("Masked slice\n+ prior", ""),
    (3, 2): ("U-Net,\nlinear head", "inpainter_multi"),
    (4, 2): ("Restored slice\n+ prior", ""),
    (0, 3): ("Slice + prior", ""),
    (3, 3): ("SSInfNet", "multi"),
    (4, 3): ("GGO,\nconsolidation", ""),
    (1, 4): ("Age, sex,\nunderlying\ndiseases", ""),
    (4, 4): ("204 phenotypes", ""),
    (5, 4): ("Infection,\nseverity", ""),
}
FLOW = (
    *(((column, row), (column + 1, row)) for row in (0, 2) for column in range(4)),
    *(((column, 1), (column + 1, 1)) for column in (0, 1, 3)),
    *(((0, 3), (3, 3)), ((3, 3), (4, 3))),
    *(((1, 4), (4, 4)), ((4, 4), (5, 4))),
)
# From, to, above (1) or below (-1) the row, words: what comes back, or passes by
AROUND = (
    ((4, 0), (1, 0), 1, "$L_{rec}$ trains the network, $1 - L_{rec}$ the coach, by turns"),
    ((4, 2), (1, 2), 1, "$L_{rec}$, $1 - L_{rec}$, by turns"),
    ((1, 4), (5, 4), -1, "direct effect; the indirect one passes through the phenotypes"),
)
HANDED_ON = (
    ((3, 0), (3, 1), "weights but the heads"),
    ((2, 1), (0, 2), "prior"),
    ((3, 2), (3, 3), "weights but the head"),
    ((4, 3), (4, 4), "means over a patient's slices"),
)

Point = tuple[float, float]


@styled
def plot_network(drawn: Any, inpainter: Any | None = None) -> Figure:
    """Draw a network: blocks from above as they are computed, coarser maps further right.

    Lines run between the boxes and through none. Below a block's name stand channels, height and
    width of what leaves it, and its parameters in millions.

    Parameters
    ----------
    drawn : networks.diagram.Diagram
    inpainter : networks.diagram.Diagram, optional
        Its form in pretraining: blocks whose last layer is swapped are marked, and say what they
        give there.
    """
    boxes = _places(drawn)
    columns = {x for x, _ in boxes.values()}
    lowest = min(y for _, y in boxes.values())
    height = DOWN - lowest + 0.35 * (inpainter is not None)
    figure = plt.figure(figsize=(PAGE, height), layout="none")
    ax = figure.add_axes((0, 0, 1, 1))
    margin = (PAGE - max(columns) + min(columns)) / 2
    ax.set(xlim=(min(columns) - margin, max(columns) + margin), ylim=(DOWN / 2 - height, DOWN / 2))
    ax.axis("off")
    for line in _routes(drawn, boxes):
        draw_line(ax, line, color="0.4", **ARROW)
    swapped = {} if inpainter is None else {block.name: block for block in inpainter.blocks}
    for block in drawn.blocks:
        _draw_block(ax, block, boxes[block.name], swapped.get(block.name))
    if inpainter is not None:
        handles = [
            Patch(facecolor=PLAIN, edgecolor="0.4", label="Transferred after inpainting"),
            Patch(facecolor=HEAD, edgecolor="0.4", label="Last layer swapped for inpainting"),
        ]
        figure.legend(handles=handles, loc="lower center", ncols=2)
    return figure


@styled
def plot_system(drawn: Mapping[str, Any]) -> Figure:
    """Draw how the parts work together, with the size of each network (J figure 1).

    The prior comes from the baseline SInfNet (J, Methods; D-12).

    Parameters
    ----------
    drawn : mapping of str to networks.diagram.Diagram
        From `networks.diagrams`.
    """
    figure = plt.figure(figsize=(PAGE, STEP[1] * len(ROWS) + 0.1), layout="none")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, PAGE), ylim=(-STEP[1] * (len(ROWS) - 0.5), STEP[1] / 2 + 0.1))
    ax.axis("off")
    for row, (name, loss) in enumerate(zip(ROWS, LOSSES, strict=True)):
        ax.text(0.06, -row * STEP[1] + 0.02, name, va="bottom", fontsize=7.5, fontweight="bold")
        ax.text(0.06, -row * STEP[1] - 0.02, loss, va="top", fontsize=7)
    for (column, row), (words, network) in SYSTEM.items():
        size = f"\n{drawn[network].parameters / 1e6:.2f} M" if network else ""
        x, y = _at(column, row)
        draw_box(ax, (x, y), BOX, facecolor=PLAIN if network else END, **EDGE)
        ax.text(x, y, words + size, ha="center", va="center", fontsize=7)
    for start, end in FLOW:
        draw_line(ax, _between(_at(*start), _at(*end)), color="0.35", **ARROW)
    for start, end, side, words in AROUND:
        (x, y), (x_end, y_end) = _at(*start), _at(*end)
        level = y + side * (BOX[1] / 2 + 0.17)
        corners = [
            (x, y + side * BOX[1] / 2),
            (x, level),
            (x_end, level),
            (x_end, y_end + side * BOX[1] / 2),
        ]
        draw_line(ax, corners, color=ACCENT, **ARROW)
        write_on_line(ax, (x + x_end) / 2, level, words, ACCENT)
    for start, end, words in HANDED_ON:
        (x, y), (x_end, y_end) = _at(*start), _at(*end)
        top, bottom = y - BOX[1] / 2, y_end + BOX[1] / 2
        level = (top + bottom) / 2
        draw_line(
            ax, [(x, top), (x, level), (x_end, level), (x_end, bottom)], color=ACCENT, **ARROW
        )
        write_on_line(ax, (x + x_end) / 2, level, words, ACCENT)
    return figure


def _at(column: float, row: float) -> Point:
    """Return the middle of a box of the system's figure, in inches."""
    return 1.38 + STEP[0] * column, -STEP[1] * row


def _between(start: Point, end: Point) -> list[Point]:
    """Return the line between the near sides of two boxes of a row."""
    side = BOX[0] / 2 if end[0] > start[0] else -BOX[0] / 2
    return [(start[0] + side, start[1]), (end[0] - side, end[1])]


def _places(drawn: Any) -> dict[str, Point]:
    """Return the middle of each block: down by depth, right by stride, in inches."""
    return {
        block.name: (ACROSS * round(math.log2(drawn.size / block.shape[-1])), -DOWN * block.depth)
        for block in drawn.blocks
    }


def _routes(drawn: Any, boxes: Mapping[str, Point]) -> list[list[Point]]:
    """Return the corners of each line, from the bottom of a box to the top of another.

    A line falls in its box's column, or right of it where another box is in the way, to the gap
    above its end's row, and runs there to its end.
    """
    beside, between = Counter[float](), Counter[float]()
    lines = []
    for start, end in sorted(drawn.edges, key=lambda edge: (-boxes[edge[1]][1], boxes[edge[0]][0])):
        x, y = _port(start, [e for s, e in drawn.edges if s == start], end, boxes, below=True)
        x_end, y_end = _port(
            end, [s for s, e in drawn.edges if e == end], start, boxes, below=False
        )
        line = [(x, y)]
        column, top = boxes[start][0], boxes[end][1]
        if any(at == column and top < row < boxes[start][1] for at, row in boxes.values()):
            beside[column] += 1
            x = column + WIDTH / 2 + LANE * (beside[column] + 0.5)
            line = [(column + WIDTH / 2, boxes[start][1]), (x, boxes[start][1])]
        if abs(x - x_end) > 1e-9:
            gap = y_end + (DOWN - HEIGHT) * 0.85 - LANE * (between[top] % 4)
            between[top] += 1
            line += [(x, gap), (x_end, gap)]
        lines.append([*line, (x_end, y_end)])
    return lines


def _port(
    name: str, others: list[str], other: str, boxes: Mapping[str, Point], *, below: bool
) -> Point:
    """Return where the line to one of the others meets a box: side by side, as they lie."""
    x, y = boxes[name]
    order = sorted(others, key=lambda one: boxes[one])
    shift = order.index(other) - (len(order) - 1) / 2
    return x + PORT * shift, y + (-HEIGHT / 2 if below else HEIGHT / 2)


def _draw_block(ax: Axes, block: Any, place: Point, inpainting: Any | None) -> None:
    end = block.name == "input" or block.name.startswith("output:")
    head = block.head and inpainting is not None
    colour = HEAD if head else END if end else PLAIN
    draw_box(ax, place, (WIDTH, HEIGHT), facecolor=colour, **EDGE)
    lines = [_name(block.name), " × ".join(map(str, block.shape))]
    if head:
        lines.append(f"inpainting: {inpainting.shape[0]}")
    elif block.parameters >= 1e4:
        lines.append(f"{block.parameters / 1e6:.2f} M")
    ax.text(*place, "\n".join(lines), ha="center", va="center", fontsize=7, linespacing=1.05)


def _name(name: str) -> str:
    if name in NAMES:
        return NAMES[name]
    for start, words in PATTERNS.items():
        if name.startswith(start):
            rest = name.removeprefix(start)
            # Stages are numbered from 1 in print; lists of modules count from 0.
            return words + (str(int(rest) + 1) if start.endswith(".") else rest)
    return name.removeprefix("output:")
