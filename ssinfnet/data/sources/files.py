"""Read one picture whole, or say which file is wrong and how."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data.sources.listing import (
    CONSOLIDATION,
    EFFUSION,
    GGO,
    UNKNOWN_CLASS,
    ForeignLabel,
)
from ssinfnet.storage import untrusted
from ssinfnet.storage.untrusted import UnreadableFile

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["UnreadableFile", "binary_labels", "check_labels", "in_order", "pictures",
           "read_labels", "read_picture", "visible"]  # fmt: skip

PICTURES = {".jpg", ".jpeg", ".png"}
FEW_LABELS = 8  # more are grey values
LABELS = {0: "background", GGO: "GGO", CONSOLIDATION: "consolidation",
          EFFUSION: "pleural effusion", UNKNOWN_CLASS: "lesion"}  # fmt: skip


def pictures(folder: Path) -> list[Path]:
    """Return the pictures in a folder, numbers in names in their order; none if it is absent."""
    if not folder.is_dir():
        return []
    return in_order(path for path in visible(folder) if path.suffix.lower() in PICTURES)


def in_order(paths: Iterable[Path]) -> list[Path]:
    """Return slice pictures in the order of the numbers in their names."""
    return sorted(paths, key=lambda path: (len(path.stem), path.stem, path.suffix))


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
    return _grey(path, untrusted.read_picture(path))


def read_labels(path: Path, *, binary: bool = False) -> NDArray[np.uint8]:
    """Read a label picture: palette indices or grey values, never the palette's colours.

    Parameters
    ----------
    path : Path
    binary : bool
        The picture tells lesion from background only, see `binary_labels`.

    Returns
    -------
    (height, width) uint8 array
        0, 1 GGO, 2 consolidation, 3 effusion; a binary picture has 0 and 255.

    Raises
    ------
    UnreadableFile
        If it is truncated, no picture, or in colour.
    ForeignLabel
        If it holds another label.
    """
    picture = untrusted.read_picture(path)
    pixels = _grey(path, picture, palette=True)
    if binary:
        return binary_labels(path, pixels, lossy=picture.format == "JPEG")
    check_labels(path, pixels, {0, GGO, CONSOLIDATION, EFFUSION})
    return pixels


def binary_labels(
    path: Path, labels: NDArray[np.generic], *, lossy: bool = False
) -> NDArray[np.uint8]:
    """Return where a mask that tells lesion from background only has lesion, as 255.

    Lesion is 1 where no label is larger, else whatever is above 127: 254, 255, and the grey
    borders of a mask that was resized or stored as JPEG.

    Parameters
    ----------
    path : Path
        Named in the error.
    labels : array
    lossy : bool
        Stored as JPEG, which strews some grey values around the two.

    Raises
    ------
    ForeignLabel
        If there are a few labels that mean something else.
    """
    found = np.unique(labels)
    if found[-1] > 1:
        few = not lossy and len(found) <= FEW_LABELS
        if found[0] < 0 or found[-1] <= 127 or (few and found[found <= 127].any()):
            raise ForeignLabel(
                f"{path} holds labels {found.tolist()[:10]}; a mask of lesions has 0 and 1, or 0 "
                "and values above 127 such as 255"
            )
        labels = labels > 127
    elif not set(found.tolist()) <= {0, 1}:
        raise ForeignLabel(f"{path} holds labels {found.tolist()[:10]}; expected 0 and 1")
    return labels.astype(np.uint8) * np.uint8(UNKNOWN_CLASS)


def check_labels(path: Path, labels: NDArray[np.generic], expected: set[int]) -> None:
    """Refuse a mask with a label outside `expected`; training on it would be silent nonsense."""
    found = set(np.unique(labels).tolist())
    if not found <= expected:
        meant = ", ".join(f"{label} {LABELS[label]}" for label in sorted(expected))
        raise ForeignLabel(
            f"{path} holds labels {sorted(found - expected)[:10]}; expected {sorted(expected)} "
            f"({meant})"
        )


def _grey(path: Path, picture: Image.Image, *, palette: bool = False) -> NDArray[np.uint8]:
    """Return grey values; of a picture with a palette its colours, or with `palette` its indices.

    Colours whose channels are equal are grey.
    """
    if picture.mode in ("RGB", "RGBA") or (picture.mode == "P" and not palette):
        channels = np.asarray(picture.convert("RGB"))
        if not (channels == channels[..., :1]).all():
            raise UnreadableFile(f"{path} is in colour; expected a grey picture")
        return np.ascontiguousarray(channels[..., 0])
    if picture.mode in ("1", "LA"):
        return np.asarray(picture.convert("L"))
    if picture.mode not in ("L", "P"):
        raise UnreadableFile(f"{path} has mode {picture.mode}; expected 8-bit grey")
    return np.asarray(picture)
