"""How much memory it takes to segment a cohort: as many slices as iCTCF has, 512 px each.

Networks that hardly learnt segment copies of a few slices of noise, each number of slices in a
process of its own; what a slice shows changes neither time nor memory. The last row is of networks
and slices at the paper's size. Writes cohort.csv: most resident memory, libraries included, seconds
a slice, and bytes a slice on disk.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ssinfnet import networks
from ssinfnet.data import slice_sets
from ssinfnet.inference import cohort_maps
from ssinfnet.storage import artifacts
from ssinfnet.study.config import MultiTrainingConfig, TrainingConfig
from ssinfnet.study.models import MULTI_MODELS
from ssinfnet.study.paths import StudyPaths
from ssinfnet.training import segmentation
from ssinfnet.training.runs import Run

PIXELS, DRAWN = 512, 8
CASES = ((640, 96, 0.125), (6_654, 96, 0.125), (64, 352, 1.0))  # slices, network's px, width
CPU = torch.device("cpu")


def prepared(folder: Path, slices: int, size: int) -> tuple[StudyPaths, pd.DataFrame]:
    """Write the prepared arrays of a cohort, and return its rows."""
    paths = StudyPaths("bench", folder)
    paths.cohort.mkdir(parents=True)
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 256, (DRAWN, size, size), dtype=np.uint8)
    masks = (grey > 200).astype(np.uint8)
    for name, drawn in (("images", grey), ("masks", masks)):
        whole = np.lib.format.open_memmap(
            paths.cohort / f"{name}.npy", "w+", np.uint8, (slices, size, size)
        )
        for number in range(slices):
            whole[number] = drawn[number % DRAWN]
        whole.flush()
    return paths, rows_of(slices)


def rows_of(slices: int) -> pd.DataFrame:
    """Return what segmenting needs of a cohort's rows."""
    names = [f"s{number:05d}" for number in range(slices)]
    return pd.DataFrame({"slice_id": names, "patient_id": names, "height": PIXELS, "width": PIXELS})


def train(paths: StudyPaths, rows: pd.DataFrame, width: float) -> None:
    """Train both stages for a step on a few slices, so that there is something to load."""
    few = slice_sets.single_slices(rows.iloc[:2], paths)
    for model in ("sinfnet", "ssinfnet"):
        segmentation.fit_single(
            networks.seeded(1, networks.build_single, "infnet", width),
            few,
            few,
            TrainingConfig(epochs=1, batch_size=2, scales=(1.0,)),
            run=Run(model=model, width=width),
            folder=paths.single(model, 0, 1),
            device=CPU,
        )
    both = replace(few, priors=few.images)
    segmentation.fit_multi(
        networks.seeded(1, networks.build_multi, "unet", True, width),
        both,
        both,
        MultiTrainingConfig(epochs=1, batch_size=2),
        MULTI_MODELS["ssinfnet"],
        run=Run(stage="multi", model="ssinfnet", width=width, prior="predicted"),
        folder=paths.multi("ssinfnet", 0, 1),
        device=CPU,
    )


def segment(folder: Path, slices: int, size: int) -> None:
    """Segment the slices of a folder where networks are trained; print what it took."""
    paths = StudyPaths("bench", folder)
    rows = rows_of(slices)
    began = time.perf_counter()
    chunks = cohort_maps.segment_cohort(
        paths,
        rows,
        folder / "maps",
        image_size=size,
        single_model="ssinfnet",
        multi_model="ssinfnet",
        device=CPU,
    )
    taken = {
        "seconds_a_slice": (time.perf_counter() - began) / slices,
        "most_mib": _most_mib(),
        "bytes_a_slice": sum(chunk.stat().st_size for chunk in chunks) / slices,
    }
    print(json.dumps(taken))


def _most_mib() -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no VmHWM; this benchmark needs Linux")


def measure(slices: int, size: int, width: float) -> dict[str, float]:
    """Train here, segment in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        train(*prepared(Path(folder), slices, size), width)
        asked = ["--segment", folder, str(slices), str(size)]
        child = subprocess.run(
            [sys.executable, __file__, *asked], check=True, stdout=subprocess.PIPE, text=True
        )
    taken = json.loads(child.stdout.splitlines()[-1])
    return {"slices": slices, "network_px": size, "width": width, **taken}


def main() -> None:
    """Measure all cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segment", nargs=3)
    asked = parser.parse_args()
    if asked.segment:
        folder, slices, size = asked.segment
        segment(Path(folder), int(slices), int(size))
        return
    rows = []
    for case in CASES:
        rows.append(measure(*case))
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows).round(3)
    artifacts.write_text(Path(__file__).with_name("cohort.csv"), table.to_csv(index=False))


if __name__ == "__main__":
    main()
