"""How a lesion becomes radiomic features: grey levels, region, families, filters, patient means."""

from __future__ import annotations

import itertools
from typing import Literal, Self

from pydantic import Field, model_validator

from ssinfnet.study.config.parts import Part, Positive

__all__ = ["DEFAULT_TEXTURE", "TextureConfig"]


class TextureConfig(Part):
    """How grey values are divided into levels, and what is measured of them (D-16, D-123, D-124).

    With any bin width and bound a mask takes milliseconds. Everything else is measured by
    PyRadiomics' own classes, which is several times slower.
    """

    bin_width: float = Field(default=25, gt=0)  # grey values of one level, of 256, or HU (D-16)
    lower_bound: float | None = 0.0  # grey value where level 1 begins; null: the mask's own (D-123)
    bins: Positive | None = None  # levels from a mask's darkest to its brightest, for a fixed width
    intensities: Literal["window", "hu"] = "window"  # 256 grey values of the lung window, or HU
    resegment: tuple[float, float] | None = None  # what lies outside, low to high, leaves the mask
    outliers: float | None = Field(default=None, gt=0)  # SD from the mean beyond which likewise
    pixel_mm: float | None = Field(default=None, gt=0)  # edge of pixels, or voxels, resampled to
    interpolation: Literal["linear", "cubic"] = "linear"  # of resampling
    dimensions: Literal[2, 3] = 2  # slice by slice, or whole volumes
    families: tuple[Literal["glrlm", "glszm", "shape"], ...] = ()  # beside the four of S table S1
    log_mm: tuple[float, ...] = ()  # widths of Laplacian of Gaussian filters, measured besides
    wavelet: bool = False  # whether one level of coif1 wavelets is measured besides
    slice_weights: Literal["equal", "area"] = "equal"  # of slices in a patient's mean (D-125)

    @model_validator(mode="after")
    def _levels_agree(self) -> Self:
        set_fields = self.model_fields_set
        if self.bins and (unused := sorted({"bin_width", "lower_bound"} & set_fields)):
            raise ValueError(f"bins takes the place of {unused}; give one or the other")
        if self.intensities == "hu" and not self.bins and "lower_bound" not in set_fields:
            raise ValueError("intensities in HU need a lower_bound in HU: -1000, or null")
        return self

    @model_validator(mode="after")
    def _numbers_are_possible(self) -> Self:
        if self.resegment and not self.resegment[0] < self.resegment[1]:
            raise ValueError(f"resegment must be [low, high], got {list(self.resegment)}")
        if any(width <= 0 for width in self.log_mm) or len(set(self.log_mm)) < len(self.log_mm):
            raise ValueError(f"log_mm must be different widths above 0, got {list(self.log_mm)}")
        if len(set(self.families)) < len(self.families):
            raise ValueError(f"families must be different names, got {list(self.families)}")
        return self

    @property
    def by_pyradiomics(self) -> bool:
        """Whether PyRadiomics' own classes are needed."""
        own = {"bin_width", "lower_bound", "slice_weights"}
        return any(
            getattr(self, name) != field.default
            for name, field in type(self).model_fields.items()
            if name not in own
        )

    @property
    def filters(self) -> tuple[str, ...]:
        """The names of the filtered images: ``log2mm``, ``waveletlh`` and the like."""
        logs = [f"log{width:g}mm".replace(".", "_") for width in self.log_mm]
        passes = itertools.product("lh", repeat=self.dimensions) if self.wavelet else ()
        return (*logs, *(f"wavelet{''.join(name)}" for name in passes))


DEFAULT_TEXTURE = TextureConfig()
