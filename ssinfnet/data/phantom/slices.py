"""From a patient to slices: lungs in HU, lesions, scanner, and the masks a reader would draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ssinfnet.data.phantom import anatomy as chest
from ssinfnet.data.phantom import lesions as disease
from ssinfnet.data.phantom import vessels
from ssinfnet.data.phantom.anatomy import Anatomy, Grid, RandomField, draw_field
from ssinfnet.data.phantom.tissues import (
    AIR_HU,
    BLOOD_HU,
    coverage,
    paint,
    paint_body,
    paint_mediastinum,
)

__all__ = ["SITE_A_SCANNER", "SITE_B_SCANNER", "SITE_C_SCANNER", "CTSlice", "Findings", "Scanner",
           "draw_patient", "draw_slice"]  # fmt: skip

SMALLEST_LESION_MM2 = 100.0
FAINTEST_HU = 140.0  # least that ground glass adds to the lung around it
RIGHT_LUNG, LEFT_LUNG = 1, 2  # labels of Med-Seg's lung masks


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What is wrong with a patient: the inputs that a clinical table supplies."""

    extent: float = 0.0  # share of the lungs that is lesion, 0 to 0.9
    consolidation_share: float = 0.0  # share of the lesion that is consolidation, 0 to 1
    effusion: bool = False  # fluid beside one lung, which is not lesion (D-02)


@dataclass(frozen=True, kw_only=True)
class Scanner:
    """How a site's scanner renders a patient."""

    blur_pixels: float  # standard deviation of the point spread
    sharpening: float  # edge enhancement of the kernel, 0 none
    noise_hu: float  # standard deviation
    noise_grain_pixels: float  # correlation length of the noise
    gain: float = 1.0  # error of the HU scale around water, dimensionless
    offset_hu: float = 0.0


SITE_A_SCANNER = Scanner(blur_pixels=0.45, sharpening=0.15, noise_hu=24, noise_grain_pixels=0.6)
SITE_B_SCANNER = Scanner(
    blur_pixels=0.4, sharpening=0.9, noise_hu=38, noise_grain_pixels=0.4, gain=0.95, offset_hu=25
)
SITE_C_SCANNER = Scanner(
    blur_pixels=0.7, sharpening=0.4, noise_hu=18, noise_grain_pixels=0.8, gain=1.04, offset_hu=-15
)


@dataclass(frozen=True)
class CTSlice:
    """One axial slice in display order: row 0 in front, column 0 the patient's right."""

    hu: NDArray[np.float32]  # (size, size) CT numbers, -1024 to 3071
    label: NDArray[np.uint8]  # (size, size) 0, 1 ground glass, 2 consolidation, 3 effusion
    lung: NDArray[np.uint8]  # (size, size) 0, 1 right lung, 2 left lung; lesions included


@dataclass(frozen=True)
class _Patient:
    anatomy: Anatomy
    tree: vessels.Tree
    lesions: disease.Lesions
    wall: RandomField
    mosaic: RandomField
    parenchyma: RandomField


def draw_slice(
    rng: np.random.Generator,
    level: float,
    size: int,
    findings: Findings,
    scanner: Scanner = SITE_A_SCANNER,
) -> CTSlice:
    """Draw one slice of a new patient; see `draw_patient`."""
    return draw_patient(rng, [level], size, findings, scanner)[0]


def draw_patient(
    rng: np.random.Generator,
    levels: Sequence[float] | NDArray[np.float64],
    size: int,
    findings: Findings,
    scanner: Scanner = SITE_A_SCANNER,
) -> list[CTSlice]:
    """Draw slices of one new patient.

    Parameters
    ----------
    rng : numpy Generator
        Source of every draw; the patient is drawn first, then the noise slice by slice, so more
        levels add slices of the same patient.
    levels : sequence of float
        Heights in the lungs, 0 apex to 1 base.
    size : int
        Side of the square slices in pixels, over a field of view of 358.4 mm.
    findings : Findings
        Lesion extent, share of consolidation and effusion.
    scanner : Scanner
        The site's scanner.

    Raises
    ------
    ValueError
        If a level is outside [0, 1] or the size is below 32.
    """
    if size < 32:
        raise ValueError(f"size must be at least 32 pixels for a lung to show, got {size}")
    if any(not 0 <= level <= 1 for level in levels):
        raise ValueError(f"levels must lie in [0, 1], apex to base, got {list(levels)}")
    anatomy = chest.draw_anatomy(rng, effusion=findings.effusion)
    patient = _Patient(
        anatomy=anatomy,
        tree=vessels.draw_tree(rng, anatomy),
        lesions=disease.draw_lesions(rng, anatomy, findings.extent, findings.consolidation_share),
        wall=draw_field(rng, 13),
        mosaic=draw_field(rng, 38),
        parenchyma=draw_field(rng, 4.5),
    )
    grid = Grid(size, anatomy.lies)
    return [_scan(rng, scanner, *_render(patient, grid, level)) for level in levels]


