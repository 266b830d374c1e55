"""Find every scan below some paths, whatever the layout; name each, and choose among series."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple

from ssinfnet.data.sources.dicom_headers import unopened
from ssinfnet.data.sources.files import UnreadableFile, in_order, visible_below
from ssinfnet.data.sources.kinds import (
    DICOM,
    PICTURE,
    VOLUMES,
    kind_if_readable,
    kind_of,
    readable,
    readable_name,
    stem_of,
)
from ssinfnet.data.sources.series import SeriesFacts, unwanted
from ssinfnet.data.sources.tree import (
    ARCHIVES,
    PACKED,
    Found,
    Tree,
    look_at_slices,
    look_through,
    relative_name,
    scans_below,
)
from ssinfnet.storage.untrusted_pictures import stored_size
from ssinfnet.storage.untrusted_zip import is_zip, unpack_zip
from ssinfnet.storage.written_files import without_written

__all__ = ["KINDS", "Excluded", "Place", "choose_series", "find_scans", "free_name", "location_of",
           "short_name"]  # fmt: skip

KINDS = {DICOM: "DICOM", PICTURE: "pictures", **{kind: kind for kind in VOLUMES}}
LONGEST_NAME = 180  # bytes; file systems take 255, and endings and temporary names are added


@dataclass(frozen=True)
class Place:
    """Where a scan lies, and the name that its results get.

    Attributes
    ----------
    name : str
    path : Path
        A file, or the folder that holds all files of the scan.
    kind : str
        "DICOM", "NIfTI", "NRRD", "MetaImage" or "pictures"; by content where it is not given.
    files : tuple of Path
        Every file that the scan may be read from, but for what ssinfnet wrote there; the folder's
        where they are not given.
    series : SeriesFacts or None
        What the headers of a CT series say.
    doubt : str
        Whether slices of it seem to lie elsewhere, "" if not.
    location : str
        See `location_of`; that of `path` where it is not given.
    """

    name: str
    path: Path
    kind: str = ""
    files: tuple[Path, ...] = ()
    series: SeriesFacts | None = None
    doubt: str = ""
    location: str = ""

    def __post_init__(self) -> None:
        if not self.location:
            object.__setattr__(self, "location", location_of(self.path))
        if not self.files:
            below = look_through(self.path).scans
            here = [one for one in below if one.path == self.path] or [Found(self.path, DICOM, ())]
            object.__setattr__(self, "kind", KINDS[here[0].kind])
            object.__setattr__(self, "files", here[0].files)
            object.__setattr__(self, "series", here[0].series)
            object.__setattr__(self, "doubt", here[0].doubt)

    def pictures(self) -> list[Path]:
        """Return the slice pictures of the scan in their order; none if it is a volume."""
        if self.kind != KINDS[PICTURE]:
            return []
        return in_order(file for file in self.files if kind_of(file) == PICTURE)

    def file_names(self) -> dict[Path, str]:
        """Return where each file lies below the scan's folder, as text that can be written."""
        folder = self.path if self.path.is_dir() else self.path.parent
        return {file: relative_name(file, folder) for file in self.files}


class Excluded(NamedTuple):
    """An input, or a file of one, that was not used."""

    input: str
    file: str  # "" where the whole input was not used
    reason: str
    location: str = ""  # of a whole input: tells those of one name apart, see `location_of`


def location_of(path: Path, *within: str) -> str:
    """Return a hash of where something lies: tables may be published, and name no folders.

    Parameters
    ----------
    path : Path
    within : str
        What tells scans of one path apart, such as the number of a series.
    """
    return sha256(os.fsencode("\n".join([os.path.abspath(path), *within]))).hexdigest()[:16]


