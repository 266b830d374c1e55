"""The same numbers, to the digits that tables print, whatever the number of threads.

That two runs of a whole study give the same bytes is shown in test_pipeline.
"""

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import torch

from ssinfnet import inference, mediation, networks
from ssinfnet.data import batches
from ssinfnet.study.paths import project_root

CPU = torch.device("cpu")


def predicted() -> str:
    """Return scores of an untrained network over random slices, as tables print them."""
    rng = np.random.default_rng(3)
    slices = batches.SliceSet.of(rng.integers(0, 255, (6, 96, 96)).astype(np.uint8))
    network = networks.seeded(0, networks.build_single, "infnet", 0.125)
    sizes = [(96, 96)] * 6
    maps = inference.predict(network, slices, sizes, batch_size=4, device=CPU)
    rows = []
    for map_ in maps:
        truth = rng.random(map_[0].shape) < 0.3
        found = map_[0].astype(np.float64)
        chosen = found > np.median(found)
        rows.append((found.mean(), 2 * (chosen & truth).sum() / (chosen.sum() + truth.sum())))
    return pd.DataFrame(rows, columns=["mean", "F1"]).to_string(float_format="%.3f")


def mediated() -> str:
    """Return what a mediation of R's reference cohort prints."""
    table = pd.read_csv(project_root() / "tests" / "reference" / "simulated.csv")
    mediators = ["m1", "m2", "m3", "m4"]
    found = mediation.mediate(table, ["x1", "x2"], "y", mediators, draws=100, seed=1)
    return found.table.to_string(float_format="%.4g")


def main() -> None:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    assert torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"])
    sys.stdout.write(f"{predicted()}\n{mediated()}\n")


def test_one_thread_and_two_print_the_same_numbers():
    printed = []
    for threads in ("1", "2"):
        environment = os.environ | {
            name: threads for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
        }
        environment["PYTHONPATH"] = str(project_root())
        run = subprocess.run(
            [sys.executable, __file__], env=environment, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr[-2000:]
        printed.append(run.stdout)
    assert len(printed[0].splitlines()) > 8
    assert printed[0] == printed[1]


if __name__ == "__main__":
    main()
