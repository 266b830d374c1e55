"""Many mediators at once: which carry an effect beside all the others.

One at a time a phenotype mediates as soon as it is correlated with one that does. Here each is
judged beside the others, in four steps of the HIMA family (Zhang et al. 2016; Perera et al. 2022):
mediators that are nearly the same stand for each other; those that vary most with the exposure are
kept, as many as patients allow; of the rest the one that is most correlated with each, and those
that a lasso finds to predict the outcome, are adjusted for (Belloni, Chernozhukov & Hansen 2014);
least squares tests those that were kept.

A mediator needs both slopes, so that "no mediator" is a composite hypothesis, of which the larger p
is far from uniform. Its false discovery rate is estimated from the shares of mediators without
either slope (after Dai, Stanford & LeBlanc 2022; the family of DACT, Liu et al. 2022).
Mediators are kept by their slope on the exposure alone, so that the outcome's regression is not
biased by the choice; their p on the exposure are taken given that they were kept.
"""

from __future__ import annotations

from collections.abc import Sequence

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
from ssinfnet.mediation.frames import analysis_frame, known_together
from ssinfnet.mediation.resampling import refuse_negative

__all__ = ["composite_q", "joint_mediators"]

Array = NDArray[np.float64]

FDR = 0.1
ALIKE = 0.95  # correlation from which mediators stand for each other
HALF = 0.5  # p above which tests count as null when shares are estimated (Storey 2002)
NEIGHBOURS = 1  # of each kept mediator that are adjusted for
FEWEST_FREE = 1 / 3  # of the patients: degrees of freedom that the regression keeps
PRODUCTS = 20000  # draws of the product of two normal slopes, for its interval
FREE = 10  # degrees of freedom that patients must leave beside one mediator
COLUMNS = ["mediator", "same_as", "stands_for", "kept", "alpha", "alpha_se", "p_alpha", "beta",
           "beta_se", "p_beta", "indirect", "low", "high", "q", "mediates", "n",
           "covariates_dropped", "reason"]  # fmt: skip
LASSO_ROUNDS = 3  # in which the residual's spread, which sets the penalty, is estimated anew


def joint_mediators(
    table: pd.DataFrame,
    exposure: str,
    outcome: str,
    mediators: Sequence[str],
    covariates: Sequence[str] = (),
    *,
    fdr: float = FDR,
    alike: float = ALIKE,
    seed: int = 2021,
) -> pd.DataFrame:
    """Find the mediators that carry an exposure's effect beside all the others.

    Parameters
    ----------
    table : DataFrame
        One row a patient. Those who lack a mediator are left out, unless too few have it: then the
        mediator is (`frames.known_together`).
    exposure, outcome : str
    mediators, covariates : sequence of str
        Thousands of mediators are possible, more than patients.
    fdr : float
        False discovery rate, within 0 and 1.
    alike : float
        Mediators correlated above it, beside exposure and covariates, stand for each other: the one
        that varies most with the exposure is tested.
    seed : int
        Of the draws of intervals.

    Returns
    -------
    DataFrame
        One row a mediator: mediator; stands_for (how many, itself included) or same_as (who stands
        for it); kept, whether it was tested; alpha and beta (slopes on the exposure, and of
        the outcome beside exposure and all other kept mediators) with _se and p_alpha, p_beta;
        indirect, low and high (95 %, product of normal slopes; MacKinnon et al. 2007); q, the
        smallest false discovery rate at which it is found; mediates, whether q is at most `fdr`;
        n, patients; covariates_dropped (see `effects.mediate`); and reason, where it was not
        tested, such as that too few patients have it. Of mediators that follow from each other,
        such as a total and its parts, the one that varies least with the exposure is not tested.

    Raises
    ------
    ValueError
        If `fdr` or `alike` are not within 0 and 1, the seed is below 0, there are too few patients,
        and as `frames.analysis_frame` raises.
    """
    for name, value in (("fdr", fdr), ("alike", alike)):
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie within 0 and 1, got {value}")
    refuse_negative(seed=seed)
    frame = analysis_frame(table, [exposure], outcome, mediators, covariates)
    values, left_out = known_together(frame, FREE)
    entered = [name for name in mediators if name not in left_out]
    adjusted = adjustment(values, frame.covariates)
    basis = adjusted.basis
    x, y = (values[name].to_numpy() for name in (exposure, outcome))
    free = len(values) - basis.shape[1] - 2
    if free < FREE:
        raise ValueError(
            f"{len(values)} patients have all mediators; {FREE} more than covariates are needed"
        )
    if reason := collinear_reason(basis, {exposure: x, outcome: y}):
        raise ValueError(reason)
    rest_x, rest_y = unexplained(basis, x), unexplained(basis, y)
    m = unexplained(basis, values[entered].to_numpy())
    rows = pd.DataFrame({"mediator": entered, "same_as": "", "kept": False, "reason": ""})
    rows = rows.join(_slopes_on(rest_x, m, free))
    rows.loc[rows["p_alpha"].isna(), "reason"] = "does not vary, or follows from the covariates"
    own = m - np.outer(rest_x, rows["alpha"])
    first = _first_of_alike(own, rows["p_alpha"].to_numpy(), alike)
    names = np.array(entered, dtype=object)
    rows["stands_for"] = np.bincount(first[first >= 0], minlength=len(names))
    others = (first >= 0) & (first != np.arange(len(names)))
    rows.loc[others, "same_as"] = names[first[others]]
    rows.loc[others, "reason"] = "stands for the same as " + rows.loc[others, "same_as"]
    candidates = np.flatnonzero((first == np.arange(len(names))) & rows["p_alpha"].notna())
    first_kept, threshold = _kept(rows["p_alpha"].to_numpy(), candidates, len(values))
    rest = np.setdiff1d(candidates, first_kept)
    rows.loc[rest, "reason"] = "varies less with the exposure than others"
    order = first_kept[np.argsort(rows["p_alpha"].to_numpy()[first_kept], kind="stable")]
    own_part = _independent(np.column_stack([rest_x, m[:, order]]))[1:]
    rows.loc[order[~own_part], "reason"] = "follows from the exposure and the other mediators"
    kept = np.sort(order[own_part])
    rows.loc[kept, "kept"] = True
    beta = _beside_each_other(rest_x, rest_y, m, kept, rest, free)
    rows.loc[kept, ["beta", "beta_se", "p_beta"]] = beta
    conditional = np.minimum(rows.loc[kept, "p_alpha"] / threshold, 1.0)
    rows.loc[kept, "q"] = composite_q(conditional, rows.loc[kept, "p_beta"])
    rows["indirect"] = rows["alpha"] * rows["beta"]
    rows[["low", "high"]] = _product_intervals(rows, seed)
    rows["mediates"] = rows["q"] <= fdr
    rows = rows.assign(n=len(values), covariates_dropped=adjusted.note)
    return _with_left_out(rows[COLUMNS], left_out).set_index("mediator").loc[
        list(mediators)].reset_index()  # fmt: skip


