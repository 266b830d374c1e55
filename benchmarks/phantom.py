"""How fast the phantom is drawn and written: slices per second on one core.

Run ``python benchmarks/phantom.py``. The aim is 200 slices of 128 pixels in under 10 s of processor
time, so that `demo` spends its minutes on training.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from ssinfnet.data.phantom import Findings, draw_patient, write_phantom
from ssinfnet.study.config import PhantomConfig

ILL = Findings(extent=0.15, consolidation_share=0.3)


def draw(size: int, patients: int, slices: int) -> int:
    levels = np.linspace(0.8, 0.2, slices) if slices > 1 else [0.5]
    for number in range(patients):
        draw_patient(np.random.default_rng(number), levels, size, ILL)
    return patients * slices


def write(size: int) -> int:
    config = PhantomConfig(size=size)
    with tempfile.TemporaryDirectory() as folder:
        write_phantom(Path(folder) / "raw", config)
    volumes = config.volumes + config.small_site_volumes
    singles = config.single_slices + config.small_site_train + config.small_site_test
    return volumes * config.slices_per_volume + singles


def main() -> None:
    cases = {
        "200 one-slice patients, 128 px": lambda: draw(128, 200, 1),
        "10 patients x 20 slices, 128 px": lambda: draw(128, 10, 20),
        "2 patients x 20 slices, 512 px": lambda: draw(512, 2, 20),
        "all files of the default study, 128 px": lambda: write(128),
    }
    draw(128, 1, 1)  # imports and caches
    rows = []
    for name, run in cases.items():
        wall, processor = time.perf_counter(), time.process_time()
        slices = run()
        processor, wall = time.process_time() - processor, time.perf_counter() - wall
        rows.append((name, slices, wall, processor, slices / processor))
    columns = ["case", "slices", "wall_s", "processor_s", "slices_per_processor_s"]
    print(pd.DataFrame(rows, columns=columns).round(2).to_markdown(index=False))


if __name__ == "__main__":
    main()
