"""CC-CCII's labelled slices (data set 3): a folder a patient, lungs and lesions in one mask.

    image/PATIENT/N.jpg   mask/PATIENT/N.png       or below a folder `ct_lesion_seg`
    split.csv             optional: patient,split    as `lungs` leaves it

A mask holds 0 background, 1 lung field, 2 GGO, 3 consolidation. A fault of one slice excludes that
slice and is listed; labels outside the coding stop the run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data.sources.files import UnreadableFile, pictures, read_labels, read_picture
from ssinfnet.data.sources.listing import CONSOLIDATION, GGO, Lister, Listing
from ssinfnet.storage import untrusted
from ssinfnet.work import progress

__all__ = ["SPLIT", "list_slices", "read", "read_lungs", "recognises", "stored"]

NAME = "ccii"
NOTE = "Each folder is one patient; slices are numbered along the scan."
WITHIN = "ct_lesion_seg"
SPLIT = "split.csv"
CLASSES = np.array([0, 0, GGO, CONSOLIDATION], np.uint8)  # of the mask's four labels


def recognises(folder: Path) -> bool:
    """Say whether a folder has this source's layout."""
    root = _root(folder)
    return (root / "image").is_dir() and (root / "mask").is_dir()


def _root(folder: Path) -> Path:
    return folder / WITHIN if (folder / WITHIN).is_dir() else folder


def list_slices(folder: Path) -> Listing:
    """List every slice, decoding each picture once.

    Raises
    ------
    ValueError
        If a mask holds a label outside 0 to 3, no slice is usable, or `split.csv` is not one.
    """
    lister = Lister(NAME, folder)
    root = _root(folder)
    splits = _read_split(root / SPLIT)
    patients = {path.name for part in ("image", "mask") for path in (root / part).glob("*/")}
    for patient in progress.track(
        sorted(patients, key=lambda name: (len(name), name)), "listing patients of CC-CCII"
    ):
        shown, masks = (pictures(root / part / patient) for part in ("image", "mask"))
        by_stem = {path.stem: path for path in masks}
        for index, path in enumerate(shown):
            mask = by_stem.pop(path.stem, None)
            _list_slice(lister, patient, index, path, mask, splits.get(patient))
        for path in by_stem.values():
            lister.exclude(path, "no image of that name")
    return lister.listing(NOTE)


def _read_split(file: Path) -> dict[str, str]:
    """Return patient → split, empty where there is no such file."""
    if not file.is_file():
        return {}
    table = untrusted.read_csv(file, dtype="str")
    if set(table.columns) != {"patient", "split"} or table["patient"].duplicated().any():
        raise ValueError(
            f"{file} must hold the columns patient and split, each patient once; got "
            f"{list(table.columns)} with {len(table)} rows"
        )
    return dict(zip(table["patient"], table["split"], strict=True))


def _list_slice(
    lister: Lister, patient: str, index: int, path: Path, mask: Path | None, split: str | None
) -> None:
    if mask is None:
        lister.exclude(path, "no mask of that name")
        return
    try:
        grey, labels = read_picture(path), read_labels(mask)
    except UnreadableFile as error:
        lister.exclude(path, error)
        return
    if grey.shape != labels.shape:
        lister.exclude(path, f"image has {grey.shape} pixels and its mask {labels.shape}")
        return
    lister.add(
        patient_id=f"ccii_{patient}",
        slice_name=f"{patient}.{path.stem}",
        image=path,
        size=grey.shape,
        mask=(mask, CLASSES[labels]),
        image_index=index,
        lung_path=mask.relative_to(lister.folder).as_posix(),
        source_split=split,
    )


def read(folder: Path, row: Any) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return one slice in [0, 1] and its mask (0, 1 GGO, 2 consolidation)."""
    grey, labels = stored(folder, row)
    return grey.astype(np.float32) / 255, CLASSES[labels]


def read_lungs(folder: Path, row: Any) -> NDArray[np.bool_]:
    """Return one slice's lung field, lesions included."""
    return read_labels(folder / row.mask_path) > 0


def stored(folder: Path, row: Any) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return one slice's grey values and labels (0 to 3) as the files hold them."""
    return read_picture(folder / row.image_path), read_labels(folder / row.mask_path)
