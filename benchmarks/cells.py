"""Tables that are measured cell by cell and resumed after an interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pandas as pd

from ssinfnet.storage import artifacts

__all__ = ["write_by_cell"]

STORED = Path(__file__).parents[1] / "papermill_runs" / "benchmarks"


def write_by_cell(
    target: Path,
    cells: Iterable[Mapping[str, object]],
    measure: Callable[..., list[dict[str, object]]],
) -> pd.DataFrame:
    """Write the rows of all cells into a table, each cell stored as soon as it is measured.

    Stored cells are not measured again when the same table is begun anew before it was written.

    Parameters
    ----------
    target : Path
        The CSV; cells lie in papermill_runs/benchmarks under its name until it is there.
    cells : iterable of dict
        What tells a cell, passed to `measure` by name.
    measure : callable
        Returns a cell's rows, which follow what tells the cell.

    Returns
    -------
    DataFrame
        In the order of the cells, rounded to 5 digits.
    """
    files = []
    for cell in cells:
        told = "_".join(str(value).replace(" ", "-") for value in cell.values())
        files.append(STORED / f"{target.stem}_{told}.csv")
        if not files[-1].exists():
            rows = pd.DataFrame([{**cell, **row} for row in measure(**cell)]).round(5)
            artifacts.write_text(files[-1], rows.to_csv(index=False))
        print(files[-1].read_text(encoding="utf-8"), flush=True)
    table = pd.concat([pd.read_csv(file) for file in files], ignore_index=True)
    artifacts.write_text(target, table.to_csv(index=False, lineterminator="\n"))
    for file in files:
        file.unlink()
    return table
