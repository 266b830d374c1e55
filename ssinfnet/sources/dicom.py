"""Read one DICOM series of CT slices: headers by pydicom, pixels by SimpleITK.

SimpleITK decodes every transfer syntax that scanners and archives use, JPEG Lossless, JPEG-LS,
JPEG 2000 and RLE among them, and applies each slice's own rescale slope and intercept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssinfnet import decoding
from ssinfnet.sources.files import UnreadableFile, visible

__all__ = ["Series", "read_series"]

NUMBERS = {"Rows": 1, "Columns": 1, "PixelSpacing": 2, "ImageOrientationPatient": 6,
           "ImagePositionPatient": 3, "RescaleSlope": 1, "RescaleIntercept": 1}  # fmt: skip
NEEDED = (*NUMBERS, "SeriesInstanceUID")
SAME_MM = 0.01  # positions nearer than this are one position
STEP_TOLERANCE = 0.1  # of the distance of neighbouring slices


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
    """

    voxels: NDArray[np.generic]
    affine: NDArray[np.float64]
    left_out: tuple[tuple[Path, str], ...]
    files: tuple[Path, ...]
    thickness_known: bool


def read_series(folder: Path, files: Sequence[Path] | None = None) -> Series:
    """Read the one CT series in a folder, or the slice in a file.

    Localisers, other modalities, files without pixels and repeated slices are left out and listed.

    Parameters
    ----------
    folder : Path
        Of the series, or a file.
    files : sequence of Path or None
        The files of the folder to look at; all visible ones if None.

    Raises
    ------
    UnreadableFile
        If there is no CT slice, more than one series, a slice that does not belong, a missing
        slice, or one whose pixels cannot be decoded.
    """
    left_out: list[tuple[Path, str]] = []
    headers: list[tuple[Path, Any]] = []
    if files is None:
        files = visible(folder) if folder.is_dir() else [folder]
    for path in sorted(path for path in files if path.is_file()):
        header, reason = _header(path)
        if reason:
            left_out.append((path, reason))
        else:
            headers.append((path, header))
    if not headers:
        reasons = "; ".join(f"{path.name}: {reason}" for path, reason in left_out[:3])
        raise UnreadableFile(f"{folder} holds no CT slice ({reasons or 'it is empty'})")
    _refuse_mixed(folder, headers)
    first = headers[0][1]
    decoding.refuse_large_volume(folder, (len(headers), first.Rows, first.Columns), 4)
    positions = np.array([header.ImagePositionPatient for _, header in headers], dtype=float)
    across = np.array(headers[0][1].ImageOrientationPatient, dtype=float).reshape(2, 3)
    height = positions @ np.cross(*across)
    order = np.argsort(height, kind="stable").tolist()
    pixels: list[NDArray[np.generic]] = []
    kept: list[int] = []
    for index in order:
        path = headers[index][0]
        decoded = _pixels(path, (first.Rows, first.Columns))
        if kept and height[index] - height[kept[-1]] < SAME_MM:
            other = headers[kept[-1]][0].name
            if not np.array_equal(decoded, pixels[-1]):
                raise UnreadableFile(f"{path} lies where {other} does, with other pixels")
            left_out.append((path, f"repeats {other}"))
            continue
        pixels.append(decoded)
        kept.append(index)
    step = _step(folder, [headers[index] for index in kept], positions[kept])
    return Series(
        voxels=np.stack(pixels).transpose(2, 1, 0),
        affine=_affine(headers[0][1], across, positions[kept[0]], step),
        left_out=tuple(left_out),
        files=tuple(headers[index][0] for index in kept),
        thickness_known=step is not None or bool(headers[0][1].get("SliceThickness")),
    )


def _header(path: Path) -> tuple[Any, str | None]:
    """Return a file's header, or why it is no slice of CT."""
    import pydicom

    try:
        decoding.check_dicom(path)
        # Pixels stay in the file; that they are there can be seen all the same.
        header = pydicom.dcmread(path, defer_size=1024)
        modality = header.get("Modality")
        kinds = [str(kind).upper() for kind in header.get("ImageType") or ()]
        if "PixelData" not in header:
            return None, f"has no pixels (modality {modality})"
        if modality != "CT":
            return None, f"has modality {modality}; expected CT"
        if "LOCALIZER" in kinds:
            return None, "is a localiser"
        missing = [name for name in NEEDED if header.get(name) is None]
        if missing:
            return None, f"lacks {', '.join(missing)}"
        optional = {"SliceThickness": 1} if header.get("SliceThickness") else {}
        for name, count in (NUMBERS | optional).items():
            numbers = np.array(header[name].value, dtype=float)
            if numbers.size != count or not np.isfinite(numbers).all():
                return None, f"has {name} {header[name].value}; expected {count} numbers"
        frames = int(header.get("NumberOfFrames") or 1)
        decoding.refuse_large_slice(path, int(header.Rows), int(header.Columns), frames)
    except pydicom.errors.InvalidDicomError:
        return None, "is no DICOM file"
    except Exception as error:  # a broken header fails in pydicom in many ways
        return None, f"has a header that cannot be read ({error})"
    return header, None


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


def _pixels(path: Path, shape: tuple[int, int]) -> NDArray[np.generic]:
    """Return (rows, columns) in HU; `shape` is what pydicom finds, as SimpleITK should."""
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        decoded = SimpleITK.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        last = str(error).strip().splitlines()[-1]
        raise UnreadableFile(f"{path} has pixels that cannot be decoded ({last})") from error
    if decoded.shape != (1, *shape):
        raise UnreadableFile(
            f"{path} holds {decoded.shape} pixels; expected one grey slice of {shape}"
        )
    return decoded[0]


def _step(
    folder: Path, headers: Sequence[tuple[Path, Any]], positions: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return the way from one slice to the next in mm, None for a single slice."""
    if len(positions) < 2:
        return None
    steps = np.diff(positions, axis=0)
    usual = np.median(steps, axis=0)
    wrong = np.linalg.norm(steps - usual, axis=1) > STEP_TOLERANCE * np.linalg.norm(usual)
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        names = headers[at][0].name, headers[at + 1][0].name
        raise UnreadableFile(
            f"{folder} misses a slice between {names[0]} and {names[1]}: they lie "
            f"{np.linalg.norm(steps[at]):.2f} mm apart, others {np.linalg.norm(usual):.2f} mm"
        )
    return (positions[-1] - positions[0]) / (len(positions) - 1)


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
