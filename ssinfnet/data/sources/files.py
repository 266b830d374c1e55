"""Read one picture whole, or say which file is wrong and how."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data.sources.listing import (
    CONSOLIDATION,
    EFFUSION,
    GGO,
    UNKNOWN_CLASS,
    ForeignLabel,
    note_match,
)
from ssinfnet.storage import untrusted_pictures
from ssinfnet.storage.untrusted import UnreadableFile

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["UnreadableFile", "binary_labels", "check_labels", "in_order", "pictures",
           "read_labels", "read_numbers", "read_picture", "visible", "visible_below"]  # fmt: skip

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
    """Return what lies in a folder, but for hidden folders and what is certainly no data.

    That is what a killed run has left half-written (`artifacts.replacing`), and the notes of macOS
    beside every file, under the file's own ending. Any other file counts whatever its name: a slice
    called ``.012.dcm`` is a slice of its series.
    """
    return [path for path in folder.iterdir() if not _is_hidden(path)]


def visible_below(folder: Path) -> Iterator[Path]:
    """Yield the `visible` files of a folder and of those below it; links to folders end there."""
    with suppress(PermissionError):
        for path in visible(folder):
            if path.is_file():
                yield path
            elif path.is_dir() and not path.is_symlink():
                yield from visible_below(path)


def _is_hidden(path: Path) -> bool:
    if not path.name.startswith("."):
        return False
    of_macos = path.name.startswith("._") or path.name == ".DS_Store"
    return of_macos or ".partial" in path.name or path.is_dir()


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a grey 8-bit picture (JPEG, PNG), decoding every pixel.

    Colour pictures are accepted when their channels are equal.

    Raises
    ------
    UnreadableFile
        If it is truncated, no picture, or in colour.
    """
    return _grey(path, untrusted_pictures.read_picture(path))


def read_numbers(path: Path) -> NDArray[np.generic]:
    """Read the numbers of a picture, page by page: 8-bit grey, or deeper ones as they are stored.

    Returns
    -------
    (pages, height, width) array
        uint8 of a grey 8-bit picture, otherwise of whole or real numbers.

    Raises
    ------
    UnreadableFile
        If it is truncated, no picture, in colour, or its pages differ in size or depth.
    """
    pages = [
        _deep(page) if page.mode[0] in "IF" else _grey(path, page)
        for page in untrusted_pictures.read_pages(path)
    ]
    kinds = {(page.shape, page.dtype) for page in pages}
    if len(kinds) != 1:
        raise UnreadableFile(f"{path} has pages of several sizes or depths")
    return np.stack(pages)


def _deep(page: Image.Image) -> NDArray[np.generic]:
    """Return the numbers of a picture of more than 8 bits."""
    plain = page.mode in ("I;16", "I", "F")
    return np.asarray(page if plain else page.convert("I"))


def read_labels(
    path: Path, *, binary: bool = False, names: Mapping[str, int] | None = None
) -> NDArray[np.uint8]:
    """Read a label picture: palette indices or grey values, colours only where they are named.

    Parameters
    ----------
    path : Path
    binary : bool
        The picture tells lesion from background only, see `binary_labels`.
    names : mapping of str → int or None
        The study's `mask_labels`: colours such as ``#ff0000``, or grey values → labels; None
        where the source has one coding.

    Returns
    -------
    (height, width) uint8 array
        0, 1 GGO, 2 consolidation, 3 effusion; a binary picture has 0 and 255.

    Raises
    ------
    UnreadableFile
        If it is truncated, no picture, or in colour; or if it tells classes and is stored as JPEG,
        whose noise around each label is other labels.
    ForeignLabel
        If it holds another label.
    """
    picture = _opaque(untrusted_pictures.read_picture(path))
    lossy = "JPEG" in (picture.format, str(picture.info.get("compression")).upper())
    if lossy and not binary:
        raise UnreadableFile(
            f"{path} is stored as JPEG, which changes numbers near the borders of areas, so that "
            "its classes cannot be told; store the mask as PNG, from where it was drawn"
        )
    if any(name[:1] == "#" for name in names or {}):
        return _named_colours(path, picture, names or {})
    try:
        pixels = _grey(path, picture, palette=True)
    except UnreadableFile as error:
        if binary or names is None or picture.mode not in ("RGB", "RGBA"):
            raise
        raise UnreadableFile(f"{error}{_colours_to_name(picture)}") from error
    if numbers := {int(name): label for name, label in (names or {}).items() if name.isdigit()}:
        held = set(np.unique(pixels).tolist())
        note_match(
            names or {}, (name for name in names or {} if name.isdigit() and int(name) in held)
        )
        pixels = np.array([numbers.get(grey, grey) for grey in range(256)], np.uint8)[pixels]
    if binary:
        return binary_labels(path, pixels, lossy=lossy)
    check_labels(path, pixels, {0, GGO, CONSOLIDATION, EFFUSION})
    return pixels


