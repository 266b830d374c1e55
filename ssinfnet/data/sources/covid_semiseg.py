"""COVID-SemiSeg (data set 2): 8-bit slices, windowed, cropped to the lungs, without patient ids.

Labelled slices have a binary lesion mask and, beside it, a class mask; where both exist they must
agree pixel by pixel. `Prior` equals the ground truth and is never read (D-05). A fault of one slice
excludes that slice and is listed; labels outside the coding stop the run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data.sources.files import UnreadableFile, pictures, read_labels, read_picture
from ssinfnet.data.sources.listing import Lister, Listing, class_mask, labels_of
from ssinfnet.work import progress

__all__ = ["list_slices", "read", "recognises"]

NAME = "covid_semiseg"
NOTE = (
    "Labelled slices carry no patient ids: each counts as its own patient. Unlabelled slices name "
    "their study: one patient each, several series of one Radiopaedia case together."
)
TRAIN = Path("TrainingSet/LungInfection-Train/Doctor-label")
TRAIN_CLASSES = Path("TrainingSet/MultiClassInfection-Train/GT")
TEST = Path("TestingSet/LungInfection-Test")
TEST_CLASSES = Path("TestingSet/MultiClassInfection-Test/GT")
UNLABELLED = Path("TrainingSet/LungInfection-Train/Pseudo-label/Imgs")


def recognises(folder: Path) -> bool:
    """Say whether a folder has this source's layout."""
    return (folder / TRAIN / "Imgs").is_dir() or (folder / TEST / "Imgs").is_dir()


def list_slices(folder: Path, mask_labels: Mapping[str, int] | None = None) -> Listing:
    """List labelled, test and unlabelled slices, decoding each picture once.

    Parameters
    ----------
    folder : Path
    mask_labels : mapping of str → int or None
        Colours or grey values of class masks → 0 to 3, where they are not these already.

    Raises
    ------
    ValueError
        If a mask holds a label outside its coding, no slice is usable, or `mask_labels` names what
        no picture can hold.
    """
    if words := [name for name in mask_labels or {} if name[:1] != "#" and not name.isdigit()]:
        raise ValueError(
            f"mask_labels names {', '.join(map(repr, words))}, and the masks of {NAME} are "
            "pictures, which hold colours, written #ff0000, and grey values, such as 128"
        )
    lister = Lister(NAME, folder, mask_labels or {})
    for part, classes, split in ((TRAIN, TRAIN_CLASSES, "train"), (TEST, TEST_CLASSES, "test")):
        lesions = _by_stem(lister, folder / part / "GT")
        labels = _by_stem(lister, folder / classes)
        shown = _by_stem(lister, folder / part / "Imgs")
        for stem in sorted((lesions | labels).keys() - shown.keys()):
            lister.exclude((labels | lesions)[stem], "no image of that name")
        for stem, image in progress.track(shown.items(), f"listing {split} slices"):
            _list_labelled(lister, image, lesions.get(stem), labels.get(stem), split)
    for image in progress.track(pictures(folder / UNLABELLED), "listing unlabelled slices"):
        _list_unlabelled(lister, image)
    return lister.listing(NOTE)


def _by_stem(lister: Lister, folder: Path) -> dict[str, Path]:
    """Return name without ending → picture; a second picture of one name is listed."""
    found: dict[str, Path] = {}
    for path in pictures(folder):
        if path.stem in found:
            lister.exclude(path, f"{found[path.stem].name} has the same name")
        else:
            found[path.stem] = path
    return found


def _list_labelled(
    lister: Lister, image: Path, lesion: Path | None, classes: Path | None, split: str
) -> None:
    if lesion is None and classes is None:
        lister.exclude(image, "no mask of that name")
        return
    try:
        grey = read_picture(image)
        labels = (
            read_labels(classes, names=lister.mask_labels)
            if classes
            else read_labels(lesion, binary=True)
        )
        binary = read_labels(lesion, binary=True) if lesion else labels
    except UnreadableFile as error:
        lister.exclude(image, error)
        return
    for mask in (binary, labels):
        if mask.shape != grey.shape:
            lister.exclude(image, f"image has {grey.shape} pixels and its mask {mask.shape}")
            return
    if ((labels > 0) != (binary > 0)).any():
        lister.exclude(image, "lesion mask and class mask disagree")
        return
    lister.add(
        patient_id=f"{split}_{image.stem}",
        slice_name=f"{split}.{image.stem}",
        image=image,
        size=grey.shape,
        mask=(classes or lesion, labels),
        source_split=split,
    )


def _list_unlabelled(lister: Lister, image: Path) -> None:
    try:
        grey = read_picture(image)
    except UnreadableFile as error:
        lister.exclude(image, str(error))
        return
    lister.add(
        patient_id=unlabelled_patient(image.stem),
        slice_name=f"unlabelled.{image.stem}",
        image=image,
        size=grey.shape,
    )


def unlabelled_patient(stem: str) -> str:
    """Return the patient of an unlabelled slice, from its file name.

    Examples
    --------
    >>> unlabelled_patient("Data-1_coronacases_org_001_57")
    'coronacases_org_001'
    >>> unlabelled_patient("Data-1_radiopaedia_org_covid-19-pneumonia-10_85902_3-dcm_88")
    'radiopaedia_org_covid-19-pneumonia-10'
    """
    volume = re.sub(r"_\d+$", "", stem.removeprefix("Data-1_"))
    # A Radiopaedia case may have several series: …-10_85902_1-dcm and …-10_85902_3-dcm.
    return re.sub(r"_\d+_\d+-dcm$", "", volume)


def read(folder: Path, row: Any) -> tuple[NDArray[np.float32], NDArray[np.uint8] | None]:
    """Return one slice in [0, 1] and its mask (0, 1 GGO, 2 consolidation or 255), if labelled."""
    grey = read_picture(folder / row.image_path).astype(np.float32) / 255
    if not row.labelled:
        return grey, None
    binary = Path(row.mask_path).parent not in (TRAIN_CLASSES, TEST_CLASSES)
    labels = read_labels(
        folder / row.mask_path, binary=binary, names=None if binary else labels_of(row)
    )
    return grey, labels if binary else class_mask(labels)
