"""What each ingredient of the model in the box is worth to its first stage: one switch at a time.

`python benchmarks/recipe_model.py --data FOLDER` trains stage 1 of study `model` once a switch and
seed and writes recipe_model.csv, of slices that no training saw: the mean F1 of COVID-SemiSeg's
25 test slices by seed, with the difference from the base on the same slices and seeds and its
95 % interval; the Dice of lesion over volume 9's slices; and the 95th percentile of what is called
lesion in its slices without any. The last rows are of the base's seeds averaged, and of views
flipped and averaged. An interrupted run goes on where it stopped. Hours of one core: not in
`make bench`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import recipe
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from ssinfnet import inference, networks, scores
from ssinfnet.data import cohort, images, lung_crop
from ssinfnet.data.batches import SliceSet
from ssinfnet.data.slice_sets import single_slices
from ssinfnet.networks.efficientnet import installed_weights
from ssinfnet.storage import artifacts
from ssinfnet.study.config import AugmentationConfig, Study, load_study
from ssinfnet.study.models import SINGLE_MODELS
from ssinfnet.study.paths import StudyPaths
from ssinfnet.training import segmentation
from ssinfnet.training.runs import Run

SLICES, VOLUME = "covid_semiseg", "medseg"  # sources of the 25 test slices, and of volume 9
PSEUDO_EPOCHS = 3
POSITIONS = AugmentationConfig(quarter_turn=0.5, crop=0.5)
FLIPPED, AVERAGED = " with flipped views", "seeds averaged"
OF_SEEDS = ("difference", "low", "high", "n_seeds", *(f"F1, seed {seed}" for seed in recipe.SEEDS))

Maps = dict[str, NDArray[np.float16]]  # slice_id → lesion probability at the slice's own size


@dataclass(frozen=True, kw_only=True)
class Switch:
    """What differs from the study."""

    model: str = "unet_lite"
    width: float = 1.0
    training: dict[str, Any] = field(default_factory=dict)
    pseudo_labels: bool = False  # learn the data set's own pseudo-labels first


SWITCHES = {
    "base": Switch(),
    "Inf-Net's decoder": Switch(model="sinfnet_lite", width=0.5),
    "flips, turns and crops alone": Switch(training={"augmentation": POSITIONS}),
    "40 epochs": Switch(training={"epochs": 40}),
    "published pseudo-labels first": Switch(pseudo_labels=True),
}


def pseudo_labelled(slices: cohort.Cohort, paths: StudyPaths, size: int) -> SliceSet:
    """Return COVID-SemiSeg's unlabelled slices of coronacases.org with its authors' pseudo-labels.

    Those of its other volumes, which come in another window, call the chest wall lesion.
    """
    rows = slices.of_split("unlabelled")
    rows = rows[rows["patient_id"].str.startswith("coronacases")]
    masks = []
    for row in rows.itertuples(index=False):
        image = slices.folders[SLICES] / row.image_path
        grey = np.asarray(Image.open(image.parent.with_name("GT") / f"{image.stem}.png"))
        lesion = (grey >= 128).astype(np.uint8)
        masks.append(images.resize_mask(lesion[lung_crop.box_of(row).within], size))
    return SliceSet(single_slices(rows, paths).images, torch.from_numpy(np.stack(masks))[:, None])


def trained(
    study: Study, switch: Switch, seed: int, slices: cohort.Cohort, paths: StudyPaths, folder: Path
) -> nn.Module:
    """Train stage 1 once."""
    training, validation = (
        single_slices(slices.of_split(split), paths) for split in ("train", "validation")
    )
    kind = SINGLE_MODELS[switch.model].network
    network = networks.seeded(
        seed, networks.build_single, kind, switch.width, str(installed_weights())
    )
    config = study.single.training.model_copy(update=switch.training)
    run = Run(model=switch.model, width=switch.width, seed=seed)
    if switch.pseudo_labels:
        first = config.model_copy(update={"epochs": PSEUDO_EPOCHS, "judged_over": None})
        both = training.joined(pseudo_labelled(slices, paths, study.image_size))
        segmentation.fit_single(network, both, validation, first, run=run, folder=folder / "first")
    segmentation.fit_single(network, training, validation, config, run=run, folder=folder)
    return network


def score(maps: Maps, slices: cohort.Cohort) -> pd.DataFrame:
    """Return the counts and scores of every test slice, and the source of each."""
    test = slices.of_split("test")
    truths = (
        (row.patient_id, row.slice_id, mask, maps[row.slice_id])
        for row, _, mask in slices.read(test)
    )
    table = scores.score_slices(truths, recipe.STUDY.scores.threshold)
    return table.assign(source=table["slice_id"].map(test.set_index("slice_id")["source"]))


def seen(
    folder: Path, name: str, seed: int, slices: cohort.Cohort, paths: StudyPaths
) -> dict[str, Maps]:
    """Return the maps of every test slice, as they are and over flipped views."""
    test = slices.of_split("test")
    given = single_slices(test, paths)
    return {
        name + suffix: {
            slice_id: maps[0]
            for slice_id, maps in inference.predict_rows(
                folder, test, given, flipped_views=bool(suffix)
            ).items()
        }
        for suffix in ("", FLIPPED)
    }


def row_of(name: str, tables: dict[int, pd.DataFrame], base: pd.DataFrame | None) -> dict[str, Any]:
    """Return a row of the table: a switch over the seeds that are trained."""
    whole = pd.concat([table.assign(seed=seed) for seed, table in tables.items()])
    f1 = whole[whole["source"] == SLICES].pivot(index="slice_id", columns="seed", values="F1")
    volume = whole[whole["source"] == VOLUME]
    counts = volume.groupby("seed")[["tp", "fp", "fn", "tn"]].sum()
    dice = 2 * counts["tp"] / (2 * counts["tp"] + counts["fp"] + counts["fn"])
    healthy = volume[volume["tp"] + volume["fn"] == 0]
    share = healthy["fp"] / (healthy["fp"] + healthy["tn"])
    row = {"switch": name, **{f"F1, seed {seed}": f1[seed].mean() for seed in f1}}
    row |= {"F1": f1.mean().mean(), "Dice of volume 9": dice.mean(),
            "lesion without lesion, 95th percentile": share.quantile(0.95)}  # fmt: skip
    if base is not None:
        both = [seed for seed in f1 if seed in base]
        row |= recipe.paired(f1[both], base[both], np.random.default_rng(0))
    return {**row, "n_seeds": len(tables), "n_slices": len(f1)}


def summary(results: Path) -> pd.DataFrame:
    """Return a row a switch, differences from the base over the seeds of both."""
    rows, base = [], None
    names = [name + suffix for suffix in ("", FLIPPED) for name in SWITCHES]
    for name in [*names, *(AVERAGED + suffix for suffix in ("", FLIPPED))]:
        files = {seed: results / f"{name}.seed{seed}.parquet" for seed in recipe.SEEDS}
        tables = {seed: artifacts.read_table(at) for seed, at in files.items() if at.exists()}
        if not tables:
            continue
        row = row_of(name, tables, base)
        if name.startswith(AVERAGED):  # of all seeds: of none alone, and beside none
            row = {key: value for key, value in row.items() if key not in OF_SEEDS}
        rows.append(row)
        if name == "base":
            whole = pd.concat([table.assign(seed=seed) for seed, table in tables.items()])
            own = whole[whole["source"] == SLICES]
            base = own.pivot(index="slice_id", columns="seed", values="F1")
    return pd.DataFrame(rows).round(4)


def main() -> None:
    """Train what is missing, and write the table anew after every training."""
    options = recipe.options_of(__doc__, SWITCHES)
    study = load_study("model").model_copy(update={"name": "recipe_model"})
    slices, paths, made = recipe.prepared(study)
    results = paths.artifacts / "scores"
    of_base: dict[str, list[Maps]] = {}
    for seed in options.seeds:
        for name in options.only:
            folder = paths.artifacts / "trainings" / f"{name}.seed{seed}"
            trained(study, SWITCHES[name], seed, slices, paths, folder)
            for kind, maps in seen(folder, name, seed, slices, paths).items():
                artifacts.write_table(results / f"{kind}.seed{seed}.parquet",
                                      score(maps, slices), made)  # fmt: skip
                if name == "base":
                    of_base.setdefault(kind.removeprefix(name), []).append(maps)
            path = Path(__file__).with_name("recipe_model.csv")
            artifacts.write_text(path, summary(results).to_csv(index=False))
    for suffix, several in of_base.items():
        if len(several) > 1:
            mean = {
                name: images.mean_of_maps([maps[name] for maps in several]) for name in several[0]
            }
            file = results / f"{AVERAGED}{suffix}.seed{recipe.SEEDS[0]}.parquet"
            artifacts.write_table(file, score(mean, slices), made)
    artifacts.write_text(path, summary(results).to_csv(index=False))


if __name__ == "__main__":
    main()
