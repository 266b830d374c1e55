"""Write the cohorts of the tests on missing values, clusters, kinds; `make reference` runs it."""

from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
PATIENTS = 240


def partly_known(rng: np.random.Generator) -> pd.DataFrame:
    """Two exposures, two mediators and an outcome that are missing the more, the larger x1."""
    x1, x2 = rng.normal(size=PATIENTS), rng.integers(0, 2, PATIENTS).astype(float)
    shared = rng.normal(size=PATIENTS)
    m1 = 2 + 0.5 * x1 + 0.3 * x2 + 0.5 * shared + rng.normal(size=PATIENTS)
    m2 = 10 * (0.4 * x1 - 0.2 * x2 + 0.5 * shared + rng.normal(size=PATIENTS))
    y = 0.4 * m1 + 0.05 * m2 + 0.2 * x1 + 0.3 * x2 + rng.normal(size=PATIENTS)
    table = pd.DataFrame({"x1": x1, "x2": x2, "m1": m1, "m2": m2, "y": y})
    for name, share in (("m1", 0.25), ("m2", 0.2), ("y", 0.15)):
        chance = 2 * share / (1 + np.exp(-1.5 * x1))
        table.loc[rng.random(PATIENTS) < chance, name] = np.nan
    return table


def kinds(rng: np.random.Generator) -> pd.DataFrame:
    """Clustered scans with weights; outcomes and mediators of every kind, and times to an event."""
    cluster = np.repeat(np.arange(PATIENTS // 4), 4)
    shared = rng.normal(size=PATIENTS // 4)[cluster]
    x = rng.normal(size=PATIENTS) + 0.7 * shared
    c = rng.normal(50, 10, PATIENTS)
    m = 0.5 * x + 0.6 * shared + 0.02 * c + rng.normal(size=PATIENTS)
    linear = 0.4 * m + 0.3 * x + 0.01 * (c - 50)
    time = np.exp(3 - linear + 0.7 * np.log(rng.exponential(size=PATIENTS)))
    censored = rng.exponential(60, PATIENTS)
    return pd.DataFrame(
        {
            "cluster": cluster, "weight": rng.uniform(0.5, 3, PATIENTS), "x": x, "c": c, "m": m,
            "m_binary": (m + rng.logistic(size=PATIENTS) > 1.2).astype(int),
            "y": linear + 0.5 * shared + rng.normal(size=PATIENTS),
            "y_binary": (rng.random(PATIENTS) < 1 / (1 + np.exp(1.5 - linear))).astype(int),
            "y_rare": (rng.random(PATIENTS) < np.minimum(np.exp(linear - 2.6), 0.9)).astype(int),
            "y_count": rng.negative_binomial(2, 2 / (2 + np.exp(0.5 + 0.5 * linear))),
            "time": np.minimum(time, censored), "event": (time <= censored).astype(int),
        }
    )  # fmt: skip


if __name__ == "__main__":
    for cohort in (partly_known, kinds):
        table = cohort(np.random.default_rng(11))
        table.round(6).to_csv(HERE / f"{cohort.__name__}.csv", index=False)
