"""The study as a whole, read from its file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from ssinfnet.storage import strict_yaml
from ssinfnet.study import paths
from ssinfnet.study.config.analysis import (
    AugmentedConfig,
    ClinicalConfig,
    CostConfig,
    CrossValidationConfig,
    ExternalConfig,
    ScoreConfig,
)
from ssinfnet.study.config.data import DataConfig, SplitConfig
from ssinfnet.study.config.parts import Part, Positive
from ssinfnet.study.config.texture import TextureConfig
from ssinfnet.study.config.training import LungFieldConfig, MultiConfig, SingleConfig
from ssinfnet.study.models import SINGLE_MODELS

__all__ = ["Study", "load_study", "load_texture"]

Config = TypeVar("Config", bound=Part)


class Study(Part):
    """One study: the unit a user changes."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")  # of its folders in figures/ and runs
    description: str  # one line, shown in the report
    undertrained: bool = False  # the schedule is shorter than the paper's; tables then say so
    image_size: Positive = 352  # pixels, square (Inf-Net)
    seeds: tuple[int, ...] = (1,)  # each trains every model once more; no source states any
    threads: Positive = 1  # processor threads of one training
    data: DataConfig
    split: SplitConfig = SplitConfig()
    lung_field: LungFieldConfig | None = None  # None: slices stay as the sources have them
    flipped_views: bool = False  # average predictions over four views: as is, flipped, both (D-83)
    single: SingleConfig = SingleConfig()
    multi: MultiConfig = MultiConfig()
    augmented: AugmentedConfig = AugmentedConfig()
    cross_validation: CrossValidationConfig = CrossValidationConfig()
    external: tuple[ExternalConfig, ...] = ()
    clinical: ClinicalConfig | None = None  # None: no severity, no phenotypes
    scores: ScoreConfig = ScoreConfig()
    cost: CostConfig = CostConfig()

    @field_validator("image_size")
    @classmethod
    def _divides_by_32(cls, image_size: int) -> int:
        if image_size % 32:
            nearest = max(32, round(image_size / 32) * 32)
            raise ValueError(
                f"image_size must be a multiple of 32, the network's coarsest step, got "
                f"{image_size}; the nearest is {nearest}"
            )
        return image_size

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if not seeds or len(set(seeds)) < len(seeds) or min(seeds) < 0:
            raise ValueError(f"seeds must be different numbers of at least 0, got {list(seeds)}")
        return seeds

    @model_validator(mode="after")
    def _pretrained_models_have_the_network_that_is_pretrained(self) -> Study:
        named = [
            *self.single.models,
            *self.augmented.single_models,
            self.multi.prior_model,
            *self.cross_validation.single_models,
        ]
        network = self.single.pretrained_network
        pretrained = [name for name in dict.fromkeys(named) if SINGLE_MODELS[name].pretrained]
        others = [name for name in pretrained if SINGLE_MODELS[name].network != network]
        if others:
            raise ValueError(
                f"{', '.join(others)} start from inpainting by {SINGLE_MODELS[others[0]].network}, "
                f"and single.pretrained_network is {network}; a study pretrains one of the two"
            )
        return self

    @model_validator(mode="after")
    def _phantom_holds_slices(self) -> Study:
        phantom = self.data.phantom
        if phantom and not (
            phantom.volumes
            + phantom.single_slices
            + phantom.small_site_train
            + phantom.lung_site_patients
        ):
            raise ValueError("data.phantom has no labelled slice; set volumes or single_slices")
        return self

    @model_validator(mode="after")
    def _networks_know_their_views(self) -> Study:
        stages = (("single", self.single), ("multi", self.multi)) if self.flipped_views else ()
        for stage, config in stages:
            flips = config.training.augmentation
            if config.models and not (flips.flip_vertical and flips.flip_horizontal):
                raise ValueError(
                    f"flipped_views shows the networks flipped slices, which {stage}.training "
                    "does not: give its augmentation flip_vertical and flip_horizontal, or leave "
                    "flipped_views out"
                )
        return self

    @model_validator(mode="after")
    def _external_sets_are_other_studies(self) -> Study:
        names = [one.study for one in self.external]
        if len(set(names)) < len(names) or self.name in names:
            raise ValueError(f"external must name other studies, each once, got {names}")
        return self

    @model_validator(mode="after")
    def _clinical_source_is_read(self) -> Study:
        names = [source.name for source in self.data.sources]
        if self.clinical and self.clinical.source not in names:
            raise ValueError(
                f"clinical.source is {self.clinical.source!r}, which data.sources does not name; "
                f"it has {names}"
            )
        return self

    def external_named(self, study: str) -> ExternalConfig:
        """Return the independent data set of that name.

        Raises
        ------
        ValueError
            If the study does not ask for it.
        """
        for one in self.external:
            if one.study == study:
                return one
        raise ValueError(
            f"study {self.name!r} has no external data set {study!r}; it has "
            f"{[one.study for one in self.external]}"
        )

    def other_studies(self) -> list[str]:
        """Return the studies whose trainings this one needs, each once."""
        named = [name for one in self.external for name in (one.study, one.transferred) if name]
        if self.clinical and self.clinical.lung_field:
            named.append(self.clinical.lung_field)
        return [name for name in dict.fromkeys(named) if name != self.name]

    def knows_the_truth(self) -> bool:
        """Say whether mediation is analysed in a phantom's cohort, whose effects are planted."""
        phantom = self.data.phantom
        analysed = self.clinical is not None and self.clinical.mediation is not None
        return analysed and phantom is not None and phantom.cohort_patients > 0

    def cross_validated_folds(self) -> range:
        """Return the folds of the cross-validation, 1 to K."""
        return range(1, self.split.folds + 1)

    def in_fold(self, fold: int) -> Study:
        """Return the study as a fold of the cross-validation trains it.

        Its epochs are multiplied by `cross_validation.epochs_share` and rounded up, those of the
        pretext phase by phase (D-80). Fold 0, the study's own split, keeps them.
        """
        if fold == 0:
            return self
        share = self.cross_validation.epochs_share
        return self.model_copy(
            update={stage: _shortened(getattr(self, stage), share) for stage in ("single", "multi")}
        )

    def teachers(self) -> list[tuple[str, int]]:
        """Return (model, seed) of the networks that label slices for a student (D-198)."""
        return [(model, seed) for model in self.single.student.teachers for seed in self.seeds]

    def cross_fitted(self, fold: int) -> list[tuple[int, int]]:
        """Return (fold, part) of the stage-1 trainings that make the priors of training slices.

        Within the study's own split (fold 0) each leaves a part of the training patients out
        (D-12). Within a fold of the cross-validation each leaves this fold and another out, and
        serves both (D-43).
        """
        if fold == 0:
            return [(0, part) for part in range(1, self.multi.prior_parts + 1)]
        others = [other for other in self.cross_validated_folds() if other != fold]
        return [(min(fold, other), max(fold, other)) for other in others]


