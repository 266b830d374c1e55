"""Two studies side by side: each table that both have, row by row, and what they were set to.

Rows are joined by what names them (model, class, fold, …), numbers by their column. As beside the
paper, that two intervals overlap describes and tests nothing (D-66): the two studies may have been
tested on the same patients or on others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ssinfnet import report, tables
from ssinfnet.paper import comparison, published
from ssinfnet.report import html_page, pairs
from ssinfnet.storage import artifacts
from ssinfnet.storage.written_files import WrittenFiles
from ssinfnet.study.config import Study
from ssinfnet.study.models import model_label
from ssinfnet.study.paths import StudyPaths

__all__ = ["Compared", "compare_studies", "compare_tables", "settings_that_differ", "write"]

# Whole numbers that name a row
ORDINALS = ("fold", "seed", "epoch", "round", "phase", "group", "row")
REMARKS = ("reason", "mark", "note", "fault")  # text that names none
PARTS = ("low", "high", "error", "n", "seed_spread")  # of the number they stand beside
SHOWN_PAIRS = 120  # of a table, on the page; the CSV has all
SECOND = " of second"
NOT_OF_A_RUN = ("table_paper_comparison", "table_contradictions")  # made of others; the same
COLUMNS = ["table", "row", "measure", "first", "first_low", "first_high", "second", "second_low",
           "second_high", "difference", "intervals_overlap"]  # fmt: skip


class Compared(NamedTuple):
    """What two studies have in common, and in what they differ."""

    numbers: pd.DataFrame  # the columns of COLUMNS; difference is second − first
    settings: pd.DataFrame  # setting, first, second
    left_out: pd.DataFrame  # table, reason


def compare_studies(first: Study, second: Study) -> Compared:
    """Compare all tables that two studies have saved.

    Raises
    ------
    FileNotFoundError
        If one of them has not been run.
    ValueError
        If they are the same study.
    """
    if first.name == second.name:
        raise ValueError(f"both studies are called {first.name!r}; compare two different ones")
    folders = [StudyPaths.of(study.name).figures for study in (first, second)]
    saved = [_saved(study, folder) for study, folder in zip((first, second), folders, strict=True)]
    left_out, parts = [], [pd.DataFrame(columns=COLUMNS)]
    for name in sorted({*saved[0], *saved[1]}):
        if not (name in saved[0] and name in saved[1]):
            has = first.name if name in saved[0] else second.name
            left_out.append((name, f"only {has} has it"))
            continue
        frames = [comparison.read_table(folder, name) for folder in folders]
        if frames[0] is None or frames[1] is None:
            left_out.append((name, f"{name}.csv is not there; its notebook writes it"))
            continue
        try:
            parts.append(compare_tables(*frames).assign(table=name))
        except ValueError as error:
            left_out.append((name, str(error)))
    numbers = pd.concat([part for part in parts if len(part)] or parts, ignore_index=True)[COLUMNS]
    return Compared(
        numbers.astype({"intervals_overlap": "boolean"}),
        settings_that_differ(first, second),
        pd.DataFrame(left_out, columns=["table", "reason"]),
    )


def compare_tables(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Join two tables of one kind on the columns that name their rows.

    Parameters
    ----------
    first, second : DataFrame
        From `comparison.read_table`. Text names a row, and so do whole numbers such as fold and
        epoch; other numbers are compared. ``<x>_mean`` is shown as x; its interval is ``<x>_low``
        to ``<x>_high``, else ± ``<x>_error``. Rows of the paper are left out.

    Returns
    -------
    DataFrame
        The columns of the module's ``COLUMNS`` but for table; rows that only one has, and numbers
        that neither has, are left out.

    Raises
    ------
    ValueError
        If nothing names the rows apart, or there is nothing to compare.
    """
    first, second = (published.our_rows(frame) for frame in (first, second))
    common = [column for column in first if column in second]
    keys = [column for column in common if _names_a_row(column, first, second)]
    for frame in (first, second):
        twice = frame.duplicated(keys).any() if keys else len(frame) > 1
        if twice:
            raise ValueError(f"its rows are not told apart by {keys or 'any column'}")
    measures = [column for column in common if column not in keys and _is_measure(column, first)]
    if not measures:
        raise ValueError("it has no numbers to compare")
    how = {"on": keys} if keys else {"how": "cross"}
    joined = first.merge(second, suffixes=("", SECOND), **how)
    if joined.empty:
        raise ValueError("no row is in both")
    named = [key for key in keys if key != "values"]  # all of them are ours
    rows = [_labelled(row) for row in joined[named].to_dict("records")]
    sole = _sole(first)
    parts = [_measured(joined, column, column == sole).assign(row=rows) for column in measures]
    both = pd.concat(parts).dropna(subset=["first", "second"], how="all")
    return both.sort_index(kind="stable").reset_index(drop=True)[COLUMNS[1:]]


def settings_that_differ(first: Study, second: Study) -> pd.DataFrame:
    """Return every setting that two studies do not share, by its place in the study's file.

    Returns
    -------
    DataFrame
        setting (such as ``single.training.epochs``), first, second, as text; name and description
        are left out.
    """
    flat = [_flat(study.model_dump(mode="json")) for study in (first, second)]
    names = [name for name in {**flat[0], **flat[1]} if name not in ("name", "description")]
    rows = [(name, *(one.get(name, "–") for one in flat)) for name in names]
    differing = [row for row in rows if row[1] != row[2]]
    return pd.DataFrame(differing, columns=["setting", "first", "second"])


