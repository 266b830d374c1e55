"""Natural effects and sensitivity over imputed tables, pooled by Rubin's rules (D-193).

Each is pooled on the scale on which its error is symmetric: differences as they are, ratios by
their logarithm, correlations by Fisher's z.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from ssinfnet.mediation.imputation import Pooled

__all__ = ["pooled_natural", "pooled_rho"]

Array = NDArray[np.float64]


def pooled_natural(results: Sequence[pd.DataFrame], parameters: int) -> pd.DataFrame:
    """Pool natural effects of imputed tables.

    Parameters
    ----------
    results : sequence of DataFrame
        From `natural_effects` of each table, of the same pair and contrast.
    parameters : int
        How many parameters the outcome's model has.

    Returns
    -------
    DataFrame
        As one of them, estimate, se, low and high (95 %) pooled, and fraction_missing (of the
        information); a reason in place of numbers where a table's models did not converge.
    """
    if (failed := _failed(results)) is not None:
        return failed
    found = results[0].copy()
    ratio = (found["effect"] == "indirect_risk_ratio").to_numpy()
    estimates, errors = (
        np.stack([own[name].to_numpy(float) for own in results]) for name in ("estimate", "se")
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        errors = np.where(ratio, errors / estimates, errors)
        estimates = np.where(ratio, np.log(estimates), estimates)
    own, low, high = _pooled(estimates, errors, found["n"].to_numpy() - parameters)
    found["estimate"] = np.where(ratio, np.exp(own.estimate), own.estimate)
    found["se"] = np.where(ratio, own.se * found["estimate"], own.se)
    found["low"], found["high"] = (np.where(ratio, np.exp(end), end) for end in (low, high))
    return found.assign(fraction_missing=own.fraction_missing)


def pooled_rho(results: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Pool the correlations of `vanishing_rho` over imputed tables, of one pair.

    Parameters
    ----------
    results : sequence of DataFrame
        From `vanishing_rho` of each table.
    """
    if (failed := _failed(results)) is not None:
        return failed
    found = results[0].copy()
    z, low, high = (
        np.arctanh(np.stack([own[name].to_numpy(float) for own in results]))
        for name in ("rho", "rho_low", "rho_high")
    )
    errors = (high - low) / (2 * norm.ppf(0.975))
    own, low, high = _pooled(z, errors, np.square(1 / errors[0]))
    found["rho"], found["rho_low"], found["rho_high"] = np.tanh([own.estimate, low, high])
    return found


def _failed(results: Sequence[pd.DataFrame]) -> pd.DataFrame | None:
    """Return the first result that has a reason in place of numbers, and how many have one."""
    failed = [own for own in results if (own["reason"] != "").any()]
    if not failed:
        return None
    reasons = f"{failed[0]['reason'].iloc[0]} (in {len(failed)} of {len(results)} imputed tables)"
    return failed[0].assign(reason=reasons)


def _pooled(estimates: Array, errors: Array, residual_df: Array) -> tuple[Pooled, Array, Array]:
    """Return pooled estimates with the bounds of their 95 % intervals."""
    own = Pooled(estimates, errors, residual_df)
    reach = student.ppf(0.975, own.df) * own.se
    return own, own.estimate - reach, own.estimate + reach
