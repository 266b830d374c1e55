"""Read masks from DICOM-SEG and RTSTRUCT onto the grid of the image they were drawn on.

Each frame or contour is put where it lies in the patient. A DICOM-SEG leaves out empty frames, and
a contour is a line between pixels: neither is a volume by itself.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data.sources.files import UnreadableFile
from ssinfnet.data.sources.volume_files import SAME_PLACE, Volume
from ssinfnet.storage import untrusted

__all__ = ["MODALITIES", "modality_of", "read_parts"]

MODALITIES = ("SEG", "RTSTRUCT")
MOST_BYTES = 2**28  # of a file; contours of a whole chest take a few million
MOST_POINTS = 10**7
SAME_SIZE = ON_LINE = 0.01  # of a pixel
FEWEST_GAPS, MOST_GAPS = 2, 0.5  # between slices with lesion; share of them that are alike
TOUCHING = 2  # pixels
CLOSED = {"CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "INTERPOLATED_PLANAR"}
TO_RAS = np.array([-1.0, -1.0, 1.0])  # DICOM's axes run to the patient's left and back


def modality_of(path: Path) -> str:
    """Return SEG or RTSTRUCT if a DICOM file is one of them, else ""."""
    import pydicom

    try:
        untrusted.check_dicom(path)
        header = pydicom.dcmread(path, specific_tags=["Modality"], stop_before_pixels=True)
    except Exception:  # whatever is wrong with it, it is no mask
        return ""
    modality = str(header.get("Modality", ""))
    return modality if modality in MODALITIES else ""


def read_parts(path: Path, image: Volume) -> dict[str, NDArray[np.bool_]]:
    """Return the segments of a DICOM-SEG, or the regions of an RTSTRUCT, by their names.

    Parameters
    ----------
    path : Path
    image : Volume

    Returns
    -------
    dict of str → (n, height, width) bool array
        Slices as `image.slices` has them; parts of one name are one.

    Raises
    ------
    UnreadableFile
        If it is truncated or neither of them, or if a part lies outside the image, between its
        slices or in another plane.
    """
    import pydicom

    try:
        if path.stat().st_size > MOST_BYTES:
            raise UnreadableFile(f"{path} has more than {MOST_BYTES} bytes")
        untrusted.check_dicom(path)
        # From memory, since an element may claim more bytes than there are.
        data = pydicom.dcmread(io.BytesIO(path.read_bytes()))
        _refuse_another_frame(path, data, image)
        masks = _segments if data.get("Modality") == "SEG" else _regions
        shape = image.slices.shape[::-1]  # columns, rows, slices, as the canonical affine counts
        found: dict[str, NDArray[np.bool_]] = {}
        for name, mask in masks(path, data, image):
            found[name] = found.get(name, np.zeros(shape, bool)) | mask
    except (UnreadableFile, FileNotFoundError):
        raise
    except Exception as error:  # a broken file fails in pydicom in many ways
        lacks = getattr(error, "name", None) if isinstance(error, AttributeError) else None
        why = f"it lacks {lacks}" if lacks else "it is damaged, or lacks what the standard asks for"
        raise UnreadableFile(
            f"{path} cannot be read as DICOM-SEG or RTSTRUCT: {why}; write it again with "
            "the program that made it, or as NIfTI"
        ) from error
    if not found:
        raise UnreadableFile(f"{path} holds no segment or contour")
    return {name: mask[::-1, ::-1].transpose(2, 1, 0) for name, mask in found.items()}


def _refuse_another_frame(path: Path, data: Any, image: Volume) -> None:
    """Refuse a mask of another patient or visit: grids of one scanner often agree, these do not."""
    referenced = data.get("ReferencedFrameOfReferenceSequence") or ()
    named = {one.get("FrameOfReferenceUID") for one in (data, *referenced)} - {None, ""}
    if image.frame_uid and named and image.frame_uid not in named:
        raise UnreadableFile(
            f"{path} was drawn in frame of reference {', '.join(sorted(named))}; the image's is "
            f"{image.frame_uid}, so it is of another patient or visit"
        )


def _segments(path: Path, data: Any, image: Volume) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield each segment's name and mask, (columns, rows, slices)."""
    names = {
        int(one.SegmentNumber): str(one.get("SegmentLabel") or f"segment {one.SegmentNumber}")
        for one in data.SegmentSequence
    }
    groups = data.PerFrameFunctionalGroupsSequence
    shape = (len(groups), int(data.Rows), int(data.Columns))
    untrusted.refuse_large_volume(path, shape, 4)
    if int(data.get("NumberOfFrames") or 1) != len(groups):
        raise UnreadableFile(f"{path} has {data.NumberOfFrames} frames and {len(groups)} groups")
    names.pop(0, None)  # the background of a label map
    frames = data.pixel_array.reshape(shape)
    shared: Any = next(iter(data.get("SharedFunctionalGroupsSequence") or ()), {})
    half = int(data.get("MaximumFractionalValue") or 1) / 2
    masks = {number: np.zeros(image.slices.shape[::-1], bool) for number in names}
    for index, (group, frame) in enumerate(zip(groups, frames, strict=True)):
        place = _plane(group, shared)
        for number, drawn in _drawn(group, shared, frame, half, names):
            if drawn.any():
                _put(path, f"frame {index + 1}", masks[number], drawn, place, image)
    if masks:
        _refuse_thicker_slices(path, np.any(list(masks.values()), axis=0))
    for number, mask in masks.items():
        yield names[number], mask


