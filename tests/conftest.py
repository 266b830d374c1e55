"""What all tests share: one thread, one checkout, and the real data where they are."""

from __future__ import annotations

import os
from pathlib import Path

# Before numpy and torch start their threads: several processes of tests share the processors.
os.environ["OMP_NUM_THREADS"] = "1"

import matplotlib
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("SSINFNET_ROOT", str(ROOT))
matplotlib.use("Agg")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2021)


@pytest.fixture
def square_slices(rng):
    """Twelve 64 px slices, each with one bright square that is the lesion."""
    images = rng.integers(0, 100, (12, 64, 64)).astype(np.uint8)
    masks = np.zeros_like(images)
    for image, mask, (row, column) in zip(images, masks, rng.integers(4, 40, (12, 2)), strict=True):
        mask[row : row + 16, column : column + 16] = 1
        image[row : row + 16, column : column + 16] += 80
    return images, masks


@pytest.fixture
def clinic():
    """240 patients whose age and diseases act on severity by way of ground glass."""
    rng = np.random.default_rng(4)
    n = 240
    age = rng.normal(50, 15, n)
    diseases = rng.poisson(0.8, n)
    area = 4000 + 60 * age + 500 * diseases + rng.normal(0, 900, n)
    entropy = 2 + 0.01 * age + rng.normal(0, 0.4, n)
    severity = 0.0004 * area + 0.5 * entropy + 0.01 * age + rng.normal(size=n)
    return pd.DataFrame(
        {
            "age": age,
            "n_diseases": diseases,
            "gender": rng.integers(0, 2, n),
            "hospital": rng.choice(["Union", "Liyuan"], n),
            "ggo_area": area,
            "ggo_entropy": entropy,
            "ggo_skewness": rng.normal(size=n),
            "severity": severity,
            "infected": (severity > np.quantile(severity, 0.3)).astype(int),
            "grade": np.digitize(severity, np.quantile(severity, [0.5, 0.85])),
        },
        index=[f"patient_{i}" for i in range(n)],
    )


@pytest.fixture(scope="session")
def html_cells():
    """Return a function that reads the texts of the first table of a page, cell by cell."""

    def read(page: str) -> pd.DataFrame:
        table = BeautifulSoup(page, "html.parser").table
        names = [cell.get_text() for cell in table.select("thead tr:last-child th")]
        rows = [[cell.get_text() for cell in row.select("th, td")]
                for row in table.select("tbody tr")]  # fmt: skip
        return pd.DataFrame(rows, columns=names, dtype="str")

    return read


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, or a skip that says why."""
    folder = Path(os.environ.get("SSINFNET_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set SSINFNET_DATA to their folder")
    return folder
