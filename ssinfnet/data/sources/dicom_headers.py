"""Read the headers of DICOM files, and say which are slices of CT, and why the others are none."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data.sources.kinds import DICOM, is_bare_dicom, kind_of
from ssinfnet.data.sources.multiframe import UNPACKED, frame_headers, is_multiframe
from ssinfnet.storage import untrusted

__all__ = ["LOOKALIKE", "NO_DICOM", "UNOPENED", "Header", "claims_ct", "claims_volume",
           "directions", "is_broken_slice", "is_lookalike", "read_header", "unopened"]  # fmt: skip

NUMBERS = {"Rows": 1, "Columns": 1, "PixelSpacing": 2, "ImageOrientationPatient": 6,
           "ImagePositionPatient": 3, "RescaleSlope": 1, "RescaleIntercept": 1}  # fmt: skip
NEEDED = (*NUMBERS, "SeriesInstanceUID")
LOCALISER = "is a localiser"
NO_DICOM = "is no DICOM file"
UNOPENED = "cannot be opened"
LOOKALIKE = "is no DICOM file, though it has a slice's name"
SCREEN = "1.2.840.10008.5.1.4.1.1.7"  # Secondary Capture, of one frame or several
DIRECTION = 0.02  # by which a direction's squared length, and a cosine, may be off


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
        return np.cross(*directions(self._first))

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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of dates and ages that are none, which nobody reads
            data = pydicom.dcmread(path, defer_size=1024, force=is_bare_dicom(path))
        if is_multiframe(data):
            return _read_enhanced_header(path, data)
        untrusted.refuse_large_slice_file(path)
        return Header(path, data, _header_fault(path, data))
    except pydicom.errors.InvalidDicomError:
        return Header(path, None, NO_DICOM)
    except OSError as error:
        return Header(path, data, unopened(path) or f"{UNOPENED} ({error.strerror})")
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
    return _frame_fault(path, header) or _pixels_fault(header)


def _pixels_fault(header: Any) -> str:
    """Say whether an element of plain pixels is too short: what is missing would be made up."""
    syntax = header.file_meta.get("TransferSyntaxUID", header.original_encoding)
    raw = header.get_item("PixelData")  # large ones are not read by this
    stored = raw.length if hasattr(raw, "length") else len(raw.value)
    samples, bits = (int(header.get(name) or 1) for name in ("SamplesPerPixel", "BitsAllocated"))
    need = int(header.Rows) * int(header.Columns) * samples * bits // 8
    if syntax in UNPACKED and stored < need:
        return f"has {stored} bytes of pixels; {header.Rows} × {header.Columns} need {need}"
    return ""


def _frame_fault(path: Path, header: Any) -> str:
    modality = header.get("Modality")
    kinds = [str(kind).upper() for kind in header.get("ImageType") or ()]
    if str(modality).upper() != "CT":  # some exports write it small
        return f"has modality {modality}; expected CT"
    if "LOCALIZER" in kinds:
        return LOCALISER
    missing = [name for name in NEEDED if header.get(name) is None]
    if missing:
        return f"lacks {', '.join(missing)}"
    optional = {"SliceThickness": 1} if header.get("SliceThickness") else {}
    for name, count in (NUMBERS | optional).items():
        try:
            numbers = np.array(header[name].value, dtype=float)
        except ValueError:  # such as a comma for a point
            numbers = np.array([])
        if numbers.size != count or not np.isfinite(numbers).all():
            plural = "s" if count > 1 else ""
            return f"has {name} {header[name].value}; expected {count} number{plural}"
    if fault := _geometry_fault(header):
        return fault
    frames = int(header.get("NumberOfFrames") or 1)
    untrusted.refuse_large_slice(path, int(header.Rows), int(header.Columns), frames)
    return ""


def _geometry_fault(header: Any) -> str:
    """Say which number is impossible: lengths of 0 or below, directions that are none."""
    if min(map(float, header.PixelSpacing)) <= 0:
        return f"has PixelSpacing {header.PixelSpacing}; expected two lengths above 0"
    if float(header.RescaleSlope) == 0:
        return "has RescaleSlope 0, so that all its pixels are alike"
    across = np.array(header.ImageOrientationPatient, dtype=float).reshape(2, 3)
    if np.abs(across @ across.T - np.eye(2)).max() > DIRECTION:
        return (
            f"has ImageOrientationPatient {header.ImageOrientationPatient}; expected two "
            "directions of length 1 at right angles"
        )
    return ""


def directions(header: Any) -> NDArray[np.float64]:
    """Return along which directions rows and columns run, (2, 3), each of length 1."""
    across = np.array(header.ImageOrientationPatient, dtype=float).reshape(2, 3)
    return across / np.linalg.norm(across, axis=1, keepdims=True)


def is_broken_slice(header: Header, slices: Sequence[Header]) -> bool:
    """Say whether a file that is no slice of CT seems to be a broken one of a series.

    It is if it is a CT image of that series, no localiser, or if its header ends before it says
    what it is and its name, its first letters or its emptiness are those of a slice.
    """
    if not header.reason or header.reason == LOCALISER:
        return False
    if header.reason.startswith(UNOPENED):
        return _pattern(header.path) in {_pattern(one.path) for one in slices}
    if modality := header.text("Modality"):
        if _is_screen(header) and not any(map(_is_screen, slices)):
            return False  # such as a dose sheet in colour, among slices of CT's own class
        uids = {one.text("SeriesInstanceUID") for one in slices}
        return modality == "CT" and header.text("SeriesInstanceUID") in {"", *uids}
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
    return header.text("Modality").upper() in ("", "CT") and not _is_screen(header)


def _is_screen(header: Header) -> bool:
    """Say whether a file is a picture of a screen, a Secondary Capture."""
    return header.text("SOPClassUID").startswith(SCREEN)


def claims_volume(header: Header) -> bool:
    """Say whether a file that cannot be read was meant as a volume of its own, an enhanced CT."""
    return bool(header.reason) and header.data is not None and is_multiframe(header.data)


def is_lookalike(header: Header, slices: Sequence[Header]) -> bool:
    """Say whether a file that is no DICOM has a slice's name, but for its numbers."""
    return header.reason == NO_DICOM and _pattern(header.path) in {
        _pattern(one.path) for one in slices
    }


def _pattern(path: Path) -> str:
    plain = re.sub(r"\.(gz|zip|bz2|xz)$", "", path.name.lower())
    return re.sub("[0-9a-f]+", "#", plain)


def unopened(path: Path) -> str:
    """Say why a file cannot be opened, "" if it can."""
    try:
        path.open("rb").close()
    except OSError as error:
        dangling = path.is_symlink() and not path.exists()
        return f"{UNOPENED} ({'it is a link to nothing' if dangling else error.strerror})"
    return ""


def _ending(path: Path) -> str:
    """Return the ending of a file's name; digits are none, as in a UID."""
    return "" if path.suffix[1:].isdigit() else path.suffix.lower()
