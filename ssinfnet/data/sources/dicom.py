"""Read one DICOM series of CT, slices or frames: headers by pydicom, pixels by SimpleITK.

SimpleITK decodes every transfer syntax that scanners and archives use, JPEG Lossless, JPEG-LS,
JPEG 2000 and RLE among them, and applies each slice's own rescale slope and intercept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data.sources.dicom_pixels import slice_pixels
from ssinfnet.data.sources.files import UnreadableFile, visible
from ssinfnet.data.sources.kinds import DICOM, is_bare_dicom, kind_of
from ssinfnet.data.sources.multiframe import as_slices, frame_headers, is_multiframe
from ssinfnet.data.sources.slice_line import OFF_LINE, evened, line, off_line
from ssinfnet.storage import untrusted

__all__ = ["LOOKALIKE", "NO_DICOM", "Header", "Series", "claims_ct", "is_broken_slice",
           "read_header", "read_series"]  # fmt: skip

NUMBERS = {"Rows": 1, "Columns": 1, "PixelSpacing": 2, "ImageOrientationPatient": 6,
           "ImagePositionPatient": 3, "RescaleSlope": 1, "RescaleIntercept": 1}  # fmt: skip
NEEDED = (*NUMBERS, "SeriesInstanceUID")
LOCALISER = "is a localiser"
NO_DICOM = "is no DICOM file"
LOOKALIKE = "is no DICOM file, though it has a slice's name"
SCREEN = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture, of one frame or several
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
        Of the frame of reference, "" if the headers do not say.
    evened : str
        What was done to slices that are not evenly spaced, "" if nothing; there are no files then.
    """

    voxels: NDArray[np.generic]
    affine: NDArray[np.float64]
    left_out: tuple[tuple[Path, str], ...]
    files: tuple[Path, ...]
    thickness_known: bool
    frame_uid: str = ""
    evened: str = ""


def read_series(folder: Path, files: Sequence[Path] | None = None, *, even: bool = False) -> Series:
    """Read the one CT series in a folder, or the slice in a file.

    Localisers, other modalities, files without pixels and repeated slices are left out and listed.

    Parameters
    ----------
    folder : Path
        Of the series, or a file.
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
    read = [read_header(path) for path in sorted(path for path in files if path.is_file())]
    slices = [header for header in read if not header.reason]
    headers = [(header.path, header.data) for header in slices]
    left_out = [(header.path, LOOKALIKE if _is_lookalike(header, slices) else header.reason)
                for header in read if header.reason]  # fmt: skip
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
    across = np.array(headers[0][1].ImageOrientationPatient, dtype=float).reshape(2, 3)
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
    )


def _read_frames(
    folder: Path,
    frames: Mapping[Path, tuple[Any, Sequence[Any]]],
    others: Sequence[Path],
    even: bool,
) -> Series:
    """Read a series that lies in enhanced files, and perhaps in classic ones too."""
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


class Header(NamedTuple):
    """The header of a file, and why the file is no slice of CT, "" if it is one."""

    path: Path
    data: Any
    reason: str
    frames: tuple[Any, ...] = ()  # of an enhanced file: the headers of its slices

    def text(self, name: str) -> str:
        """Return a value as text; "" if it is absent or broken."""
        try:
            return str(self.data.get(name) or "")
        except Exception:  # a broken value fails in pydicom in many ways
            return ""

    @property
    def series(self) -> tuple[str, ...]:
        """The identifiers that all slices of one series have in common."""
        names = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
        return tuple(self.text(name) for name in names)

    @property
    def positions(self) -> NDArray[np.float64]:
        """Where the first pixel of each slice lies, (n, 3), in mm to the left, back and head."""
        slices = self.frames or (self.data,)
        return np.array([one.ImagePositionPatient for one in slices], dtype=float)

    @property
    def normal(self) -> NDArray[np.float64]:
        """The direction across the slices, of length 1, on the axes of `positions`."""
        across = self._first.ImageOrientationPatient
        return np.cross(*np.array(across, dtype=float).reshape(2, 3))

    @property
    def thickness_mm(self) -> float:
        """How thick a slice is; NaN if the header does not say."""
        return float(self._first.get("SliceThickness") or "nan")

    @property
    def _first(self) -> Any:
        return self.frames[0] if self.frames else self.data

    @property
    def number(self) -> str:
        """The number of the series, "" if the header has none."""
        return self.text("SeriesNumber")


def read_header(path: Path) -> Header:
    """Read a file's header, and say why it is no slice of CT; whatever is wrong is a reason."""
    import pydicom

    data = None
    try:
        untrusted.check_dicom(path)
        # Pixels stay in the file; that they are there can be seen all the same.
        data = pydicom.dcmread(path, defer_size=1024, force=is_bare_dicom(path))
        if is_multiframe(data):
            return _read_enhanced_header(path, data)
        untrusted.refuse_large_slice_file(path)
        return Header(path, data, _header_fault(path, data))
    except pydicom.errors.InvalidDicomError:
        return Header(path, None, NO_DICOM)
    except Exception as error:  # a broken header fails in pydicom in many ways
        return Header(path, data, f"has a header that cannot be read ({error})")


