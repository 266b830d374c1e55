"""How many mediators are found among many, rightly and wrongly, and how long that takes.

Planted truth: of p mediators whose residuals are correlated (neighbours by 0.5, and all by a common
factor as phenotypes of one mask are) some carry the exposure's effect, some only vary with it and
some only act on the outcome. As a ceiling stands least squares that is told which mediators act on
the outcome, at the p that keeps the share of wrong ones at 10 %: nobody is told either.
`python benchmarks/mediators.py` writes mediators.csv; with `--quick` it prints a few cohorts a row.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t as student

from ssinfnet.mediation import joint_mediators, mediate
from ssinfnet.storage import artifacts

GRID = ((100, 200, 60), (300, 200, 40), (800, 200, 10), (300, 2000, 6), (800, 2000, 4),
        (1500, 2000, 3))  # patients, mediators, cohorts  # fmt: skip
CARRYING, ONE_SLOPE = 8, 30
NEIGHBOURS, COMMON = 0.5, 0.3
WANTED_RATE = 0.1
CEILING = "told which act on the outcome, at the best p"
COLUMNS = ["patients", "mediators", "method", "cohorts", "power", "false_discovery_rate",
           "found", "seconds"]  # fmt: skip


class Cohort(NamedTuple):
    """A table with its truth."""

    table: pd.DataFrame
    names: list[str]
    truth: set[str]  # mediators that carry an effect
    acting: set[str]  # on the outcome, those that carry one among them


def cohort(rng: np.random.Generator, n: int, p: int) -> Cohort:
    """Draw a table of patients with exposure x, outcome y and mediators."""
    x = rng.normal(size=n)
    noise = rng.normal(size=(n, p))
    for column in range(1, p):  # each like its neighbour
        noise[:, column] = (NEIGHBOURS * noise[:, column - 1]
                            + np.sqrt(1 - NEIGHBOURS**2) * noise[:, column])  # fmt: skip
    noise = np.sqrt(1 - COMMON) * noise + np.sqrt(COMMON) * rng.normal(size=(n, 1))
    roles = rng.permutation(p)
    carrying = roles[:CARRYING]
    to_mediator, to_outcome = np.zeros(p), np.zeros(p)
    to_mediator[roles[: CARRYING + ONE_SLOPE]] = 0.4
    to_outcome[roles[:CARRYING]] = 0.35
    to_outcome[roles[CARRYING + ONE_SLOPE : CARRYING + 2 * ONE_SLOPE]] = 0.15
    signs = rng.choice([-1, 1], p)
    m = np.outer(x, to_mediator * signs) + noise
    y = m @ (to_outcome * signs) + 0.3 * x + rng.normal(size=n)
    names = [f"m{number}" for number in range(p)]
    table = pd.DataFrame(m, columns=names).assign(x=x, y=y)
    acting = {names[number] for number in np.flatnonzero(to_outcome)}
    return Cohort(table, names, {names[number] for number in carrying}, acting)


def joint(table: pd.DataFrame, names: list[str]) -> dict[str, set[str]]:
    own = joint_mediators(table, "x", "y", names)
    return {"jointly, false discovery rate 10 %": set(own.loc[own["mediates"], "mediator"])}


def one_by_one(table: pd.DataFrame, names: list[str]) -> dict[str, set[str]]:
    own = mediate(table, ["x"], "y", names, draws=0).table
    return {
        method: set(own.loc[own[column], "mediator"])
        for method, column in (("one by one, the paper's criterion", "mediator_by_criterion"),
                               ("one by one, joint test", "mediator_by_joint_test"))
    }  # fmt: skip


def told(drawn: Cohort) -> NDArray[np.float64]:
    """Return the larger p of each mediator's two slopes, the second beside those that act."""
    x, y = (drawn.table[name].to_numpy() for name in ("x", "y"))
    larger = []
    for name in drawn.names:
        beside = drawn.table[sorted(drawn.acting - {name})].to_numpy()
        own = drawn.table[name].to_numpy()
        larger.append(max(_p(np.column_stack([x, np.ones(len(x))]), own),
                          _p(np.column_stack([own, np.ones(len(x)), x, beside]), y)))  # fmt: skip
    return np.array(larger)


def _p(design: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the p of the first column's slope."""
    inverse = np.linalg.inv(design.T @ design)
    slopes = inverse @ design.T @ y
    df = len(y) - design.shape[1]
    se = np.sqrt(np.square(y - design @ slopes).sum() / df * inverse[0, 0])
    return float(2 * student.sf(abs(slopes[0] / se), df))


def ceiling(told_p: list[NDArray[np.float64]], true: list[NDArray[np.bool_]]) -> list[float]:
    """Return power, false discovery rate and number found at the best p for a rate of 10 %."""
    best = [0.0, 0.0, 0.0]
    for p in np.geomspace(1e-6, 0.5, 100):
        found = [one <= p for one in told_p]
        wrong = np.mean([(f & ~t).sum() / max(f.sum(), 1)
                         for f, t in zip(found, true, strict=True)])  # fmt: skip
        if wrong <= WANTED_RATE:
            power = np.mean([f[t].mean() for f, t in zip(found, true, strict=True)])
            best = [float(power), float(wrong), float(np.mean([f.sum() for f in found]))]
    return best


def measured(n: int, p: int, cohorts: int) -> list[dict[str, object]]:
    """Return a row a method: mean share found of those that carry, and share found wrongly."""
    counted: dict[str, list[tuple[float, ...]]] = {}
    told_p, true = [], []
    for seed in range(cohorts):
        drawn = cohort(np.random.default_rng([seed, n, p]), n, p)
        for methods in (joint, one_by_one):
            start = time.process_time()
            answers = methods(drawn.table, drawn.names)
            seconds = time.process_time() - start
            for method, found in answers.items():
                wrong = len(found - drawn.truth) / max(len(found), 1)
                row = (len(found & drawn.truth) / len(drawn.truth), wrong, len(found), seconds)
                counted.setdefault(method, []).append(row)
        told_p.append(told(drawn))
        true.append(np.isin(drawn.names, sorted(drawn.truth)))
    means = {method: np.mean(rows, axis=0) for method, rows in counted.items()}
    means[CEILING] = np.array([*ceiling(told_p, true), np.nan])
    return [dict(zip(COLUMNS, (n, p, method, cohorts, *mean.round(3)), strict=True))
            for method, mean in means.items()]  # fmt: skip


def main() -> None:
    quick = "--quick" in sys.argv
    rows = []
    for n, p, cohorts in GRID[: 2 if quick else len(GRID)]:
        rows += measured(n, p, 3 if quick else cohorts)
        print(pd.DataFrame(rows[-4:]).to_string(index=False), flush=True)
    if not quick:
        table = pd.DataFrame(rows, columns=COLUMNS)
        target = Path(__file__).with_name("mediators.csv")
        artifacts.write_text(target, table.to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    main()
