"""A training loop as public implementations of Inf-Net write it: what ours is held against.

PyTorch alone, in float32 as PyTorch computes it by default: a `DataLoader` whose workers load,
augment and normalise one slice at a time; for each batch and scale the batch resized, the forward
pass, the four weighted losses and that of the edge, the backward pass, the gradients clamped one
tensor at a time and an Adam that is not fused. The network is ours, so that its arithmetic is the
same; loss and loop are those of Inf-Net's published training script, written anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

CLAMP = 0.5  # of each gradient entry
MOST_WORKERS = 8


class Slices(Dataset):
    """Slices on the processor; each is flipped, scaled to [0, 1] and normalised when asked for."""

    def __init__(self, images: np.ndarray, masks: np.ndarray) -> None:
        self.images, self.masks = images, masks

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return input (3, size, size), lesion and edge (1, size, size)."""
        image, mask = self.images[index], self.masks[index]
        for axis in (0, 1):
            if np.random.rand() < 0.5:  # noqa: NPY002 as such scripts draw
                image, mask = np.flip(image, axis), np.flip(mask, axis)
        grey = torch.from_numpy(image.astype(np.float32) / 255)
        lesion = torch.from_numpy((mask > 0).astype(np.float32))[None]
        edge = (F.max_pool2d(lesion, 3, 1, 1) - lesion).clamp(0, 1)
        return ((grey - grey.mean()) / grey.std().clamp(min=1e-2)).expand(3, -1, -1), lesion, edge


def structure_loss(logits: Tensor, lesion: Tensor) -> Tensor:
    """Return the weighted cross-entropy and intersection over union of one map."""
    weights = 1 + 5 * torch.abs(F.avg_pool2d(lesion, 31, stride=1, padding=15) - lesion)
    entropy = F.binary_cross_entropy_with_logits(logits, lesion, reduction="none")
    entropy = (weights * entropy).sum(dim=(2, 3)) / weights.sum(dim=(2, 3))
    probability = torch.sigmoid(logits)
    both = (probability * lesion * weights).sum(dim=(2, 3))
    either = ((probability + lesion) * weights).sum(dim=(2, 3))
    return (entropy + 1 - (both + 1) / (either - both + 1)).mean()


def epochs(
    network: nn.Module,
    images: np.ndarray,
    masks: np.ndarray,
    *,
    batch_size: int,
    scales: Sequence[float],
    device: torch.device,
) -> Iterator[float]:
    """Train for as long as asked, and yield the seconds of each epoch.

    Parameters
    ----------
    network : Module
        Inf-Net, or a network of one map.
    images, masks : (n, size, size) uint8 arrays
    batch_size : int
    scales : sequence of float
        Factors on the size, one step each.
    device : torch.device
    """
    workers = min(MOST_WORKERS, (os.cpu_count() or 1) - 1)
    loader = DataLoader(
        Slices(images, masks),
        batch_size=batch_size,
        shuffle=True,
        num_workers=workers,
        pin_memory=device.type == "cuda",
    )
    network.to(device).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
    while True:
        began = time.perf_counter()
        for given in loader:
            for scale in scales:
                inputs, lesion, edge = (part.to(device) for part in given)
                size = int(round(inputs.shape[-1] * scale / 32) * 32)
                if scale != 1:
                    inputs, lesion, edge = (
                        F.interpolate(part, size=(size, size), mode="bilinear", align_corners=True)
                        for part in (inputs, lesion, edge)
                    )
                optimiser.zero_grad()
                output = network(inputs)
                loss = sum(structure_loss(logits, lesion) for logits in output.segmentations)
                if hasattr(output, "edge"):
                    loss = loss + F.binary_cross_entropy_with_logits(output.edge, edge)
                loss.backward()
                for group in optimiser.param_groups:
                    for parameter in group["params"]:
                        if parameter.grad is not None:
                            parameter.grad.data.clamp_(-CLAMP, CLAMP)
                optimiser.step()
                float(loss)  # which such loops add up after every step
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        yield time.perf_counter() - began
