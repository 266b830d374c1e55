"""Start the notebooks of a run from one process that has imported everything, by forking it.

A notebook's own process and its kernel import torch, fastai, papermill and more before they do
anything: 5 s of a core, as long as some trainings of the demo. On Linux, a run of many notebooks on
one machine pays that once: `start` makes a server (`fork_server`) that imports and waits, `ask` has
it fork a process for one notebook, which forks its kernel. A notebook still has two processes of
its own, so a kernel that dies takes nothing with it. Where there is no server, or it refuses (what
has used a GPU cannot be forked), notebooks start as they always do.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["BEGUN", "KEEP_MEMORY", "SERVER_VARIABLE", "ask", "receive", "send", "start"]

SERVER_VARIABLE = "SSINFNET_FORK_SERVER"  # where the server listens
STANDARD_FILES = [1, 2]  # output and error
BEGUN = b"begun\n"  # the first line of an answer; the second is the exit status

# Glibc gives large blocks back to the system as soon as they are free and asks for them again a
# moment later, 48,000 page faults and a tenth of the time of a U-Net's step on a processor.
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 32)}


def start() -> subprocess.Popen[bytes] | None:
    """Start a server for the notebooks of this process's children, who find it by a variable.

    It ends when this process has ended. Nothing is started but on Linux: elsewhere system libraries
    do not bear to be forked.

    Returns
    -------
    Popen or None
        The server, to be kept for as long as notebooks run.
    """
    if sys.platform != "linux":
        return None
    address = Path(tempfile.mkdtemp(prefix="ssinfnet-")) / "notebooks"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen(128)
        command = [sys.executable, "-m", "ssinfnet.engine.fork_server"]
        server = subprocess.Popen(
            [*command, str(address), str(listener.fileno()), str(os.getpid())],
            env={**os.environ, **KEEP_MEMORY, "OMP_NUM_THREADS": "1"},  # read by what it imports
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt is for those who ask, with whom notebooks end
        )
    os.environ[SERVER_VARIABLE] = str(address)
    return server


def ask(arguments: Sequence[str]) -> int | None:
    """Let the server run a notebook, if there is one; return the exit status.

    The notebook ends with this process.

    Parameters
    ----------
    arguments : sequence of str
        Command line, as `notebook_runs.main` takes it.

    Returns
    -------
    int or None
        None where no server took the request.
    """
    address = os.environ.get(SERVER_VARIABLE)
    if address is None:
        return None
    environment = {name: value for name, value in os.environ.items() if name != SERVER_VARIABLE}
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(address)
            send(server, arguments, environment, Path.cwd())
            answer = server.makefile("rb")
            if answer.readline() != BEGUN:
                return None
            return int(answer.readline() or 1)  # it ended before it could say
    except OSError:
        return None


def send(
    to: socket.socket, arguments: Sequence[str], environment: Mapping[str, str], folder: Path
) -> None:
    """Tell a process what to do, and give it this one's standard output and error.

    Parameters
    ----------
    to : socket
        At whose other end `receive` waits.
    arguments : sequence of str
    environment : mapping
        All its variables.
    folder : Path
        Where it works.
    """
    message = {
        "arguments": list(arguments),
        "environment": dict(environment),
        "folder": str(folder),
    }
    socket.send_fds(to, [b"\n"], STANDARD_FILES)
    to.sendall(json.dumps(message).encode() + b"\n")


def receive(source: socket.socket) -> list[str]:
    """Wait for what `send` tells; take over output, environment and folder; return the arguments.

    Raises
    ------
    EOFError
        If the other end is closed without a word.
    """
    said, files, _, _ = socket.recv_fds(source, 1, len(STANDARD_FILES))
    if not said:
        raise EOFError("nothing was asked for")
    for standard, given in zip(STANDARD_FILES, files, strict=True):
        os.dup2(given, standard)
        os.close(given)
    message = json.loads(source.makefile("rb").readline())
    os.environ.clear()
    os.environ.update(message["environment"])
    os.chdir(message["folder"])
    return message["arguments"]
