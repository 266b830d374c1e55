"""Whether the smoke study survives SIGKILL: killed at random moments, gone on, compared.

One undisturbed run, then runs that are killed again and again until enough kills are counted; each
then runs to its end and its tables are compared byte by byte, timings apart. Writes kills.csv.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from ssinfnet.storage import artifacts

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import interrupted

BETWEEN_S = (5.0, 45.0)  # a run gets on a while between two kills
IN_PHASE_S = 4.0  # a kill comes so long after its phase has begun, at most
MOST_IN_A_RUN = 7


def disturbed(root: Path, wanted: int, rng: np.random.Generator, target: list[str]) -> list[dict]:
    """Run once, killed `wanted` times or until it is done; return a row a kill."""
    rows = []
    interrupted.checkout(root)
    running, began = interrupted.snakemake(root, *target), time.perf_counter()
    while len(rows) < wanted:
        phase = str(rng.choice(interrupted.PHASES))
        whole = bool(rng.integers(2))
        if phase != "snakemake":  # alone at the start and at the end only
            time.sleep(rng.uniform(*BETWEEN_S))
        left = interrupted.kill(running, root, rng.uniform(0, IN_PHASE_S), phase, whole)
        if left.phase == "finished":
            break
        moment = time.perf_counter() - began
        rows.append(
            {
                "moment_s": round(moment, 1),
                "killed": "process group" if whole else "snakemake alone",
                "phase": left.phase,
                "seconds_to_end": left.seconds_to_end,
                "orphans": left.orphans,
            }
        )
        print(rows[-1], flush=True)
        running = interrupted.recover(root, *target)
    if running.wait():
        raise RuntimeError((root / "snakemake.log").read_text()[-3000:])
    return rows


def main() -> None:
    """Kill, compare and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=2021)
    parser.add_argument("--target", nargs="*", default=[], help="a file; the whole study if none")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    folder = Path(tempfile.mkdtemp(prefix="kills"))
    try:
        reference = interrupted.checkout(folder / "undisturbed")
        interrupted.finish(reference, *options.target)
        rows: list[dict] = []
        while len(rows) < options.kills:
            root = folder / f"run{len(rows)}"
            wanted = min(MOST_IN_A_RUN, options.kills - len(rows))
            kills = disturbed(root, wanted, rng, options.target)
            different = interrupted.different(reference, root)
            print(f"tables that differ: {different}", flush=True)
            rows += [{**kill, "identical": not different} for kill in kills]
            shutil.rmtree(root)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    artifacts.write_text(Path(__file__).with_name("kills.csv"), table.to_csv(index=False))


if __name__ == "__main__":
    main()
