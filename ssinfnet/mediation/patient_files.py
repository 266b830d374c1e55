"""Read a table of patients from the formats in which people keep one."""

from __future__ import annotations

import csv
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pandas as pd

from ssinfnet.mediation.columns import names_places
from ssinfnet.mediation.frames import shown_columns
from ssinfnet.storage import untrusted

__all__ = ["FORMATS", "read_patients_table"]

MISSING_WORDS = ["", "NA", "N/A", "n/a", "NaN", "nan", "#N/A", "NULL", "null", "<NA>"]
WORDS: dict[str, Any] = {"keep_default_na": False, "na_values": MISSING_WORDS}
SEPARATORS = (",", ";", "\t")
LONGEST_NAMES = 2**16  # characters of a first line that are looked at; fields end there too
DECIMAL_COMMA = r"[-+]?\d*,?\d+(?:[eE][-+]?\d+)?"
LEADING_ZERO = r"0\d+"
THOUSANDS_AND_COMMA = r"[-+]?\d{1,3}(?:\.\d{3})+,\d+"
THOUSANDS = r"[-+]?\d{1,3}(?:\.\d{3})+"


def read_patients_table(
    path: Path,
    patient: str | None = None,
    sheet: str | None = None,
    codes: Collection[str] = (),
) -> pd.DataFrame:
    """Read a file of one row a patient: CSV, TSV, Excel (xlsx) or Parquet, by its name's end.

    A text file's separator is the comma, semicolon or tab that its first line has most of. Where it
    is not the comma, columns of numbers with decimal commas become numbers, also of those that have
    points between thousands as well.

    Parameters
    ----------
    path : Path
    patient : str, optional
        Column that names the patients; without one they are numbered from 1.
    sheet : str, optional
        Which sheet of a workbook with several.
    codes : collection of str
        Columns whose values name something, such as clusters. As columns of hospitals, centres and
        sites, they are text where a value has a leading zero, so that 1 and 01 are two.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is of another format, cannot be read, has several sheets of which none is named, has a
        column twice, or no column `patient`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file; expected a table of one row a patient")
    ending = path.suffix.lower()
    if ending not in FORMATS:
        raise ValueError(f"{path} ends in {ending!r}; tables are read from {', '.join(FORMATS)}")
    if sheet is not None and ending not in WORKBOOKS:
        raise ValueError(f"{path} is no workbook, which alone has sheets; leave out {sheet!r}")
    names, table = FORMATS[ending](path, patient, sheet, codes)
    twice = names[names.duplicated()].unique().tolist()
    if twice:
        raise ValueError(f"{path}: columns {twice[:5]} occur more than once; rename or drop one")
    if patient is None:
        table.index = pd.RangeIndex(1, len(table) + 1, name="patient")
        return table
    if patient not in table:
        raise ValueError(f"{path} has no column {patient!r}; it has {shown_columns(table)}")
    return table.set_index(patient)


def _from_text(
    path: Path, patient: str | None, sheet: str | None, codes: Collection[str]
) -> tuple[pd.Series, pd.DataFrame]:
    """Return the names of a text file's columns, as they stand there, and the table."""
    mark = _separator(path)
    names = untrusted.read_csv(path, sep=mark, header=None, nrows=1, dtype=str).iloc[0]
    # An id is text, since 1 and 001 are two patients; "None" is a word, as in a list of diseases
    table = untrusted.read_csv(path, sep=mark, dtype={patient: "str"} if patient else None, **WORDS)
    table = _with_leading_zeros(
        table, codes, lambda: untrusted.read_csv(path, sep=mark, dtype=str, **WORDS)
    )
    if mark == ",":  # there 1,234 is more likely a thousand
        return names, table
    pointed = table.apply(lambda column: _with_points(column, column.name == patient))
    if (pointed.dtypes != table.dtypes).any():
        _refuse_thousands(path, untrusted.read_csv(path, sep=mark, dtype=str), table)
    return names, pointed


