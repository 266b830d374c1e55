"""Read one picture whole, or say which file is wrong and how."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ssinfnet import decoding
from ssinfnet.decoding import UnreadableFile
from ssinfnet.sources.listing import CONSOLIDATION, EFFUSION, GGO, UNKNOWN_CLASS

__all__ = ["UnreadableFile", "check_labels", "pictures", "read_labels", "read_picture", "visible"]

PICTURES = {".jpg", ".jpeg", ".png"}


def pictures(folder: Path) -> list[Path]:
    """Return the pictures in a folder, numbers in names in their order; none if it is absent."""
    if not folder.is_dir():
        return []
    found = [path for path in visible(folder) if path.suffix.lower() in PICTURES]
    return sorted(found, key=lambda path: (len(path.stem), path.stem))


def visible(folder: Path) -> list[Path]:
    """Return what lies in a folder, but for names with a dot in front.

    Those are what a killed run has left half-written (`artifacts.replacing`), or notes of macOS
    beside every file, under the file's own ending.
    """
    return [path for path in folder.iterdir() if not path.name.startswith(".")]


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
    picture = decoding.read_picture(path)
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
