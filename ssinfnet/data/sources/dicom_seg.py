"""Write masks of a DICOM series as DICOM-SEG, which viewers lay over the series.

Needs highdicom, the optional extra ``dicom``.
"""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data.sources.kinds import is_bare_dicom
from ssinfnet.data.sources.volume_files import Volume, as_stored
from ssinfnet.storage import artifacts

__all__ = ["FINDINGS", "INSTALL", "available", "segmentation_fault", "series_fault",
           "series_headers", "write_segmentation"]  # fmt: skip

INSTALL = "pip install 'ssinfnet[dicom]'"
NEEDED = ("StudyInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID", "SOPClassUID")
DATE, TIME = r"(\d{8})?", r"(\d{2}|\d{4}|\d{6}(\.\d{1,6})?)?"
MAY_BE_EMPTY = {"PatientID": ".*", "PatientName": ".*", "PatientBirthDate": DATE,
                "PatientSex": "[MFO]?", "AccessionNumber": ".*", "StudyID": ".*",
                "StudyDate": DATE, "StudyTime": TIME, "ReferringPhysicianName": ".*"}  # fmt: skip
# DICOM has a code for ground glass (CID 6102) and none for consolidation, which is an opacity too.
FINDINGS = {
    "ggo": ("Ground-glass opacity", "GroundGlassOpacity"),
    "consolidation": ("Consolidation", "Opacity"),
    "lesion": ("Lesion", "Opacity"),
}
COLOURS = {"ggo": "#56B4E9", "consolidation": "#D55E00", "lesion": "#CC79A7"}  # of the figures
SERIES_NUMBER = 7001  # above those of scanners


def available() -> bool:
    """Say whether highdicom is installed."""
    return find_spec("highdicom") is not None


def segmentation_fault(like: Volume) -> str:
    """Say why no DICOM-SEG can refer to a volume; an empty text if one can."""
    return series_fault(like) or ("" if available() else f"highdicom is not installed; {INSTALL}")


def series_fault(like: Volume) -> str:
    """Say why nothing can refer to the slices of a volume; an empty text if something can."""
    if not like.files:
        return "it is no DICOM series"
    if len(set(like.files)) < len(like.files):
        return "its slices are frames of an enhanced file"
    header = series_headers(like)[0]
    missing = [name for name in NEEDED if not header.get(name)]
    return f"its headers lack {', '.join(missing)}" if missing else ""


def write_segmentation(
    path: Path, masks: Mapping[str, NDArray[np.bool_]], like: Volume, model: str, version: str
) -> Path:
    """Write masks as one DICOM-SEG with a binary segment each, atomically.

    Parameters
    ----------
    path : Path
    masks : mapping of name to (n, height, width) bool array
        Names of `FINDINGS`; slices as `Volume.slices` orders them. Masks do not overlap.
    like : Volume
        Volume of the DICOM series; patient, study and frame of reference are the series'.
    model, version : str
        Name and version of the algorithm, written beside each segment.

    Raises
    ------
    ValueError
        If the series cannot be referred to, see `segmentation_fault`.
    """
    if fault := segmentation_fault(like):
        raise ValueError(f"no DICOM-SEG: {fault}")
    import highdicom
    from pydicom.uid import generate_uid

    # Stored axes are columns, rows, files; frames are wanted file by file.
    stored = [as_stored(mask, like).transpose(2, 1, 0) for mask in masks.values()]
    frames = np.ascontiguousarray(np.stack(stored, axis=-1)).view(np.uint8)
    headers = series_headers(like)
    # The same masks of the same series are the same instance.
    content = [headers[0].SOPInstanceUID, model, hashlib.sha256(frames).hexdigest()]
    uids = {
        part: generate_uid(entropy_srcs=[part, *content]) for part in ("series", "instance", *masks)
    }
    with warnings.catch_warnings():
        # Pseudonyms are rarely names of two parts.
        warnings.filterwarnings("ignore", ".*unlikely to represent the intended person name")
        segmentation = highdicom.seg.Segmentation(
            source_images=headers,
            pixel_array=frames,
            segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[
                _segment(number, name, uids[name], model, version)
                for number, name in enumerate(masks, start=1)
            ],
            series_instance_uid=uids["series"],
            series_number=SERIES_NUMBER,
            sop_instance_uid=uids["instance"],
            instance_number=1,
            manufacturer="ssinfnet",
            manufacturer_model_name=model[:64],
            software_versions=version,
            device_serial_number="0",
            content_description="COVID-19 lesions, research only",
            series_description="COVID-19 lesions, research only",
            omit_empty_frames=bool(frames.any()),
        )
    with artifacts.replacing(path) as temporary:
        segmentation.save_as(temporary)
    return path


def series_headers(like: Volume) -> list[Any]:
    """Return the headers of the series, slice by slice, without pixels.

    What de-identification has removed, or replaced by words that the standard does not allow, is
    empty: highdicom asks for each of these, and the standard lets each be empty.
    """
    import pydicom

    headers = []
    for file in like.files:
        bare = is_bare_dicom(file)
        header = pydicom.dcmread(file, stop_before_pixels=True, force=bare)
        for name, allowed in MAY_BE_EMPTY.items():
            if name not in header or not re.fullmatch(allowed, str(header.get(name) or "")):
                setattr(header, name, "")
        if not header.get("SliceThickness"):
            header.SliceThickness = f"{np.linalg.norm(like.affine[:3, 2]):.6g}"
        headers.append(header)
    return headers


def _segment(number: int, name: str, uid: str, model: str, version: str) -> Any:
    import highdicom
    from pydicom.sr.codedict import codes

    label, finding = FINDINGS[name]
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=getattr(codes.cid6102, finding),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=model[:64], version=version, family=codes.cid7162.ArtificialIntelligence
        ),
        tracking_id=f"ssinfnet {name}",
        tracking_uid=uid,
        anatomic_regions=[codes.SCT.Lung],
        display_color=highdicom.color.CIELabColor.from_string(COLOURS[name]),
    )
