"""Fewer slices a patient, evenly through the lungs, where a study asks for them (D-148).

The published series of iCTCF hold some hundreds of slices a patient, those of the paper about five.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.data import images, sources
from ssinfnet.study.config import SourceConfig
from ssinfnet.work import progress

__all__ = ["evenly", "lung_share", "thin"]

PIXELS = 64  # side at which lungs are looked for
LEAST_LUNG = 0.02  # of a slice that lungs cover, as where lungs are measured (D-51)
PROBES = 24  # slices of a scan that are decoded to find where its lungs begin and end


def thin(
    slices: pd.DataFrame, configs: Sequence[SourceConfig], folders: Mapping[str, Path]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Keep at most `slices_per_patient` slices of each scan of the sources that name a number.

    Parameters
    ----------
    slices : DataFrame
        Columns of `sources.COLUMNS`, each scan's slices in their order.
    configs : sequence of SourceConfig
    folders : mapping
        Source → folder of its raw files.

    Returns
    -------
    slices : DataFrame
        The rows that are kept, in their order.
    notes : dict
        Source → how many of its slices those are.
    """
    kept = pd.Series(True, index=slices.index)
    notes: dict[str, str] = {}
    for source in configs:
        most = source.slices_per_patient
        if most is None:
            continue
        of_source = slices[slices["source"] == source.name]
        scans = of_source.groupby("scan_id", sort=False)
        for _, scan in progress.track(scans, f"choosing slices of {source.name}", scans.ngroups):
            if len(scan) > most:
                chosen = scan.index[_through_lungs(scan, folders, most)]
                kept[scan.index.difference(chosen)] = False
        notes[source.name] = (
            f"{int(kept[of_source.index].sum()):,} of {len(of_source):,} slices, at most {most} a "
            "patient, evenly through the lungs (slices_per_patient)."
        )
    return slices[kept], notes


def _through_lungs(scan: pd.DataFrame, folders: Mapping[str, Path], count: int) -> NDArray[np.intp]:
    """Return which of a scan's slices lie evenly where its lungs are seen; of all if nowhere."""
    probes = evenly(0, len(scan) - 1, min(PROBES, len(scan)))
    read = sources.read_slices(folders, scan.iloc[probes])
    seen = probes[[lung_share(image) >= LEAST_LUNG for _, image, _ in read]]
    if len(seen) and seen[-1] - seen[0] + 1 >= count:
        return evenly(seen[0], seen[-1], count)
    return evenly(0, len(scan) - 1, count)


def evenly(first: int, last: int, count: int) -> NDArray[np.intp]:
    """Return the middles of `count` equal parts of the whole numbers from `first` to `last`.

    Each is another number if there are as many.

    Examples
    --------
    >>> evenly(0, 9, 5).tolist(), evenly(3, 5, 3).tolist(), evenly(0, 8, 1).tolist()
    ([1, 3, 5, 7, 9], [3, 4, 5], [4])
    """
    length = last - first + 1
    return first + ((np.arange(count) + 0.5) * length / count).astype(np.intp)


def lung_share(image: NDArray[np.float32]) -> float:
    """Return the share of a slice that is dark and enclosed by what is not: the lungs.

    Parameters
    ----------
    image : (height, width) float array in [0, 1]

    Returns
    -------
    float
        In [0, 1], of the slice at 64 × 64 pixels; dark is below Otsu's threshold, and what reaches
        the border is the air around the patient. A blank slice has 0, as has one cut within the
        lungs, whose lungs reach its border.
    """
    from scipy.ndimage import label
    from skimage.filters import threshold_otsu

    small = images.resize_image(image, PIXELS)
    if small.max() - small.min() < 1e-6:
        return 0.0
    dark, _ = label(small < threshold_otsu(small))
    outside = np.unique(np.concatenate([dark[0], dark[-1], dark[:, 0], dark[:, -1]]))
    return float((~np.isin(dark, [0, *outside])).mean())
