"""Raw files of every source → slices: what is there, and its pixels one slice at a time.

One module a source, with `recognises(folder)`, `list_slices(folder)`, `read(folder, row)` and,
where it has lung masks, `read_lungs(folder, row)`; adding a source is one such module and its line
in `ADAPTERS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.data.sources import ccii, covid_semiseg, ictcf, medseg, volumes
from ssinfnet.data.sources.listing import COLUMNS, SPACING, UNKNOWN_CLASS, Listing
from ssinfnet.data.sources.medseg import RADIOPAEDIA_CASES
from ssinfnet.study.config import SourceConfig

__all__ = ["ADAPTERS", "COLUMNS", "RADIOPAEDIA_CASES", "SPACING", "UNKNOWN_CLASS", "Listing",
           "list_slices", "read_lungs", "read_slices"]  # fmt: skip

ADAPTERS = {
    "medseg": medseg,
    "covid_semiseg": covid_semiseg,
    "ictcf": ictcf,
    "ccii": ccii,
    "volumes": volumes,
}


def list_slices(source: SourceConfig, root: Path) -> Listing:
    """List the slices of one source of a study.

    Parameters
    ----------
    source : SourceConfig
        Its `folder` lies below `root`; `root` itself will do if it has the source's layout.
    root : Path
        The folder of raw data.

    Raises
    ------
    FileNotFoundError
        If neither folder has the source's layout.
    ValueError
        If a mask holds a foreign label, or no slice is usable.
    """
    adapter = ADAPTERS[source.name]
    named = root / source.folder
    if source.name == volumes.NAME and named.is_dir() and volumes.holds_volumes(named):
        return volumes.list_slices(named)
    for folder in (named, root):
        if folder.is_dir() and adapter.recognises(folder):
            return adapter.list_slices(folder)
    raise FileNotFoundError(
        f"no {source.name} data at {root / source.folder} or {root}; the layout it needs is at the "
        f"top of ssinfnet/data/sources/{source.name}.py"
    )


def read_slices(
    folders: Mapping[str, Path], slices: pd.DataFrame
) -> Iterator[tuple[Any, NDArray[np.float32], NDArray[np.uint8] | None]]:
    """Yield (row, image, mask) for each row of a slice table, holding one volume at a time.

    Yields
    ------
    row : namedtuple
    image : (height, width) float32 array in [0, 1]
    mask : (height, width) uint8 array or None
        0 background, 1 GGO, 2 consolidation, 255 lesion of unknown class, which is all lesion of
        a row that does not know its classes; None if unlabelled.
    """
    for row in slices.itertuples(index=False):
        image, mask = ADAPTERS[row.source].read(folders[row.source], row)
        if mask is not None and pd.isna(row.has_ggo):
            mask = np.where(mask > 0, UNKNOWN_CLASS, 0).astype(np.uint8)
        yield row, image, mask


def read_lungs(
    folders: Mapping[str, Path], slices: pd.DataFrame
) -> Iterator[tuple[Any, NDArray[np.float32], NDArray[np.bool_]]]:
    """Yield (row, image, lung mask) for each row of a slice table; all rows have a `lung_path`.

    Lesions belong to the lung.
    """
    for row in slices.itertuples(index=False):
        adapter, folder = ADAPTERS[row.source], folders[row.source]
        yield row, adapter.read(folder, row)[0], adapter.read_lungs(folder, row)
