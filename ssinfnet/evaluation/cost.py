"""What each model costs: S table S8, and beyond it size, arithmetic, time, memory and energy.

Times of trainings are those their histories hold; they ran beside others, maybe on other machines.
What is compared is therefore measured anew in one process, the models by turns, so that a drifting
machine harms all alike.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.flop_counter import FlopCounterMode

from ssinfnet import networks
from ssinfnet.storage import provenance
from ssinfnet.storage.artifacts import read_table
from ssinfnet.study.config import Study
from ssinfnet.study.models import MULTI_MODELS, PRIOR_MODEL, SINGLE_MODELS
from ssinfnet.study.paths import StudyPaths
from ssinfnet.training import fitting, segmentation
from ssinfnet.work import progress

__all__ = ["epoch_seconds", "gmac", "machine", "measure", "training_seconds"]

EPOCHS = 10  # whose seconds S table S8 prints
RAPL = Path("/sys/class/powercap/intel-rapl:0/energy_uj")


def machine(device: torch.device | None = None) -> dict[str, Any]:
    """Describe what the times were measured on: device, processor, cores, memory, versions."""
    device = device or fitting.best_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "none"
    record = provenance.machine()
    return {
        "gpu": name,
        "processor": record["processor"],
        "cores": record["cores"],
        "threads": torch.get_num_threads(),
        "memory_gib": record["memory_gib"],
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def epoch_seconds(
    study: Study, paths: StudyPaths, models: Sequence[str] = ("fcn8s", "sinfnet", "ssinfnet")
) -> pd.DataFrame:
    """Return the seconds of the first ten epochs of stage-2 trainings, as S table S8 prints them.

    Returns
    -------
    DataFrame
        model, epoch, seconds (mean over seeds); models the study does not train are left out.
    """
    rows = []
    for model in models:
        if model not in study.multi.models:
            continue
        histories = [_history(paths.multi(model, 0, seed)) for seed in study.seeds]
        seconds = pd.concat(histories).groupby("epoch")["seconds"].mean().head(EPOCHS)
        rows += [{"model": model, "epoch": n, "seconds": s} for n, s in seconds.items()]
    return pd.DataFrame(rows, columns=["model", "epoch", "seconds"])


def training_seconds(study: Study, paths: StudyPaths) -> pd.DataFrame:
    """Return how long the study's trainings took, what they start from included.

    Returns
    -------
    DataFrame
        stage, model, seconds (of the model's own epochs, mean over seeds), start_seconds (of its
        inpainting, of labelling by groups and learning from it, the first network's included, or of
        a student's teachers).
    """
    rows = []
    for stage, trained in (("single", study.single.models), ("multi", study.multi.models)):
        for model in trained:
            own, before = [], []
            for seed in study.seeds:
                folder = getattr(paths, stage)(model, 0, seed)
                own.append(_history(folder)["seconds"].sum())
                before.append(_start_seconds(study, paths, stage, model, seed))
            seconds = {"seconds": statistics.mean(own), "start_seconds": statistics.mean(before)}
            rows.append({"stage": stage, "model": model, **seconds})
    return pd.DataFrame(rows)


def _start_seconds(study: Study, paths: StudyPaths, stage: str, model: str, seed: int) -> float:
    if stage == "single" and SINGLE_MODELS[model].pseudo_labels:
        folder = paths.pseudo_labels(0, seed)
        parts = [paths.single(PRIOR_MODEL, 0, seed), folder, *sorted(folder.glob("group*"))]
        return float(sum(_history(part)["seconds"].sum() for part in parts))
    made_of = SINGLE_MODELS[model] if stage == "single" else MULTI_MODELS[model]
    if stage == "single" and SINGLE_MODELS[model].taught:
        folders = [paths.single(teacher, 0, each) for teacher, each in study.teachers()]
        return float(sum(_history(folder)["seconds"].sum() for folder in folders))
    if not made_of.pretrained:
        return 0.0
    return float(read_table(paths.pretraining(stage, 0, seed) / "history.parquet")["seconds"].sum())


def _history(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / fitting.HISTORY)


def gmac(network: nn.Module, channels: int, size: int) -> float:
    """Return the billions of multiply-adds of one slice's prediction."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, channels, size, size))
    return counter.get_total_flops() / 2e9


def measure(study: Study, device: torch.device | None = None) -> pd.DataFrame:
    """Measure every model of a study in one process, by turns.

    Parameters
    ----------
    study : Study
        Its models, widths, image size, optimisers, losses and `cost`. A first round, which warms
        up, is not counted.
    device : torch.device or None
        `fitting.best_device()` if None.

    Returns
    -------
    DataFrame
        One row a model and counted round: stage, model, parameters, gmac, step_mib (what a
        training step holds at most, on CUDA; else weights, gradients, the optimiser's state and
        what is kept for the backward pass), round, training_ms and prediction_ms a slice, and
        joule, a training step's energy a slice (NaN where the device reports none).
    """
    device = device or fitting.best_device()
    models: list[tuple[str, str]] = [("single", name) for name in study.single.models]
    models += [("multi", name) for name in study.multi.models]
    measured = [_Measured(*model, study, device) for model in models]
    rows = []
    for number in progress.track(range(study.cost.rounds + 1), "measuring rounds"):
        for one in measured:
            taken = one.round()
            if number:
                rows.append({**one.described, "round": number, **taken})
    return pd.DataFrame(rows)


Built = tuple[nn.Module, fitting.Recipe, int, int, float]  # channels in and out, learning rate


def _single(study: Study, model: str) -> Built:
    """Return a network of stage 1 with what its training step needs."""
    training, width = study.single.training, study.single.network.width
    network = networks.seeded(0, networks.build_single, SINGLE_MODELS[model].network, width)
    return network, segmentation.single_recipe(training), 3, 1, training.learning_rate


def _multi(study: Study, model: str) -> Built:
    """Return a network of stage 2 with what its training step needs."""
    training, width, made_of = study.multi.training, study.multi.network.width, MULTI_MODELS[model]
    network = networks.seeded(0, networks.build_multi, made_of.network, made_of.prior, width)
    recipe = segmentation.multi_recipe(training, made_of)
    return network, recipe, 6 if made_of.prior else 3, 3, training.learning_rate


@dataclass
class _Measured:
    """One model with what its training step needs."""

    stage: str
    model: str
    study: Study
    device: torch.device
    described: dict[str, Any] = field(init=False)
    network: nn.Module = field(init=False)
    optimiser: Optimizer = field(init=False)

    def __post_init__(self) -> None:
        build = _single if self.stage == "single" else _multi
        network, recipe, channels, self._targets, rate = build(self.study, self.model)
        self._loss, self._batch = recipe.loss, self.study.cost.batch
        size = self.study.image_size
        self.described = {
            "stage": self.stage,
            "model": self.model,
            "parameters": sum(p.numel() for p in network.parameters()),
            "gmac": gmac(network, channels, size),
        }
        self.network = networks.to_device(network, self.device)
        self.optimiser = recipe.optimiser(self.network.parameters(), rate)
        random = torch.Generator().manual_seed(0)
        inputs = torch.rand(self._batch, channels, size, size, generator=random)
        self._inputs = inputs.to(self.device, memory_format=torch.channels_last)
        truth = torch.rand(self._batch, self._targets, size, size, generator=random) > 0.9
        self._truth = truth.float().to(self.device)
        self.described["step_mib"] = self._step_mib()

    def round(self) -> dict[str, float]:
        """Do one training step and one prediction; return milliseconds and joule a slice."""
        with _energy(self.device) as joule:
            step = self._seconds(self._step)
        prediction = self._seconds(self._predict)
        return {
            "training_ms": 1000 * step / self._batch,
            "prediction_ms": 1000 * prediction / self._batch,
            "joule": joule() / self._batch,
        }

    def _step(self) -> None:
        self.network.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            output = self.network(self._inputs)
        output = type(output)(*(part.float() for part in output))
        targets = [self._truth] * (2 if self.stage == "single" else 1)  # the lesion, and its edge
        self._loss(output, *targets).backward()
        self.optimiser.step()
        self.optimiser.zero_grad()

    @torch.inference_mode()
    def _predict(self) -> None:
        self.network.eval()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            self.network(self._inputs)

    def _seconds(self, work: Callable[[], None]) -> float:
        began = _now(self.device)
        work()
        return _now(self.device) - began

    def _step_mib(self) -> float:
        """Return what a training step holds: at most on CUDA, else what can be counted."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            before = torch.cuda.memory_allocated(self.device)
            self._step()
            weights = sum(p.nbytes for p in self.network.parameters())
            peak = torch.cuda.max_memory_allocated(self.device)
            return (peak - before + weights) / 2**20
        kept: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            self._step()
        parameters = list(self.network.parameters())
        for tensor in (*parameters, *_tensors_of(self.optimiser)):
            keep(tensor)
        gradients = sum(p.nbytes for p in parameters)  # already freed
        return (sum(kept.values()) + gradients) / 2**20


def _tensors_of(optimiser: Optimizer) -> Iterator[Tensor]:
    """Yield the tensors an optimiser keeps, Lookahead's slow weights included."""
    found: list[Any] = [optimiser.state_dict()]
    while found:
        value = found.pop()
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict):
            found += value.values()
        elif isinstance(value, list | tuple):
            found += value


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


@contextmanager
def _energy(device: torch.device) -> Iterator[Callable[[], float]]:
    """Give a function that returns, afterwards, the joule the block took, or NaN."""
    read = _joule_counter(device)
    began, ended = read(), float("nan")
    yield lambda: ended - began
    ended = read()


def _joule_counter(device: torch.device) -> Callable[[], float]:
    """Return what reads the device's energy counter in joule; NaN where there is none."""
    if device.type == "cuda":
        try:
            import pynvml

            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByIndex(device.index or 0)
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        except Exception:  # not installed, or a device without the counter
            return lambda: float("nan")
        return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
    try:
        RAPL.read_text(encoding="ascii")
    except OSError:
        return lambda: float("nan")
    return lambda: int(RAPL.read_text(encoding="ascii")) / 1e6
