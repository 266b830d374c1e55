"""The trainings of a study, by the names of its tables: stage 1, stage 2, and their pretraining.

Each reads the cohort that 02_data_split wrote, leaves its weights and history in the study's
artifacts, and goes on after the last finished epoch where an earlier call was killed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
from torch import nn

from ssinfnet import networks
from ssinfnet.data.batches import SliceSet
from ssinfnet.data.cohort import Cohort
from ssinfnet.data.slice_sets import multi_slices, pretext_slices, single_slices
from ssinfnet.networks.efficientnet import installed_weights
from ssinfnet.study.config import FittingConfig, NetworkConfig, Study
from ssinfnet.study.models import MULTI_MODELS, SINGLE_MODELS
from ssinfnet.study.paths import StudyPaths
from ssinfnet.training import checkpoints, fitting, pretext, segmentation
from ssinfnet.training.runs import Run

__all__ = [
    "PretrainedStage",
    "Trained",
    "pretrain_stage",
    "start_from",
    "train_multi",
    "train_single",
]


@dataclass(frozen=True)
class Trained:
    """A finished training: its network, its history, and the slices that it used.

    Attributes
    ----------
    run : Run
        What was trained.
    folder : Path
        Its weights and history.
    network : Module
        With the weights that were kept.
    history : DataFrame
        A row an epoch, as `fitting.fit` returns it.
    cohort : Cohort
        In the fold, without the part that was left out and slices without labels.
    train, validation : SliceSet
        What it learnt from, and what its epochs were judged on.
    transfer : Transfer or None
        The weights taken from a pretraining; None after a random start.
    """

    run: Run
    folder: Path
    network: nn.Module
    history: pd.DataFrame
    cohort: Cohort
    train: SliceSet
    validation: SliceSet
    transfer: checkpoints.Transfer | None = None

    def __repr__(self) -> str:
        size = sum(parameter.numel() for parameter in self.network.parameters())
        start = "a random start"
        if self.transfer:
            at_random = len(self.transfer.left_as_they_were)
            start = f"{len(self.transfer.loaded)} pretrained tensors, {at_random} at random"
        return (
            f"{self.run.model}, {size:,} parameters, from {start}: {len(self.train)} slices train, "
            f"{len(self.validation)} validate, {len(self.history)} epochs"
        )


@dataclass(frozen=True)
class PretrainedStage:
    """A finished pretraining of a stage: its history, and the slices that it used.

    Attributes
    ----------
    run, folder, train, validation
        As `Trained` has them; labels were not used.
    result : Pretrained
        History, assessment and examples.
    """

    run: Run
    folder: Path
    train: SliceSet
    validation: SliceSet
    result: pretext.Pretrained


def train_single(
    study: Study,
    paths: StudyPaths,
    model: str,
    *,
    fold: int = 0,
    seed: int = 1,
    part: int = 0,
    taught: SliceSet | None = None,
) -> Trained:
    """Train a model of stage 1, from slice to lesion probability (J, *Supervised InfNet*).

    Parameters
    ----------
    study : Study
        In the fold, see `Study.in_fold`.
    paths : StudyPaths
        Holds the cohort and, for a pretrained model, its pretraining.
    model : str
        A name in `study.models.SINGLE_MODELS`.
    fold : int
        Fold of the cross-validation; 0 is the study's own split.
    seed : int
        Seed of the random start, the order of slices and the augmentation.
    part : int
        Above 0: leave this part of the training patients out, so that the network may predict
        their priors (D-12).
    taught : SliceSet, optional
        Slices that a student's teachers have labelled, from `inference.teaching.taught_slices`.

    Raises
    ------
    FileNotFoundError
        If the cohort or the pretraining is absent.
    ValueError
        If a set of slices is empty, a student is taught nothing, or the loss stops being finite.
    """
    switches, config = SINGLE_MODELS[model], study.single
    if switches.taught != (taught is not None):
        raise ValueError(
            f"{model} {'learns' if switches.taught else 'does not learn'} from slices that "
            f"teachers labelled; got {'none' if taught is None else len(taught)} of such"
        )
    cohort = Cohort.load(paths.cohort, unlabelled=False).in_fold(fold)
    cohort = cohort.leaving_out(part, study.multi.prior_parts) if part else cohort
    train = single_slices(_rows_to_train_on(cohort.of_split("train"), config.training), paths)
    train = train.joined(taught) if taught else train
    validation = single_slices(cohort.of_split("validation"), paths)
    size = config.network
    weights = paths.published_weights(_imagenet(size, switches.network))
    network = networks.seeded(seed, networks.build_single, switches.network, size.width, weights)
    transfer = None
    if switches.pseudo_labels:  # its heads have learnt to segment, too
        transfer = start_from(network, paths.pseudo_labels(fold, seed), with_heads=True)
    elif switches.pretrained:
        transfer = start_from(network, paths.pretraining("single", fold, seed))
    run = Run(
        stage="single", study=study.name, model=model, width=size.width, fold=fold, part=part,
        seed=seed,
    )  # fmt: skip
    folder = paths.single(model, fold, seed, part)
    history = segmentation.fit_single(
        network,
        train,
        validation,
        config.training_of(model),
        run=run,
        folder=folder,
    )
    return Trained(run, folder, network, history, cohort, train, validation, transfer)


def _rows_to_train_on(rows: pd.DataFrame, config: FittingConfig) -> pd.DataFrame:
    """Return the rows of a cohort that a network learns from: all, or those with lesion (D-176)."""
    return rows[rows["has_lesion"].astype(bool)] if config.lesion_alone else rows


def _imagenet(config: NetworkConfig, network: str) -> str | None:
    """Return the file of ImageNet weights that a network starts from, if any."""
    if network not in networks.LITE:
        return config.imagenet_weights
    return str(installed_weights()) if config.lite_weights == "installed" else config.lite_weights


def train_multi(
    study: Study,
    paths: StudyPaths,
    model: str,
    *,
    fold: int = 0,
    seed: int = 1,
    prior: str = "predicted",
) -> Trained:
    """Train a model of stage 2, from slice and prior to classes (J, *Multi SSInfNet*).

    Parameters
    ----------
    study, paths, fold, seed
        As `train_single` takes them; stage 1 of the fold and seed has left its priors.
    model : str
        A name in `study.models.MULTI_MODELS`.
    prior : {"predicted", "ground_truth"}
        Cross-fitted maps of stage 1 (D-12), or the lesion mask itself, an oracle.

    Raises
    ------
    FileNotFoundError, ValueError
        As `train_single` raises them; also if a slice has no prior.
    """
    switches, config = MULTI_MODELS[model], study.multi
    cohort = Cohort.load(paths.cohort, unlabelled=False).in_fold(fold)
    reads = prior if switches.prior else None
    train, validation = (
        multi_slices(rows, study, paths, fold, seed, reads)
        for rows in (
            _rows_to_train_on(cohort.with_classes("train"), config.training),
            cohort.with_classes("validation"),
        )
    )
    size = config.network
    weights = paths.published_weights(_imagenet(size, switches.network))
    network = networks.seeded(
        seed, networks.build_multi, switches.network, switches.prior, size.width, weights,
    )  # fmt: skip
    transfer = None
    if switches.pretrained:
        transfer = start_from(network, paths.pretraining("multi", fold, seed))
    run = Run(
        stage="multi", study=study.name, model=model, width=size.width, fold=fold, prior=reads,
        seed=seed,
    )  # fmt: skip
    folder = paths.multi(model, fold, seed, prior)
    history = segmentation.fit_multi(
        network,
        train,
        validation,
        config.training_of(model),
        switches,
        run=run,
        folder=folder,
    )
    return Trained(run, folder, network, history, cohort, train, validation, transfer)


def pretrain_stage(
    study: Study,
    paths: StudyPaths,
    stage: Literal["single", "multi"],
    *,
    fold: int = 0,
    seed: int = 1,
) -> PretrainedStage:
    """Train a stage's network to restore what a coach has erased (J eq 1 to 3).

    Parameters
    ----------
    study, paths, fold, seed
        As `train_single` takes them.
    stage : {"single", "multi"}
        Slices, also unlabelled ones; or labelled slices with their priors.

    Raises
    ------
    FileNotFoundError, ValueError
        As `train_single` raises them.
    """
    config = getattr(study, stage)
    cohort = Cohort.load(paths.cohort, unlabelled=False).in_fold(fold)
    train, validation = (
        pretext_slices(cohort, split, stage, study, paths, fold, seed)
        for split in ("train", "validation")
    )
    size, channels = config.network, 3 if stage == "single" else 6
    kind = study.single.pretrained_network
    weights = paths.published_weights(_imagenet(size, kind)) if stage == "single" else None
    network = networks.seeded(seed, networks.build_inpainter, stage, size.width, weights, kind)
    coach = networks.seeded(seed, networks.Coach, channels, size.width)
    run = Run(stage=stage, study=study.name, width=size.width, fold=fold, seed=seed)
    folder = paths.pretraining(stage, fold, seed)
    result = pretext.pretrain(
        network, coach, train, validation, config.pretext, run=run, folder=folder
    )
    return PretrainedStage(run, folder, train, validation, result)


def start_from(
    network: nn.Module, folder: Path, *, with_heads: bool = False
) -> checkpoints.Transfer:
    """Give a network all pretrained weights but those of its heads; return what was loaded.

    Parameters
    ----------
    network : Module
        With heads of its own.
    folder : Path
        Folder of the pretraining (03_pretraining, or 04_pseudo_labels, whose heads segment).
    with_heads : bool
        The heads' weights too.

    Raises
    ------
    FileNotFoundError, ValueError
        If the weights are absent, damaged, or differ in anything but the heads.
    """
    stored = checkpoints.read(folder / fitting.WEIGHTS)
    if with_heads:
        return checkpoints.fill(network, stored)
    return checkpoints.fill(network, stored, but=lambda name: networks.is_head(network, name))
