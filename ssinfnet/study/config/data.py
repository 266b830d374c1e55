"""What a study reads, and which patients it trains on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from ssinfnet.study.config.parts import Part, Positive, Share

__all__ = ["DataConfig", "PhantomConfig", "SourceConfig", "SourceName", "SplitConfig"]

# A layout of raw files; each has a module in ssinfnet/data/sources
SourceName = Literal["medseg", "covid_semiseg", "ictcf", "ccii", "volumes"]
Groups = tuple[tuple[str, ...], ...]
MaskClass = Literal["lungs", "ggo", "consolidation"]


class SourceConfig(Part):
    """One folder of raw data and the adapter that reads it."""

    name: SourceName  # adapter
    folder: str  # below the data folder (make DATA=…), or below the phantom's
    patients: str = ".*"  # regular expression: only patients whose whole id it matches (D-18)
    uncertain_classes: str | None = None  # of whom one-class slices serve stage 1 only (D-72)
    mask_values: tuple[MaskClass, MaskClass, MaskClass] | None = None  # of 1, 2, 3; ccii (D-150)
    slices_per_patient: Positive | None = None  # at most, evenly through the lungs (D-148)
    mask_labels: dict[str, int] = {}  # what masks say → 0 to 3: colours, names of parts (D-120)

    @field_validator("folder")
    @classmethod
    def _lies_below(cls, folder: str) -> str:
        if Path(folder).is_absolute() or ".." in Path(folder).parts:
            raise ValueError(f"folder must lie below the data folder (make DATA=…), got {folder!r}")
        return folder

    @model_validator(mode="after")
    def _values_are_of_ccii(self) -> Self:
        values = self.mask_values
        if values is not None and (self.name != "ccii" or len(set(values)) < len(values)):
            raise ValueError(
                "mask_values says what 1, 2 and 3 mean in the masks of ccii, each of lungs, ggo "
                f"and consolidation once; got {list(values)} for {self.name}"
            )
        return self

    @field_validator("mask_labels")
    @classmethod
    def _labels_are_known(cls, labels: dict[str, int]) -> dict[str, int]:
        if others := sorted(set(labels.values()) - {0, 1, 2, 3}):
            raise ValueError(
                f"mask_labels maps to {others}; expected 0 (nothing), 1 (GGO or lesion), 2 "
                "(consolidation) and 3 (pleural effusion)"
            )
        for name in labels:
            if name.startswith("#") and not re.fullmatch("#[0-9a-fA-F]{6}", name):
                raise ValueError(f"mask_labels has {name!r}; a colour is written #ff0000")
        return labels

    @field_validator("patients", "uncertain_classes")
    @classmethod
    def _compiles(cls, patients: str | None) -> str | None:
        try:
            re.compile(patients or "")
        except re.error as error:
            raise ValueError(f"{patients!r} is no regular expression: {error}") from error
        return patients


class PhantomConfig(Part):
    """Size of the embedded synthetic study; its sites are in `phantom/sites.py`."""

    size: Positive = 128  # pixels, square
    volumes: int = Field(default=9, ge=0)  # site A: labelled volumes, as Med-Seg's `rp`
    slices_per_volume: Positive = 12  # of sites A and B
    healthy_every: Positive = 8  # every so many of site A's volumes have no lesion
    single_slices: int = Field(default=40, ge=0)  # site A: labelled single slices, as `tr`
    small_site_train: int = Field(default=16, ge=0)  # site B: labelled one-slice patients
    small_site_test: int = Field(default=12, ge=0)  # site B: the same, its own test set
    small_site_volumes: int = Field(default=2, ge=0)  # site B: unlabelled volumes
    lung_site_patients: int = Field(default=0, ge=0)  # site C: five slices each, as CC-CCII's
    cohort_patients: int = Field(default=0, ge=0)  # site D: rows of the clinical table, as iCTCF's
    seed: int = 2021  # of all that is drawn


class DataConfig(Part):
    """What the study reads."""

    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    phantom: PhantomConfig | None = None  # the embedded data set; None reads real folders
    same_patient: Groups = ()  # groups of names, each one patient (D-71)
    crop: Literal["none", "lungs"] = "none"  # lungs: to the box around them (D-174)

    @field_validator("sources")
    @classmethod
    def _sources_differ(cls, sources: tuple[SourceConfig, ...]) -> tuple[SourceConfig, ...]:
        names = [source.name for source in sources]
        if len(set(names)) < len(names):
            raise ValueError(f"each source may be named once, got {names}; join their folders")
        return sources

    @field_validator("same_patient")
    @classmethod
    def _groups_name_several(cls, groups: Groups) -> Groups:
        for group in groups:
            if len(set(group)) < 2:
                raise ValueError(f"each group names two or more patients, got {list(group)}")
        return groups


class SplitConfig(Part):
    """Patient-level split (D-01)."""

    train: float = Field(default=6.0, gt=0)  # shares of the slices, 6 : 1 : 1 (J fig 2)
    validation: float = Field(default=1.0, gt=0)  # J fig 2
    test: float = Field(default=1.0, gt=0)  # J fig 2
    own_test_set: bool = False  # keep the source's test set, divide the rest train : validation
    test_patients: tuple[str, ...] = ()  # test whatever the shares, by the sources' names
    each_source: bool = False  # divide each source by itself, so that every split has all of them
    seed: int = 2021  # of the division; no source states one
    refuse_near_duplicates: bool = False  # True: near-duplicates across splits stop the run
    near_duplicate_bits: int = Field(default=6, ge=0, le=63)  # of 63 (D-26)
    near_duplicate_correlation: Share = 0.96  # of 32 px thumbnails, at least (D-26)
    folds: int = Field(default=3, ge=2)  # of the cross-validation (S tables S2, S3)
