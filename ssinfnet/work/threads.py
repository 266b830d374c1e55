"""How many processor threads networks compute with.

Torch takes every core by default. Beside other work, on a shared node or a laptop in use, its
threads then wait for each other: a training step of 0.20 s took 1.23 s on a busy machine of two
cores. So one thread is the default of trainings and predictions, as of a study, and more are asked
for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["THREADS_VARIABLE", "default_threads", "study_threads", "use_threads"]

THREADS_VARIABLE = "SSINFNET_THREADS"  # `ssinfnet train --threads`


def default_threads() -> int:
    """Return ``OMP_NUM_THREADS``, which Snakemake sets for each of its jobs, or 1.

    Raises
    ------
    ValueError
        If the variable is no whole number above 0.
    """
    return _from_environment("OMP_NUM_THREADS", 1)


def study_threads(count: int) -> int:
    """Return the threads of a study, unless the command line has asked for others.

    Parameters
    ----------
    count : int
        What the study says.

    Raises
    ------
    ValueError
        As `default_threads` raises it.
    """
    return _from_environment(THREADS_VARIABLE, count)


def _from_environment(variable: str, default: int) -> int:
    named = os.environ.get(variable, str(default))
    if not named.isdecimal() or int(named) < 1:
        raise ValueError(f"{variable} must be a whole number above 0, got {named!r}")
    return int(named)


@contextmanager
def use_threads(count: int | None = None) -> Iterator[None]:
    """Let torch compute with so many threads, and with as many as before afterwards.

    Parameters
    ----------
    count : int or None
        At least 1; `default_threads` if None.

    Raises
    ------
    ValueError
        If the count is below 1.
    """
    import torch

    count = default_threads() if count is None else count
    if count < 1:
        raise ValueError(f"threads must be at least 1, got {count}")
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
