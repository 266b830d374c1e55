"""Whether intervals of indirect effects hold what they promise, and how long they take.

Over a grid of patients and slopes, mediation_grid.csv: how often intervals and the joint test say
that there is an effect, and how often intervals hold the true one. Then cohorts drawn from the
phantom's causal model, whose population effect is known from a million draws of it:
mediation_coverage.csv (share of 95 % intervals that hold the population's effect, and what two
binomial standard errors allow), mediation_power.csv with its figure (how often the paper's
criterion and the joint test find a mediator, by patients, and how often where there is none), and
mediation_speed.csv (204 phenotypes, three exposures, 5,000 draws, 1,338 patients, against a loop of
statsmodels' own mediation over a few of them). Names, such as ``grid``, measure those tables alone.
"""

from __future__ import annotations

import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import statsmodels.api as sm
from cells import write_by_cell
from statsmodels.stats.mediation import Mediation as OneByOne
from statsmodels.stats.proportion import proportion_confint

from ssinfnet import plots
from ssinfnet.data.phantom.clinical import EffectSizes, clinical_table, population_indirect_effect
from ssinfnet.mediation import mediate
from ssinfnet.mediation.regressions import slopes, weighted_indirect_effects
from ssinfnet.mediation.resampling import (
    bca_interval,
    drawn_weights,
    expanded_interval,
    left_out_weights,
    percentile_interval,
)
from ssinfnet.storage import artifacts

HERE = Path(__file__).parent
COHORTS, PATIENTS, DRAWS = 2_000, 300, 999
SIZES = (50, 100, 200, 400, 800, 1_338)
OF_A_SIZE = 500
GRID_SIZES = (50, 100, 200, 500, 1_500)
GRID_SLOPES = {"neither": (0.0, 0.0), "only a": (0.4, 0.0), "only b": (0.0, 0.4),
               "both": (0.4, 0.4), "both large": (0.8, 0.8)}  # fmt: skip
EXPANDED_UP_TO = 100  # patients; of more, expanded intervals are percentile ones but for a hair
GRID_COHORTS, BCA_COHORTS, GRID_DRAWS, OF_ONE_SET = 10_000, 1_000, 999, 100
EXPOSURES = {"Age": "age", "n_underlying": "n_diseases"}
MEDIATORS = {"lesion_extent": "lesion_extent", "consolidation_share": "consolidation_share"}
# No way from age or diseases to the lesions: whatever is found is false
NOTHING = EffectSizes(extent_age=0, extent_disease=0, texture_age=0, texture_disease=0)


def cohort(number: int, patients: int, effects: EffectSizes | None = None) -> pd.DataFrame:
    """Draw one tabular cohort."""
    table, truth = clinical_table(np.random.default_rng([2021, number]), patients, effects)
    return pd.DataFrame(
        {
            "age": table["Age"].astype(float),
            "n_diseases": truth["n_underlying"].astype(float),
            "lesion_extent": truth["lesion_extent"],
            "infected": truth["infected"],
            "consolidation_share": truth["consolidation_share"],
        }
    )


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
        number=number,
        patients=patients,
        sobel_low=found["indirect"] - reach,
        sobel_high=found["indirect"] + reach,
        percentile_low=percentile["indirect_low"],
        percentile_high=percentile["indirect_high"],
    )


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
        for interval, low, high in (
            ("BCa", "indirect_low", "indirect_high"),
            ("percentile", "percentile_low", "percentile_high"),
            ("Sobel", "sobel_low", "sobel_high"),
        ):
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
            for name, column in (
                ("criterion", "mediator_by_criterion"),
                ("joint test", "mediator_by_joint_test"),
            ):
                for (exposure, mediator), own in found.groupby(["exposure", "mediator"]):
                    hits, n = int(own[column].sum()), len(own)
                    low, high = proportion_confint(hits, n, method="wilson")
                    rows.append({"truth": truth, "criterion": name, "exposure": exposure,
                                 "mediator": mediator, "n": patients, "share": hits / n,
                                 "low": low, "high": high, "cohorts": n})  # fmt: skip
    return pd.DataFrame(rows)


def grid() -> pd.DataFrame:
    """Return coverage and false positives over patients and slopes of one normal mediator."""
    cells = [{"n": n, "truth": truth} for n in GRID_SIZES for truth in GRID_SLOPES]
    return write_by_cell(HERE / "mediation_grid.csv", cells, grid_cell)


