"""What each part of the training recipe is worth on real slices: one switch at a time, paired.

`python benchmarks/recipe.py --data FOLDER` trains stage 1's Inf-Net on COVID-SemiSeg, every switch
over the same seeds, and writes recipe.csv: F1 of the test slices by seed, and the difference from
the base on the same slices and seeds with a 95 % interval (slices and seeds both drawn). An
interrupted run goes on where it stopped. Hours of one core: not in `make bench`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ssinfnet import inference, networks, scores
from ssinfnet.data import batches, cohort, preparation
from ssinfnet.data.batches import SliceSet
from ssinfnet.data.slice_sets import single_slices
from ssinfnet.networks.blocks import Bottle2neck
from ssinfnet.storage import artifacts
from ssinfnet.study.config import (
    AugmentationConfig,
    DataConfig,
    SourceConfig,
    SplitConfig,
    Study,
    TrainingConfig,
)
from ssinfnet.study.paths import DATA_VARIABLE, StudyPaths
from ssinfnet.training import segmentation
from ssinfnet.training.runs import Run

SEEDS = (1, 2, 3)
WIDTH = 0.25
DRAWS = 10_000
STUDY = Study(
    name="recipe",
    description="COVID-SemiSeg at 224 px.",
    image_size=224,
    data=DataConfig(sources=(SourceConfig(name="covid_semiseg", folder="covid-semiseg"),)),
    split=SplitConfig(own_test_set=True),
)
UPRIGHT = AugmentationConfig(flip_horizontal=0.0, crop=0.5)  # its labelled slices all lie alike
BASE = TrainingConfig(
    epochs=60,
    batch_size=4,
    learning_rate=1e-3,
    schedule="cosine",
    scales=(1.0,),
    augmentation=UPRIGHT,
)
MOVED = {"rotation": 0.5, "scaling": 0.5}
GREY = {"noise": 0.15, "blur": 0.15, "brightness": 0.15, "contrast": 0.15, "low_resolution": 0.15,
        "gamma": 0.3}  # fmt: skip


def norms_at_one(network: nn.Module, frequency: float) -> None:
    """Start the last norm of every residual block at 1, as ImageNet weights have it."""
    for module in network.modules():
        if isinstance(module, Bottle2neck):
            nn.init.ones_(module.bn3.weight)


def bias_at_prior(network: nn.Module, frequency: float) -> None:
    """Start the coarsest map at the share of pixels that are lesion."""
    nn.init.constant_(network.decoder.head.bias, float(np.log(frequency / (1 - frequency))))


def pooled_input(training: SliceSet) -> Callable[..., Tensor]:
    """Return the rule that standardises all slices by the training slices' mean and deviation."""
    grey = training.images.double() / 255
    mean, deviation = grey.mean().item(), grey.std().item()

    def network_input(grey: Tensor, prior: Tensor | None = None, **stage: bool) -> Tensor:
        return ((grey - mean) / deviation).expand(-1, 3, -1, -1)

    return network_input


@dataclass(frozen=True, kw_only=True)
class Switch:
    """What differs from the base."""

    training: dict[str, Any] = field(default_factory=dict)
    augmentation: dict[str, float] = field(default_factory=dict)
    start: Callable[[nn.Module, float], None] | None = None
    pooled: bool = False


SWITCHES = {
    "base": Switch(),
    "residual norms start at 1": Switch(start=norms_at_one),
    "one mean and deviation for all slices": Switch(pooled=True),
    "output bias at the lesion's frequency": Switch(start=bias_at_prior),
    "rotation and scaling": Switch(augmentation=MOVED),
    "grey values": Switch(augmentation=GREY),
    "flips along the body": Switch(augmentation={"flip_horizontal": 0.5}),
    "averaged weights": Switch(training={"averaging": 0.99}),
    "warm-up": Switch(training={"warm_up": 0.1}),
    "epochs ranked by a mean of 5": Switch(training={"judged_over": 5}),
    "learning rate 3e-3": Switch(training={"learning_rate": 3e-3}),
    "no gradient clamp": Switch(training={"gradient_clamp": None}),
    "120 epochs": Switch(training={"epochs": 120}),
}


def configured(switch: Switch) -> TrainingConfig:
    """Return the base with a switch's settings."""
    augmentation = BASE.augmentation.model_copy(update=switch.augmentation)
    return BASE.model_copy(update={**switch.training, "augmentation": augmentation})


