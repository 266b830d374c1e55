"""What all parts of a study have in common, and the names that several of them take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["MultiName", "Part", "Positive", "Share", "SingleName"]

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
SingleName = Literal[
    "unet", "sinfnet", "ssinfnet", "sinfnet_lite", "semi_infnet",
    "sinfnet_cutout20", "sinfnet_cutout40", "sinfnet_cutout50", "ssinfnet_cutout40",
]  # fmt: skip
MultiName = Literal[
    "unet", "fcn8s", "sinfnet", "ssinfnet",
    "ssinfnet_no_focal_no_lookahead", "ssinfnet_no_lookahead", "ssinfnet_no_focal",
    "sinfnet_cutout20", "sinfnet_cutout40", "sinfnet_cutout50", "ssinfnet_cutout40",
]  # fmt: skip


class Part(BaseModel):
    """What all parts of a study have in common: frozen, strictly typed, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
