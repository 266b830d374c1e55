"""A study: everything a run depends on, read from one YAML file into frozen, typed parts.

Every default is the paper's own value with its source (J = journal article, S = supplement,
V = severity manuscript; D-nn = DECISIONS.md), or says that the sources are silent. Unknown keys,
wrong types and impossible values are refused with the place in the file.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ssinfnet import paths

__all__ = [
    "AugmentationConfig",
    "AugmentedConfig",
    "ClinicalConfig",
    "CostConfig",
    "CrossValidationConfig",
    "DataConfig",
    "ExternalConfig",
    "LungFieldConfig",
    "MultiConfig",
    "MultiTrainingConfig",
    "NetworkConfig",
    "PhantomConfig",
    "PseudoLabelConfig",
    "PhaseConfig",
    "PretextConfig",
    "ScoreConfig",
    "SingleConfig",
    "SourceConfig",
    "SplitConfig",
    "Study",
    "TrainingConfig",
    "load_study",
]

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
SingleName = Literal[
    "unet", "sinfnet", "ssinfnet", "semi_infnet",
    "sinfnet_cutout20", "sinfnet_cutout40", "sinfnet_cutout50", "ssinfnet_cutout40",
]  # fmt: skip
MultiName = Literal[
    "unet", "fcn8s", "sinfnet", "ssinfnet",
    "ssinfnet_no_focal_no_lookahead", "ssinfnet_no_lookahead", "ssinfnet_no_focal",
    "sinfnet_cutout20", "sinfnet_cutout40", "sinfnet_cutout50", "ssinfnet_cutout40",
]  # fmt: skip


class Part(BaseModel):
    """What all parts of a study have in common: frozen, strictly typed, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SourceConfig(Part):
    """One folder of raw data and the adapter that reads it."""

    name: Literal["medseg", "covid_semiseg", "ictcf", "ccii", "volumes"]
    folder: str  # below the data folder (make DATA=…), or below the phantom's
    patients: str = ".*"  # regular expression: only patients whose whole id it matches (D-18)

    @field_validator("patients")
    @classmethod
    def _compiles(cls, patients: str) -> str:
        try:
            re.compile(patients)
        except re.error as error:
            raise ValueError(f"patients is no regular expression: {error}") from error
        return patients


class PhantomConfig(Part):
    """Size of the embedded synthetic study; its sites are in `phantom/sites.py`."""

    size: Positive = 128  # pixels, square
    volumes: int = Field(default=9, ge=0)  # site A: labelled volumes, as Med-Seg's `rp`
    slices_per_volume: Positive = 12
    single_slices: int = Field(default=40, ge=0)  # site A: labelled single slices, as `tr`
    small_site_train: int = Field(default=16, ge=0)  # site B: labelled one-slice patients
    small_site_test: int = Field(default=12, ge=0)
    small_site_volumes: int = Field(default=2, ge=0)  # site B: unlabelled volumes
    lung_site_patients: int = Field(default=0, ge=0)  # site C: five slices each, as CC-CCII's
    cohort_patients: int = Field(default=0, ge=0)  # site D: rows of the clinical table, as iCTCF's
    seed: int = 2021


class DataConfig(Part):
    """What the study reads."""

    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    phantom: PhantomConfig | None = None  # the embedded data set; None reads real folders

    @field_validator("sources")
    @classmethod
    def _sources_differ(cls, sources: tuple[SourceConfig, ...]) -> tuple[SourceConfig, ...]:
        names = [source.name for source in sources]
        if len(set(names)) < len(names):
            raise ValueError(f"each source may be named once, got {names}; join their folders")
        return sources


class SplitConfig(Part):
    """Patient-level split (D-01)."""

    train: float = Field(default=6.0, gt=0)  # shares of the slices, 6 : 1 : 1 (J fig 2)
    validation: float = Field(default=1.0, gt=0)
    test: float = Field(default=1.0, gt=0)
    own_test_set: bool = False  # keep the source's test set, divide the rest train : validation
    seed: int = 2021
    refuse_near_duplicates: bool = False  # True: near-duplicates across splits stop the run
    near_duplicate_bits: int = Field(default=6, ge=0, le=63)  # of 63 (D-26)
    near_duplicate_correlation: Share = 0.96  # of 32 px thumbnails, at least (D-26)
    folds: int = Field(default=3, ge=2)  # of the cross-validation (S tables S2, S3)


