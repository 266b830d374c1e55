"""A scan with its prediction in Jupyter's viewer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ssinfnet.plots.viewer import Viewer, view
from ssinfnet.scans import model_folder
from ssinfnet.scans.model_folder import Model
from ssinfnet.scans.prediction import Prediction, predict

__all__ = ["view_scan"]


def view_scan(
    scan: Prediction | Path | str, model: Model | Path | str = model_folder.INCLUDED
) -> Viewer:
    """Show a scan slice by slice, with the lesions that a model finds in it.

    Parameters
    ----------
    scan : Prediction or path
        What `predict` has yielded, or the path of one scan, which is predicted here.
    model : Model or path
        A folder that `ssinfnet model pack` wrote; by default the one that comes with ssinfnet.

    Returns
    -------
    Viewer
        Shows itself in Jupyter, see `viewer.view`.

    Raises
    ------
    ValueError
        If the path holds several scans, or what it holds cannot be used.

    Examples
    --------
    >>> view_scan("scan.nii.gz")  # doctest: +SKIP
    """
    if not isinstance(scan, Prediction):
        predictions = predict(scan, model)
        scan, more = next(predictions), next(predictions, None)
        if more is not None:
            raise ValueError(
                f"there are several scans, {scan.name}, {more.name} …; give one, or a prediction "
                "that ssinfnet.predict has yielded"
            )
    slices = [scan.scan.grey(index, scan.window_hu) for index in range(len(scan.lesion))]
    shown = {"lesion": list(scan.lesion)}
    if scan.classes is not None:
        shown["classes"] = [np.stack([own == k for k in range(3)]).astype(np.uint8)
                            for own in scan.classes]  # fmt: skip
    names = [f"{scan.name}, slice {number}" for number in range(1, len(slices) + 1)]
    return view(slices, shown, threshold=scan.threshold, names=names)
