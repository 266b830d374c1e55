"""Show how long work goes: a bar for a person in a terminal or in Jupyter, plain lines in a log.

A batch run (papermill under Snakemake) names itself by ``SSINFNET_BATCH``; its kernel looks like
Jupyter's and nobody watches it.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

__all__ = ["BATCH_VARIABLE", "QUIET_VARIABLE", "in_jupyter", "say", "seconds_text", "track"]

Item = TypeVar("Item")

BATCH_VARIABLE = "SSINFNET_BATCH"
QUIET_VARIABLE = "SSINFNET_QUIET"  # `ssinfnet -q`
SECONDS_BETWEEN_LINES = 10.0


def say(text: str) -> None:
    """Write one line at once: to standard error, but in Jupyter, which shows that in red, below."""
    if QUIET_VARIABLE in os.environ:
        return
    stream = sys.stdout if in_jupyter() else sys.stderr
    stream.write(text + "\n")
    stream.flush()


def seconds_text(seconds: float | None) -> str:
    """Return a duration to read.

    Examples
    --------
    >>> seconds_text(4.2), seconds_text(83), seconds_text(7500), seconds_text(None)
    ('4 s', '1 min 23 s', '2 h 5 min', '–')
    """
    if seconds is None or math.isnan(seconds):
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def in_jupyter() -> bool:
    """Say whether a person may be watching this process in a notebook."""
    if BATCH_VARIABLE in os.environ or "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    return shell is not None and "IPKernelApp" in shell.config


def track(items: Iterable[Item], description: str, total: int | None = None) -> Iterator[Item]:
    """Yield the items, showing how many are done.

    Parameters
    ----------
    items : iterable
    description : str
        Such as "scoring slices".
    total : int or None
        Number of items, where they do not tell it.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)
    if QUIET_VARIABLE in os.environ:
        yield from items
    elif in_jupyter():
        from tqdm.notebook import tqdm

        yield from tqdm(items, desc=description, total=total, leave=False)
    elif sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=description, total=total, leave=False)
    else:
        yield from _lines(items, description, total)


def _lines(items: Iterable[Item], description: str, total: int | None) -> Iterator[Item]:
    """Say the count every few seconds; short work stays silent."""
    last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        if time.monotonic() - last > SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            say(f"{description}: {done}" + (f" of {total}" if total is not None else ""))
