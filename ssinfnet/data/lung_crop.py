"""Cut slices to the box around their lungs before a network sees them, and put its maps back.

Some data sets are cut to the lungs already, others show the whole chest, in which lungs take a
third of the picture: a study that mixes both, or a model that is given either, cuts all (D-174).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.data import images, sources
from ssinfnet.data.classical_lungs import find_lungs, lung_fault, shows_air_around
from ssinfnet.work import progress

__all__ = ["COLUMNS", "Box", "box_of", "cropped", "field_box", "framed", "lung_box", "with_boxes"]

COLUMNS = {"crop_top": "Int64", "crop_left": "Int64", "crop_height": "Int64", "crop_width": "Int64"}
SIDE = 128  # pixels at which lungs are looked for: enough for a box, in a few milliseconds
MARGIN = 0.05  # of the longer side of the lungs, around them


class Box(NamedTuple):
    """A part of a slice, in pixels."""

    top: int
    left: int
    height: int
    width: int

    @property
    def within(self) -> tuple[slice, slice]:
        """The rows and columns of a slice that lie in it."""
        return (slice(self.top, self.top + self.height), slice(self.left, self.left + self.width))


def lung_box(slices: Iterable[NDArray[np.floating]], height: int, width: int) -> Box:
    """Return the box around the lungs of all slices of a scan; all of it where none shows any.

    So is it where no slice shows air around the body: they were cut to the lungs already, as all
    labelled slices of COVID-SemiSeg and none of Med-Seg's volumes are.

    Parameters
    ----------
    slices : iterable of (height, width) float array
        In [0, 1], lungs dark.
    height, width : int
        Size of a slice, in pixels.
    """
    lungs = np.zeros((SIDE, SIDE), bool)
    for image in slices:
        lungs |= _lungs(image)
    return _box(lungs, height, width)


def with_boxes(slices: pd.DataFrame, folders: Mapping[str, Path]) -> pd.DataFrame:
    """Return a slice table with the box of each row's scan, in `COLUMNS`.

    Slices of a scan have one box, so that lungs keep their size from slice to slice; where they
    differ in size they were cut one by one, and have boxes of their own.

    Parameters
    ----------
    slices : DataFrame
        Slice table from `sources.list_slices`.
    folders : mapping
        Source → folder of its raw files.
    """
    scans = slices.groupby(["source", "scan_id", "height", "width"], sort=False).ngroup()
    sizes = slices.groupby(scans)[["height", "width"]].first().to_numpy()
    lungs = np.zeros((len(sizes), SIDE, SIDE), bool)
    read = sources.read_slices(folders, slices)
    shown = progress.track(read, "looking for lungs", len(slices))
    for scan, (_, image, _) in zip(scans, shown, strict=True):
        lungs[scan] |= _lungs(image)
    boxes = [_box(own, *size) for own, size in zip(lungs, sizes, strict=True)]
    table = pd.DataFrame(boxes, columns=list(COLUMNS)).astype(COLUMNS)
    return slices.join(table.iloc[scans].set_index(slices.index))


def box_of(row: Any) -> Box:
    """Return the box of a row of a slice table; all of the slice where it has none."""
    if _is_whole(row):
        return Box(0, 0, int(row.height), int(row.width))
    return Box(*(int(getattr(row, name)) for name in COLUMNS))


def _is_whole(row: Any) -> bool:
    return bool(pd.isna(getattr(row, "crop_top", pd.NA)))


def cropped(
    maps: Mapping[str, NDArray[np.floating]], rows: pd.DataFrame
) -> Iterator[NDArray[np.floating]]:
    """Yield the part of each row's map, (channels, height, width), that lies in its box."""
    for row in rows.itertuples(index=False):
        slice_map = maps[row.slice_id]
        yield slice_map if _is_whole(row) else slice_map[:, *box_of(row).within]


def framed(
    probabilities: NDArray[np.float16], box: Box, height: int, width: int
) -> NDArray[np.float16]:
    """Return a box's probabilities in the frame of its slice: no lesion outside.

    Parameters
    ----------
    probabilities : (channels, box height, box width) array
        One channel, lesion; or background, GGO and consolidation.
    box : Box
    height, width : int
        Size of the slice, in pixels.

    Returns
    -------
    (channels, height, width) array
    """
    channels = len(probabilities)
    if probabilities.shape == (channels, height, width):
        return probabilities
    whole = np.zeros((channels, height, width), probabilities.dtype)
    if channels > 1:
        whole[0] = 1
    whole[:, *box.within] = probabilities
    return whole


def field_box(field: NDArray[np.bool_], margin: float) -> tuple[slice, slice]:
    """Return rows and columns of the box around a field, wider by `margin` of its longer side.

    Raises
    ------
    ValueError
        If the field is empty.
    """
    if not field.any():
        raise ValueError("an empty lung field has no box")
    ends = [np.flatnonzero(field.any(axis=1 - axis))[[0, -1]] for axis in (0, 1)]
    more = round(margin * max(last - first + 1 for first, last in ends))
    rows, columns = (slice(max(0, int(a) - more), int(b) + more + 1) for a, b in ends)
    return rows, columns


def _lungs(image: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return the lungs of a slice at `SIDE` pixels; none where they are not plain to see."""
    small = images.resize_image(image.astype(np.float32), SIDE)
    lungs = find_lungs(small) if shows_air_around(small) else np.zeros(small.shape, bool)
    return lungs if lungs.any() and not lung_fault(small, lungs) else np.zeros_like(lungs)


def _box(lungs: NDArray[np.bool_], height: int, width: int) -> Box:
    if not lungs.any():
        return Box(0, 0, height, width)
    rows, columns = field_box(lungs, MARGIN)
    (top, bottom), (left, right) = _ends(rows, height), _ends(columns, width)
    return Box(top, left, bottom - top, right - left)


def _ends(part: slice, side: int) -> tuple[int, int]:
    """Return first and one past the last pixel of a part of `SIDE` on a side of a slice."""
    return part.start * side // SIDE, -(-min(part.stop, SIDE) * side // SIDE)  # rounded up
