"""How mediators are chosen and tested beside each other, in one table or in several imputed ones.

In four steps of the HIMA family (Zhang et al. 2016; Perera et al. 2022): mediators that are nearly
the same stand for each other; those that vary most with the exposure are kept, as many as patients
allow; of the rest the one that is most correlated with each, and those that a lasso finds to
predict the outcome, are adjusted for (Belloni, Chernozhukov & Hansen 2014); least squares tests
those that were kept.

A mediator needs both slopes, so that "no mediator" is a composite hypothesis, of which the larger p
is far from uniform. Its false discovery rate is estimated from the shares of mediators without
either slope (after Dai, Stanford & LeBlanc 2022; the family of DACT, Liu et al. 2022).
Mediators are kept by their slope on the exposure alone, so that the outcome's regression is not
biased by the choice; their p on the exposure are taken given that they were kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from ssinfnet.mediation.collinearity import (
    COLLINEAR,
    adjustment,
    collinear_reason,
    left_by,
    unexplained,
)
from ssinfnet.mediation.imputation import Pooled
from ssinfnet.mediation.resampling import refuse_negative

__all__ = ["FREE", "Rest", "check_rates", "composite_q", "pooled_slopes", "tested_together"]

Array = NDArray[np.float64]

HALF = 0.5  # p above which tests count as null when shares are estimated (Storey 2002)
NEIGHBOURS = 1  # of each kept mediator that are adjusted for
FEWEST_FREE = 1 / 3  # of the patients: degrees of freedom that the regression keeps
PRODUCTS = 20000  # draws of the product of two normal slopes, for its interval
FREE = 10  # degrees of freedom that patients must leave beside one mediator
LASSO_ROUNDS = 3  # in which the residual's spread, which sets the penalty, is estimated anew


@dataclass(frozen=True)
class Rest:
    """What constant and covariates leave of a table's exposure, outcome and mediators.

    Attributes
    ----------
    x, y : ndarray of float, shape (n,)
    m : ndarray of float, shape (n, k)
        NaN of a mediator of which nothing is left.
    free : int
        Degrees of freedom beside covariates, exposure and one mediator.
    note : str
        Covariates that were dropped, separated by commas.
    """

    x: Array
    y: Array
    m: Array
    free: int
    note: str

    @classmethod
    def of(
        cls,
        values: pd.DataFrame,
        exposure: str,
        outcome: str,
        mediators: Sequence[str],
        covariates: Sequence[str],
    ) -> Rest:
        """Take covariates out of a table; ValueError where too few patients or nothing is left."""
        adjusted = adjustment(values, covariates)
        basis = adjusted.basis
        x, y = (values[name].to_numpy() for name in (exposure, outcome))
        free = len(values) - basis.shape[1] - 2
        if free < FREE:
            raise ValueError(
                f"{len(values)} patients have all mediators; {FREE} more than covariates are needed"
            )
        if reason := collinear_reason(basis, {exposure: x, outcome: y}):
            raise ValueError(reason)
        m = unexplained(basis, values[list(mediators)].to_numpy())
        return cls(unexplained(basis, x), unexplained(basis, y), m, free, adjusted.note)


def tested_together(
    rests: Sequence[Rest], names: Sequence[str], alike: float, fdr: float, seed: int
) -> pd.DataFrame:
    """Return the rows of `joint_mediators`, of one table or of several imputed ones.

    What is chosen is chosen of all tables stacked, and tested by the same regressions in each,
    whose slopes are pooled by Rubin's rules (D-86).

    Parameters
    ----------
    rests : sequence of Rest
        What is known of the same patients in each table.
    names : sequence of str
        The mediators' names.
    alike, fdr, seed
        As `joint_mediators` takes them.
    """
    stack = _stacked(rests)
    rows = pd.DataFrame({"mediator": list(names), "same_as": "", "kept": False, "reason": ""})
    on_exposure = [_slopes_on(own.x, own.m, own.free) for own in rests]
    alpha = pooled_slopes(on_exposure)
    rows[["alpha", "alpha_se", "p_alpha", "missing"]] = alpha
    rows.loc[rows["p_alpha"].isna(), "reason"] = "does not vary, or follows from the covariates"
    own = np.vstack(
        [own.m - np.outer(own.x, slopes[0]) for own, slopes in zip(rests, on_exposure, strict=True)]
    )
    p_alpha = rows["p_alpha"].to_numpy()
    first = _first_of_alike(own, p_alpha, alike)
    labels = np.array(names, dtype=object)
    rows["stands_for"] = np.bincount(first[first >= 0], minlength=len(labels))
    others = (first >= 0) & (first != np.arange(len(labels)))
    rows.loc[others, "same_as"] = labels[first[others]]
    rows.loc[others, "reason"] = "stands for the same as " + rows.loc[others, "same_as"]
    candidates = np.flatnonzero((first == np.arange(len(labels))) & rows["p_alpha"].notna())
    first_kept, threshold = _kept(p_alpha, candidates, len(rests[0].x))
    rest = np.setdiff1d(candidates, first_kept)
    rows.loc[rest, "reason"] = "varies less with the exposure than others"
    order = first_kept[np.argsort(p_alpha[first_kept], kind="stable")]
    own_part = _independent_in_all([np.column_stack([own.x, own.m[:, order]]) for own in rests])[1:]
    rows.loc[order[~own_part], "reason"] = "follows from the exposure and the other mediators"
    kept = np.sort(order[own_part])
    rows.loc[kept, "kept"] = True
    columns = np.concatenate([kept, _adjusted_for(stack, kept, rest, len(rests))])
    beta = pooled_slopes(_beside_each_other(rests, columns, len(kept)))
    rows.loc[kept, ["beta", "beta_se", "p_beta"]] = beta[:, :3]
    rows["fraction_missing"] = np.nan
    rows.loc[kept, "fraction_missing"] = np.fmax(rows.loc[kept, "missing"], beta[:, 3])
    conditional = np.minimum(rows.loc[kept, "p_alpha"] / threshold, 1.0)
    rows.loc[kept, "q"] = composite_q(conditional, rows.loc[kept, "p_beta"])
    rows["indirect"] = rows["alpha"] * rows["beta"]
    rows[["low", "high"]] = _product_intervals(rows, seed)
    rows["mediates"] = rows["q"] <= fdr
    return rows


def _stacked(rests: Sequence[Rest]) -> Rest:
    """Return tables one under the other."""
    return Rest(np.concatenate([own.x for own in rests]), np.concatenate([own.y for own in rests]),
                np.vstack([own.m for own in rests]), rests[0].free, rests[0].note)  # fmt: skip


def pooled_slopes(tables: Sequence[tuple[Array, Array, int]]) -> Array:
    """Return slopes, errors, p and the share of information that is missing, shape (slopes, 4).

    Parameters
    ----------
    tables : sequence of (estimates, errors, degrees of freedom)
        Results of each table; from a single one, p values are those of Student's t.
    """
    estimates, errors = (np.stack([own[part] for own in tables]) for part in (0, 1))
    if len(tables) > 1:
        own = Pooled(estimates, errors, tables[0][2])
        return np.column_stack([own.estimate, own.se, own.p, own.fraction_missing])
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * student.sf(np.abs(estimates[0] / errors[0]), tables[0][2])
    return np.column_stack([estimates[0], errors[0], p, np.zeros(len(p))])


def check_rates(fdr: float, alike: float, seed: int) -> None:
    """Raise ValueError where a rate is not within 0 and 1, or a seed is below 0."""
    for name, value in (("fdr", fdr), ("alike", alike)):
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie within 0 and 1, got {value}")
    refuse_negative(seed=seed)


def _slopes_on(x: Array, m: Array, free: int) -> tuple[Array, Array, int]:
    """Return the slope of each mediator on the exposure, its error, and degrees of freedom."""
    estimate = x @ m / (x @ x)
    rest = m - np.outer(x, estimate)
    se = np.sqrt(np.square(rest).sum(axis=0) / (free + 1) / (x @ x))
    return estimate, se, free + 1


def _first_of_alike(own: Array, p: Array, alike: float) -> NDArray[np.intp]:
    """Return for each mediator the one that stands for it, -1 where it does not vary.

    They are taken in the order of p; a mediator joins the first that it is correlated with.
    """
    length = np.linalg.norm(own, axis=0)
    usable = np.isfinite(p) & (length > 0)
    unit = np.where(usable, np.nan_to_num(own), 0) / np.where(usable, length, 1)
    first = np.full(len(p), -1)
    close = np.abs(unit.T @ unit) > alike
    for number in np.argsort(np.where(usable, p, np.inf), kind="stable")[: usable.sum()]:
        if first[number] < 0:
            joining = close[number] & (first < 0) & usable
            first[joining] = number
            first[number] = number
    return first


def _kept(p: Array, candidates: NDArray[np.intp], n: int) -> tuple[NDArray[np.intp], float]:
    """Return the candidates of the smallest p, and the p below which each was kept.

    As many as n / log n (Fan & Lv 2008); all of them where they are not more.
    """
    most = max(int(n / np.log(n)), 1)
    if len(candidates) <= most:
        return candidates, 1.0
    order = candidates[np.argsort(p[candidates], kind="stable")]
    return np.sort(order[:most]), float(p[order[most]])


def _adjusted_for(
    stack: Rest, kept: NDArray[np.intp], rest: NDArray[np.intp], tables: int
) -> NDArray[np.intp]:
    """Return the other mediators that the outcome's regression has beside the kept ones."""
    design, n = np.column_stack([stack.x, stack.m[:, kept]]), len(stack.x) // tables
    if not len(rest):
        return rest
    room = int(stack.free + 2 - design.shape[1] - FEWEST_FREE * n)
    near = rest[_neighbours(stack.x, stack.m[:, kept], stack.m[:, rest], room)]
    design = np.column_stack([design, stack.m[:, near]])
    far, room = np.setdiff1d(rest, near), room - len(near)
    if room <= 0 or not len(far):
        return near
    chosen = _controls(design, stack.y, stack.m[:, far], room, tables)
    return np.concatenate([near, far[chosen]])


