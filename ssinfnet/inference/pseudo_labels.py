"""Semi-Inf-Net: slices labelled group by group, by a network that learns from each group.

Fan et al. 2020 (Inf-Net, section III-D), as V §IV compares with it: the paper's other way to use
unlabelled slices, at the price of one training a group.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from ssinfnet import inference
from ssinfnet.data.batches import SliceSet, subseed
from ssinfnet.study.config import PseudoLabelConfig
from ssinfnet.training import fitting, segmentation
from ssinfnet.training.runs import Run
from ssinfnet.work import progress

__all__ = ["PseudoLabelled", "label_by_groups"]

THRESHOLD = 0.5  # lesion probability from which a pixel of an unlabelled slice is lesion


@dataclass(frozen=True)
class PseudoLabelled:
    """The slices labelled by groups, with their pseudo-labels and the history of the training.

    Attributes
    ----------
    slices : SliceSet
        The unlabelled slices in the order they were labelled, with their pseudo-labels.
    order : (n,) int array
        Their places among the slices given.
    history : DataFrame
        One row an epoch: group (1, 2, …) and the columns of `fitting.fit`.
    """

    slices: SliceSet
    order: NDArray[np.int64]
    history: pd.DataFrame


def label_by_groups(
    network: nn.Module,
    labelled: SliceSet,
    unlabelled: SliceSet,
    validation: SliceSet,
    config: PseudoLabelConfig,
    *,
    run: Run,
    folder: Path,
    device: torch.device | None = None,
) -> PseudoLabelled:
    """Label unlabelled slices, training on each group before the next is labelled.

    Parameters
    ----------
    network : Module
        Network of stage 1, trained on `labelled`; it labels the first group, and has learnt
        from all groups afterwards.
    labelled, unlabelled, validation : SliceSet
        The first and last with masks. None of the unlabelled patients validates or tests.
    config : PseudoLabelConfig
        Size and number of groups, and how each retraining goes.
    run : Run
        What is trained; its seed draws the order of the unlabelled slices.
    folder : Path
        A folder a group below it; killed and run again, finished groups are read.
    device : torch.device or None
        `fitting.best_device()` if None.

    Raises
    ------
    ValueError
        If there is no unlabelled slice.
    """
    if not len(unlabelled):
        raise ValueError(
            "there are no unlabelled slices of training patients to label; name a source that has "
            "some, or leave semi_infnet out of the study's models"
        )
    device = device or fitting.best_device()
    order = np.random.default_rng(run.seed).permutation(len(unlabelled))
    groups = [order[first:][: config.group] for first in range(0, len(order), config.group)]
    groups = groups[: config.groups]
    learnt, histories = labelled, []
    for number, group in enumerate(groups, start=1):
        progress.say(f"group {number} of {len(groups)}: {len(group)} slices are labelled")
        shown = unlabelled.images[torch.from_numpy(group)]
        learnt = learnt.joined(_labelled(network, shown, device))
        history = segmentation.fit_single(
            network,
            learnt,
            validation,
            config.retraining,
            run=replace(run, seed=subseed(run.seed, number)),
            folder=folder / f"group{number:04d}",
            device=device,
        )
        histories.append(history.assign(group=number))
    given = slice(len(labelled), None)
    return PseudoLabelled(
        SliceSet(learnt.images[given], learnt.labels[given]),
        np.concatenate(groups),
        pd.concat(histories, ignore_index=True),
    )


def _labelled(network: nn.Module, images: torch.Tensor, device: torch.device) -> SliceSet:
    """Return slices with what the network finds as their labels: 1 lesion, 0 background."""
    lesion = inference.predict_prepared(network, images, device=device)
    labels = (lesion >= THRESHOLD).astype(np.uint8)
    return SliceSet(images, torch.from_numpy(labels)[:, None])
