"""The networks, each module in the order of its figure."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ssinfnet.networks.blocks import Res2Net50
from ssinfnet.networks.coach import Coach, CoachOutput
from ssinfnet.networks.diagram import Diagram, diagram
from ssinfnet.networks.efficientnet import EfficientNetLite
from ssinfnet.networks.fcn8 import FCN8s
from ssinfnet.networks.heads import is_head, swap_heads
from ssinfnet.networks.infnet import InfNet
from ssinfnet.networks.lite_unet import LiteUNet
from ssinfnet.networks.unet import UNet

__all__ = [
    "Coach",
    "CoachOutput",
    "Diagram",
    "EfficientNetLite",
    "FCN8s",
    "InfNet",
    "LITE",
    "LiteUNet",
    "UNet",
    "build_inpainter",
    "build_multi",
    "build_single",
    "diagram",
    "diagrams",
    "is_head",
    "seeded",
    "swap_heads",
    "to_device",
]


LITE = ("infnet_lite", "unet_lite")  # start from the weights of EfficientNet-Lite0


def build_single(
    network: str, width: float = 1.0, imagenet_weights: str | None = None
) -> nn.Module:
    """Build a stage-1 network, which maps a slice to lesion logits.

    Parameters
    ----------
    network : {"infnet", "infnet_lite", "unet", "unet_lite"}
        SInfNet and SSInfNet are Inf-Net both; the lite ones have EfficientNet-Lite0 for their
        backbone.
    width : float
        Factor on every channel count, but the lite backbone's; 1 is the published network.
    imagenet_weights : str or None
        Local file with ImageNet weights for the backbone. The U-Net has no ImageNet counterpart:
        it starts at random beside a pretrained Inf-Net.

    Returns
    -------
    Module
        Maps (batch, 3, size, size) to a tuple of logits (batch, 1, size, size), the prediction
        last among the segmentations: see `InfNet`, `UNet` and `LiteUNet`.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    if network in ("infnet", "infnet_lite"):
        backbone = EfficientNetLite() if network == "infnet_lite" else Res2Net50(width)
        return InfNet(width, _started(backbone, imagenet_weights))
    if network == "unet":
        return UNet(in_channels=3, out_channels=1, width=width)
    if network == "unet_lite":
        return _started(LiteUNet(in_channels=3, out_channels=1, width=width), imagenet_weights)
    raise ValueError(f"no stage-1 network {network!r}; infnet, infnet_lite, unet or unet_lite")


def build_multi(
    network: str, prior: bool, width: float = 1.0, imagenet_weights: str | None = None
) -> nn.Module:
    """Build a stage-2 network, which maps a slice, and its prior, to class logits.

    Parameters
    ----------
    network : {"unet", "fcn8s", "unet_lite"}
        Multi SInfNet and SSInfNet are the U-Net with prior (D-09).
    prior : bool
        Whether three channels of prior follow the slice's three.
    width : float
        Factor on every channel count; 1 is the published network.
    imagenet_weights : str or None
        Local file with ImageNet weights for the FCN8s' VGG16, or the lite one's backbone.

    Returns
    -------
    Module
        Maps (batch, 3 or 6, size, size) to logits (batch, 3, size, size) of background, GGO and
        consolidation.

    Raises
    ------
    ValueError
        If the name is unknown.
    """
    channels = 6 if prior else 3
    if network == "unet":
        return UNet(in_channels=channels, out_channels=3, width=width)
    if network == "fcn8s":
        return _started(FCN8s(in_channels=channels, out_channels=3, width=width), imagenet_weights)
    if network == "unet_lite":
        unet = LiteUNet(in_channels=channels, out_channels=3, width=width)
        return _started(unet, imagenet_weights)
    raise ValueError(f"no stage-2 network {network!r}; unet, fcn8s or unet_lite")


def _started(network: Any, imagenet_weights: str | None) -> nn.Module:
    """Return a network with the published weights of ImageNet, where a file of them is given."""
    if imagenet_weights is not None:
        network.load_imagenet(imagenet_weights)
    return network


def build_inpainter(
    stage: str,
    width: float = 1.0,
    imagenet_weights: str | None = None,
    network: str = "infnet",
) -> nn.Module:
    """Build the network that inpainting pretrains: that of the stage, with linear heads.

    Parameters
    ----------
    stage : {"single", "multi"}
        Inf-Net, which restores the slice, or the U-Net of stage 2, which restores slice and prior.
    width, imagenet_weights
        As for `build_single`.
    network : {"infnet", "infnet_lite"}
        Name of the stage-1 network.

    Raises
    ------
    ValueError
        If there is no such stage.
    """
    if stage == "single":
        return swap_heads(build_single(network, width, imagenet_weights), 3)
    if stage == "multi":
        return swap_heads(build_multi("unet", True, width), 6)
    raise ValueError(f"a stage is 'single' or 'multi', got {stage!r}")


def diagrams() -> dict[str, Diagram]:
    """Trace every network of SSInfNet at its published size, to be drawn (J figure 1)."""
    with torch.device("meta"):  # shapes alone: drawing 130 million weights takes seconds
        return {
            "coach_single": diagram(Coach(3)),
            "inpainter_single": diagram(build_inpainter("single")),
            "single": diagram(build_single("infnet")),
            "coach_multi": diagram(Coach(6), 6),
            "inpainter_multi": diagram(build_inpainter("multi"), 6),
            "multi": diagram(build_multi("unet", True), 6),
        }


def seeded(seed: int, build: Callable[..., nn.Module], *arguments: Any) -> nn.Module:
    """Build a network whose random start depends on the seed alone.

    The global generator is left as it was.

    Parameters
    ----------
    seed : int
    build : callable
        Such as `build_single`, called with the other arguments.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build(*arguments)


def to_device(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to a device, its weights laid out as convolutions read them fastest."""
    # torch takes both at once, and its types know each alone
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
