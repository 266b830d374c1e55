"""Where the slices of a series lie: evenly on one line, or interpolated onto such a line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data.sources.files import UnreadableFile

__all__ = ["OFF_LINE", "evened", "line", "off_line"]

OFF_LINE = 0.15  # of the distance of slices; one missing of three bends the line by 0.22
WIDEST_GAP = 3  # of the usual distance, across which slices are interpolated


def line(
    folder: Path, names: Sequence[str], positions: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Return where the slices begin, and the way from one to the next, None for a single slice.

    Slices lie on the line that fits all their positions best: headers round each of them, which
    adds up to a missing slice nowhere, while a slice that is missing bends the line (D-103).

    Parameters
    ----------
    folder : Path
        Named in the error.
    names : sequence of str
        One a slice.
    positions : (n, 3) float array
        In mm, in their order.

    Raises
    ------
    UnreadableFile
        If the slices are not evenly spaced.
    """
    if len(positions) < 2:
        return positions[0], None
    if off_line(positions) > OFF_LINE:
        if fault := _no_interpolation(folder, names, positions):
            raise UnreadableFile(fault)
        steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
        usual = float(np.median(steps))
        at = int(np.abs(steps - usual).argmax())
        raise UnreadableFile(
            f"{folder} misses a slice between {names[at]} and {names[at + 1]}, or its slices are "
            f"not evenly spaced: these lie {steps[at]:.2f} mm apart, others {usual:.2f} mm; "
            "`ssinfnet predict --resample` interpolates between them"
        )
    number, middle, step = _fit(positions)
    return middle + number[0] * step, step


def off_line(positions: NDArray[np.float64]) -> float:
    """Return by how much of their distance slices lie off the line that fits them best."""
    if len(positions) < 2:
        return 0.0
    number, middle, step = _fit(positions)
    off = np.linalg.norm(positions - middle - np.outer(number, step), axis=1)
    return float(off.max() / np.linalg.norm(step))


def _fit(
    positions: NDArray[np.float64],
) -> tuple[NDArray[np.floating], NDArray[np.float64], NDArray[np.float64]]:
    number = np.arange(len(positions)) - (len(positions) - 1) / 2
    middle = positions.mean(axis=0)
    return number, middle, number @ (positions - middle) / (number @ number)


def evened(
    folder: Path,
    names: Sequence[str],
    positions: NDArray[np.float64],
    slices: NDArray[np.generic],
) -> tuple[NDArray[np.float32], NDArray[np.float64], str]:
    """Interpolate slices onto even positions, their usual distance apart (D-118).

    Parameters
    ----------
    folder, names, positions
        As for `line`.
    slices : (n, rows, columns) array

    Returns
    -------
    slices : (m, rows, columns) float32 array
    positions : (m, 3) float array
    said : str
        What was done.

    Raises
    ------
    UnreadableFile
        If the slices do not follow one straight line, or two neighbours lie too far apart.
    """
    if fault := _no_interpolation(folder, names, positions):
        raise UnreadableFile(fault)
    way = positions[-1] - positions[0]
    along = (positions - positions[0]) @ way / np.linalg.norm(way)
    steps = np.diff(along)
    usual, widest = float(np.median(steps)), float(steps.max())
    grid = np.arange(0, along[-1] + OFF_LINE * usual, usual).clip(max=along[-1])
    after = np.searchsorted(along, grid, side="left").clip(1, len(along) - 1)
    share = ((grid - along[after - 1]) / steps[after - 1]).astype(np.float32)[:, None, None]
    between = slices[after - 1] * (1 - share) + slices[after] * share
    said = (
        f"its slices lie {steps.min():.3g} to {widest:.3g} mm apart: it was resampled to "
        f"{usual:.3g} mm, and its maps lie on the grid of NAME_ct"
    )
    even = positions[0] + np.outer(np.arange(len(grid)) * usual, way / np.linalg.norm(way))
    return between.astype(np.float32), even, said


def _no_interpolation(folder: Path, names: Sequence[str], positions: NDArray[np.float64]) -> str:
    """Say why nothing can be interpolated between slices, "" if it can."""
    way = positions[-1] - positions[0]
    along = (positions - positions[0]) @ way / np.linalg.norm(way)
    steps = np.diff(along)
    usual, widest = float(np.median(steps)), float(steps.max())
    aside = positions - positions[0] - np.outer(along, way / np.linalg.norm(way))
    if (off := float(np.linalg.norm(aside, axis=1).max())) > OFF_LINE * usual:
        at = int(np.linalg.norm(aside, axis=1).argmax())
        return (
            f"{folder} has slices that do not follow one straight line, such as {names[at]}, "
            f"{off:.2f} mm off it, and nothing is interpolated between them (--resample); take "
            "away what is of another volume"
        )
    if widest > (WIDEST_GAP + OFF_LINE) * usual:
        at = int(steps.argmax())
        return (
            f"{folder} misses slices between {names[at]} and {names[at + 1]}: they lie "
            f"{widest:.2f} mm apart, others {usual:.2f} mm; at most {WIDEST_GAP} times that is "
            "interpolated (--resample). Add the slices that are missing, or put those of each "
            "side into a folder of their own"
        )
    return ""
