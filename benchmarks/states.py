"""What states on disk cost a training: never, as the defaults have it, and after every epoch.

`python benchmarks/states.py [--width 0.25] [--seconds 180]` writes states.csv. Inf-Net trains on
50 slices of 64 px three ways, one after another and each for the same time, on the device that
`training` would take. What a state takes, copying and writing, is counted as cost even where it
went on beside the training, so `share` is the most that writing can have cost; `ratio_to_never` is
of the median seconds of an epoch, and drifts with the machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import timed_training
import torch

from ssinfnet import networks
from ssinfnet.data.batches import SliceSet
from ssinfnet.storage import artifacts
from ssinfnet.study.config import TrainingConfig
from ssinfnet.training import fitting, segmentation
from ssinfnet.training.runs import Run

SLICES = 50
SIZE = 64
NEVER = 1e9  # seconds
WAYS = {"never": NEVER, "default": None, "every epoch": 0.0}


def slices(rng: np.random.Generator, number: int) -> SliceSet:
    """Return slices of noise, a third of it lesion."""
    images = rng.integers(0, 256, (number, SIZE, SIZE), dtype=np.uint8)
    return SliceSet.of(images, (images > 170).astype(np.uint8))


def measure(state_seconds: float | None, width: float, seconds: float) -> dict[str, float]:
    """Train for some seconds; return what an epoch and what writing states took."""
    rng = np.random.default_rng(0)
    network = networks.seeded(1, networks.build_single, "infnet", width)
    config = TrainingConfig(
        epochs=100_000,
        learning_rate=1e-4,
        scales=(1.0,),
        validate_every=5,
        state_seconds=state_seconds,
    )
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        timed_training.until(lambda ends: ends[-1] - began > seconds) as seen,
    ):
        segmentation.fit_single(
            network,
            slices(rng, SLICES),
            slices(rng, 10),
            config,
            run=Run(seed=1),
            folder=Path(folder),
        )
    took = time.perf_counter() - began  # a state that was being written at the end included
    ends, writer = seen.ends, seen.writer
    return {
        "epochs": len(ends),
        "epoch_seconds": float(np.median(np.diff(ends))),
        "mean_epoch_seconds": float(np.mean(np.diff(ends))),
        "states": writer.states,
        "state_seconds": writer.busy_seconds / writer.states if writer.states else float("nan"),
        "share": writer.busy_seconds / took,
    }


def main() -> None:
    """Measure each way, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = fitting.best_device().type
    rows = []
    for way, state_seconds in WAYS.items():
        row = {"states_written": way, **measure(state_seconds, options.width, options.seconds)}
        print(row, flush=True)
        rows.append({**row, "width": options.width, "device": device})
    table = pd.DataFrame(rows)
    table.insert(4, "ratio_to_never", table["epoch_seconds"] / table["epoch_seconds"].iloc[0])
    name = "states_cuda.csv" if device == "cuda" else "states.csv"
    artifacts.write_text(Path(__file__).with_name(name), table.round(4).to_csv(index=False))


if __name__ == "__main__":
    main()
