"""One step of a training: forward, loss, backward, bounds, optimiser, averages.

`Step` does it operation by operation, on any device. `GraphedStep` records the operations of a
batch's shape as a CUDA graph and replays them with one call, since a step of Inf-Net is some 2,400
operations, each dispatched by Python (D-112).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ssinfnet.training.optimizers import Lookahead
from ssinfnet.work import progress

__all__ = ["GraphedStep", "Step", "recorded"]

Tensors = tuple[Tensor, ...]
Record = Callable[[Callable[[], Tensor]], tuple[Tensor, Callable[[], Any]]]

WARM_STEPS = 3  # of a shape before it is recorded: libraries choose their kernels in the first ones


class Step:
    """One step of a training: forward, backward and update on one batch.

    Parameters
    ----------
    network : Module
        On its device.
    loss : callable
        (what the network returns, *targets) → scalar.
    optimiser : Optimizer
        Over the network's parameters.
    clamp, norm : float or None
        Bounds of each gradient entry and of the length of the whole gradient.
    averaging : callable or None
        Called after every step, such as to average the weights.
    bf16 : bool
        Whether the network computes in bfloat16 where that is safe; losses are in float32.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: Callable[..., Tensor],
        optimiser: Optimizer,
        *,
        clamp: float | None = None,
        norm: float | None = None,
        averaging: Callable[[], None] | None = None,
        bf16: bool = False,
    ) -> None:
        self.network = network
        self.loss = loss
        self.optimiser = optimiser
        self.clamp = clamp
        self.norm = norm
        self.averaging = averaging
        self.bf16 = bf16
        self.parameters = [p for group in optimiser.param_groups for p in group["params"]]
        self.device = self.parameters[0].device

    def __call__(self, inputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
        """Do one step; return the loss before it, a scalar that holds no graph."""
        loss = self._fast_step(tuple(inputs), tuple(targets))
        if isinstance(self.optimiser, Lookahead):
            self.optimiser.slow_step()
        if self.averaging is not None:
            self.averaging()
        return loss

    def judge(
        self, network: nn.Module, inputs: Sequence[Tensor], targets: Sequence[Tensor]
    ) -> tuple[Any, Tensor]:
        """Return what a network says of a batch, in float32, and its loss."""
        # A cast kept from one pass to the next would be a constant of a recorded graph.
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.bf16, cache_enabled=False
        ):
            output = network(*inputs)
        if self.bf16:
            output = type(output)(*(part.float() for part in output))
        return output, self.loss(output, *targets)

    def _fast_step(self, inputs: Tensors, targets: Tensors) -> Tensor:
        """Do all of a step that is the same for every batch of a shape."""
        _, loss = self.judge(self.network, inputs, targets)
        loss.backward()
        if self.clamp is not None:
            nn.utils.clip_grad_value_(self.parameters, self.clamp)
        if self.norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.norm)
        fast = self.optimiser
        (fast.inner if isinstance(fast, Lookahead) else fast).step()
        loss = loss.detach().clone()
        self.optimiser.zero_grad()
        return loss


@dataclass
class _Recording:
    """A graph of one shape: where its batch is put, where the loss comes, what does the step."""

    inputs: Tensors
    targets: Tensors
    loss: Tensor
    replay: Callable[[], Any]


