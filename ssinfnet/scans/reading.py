"""Any input → a scan: a DICOM series, a volume's file, a folder of slice pictures, one picture.

For slices that belong to no study: no masks, no patients, no split. Their geometry is kept, so
that what is predicted of them goes back onto the input's own grid.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data import images
from ssinfnet.data.images import LUNG_WINDOW_HU
from ssinfnet.data.sources.files import UnreadableFile, in_order, read_picture
from ssinfnet.data.sources.intensities import Declared, labels_fault, units_doubt, units_fault
from ssinfnet.data.sources.kinds import DICOM, PICTURE, VOLUMES, kind_of, readable_name, stem_of
from ssinfnet.data.sources.resampling import upright
from ssinfnet.data.sources.series import SeriesFacts, unwanted
from ssinfnet.data.sources.tree import Found, Tree, look_through, relative_name
from ssinfnet.data.sources.volume_files import Volume, read_volume
from ssinfnet.storage.untrusted_zip import is_zip, unpack_zip
from ssinfnet.storage.written_files import without_written

__all__ = ["Excluded", "Place", "Scan", "choose_series", "find_scans", "free_name", "read_scan",
           "short_name"]  # fmt: skip

KINDS = {DICOM: "DICOM", PICTURE: "pictures", **{kind: kind for kind in VOLUMES}}
MOST_UNEVEN = 2  # of a pixel's sides; a detector's pixels are square
TILTED = (
    "its axes are not at right angles, as of a tilted gantry: programs built on ITK do not open "
    "its NIfTI files; --resample offers a grid that they open"
)
RESAMPLED = (
    "its axes are not at right angles, as of a tilted gantry: it was resampled, and its maps lie "
    "on the grid of NAME_ct"
)
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
    """

    name: str
    path: Path
    kind: str = ""
    files: tuple[Path, ...] = ()
    series: SeriesFacts | None = None

    def __post_init__(self) -> None:
        if not self.files:
            below = look_through(self.path).scans
            here = [one for one in below if one.path == self.path] or [Found(self.path, DICOM, ())]
            object.__setattr__(self, "kind", KINDS[here[0].kind])
            object.__setattr__(self, "files", here[0].files)
            object.__setattr__(self, "series", here[0].series)

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


@dataclass(frozen=True)
class Scan:
    """Slices of one patient.

    Attributes
    ----------
    name : str
        Of the results.
    kind : str
        As `Place` has it.
    slices : (n, height, width) array
        HU, or 8-bit grey values that were windowed already (D-40), as uint8 of pictures. Volumes
        from the lowest slice upwards, anterior on top; pictures as they are, in the order of the
        numbers in their names.
    volume : Volume or None
        With the input's geometry; None of pictures.
    pictures : tuple of Path
        One a slice; empty of a volume.
    left_out : tuple of Excluded
        Files that are no slice of the scan.
    doubts : tuple of str
        What is odd about the scan, for the reader of its numbers.
    resampled : bool
        The volume is not on the input's own grid.
    series : SeriesFacts or None
        What the headers of a CT series say.
    """

    name: str
    kind: str
    slices: NDArray[np.generic]
    volume: Volume | None = None
    pictures: tuple[Path, ...] = ()
    left_out: tuple[Excluded, ...] = ()
    doubts: tuple[str, ...] = ()
    resampled: bool = False
    series: SeriesFacts | None = None

    def __len__(self) -> int:
        return len(self.slices)

    @property
    def spacing_mm(self) -> tuple[float, float, float] | None:
        """Distance of slices, rows and columns; None where the input does not tell."""
        if self.volume is None or not self.volume.spacing_known:
            return None
        return self.volume.spacing_mm

    @property
    def voxel_ml(self) -> float | None:
        """Volume of a voxel; None where the spacing is unknown."""
        if self.spacing_mm is None:
            return None
        # Not the product of the spacings: the axes of a tilted gantry are not at right angles.
        return float(abs(np.linalg.det(self.volume.affine[:3, :3]))) / 1000

    def grey(
        self, index: int, window_hu: tuple[float, float] = LUNG_WINDOW_HU
    ) -> NDArray[np.float32]:
        """Return one slice in [0, 1]: HU over the window, 8-bit values over 255."""
        if self.volume is not None:
            return self.volume.grey(index, window_hu)
        stored = self.slices[index].astype(np.float32)
        return (
            stored / 255 if self.slices.dtype == np.uint8 else images.window_hu(stored, window_hu)
        )


