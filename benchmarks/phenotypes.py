"""How many masks a second are measured, against PyRadiomics' own extractor in a loop.

Both measure the 68 features of round masks in textured 512 px slices, in one run, on one core; then
two processes share what one did. Writes phenotypes.csv: masks a second, and the ratios.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK
from numpy.typing import NDArray
from radiomics.featureextractor import RadiomicsFeatureExtractor
from scipy.ndimage import gaussian_filter

from ssinfnet.patients.phenotypes import FAMILIES, FEATURES, measure_mask
from ssinfnet.patients.phenotypes.catalogue import AREA, TWINS
from ssinfnet.storage import artifacts
from ssinfnet.study.config import TextureConfig

SIZES = (500, 5_000, 50_000)  # pixels of a mask
PIXELS, MASKS, SEED = 512, 12, 1

Pair = tuple[NDArray[np.uint8], NDArray[np.bool_]]


def pairs(pixels: int) -> list[Pair]:
    """Return slices, each with a disk of about so many pixels."""
    rng = np.random.default_rng(SEED)
    radius = np.sqrt(pixels / np.pi)
    rows, columns = np.indices((PIXELS, PIXELS))
    made = []
    for _ in range(MASKS):
        noise = gaussian_filter(rng.normal(size=(PIXELS, PIXELS)), 2)
        centre = rng.uniform(radius + 1, PIXELS - radius - 1, 2)
        mask = np.hypot(rows - centre[0], columns - centre[1]) < radius
        image = np.rint((noise - noise.min()) / np.ptp(noise) * 255).astype(np.uint8)
        made.append((image, mask))
    return made


def naive() -> Callable[[Pair], object]:
    """Return what measures a mask as PyRadiomics' documentation shows."""
    extractor = RadiomicsFeatureExtractor(binWidth=25, force2D=True, additionalInfo=False)
    extractor.disableAllFeatures()
    left_out = {AREA, *TWINS}
    extractor.enableFeaturesByName(
        **{
            family: [f.name for f in FEATURES if f.family == family and f.key not in left_out]
            for family in FAMILIES
        }
    )

    def measure(pair: Pair) -> object:
        image, mask = (SimpleITK.GetImageFromArray(part[None].astype(np.uint8)) for part in pair)
        return extractor.execute(image, mask)

    return measure


def ours(pair: Pair) -> object:
    """Measure a mask."""
    return measure_mask(*pair, TextureConfig(lower_bound=None))


def rate(measure: Callable[[Pair], object], given: list[Pair]) -> float:
    """Return masks a second."""
    measure(given[0])
    began = time.perf_counter()
    for pair in given:
        measure(pair)
    return len(given) / (time.perf_counter() - began)


def _rate_of_ours(pixels: int, rounds: int) -> float:
    return rate(ours, pairs(pixels) * rounds)


def main() -> None:
    """Measure all sizes and write the table."""
    logging.getLogger("radiomics").setLevel(logging.CRITICAL)
    rows = []
    for pixels in SIZES:
        given = pairs(pixels)
        row = {"pixels": pixels, "pyradiomics": rate(naive(), given), "ours": rate(ours, given * 4)}
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            row["two_processes"] = sum(pool.map(_rate_of_ours, [pixels] * 2, [8] * 2))
        row |= {
            "ratio": row["ours"] / row["pyradiomics"],
            "scaling": row["two_processes"] / row["ours"],
        }
        rows.append(row)
        print({name: round(value, 2) for name, value in row.items()}, flush=True)
    table = pd.DataFrame(rows).round(2)
    artifacts.write_text(Path(__file__).with_name("phenotypes.csv"), table.to_csv(index=False))


if __name__ == "__main__":
    main()
