"""Where a study's inputs, artifacts, executed notebooks and figures lie.

Nothing is created on import, and a missing folder fails where it is used, with the remedy.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "LEARNING",
    "PREDICTIONS",
    "StudyPaths",
    "notebook_file",
    "project_root",
    "study_file",
    "study_names",
]

ROOT_VARIABLE = "SSINFNET_ROOT"
DATA_VARIABLE = "SSINFNET_DATA"
LEARNING = "learning.json"  # in the folder of a training: what it learnt, beside its rivals
PACKAGE = Path(__file__).parents[1]  # holds studies and notebooks too where a wheel put it
PREDICTIONS = "predictions.npz"  # in the folder of a training: slice_id → probabilities


def project_root() -> Path:
    """Return the folder that receives `papermill_runs/` and `figures/`.

    ``SSINFNET_ROOT`` names it; otherwise it is the nearest folder with `studies/` and `notebooks/`
    at or above the working directory, a checkout, so that the library, papermill and JupyterLab
    (which start in different folders) agree. Installed from a wheel, which holds studies and
    notebooks, and outside a checkout, it is the working directory.

    Raises
    ------
    FileNotFoundError
        If no such folder exists.
    """
    named = os.environ.get(ROOT_VARIABLE)
    candidates = [Path(named).resolve()] if named else [Path.cwd(), *Path.cwd().parents]
    for folder in candidates:
        if (folder / "studies").is_dir() and (folder / "notebooks").is_dir():
            return folder
    if all((PACKAGE / name).is_dir() for name in ("studies", "notebooks")):
        return candidates[0]
    raise FileNotFoundError(
        f"no folder with studies/ and notebooks/ at or above {candidates[0]}; "
        f"work inside a checkout of the project, or set {ROOT_VARIABLE} to one"
    )


def notebook_file(notebook: str) -> Path:
    """Return where a notebook lies, given by its name without ending."""
    return _shipped("notebooks") / f"{notebook}.ipynb"


def _shipped(name: str) -> Path:
    """Return a folder of the checkout, or the wheel's where there is no checkout."""
    folder = project_root() / name
    return folder if folder.is_dir() else PACKAGE / name


def study_file(study: str) -> Path:
    """Return the YAML file of a study, given by name (``demo``) or by path (``my/study.yaml``).

    Raises
    ------
    FileNotFoundError
        If there is none; the message lists the studies there are.
    """
    if study.endswith((".yaml", ".yml")):
        path = Path(study)
    else:
        path = _shipped("studies") / f"{study}.yaml"
    if not path.is_file():
        known = study_names()
        meant = difflib.get_close_matches(study, known, n=1)
        asked = f"; did you mean {meant[0]!r}?" if meant else ""
        raise FileNotFoundError(
            f"no study {study!r} at {path}{asked}; the studies here are {known}"
        )
    return path


def study_names() -> list[str]:
    """Return the names of the studies that are here, in order."""
    return sorted(path.stem for path in _shipped("studies").glob("*.yaml"))


