"""Volumes of your own: NIfTI, NRRD or MetaImage files, DICOM series; with or without masks.

    images/NAME.nii.gz  or  images/NAME/*.dcm      one volume, one patient
    images/NAME/…/          several volumes of a patient, at any depth
    classes/NAME.nii.gz     optional: 1 GGO, 2 consolidation, 3 pleural effusion
    lesions/NAME.nii.gz     optional, where classes are unknown: 1 lesion
    lungs/NAME.nii.gz       optional: the lungs

A mask may also be NRRD, MetaImage, or NAME.dcm: a DICOM-SEG or an RTSTRUCT, whose parts are classes
by their names (D-119) or by the study's `mask_labels`; of lesions and of lungs those are read whose
names say so (D-129), and lungs hold air (D-130).

Intensities are Hounsfield units, or 8-bit grey values that were windowed before (D-40). Without
masks the folder of volumes will do by itself. A fault of one volume excludes that volume, such as
numbers that are no such intensities (D-104), impossible intensities exclude their slice, and both
are listed; labels outside the coding stop the run, because they may mean another coding altogether.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data.sources.dicom_headers import unopened
from ssinfnet.data.sources.dicom_masks import modality_of
from ssinfnet.data.sources.files import (
    UnreadableFile,
    binary_labels,
    check_labels,
    visible,
    visible_below,
)
from ssinfnet.data.sources.intensities import units_fault
from ssinfnet.data.sources.kinds import DICOM, PICTURE, VOLUMES, kind_of, readable, stem_of
from ssinfnet.data.sources.listing import (
    CONSOLIDATION,
    EFFUSION,
    GGO,
    SPACING,
    UNKNOWN_CLASS,
    ForeignLabel,
    Lister,
    Listing,
    class_mask,
    labels_of,
)
from ssinfnet.data.sources.lung_masks import refuse_no_lungs
from ssinfnet.data.sources.mask_files import Mask, read_mask
from ssinfnet.data.sources.tree import Found, look_through
from ssinfnet.data.sources.volume_files import Volume, cached_volume, read_volume
from ssinfnet.storage.written_files import without_written
from ssinfnet.work import progress

__all__ = ["holds_volumes", "list_slices", "list_volume", "read", "read_lungs", "recognises"]

NAME = "volumes"
PARTS = ("classes", "lesions", "lungs")  # folders of masks
BESIDE = "is not read: volumes lie in images, masks in classes, lesions or lungs"
NOTE = "Each volume counts as one patient."


def recognises(folder: Path) -> bool:
    """Say whether a folder has this source's layout: volumes in `images`, or right in the folder.

    Volumes further down are found in a folder that is named for them (`holds_volumes`), but do not
    make a folder of many data sets a source of its own.
    """
    images = folder / "images"
    if images.is_dir() and holds_volumes(images):
        return True
    here = visible(folder)
    below = [one for one in here if one.is_dir() and one.name not in PARTS]
    return any(is_volume(file) for file in here) or any(
        is_volume(file, DICOM) for home in below for file in visible(home)
    )


def list_slices(folder: Path, mask_labels: Mapping[str, int] | None = None) -> Listing:
    """List every slice, reading each volume once.

    Parameters
    ----------
    folder : Path
    mask_labels : mapping of str → int or None
        What parts of masks are called, or numbers in them → 0 to 3; see `mask_files.read_mask`.

    Raises
    ------
    ValueError
        If a mask holds a label outside its coding, or no slice is usable.
    """
    lister = Lister(NAME, folder, mask_labels or {})
    images = folder / "images"
    volumes = _volumes(lister, images if images.is_dir() else folder)
    if images.is_dir():
        for other in without_written(sorted(visible(folder))):
            if other.name not in (images.name, *PARTS):
                lister.exclude(other, BESIDE)
    classes, lesions, lungs = (_volumes(lister, folder / part) for part in PARTS)
    masks = lesions | classes  # the classes where both are there: they say more
    for name in sorted(lesions.keys() & classes.keys()):
        lister.exclude(lesions[name][1].path, "its mask in classes says more")
    for name, (patient, image) in progress.track(volumes.items(), "listing volumes"):
        list_volume(
            lister,
            image.path,
            _file(masks.get(name)),
            lungs=_file(lungs.get(name)),
            patient=lambda index, patient=patient: patient,
            slice_name=lambda index, name=name: f"{name}.{index:03d}",
            binary=name not in classes,
            files=image.files,
        )
    for part in (masks, lungs):
        for name in sorted(part.keys() - volumes.keys()):
            lister.exclude(part[name][1].path, "no image of that name")
    return lister.listing(NOTE)


def _file(mask: tuple[str, Found] | None) -> Path | None:
    """Return the file of a mask, or the folder of one that is a series."""
    if mask is None:
        return None
    found = mask[1]
    return found.files[0] if len(found.files) == 1 else found.path


def holds_volumes(folder: Path) -> bool:
    """Say whether a volume lies in a folder, however far down."""
    return any(is_volume(file) for file in visible_below(folder))


def is_volume(file: Path, *kinds: str) -> bool:
    """Say whether a file seems to be a volume or a slice of one."""
    return file.is_file() and kind_of(file) in (kinds or (DICOM, *VOLUMES))


def _top(path: Path, folder: Path) -> str:
    """Return the first name on the way from a folder to a path; "." if they are one."""
    return next(iter(path.relative_to(folder).parts), ".")


def _volumes(lister: Lister, folder: Path) -> dict[str, tuple[str, Found]]:
    """Return name → patient and volume; what is none is listed.

    A volume is named after its file or folder, and what lies further down after the folders above
    it too: all volumes in a folder are one patient's.
    """
    if not folder.is_dir():
        return {}
    tree = look_through(folder)
    parts = PARTS if folder == lister.folder else ()  # of the source, no patients
    for file, reason in tree.unused:
        if _top(file, folder) not in parts:
            lister.exclude(file, reason)
    scans = [one for one in tree.scans if _top(one.path, folder) not in parts]
    if folder.name in PARTS:
        scans = [mask for one in scans for mask in _masks(lister, one)]
    tops = [_top(one.path, folder) for one in scans]
    paths = [one.path for one in scans]
    found: dict[str, tuple[str, Found]] = {}
    for top, one in sorted(zip(tops, scans, strict=True), key=lambda pair: (len(pair[0]), pair)):
        patient = stem_of(folder / top)
        above = one.path.relative_to(folder).parts[:-1]
        deep = [*map(readable, above), stem_of(one.path)]
        name = patient if tops.count(top) == 1 else "_".join(deep)
        homes = {file.parent for file in one.files}
        if one.kind == PICTURE:
            lister.exclude(one.path, "is no volume but pictures")
        elif len(one.files) == 1 and (why := unopened(one.files[0])):
            lister.exclude(one.path, why)
        elif paths.count(one.path) > 1:
            lister.exclude(
                one.path,
                f"series {one.number} lies with another one in this folder; "
                "put the slices of each in a folder of its own",
            )
        elif len(homes) > 1:
            lister.exclude(one.path, f"its slices lie in {len(homes)} folders; put them into one")
        elif name in found:
            lister.exclude(one.path, f"{found[name][1].path.name} has the same name")
        else:
            found[name] = patient, one
    return found


def _masks(lister: Lister, found: Found) -> list[Found]:
    """Return the masks among what was found: DICOM files that are no CT stand for themselves."""
    if found.kind != DICOM or found.series:
        return [found]
    masks = [file for file in found.files if modality_of(file)]
    for file in sorted(set(found.files) - set(masks)):
        lister.exclude(file, "is no mask")
    home = found.path.parent if found.path.is_file() else found.path
    alone = len(masks) == 1 and home.parent.name in PARTS
    return [Found(home if alone else file, DICOM, (file,)) for file in masks]


def list_volume(
    lister: Lister,
    image: Path,
    mask: Path | None,
    *,
    lungs: Path | None,
    patient: Callable[[int], str],
    slice_name: Callable[[int], str],
    binary: bool = False,
    files: Sequence[Path] | None = None,
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
        The mask tells lesion from background only, see `files.binary_labels`.
    files : sequence of Path or None
        Files of a DICOM series; all files in its folder if None.

    Raises
    ------
    ValueError
        If the mask holds a label outside its coding.
    """
    of = "lesions" if binary else "classes"
    try:
        volume = read_volume(image, files)
        found = read_mask(mask, volume, of=of, names=lister.mask_labels) if mask else None
    except ForeignLabel as error:
        lister.exclude(mask or image, error)
        return
    except UnreadableFile as error:
        lister.exclude(image, str(error))
        return
    for path, reason in volume.left_out:
        lister.exclude(path, reason)
    faults = [volume.fault(index) for index in range(len(volume.slices))]
    if not any(faults) and (fault := units_fault(volume.slices)):
        lister.exclude(image, fault)
        return
    try:
        coded = None if found is None else _coded(mask, found.labels, binary)
    except ForeignLabel as error:
        lister.exclude(mask or image, error)
        return
    _list_unread(lister, mask, found, "lesion is")
    lung_path = _lung_path(lister, volume, lungs, coded)
    for index, stored in enumerate(volume.slices):
        if faults[index]:
            lister.exclude(image, f"slice {index}: {faults[index]}")
            continue
        lister.add(
            patient_id=patient(index),
            slice_name=slice_name(index),
            image=image,
            size=stored.shape,
            mask=None if coded is None else (mask, coded[index]),
            image_index=index,
            lung_path=lung_path,
            **dict(zip(SPACING, volume.known_mm, strict=True)),
        )


