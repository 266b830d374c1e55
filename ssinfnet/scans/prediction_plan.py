"""Which scans are to be predicted into a folder, under which names, and which are there already.

All of it is known before a network runs, and so is every file that will be written: a call that
would replace or remove somebody else's file does nothing (D-68).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import starmap
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ssinfnet.data.sources.dicom_headers import unopened
from ssinfnet.data.sources.kinds import VOLUMES, is_tiff, map_ending, readable, readable_name
from ssinfnet.scans import Excluded, Place, burden, free_name, short_name
from ssinfnet.scans.prediction import Predictor
from ssinfnet.storage import artifacts
from ssinfnet.storage.written_files import WrittenFiles
from ssinfnet.work import progress

__all__ = ["EXCLUDED", "FORMULA", "MANIFEST", "PHENOTYPES", "PREDICTIONS", "Job", "NameTaken",
           "Plan", "files_of", "made", "picture_names", "plan", "record_name", "records_in",
           "refuse_taken", "refused_in", "renamed", "without_folders"]  # fmt: skip

PREDICTIONS, PHENOTYPES = "predictions.csv", "phenotypes.csv"
EXCLUDED, MANIFEST, RECORDS = "table_excluded.csv", "manifest.json", "records"
FORMULA = re.compile(r"[=+@\t\r]|-(?![\d.])")  # a text that a spreadsheet would compute
MAPS = ("lesion", "classes", "mask", "uncertainty", "ct")


class Job(NamedTuple):
    """A scan to predict, or to leave as it is."""

    place: Place  # under the name that its files get
    made: dict[str, Any]  # what is about to make its files
    record: dict[str, Any] | None  # of the files that are there, if they are current


class NameTaken(Exception):
    """Another call has given the name of a scan to another one since the plan was made."""


@dataclass
class Plan:
    """What a call will do."""

    jobs: list[Job] = field(default_factory=list)
    records: dict[str, dict[str, Any]] = field(default_factory=dict)  # of all scans in the folder
    unreadable: list[Excluded] = field(default_factory=list)


def plan(
    written: WrittenFiles,
    places: Sequence[Place],
    predictor: Predictor,
    asked: Mapping[str, Any],
) -> Plan:
    """Name each scan so that no other's files are replaced, and note which are current.

    A scan is known again by where it lies and the names and bytes of its files, and keeps the name
    of the earlier call. One whose name another scan has is named after the folder above too, then
    by number: also what lies now where another scan did.

    Parameters
    ----------
    written : WrittenFiles
        What is known of the folder that receives the files.
    places : sequence of Place
    predictor : Predictor
    asked : mapping
        phenotypes and dicom, and where they are asked for resample and declared, as
        `predicted_files.predict_into` takes them.

    Raises
    ------
    FileExistsError
        If a file that is not ours, or was changed since, would be replaced or removed.
    """
    made_plan = Plan(records=records_in(written))
    reserved = {place.name.casefold() for place in places}
    used: set[str] = set()
    here = {place.location for place in places}
    refused = [one.input for one in refused_in(written.folder) if one.location not in here | {""}]
    taken = {name.casefold() for name in (*made_plan.records, *refused)}
    for place in progress.track(places, "hashing scans"):
        try:
            by = made(place, predictor, asked)
        except OSError as error:
            why = next(filter(None, map(unopened, place.files)), str(error))
            reason = without_folders(f"{readable_name(place.path)} {why}", place)
            made_plan.unreadable.append(Excluded(place.name, "", reason, place.location))
            continue
        name = _known_name(place, by["inputs"], made_plan.records, used)
        name = name or _free_name(place, taken, reserved)
        used.add(name)
        taken.add(name.casefold())
        record = _current(written.folder, made_plan.records.get(name), by)
        made_plan.jobs.append(Job(replace(place, name=name), by, record))
    _refuse_others(written, made_plan.jobs, predictor, asked)
    return made_plan


def refuse_taken(job: Job, records: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise `NameTaken` if another scan has the name of this one; `records` are of all scans."""
    record = records.get(job.place.name)
    if record and not _is_of(record, job.place, job.made["inputs"]):
        raise NameTaken(job.place.name)


def renamed(job: Job, jobs: Sequence[Job], records: Mapping[str, Any]) -> Job:
    """Return a job whose scan has a name that is free in the folder and among a call's `jobs`."""
    taken = {name.casefold() for name in records}
    reserved = {one.place.name.casefold() for one in jobs}
    name = _free_name(job.place, taken, reserved)
    return job._replace(place=replace(job.place, name=name))