def _render(
    patient: _Patient, grid: Grid, level: float
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the noiseless slice, its labels and its lung mask."""
    anatomy = patient.anatomy
    hu = paint_body(grid, anatomy, level, patient.wall)
    paint_mediastinum(hu, grid, anatomy, level)
    distance = chest.lung_distance(anatomy, grid.x, grid.y, level)
    inside, label = _lung_hu(patient, grid, level, distance)
    paint(hu, coverage(distance, grid.spacing_mm), inside)
    lung = np.where(distance < 0, np.where(grid.x < 0, RIGHT_LUNG, LEFT_LUNG), 0).astype(np.uint8)
    label = _outlined(np.where(lung > 0, label, 0).astype(np.uint8), grid)
    fluid = np.maximum(
        chest.effusion_distance(anatomy, grid.x, grid.y, level),
        chest.cavity_distance(anatomy, grid.x, grid.y, level),
    )
    solid = chest.midline_distance(anatomy, grid.x, grid.y, level)
    label[(fluid < 0) & (solid > 0) & (lung == 0)] = disease.EFFUSION
    return hu, label, lung


def _outlined(label: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """Drop lesions too small for a reader to outline."""
    parts, count = ndimage.label(label > 0)
    if not count:
        return label
    areas_mm2 = np.bincount(parts.ravel()) * grid.spacing_mm**2
    return np.where(areas_mm2[parts] < SMALLEST_LESION_MM2, 0, label).astype(np.uint8)


def _lung_hu(
    patient: _Patient, grid: Grid, level: float, distance: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return the CT numbers of lung tissue over the whole plane, and the lesion labels."""
    anatomy, z = patient.anatomy, level * chest.LUNG_HEIGHT_MM
    towards_back = grid.y / (2 * anatomy.half_depth)
    mosaic = patient.mosaic.on_grid(grid, z)
    grain = patient.parenchyma.on_grid(grid, z)
    hu = anatomy.lung_hu + anatomy.gravity_hu * towards_back + anatomy.mosaic_hu * mosaic
    hu = hu + 16 * grain
    if anatomy.emphysema:
        holes = np.clip(0.8 * grain + mosaic - 2.2 + 5 * anatomy.emphysema, 0, 1)
        paint(hu, holes, -975)
    paint(hu, _dependent_band(patient, grid, distance, mosaic), anatomy.band_hu)
    glass, dense, label = disease.opacities(patient.lesions, grid, level)
    # Ground glass in lung that is dense already is denser still, so a reader always sees it.
    paint(hu, glass, np.maximum(patient.lesions.ground_glass_hu, hu + FAINTEST_HU))
    vessel, wall, air = vessels.tubes(patient.tree, grid, level)
    paint(hu, vessel, BLOOD_HU + 0.8 * anatomy.contrast_hu)
    paint(hu, dense, patient.lesions.consolidation_hu + 12 * grain)
    paint(hu, wall * (1 - vessel), -150)
    paint(hu, air * (1 - 0.7 * vessel), AIR_HU + 30)
    return hu, label


def _dependent_band(
    patient: _Patient, grid: Grid, distance: NDArray[np.float32], mosaic: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Opacity of collapsed lung along the back wall: a thin crescent that is not lesion."""
    anatomy = patient.anatomy
    if not anatomy.band:
        return np.zeros_like(distance)
    thickness = anatomy.band * (1 + 0.35 * mosaic)
    low = np.clip((grid.y - 0.3 * anatomy.half_depth) / (0.3 * anatomy.half_depth), 0, 1)
    return np.clip((thickness * low + distance) / 4, 0, 1) * (low > 0)


def _scan(
    rng: np.random.Generator,
    scanner: Scanner,
    hu: NDArray[np.float32],
    label: NDArray[np.uint8],
    lung: NDArray[np.uint8],
) -> CTSlice:
    """Blur, sharpen and add noise whose grain is the reconstruction kernel's."""
    breathing = rng.random() < 0.25  # the patient moved while the slice was taken
    shift = rng.uniform(-1, 1, 2) * hu.shape[0] / 64
    if breathing:
        moved = ndimage.shift(hu, shift, order=1, mode="nearest")
        hu = 0.6 * hu + 0.4 * moved
    hu = ndimage.gaussian_filter(hu, scanner.blur_pixels)
    if scanner.sharpening:
        hu = hu + scanner.sharpening * (hu - ndimage.gaussian_filter(hu, 1.2))
    white = rng.standard_normal(hu.shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(white, scanner.noise_grain_pixels)
    noise -= ndimage.gaussian_filter(white, 3 * scanner.noise_grain_pixels)
    hu = scanner.gain * hu + scanner.offset_hu + scanner.noise_hu * noise / noise.std()
    return CTSlice(np.clip(hu, -1024, 3071).astype(np.float32), label, lung)
