"""Small scans as files: a DICOM series, a NIfTI volume, pictures."""

from pathlib import Path

import nibabel
import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid

ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"

HU = np.arange(4 * 6 * 5).reshape(4, 6, 5) * 7 - 1000  # slices, rows, columns
LPS = np.diag([-0.7, -0.8, 2.5, 1.0])  # as DICOM's axes: columns to the left, rows to the back


def write_nifti(path: Path, slices: np.ndarray = HU, affine: np.ndarray = LPS) -> Path:
    """Write slices (n, rows, columns), lowest first, as columns, rows, slices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = slices if slices.dtype.kind == "f" else slices.astype(np.int32)
    nibabel.save(nibabel.Nifti1Image(kept.transpose(2, 1, 0), affine), path)
    return path


def write_pictures(folder: Path, size: tuple[int, int] = (64, 48), count: int = 3) -> list[Path]:
    """Write pictures slice2.png, slice10.jpg, slice11.png …: textual order is not theirs."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(folder.name))
    names = ["slice2.png", "slice10.jpg", *(f"slice{number}.png" for number in range(11, 99))]
    paths = []
    for name in names[:count]:
        Image.fromarray(rng.integers(0, 255, size).astype(np.uint8)).save(folder / name)
        paths.append(folder / name)
    return paths


def write_series(folder: Path, hu: np.ndarray = HU, **changed: object) -> list[Path]:
    """Write a CT series as archives keep it; names run against positions."""
    folder.mkdir(parents=True, exist_ok=True)
    uids = {
        name: generate_uid()
        for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
    }
    paths = []
    for index, slice_ in enumerate(hu):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / f"{9 - index if len(hu) < 10 else 9000 - index}.dcm"
        ds = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
        values = {
            "SOPClassUID": CTImageStorage, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
            "Modality": "CT", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], **uids,
            "PatientID": "pseudonym", "PatientName": "pseudonym", "PatientBirthDate": "",
            "PatientSex": "", "AccessionNumber": "", "StudyID": "", "StudyDate": "20200301",
            "StudyTime": "120000", "ReferringPhysicianName": "", "SeriesNumber": 2,
            "InstanceNumber": index + 1, "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "ImagePositionPatient": [-9, -4, 30 + index * 2.5], "PixelSpacing": [0.8, 0.7],
            "SliceThickness": 5, "Rows": slice_.shape[0], "Columns": slice_.shape[1],
            "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16,
            "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1, "RescaleSlope": 1,
            "RescaleIntercept": -1024, **changed,
        }  # fmt: skip
        for name, value in values.items():
            if value is not None:
                setattr(ds, name, value)
        ds.PixelData = (slice_ + 1024).astype(np.int16).tobytes()
        ds.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def write_enhanced(
    path: Path,
    hu: np.ndarray = HU,
    *,
    shared: bool = True,
    packed: bool = False,
    slopes: tuple[float, ...] = (1,),
    first_mm: float = 30,
    **changed: object,
) -> Path:
    """Write an enhanced CT, its frames from the top down; a slice has its own rescale numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = ENHANCED_CT
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    values = {
        "SOPClassUID": ENHANCED_CT, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Modality": "CT", "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        "PatientID": "pseudonym", "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": generate_uid(), "SeriesNumber": 2, "NumberOfFrames": len(hu),
        "Rows": hu.shape[1], "Columns": hu.shape[2], "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16,
        "HighBit": 15, "PixelRepresentation": 1, **changed,
    }  # fmt: skip
    for name, value in values.items():
        setattr(ds, name, value)
    same = {"PlaneOrientationSequence": {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0]},
            "PixelMeasuresSequence": {"PixelSpacing": [0.8, 0.7], "SliceThickness": 5}}  # fmt: skip
    frames, stored = [], []
    for index in range(len(hu) - 1, -1, -1):
        slope = slopes[index % len(slopes)]
        own = {
            "CTImageFrameTypeSequence": {"FrameType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]},
            "PlanePositionSequence": {"ImagePositionPatient": [-9, -4, first_mm + index * 2.5]},
            "PixelValueTransformationSequence": {
                "RescaleSlope": slope,
                "RescaleIntercept": -1024 - index,
                "RescaleType": "HU",
            },
            **({} if shared else same),
        }
        frames.append(_groups(own))
        stored.append(np.round((hu[index] + 1024 + index) / slope).astype(np.int16))
    ds.SharedFunctionalGroupsSequence = [_groups(same if shared else {})]
    ds.PerFrameFunctionalGroupsSequence = frames
    ds.PixelData = np.stack(stored).tobytes()
    if packed:
        ds.compress(RLELossless, np.stack(stored))
    ds.save_as(path, enforce_file_format=True)
    return path


def _groups(groups: dict[str, dict[str, object]]) -> Dataset:
    found = Dataset()
    for sequence, values in groups.items():
        inner = Dataset()
        for name, value in values.items():
            setattr(inner, name, value)
        setattr(found, sequence, [inner])
    return found


def write_rtstruct(path: Path, regions: dict[str, list[list[tuple[float, float, float]]]]) -> Path:
    """Write regions, each a list of contours of points in mm to the left, back and head."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.481.3"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds = FileDataset(path, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.Modality = meta.MediaStorageSOPClassUID, "RTSTRUCT"
    ds.StructureSetROISequence, ds.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(regions.items(), start=1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber = drawn.ReferencedROINumber = number
        roi.ROIName, drawn.ContourSequence = name, []
        for points in contours:
            contour = Dataset()
            contour.ContourGeometricType = "CLOSED_PLANAR"
            contour.NumberOfContourPoints = len(points)
            contour.ContourData = [round(float(one), 4) for point in points for one in point]
            drawn.ContourSequence.append(contour)
        ds.StructureSetROISequence.append(roi)
        ds.ROIContourSequence.append(drawn)
    ds.save_as(path, enforce_file_format=True)
    return path