def _beside_each_other(
    rests: Sequence[Rest], columns: NDArray[np.intp], kept: int
) -> list[tuple[Array, Array, int]]:
    """Return slopes of the first mediators in the outcome's regression, of each table.

    With their errors, and degrees of freedom.
    """
    designs = [np.column_stack([own.x, own.m[:, columns]]) for own in rests]
    taken = _independent_in_all(designs)  # the exposure and kept mediators come first, and stay
    found = []
    for own, whole in zip(rests, designs, strict=True):
        design = whole[:, taken]
        scale = np.linalg.norm(design, axis=0)  # of unequal units the smallest would be lost
        inverse = np.linalg.pinv(design / scale) / scale[:, None]
        slopes = inverse @ own.y
        df = own.free + 2 - design.shape[1]
        residual = own.y - design @ slopes
        se = np.sqrt(residual @ residual / df * np.square(inverse).sum(axis=1))
        found.append((slopes[1 : 1 + kept], se[1 : 1 + kept], df))
    return found


def _independent_in_all(designs: Sequence[Array]) -> NDArray[np.bool_]:
    """Return which columns do not follow from those before them in any table."""
    return np.all([_independent(design) for design in designs], axis=0)


def _independent(design: Array) -> NDArray[np.bool_]:
    """Return which columns do not follow from those before them."""
    remaining = np.abs(np.diag(np.linalg.qr(design, mode="r")))
    return remaining > np.sqrt(COLLINEAR) * np.linalg.norm(design, axis=0)


