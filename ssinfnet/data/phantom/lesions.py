"""Lesions of one synthetic patient: where they lie in the lungs, and how they look.

A patient's lesions are the set where a smooth function of space exceeds a level: patches, mostly
below the pleura, at the back and in the lower lungs, with an irregular rim. The level is chosen so
that the wanted share of the lungs is lesion; a second level inside the lesion separates
consolidation from ground glass in the wanted share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data.phantom import anatomy as chest
from ssinfnet.data.phantom.anatomy import Anatomy, Grid, RandomField, draw_field

__all__ = ["CONSOLIDATION", "EFFUSION", "GROUND_GLASS", "Lesions", "draw_lesions", "opacities"]

GROUND_GLASS, CONSOLIDATION, EFFUSION = 1, 2, 3  # labels of Med-Seg
PLANNING_POINTS = 1500  # points at which extent and share are measured; 1 % is then 15 points
RIM_MM = 10.0  # over which ground glass fades
CONSOLIDATION_RIM_MM = 3.5


@dataclass(frozen=True)
class Lesions:
    """The lesions of one patient; `level` is infinite in healthy lungs."""

    centres: NDArray[np.float32]  # (n, 3) mm
    radii: NDArray[np.float32]  # (n, 3) mm
    density: NDArray[np.float32]  # (n,) mm, how far a patch leans to consolidation
    rim: RandomField  # irregular outline
    grain: RandomField  # texture inside, and outline of consolidation
    level: float  # mm; lesion where the patches' function exceeds it
    dense_level: float  # mm; consolidation where, besides, this one does
    ground_glass_hu: float
    consolidation_hu: float


def draw_lesions(
    rng: np.random.Generator, anatomy: Anatomy, extent: float, consolidation_share: float
) -> Lesions:
    """Draw a patient's lesions.

    Parameters
    ----------
    rng : numpy Generator
        Source of every draw.
    anatomy : Anatomy
        The lungs they lie in.
    extent : float
        Share of the lungs that is lesion, in [0, 0.9]; 0 is a healthy patient.
    consolidation_share : float
        Share of the lesion that is consolidation, in [0, 1].

    Raises
    ------
    ValueError
        If a share is outside its range.
    """
    if not 0 <= extent <= 0.9:
        raise ValueError(f"extent must lie in [0, 0.9], got {extent}")
    if not 0 <= consolidation_share <= 1:
        raise ValueError(f"consolidation_share must lie in [0, 1], got {consolidation_share}")
    points = chest.lung_points(rng, anatomy, PLANNING_POINTS)
    count = 1 + rng.poisson(0.4 + 5 * extent)
    centres = points[rng.choice(len(points), count, p=_preference(anatomy, points))]
    # Patches are round in the plane within a third, and larger where much of the lung is ill.
    width = rng.uniform(24, 44, count) * (0.75 + 1.2 * extent)
    radii = width[:, None] * rng.uniform([0.75, 0.75, 0.9], [1.35, 1.35, 1.8], (count, 3))
    draft = Lesions(
        centres=centres,
        radii=radii.astype(np.float32),
        density=rng.normal(0, 6, count).astype(np.float32),
        rim=draw_field(rng, 16),
        grain=draw_field(rng, 6),
        level=np.inf,
        dense_level=np.inf,
        ground_glass_hu=rng.uniform(-670, -430),
        consolidation_hu=rng.uniform(-70, 50),
    )
    return _levelled(draft, points, extent, consolidation_share)


def _preference(anatomy: Anatomy, points: NDArray[np.float32]) -> NDArray[np.float64]:
    """Chance of a patch's centre: below the pleura, at the back, in the lower half."""
    x, y, z = points.T
    level = z / chest.LUNG_HEIGHT_MM
    below_pleura = np.exp(chest.cavity_distance(anatomy, x, y, level) / 9)
    at_back = 0.12 + 1 / (1 + np.exp(-(y - 12) / 11))
    low = 0.4 + level
    weight = (below_pleura * at_back * low).astype(np.float64)
    return weight / weight.sum()


def _levelled(
    draft: Lesions, points: NDArray[np.float32], extent: float, consolidation_share: float
) -> Lesions:
    """Choose the levels so that the planned shares of the planning points are met."""
    if extent == 0:
        return draft
    rim, grain = draft.rim.at(points), draft.grain.at(points)
    patch, dense = _patches(draft, *points.T, rim, grain)
    level = float(np.quantile(patch, 1 - extent))
    within = dense[patch > level]
    dense_level = np.inf
    if consolidation_share > 0 and len(within):
        dense_level = float(np.quantile(within, 1 - consolidation_share))
    return Lesions(**{**draft.__dict__, "level": level, "dense_level": dense_level})


def _patches(
    lesions: Lesions,
    x: NDArray[np.float32],
    y: NDArray[np.float32],
    z: float | NDArray[np.float32],
    rim: NDArray[np.float32],
    grain: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the functions, in mm, whose levels bound lesion and consolidation."""
    patch = np.full(rim.shape, -1e3, np.float32)
    dense = patch.copy()
    for (cx, cy, cz), (rx, ry, rz), lean in zip(
        lesions.centres, lesions.radii, lesions.density, strict=True
    ):
        relative = ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2
        inside = (1 - np.sqrt(relative)) * min(rx, ry)
        np.maximum(patch, inside, out=patch)
        np.maximum(dense, inside + lean, out=dense)
    return patch + 3 * rim, dense + 2 * rim + 2.5 * grain


def opacities(
    lesions: Lesions, grid: Grid, level: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
    """Return the lesions of one slice, over the whole plane; the caller keeps what is in the lungs.

    Returns
    -------
    ground_glass : (size, size) float32 array
        Opacity in [0, 1], uneven inside and fading at the rim.
    consolidation : (size, size) float32 array
        Opacity in [0, 1].
    label : (size, size) uint8 array
        0 background, 1 ground glass, 2 consolidation.
    """
    if np.isinf(lesions.level):
        empty = np.zeros((grid.size, grid.size), np.float32)
        return empty, empty, empty.astype(np.uint8)
    z = level * chest.LUNG_HEIGHT_MM
    rim, grain = lesions.rim.on_grid(grid, z), lesions.grain.on_grid(grid, z)
    patch, dense = _patches(lesions, grid.x, grid.y, z, rim, grain)
    depth, core = patch - lesions.level, dense - lesions.dense_level
    fade = np.clip(0.62 + depth / RIM_MM, 0, 1)
    ground_glass = fade * np.clip(0.88 + 0.13 * grain, 0.4, 1.2)
    consolidation = np.clip(0.5 + core / CONSOLIDATION_RIM_MM, 0, 1) * fade
    label = np.where(depth > 0, GROUND_GLASS, 0).astype(np.uint8)
    label[(depth > 0) & (core > 0)] = CONSOLIDATION
    return ground_glass, consolidation, label