def _drawn(
    group: Any, shared: Any, frame: NDArray[Any], half: float, names: dict[int, str]
) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """Yield the segments of a frame: the one it names, or those that a label map holds."""
    for place in (group, shared):
        if identified := place.get("SegmentIdentificationSequence"):
            yield int(identified[0].ReferencedSegmentNumber), frame > (half if half > 1 else 0)
            return
    for number in names:
        yield number, frame == number


def _plane(group: Any, shared: Any) -> NDArray[np.float64]:
    """Return an affine from row, column and 1 to mm to the right, front and head, (3, 3)."""

    def inner(name: str) -> Any:
        return (group.get(name) or shared.get(name))[0]

    rows, columns = map(float, inner("PixelMeasuresSequence").PixelSpacing)
    across = np.array(inner("PlaneOrientationSequence").ImageOrientationPatient, float)
    origin = np.array(inner("PlanePositionSequence").ImagePositionPatient, float)
    along_row, along_column = across.reshape(2, 3)
    return np.column_stack([along_column * rows, along_row * columns, origin]) * TO_RAS[:, None]


def _put(
    path: Path,
    what: str,
    mask: NDArray[np.bool_],
    drawn: NDArray[np.bool_],
    plane: NDArray[np.float64],
    image: Volume,
) -> None:
    """Put the drawn pixels of a frame into a mask (columns, rows, slices)."""
    steps = np.linalg.inv(image.canonical_affine[:3, :3]) @ plane[:, :2]
    if np.abs(np.linalg.norm(steps, axis=0) - 1).max() > SAME_SIZE:
        raise UnreadableFile(f"{path}, {what} has pixels of another size than the image")
    row_column = np.argwhere(drawn)
    points = np.column_stack([row_column, np.ones(len(row_column))]) @ plane.T
    voxels = _voxels(points, image)
    nearest = np.rint(voxels)
    off = float(np.abs(voxels - nearest).max())
    if off > SAME_PLACE:
        raise UnreadableFile(f"{path}, {what} lies {off:.2g} voxels off the image's grid")
    if (nearest < 0).any() or (nearest >= mask.shape).any():
        raise UnreadableFile(f"{path}, {what} lies outside the image")
    mask[tuple(nearest.astype(int).T)] = True


def _voxels(points: NDArray[Any], image: Volume) -> NDArray[np.float64]:
    """Return where points in mm lie: column, row and slice to the right, front and head."""
    homogeneous = np.column_stack([points, np.ones(len(points))])
    return (homogeneous @ np.linalg.inv(image.canonical_affine).T)[:, :3]


def _regions(path: Path, data: Any, image: Volume) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield each region's name and mask, (columns, rows, slices)."""
    names = {
        int(one.ROINumber): str(one.get("ROIName") or f"region {one.ROINumber}")
        for one in data.StructureSetROISequence
    }
    for region in data.get("ROIContourSequence") or ():
        number = int(region.ReferencedROINumber)
        if number not in names:
            raise UnreadableFile(f"{path} has contours of a region {number} that it does not list")
        inside, edge = (np.zeros(image.slices.shape[::-1], bool) for _ in range(2))
        drawn: set[bytes] = set()
        for contour in region.get("ContourSequence") or ():
            kind = str(contour.ContourGeometricType)
            if kind.startswith("OPEN"):
                raise UnreadableFile(
                    f"{path} has an open contour of {names[number]!r}, which encloses nothing; "
                    "close it, or remove it"
                )
            numbers = np.array(contour.ContourData, float)
            if kind in CLOSED and numbers.tobytes() not in drawn:  # drawn twice it is drawn once
                _fill(path, names[number], (inside, edge), numbers, image)
                drawn.add(numbers.tobytes())
        if drawn:
            _refuse_thicker_slices(path, inside | edge)
            yield names[number], inside | edge


