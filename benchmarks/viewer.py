"""How long the slice viewer takes to show another slice, against Matplotlib drawing the same.

A volume of 500 slices of 512 pixels, made of a few phantom slices, with one to three models beside
the slice, and the truth. Writes viewer.csv: milliseconds of processor time from the slider's move
until all pictures are ready to send (median and slowest), Matplotlib's for the same panels and the
truth in one PNG, the ratio of the medians, and the kilobytes that are sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from ssinfnet import plots
from ssinfnet.data import images
from ssinfnet.data.phantom import Findings, draw_patient
from ssinfnet.plots import viewer
from ssinfnet.plots.style import PANEL
from ssinfnet.storage import artifacts

HERE = Path(__file__).parent
SLICES, SIDE = 500, 512
DRAWN = 5  # slices of the phantom, repeated
MODELS = (1, 2, 3)
TURNS = 25
ILL = Findings(extent=0.2, consolidation_share=0.3)


def volume() -> tuple[list, list, list]:
    """Return slices, probabilities and truth."""
    levels = np.linspace(0.7, 0.3, DRAWN)
    drawn = draw_patient(np.random.default_rng(2021), levels, SIDE, ILL)
    truth = [np.asarray(one.label, dtype=np.uint8) for one in drawn]
    pictures = [images.window_hu(one.hu.astype(np.float32)) for one in drawn]
    maps = [gaussian_filter((mask > 0).astype(np.float32), 6).astype(np.float16) for mask in truth]
    return tuple(list(parts) * (SLICES // DRAWN) for parts in (pictures, maps, truth))


def milliseconds(step: Callable[[int], object], at: range) -> list[float]:
    """Return the processor time of each step; others on the machine do not count."""
    taken = []
    for place in at:
        began = time.process_time()
        step(place)
        taken.append(1000 * (time.process_time() - began))
    return taken


def measure(models: int, slices: list, maps: list, truth: list) -> dict[str, float]:
    """Time moves of the slider, and Matplotlib's drawing of the same panels."""
    names = [f"model {number}" for number in range(models)]
    shown = viewer.view(slices, dict.fromkeys(names, maps), truth)

    def move(place: int) -> None:
        shown.position.value = place

    def draw(place: int) -> None:
        labels = viewer.predicted_labels(maps[place], 0.5)
        figure = plots.plot_slices_by_model(
            [slices[place]], [truth[place]], dict.fromkeys(names, [labels])
        )
        figure.savefig(BytesIO(), format="png", dpi=SIDE / PANEL)
        plt.close(figure)

    move(1)
    ours, theirs = milliseconds(move, range(2, 2 + TURNS)), milliseconds(draw, range(2, 7))
    sent = sum(len(picture.value) for picture in shown.pictures.values())
    return {
        "models": models,
        "viewer_ms": np.median(ours),
        "slowest_ms": max(ours),
        "matplotlib_ms": np.median(theirs),
        "ratio": np.median(ours) / np.median(theirs),
        "sent_kb": sent / 1000,
    }


def main() -> None:
    given = volume()
    table = pd.DataFrame([measure(models, *given) for models in MODELS]).round(3)
    print(table.to_string(index=False))
    artifacts.write_text(HERE / "viewer.csv", table.to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    main()
