"""End this process when the one that started it is gone.

A process killed with SIGKILL can tell nobody, and its children go on: a kernel would train on and
write beside the run that has taken its place. So the command that runs a notebook, its kernel and
the kernel's own workers each look twice a second whether their parent is still there. IPython's own
watch does nothing where the parent died while the kernel started and orphans go to another process
than the first, as in most containers and sessions.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

__all__ = ["load_ipython_extension", "start"]

INTERVAL_S = 0.5


def start(parent: int) -> None:
    """Watch from now on; the process ends at once when `parent` is not its parent.

    On Windows, where a process keeps the number of a parent that is gone, nothing is watched.

    Parameters
    ----------
    parent : int
        Process id of whoever has started this process. It is given, not asked for here, since
        they may be gone already.
    """
    if os.name == "posix":
        threading.Thread(target=_watch, args=(parent,), name="parent watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(INTERVAL_S)
    os._exit(1)  # nobody is left to read why


def load_ipython_extension(shell: Any) -> None:
    """Watch from within a kernel; `notebook_runs` starts its kernels with this."""
    if parent := os.environ.get("JPY_PARENT_PID"):  # jupyter_client sets it
        start(int(parent))
