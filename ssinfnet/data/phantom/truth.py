"""What only a phantom knows of its clinical cohort: the planted numbers, and the exact masks.

    Truth/planted.csv             one row a patient, see `clinical.clinical_table`
    Truth/Patient N/CT/*.png      0 outside the lungs, 1 lung, 2 ground glass, 3 consolidation

The folder lies among the files of site D, whose adapter reads neither: no network is trained or
tested on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from ssinfnet.data.phantom.lesions import CONSOLIDATION, GROUND_GLASS
from ssinfnet.data.phantom.slices import CTSlice
from ssinfnet.data.sources.ictcf import patient_id_of
from ssinfnet.storage import artifacts, untrusted, untrusted_pictures

__all__ = [
    "TRUTH",
    "TrueMasks",
    "lung_and_classes",
    "read_planted",
    "read_truth",
    "write_planted",
    "write_truth",
]

TRUTH = "Truth"  # folder
PLANTED = "planted.csv"
LUNG, ITS_GROUND_GLASS, ITS_CONSOLIDATION = 1, 2, 3  # labels of the pictures, CC-CCII's too


class TrueMasks(NamedTuple):
    """The exact masks of one slice, each a bool array of shape (height, width)."""

    lung: NDArray[np.bool_]  # lesions included
    lesion: NDArray[np.bool_]
    ggo: NDArray[np.bool_]
    consolidation: NDArray[np.bool_]


def lung_and_classes(ct: CTSlice) -> NDArray[np.uint8]:
    """Return one picture of a slice's lungs and lesions, shape (size, size).

    It holds 0 outside the lungs, 1 in them, 2 in ground glass and 3 in consolidation.
    """
    label = np.where(ct.lung > 0, LUNG, 0).astype(np.uint8)
    label[ct.label == GROUND_GLASS] = ITS_GROUND_GLASS
    label[ct.label == CONSOLIDATION] = ITS_CONSOLIDATION
    return label


def write_planted(folder: Path, truth: pd.DataFrame) -> Path:
    """Write the numbers that the causal model drew for each patient; return the file.

    Parameters
    ----------
    folder : Path
        Folder of site D.
    truth : DataFrame
        From `clinical.clinical_table`.
    """
    return artifacts.write_text(folder / TRUTH / PLANTED, truth.to_csv(index=False))


def read_planted(folder: Path) -> pd.DataFrame:
    """Return what `write_planted` wrote, indexed by the ``patient_id`` of the cohort.

    Raises
    ------
    FileNotFoundError
        If the folder is not a phantom's cohort.
    """
    path = folder / TRUTH / PLANTED
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: only a phantom's clinical cohort has a known truth; run "
            "02_data_split of a study with data.phantom and cohort_patients above 0"
        )
    planted = untrusted.read_csv(path)
    return planted.set_index(planted["ID"].map(patient_id_of).rename("patient_id"))


def write_truth(folder: Path, picture: str, ct: CTSlice) -> Path:
    """Write the exact masks of one slice; return the file.

    Parameters
    ----------
    folder : Path
        Folder of site D.
    picture : str
        The slice's file below `folder`.
    ct : CTSlice
    """
    path = _truth_path(folder, picture)
    with artifacts.replacing(path) as temporary:
        Image.fromarray(lung_and_classes(ct)).save(temporary)
    return path


def read_truth(folder: Path, picture: str) -> TrueMasks:
    """Return the exact masks of one slice, as `write_truth` takes folder and picture."""
    label = np.asarray(untrusted_pictures.read_picture(_truth_path(folder, picture)))
    return TrueMasks(
        lung=label >= LUNG,
        lesion=label >= ITS_GROUND_GLASS,
        ggo=label == ITS_GROUND_GLASS,
        consolidation=label == ITS_CONSOLIDATION,
    )


def _truth_path(folder: Path, picture: str) -> Path:
    return (folder / TRUTH / picture).with_suffix(".png")
