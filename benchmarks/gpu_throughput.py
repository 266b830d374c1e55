"""Images a second of Inf-Net and both U-Nets on the device at hand; a part of `gpu.py`.

`python benchmarks/gpu_throughput.py --to DIR [--seconds 180] [--size 352]` writes DIR/gpu.csv anew
after every row, the most telling rows first:

- `epoch`: whole epochs over 50 slices in batches of 8, at the paper's scales where the network has
  them. `plain loop` is `gpu_plain.py`; `ours` is `fitting.fit`, validation and states included;
  `ours, steps alone` the same steps over batches that are there already.
- `forward` and `step` (forward, loss, backward, optimiser) of one batch: float32 as PyTorch has it,
  channels-last, bf16 (channels-last too), bf16 compiled, and bf16 as a CUDA graph.

`share_of_bf16_peak` is of what a large bf16 matrix product reaches on the same device, both counted
as multiplications and additions of convolutions and products alone. What fails, such as for want of
memory, is NaN with a reason.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice, product
from pathlib import Path

import gpu_plain
import numpy as np
import pandas as pd
import timed_training
import torch
from torch.utils.flop_counter import FlopCounterMode

from ssinfnet import networks
from ssinfnet.data.batches import Batches, SliceSet, lesion_view
from ssinfnet.evaluation import cost
from ssinfnet.storage import artifacts
from ssinfnet.study.config import TrainingConfig
from ssinfnet.training import fitting, segmentation
from ssinfnet.training.runs import Run

NETWORKS = {
    "Inf-Net": (("single", "infnet"), 3, 2),  # (what builds it, input channels, targets)
    "U-Net of stage 1": (("single", "unet"), 3, 2),
    "U-Net of stage 2": (("multi", "unet", True), 6, 1),
}
EPOCHS = {"Inf-Net": (0.75, 1.0, 1.25), "U-Net of stage 1": (1.0,)}  # scales
HALF = ("bf16", "graphs", "compiled")  # variants in bf16
BLOCKS = 3  # timed, of which the median counts
MOST_EPOCHS = 40  # blocks' time that epochs of ours may take


def main() -> None:
    """Measure row after row for as long as there is time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--size", type=int, default=352)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--slices", type=int, default=50)
    parser.add_argument("--batches", default="8,32,16,64")
    parser.add_argument("--networks", default=",".join(NETWORKS))
    parser.add_argument("--block", type=float, default=0.3, help="seconds that are timed at once")
    options = parser.parse_args()
    ends = time.perf_counter() + options.seconds
    device = fitting.best_device()
    peak = bf16_peak(device, options.block)
    described = {**cost.machine(device), "bf16_tflops": round(peak / 1e12, 3)}
    artifacts.write_json(options.to / "machine.json", described)
    rows, longest = [], 0.0
    for label, measure in planned(options, device):
        began = time.perf_counter()
        if began + longest > ends:
            print("the time is up; rows that are not there were not measured", flush=True)
            break
        try:
            row = {**label, **measure(), "reason": ""}
        except (RuntimeError, torch.OutOfMemoryError) as error:
            row = {**label, "reason": str(error).splitlines()[0][:200]}
            if device.type == "cuda":
                torch.cuda.empty_cache()
        longest = max(longest, time.perf_counter() - began)
        rows.append(row)
        write(rows, peak, options.to / "gpu.csv")
        print({key: row[key] for key in row if row[key] != ""}, flush=True)


def write(rows: list[dict], peak: float, path: Path) -> None:
    """Write all rows so far with their ratios."""
    table = pd.DataFrame(rows).reindex(
        columns=["network", "pass", "variant", "batch", "size", "images_per_second", "memory_gib",
                 "flops_per_image", "reason"]
    )  # fmt: skip
    done = table["images_per_second"] * table.pop("flops_per_image")
    table.insert(6, "share_of_bf16_peak", done / peak)
    # Against the plain loop, and a pass against the same batch in float32 as PyTorch has it
    plain = {
        (row["network"], row["pass"], row["batch"]): row.get("images_per_second", np.nan)
        for row in rows
        if row["variant"] in ("plain loop", "float32")
    }
    keys = zip(table["network"], table["pass"], table["batch"], strict=True)
    against = np.array([plain.get(key, np.nan) for key in keys])
    table.insert(6, "times_plain", table["images_per_second"] / against)
    text = table.to_csv(index=False, float_format="%.4g")
    artifacts.write_text(path, text)


