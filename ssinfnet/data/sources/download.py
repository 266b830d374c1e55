"""Fetch the data sets that may be downloaded freely, into the layout that their source reads.

A download that was cut off goes on where it stopped. The hash of every archive is checked, the
published one or else that of the first download, which is recorded; members of an archive may lie
nowhere but in the folder meant for them.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from shutil import copyfileobj
from typing import IO

from ssinfnet.storage import artifacts, strict_yaml, untrusted_zip
from ssinfnet.work import progress

__all__ = ["DATASETS", "Dataset", "Remote", "download", "unpack"]

RECORD = "downloads.json"
ARCHIVES = "archives"
CHUNK = 2**16  # bytes; of a chunk cut off nothing is kept
TRIES = 5
MOST_BYTES = 50 * 2**30  # of one archive, unpacked
TIMEOUT_S = 60


@dataclass(frozen=True)
class Remote:
    """One published file.

    Attributes
    ----------
    url : str
    name : str
        Name under which the file is kept.
    into : str
        Folder below the data set's into which an archive is unpacked, or a single file is put.
    sha256 : str or None
        The published hash; None if the first download is to be trusted and recorded.
    """

    url: str
    name: str
    into: str = "."
    sha256: str | None = None


@dataclass(frozen=True)
class Dataset:
    """A published data set: the source that reads it, its files, and where it is described."""

    source: str
    page: str
    files: tuple[Remote, ...]


def _published() -> dict[str, Dataset]:
    stored = strict_yaml.read(Path(__file__).with_name("datasets.yaml"))
    return {
        name: Dataset(one["source"], one["page"], tuple(Remote(**file) for file in one["files"]))
        for name, one in stored.items()
    }


DATASETS = _published()


def download(name: str, folder: Path, datasets: Mapping[str, Dataset] = DATASETS) -> Path:
    """Download a data set, or what is missing of it.

    Parameters
    ----------
    name : str
        Name of a data set in `datasets`.
    folder : Path
        Receives the data set in the layout of its source, and the archives in `archives`.
    datasets : mapping

    Raises
    ------
    ValueError
        If there is no such data set, a hash is another than it was, or an archive is broken or
        names a file outside its folder.
    FileExistsError
        If a file that was not downloaded, or was changed since, would be replaced.
    OSError
        If a file cannot be fetched.
    """
    import pooch

    if name not in datasets:
        raise ValueError(f"unknown data set {name!r}; expected one of {list(datasets)}")
    record = _record(folder)
    for remote in datasets[name].files:
        _refuse_others(folder, remote, record)
    for remote in datasets[name].files:
        known = _known_hash(remote, record)
        # First, so that a part which is cut off is known as ours.
        record.setdefault(remote.name, {"url": remote.url})
        artifacts.write_json(folder / RECORD, record)
        kept = pooch.retrieve(
            remote.url,
            known and f"sha256:{known}",
            remote.name,
            folder / ARCHIVES,
            downloader=partial(_resuming, part=folder / ARCHIVES / f"{remote.name}.part"),
        )
        record[remote.name] = {"url": remote.url, "sha256": artifacts.sha256(Path(kept))}
        artifacts.write_json(folder / RECORD, record)
        unpack(Path(kept), folder / remote.into)
    return folder


def _record(folder: Path) -> dict[str, dict[str, str]]:
    """Return what was downloaded into a folder before: name → url, and sha256 once it is whole."""
    path = folder / RECORD
    if not path.exists():
        return {}
    try:
        record = artifacts.read_json(path)
        known = all(isinstance(one, dict) and "url" in one for one in record.values())
    except ValueError:
        known = False
    if not known:
        raise FileExistsError(
            f"{path} is not the list of downloads that ssinfnet keeps under this name; give "
            "another folder, or move it away"
        )
    return record


def _known_hash(remote: Remote, record: Mapping[str, Mapping[str, str]]) -> str | None:
    return remote.sha256 or record.get(remote.name, {}).get("sha256")


def _refuse_others(folder: Path, remote: Remote, record: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse to fetch over an archive or a part that is not what was fetched before."""
    archive = folder / ARCHIVES / remote.name
    known = _known_hash(remote, record)
    if archive.is_file() and known and artifacts.sha256(archive) != known:
        raise FileExistsError(
            f"{archive} has another SHA-256 than {known}; delete it, and it is fetched again"
        )
    part = archive.with_name(f"{archive.name}.part")
    if part.exists() and remote.name not in record:
        raise FileExistsError(
            f"{part} is there, and no earlier download left it; move it away, or give another "
            "folder"
        )