def grid_cell(n: int, truth: str) -> list[dict[str, object]]:
    """Return a row a method of one size and pair of slopes."""
    a, b = GRID_SLOPES[truth]
    left_out, said = list(left_out_weights(n)), []
    for first in range(0, GRID_COHORTS, OF_ONE_SET):
        # Draws do not depend on the data: a set of them serves many cohorts at once
        weights = list(drawn_weights(n, GRID_DRAWS, first // OF_ONE_SET))
        cohorts = [_cohort(number, n, a, b) for number in range(first, first + OF_ONE_SET)]
        drawn = _drawn_effects(weights, cohorts)
        bounds = {"percentile": np.transpose(percentile_interval(drawn))}
        if n <= EXPANDED_UP_TO:
            bounds["expanded"] = np.transpose(expanded_interval(drawn, n))
        own = left_out if first < BCA_COHORTS else []
        said += [
            _judged(cohort, drawn[:, [place]], {k: v[place] for k, v in bounds.items()}, a * b, own)
            for place, cohort in enumerate(cohorts)
        ]
    rows = []
    said = pd.DataFrame([row for own in said for row in own])
    for method, own in said.groupby("method", sort=False):
        shares, cohorts = own[["found", "covered"]].mean(), len(own)
        null = a * b == 0 or method == "joint test"
        wrong = shares["found"] if null else 1 - shares["covered"]
        rows.append({"a": a, "b": b, "method": method, **shares, "cohorts": cohorts,
                     "error": np.sqrt(wrong * (1 - wrong) / cohorts)})  # fmt: skip
    return rows


def _cohort(number: int, n: int, a: float, b: float) -> tuple[np.ndarray, ...]:
    """Return constant, exposure and mediator as columns, and the outcome."""
    rng = np.random.default_rng([7, number, n, int(100 * a), int(100 * b)])
    x = rng.normal(size=n)
    m = a * x + rng.normal(size=n)
    return np.ones((n, 1)), x[:, None], m[:, None], b * m + 0.2 * x + rng.normal(size=n)


def _drawn_effects(weights: list[np.ndarray], cohorts: list[tuple[np.ndarray, ...]]) -> np.ndarray:
    """Return each cohort's effect in each draw, (draws, cohorts), as the package has the first's.

    One matrix product makes the weighted sums of all cohorts.
    """
    x, m, y = (np.column_stack([cohort[place] for cohort in cohorts]) for place in (1, 2, 3))
    every = np.concatenate(weights)
    n, k = x.shape
    mean = dict(zip("xmy", np.split(every @ np.hstack([x, m, y]) / n, 3, axis=1), strict=True))
    pairs = [("x", "x"), ("x", "m"), ("m", "m"), ("x", "y"), ("m", "y")]
    values = {"x": x, "m": m, "y": y}
    raw = every @ np.hstack([values[i] * values[j] for i, j in pairs]) / n
    xx, xm, mm, xy, my = (
        own - mean[i] * mean[j] for own, (i, j) in zip(np.split(raw, 5, axis=1), pairs, strict=True)
    )
    effects = xm / xx * (my * xx - xm * xy) / (mm * xx - xm**2)
    package = weighted_indirect_effects(weights, *cohorts[0])[:, 0, 0]
    if effects.shape[1] != k or not np.allclose(effects[:, 0], package, rtol=1e-8, atol=1e-12):
        raise AssertionError("the effects of the draws are not those of weighted_indirect_effects")
    return effects


def _judged(
    cohort: tuple[np.ndarray, ...],
    drawn: np.ndarray,
    bounds: dict[str, np.ndarray],
    truth: float,
    left_out: list[np.ndarray],
) -> list[dict[str, object]]:
    """Return what each method says of one cohort: an effect found, the true one covered.

    BCa intervals, which take longest, only where there are weights that leave patients out.
    """
    ones, x, m, y = cohort
    fitted = slopes(ones, x[:, 0], m, y)
    first, second = fitted["beta21"], fitted["beta32"]
    error = np.hypot(first.estimate * second.se, second.estimate * first.se)
    estimate = first.estimate * second.estimate
    intervals = {
        **bounds,
        "Sobel": (estimate[0] - 1.959964 * error[0], estimate[0] + 1.959964 * error[0]),
    }
    if left_out:
        jackknife = weighted_indirect_effects(left_out, *cohort)[:, :, 0]
        low, high = bca_interval(drawn, estimate, jackknife)
        intervals["BCa"] = low[0], high[0]
    said = [{"method": method, "found": bool(low > 0 or high < 0),
             "covered": float(low <= truth <= high)}
            for method, (low, high) in intervals.items()]  # fmt: skip
    joint = bool(max(first.p[0], second.p[0]) < 0.05)
    return [*said, {"method": "joint test", "found": joint, "covered": np.nan}]


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
    OneByOne(
        sm.OLS(table["y"], design), sm.OLS(table["m0"], design[["const", "x1"]]), [1, 1], 2
    ).fit(method="bootstrap", n_rep=50)
    one = (time.perf_counter() - began) / 50
    return pd.DataFrame(
        [{"pairs": 3 * k, "draws": 5_000, "patients": n, "seconds": ours, "most_mib": most,
          "loop_seconds_estimated": one * 5_000 * 3 * k, "ratio": one * 5_000 * 3 * k / ours}]
    )  # fmt: skip


def main() -> None:
    """Measure everything and write the tables."""
    measures = {"grid": grid, "speed": speed, "coverage": coverage, "power": power}
    for name in sys.argv[1:] or measures:
        table = measures[name]().round(5)
        print(table.to_markdown(index=False), flush=True)
        artifacts.write_text(HERE / f"mediation_{name}.csv", table.to_csv(index=False))
        if name == "power":
            draw_power(table)


def draw_power(table: pd.DataFrame) -> None:
    """Draw how often one mediator of the phantom is found, by patients."""
    chosen = table[(table["exposure"] == "age") & (table["mediator"] == "lesion_extent")]
    shown = chosen.assign(criterion=chosen["criterion"] + ", " + chosen["truth"])
    ax = plots.plot_power(shown)
    ax.set_title("Age, extent of lesions, infection (phantom)")
    ax.figure.savefig(HERE / "mediation_power.png", dpi=150)
    plt.close(ax.figure)


if __name__ == "__main__":
    main()
