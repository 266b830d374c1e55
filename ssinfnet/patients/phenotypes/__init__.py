"""Radiomic phenotypes of lesions: 68 features of each of three masks (J, S table S1)."""

from ssinfnet.patients.phenotypes.catalogue import (
    CLASSES,
    FAMILIES,
    FEATURES,
    Feature,
    columns,
    panel_names,
    table_s1,
)
from ssinfnet.patients.phenotypes.cohort import measure_cohort
from ssinfnet.patients.phenotypes.extraction import (
    Measured,
    measure_slice,
    patient_means,
)
from ssinfnet.patients.phenotypes.regions import measure_mask, measure_masks, measure_region
from ssinfnet.patients.phenotypes.stability import phenotypes_by_mask, stability_table

__all__ = [
    "CLASSES",
    "FAMILIES",
    "FEATURES",
    "Feature",
    "Measured",
    "columns",
    "measure_cohort",
    "measure_mask",
    "measure_masks",
    "measure_region",
    "measure_slice",
    "panel_names",
    "patient_means",
    "phenotypes_by_mask",
    "stability_table",
    "table_s1",
]
