"""Heads: the last layer of each output, swapped for pretraining in one place.

A network names its heads in `heads`. Pretraining replaces each by a linear convolution that
reconstructs the input (J, Experimental settings); everything else is transferred afterwards.
"""

from __future__ import annotations

from torch import nn

__all__ = ["is_head", "swap_heads"]


def swap_heads(network: nn.Module, channels: int) -> nn.Module:
    """Replace every head by a linear convolution of the same kernel; return the network.

    Parameters
    ----------
    network : Module
        With `heads`, such as `InfNet` (five outputs) or `UNet` (one).
    channels : int
        Output channels of every new head: 3 for a slice, 6 for slice and prior.
    """
    for name in network.heads:
        head = network.get_submodule(name)
        old = next(module for module in head.modules() if isinstance(module, nn.Conv2d))
        linear = nn.Conv2d(old.in_channels, channels, old.kernel_size, padding=old.padding)
        parent, _, last = name.rpartition(".")
        setattr(network.get_submodule(parent), last, linear)
    return network


def is_head(network: nn.Module, weight: str) -> bool:
    """Return whether a weight of that name belongs to a head of the network."""
    return any(weight.startswith(f"{head}.") for head in network.heads)