def _read_enhanced_header(path: Path, data: Any) -> Header:
    frames = frame_headers(path, data)
    for number, frame in enumerate(frames, start=1):
        if fault := _frame_fault(path, frame) if "PixelData" in data else "has no pixels":
            return Header(path, data, f"frame {number} {fault}")
    return Header(path, data, "", tuple(frames))


def _header_fault(path: Path, header: Any) -> str:
    if "PixelData" not in header:
        return f"has no pixels (modality {header.get('Modality')})"
    return _frame_fault(path, header)


def _frame_fault(path: Path, header: Any) -> str:
    modality = header.get("Modality")
    kinds = [str(kind).upper() for kind in header.get("ImageType") or ()]
    if modality != "CT":
        return f"has modality {modality}; expected CT"
    if "LOCALIZER" in kinds:
        return LOCALISER
    missing = [name for name in NEEDED if header.get(name) is None]
    if missing:
        return f"lacks {', '.join(missing)}"
    optional = {"SliceThickness": 1} if header.get("SliceThickness") else {}
    for name, count in (NUMBERS | optional).items():
        numbers = np.array(header[name].value, dtype=float)
        if numbers.size != count or not np.isfinite(numbers).all():
            return f"has {name} {header[name].value}; expected {count} numbers"
    frames = int(header.get("NumberOfFrames") or 1)
    untrusted.refuse_large_slice(path, int(header.Rows), int(header.Columns), frames)
    return ""


def _refuse_damaged(read: Sequence[Header], slices: Sequence[Header]) -> None:
    """Refuse a series with a broken slice: at either end of it no gap would tell (D-41)."""
    for header in read:
        if is_broken_slice(header, slices):
            raise UnreadableFile(
                f"{header.path} {header.reason}: it seems to be a broken slice of the series, "
                "which would be shorter without it; mend it, or take it away if it is none"
            )


def is_broken_slice(header: Header, slices: Sequence[Header]) -> bool:
    """Say whether a file that is no slice of CT seems to be a broken one of a series.

    It is if it is a CT image of that series, no localiser, or if its header ends before it says
    what it is and its name, its first letters or its emptiness are those of a slice.
    """
    if not header.reason or header.reason == LOCALISER:
        return False
    if modality := header.text("Modality"):
        own = {one.text("SeriesInstanceUID") for one in slices}
        return modality == "CT" and header.text("SeriesInstanceUID") in {"", *own}
    if kind_of(header.path) == DICOM:
        return True
    with header.path.open("rb") as stream:
        is_empty = not stream.read(1024).strip(b"\0")
    return is_empty and _ending(header.path) in {_ending(one.path) for one in slices}


def claims_ct(header: Header) -> bool:
    """Say whether a file that is no slice of CT was meant as one: it is refused, not passed over.

    Localisers, and pictures of a screen such as a dose sheet, have modality CT and are no slices.
    """
    if not header.reason or header.reason == LOCALISER:
        return False
    is_screen = header.text("SOPClassUID").startswith(SCREEN)
    return header.text("Modality") in ("", "CT") and not is_screen


def _is_lookalike(header: Header, slices: Sequence[Header]) -> bool:
    """Say whether a file that is no DICOM has a slice's name, but for its numbers."""
    return header.reason == NO_DICOM and _pattern(header.path) in {
        _pattern(one.path) for one in slices
    }


def _pattern(path: Path) -> str:
    return re.sub("[0-9a-fA-F]+", "#", path.name)


def _ending(path: Path) -> str:
    """Return the ending of a file's name; digits are none, as in a UID."""
    return "" if path.suffix[1:].isdigit() else path.suffix.lower()


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
            if ours.shape != theirs.shape or not np.allclose(ours, theirs, atol=1e-4):
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
