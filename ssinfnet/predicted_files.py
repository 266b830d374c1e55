"""What a model sees in scans, as files in the scans' own geometry, and as tables.

    NAME_lesion.nii.gz        probability of lesion, on the input's grid
    NAME_classes.nii.gz       0, 1 GGO, 2 consolidation; NAME_mask (1 lesion) without a second stage
    NAME_uncertainty.nii.gz   standard deviation over members and flips, where there are several
    NAME_seg.dcm              of a DICOM series, the classes as DICOM-SEG
    NAME_preview.png
    predictions.csv           a row a scan; phenotypes.csv likewise, where asked for
    table_excluded.csv        what was not used, and why
    manifest.json             versions, settings, hashes of the model and of every input and output

Of pictures, each of the first three is a folder of PNG files under the pictures' own names: masks
as labels, probability and uncertainty at 16 bits, 65,535 for 1. `records/NAME.json` says what made
a scan's files: a scan whose record and files are current is not predicted again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

import ssinfnet
from ssinfnet import artifacts, burden, plots, progress
from ssinfnet import phenotypes as radiomics
from ssinfnet.prediction import Prediction, Predictor
from ssinfnet.scans import Excluded, Place, Scan, find_scans, read_scan
from ssinfnet.sources import dicom_seg
from ssinfnet.sources.volume_files import write_map

__all__ = ["EXCLUDED", "MANIFEST", "PHENOTYPES", "PREDICTIONS", "Written", "predict_into"]

PREDICTIONS, PHENOTYPES = "predictions.csv", "phenotypes.csv"
EXCLUDED, MANIFEST, RECORDS = "table_excluded.csv", "manifest.json", "records"
CAPTION = 28  # letters
DEEPEST = np.iinfo(np.uint16).max


@dataclass
class Written:
    """What `predict_into` did."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    phenotypes: list[dict[str, Any]] = field(default_factory=list)
    excluded: list[Excluded] = field(default_factory=list)
    kept: int = 0  # scans whose files were current

    @property
    def refused(self) -> list[Excluded]:
        """Whole inputs that could not be used."""
        return [one for one in self.excluded if not one.file]

    def text(self, folder: Path) -> str:
        """Say in a line what was done."""
        current = f", {self.kept} of them current already" if self.kept else ""
        return (
            f"{len(self.rows)} scan(s) in {folder / PREDICTIONS}{current}; "
            f"{len(self.refused)} input(s) not used. Research only, not a medical device."
        )


def predict_into(
    folder: Path,
    inputs: Iterable[Path | str],
    predictor: Predictor,
    *,
    phenotypes: bool = False,
    dicom: bool = True,
) -> Written:
    """Predict scans one by one and write what is seen; go on where an earlier call stopped.

    Parameters
    ----------
    folder : Path
        Receives the files; those of an earlier call are replaced one by one, each whole.
    inputs : paths
        See `scans.find_scans`.
    predictor : Predictor
    phenotypes : bool
        Measure them too (a second or two a slice with lesion).
    dicom : bool
        Write DICOM-SEG of DICOM series, where highdicom is installed.

    Returns
    -------
    Written
        The rows of the tables, in the order of the inputs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places, excluded = find_scans(inputs)
    done = Written(excluded=excluded)
    asked = {"phenotypes": phenotypes, "dicom": dicom}
    for number, place in enumerate(places, start=1):
        progress.say(f"scan {number} of {len(places)}: {place.name}")
        try:
            made = _made(place, predictor, asked)
            record = _current(folder, place, made)
            found = None if record else predictor(read_scan(place))
        except (OSError, ValueError) as error:
            done.excluded.append(Excluded(place.name, "", _without_folders(str(error), place)))
            continue
        if record is None:
            record = _write_scan(folder, found, predictor, made, asked)
        else:
            done.kept += 1
        done.rows.append(record["row"])
        done.phenotypes += [record["phenotypes"]] if phenotypes else []
        done.excluded += [Excluded(*one) for one in record["left_out"]]
        _write_tables(folder, done)  # after each scan, so that a killed run leaves what it has
    _write_tables(folder, done)
    _write_manifest(folder, done, predictor, asked)
    return done


def _made(place: Place, predictor: Predictor, asked: Mapping[str, bool]) -> dict[str, Any]:
    """Describe what is about to make a scan's files."""
    parameters = {
        "model": predictor.model.name,
        "model_sha256": predictor.model.digest,
        **predictor.settings(),
        **asked,
    }
    return artifacts.made_by("predict", parameters, place.files())


