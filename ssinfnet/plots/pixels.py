"""One slice as pixels, quickly: what the viewer shows, drawn without Matplotlib."""

from __future__ import annotations

import io
from collections.abc import Collection
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image

from ssinfnet.plots.slices import CLASS_COLOURS, FILL, LABELS

__all__ = ["COLOURS", "TRUTH", "png", "render_slice"]

TRUTH = "truth"
TRUTH_COLOUR = "#F0E442"  # Okabe and Ito's yellow, which no class has
COLOURS = {**CLASS_COLOURS, TRUTH: TRUTH_COLOUR}
OUTLINE = 2  # pixels, inside the region


def render_slice(
    image: NDArray[Any],
    labels: NDArray[np.uint8] | None = None,
    truth: NDArray[np.uint8] | None = None,
    *,
    opacity: float = FILL,
    layers: Collection[str] = tuple(COLOURS),
    zoom: int = 1,
) -> NDArray[np.uint8]:
    """Draw a slice with its predicted lesion filled and the true one outlined.

    Parameters
    ----------
    image : (height, width) float array in [0, 1], or uint8
        Windowed slice; 0 is black.
    labels : (height, width) uint8 array, optional
        1 GGO, 2 consolidation, 255 lesion of unknown class.
    truth : (height, width) uint8 array, optional
        The same labels. Outlined by class where `labels` has classes, else as one lesion.
    opacity : float
        Opacity of the fill, 0 (none) to 1.
    layers : collection of str
        What to draw: any of ``GGO``, ``consolidation``, ``lesion`` and ``truth``.
    zoom : int
        Side of a pixel in the picture.

    Returns
    -------
    (zoom · height, zoom · width, 3) uint8 array
        Red, green, blue.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    for name, mask in (("labels", labels), (TRUTH, truth)):
        if mask is not None and mask.shape != image.shape:
            raise ValueError(f"{name} {mask.shape} and image {image.shape} must have equal shapes")
    picture = np.repeat(_grey(image)[..., None], 3, axis=2)
    by_class = labels is not None and bool(((labels == 1) | (labels == 2)).any())
    for label, name in LABELS.items():
        if labels is not None and name in layers:
            region = labels == label
            blend = (1 - opacity) * picture[region] + opacity * _rgb(name)
            picture[region] = np.rint(blend).astype(np.uint8)
    picture = _enlarged(picture, zoom)
    if truth is not None and TRUTH in layers:
        known = [label for label in LABELS if (truth == label).any()] if by_class else []
        for region in [truth == label for label in known] or [truth > 0]:
            picture[_edge(_enlarged(region, zoom))] = _rgb(TRUTH)
    return picture


def _enlarged(array: NDArray[Any], zoom: int) -> NDArray[Any]:
    return array if zoom == 1 else array.repeat(zoom, axis=0).repeat(zoom, axis=1)


def _grey(image: NDArray[Any]) -> NDArray[np.uint8]:
    if image.dtype == np.uint8:
        return image
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _rgb(name: str) -> NDArray[np.float64]:
    return np.rint(np.array(to_rgb(COLOURS[name])) * 255)


def _edge(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels of a region that lie at its border; the picture's own is none."""
    inner = region
    for _ in range(OUTLINE):
        smaller = inner.copy()
        smaller[1:] &= inner[:-1]
        smaller[:-1] &= inner[1:]
        smaller[:, 1:] &= inner[:, :-1]
        smaller[:, :-1] &= inner[:, 1:]
        inner = smaller
    return region & ~inner


def png(picture: NDArray[np.uint8]) -> bytes:
    """Encode a picture as PNG, at the least compression, which is the fastest to look through.

    Parameters
    ----------
    picture : (height, width, 3) uint8 array
        One without colour is stored as grey.
    """
    if (picture == picture[..., :1]).all():
        picture = picture[..., 0]
    encoded = io.BytesIO()
    Image.fromarray(picture).save(encoded, format="PNG", compress_level=1)
    return encoded.getvalue()
