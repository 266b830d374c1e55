"""What each part of stage 2's recipe is worth on data set 1's public part: one switch at a time.

`python benchmarks/recipe_multi.py --data FOLDER` trains stage 1's SInfNet of the study
`paper_public_cpu`, cut to the lungs, with its cross-fitted priors, then stage 2's SInfNet once a
switch and seed, and writes recipe_multi.csv: the mean F1 of both classes over validation and over
test slices, by seed and class, and the difference from the base on the same slices and seeds with a
95 % interval. Switches are chosen on the validation patients. An interrupted run goes on where it
stopped. Hours of one core: not in `make bench`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import recipe
from torch import Tensor

from ssinfnet import inference, networks, scores
from ssinfnet.data import batches, cohort
from ssinfnet.data.slice_sets import multi_slices
from ssinfnet.storage import artifacts
from ssinfnet.study.config import Study, load_study
from ssinfnet.study.models import MULTI_MODELS, PRIOR_MODEL
from ssinfnet.study.paths import PREDICTIONS, StudyPaths
from ssinfnet.training import segmentation, stages
from ssinfnet.training.runs import Run

CLASSES = ("ggo", "consolidation")
JUDGED = ("validation", "test")
MODEL = "sinfnet"  # of stage 2
NETWORK_INPUT = batches.network_input


@dataclass(frozen=True, kw_only=True)
class Switch:
    """What differs from the base."""

    training: dict[str, Any] = field(default_factory=dict)
    own_grey: bool = False  # standardise each slice by itself, as stage 1 does


SWITCHES = {
    "base": Switch(),
    "slices with lesion alone": Switch(training={"lesion_alone": True}),
    "class weights 1, 5, 10": Switch(training={"class_weights": (1, 5, 10)}),
    "learning rate 1e-3": Switch(training={"learning_rate": 1e-3}),
    "16 epochs": Switch(training={"epochs": 16}),
    "the last epoch": Switch(training={"judged_over": None}),
    "each slice's own grey values": Switch(own_grey=True),
}


def train_priors(study: Study, paths: StudyPaths, seed: int, made: Mapping[str, Any]) -> None:
    """Train stage 1 with and without each part of the patients, and write what each predicts."""
    for part in range(study.multi.prior_parts + 1):
        if not (paths.single(PRIOR_MODEL, 0, seed, part) / PREDICTIONS).exists():
            trained = stages.train_single(study, paths, PRIOR_MODEL, seed=seed, part=part)
            inference.predict_held_out(study, paths, trained, made)


def own_grey_input(
    grey: Tensor, prior: Tensor | None = None, *, tells_classes: bool = False
) -> Tensor:
    """Standardise as stage 1 does, in both stages."""
    return NETWORK_INPUT(grey, prior)


def train(
    study: Study, paths: StudyPaths, slices: cohort.Cohort, switch: Switch, seed: int, folder: Path
) -> pd.DataFrame:
    """Train stage 2 once; return the scores of validation and test slices, at their own size."""
    rows = {split: slices.with_classes(split) for split in ("train", *JUDGED)}
    if switch.training.get("lesion_alone"):
        rows["train"] = rows["train"][rows["train"]["has_lesion"].astype(bool)]
    model = MULTI_MODELS[MODEL]
    reads = "predicted" if model.prior else None
    sets = {split: multi_slices(own, study, paths, 0, seed, reads) for split, own in rows.items()}
    size = study.multi.network
    network = networks.seeded(seed, networks.build_multi, model.network, model.prior, size.width)
    with ExitStack() as patched:
        if switch.own_grey:
            for module in (batches, inference.slices):
                patched.enter_context(mock.patch.object(module, "network_input", own_grey_input))
        segmentation.fit_multi(
            network,
            sets["train"],
            sets["validation"],
            study.multi.training.model_copy(update=switch.training),
            model,
            run=Run(stage="multi", model=MODEL, width=size.width, prior=reads, seed=seed),
            folder=folder,
        )
        seen = {
            split: inference.predict_rows(folder, rows[split], sets[split], flipped_views=True)
            for split in JUDGED
        }
    tables = []
    for split in JUDGED:
        truths = (
            (row.patient_id, row.slice_id, mask, seen[split][row.slice_id])
            for row, _, mask in slices.read(rows[split])
        )
        tables.append(scores.score_class_slices(truths, split=split, seed=seed))
    return pd.concat(tables, ignore_index=True)


def summary(folder: Path) -> pd.DataFrame:
    """Return a row a switch: F1 by class, split and seed, and what it gains over the base."""
    rows: list[dict[str, Any]] = []
    base: dict[str, pd.DataFrame] = {}
    for name in SWITCHES:
        files = [folder / f"{name}.seed{seed}.parquet" for seed in recipe.SEEDS]
        tables = [artifacts.read_table(file) for file in files if file.exists()]
        if not tables:
            continue
        whole = pd.concat(tables)
        row: dict[str, Any] = {"switch": name, "n_seeds": len(tables)}
        for split in JUDGED:
            table = whole[(whole["split"] == split) & whole["class"].isin(CLASSES)]
            f1 = table.pivot(index=["slice_id", "class"], columns="seed", values="F1")
            by_class = f1.groupby("class").mean()
            row |= {f"{split}, {one}": by_class.loc[one].mean() for one in CLASSES}
            row |= {f"{split}, seed {seed}": by_class.mean().get(seed) for seed in recipe.SEEDS}
            base.setdefault(split, f1)
            both = [seed for seed in f1 if seed in base[split]]
            gain = recipe.paired(f1[both], base[split][both], np.random.default_rng(0))
            row |= {f"{split}, {one}": value for one, value in gain.items()}
        rows.append(row)
    return pd.DataFrame(rows).round(4)


def main() -> None:
    """Train what is missing, and write the table anew after every training."""
    options = recipe.options_of(__doc__, SWITCHES)
    study = load_study("paper_public_cpu")
    cut = study.data.model_copy(update={"crop": "lungs"})
    study = study.model_copy(update={"name": "recipe_multi", "data": cut})
    slices, paths, made = recipe.prepared(study)
    results = paths.artifacts / "scores"
    for seed in options.seeds:
        train_priors(study, paths, seed, made)
        for name in options.only:
            file = results / f"{name}.seed{seed}.parquet"
            if not file.exists():
                folder = paths.artifacts / "trainings" / f"{name}.seed{seed}"
                table = train(study, paths, slices, SWITCHES[name], seed, folder)
                artifacts.write_table(file, table, made)
                print(name, seed, table.groupby(["split", "class"])["F1"].mean().round(4).to_dict())
            path = Path(__file__).with_name("recipe_multi.csv")
            artifacts.write_text(path, summary(results).to_csv(index=False))


if __name__ == "__main__":
    main()
