"""What the networks saw in slices, as it lies on disk; read without a deep-learning library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ssinfnet.storage import artifacts

__all__ = ["SliceMaps", "class_masks", "read_maps"]


class SliceMaps(NamedTuple):
    """Probabilities of the networks of both stages in one slice, times 255."""

    lesion: NDArray[np.uint8]  # (h, w)
    classes: NDArray[np.uint8]  # (3, h, w): background, GGO, consolidation


def read_maps(chunk: Path) -> Iterator[tuple[str, SliceMaps]]:
    """Yield slice_id and maps of a chunk."""
    stored = artifacts.read_arrays(chunk)
    for name in stored:
        slice_id, _, part = name.rpartition(".")
        if part == "lesion":
            yield slice_id, SliceMaps(stored[name], stored[f"{slice_id}.classes"])


def class_masks(maps: SliceMaps, threshold: float = 0.5) -> dict[str, NDArray[np.bool_]]:
    """Return the three masks of a slice whose phenotypes are measured (J).

    The overall lesion is stage 1's at the threshold, ground glass and consolidation are stage 2's
    most probable class.

    Parameters
    ----------
    maps : SliceMaps
    threshold : float
        Probability from which a pixel is lesion.
    """
    likeliest = np.argmax(maps.classes, axis=0)
    return {
        "lesion": maps.lesion >= threshold * 255,
        "ggo": likeliest == 1,
        "consolidation": likeliest == 2,
    }
