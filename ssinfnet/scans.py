"""Any input → a scan: a DICOM series, a NIfTI volume, a folder of slice pictures, one picture.

For slices that belong to no study: no masks, no patients, no split. Their geometry is kept, so
that what is predicted of them goes back onto the input's own grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssinfnet.images import LUNG_WINDOW_HU
from ssinfnet.sources.files import PICTURES, UnreadableFile, pictures, read_picture, visible
from ssinfnet.sources.volume_files import NIFTI, Volume, nifti_name, read_volume
from ssinfnet.written_files import without_written

__all__ = ["Excluded", "Place", "Scan", "find_scans", "read_scan"]


class Place(NamedTuple):
    """Where a scan lies, and the name that its results get."""

    name: str
    path: Path  # a file, or a folder of slices

    def files(self) -> list[Path]:
        """Return every file that the scan may be read from, but for what ssinfnet wrote there."""
        return _files(self.path) if self.path.is_dir() else [self.path]

    def pictures(self) -> list[Path]:
        """Return the slice pictures of the scan in their order; none if it is a volume."""
        if self.path.suffix.lower() in PICTURES:
            return [self.path]
        return [] if _is_nifti(self.path) else without_written(pictures(self.path))

    @property
    def kind(self) -> str:
        """Return "NIfTI", "pictures" or "DICOM", by names; nothing is read."""
        if self.pictures():
            return "pictures"
        return "NIfTI" if _is_nifti(self.path) else "DICOM"


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
        "DICOM", "NIfTI" or "pictures".
    slices : (n, height, width) array
        HU, or 8-bit grey values that were windowed already (D-40). Volumes from the lowest slice
        upwards, anterior on top; pictures as they are, in the order of the numbers in their names.
    volume : Volume or None
        With the input's geometry; None of pictures.
    pictures : tuple of Path
        One a slice; empty of a volume.
    left_out : tuple of Excluded
        Files that are no slice of the scan.
    """

    name: str
    kind: str
    slices: NDArray[np.generic]
    volume: Volume | None = None
    pictures: tuple[Path, ...] = ()
    left_out: tuple[Excluded, ...] = ()

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
        if self.volume is None:
            return self.slices[index].astype(np.float32) / 255
        return self.volume.grey(index, window_hu)


def find_scans(inputs: Iterable[Path | str]) -> tuple[list[Place], list[Excluded]]:
    """Find the scans below some paths; nothing is read yet.

    A file is a scan. A folder is a scan if it holds pictures or DICOM files; each NIfTI file in it
    is a scan, and a folder of folders alone is searched. A scan is named after its file or folder,
    and after the folder above too where two would share a name. What ssinfnet wrote into a folder
    is never a scan (`written_files`).

    Returns
    -------
    places : list of Place
        In the order of the inputs; names differ.
    excluded : list of Excluded
        Paths that do not exist, are empty, are results of ssinfnet, or are given twice.
    """
    paths: list[Path] = []
    excluded: list[Excluded] = []
    for given in inputs:
        path = Path(given).expanduser().resolve()
        found = _scans_below(path)
        if not found:
            excluded.append(Excluded(path.name, "", _reason_for_none(path)))
        for one in found:
            if one in paths:
                excluded.append(Excluded(one.name, "", "it is given twice"))
            else:
                paths.append(one)
    return [Place(*pair) for pair in zip(_names(paths), paths, strict=True)], excluded


def _reason_for_none(path: Path) -> str:
    if not path.exists():
        return "it does not exist"
    files = [path] if path.is_file() else [one for one in path.rglob("[!.]*") if one.is_file()]
    is_result = files and not without_written(files)
    return "it is a result of ssinfnet, no scan" if is_result else "it is empty"


def _scans_below(path: Path) -> list[Path]:
    if path.is_file():
        return without_written([path])
    files = _files(path)
    if volumes := [file for file in files if file.name.endswith(NIFTI)]:
        return volumes
    if files:
        return [path]
    folders = sorted(one for one in visible(path) if one.is_dir()) if path.is_dir() else []
    return [scan for folder in folders for scan in _scans_below(folder)]


def _files(folder: Path) -> list[Path]:
    """Return the files of a folder but hidden ones and our results; none if it is absent."""
    if not folder.is_dir():
        return []
    return sorted(without_written(path for path in visible(folder) if path.is_file()))


def _names(paths: Sequence[Path]) -> list[str]:
    """Return a name a scan, with its folder's before it, then a number, where two share one."""
    stems = [_stem(path) for path in paths]
    names: list[str] = []
    for path, stem in zip(paths, stems, strict=True):
        wanted = stem if stems.count(stem) == 1 else f"{path.parent.name}_{stem}"
        tried = (f"{wanted}_{number}" if number > 1 else wanted for number in count(1))
        names.append(next(name for name in tried if name not in names))
    return names


def _stem(path: Path) -> str:
    if path.is_dir():
        return path.name
    return nifti_name(path) if _is_nifti(path) else path.stem


def _is_nifti(path: Path) -> bool:
    return path.name.endswith(NIFTI)


def read_scan(place: Place) -> Scan:
    """Read a scan whole.

    Raises
    ------
    UnreadableFile
        If it cannot be decoded, its slices do not belong together or have intensities that are
        impossible: a mask with holes would look like a healthy slice.
    """
    path = place.path
    if paths := place.pictures():
        return _pictured(place, paths)
    volume = read_volume(path, place.files())
    faults = ((index, volume.fault(index)) for index in range(len(volume.slices)))
    for index, fault in faults:
        if fault:
            raise UnreadableFile(f"{path.name}, slice {index}: {fault}")
    if not volume.slices.size:
        raise UnreadableFile(f"{path.name} has shape {volume.shape}: it holds no voxel")
    left_out = tuple(Excluded(place.name, file.name, why) for file, why in volume.left_out)
    return Scan(place.name, place.kind, volume.slices, volume, left_out=left_out)


def _pictured(place: Place, paths: Sequence[Path]) -> Scan:
    decoded = [read_picture(path) for path in paths]
    for path, slice_ in zip(paths, decoded, strict=True):
        if slice_.shape != decoded[0].shape:
            raise UnreadableFile(
                f"{path.name} has {slice_.shape} pixels and {paths[0].name} {decoded[0].shape}; "
                "put slices of different sizes in folders of their own"
            )
    others = [file for file in place.files() if file not in paths]
    left_out = tuple(Excluded(place.name, file.name, "is no picture") for file in others)
    return Scan(place.name, "pictures", np.stack(decoded), None, tuple(paths), left_out)
