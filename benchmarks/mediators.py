"""How many mediators are found among many, rightly and wrongly, and how long that takes.

Planted truth: of p mediators whose residuals are correlated (neighbours by 0.5, and all by a common
factor as phenotypes of one mask are) some carry the exposure's effect, some only vary with it and
some only act on the outcome, which is a number, or binary: whether that number is above 0. As a
ceiling stands least squares that is told which mediators act on the outcome, at the p that keeps
the share of wrong ones at 10 %: nobody is told either.
`python benchmarks/mediators.py` writes mediators.csv, and goes on where it was interrupted; with
`--quick` it prints a few cohorts of two cells.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from cells import write_by_cell
from numpy.typing import NDArray
from scipy.stats import t as student
from statsmodels.stats.multitest import multipletests

from ssinfnet.mediation import joint_mediators, mediate
from ssinfnet.mediation.columns import TYPED
from ssinfnet.mediation.regressions import slopes

GRID = [(100, 200, "number"), (300, 200, "number"), (800, 200, "number"), (1500, 200, "number"),
        (100, 2000, "number"), (300, 2000, "number"), (800, 2000, "number"),
        (1500, 2000, "number"), (300, 200, "binary"), (1500, 200, "binary"),
        (1500, 2000, "binary")]  # fmt: skip
COHORTS, TIMED = 200, 3
CARRYING, ONE_SLOPE = 8, 30
NEIGHBOURS, COMMON = 0.5, 0.3
WANTED_RATE = 0.1
JOINT, CRITERION = "jointly, false discovery rate 10 %", "one by one, the paper's criterion"
JOINT_TEST, CEILING = "one by one, joint test", "told which act on the outcome, at the best p"


class Cohort(NamedTuple):
    """A table with its truth."""

    table: pd.DataFrame
    names: list[str]
    truth: set[str]  # mediators that carry an effect
    acting: set[str]  # on the outcome, those that carry one among them


def cohort(rng: np.random.Generator, n: int, p: int, outcome: str = "number") -> Cohort:
    """Draw a table of patients with exposure x, outcome y and mediators."""
    x = rng.normal(size=n)
    noise = rng.normal(size=(n, p))
    for column in range(1, p):  # each like its neighbour
        noise[:, column] = (
            NEIGHBOURS * noise[:, column - 1] + np.sqrt(1 - NEIGHBOURS**2) * noise[:, column]
        )
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
    if outcome == "binary":
        y = (y > 0).astype(np.float64)
    names = [f"m{number}" for number in range(p)]
    table = pd.DataFrame(m, columns=names).assign(x=x, y=y)
    acting = {names[number] for number in np.flatnonzero(to_outcome)}
    return Cohort(table, names, {names[number] for number in carrying}, acting)


def joint(table: pd.DataFrame, names: list[str]) -> dict[str, set[str]]:
    own = joint_mediators(table, "x", "y", names)
    return {JOINT: set(own.loc[own["mediates"], "mediator"])}


def by_mediate(table: pd.DataFrame, names: list[str]) -> dict[str, set[str]]:
    """Return what the package's own analysis of single mediators finds."""
    own = mediate(table, ["x"], "y", names, draws=0, fewest=1).table
    return {
        method: set(own.loc[own[column], "mediator"])
        for method, column in (
            (CRITERION, "mediator_by_criterion"),
            (JOINT_TEST, "mediator_by_joint_test"),
        )
    }


def one_by_one(table: pd.DataFrame, names: list[str]) -> dict[str, set[str]]:
    """Return the same in a hundredth of the time."""
    x, y, m = (table[own].to_numpy() for own in ("x", "y", names))
    fitted = slopes(np.ones((len(x), 1)), x, m, y)
    first, second = fitted["beta21"], fitted["beta32"]
    small = {
        "first": first.p,
        "second": second.p,
        "total": fitted["beta11"].p,
        "larger": np.maximum(first.p, second.p),
    }
    small = {name: multipletests(p, method="fdr_bh")[0] for name, p in small.items()}
    smaller = np.abs(fitted["beta11"].estimate) > np.abs(fitted["beta31"].estimate)
    criterion = small["first"] & small["second"] & small["total"] & smaller
    return {
        method: set(np.array(names)[own])
        for method, own in ((CRITERION, criterion), (JOINT_TEST, small["larger"]))
    }


