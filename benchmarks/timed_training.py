"""Trainings that end as soon as a benchmark has seen enough of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from unittest import mock

from ssinfnet.training import fitting
from ssinfnet.training.fitting import loop


class SeenEnough(Exception):
    """Ends a training."""


@dataclass
class Seen:
    """What was seen of a training: when its epochs ended, and what wrote its states."""

    ends: list[float] = field(default_factory=list)
    writer: fitting.StateWriter | None = None


@contextmanager
def until(enough: Callable[[list[float]], bool]) -> Iterator[Seen]:
    """Watch the one training within, and end it once `enough` says so of its epochs' ends."""
    seen = Seen()

    class Watched(fitting.StateWriter):
        def __init__(self, *arguments) -> None:
            super().__init__(*arguments)
            seen.writer = self

        def is_due(self) -> bool:
            seen.ends.append(time.perf_counter())
            if enough(seen.ends):
                raise SeenEnough("of this training")  # fastai reads a text
            return super().is_due()

    with mock.patch.object(loop, "StateWriter", Watched), suppress(SeenEnough):
        yield seen
