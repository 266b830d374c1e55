"""The rows of all mediators that the same patients have: estimates, errors, tests and draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from ssinfnet.mediation.collinearity import (
    adjustment,
    centred,
    collinear_reason,
    extended,
    unexplained,
)
from ssinfnet.mediation.decided import Drawing
from ssinfnet.mediation.design import FEWEST_CLUSTERS, Design, clustered_slopes, deviations
from ssinfnet.mediation.few_patients import few_of_pairs
from ssinfnet.mediation.frames import AnalysisFrame
from ssinfnet.mediation.regressions import slopes, weighted_indirect_effects
from ssinfnet.mediation.resampling import DrawnEffects, drawn_weights, left_out_weights

__all__ = ["Plan", "group_effects"]

Array = NDArray[np.float64]

BETAS = ("beta11", "beta21", "beta31", "beta32")


@dataclass(frozen=True)
class Plan:
    """What is analysed, and how its draws are made.

    Attributes
    ----------
    siblings : mapping of str to sequence of str
        Exposure → the other contrasts of its category.
    observed : DataFrame, optional
        The table before it was imputed.
    """

    outcome: str
    mediators: tuple[str, ...]
    covariates: tuple[str, ...]
    groups: list[tuple[list[str], list[str]]]  # exposures analysed together, exposures beside them
    draws: int
    interval: str
    seed: int
    fewest: int
    design: Design | None
    siblings: Mapping[str, Sequence[str]]
    observed: pd.DataFrame | None = None


def group_effects(
    frame: AnalysisFrame, kind: str, plan: Plan
) -> tuple[pd.DataFrame, Drawing | None]:
    """Return the rows of mediators that are known for the same patients, and their draws."""
    values, names = frame.values, list(frame.mediators)
    y = values[frame.outcome].to_numpy()
    counted: dict[str, object] = {"n": len(values)}
    if kind == "binary":
        counted |= {"n_0": int((y == 0).sum()), "n_1": int((y == 1).sum())}
    adjusted = adjustment(values, frame.covariates)
    of_exposures, of_mediators = _reasons(frame, adjusted.basis, kind, plan.fewest)
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
    design = plan.design.at(values.index.to_numpy()) if plan.design else None
    estimated = [
        _effects(adjusted.basis, x[:, i], m, y, exposure, usable, design)
        for i, exposure in enumerate(exposures)
    ]
    drawn = _drawn(adjusted.basis, x, m, y, plan, design)
    index = pd.MultiIndex.from_product([exposures, usable], names=["exposure", "mediator"])
    if len(drawn.ordered):
        seen = values if plan.observed is None else plan.observed.loc[values.index]
        few = few_of_pairs(seen, {x: plan.siblings[x] for x in exposures}, usable, plan.fewest,
                           design.of_several() if design else None)  # fmt: skip
        drawn = drawn.without(np.array([few[pair] != "" for pair in index]))
        plain["reason"] = [few.get(pair) or reason for pair, reason in plain["reason"].items()]
    low, high = drawn.interval()
    tested = pd.DataFrame(
        {"p_indirect": drawn.p(), "indirect_low": low, "indirect_high": high, "draws": drawn.draws},
        index=index,
    )
    return plain.join(pd.concat(estimated)).join(tested).reset_index(), (index, drawn)


def _reasons(
    frame: AnalysisFrame, basis: Array, kind: str, fewest: int
) -> tuple[dict[str, str], dict[str, str]]:
    """Say of each exposure and mediator why it cannot be analysed; an empty text if it can."""
    values = frame.values
    shared = _shared_reason(frame, basis, kind, fewest)
    of_exposures = {
        name: shared or collinear_reason(basis, {name: values[name].to_numpy()})
        for name in frame.exposures
    }
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
    outcome = values[frame.outcome].to_numpy()
    bases[f"the outcome {frame.outcome}"] = extended(basis, unexplained(basis, outcome))
    for label, beside in bases.items():
        follows = np.asarray(np.isnan(unexplained(beside, m)).all(axis=0))
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
    others: Array, x: Array, m: Array, y: Array, exposure: str, names: list[str],
    design: Design | None,
) -> pd.DataFrame:  # fmt: skip
    """Return estimates, errors, p values and standardised effects of one exposure."""
    fitted = clustered_slopes(design, others, x, m, y) if design else slopes(others, x, m, y)
    rows: dict[str, Any] = {}
    for name in BETAS:
        own = fitted[name]
        rows |= {name: own.estimate, f"{name}_se": own.se, f"{name}_hc3": own.hc3,
                 f"p_{name}": own.p, f"p_{name}_hc3": own.p_hc3}  # fmt: skip
    a, b = fitted["beta21"], fitted["beta32"]
    rows |= {"direct": rows["beta31"], "indirect": a.estimate * b.estimate, "total": rows["beta11"]}
    rows["indirect_se"] = np.sqrt((a.estimate * b.se) ** 2 + (b.estimate * a.se) ** 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        rows["p_sobel"] = 2 * norm.sf(np.abs(rows["indirect"] / rows["indirect_se"]))
    rows["p_joint"] = np.fmax(rows["p_beta21"], rows["p_beta32"])
    rows["residual_df"] = b.residual_df
    (of_x, of_y), spread = deviations(design, np.column_stack([x, y])), deviations(design, m)
    for effect in ("direct", "indirect", "total"):
        rows[f"{effect}_standardised"] = rows[effect] * of_x / of_y
    rows["beta21_standardised"] = a.estimate * of_x / spread
    rows["beta32_standardised"] = b.estimate * spread / of_y
    index = pd.MultiIndex.from_product([[exposure], names], names=["exposure", "mediator"])
    return pd.DataFrame(rows, index=index)


def _drawn(
    others: Array, x: Array, m: Array, y: Array, plan: Plan, design: Design | None
) -> DrawnEffects:
    """Return the indirect effects in each draw, exposure by exposure."""

    def collected(all_weights: Iterable[Array]) -> Array:
        found = weighted_indirect_effects(all_weights, others, x, m, y)
        return found.reshape(-1, x.shape[1] * m.shape[1])

    if not plan.draws or (design and design.number < FEWEST_CLUSTERS):
        return DrawnEffects.of(np.empty((0, x.shape[1] * m.shape[1])))
    if design:
        drawing, left_out = design.drawn(plan.draws, plan.seed), design.left_out()
        once = design.weights[None]
    else:
        drawing = drawn_weights(len(y), plan.draws, plan.seed)
        left_out, once = left_out_weights(len(y)), np.ones((1, len(y)))
    drawn = collected(drawing)
    if plan.interval == "percentile":
        return DrawnEffects.of(drawn)
    if plan.interval == "expanded":
        return DrawnEffects.expanded(drawn, design.number if design else len(y))
    return DrawnEffects.corrected(drawn, collected([once])[0], collected(left_out))
