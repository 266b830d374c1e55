"""The only writer into figures/<study>: tables, figures, what made them, and one page of all.

Every file is written whole or not at all, holds no time, and has the same bytes when the same
content is saved again. Each table or figure has a record of its own, manifest/<name>.json, so
that notebooks running side by side never write the same file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from ssinfnet import plots, tables
from ssinfnet.evaluation import learnt
from ssinfnet.report import bundle, html_page
from ssinfnet.storage import artifacts, provenance
from ssinfnet.study.config import Study
from ssinfnet.study.paths import StudyPaths

__all__ = [
    "forget", "is_complete", "label", "read_manifest", "record_path", "save_figure", "save_table",
    "write_page",
]  # fmt: skip

MANIFEST = "manifest"
PAGE = "report.html"
UNDERTRAINED = "undertrained"
# Matplotlib writes the time, and its version, unless told not to.
NO_METADATA = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}
MARGIN = {".png": 0.1, ".pdf": 0.02}  # inches around a figure; a journal's column has none to spare


def save_table(
    folder: Path,
    frame: pd.DataFrame,
    name: str,
    title: str,
    made: Mapping[str, Any],
    undertrained: bool = False,
    unlearnt: Sequence[Mapping[str, Any]] = (),
    empty: str = "",
) -> Path:
    """Save a table as CSV in full precision, its head as Markdown and LaTeX; return the CSV's path.

    Parameters
    ----------
    folder : Path
        ``figures/<study>``.
    frame : DataFrame
        Numbers, not text; `tables.display` makes the Markdown form.
    name : str
        File name without ending, such as ``table_3b``: small letters, digits and _.
    title : str
        One sentence, without a full stop.
    made : mapping
        From `artifacts.made_by`.
    undertrained : bool
        The schedule was shorter than the paper's; the Markdown and the page then say so.
    unlearnt : sequence of dict
        From `learnt.unlearnt`; rows of these trainings are marked everywhere but in the CSV.
    empty : str
        Why the table has no rows, where it has none; the title then ends in it.

    Raises
    ------
    ValueError
        If `name` has other characters than small letters, digits and _, or the table has no
        columns.
    """
    _check_name(name)
    if not len(frame.columns):
        raise ValueError(f"table {name} has no columns")
    title = f"{title}: {empty}" if empty and frame.empty else title
    csv = folder / f"{name}.csv"
    artifacts.write_text(csv, frame.to_csv(index=False, lineterminator="\n"))
    head = tables.first_rows(frame).reset_index(drop=True)
    marks = tables.find_marks(head, name, unlearnt)
    shown = marks.on(tables.display(head))
    titled, schedule = marks.titled(title), f" ({UNDERTRAINED})" if undertrained else ""
    notes = [f"{more} more rows in {csv.name}."] if (more := len(frame) - len(shown)) else []
    notes += [tables.MEAN_NOTE] if tables.has_intervals(shown) else []
    notes += marks.notes(made.get("study", ""))
    body = shown.to_markdown(index=False, disable_numparse=True) if len(shown) else "No rows."
    text = "\n\n".join([f"**{titled}**{schedule}", body, *notes]) + "\n"
    markdown = artifacts.write_text(folder / f"{name}.md", text)
    latex = artifacts.write_text(
        folder / f"{name}.tex", tables.latex(shown, f"{titled}{schedule}", name, tuple(notes))
    )
    labels = {"undertrained": undertrained, "unlearnt": list(marks.trainings)}
    _record(folder, name, "table", title, [csv, markdown, latex], made, labels)
    return csv


def save_figure(
    folder: Path,
    figure: Figure,
    name: str,
    title: str,
    made: Mapping[str, Any],
    data: pd.DataFrame | None = None,
    undertrained: bool = False,
    unlearnt: Sequence[Mapping[str, Any]] = (),
) -> Path:
    """Save a figure as PNG and PDF (fonts embedded) with its data; return the PNG's path.

    A figure of `plots` that can be read in a journal's column is drawn anew for it, 89 mm wide, as
    ``<name>_column.pdf``.

    Parameters
    ----------
    folder, name, title, made, undertrained, unlearnt
        As `save_table` takes them; the name such as ``figure_s4``.
    figure : Figure
        What to save; it stays open, its layout is settled.
    data : DataFrame, optional
        The numbers behind it, written to ``<name>_data.csv`` in full precision.

    Raises
    ------
    ValueError
        If `name` has other characters than small letters, digits and _.
    """
    _check_name(name)
    files = [folder / f"{name}.png", folder / f"{name}.pdf"]
    _write_figure(figure, *files)
    narrow, column = plots.in_column(figure), folder / f"{name}_column.pdf"
    if narrow is None:
        column.unlink(missing_ok=True)  # of an earlier run, which had another figure here
    else:
        _write_figure(narrow, column)
        plt.close(narrow)  # or a notebook would show it
        files.append(column)
    if data is not None:
        files.append(folder / f"{name}_data.csv")
        artifacts.write_text(files[-1], data.to_csv(index=False, lineterminator="\n"))
    marks = tables.find_marks(data, name, unlearnt)
    labels = {"undertrained": undertrained, "unlearnt": list(marks.trainings)}
    _record(folder, name, "figure", title, files, made, labels)
    return files[0]


def label(made: Mapping[str, Any], *studies: Study) -> dict[str, Any]:
    """Return what `save_table` and `save_figure` say of networks: made, undertrained, unlearnt.

    Parameters
    ----------
    made : mapping
        From `artifacts.made_by`.
    studies : Study
        Whose networks are shown; their trainings have left what they learnt in this checkout.
    """
    unlearnt = [
        one for study in studies for one in learnt.unlearnt(study, StudyPaths.of(study.name))
    ]
    undertrained = any(study.undertrained for study in studies)
    return {"made": made, "undertrained": undertrained, "unlearnt": unlearnt}


def forget(folder: Path, *patterns: str) -> list[str]:
    """Remove what an earlier run has saved under some names; return the names.

    For what a run saves only where there is something to show, such as a forest of mediators.

    Parameters
    ----------
    folder : Path
        ``figures/<study>``.
    patterns : str
        Such as ``figure_5_*``.
    """
    removed = [
        name
        for name in read_manifest(folder)["name"]
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    ]
    for name in removed:
        record = record_path(folder, name)
        files = artifacts.read_json(record)["files"]
        record.unlink()  # first, so that the page never misses a file
        for file in files:
            (folder / file).unlink(missing_ok=True)
    return removed


def read_manifest(folder: Path) -> pd.DataFrame:
    """Return what has been saved in a folder, by name.

    Returns
    -------
    DataFrame
        name, kind (``table`` or ``figure``), title, undertrained, unlearnt (list of the trainings
        behind its marks), files (list of names), sha256 (dict by file name), made (dict) and
        machine (dict: processor, instructions); no rows if nothing has been saved.
    """
    records_of = sorted((folder / MANIFEST).glob("[!.]*.json"))
    # A record of an earlier version has no list of trainings, or no machine.
    records = [{"unlearnt": [], "machine": {}, **artifacts.read_json(path)} for path in records_of]
    columns = ["name", "kind", "title", "undertrained", "unlearnt", "files", "sha256", "made",
               "machine"]  # fmt: skip
    return pd.DataFrame(records, columns=columns)


def write_page(
    folder: Path,
    study: Study,
    exclusions: pd.DataFrame | None = None,
    paths: StudyPaths | None = None,
) -> Path:
    """Write report.html, one self-contained page of a study, and all it shows as one ZIP file.

    Parameters
    ----------
    folder : Path
        ``figures/<study>``.
    study : Study
        Gives name, description, seeds, settings and the label undertrained.
    exclusions : DataFrame, optional
        What was left out, one a row, with a reason; None says that none are recorded.
    paths : StudyPaths, optional
        Where executed notebooks and artifacts lie; without it the page does not say what ran.

    Returns
    -------
    Path
        The page. The time it is written at is not in it: the same files give the same bytes.

    Raises
    ------
    FileNotFoundError
        If nothing has been saved, or a file of a saved item is missing.
    ValueError
        If a file is not the one that was saved.
    """
    manifest = read_manifest(folder)
    if manifest.empty:
        raise FileNotFoundError(f"{folder} holds no tables or figures; run the notebooks first")
    page = html_page.report_page(folder, study, manifest.to_dict("records"), exclusions, paths)
    files = [file for files in manifest["files"] for file in files]
    bundle.write_bundle(folder, study.name, {PAGE: page}, files)
    return artifacts.write_text(folder / PAGE, page)


def is_complete(folder: Path) -> bool:
    """Say whether a run came to its end: its page is there, and of exactly what is saved.

    The page is what a run writes last. One of an earlier run does not count, since it shows other
    files than those that a run which was cut off has saved since.

    Parameters
    ----------
    folder : Path
        ``figures/<study>``.
    """
    page = folder / PAGE
    if not page.is_file():
        return False
    saved = {
        file: sha for of_item in read_manifest(folder)["sha256"] for file, sha in of_item.items()
    }
    return html_page.saved_hashes(page.read_text(encoding="utf-8")) == saved


def record_path(folder: Path, name: str) -> Path:
    """Return where the record of a table or figure of that name lies below a folder."""
    return folder / MANIFEST / f"{name}.json"


def _write_figure(figure: Figure, *files: Path) -> None:
    """Write a figure in the formats of the files' names, all with one layout."""
    # Every draw would lay a constrained figure out a little differently: PNG, PDF and a second
    # save must agree.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    with mpl.rc_context({"pdf.fonttype": 42}):  # TrueType, which editors can read and change
        for path in files:
            with artifacts.replacing(path) as temporary:
                figure.savefig(
                    temporary, dpi=html_page.PNG_DPI, bbox_inches="tight",
                    pad_inches=MARGIN[path.suffix], metadata=NO_METADATA[path.suffix],
                )  # fmt: skip


def _check_name(name: str) -> None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9_]*", name):
        raise ValueError(
            f"name must be small letters, digits and _, such as table_3b, got {name!r}"
        )


def _record(
    folder: Path,
    name: str,
    kind: str,
    title: str,
    files: Sequence[Path],
    made: Mapping[str, Any],
    labels: Mapping[str, Any],
) -> None:
    record = {
        "name": name,
        "kind": kind,
        "title": title,
        **labels,
        "files": [path.name for path in files],
        "sha256": {path.name: artifacts.sha256(path) for path in files},
        "made": dict(made),
        "machine": {
            "processor": provenance.processor(),
            "instructions": list(provenance.instructions()),
        },
    }
    artifacts.write_json(record_path(folder, name), record)
