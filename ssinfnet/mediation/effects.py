"""Univariate mediation: every mediator between every exposure and the outcome (J eq 14)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests

from ssinfnet.mediation.collinearity import (
    COLLINEAR,
    adjustment,
    centred,
    collinear_reason,
    extended,
    unexplained,
)
from ssinfnet.mediation.columns import typed_columns
from ssinfnet.mediation.frames import (
    AnalysisFrame,
    analysis_frame,
    check_names,
    complete_groups,
    kind_of,
    refuse_none,
)
from ssinfnet.mediation.regressions import indirect_effects, slopes, weighted_indirect_effects
from ssinfnet.mediation.resampling import DrawnEffects, drawn_weights, left_out_weights
from ssinfnet.mediation.results import Mediation

__all__ = ["ALPHA", "FEWEST", "mediate"]

Array = NDArray[np.float64]
Adjustment = Literal["fdr_bh", "holm"]
Drawing = tuple[pd.MultiIndex, DrawnEffects]  # pairs of exposure and mediator, and their draws

ALPHA = 0.05
FEWEST = 20  # patients of either class of a binary outcome (D-19)
BETAS = ("beta11", "beta21", "beta31", "beta32")
TESTED = ("beta11", "beta21", "beta32", "indirect")  # D-17


def mediate(
    table: pd.DataFrame,
    exposures: Sequence[str],
    outcome: str,
    mediators: Sequence[str],
    covariates: Sequence[str] = (),
    *,
    adjust_exposures: bool = False,
    kinds: Mapping[str, str] | None = None,
    missing: Sequence[float] | None = None,
    adjustment: Adjustment = "fdr_bh",
    draws: int = 5000,
    interval: Literal["percentile", "bca"] = "percentile",
    seed: int = 2021,
    fewest: int = FEWEST,
    alpha: float = ALPHA,
) -> Mediation:
    """Estimate direct, indirect and total effects of all mediators and exposures (J eq 14).

    Three linear regressions a pair, on the patients who have the mediator (D-19): outcome on
    exposure (slope β11), mediator on exposure (β21), outcome on exposure (β31, the direct effect)
    and mediator (β32). The indirect effect is β21·β32, the total one β11.

    Parameters
    ----------
    table : DataFrame
        One row a patient, indexed by patient; all columns below hold numbers.
    exposures, mediators, covariates : sequence of str
        Each pair of exposure and mediator is analysed by itself, beside all covariates, on the
        patients who have this exposure.
    outcome : str
    adjust_exposures : bool
        Whether the other exposures are covariates too (D-90).
    kinds, missing
        What columns are, and which numbers mean a missing value, where `columns.typed_columns` is
        to take them for something else than they look (D-94).
    adjustment : {"fdr_bh", "holm"}
        Of p values within each exposure (D-17). Mediators that are the same up to scale count once.
    draws : int
        Bootstrap draws of patients for the interval of the indirect effect.
    interval : {"percentile", "bca"}
        BCa intervals leave out 0 for too many null mediators of small tables (D-91).
    seed : int
        Of the draws.
    fewest : int
        A mediator known for fewer patients of either class of a binary outcome is not analysed.
    alpha : float
        Adjusted p values below it are significant.

    Returns
    -------
    Mediation
        Its table has, a row a pair: exposure, mediator, n, and n_0 and n_1 of a binary outcome;
        beta11, beta21, beta31, beta32, direct, indirect, total; <beta>_se and <beta>_hc3 (classic
        and robust errors), p_<beta> and p_<beta>_hc3; indirect_se and p_sobel;
        p_indirect, indirect_low and indirect_high (95 %), all of the same draws, and
        indirect_low_adjusted and indirect_high_adjusted, which leave out 0 where
        p_indirect_adjusted is below `alpha` (D-93), draws (that were usable);
        <effect>_standardised; p_<test>_adjusted; p_joint and p_joint_adjusted (the larger of
        p_beta21 and p_beta32); mediator_by_criterion (J: β11, β21 and β32 significant after
        adjustment, and |β11| > |β31|), mediator_by_joint_test; covariates_dropped, which among the
        patients of this mediator do not vary or follow from the covariates before them, separated
        by commas; and reason, where a pair could not be analysed and all else is missing.

    Raises
    ------
    ValueError
        See `frames.analysis_frame`.
    """
    if adjustment not in ("fdr_bh", "holm"):
        raise ValueError(f"adjustment must be fdr_bh or holm, got {adjustment!r}")
    if interval not in ("bca", "percentile"):
        raise ValueError(f"interval must be bca or percentile, got {interval!r}")
    refuse_none(exposures=exposures, mediators=mediators)
    check_names(table, [*exposures, outcome, *covariates, *mediators])
    roles = (dict.fromkeys(exposures, "exposure") | {outcome: "outcome"}
             | dict.fromkeys(covariates, "covariate")
             | dict.fromkeys(mediators, "mediator"))  # fmt: skip
    table, taken = typed_columns(table, roles, kinds, missing)
    frames = [
        analysis_frame(table, own, outcome, mediators, [*covariates, *beside])
        for own, beside in _exposure_groups(table, exposures, adjust_exposures)
    ]
    kind = kind_of(pd.concat([frame.values[outcome] for frame in frames]))
    pieces, drawings = [], []
    for frame in frames:
        for names, known in complete_groups(frame.values[list(mediators)]):
            own = replace(frame, values=frame.values[known], mediators=tuple(names))
            rows, drawing = _group_effects(own, kind, draws, interval, seed, fewest)
            drawings += [drawing] if drawing else []
            pieces.append(rows.assign(same_as=rows["mediator"].map(_same_columns(own))))
    found = pd.concat(pieces, ignore_index=True)
    order = {pair: i for i, pair in enumerate((x, m) for x in exposures for m in mediators)}
    place = [order[pair] for pair in zip(found["exposure"], found["mediator"], strict=True)]
    found = found.iloc[np.argsort(place)].reset_index(drop=True)
    beside = tuple(name for name in frames[0].covariates if name not in exposures)
    return Mediation(
        _decided(found, drawings, adjustment, alpha), outcome, kind, beside,
        adjust_exposures and len(exposures) > 1, adjustment, _left_out(frames, exposures), taken,
    )  # fmt: skip


def _exposure_groups(
    table: pd.DataFrame, exposures: Sequence[str], adjusted: bool
) -> list[tuple[list[str], list[str]]]:
    """Return exposures that are analysed together, and the exposures beside them.

    Those that the same patients have share their draws' sums of products.
    """
    if adjusted:
        return [([own], [x for x in exposures if x != own]) for own in exposures]
    return [(names, []) for names, _ in complete_groups(table[list(exposures)])]


def _left_out(frames: Sequence[AnalysisFrame], exposures: Sequence[str]) -> pd.DataFrame:
    """Return the patients that some exposure's analysis left out, each once for a reason."""
    whole = pd.concat(
        [frame.left_out.assign(exposure=name) for frame in frames for name in frame.exposures]
    )
    rows = []
    for (patient, reason), own in whole.groupby(["patient", "reason"], sort=False):
        only = "" if len(own) == len(exposures) else f", for exposure {', '.join(own['exposure'])}"
        rows.append((patient, reason + only))
    return pd.DataFrame(rows, columns=["patient", "reason"])


