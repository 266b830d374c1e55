"""Compare losses on one slice.

The focal loss counts what is nearly right for little, so that hard pixels lead the training; with
γ = 0 it is the plain cross-entropy.
"""

import torch

import ssinfnet as ss

labels = torch.tensor([[[0, 1], [2, 0]]])  # background, ground glass, consolidation
classes = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float()
logits = 8 * classes - 4  # sure of everything, and right
for gamma in (0.0, 1.0, 2.0):
    loss = ss.losses.focal_loss(logits, classes, gamma=gamma)
    print(f"γ = {gamma:g}: {float(loss):.2e}")