def _refuse_thicker_slices(path: Path, mask: NDArray[np.bool_]) -> None:
    """Refuse a mask on every second slice, or every third: those between would be healthy."""
    gaps = np.diff(np.flatnonzero(mask.any(axis=(0, 1))))
    if len(gaps) >= FEWEST_GAPS and gaps.min() > 1 and (gaps == gaps.min()).mean() > MOST_GAPS:
        raise UnreadableFile(
            f"{path} is drawn on one of {gaps.min()} slices of the image, as of thicker slices; "
            "draw it on this image, or resample it"
        )


def _fill(
    path: Path,
    name: str,
    masks: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    numbers: NDArray[np.float64],
    image: Volume,
) -> None:
    """Invert the pixels whose centres lie in a contour, and note those that lie on it (D-119).

    A contour within another is a hole. Programs that draw through the centres of a region's
    outermost pixels, round its holes too, mean these pixels.
    """
    from skimage.draw import polygon

    if numbers.size % 3 or not numbers.size or not np.isfinite(numbers).all():
        raise UnreadableFile(f"{path} has a contour of {name!r} that is no list of points")
    if numbers.size > 3 * MOST_POINTS:
        raise UnreadableFile(f"{path} has a contour of {numbers.size // 3} points")
    voxels = _voxels(numbers.reshape(-1, 3) * TO_RAS, image)
    spread = np.ptp(voxels, axis=0)
    # Of a series that is not axial, slices follow another axis of the patient.
    across = 2 if spread[2] <= SAME_PLACE else int(spread.argmin())
    height = voxels[:, across]
    slice_ = round(float(height.mean()))
    if np.abs(height - slice_).max() > SAME_PLACE:
        raise UnreadableFile(f"{path} has a contour of {name!r} that lies on no slice of the image")
    if not 0 <= slice_ < masks[0].shape[across]:
        raise UnreadableFile(f"{path} has a contour of {name!r} outside the image")
    plane, edge = (np.moveaxis(mask, across, 2)[..., slice_] for mask in masks)  # views
    flat = np.delete(voxels, across, axis=1)
    nearest = np.rint(flat).astype(int)
    if (nearest < -1).any() or (nearest > plane.shape).any():
        raise UnreadableFile(f"{path} has a contour of {name!r} outside the image")
    if len(flat) < 3:  # one or two pixels, as programs outline them
        here = (nearest >= 0).all(1) & (nearest < plane.shape).all(1)
        edge[tuple(nearest[here].T)] = True
        return
    filled = np.zeros(plane.shape, bool)
    filled[polygon(flat[:, 0], flat[:, 1], plane.shape)] = True
    if _cross(plane & ~edge, filled):
        raise UnreadableFile(
            f"{path} has contours of {name!r} that cross each other in a slice; join them"
        )
    plane ^= filled
    for first, last in zip(flat, np.roll(flat, -1, axis=0), strict=True):
        _note_centres(edge, first, last)


def _cross(before: NDArray[np.bool_], filled: NDArray[np.bool_]) -> bool:
    """Say whether a filled contour lies neither beside, within nor around what was filled before.

    A pixel or two of overlap are a matter of where centres lie on a shared line.
    """
    from skimage.measure import label

    if not (both := before & filled).any():
        return False
    outside = np.count_nonzero(filled & ~before)
    regions = label(before, connectivity=1)
    left = np.count_nonzero(np.isin(regions, np.unique(regions[both])) & before & ~filled)
    return bool(min(outside, left, np.count_nonzero(both)) > TOUCHING)


def _note_centres(
    edge: NDArray[np.bool_], first: NDArray[np.float64], last: NDArray[np.float64]
) -> None:
    """Note the pixels whose centres lie on a line from one centre to another."""
    from skimage.draw import line

    ends = np.rint([first, last]).astype(int)
    if np.abs(ends - [first, last]).max() > ON_LINE:
        return
    pixels = np.column_stack(line(*ends[0], *ends[1]))
    way = ends[1] - ends[0]
    beside = np.abs((pixels - ends[0]) @ [-way[1], way[0]]) == 0
    here = beside & (pixels >= 0).all(1) & (pixels < edge.shape).all(1)
    edge[tuple(pixels[here].T)] = True