def _list_unread(lister: Lister, path: Path | None, mask: Mask | None, meant: str) -> None:
    """List the parts of a mask that were passed over, by their names."""
    if mask is not None and mask.unread:
        called = ", ".join(map(repr, mask.unread))
        lister.exclude(path, f"its parts {called} are not named as {meant}, and were not read")


def _lung_path(
    lister: Lister, volume: Volume, lungs: Path | None, coded: NDArray[np.uint8] | None
) -> str | None:
    """Return the lung mask's path where there is one of lungs on the volume's grid."""
    if lungs is None:
        return None
    lesion = None if coded is None else np.isin(coded, (GGO, CONSOLIDATION, UNKNOWN_CLASS))
    try:
        found = read_mask(lungs, volume, of="lungs")
        refuse_no_lungs(lungs, found.labels, volume, lesion)
    except UnreadableFile as error:
        lister.exclude(lungs, str(error))
        return None
    _list_unread(lister, lungs, found, "lungs are")
    return lungs.relative_to(lister.folder).as_posix()


def _coded(path: Path, labels: NDArray[np.generic], binary: bool) -> NDArray[np.uint8]:
    """Return labels as the sources code them, refusing others."""
    if binary:
        return binary_labels(path, labels)
    check_labels(path, labels, {0, 1, 2, EFFUSION})
    return labels.astype(np.uint8)


def read(folder: Path, row: Any) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
    """Return one slice in [0, 1] and its mask (0, 1 GGO, 2 consolidation or 255), if labelled."""
    image = cached_volume(folder / row.image_path)
    grey = image.grey(row.image_index)
    if not row.labelled:
        return grey, None
    binary = Path(row.mask_path).parts[0] == "lesions"
    mask, coding = folder / row.mask_path, json.dumps(labels_of(row))
    of = "lesions" if binary else "classes"
    labels = _cached_mask(mask, folder / row.image_path, mask.stat().st_mtime_ns, of, coding)
    return grey, class_mask(_coded(mask, labels[row.image_index], binary))


def read_lungs(folder: Path, row: Any) -> NDArray[np.bool_]:
    """Return one slice's lung mask."""
    lungs, image = folder / row.lung_path, folder / row.image_path
    return _cached_mask(lungs, image, lungs.stat().st_mtime_ns, "lungs", "{}")[row.image_index] > 0


@lru_cache(maxsize=2)  # a mask and the lungs; slices come volume by volume
def _cached_mask(
    mask: Path, image: Path, modified_ns: int, of: str, coding: str
) -> NDArray[np.generic]:
    return read_mask(mask, cached_volume(image), of=of, names=json.loads(coding)).labels
