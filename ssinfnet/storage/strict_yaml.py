"""Read YAML that somebody else may have written: plain values, capped in size, each key once.

YAML 1.1 as PyYAML reads it, with what surprises taken out. 1e-4 is a number. A key given twice is
refused, as are tags, merge keys, aliases that multiply ("billion laughs") or hold themselves, and
whatever is larger or deeper than any study.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

__all__ = ["parse", "read"]

MOST_CHARACTERS = 64 * 1024  # the largest study has 3,000
MOST_NODES = 10_000  # keys and values, aliases written out
MOST_DEPTH = 20
KINDS = ("str", "int", "float", "bool", "null", "map", "seq")
# What PyYAML raises beside its own errors where "!!bool x" or "2001-99-99" is no such value
WRONG_VALUE = (yaml.YAMLError, ValueError, LookupError, ArithmeticError, AttributeError, TypeError)
PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in KINDS}


class _Loader(yaml.SafeLoader):
    """YAML 1.1 with 1e-4 read as a number, as users expect."""


# PyYAML follows YAML 1.1, where 1e-4 (no dot) is text.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def read(path: Path) -> Any:
    """Read a YAML file in UTF-8.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        As `parse` raises it; the message names the file.
    """
    with path.open("rb") as stream:
        content = stream.read(4 * MOST_CHARACTERS + 1)  # a character takes four bytes at most
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not YAML in UTF-8 ({error})") from error
    return parse(text, str(path))


def parse(text: str, what: str) -> Any:
    """Return what a YAML text says: numbers, text, booleans, None, lists and dicts of them.

    Parameters
    ----------
    text : str
    what : str
        What it is, for the message.

    Raises
    ------
    ValueError
        If it is no YAML, too large or too deep, gives a key twice, or holds anything but such
        values.

    Examples
    --------
    >>> parse("{rate: 1e-4, models: [unet]}", "an example")
    {'rate': 0.0001, 'models': ['unet']}
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"{what} has more than {MOST_CHARACTERS} characters; no study needs them")
    _refuse_depth(text, what)  # PyYAML takes a second for what it cannot nest
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, 1, [0], ())
        return loader.construct_document(node)
    except RecursionError as error:  # of indented blocks
        raise ValueError(f"{what} is nested deeper than {MOST_DEPTH} levels") from error
    except WRONG_VALUE as error:
        raise ValueError(f"{what} is not YAML that is read here: {error}") from error
    finally:
        if loader is not None:
            loader.dispose()


def _refuse_depth(text: str, what: str) -> None:
    """Refuse more open brackets than levels; those in quotes count, since no study has so many."""
    depth = 0
    for bracket in re.findall(r"[][{}]", text):
        depth = depth + 1 if bracket in "[{" else max(depth - 1, 0)
        if depth > MOST_DEPTH:
            raise ValueError(f"{what} is nested deeper than {MOST_DEPTH} levels")


def _check(node: yaml.Node, depth: int, count: list[int], above: tuple[int, ...]) -> None:
    """Refuse a node that a study cannot need; an alias counts as often as it is used."""
    count[0] += 1
    if id(node) in above:
        raise ValueError(f"an alias holds itself{_place(node)}")
    if count[0] > MOST_NODES:
        raise ValueError(f"it has more than {MOST_NODES} values, aliases written out")
    if depth > MOST_DEPTH:
        raise ValueError(f"it is nested deeper than {MOST_DEPTH} levels{_place(node)}")
    if node.tag not in PLAIN:
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        raise ValueError(
            f"expected numbers, text, lists, keys; got {kind!r}{_place(node)}; put text in quotes"
        )
    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check(value, depth + 1, count, (*above, id(node)))
    elif isinstance(node, yaml.MappingNode):
        _check_keys(node)
        for key, value in node.value:
            _check(key, depth + 1, count, (*above, id(node)))
            _check(value, depth + 1, count, (*above, id(node)))


def _check_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise ValueError(f"a key is a list or a mapping{_place(key)}")
        if key.value in seen:
            raise ValueError(f"key {key.value} is given twice{_place(key)}")
        seen.add(key.value)


def _place(node: yaml.Node) -> str:
    return f" in line {node.start_mark.line + 1}"
