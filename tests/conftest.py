"""What all tests share: one thread, one checkout, and the real data where they are."""

from __future__ import annotations

import os
from pathlib import Path

# Before numpy and torch start their threads: several processes of tests share the processors.
os.environ["OMP_NUM_THREADS"] = "1"

import matplotlib
import numpy as np
import pytest

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


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, or a skip that says why."""
    folder = Path(os.environ.get("SSINFNET_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set SSINFNET_DATA to their folder")
    return folder
