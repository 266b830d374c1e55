"""What all parts of a study have in common, and the names that several of them take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = ["MultiName", "MultiNames", "Part", "Positive", "Share", "SingleName", "SingleNames"]

Positive = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
SingleName = Literal[
    "unet", "sinfnet", "ssinfnet", "sinfnet_lite", "ssinfnet_lite", "unet_lite", "semi_infnet",
    "sinfnet_cutout20", "sinfnet_cutout40", "sinfnet_cutout50", "ssinfnet_cutout40",
    "sinfnet_unaugmented", "sinfnet_augmented40", "sinfnet_augmented50",
    "ssinfnet_unaugmented", "ssinfnet_augmented40", "student_lite",
]  # fmt: skip
MultiName = Literal[
    "unet", "fcn8s", "sinfnet", "ssinfnet", "sinfnet_lite",
    "ssinfnet_no_focal_no_lookahead", "ssinfnet_no_lookahead", "ssinfnet_no_focal",
    "sinfnet_cutout20", "sinfnet_cutout40", "sinfnet_cutout50", "ssinfnet_cutout40",
    "sinfnet_unaugmented", "sinfnet_augmented40", "sinfnet_augmented50",
    "ssinfnet_unaugmented", "ssinfnet_augmented40",
]  # fmt: skip


def _once_each(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError(f"must be different names, got {list(names)}")
    return names


SingleNames = Annotated[tuple[SingleName, ...], AfterValidator(_once_each)]
MultiNames = Annotated[tuple[MultiName, ...], AfterValidator(_once_each)]


class Part(BaseModel):
    """What all parts of a study have in common: frozen, strictly typed, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
