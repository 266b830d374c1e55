"""Any input → a scan: a DICOM series, a volume's file, a folder of slice pictures, one picture.

For slices that belong to no study: no masks, no patients, no split. Their geometry is kept, so
that what is predicted of them goes back onto the input's own grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data import images
from ssinfnet.data.images import LUNG_WINDOW_HU
from ssinfnet.data.sources.dicom_headers import LOOKALIKE
from ssinfnet.data.sources.files import UnreadableFile, read_numbers
from ssinfnet.data.sources.intensities import (
    Declared,
    grey_doubt,
    is_mask,
    labels_fault,
    slice_fault,
    units_doubt,
    units_fault,
)
from ssinfnet.data.sources.kinds import DICOM, readable_name
from ssinfnet.data.sources.nifti_headers import PIXEL_MM
from ssinfnet.data.sources.resampling import upright
from ssinfnet.data.sources.series import SeriesFacts
from ssinfnet.data.sources.volume_files import Volume, read_volume
from ssinfnet.scans.finding import Excluded, Place

__all__ = ["Scan", "read_scan"]

MOST_UNEVEN = 2  # of a pixel's sides; a detector's pixels are square
TILTED = (
    "its axes are not at right angles, as of a tilted gantry: programs built on ITK do not open "
    "its NIfTI files; --resample offers a grid that they open"
)
RESAMPLED = (
    "its axes are not at right angles, as of a tilted gantry: it was resampled, and its maps lie "
    "on the grid of NAME_ct"
)


@dataclass(frozen=True)
class Scan:
    """Slices of one patient.

    Attributes
    ----------
    name : str
        Name of the results.
    kind : str
        The kind that `Place` has.
    slices : (n, height, width) array
        HU, or 8-bit grey values that were windowed already (D-40), as uint8 of pictures. Volumes
        from the lowest slice upwards, anterior on top; pictures as they are, in the order of the
        numbers in their names.
    volume : Volume or None
        With the input's geometry; None of pictures.
    pictures : tuple of Path
        One a slice, a TIFF once a page; empty of a volume.
    left_out : tuple of Excluded
        Files that are no slice of the scan.
    doubts : tuple of str
        What is odd about the scan, for the reader of its numbers.
    resampled : bool
        The volume is not on the input's own grid.
    series : SeriesFacts or None
        What the headers of a CT series say.
    """

    name: str
    kind: str
    slices: NDArray[np.generic]
    volume: Volume | None = None
    pictures: tuple[Path, ...] = ()
    left_out: tuple[Excluded, ...] = ()
    doubts: tuple[str, ...] = ()
    resampled: bool = False
    series: SeriesFacts | None = None

    def __len__(self) -> int:
        return len(self.slices)

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Distance of slices, rows and columns; None where the input does not tell."""
        if self.volume is None or not self.volume.spacing_known:
            return None
        return self.volume.spacing_mm

    @property
    def known_mm(self) -> tuple[float, float, float]:
        """Distance of slices, rows and columns, each NaN where the input does not tell it."""
        return (np.nan,) * 3 if self.volume is None else self.volume.known_mm

    @property
    def pixel_mm(self) -> tuple[float, float] | None:
        """Distance of rows and columns; None where the input does not tell."""
        row_mm, column_mm = self.known_mm[1:]
        return None if np.isnan([row_mm, column_mm]).any() else (row_mm, column_mm)

    @property
    def voxel_ml(self) -> float | None:
        """Volume of a voxel; None where the spacing is unknown."""
        if self.spacing_mm is None:
            return None
        # Not the product of the spacings: the axes of a tilted gantry are not at right angles.
        return float(abs(np.linalg.det(self.volume.affine[:3, :3]))) / 1000

    def grey(
        self, index: int, window_hu: tuple[float, float] = LUNG_WINDOW_HU
    ) -> NDArray[np.float32]:
        """Return one slice in [0, 1]: HU over the window, 8-bit values over 255."""
        if self.volume is not None:
            return self.volume.grey(index, window_hu)
        stored = self.slices[index].astype(np.float32)
        return (
            stored / 255 if self.slices.dtype == np.uint8 else images.window_hu(stored, window_hu)
        )


def read_scan(place: Place, declared: Declared | None = None, *, resample: bool = False) -> Scan:
    """Read a scan whole.

    Parameters
    ----------
    place : Place
    declared : Declared or None
        How the intensities become Hounsfield units, where they are neither these nor 8-bit grey.
    resample : bool
        Put a volume whose axes are not at right angles onto a grid whose axes are, and slices that
        are not evenly spaced onto even places.

    Raises
    ------
    UnreadableFile
        If it cannot be decoded, its slices do not belong together or have intensities that are
        impossible: a mask with holes would look like a healthy slice. If it is a mask, or no CT by
        its intensities and nothing is declared.
    """
    declared = declared or Declared()
    if paths := place.pictures():
        return _pictured(place, paths, declared)
    name = readable_name(place.path)
    volume = read_volume(place.path, place.files, even=resample)
    _refuse_flat(name, volume)
    if declared:
        _refuse(name, labels_fault(volume.slices))
        _refuse(name, _declared_twice(place, volume))
        slices = declared.hounsfield(volume.slices)
        volume = replace(volume, slices=slices, declared=True)
    faults = ((index, volume.fault(index)) for index in range(len(volume.slices)))
    for index, fault in faults:
        _refuse(f"{name}, slice {index}", fault)
    fault = units_fault(volume.slices, declared=bool(declared))
    _refuse(name, "" if declared else fault)
    doubts = [f"as declared {fault}"] if fault else []
    doubts += [*([place.doubt] if place.doubt else []), *_doubts(volume)]
    names = place.file_names()
    left_out = tuple(Excluded(place.name, names[file], why) for file, why in volume.left_out)
    resampled = resample and (volume.is_sheared or bool(volume.resampled))
    if resample and volume.is_sheared:
        volume = upright(volume)
        doubts = [RESAMPLED if doubt == TILTED else doubt for doubt in doubts]
    return Scan(place.name, place.kind, volume.slices, volume, left_out=left_out,
                doubts=tuple(doubts), resampled=resampled, series=place.series)  # fmt: skip


