"""What a model sees in scans, as files in the scans' own geometry, and as tables.

    NAME_lesion.nii.gz        probability of lesion, on the input's grid
    NAME_classes.nii.gz       0, 1 GGO, 2 consolidation; NAME_mask (1 lesion) without a second stage
    NAME_ct.nii.gz            of a volume that was resampled, the CT on the grid of its maps
    NAME_uncertainty.nii.gz   standard deviation over members and flips, where there are several
    NAME_seg.dcm              of a DICOM series, the classes as DICOM-SEG
    NAME_rtstruct.dcm         likewise as contours, where asked for
    NAME_preview.png
    predictions.csv           a row a scan; phenotypes.csv likewise, where asked for
    table_excluded.csv        what was not used, and why
    manifest.json             versions, settings, hashes of the model and of every input and output
    written_files.json        the files that are ours: nothing else is replaced or removed

Of NRRD and MetaImage volumes the maps are ``.nrrd`` and ``.mha`` (D-115). Of pictures, each of the
first three is a folder of PNG files under the pictures' own names, or of TIFF files with their
pages: masks as labels, probability and uncertainty at 16 bits, 65,535 for 1. `records/NAME.json`
says what made a scan's files, and which is of which picture: a scan whose record and files are
current is not predicted again. The tables have the scans of all calls that wrote into the folder,
told apart by the names and bytes of their files.
"""

from __future__ import annotations

import errno
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import ssinfnet
from ssinfnet import plots
from ssinfnet.data.sources import dicom_seg, rtstruct
from ssinfnet.data.sources.intensities import Declared
from ssinfnet.data.sources.kinds import map_ending, readable_name
from ssinfnet.data.sources.volume_files import write_map
from ssinfnet.scans import Excluded, Place, Scan, burden, choose_series, find_scans, read_scan
from ssinfnet.scans.finding import location_of
from ssinfnet.scans.predicted_tables import (
    Written,
    refused_before,
    replaced_since,
    texture_of,
    write_manifest,
    write_tables,
)
from ssinfnet.scans.prediction import Prediction, Predictor
from ssinfnet.scans.prediction_plan import (
    EXCLUDED,
    MANIFEST,
    PHENOTYPES,
    PREDICTIONS,
    Job,
    NameTaken,
    files_of,
    made,
    picture_names,
    plan,
    record_name,
    records_in,
    refuse_taken,
    renamed,
    without_folders,
)
from ssinfnet.storage import artifacts
from ssinfnet.storage.written_files import WrittenFiles
from ssinfnet.study.config import DEFAULT_TEXTURE, TextureConfig
from ssinfnet.work import progress

__all__ = ["EXCLUDED", "MANIFEST", "PHENOTYPES", "PREDICTIONS", "Written", "predict_into"]

CAPTION = 28  # letters
DEEPEST = np.iinfo(np.uint16).max


