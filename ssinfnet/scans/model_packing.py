"""Copy a study's trained networks into a model folder, with the card that says what they are."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from torch import Tensor

from ssinfnet import evaluation, scores
from ssinfnet.data import images
from ssinfnet.data.cohort import Cohort, prepared_array
from ssinfnet.data.sources import LICENCES
from ssinfnet.scans import familiarity, model_folder
from ssinfnet.scans.model_folder import CARD, DESCRIPTION, Description, Member, WeightsFile
from ssinfnet.storage import artifacts
from ssinfnet.study.config import Study
from ssinfnet.study.models import MULTI_MODELS, SINGLE_MODELS
from ssinfnet.study.paths import PREDICTIONS, StudyPaths
from ssinfnet.training import checkpoints, fitting

__all__ = ["pack"]

PREFERRED = "ssinfnet"  # of the trained models, the paper's
METRIC = "F1"


def pack(
    study: Study,
    folder: Path,
    *,
    paths: StudyPaths | None = None,
    single_model: str | None = None,
    multi_model: str | None = None,
    folds: Sequence[int] = (0,),
    seeds: Sequence[int] | None = None,
    half: bool = False,
) -> Path:
    """Write a model folder from the trainings of a study.

    Parameters
    ----------
    study : Study
        Trained, its raw data where they were: the scores are computed anew.
    folder : Path
        Must not exist; it appears whole, or not at all. Its name becomes the model's.
    paths : StudyPaths or None
        Where the trainings lie; this checkout's if None.
    single_model, multi_model : str or None
        SSInfNet where it was trained, else the last of the study; ``multi_model="none"`` packs
        stage 1 alone, as does a study without a second stage.
    folds, seeds : sequence of int
        Every fold with every seed is a member; 0 is the study's own split. All seeds if None.
    half : bool
        Store the weights of convolutions at 16 bits: half the size, probabilities that differ by
        about a thousandth.

    Raises
    ------
    FileExistsError
        If the folder exists; what somebody puts there meanwhile stays, with another OSError.
    FileNotFoundError, ValueError
        If a training is missing, unfinished, damaged, or was made with other settings.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} exists; give another folder, or remove it first")
    paths = paths or StudyPaths.of(study.name)
    seeds = tuple(seeds or study.seeds)
    single = single_model or _preferred(study.single.models)
    multi = multi_model or (_preferred(study.multi.models) if study.multi.models else "none")
    multi = None if multi == "none" else multi
    cohort = Cohort.load(paths.cohort)
    _refuse_other_size(study, paths)
    with artifacts.replacing_folder(folder, anew=True) as temporary:
        members = [
            _member(study, paths, single, multi, fold, seed, temporary, half)
            for fold in folds
            for seed in seeds
        ]
        trained = {
            "study": study.model_dump(mode="json"),
            "notes": dict(cohort.notes),
            "slices": [row for fold in folds for row in _slices(cohort, fold)],
            "scores": _scores(study, paths, cohort, single, multi, folds, seeds),
            "versions": _versions(paths.single(single, folds[0], seeds[0])),
        }
        content = {
            "format": 3,
            "name": folder.name,
            "image_size": study.image_size,
            "window_hu": list(images.LUNG_WINDOW_HU),
            "threshold": study.scores.threshold,
            "members": [member.model_dump(mode="json") for member in members],
            "familiar": _familiar(paths, cohort, folds),
            "card_sha256": "0" * 64,
            "training": trained,
        }
        card = temporary / CARD
        artifacts.write_text(card, _card(Description.model_validate_json(json.dumps(content))))
        artifacts.write_json(
            temporary / DESCRIPTION, content | {"card_sha256": artifacts.sha256(card)}
        )
        model_folder.verify(temporary)
    return folder


def _familiar(paths: StudyPaths, cohort: Cohort, folds: Sequence[int]) -> dict[str, Any] | None:
    """Return what the training slices of all members look like; None of a single patient's."""
    own = pd.concat([cohort.in_fold(fold).of_split("train") for fold in folds])
    rows = own[~own.index.duplicated()]
    if rows["patient_id"].nunique() < 2:
        return None
    train, test = (
        prepared_array(paths.cohort, "images", part) for part in (rows, cohort.of_split("test"))
    )
    learnt = familiarity.learn(train, rows["patient_id"].tolist())
    strange = float(familiarity.unfamiliar(learnt, test).mean())
    return learnt.model_copy(update={"false_alarms": strange}).model_dump(mode="json")


def _preferred(models: Sequence[str]) -> str:
    return PREFERRED if PREFERRED in models else models[-1]


def _refuse_other_size(study: Study, paths: StudyPaths) -> None:
    prepared = artifacts.read_json(paths.cohort / "prepared.json")["shape"][-1]
    if prepared != study.image_size:
        raise ValueError(
            f"study {study.name!r} asks for {study.image_size} px, its slices were prepared at "
            f"{prepared} px; run it again"
        )


