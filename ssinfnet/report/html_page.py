"""The page of a study: every table and figure, what made them, beside the paper, checklists.

One HTML text that needs no other file and no network; its one script sorts, filters and copies
tables, and all of the page can be read without it (D-164). It is built here and written by
`report.write_page`.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from PIL import Image

from ssinfnet import tables
from ssinfnet.evaluation import learnt
from ssinfnet.paper import comparison
from ssinfnet.report import (
    bundle,
    chapters,
    checklist,
    data_flow,
    decisions,
    own_result,
    pairs,
    repeats,
)
from ssinfnet.report.methods import methods
from ssinfnet.storage import artifacts, provenance
from ssinfnet.study.config import Study
from ssinfnet.study.paths import StudyPaths
from ssinfnet.work.progress import seconds_text

__all__ = ["PNG_DPI", "cells", "render", "report_page", "saved_file", "saved_hashes"]

PNG_DPI = 150
QUALITY = 75  # of pictures on the page, 0 to 100; the saved files are whole
SCREEN_DPI = 120  # a figure on the page is a quarter larger than in print
WHOLE_COMPARISON = "table_paper_comparison"
SHOWN_EXCLUSIONS = 500  # table_exclusions has all
PAGES = Path(__file__).with_name("pages")


def report_page(
    folder: Path,
    study: Study,
    records: Sequence[Mapping[str, Any]],
    exclusions: pd.DataFrame | None,
    paths: StudyPaths | None,
) -> str:
    """Return the page of a study.

    Parameters
    ----------
    folder : Path
        ``figures/<study>``, where the saved files lie.
    study : Study
    records : sequence of mapping
        Rows of `report.read_manifest`; what does not fit into a chapter comes last.
    exclusions : DataFrame or None
        What was left out, with a reason; None says that none are recorded.
    paths : StudyPaths or None
        Where executed notebooks and artifacts lie; None where only the figures are at hand.

    Raises
    ------
    FileNotFoundError
        If a file of a saved item is missing.
    ValueError
        If a file is not the one that was saved.
    """
    saved = {file for record in records for file in record["files"]}

    @cache
    def read(name: str) -> pd.DataFrame | None:
        return comparison.read_table(folder, name) if f"{name}.csv" in saved else None

    compared = comparison.paper_comparison(folder)
    items = {record["name"]: _item(folder, record, read, compared) for record in records}
    whole = items.pop(WHOLE_COMPARISON, None)  # shown by its parts, beside each table
    learning = read(learnt.TABLE)
    told = [
        {
            "title": title,
            "id": f"chapter-{_slug(title)}",
            "groups": repeats.grouped([items[name] for name in names]),
        }
        for title, names in chapters.chaptered(items).items()
    ]
    unlearnt = {record["name"]: record["unlearnt"] for record in records}
    result = own_result.own_result(read, unlearnt, study.name, paths)
    known_decisions = decisions.read_decisions(paths.root) if paths else {}
    ran = _what_ran(study, paths)
    versions = provenance.versions(record["made"] for record in records)
    code = provenance.code_version(paths.root) if paths else ""
    figures = frozenset(name for name, item in items.items() if item["kind"] == "figure")
    known = checklist.Known(
        study=study, read=read, figures=figures, exclusions=exclusions,
        versions=versions, code=code, runs=len(ran["runs"]),
    )  # fmt: skip
    drafted = methods(known)
    return render(
        "report.html",
        study=study,
        settings=study.model_dump_json(indent=2),
        chapters=told,
        counts={"figure": len(figures), "table": len(items) - len(figures)},
        versions=versions,
        code=code,
        machine=provenance.machine(),
        whole=whole,
        learning="" if learning is None else learnt.summary(learning, study.name),
        learning_table=learnt.TABLE,
        overview=cells(tables.display(pairs.overview(compared))),
        result={
            **result,
            "scores": cells(result["scores"]),
            "picture": items.get(own_result.PICTURE),
        },
        methods=drafted,
        bundle=bundle.bundle_name(study.name),
        exclusions=None if exclusions is None else _exclusions(exclusions),
        decisions=_named(known_decisions, items.values()),
        validation=cells(_validation()),
        checklists=[_checklist(name, known) for name in checklist.GUIDELINES],
        note=tables.MEAN_NOTE,
        assumptions=_assumptions(study),
        saved={file: sha for record in records for file, sha in record["sha256"].items()},
        **ran,
    )


def saved_hashes(page: str) -> dict[str, str]:
    """Return name → SHA-256 of every saved file that a page of `report_page` shows or links."""
    lines = re.findall(r"([0-9a-f]{64}) ([\w.]+)<br>", page)
    return {file: sha for sha, file in lines}


def saved_file(folder: Path, file: str, sha256: str) -> Path:
    """Return the path of a file of a saved item, which is the one that was saved.

    Parameters
    ----------
    folder : Path
        Where it lies, such as ``figures/<study>``.
    file, sha256 : str
        Its name and hash, as the record of `report.read_manifest` has them.

    Raises
    ------
    FileNotFoundError
        If it is missing.
    ValueError
        If it has changed since it was saved.
    """
    path = folder / file
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; run the notebook that saves it again")
    if artifacts.sha256(path) != sha256:
        raise ValueError(f"{path} has changed since it was saved; run its notebook again")
    return path


def render(template: str, **content: Any) -> str:
    """Fill a template of ``pages/``; every text is escaped, and a missing one is an error."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=jinja2.FileSystemLoader(PAGES)
    )
    script = (PAGES / "page.js").read_text(encoding="utf-8")
    allowed = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    page = environment.get_template(template).render(script_sha256=allowed, **content)
    # Last and as it is: escaped it would be no script, and no text of others is in it.
    return page.replace("<script></script>", f"<script>{script}</script>")