def predict_into(
    folder: Path,
    inputs: Iterable[Path | str],
    predictor: Predictor,
    *,
    phenotypes: bool = False,
    texture: TextureConfig = DEFAULT_TEXTURE,
    dicom: bool = True,
    declared: Declared | None = None,
    resample: bool = False,
    series: Sequence[str] = (),
    structures: bool = False,
) -> Written:
    """Predict scans one by one and write what is seen; go on where an earlier call stopped.

    Parameters
    ----------
    folder : Path
        Receives the files; those of an earlier call for the same scan are replaced, all at once.
        The scans of earlier calls stay, and so does every file that is not ours.
    inputs : paths
        See `scans.find_scans`. A scan whose name another one in the folder has, is named after the
        folder above too.
    predictor : Predictor
    phenotypes : bool
        Measure them too (a second or two a slice with lesion).
    texture : TextureConfig
        What they are, and of which intensities.
    dicom : bool
        Write DICOM-SEG of DICOM series, where highdicom is installed.
    declared : Declared or None
        How intensities become Hounsfield units, where they are neither these nor 8-bit grey.
    resample : bool
        Put volumes whose axes are not at right angles onto a grid whose axes are, and slices that
        are not evenly spaced onto even places.
    series : sequence of str
        The CT series that are wanted, see `scans.choose_series`; every axial one by default.
    structures : bool
        Write RTSTRUCT of DICOM series.

    Returns
    -------
    Written
        The rows of this call, in the order of the inputs.

    Raises
    ------
    FileExistsError
        If a file that is not ours, or was changed since, would be replaced or removed. No scan has
        been predicted then.
    OSError
        If the folder takes no files, likewise.
    ValueError
        If the folder's record of our files is none, or if `series` names none.
    """
    asked: dict[str, Any] = {"phenotypes": phenotypes, "dicom": dicom}
    asked |= {"texture": texture.model_dump(mode="json")} if phenotypes else {}
    # Only where they are asked for: what earlier versions wrote without them is current still.
    asked |= {"declared": declared.settings()} if declared else {}
    asked |= {"resample": True} if resample else {}
    asked |= {"rtstruct": True} if structures else {}
    given = list(inputs)
    with tempfile.TemporaryDirectory(prefix="ssinfnet.") as unpacked:
        places, excluded = find_scans(given, Path(unpacked))
        looked_at = {place.location for place in places} | {one.location for one in excluded}
        looked_at |= {location_of(Path(one)) for one in given}
        places, unchosen = choose_series(places, series)
        done = Written(excluded, unchosen, asked_for=bool(series), looked_at=looked_at)
        _predict_places(folder, places, done, predictor, declared, asked)
    return done


def _predict_places(
    folder: Path,
    places: list[Place],
    done: Written,
    predictor: Predictor,
    declared: Declared | None,
    asked: Mapping[str, Any],
) -> None:
    """Predict scans one by one, and note in `done` what was done."""
    written = WrittenFiles.of(folder)
    planned = plan(written, places, predictor, asked)
    written.refuse_unwritable()
    done.excluded += planned.unreadable
    done.earlier, done.noticed = planned.records, dict(written.hashes)
    names = {place.name for place in places}
    for number, job in enumerate(planned.jobs, start=1):
        progress.say(f"scan {number} of {len(planned.jobs)}: {job.place.name}")
        if job.record:
            done.kept += 1
            done.add(job.place.name, job.record)
            continue
        before = done.earlier.get(job.place.name)
        try:
            scan = read_scan(job.place, declared, resample=asked.get("resample", False))
            if made(job.place, predictor, asked) != job.made:
                raise ValueError("its files have changed since this call began; run it again")
            found = predictor(scan)
            while True:
                try:
                    with written.replacing(files_of(written, job.place.name)) as staged:
                        record = _write_scan(staged, found, predictor, job, asked)
                        written.hold()
                        _notice_others(folder, names, done)
                        refuse_taken(job, done.earlier)
                        done.add(job.place.name, record)
                        write_tables(staged, done)  # each time: a killed run leaves what it has
                    break
                except NameTaken:
                    job = renamed(job, planned.jobs, done.earlier | done.records)
                    found = _renamed(found, job.place.name)
        except FileExistsError:  # somebody else's file is in the way: nothing is to be replaced
            raise
        except Exception as error:  # one scan must not end the others, whatever is wrong with it
            done.drop(job.place.name, before)
            known = isinstance(error, (OSError, ValueError))
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                reason = f"the disk of the results (-o) or of temporary files is full ({error})"
            reason = without_folders(reason, job.place)
            done.excluded.append(Excluded(job.place.name, "", reason, job.place.location))
    with written.replacing([PHENOTYPES]) as staged:
        written.hold()
        _notice_others(folder, names, done)
        for name, record in replaced_since(done).items():
            done.earlier[name] = record
            artifacts.write_json(staged / record_name(name), record)
        write_tables(staged, done)
        write_manifest(staged, done, predictor, asked)


def _notice_others(folder: Path, names: set[str], done: Written) -> None:
    """Take in what another process has written into the folder meanwhile."""
    written = WrittenFiles.of(folder)
    new = {name: its for name, its in written.hashes.items() if done.noticed.get(name) != its}
    done.noticed |= new
    others = records_in(WrittenFiles(folder, new))  # not those of a thousand scans at each
    done.earlier |= {name: record for name, record in others.items() if name not in done.records}
    done.earlier_refused = refused_before(folder, done, names | done.records.keys())