def _resuming(url: str, output_file: str, pooch: object, *, part: Path) -> None:
    """Fetch a file for pooch, going on where an earlier call was cut off."""
    import requests

    for attempt in range(1, TRIES + 1):
        try:
            _fetch(url, part)
            break
        except requests.RequestException as error:
            if attempt == TRIES or not _may_pass(error):
                raise OSError(
                    f"{url} could not be fetched ({error}); what has come is kept, run it again"
                ) from error
            progress.say(f"{url} was cut off after {_size(part)} bytes, going on")
    part.replace(output_file)
    _tag(part).unlink(missing_ok=True)


def _may_pass(error: Exception) -> bool:
    """Say whether trying again can help: not if the server refuses the address."""
    answer = getattr(error, "response", None)
    return answer is None or answer.status_code >= 500


def _fetch(url: str, part: Path) -> None:
    """Append to a part what it lacks; begin anew where the file has changed since."""
    import requests

    done, tag = _size(part), _tag(part)
    asked = {"Accept-Encoding": "identity"}
    if done and tag.is_file():
        asked |= {"Range": f"bytes={done}-", "If-Range": tag.read_text()}
    with requests.get(url, headers=asked, stream=True, timeout=TIMEOUT_S) as answer:
        if answer.headers.get("Content-Range") == f"bytes */{done}":
            return  # all of it has come before
        answer.raise_for_status()
        if "ETag" in answer.headers:
            tag.write_text(answer.headers["ETag"])
        goes_on = answer.status_code == requests.codes.partial_content
        total = answer.headers.get("Content-Length")
        chunks = answer.iter_content(CHUNK)
        with part.open("ab" if goes_on else "wb") as stream:
            count = -(-int(total) // CHUNK) if total else None
            for chunk in progress.track(chunks, f"downloading {part.stem} (64 KiB)", count):
                stream.write(chunk)


def _tag(part: Path) -> Path:
    """Return where the server's mark of the version is kept that a part is of."""
    return part.with_name(f"{part.name}.etag")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def unpack(file: Path, folder: Path) -> None:
    """Put the files of a ZIP, without folders of their own, or a file that is none, in a folder.

    A file that is there with the right size is left alone.

    Raises
    ------
    ValueError
        If the archive is broken or too large, two members have one name, or one is a link or
        names a place outside the archive.
    FileExistsError
        If a file is there with another size; nothing is unpacked then.
    """
    if file.suffix != ".zip":
        _refuse_other_sizes(file, {folder / file.name: file.stat().st_size})
        with file.open("rb") as stream:
            _place(stream, folder / file.name, file.stat().st_size)
        return
    try:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            _refuse_unsafe(file, members)
            targets = [folder / PurePosixPath(member.filename).name for member in members]
            sizes = [member.file_size for member in members]
            _refuse_other_sizes(file, dict(zip(targets, sizes, strict=True)))
            for member, target in zip(members, targets, strict=True):
                with archive.open(member) as stream:
                    _place(stream, target, member.file_size)
    # zipfile has an error of its own, and lets those of decoders, passwords and lengths through
    except (zipfile.BadZipFile, EOFError, zlib.error, RuntimeError, struct.error, LookupError,
            OverflowError, UnicodeDecodeError) as error:  # fmt: skip
        raise ValueError(f"{file} is no whole ZIP ({error}); delete it and run again") from error


def _refuse_unsafe(file: Path, members: list[zipfile.ZipInfo]) -> None:
    untrusted_zip.refuse_unsafe(file, members)
    if (total := sum(member.file_size for member in members)) > MOST_BYTES:
        raise ValueError(f"{file} would unpack to {total} bytes; at most {MOST_BYTES} are taken")
    plain = [PurePosixPath(member.filename).name for member in members]
    if len(set(plain)) < len(plain):
        repeated = sorted({name for name in plain if plain.count(name) > 1})
        raise ValueError(f"{file} holds several files of the names {repeated[:5]}")


def _refuse_other_sizes(file: Path, sizes: Mapping[Path, int]) -> None:
    others = [
        path.name for path, size in sizes.items() if os.path.lexists(path) and _size(path) != size
    ]
    if others:
        raise FileExistsError(
            f"{next(iter(sizes)).parent} holds {others[:5]} with other sizes than in {file.name}; "
            "they would be replaced. Move them away, or give another folder"
        )


def _place(stream: IO[bytes], path: Path, size: int) -> None:
    if _size(path) == size:
        return
    with artifacts.replacing(path) as temporary, temporary.open("wb") as target:
        copyfileobj(stream, target, CHUNK)
