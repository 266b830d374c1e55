"""What is made of trained networks: validation, other data, patients, costs, scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ssinfnet.study.config.parts import MultiName, Part, Positive, SingleName, SingleNames
from ssinfnet.study.config.texture import TextureConfig

__all__ = [
    "AugmentedConfig",
    "ClinicalConfig",
    "CostConfig",
    "CrossValidationConfig",
    "ExternalConfig",
    "HarmonisationConfig",
    "MediationConfig",
    "ScoreConfig",
]


class BothStages(Part):
    """Models of both stages, or of neither: their notebook shows them together."""

    single_models: tuple[SingleName, ...] = ()
    multi_models: tuple[MultiName, ...] = ()

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if bool(self.single_models) != bool(self.multi_models):
            raise ValueError(
                "single_models and multi_models go together: name some of both, or [] for both"
            )
        return self


class CrossValidationConfig(BothStages):
    """Which models are cross-validated over `split.folds` folds, with the first seed (S2, S3)."""

    single_models: tuple[SingleName, ...] = ("unet", "sinfnet", "ssinfnet")  # (): no folds
    multi_models: tuple[MultiName, ...] = ("unet", "sinfnet", "ssinfnet")  # S table S3
    epochs_share: float = Field(default=1.0, gt=0, le=1)  # of the epochs, that a fold trains

    def remark(self) -> str:
        """Return what a title says of folds that train for fewer epochs, or nothing."""
        share = self.epochs_share
        return "" if share == 1 else f"; folds train for {share:g} of the epochs"


class ExternalConfig(Part):
    """An independent data set, a study of its own (S tables S5 and S6).

    Its own networks are tested on its test slices, and beside them, without retraining, those of
    another study.
    """

    study: str  # of the data set: what is trained and tested there
    transferred: str | None = None  # study whose networks are tested there; None: this one
    tables: str = Field(pattern=r"^[a-z0-9]+$")  # "s5" stands beside the paper's S5A and S5B


class AugmentedConfig(BothStages):
    """Which models are compared with and without cutout (V tables II and III, D table I)."""

    single_models: tuple[SingleName, ...] = (  # V table II, D table I; (): no such tables
        "sinfnet", "sinfnet_cutout20", "sinfnet_cutout40", "sinfnet_cutout50",
        "ssinfnet", "ssinfnet_cutout40",
    )  # fmt: skip
    multi_models: tuple[MultiName, ...] = (  # V table III
        "sinfnet", "sinfnet_cutout20", "sinfnet_cutout40", "sinfnet_cutout50",
        "ssinfnet", "ssinfnet_cutout40",
    )  # fmt: skip


class MediationConfig(Part):
    """How mediation is analysed (J eq 14 and 15; D-17 to D-20)."""

    exposures: tuple[Literal["age", "male", "n_diseases"], ...] = ("age", "male", "n_diseases")  # J
    outcomes: tuple[Literal["infected", "severe"], ...] = ("infected", "severe")  # J figures 4 to 6
    covariates: tuple[Literal["age", "male", "n_diseases", "hospital"], ...] = (  # of every path
        "hospital",
    )
    adjust_exposures: bool = False  # whether exposures are covariates of each other (D-90)
    adjustment: Literal["fdr_bh", "holm"] = "fdr_bh"  # of p, within an exposure; ours
    alpha: float = Field(default=0.05, gt=0, lt=1)  # J
    draws: int = Field(default=5000, ge=0)  # of patients, for each indirect effect's interval
    interval: Literal["percentile", "expanded", "bca"] = "percentile"  # of indirect effects (D-138)
    model_draws: int = Field(default=1000, ge=0)  # the same where a model is fitted to each
    fewest: int = Field(default=20, ge=1)  # patients of a class (D-19) or a pair's value (D-199)
    unstable: Literal["mark", "leave out"] = "mark"  # phenotypes, in figures 4 to 6 (D-93)
    path_model: Literal["with covariances", "as published"] = "with covariances"  # drawn (D-92)
    most_correlated: float = Field(default=0.8, gt=0, lt=1)  # of mediators kept side by side; J
    seed: int = 2021  # of the draws

    @model_validator(mode="after")
    def _roles_differ(self) -> Self:
        if twice := sorted(set(self.exposures) & set(self.covariates)):
            raise ValueError(
                f"{twice} are exposures and covariates; name each once, and write "
                "adjust_exposures: true to adjust exposures for each other"
            )
        return self


class HarmonisationConfig(Part):
    """How phenotypes are freed of what their hospital adds: ComBat (D-126)."""

    covariates: tuple[Literal["age", "male", "n_diseases"], ...] = (  # whose part is kept
        "age",
        "male",
        "n_diseases",
    )


class ClinicalConfig(Part):
    """The patients whose severity (V) and phenotypes (J) are analysed."""

    source: Literal["ictcf"] = "ictcf"  # one of the study's sources, with clinical tables
    tables: tuple[str, ...] = Field(  # in its folder, such as one a hospital (D-149)
        default=("All_Patients.csv",), min_length=1
    )
    severity_models: SingleNames = (  # V table V
        "sinfnet",
        "sinfnet_cutout40",
        "sinfnet_cutout50",
        "ssinfnet",
        "ssinfnet_cutout40",
    )
    single_model: SingleName = "ssinfnet"  # whose overall lesion is measured
    multi_model: MultiName = "ssinfnet"  # whose ground glass and consolidation
    threshold: float = Field(default=0.5, gt=0, lt=1)  # probability from which a pixel is lesion
    texture: TextureConfig = TextureConfig()
    harmonisation: HarmonisationConfig | None = None  # over hospitals; None: as measured
    fitted_on: float = Field(default=0.5, gt=0, lt=1)  # share of patients that fit cut-points
    lung_field: str | None = None  # study whose lung-field network finds the lungs; None: D-51
    workers: Positive = 1  # processes that measure phenotypes
    other_bin_widths: tuple[float, ...] = ()  # measured besides, to see what depends on them
    other_thresholds: tuple[float, ...] = ()  # likewise
    mediation: MediationConfig | None = None  # None: too few patients for it

    @field_validator("tables")
    @classmethod
    def _tables_lie_in_the_folder(cls, tables: tuple[str, ...]) -> tuple[str, ...]:
        outside = [name for name in tables if Path(name).is_absolute() or ".." in Path(name).parts]
        if outside or len(set(tables)) < len(tables):
            raise ValueError(
                f"tables must be different files below the source's folder, got {list(tables)}"
            )
        return tables

    @model_validator(mode="after")
    def _pictures_have_neither_hu_nor_volume(self) -> Self:
        if self.texture.intensities == "hu" or self.texture.dimensions == 3:
            raise ValueError(
                f"texture asks for HU or volumes, and the patients of {self.source} have 8-bit "
                "pictures: leave intensities and dimensions out; `ssinfnet predict` takes them"
            )
        if self.texture.bins and self.other_bin_widths:
            raise ValueError("other_bin_widths do not change texture.bins; leave one of them out")
        return self

    def other_settings(self) -> dict[str, dict[str, Any]]:
        """Return name → texture and threshold of what is measured besides."""
        base = {"texture": self.texture, "threshold": self.threshold}
        widths = {
            f"bin_width_{w:g}": base | {"texture": self.texture.model_copy(update={"bin_width": w})}
            for w in self.other_bin_widths
        }
        return widths | {f"threshold_{t:g}": base | {"threshold": t} for t in self.other_thresholds}


class CostConfig(Part):
    """How costs are measured (S table S8)."""

    rounds: Positive = 10  # turns of all models; their medians are shown
    batch: Positive = 4  # slices of a training step and of a prediction


class ScoreConfig(Part):
    """How predictions become tables (J eq 8 to 13, D-13, D-14)."""

    threshold: float = Field(default=0.5, gt=0, lt=1)  # probability; no source states another
    bootstrap_draws: Positive = 2000  # over patients (D-13)
    permutation_draws: Positive = 10000  # sign flips over patients (D-15)
    seed: int = 2021  # of both

    @property
    def for_intervals(self) -> dict[str, int]:
        """What `scores.summarise` and its like take: draws over patients, and their seed."""
        return {"bootstrap_draws": self.bootstrap_draws, "seed": self.seed}

    @property
    def for_tests(self) -> dict[str, int]:
        """What `tables.comparison_table` and its like take: sign flips, and their seed."""
        return {"permutation_draws": self.permutation_draws, "seed": self.seed}