def planned(
    options: argparse.Namespace, device: torch.device
) -> Iterator[tuple[dict, Callable[[], dict]]]:
    """Yield what to measure, label and function, in the order of what it tells."""
    size, batches = options.size, [int(number) for number in options.batches.split(",")]
    chosen = options.networks.split(",")
    if unknown := set(chosen) - NETWORKS.keys():
        raise ValueError(f"no network {sorted(unknown)}; there are {list(NETWORKS)}")
    for network in chosen:
        if network not in EPOCHS:
            continue
        scales = EPOCHS[network]
        label = {"network": network, "pass": "epoch", "batch": min(8, batches[0]), "size": size}
        for variant, measure in (
            ("plain loop", plain_epoch),
            ("ours", our_epoch),
            ("ours, steps alone", bare_steps),
        ):
            yield (
                {**label, "variant": variant},
                partial(measure, network, scales, label["batch"], options, device),
            )
    eager = ["float32", "channels-last", "bf16"]
    if device.type == "cuda":
        eager.insert(2, "graphs")
    for variants in (eager, ["compiled"] if device.type == "cuda" else []):
        for batch, network, variant, what in product(
            batches, chosen, variants, ("step", "forward")
        ):
            if variant == "graphs" and what == "forward":
                continue
            label = {"network": network, "pass": what, "variant": variant, "batch": batch}
            yield {**label, "size": size}, partial(measure_pass, label, options, device)


# Epochs


