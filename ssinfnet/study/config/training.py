"""How networks are made, pretrained and trained: both stages and the lung field."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ssinfnet.study.config.parts import (
    MultiNames,
    Part,
    Positive,
    Share,
    SingleName,
    SingleNames,
)
from ssinfnet.study.models import MULTI_MODELS, PRIOR_MODEL, SINGLE_MODELS

__all__ = [
    "AugmentationConfig",
    "FittingConfig",
    "LungFieldConfig",
    "MultiConfig",
    "MultiTrainingConfig",
    "NetworkConfig",
    "PhaseConfig",
    "PretextConfig",
    "PseudoLabelConfig",
    "StudentConfig",
    "SingleConfig",
    "TrainingConfig",
]


Weight = Annotated[float, Field(gt=0)]


class AugmentationConfig(Part):
    """Random changes of a training slice, drawn alike for image, mask and edge (V §V-C).

    From `rotation` on they are nnU-Net's (Isensee et al. 2021), with its ranges; the last six
    change the image alone.
    """

    flip_vertical: Share = 0.5  # probability; sources name the flip, not its probability
    flip_horizontal: Share = 0.5  # likewise
    quarter_turn: Share = 0.0  # probability of a turn by 90, 180 or 270 degrees
    crop: Share = 0.0  # probability of cropping and enlarging back
    crop_smallest: float = Field(default=0.75, gt=0, le=1)  # smallest side kept, share of the side
    cutout: Share = 0.0  # probability of erasing one rectangle
    cutout_fraction: float = Field(default=0.4, gt=0, lt=1)  # of the area: 0.2, 0.4, 0.5 (V, D)
    rotation: Share = 0.0  # probability of a rotation by up to `rotation_degrees`
    rotation_degrees: float = Field(default=15.0, gt=0, le=180)  # either way
    scaling: Share = 0.0  # probability of enlarging or shrinking, 0.7 to 1.4 times
    noise: Share = 0.0  # probability of Gaussian noise
    blur: Share = 0.0  # probability of a Gaussian blur
    brightness: Share = 0.0  # probability of multiplying all grey values
    contrast: Share = 0.0  # probability of stretching grey values around their mean
    low_resolution: Share = 0.0  # probability of shrinking and enlarging back
    gamma: Share = 0.0  # probability of raising grey values to a power


class EpochsConfig(Part):
    """How often any training validates and writes its state."""

    validate_every: Positive = 1  # epochs from one validation to the next; the last has one
    state_seconds: float | None = Field(  # from one state to the next; None: costs 2 % (D-79)
        default=None, ge=0
    )

    def identity(self) -> dict[str, Any]:
        """Return the settings that decide about a training's weights, JSON-ready."""
        return self.model_dump(mode="json", exclude={"state_seconds"})


class FittingConfig(EpochsConfig):
    """How any network is fitted; the defaults are stage 1's (J, Experimental settings)."""

    epochs: Positive = 500  # passes over the training slices (J)
    batch_size: Positive = 8  # ours; no source states one (D-152)
    optimiser: Literal["adam", "sgd"] = "adam"  # J
    learning_rate: float = Field(default=1e-4, gt=0)  # J
    momentum: float = Field(default=0.0, ge=0, lt=1)  # of SGD
    schedule: Literal["constant", "cosine"] = "constant"  # none is stated (D-07)
    warm_up: Share = 0.0  # share of the training in which the rate rises to its start
    gradient_clamp: float | None = Field(default=0.5, gt=0)  # each entry into ±0.5; Inf-Net
    scales: tuple[float, ...] = (0.75, 1.0, 1.25)  # one optimiser step each; Inf-Net
    averaging: float | None = Field(default=None, gt=0, lt=1)  # decay a step of averaged weights
    lesion_alone: bool = False  # train on slices with lesion, judge on all (D-176)
    judged_over: Positive | None = 1  # epochs whose mean F1 ranks one (D-14); None: keep the last
    patience: Positive | None = None  # validated epochs without a better F1; None never stops
    augmentation: AugmentationConfig = AugmentationConfig()

    def augmented(self, kind: str, cutout: float) -> Self:
        """Return the same training as a model's row augments it.

        Parameters
        ----------
        kind : {"study", "none", "published"}
            The study's augmentation; no change at all; or flips, crop and cutout, each of every
            other slice, as V names them (D-153).
        cutout : float
            Share of every other slice that is erased (D-45); 0 erases nothing.
        """
        base = self.augmentation
        if kind != "study":
            often = 0.0 if kind == "none" else 0.5
            base = AugmentationConfig(flip_vertical=often, flip_horizontal=often, crop=often)
        if cutout:
            base = base.model_copy(update={"cutout": 0.5, "cutout_fraction": cutout})
        return self if base is self.augmentation else self.model_copy(update={"augmentation": base})

    @model_validator(mode="after")
    def _patience_has_a_best_epoch(self) -> Self:
        if self.patience is not None and self.judged_over is None:
            raise ValueError("patience waits for a better epoch: it needs a number in judged_over")
        return self

    @field_validator("scales")
    @classmethod
    def _scales_enlarge_or_shrink(cls, scales: tuple[float, ...]) -> tuple[float, ...]:
        if not scales or any(not 0 < scale <= 2 for scale in scales):
            raise ValueError(f"scales must be one or more numbers in (0, 2], got {list(scales)}")
        return scales


