"""Look at slices and their lesions.

Three synthetic chest CT slices with their masks: 1 is ground glass, 2 consolidation. Slices and
masks of your own are shown in the same way.
"""

import ssinfnet as ss

images, masks = ss.phantom.example_slices(3, size=128)
figure = ss.plots.plot_cohort_examples(images / 255, masks)

shares = (masks > 0).mean(axis=(1, 2))
print("share of each slice that is lesion:", shares.round(3))
