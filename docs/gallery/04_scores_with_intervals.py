"""Average scores over patients, with an interval.

The 95 % interval is a bootstrap over patients, not over slices, which are alike within a patient.
Here ten patients have three slices each.
"""

import numpy as np
import pandas as pd

import ssinfnet as ss

rng = np.random.default_rng(1)
f1 = np.repeat(rng.uniform(0.4, 0.9, 10), 3) + rng.normal(0, 0.02, 30)
slices = pd.DataFrame(
    {
        "model": "mine",
        "patient_id": np.repeat(np.arange(10), 3).astype(str),
        "slice_id": np.arange(30).astype(str),
        "F1": f1,
    }
)
summary = ss.scores.summarise(slices, metrics=["F1"], bootstrap_draws=500)
print(summary[["model", "metric", "mean", "low", "high", "n_patients", "n_slices"]].round(3))