def find_scans(
    inputs: Iterable[Path | str], unpacked: Path | None = None
) -> tuple[list[Place], list[Excluded]]:
    """Find every scan below some paths, by content and whatever the layout (D-100).

    A file is a scan, but DICOM slices of one series and folder that are given one by one are one.
    Folders are searched to the bottom: each CT series, each volume, and each
    folder of pictures that has no volume in it or below it, is a scan; pictures of several sizes
    are a scan a size (D-195). A scan is named after its file or folder, and after the folder above
    too where two would share a name. What ssinfnet wrote into a folder is never a scan
    (`written_files`).

    Parameters
    ----------
    inputs : iterable of path
    unpacked : Path or None
        An empty folder that receives what ZIP archives hold, and must stay while the scans are
        read; archives are listed and not opened if None.

    Returns
    -------
    places : list of Place
        In the order of the inputs; names differ.
    excluded : list of Excluded
        Paths that do not exist, hold no scan, are results of ssinfnet, or are given twice; and the
        files below a folder that belong to no scan.
    """
    scans: list[Found] = []
    locations: list[str] = []
    excluded: list[Excluded] = []
    known: set[tuple[str, ...]] = set()
    opened: list[Path] = []
    for path, tree in _trees(inputs):
        found, archives = list(tree.scans), []
        packed = [
            file
            for file, reason in tree.unused
            if reason == PACKED and file != path and not (unpacked and is_zip(file))
        ]
        excluded += [
            _packed(folder, files, location_of(folder))
            for folder, files in _by_folder(packed).items()
        ]
        for file, reason in tree.unused:
            if unpacked is not None and is_zip(file):
                inside, left = _look_into(file, unpacked / str(len(opened)))
                archives.append(file)
                opened.append(file)
                found += inside
                excluded += left
            else:
                excluded.append(Excluded(readable_name(path), relative_name(file, path), reason))
        if not found and not archives:
            why = _reason_for_none(path)
            excluded.append(Excluded(readable_name(path), "", why, location_of(path)))
        for one in chain.from_iterable(map(_by_size, found)):
            its = tuple(
                os.path.realpath(file) if file.exists() else str(file) for file in one.files
            )
            if its in known:
                excluded.append(Excluded(readable_name(one.path), "", "it is given twice"))
            else:
                known.add(its)
                scans.append(one)
                locations.append(_location(one, unpacked, opened))
    named = zip(_names(scans), scans, locations, strict=True)
    places = [
        Place(name, one.path, KINDS[one.kind], one.files, one.series, one.doubt, location)
        for name, one, location in named
    ]
    return places, excluded


def _location(found: Found, unpacked: Path | None, opened: Sequence[Path]) -> str:
    """Return a scan's location; of one in an archive, that of the archive and the path in it."""
    which = found.series.uid if found.series else found.number
    if unpacked is None or unpacked not in found.path.parents:
        return location_of(found.path, which)
    number, *below = found.path.relative_to(unpacked).parts
    return location_of(opened[int(number)], *below, which)


def choose_series(
    places: Sequence[Place], wanted: Iterable[str] = ()
) -> tuple[list[Place], list[Excluded]]:
    """Divide scans into those that are wanted and the CT series that are not (D-113).

    Parameters
    ----------
    places : sequence of Place
        Those that are no CT series are all wanted.
    wanted : iterable of str
        See `series.unwanted`: patterns of descriptions, UIDs, ``thickest`` or ``thinnest``.

    Returns
    -------
    places : list of Place
    excluded : list of Excluded
        A row a series that is not wanted.

    Raises
    ------
    ValueError
        If something that is wanted names no series.
    """
    known = [(place, place.series) for place in places if place.series]
    reasons = unwanted([series for _, series in known], wanted)
    excluded = [
        Excluded(known[index][0].name, known[index][1].label(), why)
        for index, why in reasons.items()
    ]
    names = {one.input for one in excluded}
    return [place for place in places if place.name not in names], excluded


def _look_into(archive: Path, unpacked: Path) -> tuple[list[Found], list[Excluded]]:
    """Unpack an archive, and return the scans in it and what is not used of it."""
    name, location = readable_name(archive), location_of(archive)
    # Scans are named after the folders they lie in: the archive's own, and the one above it.
    folder = unpacked / archive.parent.name / archive.stem
    try:
        unpack_zip(archive, folder)
    except UnreadableFile as error:
        reason = str(error).replace(f"{archive.parent}/", "")
        return [], [Excluded(name, "", reason, location)]
    tree = scans_below(folder) if folder.is_dir() else Tree([], [])
    left = [Excluded(name, relative_name(file, folder), reason) for file, reason in tree.unused]
    packed = [file for file, reason in tree.unused if reason == PACKED]
    left += [
        _packed(home, files, location_of(archive, relative_name(home, folder)))
        for home, files in _by_folder(packed).items()
    ]
    if not tree.scans:
        left.append(Excluded(name, "", "it is an archive that holds no scan", location))
    return list(tree.scans), left


def _by_folder(files: Iterable[Path]) -> dict[Path, list[Path]]:
    folders: dict[Path, list[Path]] = {}
    for file in files:
        folders.setdefault(file.parent, []).append(file)
    return folders


def _packed(folder: Path, files: Sequence[Path], location: str) -> Excluded:
    """Return the row of a folder's archives: they may be a patient, and are no files beside."""
    what = files[0].name if len(files) == 1 else f"{len(files)} archives such as {files[0].name}"
    reason = readable(f"holds {what}, in which scans may lie; unpack first")
    return Excluded(readable_name(folder), "", reason, location)


