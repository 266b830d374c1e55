"""Med-Seg (data set 1): NIfTI in Hounsfield units, labels 1 GGO, 2 consolidation, 3 effusion.

    tr_im.nii.gz  tr_mask.nii.gz              100 single slices, stacked
    rp_im/N.nii.gz  rp_msk/N.nii.gz  rp_lung_msk/N.nii.gz      9 Radiopaedia volumes

A fault of one volume (unreadable, without its mask, of another shape) excludes that volume, NaN
intensities exclude their slice, and both are listed; labels outside 0 to 3 stop the run, because
they may mean another coding altogether.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssinfnet import images, progress
from ssinfnet.sources.files import UnreadableFile, Volume, check_labels, read_volume
from ssinfnet.sources.listing import EFFUSION, Lister, Listing, class_mask

__all__ = ["list_slices", "read", "recognises"]

NAME = "medseg"
NOTE = (
    "Each Radiopaedia volume is one patient. The single slices carry no patient ids: each counts "
    "as its own patient, though they come from about 60 people."
)


def recognises(folder: Path) -> bool:
    """Say whether a folder has this source's layout."""
    return (folder / "tr_im.nii.gz").is_file() or (folder / "rp_im").is_dir()


def list_slices(folder: Path) -> Listing:
    """List every slice, reading each volume once.

    Raises
    ------
    ValueError
        If a mask holds a label outside 0 to 3, or no slice is usable.
    """
    lister = Lister(NAME, folder)
    pairs = [(folder / "tr_im.nii.gz", folder / "tr_mask.nii.gz", None)]
    names = {path.name for part in ("rp_im", "rp_msk") for path in (folder / part).glob("*.nii.gz")}
    for name in sorted(names, key=lambda name: (len(name), name)):
        pairs.append((folder / "rp_im" / name, folder / "rp_msk" / name, name))
    for image, mask, name in progress.track(pairs, "listing volumes of Med-Seg"):
        if not image.is_file() and not mask.is_file() and name is None:
            continue
        _list_volume(lister, image, mask, name)
    return lister.listing(NOTE)


def _list_volume(lister: Lister, image: Path, mask: Path, name: str | None) -> None:
    for path, other, missing in ((image, mask, "mask"), (mask, image, "image")):
        if not other.is_file():
            if path.is_file():
                lister.exclude(path, f"no {missing} at {other.relative_to(lister.folder)}")
            return
    try:
        volume, labels = read_volume(image), read_volume(mask)
        _check_pair(volume, labels)
    except UnreadableFile as error:
        lister.exclude(image, str(error))
        return
    check_labels(mask, labels.slices, {0, 1, 2, EFFUSION})
    lung_path = _lung_path(lister, volume, name) if name else None
    stem = image.name.removesuffix(".nii.gz")
    for index, (grey, label) in enumerate(zip(volume.slices, labels.slices, strict=True)):
        bad = int((~np.isfinite(grey)).sum())
        if bad:
            lister.exclude(image, f"slice {index}: {bad} intensities are NaN or infinite")
            continue
        lister.add(
            patient_id=f"rp_{stem}" if name else f"tr_{index:03d}",
            slice_name=f"rp_{stem}.{index:03d}" if name else f"tr.{index:03d}",
            image=image,
            size=grey.shape,
            mask=(mask, label.astype(np.uint8)),
            image_index=index,
            lung_path=lung_path,
            spacing_row_mm=volume.spacing_mm[0],
            spacing_column_mm=volume.spacing_mm[1],
        )


def _lung_path(lister: Lister, volume: Volume, name: str) -> str | None:
    """Return the lung mask's path where there is one of the volume's shape."""
    lung = lister.folder / "rp_lung_msk" / name
    if not lung.is_file():
        return None
    try:
        shape = read_volume(lung).shape
    except UnreadableFile as error:
        lister.exclude(lung, str(error))
        return None
    if shape != volume.shape:
        lister.exclude(lung, f"image has shape {volume.shape} and lung mask {shape}")
        return None
    return lung.relative_to(lister.folder).as_posix()


def _check_pair(volume: Volume, labels: Volume) -> None:
    if volume.shape != labels.shape:
        raise UnreadableFile(f"image has shape {volume.shape} and mask {labels.shape}")
    if not np.allclose(volume.affine, labels.affine, atol=1e-3):
        raise UnreadableFile("image and mask have different affines, so they may not overlie")


def read(folder: Path, row: Any) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
    """Return one slice in [0, 1] and its mask (0, 1 GGO, 2 consolidation)."""
    hu = _volume(folder / row.image_path).slices[row.image_index]
    labels = _volume(folder / row.mask_path).slices[row.image_index]
    return images.window_hu(hu.astype(np.float32)), class_mask(labels.astype(np.uint8))


def _volume(path: Path) -> Volume:
    return _decoded(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _decoded(path: Path, modified_ns: int) -> Volume:
    """Decode a volume; rows come volume by volume, so an image and its mask are decoded once."""
    return read_volume(path)