def made(place: Place, predictor: Predictor, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Describe what is about to make a scan's files; reads every file of the scan."""
    parameters = {
        "model": predictor.model.name,
        "model_sha256": predictor.model.digest,
        **predictor.settings(),
        **asked,
    }
    inputs = {name: artifacts.sha256(file) for file, name in place.file_names().items()}
    return artifacts.made_by("predict", parameters) | {"inputs": inputs}


def without_folders(reason: str, place: Place) -> str:
    """Tables may be published: they name files, not this machine's folders."""
    return readable(reason.replace(f"{place.path}/", "").replace(f"{place.path.parent}/", ""))


def records_in(written: WrittenFiles) -> dict[str, dict[str, Any]]:
    """Return what made each scan in the folder, by the scan's name; edited records are not ours."""
    names = [name for name in sorted(written.hashes) if name.startswith(f"{RECORDS}/")]
    return {
        Path(name).name.removesuffix(".json"): artifacts.read_json(written.folder / name)
        for name in names
        if written.is_whole(name)
    }


def refused_in(folder: Path) -> list[Excluded]:
    """Return the whole inputs that calls before could not use, by the folder's table."""
    if not (folder / EXCLUDED).is_file():
        return []
    table = pd.read_csv(folder / EXCLUDED, keep_default_na=False, dtype=str).map(_as_meant)
    return [one for one in starmap(Excluded, table.itertuples(index=False)) if not one.file]


def _as_meant(value: str) -> str:
    """Return a text that stands with an apostrophe, or spreadsheets would compute it."""
    return value[1:] if value[:1] == "'" and FORMULA.match(value[1:]) else value


def _known_name(
    place: Place,
    inputs: Mapping[str, str],
    records: Mapping[str, Mapping[str, Any]],
    used: set[str],
) -> str | None:
    """Return the name that these very files had in an earlier call."""
    same = [
        name
        for name, record in records.items()
        if _is_of(record, place, inputs) and name not in used
    ]
    return place.name if place.name in same else next(iter(same), None)


def _is_of(record: Mapping[str, Any], place: Place, inputs: Mapping[str, str]) -> bool:
    """Say whether a record is of these files at this place; earlier versions noted no place."""
    return record["made"]["inputs"] == inputs and record.get("location") in (None, place.location)


def _free_name(place: Place, taken: set[str], reserved: set[str]) -> str:
    """Return a name that no other scan has; `reserved` are those of this call's scans."""
    above = f"{readable_name(place.path.parent)}_"
    longer = place.name if place.name.startswith(above) else short_name(above + place.name)
    if place.name.casefold() not in taken:
        return place.name
    return free_name(longer, taken | reserved)


def _current(
    folder: Path, record: dict[str, Any] | None, by: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return a scan's record if its files are there, whole, and made exactly so.

    One whose row has not all columns was measured by an earlier version, in another way; one whose
    place held another scan since is made anew, for its row says so.
    """
    if record is None or record["made"] != by or not set(burden.COLUMNS) <= set(record["row"]):
        return None
    if "location" not in record or record.get("replaced_by"):
        return None
    try:
        whole = all(artifacts.sha256(folder / name) == its for name, its in record["files"].items())
    except OSError:
        return None
    return record if whole else None


def _refuse_others(
    written: WrittenFiles,
    jobs: Sequence[Job],
    predictor: Predictor,
    asked: Mapping[str, Any],
) -> None:
    names = [PREDICTIONS, EXCLUDED, MANIFEST]
    names += [PHENOTYPES] if asked["phenotypes"] or PHENOTYPES in written.hashes else []
    for job in jobs:
        if job.record is None:
            names += _outputs(job.place, predictor, asked)
            names += files_of(written, job.place.name)
    # Read anew: another call may have written while this one hashed its scans
    WrittenFiles.of(written.folder).refuse_others(dict.fromkeys(names))


def _outputs(place: Place, predictor: Predictor, asked: Mapping[str, Any]) -> Iterator[str]:
    """Yield the files that a scan will have, by their names in the folder."""
    parts = ["lesion", "classes" if predictor.model.tells_classes() else "mask"]
    parts += ["uncertainty"] if predictor.views > 1 else []
    pictures = picture_names(place.pictures())
    parts += ["ct"] if asked.get("resample") and not pictures else []
    for part in parts:
        if pictures:
            yield from (f"{place.name}_{part}/{name}" for name in pictures)
        else:
            yield f"{place.name}_{part}{map_ending(place.kind)}"
    if place.kind == "DICOM" and asked["dicom"]:
        yield f"{place.name}_seg.dcm"
    if place.kind == "DICOM" and asked.get("rtstruct"):
        yield f"{place.name}_rtstruct.dcm"
    yield f"{place.name}_preview.png"
    yield record_name(place.name)


def picture_names(pictures: Sequence[Path]) -> list[str]:
    """Return the names of pictures' masks: a.png, a.jpg, a.1.png and a_1.png are four files.

    Of a TIFF they are TIFF, page by page.
    """
    names: list[str] = []
    taken: set[str] = set()
    for picture in pictures:
        plain = short_name(readable_name(picture).replace(".", "_"))
        names.append(free_name(plain, taken, between="-"))
        taken.add(names[-1].casefold())
    endings = [".tif" if is_tiff(picture) else ".png" for picture in pictures]
    return [name + ending for name, ending in zip(names, endings, strict=True)]


def record_name(scan: str) -> str:
    """Return where it is written what made a scan's files."""
    return f"{RECORDS}/{scan}.json"


def files_of(written: WrittenFiles, scan: str) -> list[str]:
    """Return the maps and masks of a scan that earlier calls wrote; new ones take their place."""
    endings = ("", *map(map_ending, VOLUMES))
    tops = {f"{scan}_{part}{ending}" for part in MAPS for ending in endings}
    tops |= {f"{scan}_seg.dcm", f"{scan}_rtstruct.dcm"}
    return [name for name in written.hashes if name.split("/")[0] in tops]
