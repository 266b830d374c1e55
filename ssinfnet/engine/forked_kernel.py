"""Papermill's kernel manager gets a kernel that was forked beforehand from here (`fork_server`)."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

from jupyter_client.provisioning import LocalProvisioner

from ssinfnet.engine import warm_start

__all__ = ["ForkedProvisioner", "use"]

PROVISIONER_VARIABLE = "JUPYTER_DEFAULT_PROVISIONER_NAME"  # jupyter_client's


class _ForkedKernel:
    """A process forked beforehand that becomes a kernel; what a provisioner needs of `Popen`."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int, sender: socket.socket) -> None:
        self.pid = pid
        self.sender = sender
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return its exit status, or None while it runs."""
        return self._ended(os.WNOHANG)

    def wait(self) -> int | None:
        """Wait for its end; return its exit status."""
        return self._ended(0)

    def _ended(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)


class ForkedProvisioner(LocalProvisioner):
    """Lets a process forked beforehand become the kernel; an entry point of the package."""

    process: Any = None  # no Popen
    kernel: _ForkedKernel  # of this process's one notebook

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Launch a kernel with a command, `python -m ipykernel_launcher …`."""
        self.process = type(self).kernel
        self.cwd = Path(kwargs.get("cwd") or Path.cwd())
        warm_start.send(self.process.sender, cmd[cmd.index("-m") + 1 :], kwargs["env"], self.cwd)
        self.pid = self.pgid = self.process.pid  # it leads a session of its own
        return self.connection_info


def use(kernel: int, sender: socket.socket) -> None:
    """Have the next kernel that this process starts be a child forked beforehand.

    Parameters
    ----------
    kernel : int
        Process id of the child.
    sender : socket
        At whose other end it waits for its command.
    """
    ForkedProvisioner.kernel = _ForkedKernel(kernel, sender)
    os.environ[PROVISIONER_VARIABLE] = "ssinfnet-forked"