class TrainingConfig(FittingConfig):
    """How a stage-1 network is fitted (J, Experimental settings)."""

    bce_share: float = Field(default=1.0, ge=0)  # λ of J eq 4


class MultiTrainingConfig(FittingConfig):
    """How a stage-2 network is fitted (J, Experimental settings)."""

    optimiser: Literal["adam", "sgd"] = "sgd"  # J
    learning_rate: float = Field(default=0.01, gt=0)  # J
    momentum: float = Field(default=0.7, ge=0, lt=1)  # J
    gradient_clamp: float | None = Field(default=None, gt=0)  # only stage 1's code clamps
    scales: tuple[float, ...] = (1.0,)  # multi-scale is stage 1's
    focal_gamma: float = Field(default=2.0, ge=0)  # γ of J eq 7, of the models with focal loss
    class_weights: tuple[Weight, Weight, Weight] | None = None  # α_t of eq 7, by a pixel's class
    lookahead_steps: Positive = 5  # k, of the models with Lookahead
    lookahead_share: float = Field(default=0.5, gt=0, le=1)  # α


class NetworkConfig(Part):
    """Size and initial weights of the networks."""

    width: float = Field(default=1.0, gt=0, le=1)  # multiplies every channel count; 1 = published
    imagenet_weights: str | None = None  # local file for the backbone; None starts at random
    lite_weights: str | None = "installed"  # the same of the lite networks; "installed": extra lite


class PhaseConfig(Part):
    """One turn of the alternation: who learns, and for how long."""

    train: Literal["network", "coach"]  # who learns; the other is fixed
    epochs: Positive  # of this phase


# J: 200 epochs each, then 100 each by turns, 2,000 in all (D-21)
PAPER_PHASES = (
    PhaseConfig(train="network", epochs=200),
    PhaseConfig(train="coach", epochs=200),
    *(PhaseConfig(train=turn, epochs=100) for turn in ("network", "coach") * 8),
)


class PretextConfig(EpochsConfig):
    """Inpainting against a coach (J eq 1–3, Experimental settings)."""

    phases: tuple[PhaseConfig, ...] = Field(default=PAPER_PHASES, min_length=1)  # J (D-21)
    batch_size: Positive = 8  # as in stage 1; J states none
    unlabelled_slices: int | None = Field(default=None, ge=0)  # of stage 1, at most; None: all
    kept: float = Field(default=0.75, gt=0, lt=1)  # k: share of the slice that is not erased
    random_share: Share = 0.0  # of slices masked at random still while the network faces a coach
    reconstruction: Literal["mse", "bce"] = "mse"  # D-11
    network_learning_rate: float = Field(default=0.1, gt=0)  # SGD; falls at 40, 80, 90 % (D-22)
    network_momentum: float = Field(default=0.9, ge=0, lt=1)  # J
    network_weight_decay: float = Field(default=5e-4, ge=0)  # J
    gradient_norm: float | None = Field(default=None, gt=0)  # bound of the gradient's length
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