def data(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Return slices of noise, a tenth of it lesion."""
    shape = (options.slices, options.size, options.size)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return images, (images > 230).astype(np.uint8)


def built(network: str, width: float) -> torch.nn.Module:
    """Return a network from its seed."""
    (stage, *arguments), _, _ = NETWORKS[network]
    return networks.seeded(1, getattr(networks, f"build_{stage}"), *arguments, width)


def plain_epoch(network, scales, batch, options, device) -> dict:
    """Time epochs of the plain loop, the first left out."""
    seconds = gpu_plain.epochs(
        built(network, options.width),
        *data(options),
        batch_size=batch,
        scales=scales,
        device=device,
    )
    return {"images_per_second": options.slices / statistics.median(islice(seconds, 1, 4))}


def our_epoch(network, scales, batch, options, device) -> dict:
    """Time epochs of `fitting.fit`, validation and states included, after steps are recorded."""
    images, masks = data(options)
    slices = SliceSet.of(images, masks)
    held = SliceSet.of(images[: max(2, len(images) // 5)], masks[: max(2, len(images) // 5)])
    config = TrainingConfig(epochs=100_000, learning_rate=1e-4, batch_size=batch, scales=scales)
    began = time.perf_counter()

    def enough(ends: list[float]) -> bool:
        return len(ends) > 6 and ends[-1] - began > MOST_EPOCHS * options.block

    with tempfile.TemporaryDirectory() as folder, timed_training.until(enough) as seen:
        segmentation.fit_single(
            built(network, options.width),
            slices,
            held,
            config,
            run=Run(seed=1),
            folder=Path(folder),
            device=device,
        )
    ends = seen.ends
    return {"images_per_second": options.slices * (len(ends) - 4) / (ends[-1] - ends[3])}


def bare_steps(network, scales, batch, options, device) -> dict:
    """Time the steps of an epoch over batches that are there already."""
    config = TrainingConfig(learning_rate=1e-4, batch_size=batch, scales=scales)
    made = Batches(
        SliceSet.of(*data(options)),
        lesion_view,
        batch_size=batch,
        seed=1,
        device=device,
        augmentation=config.augmentation,
        scales=scales,
    )
    held = list(made)
    step = training_step(
        network, "graphs" if device.type == "cuda" else "channels-last", options.width, device
    )

    def epoch() -> None:
        for given, *targets in held:
            step((given,), tuple(targets))

    for _ in range(3):
        epoch()
    return {"images_per_second": options.slices / seconds_of(epoch, device, options.block)}


# One batch


def measure_pass(label: dict, options: argparse.Namespace, device: torch.device) -> dict:
    """Time a forward pass or a training step of one batch."""
    (_, channels, targets) = NETWORKS[label["network"]]
    batch, variant = label["batch"], label["variant"]
    size, width = options.size, options.width
    random = torch.Generator(device).manual_seed(0)
    given = torch.rand(batch, channels, size, size, generator=random, device=device)
    shape = (batch, 1 if targets == 2 else 3, size, size)
    truth = (torch.rand(shape, generator=random, device=device) > 0.9).float()
    if variant != "float32":
        given = given.contiguous(memory_format=torch.channels_last)
    if label["pass"] == "step":
        step = training_step(label["network"], variant, width, device)
        run = partial(step, (given,), (truth,) * targets)
    else:
        network = prepared(label["network"], variant, width, device).eval()

        def run() -> None:
            with torch.inference_mode(), autocast(variant, device):
                network(given)

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(5 if variant == "graphs" else 2):
        run()
    speed = batch / seconds_of(run, device, options.block)
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else np.nan
    if variant == "graphs" and step.refused is not None:
        raise RuntimeError(step.refused)  # which a training survives, and a measurement says
    return {
        "images_per_second": speed,
        "memory_gib": memory,
        "flops_per_image": flops(label["network"], label["pass"], size, width, device),
    }


def prepared(network: str, variant: str, width: float, device: torch.device) -> torch.nn.Module:
    """Return a network on the device, as a variant lays it out and compiles it."""
    layout = torch.contiguous_format if variant == "float32" else torch.channels_last
    made = built(network, width).to(device, memory_format=layout)
    return torch.compile(made) if variant == "compiled" else made


def autocast(variant: str, device: torch.device) -> torch.autocast:
    """Return the context in which a variant computes."""
    return torch.autocast(device.type, torch.bfloat16, enabled=variant in HALF)


def training_step(network: str, variant: str, width: float, device: torch.device) -> fitting.Step:
    """Return a function of (inputs, targets) that does one step."""
    made = prepared(network, variant, width, device).train()
    loss_of = segmentation.multi_loss if "stage 2" in network else segmentation.single_loss
    optimiser = torch.optim.Adam(made.parameters(), lr=1e-4, fused=variant != "float32")
    kind = fitting.GraphedStep if variant == "graphs" else fitting.Step
    return kind(made, loss_of, optimiser, clamp=gpu_plain.CLAMP, bf16=variant in HALF)


def seconds_of(run: Callable[[], None], device: torch.device, block: float) -> float:
    """Return the median seconds of one run, over blocks of runs that take some `block` seconds."""

    def timed(times: int) -> float:
        began = now(device)
        for _ in range(times):
            run()
        return (now(device) - began) / times

    times = max(1, round(block / timed(1)))
    return statistics.median(timed(times) for _ in range(BLOCKS))


def now(device: torch.device) -> float:
    """Return the time after all work so far is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


COUNTED: dict[tuple, float] = {}


def flops(network: str, what: str, size: int, width: float, device: torch.device) -> float:
    """Count the operations an image of a float32 pass, once a network."""
    key = (network, what)
    if key not in COUNTED:
        _, channels, targets = NETWORKS[network]
        given = torch.zeros(2, channels, size, size, device=device)
        truth = torch.zeros(2, 1 if targets == 2 else 3, size, size, device=device)
        with FlopCounterMode(display=False) as counter:
            if what == "step":
                training_step(network, "float32", width, device)((given,), (truth,) * targets)
            else:
                with torch.inference_mode():
                    prepared(network, "float32", width, device).eval()(given)
        COUNTED[key] = counter.get_total_flops() / 2
    return COUNTED[key]


def bf16_peak(device: torch.device, block: float) -> float:
    """Return the operations a second of a large bf16 matrix product of random numbers."""
    side = 8192 if device.type == "cuda" else 512
    a, b = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))
    for _ in range(3):
        a @ b
    return 2 * side**3 / seconds_of(lambda: a @ b, device, block)


if __name__ == "__main__":
    main()
