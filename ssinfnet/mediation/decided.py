"""Adjust tests and intervals of single mediators for their number, and decide which mediate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from ssinfnet.mediation.collinearity import COLLINEAR
from ssinfnet.mediation.resampling import DrawnEffects

__all__ = [
    "Drawing",
    "TESTED",
    "check_decision",
    "decided",
    "interval_level",
    "same_columns",
    "with_adjusted",
]

Drawing = tuple[pd.MultiIndex, DrawnEffects]  # pairs of exposure and mediator, and their draws

TESTED = ("beta11", "beta21", "beta32", "indirect")  # D-17


def check_decision(adjustment: str, alpha: float) -> None:
    """Raise ValueError unless an adjustment is known and a level of significance is a share."""
    if adjustment not in ("fdr_bh", "holm"):
        raise ValueError(f"adjustment must be fdr_bh or holm, got {adjustment!r}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie between 0 and 1, such as 0.05 for 5 %; got {alpha}")


def same_columns(mediators: pd.DataFrame) -> dict[str, str]:
    """Return mediator → the first one that is the same up to scale, sign and offset.

    All patients have all of the mediators.
    """
    names, m = list(mediators), mediators.to_numpy()
    left = m - m.mean(axis=0) if len(m) else m
    length = np.sqrt(np.square(left).sum(axis=0))
    unit = left / np.where(length > 0, length, 1)
    alike = np.abs(unit.T @ unit) > 1 - COLLINEAR
    np.fill_diagonal(alike, True)
    return dict(zip(names, (names[first] for first in alike.argmax(axis=0)), strict=True))


def decided(
    found: pd.DataFrame, drawings: Sequence[Drawing], adjustment: str, alpha: float
) -> pd.DataFrame:
    """Return the rows with adjusted p values and intervals, and the two decisions.

    The column ``same_as`` names the mediator that stands for each in the adjustment.
    """
    if not drawings:
        reasons = found["reason"].unique().tolist()
        raise ValueError(f"no mediator can be analysed: {reasons[:5]}")
    found = with_adjusted(found, (*TESTED, "joint"), adjustment)
    levels = {
        exposure: interval_level(own, adjustment, alpha)
        for exposure, own in found.groupby("exposure", sort=False)
    }
    bounds = []
    for index, drawn in drawings:
        low, high = drawn.interval(index.get_level_values("exposure").map(levels).to_numpy())
        bounds.append(
            pd.DataFrame(
                {"indirect_low_adjusted": low, "indirect_high_adjusted": high}, index=index
            )
        )
    found = found.join(pd.concat(bounds), on=["exposure", "mediator"])
    significant = (found[[f"p_{test}_adjusted" for test in TESTED[:3]]] < alpha).all(axis=1)
    smaller = found["beta11"].abs() > found["beta31"].abs()
    found["mediator_by_criterion"] = significant & smaller
    found["mediator_by_joint_test"] = found["p_joint_adjusted"] < alpha
    last = ["covariates_dropped", "reason"]
    inner = ["same_as", "residual_df"]
    return found[[*found.columns.drop([*last, *inner]), *last]]


def with_adjusted(found: pd.DataFrame, tests: Sequence[str], adjustment: str) -> pd.DataFrame:
    """Return rows with a column ``p_<test>_adjusted`` a test, adjusted within each exposure.

    Mediators that are the same (``same_as``) count once.
    """
    for test in tests:
        found[f"p_{test}_adjusted"] = np.nan
        for _, own in found.groupby("exposure", sort=False):
            once = own[own["same_as"] == own["mediator"]]
            p = once.set_index("mediator")[f"p_{test}"].dropna()
            if p.empty:
                continue
            adjusted = pd.Series(multipletests(p, method=adjustment)[1], index=p.index)
            found.loc[own.index, f"p_{test}_adjusted"] = own["same_as"].map(adjusted).to_numpy()
    return found


def interval_level(own: pd.DataFrame, adjustment: str, alpha: float) -> float:
    """Return the level at which intervals of one exposure leave out 0 where adjusted p is small.

    By Benjamini and Hochberg it is that of false coverage among those found (Benjamini & Yekutieli
    2005); by Holm that of the last step which rejects.
    """
    once = own.loc[own["same_as"] == own["mediator"], ["p_indirect", "p_indirect_adjusted"]]
    once = once.dropna()
    tests, rejected = max(len(once), 1), int((once["p_indirect_adjusted"] < alpha).sum())
    if adjustment == "fdr_bh":
        return 1 - alpha * max(rejected, 1) / tests
    return 1 - alpha / min(tests, tests - rejected + 1)
