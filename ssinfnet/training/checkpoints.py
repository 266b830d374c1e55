"""Weights and training states on disk: atomic, hash-checked, never pickled.

One safetensors file holds the tensors and, in its header, a JSON description: what the file is,
for which architecture, and the hash of its tensors. A truncated, altered or foreign file is
refused before a single weight is used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ssinfnet.storage import artifacts, untrusted_weights

__all__ = [
    "Checkpoint",
    "Transfer",
    "architecture",
    "digest",
    "fill",
    "load_weights",
    "read",
    "save",
]


HEADER = "ssinfnet"


@dataclass(frozen=True)
class Checkpoint:
    """A file's tensors by name, and the description stored with them."""

    path: Path
    tensors: dict[str, Tensor]
    description: dict[str, Any]


def save(path: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> Path:
    """Write tensors and their description in one file, atomically; return its path.

    Parameters
    ----------
    path : Path
        Ends in ``.safetensors``. An earlier file stays until the new one is whole.
    tensors : mapping of name to Tensor
        Copied to the CPU.
    description : mapping
        JSON-ready; read back as it was given.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {"description": dict(description), "sha256": digest(stored, description)}
    with artifacts.replacing(path) as temporary:
        # One entry, because safetensors writes several in random order.
        save_file(stored, temporary, metadata={HEADER: json.dumps(header)})
    return path


def read(path: Path) -> Checkpoint:
    """Read a file of `save` and check it against its own hash.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is truncated, was altered, or was not written by `save`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}; run the training that writes it first")
    untrusted_weights.check_safetensors(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as stored:
            metadata = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is truncated or no checkpoint ({error}); train again") from error
    try:
        header = json.loads(metadata[HEADER])
        description, expected = header["description"], header["sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} has no ssinfnet description; expected a file written by checkpoints.save"
        ) from error
    if digest(tensors, description) != expected:
        raise ValueError(f"{path} was altered after it was written (hash differs); train again")
    return Checkpoint(path, tensors, description)


def architecture(network: nn.Module) -> dict[str, list[int]]:
    """Return name → shape of everything a network stores, which identifies its architecture."""
    return {name: list(value.shape) for name, value in network.state_dict().items()}


def load_weights(network: nn.Module, path: Path) -> dict[str, Any]:
    """Load the weights of a file of the same architecture; return the file's description.

    Raises
    ------
    FileNotFoundError, ValueError
        As `read` and `fill` raise them.
    """
    checkpoint = read(path)
    fill(network, checkpoint)
    return checkpoint.description


class Transfer(NamedTuple):
    """The names of the weights that `fill` loaded, left as they were, and did not use."""

    loaded: list[str]
    left_as_they_were: list[str]
    not_used: list[str]


def fill(
    network: nn.Module, checkpoint: Checkpoint, *, but: Callable[[str], bool] | None = None
) -> Transfer:
    """Give a network the weights of a checkpoint of the same architecture.

    Parameters
    ----------
    network : Module
    checkpoint : Checkpoint
    but : callable or None
        Tells by name which weights may differ: they are neither loaded nor used, as the heads
        after pretraining. None compares and loads all.

    Raises
    ------
    ValueError
        If any other weight is missing, left over or of another shape; the first few are named.
        The network is unchanged then.
    """
    but = but or (lambda name: False)
    expected = architecture(network)
    want = {name: shape for name, shape in expected.items() if not but(name)}
    have = {name: list(t.shape) for name, t in checkpoint.tensors.items() if not but(name)}
    if want != have:
        missing = sorted(want.keys() - have.keys())
        foreign = sorted(have.keys() - want.keys())
        reshaped = sorted(n for n in want.keys() & have.keys() if want[n] != have[n])
        raise ValueError(
            f"{checkpoint.path} holds another architecture than {type(network).__name__}: "
            f"{len(missing)} weights missing {missing[:3]}, {len(foreign)} foreign {foreign[:3]}, "
            f"{len(reshaped)} of another shape {reshaped[:3]}; check model and width of the study"
        )
    network.load_state_dict({name: checkpoint.tensors[name] for name in want}, strict=False)
    return Transfer(
        sorted(want),
        sorted(expected.keys() - want.keys()),
        sorted(checkpoint.tensors.keys() - have),
    )


def digest(tensors: Mapping[str, Tensor], description: Mapping[str, Any] | None = None) -> str:
    """Return the SHA-256 of named tensors (names, types, shapes, bytes) and a JSON description."""
    summed = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        summed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        summed.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return summed.hexdigest()