class AugmentationConfig(Part):
    """Random changes of a training slice, drawn alike for image, mask and edge (V §V-C)."""

    flip_vertical: Share = 0.5  # probability; sources name the flip, not its probability
    flip_horizontal: Share = 0.5
    rotate: Share = 0.0  # probability of a turn by 90, 180 or 270 degrees
    crop: Share = 0.0  # probability of cropping and enlarging back
    crop_smallest: float = Field(default=0.75, gt=0, le=1)  # smallest side kept, share of the side
    cutout: Share = 0.0  # probability of erasing one rectangle
    cutout_fraction: float = Field(default=0.4, gt=0, lt=1)  # of the area: 0.2, 0.4, 0.5 (V, D)


class TrainingConfig(Part):
    """How a network is fitted; the defaults are stage 1's (J, Experimental settings)."""

    epochs: Positive = 500
    batch_size: Positive = 8  # Inf-Net's code
    optimiser: Literal["adam", "sgd"] = "adam"
    learning_rate: float = Field(default=1e-4, gt=0)
    momentum: float = Field(default=0.0, ge=0, lt=1)  # of SGD
    schedule: Literal["constant", "cosine"] = "constant"  # none is stated (D-07)
    gradient_clamp: float | None = Field(default=0.5, gt=0)  # each entry into ±0.5; Inf-Net
    scales: tuple[float, ...] = (0.75, 1.0, 1.25)  # one optimiser step each; Inf-Net
    patience: Positive | None = None  # epochs without a better validation F1; None never stops
    augmentation: AugmentationConfig = AugmentationConfig()

    def with_cutout(self, fraction: float) -> Self:
        """Return the same training with this share of every other slice erased (D-45)."""
        if not fraction:
            return self
        erasing = {"cutout": 0.5, "cutout_fraction": fraction}
        augmentation = self.augmentation.model_copy(update=erasing)
        return self.model_copy(update={"augmentation": augmentation})

    @field_validator("scales")
    @classmethod
    def _scales_enlarge_or_shrink(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        if not scales or any(not 0 < scale <= 2 for scale in scales):
            raise ValueError(f"scales must be one or more numbers in (0, 2], got {list(scales)}")
        return scales


class MultiTrainingConfig(TrainingConfig):
    """How a stage-2 network is fitted (J, Experimental settings)."""

    optimiser: Literal["adam", "sgd"] = "sgd"
    learning_rate: float = Field(default=0.01, gt=0)
    momentum: float = Field(default=0.7, ge=0, lt=1)
    gradient_clamp: float | None = Field(default=None, gt=0)  # only stage 1's code clamps
    scales: tuple[float, ...] = (1.0,)  # multi-scale is stage 1's
    focal_gamma: float = Field(default=2.0, ge=0)  # J eq 7, of the models with focal loss
    lookahead_steps: Positive = 5  # k, of the models with Lookahead
    lookahead_share: float = Field(default=0.5, gt=0, le=1)  # α


class NetworkConfig(Part):
    """Size and initial weights of the networks."""

    width: float = Field(default=1.0, gt=0, le=1)  # multiplies every channel count; 1 = published
    imagenet_weights: str | None = None  # local file for the backbone; None starts at random


class PhaseConfig(Part):
    """One turn of the alternation: who learns, and for how long."""

    train: Literal["network", "coach"]
    epochs: Positive


# J: 200 epochs each, then 100 each by turns, 2,000 in all (D-21)
PAPER_PHASES = (
    PhaseConfig(train="network", epochs=200),
    PhaseConfig(train="coach", epochs=200),
    *(PhaseConfig(train=turn, epochs=100) for turn in ("network", "coach") * 8),
)


class PretextConfig(Part):
    """Inpainting against a coach (J eq 1–3, Experimental settings)."""

    phases: tuple[PhaseConfig, ...] = Field(default=PAPER_PHASES, min_length=1)
    batch_size: Positive = 8
    unlabelled_slices: int | None = Field(default=None, ge=0)  # of stage 1, at most; None: all
    kept: float = Field(default=0.75, gt=0, lt=1)  # k: share of the slice that is not erased
    reconstruction: Literal["mse", "bce"] = "mse"  # D-11
    network_learning_rate: float = Field(default=0.1, gt=0)  # SGD; falls at 40, 80, 90 % (D-22)
    network_momentum: float = Field(default=0.9, ge=0, lt=1)
    network_weight_decay: float = Field(default=5e-4, ge=0)
    coach_learning_rate: float = Field(default=1e-5, gt=0)  # Adam
    divergence_weight: float = Field(default=1e-6, ge=0)  # of the coach's bottleneck; its code
    augmentation: AugmentationConfig = AugmentationConfig()

    @field_validator("phases")
    @classmethod
    def _network_opens(cls, phases: tuple[PhaseConfig, ...]) -> tuple[PhaseConfig, ...]:
        if phases[0].train != "network":
            raise ValueError("the first phase must train the network: a coach needs one to judge")
        return phases


class PseudoLabelConfig(Part):
    """How Semi-Inf-Net labels unlabelled slices (Fan et al. 2020; V §IV; D-47)."""

    group: Positive = 5  # K: slices labelled at a time
    groups: Positive | None = None  # None: until every unlabelled slice has a label
    retraining: TrainingConfig = TrainingConfig()  # after each group


class SingleConfig(Part):
    """Stage 1: slice to lesion probability."""

    models: tuple[SingleName, ...] = ("unet", "sinfnet", "ssinfnet")
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    pretext: PretextConfig = PretextConfig()
    pseudo_labels: PseudoLabelConfig = PseudoLabelConfig()

    @field_validator("models")
    @classmethod
    def _models_differ(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if not models or len(set(models)) < len(models):
            raise ValueError(f"models must be one or more different names, got {list(models)}")
        return models


class MultiConfig(Part):
    """Stage 2: slice and prior to background, ground-glass opacity and consolidation."""

    models: tuple[MultiName, ...] = (
        "unet", "fcn8s", "sinfnet", "ssinfnet",
        "ssinfnet_no_focal_no_lookahead", "ssinfnet_no_lookahead", "ssinfnet_no_focal",
    )  # fmt: skip
    oracle_models: tuple[MultiName, ...] = (  # with true priors, V table IV
        "sinfnet", "sinfnet_cutout40", "sinfnet_cutout50", "ssinfnet", "ssinfnet_cutout40",
    )  # fmt: skip
    prior_parts: int = Field(default=3, ge=2)  # K of the cross-fitting (D-12)
    network: NetworkConfig = NetworkConfig()
    training: MultiTrainingConfig = MultiTrainingConfig()
    pretext: PretextConfig = PretextConfig()

    @field_validator("models", "oracle_models")
    @classmethod
    def _models_differ(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(models)) < len(models):
            raise ValueError(f"models must be different names, got {list(models)}")
        return models


class LungFieldConfig(Part):
    """How slices are cut to the lungs, and which of a scan is kept (data set 3, S §3; D-46)."""

    network: NetworkConfig = NetworkConfig()  # width of the U-Net
    training: TrainingConfig = TrainingConfig(epochs=100)
    margin: Share = 0.02  # around the field, share of its longer side
    smallest_area: Share = 0.5  # of the scan's largest field
    smallest_side: Share = 0.25  # of the field in either half of its box


class CrossValidationConfig(Part):
    """Which models are cross-validated over `split.folds` folds, with the first seed (S2, S3)."""

    single_models: tuple[SingleName, ...] = ("unet", "sinfnet", "ssinfnet")
    multi_models: tuple[MultiName, ...] = ("unet", "sinfnet", "ssinfnet")


class ExternalConfig(Part):
    """An independent data set, a study of its own (S tables S5 and S6).

    Its own networks are tested on its test slices, and beside them, without retraining, those of
    another study.
    """

    study: str  # of the data set: what is trained and tested there
    transferred: str | None = None  # study whose networks are tested there; None: this one
    tables: str = Field(pattern=r"^[a-z0-9]+$")  # "s5" stands beside the paper's S5A and S5B


class AugmentedConfig(Part):
    """Which models are compared with and without cutout (V tables II and III, D table I)."""

    single_models: tuple[SingleName, ...] = (
        "sinfnet", "sinfnet_cutout20", "sinfnet_cutout40", "sinfnet_cutout50",
        "ssinfnet", "ssinfnet_cutout40",
    )  # fmt: skip
    multi_models: tuple[MultiName, ...] = (
        "sinfnet", "sinfnet_cutout20", "sinfnet_cutout40", "sinfnet_cutout50",
        "ssinfnet", "ssinfnet_cutout40",
    )  # fmt: skip


class MediationConfig(Part):
    """How mediation is analysed (J eq 14 and 15; D-17 to D-20)."""

    exposures: tuple[Literal["age", "male", "n_diseases"], ...] = ("age", "male", "n_diseases")
    outcomes: tuple[Literal["infected", "severe"], ...] = ("infected", "severe")
    covariates: tuple[Literal["age", "male", "n_diseases", "hospital"], ...] = ()
    adjustment: Literal["fdr_bh", "holm"] = "fdr_bh"
    alpha: float = Field(default=0.05, gt=0, lt=1)
    draws: int = Field(default=5000, ge=0)  # of patients, for each indirect effect's interval
    model_draws: int = Field(default=1000, ge=0)  # the same where a model is fitted to each
    fewest: int = Field(default=20, ge=1)  # patients of either class of an outcome (D-19)
    most_correlated: float = Field(default=0.8, gt=0, lt=1)
    seed: int = 2021


class ClinicalConfig(Part):
    """The patients whose severity and phenotypes are analysed (spec §5 and §6)."""

    source: Literal["ictcf"] = "ictcf"  # one of the study's sources, with a clinical table
    severity_models: tuple[SingleName, ...] = (  # V table V
        "sinfnet", "sinfnet_cutout40", "sinfnet_cutout50", "ssinfnet", "ssinfnet_cutout40",
    )  # fmt: skip
    single_model: SingleName = "ssinfnet"  # whose overall lesion is measured
    multi_model: MultiName = "ssinfnet"  # whose ground glass and consolidation
    threshold: float = Field(default=0.5, gt=0, lt=1)  # probability from which a pixel is lesion
    bin_width: float = Field(default=25, gt=0)  # grey values of a level, of 256 (D-16)
    fitted_on: float = Field(default=0.5, gt=0, lt=1)  # share of patients that fit cut-points
    lung_field: str | None = None  # study whose lung-field network finds the lungs; None: D-51
    workers: Positive = 1  # processes that measure phenotypes
    other_bin_widths: tuple[float, ...] = ()  # measured besides, to see what depends on them
    other_thresholds: tuple[float, ...] = ()
    mediation: MediationConfig | None = None  # None: too few patients for it

    @field_validator("severity_models")
    @classmethod
    def _models_differ(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(models)) < len(models):
            raise ValueError(f"severity_models must be different names, got {list(models)}")
        return models

    def other_settings(self) -> dict[str, dict[str, float]]:
        """Return name → bin width and threshold of what is measured besides."""
        own = {"bin_width": self.bin_width, "threshold": self.threshold}
        widths = {f"bin_width_{w:g}": own | {"bin_width": w} for w in self.other_bin_widths}
        return widths | {f"threshold_{t:g}": own | {"threshold": t} for t in self.other_thresholds}


class CostConfig(Part):
    """How costs are measured (S table S8)."""

    rounds: Positive = 10  # turns of all models; their medians are shown
    batch: Positive = 4  # slices of a training step and of a prediction


class ScoreConfig(Part):
    """How predictions become tables (spec §4)."""

    threshold: float = Field(default=0.5, gt=0, lt=1)  # probability; no source states another
    bootstrap_draws: Positive = 2000  # over patients (D-13)
    permutation_draws: Positive = 10000  # sign flips over patients (D-15)
    seed: int = 2021


class Study(Part):
    """One study: the unit a user changes."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_]*$")
    description: str
    undertrained: bool = False  # the schedule is shorter than the paper's; tables then say so
    image_size: Positive = 352  # pixels, square (Inf-Net)
    seeds: tuple[int, ...] = (1,)
    threads: Positive = 1  # processor threads of one training
    data: DataConfig
    split: SplitConfig = SplitConfig()
    lung_field: LungFieldConfig | None = None  # None: slices stay as the sources have them
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

    def cross_validated_folds(self) -> range:
        """Return the folds of the cross-validation, 1 to K."""
        return range(1, self.split.folds + 1)

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


class _StudyLoader(yaml.SafeLoader):
    """YAML 1.1 with duplicate keys refused and 1e-4 read as a number, as users expect."""


# PyYAML follows YAML 1.1, where 1e-4 (no dot) is text.
_StudyLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def _unique_mapping(loader: _StudyLoader, node: yaml.MappingNode) -> dict[str, Any]:
    keys = [loader.construct_object(key) for key, _ in node.value]
    repeated = sorted({str(key) for key in keys if keys.count(key) > 1})
    if repeated:
        raise yaml.constructor.ConstructorError(
            None, None, f"key {', '.join(repeated)} is given twice", node.start_mark
        )
    return loader.construct_mapping(node, deep=True)


_StudyLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _unique_mapping)


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
    path = paths.study_file(study)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_StudyLoader)  # noqa: S506
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a YAML study: {error}") from error
    try:
        return Study.model_validate_json(json.dumps(content))
    except ValidationError as error:
        faults = "\n".join(f"  {_describe(fault)}" for fault in error.errors())
        raise ValueError(f"{path} is not a valid study:\n{faults}") from error
    except TypeError as error:  # a date or a set has no JSON form
        raise ValueError(
            f"{path} holds a value that is no number, text or list: {error}"
        ) from error


def _describe(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"]) or "the file"
    if fault["type"] == "extra_forbidden":
        return f"{place}: unknown key; check its spelling against ssinfnet/config.py"
    return f"{place}: {fault['msg']} (got {fault['input']!r:.80})"
