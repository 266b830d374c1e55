"""How much an indirect effect depends on what was not measured, and on single choices."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from ssinfnet.mediation.collinearity import adjustment, collinear_reason, extended, unexplained
from ssinfnet.mediation.frames import AnalysisFrame, analysis_frame, refuse_none
from ssinfnet.mediation.results import Mediation

__all__ = [
    "RHO_COLUMNS",
    "e_value",
    "effect_over_rho",
    "indirect_at_rho",
    "leave_one_group_out",
    "repeated",
    "vanishing_rho",
]

Array = NDArray[np.float64]

RHO_COLUMNS = ("exposure", "mediator", "n", "rho", "rho_low", "rho_high", "covariates_dropped",
               "reason")  # fmt: skip


def vanishing_rho(
    table: pd.DataFrame,
    exposures: Sequence[str],
    outcome: str,
    mediators: Sequence[str],
    covariates: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the correlation of the errors at which each indirect effect vanishes.

    An unmeasured common cause of mediator and outcome correlates the errors of their regressions.
    Of the linear model the indirect effect is 0 where that correlation ρ is the one between what
    exposure and covariates leave of mediator and outcome (Imai, Keele & Yamamoto 2010, theorem 4).

    Returns
    -------
    DataFrame
        exposure, mediator, n, rho, rho_low and rho_high (95 %, Fisher's z); covariates_dropped (see
        `effects.mediate`); and reason, where exposure, mediator or outcome follows exactly from the
        others, or no patient has the mediator, and rho is missing.
    """
    refuse_none(exposures=exposures, mediators=mediators)
    frames = {x: analysis_frame(table, [x], outcome, mediators, covariates) for x in exposures}
    rows = [
        _vanishing(frame, exposure, mediator)
        for exposure, frame in frames.items()
        for mediator in mediators
    ]
    return pd.DataFrame(rows)[[*RHO_COLUMNS]]


def _vanishing(frame: AnalysisFrame, exposure: str, mediator: str) -> dict[str, object]:
    """Return one row of `vanishing_rho`."""
    known = frame.values[frame.values[mediator].notna()]
    adjusted = adjustment(known, frame.covariates)
    row = {"exposure": exposure, "mediator": mediator, "n": len(known), "rho": np.nan,
           "rho_low": np.nan, "rho_high": np.nan, "covariates_dropped": ""}  # fmt: skip
    x, m, y = (known[name].to_numpy() for name in (exposure, mediator, frame.outcome))
    # The outcome may follow from the mediator, as then ρ is 1, but not from the exposure
    reason = (
        "no patient has it"
        if not len(known)
        else collinear_reason(adjusted.basis, {exposure: x, mediator: m})
        or collinear_reason(adjusted.basis, {exposure: x, frame.outcome: y})
    )
    if reason:
        return row | {"reason": reason}
    basis = extended(adjusted.basis, unexplained(adjusted.basis, x))
    rest_m, rest_y = unexplained(basis, m), unexplained(basis, y)
    rho = rest_m @ rest_y / (np.linalg.norm(rest_m) * np.linalg.norm(rest_y))
    free = len(known) - basis.shape[1] - 2
    reach = norm.ppf(0.975) / np.sqrt(free) if free > 0 else np.nan
    with np.errstate(divide="ignore"):
        low, high = np.tanh(np.arctanh(np.clip(rho, -1, 1)) + np.array([-1, 1]) * reach)
    return row | {"rho": rho, "rho_low": low, "rho_high": high,
                  "covariates_dropped": adjusted.note, "reason": ""}  # fmt: skip


def indirect_at_rho(
    beta21: ArrayLike,
    spread_total: ArrayLike,
    spread_mediator: ArrayLike,
    rho_found: ArrayLike,
    rho: ArrayLike,
) -> Array:
    """Return the indirect effect if the errors of mediator and outcome correlated by `rho`.

    Imai, Keele & Yamamoto (2010), theorem 4.

    Parameters
    ----------
    beta21 : array
        Slope of the mediator on the exposure.
    spread_total, spread_mediator : array
        Standard deviations of the errors of outcome ~ exposure and mediator ~ exposure.
    rho_found : array
        Correlation of those errors, see `vanishing_rho`.
    rho : array
        Within −1 and 1.
    """
    rho = np.asarray(rho, dtype=np.float64)
    if (np.abs(rho) >= 1).any():
        raise ValueError(f"rho must lie within -1 and 1, got {rho[np.abs(rho) >= 1].tolist()}")
    found = np.asarray(rho_found, dtype=np.float64)
    scale = np.asarray(beta21) * np.asarray(spread_total) / np.asarray(spread_mediator)
    return scale * (found - rho * np.sqrt((1 - found**2) / (1 - rho**2)))