def _by_size(found: Found) -> list[Found]:
    """Divide a folder of pictures of several sizes into a scan a size (D-195).

    Where the size of one cannot be read they stay together, and are refused when they are.
    """
    if found.kind != PICTURE:
        return [found]
    pictures = [file for file in found.files if file.exists() and kind_of(file) == PICTURE]
    groups: dict[tuple[int, int], list[Path]] = {}
    for file in pictures:
        size = stored_size(file)
        if size is None:
            return [found]
        groups.setdefault(size, []).append(file)
    if len(groups) < 2:
        return [found]
    told = ", ".join(f"{high} × {wide} ({len(own)})" for (high, wide), own in groups.items())
    doubt = f"its folder has pictures of several sizes, a scan each: {told}"
    beside = [file for file in found.files if file not in pictures]
    parts = []
    for (high, wide), own in groups.items():
        files = (*own, *beside)
        parts.append(found._replace(files=files, number=f"{high}x{wide}", doubt=doubt))
        beside = []  # once, with the first
    return parts


def _trees(inputs: Iterable[Path | str]) -> Iterator[tuple[Path, Tree]]:
    """Yield each input with what lies below it; slices given one by one as their folder, once."""
    # A link keeps its own name, so links are not followed here
    paths = [Path(os.path.abspath(_at_home(Path(given)))) for given in inputs]
    slices: dict[Path, list[Path]] = {}
    for path in dict.fromkeys(paths):
        if path.is_file() and kind_if_readable(path) == DICOM and without_written([path]):
            slices.setdefault(path.parent, []).append(path)
    for path in paths:
        its = slices.get(path.parent, [])
        if path not in its or len(its) == 1:
            yield path, _tree(path)
        elif path == its[0]:
            yield path.parent, look_at_slices(its)


def _at_home(path: Path) -> Path:
    """Return a path whose ``~`` is the user's folder; a file may begin with that letter, too."""
    return path.expanduser() if path.parts[:1] == ("~",) else path


def _tree(path: Path) -> Tree:
    if is_zip(path):
        return Tree([], [(path, PACKED)])
    known = path.is_file() and (kind_if_readable(path) or unopened(path))
    if path.is_dir() or (known and without_written([path])):
        return scans_below(path)
    return Tree([], [])


def _reason_for_none(path: Path) -> str:
    if not path.exists():
        return "it does not exist"
    if not (path.is_file() or path.is_dir()):
        return "it is no file and no folder"
    if path.is_file() and not kind_if_readable(path):
        packed = path.name.lower().endswith(ARCHIVES)
        return (
            "it is an archive; unpack it first"
            if packed
            else "it is no DICOM, NIfTI, NRRD, MetaImage, PNG, JPEG or TIFF file"
        )
    files = [path] if path.is_file() else list(visible_below(path))
    if files and not without_written(files):
        return "it is a result of ssinfnet, no scan"
    return "it holds no scan" if files else "it is empty"


def _names(scans: Sequence[Found]) -> list[str]:
    """Return a name a scan, with its folder's before it, then a number, where two share one."""
    stems = ["_".join(filter(None, [stem_of(one.path), one.number])) for one in scans]
    counts = Counter(stem.casefold() for stem in stems)
    names: list[str] = []
    taken: set[str] = set()
    for one, stem in zip(scans, stems, strict=True):
        above = readable_name(one.path.parent)
        wanted = short_name(stem if counts[stem.casefold()] == 1 else f"{above}_{stem}")
        names.append(free_name(wanted, taken))
        taken.add(names[-1].casefold())
    return names


def free_name(wanted: str, taken: Collection[str], between: str = "_") -> str:
    """Return a name that is not taken yet: as it is wanted, else with the first number that helps.

    Names that differ in case alone are one: results may be copied to where they are one file.

    Parameters
    ----------
    wanted : str
    taken : collection of str
        By `str.casefold`.
    between : str
        Stands between name and number.
    """
    tried = (f"{wanted}{between}{number}" if number > 1 else wanted for number in count(1))
    return next(name for name in tried if name.casefold() not in taken)


def short_name(name: str) -> str:
    """Return a name that leaves room for what is added to it; its hash tells it from others."""
    content = name.encode()
    if len(content) <= LONGEST_NAME:
        return name
    return (
        f"{content[: LONGEST_NAME - 9].decode(errors='ignore')}_{sha256(content).hexdigest()[:8]}"
    )