def _declared_twice(place: Place, volume: Volume) -> str:
    """Say that the headers of a series make Hounsfield units already, "" if they do not (D-104)."""
    if place.kind != DICOM or volume.windowed or units_fault(volume.slices):
        return ""
    low, high = float(volume.slices.min()), float(volume.slices.max())
    return (
        f"its headers make Hounsfield units of the pixels already, {low:g} to {high:g}, by "
        "RescaleSlope and RescaleIntercept; --slope, --offset and --window would change these: "
        "predict it without them, in a call of its own if other inputs need them"
    )


def _doubts(volume: Volume) -> list[str]:
    """Return what is odd about a volume that is predicted all the same."""
    sides = volume.spacing_mm[1:]
    doubts = {
        volume.doubt: True,
        volume.resampled: True,
        units_doubt(volume.slices): not volume.windowed,
        grey_doubt(volume.slices): volume.windowed,
        TILTED: volume.is_sheared,
        f"pixels are {sides[0]:.3g} × {sides[1]:.3g} mm, as of slices that are not axial; the "
        "model has seen axial ones alone": max(sides) > MOST_UNEVEN * min(sides),
        f"pixels of {sides[0]:.3g} × {sides[1]:.3g} mm are none of a CT: its header may name "
        "another unit, and ml is as wrong then": volume.plane_known
        and not PIXEL_MM[0] <= min(sides) <= max(sides) <= PIXEL_MM[1],
        _lookalikes(volume): True,
    }
    return [doubt for doubt, holds in doubts.items() if doubt and holds]


def _lookalikes(volume: Volume) -> str:
    """Say that files among the slices may once have been some, at an end where no gap tells."""
    names = [readable_name(file) for file, why in volume.left_out if why == LOOKALIKE]
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return (
        names
        and (
            f"{names[0]}{more} has a slice's name and is no DICOM file: if it was a slice, "
            "the volume is too short"
        )
        or ""
    )


def _refuse(name: str, fault: str | None) -> None:
    if fault:
        raise UnreadableFile(f"{name}: {fault}")


def _refuse_flat(name: str, volume: Volume) -> None:
    if not volume.slices.size:
        raise UnreadableFile(f"{name} has shape {volume.shape}: it holds no voxel")
    count, height, width = volume.slices.shape
    if min(height, width) < 2:
        plane = "coronal" if height < 2 else "sagittal"
        raise UnreadableFile(
            f"{name} is one {plane} slice; expected axial ones of at least 2 × 2 pixels, and from "
            f"the feet to the head there are {count} of {height} × {width}"
        )


def _pictured(place: Place, paths: Sequence[Path], declared: Declared) -> Scan:
    decoded = [read_numbers(path) for path in paths]
    for path, pages in zip(paths, decoded, strict=True):
        if pages.shape[1:] != decoded[0].shape[1:] or pages.dtype != decoded[0].dtype:
            raise UnreadableFile(
                f"{path.name} has {pages.shape[1:]} pixels of {pages.dtype} and {paths[0].name} "
                f"{decoded[0].shape[1:]} of {decoded[0].dtype}; put slices of different sizes or "
                "depths in folders of their own"
            )
    slices, name = np.concatenate(decoded), readable_name(place.path)
    _refuse(name, labels_fault(slices))
    masks = [
        path.name for path, pages in zip(paths, decoded, strict=True) if any(map(is_mask, pages))
    ]
    if masks:
        _refuse(
            name,
            f"it holds {len(masks)} mask(s) among its slices, such as {masks[0]}; put "
            "masks in a folder of their own",
        )
    slices, odd = _in_units(name, slices, declared)
    names = place.file_names()
    left_out = tuple(
        Excluded(place.name, names[file], "is no picture") for file in names if file not in paths
    )
    of_pages = tuple(path for path, pages in zip(paths, decoded, strict=True) for _ in pages)
    doubts = tuple(doubt for doubt in (place.doubt, *odd) if doubt)
    return Scan(place.name, "pictures", slices, None, of_pages, left_out, doubts)


def _in_units(
    name: str, slices: NDArray[np.generic], declared: Declared
) -> tuple[NDArray[np.generic], list[str]]:
    """Return pictures in Hounsfield units, or as 8-bit grey values, and what is odd about them.

    They are refused and doubted as volumes are (D-104, D-121).
    """
    if slices.dtype == np.uint8 and not declared:
        return slices, [grey_doubt(slices)]
    _refuse(name, "" if np.isfinite(slices).all() else "some numbers are not finite")
    slices = declared.hounsfield(slices) if declared else slices
    fault = units_fault(slices, declared=bool(declared))
    if not declared:
        _refuse(name, fault)
        if 0 <= slices.min() and slices.max() <= 255:
            grey = np.rint(slices).astype(np.uint8)  # D-40, in wider numbers
            return grey, [grey_doubt(grey)]
    for index, one in enumerate(slices):
        _refuse(f"{name}, slice {index}", slice_fault(one))
    return slices, [f"as declared {fault}" if fault else "", units_doubt(slices)]