def _current(folder: Path, place: Place, made: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a scan's record if its files are there, whole, and made exactly so."""
    try:
        record = artifacts.read_json(folder / RECORDS / f"{place.name}.json")
        whole = all(artifacts.sha256(folder / name) == its for name, its in record["files"].items())
    except (OSError, ValueError, KeyError):
        return None
    return record if whole and record["made"] == made else None


def _write_scan(
    folder: Path,
    found: Prediction,
    predictor: Predictor,
    made: Mapping[str, Any],
    asked: Mapping[str, bool],
) -> dict[str, Any]:
    """Write the files of one scan, then the record that they are whole; return the record."""
    row = dict(found.row)
    files, why = _write_files(folder, found, predictor, asked["dicom"])
    row["reason"] = "; ".join(reason for reason in (row["reason"], why) if reason)
    files.append(folder / f"{found.name}_preview.png")
    _draw(files[-1], found, predictor, row)
    record = {
        "made": dict(made),
        "row": _plain(row),
        "phenotypes": _plain(found.phenotypes()) if asked["phenotypes"] else None,
        "left_out": [list(one) for one in found.scan.left_out],
        "files": {path.relative_to(folder).as_posix(): artifacts.sha256(path) for path in files},
    }
    path = folder / RECORDS / f"{found.name}.json"
    artifacts.write_json(path, record)
    _remove_stale(folder, found.name, files)
    return artifacts.read_json(path)


def _remove_stale(folder: Path, name: str, files: list[Path]) -> None:
    """Remove what an earlier call left of this scan and this one did not write."""
    stems = [folder / f"{name}_{part}" for part in ("lesion", "classes", "mask", "uncertainty")]
    earlier = {stem.with_name(f"{stem.name}.nii.gz") for stem in stems}
    earlier |= {path for stem in stems for path in stem.glob("*.png")}
    for path in {*earlier, folder / f"{name}_seg.dcm"} - set(files):
        path.unlink(missing_ok=True)


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as JSON has it: nothing instead of NaN."""
    return {name: None if isinstance(value, float) and np.isnan(value) else value
            for name, value in row.items()}  # fmt: skip


def _without_folders(reason: str, place: Place) -> str:
    """Tables may be published: they name files, not this machine's folders."""
    return reason.replace(f"{place.path}/", "").replace(f"{place.path.parent}/", "")


def _write_files(
    folder: Path, found: Prediction, predictor: Predictor, dicom: bool
) -> tuple[list[Path], str]:
    """Write the maps and masks of a scan; return the files, and why one is missing."""
    maps = {"lesion": found.lesion, "uncertainty": found.uncertainty}
    masks = {"classes": found.classes} if found.classes is not None else {
        "mask": found.masks["lesion"].astype(np.uint8)
    }  # fmt: skip
    drawn: dict[str, NDArray[Any]] = {n: map_ for n, map_ in maps.items() if map_ is not None}
    drawn |= masks
    files: list[Path] = []
    for name, values in drawn.items():
        files += _written(folder / f"{found.name}_{name}", values, found.scan)
    if found.scan.kind != "DICOM" or not dicom:
        return files, ""
    shown = {name: mask for name, mask in found.masks.items()
             if name != "lesion" or found.classes is None}  # fmt: skip
    path = folder / f"{found.name}_seg.dcm"
    why = dicom_seg.segmentation_fault(found.scan.volume)
    if not why:
        try:
            dicom_seg.write_segmentation(
                path, shown, found.scan.volume, predictor.model.name, ssinfnet.__version__
            )
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            why = str(error)  # a series that is out of order in a way that only highdicom minds
    return (files, f"no DICOM-SEG: {why}") if why else ([*files, path], "")


def _written(stem: Path, values: NDArray[Any], scan: Scan) -> list[Path]:
    """Write a map or a mask in the scan's own geometry."""
    is_mask = values.dtype == np.uint8
    if scan.volume is not None:
        stored = values if is_mask else values.astype(np.float32)
        return [write_map(stem.with_name(f"{stem.name}.nii.gz"), stored, scan.volume)]
    if not is_mask:
        values = np.rint(values.astype(np.float32) * DEEPEST).astype(np.uint16)
    paths = []
    for picture, slice_ in zip(scan.pictures, values, strict=True):
        # a.png and a.jpg of one folder must not become one file.
        path = stem / f"{picture.name.replace('.', '_')}.png"
        with artifacts.replacing(path) as temporary:
            Image.fromarray(slice_).save(temporary)
        paths.append(path)
    return paths


def _draw(path: Path, found: Prediction, predictor: Predictor, row: Mapping[str, Any]) -> None:
    """Write the picture of a scan: the slices with most lesion."""
    import matplotlib.pyplot as plt

    scan, lesion = found.scan, found.masks["lesion"]
    classes = found.classes
    shown = plots.slices_to_show(np.count_nonzero(lesion, axis=(1, 2)))
    masks = lesion.astype(np.uint8) * 255 if classes is None else classes
    captions = [f"slice {index + 1} of {len(scan)}" for index in shown]
    if scan.pictures:
        captions = [scan.pictures[index].name[:CAPTION] for index in shown]
    figure = plots.plot_prediction(
        [scan.grey(index, found.window_hu) for index in shown],
        [masks[index] for index in shown],
        captions,
        _title(found, predictor, row),
        legend=["lesion"] if classes is None else ["GGO", "consolidation"],
        uncertainty=None if found.uncertainty is None else [found.uncertainty[i] for i in shown],
        pixel_mm=None if scan.spacing_mm is None else scan.spacing_mm[1:],
    )
    with plots.style(), artifacts.replacing(path) as temporary:
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
    views = len(predictor.model.chains) * len(predictor.flips)
    averaged = f", average of {views} views" if views > 1 else ""
    number = len(found.scan)
    slices = f"n = {number} slice{'s' * (number > 1)}"
    return f"{found.name}: {'; '.join(facts)}\n{slices}, model {predictor.model.name}{averaged}"


def _write_tables(folder: Path, done: Written) -> None:
    tables: dict[str, tuple[list[Any], Any]] = {
        PREDICTIONS: (done.rows, list(burden.COLUMNS)),
        EXCLUDED: (done.excluded, list(Excluded._fields)),
    }
    if done.phenotypes:
        names = radiomics.columns(radiomics.CLASSES)
        known = [name for name in names if name in done.phenotypes[0]]
        tables[PHENOTYPES] = done.phenotypes, ["scan", *known]
    for name, (rows, columns) in tables.items():
        table = pd.DataFrame(rows, columns=columns)
        if name == PREDICTIONS:
            table = table.astype({"grade": "Int64", "ct_ss": "Int64"})
        artifacts.write_text(folder / name, table.to_csv(index=False, lineterminator="\n"))
    if not done.phenotypes:
        (folder / PHENOTYPES).unlink(missing_ok=True)


def _write_manifest(
    folder: Path, done: Written, predictor: Predictor, asked: Mapping[str, bool]
) -> None:
    """Write what made the files of this call, scan by scan."""
    records = [artifacts.read_json(folder / RECORDS / f"{row['scan']}.json") for row in done.rows]
    model = predictor.model
    content = artifacts.made_by("predict", {**predictor.settings(), **asked})
    content |= {
        "model": {"name": model.name, "sha256": model.digest, "files": model.description.files()},
        "inputs": {record["row"]["scan"]: record["made"]["inputs"] for record in records},
        "outputs": {record["row"]["scan"]: record["files"] for record in records},
        "tables": {name: artifacts.sha256(folder / name) for name in (PREDICTIONS, EXCLUDED)},
    }
    artifacts.write_json(folder / MANIFEST, content)
