"""The tables and the manifest of a folder of predictions, and what a call did there.

The tables have the scans of all calls that wrote into the folder: a row a scan, and a row for
whatever was not used. A scan's ``identity`` is the same for the same bytes, whatever its files are
called (D-114).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from ssinfnet.patients import phenotypes as radiomics
from ssinfnet.scans import Excluded, burden
from ssinfnet.scans.prediction import Predictor
from ssinfnet.scans.prediction_plan import (
    EXCLUDED,
    FORMULA,
    MANIFEST,
    PHENOTYPES,
    PREDICTIONS,
    refused_in,
)
from ssinfnet.storage import artifacts
from ssinfnet.study.config import TextureConfig

__all__ = ["COLUMNS", "Written", "refused_before", "replaced_since", "texture_of",
           "write_manifest", "write_tables"]  # fmt: skip

COLUMNS = (
    burden.COLUMNS[0], "identity", "location", *burden.COLUMNS[1:], "model", "threshold",
)  # fmt: skip


@dataclass
class Written:
    """What `predict_into` did, and what earlier calls left in the folder."""

    excluded: list[Excluded] = field(default_factory=list)
    unchosen: list[Excluded] = field(default_factory=list)  # series that are not wanted
    asked_for: bool = False  # series were, so that the others are no files beside
    kept: int = 0  # scans whose files were current
    # Name of a scan → its record: the scans of this call, and the others in the folder
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    earlier: dict[str, dict[str, Any]] = field(default_factory=dict)
    earlier_refused: list[Excluded] = field(default_factory=list)
    looked_at: set[str] = field(default_factory=set)  # locations of this call's inputs and scans
    # Our files in the folder → their hashes when records were last read
    noticed: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, record: dict[str, Any]) -> None:
        """Note that a scan's files are there."""
        self.earlier.pop(name, None)
        self.records[name] = record
        self.excluded += [Excluded(*one) for one in record["left_out"]]

    def drop(self, name: str, before: dict[str, Any] | None) -> None:
        """Forget a scan whose files could not be put in place; those of an earlier call are."""
        if before:
            self.earlier[name] = before
        if record := self.records.pop(name, None):
            left_out = [Excluded(*one) for one in record["left_out"]]
            self.excluded = [one for one in self.excluded if one not in left_out]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of this call's scans."""
        return [record["row"] for record in self.records.values()]

    @property
    def refused(self) -> list[Excluded]:
        """Whole inputs that could not be used."""
        return [one for one in self.excluded if not one.file]

    @property
    def status(self) -> int:
        """0 if every file was used, 1 if an input was not, 3 if only files beside were not."""
        beside = self.excluded or (self.unchosen and not self.asked_for)
        return 1 if self.refused else 3 if beside else 0

    def json(self, folder: Path) -> str:
        """Return what was done as JSON, for programs.

        It has ``folder`` and ``status``; ``scans``, a row of `COLUMNS` each with its ``files``
        below the folder; ``not_used``, a row of input, file, reason and location each.
        """
        scans = [
            {**record["row"], "files": sorted(record["files"])} for record in self.records.values()
        ]
        not_used = [one._asdict() for one in (*self.excluded, *self.unchosen)]
        content = {"folder": str(folder), "status": self.status}
        return json.dumps({**content, "scans": scans, "not_used": not_used}, indent=2)

    def text(self, folder: Path) -> str:
        """Say in a line what was done."""
        current = f", {self.kept} of them current already" if self.kept else ""
        earlier = f", beside {len(self.earlier)} of earlier calls" if self.earlier else ""
        files = len(self.excluded) - len(self.refused)
        files += 0 if self.asked_for else len(self.unchosen)
        unused = f"{len(self.refused)} input(s) and {files} file(s) beside not used"
        unused = unused if self.refused or files else "every file was used"
        return (
            f"{len(self.rows)} scan(s) in {folder / PREDICTIONS}{current}{earlier}; {unused}. "
            "Research only, not a medical device."
        )


