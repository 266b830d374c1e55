"""The slice table of a study: one row a slice, split so that nothing crosses patients (D-01)."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.data import lung_crop, phantom, same_patient, sources, thinning
from ssinfnet.data.splits import (
    SPLITS,
    assign_folds,
    assign_splits,
    divide_patients,
    refuse_leakage,
)
from ssinfnet.storage import artifacts
from ssinfnet.study.config import SourceConfig, Study
from ssinfnet.study.paths import StudyPaths

__all__ = [
    "COLUMNS",
    "LEFT_OUT",
    "Cohort",
    "build",
    "prepared_array",
    "raw_folder",
    "source_folder",
    "validate",
]

COLUMNS = {**sources.COLUMNS, "split": "str", "fold": "Int64", **lung_crop.COLUMNS}
LEFT_OUT = "left out"  # of a cross-fitting network's training; never stored
REASONS = 5  # for exclusions, shown in Jupyter; the commonest


@dataclass(frozen=True)
class Cohort:
    """All slices of a study.

    Attributes
    ----------
    slices : DataFrame
        Columns of `COLUMNS`; `split` is train, validation, test or unlabelled, `fold` 1 to K for
        labelled slices; the box to which a slice is cut is missing where it stays whole. Row i
        belongs to image i of the prepared arrays.
    exclusions : DataFrame
        Columns source, file, reason.
    folders : mapping
        Source name → folder of its raw files.
    notes : mapping
        Source name → what it tells about patients.
    fold : int
        Fold of the cross-validation, see `in_fold`; 0 is the study's own split.
    """

    slices: pd.DataFrame
    exclusions: pd.DataFrame
    folders: Mapping[str, Path]
    notes: Mapping[str, str]
    fold: int = 0

    def save(self, folder: Path, made: Mapping[str, Any]) -> Path:
        """Write `cohort.parquet`, `exclusions.parquet` and `sources.json`; return the folder."""
        artifacts.write_table(folder / "exclusions.parquet", self.exclusions, made)
        artifacts.write_json(
            folder / "sources.json",
            {name: {"folder": str(self.folders[name]), "note": self.notes[name]}
             for name in self.folders},
        )  # fmt: skip
        artifacts.write_table(folder / "cohort.parquet", self.slices, made)
        return folder

    @classmethod
    def load(cls, folder: Path, *, unlabelled: bool = True) -> Cohort:
        """Read what `save` wrote, and check it again; False leaves out unlabelled slices."""
        stored = artifacts.read_json(folder / "sources.json")
        keep = None if unlabelled else lambda rows: rows["split"] != "unlabelled"
        slices = artifacts.read_table(folder / "cohort.parquet", keep=keep)
        if "mask_values" not in slices:  # written before studies could name them (D-150)
            slices = slices.assign(mask_values=pd.NA)
        return cls(
            slices=validate(slices),
            exclusions=artifacts.read_table(folder / "exclusions.parquet"),
            folders={name: Path(source["folder"]) for name, source in stored.items()},
            notes={name: source["note"] for name, source in stored.items()},
        )

    def in_fold(self, fold: int) -> Cohort:
        """Return the cohort as fold `fold` of the cross-validation splits it.

        Fold 0 is the study's own split. In fold k the test patients are those of part k, and one
        in seven of the other slices validates.

        Raises
        ------
        ValueError
            If there is no such fold.
        """
        folds = int(self.slices["fold"].max())
        if not 0 <= fold <= folds:
            raise ValueError(f"fold must be 0 (the study's split) to {folds}, got {fold}")
        if fold == 0:
            return self
        slices = self.slices.copy()
        held_out = slices["labelled"] & (slices["fold"] == fold)
        rest = slices[slices["labelled"] & ~held_out]
        parts = divide_patients(rest, {"train": 6.0, "validation": 1.0}, seed=fold)
        slices.loc[held_out, "split"] = "test"
        slices.loc[rest.index, "split"] = rest["patient_id"].map(parts)
        slices, _ = _without_unseen_patients(slices)
        refuse_leakage(slices)
        empty = sorted(set(SPLITS) - set(slices["split"]))
        if empty:
            raise ValueError(f"fold {fold} leaves {empty} empty; use fewer folds or more patients")
        return replace(self, slices=slices, fold=fold)

    def leaving_out(self, part: int, parts: int) -> Cohort:
        """Return the cohort with one part of the training patients left out of training (D-12).

        Priors of training slices are cross-fitted: each comes from a network that did not train
        on the slice's patient. Of `parts` parts of the labelled training patients, those of part
        `part` get split "left out". In a fold of the cross-validation `part` names a later fold
        instead, and both folds' patients are left out: one network serves the priors of both
        (D-43).

        Raises
        ------
        ValueError
            If there is no such part, or a part would be empty.
        """
        if self.fold:
            return self._leaving_out_fold(part)
        if not 1 <= part <= parts:
            raise ValueError(f"part must be 1 to {parts}, got {part}")
        train = self.slices[self.slices["split"] == "train"]
        patients = train["patient_id"].nunique()
        if patients < parts:
            raise ValueError(f"{patients} training patients cannot make {parts} parts")
        divided = divide_patients(train, {str(k): 1.0 for k in range(1, parts + 1)}, seed=parts)
        left_out = train["patient_id"].map(divided) == str(part)
        slices = self.slices.copy()
        slices.loc[left_out[left_out].index, "split"] = LEFT_OUT
        return replace(self, slices=slices)

    def _leaving_out_fold(self, other: int) -> Cohort:
        """Return the cohort trained and validated without this fold's and another's patients."""
        folds = int(self.slices["fold"].max())
        if not self.fold < other <= folds:
            raise ValueError(f"part must be a fold from {self.fold + 1} to {folds}, got {other}")
        slices = self.slices.copy()
        labelled, left_out = slices["labelled"], slices["fold"].isin([self.fold, other])
        slices.loc[labelled & left_out, "split"] = LEFT_OUT
        rest = slices[labelled & ~left_out]
        divided = divide_patients(
            rest, {"train": 6.0, "validation": 1.0}, seed=1000 * self.fold + other
        )
        slices.loc[rest.index, "split"] = rest["patient_id"].map(divided)
        if not {"train", "validation"} <= set(slices["split"]):
            raise ValueError(
                f"without folds {self.fold} and {other} {rest['patient_id'].nunique()} patients "
                "are left; use more folds or patients"
            )
        return replace(self, slices=slices)

    def of_split(self, *splits: str) -> pd.DataFrame:
        """Return the rows of these splits, in order; their index points into prepared arrays."""
        return self.slices[self.slices["split"].isin(splits)]

    def with_classes(self, *splits: str) -> pd.DataFrame:
        """Return the rows of these splits whose masks tell GGO from consolidation."""
        rows = self.of_split(*splits)
        return rows[rows["labelled"] & rows["has_ggo"].notna()]

    def read(self, rows: pd.DataFrame) -> Iterator[tuple[Any, NDArray, NDArray | None]]:
        """Yield (row, image, mask) of these rows from the raw files, at their own size."""
        return sources.read_slices(self.folders, rows)

    def _repr_html_(self) -> str:
        ordered = pd.Categorical(self.slices["split"], [*SPLITS, "unlabelled", LEFT_OUT])
        grouped = self.slices.assign(split=ordered).groupby(["source", "split"], observed=True)
        counts = grouped.agg(
            patients=("patient_id", "nunique"),
            slices=("slice_id", "count"),
            with_lesion=("has_lesion", lambda known: known.sum(min_count=1)),
            lesion_share=("has_lesion", "mean"),
        ).astype({"with_lesion": "Int64", "lesion_share": "object"})
        share = counts["lesion_share"].map("{:.0%}".format, na_action="ignore")
        counts = counts.assign(lesion_share=share).astype("object")
        counts = counts.where(counts.notna(), "–").rename(
            columns=lambda name: name.replace("_", " ")
        )
        notes = "".join(f"<li>{html.escape(f'{name}: {note}')}</li>"
                        for name, note in self.notes.items())  # fmt: skip
        reasons = self.exclusions["reason"].value_counts() if len(self.exclusions) else {}
        listed = [f"{number} × {reason}" for reason, number in list(reasons.items())[:REASONS]]
        listed += ["…"] * (len(reasons) > REASONS)
        left_out = f"{len(self.exclusions)} files or slices left out" + ": " * bool(listed)
        left_out = html.escape(f"{left_out}{'; '.join(listed)}.")
        return f"{counts.to_html(border=0)}<ul>{notes}</ul><p>{left_out}</p>"


def prepared_array(folder: Path, name: str, rows: pd.DataFrame) -> NDArray[np.uint8]:
    """Return (n, size, size) of the prepared "images" or "masks" of some rows of a cohort."""
    stored = np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
    return stored[rows.index.to_numpy()]


def raw_folder(study: Study, paths: StudyPaths) -> Path:
    """Return the folder of raw data: the phantom's, written if need be, or ``SSINFNET_DATA``."""
    if study.data.phantom is not None:
        return phantom.write_phantom(paths.phantom, study.data.phantom)
    return paths.data


