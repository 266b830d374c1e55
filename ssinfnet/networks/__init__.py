"""The networks, each module in the order of its figure."""

from ssinfnet.networks.infnet import InfNet
from ssinfnet.networks.unet import UNet

__all__ = ["InfNet", "UNet", "build_single"]


def build_single(model: str, width: float = 1.0, imagenet_weights: str | None = None):
    """Build a stage-1 network, which maps a slice to lesion logits.

    Parameters
    ----------
    model : {"unet", "sinfnet"}
        Name as in a study's `single.models`.
    width : float
        Factor on every channel count; 1 is the published network.
    imagenet_weights : str or None
        Local file with ImageNet weights for Inf-Net's backbone.

    Returns
    -------
    torch.nn.Module
        Maps (batch, 3, size, size) to a tuple of logits (batch, 1, size, size), the prediction
        last among the segmentations: see `InfNet` and `UNet`.

    Raises
    ------
    ValueError
        If the name is unknown, or ImageNet weights are given to a network without a backbone.
    """
    if model == "sinfnet":
        network = InfNet(width=width)
        if imagenet_weights is not None:
            network.backbone.load_imagenet(imagenet_weights)
        return network
    if model == "unet":
        # The U-Net has no ImageNet counterpart: it starts at random beside a pretrained Inf-Net.
        return UNet(in_channels=3, out_channels=1, width=width)
    raise ValueError(f"unknown stage-1 model {model!r}; expected 'unet' or 'sinfnet'")