class StudentConfig(Part):
    """Self-training: a student learns from slices, too, that other networks labelled (D-198)."""

    teachers: SingleNames = Field(default=("unet_lite",), min_length=1)  # all seeds, averaged
    unlabelled_slices: int | None = Field(default=None, ge=1)  # at most, evenly; None: all
    epochs: Positive | None = None  # of a student, which has more slices; None: as `training`

    @field_validator("teachers")
    @classmethod
    def _teachers_learn_from_masks(cls, teachers: tuple[str, ...]) -> tuple[str, ...]:
        for model in teachers:
            if SINGLE_MODELS[model].taught or SINGLE_MODELS[model].pseudo_labels:
                raise ValueError(f"teacher {model} learns from other networks' labels itself")
        return teachers


class SingleConfig(Part):
    """Stage 1: slice to lesion probability."""

    models: SingleNames = Field(  # J figure 3B
        default=("unet", "sinfnet", "ssinfnet"), min_length=1
    )
    network: NetworkConfig = NetworkConfig()
    training: TrainingConfig = TrainingConfig()
    pretrained_network: Literal["infnet", "infnet_lite"] = "infnet"  # that inpainting pretrains
    pretext: PretextConfig = PretextConfig()
    pseudo_labels: PseudoLabelConfig = PseudoLabelConfig()
    student: StudentConfig = StudentConfig()

    def training_of(self, model: str) -> TrainingConfig:
        """Return how a model of the catalogue is trained, its own augmentation and epochs too."""
        switches, training = SINGLE_MODELS[model], self.training
        if switches.taught and self.student.epochs:
            training = training.model_copy(update={"epochs": self.student.epochs})
        return training.augmented(switches.augmentation, switches.cutout)


class MultiConfig(Part):
    """Stage 2: slice and prior to background, ground-glass opacity and consolidation."""

    models: MultiNames = (  # S tables S4 and S7
        "unet", "fcn8s", "sinfnet", "ssinfnet",
        "ssinfnet_no_focal_no_lookahead", "ssinfnet_no_lookahead", "ssinfnet_no_focal",
    )  # fmt: skip
    oracle_models: MultiNames = (  # with true priors, V table IV
        "sinfnet",
        "sinfnet_cutout40",
        "sinfnet_cutout50",
        "ssinfnet",
        "ssinfnet_cutout40",
    )
    prior_model: SingleName = PRIOR_MODEL  # of stage 1, whose maps are priors (D-173)
    prior_parts: int = Field(default=3, ge=2)  # K of the cross-fitting (D-12)
    network: NetworkConfig = NetworkConfig()
    training: MultiTrainingConfig = MultiTrainingConfig()
    pretext: PretextConfig = PretextConfig()

    def training_of(self, model: str) -> MultiTrainingConfig:
        """Return how a model of the catalogue is trained, its own augmentation too."""
        switches = MULTI_MODELS[model]
        return self.training.augmented(switches.augmentation, switches.cutout)

    @field_validator("prior_model")
    @classmethod
    def _prior_has_a_start_of_its_own(cls, model: str) -> str:
        if SINGLE_MODELS[model].pseudo_labels:
            raise ValueError(
                f"prior_model {model} starts from labels that {PRIOR_MODEL} gave, which saw the "
                "patients that a cross-fitted network must not have seen"
            )
        return model

    @model_validator(mode="after")
    def _oracles_are_beside_models(self) -> Self:
        if self.oracle_models and not self.models:
            raise ValueError(
                "without stage 2 (models: []) there is no oracle of it; set oracle_models: [] too"
            )
        return self


class LungFieldConfig(Part):
    """How slices are cut to the lungs, and which of a scan is kept (data set 3, S §3; D-46)."""

    network: NetworkConfig = NetworkConfig()  # width of the U-Net
    training: TrainingConfig = TrainingConfig(epochs=100)
    margin: Share = 0.02  # around the field, share of its longer side
    smallest_area: Share = 0.5  # of the scan's largest field
    smallest_side: Share = 0.25  # of the field in either half of its box