def write(compared: Compared, first: Study, second: Study, page: Path) -> tuple[Path, Path]:
    """Write the page and, beside it, every number as CSV; return both paths.

    Raises
    ------
    ValueError
        If the page's name does not end in .html.
    FileExistsError
        If one of the two is there and not ours (`written_files`).
    """
    if page.suffix != ".html":
        raise ValueError(f"the page must be called something.html, got {page.name!r}")
    names = {"first": first.name, "second": second.name}
    shown = [
        _section(str(table), rows) for table, rows in compared.numbers.groupby("table", sort=False)
    ]
    csv = page.with_suffix(".csv")
    text = html_page.render(
        "comparison.html",
        first=first,
        second=second,
        tables=shown,
        csv=csv.name,
        settings=html_page.cells(tables.display(compared.settings).rename(columns=names)),
        left_out=html_page.cells(tables.display(compared.left_out)),
    )
    numbers = compared.numbers.assign(first_study=first.name, second_study=second.name)
    with WrittenFiles.of(page.parent).replacing() as staged:
        artifacts.write_text(staged / csv.name, numbers.to_csv(index=False, lineterminator="\n"))
        artifacts.write_text(staged / page.name, text)
    return page, csv


def _section(table: str, rows: pd.DataFrame) -> dict[str, Any]:
    """Return what the page shows of one table."""
    head = rows.head(SHOWN_PAIRS)
    texts = pairs.side_by_side(head, "first", "second")
    labels = [
        {"row": row, "measure": measure.replace("_", " ")}
        for row, measure in zip(head["row"], head["measure"], strict=True)
    ]
    known = rows["intervals_overlap"].dropna()
    return {
        "name": table,
        "rows": [label | text for label, text in zip(labels, texts, strict=True)],
        "more": len(rows) - len(head),
        "pairs": len(known),
        "overlapping": int(known.sum()),
    }


def _saved(study: Study, folder: Path) -> set[str]:
    manifest = report.read_manifest(folder)
    if manifest.empty:
        raise FileNotFoundError(
            f"study {study.name!r} has no tables in {folder}; run `make reproduce "
            f"STUDY={study.name}` first"
        )
    return set(manifest.loc[manifest["kind"] == "table", "name"]) - {*NOT_OF_A_RUN}


def _names_a_row(column: str, first: pd.DataFrame, second: pd.DataFrame) -> bool:
    if column in ORDINALS:
        return True
    texts = [pd.api.types.is_string_dtype(frame[column]) for frame in (first, second)]
    return all(texts) and column not in REMARKS


def _is_measure(column: str, frame: pd.DataFrame) -> bool:
    """Say whether a column holds numbers of its own, not the interval or the n of another's."""
    if not pd.api.types.is_numeric_dtype(frame[column]) or pd.api.types.is_bool_dtype(
        frame[column]
    ):
        return False
    for part in PARTS:
        stem = column.removesuffix(f"_{part}")
        if stem != column and (stem in frame or f"{stem}_mean" in frame):
            return False
    return not (column in PARTS[:3] and {"low", "high"} & set(frame) and _sole(frame))


def _sole(frame: pd.DataFrame) -> str:
    """Return the number that bare columns low and high belong to: the one before them."""
    before = list(frame)[: list(frame).index("low")] if "low" in frame else []
    numbers = [name for name in before if pd.api.types.is_numeric_dtype(frame[name])]
    return numbers[-1] if numbers else ""


def _labelled(row: dict[Any, Any]) -> str:
    return ", ".join(f"{key} {model_label(value)}" for key, value in row.items() if pd.notna(value))


def _measured(joined: pd.DataFrame, column: str, sole: bool) -> pd.DataFrame:
    """Return one number of both studies, with intervals, difference and whether they overlap."""
    stem = column.removesuffix("_mean")
    part = pd.DataFrame({"measure": stem}, index=joined.index)
    for side, suffix in (("first", ""), ("second", SECOND)):
        value, low, high, error, bare_low, bare_high = (
            _numbers(joined, f"{name}{suffix}")
            for name in (column, f"{stem}_low", f"{stem}_high", f"{stem}_error", "low", "high")
        )
        if sole:
            low, high = low.fillna(bare_low), high.fillna(bare_high)
        part[side] = value
        part[f"{side}_low"] = low.fillna(value - error)
        part[f"{side}_high"] = high.fillna(value + error)
    part["difference"] = part["second"] - part["first"]
    ends = part[["first_low", "first_high", "second_low", "second_high"]].to_numpy()
    overlaps = [comparison.overlap((a, b), (c, d)) for a, b, c, d in ends]
    return part.assign(intervals_overlap=pd.array(overlaps, dtype="boolean"))


def _numbers(frame: pd.DataFrame, column: str) -> pd.Series:
    """Return a column as floats, NaN where it is missing or is no number."""
    if column not in frame or not pd.api.types.is_numeric_dtype(frame[column]):
        return pd.Series(float("nan"), index=frame.index)
    return frame[column].astype("Float64").astype("float64")


def _flat(settings: Any, place: str = "") -> dict[str, str]:
    """Return nested settings by their dotted place, as text."""
    if isinstance(settings, dict) and settings:
        return {
            name: text
            for key, value in settings.items()
            for name, text in _flat(value, f"{place}.{key}" if place else key).items()
        }
    if isinstance(settings, list):
        return {place: ", ".join(" ".join(_flat(one).values()) for one in settings)}
    return {place: str(settings)}
