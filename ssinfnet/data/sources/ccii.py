"""CC-CCII's labelled slices (data set 3): a folder a patient, lungs and lesions in one mask.

    image/PATIENT/N.jpg   mask/PATIENT/N.png       or below a folder `ct_lesion_seg`
    split.csv             optional: patient,split    as `lungs` leaves it

A mask holds 0 background and 1 to 3: lung field, GGO, consolidation, unless the study names another
order (`mask_values`), since no public text says which is which (D-150). A fault of one slice
excludes that slice and is listed; labels outside the coding, and an order in which lesions are not
denser than lungs or consolidation not denser than GGO, stop the run.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
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
VALUES = ("lungs", "ggo", "consolidation")  # what 1, 2 and 3 mean
CODES = {"lungs": 0, "ggo": GGO, "consolidation": CONSOLIDATION}
FEWEST = 1000  # pixels of a value whose grey tells its class


def recognises(folder: Path) -> bool:
    """Say whether a folder has this source's layout."""
    root = _root(folder)
    return (root / "image").is_dir() and (root / "mask").is_dir()


def _root(folder: Path) -> Path:
    return folder / WITHIN if (folder / WITHIN).is_dir() else folder


def list_slices(folder: Path, values: Sequence[str] = VALUES) -> Listing:
    """List every slice, decoding each picture once.

    Parameters
    ----------
    folder : Path
    values : sequence of str
        What the mask values 1, 2 and 3 mean.

    Raises
    ------
    ValueError
        If a mask holds a label outside 0 to 3, no slice is usable, `split.csv` is not one, or the
        grey values of the slices contradict `values`.
    """
    lister = Lister(NAME, folder)
    grey = np.zeros((4, 2))  # of each value: sum and number
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
            grey += _list_slice(lister, patient, index, path, mask, splits.get(patient), values)
        for path in by_stem.values():
            lister.exclude(path, "no image of that name")
    _refuse_other_order(values, grey)
    return lister.listing(NOTE)


def _refuse_other_order(values: Sequence[str], grey: NDArray[np.float64]) -> None:
    """Refuse meanings of mask values that their grey values contradict, where enough is seen."""
    mean = {
        name: total / pixels
        for name, (total, pixels) in zip(values, grey[1:], strict=True)
        if pixels >= FEWEST
    }
    seen = [name for name in VALUES if name in mean]  # from the darkest tissue to the densest
    if sorted(seen, key=mean.__getitem__) != seen:
        order = sorted(mean, key=mean.__getitem__)
        meant = dict(zip(order, seen, strict=True))
        means = ", ".join(f"{name} {mean[name]:.0f}" for name in seen)
        raise ValueError(
            f"mask values 1, 2 and 3 are read as {list(values)}, but the mean grey values of the "
            f"slices there are {means} of 255, and lungs are darker than GGO, and GGO than "
            f"consolidation; write mask_values: {[meant.get(name, name) for name in values]} for "
            "the source ccii if that is what the masks mean"
        )


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
    lister: Lister,
    patient: str,
    index: int,
    path: Path,
    mask: Path | None,
    split: str | None,
    values: Sequence[str],
) -> NDArray[np.float64]:
    """List a slice; return the sum of grey values of each mask value, and how many there are."""
    nothing = np.zeros((4, 2))
    if mask is None:
        lister.exclude(path, "no mask of that name")
        return nothing
    try:
        grey, labels = read_picture(path), read_labels(mask)
    except UnreadableFile as error:
        lister.exclude(path, error)
        return nothing
    if grey.shape != labels.shape:
        lister.exclude(path, f"image has {grey.shape} pixels and its mask {labels.shape}")
        return nothing
    lister.add(
        patient_id=f"ccii_{patient}",
        slice_name=f"{patient}.{path.stem}",
        image=path,
        size=grey.shape,
        mask=(mask, _codes(values)[labels]),
        image_index=index,
        lung_path=mask.relative_to(lister.folder).as_posix(),
        mask_values=" ".join(values),
        source_split=split,
    )
    flat = labels.ravel()
    return np.stack([np.bincount(flat, grey.ravel(), 4), np.bincount(flat, minlength=4)], axis=1)


def _codes(values: Sequence[str]) -> NDArray[np.uint8]:
    """Return our label of each mask value, 0 to 3."""
    return np.array([0, *(CODES[name] for name in values)], np.uint8)


def read(folder: Path, row: Any) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return one slice in [0, 1] and its mask (0, 1 GGO, 2 consolidation)."""
    grey, labels = stored(folder, row)
    values = VALUES if pd.isna(row.mask_values) else row.mask_values.split()
    return grey.astype(np.float32) / 255, _codes(values)[labels]


def read_lungs(folder: Path, row: Any) -> NDArray[np.bool_]:
    """Return one slice's lung field, lesions included."""
    return read_labels(folder / row.mask_path) > 0


def stored(folder: Path, row: Any) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return one slice's grey values and labels (0 to 3) as the files hold them."""
    return read_picture(folder / row.image_path), read_labels(folder / row.mask_path)
