"""Measure what a lesion looks like.

68 radiomic features of one mask in one slice, as PyRadiomics defines them. What cannot be
measured, such as the texture of an empty mask, is missing with a reason.
"""

import pandas as pd

import ssinfnet as ss

images, masks = ss.phantom.example_slices(1, size=128)
values, reasons = ss.phenotypes.measure_mask(images[0], masks[0] == 1)
names = ss.phenotypes.columns(["ggo"])
measured = pd.Series(values, index=names, name="ground glass")
print(measured.head(6).round(3))
print(len(measured), "features")
