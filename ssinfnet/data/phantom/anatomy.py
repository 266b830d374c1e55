"""The chest of one synthetic patient as distances in millimetres.

Axial plane: x grows to the viewer's right (the patient's left), y towards the back, both from the
middle of the chest; the level t runs from 0 (apex) to 1 (base). A distance is negative
inside a structure and approximate outside, which is all that partial volume needs. Every function
takes a grid or scattered points, so lesions can be planned in the lungs before a slice is drawn.
The proportions are invented to look right, not measured on patients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FIELD_MM",
    "LUNG_HEIGHT_MM",
    "Anatomy",
    "Grid",
    "RandomField",
    "blend",
    "body_distance",
    "cavity_distance",
    "draw_anatomy",
    "dome_distance",
    "draw_field",
    "effusion_distance",
    "heart_distance",
    "lung_distance",
    "lung_points",
    "midline_distance",
    "oval",
    "vertebra_centre",
]

FIELD_MM = 358.4  # 512 pixels of 0.7 mm, an ordinary chest field of view
LUNG_HEIGHT_MM = 240.0

Points = Any  # float32 array, or a number where all points share it


@dataclass(frozen=True)
class Grid:
    """The pixel centres of a square slice, in the patient's millimetres."""

    size: int
    centre: tuple[float, float] = (0.0, 0.0)  # where in the patient the field's centre lies

    @property
    def spacing_mm(self) -> float:
        """Side of a pixel."""
        return FIELD_MM / self.size

    @property
    def x(self) -> Points:
        """(1, size) array, mm, growing to the patient's left."""
        return self._along(0)[None, :]

    @property
    def y(self) -> Points:
        """(size, 1) array, mm, growing to the back."""
        return self._along(1)[:, None]

    def pixels(self, mm: Points) -> Points:
        """Return where points (…, 2) in mm lie, in pixels from the upper left corner."""
        return (mm - np.asarray(self.centre, np.float32)) / self.spacing_mm + self.size / 2

    def _along(self, axis: int) -> Points:
        centres = (np.arange(self.size, dtype=np.float32) + 0.5) / self.size - 0.5
        return centres * np.float32(FIELD_MM) + np.float32(self.centre[axis])


@dataclass(frozen=True)
class RandomField:
    """A smooth random function of space with mean 0 and variance 1: a sum of plane waves.

    It has no grid, so a volume's slices agree with each other and every resolution shows the same
    patient.
    """

    frequencies: NDArray[np.float32]  # (waves, 3), radians per mm
    phases: NDArray[np.float32]  # (waves,)

    def on_grid(self, grid: Grid, z: float) -> Points:
        """Return the (size, size) values in the plane at z mm."""
        along_x = np.outer(self.frequencies[:, 0], grid.x[0])
        along_y = np.outer(self.frequencies[:, 1], grid.y[:, 0])
        along_y += (self.phases + np.float32(z) * self.frequencies[:, 2])[:, None]
        # cos(a + b) splits into products of waves along one axis each. einsum, unlike matmul,
        # starts no BLAS threads, which stall when several processes share the cores.
        total = np.einsum("ky,kx->yx", np.cos(along_y), np.cos(along_x))
        total -= np.einsum("ky,kx->yx", np.sin(along_y), np.sin(along_x))
        return total * np.float32(np.sqrt(2 / len(self.phases)))

    def at(self, points: Points) -> Points:
        """Return the (n,) values at (n, 3) points in mm."""
        waves = np.cos(np.einsum("nd,kd->nk", points, self.frequencies) + self.phases)
        return waves.sum(axis=1) * np.float32(np.sqrt(2 / len(self.phases)))


