"""A network's blocks and what flows between them, read off the network itself."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from ssinfnet.networks.blocks import Res2Net50

__all__ = ["Block", "Diagram", "diagram"]

UNSHOWN = (nn.BatchNorm2d, nn.ReLU)  # part of the block before them


@dataclass(frozen=True)
class Block:
    """A block of a diagram.

    Attributes
    ----------
    name : str
        Attribute path in the network, "input", or "output:" and the output's name.
    shape : tuple of int
        Channels, height and width of what leaves it.
    parameters : int
    depth : int
        Longest way from the input, in blocks.
    head : bool
        Whether pretraining swaps a layer of it (`swap_heads`).
    """

    name: str
    shape: tuple[int, int, int]
    parameters: int
    depth: int
    head: bool


@dataclass(frozen=True)
class Diagram:
    """Blocks in the order of computing, and pairs (from, to) of their names."""

    blocks: tuple[Block, ...]
    edges: tuple[tuple[str, str], ...]
    size: int  # of the input, in pixels
    parameters: int  # of the whole network


def diagram(network: nn.Module, channels: int = 3, size: int = 352) -> Diagram:
    """Trace a network and return its blocks.

    Parameters
    ----------
    network : Module
        `InfNet`, `UNet`, their inpainting forms, or `Coach`.
    channels, size : int
        Channels, and height and width in pixels, of the input.
    """
    on_meta = copy.deepcopy(network).to("meta").eval()
    graph = _Blocks().trace(on_meta)
    traced = fx.GraphModule(on_meta, graph)
    ShapeProp(traced).propagate(torch.empty(1, channels, size, size, device="meta"))
    heads = tuple(getattr(network, "heads", ()))
    sources: dict[fx.Node, list[str]] = {}
    blocks: dict[str, Block] = {}
    edges: list[tuple[str, str]] = []

    def add(name: str, shape: Any, before: list[str], parameters: int = 0) -> None:
        depth = 1 + max((blocks[b].depth for b in before), default=-1)
        head = any(own.startswith(name) for own in heads)
        blocks[name] = Block(name, tuple(shape[1:]), parameters, depth, head)
        edges.extend((b, name) for b in before)

    for node in graph.nodes:
        before = list(dict.fromkeys(s for parent in _parents(node) for s in sources[parent]))
        if node.op == "placeholder":
            add("input", node.meta["tensor_meta"].shape, [])
            sources[node] = ["input"]
        elif node.op == "call_module" and not isinstance(
            on_meta.get_submodule(node.target), UNSHOWN
        ):
            module = on_meta.get_submodule(node.target)
            parameters = sum(p.numel() for p in module.parameters())
            add(node.target, _shape(node), before, parameters)
            sources[node] = [node.target]
        elif node.op == "output":
            (outputs,) = node.args  # a named tuple, which fx records as a call of its class
            for name, value in zip(outputs.target._fields, outputs.args, strict=True):
                shape = _shape(value)
                if len(shape) == 4:  # the coach's divergence is no map
                    add(f"output:{name}", shape, sources[value])
        else:
            sources[node] = before
    parameters = sum(p.numel() for p in network.parameters())
    return Diagram(tuple(blocks.values()), tuple(dict.fromkeys(edges)), size, parameters)


class _Blocks(fx.Tracer):
    """Look into the network and its backbone, and at everything below as one block."""

    def is_leaf_module(self, module: nn.Module, qualified_name: str) -> bool:
        """Return whether a module is a block."""
        return not isinstance(module, Res2Net50)


def _parents(node: fx.Node) -> Iterator[fx.Node]:
    """Yield what a node computes with; sizes that are only asked for are no flow."""
    if node.target is getattr:
        return
    yield from node.all_input_nodes


def _shape(node: fx.Node) -> tuple[int, ...]:
    metadata = node.meta["tensor_meta"]
    if not hasattr(metadata, "shape"):  # several tensors: the last is what goes on
        metadata = metadata[-1]
    return tuple(metadata.shape)
