"""Measure what a lesion looks like.

68 radiomic features of one mask in one slice, as PyRadiomics defines them. What cannot be
measured, such as the texture of an empty mask, is missing with a reason.
"""

import ssinfnet as ss

images, masks = ss.phantom.example_slices(1, size=128)
measured = ss.phenotypes.measure_mask(images[0], masks[0] == 1, name="ggo")
print(measured.head(6).round(3))
print(len(measured), "features;", measured.attrs["reasons"] or "all are defined")
