"""The only writer into figures/<study>: tables, figures, what made them, and one page of all.

Every file is written whole or not at all, holds no time, and has the same bytes when the same
content is saved again. Each table or figure has a record of its own, manifest/<name>.json, so
that notebooks running side by side never write the same file.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure

from ssinfnet import artifacts, tables
from ssinfnet.config import Study

__all__ = ["forget", "read_manifest", "save_figure", "save_table", "write_page"]

MANIFEST = "manifest"
UNDERTRAINED = "undertrained"
PNG_DPI = 150
SHOWN_ROWS = 60  # of a table, on the page and in Markdown; its CSV has all
SCREEN_DPI = 120  # a figure on the page is a quarter larger than in print
# Matplotlib writes the time, and its version, unless told not to.
NO_METADATA = {
    ".png": {"Software": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def save_table(
    folder: Path,
    frame: pd.DataFrame,
    name: str,
    title: str,
    made: Mapping[str, Any],
    undertrained: bool = False,
) -> Path:
    """Save a table as CSV in full precision, its first rows as Markdown; return the CSV's path.

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

    Raises
    ------
    ValueError
        If the name is none, or the table has no columns.
    """
    _check_name(name)
    if not len(frame.columns):
        raise ValueError(f"table {name} has no columns")
    csv = folder / f"{name}.csv"
    artifacts.write_text(csv, frame.to_csv(index=False, lineterminator="\n"))
    shown = tables.display(frame.head(SHOWN_ROWS))
    label = f" ({UNDERTRAINED})" if undertrained else ""
    parts = [
        f"**{title}**{label}",
        shown.to_markdown(index=False, disable_numparse=True) if len(shown) else "No rows.",
    ]
    if more := len(frame) - len(shown):
        parts.append(f"{more} more rows in {csv.name}.")
    if tables.has_intervals(shown):
        parts.append(tables.MEAN_NOTE)
    markdown = artifacts.write_text(folder / f"{name}.md", "\n\n".join(parts) + "\n")
    _record(folder, name, "table", title, [csv, markdown], made, undertrained)
    return csv


def save_figure(
    folder: Path,
    figure: Figure,
    name: str,
    title: str,
    made: Mapping[str, Any],
    data: pd.DataFrame | None = None,
    undertrained: bool = False,
) -> Path:
    """Save a figure as PNG (200 dpi) and PDF (fonts embedded) with its data; return the PNG's path.

    Parameters
    ----------
    folder, name, title, made, undertrained
        As `save_table` takes them; the name such as ``figure_s4``.
    figure : Figure
        What to save; it stays open, its layout is settled.
    data : DataFrame, optional
        The numbers behind it, written to ``<name>_data.csv`` in full precision.

    Raises
    ------
    ValueError
        If the name is none.
    """
    _check_name(name)
    files = [folder / f"{name}.png", folder / f"{name}.pdf"]
    # Every draw would lay a constrained figure out a little differently: PNG, PDF and a second
    # save must agree.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    with mpl.rc_context({"pdf.fonttype": 42}):  # TrueType, which editors can read and change
        for path in files:
            with artifacts.replacing(path) as temporary:
                metadata = NO_METADATA[path.suffix]
                figure.savefig(temporary, dpi=PNG_DPI, bbox_inches="tight", metadata=metadata)
    if data is not None:
        files.append(folder / f"{name}_data.csv")
        artifacts.write_text(files[-1], data.to_csv(index=False, lineterminator="\n"))
    _record(folder, name, "figure", title, files, made, undertrained)
    return files[0]


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
    found = [name for name in read_manifest(folder)["name"]
             if any(fnmatchcase(name, pattern) for pattern in patterns)]  # fmt: skip
    for name in found:
        record = folder / MANIFEST / f"{name}.json"
        files = artifacts.read_json(record)["files"]
        record.unlink()  # first, so that the page never misses a file
        for file in files:
            (folder / file).unlink(missing_ok=True)
    return found


def read_manifest(folder: Path) -> pd.DataFrame:
    """Return what has been saved in a folder, by name.

    Returns
    -------
    DataFrame
        name, kind (``table`` or ``figure``), title, undertrained, files (list of names), sha256
        (dict by file name), made (dict); no rows if nothing has been saved.
    """
    records = [artifacts.read_json(path) for path in sorted((folder / MANIFEST).glob("[!.]*.json"))]
    columns = ["name", "kind", "title", "undertrained", "files", "sha256", "made"]
    return pd.DataFrame(records, columns=columns)


def write_page(folder: Path, study: Study, exclusions: pd.DataFrame | None = None) -> Path:
    """Write report.html, one self-contained page of all tables and figures of a study.

    Parameters
    ----------
    folder : Path
        ``figures/<study>``.
    study : Study
        Gives name, description, seeds, settings and the label undertrained.
    exclusions : DataFrame, optional
        What was left out, one a row, with a reason; None says that none are recorded.

    Returns
    -------
    Path
        The page. It holds no time: the same study gives the same bytes.

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
    items = [_page_item(folder, record) for record in manifest.to_dict("records")]
    versions: dict[str, str] = {}
    for item in items:
        versions |= item["made"].get("versions", {})
    from ssinfnet import mediation  # statsmodels and semopy: seconds, needed only by the page

    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        Path(__file__).with_name("report_page.html").read_text(encoding="utf-8")
    )
    page = template.render(
        study=study,
        settings=study.model_dump_json(indent=2),
        items=items,
        versions=dict(sorted(versions.items())),
        exclusions=None if exclusions is None else _cells(tables.display(exclusions)),
        note=tables.MEAN_NOTE,
        assumptions=mediation.ASSUMPTIONS if study.clinical and study.clinical.mediation else "",
    )
    return artifacts.write_text(folder / "report.html", page)


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
    undertrained: bool,
) -> None:
    record = {
        "name": name,
        "kind": kind,
        "title": title,
        "undertrained": undertrained,
        "files": [path.name for path in files],
        "sha256": {path.name: artifacts.sha256(path) for path in files},
        "made": dict(made),
    }
    artifacts.write_json(folder / MANIFEST / f"{name}.json", record)


def _page_item(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    for file, expected in record["sha256"].items():
        path = folder / file
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; run the notebook that saves it again")
        if artifacts.sha256(path) != expected:
            raise ValueError(f"{path} has changed since it was saved; run its notebook again")
    main = folder / record["files"][0]
    if record["kind"] == "figure":
        png = main.read_bytes()
        width = int.from_bytes(png[16:20], "big")  # pixels, from the PNG's header
        encoded = base64.b64encode(png).decode("ascii")
        return {**record, "image": encoded, "width": round(width * SCREEN_DPI / PNG_DPI)}
    # nullable types, so that whole numbers with gaps stay whole
    frame = pd.read_csv(main, dtype_backend="numpy_nullable", keep_default_na=False, na_values=[""])
    more = max(len(frame) - SHOWN_ROWS, 0)
    return {**record, "table": _cells(tables.display(frame.head(SHOWN_ROWS))), "more": more}


def _cells(shown: pd.DataFrame) -> dict[str, Any]:
    return {
        "columns": list(shown.columns),
        "rows": [[tables.broken(text) for text in row] for row in shown.to_numpy()],
        "intervals": tables.has_intervals(shown),
    }
