"""How time and memory of listing and preparing slices grow with their number.

Volumes of noise, smoothed so that no two slices look alike, and pictures in iCTCF's layout, 150 a
patient, whole or at most five a patient (`slices_per_patient`), are listed, split, decoded, resized
and compared, each number of slices in a process of its own. All pictures of a patient are one file
with many names, since 200,000 files of their own would measure the disk. Writes preparation.csv:
seconds of listing (`slices_per_patient` included) and of preparing, the most memory that is the
process's own (mapped arrays are the system's to drop), ratios to the smallest number, and the
exponent that fits all seconds best, 1 where they grow linearly.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter

from ssinfnet.data import cohort, preparation
from ssinfnet.storage import artifacts
from ssinfnet.study.config import DataConfig, MultiConfig, SourceConfig, Study
from ssinfnet.study.paths import DATA_VARIABLE, StudyPaths

COUNTS = {
    "volumes": (1_250, 2_500, 5_000, 10_000),
    "pictures": (2_000, 20_000, 200_000),
    "five": (2_000, 20_000, 200_000),  # listed, of which 5 of 150 are prepared
}
PIXELS, OF_A_VOLUME, SIZE = 256, 125, 352
SMALL, OF_A_PATIENT = 64, 150  # of pictures


def noise(seed: int, pixels: int, slices: int) -> np.ndarray:
    """Return slices in Hounsfield units that look like no others."""
    waves = np.random.default_rng(seed).normal(size=(pixels, pixels, slices))
    waves = gaussian_filter(waves, (pixels / 28, pixels / 28, 0))
    return np.rint(waves / waves.std() * 300 - 500).astype(np.int16)


def write_volumes(folder: Path, slices: int, pixels: int, of_a_volume: int) -> None:
    """Write volumes and lesion masks as NIfTI."""
    for number in range(slices // of_a_volume):
        hu = noise(number, pixels, of_a_volume)
        for part, voxels in (("images", hu), ("lesions", (hu > 100).astype(np.uint8))):
            path = folder / part / f"v{number:03d}.nii"
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(voxels, np.eye(4)), path)


def write_pictures(folder: Path, slices: int) -> None:
    """Write patients in iCTCF's layout, and labelled volumes, without which nothing is split."""
    write_volumes(folder / "labelled", 32, SMALL, 4)
    for number in range(1, slices // OF_A_PATIENT + 1):
        patient = folder / "ictcf" / f"Patient {number}"
        patient.mkdir(parents=True)
        grey = np.clip((noise(10_000 + number, SMALL, 1)[..., 0] + 1000) / 1400, 0, 1) * 255
        Image.fromarray(grey.astype(np.uint8)).save(patient / "0.jpg")
        for index in range(1, OF_A_PATIENT):
            os.link(patient / "0.jpg", patient / f"{index}.jpg")


def study_of(layout: str) -> Study:
    """Return the study that reads a layout."""
    volumes = SourceConfig(name="volumes", folder="." if layout == "volumes" else "labelled")
    few = 5 if layout == "five" else None
    patients = SourceConfig(name="ictcf", folder="ictcf", slices_per_patient=few)
    sources = (volumes,) if layout == "volumes" else (volumes, patients)
    return Study(
        name="bench",
        description="",
        image_size=SIZE if layout == "volumes" else SMALL,
        data=DataConfig(sources=sources),
        multi=MultiConfig(models=(), oracle_models=()),
    )


def prepare(folder: Path, layout: str) -> None:
    """List, split and prepare the slices of a folder; print seconds of both, slices and MiB."""
    os.environ[DATA_VARIABLE] = str(folder)
    study = study_of(layout)
    paths = StudyPaths("bench", folder / "out")
    with watched_memory() as most:
        began = time.perf_counter()
        built = cohort.build(study, cohort.source_folder(study, paths))
        listed = time.perf_counter()
        preparation.prepare_slices(built, study, paths.cohort, {})
        prepared = time.perf_counter()
    built.save(paths.cohort, {})
    print(f"{listed - began} {prepared - listed} {len(built.slices)} {most[0]}")


@contextmanager
def watched_memory() -> Iterator[list[float]]:
    """Give a list of one number: the most memory in MiB that is the process's own until the end."""
    most, done = [_own_mib()], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            most[0] = max(most[0], _own_mib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        done.set()
        watcher.join()


def _own_mib() -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("/proc/self/status has no RssAnon; this benchmark needs Linux")


def prepared_elsewhere(folder: str, layout: str) -> list[float]:
    """Return what `prepare` prints, in a process of its own."""
    words = [sys.executable, __file__, "--prepare", folder, "--layout", layout]
    said = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
    return [float(number) for number in said.splitlines()[-1].split()]


def measure(layout: str, slices: int) -> dict[str, float | str]:
    """Return seconds and MiB of preparing so many slices in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        if layout == "volumes":
            write_volumes(Path(folder), slices, PIXELS, OF_A_VOLUME)
        else:
            write_pictures(Path(folder), slices)
        listing, preparing, prepared, mib = prepared_elsewhere(folder, layout)
    return {"layout": layout, "listed": slices, "prepared": int(prepared),
            "listing_seconds": listing, "preparing_seconds": preparing, "own_mib": mib}  # fmt: skip


def ratios(rows: list[dict[str, float | str]]) -> pd.DataFrame:
    """Return a layout's rows with ratios to the first, and the exponent of all seconds."""
    table = pd.DataFrame(rows)
    for name in ("listing_seconds", "preparing_seconds", "own_mib"):
        table[f"{name}_ratio"] = table[name] / table[name].iloc[0]
    seconds = table["listing_seconds"] + table["preparing_seconds"]
    slope = np.polyfit(np.log(table["listed"]), np.log(seconds), 1)[0]
    return table.assign(fitted_exponent=slope).round(3)


def main() -> None:
    """Measure the layouts that are asked for, or all, and write their rows of the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prepare", type=Path)
    parser.add_argument("--layout", choices=COUNTS, action="append")
    asked = parser.parse_args()
    if asked.prepare:
        prepare(asked.prepare, asked.layout[0])
        return
    path = Path(__file__).with_name("preparation.csv")
    for layout in asked.layout or COUNTS:
        rows = []
        for slices in COUNTS[layout]:
            rows.append(measure(layout, slices))
            print(rows[-1], flush=True)
        others = pd.read_csv(path) if path.is_file() else pd.DataFrame({"layout": []})
        table = pd.concat([others[others["layout"] != layout], ratios(rows)])
        table = table.astype({"listed": int, "prepared": int})
        artifacts.write_text(path, table.to_csv(index=False))


if __name__ == "__main__":
    main()
