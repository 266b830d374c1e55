"""Look through slices in Jupyter: models side by side, classes over the slice, truth as an outline.

`predicted_labels` and `plots.pixels` are plain functions of arrays; `Viewer` only moves their
result into widgets. One slice is drawn and sent at a time, as PNG, so that a volume of 500 slices
is as quick to look through as one of five.
"""

from __future__ import annotations

import html
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
from numpy.typing import NDArray

from ssinfnet import scores
from ssinfnet.data.cohort import Cohort
from ssinfnet.data.sources import UNKNOWN_CLASS
from ssinfnet.evaluation import read_predictions
from ssinfnet.plots.pixels import COLOURS, TRUTH, png, render_slice
from ssinfnet.plots.slices import FILL
from ssinfnet.study.config import Study
from ssinfnet.study.models import model_label
from ssinfnet.study.paths import PREDICTIONS, StudyPaths

__all__ = ["Viewer", "predicted_labels", "view", "view_patient"]

WORDS = {
    "GGO": "Ground glass",
    "consolidation": "Consolidation",
    "lesion": "Lesion",
    TRUTH: "Truth (outline)",
}
SLICE_ALONE = "CT slice"
SHOWN_SIDE = 384  # pixels; smaller slices are enlarged by a whole number to at least about this


def predicted_labels(probability: NDArray[np.floating], threshold: float) -> NDArray[np.uint8]:
    """Return the mask of a prediction, as it is scored.

    Parameters
    ----------
    probability : (height, width) or (3, height, width) float array in [0, 1]
        Probability of lesion (stage 1), or of background, GGO and consolidation (stage 2). Whole
        numbers are 255ths.
    threshold : float
        Probability from which a pixel is lesion. A pixel of stage 2 is of its likeliest class,
        whatever the threshold.

    Returns
    -------
    (height, width) uint8 array
        0 background; 255 lesion in stage 1; 1 GGO and 2 consolidation in stage 2.
    """
    if probability.ndim == 3:
        return probability.argmax(axis=0).astype(np.uint8)
    limit = threshold if probability.dtype.kind == "f" else threshold * 255
    return np.where(probability >= limit, np.uint8(UNKNOWN_CLASS), np.uint8(0))


class Viewer(widgets.VBox):
    """The widgets of `view`. Each change of a control draws the shown slice anew."""

    def __init__(
        self,
        slices: Sequence[NDArray[Any]],
        probabilities: Mapping[str, Sequence[NDArray[np.floating]]],
        truth: Sequence[NDArray[np.uint8] | None] | None,
        classes: Collection[str],
        threshold: float,
        names: Sequence[str],
    ) -> None:
        self._slices, self._probabilities, self._names = slices, probabilities, names
        self._truth = truth if truth is not None else [None] * len(slices)
        wide = {"style": {"description_width": "5.5em"}, "continuous_update": True}
        self.position = widgets.IntSlider(
            _most_lesion(self._truth),
            1,
            len(slices),
            description="Slice",
            layout=widgets.Layout(width="100%"),
            **wide,
        )
        self.threshold = widgets.FloatSlider(
            threshold, min=0.01, max=0.99, step=0.01, description="Threshold", **wide
        )
        self.opacity = widgets.FloatSlider(
            FILL, min=0, max=1, step=0.05, description="Opacity", **wide
        )
        narrow = widgets.Layout(width="auto", margin="0 2em 0 0")
        self.shown = {
            name: widgets.Checkbox(True, description=WORDS[name], indent=False, layout=narrow)
            for name in classes
        }
        self.caption = widgets.HTML()
        self.titles = {name: widgets.HTML() for name in (SLICE_ALONE, *probabilities)}
        full = widgets.Layout(width="100%")
        self.pictures = {name: widgets.Image(format="png", layout=full) for name in self.titles}
        super().__init__(self._laid_out())
        for control in (self.position, self.threshold, self.opacity, *self.shown.values()):
            control.observe(self._draw, "value")
        self._draw()

    def _laid_out(self) -> list[widgets.Widget]:
        panel = widgets.Layout(flex="1 1 200px", max_width="512px", margin="0 6px 0 0")
        panels = [
            widgets.VBox([self.titles[name], self.pictures[name]], layout=panel)
            for name in self.titles
        ]
        wrapped = widgets.Layout(flex_flow="row wrap")
        legend = [
            part for name, box in self.shown.items() for part in (widgets.HTML(_swatch(name)), box)
        ]
        return [
            self.position,
            self.caption,
            widgets.HBox(panels, layout=wrapped),
            widgets.HBox(legend, layout=wrapped),
            widgets.HBox([self.threshold, self.opacity], layout=wrapped),
        ]

    def _draw(self, change: Any = None) -> None:
        at = self.position.value - 1
        image, truth = np.asarray(self._slices[at]), self._truth[at]
        shown = [name for name, box in self.shown.items() if box.value]
        options = {"layers": shown, "zoom": max(1, round(SHOWN_SIDE / max(image.shape)))}
        if change is None or change["owner"] is self.position or not self._probabilities:
            alone = None if self._probabilities else truth
            self.caption.value = html.escape(self._names[at])
            self.titles[SLICE_ALONE].value = f"<b>{SLICE_ALONE}</b>"
            self.pictures[SLICE_ALONE].value = png(render_slice(image, truth=alone, **options))
        for name, maps in self._probabilities.items():
            labels = predicted_labels(np.asarray(maps[at]), self.threshold.value)
            picture = render_slice(image, labels, truth, opacity=self.opacity.value, **options)
            self.titles[name].value = _title(name, labels, truth)
            self.pictures[name].value = png(picture)


