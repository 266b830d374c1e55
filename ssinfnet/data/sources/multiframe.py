"""Enhanced CT: a whole series in one DICOM file, taken apart into slices as they used to be stored.

What a classic header says once a slice stands in functional groups here, either shared by all
frames or a group a frame: position, orientation, pixel size and the two numbers that make
Hounsfield units. Each frame is written as a classic slice, which the reader of series then takes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ssinfnet.storage import untrusted
from ssinfnet.storage.untrusted import UnreadableFile

__all__ = ["CT_IMAGE", "SYNTAXES", "UNPACKED", "as_slices", "frame_headers", "is_multiframe"]

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED = {f"{CT_IMAGE}.1", f"{CT_IMAGE}.2"}  # Enhanced CT, and Legacy Converted Enhanced CT
SYNTAXES = {
    (True, True): "1.2.840.10008.1.2",
    (False, True): "1.2.840.10008.1.2.1",
    (False, False): "1.2.840.10008.1.2.2",
}
WHOLE = (
    "PatientID", "PatientName", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID",
    "SeriesNumber", "SeriesDescription", "StudyDate", "Modality", "Rows", "Columns",
    "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated", "BitsStored", "HighBit",
    "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit", "ImageType",
)  # fmt: skip
GROUPED = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "RescaleType": "PixelValueTransformationSequence",
    "FrameType": "CTImageFrameTypeSequence",
}


def is_multiframe(data: Any) -> bool:
    """Say whether a header is that of an enhanced CT."""
    return str(data.get("SOPClassUID", "")) in ENHANCED


def frame_headers(path: Path, data: Any) -> list[Any]:
    """Return the header of each frame of an enhanced CT, as of a classic slice, without pixels.

    Raises
    ------
    UnreadableFile
        If there are other functional groups than frames, or more voxels than are decoded at once.
    """
    import pydicom

    groups = data.get("PerFrameFunctionalGroupsSequence") or ()
    number = int(data.get("NumberOfFrames") or 1)
    if len(groups) != number:
        raise UnreadableFile(f"{path} has {number} frames and {len(groups)} functional groups")
    untrusted.refuse_large_volume(path, (number, int(data.Rows), int(data.Columns)), 4)
    shared: Any = next(iter(data.get("SharedFunctionalGroupsSequence") or ()), {})
    headers = []
    for group in groups:
        header = pydicom.Dataset()
        header.SOPClassUID = CT_IMAGE
        for name in WHOLE:
            if name in data:
                header[name] = data[name]
        for name, sequence in GROUPED.items():
            for place in (group, shared):
                if (inner := place.get(sequence)) and name in inner[0]:
                    classic = "ImageType" if name == "FrameType" else name
                    setattr(header, classic, inner[0][name].value)
                    break
        headers.append(header)
    return headers


@contextmanager
def as_slices(files: Mapping[Path, tuple[Any, Sequence[Any]]]) -> Iterator[dict[Path, Path]]:
    """Write each frame as a file of its own in a temporary folder, which is removed afterwards.

    Parameters
    ----------
    files : mapping of Path to (dataset, sequence of dataset)
        The header of each file, and the headers of its frames.

    Yields
    ------
    dict of Path → Path
        Slice → the file whose frame it is. A slice is named after its file and the frame's number.

    Raises
    ------
    UnreadableFile
        If a file has fewer frames than it says.
    """
    with tempfile.TemporaryDirectory() as folder:
        slices = {}
        for number, (path, (data, headers)) in enumerate(files.items()):
            home = Path(folder) / str(number)
            home.mkdir()
            for index, pixels in enumerate(_frames(path, data, len(headers))):
                target = home / f"frame {index + 1} of {len(headers)}"
                _write(target, data, headers[index], pixels)
                slices[target] = path
        yield slices


def _frames(path: Path, data: Any, number: int) -> Iterator[bytes]:
    """Yield the stored bytes of each frame, packed ones as they are."""
    from pydicom.encaps import generate_frames

    try:
        stored = data.PixelData
        if data.file_meta.get("TransferSyntaxUID", data.original_encoding) in UNPACKED:
            size = data.Rows * data.Columns * data.SamplesPerPixel * data.BitsAllocated // 8
            frames = [stored[at : at + size] for at in range(0, number * size, size or 1)]
            whole = all(len(frame) == size for frame in frames)
        else:
            frames = list(generate_frames(stored, number_of_frames=number))
            whole = all(frames)
    except Exception as error:  # broken pixels fail in pydicom in many ways
        raise UnreadableFile(f"{path} has frames that cannot be read ({error})") from error
    if len(frames) != number or not whole:
        raise UnreadableFile(f"{path} is truncated: not all of its {number} frames are there")
    yield from frames


UNPACKED = {*SYNTAXES, *SYNTAXES.values()}  # also what pydicom finds where a file names none


def _write(target: Path, data: Any, header: Any, pixels: bytes) -> None:
    import pydicom
    from pydicom.encaps import encapsulate

    implicit, little = data.original_encoding
    syntax = data.file_meta.get("TransferSyntaxUID") or SYNTAXES[bool(implicit), bool(little)]
    meta: Any = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = CT_IMAGE
    meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = "2.25.1"
    slice_ = pydicom.dataset.FileDataset(target, header, file_meta=meta, preamble=b"\0" * 128)
    packed = syntax not in UNPACKED
    slice_.PixelData = encapsulate([pixels]) if packed else pixels + b"\0" * (len(pixels) % 2)
    slice_["PixelData"].VR = "OB" if packed else "OW"
    slice_.save_as(target, enforce_file_format=True)
