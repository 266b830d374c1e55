"""Lookahead, as Zhang et al. 2019 published it, around any optimiser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.optim import Optimizer

__all__ = ["Lookahead"]


class Lookahead(Optimizer):
    """k fast steps of an inner optimiser, then one slow step towards them.

    Slow weights start at the first weights θ0. After every k-th fast step
    φ ← φ + α (θ − φ), and the fast weights go on from there: θ ← φ. Validate and predict with the
    slow weights (`slow_weights`). The inner optimiser's momentum is kept, as published.

    Parameters
    ----------
    inner : Optimizer
        Already built over the parameters.
    steps : int
        k, 5 in J.
    share : float
        α in (0, 1], 0.5 in J; with 1 it is the inner optimiser.

    Raises
    ------
    ValueError
        If `steps` is below 1 or `share` outside (0, 1].
    """

    def __init__(self, inner: Optimizer, steps: int = 5, share: float = 0.5) -> None:
        if steps < 1 or not 0 < share <= 1:
            raise ValueError(
                f"Lookahead takes k ≥ 1 steps and α in (0, 1]; got k = {steps}, α = {share}"
            )
        self.inner = inner
        self.steps = steps
        self.share = share
        self.fast_steps = 0
        super().__init__(inner.param_groups, inner.defaults)
        self.param_groups = inner.param_groups  # shared: schedules reach the inner optimiser
        self.slow = [parameter.detach().clone() for parameter in self._parameters()]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Do one fast step, and after every k-th the slow one."""
        loss = self.inner.step(closure)
        self.slow_step()
        return loss

    @torch.no_grad()
    def slow_step(self) -> None:
        """Count a fast step that the inner optimiser did, and after every k-th do the slow one."""
        self.fast_steps += 1
        if self.fast_steps % self.steps == 0:
            fast = list(self._parameters())
            torch._foreach_lerp_(self.slow, fast, self.share)
            torch._foreach_copy_(fast, self.slow)

    def state_dict(self) -> dict[str, Any]:
        """Return the inner optimiser's state with slow weights and step count in it."""
        stored = self.inner.state_dict()
        state = {
            index: {
                **stored["state"].get(index, {}),
                "slow": slow,
                "fast_steps": torch.tensor(self.fast_steps),  # one each: files share no memory
            }
            for index, slow in enumerate(self.slow)
        }
        return {**stored, "state": state}

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        own = ("slow", "fast_steps")
        state = state_dict["state"]
        for index, slow in enumerate(self.slow):
            slow.copy_(state[index]["slow"])
        self.fast_steps = int(state[0]["fast_steps"])
        inner = {
            index: {name: value for name, value in entries.items() if name not in own}
            for index, entries in state.items()
        }
        kept = {index: entries for index, entries in inner.items() if entries}
        self.inner.load_state_dict({**state_dict, "state": kept})
        self.param_groups = self.inner.param_groups

    @contextmanager
    def slow_weights(self) -> Iterator[None]:
        """Give the parameters their slow weights for as long as the context lasts."""
        fast = [parameter.detach().clone() for parameter in self._parameters()]
        with torch.no_grad():
            for parameter, slow in zip(self._parameters(), self.slow, strict=True):
                parameter.copy_(slow)
        try:
            yield
        finally:
            with torch.no_grad():
                for parameter, value in zip(self._parameters(), fast, strict=True):
                    parameter.copy_(value)

    def _parameters(self) -> Iterator[torch.nn.Parameter]:
        return (parameter for group in self.param_groups for parameter in group["params"])
