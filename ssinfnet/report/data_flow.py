"""The data flow of a study as a small drawing: which notebook read what which other one wrote.

A notebook's first cell says under **Reads** and **Writes** which folders of artifacts it needs and
leaves; notebooks run in the order of their numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

import pandas as pd

from ssinfnet.study import paths
from ssinfnet.work.progress import seconds_text

__all__ = ["data_flow", "sources"]

BOX = (164, 44)  # pixels
GAP = (18, 10)


def data_flow(runs: pd.DataFrame) -> dict[str, object]:
    """Lay out the notebooks that ran, each right of all that it reads.

    Parameters
    ----------
    runs : DataFrame
        From `provenance.notebook_runs`.

    Returns
    -------
    dict
        width and height in pixels, boxes (x, y, width, height, name, text: how many runs and how
        long in all) and arrows (x1, y1, x2, y2, bend); a notebook that is not known here is drawn
        by itself.
    """
    grouped = runs.groupby("notebook")["seconds"].agg(["size", "sum"])
    read_by = sources(grouped.index)
    column: dict[str, int] = {}
    places, used = {}, dict.fromkeys(range(len(read_by) + 1), 0)
    for name, read in read_by.items():
        column[name] = 1 + max((column[source] for source in read), default=-1)
        places[name] = (
            column[name] * (BOX[0] + GAP[0]) + 1,
            used[column[name]] * (BOX[1] + GAP[1]) + 1,
        )
        used[column[name]] += 1
    boxes = [
        {
            "x": x, "y": y, "width": BOX[0], "height": BOX[1], "name": name.replace("_", " "),
            "text": _text(int(grouped.loc[name, "size"]), grouped.loc[name, "sum"]),
        }
        for name, (x, y) in places.items()
    ]  # fmt: skip
    arrows = [
        _arrow(places[source], places[name]) for name, read in read_by.items() for source in read
    ]
    columns, rows = max(column.values(), default=0) + 1, max(used.values())
    return {
        "width": columns * (BOX[0] + GAP[0]) - GAP[0] + 2,
        "height": rows * (BOX[1] + GAP[1]) - GAP[1] + 2,
        "boxes": boxes,
        "arrows": arrows,
    }


def sources(notebooks: Iterable[str]) -> dict[str, list[str]]:
    """Return for each of some notebooks, by number, which of the others it reads.

    What comes to a notebook through another one that it reads is left out. A notebook of the
    user's own, which is not in `notebooks/`, reads nothing that is known.

    Examples
    --------
    >>> sources(["02_data_split", "05_single_segmentation", "07_segmentation_results"])
    {'02_data_split': [], '05_single_segmentation': ['02_data_split'], \
'07_segmentation_results': ['05_single_segmentation']}
    """
    found: dict[str, list[str]] = {}
    written: dict[str, set[str]] = {}
    behind: dict[str, set[str]] = {}  # all that a notebook's inputs are made of
    for name in sorted(notebooks):
        reads, written[name] = _artifacts(name)
        direct = [other for other in found if written[other] & reads]
        through = {source for other in direct for source in behind[other]}
        found[name] = [other for other in direct if other not in through]
        behind[name] = through | set(direct)
    return found


def _artifacts(notebook: str) -> tuple[set[str], set[str]]:
    """Return the folders of artifacts that a notebook's first cell says it reads and writes."""
    file = paths.notebook_file(notebook)
    if not file.is_file():
        return set(), set()
    cells = json.loads(file.read_text(encoding="utf-8"))["cells"]
    said = "".join(cells[0]["source"]).partition("**Reads**")[2].partition("**Writes**")
    reads, writes = (set(re.findall(r"`artifacts/(\w+)", text)) for text in (said[0], said[2]))
    return reads, writes


def _text(count: int, seconds: float) -> str:
    return f"{count} {'run' if count == 1 else 'runs'}, {seconds_text(seconds)}"


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> Mapping[str, float]:
    x1, y1 = start[0] + BOX[0], start[1] + BOX[1] / 2
    x2, y2 = end[0], end[1] + BOX[1] / 2
    return {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "bend": (x1 + x2) / 2}
