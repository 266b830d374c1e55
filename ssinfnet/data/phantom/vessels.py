"""The vessels of both lungs as one branching tree in space, and its appearance in a slice.

Terminal points are spread over the lung and halved again and again; each branch grows from its
parent's end towards the middle of the half it feeds. So branches fill the lung, taper towards the
pleura, cross a slice as dots and run in it as tubes, and neighbouring slices agree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data.phantom.anatomy import LUNG_HEIGHT_MM, Anatomy, Grid, lung_points

__all__ = ["Tree", "draw_tree", "tubes"]

TERMINAL_RADIUS_MM = 0.7
MURRAY_EXPONENT = 2.9  # parent radius**n = sum of the children's; 2.3 to 3 in measured lungs
SLAB_MM = 4.0  # thickness of a slice, through which vessels are projected


@dataclass(frozen=True)
class Tree:
    """Straight branches: (n, 3) ends in mm and (n,) radii in mm."""

    starts: NDArray[np.float32]
    ends: NDArray[np.float32]
    radii: NDArray[np.float32]


def draw_tree(rng: np.random.Generator, anatomy: Anatomy, generations: int = 9) -> Tree:
    """Draw arteries and veins of both lungs, each with 2**generations terminal branches."""
    terminals = 2**generations
    points = lung_points(rng, anatomy, 4 * terminals)
    trees = []
    for hilum_level in (0.44, 0.56):  # arteries enter above the veins
        for side in (-1, 1):
            side_points = points[side * points[:, 0] > 0]
            terminal_points = side_points[
                rng.choice(len(side_points), terminals, replace=len(side_points) < terminals)
            ]
            hilum = np.array([side * 30 + anatomy.lean, 5, hilum_level * LUNG_HEIGHT_MM])
            trees.append(_grow(rng, terminal_points, hilum.astype(np.float32)))
    return Tree(*(np.concatenate(parts) for parts in zip(*trees, strict=True)))


def _grow(
    rng: np.random.Generator, terminals: NDArray[np.float32], hilum: NDArray[np.float32]
) -> tuple[NDArray[np.float32], ...]:
    """Return starts, ends and radii of the branches from a hilum to the terminals."""
    ends = hilum[None]
    cells = terminals[None]  # (branches, terminals of each, 3)
    starts_all, ends_all, radii_all = [], [], []
    while cells.shape[1] > 1:
        cells = _halve(rng, cells)
        starts = np.repeat(ends, 2, axis=0)
        low = 0.3 if cells.shape[1] > 4 else 0.55  # the last branches come close to the pleura
        reach = rng.uniform(low, low + 0.3, (len(cells), 1)).astype(np.float32)
        run = cells.mean(axis=1) - starts
        bend = rng.normal(0, 0.1, run.shape) * np.linalg.norm(run, axis=1, keepdims=True)
        ends = (starts + reach * (run + bend)).astype(np.float32)
        starts_all.append(starts)
        ends_all.append(ends)
        radius = TERMINAL_RADIUS_MM * cells.shape[1] ** (1 / MURRAY_EXPONENT)
        radii_all.append(radius * rng.uniform(0.8, 1.2, len(cells)).astype(np.float32))
    return tuple(np.concatenate(parts) for parts in (starts_all, ends_all, radii_all))


def _halve(rng: np.random.Generator, cells: NDArray[np.float32]) -> NDArray[np.float32]:
    """Split each cell's terminals across a long extent: (n, k, 3) to (2n, k/2, 3)."""
    # The lung is tallest, but cutting it by height first would empty the level of the hilum.
    extent = np.ptp(cells, axis=1) * rng.uniform([0.7, 0.7, 0.4], [1.2, 1.2, 0.9], (len(cells), 3))
    longest = extent.argmax(axis=1)
    order = np.take_along_axis(cells, longest[:, None, None], axis=2)[..., 0].argsort(axis=1)
    ordered = np.take_along_axis(cells, order[..., None], axis=1)
    return ordered.reshape(2 * len(cells), -1, 3)


