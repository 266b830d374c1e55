"""How the networks of both stages are trained to segment: loss, optimiser and score of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ssinfnet.data.batches import (
    Batches,
    SliceSet,
    View,
    grey_rule,
    lesion_view,
    multi_view,
    refuse_empty,
)
from ssinfnet.study.config import FittingConfig, MultiTrainingConfig, TrainingConfig
from ssinfnet.study.models import MultiModel
from ssinfnet.training import fitting, losses
from ssinfnet.training.optimizers import Lookahead
from ssinfnet.training.runs import Run

__all__ = [
    "class_masks",
    "fit_multi",
    "fit_single",
    "lesion_masks",
    "multi_loss",
    "multi_recipe",
    "single_loss",
    "single_recipe",
]

LOWEST_START = 1e-3  # of the learning rate, with which warming up begins: no step is for nothing


def fit_single(
    network: nn.Module,
    train: SliceSet,
    validation: SliceSet,
    config: TrainingConfig,
    *,
    run: Run,
    folder: Path,
    device: torch.device | None = None,
) -> pd.DataFrame:
    """Train a stage-1 network on slices of train, and keep its best on validation patients.

    Parameters
    ----------
    network : Module
        Already initialised; holds the kept weights afterwards.
    train, validation : SliceSet
        With labels, of different patients (D-01).
    config : TrainingConfig
    run : Run
        What is trained; order and augmentation of every epoch derive from its seed.
    folder : Path
        Receives the weights and the history, see `fitting.fit`.
    device : torch.device or None
        `fitting.best_device()` if None.

    Returns
    -------
    DataFrame
        History of the training, as `fitting.fit` returns it.
    """
    return _fit_slices(
        network, train, validation, lesion_view, config, single_recipe(config), run.record(),
        folder, device,
    )  # fmt: skip


def fit_multi(
    network: nn.Module,
    train: SliceSet,
    validation: SliceSet,
    config: MultiTrainingConfig,
    model: MultiModel,
    *,
    run: Run,
    folder: Path,
    device: torch.device | None = None,
) -> pd.DataFrame:
    """Train a stage-2 network, with focal loss and Lookahead where its model has them.

    Parameters and result are those of `fit_single`; slices carry priors where the model has a
    prior.
    """
    identity = {**run.record(), "focal": model.focal, "lookahead": model.lookahead}
    identity["grey"] = grey_rule(tells_classes=True)  # a training by another rule is another one
    return _fit_slices(
        network, train, validation, multi_view, config, multi_recipe(config, model), identity,
        folder, device,
    )  # fmt: skip


def single_recipe(config: TrainingConfig) -> fitting.Recipe:
    """Return how a stage-1 network is trained."""
    return _recipe(config, partial(single_loss, bce_share=config.bce_share), lesion_masks)


def multi_recipe(config: MultiTrainingConfig, model: MultiModel) -> fitting.Recipe:
    """Return how a stage-2 model is trained, with focal loss and Lookahead where it has them."""
    gamma = config.focal_gamma if model.focal else 0.0
    return _recipe(
        config,
        partial(multi_loss, gamma=gamma, class_weights=config.class_weights),
        class_masks,
        lookahead=(config.lookahead_steps, config.lookahead_share) if model.lookahead else None,
    )


def _fit_slices(
    network: nn.Module,
    train: SliceSet,
    validation: SliceSet,
    view: View,
    config: FittingConfig,
    recipe: fitting.Recipe,
    identity: dict[str, Any],
    folder: Path,
    device: torch.device | None,
) -> pd.DataFrame:
    """Fit a network that segments slices."""
    refuse_empty(train, validation)
    device = device or fitting.best_device()
    identity = {**identity, "training": config.identity()}
    shared: dict[str, Any] = {
        "batch_size": config.batch_size,
        "seed": identity["seed"],
        "device": device,
    }
    loaders = [
        Batches(slices, view, **shared, **more)
        for slices, more in (
            (train, {"augmentation": config.augmentation, "scales": config.scales}),
            (validation, {}),
        )
    ]
    training, judging = loaders
    return fitting.fit(network, training, judging, recipe, folder=folder, identity=identity)


def _recipe(
    config: FittingConfig,
    loss: Callable[..., Tensor],
    score: Callable[..., tuple[Tensor, Tensor]],
    lookahead: tuple[int, float] | None = None,
) -> fitting.Recipe:
    def optimiser(parameters: Iterable[nn.Parameter], lr: float) -> Optimizer:
        if config.optimiser == "adam":
            inner: Optimizer = torch.optim.Adam(parameters, lr=lr, fused=True)
        else:
            inner = torch.optim.SGD(parameters, lr=lr, momentum=config.momentum, fused=True)
        return Lookahead(inner, *lookahead) if lookahead else inner

    def rate(done: float) -> float:
        if done < config.warm_up:
            return config.learning_rate * max(done / config.warm_up, LOWEST_START)
        after = (done - config.warm_up) / max(1 - config.warm_up, 1e-9)
        falls = (1 + math.cos(math.pi * after)) / 2 if config.schedule == "cosine" else 1.0
        return config.learning_rate * falls

    return fitting.Recipe(
        epochs=config.epochs,
        optimiser=optimiser,
        rate=rate,
        loss=loss,
        score=score,
        judged_over=config.judged_over,
        gradient_clamp=config.gradient_clamp,
        averaging=config.averaging,
        patience=config.patience,
        validate_every=config.validate_every,
        state_seconds=config.state_seconds,
    )


def single_loss(prediction: Any, lesion: Tensor, edge: Tensor, *, bce_share: float = 1.0) -> Tensor:
    """Return J eq 5 for the output of any stage-1 network."""
    edge_map = getattr(prediction, "edge", None)
    return losses.stage1_loss(prediction.segmentations, lesion, edge_map, edge, bce_share)


def multi_loss(
    prediction: Any,
    classes: Tensor,
    *,
    gamma: float = 0.0,
    class_weights: Sequence[float] | None = None,
) -> Tensor:
    """Return J eq 7 for the output of any stage-2 network; eq 6 with γ = 0."""
    return losses.focal_loss(prediction.segmentations[-1], classes, gamma, class_weights)


def lesion_masks(prediction: Any, lesion: Tensor, edge: Tensor) -> tuple[Tensor, Tensor]:
    """Return the lesion as found at probability 0.5, and as it is."""
    return prediction.segmentations[-1] > 0, lesion > 0.5


def class_masks(prediction: Any, classes: Tensor) -> tuple[Tensor, Tensor]:
    """Return GGO and consolidation as argmax finds them, and as they are."""
    predicted = prediction.segmentations[-1].argmax(1, keepdim=True)
    return torch.cat([predicted == 1, predicted == 2], dim=1), classes[:, 1:] > 0.5