class GraphedStep(Step):
    """A step whose operations are recorded once for each shape of a batch, and then replayed.

    The first steps of a shape are done operation by operation on the stream that records later. A
    shape that comes rarely, such as a short last batch, has its graph too once it has come often
    enough. Where recording fails, the training says so and goes on without.

    Parameters
    ----------
    record : callable or None
        Records a step, as `recorded` does on CUDA; None stands for `recorded`.
    others
        Those of `Step`.
    """

    def __init__(self, *arguments: Any, record: Record | None = None, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        if record is None:  # graphs are replayed one after another, so they may share their memory
            pool = torch.cuda.graph_pool_handle()
            record = partial(recorded, stream=self._stream, pool=pool)
        self.record = record
        self.recordings: dict[Any, _Recording] = {}
        self.refused: str | None = None  # why nothing is recorded
        self._seen: dict[Any, int] = {}
        self._rates = [
            torch.zeros((), dtype=torch.float32, device=self.device)
            for _ in self.optimiser.param_groups
        ]

    def _fast_step(self, inputs: Tensors, targets: Tensors) -> Tensor:
        # A recorded step reads the rate where it lies, so every step reads it there.
        for rate, group in zip(self._rates, self.optimiser.param_groups, strict=True):
            rate.fill_(group["lr"])
        shape = tuple((value.shape, value.dtype) for value in (*inputs, *targets))
        recording = self.recordings.get(shape)
        if recording is None:
            self._seen[shape] = self._seen.get(shape, 0) + 1
            if self._seen[shape] <= WARM_STEPS or self.refused is not None:
                return self._eagerly(inputs, targets)
            recording = self._recorded(inputs, targets)
            if recording is None:
                return self._eagerly(inputs, targets)
            self.recordings[shape] = recording
        torch._foreach_copy_([*recording.inputs, *recording.targets], [*inputs, *targets])
        recording.replay()
        return recording.loss.clone()

    def _eagerly(self, inputs: Tensors, targets: Tensors) -> Tensor:
        with self._settings(), _aside(self._stream):
            loss = super()._fast_step(inputs, targets)
        if self._stream is not None:
            loss.record_stream(torch.cuda.current_stream(self.device))
        return loss

    def _recorded(self, inputs: Tensors, targets: Tensors) -> _Recording | None:
        """Record a shape's step, without doing it; None where that fails."""
        # Laid out as they come: another layout may take other kernels, which round otherwise.
        held, meant = (tuple(value.clone() for value in given) for given in (inputs, targets))
        try:
            with self._settings(capturable=True):
                loss, replay = self.record(partial(super()._fast_step, held, meant))
        except RuntimeError as error:
            self.refused = str(error).splitlines()[0]
            progress.say(f"steps are not recorded as CUDA graphs, they go on without: {error}")
            self.optimiser.zero_grad()
            return None
        return _Recording(held, meant, loss, replay)

    @contextmanager
    def _settings(self, **more: Any) -> Iterator[None]:
        """Let the optimiser read its rates from the device, and take what recording asks for."""
        groups = self.optimiser.param_groups
        before = [dict(group) for group in groups]
        for group, rate in zip(groups, self._rates, strict=True):
            group.update({"lr": rate, **more})
        try:
            yield
        finally:
            for group, earlier in zip(groups, before, strict=True):
                for name in group.keys() - earlier.keys():
                    del group[name]
                group.update(earlier)


def recorded(
    work: Callable[[], Tensor], *, stream: torch.cuda.Stream, pool: Any
) -> tuple[Tensor, Callable[[], Any]]:
    """Record a function's work on CUDA, which is not done; return its result and what does it.

    Every tensor that the work reads must stay where it lies. Other threads, such as one that
    writes a state, may use the device meanwhile.

    Parameters
    ----------
    work : callable
        Without arguments; what it returns is filled by every replay.
    stream : Stream
        On which it has been warmed up.
    pool : handle
        From `torch.cuda.graph_pool_handle`: the memory that graphs share.
    """
    graph = torch.cuda.CUDAGraph()
    before = torch.cuda.current_stream()
    try:
        with torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"):
            result = work()
    finally:  # which a recording that fails does not see to
        torch.cuda.set_stream(before)
    return result, graph.replay


@contextmanager
def _aside(stream: torch.cuda.Stream | None) -> Iterator[None]:
    """Work on another stream, after what is under way here and before what follows."""
    if stream is None:
        yield
        return
    here = torch.cuda.current_stream(stream.device)
    stream.wait_stream(here)
    with torch.cuda.stream(stream):
        yield
    here.wait_stream(stream)