def _member(
    study: Study,
    paths: StudyPaths,
    single: str,
    multi: str | None,
    fold: int,
    seed: int,
    folder: Path,
    half: bool,
) -> Member:
    """Copy the weights of one fold and seed; return what they are."""
    trainings = {"single": (paths.single(single, fold, seed), study.single)}
    if multi:
        if MULTI_MODELS[multi].prior and single != study.multi.prior_model:
            prior = paths.single(study.multi.prior_model, fold, seed)
            trainings["prior"] = prior, study.single
        trainings["multi"] = paths.multi(multi, fold, seed), study.multi
    files = {}
    for stage, (source, part) in trainings.items():
        target = folder / f"fold{fold}_seed{seed}_{stage}.safetensors"
        stored = checkpoints.read(source / fitting.WEIGHTS)
        run = stored.description["run"]
        settings = part.training_of(run["model"])
        if run["training"] != settings.identity() or run["width"] != part.network.width:
            raise ValueError(
                f"{source} was trained with other settings than study {study.name!r} has now; "
                "train again, or give the study as it was"
            )
        if half:
            checkpoints.save(target, _halved(stored), stored.description)
        else:
            shutil.copyfile(stored.path, target)
        files[stage] = WeightsFile(
            file=target.name,
            sha256=artifacts.sha256(target),
            model=run["model"],
            width=float(run["width"]),
        )
    return Member(fold=fold, seed=seed, **files)


def _halved(stored: checkpoints.Checkpoint) -> dict[str, Tensor]:
    """Return weights, those of convolutions at 16 bits; norms keep theirs, which are few."""
    halved = {
        name: tensor.half() if tensor.ndim > 1 else tensor
        for name, tensor in stored.tensors.items()
    }
    if too_large := [name for name, tensor in halved.items() if not tensor.isfinite().all()]:
        raise ValueError(f"{stored.path}: {too_large[:3]} do not fit into 16 bits; pack whole")
    return halved


def _slices(cohort: Cohort, fold: int) -> list[dict[str, Any]]:
    counted = (
        cohort.in_fold(fold)
        .slices.groupby(["source", "split"], sort=False)
        .agg(
            patients=("patient_id", "nunique"),
            slices=("slice_id", "count"),
            with_lesion=("has_lesion", "sum"),
        )
    )
    rows = counted.reset_index().astype({"with_lesion": int}).to_dict("records")
    return [{"fold": fold, **row} for row in rows]


def _scores(
    study: Study,
    paths: StudyPaths,
    cohort: Cohort,
    single: str,
    multi: str | None,
    folds: Sequence[int],
    seeds: Sequence[int],
) -> list[dict[str, Any]]:
    """Score the held-out slices of every member, and their average; of all sources, and of each."""
    tables = []
    ways = (False, True) if len(seeds) > 1 else (False,)
    for fold, split, averaged in itertools.product(folds, ("validation", "test"), ways):
        own = cohort.in_fold(fold)
        to_score: dict[str, Any] = {"seeds": seeds, "split": split, "averaged": averaged}
        labels = {"split": split, "averaged": averaged}
        lesion = evaluation.score_single(study, paths, own, [single], **to_score)
        tables.append(lesion.assign(stage="single", **labels))
        if multi and len(own.with_classes(split)):
            classes = evaluation.score_multi(study, paths, own, [multi], **to_score)
            lesions = classes[classes["class"].isin(scores.CLASSES[1:])]
            tables.append(lesions.assign(stage="multi", **labels))
    scored = pd.concat(tables, ignore_index=True)
    source = scored["slice_id"].map(cohort.slices.set_index("slice_id")["source"])
    of_each = [scored.assign(source=source)] if source.nunique() > 1 else []
    by = ["stage", "model", "averaged", "fold", "split", "source", "class"]
    summary = scores.summarise(
        pd.concat([scored.assign(source="all"), *of_each]), by, [METRIC],
        study.scores.bootstrap_draws,
    )  # fmt: skip
    columns = [*by, "metric", "mean", "low", "high", "n", "n_slices", "n_patients"]
    return [
        {name: None if pd.isna(value) else value for name, value in row.items()}
        for row in summary[columns].to_dict("records")
    ]


def _versions(folder: Path) -> dict[str, str]:
    path = folder / f"{PREDICTIONS}.json"
    return artifacts.read_json(path)["versions"]


def _card(description: Description) -> str:
    """Return MODEL_CARD.md."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters["number"] = lambda value: "–" if value is None else f"{value:.3f}"
    template = environment.from_string(
        Path(__file__).with_name("model_card.md").read_text(encoding="utf-8")
    )
    first = description.members[0]
    stages = first.stages()
    shown_multi = first.multi and MULTI_MODELS[first.multi.model].label
    if "prior" in stages:
        shown_multi += f", which reads the map of {SINGLE_MODELS[first.prior.model].label}"
    return template.render(
        model=description,
        training=description.training,
        classes=first.multi is not None,
        phantom=description.training.study["data"]["phantom"] is not None,
        licences={name: LICENCES[name] for name in description.training.notes if name in LICENCES},
        shown_single=SINGLE_MODELS[first.single.model].label,
        shown_multi=shown_multi,
        widths=" and ".join(sorted({f"{file.width:g}" for file, _ in stages.values()})),
    )