def find_scans(
    inputs: Iterable[Path | str], unpacked: Path | None = None
) -> tuple[list[Place], list[Excluded]]:
    """Find every scan below some paths, by content and whatever the layout (D-100).

    A file is a scan. Folders are searched to the bottom: each CT series, each volume, and each
    folder of pictures that has no volume in it or below it, is a scan. A scan is named after its
    file or folder, and after the folder above too where two would share a name. What ssinfnet
    wrote into a folder is never a scan (`written_files`).

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
    excluded: list[Excluded] = []
    known: set[tuple[str, ...]] = set()
    for given in inputs:
        path = Path(os.path.abspath(Path(given).expanduser()))  # a link keeps its own name
        tree = _tree(path)
        found, archives = list(tree.scans), []
        for file, reason in tree.unused:
            if unpacked is not None and is_zip(file):
                archives.append(file)
            else:
                excluded.append(Excluded(readable_name(path), relative_name(file, path), reason))
        for file in archives:
            inside, left = _look_into(file, unpacked)
            found += inside
            excluded += left
        if not found and not archives:
            excluded.append(Excluded(readable_name(path), "", _reason_for_none(path)))
        for one in found:
            its = tuple(os.path.realpath(file) for file in one.files)
            if its in known:
                excluded.append(Excluded(readable_name(one.path), "", "it is given twice"))
            else:
                known.add(its)
                scans.append(one)
    pairs = zip(_names(scans), scans, strict=True)
    places = [Place(name, one.path, KINDS[one.kind], one.files, one.series) for name, one in pairs]
    return places, excluded


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
    of_series = [place for place in places if place.series]
    reasons = unwanted([place.series for place in of_series], wanted)
    excluded = {of_series[index].name: why for index, why in reasons.items()}
    kept = [place for place in places if place.name not in excluded]
    return kept, [Excluded(place.name, place.series.label(), excluded[place.name])
                  for place in of_series if place.name in excluded]  # fmt: skip


def _look_into(archive: Path, unpacked: Path) -> tuple[list[Found], list[Excluded]]:
    """Unpack an archive, and return the scans in it and what is not used of it."""
    name = readable_name(archive)
    number = len(list(unpacked.iterdir()))
    # Scans are named after the folders they lie in: the archive's own, and the one above it.
    folder = unpacked / str(number) / archive.parent.name / archive.stem
    try:
        unpack_zip(archive, folder)
    except UnreadableFile as error:
        return [], [Excluded(name, "", str(error).replace(f"{archive.parent}/", ""))]
    tree = look_through(folder) if folder.is_dir() else Tree([], [])
    left = [Excluded(name, relative_name(file, folder), reason) for file, reason in tree.unused]
    if not tree.scans:
        left.append(Excluded(name, "", "it is an archive that holds no scan"))
    return list(tree.scans), left


def _tree(path: Path) -> Tree:
    if is_zip(path):
        return Tree([], [(path, "is an archive; unpack it first")])
    if path.is_dir() or (path.is_file() and without_written([path])):
        return look_through(path)
    return Tree([], [])


def _reason_for_none(path: Path) -> str:
    if not path.exists():
        return "it does not exist"
    files = [path] if path.is_file() else [one for one in path.rglob("[!.]*") if one.is_file()]
    if files and not without_written(files):
        return "it is a result of ssinfnet, no scan"
    return "it holds no scan" if files else "it is empty"


def _names(scans: Sequence[Found]) -> list[str]:
    """Return a name a scan, with its folder's before it, then a number, where two share one."""
    stems = ["_".join(filter(None, [stem_of(one.path), one.number])) for one in scans]
    names: list[str] = []
    for one, stem in zip(scans, stems, strict=True):
        above = readable_name(one.path.parent)
        wanted = short_name(stem if stems.count(stem) == 1 else f"{above}_{stem}")
        names.append(free_name(wanted, names))
    return names


def free_name(wanted: str, taken: Collection[str], between: str = "_") -> str:
    """Return a name that is not taken yet: as it is wanted, else with the first number that helps.

    Parameters
    ----------
    wanted : str
    taken : collection of str
    between : str
        Stands between name and number.
    """
    tried = (f"{wanted}{between}{number}" if number > 1 else wanted for number in count(1))
    return next(name for name in tried if name not in taken)