def cells(table: pd.DataFrame) -> dict[str, Any]:
    """Return a table of texts as the templates take it: columns, rows, intervals."""
    return {
        "columns": list(table.columns),
        "rows": [[tables.broken(text) for text in row] for row in table.to_numpy()],
        "intervals": tables.has_intervals(table),
    }


def _validation() -> pd.DataFrame:
    """Return what ours was compared with, as docs/validation.py left it."""
    table = pd.read_csv(Path(__file__).with_name("validation.csv"))
    return pd.DataFrame(
        {
            "compared with": table["compared"],
            "numbers": table["numbers"].astype(str),
            "that agree": table["agree"].astype(str),
            "largest difference": table["largest"].map("{:.1e}".format),
            "what": table["what"],
        }
    )


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")


def _item(folder: Path, record: Mapping[str, Any], read: Any, compared: pd.DataFrame) -> dict:
    """Return what the page shows of a saved table or figure."""
    for file, expected in record["sha256"].items():
        saved_file(folder, file, expected)
    name = record["name"]
    item = {**record, "decisions": decisions.shaping(name), "beside": []}
    figure = record["kind"] == "figure"
    data = read(f"{name}_data" if figure else name)
    shown = None if data is None else tables.first_rows(data).reset_index(drop=True)
    unlearnt = record["unlearnt"]
    marks = tables.find_marks(shown, name, unlearnt)
    item |= {
        "heading": marks.titled(record["title"]),
        "marks": marks.notes(record["made"].get("study", "")),
    }
    if figure:
        png = (folder / record["files"][0]).read_bytes()
        # pixels, from the PNG's header
        width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
        shrink = SCREEN_DPI / PNG_DPI
        return {
            **item,
            "image": _embedded(png),
            "width": round(width * shrink),
            "height": round(height * shrink),
            "count": chapters.caption_count(name, read),
        }
    item["table"] = cells(marks.on(tables.display(shown)))
    item["more"] = len(data) - len(shown)
    own = compared[(compared["table"] == name) & compared["ours"].notna()]
    item["beside"] = [
        pairs.matrix(rows, unlearnt) for _, rows in own.groupby("published", sort=False)
    ]
    return item


def _embedded(png: bytes) -> str:
    """Return a picture as a data address: whichever is smallest of PNG and WebP of two kinds.

    Drawings are smaller without any loss, and slices of CT with a loss that nobody sees.
    """
    held = {"png": png}
    with Image.open(io.BytesIO(png)) as picture:
        for options in ({"lossless": True}, {"quality": QUALITY}):
            saved = io.BytesIO()
            picture.convert("RGB").save(saved, "WEBP", method=4, **options)
            if len(saved.getvalue()) < min(map(len, held.values())):
                held["webp"] = saved.getvalue()
    kind, content = min(held.items(), key=lambda one: len(one[1]))
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _what_ran(study: Study, paths: StudyPaths | None) -> dict[str, Any]:
    """Return executed notebooks, their drawing, and the hashes of artifacts, of all its studies."""
    names = [study.name, *study.other_studies()] if paths else []
    studies = {name: StudyPaths(name, paths.root) for name in names}
    runs = provenance.notebook_runs(place.runs for place in studies.values())
    hashes = provenance.hashed_artifacts({name: place.artifacts for name, place in studies.items()})
    shown = runs.assign(
        parameters=[
            ", ".join(f"{k} {v}" for k, v in chosen.items()) for chosen in runs["parameters"]
        ],
        duration=[seconds_text(seconds) for seconds in runs["seconds"]],
    )
    columns = ["study", "notebook", "parameters", "duration", "started"]
    return {
        "runs": runs.to_dict("records"),
        "run_table": cells(tables.display(shown[columns])),
        "total": seconds_text(runs["seconds"].sum()),
        "flow": data_flow.data_flow(runs) if len(runs) else {},
        "hashes": cells(tables.display(hashes)),
    }


def _named(
    known: Mapping[str, tuple[str, str]], items: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[str, str]]:
    """Return the decisions that shape any of the items, by number."""
    numbers = {number for item in items for number in item["decisions"]}
    return {number: known[number] for number in sorted(numbers) if number in known}


def _checklist(name: str, known: checklist.Known) -> dict[str, Any]:
    rows = checklist.filled(name, known)
    about = checklist.guidelines().loc[name].to_dict()
    return {
        **about,
        "id": f"checklist-{name.replace('_', '-')}",
        "open": int(rows["open"].sum()),
        "rows": rows.to_dict("records"),
    }


def _exclusions(exclusions: pd.DataFrame) -> dict[str, Any]:
    shown = cells(tables.display(exclusions.head(SHOWN_EXCLUSIONS)))
    return {**shown, "count": len(exclusions), "more": max(len(exclusions) - SHOWN_EXCLUSIONS, 0)}


def _assumptions(study: Study) -> str:
    if not (study.clinical and study.clinical.mediation):
        return ""
    from ssinfnet import mediation  # statsmodels and semopy: seconds

    return f"{mediation.STUDY_ASSUMPTIONS} {mediation.PAPERS_OUTCOME}"
