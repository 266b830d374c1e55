"""Milliseconds a slice, forward and training step, at 352 px: eager against channels-last.

`python benchmarks/networks.py [--threads 2] [--repeats 3]` writes networks.csv. Each layout is
measured in turn, A B A B, and the ratio is of medians, so that a drifting machine harms both alike.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import pandas as pd
import torch

from ssinfnet import networks
from ssinfnet.storage import artifacts
from ssinfnet.training import segmentation

SIZE = 352
LAYOUTS = {"eager": torch.contiguous_format, "channels-last": torch.channels_last}


def step(network, inputs, lesion, optimiser) -> None:
    """Do one training step as `training` does."""
    segmentation.single_loss(network(inputs), lesion, lesion).backward()
    torch.nn.utils.clip_grad_value_(network.parameters(), 0.5)
    optimiser.step()
    optimiser.zero_grad()


def measure(model: str, batch: int, repeats: int) -> list[dict]:
    """Return a row a layout and pass."""
    made = {}
    for layout, memory_format in LAYOUTS.items():
        network = networks.build_single(model).to(memory_format=memory_format)
        inputs = torch.rand(batch, 3, SIZE, SIZE).contiguous(memory_format=memory_format)
        made[layout] = (network, inputs, torch.optim.Adam(network.parameters(), 1e-4))
    lesion = (torch.rand(batch, 1, SIZE, SIZE) > 0.9).float()
    times = {(layout, what): [] for layout in LAYOUTS for what in ("forward", "training step")}
    for repeat in range(repeats + 1):
        for layout, (network, inputs, optimiser) in made.items():
            with torch.inference_mode():
                began = time.perf_counter()
                network.eval()(inputs)
                forward = time.perf_counter() - began
            network.train()
            began = time.perf_counter()
            step(network, inputs, lesion, optimiser)
            if repeat:  # the first pass warms up
                times[layout, "forward"].append(forward)
                times[layout, "training step"].append(time.perf_counter() - began)
    medians = {key: statistics.median(values) for key, values in times.items()}
    return [
        {
            "model": model,
            "pass": what,
            "batch": batch,
            "layout": layout,
            "ms_per_slice": round(1000 * seconds / batch, 1),
            "ratio_to_eager": round(seconds / medians["eager", what], 3),
        }
        for (layout, what), seconds in medians.items()
    ]


def main() -> None:
    """Measure all and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for model in ("infnet", "unet"):
        for batch in (1, 4, 8):
            rows += measure(model, batch, options.repeats)
            print(pd.DataFrame(rows[-4:]).to_string(index=False, header=len(rows) == 4), flush=True)
    table = pd.DataFrame(rows).assign(threads=options.threads)
    artifacts.write_text(Path(__file__).with_name("networks.csv"), table.to_csv(index=False))


if __name__ == "__main__":
    main()
