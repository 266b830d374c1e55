"""Every notebook of a study with its parameters, in an order in which each can run.

The Snakefile says the same as a graph; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ssinfnet.study.config import (
    AugmentedConfig,
    CrossValidationConfig,
    MultiConfig,
    Study,
    load_study,
)
from ssinfnet.study.models import MULTI_MODELS, PRIOR_MODEL, SINGLE_MODELS

__all__ = ["Run", "read_by", "runs_of"]

Run = tuple[str, dict[str, Any]]  # notebook without ending, its parameters
Trained = tuple[str, str]  # stage-2 model, prior


def runs_of(study: Study, name: str) -> Iterator[Run]:
    """Yield every notebook of a study with its parameters, each once and after what it reads.

    Parameters
    ----------
    study : Study
    name : str
        The study, as notebooks take it: its name or the path of its YAML file.
    """
    yield from _each_once(_all_runs(study, name))


def _each_once(runs: Iterable[Run]) -> Iterator[Run]:
    done: list[Run] = []
    for run in runs:
        if run not in done:  # two folds share a cross-fitting network
            done.append(run)
            yield run


def _all_runs(study: Study, name: str) -> Iterator[Run]:
    yield from _own_trainings(study, name)
    for notebook, parameters in _results(study, name):
        yield from _read_by(study, name, notebook, parameters)
        yield notebook, parameters


def _results(study: Study, name: str) -> Iterator[Run]:
    """Yield the notebooks that show what the trainings are worth, in the order of the study."""
    parameters = {"study": name}
    yield "07_segmentation_results", parameters
    if study.multi.models:
        yield "08_class_results", parameters
    if study.cross_validation.single_models:
        yield "09_cross_validation", parameters
    for external in study.external:
        yield "10_external_datasets", {**parameters, "external": external.study}
    if "ssinfnet" in study.multi.models:
        yield "11_ablation", parameters
    if study.augmented.single_models:
        yield "12_augmentation", parameters
    if clinical := study.clinical:
        yield "13_severity", parameters
        yield "14_phenotypes", parameters
        if clinical.mediation:
            yield "15_mediation", parameters
        if study.knows_the_truth():
            yield "16_known_truth", parameters
    yield "17_cost", parameters
    yield "18_report", parameters


def read_by(study: Study, name: str, notebook: str, parameters: Mapping[str, Any]) -> Iterator[Run]:
    """Yield what a notebook of a study reads: other notebooks, each once and after what it reads.

    Parameters
    ----------
    study, name
        As for `runs_of`.
    notebook : str
        Name without ending.
    parameters : mapping
        Its own, those of `runs_of`.
    """
    at = {key: value for key, value in parameters.items() if (key, value) != ("part", 0)}
    yield from _each_once(_read_by(study, name, notebook, at))


def _read_by(study: Study, name: str, notebook: str, at: dict[str, Any]) -> Iterator[Run]:
    number = notebook[:2]
    if number in ("00", "01"):
        return
    yield from _lung_field(study, name)
    if number == "02":
        return
    yield "02_data_split", {"study": name}
    if number in ("03", "04", "05", "06"):
        yield from _started_from(study, (notebook, at))
    elif number in ("07", "08", "09", "10", "12"):
        yield from _scored(study, name, number, at)
    elif number in ("13", "14"):
        yield from _of_patients(study, name, phenotypes=number == "14")
    else:
        yield from _other_results(study, name, number)


def _other_results(study: Study, name: str, number: str) -> Iterator[Run]:
    """Yield the notebooks of results that another reads, with all that they read themselves."""
    read = {"11": ("08",), "15": ("14",), "16": ("14",), "17": ("07", "08")}.get(number)
    for notebook, at in _results(study, name):
        if notebook[:2] < number and (read is None or notebook[:2] in read):
            yield from _read_by(study, name, notebook, at)
            yield notebook, at


def _started_from(study: Study, run: Run) -> Iterator[Run]:
    """Yield the trainings from which another starts, or whose predictions it reads."""
    notebook, at = run
    if at.get("model", PRIOR_MODEL) not in SINGLE_MODELS.keys() | MULTI_MODELS.keys():
        return  # the training says which models there are
    where = {key: at[key] for key in ("study", "fold", "seed")}
    single, multi = [], []
    if notebook == "03_pretraining" and at["stage"] == "multi":
        multi = [("ssinfnet", "predicted")]
    elif notebook == "04_pseudo_labels":
        single = ["semi_infnet"]
    elif notebook == "05_single_segmentation" and "part" not in at:
        single = [at["model"]]
    elif notebook == "06_multi_segmentation":
        multi = [(at["model"], at["prior"])]
    for other in _trainings(study, single, multi, where):
        if other == run:
            return
        yield other


def _scored(study: Study, name: str, number: str, at: dict[str, Any]) -> Iterator[Run]:
    """Yield the trainings whose predictions a notebook scores."""
    multi = [*_predicted(study.multi), *_oracles(study)]
    augmented, validated = study.augmented, study.cross_validation
    if number == "07":
        yield from _of_seeds(study, name, study.single.models, [])
    elif number == "08":
        yield from _of_seeds(study, name, [], multi)
    elif number == "09":
        for fold in study.cross_validated_folds():
            where = {"study": name, "fold": fold, "seed": study.seeds[0]}
            yield from _trainings(study, validated.single_models, _predicted(validated), where)
    elif number == "10":
        external = study.external_named(at["external"])
        for other in dict.fromkeys((external.study, external.transferred or name)):
            its = study if other == name else load_study(other)
            yield from _lung_field(its, other)
            yield "02_data_split", {"study": other}
            yield from _of_seeds(its, other, its.single.models, _predicted(its.multi))
    else:
        yield from _of_seeds(study, name, augmented.single_models, _predicted(augmented))


def _of_patients(study: Study, name: str, *, phenotypes: bool) -> Iterator[Run]:
    """Yield what segments the patients of the clinical table: networks, and one for the lungs."""
    clinical, validated = study.clinical, study.cross_validation
    if clinical is None:
        return
    if clinical.lung_field:
        yield "01_lung_field", {"study": clinical.lung_field}
    at = {"study": name, "fold": 0, "seed": study.seeds[0]}
    if phenotypes:
        multi = [(clinical.multi_model, "predicted")]
        yield from _trainings(study, (study.multi.prior_model, clinical.single_model), multi, at)
        return
    yield from _trainings(study, sorted({PRIOR_MODEL, *clinical.severity_models}), [], at)
    if PRIOR_MODEL in validated.single_models:
        for fold in study.cross_validated_folds():
            yield from _trainings(study, [PRIOR_MODEL], [], {**at, "fold": fold})


def _lung_field(study: Study, name: str) -> Iterator[Run]:
    if study.lung_field is not None:
        yield "01_lung_field", {"study": name}


def _own_trainings(study: Study, name: str) -> Iterator[Run]:
    """Yield the data and the trainings that the study's own tables show."""
    yield from _lung_field(study, name)
    yield "02_data_split", {"study": name}
    multi = [*_predicted(study.multi), *_oracles(study)]
    yield from _of_seeds(study, name, study.single.models, multi)


