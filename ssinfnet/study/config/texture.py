"""How the grey values of a lesion become radiomic features."""

from __future__ import annotations

from pydantic import Field

from ssinfnet.study.config.parts import Part

__all__ = ["DEFAULT_TEXTURE", "TextureConfig"]


class TextureConfig(Part):
    """How grey values are divided into levels, which textures are made of (D-16, D-123)."""

    bin_width: float = Field(default=25, gt=0)  # grey values of one level, of 256 (D-16)
    lower_bound: float | None = 0.0  # grey value where level 1 begins; null: the mask's own (D-123)


DEFAULT_TEXTURE = TextureConfig()
