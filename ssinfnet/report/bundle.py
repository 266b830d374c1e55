"""All tables and figures of a study as one ZIP file, to download or to send."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

from ssinfnet.storage import artifacts

__all__ = ["bundle_name", "write_bundle"]

NO_TIME = (1980, 1, 1, 0, 0, 0)  # the same files give the same bytes


def bundle_name(study: str) -> str:
    """Return the name of a study's ZIP file, beside its page."""
    return f"{study}_tables_and_figures.zip"


def write_bundle(folder: Path, study: str, texts: Mapping[str, str], files: list[str]) -> Path:
    """Write the ZIP file of a study.

    Parameters
    ----------
    folder : Path
        ``figures/<study>``, where the files lie.
    study : str
        Name of the study, and of the folder within the ZIP file.
    texts : mapping
        Name → further text that goes in, such as the draft of the methods.
    files : list of str
        Names of saved tables and figures.
    """
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as packed:
        for name in sorted(files):
            _add(packed, f"{study}/{name}", (folder / name).read_bytes())
        for name, text in texts.items():
            _add(packed, f"{study}/{name}", text.encode("utf-8"))
    path = folder / bundle_name(study)
    with artifacts.replacing(path) as temporary:
        temporary.write_bytes(held.getvalue())
    return path


def _add(packed: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, NO_TIME)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = 0o644 << 16
    packed.writestr(entry, content)
