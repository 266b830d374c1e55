"""For nbval's kernels: sockets in place of ports, as for papermill's (`engine.kernels`).

A plugin of pytest: while other tests start kernels, nbval's and theirs can pick the same port.
"""

import nbval.kernel
from jupyter_client.manager import KernelManager

from ssinfnet.engine import kernels


class SocketKernelManager(kernels.OnSockets, KernelManager):
    """What nbval starts kernels with."""


nbval.kernel.KernelManager = SocketKernelManager