def _with_left_out(rows: pd.DataFrame, left_out: dict[str, str]) -> pd.DataFrame:
    """Return the rows of a result, and one of each mediator that did not enter."""
    if not left_out:
        return rows
    shared = {name: rows[name].iloc[0] for name in ("n", "covariates_dropped")}
    lost = pd.DataFrame({"mediator": list(left_out), "same_as": "", "stands_for": 0,
                         "kept": False, "mediates": False, **shared,
                         "reason": list(left_out.values())})  # fmt: skip
    return pd.concat([rows, lost], ignore_index=True)


def _slopes_on(x: Array, m: Array, free: int) -> pd.DataFrame:
    """Return the slope of each mediator on the exposure, with error and p."""
    estimate = x @ m / (x @ x)
    rest = m - np.outer(x, estimate)
    se = np.sqrt(np.square(rest).sum(axis=0) / (free + 1) / (x @ x))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * student.sf(np.abs(estimate / se), free + 1)
    return pd.DataFrame({"alpha": estimate, "alpha_se": se, "p_alpha": p})


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


def _beside_each_other(
    x: Array, y: Array, m: Array, kept: NDArray[np.intp], rest: NDArray[np.intp], free: int
) -> Array:
    """Return slope, error and p of kept mediators in the outcome's regression, (kept, 3)."""
    design = np.column_stack([x, m[:, kept]])
    if len(rest):
        room = int(free + 2 - design.shape[1] - FEWEST_FREE * len(y))
        near = rest[_neighbours(x, m[:, kept], m[:, rest], room)]
        design = np.column_stack([design, m[:, near]])
        far = np.setdiff1d(rest, near)
        room -= len(near)
        if room > 0 and len(far):
            design = np.column_stack([design, m[:, far[_controls(design, y, m[:, far], room)]]])
    design = design[:, _independent(design)]  # the exposure and kept mediators come first, and stay
    scale = np.linalg.norm(design, axis=0)  # of unequal units the smallest would be lost
    inverse = np.linalg.pinv(design / scale) / scale[:, None]
    slopes = inverse @ y
    df = free + 2 - design.shape[1]
    residual = y - design @ slopes
    se = np.sqrt(residual @ residual / df * np.square(inverse).sum(axis=1))
    own = slice(1, 1 + len(kept))
    p = 2 * student.sf(np.abs(slopes[own] / se[own]), df)
    return np.column_stack([slopes[own], se[own], p])


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


def _controls(design: Array, y: Array, rest: Array, most: int) -> NDArray[np.intp]:
    """Return which other mediators predict what a design leaves of the outcome, by a lasso."""
    from sklearn.linear_model import lasso_path  # a second of imports

    basis = np.linalg.qr(design)[0]
    left_y, left = left_by(basis, y), left_by(basis, rest)
    length = np.linalg.norm(left, axis=0)
    usable = length > 1e-6 * np.linalg.norm(rest, axis=0)
    left = np.where(usable, left, 0) / np.where(usable, length, 1) * np.sqrt(len(y))
    spread = np.linalg.norm(left_y) / np.sqrt(len(y) - design.shape[1])
    chosen = np.empty(0, dtype=np.intp)
    for _ in range(LASSO_ROUNDS):
        penalty = spread * norm.isf(0.05 / rest.shape[1]) / np.sqrt(len(y))
        _, coefficients, _ = lasso_path(left, left_y, alphas=[penalty])
        size = np.abs(coefficients[:, 0])
        chosen = np.argsort(-size, kind="stable")[: min(most, int((size > 0).sum()))]
        fitted = left[:, chosen] @ np.linalg.lstsq(left[:, chosen], left_y, rcond=None)[0]
        spread = np.linalg.norm(left_y - fitted) / np.sqrt(len(y) - design.shape[1] - len(chosen))
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
        Of the same mediators; uniform where there is no slope.

    Returns
    -------
    ndarray of float
        Within 0 and 1.
    """
    first, second = np.asarray(p_alpha, dtype=float), np.asarray(p_beta, dtype=float)
    m = len(first)
    if not m:
        return np.empty(0)
    null_first, null_second = (min((np.sum(p > HALF) + 1) / (m * (1 - HALF)), 1.0)
                               for p in (first, second))  # fmt: skip
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