def _group_effects(
    frame: AnalysisFrame, kind: str, draws: int, interval: str, seed: int, fewest: int
) -> tuple[pd.DataFrame, Drawing | None]:
    """Return the rows of mediators that are known for the same patients, and their draws."""
    values, names = frame.values, list(frame.mediators)
    y = values[frame.outcome].to_numpy()
    counted: dict[str, object] = {"n": len(values)}
    if kind == "binary":
        counted |= {"n_0": int((y == 0).sum()), "n_1": int((y == 1).sum())}
    adjusted = adjustment(values, frame.covariates)
    of_exposures, of_mediators = _reasons(frame, adjusted.basis, kind, fewest)
    rows = []
    for exposure, mediator in product(frame.exposures, names):
        reason = of_exposures[exposure] or of_mediators[mediator]
        dropped = "" if reason else adjusted.note
        rows.append({"exposure": exposure, "mediator": mediator, **counted,
                     "covariates_dropped": dropped, "reason": reason})  # fmt: skip
    plain = pd.DataFrame(rows).set_index(["exposure", "mediator"])
    exposures = [name for name, reason in of_exposures.items() if not reason]
    usable = [name for name, reason in of_mediators.items() if not reason]
    if not (exposures and usable):
        return plain.reset_index(), None
    x, m = values[exposures].to_numpy(), values[usable].to_numpy()
    estimated = [_effects(adjusted.basis, x[:, i], m, y, exposure, usable)
                 for i, exposure in enumerate(exposures)]  # fmt: skip
    drawn = _drawn(adjusted.basis, x, m, y, draws, interval, seed)
    index = pd.MultiIndex.from_product([exposures, usable], names=["exposure", "mediator"])
    low, high = drawn.interval()
    tested = pd.DataFrame({"p_indirect": drawn.p(), "indirect_low": low, "indirect_high": high,
                           "draws": drawn.draws}, index=index)  # fmt: skip
    return plain.join(pd.concat(estimated)).join(tested).reset_index(), (index, drawn)