def _opaque(picture: Image.Image) -> Image.Image:
    """Return a mask without transparency: what cannot be seen of it is background."""
    if picture.mode not in ("RGBA", "LA"):
        return picture
    from PIL import Image

    plain = picture.convert(picture.mode[:-1])
    seen = picture.getchannel("A").point(lambda alpha: 255 * (alpha > 127))
    opaque = Image.new(plain.mode, plain.size)
    opaque.paste(plain, mask=seen)
    opaque.format = picture.format
    return opaque


def _colours_to_name(picture: Image.Image) -> str:
    """Return how a study names the colours of a mask, most frequent first, black left out."""
    counts: Any = picture.convert("RGB").getcolors(2**24)
    most = [
        "#{:02x}{:02x}{:02x}".format(*rgb) for _, rgb in sorted(counts, reverse=True) if any(rgb)
    ]
    return (
        ", or one whose colours the study names, under the source: mask_labels: "
        f"{{{most[0]!r}: 1}} (it holds {', '.join(most[:5])}; 1 GGO, "
        "2 consolidation, 3 pleural effusion, 0 nothing)"
    )


def _named_colours(path: Path, picture: Image.Image, names: Mapping[str, int]) -> NDArray[np.uint8]:
    """Return labels by the colours of pixels; black is background unless it is named (D-120)."""
    channels = np.asarray(picture.convert("RGB")).astype(np.uint32)
    codes = channels @ np.array([2**16, 2**8, 1], np.uint32)
    known = {0: 0} | {int(name[1:], 16): label for name, label in names.items() if name[:1] == "#"}
    found, counts = np.unique(codes, return_counts=True)
    if others := [
        (int(n), f"#{code:06x}")
        for code, n in zip(found, counts, strict=True)
        if int(code) not in known
    ]:
        most = ", ".join(name for _, name in sorted(others, reverse=True)[:5])
        raise ForeignLabel(
            f"{path} has {len(others)} colours that mask_labels does not name, such as {most}"
        )
    held = set(found.tolist())
    note_match(names, (name for name in names if name[:1] == "#" and int(name[1:], 16) in held))
    labels = np.array([known[int(code)] for code in found], np.uint8)
    return labels[np.searchsorted(found, codes)]


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
    values = np.unique(labels)
    if values[-1] > 1:
        few = not lossy and len(values) <= FEW_LABELS
        if values[0] < 0 or values[-1] <= 127 or (few and values[values <= 127].any()):
            raise ForeignLabel(
                f"{path} holds labels {values.tolist()[:10]}; a mask of lesions has 0 and 1, or 0 "
                "and values above 127 such as 255"
            )
        labels = labels > 127
    elif not set(values.tolist()) <= {0, 1}:
        raise ForeignLabel(f"{path} holds labels {values.tolist()[:10]}; expected 0 and 1")
    return labels.astype(np.uint8) * np.uint8(UNKNOWN_CLASS)


def check_labels(path: Path, labels: NDArray[np.generic], expected: set[int]) -> None:
    """Refuse a mask with a label outside `expected`; training on it would be silent nonsense."""
    values = set(np.unique(labels).tolist())
    if not values <= expected:
        meant = ", ".join(f"{label} {LABELS[label]}" for label in sorted(expected))
        raise ForeignLabel(
            f"{path} holds labels {sorted(values - expected)[:10]}; expected {sorted(expected)} "
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