@dataclass(frozen=True)
class StudyPaths:
    """The folders of one study. Folders are made by whoever writes into them."""

    study: str
    root: Path

    @classmethod
    def of(cls, study: str) -> StudyPaths:
        """Return the folders of the study of that name in this checkout."""
        return cls(study=study, root=project_root())

    @property
    def runs(self) -> Path:
        """Executed notebooks."""
        return self.root / "papermill_runs" / self.study

    @property
    def artifacts(self) -> Path:
        """Tables, arrays and weights that one notebook leaves for the next."""
        return self.runs / "artifacts"

    @property
    def figures(self) -> Path:
        """Tables and figures of a run."""
        return self.root / "figures" / self.study

    @property
    def published(self) -> Path:
        """What the repository shows of them (`make publish`)."""
        return self.root / "docs" / "results" / self.study

    @property
    def phantom(self) -> Path:
        """Raw files of the embedded data set, where the study reads it."""
        return self.artifacts / "raw"

    @property
    def lung_field(self) -> Path:
        """The network that finds the lung field (01_lung_field)."""
        return self.artifacts / "lung_field"

    @property
    def lung_cut(self) -> Path:
        """Slices cut to the lung field, in their source's layout (01_lung_field)."""
        return self.lung_field / "cut"

    @property
    def cohort(self) -> Path:
        """The slice table and the prepared slices (02_data_split)."""
        return self.artifacts / "cohort"

    def pretraining(self, stage: str, fold: int, seed: int) -> Path:
        """Return the folder of one pretraining by inpainting (03_pretraining)."""
        return self.artifacts / "pretraining" / stage / f"fold{fold}" / f"seed{seed}"

    def pseudo_labels(self, fold: int, seed: int) -> Path:
        """Return the folder of one labelling of unlabelled slices (04_pseudo_labels)."""
        return self.artifacts / "pseudo_labels" / f"fold{fold}" / f"seed{seed}"

    def taught(self, fold: int, part: int = 0) -> Path:
        """Return the labels that a student's teachers gave (05_single_segmentation)."""
        folder = self.artifacts / "taught" / f"fold{fold}"
        return (folder / f"part{part}" if part else folder) / "labels.npz"

    def single(self, model: str, fold: int, seed: int, part: int = 0) -> Path:
        """Return the folder of one training of a stage-1 model (05_single_segmentation).

        `part` above 0 is a cross-fitting network, trained without that part's patients (D-12,
        D-43).
        """
        folder = self.artifacts / "single" / model / f"fold{fold}" / f"seed{seed}"
        return folder / f"part{part}" if part else folder

    def multi(self, model: str, fold: int, seed: int, prior: str = "predicted") -> Path:
        """Return the folder of one training of a stage-2 model (06_multi_segmentation)."""
        return self.artifacts / "multi" / prior / model / f"fold{fold}" / f"seed{seed}"

    def tested_on(self, study: str) -> StudyPaths:
        """Return where this study's networks leave what they predict of another study's slices."""
        return StudyPaths(f"{self.study}/on_{study}", self.root)

    @property
    def single_scores(self) -> Path:
        """Scores of all stage-1 models (07_segmentation_results)."""
        return self.artifacts / "scores" / "single"

    @property
    def multi_scores(self) -> Path:
        """Scores of all stage-2 models (08_class_results)."""
        return self.artifacts / "scores" / "multi"

    @property
    def cross_validation_scores(self) -> Path:
        """Scores of all folds (09_cross_validation)."""
        return self.artifacts / "scores" / "cross_validation"

    @property
    def severity(self) -> Path:
        """Lesion and lungs of the clinical cohort, by slice and patient (13_severity)."""
        return self.artifacts / "severity"

    @property
    def phenotypes(self) -> Path:
        """Maps and phenotypes of the clinical cohort (14_phenotypes)."""
        return self.artifacts / "phenotypes"

    @property
    def data(self) -> Path:
        """The folder that holds the raw data sets: ``SSINFNET_DATA``, which ``make DATA=…`` sets.

        Raises
        ------
        FileNotFoundError
            If the variable is unset or names no folder.
        """
        named = os.environ.get(DATA_VARIABLE)
        if not named:
            raise FileNotFoundError(
                f"study {self.study!r} reads raw data and {DATA_VARIABLE} is not set; "
                f"run `make reproduce STUDY={self.study} DATA=/folder/of/the/data` or export it"
            )
        folder = Path(named).expanduser()
        folder = folder if folder.is_absolute() else self.root / folder
        if not folder.is_dir():
            raise FileNotFoundError(f"{DATA_VARIABLE}={named} is not a folder (looked at {folder})")
        return folder

    def published_weights(self, named: str | None) -> str | None:
        """Return where a file of published weights lies: below the raw data, unless it is absolute.

        Parameters
        ----------
        named : str or None
            The study's `imagenet_weights`; None stays None.

        Raises
        ------
        FileNotFoundError
            If it is relative, and ``SSINFNET_DATA`` is unset or names no folder.
        """
        if named is None or Path(named).is_absolute():
            return named
        return str(self.data / named)