def _reasons(
    frame: AnalysisFrame, basis: Array, kind: str, fewest: int
) -> tuple[dict[str, str], dict[str, str]]:
    """Say of each exposure and mediator why it cannot be analysed; an empty text if it can."""
    values = frame.values
    shared = _shared_reason(frame, basis, kind, fewest)
    of_exposures = {name: shared or collinear_reason(basis, {name: values[name].to_numpy()})
                    for name in frame.exposures}  # fmt: skip
    of_mediators = dict.fromkeys(frame.mediators, shared)
    if shared:
        return of_exposures, of_mediators
    m = values[list(frame.mediators)].to_numpy()
    still = ~centred(m).any(axis=0)
    of_mediators |= dict.fromkeys(np.array(frame.mediators)[still].tolist(), "does not vary")
    bases = {"the covariates": basis} | {
        name: extended(basis, unexplained(basis, values[name].to_numpy()))
        for name, reason in of_exposures.items()
        if not reason
    }
    for label, beside in bases.items():
        follows = np.isnan(unexplained(beside, m)).all(axis=0)
        of_mediators |= {
            name: of_mediators[name] or f"follows exactly from {label}"
            for name, is_exact in zip(frame.mediators, follows, strict=True)
            if is_exact
        }
    return of_exposures, of_mediators


def _shared_reason(frame: AnalysisFrame, basis: Array, kind: str, fewest: int) -> str:
    """Say why none of the mediators that the same patients have can be analysed."""
    values = frame.values
    n, parameters = len(values), basis.shape[1] + 2
    if n <= parameters:
        return f"known for {n} patients, not more than {parameters} parameters"
    if kind == "binary":
        classes = values[frame.outcome].value_counts().reindex([0.0, 1.0], fill_value=0)
        if classes.min() < max(fewest, 1):
            return (
                f"known for {classes.min()} patients with {frame.outcome} = "
                f"{classes.idxmin():g}, fewer than {max(fewest, 1)}"
            )
    return collinear_reason(basis, {frame.outcome: values[frame.outcome].to_numpy()})


