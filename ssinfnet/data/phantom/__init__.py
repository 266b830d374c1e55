"""The embedded data set: synthetic chest CT with lesions, written in the real sources' layouts.

Read in this order: `anatomy` (a chest as distances), `tissues` (its CT numbers), `vessels`,
`lesions`, `slices` (a patient through a scanner), `clinical` (a table with known causal effects),
`truth` (what was planted, slice by slice), `sites` (raw files).
"""

from __future__ import annotations

from ssinfnet.data.phantom.clinical import (
    EffectSizes,
    clinical_table,
    example_patients,
    population_indirect_effect,
)
from ssinfnet.data.phantom.sites import (
    example_slices,
    write_phantom,
    write_site_a,
    write_site_b,
    write_site_c,
    write_site_d,
)
from ssinfnet.data.phantom.slices import CTSlice, Findings, Scanner, draw_patient, draw_slice

__all__ = [
    "CTSlice",
    "EffectSizes",
    "Findings",
    "Scanner",
    "clinical_table",
    "draw_patient",
    "draw_slice",
    "example_patients",
    "example_slices",
    "population_indirect_effect",
    "write_phantom",
    "write_site_a",
    "write_site_b",
    "write_site_c",
    "write_site_d",
]
