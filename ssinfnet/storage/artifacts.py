"""Tables and arrays on disk: written whole or not at all, each with what made it beside it.

Every writer here goes through `replacing`: the bytes land under a temporary name in the same
folder, with a dot in front, reach the disk, and are renamed over the earlier file, so a full disk
or a killed process leaves the earlier file as it was; `replacing_folder` does so for a folder.
Nothing is ever pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.storage import untrusted

__all__ = [
    "is_current",
    "made_by",
    "read_arrays",
    "read_json",
    "read_table",
    "remove_leftovers",
    "replacing",
    "replacing_folder",
    "sha256",
    "write_arrays",
    "write_json",
    "write_table",
    "write_text",
]

RECORDED_PACKAGES = (
    "ssinfnet", "torch", "fastai", "numpy", "scipy", "pandas", "scikit-learn", "scikit-image",
    "statsmodels", "semopy", "pyradiomics-bhklab", "papermill", "snakemake",
)  # fmt: skip


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it over `path` if the block succeeds.

    On any error the temporary file is removed and an earlier `path` is untouched.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "answer.txt"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("42")
    >>> target.read_text()
    '42'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept because writers such as Matplotlib choose the format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(folder: Path, *, anew: bool = False) -> Iterator[Path]:
    """Give an empty temporary folder beside `folder`; put it in its place if the block succeeds.

    On any error the temporary folder is removed and an earlier `folder` is untouched. With `anew`,
    one that is there by then is such an error, unless it is empty.

    Raises
    ------
    OSError
        If `anew`, and the folder holds anything when the new one is whole.
    """
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if folder.exists() and not anew:
            shutil.rmtree(folder)
        temporary.rename(folder)  # over an empty folder at most
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: Path, pattern: str = "**/.*.partial*") -> list[Path]:
    """Remove what killed processes of this machine have left half-written below a folder.

    Readers never see it, since its names begin with a dot; it only takes space.

    Parameters
    ----------
    folder : Path
    pattern : str
        Glob pattern of the files and folders to look at.
    """
    leftovers = []
    for path in sorted(folder.glob(pattern)):
        writer = re.fullmatch(r"\..+\.(\d+)\.partial(\.\w+)?", path.name)
        if writer and not _is_alive(int(writer[1])):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
            leftovers.append(path)
    return leftovers


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def write_text(path: Path, text: str) -> Path:
    """Write a text file in UTF-8, atomically; return its path."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def write_json(path: Path, content: Mapping[str, Any]) -> Path:
    """Write a mapping as indented JSON, atomically; return its path."""
    return write_text(path, json.dumps(content, indent=2, sort_keys=True, default=str) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a file that is not one is an error naming it."""
    try:
        content = untrusted.read_json(_existing(path))
    except untrusted.UnreadableFile as error:
        raise ValueError(f"{error}; delete it and run its notebook") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected a JSON object")
    return content


def write_table(path: Path, frame: pd.DataFrame, made: Mapping[str, Any]) -> Path:
    """Write a frame as Parquet and, beside it, what made it (`made_by`); return its path."""
    with replacing(path) as temporary:
        frame.to_parquet(temporary, index=False)
    write_json(_sidecar(path), {**made, "rows": len(frame), "sha256": sha256(path)})
    return path


def read_table(path: Path, **some: Any) -> pd.DataFrame:
    """Read a Parquet table; a missing or unreadable file is an error that says what to run.

    Parameters
    ----------
    path : Path
    some
        Which columns or rows to read, see `untrusted.read_parquet`; all by default.
    """
    try:
        return untrusted.read_parquet(_existing(path), **some)
    except untrusted.UnreadableFile as error:
        raise ValueError(f"{error}; delete it and run the notebook that writes it again") from error


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], made: Mapping[str, Any]) -> Path:
    """Write named arrays as a compressed NPZ without pickle, and what made them; return its path.

    Raises
    ------
    ValueError
        If an array holds Python objects, which only pickle could store.
    """
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise ValueError(f"array {name!r} holds Python objects; store numbers or fixed strings")
    with replacing(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
    write_json(_sidecar(path), {**made, "arrays": sorted(arrays), "sha256": sha256(path)})
    return path


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read all arrays of an NPZ; never unpickles."""
    try:
        return untrusted.read_npz(_existing(path))
    except untrusted.UnreadableFile as error:
        raise ValueError(f"{error}; delete it and rerun") from error


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def made_by(
    study: str, parameters: Mapping[str, Any], inputs: Sequence[Path] = ()
) -> dict[str, Any]:
    """Describe what is about to make a file: study, parameters, versions, input hashes.

    Parameters
    ----------
    study : str
        Name of the study.
    parameters : mapping
        What was asked for, seed included.
    inputs : sequence of Path
        Files read; each is recorded by name and SHA-256.

    Returns
    -------
    dict
        JSON-ready. It holds no time and no machine path, so equal runs make equal records.
    """
    installed = {}
    for package in RECORDED_PACKAGES:
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "study": study,
        "parameters": dict(parameters),
        "versions": {"python": platform.python_version(), **installed},
        "inputs": {path.name: sha256(path) for path in inputs},
    }


def is_current(path: Path, made: Mapping[str, Any]) -> bool:
    """Say whether a table or NPZ is there, whole, and made exactly as `made` describes.

    Long work asks it of each piece, so that a killed run goes on where it stopped.
    """
    try:
        stored = read_json(_sidecar(path))
    except (FileNotFoundError, ValueError):
        return False
    known = {key: stored[key] for key in stored.keys() & made.keys()}
    return known == dict(made) and path.is_file() and stored.get("sha256") == sha256(path)


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; run the notebook that writes it first")
    return path


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".json")
