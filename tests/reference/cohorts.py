"""Write the cohorts that R and ssinfnet both analyse; `make reference` runs it.

phantom.csv (age, diseases, extent of lesion, share of consolidation, infection) is kept as it is:
it was drawn from an early version of the phantom's clinical table.
"""

from pathlib import Path

import numpy as np
import pandas as pd

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


def sites(rng: np.random.Generator) -> pd.DataFrame:
    """Twelve phenotypes of patients at three sites, which shift and scale them, and age's part."""
    site = rng.choice(["a", "b", "c"], PATIENTS // 4, p=[0.5, 0.3, 0.2])
    age = rng.normal(50, 15, len(site)) + 8 * (site == "b")
    male = rng.integers(0, 2, len(site))
    table = {"site": site, "age": age.round(), "male": male}
    for number in range(12):
        shift = dict(zip("abc", rng.normal(0, 1.2, 3), strict=True))
        scale = dict(zip("abc", rng.uniform(0.6, 1.6, 3), strict=True))
        noise = rng.normal(size=len(site)) * [scale[one] for one in site]
        size = 10.0 ** rng.integers(-1, 4)
        part = (age - 50) / 15 * rng.normal(0, 0.7) + 0.3 * male
        table[f"f{number}"] = size * (5 + part + [shift[one] for one in site] + noise)
    return pd.DataFrame(table)


if __name__ == "__main__":
    for cohort in (simulated, sites):
        table = cohort(np.random.default_rng(7))
        table.round(6).to_csv(HERE / f"{cohort.__name__}.csv", index=False)
