"""Write the two cohorts that lavaan and ssinfnet both analyse; `make reference` runs it."""

from pathlib import Path

import numpy as np
import pandas as pd

from ssinfnet.data.phantom.clinical import clinical_table

HERE = Path(__file__).parent
PATIENTS = 300


def simulated(rng: np.random.Generator) -> pd.DataFrame:
    """Two exposures, four correlated mediators, of which each exposure has three, an outcome."""
    x1 = rng.normal(50, 15, PATIENTS)
    x2 = rng.poisson(0.8, PATIENTS).astype(float)
    shared = rng.normal(size=PATIENTS)
    z1 = (x1 - 50) / 15
    m = {
        "m1": 3 + 0.5 * z1 + 0.3 * x2 + 0.5 * shared + rng.normal(size=PATIENTS),
        "m2": 5 * (0.4 * z1 + 0.4 * shared + rng.normal(size=PATIENTS)),
        "m3": 0.2 * (0.4 * x2 - 0.3 * shared + rng.normal(size=PATIENTS)),
        "m4": 0.3 * z1 + 0.2 * x2 + rng.normal(size=PATIENTS),
    }
    y = 0.4 * m["m1"] + 0.08 * m["m2"] + 1.5 * m["m3"] + 0.2 * z1 + 0.2 * x2
    return pd.DataFrame({"x1": x1, "x2": x2, **m, "y": y + rng.normal(size=PATIENTS)})


def phantom(rng: np.random.Generator) -> pd.DataFrame:
    """The phantom's clinical table: age, diseases, extent and consolidation, infection."""
    table, truth = clinical_table(rng, PATIENTS)
    return pd.DataFrame(
        {
            "x1": table["Age"].astype(float),
            "x2": truth["n_underlying"].astype(float),
            "m1": truth["lesion_extent"],
            "m2": truth["consolidation_share"],
            "y": truth["infected"].astype(float),
        }
    )


if __name__ == "__main__":
    for cohort in (simulated, phantom):
        table = cohort(np.random.default_rng(7))
        table.round(6).to_csv(HERE / f"{cohort.__name__}.csv", index=False)
