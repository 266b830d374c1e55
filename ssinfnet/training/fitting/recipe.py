"""How a network is fitted, whatever its data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["Recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is fitted, whatever its data.

    Attributes
    ----------
    epochs : int
    optimiser : callable
        (parameters, lr) → Optimizer.
    rate : callable
        Share of the training that is done, 0 to 1 → learning rate.
    loss : callable
        (what the network returns, *targets) → scalar.
    score : callable or None
        (what the network returns, *targets) → predicted and true masks, (batch, classes, height,
        width) bool. The epoch with the best validation F1 is kept, ties by the lower validation
        loss (D-14). None keeps the last epoch.
    judged_over : int or None
        Validated epochs whose mean F1, the epoch's own and those just before it, ranks an epoch.
        None keeps the last epoch, whatever its F1 (D-84).
    gradient_clamp : float or None
        Bound of each gradient entry.
    gradient_norm : float or None
        Bound of the length of the whole gradient.
    averaging : float or None
        Decay a step of the weights' exponential moving average, which is then validated and kept
        in place of the weights themselves.
    patience : int or None
        Validated epochs without a better one after which the training stops.
    validate_every : int
        Epochs from one validation to the next. The last epoch is validated in any case.
    state_seconds : float or None
        Least time from one state on disk to the next, see `StateWriter`.
    """

    epochs: int
    optimiser: Callable[[Iterable[nn.Parameter], float], Optimizer]
    rate: Callable[[float], float]
    loss: Callable[..., Tensor]
    score: Callable[..., tuple[Tensor, Tensor]] | None = None
    judged_over: int | None = 1
    gradient_clamp: float | None = None
    gradient_norm: float | None = None
    averaging: float | None = None
    patience: int | None = None
    validate_every: int = 1
    state_seconds: float | None = None
