"""Write masks of a DICOM series as RTSTRUCT: contours that planning systems read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data.sources.dicom_seg import FINDINGS, series_fault, series_headers
from ssinfnet.data.sources.volume_files import Volume, as_stored
from ssinfnet.storage import artifacts

__all__ = ["write_structures"]

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
STUDY = "1.2.840.10008.3.1.2.3.1"  # the class of a study, retired and still asked for
COLOURS = {"ggo": [86, 180, 233], "consolidation": [213, 94, 0], "lesion": [204, 121, 167]}
KEPT = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID",
        "StudyDate", "StudyTime", "StudyID", "AccessionNumber",
        "ReferringPhysicianName")  # fmt: skip
SERIES_NUMBER = 7002  # after DICOM-SEG's


def write_structures(
    path: Path, masks: Mapping[str, NDArray[np.bool_]], like: Volume, model: str, version: str
) -> Path:
    """Write masks as the regions of one RTSTRUCT, atomically.

    A contour runs halfway between the pixels of a mask and those around it, so that filling it by
    the centres of pixels gives the mask again; a hole is a contour within another (D-122).

    Parameters
    ----------
    path : Path
    masks : mapping of name to (n, height, width) bool array
        Names of `dicom_seg.FINDINGS`; slices as `Volume.slices` orders them.
    like : Volume
        Volume of the DICOM series.
    model, version : str
        Name and version of the algorithm, written into the description.

    Raises
    ------
    ValueError
        If the series cannot be referred to, see `dicom_seg.series_fault`.
    """
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    if fault := series_fault(like):
        raise ValueError(f"no RTSTRUCT: {fault}")
    headers = series_headers(like)
    stored = {name: as_stored(mask, like).transpose(2, 1, 0) for name, mask in masks.items()}
    hashes = [hashlib.sha256(mask.tobytes()).hexdigest() for mask in stored.values()]
    content = [headers[0].SOPInstanceUID, model, *hashes]
    meta: Any = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = RTSTRUCT
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["rtstruct", *content])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data: Any = pydicom.dataset.FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    for name in KEPT:
        setattr(data, name, headers[0].get(name, ""))
    data.SOPClassUID, data.SOPInstanceUID = RTSTRUCT, meta.MediaStorageSOPInstanceUID
    data.Modality, data.SeriesNumber = "RTSTRUCT", SERIES_NUMBER
    data.SeriesInstanceUID = generate_uid(entropy_srcs=["rtstruct series", *content])
    data.SeriesDescription = "COVID-19 lesions, research only"
    data.Manufacturer, data.SoftwareVersions = "ssinfnet", version
    data.StructureSetLabel, data.StructureSetDescription = "lesions", f"model {model[:50]}"
    data.StructureSetDate = data.StructureSetTime = ""
    data.ApprovalStatus = "UNAPPROVED"
    data.ReferencedFrameOfReferenceSequence = [_reference(headers)]
    data.StructureSetROISequence, data.ROIContourSequence = [], []
    data.RTROIObservationsSequence = []
    for number, (name, mask) in enumerate(stored.items(), start=1):
        region = {
            "ROINumber": number,
            "ROIName": FINDINGS[name][0],
            "ReferencedFrameOfReferenceUID": headers[0].FrameOfReferenceUID,
            "ROIGenerationAlgorithm": "AUTOMATIC",
        }
        contours = [
            one
            for header, slice_ in zip(headers, mask, strict=True)
            for one in _contours(header, slice_)
        ]
        data.StructureSetROISequence.append(_dataset(region))
        data.ROIContourSequence.append(_dataset({
            "ROIDisplayColor": COLOURS[name], "ReferencedROINumber": number,
            "ContourSequence": contours,
        }))  # fmt: skip
        data.RTROIObservationsSequence.append(_dataset({
            "ObservationNumber": number, "ReferencedROINumber": number,
            "RTROIInterpretedType": "", "ROIInterpreter": "",
        }))  # fmt: skip
    with artifacts.replacing(path) as temporary:
        data.save_as(temporary, enforce_file_format=True)
    return path


def _dataset(values: Mapping[str, Any]) -> Any:
    import pydicom

    made = pydicom.Dataset()
    for name, value in values.items():
        setattr(made, name, value)
    return made


def _image(header: Any) -> Any:
    return _dataset(
        {
            "ReferencedSOPClassUID": header.SOPClassUID,
            "ReferencedSOPInstanceUID": header.SOPInstanceUID,
        }
    )


def _reference(headers: list[Any]) -> Any:
    """Name the series and its slices, as the standard nests them."""
    series = _dataset(
        {
            "SeriesInstanceUID": headers[0].SeriesInstanceUID,
            "ContourImageSequence": [_image(header) for header in headers],
        }
    )
    study = _dataset(
        {
            "ReferencedSOPClassUID": STUDY,
            "ReferencedSOPInstanceUID": headers[0].StudyInstanceUID,
            "RTReferencedSeriesSequence": [series],
        }
    )
    return _dataset(
        {
            "FrameOfReferenceUID": headers[0].FrameOfReferenceUID,
            "RTReferencedStudySequence": [study],
        }
    )


def _contours(header: Any, mask: NDArray[np.bool_]) -> Iterator[Any]:
    """Yield the contours of a slice's mask (rows, columns), in mm."""
    from skimage.measure import find_contours

    if not mask.any():
        return
    rows_mm, columns_mm = map(float, header.PixelSpacing)
    across = np.array(header.ImageOrientationPatient, float).reshape(2, 3)
    origin = np.array(header.ImagePositionPatient, float)
    # A frame of nothing closes the contours of a mask that reaches the edge.
    for line in find_contours(np.pad(mask, 1).astype(float), 0.5):
        rows, columns = (line[:-1] - 1).T  # the last point is the first again
        points = (
            origin + np.outer(columns * columns_mm, across[0]) + np.outer(rows * rows_mm, across[1])
        )
        yield _dataset(
            {
                "ContourImageSequence": [_image(header)],
                "ContourGeometricType": "CLOSED_PLANAR",
                "NumberOfContourPoints": len(points),
                "ContourData": [f"{number:.4f}" for number in points.ravel()],
            }
        )
