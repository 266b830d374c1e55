"""Raw files of every source → slices: what is there, and its pixels one slice at a time.

One module a source, with `recognises(folder)`, `list_slices(folder)`, `read(folder, row)` and,
where it has lung masks, `read_lungs(folder, row)`; adding a source is one such module and its line
in `ADAPTERS`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.data.sources import ccii, covid_semiseg, ictcf, medseg, volumes
from ssinfnet.data.sources.files import visible_below
from ssinfnet.data.sources.listing import COLUMNS, SPACING, UNKNOWN_CLASS, Listing
from ssinfnet.data.sources.medseg import RADIOPAEDIA_CASES
from ssinfnet.study.config import SourceConfig

__all__ = ["ADAPTERS", "COLUMNS", "LICENCES", "RADIOPAEDIA_CASES", "SPACING", "UNKNOWN_CLASS",
           "Listing", "folder_of", "list_slices", "read_lungs", "read_slices",
           "state_of"]  # fmt: skip

ADAPTERS = {
    "medseg": medseg,
    "covid_semiseg": covid_semiseg,
    "ictcf": ictcf,
    "ccii": ccii,
    "volumes": volumes,
}
# What whoever trains on a public source has agreed to (docs/data_sets.md); weights carry it
LICENCES = {
    "medseg": "slices of Radiopaedia, CC BY-NC-SA; Med-Seg's own as its page says",
    "covid_semiseg": "non-commercial use",
    "ictcf": "CC BY-NC 4.0",
    "ccii": "research use",
}
CODED = (covid_semiseg.NAME, volumes.NAME)  # whose masks a study may code


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
        If a mask holds a foreign label, no slice is usable, or the source's masks have one coding
        and the study another.
    """
    named = {} if source.mask_values is None else {"values": source.mask_values}
    if source.mask_labels and source.name not in CODED:
        raise ValueError(f"mask_labels is for {' and '.join(CODED)}; {source.name} has one coding")
    if source.mask_labels:
        named["mask_labels"] = source.mask_labels
    return ADAPTERS[source.name].list_slices(folder_of(source, root), **named)


def folder_of(source: SourceConfig, root: Path) -> Path:
    """Return the folder that has the layout of a source.

    Parameters
    ----------
    source : SourceConfig
    root : Path
        Folder of all raw data; a source's own folder lies below it, or is it.

    Raises
    ------
    FileNotFoundError
        If neither has the layout.
    """
    adapter, named = ADAPTERS[source.name], root / source.folder
    if source.name == volumes.NAME and named.is_dir() and volumes.holds_volumes(named):
        return named
    for folder in (named, root):
        if folder.is_dir() and adapter.recognises(folder):
            return folder
    layout = "docs/servers.md shows the layout it needs"
    if named == root:  # somebody inspects a folder
        raise FileNotFoundError(f"no {source.name} data at {root}; {layout}")
    raise FileNotFoundError(
        f"no {source.name} data at {named} or {root}; {layout}, and `ssinfnet data inspect FOLDER "
        f"--source {source.name}` says what a folder holds"
    )


def state_of(sources: Iterable[SourceConfig], root: Path) -> str:
    """Return a text that changes when a raw file is added, removed or changed (D-163).

    Parameters
    ----------
    sources : iterable of SourceConfig
    root : Path
        Folder of the raw data, see `folder_of`.

    Returns
    -------
    str
        SHA-256 of names, sizes and times of change (whole seconds) of all visible files.

    Raises
    ------
    FileNotFoundError
        As `folder_of` raises it.
    """
    state = hashlib.sha256()
    for source in sources:
        folder = folder_of(source, root)
        for path in sorted(visible_below(folder)):
            seen = path.stat()
            line = f"{path.relative_to(folder).as_posix()} {seen.st_size} {int(seen.st_mtime)}"
            state.update(f"{source.name} {line}\n".encode())
    return state.hexdigest()


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