def _renamed(found: Prediction, name: str) -> Prediction:
    left_out = tuple(one._replace(input=name) for one in found.scan.left_out)
    return replace(found, scan=replace(found.scan, name=name, left_out=left_out))


def _write_scan(
    folder: Path,
    found: Prediction,
    predictor: Predictor,
    job: Job,
    asked: Mapping[str, Any],
) -> dict[str, Any]:
    """Write the files of one scan, and the record of what made them; return the record."""
    row = dict(found.row)
    files, why = _write_files(folder, found, predictor, asked)
    measured, unmeasured = _phenotypes(found, asked)
    row["reason"] = "; ".join(reason for reason in (row["reason"], why, unmeasured) if reason)
    files.append(folder / f"{found.name}_preview.png")
    _draw(files[-1], found, predictor, row)
    record = {
        "made": job.made,
        "location": job.place.location,
        "row": _plain(
            row
            | {
                "identity": _identity(job.made["inputs"], found.scan),
                "location": job.place.location,
                "model": predictor.model.name,
                "threshold": found.threshold,
            }
        ),
        "phenotypes": measured,
        "left_out": [list(one) for one in found.scan.left_out],
        "pictures": _outputs_by_picture(found.scan),
        "files": {path.relative_to(folder).as_posix(): artifacts.sha256(path) for path in files},
    }
    return artifacts.read_json(artifacts.write_json(folder / record_name(found.name), record))


def _outputs_by_picture(scan: Scan) -> dict[str, str]:
    """Return which file of each folder of maps is whose; none of a volume."""
    files = list(dict.fromkeys(scan.pictures))
    return dict(zip(map(readable_name, files), picture_names(files), strict=True))


def _identity(inputs: Mapping[str, str], scan: Scan) -> str:
    """Return what a scan is by the bytes of its files alone, whatever they are called (D-114).

    That is the SHA-256 of the one file, or of the sorted SHA-256s of several; files that are no
    part of the scan do not count.
    """
    beside = {one.file for one in scan.left_out}
    hashes = sorted(its for name, its in inputs.items() if name not in beside)
    return hashes[0] if len(hashes) == 1 else sha256("\n".join(hashes).encode()).hexdigest()