def _shortened(stage: SingleConfig | MultiConfig, share: float) -> SingleConfig | MultiConfig:
    """Return how a stage is trained with a share of its epochs, at least one in every phase."""

    def fewer(schedule: Any) -> Any:
        return schedule.model_copy(update={"epochs": math.ceil(schedule.epochs * share)})

    phases = tuple(fewer(phase) for phase in stage.pretext.phases)
    pretext = stage.pretext.model_copy(update={"phases": phases})
    changed: dict[str, Any] = {"training": fewer(stage.training), "pretext": pretext}
    if isinstance(stage, SingleConfig) and stage.student.epochs:
        changed["student"] = fewer(stage.student)
    return stage.model_copy(update=changed)


def load_study(study: str) -> Study:
    """Read a study by name (``demo``) or by the path of its YAML file.

    Raises
    ------
    FileNotFoundError
        If there is no such study.
    ValueError
        If the file is not YAML, or has an unknown key, a wrong type or an impossible value; each
        fault is listed with its key and what was got.

    Examples
    --------
    >>> load_study("demo").image_size % 32
    0
    """
    return _checked(Study, paths.study_file(study), "is not a valid study")


def load_texture(path: Path) -> TextureConfig:
    """Read the keys of `clinical.texture` from a YAML file of their own.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not YAML, or has an unknown key, a wrong type or an impossible value.
    """
    return _checked(TextureConfig, path, "does not hold keys of clinical.texture")


def _checked(kind: type[Config], path: Path, fault: str) -> Config:
    """Return what a YAML file says, in JSON's strict types; each wrong key is named."""
    content = strict_yaml.read(path)
    try:
        return kind.model_validate_json(json.dumps(content))
    except ValidationError as error:
        faults = "\n".join(f"  {_describe(one)}" for one in error.errors())
        raise ValueError(f"{path} {fault}:\n{faults}") from error
    except ValueError as error:  # a number of thousands of digits has no JSON form
        raise ValueError(f"{path} {fault}: {error}") from error


def _describe(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"]) or "the file"
    if fault["type"] == "extra_forbidden":
        return f"{place}: unknown key; check its spelling against docs/studies.md"
    return f"{place}: {fault['msg']} (got {fault['input']!r:.80})"
