"""The description of a training, kept with its weights and read again when they are loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

__all__ = ["Run"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """The description of a training: study, stage, model, fold, seed and prior.

    Attributes
    ----------
    stage : {"single", "multi"}
    seed : int
        Seed of the random start, the order of slices and the augmentation.
    model : str or None
        A name in `study.models`; None for an inpainting network, or one of the caller's own.
    width : float or None
        Width of the network, as a share of the published one; None for one of the caller's own.
    study : str or None
        The study's name, where there is one.
    fold : int
        Fold of the cross-validation; 0 is the study's own split.
    part : int
        For stage 1: above 0, the part of the training patients that is left out (D-12).
    prior : {"predicted", "ground_truth"} or None
        For stage 2: which prior the model reads; None where it reads none.
    """

    stage: Literal["single", "multi"] = "single"
    seed: int = 1
    model: str | None = None
    width: float | None = None
    study: str | None = None
    fold: int = 0
    part: int = 0
    prior: str | None = None

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Run:
        """Return the run that a file of weights describes, whatever else it says."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in stored.items() if name in known})

    def record(self) -> dict[str, Any]:
        """Return what is kept with the weights, JSON-ready: only what its stage and model have."""
        kept = asdict(self)
        if self.model is None or self.stage == "multi":
            del kept["part"]
        if self.model is None or self.stage == "single":
            del kept["prior"]
        # A model of stage 2 that reads no prior says so.
        return {name: value for name, value in kept.items() if value is not None or name == "prior"}
