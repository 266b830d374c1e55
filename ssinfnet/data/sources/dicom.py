"""Read one DICOM series of CT, slices or frames: headers by pydicom, pixels by SimpleITK.

SimpleITK decodes every transfer syntax that scanners and archives use, JPEG Lossless, JPEG-LS,
JPEG 2000 and RLE among them, and applies each slice's own rescale slope and intercept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data.sources.dicom_headers import (
    LOOKALIKE,
    Header,
    directions,
    is_broken_slice,
    is_lookalike,
    read_header,
)
from ssinfnet.data.sources.dicom_pixels import slice_pixels
from ssinfnet.data.sources.files import UnreadableFile, visible
from ssinfnet.data.sources.multiframe import as_slices
from ssinfnet.data.sources.slice_line import OFF_LINE, evened, line, off_line
from ssinfnet.storage import untrusted

__all__ = ["Series", "read_series"]

PROJECTIONS = {"MIP", "MINIP", "MAX_IP", "MIN_IP", "PROJECTION IMAGE"}
IN_HU = {"HU", "US", ""}  # or not specified
MADE_ALIKE = ("FrameOfReferenceUID", "ConvolutionKernel", "SliceThickness")
DIRECTION_OFF = 5e-4  # of cosines; 0.2 mm at the far end of a slice of 400 mm
ACROSS = 0.1  # cosine of normals below which slices stand at right angles to each other
MOST_SCOUTS = 2  # from the front and from the side
SCOUT = "is a scout: of another plane and size than the slices"
SAME_MM = 0.01  # positions nearer than this are one position


@dataclass(frozen=True)
class Series:
    """The voxels of a series.

    Attributes
    ----------
    voxels : (columns, rows, n) array
        In HU.
    affine : (4, 4) float array
        Voxel indices → mm to the patient's right, front and head, as in NIfTI.
    left_out : tuple of (Path, str)
        Files in the folder that are no slice of the series, and why.
    files : tuple of Path
        One a slice, in the order of the voxels' third axis.
    thickness_known : bool
        False for a slice that stands alone and does not say how thick it is.
    frame_uid : str
        UID of the frame of reference, "" if the headers do not say.
    evened : str
        What was done to slices that are not evenly spaced, "" if nothing; there are no files then.
    doubt : str
        In what the slices differ, "" if in nothing that tells reconstructions apart.
    """

    voxels: NDArray[np.generic]
    affine: NDArray[np.float64]
    left_out: tuple[tuple[Path, str], ...]
    files: tuple[Path, ...]
    thickness_known: bool
    frame_uid: str = ""
    evened: str = ""
    doubt: str = ""


def read_series(folder: Path, files: Sequence[Path] | None = None, *, even: bool = False) -> Series:
    """Read the one CT series in a folder, or the slice in a file.

    Localisers, other modalities, files without pixels and repeated slices are left out and listed.

    Parameters
    ----------
    folder : Path
        Folder of the series, or a single file of it.
    files : sequence of Path or None
        The files of the folder to look at; all visible ones if None.
    even : bool
        Interpolate between slices that are not evenly spaced; they are refused otherwise.

    Raises
    ------
    UnreadableFile
        If there is no CT slice, more than one series, a slice that does not belong, a missing
        slice, or one whose pixels cannot be decoded.
    """
    if files is None:
        files = visible(folder) if folder.is_dir() else [folder]
    read = [read_header(path) for path in sorted(files) if path.is_file() or path.is_symlink()]
    slices, scouts = _without_scouts([header for header in read if not header.reason])
    headers = [(header.path, header.data) for header in slices]
    left_out = [
        (header.path, LOOKALIKE if is_lookalike(header, slices) else header.reason)
        for header in read
        if header.reason
    ]
    left_out += [(scout.path, SCOUT) for scout in scouts]
    if not headers:
        reasons = "; ".join(f"{path.name}: {reason}" for path, reason in left_out[:3])
        raise UnreadableFile(f"{folder} holds no CT slice ({reasons or 'it is empty'})")
    _refuse_damaged(read, slices)
    if frames := {one.path: (one.data, one.frames) for one in read if one.frames}:
        others = [one.path for one in read if not one.frames]
        return _read_frames(folder, frames, others, even)
    _refuse_mixed(folder, headers)
    first = headers[0][1]
    untrusted.refuse_large_volume(folder, (len(headers), first.Rows, first.Columns), 4)
    positions = np.array([header.ImagePositionPatient for _, header in headers], dtype=float)
    across = directions(first)
    height = positions @ np.cross(*across)
    order = np.argsort(height, kind="stable").tolist()
    pixels: list[NDArray[np.generic]] = []
    kept: list[int] = []
    for index in order:
        path, header = headers[index]
        decoded = slice_pixels(path, header, (first.Rows, first.Columns))
        if kept and height[index] - height[kept[-1]] < SAME_MM:
            other = headers[kept[-1]][0].name
            if not np.array_equal(decoded, pixels[-1]):
                raise UnreadableFile(f"{path} lies where {other} does, with other pixels")
            left_out.append((path, f"repeats {other}"))
            continue
        pixels.append(decoded)
        kept.append(index)
    names, places = [headers[index][0].name for index in kept], positions[kept]
    stack, said = np.stack(pixels), ""
    if even and off_line(places) > OFF_LINE:
        stack, places, said = evened(folder, names, places, stack)
    origin, step = line(folder, names, places)
    return Series(
        voxels=stack.transpose(2, 1, 0),
        affine=_affine(headers[0][1], across, origin, step),
        left_out=tuple(left_out),
        files=() if said else tuple(headers[index][0] for index in kept),
        frame_uid=str(first.get("FrameOfReferenceUID") or ""),
        thickness_known=step is not None or bool(headers[0][1].get("SliceThickness")),
        evened=said,
        doubt=_doubt([headers[index][1] for index in kept]),
    )


def _read_frames(
    folder: Path,
    frames: Mapping[Path, tuple[Any, Sequence[Any]]],
    others: Sequence[Path],
    even: bool,
) -> Series:
    """Read a series that lies in enhanced files, and perhaps in classic ones too."""
    _refuse_missing_parts(folder, [data for data, _ in frames.values()])
    with as_slices(frames) as slices:
        homes = {slice_.parent: path for slice_, path in slices.items()}
        try:
            series = read_series(folder, [*slices, *others], even=even)
        except UnreadableFile as error:
            reason = str(error)
            for home, path in homes.items():
                reason = reason.replace(f"{home}/", f"{path.name}, ")
            raise UnreadableFile(reason) from error
    if repeated := [path.name for path, _ in series.left_out if path in slices]:
        raise UnreadableFile(f"{folder} holds frames twice: {', '.join(sorted(repeated)[:3])}")
    return replace(series, files=tuple(slices.get(file, file) for file in series.files))


def _refuse_missing_parts(folder: Path, files: Sequence[Any]) -> None:
    """Refuse a volume that is divided into files of which some are not there."""
    parts: dict[str, list[Any]] = {}
    for data in files:
        if data.get("ConcatenationUID"):
            parts.setdefault(str(data.ConcatenationUID), []).append(data)
    for its in parts.values():
        total = int(its[0].get("InConcatenationTotalNumber") or 0)
        if total > len(its):
            raise UnreadableFile(f"{folder} holds {len(its)} of the {total} files of a volume")


def _doubt(headers: Sequence[Any]) -> str:
    """Say in what the slices of a series differ, as two reconstructions do that lie as one."""
    for name in MADE_ALIKE:
        values = list(dict.fromkeys(str(header.get(name) or "") for header in headers))
        if len(values) > 1:
            return (
                f"its slices differ in {name} ({', '.join(values[:3])}): two reconstructions "
                "may lie as one series"
            )
    kinds = {str(kind).upper() for header in headers for kind in header.get("ImageType") or ()}
    if projected := sorted(kinds & PROJECTIONS):
        return f"its slices are projections of thinner ones ({projected[0]}), no plain CT"
    units = {str(header.get("RescaleType") or "").upper() for header in headers}
    if others := sorted(units - IN_HU):
        return f"its headers call the intensities {others[0]} (RescaleType), no Hounsfield units"
    named = max(int(header.get("ImagesInAcquisition") or 0) for header in headers)
    if named > len(headers):
        return f"its headers name {named} images, of which {len(headers)} are here"
    return ""


def _refuse_damaged(read: Sequence[Header], slices: Sequence[Header]) -> None:
    """Refuse a series with a broken slice: at either end of it no gap would tell (D-41)."""
    for header in read:
        if is_broken_slice(header, slices):
            raise UnreadableFile(
                f"{header.path} {header.reason}: it seems to be a broken slice of the series, "
                "which would be shorter without it; mend it, or take it away if it is none"
            )


def _without_scouts(slices: Sequence[Header]) -> tuple[list[Header], list[Header]]:
    """Return the slices of a series, and scouts of another plane and size that have its UID.

    Some scanners save the scout so, and not all call it a localiser. One of the slices' own size
    may be a slice with a wrong direction, which `_refuse_mixed` refuses.
    """
    own = [one for one in slices if not one.frames]
    sizes = Counter((one.data.Rows, one.data.Columns) for one in own)
    if len(sizes) < 2:
        return list(slices), []
    usual, number = sizes.most_common(1)[0]
    others = [one for one in own if (one.data.Rows, one.data.Columns) != usual]
    normals = [one.normal for one in own if one not in others]
    scouts = [one for one in others if max(abs(one.normal @ way) for way in normals) < ACROSS]
    if number <= len(others) or not len(scouts) == len(others) <= MOST_SCOUTS:
        return list(slices), []
    return [one for one in slices if one not in scouts], scouts


def _refuse_mixed(folder: Path, headers: Sequence[tuple[Path, Any]]) -> None:
    series = {header.SeriesInstanceUID for _, header in headers}
    if len(series) > 1:
        raise UnreadableFile(
            f"{folder} holds {len(series)} series; put the slices of each in a folder of its own"
        )
    first_path, first = headers[0]
    for path, header in headers[1:]:
        for name in ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient"):
            ours, theirs = (np.array(h[name].value, dtype=float) for h in (header, first))
            off = DIRECTION_OFF if name == "ImageOrientationPatient" else 1e-4
            if ours.shape != theirs.shape or not np.allclose(ours, theirs, rtol=1e-5, atol=off):
                raise UnreadableFile(
                    f"{path} has {name} {header[name].value}, {first_path.name} "
                    f"{first[name].value}: they are not slices of one volume"
                )


def _affine(
    header: Any,
    across: NDArray[np.float64],
    origin: NDArray[np.float64],
    step: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    row_mm, column_mm = (float(size) for size in header.PixelSpacing)
    if step is None:
        step = np.cross(*across) * float(header.get("SliceThickness") or 1)
    affine = np.eye(4)
    affine[:3, 0] = across[0] * column_mm
    affine[:3, 1] = across[1] * row_mm
    affine[:3, 2] = step
    affine[:3, 3] = origin
    # DICOM's axes run to the patient's left and back, NIfTI's to the right and front.
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
