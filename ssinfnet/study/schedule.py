"""Every notebook of a study with its parameters, in an order in which each can run.

The Snakefile says the same as a graph; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ssinfnet.study.config import (
    AugmentedConfig,
    CrossValidationConfig,
    MultiConfig,
    Study,
    load_study,
)
from ssinfnet.study.models import MULTI_MODELS, PRIOR_MODEL, SINGLE_MODELS

__all__ = ["Run", "runs_of"]

Run = tuple[str, dict[str, Any]]  # notebook without ending, its parameters
Trained = tuple[str, str]  # stage-2 model, prior


def runs_of(study: Study, name: str) -> Iterator[Run]:
    """Yield every notebook of a study with its parameters, each once and after what it reads.

    Parameters
    ----------
    study : Study
    name : str
        As the notebooks take it: a study's name or the path of its YAML file.
    """
    done: list[Run] = []
    for run in _all_runs(study, name):
        if run not in done:  # two folds share a cross-fitting network
            done.append(run)
            yield run


def _all_runs(study: Study, name: str) -> Iterator[Run]:
    yield from _own_trainings(study, name)
    yield "07_segmentation_results", {"study": name}
    if study.multi.models:
        yield "08_class_results", {"study": name}
    augmented, validated = study.augmented, study.cross_validation
    if validated.single_models:
        for fold in study.cross_validated_folds():
            at = {"study": name, "fold": fold, "seed": study.seeds[0]}
            yield from _trainings(study, validated.single_models, _predicted(validated), at)
        yield "09_cross_validation", {"study": name}
    for other in study.other_studies():
        yield from _own_trainings(load_study(other), other)
    for external in study.external:
        yield "10_external_datasets", {"study": name, "external": external.study}
    if "ssinfnet" in study.multi.models:
        yield "11_ablation", {"study": name}
    if augmented.single_models:
        yield from _of_seeds(study, name, augmented.single_models, _predicted(augmented))
        yield "12_augmentation", {"study": name}
    if clinical := study.clinical:
        at = {"study": name, "fold": 0, "seed": study.seeds[0]}
        single = (*clinical.severity_models, clinical.single_model)
        yield from _trainings(study, single, [(clinical.multi_model, "predicted")], at)
        yield "13_severity", {"study": name}
        yield "14_phenotypes", {"study": name}
        if clinical.mediation:
            yield "15_mediation", {"study": name}
        if study.knows_the_truth():
            yield "16_known_truth", {"study": name}
    yield "17_cost", {"study": name}
    yield "18_report", {"study": name}


def _own_trainings(study: Study, name: str) -> Iterator[Run]:
    """Yield the data and the trainings that the study's own tables show."""
    if study.lung_field is not None:
        yield "01_lung_field", {"study": name}
    yield "02_data_split", {"study": name}
    oracles = [(model, "ground_truth") for model in study.multi.oracle_models]
    multi = [*_predicted(study.multi), *oracles]
    yield from _of_seeds(study, name, study.single.models, multi)


def _predicted(chosen: MultiConfig | AugmentedConfig | CrossValidationConfig) -> list[Trained]:
    models = chosen.models if isinstance(chosen, MultiConfig) else chosen.multi_models
    return [(model, "predicted") for model in models]


def _of_seeds(
    study: Study, name: str, single: Sequence[str], multi: Sequence[Trained]
) -> Iterator[Run]:
    for seed in study.seeds:
        yield from _trainings(study, single, multi, {"study": name, "fold": 0, "seed": seed})


def _trainings(
    study: Study, single: Sequence[str], multi: Sequence[Trained], at: dict[str, Any]
) -> Iterator[Run]:
    """Yield the trainings of some stage-1 models, and of (stage-2 model, prior)."""
    reading = any(MULTI_MODELS[model].prior and prior == "predicted" for model, prior in multi)
    started = any(MULTI_MODELS[model].pretrained for model, _ in multi)
    priors = reading or started  # stage 2's pretraining reads priors too
    if any(SINGLE_MODELS[model].pretrained for model in single):
        yield "03_pretraining", {**at, "stage": "single"}
    semi = [model for model in single if SINGLE_MODELS[model].pseudo_labels]
    others = [model for model in single if model not in semi]
    for model in dict.fromkeys((*others, *([PRIOR_MODEL] if priors or semi else []))):
        yield "05_single_segmentation", {**at, "model": model}
    if semi:
        yield "04_pseudo_labels", at
    for model in semi:
        yield "05_single_segmentation", {**at, "model": model}
    for fold, part in study.cross_fitted(at["fold"]) if priors else ():
        left_out = {**at, "fold": fold, "part": part}
        yield "05_single_segmentation", {**left_out, "model": PRIOR_MODEL}
    if started:
        yield "03_pretraining", {**at, "stage": "multi"}
    for model, prior in multi:
        yield "06_multi_segmentation", {**at, "model": model, "prior": prior}
