"""Everything that a study may make, in reading order: `contents.csv`, a row a table or figure.

It says which chapter of the report an item stands in, what it is of in the paper, which notebook
makes it, which decisions shape it, which of the paper's tables its numbers stand beside, which
table counts what a figure shows, and whether every row is over many patients, so that it may be
published of real data.
"""

from __future__ import annotations

import csv
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["Item", "contents", "find_item"]


class Item(NamedTuple):
    """A row of the contents."""

    pattern: str  # of the names of tables and figures, such as figure_5_*
    chapter: str
    source: str  # in the paper; "beyond it: …" where it has none
    notebook: str
    decisions: tuple[int, ...]  # D-nn, without which its numbers would be others
    published: tuple[str, ...]  # tables of published_values.csv
    counted: str  # "table: columns" that say n; {name} is the figure's, {rest} what * matched
    aggregate: bool  # every row is over many patients or slices, or over none

    def rest(self, name: str) -> str:
        """Return what the pattern's last ``*`` stands for in a name."""
        return name.removeprefix(self.pattern.rstrip("*"))


@cache
def contents() -> tuple[Item, ...]:
    """Return all rows; what matches a name first is its item."""
    with Path(__file__).with_name("contents.csv").open(encoding="utf-8", newline="") as lines:
        return tuple(
            Item(
                row["pattern"],
                row["chapter"],
                row["source"],
                row["notebook"],
                tuple(int(number) for number in row["decisions"].split()),
                tuple(row["published"].split()),
                row["counted"],
                row["aggregate"] == "yes",
            )
            for row in csv.DictReader(lines)
        )


def find_item(name: str) -> Item | None:
    """Return the item of a table or figure, or None where the contents do not know it.

    Examples
    --------
    >>> find_item("table_s7").published, find_item("figure_5_severe").rest("figure_5_severe")
    (('s7',), 'severe')
    """
    return next((item for item in contents() if fnmatchcase(name, item.pattern)), None)
