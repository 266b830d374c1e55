"""How well a path model fits, measured as lavaan does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2

__all__ = ["fit_measures"]

Array = NDArray[np.float64]


def fit_measures(
    sample: pd.DataFrame,
    implied: pd.DataFrame,
    n: int,
    free: int,
    exogenous: Sequence[str],
    spread: pd.Series | None = None,
) -> pd.Series:
    """Return measures of fit as lavaan defines them, exogenous variables fixed.

    Parameters
    ----------
    sample : DataFrame
        Covariance of the data, divided by n.
    implied : DataFrame
        The model's, of the same variables in the same order.
    n : int
        Patients.
    free : int
        Free parameters, without variances and covariances of exogenous variables.
    exogenous : sequence of str
        Variables that nothing explains.
    spread : Series, optional
        What each variable was divided by before, so that the likelihood is of the data as they
        were.

    Returns
    -------
    Series
        chi_square, df, p, CFI, TLI, RMSEA, SRMR, log_likelihood, AIC, BIC, parameters, n. With 0 df
        a model fits by construction: CFI and TLI are 1, RMSEA 0, p is NaN.
    """
    s, m = sample.to_numpy(), implied.loc[sample.index, sample.columns].to_numpy()
    p, inside = len(s), sample.index.isin(list(exogenous))
    x = s[np.ix_(inside, inside)]
    chi_square = max(n * _discrepancy(s, m), 0.0)
    df = p * (p + 1) // 2 - int(inside.sum()) * (int(inside.sum()) + 1) // 2 - free
    independent = np.diag(np.diag(s))
    independent[np.ix_(inside, inside)] = x
    outside = p - int(inside.sum())
    base = n * _discrepancy(s, independent)
    base_df = outside * (outside - 1) // 2 + outside * int(inside.sum())
    misfit, base_misfit = max(chi_square - df, 0.0), max(base - base_df, 0.0)
    worst = max(misfit, base_misfit)
    scale = np.sqrt(np.outer(np.diag(s), np.diag(s)))
    left = ((s - m) / scale)[np.tril_indices(p)]
    constant = 0.0 if spread is None else 2 * np.log(spread[sample.index[~inside]]).sum()
    own = np.linalg.slogdet(m)[1] - np.linalg.slogdet(x)[1] + constant
    traces = np.trace(np.linalg.solve(m, s)) - len(x)
    likelihood = -n / 2 * (outside * np.log(2 * np.pi) + own + traces)
    return pd.Series(
        {
            "chi_square": chi_square,
            "df": df,
            "p": chi2.sf(chi_square, df) if df else np.nan,
            "CFI": 1 - misfit / worst if df and worst else 1.0,
            "TLI": (base / base_df - chi_square / df) / (base / base_df - 1) if df else 1.0,
            "RMSEA": np.sqrt(misfit / (df * n)) if df else 0.0,
            "SRMR": np.sqrt(np.mean(left**2)),
            "log_likelihood": likelihood,
            "AIC": -2 * likelihood + 2 * free,
            "BIC": -2 * likelihood + free * np.log(n),
            "parameters": free,
            "n": n,
        }
    )


def _discrepancy(s: Array, m: Array) -> float:
    """Return the maximum-likelihood distance between two covariances."""
    logs = np.linalg.slogdet(m)[1] - np.linalg.slogdet(s)[1]
    return float(logs + np.trace(np.linalg.solve(m, s)) - len(s))
