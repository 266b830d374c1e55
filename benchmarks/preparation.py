"""How time and memory of preparing slices grow with their number.

Volumes of noise, smoothed so that no two slices look alike, are listed, split, decoded, resized and
compared, each number of slices in a process of its own. Writes preparation.csv: seconds and most
memory that is the process's own (mapped arrays are the system's to drop), the ratio to the smallest
number, and the exponent that fits the times best, 1 where they grow linearly.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

from ssinfnet.data import cohort, preparation
from ssinfnet.storage import artifacts
from ssinfnet.study.config import DataConfig, SourceConfig, Study
from ssinfnet.study.paths import DATA_VARIABLE, StudyPaths

COUNTS = (1_250, 2_500, 5_000, 10_000)
PIXELS, OF_A_VOLUME, SIZE = 256, 125, 352


def write_volumes(folder: Path, slices: int) -> None:
    """Write volumes and lesion masks as NIfTI."""
    for number in range(slices // OF_A_VOLUME):
        rng = np.random.default_rng(number)
        noise = gaussian_filter(rng.normal(size=(PIXELS, PIXELS, OF_A_VOLUME)), (9, 9, 0))
        hu = np.rint(noise / noise.std() * 300 - 500).astype(np.int16)
        for part, voxels in (("images", hu), ("lesions", (hu > 100).astype(np.uint8))):
            path = folder / part / f"v{number:03d}.nii"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)


def prepare(folder: Path) -> None:
    """List, split and prepare the volumes of a folder; print seconds and MiB."""
    os.environ[DATA_VARIABLE] = str(folder)
    study = Study(
        name="bench", description="", image_size=SIZE,
        data=DataConfig(sources=(SourceConfig(name="volumes", folder="."),)),
    )  # fmt: skip
    paths = StudyPaths("bench", folder / "out")
    most, done = [_own_mib()], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            most[0] = max(most[0], _own_mib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.perf_counter()
    built = cohort.build(study, cohort.source_folder(study, paths))
    preparation.prepare_slices(built, study, paths.cohort, {})
    seconds = time.perf_counter() - began
    done.set()
    watcher.join()
    print(f"{seconds} {most[0]}")


def _own_mib() -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no RssAnon; this benchmark needs Linux")


def measure(slices: int) -> dict[str, float]:
    """Return seconds and MiB of preparing so many slices in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        write_volumes(Path(folder), slices)
        child = subprocess.run(
            [sys.executable, __file__, "--prepare", folder],
            check=True, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
    seconds, mib = map(float, child.stdout.splitlines()[-1].split())
    return {"slices": slices, "seconds": seconds, "own_mib": mib}


def main() -> None:
    """Measure all numbers and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prepare", type=Path)
    asked = parser.parse_args()
    if asked.prepare:
        prepare(asked.prepare)
        return
    rows = []
    for slices in COUNTS:
        rows.append(measure(slices))
        print({name: round(value, 1) for name, value in rows[-1].items()}, flush=True)
    table = pd.DataFrame(rows)
    for name in ("seconds", "own_mib"):
        table[f"{name}_ratio"] = table[name] / table[name].iloc[0]
    slope = np.polyfit(np.log(table["slices"]), np.log(table["seconds"]), 1)[0]
    table = table.assign(fitted_exponent=slope).round(3)
    artifacts.write_text(Path(__file__).with_name("preparation.csv"), table.to_csv(index=False))


if __name__ == "__main__":
    main()
