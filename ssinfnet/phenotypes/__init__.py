"""Radiomic phenotypes of lesions: 68 features of each of three masks (J, S table S1)."""

from ssinfnet.phenotypes.catalogue import CLASSES, FAMILIES, FEATURES, Feature, columns, table_s1
from ssinfnet.phenotypes.extraction import Measured, measure_mask, measure_slice, patient_means

__all__ = [
    "CLASSES",
    "FAMILIES",
    "FEATURES",
    "Feature",
    "Measured",
    "columns",
    "measure_mask",
    "measure_slice",
    "patient_means",
    "table_s1",
]
