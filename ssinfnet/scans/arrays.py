"""Slices and masks as arrays in; a network, trained, and what it sees in other slices out.

For a first try and for scripts, without a study. A study adds what a paper needs: patients kept
apart, seeds, folds, cross-fitted priors, tables.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from torch import nn

from ssinfnet import inference, networks, plots, scores
from ssinfnet.data.batches import SliceSet
from ssinfnet.data.splits import divide_patients
from ssinfnet.plots.viewer import predicted_labels
from ssinfnet.study.config import MultiTrainingConfig, TrainingConfig
from ssinfnet.study.models import MULTI_MODELS
from ssinfnet.training import segmentation
from ssinfnet.training.runs import Run
from ssinfnet.work.threads import use_threads

__all__ = ["SINGLE_RECIPE", "Trained", "segment", "train"]

# What few slices and minutes of a processor need; benchmarks/recipe.csv measures it on real slices.
SINGLE_RECIPE = TrainingConfig(
    epochs=60, batch_size=4, learning_rate=3e-3, schedule="cosine", scales=(1.0,), averaging=0.99
)
WIDTH = 0.25  # of the published channels, of a network that nobody names: a laptop trains it
SHARES = {"train": 0.8, "validation": 0.2}  # of slices, where no validation set is named
STEP = 32  # pixels: the networks' coarsest
SCORES = ("F1", "IoU", "Recall", "Precision")


@dataclass(frozen=True, repr=False)
class Trained:
    """A network as `train` returns it.

    Attributes
    ----------
    network : Module
        With its best weights.
    history : DataFrame
        A row an epoch: epoch, train_loss, validation_loss, validation_f1, seconds, best.
    slices : (int, int)
        How many it learnt from, and by how many its best epoch was chosen.
    patients : (int, int) or None
        Likewise; None where they are not known.
    """

    network: nn.Module
    history: pd.DataFrame
    slices: tuple[int, int]
    patients: tuple[int, int] | None = None

    def __repr__(self) -> str:
        best = self.history[self.history["best"].eq(True)].iloc[-1]
        of = [f" of {number} patients" for number in self.patients or ()] or ["", ""]
        return (
            f"{type(self.network).__name__}, trained on {self.slices[0]} slices{of[0]}: "
            f"best of {len(self.history)} epochs was {best['epoch']:.0f}, "
            f"F1 {best['validation_f1']:.2f} on {self.slices[1]} validation slices{of[1]}"
        )

    def predict(
        self, images: NDArray[np.uint8], priors: NDArray[np.uint8] | None = None
    ) -> NDArray[np.float16]:
        """Return the probabilities of slices; see `segment`, which takes more settings.

        Parameters
        ----------
        images, priors : (n, size, size) uint8 arrays
            The same as `train` takes.

        Returns
        -------
        (n, size, size) float16 array in [0, 1]
            Of lesion; from a network of three outputs (n, 3, size, size), of background, ground
            glass and consolidation.
        """
        maps = segment(self.network, images, priors)
        return maps[:, 0] if maps.shape[1] == 1 else maps

    def score(
        self,
        images: NDArray[np.uint8],
        masks: ArrayLike,
        *,
        patients: Sequence[Any] | None = None,
        priors: NDArray[np.uint8] | None = None,
        threshold: float = 0.5,
    ) -> pd.DataFrame:
        """Score slices that the network has not seen.

        Parameters
        ----------
        images, masks, priors : (n, size, size) arrays
            The same as `train` takes.
        patients : sequence of n or None
            Whose slice each is. Intervals then draw patients anew, which are fewer than slices;
            None takes each slice for a patient, which makes them too narrow where it is not so.
        threshold : float
            Probability from which a pixel is lesion; classes go by the likeliest.

        Returns
        -------
        DataFrame
            A row a score, F1, IoU, Recall and Precision; of a network that tells classes, one a
            class and score. Columns mean, over slices, low and high of its 95 % interval, n slices
            where the score is defined, n_slices in all and, where they are named, n_patients.
            See `scores.summarise`.

        Raises
        ------
        ValueError
            If an array is of another kind or shape, or patients are not as many as slices.
        """
        images, masks = _checked(images, masks)
        owners = _owners(patients, len(images))
        maps = self.predict(images, priors)
        rows = zip(owners, map(str, range(len(images))), masks, maps, strict=True)
        model = type(self.network).__name__
        if maps.ndim == 3:
            scored = scores.score_slices(rows, threshold, model=model)
            table = scores.summarise(scored, metrics=SCORES).set_index("metric")
        else:
            scored = scores.score_class_slices(rows, model=model)
            table = scores.summarise_classes(scored, metrics=SCORES)
            table = table.set_index(["class", "metric"])
        counted = ["n", "n_slices"] if patients is None else ["n", "n_slices", "n_patients"]
        return table[["mean", "low", "high", *counted]]

    def plot(
        self,
        image: NDArray[np.uint8],
        mask: ArrayLike | None = None,
        *,
        prior: NDArray[np.uint8] | None = None,
        threshold: float = 0.5,
    ) -> Figure:
        """Draw a slice beside what the network sees in it, and beside the truth where it is given.

        Parameters
        ----------
        image, mask, prior : (size, size) arrays
            One slice of what `train` takes.
        threshold : float
            The same as for `score`.

        Raises
        ------
        ValueError
            If an array is of another kind or shape.
        """
        given, name = np.asarray(image)[None], type(self.network).__name__
        truth = None
        if mask is not None:
            given, truth = _checked(given, np.asarray(mask)[None])
        (map_,) = self.predict(given, None if prior is None else prior[None])
        labels, grey = predicted_labels(map_, threshold), given[0] / 255
        if truth is not None:
            return plots.plot_slices_by_model([grey], [truth[0]], {name: [labels]})
        legend = ["lesion"] if map_.ndim == 2 else ["GGO", "consolidation"]
        return plots.plot_prediction([grey], [labels], ["slice"], name, legend=legend)


def train(
    images: NDArray[np.uint8],
    masks: ArrayLike,
    *,
    patients: Sequence[Any] | None = None,
    validation: Sequence[NDArray[Any]] | None = None,
    network: nn.Module | None = None,
    priors: NDArray[np.uint8] | None = None,
    config: TrainingConfig | MultiTrainingConfig = SINGLE_RECIPE,
    seed: int = 1,
    folder: Path | str | None = None,
    device: torch.device | None = None,
    threads: int | None = None,
) -> Trained:
    """Train a network on slices and masks.

    Parameters
    ----------
    images : (n, size, size) uint8 array
        Grey values that fill 0 to 255; `size` is a multiple of 32.
    masks : (n, size, size) array
        0 background, 1 ground glass, 2 consolidation; 1, or True, is any lesion where classes are
        not known. A network that finds lesions takes 1 and 2 for the same.
    patients : sequence of n or None
        Whose slice each is. A fifth of the slices is split off for validation, patients whole;
        without `patients` each slice is taken for a patient of its own.
    validation : images, masks and, where there are, priors; or None
        Slices of other patients: the epoch with the best F1 on them is kept (D-14), and none is
        split off.
    network : Module or None
        An `InfNet`, or a `UNet` of one output, to find lesions; a `UNet` or `FCN8s` of three
        outputs to tell ground glass from consolidation. It holds its best weights afterwards. None
        makes an `InfNet`, or a `UNet` for the classes, of a quarter of the published width.
    priors : (n, size, size) uint8 array or None
        The lesion's probability times 255, for a network of six input channels.
    config : TrainingConfig or MultiTrainingConfig
        How to find lesions, or how to tell the classes (with focal loss and Lookahead). The default
        suits some fifty slices and takes minutes on a processor; ``TrainingConfig()`` is the
        paper's recipe.
    seed : int
        Seed of the split, the slices' order and augmentation, and the start of a network that is
        made here.
    folder : path or None
        Receives `weights.safetensors` and `history.csv`. A training that was killed goes on
        there. None keeps nothing on disk.
    device : torch.device or None
        CUDA where there is one if None.
    threads : int or None
        Threads of the processor; ``OMP_NUM_THREADS`` or 1 if None (D-162).

    Returns
    -------
    Trained
        With `predict`, `score` and `plot`, the network and the history of its epochs.

    Raises
    ------
    ValueError
        If an array is of another kind or shape, slices lack masks, masks hold other labels or no
        lesion at all, patients are too few to split, or the loss stops being finite.

    Examples
    --------
    >>> import ssinfnet as ss
    >>> images, masks = ss.phantom.example_slices(6, size=32, seed=1)
    >>> config = ss.TrainingConfig(epochs=1, scales=(1.0,))
    >>> trained = ss.train(images[:5], masks[:5], patients=list("aabbc"), config=config)
    >>> trained.predict(images[5:]).shape
    (1, 32, 32)
    """
    tells_classes = isinstance(config, MultiTrainingConfig)
    own, validating, counted = _divided(images, masks, priors, patients, validation, seed)
    if network is None:
        network = _small(tells_classes, priors is not None, seed)
    run = Run(stage="multi" if tells_classes else "single", seed=seed)
    with use_threads(threads), tempfile.TemporaryDirectory(prefix="ssinfnet-") as temporary:
        more: dict[str, Any] = {"run": run, "folder": Path(folder or temporary), "device": device}
        if isinstance(config, MultiTrainingConfig):
            model = MULTI_MODELS["ssinfnet"]
            history = segmentation.fit_multi(network, own, validating, config, model, **more)
        else:
            history = segmentation.fit_single(network, own, validating, config, **more)
    return Trained(network, history, (len(own), len(validating)), counted)


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
        A network of either stage.
    images, priors : (n, size, size) uint8 arrays
        The same as `train` takes.
    batch_size : int
    device : torch.device or None
        CUDA where there is one if None.
    threads : int or None
        The same as for `train`.

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


def _small(tells_classes: bool, reads_prior: bool, seed: int) -> nn.Module:
    """Return the network of who names none."""
    if tells_classes:
        return networks.seeded(seed, networks.build_multi, "unet", reads_prior, WIDTH)
    return networks.seeded(seed, networks.build_single, "infnet", WIDTH)


def _divided(
    images: Any,
    masks: Any,
    priors: NDArray[np.uint8] | None,
    patients: Sequence[Any] | None,
    validation: Sequence[Any] | None,
    seed: int,
) -> tuple[SliceSet, SliceSet, tuple[int, int] | None]:
    """Return what is to learn from, what to validate on, and of how many patients both are."""
    arrays = [*_checked(images, masks), *([] if priors is None else [priors])]
    whole = SliceSet.of(*arrays)  # refuses priors of another kind
    counted = None
    if validation is None:
        owners = _owners(patients, len(whole))
        kept = _validated(owners, arrays[1], seed)
        sets = [[array[~kept] for array in arrays], [array[kept] for array in arrays]]
        if patients is not None:
            counted = len(set(owners[~kept])), len(set(owners[kept]))
    elif patients is not None:
        raise ValueError("patients say what to split off for validation, which is given: pass one")
    else:
        other_images, other_masks, *other_priors = validation
        sets = [arrays, [*_checked(other_images, other_masks, "validation "), *other_priors]]
    for name, (_, labels, *_) in zip(SHARES, sets, strict=True):
        if not labels.any():
            raise ValueError(f"none of the {len(labels)} {name} masks marks a lesion")
    own, validating = (SliceSet.of(*one) for one in sets)
    return own, validating, counted


def _checked(
    images: Any, masks: Any, which: str = ""
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return images and masks as networks take them, or say what was passed in their place."""
    for name, given in (("images", images), ("masks", masks)):
        if isinstance(given, nn.Module) or np.asarray(given).dtype == object:
            raise ValueError(
                f"{which}{name} are a {type(given).__name__}; expected an array (n, size, size). "
                "The order is train(images, masks, network=…, validation=(images, masks))"
            )
    images, masks = np.asarray(images), np.asarray(masks)
    shape = images.shape
    if images.dtype != np.uint8:
        raise ValueError(
            f"{which}images are {images.dtype} {shape}; expected uint8 arrays (n, size, size) of "
            "grey values from 0 to 255. Grey values in [0, 1] are np.rint(images * 255)"
            ".astype(np.uint8); Hounsfield units go through ssinfnet.data.images.window_hu first"
        )
    if images.ndim != 3 or shape[1] != shape[2] or not shape[1] or shape[1] % STEP:
        raise ValueError(
            f"{which}images have shape {shape}; expected (n, size, size), size a multiple of "
            f"{STEP}. ssinfnet.data.images.resize_image changes the size of a slice in [0, 1]"
        )
    if masks.ndim == 3 and len(masks) != len(images):
        raise ValueError(
            f"got {len(images)} {which}images and {len(masks)} masks; every slice needs its mask, "
            "so leave out the slices without labels"
        )
    if masks.shape != shape:
        raise ValueError(f"{which}masks have shape {masks.shape}, the images {shape}")
    if not np.isin(masks, (0, 1, 2)).all():
        found = ", ".join(f"{value:g}" for value in np.unique(masks)[:5].astype(float))
        raise ValueError(
            f"{which}masks hold such values as {found}; expected 0 background, 1 ground glass, or "
            "lesion, and 2 consolidation. Of masks that hold 0 and 255 pass masks > 0"
        )
    return images, masks.astype(np.uint8)


def _owners(patients: Sequence[Any] | None, number: int) -> NDArray[np.str_]:
    """Return whose slice each is; each its own where that is not known."""
    owners = np.arange(number) if patients is None else np.asarray(patients)
    if owners.shape != (number,):
        raise ValueError(f"patients are {owners.shape}; expected one a slice, ({number},)")
    return owners.astype(str)


def _validated(owners: NDArray[np.str_], masks: NDArray[np.uint8], seed: int) -> NDArray[np.bool_]:
    """Say which slices are split off for validation: patients whole, lesions on both sides."""
    if len(set(owners)) < 2:
        raise ValueError(
            f"{len(owners)} slices of one patient cannot be split into patients to train and to "
            "validate on; pass validation=(images, masks) of another"
        )
    slices = pd.DataFrame({"patient_id": owners, "has_lesion": masks.any(axis=(1, 2))})
    parts = divide_patients(slices, SHARES, seed)
    return np.array([parts[owner] == "validation" for owner in owners])
