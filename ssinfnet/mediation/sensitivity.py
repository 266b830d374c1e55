"""How much an indirect effect depends on what was not measured, and on single choices."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from ssinfnet.mediation.effects import Mediation
from ssinfnet.mediation.frames import analysis_frame
from ssinfnet.mediation.regressions import residuals

__all__ = ["e_value", "indirect_at_rho", "leave_one_group_out", "repeated", "vanishing_rho"]

Array = NDArray[np.float64]


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
        exposure, mediator, n, rho, rho_low and rho_high (95 %, Fisher's z).
    """
    frame = analysis_frame(table, exposures, outcome, mediators, covariates)
    rows = []
    for exposure in exposures:
        for mediator in mediators:
            own = frame.values[frame.values[mediator].notna()]
            given = np.column_stack([np.ones(len(own)), own[exposure], own[list(frame.covariates)]])
            both = own[[mediator, outcome]].to_numpy()
            left = residuals(given, both)
            with np.errstate(invalid="ignore", divide="ignore"):
                product = left[:, 0] @ left[:, 1]
                rho = product / np.sqrt(np.prod(np.square(left).sum(axis=0)))
            free = len(own) - given.shape[1] - 2
            reach = norm.ppf(0.975) / np.sqrt(free) if free > 0 else np.nan
            low, high = np.tanh(np.arctanh(rho) + np.array([-1, 1]) * reach)
            rows.append((exposure, mediator, len(own), rho, low, high))
    return pd.DataFrame(rows, columns=["exposure", "mediator", "n", "rho", "rho_low", "rho_high"])


def indirect_at_rho(
    beta21: ArrayLike, spread_total: ArrayLike, spread_mediator: ArrayLike, rho_found: ArrayLike,
    rho: ArrayLike,
) -> Array:  # fmt: skip
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
    ratio, low, high = (np.atleast_1d(np.asarray(v, dtype=np.float64))
                        for v in (risk_ratio, low, high))  # fmt: skip
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
        Group of each patient, of the same index; who has none always stays in.
    """
    without = {f"without {group}": table[(groups != group).to_numpy()]
               for group in groups.dropna().unique()}  # fmt: skip
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
        p_indirect_adjusted, mediator_by_criterion and reason; one row with a reason where the whole
        analysis was not possible.
    """
    shown = ["exposure", "mediator", "n", "indirect", "indirect_low", "indirect_high",
             "p_indirect_adjusted", "mediator_by_criterion", "reason"]  # fmt: skip
    parts = []
    for name, table in tables.items():
        try:
            rows = analysis(table).table[shown]
            if mediators is not None:
                rows = rows[rows["mediator"].isin(mediators)]
        except ValueError as error:
            rows = pd.DataFrame([{"n": len(table), "reason": str(error)}], columns=shown)
        parts.append(rows.assign(of=name))
    return pd.concat(parts, ignore_index=True)[["of", *shown]]
