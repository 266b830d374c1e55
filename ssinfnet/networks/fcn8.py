"""FCN8s: VGG16 features, five deconvolutions and two skips (S §2), the transfer-learning baseline.

S gives the network by name and widens its first layer to six channels; sizes are those of the
paper's public code, read off as numbers.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from ssinfnet.networks.blocks import load_published, read_published, scaled, widened
from ssinfnet.networks.unet import UNetOutput

__all__ = ["FCN8s"]

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class FCN8s(nn.Module):
    """With 3 input and 3 output channels 18,643,779 parameters at width 1; 1,728 more with 6.

    Parameters
    ----------
    in_channels, out_channels : int
    width : float
        Factor on every channel count; 1 is the published network.
    """

    heads = ("head",)

    def __init__(self, in_channels: int, out_channels: int, width: float = 1.0) -> None:
        super().__init__()
        self.in_channels = in_channels
        layers: list[nn.Module] = []
        self.ends: list[int] = []  # layers of the five stages end here, each with a max-pool
        channels = in_channels
        for stage in STAGES:
            for out in (scaled(planes, width) for planes in stage):
                layers += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU()]
                channels = out
            layers.append(nn.MaxPool2d(2))
            self.ends.append(len(layers))
        self.features = nn.Sequential(*layers)
        c = [scaled(planes, width) for planes in (512, 512, 256, 128, 64, 32)]
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)
            for before, after in zip(c, c[1:], strict=False)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(after) for after in c[1:])
        self.head = nn.Conv2d(c[-1], out_channels, 1)
        self.tells_classes = out_channels > 1
        for layer in self.features:  # VGG's random start (D-183), which load_imagenet replaces
            if isinstance(layer, nn.Conv2d) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> UNetOutput:
        """Map (batch, in_channels, size, size) to logits of that size."""
        skips: list[Tensor] = []
        for first, last in zip([0, *self.ends], self.ends, strict=False):
            x = self.features[first:last](x)
            skips.append(x)
        for index, (up, norm) in enumerate(zip(self.up, self.norms, strict=True)):
            x = F.relu(up(x))
            if index < 2:  # 1/16 and 1/8
                x = x + skips[3 - index]
            x = norm(x)
        return UNetOutput(self.head(x))

    def load_imagenet(self, file: str | Path) -> None:
        """Load published VGG16 weights from a local file; its classifier has no place here.

        The published first layer has three channels; see `blocks.widened` for further ones.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it does not hold VGG16's features.
        """
        published = read_published(file, "VGG16 (vgg16-397923af.pth of torchvision)")
        features = {
            name.removeprefix("features."): value
            for name, value in published.items()
            if name.startswith("features.")
        }
        if "0.weight" in features:
            features["0.weight"] = widened(features["0.weight"], self.in_channels)
        load_published(self.features, features, file, "VGG16")
