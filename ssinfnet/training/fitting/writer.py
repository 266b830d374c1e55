"""Training states on disk, written beside the training and as rarely as costs next to nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from ssinfnet.storage import artifacts
from ssinfnet.training import checkpoints

__all__ = ["HISTORY", "STATE", "StateWriter", "write_history"]

STATE = "training.safetensors"
HISTORY = "history.csv"
SHARE = 0.02  # of the training's time that writing may take, where no time is asked for
LEAST_SECONDS = 5.0  # between two such states: small ones still wait for the disk
BYTES_PER_SECOND = 1e8  # hashed and written; a low guess that the first state's time replaces


class StateWriter:
    """Write snapshots of a training in the background, one at a time.

    The snapshot is a copy on the device, into memory that is used again; moving it to the
    processor, hashing and writing it are a thread's work. Use it as a context: at the end it has
    written what it was given. An error of the thread is raised by the next call.

    Parameters
    ----------
    folder : Path
        Receives `training.safetensors` and, after it, `history.csv`.
    seconds : float or None
        Least time from one state to the next, 0 writes one whenever asked. None waits so long that
        copying and writing take at most `SHARE` of the time, even if no processor is idle.
    expected_bytes : int
        Size of a state, by which the first one's time is guessed.
    """

    def __init__(self, folder: Path, seconds: float | None, expected_bytes: int) -> None:
        self.folder = folder
        self.seconds = seconds
        self.states = 0  # written so far
        self.busy_seconds = 0.0  # that copying and writing have taken so far
        self._cost = expected_bytes / BYTES_PER_SECOND
        self._began = time.perf_counter()
        self._snapshot: dict[str, Tensor] = {}
        self._pending: Future[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="state-writer")

    def __enter__(self) -> StateWriter:
        return self

    def __exit__(self, error: type[BaseException] | None, *details: object) -> None:
        self._thread.shutdown(wait=True)
        if error is None:  # else the training's own error is the one to see
            self.wait()

    def is_due(self) -> bool:
        """Say whether it is time for another state."""
        waited = time.perf_counter() - self._began
        if self.seconds is not None:
            return waited >= self.seconds
        if self._pending is not None and not self._pending.done():
            return False
        self.wait()  # raises what the last write has raised, an epoch later at most
        return waited >= max(LEAST_SECONDS, self._cost / SHARE)

    def write(
        self,
        tensors: Mapping[str, Tensor],
        description: Mapping[str, Any],
        history: list[dict[str, Any]],
    ) -> None:
        """Copy a state and let the thread write it, after an earlier one is written.

        Parameters
        ----------
        tensors : mapping of name to Tensor
            May be changed as soon as this returns.
        description : mapping
            JSON-ready; the history is stored with it.
        history : list of dict
            One row an epoch.
        """
        self.wait()
        self._began = time.perf_counter()
        with torch.no_grad():
            self._snapshot = {name: self._copied(name, value) for name, value in tensors.items()}
        rows = list(history)  # which grows while the thread writes
        self._pending = self._thread.submit(
            self._save, self._snapshot, {**description, "history": rows}, self._began
        )

    def wait(self) -> None:
        """Wait until all is written.

        Raises
        ------
        Exception
            What writing has raised, such as OSError where the disk is full.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _copied(self, name: str, value: Tensor) -> Tensor:
        """Return a copy, in the memory of the last one where that fits: new memory costs more."""
        last = self._snapshot.get(name)
        if last is None or last.shape != value.shape or last.dtype != value.dtype:
            return value.detach().clone()
        return last.copy_(value)

    def _save(
        self, tensors: Mapping[str, Tensor], description: dict[str, Any], began: float
    ) -> None:
        checkpoints.save(self.folder / STATE, tensors, description)
        write_history(self.folder, description["history"])
        self._cost = time.perf_counter() - began
        self.states += 1
        self.busy_seconds += self._cost


def write_history(folder: Path, history: list[dict[str, Any]]) -> None:
    """Write `history.csv`, one row an epoch."""
    artifacts.write_text(folder / HISTORY, pd.DataFrame(history).to_csv(index=False))
