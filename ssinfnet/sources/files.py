"""Read one file of pixels whole, or say which file is wrong and how."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ssinfnet.sources.listing import CONSOLIDATION, EFFUSION, GGO, UNKNOWN_CLASS

__all__ = ["UnreadableFile", "Volume", "check_labels", "read_labels", "read_picture", "read_volume"]


class UnreadableFile(ValueError):
    """The file is truncated or is not what its name says."""


@dataclass(frozen=True)
class Volume:
    """A NIfTI volume as axial slices: anterior on top, the patient's right on the viewer's left.

    Attributes
    ----------
    slices : (n, height, width) array
        From the lowest slice upwards.
    spacing_mm : (row, column)
    shape, affine : tuple, (4, 4) float array
        As stored, before reorientation.
    """

    slices: NDArray[np.generic]
    spacing_mm: tuple[float, float]
    shape: tuple[int, ...]
    affine: NDArray[np.float64]


def read_volume(path: Path) -> Volume:
    """Read a NIfTI volume.

    Raises
    ------
    UnreadableFile
        If it is truncated, no NIfTI file, or not three-dimensional.
    """
    import nibabel

    try:
        image = nibabel.load(path)
        if len(image.shape) != 3:
            raise UnreadableFile(f"{path} has shape {image.shape}; expected three dimensions")
        canonical = nibabel.as_closest_canonical(image)
        # Canonical axes run to the patient's right, front and head.
        slices = np.asanyarray(canonical.dataobj)[::-1, ::-1].transpose(2, 1, 0)
    except (OSError, EOFError, zlib.error, nibabel.filebasedimages.ImageFileError) as error:
        raise UnreadableFile(f"{path} is truncated or no NIfTI file ({error})") from error
    column, row, _ = (float(size) for size in canonical.header.get_zooms()[:3])
    return Volume(slices, (row, column), image.shape, np.asarray(image.affine))


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a grey 8-bit picture (JPEG, PNG), decoding every pixel.

    Colour pictures are accepted when their channels are equal.

    Raises
    ------
    UnreadableFile
        If it is truncated, no picture, or in colour.
    """
    return _decode(path, "L")


def read_labels(path: Path, *, binary: bool = False) -> NDArray[np.uint8]:
    """Read a label picture: palette indices or grey values, never the palette's colours.

    Parameters
    ----------
    path : Path
    binary : bool
        The picture tells lesion from background only: any value above 127, or 1, is lesion.

    Returns
    -------
    (height, width) uint8 array
        0, 1 GGO, 2 consolidation, 3 effusion; a binary picture has 0 and 255.

    Raises
    ------
    UnreadableFile
        If it is truncated or no picture.
    ValueError
        If it holds another label.
    """
    pixels = _decode(path, None)
    if binary:
        if set(np.unique(pixels)) <= {0, 1}:
            pixels = pixels * np.uint8(UNKNOWN_CLASS)
        check_labels(path, pixels, {0, UNKNOWN_CLASS})
        return pixels
    check_labels(path, pixels, {0, GGO, CONSOLIDATION, EFFUSION})
    return pixels


def check_labels(path: Path, labels: NDArray[np.generic], expected: set[int]) -> None:
    """Refuse a mask with a label outside `expected`; training on it would be silent nonsense."""
    found = set(np.unique(labels).tolist())
    if not found <= expected:
        raise ValueError(
            f"{path} holds labels {sorted(found - expected)[:10]}; expected {sorted(expected)} "
            "(0 background, 1 GGO, 2 consolidation, 3 pleural effusion, 255 lesion)"
        )


def _decode(path: Path, mode: str | None) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as picture:
            picture.load()
            if mode == "L" and picture.mode in ("RGB", "RGBA", "P"):
                channels = np.asarray(picture.convert("RGB"))
                if not (channels == channels[..., :1]).all():
                    raise UnreadableFile(f"{path} is in colour; expected a grey CT slice")
                return np.ascontiguousarray(channels[..., 0])
            if picture.mode == "1":
                return np.asarray(picture.convert("L"))
            if picture.mode not in ("L", "P"):
                raise UnreadableFile(f"{path} has mode {picture.mode}; expected 8-bit grey")
            return np.asarray(picture)
    except UnreadableFile:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableFile(f"{path} is truncated or no picture ({error})") from error
