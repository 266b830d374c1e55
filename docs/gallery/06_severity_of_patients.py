"""Grade patients by the share of their lungs that is lesion.

Pixels of lesion and lung are summed over a patient's slices; the grades 0, 1 and 2 follow by the
cut-points of the paper's public code, 1 % and 50 %. A slice whose lungs were not found is left
out, and counted.
"""

import numpy as np
import pandas as pd

import ssinfnet as ss

slices = pd.DataFrame(
    {
        "patient_id": ["a", "a", "b", "b", "c"],
        "lesion": [0.0, 2.0, 300.0, np.nan, 700.0],
        "lung": [900.0, 1100.0, 1000.0, np.nan, 1000.0],
    }
)
ratios = ss.severity.patient_ratios(slices)
print(ratios.assign(grade=ss.severity.grade(ratios["ratio"])))