def _effects(
    others: Array, x: Array, m: Array, y: Array, exposure: str, names: list[str]
) -> pd.DataFrame:
    """Return estimates, errors, p values and standardised effects of one exposure."""
    fitted = slopes(others, x, m, y)
    rows = {}
    for name in BETAS:
        own = fitted[name]
        rows |= {name: own.estimate, f"{name}_se": own.se, f"{name}_hc3": own.hc3,
                 f"p_{name}": own.p, f"p_{name}_hc3": own.p_hc3}  # fmt: skip
    a, b = fitted["beta21"], fitted["beta32"]
    rows |= {"direct": rows["beta31"], "indirect": a.estimate * b.estimate,
             "total": rows["beta11"]}  # fmt: skip
    rows["indirect_se"] = np.sqrt((a.estimate * b.se) ** 2 + (b.estimate * a.se) ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        rows["p_sobel"] = 2 * norm.sf(np.abs(rows["indirect"] / rows["indirect_se"]))
    rows["p_joint"] = np.fmax(rows["p_beta21"], rows["p_beta32"])
    unit = x.std(ddof=1) / y.std(ddof=1)
    for effect in ("direct", "indirect", "total"):
        rows[f"{effect}_standardised"] = rows[effect] * unit
    spread = m.std(axis=0, ddof=1)
    rows["beta21_standardised"] = a.estimate * x.std(ddof=1) / spread
    rows["beta32_standardised"] = b.estimate * spread / y.std(ddof=1)
    index = pd.MultiIndex.from_product([[exposure], names], names=["exposure", "mediator"])
    return pd.DataFrame(rows, index=index)


def _drawn(
    others: Array, x: Array, m: Array, y: Array, draws: int, interval: str, seed: int
) -> DrawnEffects:
    """Return the indirect effects in each draw, exposure by exposure."""

    def collected(all_weights: Iterable[Array]) -> Array:
        found = weighted_indirect_effects(all_weights, others, x, m, y)
        return found.reshape(-1, x.shape[1] * m.shape[1])

    if not draws:
        return DrawnEffects.of(np.empty((0, x.shape[1] * m.shape[1])))
    drawn = collected(drawn_weights(len(y), draws, seed))
    if interval == "percentile":
        return DrawnEffects.of(drawn)
    estimate = indirect_effects(others, x, m, y).ravel()
    return DrawnEffects.corrected(drawn, estimate, collected(left_out_weights(len(y))))


def _same_columns(frame: AnalysisFrame) -> dict[str, str]:
    """Return mediator → the first one that is the same up to scale, sign and offset.

    All patients of the frame have all of its mediators.
    """
    names = frame.mediators
    m = frame.values[list(names)].to_numpy()
    left = m - m.mean(axis=0) if len(m) else m
    length = np.sqrt(np.square(left).sum(axis=0))
    unit = left / np.where(length > 0, length, 1)
    alike = np.abs(unit.T @ unit) > 1 - COLLINEAR
    np.fill_diagonal(alike, True)
    return dict(zip(names, (names[first] for first in alike.argmax(axis=0)), strict=True))


def _decided(
    found: pd.DataFrame, drawings: Sequence[Drawing], adjustment: str, alpha: float
) -> pd.DataFrame:
    """Return the rows with adjusted p values and intervals, and the two decisions.

    The column ``same_as`` names the mediator that stands for each in the adjustment.
    """
    if not drawings:
        reasons = found["reason"].unique().tolist()
        raise ValueError(f"no mediator can be analysed: {reasons[:5]}")
    for test in (*TESTED, "joint"):
        found[f"p_{test}_adjusted"] = np.nan
        for _, own in found.groupby("exposure", sort=False):
            once = own[own["same_as"] == own["mediator"]]
            p = once.set_index("mediator")[f"p_{test}"].dropna()
            if p.empty:
                continue
            adjusted = pd.Series(multipletests(p, method=adjustment)[1], index=p.index)
            found.loc[own.index, f"p_{test}_adjusted"] = own["same_as"].map(adjusted).to_numpy()
    levels = {exposure: _level(own, adjustment, alpha)
              for exposure, own in found.groupby("exposure", sort=False)}  # fmt: skip
    bounds = []
    for index, drawn in drawings:
        low, high = drawn.interval(index.get_level_values("exposure").map(levels).to_numpy())
        bounds.append(pd.DataFrame({"indirect_low_adjusted": low, "indirect_high_adjusted": high},
                                   index=index))  # fmt: skip
    found = found.join(pd.concat(bounds), on=["exposure", "mediator"])
    significant = (found[[f"p_{test}_adjusted" for test in TESTED[:3]]] < alpha).all(axis=1)
    smaller = found["beta11"].abs() > found["beta31"].abs()
    found["mediator_by_criterion"] = significant & smaller
    found["mediator_by_joint_test"] = found["p_joint_adjusted"] < alpha
    last = ["covariates_dropped", "reason"]
    return found[[*found.columns.drop([*last, "same_as"]), *last]]


def _level(own: pd.DataFrame, adjustment: str, alpha: float) -> float:
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
