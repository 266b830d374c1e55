"""Turn words of the command line into the library's arguments, and refusals into messages."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from ssinfnet.study import paths

__all__ = [
    "VERBOSE_VARIABLE", "AsJson", "StudyName", "listed", "mask_labels", "models_of",
    "named_values", "numbers", "path", "refusals", "some_of", "study_names", "window",
]  # fmt: skip

VERBOSE_VARIABLE = "SSINFNET_VERBOSE"  # `ssinfnet -v`

AsJson = Annotated[bool, typer.Option("--json", help="print it as JSON, for programs")]


@contextmanager
def refusals() -> Iterator[None]:
    """Say in one line what the library refused, and leave with exit status 1.

    With `ssinfnet -v` the error is raised as it is, with all its frames.
    """
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        if VERBOSE_VARIABLE in os.environ:
            raise
        typer.echo(_said(error), err=True)
        raise typer.Exit(1) from error


def _said(error: Exception) -> str:
    """Return an error's message; of settings that do not fit, the faults alone."""
    if not isinstance(error, ValidationError):
        return str(error)
    return "\n".join(fault["msg"].removeprefix("Value error, ") for fault in error.errors())


def study_names(incomplete: str = "") -> list[str]:
    """Return the studies whose names begin so, for the shell's completion; none without any."""
    try:
        return [name for name in paths.study_names() if name.startswith(incomplete)]
    except FileNotFoundError:  # outside a checkout, and a shell that completes shows no error
        return []


def models_of(stage: Mapping[str, Any]) -> Callable[[str], list[str]]:
    """Return what completes the name of a model of a stage.

    Parameters
    ----------
    stage : mapping
        `SINGLE_MODELS` or `MULTI_MODELS`.
    """
    return lambda incomplete: [name for name in stage if name.startswith(incomplete)]


def some_of(stage: Mapping[str, Any]) -> str:
    """Return the main models of a stage for a help text; completion has the ablations, too."""
    main = [name for name in stage if not re.search(r"\d\d|_no_|augmented", name)]
    return f"{', '.join(main)} or an ablation"


def path(text: str) -> Path:
    """Return a path, but not of an empty text: that would be the current folder.

    Raises
    ------
    BadParameter
        If the text is empty.
    """
    if not text:
        raise typer.BadParameter(
            "expected a file or folder, got nothing, as of a shell's variable that is not set"
        )
    return Path(text)


def window(text: str | None) -> tuple[float, float] | None:
    """Return (low, high) of a window such as "-1000,400", in HU.

    Raises
    ------
    ValueError
        If the text is no such window.
    """
    if text is None:
        return None
    asked = "expected a window such as -1000,400"
    found = numbers(text, float, asked)
    if len(found) != 2:
        raise ValueError(f"{asked}, got {text!r}")
    return found[0], found[1]


def named_values(named: list[str], option: str, example: str) -> dict[str, str]:
    """Return column → value of texts such as "stage=category".

    Parameters
    ----------
    named : list of str
    option, example : str
        What an error says, such as ``--kind`` and "COLUMN=KIND, such as stage=category".

    Raises
    ------
    ValueError
        If a text has no equals sign.
    """
    if bare := [one for one in named if "=" not in one]:
        raise ValueError(f"{option} takes {example}; got {bare[0]!r}")
    return dict(one.rsplit("=", 1) for one in named)


def mask_labels(named: list[str]) -> dict[str, int]:
    """Return what masks say → label of texts such as "#ff0000=1", as a study's `mask_labels`.

    Raises
    ------
    ValueError
        If a text is none.
    """
    asked = "NAME=LABEL, such as #ff0000=1"
    given = named_values(named, "--mask-label", asked)
    if other := [f"{name}={label}" for name, label in given.items() if not label.isdigit()]:
        raise ValueError(f"--mask-label takes {asked}; got {other[0]!r}")
    return {name: int(label) for name, label in given.items()}


def listed(names: str) -> list[str]:
    """Return what commas separate; a name that holds a comma stands in quotes, as in a CSV."""
    (row,) = csv.reader([names.replace("\n", " ")], skipinitialspace=True)
    return [name.strip() for name in row if name.strip()]


def numbers(
    text: str, kind: type = int, asked: str = "expected whole numbers with commas between"
) -> list[Any]:
    """Return the numbers that commas separate.

    Raises
    ------
    ValueError
        If one is no number of that kind; the message begins with `asked`.
    """
    try:
        return [kind(number) for number in listed(text)]
    except ValueError as error:
        raise ValueError(f"{asked}, got {text!r}") from error


StudyName = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        help="a name (`ssinfnet study` lists them), or a YAML file's path",
        autocompletion=study_names,
    ),
]
