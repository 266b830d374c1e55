"""What one notebook costs beyond its own imports and work: process, papermill and kernel.

Runs a notebook that does nothing, through the same command as the Snakefile, against
`python -c pass`; writes notebooks.csv.
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

from ssinfnet.storage import artifacts

REPEATS = 5


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
            nbformat.v4.new_code_cell("study"),
        ]
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
        book.metadata["language_info"] = {"name": "python"}
        path = Path(folder) / "empty.ipynb"
        nbformat.write(book, path)
        run = [
            sys.executable,
            "-m",
            "ssinfnet.engine.notebook_runs",
            str(path),
            f"{folder}/out.ipynb",
        ]
        bare, notebook = seconds([sys.executable, "-c", "pass"]), seconds(run)
    table = pd.DataFrame(
        {
            "what": ["python -c pass", "an empty notebook"],
            "seconds": [round(bare, 2), round(notebook, 2)],
            "ratio": [1.0, round(notebook / bare, 1)],
        }
    )
    print(table.to_string(index=False))
    artifacts.write_text(Path(__file__).with_name("notebooks.csv"), table.to_csv(index=False))


if __name__ == "__main__":
    main()