def short_name(name: str) -> str:
    """Return a name that leaves room for what is added to it; its hash tells it from others."""
    content = name.encode()
    if len(content) <= LONGEST_NAME:
        return name
    return (
        f"{content[: LONGEST_NAME - 9].decode(errors='ignore')}_{sha256(content).hexdigest()[:8]}"
    )


def read_scan(place: Place, declared: Declared | None = None, *, resample: bool = False) -> Scan:
    """Read a scan whole.

    Parameters
    ----------
    place : Place
    declared : Declared or None
        How the intensities become Hounsfield units, where they are neither these nor 8-bit grey.
    resample : bool
        Put a volume whose axes are not at right angles onto a grid whose axes are.

    Raises
    ------
    UnreadableFile
        If it cannot be decoded, its slices do not belong together or have intensities that are
        impossible: a mask with holes would look like a healthy slice. If it is a mask, or no CT by
        its intensities and nothing is declared.
    """
    declared = declared or Declared()
    if paths := place.pictures():
        return _pictured(place, paths, declared)
    name, volume = readable_name(place.path), read_volume(place.path, place.files)
    _refuse_flat(name, volume)
    if declared:
        _refuse(name, labels_fault(volume.slices))
        slices = declared.hounsfield(volume.slices)
        volume = replace(volume, slices=slices, declared=True)
    faults = ((index, volume.fault(index)) for index in range(len(volume.slices)))
    for index, fault in faults:
        _refuse(f"{name}, slice {index}", fault)
    fault = units_fault(volume.slices)
    _refuse(name, "" if declared else fault)
    doubts = [f"as declared {fault}"] if fault else []
    doubts += _doubts(volume)
    names = place.file_names()
    left_out = tuple(Excluded(place.name, names[file], why) for file, why in volume.left_out)
    resampled = resample and volume.is_sheared
    if resampled:
        volume = upright(volume)
        doubts = [RESAMPLED if doubt == TILTED else doubt for doubt in doubts]
    return Scan(place.name, place.kind, volume.slices, volume, left_out=left_out,
                doubts=tuple(doubts), resampled=resampled, series=place.series)  # fmt: skip


def _doubts(volume: Volume) -> list[str]:
    """Return what is odd about a volume that is predicted all the same."""
    sides = volume.spacing_mm[1:]
    doubts = {
        volume.doubt: True,
        units_doubt(volume.slices): not volume.windowed,
        TILTED: volume.is_sheared,
        f"pixels are {sides[0]:.3g} × {sides[1]:.3g} mm, as of slices that are not axial; the "
        "model has seen axial ones alone": max(sides) > MOST_UNEVEN * min(sides),
    }
    return [doubt for doubt, holds in doubts.items() if doubt and holds]


def _refuse(name: str, fault: str | None) -> None:
    if fault:
        raise UnreadableFile(f"{name}: {fault}")


def _refuse_flat(name: str, volume: Volume) -> None:
    if not volume.slices.size:
        raise UnreadableFile(f"{name} has shape {volume.shape}: it holds no voxel")
    count, height, width = volume.slices.shape
    if min(height, width) < 2:
        plane = "coronal" if height < 2 else "sagittal"
        raise UnreadableFile(
            f"{name} is one {plane} slice; expected axial slices, got {count} of {height} × {width}"
        )


def _pictured(place: Place, paths: Sequence[Path], declared: Declared) -> Scan:
    decoded = [read_picture(path) for path in paths]
    for path, slice_ in zip(paths, decoded, strict=True):
        if slice_.shape != decoded[0].shape:
            raise UnreadableFile(
                f"{path.name} has {slice_.shape} pixels and {paths[0].name} {decoded[0].shape}; "
                "put slices of different sizes in folders of their own"
            )
    slices = np.stack(decoded)
    _refuse(readable_name(place.path), labels_fault(slices))
    others = [name for file, name in place.file_names().items() if file not in paths]
    left_out = tuple(Excluded(place.name, name, "is no picture") for name in others)
    kept = declared.hounsfield(slices) if declared else slices
    return Scan(place.name, "pictures", kept, None, tuple(paths), left_out)