def refused_before(folder: Path, done: Written, names: Collection[str]) -> list[Excluded]:
    """Return the inputs that calls before could not use, and that this one has not looked at.

    Parameters
    ----------
    folder : Path
    done : Written
    names : collection of str
        Names of this call's scans: earlier versions told inputs apart by nothing else.
    """
    again = set(names) | {one.input for one in done.excluded}
    return [
        row
        for row in refused_in(folder)
        if (row.location not in done.looked_at if row.location else row.input not in again)
    ]


def replaced_since(done: Written) -> dict[str, dict[str, Any]]:
    """Return the records of earlier scans whose places hold others now, which they name.

    Such as folders of two patients that were mixed up and then set right: what was seen in them
    before stays, and its row must not pass for that of the scan that lies there.
    """
    here = {record["location"]: name for name, record in done.records.items()}
    return {
        name: {**record, "replaced_by": here[record["location"]]}
        for name, record in done.earlier.items()
        if record.get("location") in here
    }


def _row(record: Mapping[str, Any]) -> dict[str, Any]:
    row = dict(record["row"])
    if now := record.get("replaced_by"):
        since = f"its place has held another scan since, {now}"
        row["reason"] = "; ".join(filter(None, [row["reason"], since]))
    return row


def texture_of(asked: Mapping[str, Any]) -> TextureConfig:
    """Return what phenotypes were asked for; earlier versions wrote no word of it."""
    return TextureConfig.model_validate_json(json.dumps(asked.get("texture", {})))


def write_tables(folder: Path, done: Written) -> None:
    """Write a row a scan: those of other calls by name, then this call's in its order."""
    records = [*(done.earlier[name] for name in sorted(done.earlier)), *done.records.values()]
    excluded = [Excluded(*one) for record in done.earlier.values() for one in record["left_out"]]
    tables: dict[str, tuple[list[Any], Any]] = {
        PREDICTIONS: ([_row(record) for record in records], list(COLUMNS)),
        EXCLUDED: (
            excluded + done.earlier_refused + done.excluded + done.unchosen,
            list(Excluded._fields),
        ),
    }
    if measured := [record for record in records if record["phenotypes"]]:
        rows = [record["phenotypes"] for record in measured]
        textures = [texture_of(record["made"]["parameters"]) for record in measured]
        names = [radiomics.columns(radiomics.CLASSES, texture) for texture in textures]
        known = [name for name in dict.fromkeys(sum(names, [])) if any(name in row for row in rows)]
        tables[PHENOTYPES] = rows, ["scan", *known]
    for name, (rows, columns) in tables.items():
        table = pd.DataFrame(rows, columns=columns)
        if name == PREDICTIONS:
            table = table.astype({"grade": "Int64", "ct_ss": "Int64"})
        artifacts.write_text(
            folder / name, table.map(_as_text).to_csv(index=False, lineterminator="\n")
        )


def _as_text(value: Any) -> Any:
    """Return a value that no spreadsheet takes for a formula: names come from other people."""
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def write_manifest(
    folder: Path, done: Written, predictor: Predictor, asked: Mapping[str, Any]
) -> None:
    """Write what this call was, and scan by scan what made the files in the folder."""
    records = done.earlier | done.records
    model = predictor.model
    content = artifacts.made_by("predict", {**predictor.settings(), **asked})
    content |= {
        "model": {"name": model.name, "sha256": model.digest, "files": model.description.files()},
        "settings": {name: record["made"]["parameters"] for name, record in records.items()},
        "inputs": {name: record["made"]["inputs"] for name, record in records.items()},
        "outputs": {name: record["files"] for name, record in records.items()},
        "tables": {name: artifacts.sha256(folder / name) for name in (PREDICTIONS, EXCLUDED)},
    }
    artifacts.write_json(folder / MANIFEST, content)
