"""Files of weights that somebody else may have made: measured before they are loaded."""

from __future__ import annotations

import zipfile
from pathlib import Path

from ssinfnet.storage.untrusted import (
    MOST_BYTES,
    MOST_HEADER_BYTES,
    UnreadableFile,
    refuse_bomb,
)

__all__ = ["check_safetensors", "check_torch_file"]


def check_safetensors(path: Path) -> None:
    """Refuse a file of weights that is too large, or whose header is.

    Raises
    ------
    UnreadableFile
        In those cases, and where the header would go beyond the file.
    """
    size = _refuse_large_weights(path)
    with path.open("rb") as stream:
        header = int.from_bytes(stream.read(8), "little")
    if not 0 < header <= min(MOST_HEADER_BYTES, size - 8):
        raise UnreadableFile(
            f"{path} is truncated or no safetensors file (its header: {header} bytes)"
        )


def check_torch_file(path: Path) -> None:
    """Refuse a ``.pth`` file that is, or would unpack to, more than is taken.

    Raises
    ------
    UnreadableFile
        In those cases.
    """
    _refuse_large_weights(path)
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                refuse_bomb(path, archive.infolist())
    except UnreadableFile:
        raise
    except Exception as error:  # zipfile fails in many ways
        raise UnreadableFile(f"{path} is no whole file of weights ({error})") from error


def _refuse_large_weights(path: Path) -> int:
    if (size := path.stat().st_size) > MOST_BYTES:
        raise UnreadableFile(f"{path} has {size} bytes; at most {MOST_BYTES} are taken")
    return size
