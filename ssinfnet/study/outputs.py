"""The file by which one sees that a notebook has been run; the Snakefile waits for the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ssinfnet.study.config import Study
from ssinfnet.study.paths import PREDICTIONS, StudyPaths

__all__ = ["output_of"]

TABLES = {
    "07_segmentation_results": "table_3b",
    "08_class_results": "table_3d_s4",
    "09_cross_validation": "table_s2",
    "11_ablation": "table_s7",
    "12_augmentation": "table_v2",
    "13_severity": "table_v5",
    "15_mediation": "table_mediators",
    "16_known_truth": "table_known_truth",
    "17_cost": "table_s8",
    "18_report": "table_paper_comparison",
}


def output_of(study: Study, notebook: str, parameters: Mapping[str, Any]) -> Path:
    """Return the file that is there once a notebook has been run.

    Parameters
    ----------
    study : Study
    notebook : str
        Name without ending.
    parameters : mapping
        Its own, as `schedule.runs_of` has them.
    """
    paths, at = StudyPaths.of(study.name), parameters
    if notebook in TABLES:
        return paths.figures / f"{TABLES[notebook]}.csv"
    if notebook == "01_lung_field":
        return paths.lung_cut
    if notebook == "02_data_split":
        return paths.cohort / "cohort.parquet"
    if notebook == "03_pretraining":
        name = f"table_pretraining_{at['stage']}_fold{at['fold']}_seed{at['seed']}.csv"
        return paths.figures / name
    if notebook == "04_pseudo_labels":
        return paths.figures / f"table_pseudo_labels_fold{at['fold']}_seed{at['seed']}.csv"
    if notebook == "05_single_segmentation":
        folder = paths.single(at["model"], at["fold"], at["seed"], at.get("part", 0))
        return folder / PREDICTIONS
    if notebook == "06_multi_segmentation":
        return paths.multi(at["model"], at["fold"], at["seed"], at["prior"]) / PREDICTIONS
    if notebook == "10_external_datasets":
        return paths.figures / f"table_{study.external_named(at['external']).tables}a.csv"
    if notebook == "14_phenotypes":
        return paths.phenotypes / "patients.parquet"
    raise ValueError(f"no notebook {notebook!r} leaves a file for others")
