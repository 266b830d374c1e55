"""The copies of results that the repository shows, docs/results/<study> (D-74).

A run writes into figures/<study>, which git ignores; `publish` copies what is kept of it. Of the
embedded phantom that is tables and the figures that the paper numbers. Of real patients it is
tables over many of them, by two rules that must both hold: the contents (`paper/contents.csv`)
declare the table an aggregate, and nothing in it singles a slice or patient out.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pandas as pd

from ssinfnet import report
from ssinfnet.paper import comparison
from ssinfnet.paper.contents import find_item
from ssinfnet.report import html_page
from ssinfnet.storage import artifacts
from ssinfnet.study.config import Study, load_study
from ssinfnet.study.paths import StudyPaths

__all__ = ["Publication", "publish", "reason_against", "reads_real_data"]

LIMIT_BYTES = 5_000_000  # of one study
FORMATS = (".csv", ".md", ".png")  # PDF and LaTeX say the same once more
PAPER_FIGURES = ("figure_[1-6]*", "figure_s[0-9]*", "figure_v[0-9]*")
OUR_FIGURES = ("figure_known_truth",)  # what no real data can show
# Large, or much like one that is kept: forests of other outcomes and classes than figure 4A's and
# 4B's, every test of a mediation, the folds' pretrainings
OMITTED = (
    "figure_4_*",
    "figure_v9_oracle",
    "table_mediation_*",
    "table_paper_comparison",
    "*_fold[1-9]_*",
)
# One of these words in a column's name: each row is of one of them (slice_id, but not n_slices)
INDIVIDUALS = {
    "case", "file", "image", "patient", "row", "scan", "series", "slice", "subject", "volume",
}  # fmt: skip
COUNTS = ("n", "n_pairs", "n_slices", "n_patients", "n_volumes")  # how many a row is over


@dataclass(frozen=True, kw_only=True)
class Publication:
    """The tables and figures that `publish` copied, and why others were not.

    Attributes
    ----------
    folder : Path
        ``docs/results/<study>``.
    tables, figures : tuple of str
        Names of what is published, without ending.
    against : dict
        Name of what is not → reason.
    removed : tuple of str
        Files that were published and no longer are.
    earlier : tuple of str
        Names that stay of an earlier run, since the run at hand is not complete.
    """

    folder: Path
    tables: tuple[str, ...]
    figures: tuple[str, ...]
    against: Mapping[str, str]
    removed: tuple[str, ...]
    earlier: tuple[str, ...]

    def text(self) -> str:
        """Say it in lines for a terminal."""
        lines = [f"not published: {name}: {reason}" for name, reason in self.against.items()]
        lines += [f"removed: {file}" for file in self.removed]
        lines += [
            f"kept of an earlier run, since this one is not complete: {name}"
            for name in self.earlier
        ]
        counted = f"{len(self.tables)} tables and {len(self.figures)} figures"
        return "\n".join([*lines, f"{counted} in {self.folder}; look at `git diff`, then commit"])


def publish(study: Study, paths: StudyPaths | None = None) -> Publication:
    """Copy what is kept of a study's last run into ``docs/results/<study>``.

    The folder is replaced as a whole, or, on an error, stays as it was.

    Parameters
    ----------
    study : Study
        Says whether patients are real.
    paths : StudyPaths, optional
        Its folders; those of this checkout by default.

    Raises
    ------
    FileNotFoundError
        If nothing has been saved, or a file of a saved item is missing.
    ValueError
        If a file is not the one that was saved, or more than `LIMIT_BYTES` would be published.
    """
    paths = paths or StudyPaths.of(study.name)
    run, shown = paths.figures, paths.published
    saved = _records(run)
    if not saved:
        raise FileNotFoundError(f"{run} holds no tables or figures; run the study first")
    earlier = (
        {}
        if report.is_complete(run)
        else {name: record for name, record in _records(shown).items() if name not in saved}
    )
    artifacts.remove_leftovers(shown.parent)
    real, before = reads_real_data(study), _files(shown)
    against: dict[str, str] = {}
    with artifacts.replacing_folder(shown) as fresh:
        for folder, records in ((run, saved), (shown, earlier)):
            for name, record in records.items():
                if reason := reason_against(folder, record, real):
                    against[name] = reason
                else:
                    _copy_files(folder, fresh, record)
                if not (reason and real):  # of a phantom, what was made but is not kept stays known
                    _copy_record(folder, fresh, name)
        _check_size(fresh)
    kept = {**saved, **earlier}.keys() - against.keys()
    return Publication(
        folder=shown,
        tables=tuple(sorted(name for name in kept if name.startswith("table"))),
        figures=tuple(sorted(name for name in kept if name.startswith("figure"))),
        against=against,
        removed=tuple(sorted(before - _files(shown))),
        earlier=tuple(sorted(kept & earlier.keys())),
    )


def reads_real_data(study: Study) -> bool:
    """Say whether a study, or one whose trainings it needs, reads more than the phantom."""
    needed = [study, *(load_study(name) for name in study.other_studies())]
    return any(one.data.phantom is None for one in needed)


def reason_against(folder: Path, record: Mapping[str, Any], real: bool) -> str:
    """Return why a table or figure is not published, or "" if it is.

    Parameters
    ----------
    folder : Path
        Where its files lie.
    record : mapping
        A row of `report.read_manifest`.
    real : bool
        From `reads_real_data`.
    """
    name, is_figure = record["name"], record["kind"] == "figure"
    if real and is_figure:
        return "figures of real data are not published"
    if _matches(name, OMITTED):
        return "large, or much like one that is kept (publication.OMITTED)"
    if is_figure and not _matches(name, PAPER_FIGURES + OUR_FIGURES):
        return "the paper has no such figure (publication.PAPER_FIGURES)"
    if not real or is_figure:
        return ""
    if not ((item := find_item(name)) and item.aggregate):
        return "not declared to be over many patients (paper/contents.csv, aggregate)"
    frame = comparison.read_table(folder, name)
    return "its CSV is missing" if frame is None else _singled_out(frame)


def _singled_out(frame: pd.DataFrame) -> str:
    """Return what in a table is of single slices or patients, or "" if nothing is."""
    naming = [column for column in frame if INDIVIDUALS & set(column.lower().split("_"))]
    if naming:
        return f"column {naming[0]} singles out slices or patients"
    alone = [column for column in COUNTS if column in frame and frame[column].eq(1).any()]
    return f"by {alone[0]} a row is of a single slice or patient" if alone else ""


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _records(folder: Path) -> dict[str, dict[str, Any]]:
    return {record["name"]: record for record in report.read_manifest(folder).to_dict("records")}


def _files(folder: Path) -> set[str]:
    """Return the published files below a folder; records go with them and are not counted."""
    return {path.name for path in folder.glob("[!.]*") if path.is_file()}


def _copy_files(folder: Path, fresh: Path, record: Mapping[str, Any]) -> None:
    for file, sha256 in record["sha256"].items():
        if Path(file).suffix in FORMATS:
            shutil.copyfile(html_page.saved_file(folder, file, sha256), fresh / file)


def _copy_record(folder: Path, fresh: Path, name: str) -> None:
    copied = report.record_path(fresh, name)
    copied.parent.mkdir(exist_ok=True)
    shutil.copyfile(report.record_path(folder, name), copied)


def _check_size(folder: Path) -> None:
    sizes = {path.name: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    if (total := sum(sizes.values())) > LIMIT_BYTES:
        largest = sorted(sizes, key=sizes.__getitem__, reverse=True)[:3]
        raise ValueError(
            f"{total:,} bytes would be published, at most {LIMIT_BYTES:,} may be; the largest "
            f"files are {', '.join(largest)}: name what to leave out in publication.OMITTED"
        )
