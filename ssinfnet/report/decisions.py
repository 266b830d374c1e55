"""Name the decisions of DECISIONS.md that shape a table or figure, and quote them.

The contents name them by number; the words are read from the checkout. A test compares the two.
"""

from __future__ import annotations

import re
from pathlib import Path

from ssinfnet.paper.contents import find_item

__all__ = ["read_decisions", "shaping"]

FILE = "DECISIONS.md"


def shaping(name: str) -> list[str]:
    """Return the decisions that shape a table or figure, such as ``D-13``, by number.

    Examples
    --------
    >>> shaping("table_3b_tests")
    ['D-15', 'D-36']
    """
    item = find_item(name)
    return [f"D-{number:02d}" for number in item.decisions] if item else []


def read_decisions(root: Path) -> dict[str, tuple[str, str]]:
    """Read what has been decided from a checkout.

    Parameters
    ----------
    root : Path
        From `paths.project_root`.

    Returns
    -------
    dict
        ``D-nn`` → the sentence it opens with, and the rest, as plain text; empty where there is no
        DECISIONS.md.
    """
    file = root / FILE
    if not file.is_file():
        return {}
    entries = re.findall(
        r"^- (?:<a [^>]*></a>)?\*\*(D-\d+)\s+(.+?)\*\*(.*?)(?=^- (?:<a |\*\*D-)|^## |\Z)",
        file.read_text(encoding="utf-8"),
        flags=re.MULTILINE | re.DOTALL,
    )
    return {number: (_plain(title), _plain(rest)) for number, title, rest in entries}


def _plain(markdown: str) -> str:
    return " ".join(markdown.replace("`", "").split())
