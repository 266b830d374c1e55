"""What a step of each kind of training costs, against the same network's plain step.

Steps of the pretext task (network and coach) and of stage 2 beside the plain step of the network,
each eager, channels-last and, on CUDA, in bf16 as `training` runs them and compiled; the share of a
step that making its batch takes; and on CUDA the most memory a step held. Writes steps.csv, or
steps_cuda.csv on a GPU. With `--memory` it measures instead, and prints, how much memory this
process holds at most for a stage-1 step, libraries included.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ssinfnet import networks
from ssinfnet.data import batches
from ssinfnet.storage import artifacts
from ssinfnet.study.config import AugmentationConfig, PhaseConfig, PretextConfig
from ssinfnet.training import fitting, pretext, segmentation
from ssinfnet.training.optimizers import Lookahead

EAGER, LAST = torch.contiguous_format, torch.channels_last
CHANGES = AugmentationConfig(quarter_turn=0.5, crop=0.5, cutout=0.5)


def loader(kind: str, size: int, batch: int, device: torch.device) -> batches.Batches:
    """Return random slices as the training of that kind reads them."""
    rng = np.random.default_rng(0)
    count = 4 * batch
    images = rng.integers(0, 255, (count, size, size)).astype(np.uint8)
    labels = rng.integers(0, 3, (count, size, size)).astype(np.uint8)
    multi = kind.startswith("multi")
    slices = batches.SliceSet.of(images, labels, images if multi else None)
    views = {"single": batches.lesion_view, "multi": batches.multi_view}
    inpainting = kind.endswith("pretext")
    return batches.Batches(
        slices,
        batches.inpainting_view if inpainting else views[kind],
        batch_size=batch,
        seed=0,
        device=device,
        inputs=2 if inpainting else 1,
        augmentation=CHANGES,
    )


def steps(device: torch.device) -> dict[str, tuple[str, Callable, Callable, Callable]]:
    """Return name → (kind of batch, network builder, optimiser builder, loss) of every step."""
    config = PretextConfig()
    single, multi = (pretext.Task(config, edge, device) for edge in (True, False))
    adam = partial(torch.optim.Adam, lr=1e-4, fused=True)
    sgd = partial(torch.optim.SGD, lr=0.01, momentum=0.7, fused=True)

    def turn(stage: str, learner: str, coached: bool) -> Callable:
        def build() -> pretext.Turn:
            coach = networks.Coach(3 if stage == "single" else 6) if coached else None
            return pretext.Turn(networks.build_inpainter(stage), coach, learner, config, device)

        return build

    def loss_of(task: pretext.Task, learner: str) -> Callable:
        return task.recipe(PhaseConfig(train=learner, epochs=1)).loss

    u_net = partial(networks.build_multi, "unet", True)
    return {
        "single, plain": ("single", partial(networks.build_single, "infnet"), adam,
                          segmentation.single_loss),
        "single, inpainting, random masks": ("single pretext", turn("single", "network", False),
                                             sgd, loss_of(single, "network")),
        "single, inpainting, coach's masks": ("single pretext", turn("single", "network", True),
                                              sgd, loss_of(single, "network")),
        "single, the coach learns": ("single pretext", turn("single", "coach", True), adam,
                                     loss_of(single, "coach")),
        "multi, plain": ("multi", u_net, sgd, partial(segmentation.multi_loss, gamma=0.0)),
        "multi, focal and Lookahead": ("multi", u_net, lambda p: Lookahead(sgd(p)),
                                       partial(segmentation.multi_loss, gamma=2.0)),
        "multi, inpainting, coach's masks": ("multi pretext", turn("multi", "network", True), sgd,
                                             loss_of(multi, "network")),
        "multi, the coach learns": ("multi pretext", turn("multi", "coach", True), adam,
                                    loss_of(multi, "coach")),
    }  # fmt: skip


def measure(
    what: tuple, variant: str, size: int, batch: int, device: torch.device, repeats: int
) -> dict[str, float]:
    """Return milliseconds a slice of a step, the share that making batches takes, and memory."""
    kind, build, optimise, loss = what
    torch.manual_seed(0)
    network = build().to(device).train()
    for part in getattr(network, "pair", (network,)):  # both networks of a turn
        if part is not None:
            part.to(memory_format=EAGER if variant == "eager" else LAST)
    runs = torch.compile(network) if variant == "compiled" else network
    optimiser = optimise([p for p in network.parameters() if p.requires_grad])
    half = variant in ("bf16", "compiled")
    data = loader(kind, size, batch, device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    loading, whole = [], []
    for epoch in range(-(-(repeats + 2) // len(data))):
        data.epoch = epoch
        made = iter(data)
        for _ in range(len(data)):
            began = _now(device)
            parts = next(made)
            loaded = _now(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                output = runs(*parts[: data.n_inp])
            output = type(output)(*(part.float() for part in output))
            loss(output, *parts[data.n_inp :]).backward()
            optimiser.step()
            optimiser.zero_grad()
            loading.append(loaded - began)
            whole.append(_now(device) - began)
    loading, whole = loading[2:], whole[2:]  # the first passes warm up
    memory = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else float("nan")
    return {
        "ms_per_slice": 1000 * statistics.median(whole) / batch,
        "batch_share": statistics.median(loading) / statistics.median(whole),
        "memory_gib": memory,
    }


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    """Measure and write the table."""
    device = fitting.best_device()
    cuda = device.type == "cuda"
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=352 if cuda else 128)
    parser.add_argument("--batch", type=int, default=8 if cuda else 4)
    parser.add_argument("--repeats", type=int, default=20 if cuda else 4)
    parser.add_argument("--memory", action="store_true")
    asked = parser.parse_args()
    if not cuda:
        torch.set_num_threads(2)
    if asked.memory:
        measure(steps(device)["single, plain"], "channels-last", asked.size, asked.batch, device, 1)
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(f"{asked.size} px, batch {asked.batch}: {held:.2f} GiB")
        return
    variants = ("eager", "channels-last", *(("bf16", "compiled") if cuda else ()))
    rows = []
    for name, what in steps(device).items():
        for variant in variants:
            row = measure(what, variant, asked.size, asked.batch, device, asked.repeats)
            rows.append({"step": name, "variant": variant, **row})
            print(name, variant, {key: round(value, 2) for key, value in row.items()}, flush=True)
    table = pd.DataFrame(rows)
    stage = table["step"].str.partition(",")[0]
    times = table.set_index(["step", "variant"])["ms_per_slice"]
    plain = [times[f"{s}, plain", v] for s, v in zip(stage, table["variant"], strict=True)]
    eager = [times[s, "eager"] for s in table["step"]]
    table.insert(3, "ratio_to_plain", table["ms_per_slice"] / plain)
    table.insert(4, "ratio_to_eager", table["ms_per_slice"] / eager)
    table = table.assign(size=asked.size, batch=asked.batch).round(3)
    name = "steps_cuda.csv" if cuda else "steps.csv"
    artifacts.write_text(Path(__file__).with_name(name), table.to_csv(index=False))


if __name__ == "__main__":
    main()
