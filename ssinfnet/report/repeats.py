"""Tables and figures that a study makes again for each fold and seed, together in one section."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

__all__ = ["grouped", "repeat_text"]

PARTS = re.compile(r"_(fold|seed)(\d+)")


def repeat_text(name: str) -> str:
    """Return which repeat a table or figure is of, "" if there are none.

    Examples
    --------
    >>> repeat_text("figure_inpainting_single_fold1_seed2"), repeat_text("table_3b")
    ('fold 1, seed 2', '')
    """
    return ", ".join(f"{what} {number}" for what, number in PARTS.findall(name))


def grouped(items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Put repeats of one table or figure together.

    Parameters
    ----------
    items : sequence of mapping
        Items of a chapter, each with name and title.

    Returns
    -------
    list of dict
        id, title and ``items``, each of which is given its ``repeat`` ("" where it is the only
        one), folds and seeds in the order of their numbers.
    """
    places: dict[str, int] = {}
    for item in items:
        places.setdefault(_whole(item), len(places))
    ordered = sorted(items, key=lambda item: (places[_whole(item)], _numbers(item)))
    groups = []
    for whole, own in groupby(ordered, key=_whole):
        its = [dict(item, repeat=repeat_text(item["name"])) for item in own]
        if len(its) == 1:
            its[0]["repeat"] = ""
        groups.append({"id": f"repeats-{whole}", "title": its[0]["title"], "items": its})
    return groups


def _whole(item: Mapping[str, Any]) -> str:
    return PARTS.sub("", item["name"])


def _numbers(item: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(int(number) for _, number in PARTS.findall(item["name"]))