def tubes(tree: Tree, grid: Grid, level: float) -> tuple[NDArray[np.float32], ...]:
    """Return how much of each pixel is vessel, bronchial wall and bronchial air.

    Returns
    -------
    tuple of three (size, size) float32 arrays
        Shares in [0, 1], over the whole plane; the caller keeps what lies in the lungs.
    """
    starts, ends, radii = _cut(tree, level * LUNG_HEIGHT_MM)
    vessel, wall, air = (np.zeros((grid.size, grid.size), np.float32) for _ in range(3))
    run = ends - starts
    across = np.stack([-run[:, 1], run[:, 0]], axis=1)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-3)
    _stamp(vessel, grid, starts, ends, radii)
    resolved = radii > 1.7  # smaller bronchi are below what a scanner resolves
    lumen = 0.75 * radii[resolved]
    beside = (radii[resolved] + 1.25 * lumen)[:, None] * across[resolved]
    starts, ends = starts[resolved] + beside, ends[resolved] + beside
    _stamp(wall, grid, starts, ends, 1.3 * lumen + 0.3)
    _stamp(air, grid, starts, ends, lumen)
    return vessel, wall, air


def _cut(tree: Tree, z: float) -> tuple[NDArray[np.float32], ...]:
    """Return the in-plane ends and radii of the parts of branches within the slab around z."""
    low = np.minimum(tree.starts[:, 2], tree.ends[:, 2])
    high = np.maximum(tree.starts[:, 2], tree.ends[:, 2])
    half = SLAB_MM / 2 + tree.radii
    met = (high > z - half) & (low < z + half)
    starts, ends, half = tree.starts[met], tree.ends[met], half[met]
    rise = ends[:, 2] - starts[:, 2]
    safe = np.where(np.abs(rise) < 1e-3, 1e-3, rise)
    first = (z - half - starts[:, 2]) / safe
    last = (z + half - starts[:, 2]) / safe
    enter = np.clip(np.minimum(first, last), 0, 1)[:, None]
    leave = np.clip(np.maximum(first, last), 0, 1)[:, None]
    run = ends[:, :2] - starts[:, :2]
    return starts[:, :2] + enter * run, starts[:, :2] + leave * run, tree.radii[met]


def _stamp(
    share: NDArray[np.float32],
    grid: Grid,
    starts: NDArray[np.float32],
    ends: NDArray[np.float32],
    radii: NDArray[np.float32],
) -> None:
    """Raise `share`, in place, to the share of each pixel covered by any of some capsules."""
    step = grid.spacing_mm
    margin = (radii + step)[:, None]
    low = np.floor(grid.pixels(np.minimum(starts, ends) - margin)).astype(int)
    high = np.ceil(grid.pixels(np.maximum(starts, ends) + margin)).astype(int)
    low, high = np.clip(low, 0, grid.size), np.clip(high, 0, grid.size)
    runs = ends - starts
    squares = np.maximum(runs[:, 0] ** 2 + runs[:, 1] ** 2, 1e-6)
    # A tube thinner than a pixel, or than the slice, covers only part of it.
    full = np.minimum(np.minimum(1, 2 * radii / step), 0.55 * radii + 0.25)
    across, down = grid.x, grid.y
    for i in np.flatnonzero((low < high).all(axis=1)):
        (left, top), (right, bottom) = low[i], high[i]
        x, y = across[:, left:right] - starts[i, 0], down[top:bottom] - starts[i, 1]
        along = (x * runs[i, 0] + y * runs[i, 1]) / squares[i]
        along = np.minimum(np.maximum(along, 0), 1)
        distance = np.hypot(x - along * runs[i, 0], y - along * runs[i, 1])
        covered = np.minimum(np.maximum(0.5 - (distance - radii[i]) / step, 0), full[i])
        window = share[top:bottom, left:right]
        np.maximum(window, covered, out=window)
