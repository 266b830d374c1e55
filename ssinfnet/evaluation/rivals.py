"""What a segmentation must beat to have learnt anything: answers that need no training (D-77).

A rival's F1 is the trainings' own (`training.slice_f1`): the mean over slices and classes, 0/0 left
out. How often each grey value occurs in a slice, inside and outside a class, is all that the rivals
by grey value need, so that every band of them can be tried.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ssinfnet.data.batches import SliceSet
from ssinfnet.training.fitting import slice_f1

__all__ = ["BAND", "EVERYTHING", "NOTHING", "PRIOR", "best_bands", "rival_f1"]

NOTHING, EVERYTHING = "nothing found", "everything found"
BAND, PRIOR = "the best grey band", "the prior alone"
GREYS = 256
LABELS = 3  # background, ground glass, consolidation
NO_GREY, ANY_GREY = (1, 0), (0, GREYS - 1)  # bands of which a pixel is never, and always, in
HALF = 128  # the lowest stored prior of probability 0.5 or more

Band = tuple[int, int]  # lowest and highest grey value


def rival_f1(train: SliceSet, validation: SliceSet, *, by_class: bool) -> dict[str, float]:
    """Return the F1 that each rival reaches on validation slices.

    Parameters
    ----------
    train : SliceSet
        With labels; what a rival has to choose is chosen on them.
    validation : SliceSet
        With labels, and with priors where the network reads them.
    by_class : bool
        True scores ground glass and consolidation (stage 2), False the lesion (stage 1).

    Returns
    -------
    dict
        `NOTHING`; `EVERYTHING`, in stage 2 as the class that has more pixels in training; `BAND`,
        of grey values, one for each class; and in stage 2, where there are priors, `PRIOR`: the
        prior at 0.5, all of it that class. In [0, 1], NaN where no slice has any.
    """
    learnt, judged = _grey_counts(train, by_class), _grey_counts(validation, by_class)
    commonest = int(learnt[0].sum((0, 2)).argmax())
    classes = range(learnt[0].shape[1])
    bands = {
        NOTHING: [NO_GREY for _ in classes],
        EVERYTHING: [ANY_GREY if one == commonest else NO_GREY for one in classes],
        BAND: best_bands(*learnt),
    }
    scores = {name: _mean(_band_f1(*judged, chosen)) for name, chosen in bands.items()}
    if by_class and validation.priors is not None:
        predicted = torch.zeros(len(validation), len(classes), *validation.priors.shape[2:]).bool()
        predicted[:, commonest] = validation.priors[:, 0] >= HALF
        true = torch.cat([validation.labels == 1, validation.labels == 2], dim=1)
        scores[PRIOR] = _mean(slice_f1(predicted, true))
    return scores


def best_bands(inside: Tensor, whole: Tensor) -> list[Band]:
    """Return the band of grey values of each class whose mean F1 over slices is the highest.

    All 32,896 bands are tried; of equals it is the one with the lowest ends.

    Parameters
    ----------
    inside : (n, classes, 256) tensor
        How many pixels of each grey value a slice has inside a class.
    whole : (n, 256) tensor
        How many it has in all.
    """
    hits, sizes = _summed(inside), _summed(whole)
    total = hits[..., -1:]
    best = torch.full((inside.shape[1],), -1.0, dtype=torch.float64)
    bands: list[Band] = [NO_GREY] * len(best)
    for low in range(GREYS):
        found = hits[..., low + 1 :] - hits[..., low, None]
        size = (sizes[:, low + 1 :] - sizes[:, low, None])[:, None]
        means = (2 * found / (size + total)).nanmean(0).nan_to_num(-1)
        for one, (value, place) in enumerate(zip(*means.max(1), strict=True)):
            if value > best[one]:
                best[one], bands[one] = value, (low, low + int(place))
    return bands


def _grey_counts(slices: SliceSet, by_class: bool) -> tuple[Tensor, Tensor]:
    """Return `inside` and `whole` of `best_bands`."""
    # Of stage 1's slices some have a lesion of unknown class, 255
    labels, kinds = (slices.labels, LABELS) if by_class else (slices.labels > 0, 2)
    both = zip(labels.flatten(1), slices.images.flatten(1), strict=True)
    counts = torch.stack(
        [
            torch.bincount(label.long() * GREYS + grey, minlength=kinds * GREYS)
            for label, grey in both
        ]
    ).view(len(slices), kinds, GREYS)
    return counts[:, 1:], counts.sum(1)


def _summed(counts: Tensor) -> Tensor:
    """Return how many pixels lie below each grey value, 0 … 256."""
    return torch.nn.functional.pad(counts.double().cumsum(-1), (1, 0))


def _band_f1(inside: Tensor, whole: Tensor, bands: Sequence[Band]) -> Tensor:
    """Return the F1 (n, classes) of one band for each class."""
    hits, sizes = _summed(inside), _summed(whole)
    scores = []
    for one, (low, high) in enumerate(bands):
        found, size = (total[:, high + 1] - total[:, low] for total in (hits[:, one], sizes))
        scores.append(2 * found / (size + hits[:, one, -1]))
    return torch.stack(scores, dim=1)


def _mean(scores: Tensor) -> float:
    return scores.nanmean().item()