def train(
    switch: Switch, seed: int, slices: cohort.Cohort, paths: StudyPaths, folder: Path
) -> pd.DataFrame:
    """Train once and return the scores of every test slice, at its own size."""
    training, validation = (
        single_slices(slices.of_split(split), paths) for split in ("train", "validation")
    )
    network = networks.seeded(seed, networks.build_single, "infnet", WIDTH)
    if switch.start is not None:
        switch.start(network, (training.labels > 0).double().mean().item())
    with ExitStack() as patched:
        if switch.pooled:
            rule = pooled_input(training)
            for module in (batches, inference.slices):
                patched.enter_context(mock.patch.object(module, "network_input", rule))
        run = Run(model="sinfnet", width=WIDTH, seed=seed)
        segmentation.fit_single(
            network,
            training,
            validation,
            configured(switch),
            run=run,
            folder=folder,
        )
        test = slices.of_split("test")
        maps = inference.predict_rows(folder, test, single_slices(test, paths))
    truths = (
        (row.patient_id, row.slice_id, mask, maps[row.slice_id][0])
        for row, _, mask in slices.read(test)
    )
    return scores.score_slices(truths, STUDY.scores.threshold, seed=seed)


def paired(f1: pd.DataFrame, base: pd.DataFrame, rng: np.random.Generator) -> dict[str, float]:
    """Return the mean difference from the base and its interval, slices and seeds both drawn.

    Parameters
    ----------
    f1, base : DataFrame
        Rows slices, columns seeds.
    """
    difference = (f1 - base).to_numpy()
    n_slices, n_seeds = difference.shape
    drawn = [
        np.nanmean(
            difference[rng.integers(n_slices, size=n_slices)][
                :, rng.integers(n_seeds, size=n_seeds)
            ]
        )
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"difference": np.nanmean(difference), "low": low, "high": high}


def summary(folder: Path) -> pd.DataFrame:
    """Return a row a switch, over the seeds that are trained; differences over those of both."""
    rows, base = [], None
    for name in SWITCHES:
        files = {seed: folder / f"{name}.seed{seed}.parquet" for seed in SEEDS}
        tables = [artifacts.read_table(file) for file in files.values() if file.exists()]
        if not tables:
            continue
        f1 = pd.concat(tables).pivot(index="slice_id", columns="seed", values="F1")
        base = f1 if base is None else base
        by_seed = f1.mean().reindex(SEEDS)
        row = {"switch": name, **{f"F1, seed {seed}": by_seed[seed] for seed in SEEDS}}
        row["F1"] = by_seed.mean()
        both = [seed for seed in f1 if seed in base]
        if name != "base":
            row |= paired(f1[both], base[both], np.random.default_rng(0))
        rows.append({**row, "n_seeds": len(both), "n_slices": len(f1)})
    return pd.DataFrame(rows).round(4)


def options_of(description: str | None, switches: Iterable[str]) -> argparse.Namespace:
    """Return what the command line asks for; data and threads are set at once."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--data", help=f"folder of raw data; {DATA_VARIABLE} by default")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS)
    parser.add_argument("--only", nargs="*", default=list(switches), help="switches to train")
    options = parser.parse_args()
    if options.data:
        os.environ[DATA_VARIABLE] = str(Path(options.data).resolve())
    torch.set_num_threads(options.threads)
    return options


def prepared(study: Study) -> tuple[cohort.Cohort, StudyPaths, dict[str, Any]]:
    """Return the slices of a study, prepared, where its files lie, and what they are made by."""
    paths = StudyPaths.of(study.name)
    made = artifacts.made_by(study.name, {"benchmark": study.name})
    slices = cohort.build(study, cohort.source_folder(study, paths))
    slices.save(paths.cohort, made)
    preparation.prepare_slices(slices, study, paths.cohort, made)
    return slices, paths, made


def main() -> None:
    """Train what is missing, and write the table anew after every training."""
    options = options_of(__doc__, SWITCHES)
    slices, paths, made = prepared(STUDY)
    results = paths.artifacts / "scores"
    for seed in options.seeds:
        for name in options.only:
            file = results / f"{name}.seed{seed}.parquet"
            if not file.exists():
                folder = paths.artifacts / "trainings" / f"{name}.seed{seed}"
                table = train(SWITCHES[name], seed, slices, paths, folder)
                artifacts.write_table(file, table, made)
                print(name, seed, round(table["F1"].mean(), 4), flush=True)
            table = summary(results)
            path = Path(__file__).with_name("recipe.csv")
            artifacts.write_text(path, table.to_csv(index=False))


if __name__ == "__main__":
    main()