def view(
    slices: Sequence[NDArray[Any]],
    probabilities: Mapping[str, Sequence[NDArray[np.floating]]],
    truth: Sequence[NDArray[np.uint8] | None] | None = None,
    classes: Collection[str] | None = None,
    threshold: float = 0.5,
    names: Sequence[str] | None = None,
) -> Viewer:
    """Show slices with what some models see in them.

    Parameters
    ----------
    slices : n (height, width) arrays, or one (n, height, width) array
        Windowed: float in [0, 1], or uint8. They are read when shown, so a mapped file will do.
    probabilities : mapping of str to n arrays
        Name of a model → what it predicts of each slice, see `predicted_labels`.
    truth : n (height, width) uint8 arrays, optional
        1 GGO, 2 consolidation, 255 lesion of unknown class; None for a slice without.
    classes : collection of str, optional
        Which of ``GGO``, ``consolidation``, ``lesion`` and ``truth`` have a switch and a place in
        the legend; by default those that the models and the truth have.
    threshold : float
        Probability from which a pixel of stage 1 is lesion, at the start.
    names : n str, optional
        What stands above each slice.

    Returns
    -------
    Viewer
        Shows itself in Jupyter. It opens at the slice with most lesion in the truth.

    Raises
    ------
    ValueError
        If the numbers or shapes of slices, predictions and truth differ, or a class is unknown.

    Examples
    --------
    >>> volume = np.zeros((500, 64, 64), dtype=np.float32)
    >>> view(volume, {"model": volume}).position.max
    500
    """
    names = names if names is not None else [f"Slice {n}" for n in range(1, len(slices) + 1)]
    _refuse_unequal(slices, {**probabilities, TRUTH: truth} if truth is not None else probabilities)
    if len(names) != len(slices):
        raise ValueError(f"got {len(slices)} slices and {len(names)} names; one name a slice")
    if classes is None:
        classes = _classes_of(probabilities, truth is not None)
    unknown = sorted(set(classes) - set(COLOURS))
    if unknown:
        raise ValueError(f"classes must be among {list(COLOURS)}, got {unknown}")
    return Viewer(slices, probabilities, truth, classes, threshold, names)


