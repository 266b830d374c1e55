"""The building blocks of Inf-Net: Res2Net-50 v1b, receptive-field block, partial decoder.

Numbers in the comments are channels at width 1 (Inf-Net, Fan et al. 2020; Res2Net, Gao et al.
2019). Interpolation inside the partial decoder aligns corners, as published.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssinfnet.storage import untrusted_weights

__all__ = [
    "ConvNorm",
    "PartialDecoder",
    "ReceptiveFieldBlock",
    "Res2Net50",
    "load_published",
    "read_published",
    "scaled",
    "widened",
]


def scaled(channels: int, width: float) -> int:
    """Return a channel count times the width factor, at least 1."""
    return max(1, int(channels * width))


class ConvNorm(nn.Sequential):
    """A convolution without bias and its batch norm; no ReLU, as in Inf-Net's code."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int | tuple[int, int], dilation: int = 1
    ) -> None:
        rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (dilation * (rows - 1) // 2, dilation * (columns - 1) // 2)
        super().__init__(
            nn.Conv2d(
                in_channels,
                out_channels,
                (rows, columns),
                padding=padding,
                dilation=dilation,
                bias=False,
            ),
            nn.BatchNorm2d(out_channels),
        )


class Bottle2neck(nn.Module):
    """One Res2Net block: 1×1, four splits of 3×3 in a hierarchy, 1×1, and the shortcut.

    In a stage's first block each split has its own convolution and the last is average-pooled; in
    the others each split adds the one before. Attribute names are those of the published weights.
    """

    expansion = 4
    splits = 4

    def __init__(self, in_channels: int, planes: int, stride: int, first: bool) -> None:
        super().__init__()
        split = max(1, planes * 26 // 64)  # 26, 52, 104, 208
        out_channels = planes * self.expansion
        self.first = first
        self.conv1 = nn.Conv2d(in_channels, split * self.splits, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(split * self.splits)
        self.pool = nn.AvgPool2d(3, stride=stride, padding=1) if first else None
        self.convs = nn.ModuleList(
            nn.Conv2d(split, split, 3, stride=stride, padding=1, bias=False)
            for _ in range(self.splits - 1)
        )
        self.bns = nn.ModuleList(nn.BatchNorm2d(split) for _ in range(self.splits - 1))
        self.conv3 = nn.Conv2d(split * self.splits, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = (
            nn.Sequential(
                nn.AvgPool2d(stride, stride, ceil_mode=True, count_include_pad=False),
                nn.Conv2d(in_channels, out_channels, 1, bias=False),
                nn.BatchNorm2d(out_channels),
            )
            if first
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in, h, w) to (batch, 4·planes, h / stride, w / stride)."""
        *parts, last = F.relu(self.bn1(self.conv1(x))).chunk(self.splits, dim=1)
        outputs: list[Tensor] = []
        for part, conv, norm in zip(parts, self.convs, self.bns, strict=True):
            carried = part if self.first or not outputs else part + outputs[-1]
            outputs.append(F.relu(norm(conv(carried))))
        outputs.append(self.pool(last) if self.pool is not None else last)
        joined = self.bn3(self.conv3(torch.cat(outputs, dim=1)))
        return F.relu(joined + self.downsample(x))


class Res2Net50(nn.Module):
    """Res2Net-50 v1b 26w×4s without its classifier.

    `channels` are those of the features x1..x4 (256, 512, 1024, 2048 at width 1), which lie at
    1/4, 1/8, 1/16 and 1/32 of the input; a decoder asks them here.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        half, full = scaled(32, width), scaled(64, width)
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, half, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(),
            nn.Conv2d(half, half, 3, padding=1, bias=False),
            nn.BatchNorm2d(half),
            nn.ReLU(),
            nn.Conv2d(half, full, 3, padding=1, bias=False),
        )
        self.bn1 = nn.BatchNorm2d(full)
        planes = [scaled(64 * 2**stage, width) for stage in range(4)]
        self.channels = tuple(p * Bottle2neck.expansion for p in planes)
        self.layer1 = self._stage(full, planes[0], blocks=3, stride=1)
        self.layer2 = self._stage(self.channels[0], planes[1], blocks=4, stride=2)
        self.layer3 = self._stage(self.channels[1], planes[2], blocks=6, stride=2)
        self.layer4 = self._stage(self.channels[2], planes[3], blocks=3, stride=2)
        _start_at_random(self)

    @staticmethod
    def _stage(in_channels: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
        first = Bottle2neck(in_channels, planes, stride, first=True)
        out_channels = planes * Bottle2neck.expansion
        rest = [Bottle2neck(out_channels, planes, 1, first=False) for _ in range(blocks - 1)]
        return nn.Sequential(first, *rest)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map (batch, 3, size, size) to the features x1, x2, x3, x4."""
        x = F.relu(self.bn1(self.conv1(x)))
        x1 = self.layer1(F.max_pool2d(x, 3, stride=2, padding=1))
        x2 = self.layer2(x1)
        x3 = self.layer3(x2)
        return x1, x2, x3, self.layer4(x3)

    def load_imagenet(self, file: str | Path) -> None:
        """Load published ImageNet weights from a local file (.pth or .safetensors).

        Official Res2Net-50 v1b and timm's `res2net50d` files both fit: their names are ours, plus
        a classifier `fc.*` that has no place here.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If a weight is missing, left over or of another shape; all are listed.
        """
        published = read_published(
            file,
            "Res2Net-50 v1b 26w 4s (res2net50_v1b_26w_4s-3cf99910.pth of the authors of Res2Net)",
        )
        published = {name: value for name, value in published.items() if name[:3] != "fc."}
        load_published(self, published, file, "Res2Net-50 v1b 26w 4s")


class ReceptiveFieldBlock(nn.Module):
    """Four parallel branches of growing receptive field, joined, plus a residual."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        c = out_channels
        self.branches = nn.ModuleList([ConvNorm(in_channels, c, 1)])
        for k in (3, 5, 7):
            self.branches.append(
                nn.Sequential(
                    ConvNorm(in_channels, c, 1),
                    ConvNorm(c, c, (1, k)),
                    ConvNorm(c, c, (k, 1)),
                    ConvNorm(c, c, 3, dilation=k),
                )
            )
        self.join = ConvNorm(4 * c, c, 3)
        self.residual = ConvNorm(in_channels, c, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in, h, w) to (batch, out, h, w)."""
        joined = self.join(torch.cat([branch(x) for branch in self.branches], dim=1))
        return F.relu(joined + self.residual(x))


class PartialDecoder(nn.Module):
    """The parallel partial decoder: features at 1/32, 1/16, 1/8 → S_g at 1/8.

    The head is a convolution of its own, `head`, so that pretraining can swap it.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        c = channels  # 32
        self.k1, self.k2, self.k3 = (ConvNorm(c, c, 3) for _ in range(3))
        self.k5 = ConvNorm(c, c, 3)
        self.k4, self.k7 = (ConvNorm(2 * c, 2 * c, 3) for _ in range(2))
        self.k6 = ConvNorm(3 * c, 3 * c, 3)
        self.smooth = ConvNorm(3 * c, 3 * c, 3)
        self.head = nn.Conv2d(3 * c, 1, 1)

    def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        """Decode a = x4r (1/32), b = x3r (1/16), c = x2r (1/8)."""

        def up(x: Tensor) -> Tensor:
            return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)

        up_a = up(a)
        b1 = self.k1(up_a) * b
        c1 = self.k2(up(up_a)) * self.k3(up(b)) * c
        d = self.k4(torch.cat([b1, self.k5(up_a)], dim=1))
        e = self.k6(torch.cat([c1, self.k7(up(d))], dim=1))
        return self.head(self.smooth(e))


def load_published(
    module: nn.Module, weights: Mapping[str, Tensor], file: str | Path, title: str
) -> None:
    """Give a module published weights under its own names.

    Parameters
    ----------
    module : Module
    weights : mapping of str to Tensor
        All that the module has, and no others.
    file, title
        Where they come from, and what they should be: named in the error.

    Raises
    ------
    ValueError
        If a weight is missing, left over or of another shape; all are listed.
    """
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{file} does not hold {title}: {error}") from error


def widened(weight: Tensor, in_channels: int) -> Tensor:
    """Return the weight of a first convolution for more input channels than the published three.

    The further ones start at zero, so that a network starts with what it has learnt of slices.

    Parameters
    ----------
    weight : (out, channels, height, width) tensor
    in_channels : int
        A weight that has as many already is returned as it is.
    """
    if weight.shape[1] >= in_channels:
        return weight
    wide = weight.new_zeros(weight.shape[0], in_channels, *weight.shape[2:])
    wide[:, : weight.shape[1]] = weight
    return wide


def read_published(file: str | Path, network: str) -> dict[str, Tensor]:
    """Return published weights of a network by name, from a local .pth or .safetensors file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is truncated, too large, or holds anything but tensors by name.
    """
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(
            f"no ImageNet weights at {path}; download {network}, or set imagenet_weights to null "
            "to start at random"
        )
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        untrusted_weights.check_safetensors(path)
        read: Callable[[Path], dict[str, Tensor]] = load_file
    else:
        untrusted_weights.check_torch_file(path)
        read = _tensors_of_pickle

    try:
        weights = read(path)
    except Exception as error:  # torch and safetensors fail in many ways
        raise ValueError(f"{path} is truncated or no file of weights ({error})") from error
    if not isinstance(weights, dict) or not all(isinstance(w, Tensor) for w in weights.values()):
        raise ValueError(f"{path} holds no weights by name; expected those of {network}")
    return weights


def _tensors_of_pickle(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a ``.pth`` file alone: whatever else a pickle would run is refused."""
    # From memory, where a length in a broken file takes no more than the file has.
    return torch.load(BytesIO(path.read_bytes()), map_location="cpu", weights_only=True)


def _start_at_random(network: nn.Module) -> None:
    """Start convolutions with He's fan-out normal, as Res2Net does, and blocks at the identity.

    A block whose last norm is zero passes its shortcut on unchanged (Goyal et al. 2017, §5.1).
    With ones, which suit ImageNet weights only, gradients grow a thousandfold from layer 4 to the
    stem (D-75).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, Bottle2neck):
            nn.init.zeros_(module.bn3.weight)