def _neighbours(x: Array, kept: Array, rest: Array, most: int) -> NDArray[np.intp]:
    """Return which other mediators are most correlated with each kept one, beside the exposure."""
    kept, rest = (own - np.outer(x, x @ own / (x @ x)) for own in (kept, rest))
    r = np.abs(kept.T @ rest) / np.linalg.norm(kept, axis=0)[:, None] / np.linalg.norm(rest, axis=0)
    nearest = np.argsort(-r, axis=1, kind="stable")[:, :NEIGHBOURS]
    order = np.argsort(-np.take_along_axis(r, nearest, axis=1), axis=None, kind="stable")
    chosen = dict.fromkeys(nearest.ravel()[order].tolist())
    return np.array(list(chosen)[: max(most, 0)], dtype=np.intp)


def _controls(design: Array, y: Array, rest: Array, most: int, tables: int) -> NDArray[np.intp]:
    """Return which other mediators predict what a design leaves of the outcome, by a lasso.

    Rows of several tables of the same patients say no more than those patients do.
    """
    from sklearn.linear_model import lasso_path  # a second of imports

    basis = np.linalg.qr(design)[0]
    left_y, left = left_by(basis, y), left_by(basis, rest)
    length = np.linalg.norm(left, axis=0)
    usable = length > 1e-6 * np.linalg.norm(rest, axis=0)
    left = np.where(usable, left, 0) / np.where(usable, length, 1) * np.sqrt(len(y))
    n = len(y) // tables
    spread = np.linalg.norm(left_y) / np.sqrt(tables * (n - design.shape[1]))
    chosen = np.empty(0, dtype=np.intp)
    for _ in range(LASSO_ROUNDS):
        penalty = spread * norm.isf(0.05 / rest.shape[1]) / np.sqrt(n)
        _, coefficients, _ = lasso_path(left, left_y, alphas=[penalty])
        size = np.abs(coefficients[:, 0])
        chosen = np.argsort(-size, kind="stable")[: min(most, int((size > 0).sum()))]
        fitted = left[:, chosen] @ np.linalg.lstsq(left[:, chosen], left_y, rcond=None)[0]
        free = n - design.shape[1] - len(chosen)
        spread = np.linalg.norm(left_y - fitted) / np.sqrt(tables * free)
    return chosen


