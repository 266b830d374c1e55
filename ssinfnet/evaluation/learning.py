"""Measure what a training has learnt, and write that beside its weights (D-77).

`learnt` reads it, says whether that beats every trivial rival, and marks the tables.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from ssinfnet import inference, networks
from ssinfnet.data.batches import SliceSet
from ssinfnet.evaluation import rivals
from ssinfnet.storage import artifacts
from ssinfnet.study.paths import LEARNING
from ssinfnet.training import fitting, segmentation
from ssinfnet.training.runs import Run
from ssinfnet.training.stages import PretrainedStage

__all__ = ["CLASSES", "record", "record_inpainting"]

CLASSES = {"single": ("lesion",), "multi": ("ggo", "consolidation")}
PARAMETERS = ("stage", "model", "fold", "part", "prior", "seed")  # of the run, where it has them


def record(
    folder: Path, train: SliceSet, validation: SliceSet, device: torch.device | None = None
) -> pd.Series:
    """Measure the kept network of a training and its rivals, and write `learning.json`.

    Parameters
    ----------
    folder : Path
        Folder of the training, see `inference.load`.
    train, validation : SliceSet
        With labels, as they were trained on.
    device : torch.device or None
        `fitting.best_device()` if None.

    Returns
    -------
    Series
        train_F1 and validation_F1, means over slices and classes with 0/0 left out; recall_<class>
        over all validation pixels; and the validation F1 of every rival. NaN where undefined.
    """
    network, run = inference.load(folder)
    device = device or fitting.best_device()
    networks.to_device(network, device)
    stage = run.stage
    train_f1, _ = _measure(network, stage, train, device)
    validation_f1, recall = _measure(network, stage, validation, device)
    recalls = dict(zip(CLASSES[stage], recall.tolist(), strict=True))
    against = rivals.rival_f1(train, validation, by_class=stage == "multi")
    measured = {
        "train_F1": train_f1,
        "validation_F1": validation_f1,
        "recall": recalls,
        "rivals": against,
    }
    _write(folder, run, (train, validation), measured)
    named = {f"recall_{name}": value for name, value in recalls.items()}
    return pd.Series({"train_F1": train_f1, "validation_F1": validation_f1, **named, **against})


def record_inpainting(pretrained: PretrainedStage) -> None:
    """Write `learning.json` of a pretraining: its errors after the last phase."""
    assessed = pretrained.result.assessment
    last = assessed[assessed["phase"] == assessed["phase"].max()]
    errors = last[["mask", "erased_error", "local_mean_error"]].to_dict("records")
    sets = pretrained.train, pretrained.validation
    _write(pretrained.folder, pretrained.run, sets, {"errors": errors})


@torch.inference_mode()
def _measure(
    network: nn.Module, stage: str, slices: SliceSet, device: torch.device
) -> tuple[float, Tensor]:
    """Return the mean F1 over slices and classes, and each class's recall over all pixels."""
    masks = segmentation.class_masks if stage == "multi" else segmentation.lesion_masks
    scores, hits, present = [], 0, 0
    for prediction, targets in inference.judged_batches(network, stage, slices, device):
        predicted, true = masks(prediction, *targets)
        scores.append(fitting.slice_f1(predicted, true))
        hits += (predicted & true).sum((0, 2, 3)).double()
        present += true.sum((0, 2, 3)).double()
    return torch.cat(scores).nanmean().item(), hits / present


def _write(folder: Path, run: Run, sets: tuple[SliceSet, ...], measured: dict[str, Any]) -> None:
    parameters = {name: run.record()[name] for name in PARAMETERS if name in run.record()}
    made = artifacts.made_by(run.study or "", parameters, inputs=[folder / fitting.WEIGHTS])
    counts = dict(zip(("training_slices", "validation_slices"), map(len, sets), strict=True))
    artifacts.write_json(folder / LEARNING, _without_nan({**counts, **measured, "made": made}))


def _without_nan(content: Any) -> Any:
    """Return JSON-ready content with None for NaN, which JSON does not know."""
    if isinstance(content, dict):
        return {name: _without_nan(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_without_nan(value) for value in content]
    return None if isinstance(content, float) and math.isnan(content) else content