def source_folder(study: Study, paths: StudyPaths) -> Path:
    """Return the folder to list slices in: `raw_folder`, or what was cut from it to the lungs.

    Raises
    ------
    FileNotFoundError
        If the study cuts its slices and 01_lung_field has not run.
    """
    if study.lung_field is None:
        return raw_folder(study, paths)
    if not paths.lung_cut.is_dir():
        raise FileNotFoundError(f"{paths.lung_cut} does not exist; run 01_lung_field first")
    return paths.lung_cut


def build(study: Study, root: Path) -> Cohort:
    """List all sources of a study, split the patients, and check the result.

    Parameters
    ----------
    study : Study
    root : Path
        Folder of the raw data, see `source_folder`.

    Raises
    ------
    FileNotFoundError, ValueError
        If a source is absent or unusable, a split would be empty, or a patient is in two splits.
    """
    listings = {source.name: sources.list_slices(source, root) for source in study.data.sources}
    slices = pd.concat([listing.slices for listing in listings.values()], ignore_index=True)
    exclusions = pd.concat([listing.exclusions for listing in listings.values()])
    slices, uncertain = _without_uncertain_classes(slices, study.data.sources)
    slices, unwanted = _of_wanted_patients(slices, study)
    folders: dict[str, Path] = {name: listing.folder for name, listing in listings.items()}
    slices, thinned = thinning.thin(slices, study.data.sources, folders)
    slices = same_patient.join_patients(slices, study.data.same_patient)
    if study.data.phantom is None:
        _refuse_shared_slices(slices)
        same_patient.refuse_separate_cases(slices)
    slices["split"] = assign_splits(slices, study.split)
    slices["fold"] = assign_folds(slices, study.split)
    slices, overlapping = _without_unseen_patients(slices)
    exclusions = pd.concat([exclusions, unwanted, overlapping], ignore_index=True)
    refuse_leakage(slices)
    _refuse_without_classes(slices, study)
    if study.data.crop == "lungs":
        slices = lung_crop.with_boxes(slices, folders)
    return Cohort(
        slices=validate(slices.reset_index(drop=True)),
        exclusions=exclusions,
        folders=folders,
        notes={
            name: " ".join(filter(None, [listing.note, uncertain.get(name), thinned.get(name)]))
            for name, listing in listings.items()
        },
    )


