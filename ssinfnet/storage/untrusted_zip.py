"""Unpack a ZIP that somebody else may have made: what it would unpack to is measured first."""

from __future__ import annotations

import re
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from shutil import copyfileobj

from ssinfnet.storage.untrusted import DEFLATE, UnreadableFile

__all__ = ["is_zip", "refuse_unsafe", "unpack_zip"]

MOST_BYTES = 16 * 2**30  # of one archive, unpacked: a CD has under one, a DVD under five
MOST_MEMBERS = 10**5
CHUNK = 2**20
ENCRYPTED = 1  # of a member's flags
# zipfile has an error of its own, and lets those of decoders, passwords and lengths through
BROKEN = (zipfile.BadZipFile, EOFError, zlib.error, RuntimeError, struct.error, LookupError,
          OverflowError, UnicodeDecodeError, OSError, ValueError)  # fmt: skip


def is_zip(path: Path) -> bool:
    """Say whether a file is called a ZIP and begins as one; documents begin so too."""
    if not path.name.lower().endswith(".zip") or not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(2) == b"PK"


def unpack_zip(file: Path, folder: Path) -> None:
    """Put the files of a ZIP into an empty folder, in the folders they have in the archive.

    Raises
    ------
    UnreadableFile
        If it is broken or encrypted, would unpack to more than is taken or than its bytes can
        hold, or if a member is a link or lies outside the archive.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            refuse_unsafe(file, members)
            total = sum(member.file_size for member in members)
            most = min(MOST_BYTES, DEFLATE * file.stat().st_size)
            if total > most or len(members) > MOST_MEMBERS:
                raise UnreadableFile(
                    f"{file} would unpack to {len(members)} files of {total} bytes; at most "
                    f"{MOST_MEMBERS} files and {most} bytes are taken of an archive of its size"
                )
            if any(member.flag_bits & ENCRYPTED for member in members):
                raise UnreadableFile(f"{file} is encrypted; unpack it with its password first")
            for member in members:
                target = folder.joinpath(*_place(member).parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                # Mode x: two members of one name would replace each other
                with archive.open(member) as stream, target.open("xb") as written:
                    copyfileobj(stream, written, CHUNK)
    except UnreadableFile:
        raise
    except BROKEN as error:
        reason = str(error).replace(f"{folder}/", "")
        raise UnreadableFile(f"{file} is no whole ZIP ({reason})") from error


def refuse_unsafe(file: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse an archive with a member that is a link or would lie outside the folder.

    Raises
    ------
    UnreadableFile
        In those cases.
    zipfile.BadZipFile
        If a member would begin before the file.
    """
    if any(member.header_offset < 0 for member in members):
        raise zipfile.BadZipFile("a member would begin before the file")
    counts = Counter(map(_place, members))
    if twice := [str(name) for name, count in counts.items() if count > 1]:
        raise UnreadableFile(f"{file} holds {twice[0]!r} twice; unpack it first, and choose one")
    for member, name in zip(members, counts, strict=True):
        outside = not name.name or name.is_absolute() or ".." in name.parts
        outside = outside or bool(re.match("[A-Za-z]:", name.parts[0]))
        if outside or stat.S_ISLNK(member.external_attr >> 16):
            raise UnreadableFile(f"{file} holds {member.filename!r}, a link or a place outside it")


def _place(member: zipfile.ZipInfo) -> PurePosixPath:
    """Return where a member lies; some programs on Windows write backslashes between folders."""
    return PurePosixPath(member.filename.replace("\\", "/"))
