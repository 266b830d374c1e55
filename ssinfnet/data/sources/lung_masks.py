"""Tell a mask of the lungs from one of something else: by its numbers, and by what lies in it.

Lungs are mostly air. A mask of the body, of everything but the lungs, or one that was stored
mirrored has the right numbers, and each share of lung that is lesion would be wrong by it (D-130).
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssinfnet.data.sources.files import UnreadableFile
from ssinfnet.data.sources.listing import UNKNOWN_CLASS
from ssinfnet.data.sources.volume_files import Volume

__all__ = ["refuse_no_lungs"]

LOBES = 5  # of both lungs
MOST_BORDER = 0.5  # of the pixels at the edges of slices that lungs may reach, cut closely
AIR_HU = -300  # lungs without lesion lie below, the tissue around them above
LEAST_AIR = 0.5  # of the lungs without their lesion; 0.86 to 0.96 of seven public volumes
MIRRORED_GAIN = 0.05  # share of air that no mirror image gains; wrong masks gain 0.11 to 0.58
MIRRORS = {0: "upside down", 1: "front to back", 2: "left to right"}


def refuse_no_lungs(
    path: Path, labels: NDArray[Any], image: Volume, lesion: NDArray[np.bool_] | None = None
) -> None:
    """Refuse a lung mask that holds other things than lungs.

    Parameters
    ----------
    path : Path
        Named in the error.
    labels : (n, height, width) array
        The lungs as 1 or 255, or the lobes 1 to 5.
    image : Volume
        Slices that are faulty tell nothing.
    lesion : (n, height, width) bool array or None
        What is marked as lesion, which may be as dense as what lies around the lungs.

    Raises
    ------
    UnreadableFile
        If it has other numbers, is empty or marks the edge of the image; if most of what it marks
        is no air, or more of it were air if it was mirrored.
    """
    values = np.unique(labels)
    lobes = np.isin(values, range(LOBES + 1)).all()
    if not (lobes or np.isin(values, (0, UNKNOWN_CLASS)).all()):
        raise UnreadableFile(
            f"{path.name} holds {values[:8].tolist()}; a lung mask has 0 and 1, 0 and 255, or the "
            f"lobes as 1 to {LOBES}"
        )
    if not labels.any():
        raise UnreadableFile(f"{path.name} is empty: no lung is marked in it")
    border = np.ones(labels.shape[1:], bool)
    border[1:-1, 1:-1] = False
    if np.count_nonzero(labels[:, border]) > MOST_BORDER * labels[:, border].size:
        raise UnreadableFile(
            f"{path.name} marks the edge of the image: it seems to be everything but the lungs"
        )
    _refuse_other_content(path, labels > 0, image, lesion)


def _refuse_other_content(
    path: Path, lungs: NDArray[np.bool_], image: Volume, lesion: NDArray[np.bool_] | None
) -> None:
    """Refuse a mask most of which is no air, or would be more so if it was mirrored."""
    known = np.array([image.fault(index) is None for index in range(len(lungs))])
    seen = np.broadcast_to(known[:, None, None], lungs.shape)
    if lesion is not None and (lungs & seen & ~lesion).any():
        seen = seen & ~lesion
    if not (lungs & seen).any():
        return
    bound, unit = (_middle_grey(image.slices[known]), "") if image.windowed else (AIR_HU, " HU")
    stored: NDArray[Any] = image.slices
    air = (stored < bound) & seen
    share = _share(air, seen, lungs)
    if share <= LEAST_AIR:
        raise UnreadableFile(
            f"{path.name} marks no lungs: {share:.0%} of it is air (below {bound:.4g}{unit}), and "
            "lungs are mostly air; mark the lungs in it, with their lesions"
        )
    mirrored = {
        axes: _share(air, seen, np.flip(lungs, axes))
        for count in (1, 2, 3)
        for axes in combinations(MIRRORS, count)
    }
    best = max(mirrored, key=mirrored.__getitem__)
    if mirrored[best] > share + MIRRORED_GAIN:
        way = " and ".join(MIRRORS[axis] for axis in best)
        raise UnreadableFile(
            f"{path.name} seems to be stored mirrored: {share:.0%} of it is air, and "
            f"{mirrored[best]:.0%} would be if it was turned {way}; turn it, or its affine"
        )


def _middle_grey(slices: NDArray[np.generic]) -> float:
    """Return the grey value between air and tissue by Otsu's method, as windows differ (D-40)."""
    from skimage.filters import threshold_otsu

    return float(threshold_otsu(slices))


def _share(air: NDArray[np.bool_], seen: NDArray[np.bool_], lungs: NDArray[np.bool_]) -> float:
    """Return which share of what lungs mark is air, in [0, 1], where that is seen."""
    marked = np.count_nonzero(lungs & seen)
    return np.count_nonzero(lungs & air) / marked if marked else 0.0
