"""The process that has imported what notebooks import, and forks one for each that is asked for.

`warm_start` starts it and asks. From here each notebook gets two processes: one executes it by
papermill, as always; another, forked from that one before papermill starts, becomes its kernel.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from typing import NoReturn

from ipykernel import kernelapp

from ssinfnet.engine import forked_kernel, notebook_runs, warm_start

__all__ = ["main"]

IMPORTED = (
    "papermill",
    "ipykernel.ipkernel",
    "matplotlib.pyplot",
    "ssinfnet.engine.lab",
    "ssinfnet.evaluation.learning",
    "ssinfnet.inference.studies",
    "ssinfnet.mediation.effects",
    "ssinfnet.plots.training",
    "ssinfnet.training.stages",
)
LOOK_S = 0.5  # from one look after the parent to the next
PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that a process gets when its parent has ended


def _next_request(listener: socket.socket, parent: int) -> socket.socket | None:
    """Wait for requests and fork for each; return its connection there, at the end None here."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no child is waited for
    gc.freeze()  # what is here now stays, and no fork need look through it
    listener.settimeout(LOOK_S)
    while os.getppid() == parent:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        if os.fork() == 0:
            listener.close()
            connection.settimeout(None)
            return connection
        connection.close()
    return None


def _end_with(connection: socket.socket) -> None:
    """End this process when whoever asked for it is gone."""
    connection.recv(1)  # nothing more is sent
    os._exit(1)


def _leave_with(parent: int) -> None:
    """Be killed when the parent ends, whatever this process does then, a hang on its way included.

    The parent's thread that has forked must be its main one, with which it ends.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before
        os._exit(1)


def _run_and_leave(connection: socket.socket) -> NoReturn:
    """Run a notebook, and end without what the server's imports would have done at its own end.

    In the process that is forked for the kernel: be the kernel, and end as kernels do.
    """
    try:
        status = _run(connection)
    except Exception:
        traceback.print_exc()
        sys.stdout.flush()
        status = 1
    os._exit(status)


def _run(connection: socket.socket) -> int:
    """Run the notebook that is asked for and say how it went; return the exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    arguments = warm_start.receive(connection)
    sender, receiver = socket.socketpair()
    notebook = os.getpid()
    kernel = os.fork()
    if kernel == 0:
        _leave_with(notebook)
        sender.close()
        connection.close()
        _be_kernel(receiver, notebook)
    receiver.close()
    forked_kernel.use(kernel, sender)
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    connection.sendall(warm_start.BEGUN)
    status = notebook_runs.run(notebook_runs.options_of(arguments))
    sys.stdout.flush()  # before anybody is told that it has ended
    sys.stderr.flush()
    connection.sendall(f"{status}\n".encode())
    return status


def _be_kernel(receiver: socket.socket, parent: int) -> NoReturn:
    """Be the kernel once papermill starts one, or end where it never does."""
    os.setsid()
    try:
        sys.argv = warm_start.receive(receiver)
    except EOFError:
        os._exit(0)
    os.environ["JPY_PARENT_PID"] = str(parent)  # as jupyter_client does, but it was read on import
    sys.argv.append(f"--IPKernelApp.parent_handle={parent}")
    if "MPLBACKEND" not in os.environ:  # which the kernel would set, but it was read on import
        sys.argv.append("--IPKernelApp.matplotlib=inline")
    kernelapp.launch_new_instance()
    sys.exit(0)


def main(address: str, listener: int, parent: int) -> None:
    """Import what notebooks import, then fork for one request after another; those do not return.

    Parameters
    ----------
    address : str
        Address of the socket, in a folder of its own that goes when this process ends.
    listener : int
        File descriptor of the socket, which listens already.
    parent : int
        Process id of the run; when it is gone no more requests come.
    """
    server = os.getpid()
    try:
        with socket.socket(fileno=listener) as requests:
            for name in IMPORTED:
                importlib.import_module(name)
            logging.getLogger().handlers.clear()  # semopy's, through which all would be said twice
            request = None if _has_gpu() else _next_request(requests, parent)
    finally:
        if os.getpid() == server:
            shutil.rmtree(Path(address).parent, ignore_errors=True)
    if request is not None:
        _run_and_leave(request)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    os._exit(0)  # at once: nobody is left who waits for what the imports do at the end