def _phenotypes(found: Prediction, asked: Mapping[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """Return the row of phenotypes where they are asked for, and why some or all are missing."""
    if not asked["phenotypes"]:
        return None, ""
    try:
        measured = found.phenotypes(texture := texture_of(asked))
    except ValueError as error:
        return None, f"phenotypes: {error}"
    return _plain(measured), burden.missing_phenotypes(found.scan, texture)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as JSON has it: nothing instead of NaN."""
    return {
        name: None if isinstance(value, float) and np.isnan(value) else value
        for name, value in row.items()
    }


def _write_files(
    folder: Path, found: Prediction, predictor: Predictor, asked: Mapping[str, Any]
) -> tuple[list[Path], str]:
    """Write the maps and masks of a scan; return the files, and why one is missing."""
    maps = {"lesion": found.lesion, "uncertainty": found.uncertainty}
    masks = (
        {"classes": found.classes}
        if found.classes is not None
        else {"mask": found.masks["lesion"].astype(np.uint8)}
    )
    drawn: dict[str, NDArray[Any]] = {n: map_ for n, map_ in maps.items() if map_ is not None}
    drawn |= masks
    files: list[Path] = []
    for name, values in drawn.items():
        files += _written(folder / f"{found.name}_{name}", values, found.scan)
    if found.scan.resampled:
        path = folder / f"{found.name}_ct{map_ending(found.scan.kind)}"
        files.append(write_map(path, found.scan.slices, found.scan.volume))
        asked_for = "DICOM-SEG or RTSTRUCT" if asked.get("rtstruct") else "DICOM-SEG"
        return files, f"no {asked_for}: it was resampled" if found.scan.kind == "DICOM" else ""
    if found.scan.kind != "DICOM":
        return files, "no RTSTRUCT: it is no DICOM series" if asked.get("rtstruct") else ""
    shown = {name: mask for name, mask in found.masks.items()
             if name != "lesion" or found.classes is None}  # fmt: skip
    wanted = [("seg", "DICOM-SEG", dicom_seg.write_segmentation)] if asked["dicom"] else []
    wanted += [("rtstruct", "RTSTRUCT", rtstruct.write_structures)] * bool(asked.get("rtstruct"))
    faults = []
    for part, kind, write in wanted:
        path = folder / f"{found.name}_{part}.dcm"
        try:
            write(path, shown, found.scan.volume, predictor.model.name, ssinfnet.__version__)
            files.append(path)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            # Such as a series that is out of order in a way that only highdicom minds
            faults.append(f"no {kind}: {str(error).removeprefix(f'no {kind}: ')}")
    return files, "; ".join(faults)


def _written(stem: Path, values: NDArray[Any], scan: Scan) -> list[Path]:
    """Write a map or a mask in the scan's own geometry."""
    is_mask = values.dtype == np.uint8
    if scan.volume is not None:
        stored = values if is_mask else values.astype(np.float32)
        path = stem.with_name(stem.name + map_ending(scan.kind))
        return [write_map(path, stored, scan.volume)]
    if not is_mask:
        values = np.rint(values.astype(np.float32) * DEEPEST).astype(np.uint16)
    files, paths = list(dict.fromkeys(scan.pictures)), []
    for file, name in zip(files, picture_names(files), strict=True):
        pages = [Image.fromarray(slice_) for slice_, of in zip(values, scan.pictures, strict=True)
                 if of == file]  # fmt: skip
        path = stem / name
        several = {"save_all": True, "append_images": pages[1:]} if path.suffix == ".tif" else {}
        with artifacts.replacing(path) as temporary:
            pages[0].save(temporary, **several)
        paths.append(path)
    return paths


def _draw(path: Path, found: Prediction, predictor: Predictor, row: Mapping[str, Any]) -> None:
    """Write the picture of a scan: the slices with most lesion."""
    import matplotlib.pyplot as plt

    scan, lesion, classes = found.scan, found.masks["lesion"], found.classes
    shown = plots.slices_to_show(np.count_nonzero(lesion, axis=(1, 2)))
    masks = lesion.astype(np.uint8) * 255 if classes is None else classes
    captions = [f"slice {index + 1} of {len(scan)}" for index in shown]
    if scan.pictures and len(set(scan.pictures)) == len(scan):
        captions = [scan.pictures[index].name[:CAPTION] for index in shown]
    figure = plots.plot_prediction(
        [scan.grey(index, found.window_hu) for index in shown],
        [masks[index] for index in shown],
        captions,
        _title(found, predictor, row),
        legend=["lesion"] if classes is None else ["GGO", "consolidation"],
        uncertainty=None if found.uncertainty is None else [found.uncertainty[i] for i in shown],
        pixel_mm=scan.pixel_mm,
    )
    with plots.style(), artifacts.replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # of names in other scripts
        figure.savefig(temporary, metadata={"Software": None})
    plt.close(figure)


def _title(found: Prediction, predictor: Predictor, row: Mapping[str, Any]) -> str:
    """Return the scan and what was measured, then how many slices, and by what."""
    lesion = any(mask.any() for mask in found.masks.values())
    facts = [] if lesion else ["no lesion found"]
    if np.isnan(row["lesion_fraction"]):
        facts.append("lungs not found")
    else:
        facts.append(f"lesion {row['lesion_fraction']:.1%} of the lungs, grade {row['grade']}")
    if lesion and not np.isnan(row["ggo_ml"]):
        facts.append(f"GGO {row['ggo_ml']:.0f} ml, consolidation {row['consolidation_ml']:.0f} ml")
    facts += [outside] if (outside := burden.outside_words(row)) else []
    averaged = f", average of {predictor.views} views" if predictor.views > 1 else ""
    number = len(found.scan)
    slices = f"n = {number} slice{'s' * (number > 1)}"
    short = predictor.model.description.training.study.get("undertrained")
    model = f"model {predictor.model.name}{', undertrained' if short else ''}{averaged}"
    return f"{found.name}: {'; '.join(facts)}\n{slices}, {model}"
