"""A packed model and scans of any kind in; lesion probability, classes and uncertainty out.

Every member of the model runs both stages by itself: its second stage reads its own first stage's
map, the mean over flipped views where there are several. The probabilities are then averaged, and
their standard deviation tells where members and views disagree (D-63, D-83).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ssinfnet import inference
from ssinfnet.data import images, slice_sets
from ssinfnet.data.batches import SliceSet
from ssinfnet.data.lung_crop import Box, lung_box
from ssinfnet.data.sources.intensities import Declared
from ssinfnet.scans import (
    Excluded,
    Scan,
    burden,
    choose_series,
    familiarity,
    find_scans,
    model_folder,
    read_scan,
)
from ssinfnet.scans.model_folder import Chain, Model
from ssinfnet.study.config import DEFAULT_TEXTURE, TextureConfig
from ssinfnet.training import fitting
from ssinfnet.work import progress
from ssinfnet.work.threads import use_threads

__all__ = ["Prediction", "Predictor", "chosen_device", "predict"]

Views = list[NDArray[np.float16]]  # what one network answers, flip by flip


@dataclass(frozen=True, repr=False)
class Prediction:
    """What a model sees in a scan, at the scan's own size.

    Attributes
    ----------
    scan : Scan
    lesion : (n, height, width) float16 array
        Probability of lesion, in [0, 1]; slices as in `scan`.
    classes : (n, height, width) uint8 array or None
        0 background, 1 GGO, 2 consolidation; None of a model without a second stage.
    uncertainty : (n, height, width) float16 array or None
        Standard deviation of the lesion probability over members and flips; None of a single one.
    threshold : float
        Probability from which a pixel is lesion.
    window_hu : (low, high)
    strange : (n,) bool array or None
        Slices that look like none of the model's training slices (`familiarity`); None of a model
        that does not know.
    """

    scan: Scan
    lesion: NDArray[np.float16]
    classes: NDArray[np.uint8] | None
    uncertainty: NDArray[np.float16] | None
    threshold: float
    window_hu: tuple[float, float] = images.LUNG_WINDOW_HU
    strange: NDArray[np.bool_] | None = None

    def __repr__(self) -> str:
        height, width = self.lesion.shape[1:]
        parts = [f"{name} in {mask.any(axis=(1, 2)).sum()}" for name, mask in self.masks.items()]
        return (
            f"Prediction of {self.name}: {len(self.lesion)} slices of {height} × {width} pixels, "
            f"{', '.join(parts)}; .row has shares and millilitres"
        )

    @property
    def name(self) -> str:
        """Name of the scan."""
        return self.scan.name

    @cached_property
    def masks(self) -> dict[str, NDArray[np.bool_]]:
        """The lesion at the threshold, and GGO and consolidation where classes are told (J)."""
        found = {"lesion": self.lesion >= np.float16(self.threshold)}
        if self.classes is not None:
            found |= {"ggo": self.classes == 1, "consolidation": self.classes == 2}
        return found

    @cached_property
    def row(self) -> dict[str, Any]:
        """Its row of the table, see `burden.measure`; takes a tenth of a second a slice."""
        row = burden.measure(self.scan, self.lesion, self.masks, self.window_hu)
        doubt = "" if self.strange is None else familiarity.doubt(self.strange)
        return row | {"reason": "; ".join(filter(None, [row["reason"], doubt]))}

    def phenotypes(self, texture: TextureConfig = DEFAULT_TEXTURE) -> dict[str, Any]:
        """Return its phenotypes, see `burden.measure_phenotypes`."""
        return burden.measure_phenotypes(self.scan, self.masks, texture, self.window_hu)


def predict(
    inputs: Path | str | Iterable[Path | str],
    model: Model | Path | str = model_folder.INCLUDED,
    *,
    device: torch.device | str | None = None,
    batch_size: int = 8,
    flips: bool | None = None,
    mixed_precision: bool | None = None,
    threshold: float | None = None,
    threads: int | None = None,
    declared: Declared | None = None,
    series: Iterable[str] = (),
    refused: list[Excluded] | None = None,
) -> Iterator[Prediction]:
    """Yield what a model sees in each scan below some paths; one scan is in memory at a time.

    Parameters
    ----------
    inputs : path or paths
        Each is a DICOM folder or file, a volume (NIfTI, NRRD, MetaImage), a folder of slice
        pictures, one picture, or a folder of such folders; see `scans.find_scans`.
    model : Model or path
        A folder that `ssinfnet model pack` wrote; by default the one that comes with ssinfnet.
    device : torch.device, str or None
        "cpu", "cuda", "cuda:1" or "mps"; CUDA where there is one if None.
    batch_size : int
        Slices that a network is given at once: what memory allows.
    flips : bool or None
        Average each stage over the four views flipped in the plane; four times the work. None does
        as the model's study did.
    mixed_precision : bool or None
        bfloat16 by autocast; None on CUDA alone.
    threshold : float or None
        Probability from which a pixel is lesion; the model's own if None.
    threads : int or None
        Threads of the processor; ``OMP_NUM_THREADS`` or 1 if None (D-162).
    declared : Declared or None
        How intensities become Hounsfield units, where they are neither these nor 8-bit grey.
    series : iterable of str
        The CT series that are wanted, see `scans.choose_series`; every axial one by default.
    refused : list or None
        Receives what cannot be used, with the reason, and the others go on; None raises instead.

    Yields
    ------
    Prediction

    Raises
    ------
    ValueError
        If the model is damaged, a setting impossible, or, without `refused`, an input unusable.

    Examples
    --------
    >>> for found in predict("patient/", "model/"):  # doctest: +SKIP
    ...     print(found.row["lesion_fraction"])
    """
    predictor = Predictor.of(
        model, device=device, batch_size=batch_size, flips=flips,
        mixed_precision=mixed_precision, threshold=threshold, threads=threads,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="ssinfnet.") as unpacked:
        given = [inputs] if isinstance(inputs, (str, Path)) else inputs
        places, excluded = find_scans(given, Path(unpacked))
        whole = [one for one in excluded if not one.file]
        if refused is None and whole:
            raise ValueError(f"{whole[0].input}: {whole[0].reason}")
        places, unchosen = choose_series(places, series)
        if refused is not None:
            refused += [*excluded, *unchosen]
        for place in places:
            try:
                scan = read_scan(place, declared)
            except (OSError, ValueError) as error:
                if refused is None:
                    raise
                refused.append(Excluded(place.name, "", str(error), place.location))
                continue
            if refused is not None:
                refused += scan.left_out
            yield predictor(scan)


@dataclass(frozen=True)
class Predictor:
    """A model on its device, ready for scans; made by `Predictor.of`, called with a `Scan`."""

    model: Model
    device: torch.device
    batch_size: int
    flips: bool
    mixed_precision: bool
    threshold: float
    threads: int | None = None

    @classmethod
    def of(
        cls,
        model: Model | Path | str = model_folder.INCLUDED,
        *,
        device: torch.device | str | None = None,
        batch_size: int = 8,
        flips: bool | None = None,
        mixed_precision: bool | None = None,
        threshold: float | None = None,
        threads: int | None = None,
    ) -> Predictor:
        """Load a model and move it; parameters are those of `predict`.

        Raises
        ------
        ValueError
            If a setting is impossible.
        """
        chosen = chosen_device(device)
        if batch_size < 1:
            raise ValueError(f"batch_size must be 1 or more, got {batch_size}")
        if threshold is not None and not 0 < threshold < 1:
            raise ValueError(f"threshold must lie between 0 and 1, got {threshold}")
        model = model if isinstance(model, Model) else model_folder.load(model)
        if flips is None:
            flips = model.flipped_views
        for chain in model.chains:
            for trained in (chain.single, chain.prior, chain.multi):
                if trained:
                    trained.to(chosen, memory_format=torch.channels_last)
        return cls(
            model=model,
            device=chosen,
            batch_size=batch_size,
            flips=flips,
            mixed_precision=chosen.type == "cuda" if mixed_precision is None else mixed_precision,
            threshold=model.description.threshold if threshold is None else threshold,
            threads=threads,
        )

    @property
    def views(self) -> int:
        """How many answers are averaged: members times flips."""
        return len(self.model.chains) * len(inference.flips_of(self.flips))

    def settings(self) -> dict[str, Any]:
        """Return what the result depends on, besides model and scan."""
        return {
            "flips": self.flips,
            "mixed_precision": self.mixed_precision,
            "threshold": self.threshold,
        }

    def __call__(self, scan: Scan) -> Prediction:
        """Segment a scan, a batch of slices at a time.

        Raises
        ------
        ValueError
            If a network answers with numbers that are not finite.
        """
        with use_threads(self.threads):
            return self._segment(scan)

    def _segment(self, scan: Scan) -> Prediction:
        box = self._box(scan)
        familiar = self.model.description.familiar
        strange = np.zeros(len(scan), bool)
        lesion = np.zeros(scan.slices.shape, np.float16)
        classes = np.zeros(scan.slices.shape, np.uint8) if self.model.tells_classes() else None
        uncertainty = np.zeros(scan.slices.shape, np.float16) if self.views > 1 else None
        starts = range(0, len(scan), self.batch_size)
        for first in progress.track(starts, f"segmenting batches of {scan.name}"):
            batch = slice(first, min(first + self.batch_size, len(scan)))
            within = (batch, *box.within)
            slices = self._prepared(scan, batch, box)
            if familiar is not None:
                strange[batch] = familiarity.unfamiliar(familiar, slices.images[:, 0].numpy())
            lesions, chances = Spread(), Spread()
            for chain in self.model.chains:
                seen, told = self._see(chain, slices, (box.height, box.width))
                for view in seen:
                    lesions.add(view[:, 0])
                for view in told:
                    chances.add(view)
            if not np.isfinite(lesions.mean).all():
                raise ValueError(f"{scan.name}: the network's answer is not finite")
            lesion[within] = lesions.mean
            if classes is not None:
                classes[within] = chances.mean.argmax(1)
            if uncertainty is not None:
                uncertainty[within] = lesions.deviation()
        own = self.model.description.window_hu
        known = None if familiar is None else strange
        return Prediction(scan, lesion, classes, uncertainty, self.threshold, own, known)

    def _box(self, scan: Scan) -> Box:
        """Return the part of a scan's slices that the networks see."""
        height, width = scan.slices.shape[1:]
        if not self.model.crops_to_lungs:
            return Box(0, 0, height, width)
        window = self.model.description.window_hu
        return lung_box((scan.grey(index, window) for index in range(len(scan))), height, width)

    def _prepared(self, scan: Scan, batch: slice, box: Box) -> SliceSet:
        """Return slices at the network's size and at 8 bits, as 02_data_split prepares them."""
        size, window = self.model.description.image_size, self.model.description.window_hu
        grey = [
            images.resize_image(scan.grey(index, window)[box.within], size)
            for index in range(batch.start, batch.stop)
        ]
        return SliceSet.of(np.rint(np.stack(grey) * 255).astype(np.uint8))

    def _see(self, chain: Chain, slices: SliceSet, size: tuple[int, int]) -> tuple[Views, Views]:
        """Return lesion (batch, 1, h, w) and classes (batch, 3, h, w) of each flip.

        Stage 2 reads the mean of stage 1's views, as it did when it was trained.
        """

        def answers(network: nn.Module, shown: SliceSet) -> Views:
            sizes = [size] * len(shown)
            return [
                np.stack(list(inference.predict_batch(
                    network, shown, sizes, self.device, flip=flip,
                    mixed_precision=self.mixed_precision,
                )))
                for flip in inference.flips_of(self.flips)
            ]  # fmt: skip

        lesions = answers(chain.single, slices)
        if chain.multi is None:
            return lesions, []
        if chain.reads_prior:
            priors = lesions if chain.prior is None else answers(chain.prior, slices)
            mean = images.mean_of_maps(priors)
            stored = slice_sets.at_network_size(mean, self.model.description.image_size)
            slices = replace(slices, priors=SliceSet.of(stored).images)
        return lesions, answers(chain.multi, slices)


class Spread:
    """Mean and standard deviation of arrays that come one by one (Welford 1962).

    Equal arrays have exactly their own mean and no deviation, which sums of squares do not promise.
    """

    def __init__(self) -> None:
        self.number = 0

    def add(self, values: NDArray[np.floating]) -> None:
        """Take one more array in."""
        values = values.astype(np.float32)
        if not self.number:
            self.mean, self.squares = values, np.zeros_like(values)
        self.number += 1
        from_mean = values - self.mean
        self.mean = self.mean + from_mean / self.number
        self.squares += from_mean * (values - self.mean)

    def deviation(self) -> NDArray[np.float32]:
        """Return the standard deviation of the arrays themselves, not of a population."""
        return np.sqrt(self.squares / self.number)


def chosen_device(name: torch.device | str | None) -> torch.device:
    """Return the device of that name, CUDA where there is one if None.

    Raises
    ------
    ValueError
        If there is no such device here.
    """
    if name is None:
        return fitting.best_device()
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"no device {name!r}; expected cpu, cuda, cuda:1 or mps") from error
    there = {
        "cpu": True,
        "cuda": (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, False):
        raise ValueError(f"device {name!r} is not available here; leave it out to use what is")
    return device