def _oracles(study: Study) -> list[Trained]:
    return [(model, "ground_truth") for model in study.multi.oracle_models]


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
    started_prior = priors and SINGLE_MODELS[study.multi.prior_model].pretrained
    if started_prior or any(SINGLE_MODELS[model].pretrained for model in single):
        yield "03_pretraining", {**at, "stage": "single"}
    semi = [model for model in single if SINGLE_MODELS[model].pseudo_labels]
    others = [model for model in single if model not in semi]
    prior: str = study.multi.prior_model
    needed = [*([prior] if priors else []), *([PRIOR_MODEL] if semi else [])]
    for model in dict.fromkeys((*others, *needed)):
        yield from _teachers(study, model, at)
        yield "05_single_segmentation", {**at, "model": model}
    if semi:
        yield "04_pseudo_labels", at
    for model in semi:
        yield "05_single_segmentation", {**at, "model": model}
    for fold, part in study.cross_fitted(at["fold"]) if priors else ():
        left_out = {**at, "fold": fold, "part": part}
        if SINGLE_MODELS[prior].pretrained:
            yield "03_pretraining", {**at, "fold": fold, "stage": "single"}
        yield from _teachers(study, prior, left_out)
        yield "05_single_segmentation", {**left_out, "model": prior}
    if started:
        yield "03_pretraining", {**at, "stage": "multi"}
    for model, prior in multi:
        yield "06_multi_segmentation", {**at, "model": model, "prior": prior}


def _teachers(study: Study, model: str, at: dict[str, Any]) -> Iterator[Run]:
    """Yield the trainings of a student's teachers, of every seed of the study."""
    if not SINGLE_MODELS[model].taught:
        return
    for teacher, seed in study.teachers():
        where = {**at, "seed": seed}
        if SINGLE_MODELS[teacher].pretrained:
            start = {key: where[key] for key in ("study", "fold", "seed")}
            yield "03_pretraining", {**start, "stage": "single"}
        yield "05_single_segmentation", {**where, "model": teacher}
