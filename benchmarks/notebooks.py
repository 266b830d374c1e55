"""What one notebook costs before its own work: processes, papermill, kernel and imports.

Runs a notebook that only imports what trainings import, by the command of the Snakefile, as it
starts by itself and as it is forked (`engine.warm_start`), against `python -c pass`; writes
notebooks.csv.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import pandas as pd

from ssinfnet.engine import warm_start
from ssinfnet.storage import artifacts

REPEATS = 5
IMPORTS = "from ssinfnet import plots\nfrom ssinfnet.training import stages"


def seconds(command: list[str]) -> float:
    """Return the median wall-clock time of a command."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    """Measure and write the table."""
    with tempfile.TemporaryDirectory() as folder:
        book = nbformat.v4.new_notebook()
        tags = {"tags": ["parameters"]}
        book.cells = [
            nbformat.v4.new_code_cell('study: str = "smoke"', metadata=tags),
            nbformat.v4.new_code_cell(IMPORTS),
            nbformat.v4.new_code_cell("plots.training, stages.train_single"),
        ]
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        book.metadata["language_info"] = {"name": "python"}
        path = Path(folder) / "imports.ipynb"
        nbformat.write(book, path)
        module = ["-m", "ssinfnet.engine.notebook_runs"]
        run = [sys.executable, *module, str(path), f"{folder}/out.ipynb"]
        bare, cold = seconds([sys.executable, "-c", "pass"]), seconds(run)
        began = time.perf_counter()
        server = warm_start.start()
        assert server is not None, "only Linux forks"
        subprocess.run(run, check=True, capture_output=True)
        first = time.perf_counter() - began
        forked = seconds(run)
    taken = {
        "python -c pass": bare,
        "a notebook that imports what trainings import": cold,
        "the first that is forked, with its server": first,
        "one that is forked": forked,
    }
    table = pd.DataFrame({"what": list(taken), "seconds": list(taken.values())})
    table["ratio"] = (table["seconds"] / bare).round(1)
    table["seconds"] = table["seconds"].round(2)
    print(table.to_string(index=False))
    artifacts.write_text(Path(__file__).with_name("notebooks.csv"), table.to_csv(index=False))


if __name__ == "__main__":
    main()