def draw_field(rng: np.random.Generator, length_mm: float, waves: int = 40) -> RandomField:
    """Draw a random field whose bright and dark patches are about `length_mm` wide."""
    directions = rng.normal(size=(waves, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = 2 * length_mm * np.exp(rng.normal(0, 0.3, size=(waves, 1)))
    return RandomField(
        (2 * np.pi / lengths * directions).astype(np.float32),
        rng.uniform(0, 2 * np.pi, waves).astype(np.float32),
    )


@dataclass(frozen=True, kw_only=True)
class Anatomy:
    """One patient's measures; HU are CT numbers, all others mm unless said."""

    half_width: float  # of the thoracic cavity at the hilum
    half_depth: float
    fat: float  # subcutaneous
    heart: float  # scale, dimensionless
    aorta_radius: float
    contrast_hu: float  # added to blood; 0 without contrast agent
    lung_hu: float  # parenchyma half way between front and back
    gravity_hu: float  # added from front to back
    mosaic_hu: float  # uneven ventilation, standard deviation
    emphysema: float  # share of the lung area, 0 to 0.3
    band: float  # thickness of dependent atelectasis, 0 without
    band_hu: float
    dome: float  # level at which the right diaphragm appears, 0 to 1
    rib_phase: float  # turns
    lean: float  # shift of the mediastinum to the left
    wobble: float  # radians, phase of the outline's irregularity
    effusion: float  # greatest depth of fluid behind the lungs, 0 without
    effusion_side: float  # -1 patient's right, 1 left
    lies: tuple[float, float]  # where in the patient the centre of the scan lies


def draw_anatomy(rng: np.random.Generator, *, effusion: bool = False) -> Anatomy:
    """Draw one patient's measures; `effusion` adds fluid behind one lung."""
    scan = rng.spawn(1)[0]  # of its own: where a patient lies decides nothing else about them
    return Anatomy(
        half_width=rng.uniform(118, 136),
        half_depth=rng.uniform(90, 106),
        fat=rng.uniform(4, 15),
        heart=rng.uniform(0.88, 1.08),
        aorta_radius=rng.uniform(11.5, 16),
        contrast_hu=float(rng.random() < 0.35) * rng.uniform(80, 160),
        lung_hu=-885 + 190 * rng.beta(1.3, 1.8),
        gravity_hu=rng.uniform(70, 240),
        mosaic_hu=rng.uniform(10, 40),
        emphysema=float(rng.random() < 0.2) * rng.uniform(0.05, 0.3),
        band=float(rng.random() < 0.8) * rng.uniform(4, 10),
        band_hu=rng.uniform(-580, -300),
        dome=rng.uniform(0.68, 0.78),
        rib_phase=rng.random(),
        lean=rng.uniform(-3, 6),
        wobble=rng.uniform(0, 2 * np.pi),
        effusion=float(effusion) * rng.uniform(20, 36),
        effusion_side=float(rng.choice([-1, 1])),
        lies=(scan.uniform(-10, 10), scan.uniform(-18, 18)),  # no patient is centred exactly
    )


def oval(x: Points, y: Points, half_x: Points, half_y: Points, power: float = 2.0) -> Points:
    """Distance to the superellipse |x/half_x|^power + |y/half_y|^power = 1, along its radius."""
    if power == 2.0:
        relative = np.sqrt((x / half_x) ** 2 + (y / half_y) ** 2)
    else:
        relative = (np.abs(x / half_x) ** power + np.abs(y / half_y) ** power) ** (1 / power)
    return (1 - 1 / np.maximum(relative, 1e-3)) * np.hypot(x, y)


def blend(first: Points, second: Points, radius: float) -> Points:
    """Unite two distances with the crease rounded to about `radius` mm."""
    share = np.clip(0.5 + 0.5 * (second - first) / radius, 0, 1)
    return second + share * (first - second) - radius * share * (1 - share)


def _profile(t: float | Points, levels: tuple[float, ...], values: tuple[float, ...]) -> Points:
    return np.interp(t, levels, values).astype(np.float32)


def _half_sizes(anatomy: Anatomy, t: float | Points) -> tuple[Points, Points]:
    width = _profile(t, (0, 0.12, 0.3, 0.55, 1), (0.5, 0.68, 0.88, 1, 1.02))
    return anatomy.half_width * width, anatomy.half_depth * (0.45 + 0.55 * width)


def cavity_distance(anatomy: Anatomy, x: Points, y: Points, t: float | Points) -> Points:
    """Distance to the inner surface of the rib cage."""
    half_width, half_depth = _half_sizes(anatomy, t)
    angle = np.arctan2(y, x)
    uneven = 1 + 0.012 * np.cos(3 * angle + anatomy.wobble) + 0.03 * np.cos(2 * angle)
    narrow = 1 - 0.13 * np.clip(-y / half_depth, 0, 1)  # the chest tapers to the front
    return oval(x, y, half_width * uneven * narrow, half_depth * uneven, 2.3)


def body_distance(anatomy: Anatomy, x: Points, y: Points, t: float) -> Points:
    """Distance to the skin."""
    shoulder = _profile(t, (0, 0.3, 1), (1.06, 1.0, 0.99))
    uneven = 1 + 0.008 * np.cos(3 * np.arctan2(y, x) + 2 * anatomy.wobble)
    half_width = (anatomy.half_width + 21 + anatomy.fat) * shoulder * uneven
    thin = _profile(t, (0, 0.35), (0.84, 1))
    half_depth = (anatomy.half_depth + 23 + 1.2 * anatomy.fat) * thin * uneven
    return oval(x, y - 5, half_width, half_depth, 2.5)


def vertebra_centre(anatomy: Anatomy, t: float | Points) -> Points:
    """Return y of the centre of the vertebral body, mm."""
    return 0.66 * _half_sizes(anatomy, t)[1]


def midline_distance(anatomy: Anatomy, x: Points, y: Points, t: float | Points) -> Points:
    """Distance to what parts the lungs: spine, mediastinum, heart and diaphragm."""
    _, depth = _half_sizes(anatomy, t)
    behind = vertebra_centre(anatomy, t)
    body, gutter = oval(x, y - behind, 21, 18), np.maximum(np.abs(x) - 19, behind - y)
    spine = blend(body, gutter, 8)
    centre = x - anatomy.lean
    great = _profile(t, (0, 0.2, 0.45, 0.6, 1), (0.8, 1, 1.05, 0.8, 0.6))
    upper = oval(centre - 4, y + 0.16 * depth, 31 * great, 0.55 * depth)
    hilum = _profile(t, (0.36, 0.46, 0.56, 0.64), (0.2, 1, 1, 0.2))
    hila = oval(np.abs(centre) - 30 * hilum, y - 2, 17 * hilum, 21 * hilum)
    joined = blend(blend(blend(spine, upper, 12), np.abs(centre) - 6, 10), hila, 8)
    united = blend(joined, heart_distance(anatomy, x, y, t), 12)
    return np.minimum(united, dome_distance(anatomy, x, y, t))


def heart_distance(anatomy: Anatomy, x: Points, y: Points, t: float | Points) -> Points:
    """Distance to the pericardium; above the hilum the heart shrinks to nothing."""
    size = anatomy.heart * _profile(t, (0, 0.42, 0.55, 0.7, 0.9, 1), (0.1, 0.3, 0.75, 1, 1.02, 0.9))
    depth = _half_sizes(anatomy, t)[1]
    along, across = _turned(x - anatomy.lean - 24 * size, y + 0.22 * depth, 0.5)
    return oval(along, across, 64 * size, 47 * size, 2.2)


def _turned(x: Points, y: Points, angle: float) -> tuple[Points, Points]:
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cosine * x + sine * y, cosine * y - sine * x


def dome_distance(anatomy: Anatomy, x: Points, y: Points, t: float | Points) -> Points:
    """Distance to the two halves of the diaphragm, which rise into the lungs from the base."""
    rise_right = np.sqrt(np.clip((np.asarray(t) - anatomy.dome) / 0.35, 1e-5, 1))
    rise_left = np.sqrt(np.clip((np.asarray(t) - anatomy.dome - 0.1) / 0.4, 1e-5, 1))
    width = anatomy.half_width
    right = oval(x + 0.52 * width, y + 8, 62 * rise_right, 72 * rise_right)
    left = oval(x - 0.56 * width, y + 4, 52 * rise_left, 64 * rise_left)
    return np.minimum(right, left)


def effusion_distance(anatomy: Anatomy, x: Points, y: Points, t: float | Points) -> Points:
    """Distance to the fluid that lies behind one lung, deeper towards the base."""
    if not anatomy.effusion:
        return np.full(np.broadcast_shapes(np.shape(x), np.shape(y)), 999, dtype=np.float32)
    _, depth = _half_sizes(anatomy, t)
    layer = anatomy.effusion * _profile(t, (0.2, 0.5, 0.9), (0.1, 0.7, 1))
    # The surface climbs along the chest wall as a meniscus.
    climb = 0.009 * np.clip(np.abs(x) - 0.5 * anatomy.half_width, 0, None) ** 2
    surface = depth - layer - climb
    return np.maximum(surface - y, -anatomy.effusion_side * x)


def lung_distance(anatomy: Anatomy, x: Points, y: Points, t: float | Points) -> Points:
    """Distance to the surface of the lungs; fluid counts as outside."""
    parted = np.minimum(midline_distance(anatomy, x, y, t), effusion_distance(anatomy, x, y, t))
    return -blend(-cavity_distance(anatomy, x, y, t) - 1.5, parted, 6)


def lung_points(rng: np.random.Generator, anatomy: Anatomy, count: int) -> Points:
    """Draw points spread evenly over the lungs.

    Returns
    -------
    (m, 3) float32 array, m <= count
        x, y and z in mm, z counted from the apex down.
    """
    box = np.array([anatomy.half_width * 1.05, anatomy.half_depth * 1.05, LUNG_HEIGHT_MM])
    low = np.array([-1, -1, 0.06])
    points = (rng.uniform(low, [1, 1, 0.95], size=(3 * count, 3)) * box).astype(np.float32)
    x, y, z = points.T
    return points[lung_distance(anatomy, x, y, z / LUNG_HEIGHT_MM) < 0][:count]