def _separator(path: Path) -> str:
    """Return the separator that the first line of a text file has most of, quoted text apart."""
    with path.open(encoding="utf-8-sig", errors="replace") as lines:
        while (first := lines.readline(LONGEST_NAMES)) and not first.strip():
            pass
    return max(SEPARATORS, key=lambda mark: len(next(csv.reader([first], delimiter=mark), [])))


def _with_points(column: pd.Series, is_id: bool) -> pd.Series:
    """Return a column of numbers that have decimal commas as numbers; any other as it is."""
    if is_id or not pd.api.types.is_string_dtype(column.dtype):
        return column
    known = column.dropna().str.strip()
    pointed = known.str.fullmatch(THOUSANDS_AND_COMMA)
    if pointed.any():  # 21.014,3 says what its points are, and so what those of 4.960 are
        grouped = pointed | known.str.fullmatch(THOUSANDS)
        known = known.mask(grouped, known.str.replace(".", ""))
    if not (known.str.fullmatch(DECIMAL_COMMA).all() and known.str.contains(",").any()):
        return column
    return known.str.replace(",", ".").astype("float64").reindex(column.index)


def _refuse_thousands(path: Path, text: pd.DataFrame, table: pd.DataFrame) -> None:
    """Refuse 4.960 where other columns have decimal commas: it may be 4960."""
    for name in table.select_dtypes("number"):
        written = text[name].dropna().str.strip()
        dotted = written[written.str.contains(".", regex=False)]
        if len(dotted) and dotted.str.fullmatch(THOUSANDS).all():
            raise ValueError(
                f"{path}: column {name!r} has {dotted.iloc[0]!r} while other columns have decimal "
                "commas: a thousand or a point? Write thousands without points, and decimals with "
                "commas"
            )


def _from_workbook(
    path: Path, patient: str | None, sheet: str | None, codes: Collection[str]
) -> tuple[pd.Series, pd.DataFrame]:
    dtype = {patient: "str"} if patient else None
    sheets = untrusted.read_excel(path, dtype=dtype, **WORDS)
    filled = [name for name, table in sheets.items() if len(table.columns)]
    if sheet is None and len(filled) != 1:
        raise ValueError(
            f"{path} has {len(filled)} sheets with content, {filled[:8]}; name the "
            "patients' sheet: `--sheet NAME`, in Python `sheet=`"
        )
    chosen = filled[0] if sheet is None else sheet
    if chosen not in sheets:
        raise ValueError(f"{path} has no sheet {sheet!r}; it has {list(sheets)[:8]}")
    names = untrusted.read_excel(path, header=None, nrows=1, dtype=str)[chosen].iloc[0]
    return names, _with_leading_zeros(
        sheets[chosen], codes, lambda: untrusted.read_excel(path, dtype=str, **WORDS)[chosen]
    )


def _with_leading_zeros(
    table: pd.DataFrame, codes: Collection[str], read_text: Callable[[], pd.DataFrame]
) -> pd.DataFrame:
    """Return a table whose codes and places are as written where a number has a leading zero."""
    own = [name for name in table.select_dtypes("number") if name in codes or names_places(name)]
    if not own:
        return table
    text = read_text()[own].apply(lambda column: column.str.strip())
    return table.assign(**{name: column for name, column in text.items()
                           if column.str.fullmatch(LEADING_ZERO).any()})  # fmt: skip


def _from_parquet(
    path: Path, patient: str | None, sheet: str | None, codes: Collection[str]
) -> tuple[pd.Series, pd.DataFrame]:
    table = untrusted.read_parquet(path)
    if patient is not None and patient in table.index.names:
        table = table.reset_index()
    if patient in table:
        table[patient] = table[patient].astype("str")
    return pd.Series(table.columns.astype(str)), table


Reader = Callable[[Path, str | None, str | None, Collection[str]], tuple[pd.Series, pd.DataFrame]]

WORKBOOKS = (".xlsx", ".xlsm")
FORMATS: dict[str, Reader] = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), _from_text),
    **dict.fromkeys(WORKBOOKS, _from_workbook),
    **dict.fromkeys((".parquet", ".pq"), _from_parquet),
}
