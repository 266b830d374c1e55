"""Kernels that listen on sockets in a folder of their own, where no other kernel can meet them.

Jupyter looks for five free ports, lets go of them, and the kernel binds them seconds later: of many
notebooks that start at once on one machine, two sometimes pick the same port, and one of them dies.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from jupyter_client.manager import AsyncKernelManager, KernelManager
from traitlets import default

__all__ = ["OnSockets", "SocketKernelManager"]

LONGEST_SOCKET = 100  # bytes of a socket's path, of which systems take 104 to 108


class OnSockets(KernelManager):
    """A kernel manager with Unix sockets in place of ports, where there are such."""

    @default("transport")
    def _transport_default(self) -> str:
        longest = os.fsencode(Path(tempfile.gettempdir()) / "ssinfnet-12345678" / "kernel-1")
        return "tcp" if sys.platform == "win32" or len(longest) > LONGEST_SOCKET else "ipc"

    @default("ip")
    def _ip_default(self) -> str:
        if self.transport == "tcp":
            return super()._ip_default()
        return str(Path(tempfile.mkdtemp(prefix="ssinfnet-")) / "kernel")

    def cleanup_connection_file(self) -> None:
        """Remove the sockets with the file that says where they are."""
        super().cleanup_connection_file()
        if self.transport == "ipc":
            shutil.rmtree(Path(self.ip).parent, ignore_errors=True)


class SocketKernelManager(OnSockets, AsyncKernelManager):
    """Papermill's kernel manager, on sockets."""
