"""ICTCF (Ning et al. 2020): slices of patients without lesion masks, and their clinical table.

    Patient N/CT/*.jpg        8-bit slices, windowed: the series that the site offers for download
    Patient N/*.jpg           likewise: the pictures that it displays, as the paper's authors saved
                              them (0.jpg, 1.jpg, …, about five a patient)
    All_Patients.csv          one row a patient, whose ID is "Patient N"; a study may name several
                              tables (`clinical.tables`), as iCTCF has one a hospital

Patients may also lie below a folder `images`. A patient of both layouts is read from its series. A
picture that cannot be read is excluded and listed, as are patients of the table without slices.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.data.sources.files import UnreadableFile, pictures, read_picture, visible
from ssinfnet.data.sources.listing import Lister, Listing
from ssinfnet.storage import untrusted
from ssinfnet.work import progress

__all__ = ["list_slices", "read", "read_clinical", "read_clinical_tables", "recognises"]

NAME = "ictcf"
TABLE = "All_Patients.csv"
HOSPITAL = "Hospital"
NEEDED = ("ID", "Age", "Gender", "Underlying diseases", "Morbidity outcome")


def recognises(folder: Path) -> bool:
    """Say whether a folder has this source's layout."""
    return bool(_patients(folder))


def _patients(folder: Path) -> dict[str, Path]:
    """Return "Patient N" → folder of its slices, in the order of the numbers."""
    patients = [path for root in (folder, folder / "images") for path in root.glob("Patient *")]
    folders = {path.name: path for path in patients if pictures(path)}
    folders |= {path.name: path / "CT" for path in patients if (path / "CT").is_dir()}
    return dict(sorted(folders.items(), key=lambda item: (len(item[0]), item[0])))


def list_slices(folder: Path) -> Listing:
    """List every slice, decoding each picture once.

    Raises
    ------
    ValueError
        If no slice is usable, or the clinical table cannot be read.
    """
    lister = Lister(NAME, folder)
    patients = _patients(folder)
    for patient, slices in progress.track(patients.items(), "listing patients of iCTCF"):
        files = pictures(slices)
        for path in sorted(set(visible(slices)) - set(files)):
            lister.exclude(path, "is no picture")
        for index, path in enumerate(files):
            _list_slice(lister, patient, index, path)
    table = folder / TABLE
    if not table.is_file():
        return lister.listing(f"{len(patients)} patients; there is no {TABLE} beside them.")
    listed = set(read_clinical(table)["patient_id"])
    scanned = {row["patient_id"] for row in lister.rows}
    return lister.listing(
        f"{len(scanned)} patients with slices; {len(listed - scanned)} of the {len(listed)} in "
        f"{TABLE} have none, and {len(scanned - listed)} are not in it."
    )


def _list_slice(lister: Lister, patient: str, index: int, path: Path) -> None:
    try:
        grey = read_picture(path)
    except UnreadableFile as error:
        lister.exclude(path, str(error))
        return
    patient_id = patient_id_of(patient)
    lister.add(
        patient_id=patient_id,
        slice_name=f"{patient_id}.{path.stem}",
        image=path,
        size=grey.shape,
        image_index=index,
    )


def patient_id_of(name: str) -> str:
    """Return the patient_id of a patient as table and folders name one.

    Examples
    --------
    >>> patient_id_of("Patient 12")
    'patient_12'
    """
    return re.sub(r"\s+", "_", name.strip().lower())


def read_clinical(path: Path) -> pd.DataFrame:
    """Read a clinical table, every value as it is written.

    Returns
    -------
    DataFrame
        All columns as text, missing where empty, and `patient_id` in front. A table without a
        column Hospital is of one hospital, which its file is named after.

    Raises
    ------
    ValueError
        If it is no CSV, lacks a column, or a patient occurs twice.
    """
    table = untrusted.read_csv(path, dtype="str")
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise ValueError(f"{path} lacks columns {missing}; expected those of iCTCF's {TABLE}")
    if table.empty:
        raise ValueError(f"{path} has no rows; expected one a patient")
    unnamed = int(table["ID"].isna().sum())
    repeated = table.loc[table["ID"].duplicated(), "ID"].tolist()
    if unnamed or repeated:
        raise ValueError(f"{path} has {unnamed} rows without ID, and repeats {repeated[:5]}")
    table.insert(0, "patient_id", table["ID"].map(patient_id_of))
    return table if HOSPITAL in table else table.assign(**{HOSPITAL: path.stem})


def read_clinical_tables(folder: Path, names: Sequence[str]) -> pd.DataFrame:
    """Read clinical tables of several hospitals as one (D-149).

    Parameters
    ----------
    folder : Path
    names : sequence of str
        Files below it. Rows of all stand below each other, in that order, under the columns of
        any; a patient of several tables is one row, which has each value that one of them gives.

    Returns
    -------
    DataFrame
        The joined table, in the form that `read_clinical` returns.

    Raises
    ------
    ValueError
        If a table is none, or two contradict each other about a patient.
    """
    tables = {name: read_clinical(folder / name) for name in names}
    whole = pd.concat(tables.values(), ignore_index=True)
    repeated = whole[whole["patient_id"].duplicated(keep=False)]
    given = repeated.groupby("patient_id").nunique()
    against = given.columns[(given > 1).any()]
    if len(against):
        patients = given.index[(given > 1).any(axis=1)].tolist()
        raise ValueError(
            f"{list(names)} contradict each other about {len(patients)} patients, such as "
            f"{patients[:3]}, in {list(against)[:5]}; a patient has one ID in all tables, and two "
            "patients have two"
        )
    # first() takes the first value that is not missing
    return whole.groupby("patient_id", sort=False, as_index=False).first()


def read(folder: Path, row: Any) -> tuple[NDArray[np.float32], None]:
    """Return one slice in [0, 1]; there are no masks."""
    return read_picture(folder / row.image_path).astype(np.float32) / 255, None
