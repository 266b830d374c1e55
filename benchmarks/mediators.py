"""How many mediators are found among many, rightly and wrongly, and how long that takes.

Planted truth: of p mediators whose residuals are correlated (neighbours by 0.5, and all by a common
factor as phenotypes of one mask are) some carry the exposure's effect, some only vary with it and
some only act on the outcome. `python benchmarks/mediators.py` writes mediators.csv; with `--quick`
it prints a few cohorts a row.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from ssinfnet.mediation import joint_mediators, mediate
from ssinfnet.storage import artifacts

GRID = ((100, 200, 20), (300, 200, 40), (800, 200, 10), (300, 2000, 6), (800, 2000, 4),
        (1500, 2000, 3))  # patients, mediators, cohorts  # fmt: skip
CARRYING, ONE_SLOPE = 8, 30
NEIGHBOURS, COMMON = 0.5, 0.3
COLUMNS = ["patients", "mediators", "method", "cohorts", "power", "false_discovery_rate",
           "found", "seconds"]  # fmt: skip


def cohort(rng: np.random.Generator, n: int, p: int) -> tuple[pd.DataFrame, list[str], set[str]]:
    """Return a table, the names of its mediators, and those that carry an effect."""
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
    return table, names, {names[number] for number in carrying}


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


def measured(n: int, p: int, cohorts: int) -> list[dict[str, object]]:
    """Return a row a method: mean share found of those that carry, and share found wrongly."""
    counted: dict[str, list[tuple[float, ...]]] = {}
    for seed in range(cohorts):
        table, names, truth = cohort(np.random.default_rng([seed, n, p]), n, p)
        for methods in (joint, one_by_one):
            start = time.process_time()
            answers = methods(table, names)
            seconds = time.process_time() - start
            for method, found in answers.items():
                wrong = len(found - truth) / max(len(found), 1)
                row = (len(found & truth) / len(truth), wrong, len(found), seconds)
                counted.setdefault(method, []).append(row)
    return [
        dict(zip(COLUMNS, (n, p, method, cohorts, *np.mean(rows, axis=0).round(3)), strict=True))
        for method, rows in counted.items()
    ]


def main() -> None:
    quick = "--quick" in sys.argv
    rows = []
    for n, p, cohorts in GRID[: 2 if quick else len(GRID)]:
        rows += measured(n, p, 3 if quick else cohorts)
        print(pd.DataFrame(rows[-3:]).to_string(index=False), flush=True)
    if not quick:
        table = pd.DataFrame(rows, columns=COLUMNS)
        target = Path(__file__).with_name("mediators.csv")
        artifacts.write_text(target, table.to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    main()
