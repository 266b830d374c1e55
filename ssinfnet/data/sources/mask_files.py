"""Read a mask of a volume, whatever its format, as labels on the volume's grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data.sources import dicom_masks, part_names
from ssinfnet.data.sources.files import UnreadableFile
from ssinfnet.data.sources.kinds import NRRD, VOLUMES, kind_of
from ssinfnet.data.sources.listing import CONSOLIDATION, GGO, ForeignLabel, note_match
from ssinfnet.data.sources.volume_files import SAME_PLACE, Volume, cached_volume, grid_fault
from ssinfnet.storage import untrusted_itk

__all__ = ["Mask", "label_named", "read_mask"]


@dataclass(frozen=True)
class Mask:
    """A mask on the grid of its image.

    Attributes
    ----------
    labels : (n, height, width) array
        Slices as `Volume.slices` has them.
    unread : tuple of str
        Names of parts that are neither lesion nor lungs, whichever was asked for.
    """

    labels: NDArray[np.generic]
    unread: tuple[str, ...] = ()


def read_mask(
    path: Path, image: Volume, *, of: str = "classes", names: Mapping[str, int] | None = None
) -> Mask:
    """Return the labels of a mask on the grid of its image.

    Parameters
    ----------
    path : Path
        A volume, a DICOM-SEG or an RTSTRUCT.
    image : Volume
    of : str
        What the mask shows: classes, lesions or lungs, as its folder says. Of lesions and of lungs
        the parts of a DICOM-SEG, RTSTRUCT or ``.seg.nrrd`` that are named so are 1, and others 0.
    names : mapping of str → int or None
        The study's `mask_labels`: what parts are called, or a number in a volume → its label. The
        names of a ``.seg.nrrd`` file's segments tell as those of other files do.

    Raises
    ------
    UnreadableFile
        If it cannot be read or does not lie on the image.
    ForeignLabel
        If a part has a name that means no label, no part is named lesion or lungs, or parts of
        several labels overlap.
    """
    names = names or {}
    kind = kind_of(path)
    if kind in VOLUMES:
        mask = cached_volume(path)
        fault = grid_fault(image, mask, "lung mask" if of == "lungs" else "mask")
        if fault and kind != NRRD:  # others do not cut masks: slices would be missing
            raise UnreadableFile(fault)
        stored = _within(image, mask, fault) if fault else mask.slices
        named = untrusted_itk.segment_names(path) if kind == NRRD else {}
        segments = {value: name for value, name in named.items() if (stored == value).any()}
        label_of_value = _named_values(path, segments, names, of)
        labels: NDArray[Any] = stored.copy() if label_of_value else stored
        for value, label in label_of_value.items():
            if (here := stored == value).any():
                labels[here] = label
                note_match(names, (key for key in names if key.isdigit() and int(key) == value))
        return Mask(labels, _unread(segments.values(), of, names))
    parts = dicom_masks.read_parts(path, image)
    for name in parts:
        _studys_label(name, names)  # a part that is empty here is no slip in the study
    parts = {name: part for name, part in parts.items() if part.any()}
    label_of_name = _labels_of_parts(path, list(parts), names, of)
    drawn = np.zeros(image.slices.shape, np.uint8)
    for name, part in parts.items():
        label = label_of_name[name]
        if label and ((drawn > 0) & (drawn != label) & part).any():
            raise ForeignLabel(
                f"{path} has parts of several labels that overlap, such as {name!r}; draw each "
                "voxel in one of them, or name the part that shall not count in the study, under "
                f"the source: mask_labels: {{{name!r}: 0}}"
            )
        if label:
            drawn[part] = label
    return Mask(drawn, _unread(parts, of, names))


def _named_values(
    path: Path, segments: Mapping[int, str], names: Mapping[str, int], of: str
) -> dict[int, int]:
    """Return which numbers in a volume mean which label: by the study, or by segments' names.

    A segment that was never named, such as Segment_1, keeps its number; another one whose name
    means no class is refused as of other files, unless the study names its number.
    """
    numbers = {int(name): label for name, label in names.items() if name.isdigit()}
    told = {
        value: name
        for value, name in segments.items()
        if value not in numbers
        and not (
            of == "classes" and part_names.is_generic(name) and _studys_label(name, names) is None
        )
    }
    label_of_name = _labels_of_parts(path, list(told.values()), names, of)
    return {value: label_of_name[name] for value, name in told.items()} | numbers


def _labels_of_parts(
    path: Path, parts: Sequence[str], names: Mapping[str, int], of: str
) -> dict[str, int]:
    """Return part → label: its class, or 1 for what is meant and 0 for what is not (D-129)."""
    if of == "classes":
        return {name: label_named(path, name, names) for name in parts}
    meant = {name: _label_meant(name, names, of) for name in parts}
    if not parts or any(label is not None for label in meant.values()):
        return {name: label or 0 for name, label in meant.items()}
    if len(parts) == 1 and part_names.is_generic(parts[0]):
        return {parts[0]: 1}
    called = ", ".join(map(repr, parts))
    if of == "lungs":
        raise ForeignLabel(
            f"{path} has no part that is named as lungs are, but {called}; name the lungs so "
            "(Lung, Lung_L, right upper lobe), or leave a single part that is called Segment_1"
        )
    raise ForeignLabel(
        f"{path} has no part that is named as lesion is, but {called}; name the lesion so (Lesion, "
        "Infection, GGO), or say what it is in the study, under the source: mask_labels: "
        f"{{{parts[0]!r}: 1}} (1 lesion, 0 nothing)"
    )


def _label_meant(name: str, names: Mapping[str, int], of: str) -> int | None:
    """Return 1 if a part is lesion or lungs, whichever is meant; None where its name is neither.

    What a study says counts for lesions alone: `mask_labels` knows no lungs.
    """
    if of == "lungs":
        return 1 if part_names.names_lungs(name) else None
    if (label := _studys_label(name, names)) is not None:
        return int(label in (GGO, CONSOLIDATION))
    return 1 if part_names.names_lesion(name) else None


def _unread(parts: Iterable[str], of: str, names: Mapping[str, int]) -> tuple[str, ...]:
    """Return the names of parts that are passed over and that no study named, in their order."""
    parts = list(parts)
    if of == "classes" or len(parts) < 2:
        return ()
    return tuple(name for name in parts if _label_meant(name, names, of) is None)


def label_named(path: Path, name: str, names: Mapping[str, int]) -> int:
    """Return the label of a part by its name: the study's, else the class that it means (D-129).

    Parameters
    ----------
    path : Path
        Named in the error.
    name : str
    names : mapping of str → int
        Names, or patterns of them, in any case.

    Raises
    ------
    ForeignLabel
        If the name means none.

    Examples
    --------
    >>> label_named(Path("a.dcm"), "Ground-glass opacity", {})
    1
    """
    if (label := _studys_label(name, names)) is not None:
        return label
    if (label := part_names.class_named(name)) is None:
        likely = int(part_names.names_lesion(name))
        raise ForeignLabel(
            f"{path} has a part called {name!r}, which names no class; say what it is in the "
            f"study, under the source: mask_labels: {{{name!r}: {likely}}} (1 GGO, "
            "2 consolidation, 3 pleural effusion, 0 nothing)"
        )
    return label


def _studys_label(name: str, names: Mapping[str, int]) -> int | None:
    """Return the label that the study gives a part of this name, None if it names it nowhere."""
    for pattern, label in names.items():
        if name.lower() == pattern.lower() or fnmatchcase(name.lower(), pattern.lower()):
            note_match(names, [pattern])
            return label
    return None


def _within(image: Volume, mask: Volume, fault: str) -> NDArray[np.generic]:
    """Return the slices of a mask that has whole voxels of a part of the image's grid."""
    ours = np.linalg.inv(image.canonical_affine) @ mask.canonical_affine
    shape = np.array(mask.slices.shape[::-1])
    ends = np.array([[0, 0, 0], shape - 1])
    places = np.column_stack([ends, np.ones(2)]) @ ours.T
    low, high = np.rint(places[:, :3]).astype(int)
    off = max(
        np.abs(places[:, :3] - [low, high]).max(),
        np.abs((ours[:3, :3] - np.eye(3)) @ (shape - 1)).max(),
    )
    room = image.slices.shape[::-1]
    inside = (low >= 0).all() and (high < room).all() and (high - low == shape - 1).all()
    if off > SAME_PLACE or not inside:
        raise UnreadableFile(fault)
    canonical = np.zeros(room, mask.slices.dtype)
    inner = tuple(slice(first, last + 1) for first, last in zip(low, high, strict=True))
    canonical[inner] = mask.slices.transpose(2, 1, 0)[::-1, ::-1]
    return canonical[::-1, ::-1].transpose(2, 1, 0)
