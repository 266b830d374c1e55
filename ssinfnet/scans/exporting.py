"""A packed model as one ONNX file, for programs that have neither PyTorch nor this library.

The file takes grey slices at the network's size and answers with probabilities at that size. What a
program around it has to do (window, resize, put back) is written into the file's metadata.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ssinfnet import inference
from ssinfnet.data.batches import network_input
from ssinfnet.scans.model_folder import Chain, Model, load
from ssinfnet.storage import artifacts

__all__ = ["INSTALL", "Segmenter", "difference", "export_onnx"]

INSTALL = "pip install 'ssinfnet[onnx]'"
OPSET = 18
CLOSE = 1e-4  # of a probability, between PyTorch and ONNX Runtime
CHECKED = 3  # slices on which both are compared; the graph is drawn from one fewer


class Segmenter(nn.Module):
    """Both stages of all members of a model: grey slices in, averaged probabilities out.

    Parameters
    ----------
    chains : iterable of Chain
        The members.
    flips : bool
        Average over the four views flipped in the plane, as for `prediction.predict`.
    """

    def __init__(self, chains: tuple[Chain, ...], *, flips: bool = False) -> None:
        super().__init__()
        self.members = nn.ModuleList(
            nn.ModuleDict({name: network for name, network in zip(
                ("single", "prior", "multi"), (chain.single, chain.prior, chain.multi), strict=True
            ) if network is not None})
            for chain in chains
        )  # fmt: skip
        self.reads_prior = tuple(chain.reads_prior for chain in chains)
        self.flips = inference.flips_of(flips)

    def forward(self, grey: Tensor) -> tuple[Tensor, ...]:
        """Segment slices.

        Parameters
        ----------
        grey : (n, 1, size, size) float tensor in [0, 1]
            HU over the model's window, or 8-bit grey values over 255.

        Returns
        -------
        lesion : (n, 1, size, size) float tensor
            Probability of lesion.
        classes : (n, 3, size, size) float tensor
            Probabilities of background, GGO and consolidation; the largest is a pixel's class. Not
            returned by a model without a second stage.
        """
        lesions, classes = [], []
        members: Iterable[Any] = self.members
        for member, reads_prior in zip(members, self.reads_prior, strict=True):
            lesion = self._views(member["single"], network_input(grey))
            lesions.append(lesion)
            if "multi" not in member:
                continue
            prior = None
            if reads_prior:
                prior = lesion
                if "prior" in member:
                    prior = self._views(member["prior"], network_input(grey))
                prior = torch.round(prior * 255) / 255  # as stage 2 was trained on it
            given = network_input(grey, prior, tells_classes=True)
            classes.append(self._views(member["multi"], given))
        means = [torch.stack(maps).mean(0) for maps in (lesions, classes) if maps]
        return tuple(means)

    def _views(self, network: nn.Module, given: Tensor) -> Tensor:
        """Return a network's probabilities, averaged over the flipped views.

        The views go through the network as one batch: four passes would make a graph four times as
        large.
        """
        views = torch.cat([given.flip(flip) if flip else given for flip in self.flips])
        logits = network(views).segmentations[-1]
        # No chunk: it would write the number of slices into the graph.
        each = logits.reshape(len(self.flips), given.shape[0], *logits.shape[1:]).unbind()
        back = [
            view.flip(flip) if flip else view for view, flip in zip(each, self.flips, strict=True)
        ]
        return torch.stack(back).sigmoid().mean(0)


def export_onnx(folder: Path | str, path: Path, *, flips: bool | None = None) -> float:
    """Write a packed model as one ONNX file, and compare it with PyTorch.

    Parameters
    ----------
    folder : path
        A folder of `ssinfnet model pack`.
    path : Path
        Ends in ``.onnx``.
    flips : bool or None
        The same as for `prediction.predict`; None does as the model's study did.

    Returns
    -------
    float
        The largest difference of a probability between PyTorch and ONNX Runtime, on slices of
        noise of every brightness.

    Raises
    ------
    FileExistsError
        If the file is there.
    FileNotFoundError, ValueError
        As `model_folder.load`; if the name has another ending, or the two programs differ.
    RuntimeError
        If the packages of the extra ``onnx`` are not installed.
    """
    if path.suffix != ".onnx":
        raise ValueError(f"{path} must end in .onnx")
    if path.exists():
        raise FileExistsError(f"{path} is there already; give another name, or move it away")
    model = load(folder)
    if flips is None:
        flips = model.flipped_views
    segmenter = Segmenter(model.chains, flips=flips).eval()
    slices = _noise(model.description.image_size)
    try:
        import onnx
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise RuntimeError(f"an ONNX file needs {error.name}; {INSTALL}") from error
    names = ["lesion", "classes"][: 1 + model.tells_classes()]
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # torch's own, about its internals
        program: Any = torch.onnx.export(
            segmenter, (slices[1:],), input_names=["grey"], output_names=names, opset_version=OPSET,
            dynamic_shapes={"grey": {0: torch.export.Dim("slices", min=1)}}, dynamo=True,
            verbose=False,
        )  # fmt: skip
    described = program.model_proto
    onnx.helper.set_model_props(described, _metadata(model, flips))
    onnx.checker.check_model(described)
    content = described.SerializeToString()
    off = difference(content, segmenter, slices)
    if not off <= CLOSE:
        raise ValueError(f"ONNX Runtime's probabilities differ by {off:.2g} from PyTorch's")
    with artifacts.replacing(path) as temporary:
        temporary.write_bytes(content)
    return off


@torch.inference_mode()
def difference(content: bytes, segmenter: Segmenter, slices: Tensor) -> float:
    """Return the largest difference of a probability between an ONNX file and a segmenter."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    answered = session.run(None, {"grey": slices.numpy()})
    return max(
        float(np.abs(own - one.numpy()).max())
        for own, one in zip(answered, segmenter(slices), strict=True)
    )


def _noise(size: int) -> Tensor:
    """Return slices of noise, from dark on the left to bright on the right."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 0.8, size)
    return torch.from_numpy((ramp + 0.2 * rng.random((CHECKED, 1, size, size))).astype(np.float32))


def _metadata(model: Model, flips: bool) -> dict[str, str]:
    """Return what a program around the file has to know."""
    described = model.description
    facts: dict[str, Any] = {
        "model": described.name,
        "sha256_of_model_json": model.digest,
        "image_size": described.image_size,
        "window_hu": list(described.window_hu),
        "threshold": described.threshold,
        "flipped_views": flips,
        "input": "grey: (slices, 1, image_size, image_size) float32 in [0, 1], HU clipped to "
        "window_hu and scaled, axial, "
        + ("cut to the box around the scan's lungs, " if model.crops_to_lungs else "")
        + "resized whole and rounded to 8 bits",
        "output": "lesion: probability; classes: background, GGO, consolidation, the largest is it",
        "use": "research only, not a medical device",
    }
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in facts.items()
    }
