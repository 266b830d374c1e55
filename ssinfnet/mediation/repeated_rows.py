"""Say where rows of a table repeat each other, though nothing says that they are one patient's."""

from __future__ import annotations

import pandas as pd

__all__ = ["repeated_rows"]

TELLING = 0.5  # share of different rows with values of their own, in a column that tells patients
FEWEST = 0.25  # of all rows, likewise
FINE = 10  # times as many whole numbers as rows within a range, from which whole numbers are fine


def repeated_rows(table: pd.DataFrame) -> tuple[str, ...]:
    """Return what is told of rows that repeat another in all columns (D-109).

    Copies make every p and interval too sure. Nothing is told where the index names the patients,
    or where no column is measured finely: of sex, age and stage alone many patients are alike.

    Parameters
    ----------
    table : DataFrame
        One row a patient.
    """
    if table.index.name is not None and not isinstance(table.index, pd.RangeIndex):
        return ()
    values = [
        column.astype("str") if column.dtype == object else column for _, column in table.items()
    ]
    repeated = pd.concat(values, axis=1).duplicated() if values else pd.Series(dtype=bool)
    if not repeated.any():
        return ()
    rest = table[~repeated.to_numpy()].select_dtypes("number")
    if not any(_tells_apart(rest[name], len(table)) for name in rest):
        return ()
    return (
        f"{int(repeated.sum())} of {len(table)} rows repeat another one exactly, in all "
        f"{table.shape[1]} columns: drop them if they are copies (drop_duplicates() in Python); if "
        "a patient has several rows, name what they share (--patient ID to see it, --cluster ID "
        "for the analysis)",
    )


def _tells_apart(column: pd.Series, rows: int) -> bool:
    """Say whether two patients hardly share a number by chance."""
    if column.nunique() < max(TELLING * len(column), FEWEST * rows):
        return False
    whole = (column.dropna() % 1 == 0).all()
    return not whole or float(column.max()) - float(column.min()) > FINE * rows
