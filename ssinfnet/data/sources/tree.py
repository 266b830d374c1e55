"""Find every scan below a folder, by content and whatever the layout; say what is left.

A file that is no scan never changes what the others are (D-100): a picture among the slices of a
series, a mask in its folder, a README or DICOMDIR beside the folders of patients are listed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ssinfnet.data.sources import dicom_headers
from ssinfnet.data.sources.dicom_headers import Header
from ssinfnet.data.sources.files import UnreadableFile, in_order, read_numbers, visible
from ssinfnet.data.sources.kinds import (
    DICOM,
    DICOMDIR,
    METAIMAGE,
    NRRD,
    PICTURE,
    VOLUMES,
    kind_by_name,
    kind_if_readable,
    kind_of,
    readable_name,
)
from ssinfnet.data.sources.series import SeriesFacts, facts_of, heights_of
from ssinfnet.storage.untrusted_itk import data_file
from ssinfnet.storage.written_files import without_written

__all__ = ["ARCHIVES", "PACKED", "Found", "Tree", "look_at_slices", "look_through", "relative_name",
           "scans_below"]  # fmt: skip

UNKNOWN = "unknown"  # a kind of file that cannot be opened: nothing is known but its name
NEXT = 0.1  # of a step, by which a series may miss the place where another goes on
FEWEST_SINGLE = 3  # series of one slice, from which one may have been torn apart
Folders = dict[Path, dict[str, list[Path]]]  # folder → kind → the files there
PACKED = "is an archive; unpack it first"
ARCHIVES = (".zip", ".7z", ".rar", ".tar", ".tar.gz", ".tgz", ".gz", ".bz2", ".xz")


class Found(NamedTuple):
    """One scan, or what claims to be one; nothing but headers was read."""

    path: Path  # the file, or the folder that holds all of its files
    kind: str  # DICOM, PICTURE or one of VOLUMES
    files: tuple[Path, ...]  # what it is read from, with what lies among the slices
    number: str = ""  # of the series, where its folder holds several
    series: SeriesFacts | None = None  # of a CT series
    doubt: str = ""  # whether slices of it lie elsewhere


class Tree(NamedTuple):
    """What lies below a path."""

    scans: list[Found]
    unused: list[tuple[Path, str]]  # files that belong to no scan, and why
    headers: Mapping[Path, Header] = {}  # of the DICOM files that were looked at


def look_through(path: Path) -> Tree:
    """Look at a file, or through a folder and all below it; links are followed.

    Slices of one series that lie in several folders are one scan, unless they repeat each other's
    positions: then each folder holds a copy. Pictures are a scan where no series or volume lies in
    their folder or below it; in colour, on a disc with a DICOMDIR, they are its viewer's. Where
    no DICOM file of a folder is a slice of CT they are found together, for they may be masks;
    `scans_below` is without these. Hidden files and what ssinfnet wrote are passed over.
    """
    if not path.is_dir():
        return Tree([_alone(path)], [])
    unused: list[tuple[Path, str]] = []
    folders = {folder: _sorted_by_kind(files, unused) for folder, files in _walk(path, unused)}
    return _divided(folders, unused)


def look_at_slices(files: Sequence[Path]) -> Tree:
    """Look at DICOM files of one folder that were given one by one, as a shell expands ``*.dcm``.

    Those of one series are one scan, as if the folder held nothing else.
    """
    return _without_reports(_divided({files[0].parent: {DICOM: list(files)}}, []))


def _divided(folders: Folders, unused: list[tuple[Path, str]]) -> Tree:
    """Tell scans from what belongs to none, folder by folder."""
    headers = {
        file: dicom_headers.read_header(file)
        for kinds in folders.values()
        for file in kinds.get(DICOM, [])
    }
    series = _series(folders, headers)
    discs = {folder for folder, kinds in folders.items() if DICOMDIR in kinds}
    holding = {file.parent for one in series for file in one.files}
    with_volumes = holding | {
        home for home, kinds in folders.items() if any(map(kinds.get, VOLUMES))
    }
    above_volumes = {folder for home in with_volumes for folder in home.parents}
    by_home: dict[Path, list[Found]] = {}
    for one in series:
        by_home.setdefault(one.path if one.path in folders else one.path.parent, []).append(one)
    scans: list[Found] = []
    for folder, kinds in folders.items():
        here = by_home.get(folder, [])
        volumes = [
            Found(file, kind, _with_data(file, kind))
            for kind in VOLUMES
            for file in kinds.get(kind, [])
        ]
        pictures = in_order(kinds.get(PICTURE, []))
        rest = [file for kind in ("", DICOMDIR, UNKNOWN) for file in kinds.get(kind, [])]
        claimed = [file for file in kinds.get(UNKNOWN, []) if kind_by_name(file) in VOLUMES]
        volumes += [Found(file, kind_by_name(file), (file,)) for file in claimed]
        rest = [file for file in rest if file not in claimed]
        foreign = kinds.get(DICOM, [])
        if folder in holding:
            here += [Found(file, DICOM, (file,)) for file in foreign
                     if dicom_headers.claims_volume(headers[file])]  # fmt: skip
            rest = []  # `_series` has put them among the slices
        elif pictures and not (
            volumes
            or folder in above_volumes
            or (discs & {folder, *folder.parents} and _is_drawn(pictures[0]))
        ):
            here.append(Found(folder, PICTURE, (*pictures, *foreign, *rest)))
            rest = []
        elif foreign:
            here.append(Found(folder, DICOM, (*foreign, *pictures, *rest)))
            rest = []
        else:
            rest += pictures
        scans += [*here, *volumes]
        unused += [(file, _reason(file)) for file in rest]
    return Tree(scans, unused, headers)


def scans_below(path: Path) -> Tree:
    """Look through a path for scans alone: folders of reports, localisers and the like are none."""
    return _without_reports(look_through(path))


def _without_reports(tree: Tree) -> Tree:
    reports = {one.path: reasons for one in tree.scans if (reasons := _reports(one, tree.headers))}
    return Tree([one for one in tree.scans if one.path not in reports],
                [*tree.unused, *chain.from_iterable(reports.values())])  # fmt: skip


def _reports(found: Found, known: Mapping[Path, Header]) -> list[tuple[Path, str]]:
    """Return the files of a folder without a slice of CT, and why they are none.

    None where a file was meant as one: the folder is to be refused then.
    """
    if found.kind != DICOM or found.series or not found.path.is_dir():
        return []
    headers = [known.get(file) or dicom_headers.read_header(file) for file in found.files]
    meant = (dicom_headers.claims_ct(one) for one in headers if kind_if_readable(one.path) == DICOM)
    return [] if any(meant) else [(header.path, header.reason) for header in headers]


def _is_drawn(picture: Path) -> bool:
    """Say whether a picture is none of grey slices."""
    try:
        read_numbers(picture)
    except (UnreadableFile, OSError):
        return True
    return False


def _alone(path: Path) -> Found:
    """Return a file that is given by itself."""
    kind = kind_if_readable(path) or DICOM
    header = dicom_headers.read_header(path) if kind == DICOM and path.is_file() else None
    facts = facts_of([header]) if header and not header.reason else None
    return Found(path, kind, _with_data(path, kind), series=facts)


def _with_data(path: Path, kind: str) -> tuple[Path, ...]:
    """Return a file with the one that holds its voxels, where a header stands by itself."""
    other = data_file(path) if kind in (NRRD, METAIMAGE) else None
    return (path, other) if other and other.is_file() else (path,)


def relative_name(file: Path, folder: Path) -> str:
    """Return where a file lies below a folder, with slashes, as text that can be written."""
    return readable_name(file.relative_to(folder)) if file.parent == folder else "/".join(
        readable_name(Path(part)) for part in file.relative_to(folder).parts
    )  # fmt: skip


def _walk(
    folder: Path, unused: list[tuple[Path, str]], above: frozenset[str] = frozenset()
) -> Iterator[tuple[Path, list[Path]]]:
    """Yield each folder with its files, from the top down; a link that leads back is no folder."""
    above = above | {os.path.realpath(folder)}
    try:
        entries = sorted(visible(folder))
    except OSError as error:
        unused.append((folder, f"{dicom_headers.UNOPENED} ({error.strerror})"))
        return
    files = [one for one in entries if not one.is_dir()]
    yield folder, without_written(files)
    for one in entries:
        if one.is_dir():
            if os.path.realpath(one) in above:
                unused.append((one, "is a link to a folder above it"))
            else:
                yield from _walk(one, unused, above)


def _sorted_by_kind(files: Sequence[Path], unused: list[tuple[Path, str]]) -> dict[str, list[Path]]:
    kinds: dict[str, list[Path]] = {}
    for file in files:
        if not (file.is_file() or file.is_symlink()):
            unused.append((file, "is no file"))
            continue
        try:
            kinds.setdefault(kind_of(file), []).append(file)
        except OSError:
            kinds.setdefault(UNKNOWN, []).append(file)
    taken = {other for kind in (NRRD, METAIMAGE) for file in kinds.get(kind, [])
             for other in _with_data(file, kind)[1:]}  # fmt: skip
    return {kind: [file for file in files if file not in taken] for kind, files in kinds.items()}


def _series(folders: Folders, headers: Mapping[Path, Header]) -> list[Found]:
    """Return the CT series, each with what lies among its slices: broken ones must not get lost."""
    slices: dict[tuple[str, ...], dict[Path, list[Header]]] = {}
    others: dict[Path, list[Header]] = {}
    for folder, kinds in folders.items():
        for file in kinds.get(DICOM, []):
            header = headers[file]
            if not header.reason:
                slices.setdefault(header.series, {}).setdefault(folder, []).append(header)
            elif not dicom_headers.claims_volume(header):
                others.setdefault(folder, []).append(header)
        others.setdefault(folder, []).extend(
            Header(file, None, dicom_headers.NO_DICOM)
            for kind in ("", DICOMDIR, PICTURE)
            for file in kinds.get(kind, [])
        )
        others[folder] += [dicom_headers.read_header(file) for file in kinds.get(UNKNOWN, [])]
    found: list[Found] = []
    listed: set[Path] = set()
    parts = [part for by_folder in slices.values() for part in _parts(by_folder)]
    sharing = Counter(home for part in parts for home in _homes(part))
    for part, doubt in zip(parts, _doubts(parts), strict=True):
        homes = sorted(_homes(part))
        # Whose slice a broken file is may not be told: each series must be refused. A stranger is
        # listed once.
        among = [one.path for home in homes for one in others[home]
                 if one.path not in listed or dicom_headers.is_broken_slice(one, part)]  # fmt: skip
        listed |= set(among)
        has_neighbours = any(sharing[home] > 1 for home in homes)
        by_file = has_neighbours and len(part) == 1  # several slices, or several enhanced files
        found.append(Found(
            part[0].path if by_file else Path(os.path.commonpath(homes)),
            DICOM,
            tuple(sorted([*(header.path for header in part), *among])),
            part[0].number if has_neighbours and not by_file else "",
            facts_of(part),
            doubt,
        ))  # fmt: skip
    return found


class _Part(NamedTuple):
    """A series, or a part of one, for what other parts tell of it."""

    series: tuple[str, ...]  # patient, study, SeriesInstanceUID
    places: set[tuple[float, ...]]
    grid: tuple[Any, ...]  # what slices of one volume have in common
    ends: tuple[float, float]  # lowest and highest slice, mm along the slices' normal
    step: float  # from slice to slice; NaN of one slice


def _doubts(parts: Sequence[Sequence[Header]]) -> list[str]:
    """Say of which series slices seem to lie in another scan: identifiers may be wrong."""
    known = [_part(part) for part in parts]
    by_uid: dict[str, list[_Part]] = {}
    for one in known:
        by_uid.setdefault(one.series[2], []).append(one)
    single = Counter(one.series[:2] for one in known if len(one.places) == 1)
    by_study: dict[tuple[Any, ...], list[_Part]] = {}
    for one in known:
        by_study.setdefault((*one.series[:2], *one.grid), []).append(one)
    return [
        _doubt(one, by_uid[one.series[2]], single[one.series[:2]])
        or _continued(one, by_study[(*one.series[:2], *one.grid)])
        or _mixed(headers)
        for one, headers in zip(known, parts, strict=True)
    ]


def _part(headers: Sequence[Header]) -> _Part:
    first = headers[0]
    heights = heights_of(headers)
    grid = (first.text("FrameOfReferenceUID"), first.text("Rows"), first.text("Columns"),
            *np.round(first.normal, 3).tolist())  # fmt: skip
    step = float(np.median(np.diff(heights))) if len(heights) > 1 else float("nan")
    return _Part(first.series, _places(headers), grid, (heights[0], heights[-1]), step)


def _continued(part: _Part, beside: Sequence[_Part]) -> str:
    """Say that another series of the study goes on where one ends."""
    for one in beside:
        step = np.nanmax([part.step, one.step, 0.0])
        gaps = (one.ends[0] - part.ends[1], part.ends[0] - one.ends[1])
        if one is not part and step and any(abs(gap - step) < NEXT * step for gap in gaps):
            return "another series of its study goes on where it ends: they may be one"
    return ""


def _mixed(headers: Sequence[Header]) -> str:
    """Say that acquisitions of a series overlap, as of two points in time: no scan has both."""
    acquisitions: dict[str, list[Header]] = {}
    for header in headers:
        acquisitions.setdefault(header.text("AcquisitionNumber"), []).append(header)
    ends = sorted((heights[0], heights[-1]) for heights in map(heights_of, acquisitions.values()))
    if any(above[0] < below[1] for below, above in pairwise(ends)):
        return (
            f"its slices are of {len(acquisitions)} acquisitions that overlap: it may hold "
            "several scans"
        )
    return ""


def _doubt(part: _Part, same: Sequence[_Part], single: int) -> str:
    """Say it of one; `same` have its SeriesInstanceUID, `single` of its study have one slice."""
    if any(one.series != part.series for one in same):
        return (
            "other slices of its SeriesInstanceUID name another patient or study: it may be a part "
            "of a series"
        )
    if whole := next((one for one in same if part.places < one.places), None):
        return (
            f"it holds {len(part.places)} of the {len(whole.places)} slices that a copy of it has"
        )
    if len(part.places) == 1 and single >= FEWEST_SINGLE:
        return (
            f"its study has {single} series of one slice each: one series may have been given a "
            "SeriesInstanceUID a slice"
        )
    return ""


def _places(headers: Sequence[Header]) -> set[tuple[float, ...]]:
    """Return where slices lie, in mm."""
    return {tuple(place) for header in headers for place in np.round(header.positions, 2)}


def _homes(part: Sequence[Header]) -> set[Path]:
    return {header.path.parent for header in part}


def _parts(by_folder: dict[Path, list[Header]]) -> list[list[Header]]:
    """Join the slices of a series from all folders, but for copies: they repeat its positions.

    Folders of which each has slices that the other lacks are no copies, though some slices are in
    both. Enhanced files that repeat each other's are volumes of their own, as of several points in
    time.
    """
    positions = [_places(headers) for headers in by_folder.values()]
    enhanced = [one for headers in by_folder.values() for one in headers if one.frames]
    if len(enhanced) > 1 and _repeat(enhanced):
        rest = {folder: [one for one in headers if not one.frames]
                for folder, headers in by_folder.items()}  # fmt: skip
        rest = {folder: headers for folder, headers in rest.items() if headers}
        return [*([one] for one in enhanced), *(_parts(rest) if rest else [])]
    crossing = any(a & b and a - b and b - a for a, b in combinations(positions, 2))
    if crossing or len(set().union(*positions)) == sum(len(one) for one in positions):
        return [[header for headers in by_folder.values() for header in headers]]
    common = os.path.commonpath(by_folder)
    copies: dict[tuple[str, ...], dict[Path, list[Header]]] = {}
    for folder, headers in by_folder.items():
        copies.setdefault(folder.relative_to(common).parts[:1], {})[folder] = headers
    return [part for copy in copies.values() for part in _parts(copy)]


def _repeat(enhanced: Sequence[Header]) -> bool:
    """Say whether two files hold a slice at one position."""
    places = [
        tuple(place) for one in enhanced for place in np.round(np.unique(one.positions, axis=0), 2)
    ]
    return len(set(places)) < len(places)


def _reason(file: Path) -> str:
    kind = kind_if_readable(file)
    if header := dicom_headers.unopened(file):
        return header
    if file.name.lower().endswith(ARCHIVES):
        return PACKED
    return {DICOMDIR: "is a DICOM directory, no image",
            PICTURE: "is a picture beside volumes"}.get(kind, "is no image")  # fmt: skip
