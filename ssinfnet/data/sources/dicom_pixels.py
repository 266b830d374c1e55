"""Decode the pixels of one DICOM slice as Hounsfield units, whatever its transfer syntax."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data.sources.files import UnreadableFile
from ssinfnet.data.sources.kinds import is_bare_dicom, readable
from ssinfnet.data.sources.multiframe import CT_IMAGE, SYNTAXES

__all__ = ["slice_pixels"]

MOST_FILLED = 2**20  # bytes of zeros after the pixels
PADDING_HU = -1024  # air, as scanners fill what lies outside their circle


def slice_pixels(path: Path, header: Any, shape: tuple[int, int]) -> NDArray[np.generic]:
    """Return (rows, columns) in HU; `shape` is what pydicom finds, as SimpleITK should."""
    try:
        decoded = _decoded(path, header)
    except RuntimeError as error:
        raise UnreadableFile(
            f"{path} has pixels that cannot be decoded (transfer syntax {_syntax(header)})"
        ) from error
    if decoded.shape != (1, *shape):
        raise UnreadableFile(
            f"{path} holds {decoded.shape} pixels; expected one grey slice of {shape}"
        )
    return _without_padding(decoded[0], header)


def _decoded(path: Path, header: Any) -> NDArray[np.generic]:
    """Return what SimpleITK decodes of a file, without the zeros that fill it up, if need be."""
    try:
        with _decodable(path, header) as file:
            return _by_simpleitk(file)
    except RuntimeError:
        if not (end := _padded_from(path, header)):
            raise
    with tempfile.TemporaryDirectory() as folder:
        cut = Path(folder) / "slice.dcm"
        cut.write_bytes(path.read_bytes()[:end])
        with _decodable(cut, header) as file:
            return _by_simpleitk(file)


def _by_simpleitk(file: Path) -> NDArray[np.generic]:
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(file))
    return SimpleITK.GetArrayFromImage(reader.Execute())


def _syntax(header: Any) -> str:
    uid = header.file_meta.get("TransferSyntaxUID", "none")
    return str(getattr(uid, "name", uid))


@contextmanager
def _decodable(path: Path, header: Any) -> Iterator[Path]:
    """Give a file that SimpleITK reads as Hounsfield units: the slice's own, or a copy of it.

    SimpleITK inverts MONOCHROME1, which says how to show the numbers and not what they mean, and
    does not take files without preamble, nor all names.
    """
    inverted = header.get("PhotometricInterpretation") == "MONOCHROME1"
    is_bare = is_bare_dicom(path)
    if not (inverted or is_bare or readable(str(path)) != str(path)):
        yield path
        return
    import pydicom
    from pydicom.uid import UID

    try:
        data = pydicom.dcmread(path, force=is_bare)
        data.PhotometricInterpretation = "MONOCHROME2"
        if "TransferSyntaxUID" not in data.file_meta:
            implicit, little = data.original_encoding
            data.file_meta.TransferSyntaxUID = UID(SYNTAXES[bool(implicit), bool(little)])
        # What old archives left out
        data.file_meta.MediaStorageSOPClassUID = UID(data.get("SOPClassUID") or CT_IMAGE)
        data.file_meta.MediaStorageSOPInstanceUID = UID(data.get("SOPInstanceUID") or "2.25.1")
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "slice.dcm"
            data.save_as(copy, enforce_file_format=True)
            yield copy
    except UnreadableFile:
        raise
    except Exception as error:  # a broken file fails in pydicom in many ways
        raise UnreadableFile(f"{path} cannot be read whole ({error})") from error


def _padded_from(path: Path, header: Any) -> int:
    """Return where the zeros begin that fill a file up after its pixels; 0 if there are none.

    Archives that store whole blocks add them, and SimpleITK does not decode such a file.
    """
    pixels = header["PixelData"]
    if pixels.is_undefined_length or not pixels.file_tell:
        return 0
    end = pixels.file_tell + len(pixels.value)
    with path.open("rb") as stream:
        stream.seek(end)
        after = stream.read(MOST_FILLED + 1)
    return end if after and len(after) <= MOST_FILLED and not after.strip(b"\0") else 0


def _without_padding(hu: NDArray[np.generic], header: Any) -> NDArray[np.generic]:
    """Return a slice whose declared padding below air is air; other padding is left as it is."""
    declared = header.get("PixelPaddingValue")
    if declared is None:
        return hu
    limit = header.get("PixelPaddingRangeLimit", declared)
    slope, intercept = float(header.RescaleSlope), float(header.RescaleIntercept)
    # Some headers declare a signed number as an unsigned one.
    wraps = 2**16 if header.get("PixelRepresentation") == 1 else 0
    try:
        stored = [one - wraps * (one >= 2**15) for one in (int(declared), int(limit))]
    except (TypeError, ValueError):  # a value that is no number declares nothing
        return hu
    ends = sorted(one * slope + intercept for one in stored)
    padding = (hu >= ends[0]) & (hu <= ends[1]) & (hu < PADDING_HU)
    return np.where(padding, np.asarray(PADDING_HU, hu.dtype), hu) if padding.any() else hu
