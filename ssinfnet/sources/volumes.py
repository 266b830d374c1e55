"""Volumes of your own: NIfTI files or DICOM series, with or without masks.

    images/NAME.nii.gz  or  images/NAME/*.dcm      one volume, one patient
    classes/NAME.nii.gz     optional: 1 GGO, 2 consolidation, 3 pleural effusion
    lesions/NAME.nii.gz     optional, where classes are unknown: 1 lesion
    lungs/NAME.nii.gz       optional: the lungs

Intensities are Hounsfield units, or 8-bit grey values that were windowed before (D-40). Without
masks the folder of volumes will do by itself. A fault of one volume excludes that volume,
impossible intensities exclude their slice, and both are listed; labels outside the coding stop the
run, because they may mean another coding altogether.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssinfnet import progress
from ssinfnet.sources.files import UnreadableFile, check_labels, visible
from ssinfnet.sources.listing import (
    EFFUSION,
    SPACING,
    UNKNOWN_CLASS,
    Lister,
    Listing,
    class_mask,
)
from ssinfnet.sources.volume_files import NIFTI, Volume, cached_volume, nifti_name, read_volume

__all__ = ["list_slices", "list_volume", "read", "read_lungs", "recognises"]

NAME = "volumes"
NOTE = "Each volume counts as one patient."


def recognises(folder: Path) -> bool:
    """Say whether a folder has this source's layout."""
    return bool(_volumes(folder / "images") or _volumes(folder))


def list_slices(folder: Path) -> Listing:
    """List every slice, reading each volume once.

    Raises
    ------
    ValueError
        If a mask holds a label outside its coding, or no slice is usable.
    """
    lister = Lister(NAME, folder)
    found = _volumes(folder / "images") or _volumes(folder)
    classes, lesions, lungs = (_volumes(folder / part) for part in ("classes", "lesions", "lungs"))
    masks = lesions | classes  # the classes where both are there: they say more
    for name, image in progress.track(found.items(), "listing volumes"):
        list_volume(
            lister, image, masks.get(name),
            lungs=lungs.get(name),
            patient=lambda index, name=name: name,
            slice_name=lambda index, name=name: f"{name}.{index:03d}",
            binary=name not in classes,
        )  # fmt: skip
    for name in sorted(masks.keys() - found.keys()):
        lister.exclude(masks[name], "no image of that name")
    return lister.listing(NOTE)


def _volumes(folder: Path) -> dict[str, Path]:
    """Return name → NIfTI file or folder of a series."""
    if not folder.is_dir():
        return {}
    found = {}
    for path in sorted(visible(folder), key=lambda path: (len(path.name), path.name)):
        if path.is_file() and path.name.endswith(NIFTI):
            found[nifti_name(path)] = path
        elif path.is_dir() and any(part.suffix.lower() == ".dcm" for part in visible(path)):
            found[path.name] = path
    return found


def list_volume(
    lister: Lister,
    image: Path,
    mask: Path | None,
    *,
    lungs: Path | None,
    patient: Callable[[int], str],
    slice_name: Callable[[int], str],
    binary: bool = False,
) -> None:
    """List the slices of one volume, or why it cannot be used.

    Parameters
    ----------
    lister : Lister
    image : Path
        Volume in HU.
    mask : Path or None
        Volume of labels on the same grid; None where there is none.
    lungs : Path or None
        Volume of a lung mask on the same grid.
    patient, slice_name : callable
        Slice number, 0 is the lowest → patient_id, name of the slice.
    binary : bool
        The mask tells lesion (1) from background only.

    Raises
    ------
    ValueError
        If the mask holds a label outside its coding.
    """
    try:
        volume = read_volume(image)
        labels = read_volume(mask) if mask else None
        if labels:
            _refuse_other_grid(volume, labels)
    except UnreadableFile as error:
        lister.exclude(image, str(error))
        return
    for path, reason in volume.left_out:
        lister.exclude(path, reason)
    if labels:
        check_labels(mask, labels.slices, {0, 1} if binary else {0, 1, 2, EFFUSION})
    lung_path = _lung_path(lister, volume, lungs)
    for index, stored in enumerate(volume.slices):
        if fault := volume.fault(index):
            lister.exclude(image, f"slice {index}: {fault}")
            continue
        lister.add(
            patient_id=patient(index),
            slice_name=slice_name(index),
            image=image,
            size=stored.shape,
            mask=(mask, _coded(labels.slices[index], binary)) if labels else None,
            image_index=index,
            lung_path=lung_path,
            **dict(zip(SPACING, volume.spacing_mm, strict=True)),
        )


def _refuse_other_grid(volume: Volume, mask: Volume) -> None:
    if volume.shape != mask.shape:
        raise UnreadableFile(f"image has shape {volume.shape} and mask {mask.shape}")
    if not np.allclose(volume.affine, mask.affine, atol=1e-3):
        raise UnreadableFile("image and mask have different affines, so they may not overlie")


def _lung_path(lister: Lister, volume: Volume, lungs: Path | None) -> str | None:
    """Return the lung mask's path where there is one on the volume's grid."""
    if lungs is None:
        return None
    try:
        shape = read_volume(lungs).shape
    except UnreadableFile as error:
        lister.exclude(lungs, str(error))
        return None
    if shape != volume.shape:
        lister.exclude(lungs, f"image has shape {volume.shape} and lung mask {shape}")
        return None
    return lungs.relative_to(lister.folder).as_posix()


def _coded(labels: NDArray[np.generic], binary: bool) -> NDArray[np.uint8]:
    return labels.astype(np.uint8) * np.uint8(UNKNOWN_CLASS if binary else 1)


def read(folder: Path, row: Any) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
    """Return one slice in [0, 1] and its mask (0, 1 GGO, 2 consolidation or 255), if labelled."""
    grey = cached_volume(folder / row.image_path).grey(row.image_index)
    if not row.labelled:
        return grey, None
    labels = cached_volume(folder / row.mask_path).slices[row.image_index]
    return grey, class_mask(_coded(labels, Path(row.mask_path).parts[0] == "lesions"))


def read_lungs(folder: Path, row: Any) -> NDArray[np.bool_]:
    """Return one slice's lung mask."""
    return cached_volume(folder / row.lung_path).slices[row.image_index] > 0