def composite_q(p_alpha: Sequence[float] | Array, p_beta: Sequence[float] | Array) -> Array:
    """Return the false discovery rate at which each mediator is found by its larger p.

    The larger p of a mediator without the first slope, or without the second, falls below t by
    chance with a share of at most t; how many of either there are is estimated from the p above a
    half (Storey 2002). Those without both are counted twice, where mixtures count them with t²:
    slopes of correlated mediators are not independent enough for that (D-135).

    Parameters
    ----------
    p_alpha, p_beta : sequence of float
        p values of the same mediators; uniform where there is no slope.

    Returns
    -------
    ndarray of float
        Within 0 and 1.
    """
    first, second = np.asarray(p_alpha, dtype=float), np.asarray(p_beta, dtype=float)
    m = len(first)
    if not m:
        return np.empty(0)
    null_first, null_second = (
        min((np.sum(p > HALF) + 1) / (m * (1 - HALF)), 1.0) for p in (first, second)
    )
    larger = np.maximum(first, second)
    found = np.searchsorted(np.sort(larger), larger, side="right")
    rate = m * (null_first + null_second) * larger / found
    order = np.argsort(-larger, kind="stable")
    q = np.empty(m)
    q[order] = np.minimum.accumulate(np.minimum(rate[order], 1.0))
    return q


def _product_intervals(rows: pd.DataFrame, seed: int) -> Array:
    """Return 2.5 and 97.5 % of the product of two independent normal slopes."""
    first, second = np.random.default_rng(seed).normal(size=(2, PRODUCTS))
    bounds = np.full((len(rows), 2), np.nan)
    for number in np.flatnonzero(rows["kept"]):
        row = rows.iloc[number]
        product = (row["alpha"] + row["alpha_se"] * first) * (row["beta"] + row["beta_se"] * second)
        bounds[number] = np.quantile(product, [0.025, 0.975])
    return bounds