def told(drawn: Cohort) -> NDArray[np.float64]:
    """Return the larger p of each mediator's two slopes, the second beside those that act."""
    x, y, m = (drawn.table[own].to_numpy() for own in ("x", "y", drawn.names))
    ones = np.ones((len(x), 1))
    acting = np.isin(drawn.names, sorted(drawn.acting))
    beside = np.column_stack([ones, x, m[:, acting]])
    second = np.empty(len(acting))
    # Those that act stand in one regression; each of the others is added to it
    inverse = np.linalg.inv(beside.T @ beside)
    df = len(x) - beside.shape[1]
    left = y - beside @ (inverse @ (beside.T @ y))
    second[acting] = _p((inverse @ (beside.T @ y))[2:], left @ left / df * np.diag(inverse)[2:], df)
    own = m[:, ~acting] - beside @ (inverse @ (beside.T @ m[:, ~acting]))
    square = np.square(own).sum(axis=0)
    slope = left @ own / square
    second[~acting] = _p(slope, (left @ left - slope**2 * square) / (df - 1) / square, df - 1)
    return np.maximum(slopes(ones, x, m, y)["beta21"].p, second)


def _p(slope: NDArray[np.float64], variance: NDArray[np.float64], df: int) -> NDArray[np.float64]:
    return 2 * student.sf(np.abs(slope) / np.sqrt(variance), df)


def ceiling(told_p: list[NDArray[np.float64]], true: list[NDArray[np.bool_]]) -> pd.DataFrame:
    """Return power, false discovery rate and number found of each cohort at the best p."""
    best = pd.DataFrame({"power": [0.0] * len(true), "rate": 0.0, "found": 0.0})
    for p in np.geomspace(1e-6, 0.5, 100):
        found = [one <= p for one in told_p]
        rows = [
            (f[t].mean(), (f & ~t).sum() / max(f.sum(), 1), f.sum())
            for f, t in zip(found, true, strict=True)
        ]
        own = pd.DataFrame(rows, columns=["power", "rate", "found"])
        if own["rate"].mean() <= WANTED_RATE:
            best = own
    return best


def measured(
    patients: int, mediators: int, outcome: str, cohorts: int = COHORTS
) -> list[dict[str, object]]:
    """Return a row a method: mean share found of those that carry, and share found wrongly."""
    counted: dict[str, list[tuple[float, ...]]] = {}
    told_p, true, seconds = [], [], {}
    for seed in range(cohorts):
        rng = np.random.default_rng([seed, patients, mediators])
        drawn = cohort(rng, patients, mediators, outcome)
        if seed < TIMED:  # as users call it; what a quicker way finds must be the same
            whole, took = zip(*(_timed(way, drawn) for way in (joint, by_mediate)), strict=True)
            for methods, own in zip(([JOINT], [CRITERION, JOINT_TEST]), took, strict=True):
                for method in methods:
                    seconds.setdefault(method, []).append(own)
        drawn.table.attrs[TYPED] = True  # most of the time goes into asking what columns hold
        found = joint(drawn.table, drawn.names) | one_by_one(drawn.table, drawn.names)
        if seed < TIMED and found != whole[0] | whole[1]:
            raise AssertionError(f"the quick way finds {found}, the package {whole}")
        for method, own in found.items():
            wrong = len(own - drawn.truth) / max(len(own), 1)
            row = (len(own & drawn.truth) / len(drawn.truth), wrong, len(own))
            counted.setdefault(method, []).append(row)
        told_p.append(told(drawn))
        true.append(np.isin(drawn.names, sorted(drawn.truth)))
    tables = {
        method: pd.DataFrame(rows, columns=["power", "rate", "found"])
        for method, rows in counted.items()
    }
    tables[CEILING] = ceiling(told_p, true)
    return [_row(method, own, seconds.get(method, [np.nan])) for method, own in tables.items()]


def _timed(
    method: Callable[[pd.DataFrame, list[str]], dict[str, set[str]]], drawn: Cohort
) -> tuple[dict[str, set[str]], float]:
    """Return what a method finds, and how many seconds of one core it takes."""
    start = time.process_time()
    return method(drawn.table, drawn.names), time.process_time() - start


def _row(method: str, own: pd.DataFrame, seconds: list[float]) -> dict[str, object]:
    """Return the means of a method over cohorts, with their Monte Carlo errors."""
    error = own.std() / np.sqrt(len(own))
    return {"method": method, "cohorts": len(own), "power": own["power"].mean(),
            "power_error": error["power"], "false_discovery_rate": own["rate"].mean(),
            "rate_error": error["rate"], "found": own["found"].mean(),
            "seconds": np.median(seconds)}  # fmt: skip


def main() -> None:
    if "--quick" in sys.argv:
        for cell in GRID[:2]:
            print(pd.DataFrame(measured(*cell, cohorts=3)).to_string(index=False), flush=True)
        return
    cells = [dict(zip(("patients", "mediators", "outcome"), cell, strict=True)) for cell in GRID]
    write_by_cell(Path(__file__).with_name("mediators.csv"), cells, measured)


if __name__ == "__main__":
    main()
