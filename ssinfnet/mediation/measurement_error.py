"""Indirect effects through mediators that are measured with error, corrected by their reliability.

A phenotype of a predicted mask is the true one and an error, m* = m + u. An error that has nothing
to do with the patient leaves the mediator's slope on the exposure as it is, and pulls its slope in
the outcome towards 0 while the direct effect takes over what that loses. Both are corrected by the
error's variance, (1 - reliability) times that of m* (Fuller 1987; Valeri, Lin & VanderWeele 2014):
the moments of the least squares are taken less it, as a latent variable with one indicator of that
error does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.mediation.collinearity import adjustment, collinear_reason, unexplained
from ssinfnet.mediation.few_patients import FEWEST, few_of_pairs
from ssinfnet.mediation.frames import analysis_frame
from ssinfnet.mediation.regressions import adjusted_products
from ssinfnet.mediation.resampling import DrawnEffects, drawn_weights

__all__ = ["check_reliability", "corrected_effects", "reliability_of_icc"]

Array = NDArray[np.float64]

LEAST = 0.05  # share of a mediator's variance beside exposure and covariates that must be no error


def corrected_effects(
    table: pd.DataFrame,
    exposure: str,
    outcome: str,
    reliability: Mapping[str, float],
    covariates: Sequence[str] = (),
    *,
    draws: int = 2000,
    seed: int = 2021,
    fewest: int = FEWEST,
) -> pd.DataFrame:
    """Estimate indirect effects as if mediators had been measured without error.

    Parameters
    ----------
    table : DataFrame
        One row a patient.
    exposure, outcome : str
    reliability : mapping of str to float
        Mediator → share of its variance over all patients that is not error, above 0 and at most 1,
        such as the intraclass correlation of two measurements alike, or `reliability_of_icc` of
        that with the truth.
    covariates : sequence of str
    draws, seed : int
        Number and seed of the bootstrap's draws over patients, which take the reliability for
        known; 0 for none.
    fewest : int
        Interval and p are missing, and the reason says why, where fewer patients differ from the
        most frequent value of exposure or mediator (D-199).

    Returns
    -------
    DataFrame
        One row a mediator: mediator, n, reliability; indirect and direct as measured; and
        indirect_corrected and direct_corrected with corrected_low, corrected_high (95 %) and
        p_corrected of the indirect effect, draws (that were usable), and reason where more than
        95 % of what exposure and covariates leave of the mediator would be error, or it follows
        from them, and the corrected effects are missing, or where interval and p are.

    Raises
    ------
    ValueError
        If a reliability is not within 0 and 1, and as `frames.analysis_frame` raises.
    """
    check_reliability(reliability, list(reliability))
    frame = analysis_frame(table, [exposure], outcome, list(reliability), covariates)
    spread = frame.whole[list(reliability)].var(ddof=0)
    rows = []
    for mediator, share in reliability.items():
        values = frame.values[frame.values[mediator].notna()]
        error = (1 - share) * float(spread[mediator])
        basis = adjustment(values, frame.covariates).basis
        columns = values[[exposure, mediator, outcome]]
        row = {"mediator": mediator, "n": len(values), "reliability": share}
        reason = collinear_reason(
            basis, {name: columns[name].to_numpy() for name in (exposure, mediator)}
        )
        few = few_of_pairs(values, {exposure: ()}, [mediator], fewest)[exposure, mediator]
        rows.append(row | ({"reason": reason} if reason else _corrected(
            basis, columns.to_numpy(), error, 0 if few else draws, seed)))  # fmt: skip
        if draws and few and not rows[-1]["reason"]:
            rows[-1]["reason"] = few
    names = ["mediator", "n", "reliability", "indirect", "direct", "indirect_corrected",
             "corrected_low", "corrected_high", "p_corrected", "direct_corrected", "draws",
             "reason"]  # fmt: skip
    return pd.DataFrame(rows).reindex(columns=names)


def reliability_of_icc(icc: float) -> float:
    """Return the reliability of a measurement from its intraclass correlation with the truth.

    Of m and m + u, one of which has no error, the ICC is var(m) / (var(m) + var(u) / 2), and the
    reliability of m + u is var(m) / (var(m) + var(u)). Of two measurements with errors alike the
    ICC is the reliability itself.

    Parameters
    ----------
    icc : float
        At most 1.

    Returns
    -------
    float
        icc / (2 - icc); NaN where `icc` is not above 0.

    Examples
    --------
    >>> round(reliability_of_icc(0.75), 3)
    0.6
    """
    return icc / (2 - icc) if icc > 0 else float("nan")


def check_reliability(reliability: Mapping[str, float], mediators: Sequence[str]) -> None:
    """Raise ValueError unless reliabilities are of mediators, above 0 and at most 1."""
    wrong = {name: value for name, value in reliability.items() if not 0 < value <= 1}
    if wrong:
        raise ValueError(f"reliability must lie above 0 and at most at 1, got {wrong}")
    if unknown := [name for name in reliability if name not in mediators]:
        raise ValueError(f"a reliability is given for {unknown[:5]}, which are no mediators")


def _corrected(
    basis: Array, columns: Array, error: float, draws: int, seed: int
) -> dict[str, object]:
    """Return the numbers of one mediator; columns are exposure, mediator and outcome."""
    rest = unexplained(basis, columns)
    spread = np.sqrt(np.square(rest).mean(axis=0))
    rest, error = rest / spread, error / spread[1] ** 2
    once = np.ones((1, len(rest)))
    unit = spread[2] / spread[0]
    plain = _effects(once, basis, rest, 0.0)[0] * unit
    found: dict[str, object] = {"indirect": plain[0], "direct": plain[1], "draws": 0, "reason": ""}
    own = _effects(once, basis, rest, error)[0] * unit
    if np.isnan(own).any():
        share = f"{100 * (1 - LEAST):.0f} %"
        found["reason"] = f"more than {share} of what the others leave of it would be error"
        return found
    parts = [
        _effects(weights, basis, rest, error)[:, :1]
        for weights in drawn_weights(len(rest), draws, seed)
    ]
    drawn = np.concatenate([np.empty((0, 1)), *parts]) * unit
    effects = DrawnEffects.of(drawn)
    low, high = effects.interval()
    return found | {"indirect_corrected": own[0], "direct_corrected": own[1],
                    "corrected_low": low[0], "corrected_high": high[0],
                    "p_corrected": effects.p()[0], "draws": int(effects.draws[0])}  # fmt: skip


def _effects(weights: Array, basis: Array, rest: Array, error: float) -> Array:
    """Return indirect and direct effect of each draw, (draws, 2); NaN where too much is error."""
    products, _ = adjusted_products(weights, basis, rest)
    s = products / weights.sum(axis=1)[:, None, None]
    to_mediator = s[:, 0, 1] / s[:, 0, 0]
    beside = s[:, 1, 1] - to_mediator * s[:, 0, 1]  # what the exposure leaves of the mediator
    true = np.where(beside - error > LEAST * beside, beside - error, np.nan)
    with_outcome = s[:, 1, 2] - to_mediator * s[:, 0, 2]
    mediated = with_outcome / true
    direct = s[:, 0, 2] / s[:, 0, 0] - to_mediator * mediated
    return np.column_stack([to_mediator * mediated, direct])
