"""Training and prediction on arrays of one's own, without a study: for a first try and for scripts.

A study adds what a paper needs: patients kept apart, seeds, folds, cross-fitted priors, tables.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

from ssinfnet import inference
from ssinfnet.data.batches import SliceSet
from ssinfnet.study.config import MultiTrainingConfig, TrainingConfig
from ssinfnet.study.models import MULTI_MODELS
from ssinfnet.training import segmentation
from ssinfnet.training.runs import Run
from ssinfnet.work.threads import use_threads

__all__ = ["SINGLE_RECIPE", "segment", "train"]

# What few slices and minutes of a processor need; benchmarks/recipe.csv measures it on real slices.
SINGLE_RECIPE = TrainingConfig(
    epochs=60, batch_size=4, learning_rate=3e-3, schedule="cosine", scales=(1.0,), averaging=0.99
)


def train(
    network: nn.Module,
    slices: Sequence[NDArray[np.uint8]],
    validation: Sequence[NDArray[np.uint8]],
    config: TrainingConfig | MultiTrainingConfig = SINGLE_RECIPE,
    *,
    seed: int = 1,
    folder: Path | str | None = None,
    device: torch.device | None = None,
    threads: int | None = None,
) -> pd.DataFrame:
    """Train a network on slices and masks; it holds its best weights afterwards.

    Parameters
    ----------
    network : Module
        An `InfNet`, or a `UNet` of one output, to find lesions; a `UNet` or `FCN8s` of three
        outputs to tell ground glass from consolidation.
    slices, validation : images, masks and, for a network of six input channels, priors
        Each an (n, size, size) uint8 array, `size` a multiple of 32. Grey values fill 0 to 255;
        masks hold 0 background, 1 ground glass, 2 consolidation (for lesions alone, any value but
        0 is lesion); a prior is the lesion's probability times 255. Slices of one patient belong
        into one of the two: the epoch with the best F1 on `validation` is kept (D-14).
    config : TrainingConfig or MultiTrainingConfig
        How to find lesions, or how to tell the classes (with focal loss and Lookahead). The default
        suits some fifty slices and takes minutes on a processor; ``TrainingConfig()`` is the
        paper's recipe.
    seed : int
        Of the slices' order and augmentation. The network's start is the caller's own.
    folder : path or None
        Receives `weights.safetensors` and `history.csv`. A training that was killed goes on
        there. None keeps nothing on disk.
    device : torch.device or None
        CUDA where there is one if None.
    threads : int or None
        Of the processor; ``OMP_NUM_THREADS`` or 1 if None (D-162).

    Returns
    -------
    DataFrame
        A row an epoch: epoch, train_loss, validation_loss, validation_f1, seconds, best.

    Raises
    ------
    ValueError
        If an array is of another kind or shape, a set is empty, or the loss stops being finite.

    Examples
    --------
    >>> import ssinfnet as ss
    >>> images, masks = ss.phantom.example_slices(6, size=32, seed=1)
    >>> network = ss.UNet(3, 1, width=0.125)
    >>> config = ss.TrainingConfig(epochs=1, scales=(1.0,))
    >>> history = ss.train(network, (images[:4], masks[:4]), (images[4:], masks[4:]), config)
    >>> ss.segment(network, images[4:]).shape
    (2, 1, 32, 32)
    """
    sets = SliceSet.of(*slices), SliceSet.of(*validation)
    run = Run(stage="multi" if isinstance(config, MultiTrainingConfig) else "single", seed=seed)
    temporary_folder = tempfile.TemporaryDirectory(prefix="ssinfnet-")
    with use_threads(threads), temporary_folder as temporary:
        more: dict[str, Any] = {"run": run, "folder": Path(folder or temporary), "device": device}
        if isinstance(config, MultiTrainingConfig):
            return segmentation.fit_multi(network, *sets, config, MULTI_MODELS["ssinfnet"], **more)
        return segmentation.fit_single(network, *sets, config, **more)


def segment(
    network: nn.Module,
    images: NDArray[np.uint8],
    priors: NDArray[np.uint8] | None = None,
    *,
    batch_size: int = 8,
    device: torch.device | None = None,
    threads: int | None = None,
) -> NDArray[np.float16]:
    """Return what a network sees in slices.

    Parameters
    ----------
    network : Module
        Of either stage.
    images, priors : (n, size, size) uint8 arrays
        As `train` takes them.
    batch_size : int
    device : torch.device or None
        CUDA where there is one if None.
    threads : int or None
        As for `train`.

    Returns
    -------
    (n, channels, size, size) float16 array in [0, 1]
        The lesion's probability; from a network of three outputs, those of background, ground
        glass and consolidation.

    Raises
    ------
    ValueError
        If an array is of another kind or shape.
    """
    slices = SliceSet.of(images, priors=priors)
    sizes = [images.shape[1:]] * len(images)
    with use_threads(threads):
        maps = inference.predict(network, slices, sizes, batch_size=batch_size, device=device)
        return np.stack(list(maps))
