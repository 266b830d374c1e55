"""What a folder of raw data holds, before a study reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ssinfnet.data import duplicates, same_patient, sources
from ssinfnet.study.config import SourceConfig, SplitConfig
from ssinfnet.work import progress

__all__ = ["Inspection", "inspect"]

SHOWN = 20  # lines of a list; the rest is counted


@dataclass(frozen=True)
class Inspection:
    """The patients and slices in a folder of raw data, and what cannot be used.

    Attributes
    ----------
    listing : sources.Listing
        Slices, and what cannot be used and why.
    duplicates : DataFrame
        Slices of different patients that look like one: slice_a, slice_b, bits, correlation.
    """

    listing: sources.Listing
    duplicates: pd.DataFrame

    def counts(self) -> pd.DataFrame:
        """Return patients and slices: all, labelled, and with each label.

        Returns
        -------
        DataFrame
            Index what; patients, slices, pixels (of the label, missing where none is meant).
        """
        slices = self.listing.slices
        labelled = slices["labelled"]
        kinds = {
            "all": (slices["slice_id"].notna(), None),
            "labelled": (labelled, None),
            "unlabelled": (~labelled, None),
            "with lesion": (slices["has_lesion"].fillna(False), "lesion_pixels"),
            "with GGO": (slices["has_ggo"].fillna(False), None),
            "with consolidation": (slices["has_consolidation"].fillna(False), None),
            "with pleural effusion": (slices["effusion_pixels"].fillna(0) > 0, "effusion_pixels"),
            "lesion of unknown class": (labelled & slices["has_ggo"].isna(), None),
            "with a lung mask": (slices["lung_path"].notna(), None),
            "with known spacing": (slices["spacing_row_mm"].notna(), None),
        }
        rows = {
            what: {
                "patients": slices.loc[chosen.astype(bool), "patient_id"].nunique(),
                "slices": int(chosen.sum()),
                "pixels": int(slices.loc[chosen.astype(bool), label].sum()) if label else pd.NA,
            }
            for what, (chosen, label) in kinds.items()
        }
        table = pd.DataFrame.from_dict(rows, orient="index").astype("Int64")
        return table.rename_axis("what")

    def text(self) -> str:
        """Return everything as lines for a terminal."""
        slices = self.listing.slices
        sizes = slices[["height", "width"]]
        parts = [
            f"{slices['source'].iat[0]} in {self.listing.folder}",
            self.listing.note,
            f"slices of {_span(sizes['height'])} × {_span(sizes['width'])} pixels",
            self.counts().to_string(na_rep=""),
            _listed("left out", self.listing.exclusions[["file", "reason"]]),
            _listed("slices of different patients that look like one", self.duplicates),
            self._same_patient(),
        ]
        return "\n\n".join(parts)

    def json(self) -> str:
        """Return everything as JSON: folder, counts, left_out, duplicates, same_patient."""
        tables = {
            "counts": self.counts().reset_index(),
            "left_out": self.listing.exclusions[["file", "reason"]],
            "duplicates": self.duplicates,
            "same_patient": self.look_alikes(),
        }
        rows = {name: json.loads(table.to_json(orient="records")) for name, table in tables.items()}
        about = {"folder": str(self.listing.folder), "source": self.listing.slices["source"].iat[0]}
        return json.dumps(about | rows, indent=2, ensure_ascii=False)

    def look_alikes(self) -> pd.DataFrame:
        """Return volumes most of whose slices recur in another patient's (D-71).

        Returns
        -------
        DataFrame
            patient, other, alike, slices; see `same_patient.look_alikes`.
        """
        return same_patient.look_alikes(self.duplicates, self.listing.slices)

    def _same_patient(self) -> str:
        alike = self.look_alikes()
        listed = _listed("volumes of different patients that look like one patient's", alike)
        if alike.empty:
            return listed
        pairs = zip(alike["patient"], alike["other"], strict=True)
        key = same_patient.study_key(pairs)
        return f"{listed}\n\nname them as one in a study that reads them, under data:\n  {key}"


def inspect(folder: Path, source: str, mask_labels: Mapping[str, int] | None = None) -> Inspection:
    """List a folder of raw data and look for slices that occur under two patients.

    Parameters
    ----------
    folder : Path
    source : str
        Name of its layout, one of `sources.ADAPTERS`.
    mask_labels : mapping of str → int or None
        What masks say → 0 to 3, as a study's key of that name.

    Raises
    ------
    FileNotFoundError
        If the folder has not that layout.
    ValueError
        If the layout is unknown, a mask holds a foreign label, no slice is usable, or
        `mask_labels` is impossible.
    """
    if source not in sources.ADAPTERS:
        raise ValueError(f"unknown source {source!r}; expected one of {list(sources.ADAPTERS)}")
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    settings = SourceConfig(name=source, folder=".", mask_labels=dict(mask_labels or {}))
    listing = sources.list_slices(settings, folder)
    read = sources.read_slices({source: listing.folder}, listing.slices)
    tracked = progress.track(read, "comparing slices", len(listing.slices))
    thumbnails = duplicates.thumbnail_store(len(listing.slices))
    for index, (_, image, _) in enumerate(tracked):
        thumbnails[index] = duplicates.thumbnail(image)
    limits = SplitConfig()
    alike = duplicates.near_duplicates(
        listing.slices,
        thumbnails,
        listing.slices["patient_id"],
        limits.near_duplicate_bits,
        limits.near_duplicate_correlation,
    )
    return Inspection(listing, alike.drop(columns=["split_a", "split_b"]))


def _span(values: pd.Series) -> str:
    low, high = int(values.min()), int(values.max())
    return str(low) if low == high else f"{low}–{high}"


def _listed(what: str, rows: pd.DataFrame) -> str:
    if rows.empty:
        return f"{what}: none"
    more = f"\n… and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    return f"{what}: {len(rows)}\n{rows.head(SHOWN).to_string(index=False)}{more}"
