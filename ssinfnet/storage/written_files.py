"""Tell which files of a folder are ours, so that nothing else in it is replaced or removed (D-68).

People name any folder for results, that of their scans included. `written_files.json` in it lists
each file that we wrote with the SHA-256 of its bytes. A file that the record does not list, or that
has other bytes now, belongs to somebody else.
"""

from __future__ import annotations

import glob
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from filelock import BaseFileLock, FileLock

from ssinfnet.storage import artifacts, untrusted

__all__ = ["RECORD", "WrittenFiles", "without_written"]

RECORD = "written_files.json"
LOCK = ".written.lock.partial"  # there while a process puts files in place
SHOWN = 5  # names in an error


@dataclass
class WrittenFiles:
    """The files in a folder that ssinfnet wrote; `of` reads them from the folder's record.

    Attributes
    ----------
    folder : Path
    hashes : dict of str → list of str
        Name relative to the folder, with slashes → SHA-256 in hexadecimal. While files are put in
        place, both the earlier and the new hash stand here: a killed process disowns neither.
    """

    folder: Path
    hashes: dict[str, list[str]]
    _lock: BaseFileLock = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._lock = FileLock(self.folder / LOCK)

    @classmethod
    def of(cls, folder: Path) -> WrittenFiles:
        """Read the record of a folder; it lists nothing if there is none.

        Raises
        ------
        ValueError
            If the file of that name is no such record.
        """
        path = folder / RECORD
        if not os.path.lexists(path):
            return cls(folder, {})
        try:
            content = untrusted.read_json(path)
            files = content["files"]
            hashes = {str(name): [*map(str, listed)] for name, listed in files.items()}
        except (untrusted.UnreadableFile, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                f"{path} is not the list of files that ssinfnet keeps under this name; give "
                "another folder, or move it away"
            ) from error
        return cls(folder, {name: listed for name, listed in hashes.items() if _is_below(name)})

    def lists(self, path: Path) -> bool:
        """Say whether the record names a file below its folder, whatever its bytes are now."""
        name = path.relative_to(self.folder).as_posix()
        return name in self.hashes or (name == RECORD and bool(self.hashes))

    def is_whole(self, name: str) -> bool:
        """Say whether a file is there, listed, and as it was written."""
        path = self.folder / name
        is_plain = path.is_file() and not path.is_symlink()
        return is_plain and artifacts.sha256(path) in self.hashes.get(name, [])

    def refuse_others(self, names: Iterable[str]) -> None:
        """Refuse to write or remove files that are there and not ours.

        Parameters
        ----------
        names : iterable of str
            Relative to the folder, with slashes.

        Raises
        ------
        FileExistsError
            If one is there that the record does not list with its present hash, which it names;
            or if the folder is a file.
        """
        others = [name for name in names if not self._is_free(name)]
        if others and self.folder.is_file():
            raise FileExistsError(
                f"{self.folder} is a file; expected a folder for the results (-o)"
            )
        if others:
            more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
            raise FileExistsError(
                f"{self.folder} holds {', '.join(others[:SHOWN])}{more}, which ssinfnet did not "
                "write or which was changed since, and which would be replaced or removed; nothing "
                "was done. Give another folder or file for the results (-o), or move these away"
            )

    def refuse_unwritable(self) -> None:
        """Refuse a folder that takes no files, before work is done for it; it is made if absent.

        Raises
        ------
        OSError
            If no file can be written into it.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.folder).close()
        except OSError as error:
            raise OSError(
                f"{self.folder} takes no files ({error.strerror}); give another folder for the "
                "results (-o)"
            ) from error

    def _is_free(self, name: str) -> bool:
        path = self.folder / name
        above = [
            self.folder.joinpath(*path.relative_to(self.folder).parts[:depth])
            for depth in range(len(PurePosixPath(name).parts))
        ]
        if name == RECORD or any(os.path.lexists(one) and not one.is_dir() for one in above):
            return False
        return not os.path.lexists(path) or self.is_whole(name)

    @contextmanager
    def replacing(self, obsolete: Iterable[str] = ()) -> Iterator[Path]:
        """Give an empty hidden folder; put its files in place and list them if the block succeeds.

        One process at a time puts files in place, see `hold`.

        Parameters
        ----------
        obsolete : iterable of str
            What the new files make obsolete; of these, the files that are ours are removed.

        Raises
        ------
        FileExistsError
            As `refuse_others`; no file is replaced then.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # Machines may share a folder, and each knows its own processes alone.
        ours = f".written.{platform.node()}."
        artifacts.remove_leftovers(self.folder, f"{glob.escape(ours)}*.partial")
        suffix = f".{os.getpid()}.partial"
        staged = Path(tempfile.mkdtemp(prefix=ours, suffix=suffix, dir=self.folder))
        try:
            yield staged
            self.hold()
            self._put_in_place(staged, obsolete)
        finally:
            self._let_go()
            shutil.rmtree(staged, ignore_errors=True)

    def hold(self) -> None:
        """Let no other process put files into the folder until the block of `replacing` has ended.

        What the block reads of the folder afterwards is so when its own files are put in place.
        """
        if not self._lock.is_locked:
            self._lock.acquire()

    def _let_go(self) -> None:
        if self._lock.is_locked:
            with suppress(OSError):  # Windows keeps files that are open
                (self.folder / LOCK).unlink()
            self._lock.release()

    def _put_in_place(self, staged: Path, obsolete: Iterable[str]) -> None:
        # Who holds the folder may remove a record that was never finished, whoever began it
        artifacts.remove_leftovers(self.folder, f".{Path(RECORD).stem}.*.partial.json")
        self.hashes = WrittenFiles.of(self.folder).hashes  # another process may have added to it
        new = {
            path.relative_to(staged).as_posix(): artifacts.sha256(path)
            for path in sorted(staged.rglob("*"))
            if path.is_file()
        }
        removed = [name for name in obsolete if name in self.hashes and name not in new]
        self.refuse_others([*new, *removed])
        for name, its in new.items():
            self.hashes[name] = [*self.hashes.get(name, []), its]
        self._save()
        for name in new:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (staged / name).replace(self.folder / name)
            self.hashes[name] = self.hashes[name][-1:]
        for name in removed:
            (self.folder / name).unlink(missing_ok=True)
            self.hashes.pop(name, None)
        self._save()

    def _save(self) -> None:
        artifacts.write_json(self.folder / RECORD, {"files": self.hashes})


def _is_below(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def without_written(paths: Iterable[Path]) -> list[Path]:
    """Return the paths that are not listed in the record of any folder above them.

    Parameters
    ----------
    paths : iterable of Path
        Absolute. A file of ours counts as written even if it was edited since: a corrected mask is
        no scan either, and neither is a link to a file of ours.
    """
    records: dict[Path, WrittenFiles] = {}

    def is_ours(path: Path) -> bool:
        for folder in path.parents:
            if folder not in records:
                records[folder] = _listed(folder)
        return any(records[folder].lists(path) for folder in path.parents)

    return [path for path in paths if not is_ours(path) and not is_ours(path.resolve())]


def _listed(folder: Path) -> WrittenFiles:
    try:
        return WrittenFiles.of(folder)
    except (OSError, ValueError):  # somebody's file of that name among the scans
        return WrittenFiles(folder, {})
