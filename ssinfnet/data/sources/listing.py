"""What every source hands over: one row a slice, and what had to be left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.storage.untrusted import UnreadableFile

__all__ = ["COLUMNS", "EFFUSION", "SPACING", "UNKNOWN_CLASS", "ForeignLabel", "Listing", "Lister",
           "MaskLabels", "class_mask", "labels_of", "note_match"]  # fmt: skip

SHOWN = 20  # faulty masks that an error names; the others are counted
SPACING = ("spacing_slice_mm", "spacing_row_mm", "spacing_column_mm")
GGO, CONSOLIDATION, EFFUSION = 1, 2, 3
UNKNOWN_CLASS = 255  # lesion in a mask that does not tell GGO from consolidation

# Column → dtype of the slice table, in its order. Paths are relative to the source's folder.
COLUMNS = {
    "patient_id": "str",
    "scan_id": "str",  # the source's name of the patient; a study may name several as one
    "slice_id": "str",
    "source": "str",
    "image_path": "str",
    "image_index": "Int64",  # position in the volume or scan, missing where slices stand alone
    "mask_path": "str",  # missing when unlabelled
    "mask_values": "str",  # what 1, 2 and 3 mean in the mask, where sources differ in it
    "lung_path": "str",  # missing when the source has no lung mask
    "mask_labels": "str",  # JSON of the study's own coding of masks, missing when it has none
    "height": "int64",
    "width": "int64",
    "spacing_slice_mm": "float64",  # NaN when unknown
    "spacing_row_mm": "float64",
    "spacing_column_mm": "float64",
    "labelled": "bool",
    "has_lesion": "boolean",  # missing when unlabelled
    "has_ggo": "boolean",  # missing when unlabelled or the mask has no classes
    "has_consolidation": "boolean",
    "lesion_pixels": "Int64",
    "effusion_pixels": "Int64",
    "source_split": "str",  # the source's own "train" or "test", missing when it has none
}


class ForeignLabel(UnreadableFile):
    """A mask holds a label outside its coding; training on it would be silent nonsense."""


class MaskLabels(dict[str, int]):
    """The study's `mask_labels`, and which of its keys something in a mask has matched so far."""

    def __init__(self, labels: Mapping[str, int]) -> None:
        super().__init__(labels)
        self.matched: set[str] = set()


def note_match(names: Mapping[str, int], keys: Iterable[str]) -> None:
    """Note that a mask holds what keys of `mask_labels` name, where a source is listed."""
    if isinstance(names, MaskLabels):
        names.matched.update(keys)


@dataclass(frozen=True)
class Listing:
    """The slices of one source.

    Attributes
    ----------
    slices : DataFrame
        Columns of `COLUMNS`.
    exclusions : DataFrame
        Columns source, file, reason: what is there and could not be used.
    folder : Path
        Where the source lies; paths in `slices` are relative to it.
    note : str
        What the source tells about patients (D-01).
    """

    slices: pd.DataFrame
    exclusions: pd.DataFrame
    folder: Path
    note: str


@dataclass
class Lister:
    """Collects rows and exclusions while a source is walked."""

    source: str
    folder: Path
    mask_labels: Mapping[str, int] = field(default_factory=dict)  # the study's own coding
    rows: list[dict[str, Any]] = field(default_factory=list)
    excluded: list[dict[str, str]] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.mask_labels = MaskLabels(self.mask_labels)

    def exclude(self, file: Path, reason: str | UnreadableFile) -> None:
        """List a file that cannot be used; the reason is a text, or the error that tells it."""
        if isinstance(reason, ForeignLabel):
            self.foreign.append(str(reason))
        reason = str(reason)
        name = file.relative_to(self.folder).as_posix()
        # Tables are published: they name files below the source's folder, not this machine's.
        reason = reason.replace(f"{self.folder}/", "")
        self.excluded.append({"source": self.source, "file": name, "reason": reason})

    def add(
        self,
        patient_id: str,
        slice_name: str,
        image: Path,
        size: tuple[int, int],
        *,
        mask: tuple[Path, NDArray[np.uint8]] | None = None,
        **columns: Any,
    ) -> None:
        """List a slice; `mask` is its file and label array as stored, `columns` further columns."""
        row: dict[str, Any] = {
            "patient_id": patient_id,
            "scan_id": patient_id,
            "slice_id": _plain(f"{self.source}.{slice_name}"),
            "source": self.source,
            "image_path": image.relative_to(self.folder).as_posix(),
            "height": size[0],
            "width": size[1],
            "labelled": mask is not None,
            **columns,
        }
        if mask is not None:
            file, labels = mask
            classes = UNKNOWN_CLASS not in labels
            row |= {
                "mask_path": file.relative_to(self.folder).as_posix(),
                "mask_labels": json.dumps(dict(self.mask_labels)) if self.mask_labels else pd.NA,
                "lesion_pixels": int(np.isin(labels, (GGO, CONSOLIDATION, UNKNOWN_CLASS)).sum()),
                "effusion_pixels": int((labels == EFFUSION).sum()),
                "has_ggo": bool((labels == GGO).any()) if classes else pd.NA,
                "has_consolidation": bool((labels == CONSOLIDATION).any()) if classes else pd.NA,
            }
            row["has_lesion"] = row["lesion_pixels"] > 0
        self.rows.append(row)

    def listing(self, note: str) -> Listing:
        """Return what was collected, typed.

        Raises
        ------
        ValueError
            If no slice can be used, and the exclusions say why; or if masks hold labels outside
            their coding, all of which the message lists.
        """
        if self.foreign:
            more = len(self.foreign) - SHOWN
            lines = [*self.foreign[:SHOWN], *([f"… and {more} more"] if more > 0 else [])]
            first = [f"{len(self.foreign)} masks hold foreign labels:"] if len(lines) > 1 else []
            raise ValueError("\n".join([*first, *lines]))
        if not self.rows:
            reasons = "; ".join(f"{e['file']}: {e['reason']}" for e in self.excluded[:5])
            raise ValueError(f"{self.folder} has no usable slice of {self.source} ({reasons})")
        matched = getattr(self.mask_labels, "matched", set())
        if unmatched := sorted(self.mask_labels.keys() - matched):
            called = ", ".join(map(repr, unmatched))
            self.exclude(self.folder, f"mask_labels names {called}, which no mask holds")
        slices = pd.DataFrame(self.rows).reindex(columns=list(COLUMNS)).astype(COLUMNS)
        exclusions = pd.DataFrame(self.excluded, columns=["source", "file", "reason"], dtype="str")
        return Listing(slices, exclusions, self.folder, note)


def labels_of(row: Any) -> dict[str, int]:
    """Return the study's own coding of a row's mask; empty where it has the source's."""
    return {} if pd.isna(row.mask_labels) else json.loads(row.mask_labels)


def _plain(name: str) -> str:
    """Spell a name in letters, digits and ``._-``; different names stay different."""
    return re.sub(r"[^A-Za-z0-9._-]", lambda found: f"_{ord(found.group()):x}_", name)


def class_mask(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a mask with pleural effusion as background (D-02): 0, GGO 1, consolidation 2, 255."""
    return np.where(labels == EFFUSION, 0, labels).astype(np.uint8)
