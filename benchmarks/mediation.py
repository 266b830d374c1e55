"""Whether intervals of indirect effects hold what they promise, and how long they take.

Cohorts drawn from the phantom's causal model, whose population effect is known from a million draws
of it. Writes mediation_coverage.csv (share of 95 % intervals that hold the population's effect, and
what two binomial standard errors allow), mediation_power.csv with its figure (how often the paper's
criterion and the joint test find a mediator, by patients, and how often where there is none), and
mediation_speed.csv (204 phenotypes, three exposures, 5,000 draws, 1,338 patients, against a loop of
statsmodels' own mediation over a few of them).
"""

from __future__ import annotations

import resource
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import statsmodels.api as sm
from statsmodels.stats.mediation import Mediation as OneByOne
from statsmodels.stats.proportion import proportion_confint

from ssinfnet import artifacts, plots
from ssinfnet.mediation import mediate
from ssinfnet.phantom.clinical import EffectSizes, clinical_table, population_indirect_effect

HERE = Path(__file__).parent
COHORTS, PATIENTS, DRAWS = 2_000, 300, 999
SIZES = (50, 100, 200, 400, 800, 1_338)
OF_A_SIZE = 500
EXPOSURES = {"Age": "age", "n_underlying": "n_diseases"}
MEDIATORS = {"lesion_extent": "lesion_extent", "consolidation_share": "consolidation_share"}
# No way from age or diseases to the lesions: whatever is found is false
NOTHING = EffectSizes(extent_age=0, extent_disease=0, texture_age=0, texture_disease=0)


def cohort(number: int, patients: int, effects: EffectSizes | None = None) -> pd.DataFrame:
    """Draw one tabular cohort."""
    table, truth = clinical_table(np.random.default_rng([2021, number]), patients, effects)
    return pd.DataFrame(
        {"age": table["Age"].astype(float), "n_diseases": truth["n_underlying"].astype(float),
         "lesion_extent": truth["lesion_extent"], "infected": truth["infected"],
         "consolidation_share": truth["consolidation_share"]}
    )  # fmt: skip


def analysed(number: int, patients: int, draws: int, effects: EffectSizes | None) -> pd.DataFrame:
    """Return the effects found in one cohort."""
    drawn = cohort(number, patients, effects)
    found, percentile = (
        mediate(
            drawn, list(EXPOSURES.values()), "infected", list(MEDIATORS.values()),
            draws=draws, seed=number, fewest=1, interval=interval,
        ).table
        for interval in ("bca", "percentile")
    )  # fmt: skip
    reach = 1.959964 * found["indirect_se"]
    return found.assign(
        number=number, patients=patients,
        sobel_low=found["indirect"] - reach, sobel_high=found["indirect"] + reach,
        percentile_low=percentile["indirect_low"], percentile_high=percentile["indirect_high"],
    )  # fmt: skip


def many(count: int, patients: int, draws: int, effects: EffectSizes | None = None) -> pd.DataFrame:
    """Return the effects found in many cohorts, on two processes."""
    one = partial(analysed, patients=patients, draws=draws, effects=effects)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        return pd.concat(pool.map(one, range(count), chunksize=25), ignore_index=True)


def coverage() -> pd.DataFrame:
    """Return how often each interval holds the population's effect."""
    found = many(COHORTS, PATIENTS, DRAWS)
    rows = []
    for (exposure, mediator), own in found.groupby(["exposure", "mediator"], sort=False):
        named = {value: key for key, value in EXPOSURES.items()}
        truth = population_indirect_effect(named[exposure], mediator, "infected")
        for interval, low, high in (("BCa", "indirect_low", "indirect_high"),
                                    ("percentile", "percentile_low", "percentile_high"),
                                    ("Sobel", "sobel_low", "sobel_high")):  # fmt: skip
            share = ((own[low] <= truth) & (truth <= own[high])).mean()
            error = np.sqrt(0.95 * 0.05 / len(own))
            rows.append({"exposure": exposure, "mediator": mediator, "interval": interval,
                         "population": truth, "mean_estimate": own["indirect"].mean(),
                         "covered": share, "cohorts": len(own),
                         "within_two_errors": abs(share - 0.95) <= 2 * error})  # fmt: skip
    return pd.DataFrame(rows)


def power() -> pd.DataFrame:
    """Return how often a mediator is found, where there is one and where there is none."""
    rows = []
    for truth, effects in (("mediated", None), ("not mediated", NOTHING)):
        for patients in SIZES:
            found = many(OF_A_SIZE, patients, 0, effects)
            for name, column in (("criterion", "mediator_by_criterion"),
                                 ("joint test", "mediator_by_joint_test")):  # fmt: skip
                for (exposure, mediator), own in found.groupby(["exposure", "mediator"]):
                    hits, n = int(own[column].sum()), len(own)
                    low, high = proportion_confint(hits, n, method="wilson")
                    rows.append({"truth": truth, "criterion": name, "exposure": exposure,
                                 "mediator": mediator, "n": patients, "share": hits / n,
                                 "low": low, "high": high, "cohorts": n})  # fmt: skip
    return pd.DataFrame(rows)


def speed() -> pd.DataFrame:
    """Time the analysis of a cohort as large as iCTCF's, and a loop over a few pairs of it."""
    rng = np.random.default_rng(0)
    n, k = 1_338, 204
    x = rng.normal(size=(n, 3))
    m = x @ rng.normal(size=(3, k)) * 0.2 + rng.normal(size=(n, k))
    y = x @ [0.2, 0.1, 0.0] + m[:, :5].sum(axis=1) * 0.2 + rng.normal(size=n)
    mediators = [f"m{i}" for i in range(k)]
    table = pd.DataFrame(np.column_stack([x, m, y]), columns=["x1", "x2", "x3", *mediators, "y"])
    began = time.perf_counter()
    mediate(table, ["x1", "x2", "x3"], "y", mediators)
    ours = time.perf_counter() - began
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    design = sm.add_constant(table[["x1", "m0"]])
    began = time.perf_counter()
    OneByOne(sm.OLS(table["y"], design), sm.OLS(table["m0"], design[["const", "x1"]]),
             [1, 1], 2).fit(method="bootstrap", n_rep=50)  # fmt: skip
    one = (time.perf_counter() - began) / 50
    return pd.DataFrame(
        [{"pairs": 3 * k, "draws": 5_000, "patients": n, "seconds": ours, "most_mib": most,
          "loop_seconds_estimated": one * 5_000 * 3 * k, "ratio": one * 5_000 * 3 * k / ours}]
    )  # fmt: skip


def main() -> None:
    """Measure everything and write the tables."""
    for name, measure in (("speed", speed), ("coverage", coverage), ("power", power)):
        table = measure().round(5)
        print(table.to_markdown(index=False), flush=True)
        artifacts.write_text(HERE / f"mediation_{name}.csv", table.to_csv(index=False))
    chosen = table[(table["exposure"] == "age") & (table["mediator"] == "lesion_extent")]
    shown = chosen.assign(criterion=chosen["criterion"] + ", " + chosen["truth"])
    ax = plots.plot_power(shown)
    ax.set_title("Age, extent of lesions, infection (phantom)")
    ax.figure.savefig(HERE / "mediation_power.png", dpi=150)
    plt.close(ax.figure)


if __name__ == "__main__":
    main()
