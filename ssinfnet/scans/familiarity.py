"""Say whether slices look like any that a model was trained on.

A network answers whatever it is given: a head, an abdomen, a window of soft tissue, inverted grey
values. A packed model therefore carries a few statistics of its training slices, and a slice that
is further from all of them than training slices are from those of other patients is unfamiliar
(D-175). No network is involved.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Familiarity", "doubt", "learn", "statistics", "unfamiliar"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # of the grey values
RINGS = 3  # from the border to the centre
COARSE = 16  # of a side, across which grey values are compared too
NEAREST = 3  # training slices, whose mean distance counts
SHARE = 0.99  # of the training slices are familiar to those of other patients
MOST = 500  # training slices that a model carries
LEAST_SCALE = 1e-3  # of a statistic that does not vary
DOUBTED = 0.5  # of a scan's slices, from which it is said


class Familiarity(BaseModel):
    """Hold what training slices look like, and how far from them others may be."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    scale: tuple[float, ...]  # of each statistic: its standard deviation
    known: tuple[tuple[float, ...], ...] = Field(min_length=1)  # statistics over their scale
    limit: float = Field(ge=0)  # mean distance from the nearest, above which a slice is unfamiliar
    false_alarms: float | None = None  # share of the test slices that are unfamiliar


def statistics(slices: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return what a slice looks like: how bright, how bright where, how sharp.

    Parameters
    ----------
    slices : (n, size, size) uint8 array
        Prepared, as networks read them.

    Returns
    -------
    (n, 12) float64 array
        Quantiles of the grey values; means of square rings from the border inwards; mean
        differences of pixels next to each other and a sixteenth of the side apart; shares of
        pixels that are black and white.
    """
    grey = slices.astype(np.float64) / 255
    size = slices.shape[-1]
    quantiles = np.quantile(grey.reshape(len(grey), -1), QUANTILES, axis=1)
    off = np.abs(np.arange(size) - (size - 1) / 2) / (size / 2)
    ring = np.minimum(np.maximum.outer(off, off) * RINGS, RINGS - 1).astype(int)
    rings = [grey[:, ring == one].mean(1) for one in reversed(range(RINGS))]
    steps = [
        np.abs(grey[:, step:] - grey[:, :-step]).mean((1, 2)) / 2
        + np.abs(grey[:, :, step:] - grey[:, :, :-step]).mean((1, 2)) / 2
        for step in (1, max(1, size // COARSE))
    ]
    ends = [(slices == value).mean((1, 2)) for value in (0, 255)]
    return np.column_stack([*quantiles, *rings, *steps, *ends])


def learn(slices: NDArray[np.uint8], patients: Sequence[str]) -> Familiarity:
    """Return what training slices look like, and how far those of a new patient may be from them.

    Parameters
    ----------
    slices : (n, size, size) uint8 array
    patients : n strings
        Whose each is.

    Raises
    ------
    ValueError
        If all slices are of one patient.
    """
    of_whom = np.asarray(patients)
    if len(np.unique(of_whom)) < 2:
        raise ValueError("all training slices are of one patient; how others differ is unknown")
    chosen = np.unique(np.linspace(0, len(slices) - 1, min(len(slices), MOST)).round().astype(int))
    found = statistics(slices[chosen])
    scale = np.maximum(found.std(0), LEAST_SCALE)
    known, of_whom = found / scale, of_whom[chosen]
    others = [
        _distance(known[[index]], known[of_whom != of_whom[index]])[0]
        for index in range(len(known))
    ]
    return Familiarity(
        scale=tuple(scale.round(6).tolist()),
        known=tuple(map(tuple, known.round(3).tolist())),
        limit=float(np.quantile(others, SHARE).round(4)),
    )


def unfamiliar(familiarity: Familiarity, slices: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which slices look like none of the training slices; parameters as `statistics`."""
    found = statistics(slices) / np.array(familiarity.scale)
    return _distance(found, np.array(familiarity.known)) > familiarity.limit


def doubt(strange: NDArray[np.bool_]) -> str:
    """Say of a scan that most of its slices are unfamiliar; "" if they are not."""
    if strange.mean() <= DOUBTED:
        return ""
    return (
        f"{np.count_nonzero(strange)} of {len(strange)} slices look like none that the model was "
        "trained on: its answer is a guess"
    )


def _distance(slices: NDArray[np.float64], known: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each slice is from its nearest neighbours, on average."""
    apart = np.linalg.norm(slices[:, None] - known[None], axis=-1)
    nearest = np.partition(apart, min(NEAREST, len(known)) - 1, axis=1)[:, :NEAREST]
    return nearest.mean(1)