def effect_over_rho(effect: float, rho: float) -> pd.DataFrame:
    """Return an indirect effect over the correlation of the errors.

    Parameters
    ----------
    effect : float
        The estimate, which is the effect where errors do not correlate.
    rho : float
        Correlation at which it vanishes, not 0.

    Returns
    -------
    DataFrame
        rho, -0.95 to 0.95, and indirect, in the unit of `effect`.
    """
    grid = np.linspace(-0.95, 0.95, 191)
    indirect = indirect_at_rho(effect / rho, 1.0, 1.0, rho, grid)
    return pd.DataFrame({"rho": grid, "indirect": indirect})


def e_value(risk_ratio: ArrayLike, low: ArrayLike, high: ArrayLike) -> pd.DataFrame:
    """Return mediational E-values of indirect effects on the risk-ratio scale.

    How strongly, as a risk ratio, an unmeasured common cause of mediator and outcome would have to
    act on both to explain the effect away (VanderWeele & Ding 2017; Smith & VanderWeele 2019).

    Parameters
    ----------
    risk_ratio, low, high : array
        Estimate and interval. A standardised difference d is about exp(0.91 d) (VanderWeele 2017).

    Returns
    -------
    DataFrame
        ``e_value`` of the estimate, and ``e_value_limit`` of the bound nearer to 1; 1 where the
        interval holds 1.

    Examples
    --------
    >>> e_value(3.9, 1.8, 8.7).round(2).to_numpy().tolist()
    [[7.26, 3.0]]
    """
    ratio, low, high = (
        np.atleast_1d(np.asarray(v, dtype=np.float64)) for v in (risk_ratio, low, high)
    )
    if (ratio <= 0).any() or (low > ratio).any() or (high < ratio).any():
        raise ValueError("a risk ratio is positive and lies within its interval")
    nearer = np.where(ratio >= 1, np.maximum(low, 1), np.minimum(high, 1))
    return pd.DataFrame({"e_value": _e(ratio), "e_value_limit": _e(nearer)})


def _e(ratio: Array) -> Array:
    above = np.where(ratio < 1, 1 / ratio, ratio)
    return above + np.sqrt(above * np.maximum(above - 1, 0))


def leave_one_group_out(table: pd.DataFrame, groups: pd.Series) -> dict[str, pd.DataFrame]:
    """Return the whole table as ``all``, then without each group of patients, such as a hospital.

    Parameters
    ----------
    table : DataFrame
    groups : Series
        Group of each patient, by the table's index in any order; who has none always stays in.

    Raises
    ------
    ValueError
        If a patient of the table is not in `groups`.
    """
    if not groups.index.equals(table.index):
        if not groups.index.is_unique or not table.index.isin(groups.index).all():
            raise ValueError("groups must have each patient of the table once, by its index")
        groups = groups.reindex(table.index)
    without = {
        f"without {group}": table[~groups.isin([group]).to_numpy()]
        for group in groups.dropna().unique()
    }
    return {"all": table, **without}


def repeated(
    tables: Mapping[str, pd.DataFrame],
    analysis: Callable[[pd.DataFrame], Mediation],
    mediators: Collection[str] | None = None,
) -> pd.DataFrame:
    """Repeat an analysis on other tables of the same study: fewer patients, other settings.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        What is different → the table.
    analysis : callable
        From such a table to a `Mediation`.
    mediators : collection of str, optional
        Those to return; all by default. All are analysed, since p values are adjusted together.

    Returns
    -------
    DataFrame
        ``of`` (the key), exposure, mediator, n, indirect, indirect_low, indirect_high,
        p_indirect_adjusted, mediator_by_criterion, covariates_dropped (that of the hospital left
        out) and reason; one row with a reason where the whole analysis was not possible.
    """
    shown = ["exposure", "mediator", "n", "indirect", "indirect_low", "indirect_high",
             "p_indirect_adjusted", "mediator_by_criterion", "covariates_dropped",
             "reason"]  # fmt: skip
    parts = []
    for name, table in tables.items():
        try:
            rows = analysis(table).table[shown]
            if mediators is not None:
                rows = rows[rows["mediator"].isin(mediators)]
        except ValueError as error:
            refused = {"n": len(table), "covariates_dropped": "", "reason": str(error)}
            rows = pd.DataFrame([refused], columns=shown)
        parts.append(rows.assign(of=name))
    return pd.concat(parts, ignore_index=True)[["of", *shown]]