def view_patient(
    study: Study,
    paths: StudyPaths,
    patient: str | None = None,
    models: Sequence[str] | None = None,
    multi_models: Sequence[str] = (),
) -> Viewer:
    """Show a test patient of a study with what its networks predict, first seed.

    Parameters
    ----------
    study, paths
        After 02_data_split and the trainings.
    patient : str, optional
        By default the test patient with most slices that have lesion.
    models : sequence of str, optional
        Models of stage 1; by default all of the study that have predicted.
    multi_models : sequence of str
        Models of stage 2.

    Raises
    ------
    FileNotFoundError
        If a model has not predicted.
    ValueError
        If the patient is none of the test patients, or no model has predicted.
    """
    cohort, seed = Cohort.load(paths.cohort), study.seeds[0]
    test = cohort.of_split("test")
    if patient is None:
        with_lesion = test["has_lesion"].fillna(False).astype(bool)
        patient = with_lesion.groupby(test["patient_id"]).sum().idxmax()
    rows = test[test["patient_id"] == patient]
    if rows.empty:
        known = sorted(test["patient_id"].unique())
        raise ValueError(f"{patient!r} is no test patient of {study.name!r}; those are {known[:9]}")
    if models is None:
        models = [
            model
            for model in study.single.models
            if (paths.single(model, 0, seed) / PREDICTIONS).is_file()
        ]
    folders = {model_label(model): paths.single(model, 0, seed) for model in models}
    folders |= {
        f"{model_label(model)}, classes": paths.multi(model, 0, seed) for model in multi_models
    }
    if not folders:
        raise ValueError(f"no model of {study.name!r} has predicted; run 05_single_segmentation")
    read = [(row.slice_id, image, mask) for row, image, mask in cohort.read(rows)]
    names, slices, truth = zip(*read, strict=True)
    predicted = {shown: read_predictions(folder) for shown, folder in folders.items()}
    chosen = {shown: [maps[name] for name in names] for shown, maps in predicted.items()}
    titles = [f"Patient {patient}, {name}" for name in names]
    return view(slices, chosen, truth, threshold=study.scores.threshold, names=titles)


def _refuse_unequal(
    slices: Sequence[NDArray[Any]], others: Mapping[str, Sequence[NDArray[Any] | None]]
) -> None:
    if not len(slices):
        raise ValueError("there is no slice to show")
    for name, arrays in others.items():
        if len(arrays) != len(slices):
            raise ValueError(f"got {len(slices)} slices and {len(arrays)} of {name!r}")
        for number, (image, own) in enumerate(zip(slices, arrays, strict=True), start=1):
            if own is not None and own.shape[-2:] != image.shape:
                raise ValueError(
                    f"slice {number} is {image.shape} and {name!r} of it {own.shape}; resize one"
                )


def _classes_of(
    probabilities: Mapping[str, Sequence[NDArray[np.floating]]], with_truth: bool
) -> list[str]:
    of_stage = {maps[0].ndim for maps in probabilities.values()}
    found = ["GGO", "consolidation"] if 3 in of_stage else []
    found += ["lesion"] if 2 in of_stage else []
    return [*found, TRUTH] if with_truth else found


def _most_lesion(truth: Sequence[NDArray[np.uint8] | None]) -> int:
    """Return the place, from 1, of the slice with most lesion; the middle one if none has."""
    areas = [0 if mask is None else np.count_nonzero(mask) for mask in truth]
    return int(np.argmax(areas)) + 1 if max(areas) else (len(areas) + 1) // 2


def _title(name: str, labels: NDArray[np.uint8], truth: NDArray[np.uint8] | None) -> str:
    """Return a panel's line: the model, and F1 of its whole lesion where the truth is known."""
    line = f"<b>{html.escape(name)}</b>"
    if truth is None:
        return line
    value = float(scores.f1(*scores.counts(truth > 0, labels > 0)))
    return f"{line} · F1 {'undefined' if np.isnan(value) else format(value, '.2f')}"


def _swatch(name: str) -> str:
    """Return the square before a class in the legend."""
    look = f"background: {COLOURS[name]}"
    if name == TRUTH:
        look = f"background: #444; border: 2px solid {COLOURS[TRUTH]}; box-sizing: border-box"
    return f'<div style="width: 1em; height: 1em; margin: .35em .4em 0 0; {look}"></div>'