def _without_uncertain_classes(
    slices: pd.DataFrame, configs: Iterable[SourceConfig]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Forget the class of slices whose one class is uncertain; return what to note of it (D-72)."""
    slices, notes = slices.copy(), {}
    for source in configs:
        if source.uncertain_classes is None:
            continue
        meant = (slices["source"] == source.name) & slices["patient_id"].str.fullmatch(
            source.uncertain_classes
        )
        if not meant.any():
            raise ValueError(
                f"no patient of {source.name} matches uncertain_classes "
                f"{source.uncertain_classes!r}"
            )
        one_class = (slices["has_ggo"] ^ slices["has_consolidation"]).fillna(False)
        uncertain = meant & one_class.astype(bool)
        counted = slices.loc[uncertain, "patient_id"].value_counts(sort=False)
        slices.loc[uncertain, ["has_ggo", "has_consolidation"]] = pd.NA
        listed = ", ".join(f"{number} of {patient}" for patient, number in counted.items())
        notes[source.name] = (
            f"{int(uncertain.sum())} slices with one class alone serve stage 1 only, since the "
            f"study calls that class uncertain (uncertain_classes): {listed or 'none'}."
        )
    return slices, notes


def _refuse_shared_slices(slices: pd.DataFrame) -> None:
    """Refuse two sources whose labelled slices are the same slices (D-18)."""
    singles = (slices["source"] == "medseg") & slices["patient_id"].str.startswith("tr_")
    if singles.any() and ((slices["source"] == "covid_semiseg") & slices["labelled"]).any():
        raise ValueError(
            "Med-Seg's single slices (tr_im) and COVID-SemiSeg's labelled slices are the same "
            "slices of the same patients (D-18); leave out COVID-SemiSeg, or Med-Seg's single "
            "slices with `patients: rp_.*`"
        )


def _refuse_without_classes(slices: pd.DataFrame, study: Study) -> None:
    """Refuse stage 2 where a split's masks do not tell ground glass from consolidation."""
    known = slices[slices["labelled"].astype(bool) & slices["has_ggo"].notna()]
    lacking = [split for split in SPLITS if not (known["split"] == split).any()]
    if study.multi.models and lacking:
        raise ValueError(
            f"study {study.name!r} trains stage 2, and the masks of {lacking} tell no ground glass "
            "from consolidation; give class masks, or leave stage 2 out: "
            "multi: {models: [], oracle_models: []}"
        )


def validate(slices: pd.DataFrame) -> pd.DataFrame:
    """Return the table with its columns and dtypes in order, or say what is wrong.

    Slices are whole where the table has no columns of boxes (D-174).

    Raises
    ------
    ValueError
        If a column is missing or of another type, a slice appears twice, a labelled slice has no
        mask, or a split is unknown.
    """
    uncut = [column for column in lung_crop.COLUMNS if column not in slices]
    slices = slices.assign(**dict.fromkeys(uncut, pd.NA))
    missing = [column for column in COLUMNS if column not in slices]
    if missing:
        raise ValueError(f"the slice table lacks columns {missing}; expected {list(COLUMNS)}")
    try:
        typed = slices[list(COLUMNS)].astype(COLUMNS)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the slice table has a column of another type: {error}") from error
    repeated = typed.loc[typed["slice_id"].duplicated(), "slice_id"].tolist()
    if repeated:
        raise ValueError(f"{len(repeated)} slice_ids appear twice: {repeated[:5]}")
    unmasked = typed.loc[typed["labelled"] & typed["mask_path"].isna(), "slice_id"].tolist()
    if unmasked:
        raise ValueError(f"{len(unmasked)} labelled slices have no mask: {unmasked[:5]}")
    outside = typed["image_path"].str.match(r"/|.*(^|/)\.\.(/|$)")
    if outside.any():
        shown = typed.loc[outside, "image_path"].tolist()[:3]
        raise ValueError(f"image paths must lie below the source's folder, got {shown}")
    foreign = set(typed["split"].dropna()) - {*SPLITS, "unlabelled"}
    if foreign or typed["split"].isna().any():
        raise ValueError(f"every slice needs a split of {SPLITS} or unlabelled, got {foreign}")
    unused = typed.loc[typed["labelled"] & (typed["split"] == "unlabelled"), "slice_id"].tolist()
    if unused:
        raise ValueError(f"{len(unused)} labelled slices have split unlabelled: {unused[:5]}")
    return typed


def _of_wanted_patients(slices: pd.DataFrame, study: Study) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Keep the patients that the study's sources ask for; return the others as exclusions."""
    unwanted = pd.Series(False, index=slices.index)
    for source in study.data.sources:
        of_source = slices["source"] == source.name
        unwanted |= of_source & ~slices["patient_id"].str.fullmatch(source.patients)
        if of_source.any() and unwanted[of_source].all():
            raise ValueError(
                f"no patient of {source.name} matches {source.patients!r}; there are "
                f"{slices.loc[of_source, 'patient_id'].unique()[:5].tolist()}"
            )
    return _dropping(slices, unwanted, "the study leaves this patient out")


def _without_unseen_patients(slices: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Drop unlabelled slices of validation and test patients; return them as exclusions."""
    unseen = slices.loc[slices["split"].isin(SPLITS[1:]), "patient_id"]
    overlapping = (slices["split"] == "unlabelled") & slices["patient_id"].isin(unseen)
    return _dropping(slices, overlapping, "unlabelled slice of a validation or test patient")


def _dropping(
    slices: pd.DataFrame, unwanted: pd.Series, reason: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows that are wanted, and the others as exclusions."""
    dropped = slices[unwanted]
    exclusions = pd.DataFrame(
        {"source": dropped["source"], "file": dropped["image_path"], "reason": reason}
    )
    return slices[~unwanted], exclusions
