"""The data flow of a study as a small drawing: which notebook read what which other one wrote."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from ssinfnet.work.progress import seconds_text

__all__ = ["READS", "data_flow"]

# Notebook → notebooks whose artifacts it reads, each after those; a test compares the names
READS: dict[str, tuple[str, ...]] = {
    "00_start": (),  # a walk of its own
    "01_lung_field": (),
    "02_data_split": ("01_lung_field",),
    "03_pretraining": ("02_data_split",),
    "04_pseudo_labels": ("02_data_split",),
    "05_single_segmentation": ("03_pretraining", "04_pseudo_labels", "02_data_split"),
    "06_multi_segmentation": ("05_single_segmentation",),
    "07_segmentation_results": ("05_single_segmentation",),
    "08_class_results": ("06_multi_segmentation",),
    "09_cross_validation": ("06_multi_segmentation",),
    "10_external_datasets": ("06_multi_segmentation",),
    "11_ablation": ("08_class_results",),
    "12_augmentation": ("06_multi_segmentation",),
    "13_severity": ("05_single_segmentation",),
    "14_phenotypes": ("06_multi_segmentation",),
    "15_mediation": ("14_phenotypes",),
    "16_known_truth": ("14_phenotypes",),
    "17_cost": ("06_multi_segmentation",),
    "18_report": (),  # reads what all of them saved; it is what is being drawn
}
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
    column: dict[str, int] = {}
    unknown = [name for name in grouped.index if name not in READS]
    for name in [*(name for name in READS if name in grouped.index), *unknown]:
        column[name] = 1 + max((column[s] for s in _sources(name, grouped.index)), default=-1)
    places, used = {}, dict.fromkeys(range(len(column) + 1), 0)
    for name in sorted(column):
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
        _arrow(places[source], places[name])
        for name in places
        for source in _sources(name, grouped.index)
    ]
    columns, rows = max(column.values(), default=0) + 1, max(used.values())
    return {
        "width": columns * (BOX[0] + GAP[0]) - GAP[0] + 2,
        "height": rows * (BOX[1] + GAP[1]) - GAP[1] + 2,
        "boxes": boxes,
        "arrows": arrows,
    }


def _sources(name: str, ran: pd.Index) -> list[str]:
    """Return what a notebook reads of those that ran; nothing is read past a neighbour."""
    direct = [source for source in READS.get(name, ()) if source in ran]
    if len(direct) > 1 and "02_data_split" in direct:
        direct.remove("02_data_split")  # its slices come through the others, too
    return direct


def _text(count: int, seconds: float) -> str:
    return f"{count} {'run' if count == 1 else 'runs'}, {seconds_text(seconds)}"


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> Mapping[str, float]:
    x1, y1 = start[0] + BOX[0], start[1] + BOX[1] / 2
    x2, y2 = end[0], end[1] + BOX[1] / 2
    return {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "bend": (x1 + x2) / 2}
