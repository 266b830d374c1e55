"""Paint everything but the lungs' inside: fat, muscle, bones, heart and great vessels, in HU.

Structures are painted over each other with the share of the pixel they cover, so a rib thinner
than a pixel is as pale as a scanner would show it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data.phantom import anatomy as chest
from ssinfnet.data.phantom.anatomy import Anatomy, Grid, RandomField

__all__ = ["AIR_HU", "coverage", "paint", "paint_body", "paint_mediastinum"]

# CT numbers of tissues, in HU (any radiology textbook).
AIR_HU = -1000.0
FAT_HU = -100.0
MUSCLE_HU = 50.0
BLOOD_HU = 42.0
FLUID_HU = 12.0
LIVER_HU = 60.0
CORTEX_HU = 800.0
MARROW_HU = 180.0

Image = NDArray[np.float32]


def coverage(distance: Image, width: float) -> Image:
    """Return the share in [0, 1] of each pixel inside; the edge is `width` mm wide."""
    return np.clip(0.5 - distance / np.float32(width), 0, 1)


def paint(hu: Image, share: Image, value: float | Image) -> None:
    """Mix `value` into `hu`, in place, by `share`."""
    hu += share * (value - hu)


@dataclass(frozen=True)
class Canvas:
    """One slice being painted."""

    hu: Image
    grid: Grid
    anatomy: Anatomy
    level: float

    def fill(self, distance: Image, value: float | Image) -> None:
        """Paint the inside of a distance, partial volume at its edge."""
        paint(self.hu, coverage(distance, self.grid.spacing_mm), value)

    def bone(self, distance: Image, cortex_mm: float = 1.8) -> None:
        """Paint a bone: a dense shell around marrow."""
        self.fill(distance, CORTEX_HU)
        self.fill(distance + cortex_mm, MARROW_HU)


def paint_body(grid: Grid, anatomy: Anatomy, level: float, texture: RandomField) -> Image:
    """Return the slice with body wall, bones and a full (airless) chest, (size, size) HU."""
    canvas = Canvas(np.full((grid.size, grid.size), AIR_HU, np.float32), grid, anatomy, level)
    x, y = grid.x, grid.y
    skin = chest.body_distance(anatomy, x, y, level)
    cavity = chest.cavity_distance(anatomy, x, y, level)
    _paint_table(canvas)
    canvas.fill(skin, MUSCLE_HU)
    canvas.fill(skin + 2, FAT_HU)
    streaks = texture.on_grid(grid, level * chest.LUNG_HEIGHT_MM)
    layer = anatomy.fat * (1 + 0.25 * streaks)
    canvas.fill(skin + layer, MUSCLE_HU)
    # Fat runs between the muscles wherever the wall is thick enough to hold several.
    width = 0.12 + 0.4 * np.clip((cavity - 22) / 60, 0, 1)
    between = np.clip(1.6 - np.abs(streaks) / width, 0, 1) * np.clip((cavity - 19) / 6, 0, 1)
    paint(canvas.hu, between * coverage(skin + layer, grid.spacing_mm), FAT_HU)
    canvas.fill(cavity, FAT_HU + 25)
    _paint_wall_bones(canvas, cavity)
    _paint_spine(canvas)
    return canvas.hu


def _paint_table(canvas: Canvas) -> None:
    x, y = canvas.grid.x, canvas.grid.y
    deepest = canvas.anatomy.half_depth + 23 + 1.2 * canvas.anatomy.fat + 12
    surface = np.abs(y - deepest - 3 + 0.0006 * x**2) - 1.5
    paint(canvas.hu, 0.5 * coverage(surface, canvas.grid.spacing_mm), 0)


def _paint_wall_bones(canvas: Canvas, cavity: Image) -> None:
    """Ribs, scapulae and sternum: curved plates at a fixed distance outside the cavity."""
    anatomy, x, y, level = canvas.anatomy, canvas.grid.x, canvas.grid.y, canvas.level
    angle = np.arctan2(np.abs(x), -y)  # 0 at the sternum, pi at the spine
    reach = np.hypot(x, y)
    # Ribs slope, so their cuts move along the wall from slice to slice.
    turn = angle * 6.5 / np.pi + anatomy.rib_phase + 9 * level + 0.07 * np.sign(x)
    index = np.round(turn)
    along = np.abs(turn - index) * reach * np.pi / 6.5
    bony = np.clip((angle - 0.45) * 60, 0, None)  # cartilage in front
    length = np.minimum(11 + 8 * np.sin(2.4 * index + 20 * anatomy.rib_phase), bony)
    rib = np.hypot(np.clip(along - length, 0, None), 0.9 * (cavity - 8)) - 4.2
    canvas.bone(rib, 1.6)
    if level < 0.6:
        plate = np.abs(angle - 2.15 + 0.25 * level)
        canvas.bone(np.maximum(np.abs(cavity - 23) - 2.6, plate * reach - 55 * (0.65 - level)), 1.3)
    front = -(anatomy.half_depth + 5) * (0.55 + 0.45 * np.interp(level, (0, 0.3), (0.6, 1)))
    canvas.bone(chest.oval(x, y - front, 19 - 6 * level, 6.5, 2.6))


def _paint_spine(canvas: Canvas) -> None:
    anatomy, x, y = canvas.anatomy, canvas.grid.x, canvas.grid.y
    back = y - chest.vertebra_centre(anatomy, canvas.level)
    side = np.abs(x)
    # Paraspinal muscles fill the gutters beside the spinous process.
    canvas.fill(chest.oval(side - 21, back - 38, 19, 15), MUSCLE_HU)
    canvas.bone(np.maximum(side - 3.2, np.abs(back - 40) - 14))
    process = chest.oval(side - 24, back - 19 - 0.25 * (side - 24), 15, 4.6)
    canvas.bone(process, 1.5)
    canvas.bone(chest.oval(x, back - 21, 15.5, 13.5), 2.2)
    canvas.bone(chest.oval(x, back, 17.5, 14.5, 2.3), 1.6)
    canvas.fill(chest.oval(x, back - 21, 9.5, 8.2), 25)


def paint_mediastinum(hu: Image, grid: Grid, anatomy: Anatomy, level: float) -> None:
    """Paint heart, great vessels, oesophagus, trachea, diaphragm and fluid, in place."""
    canvas = Canvas(hu, grid, anatomy, level)
    inside = -chest.cavity_distance(anatomy, grid.x, grid.y, level)
    organs = Canvas(hu.copy(), grid, anatomy, level)
    _paint_heart(organs)
    _paint_great_vessels(organs)
    _paint_domes(organs)
    paint(hu, coverage(-inside + 2, grid.spacing_mm), organs.hu)
    if anatomy.effusion:
        fluid = chest.effusion_distance(anatomy, grid.x, grid.y, level)
        canvas.fill(np.maximum(fluid, -inside), FLUID_HU)
    _paint_spine_body(canvas)
    _paint_airway(canvas)


def _paint_spine_body(canvas: Canvas) -> None:
    """Repeat the vertebral body, which lies in front of the fluid and of the organs."""
    back = canvas.grid.y - chest.vertebra_centre(canvas.anatomy, canvas.level)
    canvas.bone(chest.oval(canvas.grid.x, back, 17.5, 14.5, 2.3), 1.6)


def _paint_heart(canvas: Canvas) -> None:
    level, anatomy = canvas.level, canvas.anatomy
    if level < 0.44:
        return
    distance = chest.heart_distance(anatomy, canvas.grid.x, canvas.grid.y, level)
    canvas.fill(distance + 3, BLOOD_HU)
    if anatomy.contrast_hu:
        left = chest.oval(canvas.grid.x - 40, canvas.grid.y + 12, 20, 24)
        right = chest.oval(canvas.grid.x - 2, canvas.grid.y + 28, 24, 20)
        chambers = np.maximum(np.minimum(left, right), distance + 11)
        paint(canvas.hu, coverage(chambers, 6), BLOOD_HU + 0.8 * anatomy.contrast_hu)


def _paint_great_vessels(canvas: Canvas) -> None:
    """Aorta, pulmonary artery, caval vein and the branches above the arch, by level."""
    anatomy, level = canvas.anatomy, canvas.level
    x, y = canvas.grid.x - anatomy.lean, canvas.grid.y
    blood, radius = BLOOD_HU + anatomy.contrast_hu, anatomy.aorta_radius
    behind = chest.vertebra_centre(anatomy, level)
    descending = chest.oval(x - 20, y - behind + 22, radius, radius)
    canvas.fill(chest.oval(x - 3, y - behind + 24, 7, 5), BLOOD_HU)  # oesophagus
    if level < 0.2:
        for centre, above, size in ((-17, 22, 8.5), (-9, 9, 6.5), (10, 8, 5), (20, -2, 5.5)):
            canvas.fill(chest.oval(x - centre, y + above, size, size), blood)
        canvas.fill(chest.oval(np.abs(x - 1) - 13, y + 2, 7, 12), BLOOD_HU + 25)  # thyroid
        return
    canvas.fill(chest.oval(x + 23, y + 24, 9, 10), blood)  # superior caval vein
    if level < 0.32:
        across = np.clip((x + 12) / 30, 0, 1)  # the arch runs from front right to back left
        canvas.fill(np.hypot(x + 12 - 30 * across, y + 30 - 42 * across) - radius, blood)
        return
    if level < 0.56:
        canvas.fill(chest.oval(x + 8, y + 28, 1.2 * radius, 1.15 * radius), blood)
        along = np.clip((x - 16) / -30, 0, 1)  # pulmonary trunk and its right branch
        trunk = np.hypot(x - 16 + 30 * along, y + 30 - 24 * along) - 13 * (1 - 0.3 * along)
        canvas.fill(trunk if level > 0.38 else descending, blood)
        canvas.fill(chest.oval(np.abs(x) - 31, y - 8, 12, 10), BLOOD_HU + 0.8 * anatomy.contrast_hu)
    canvas.fill(descending, blood)


def _paint_domes(canvas: Canvas) -> None:
    anatomy = canvas.anatomy
    distance = chest.dome_distance(anatomy, canvas.grid.x, canvas.grid.y, canvas.level)
    # The dome is shallow, so one slice holds liver and lung in a wide rim of partial volume.
    canvas.fill(distance, LIVER_HU + 0.3 * anatomy.contrast_hu)


def _paint_airway(canvas: Canvas) -> None:
    """Trachea, which parts into the two main bronchi, each with its wall."""
    anatomy, level = canvas.anatomy, canvas.level
    x, y = canvas.grid.x - anatomy.lean, canvas.grid.y
    behind = chest.vertebra_centre(anatomy, level)
    if level < 0.4:
        tube = chest.oval(x, y - 0.2 * behind + 4, 9.5, 9)
    elif level < 0.56:
        apart = 11 + 140 * (level - 0.4)
        tube = chest.oval(np.abs(x) - apart, y - 4 - 0.3 * (np.abs(x) - apart), 9, 6.5)
    else:
        return
    canvas.fill(tube - 1.8, MUSCLE_HU)
    canvas.fill(tube, AIR_HU + 10)
