"""A mediator that only some patients have: whether there is a lesion, then what it looks like.

A patient without lesion has no texture (D-19). Whether there is one, L, and the texture where there
is, L·(T − mean of T), are two mediators side by side, both known for everyone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.mediation.frames import analysis_frame
from ssinfnet.mediation.regressions import COLLINEAR, weighted_products
from ssinfnet.mediation.resampling import drawn_weights, percentile_interval

__all__ = ["two_part_effects"]

Array = NDArray[np.float64]

PARTS = ("presence", "texture", "both")


def two_part_effects(
    table: pd.DataFrame,
    exposures: Sequence[str],
    outcome: str,
    presence: str,
    mediators: Sequence[str],
    covariates: Sequence[str] = (),
    *,
    draws: int = 1000,
    seed: int = 2021,
) -> pd.DataFrame:
    """Estimate indirect effects through a lesion's presence, and its texture where there is one.

    Parameters
    ----------
    table : DataFrame
        One row a patient.
    exposures, covariates : sequence of str
    outcome : str
        Modelled linearly.
    presence : str
        Column of 0 and 1.
    mediators : sequence of str
        Columns that are missing where `presence` is 0. Patients who have a lesion without a value,
        too small for a texture, are left out of that mediator and not counted in its n.
    draws, seed : int
        Of the bootstrap over patients.

    Returns
    -------
    DataFrame
        One row an exposure, mediator and part of `PARTS`: n, n_present, indirect,
        indirect_standardised, indirect_low and indirect_high (95 %, percentiles), draws (usable),
        and reason where it cannot be estimated. ``both`` does not depend on where T is centred; the
        split does.

    Raises
    ------
    ValueError
        If `presence` is not 0 or 1, a mediator is known without a lesion, and as
        `frames.analysis_frame` raises.
    """
    frame = analysis_frame(table, exposures, outcome, mediators, [*covariates, presence])
    values = frame.values
    if not values[presence].isin([0, 1]).all():
        raise ValueError(f"{presence!r} must be 0 or 1, got {values[presence].unique()[:5]}")
    rows = []
    for mediator in mediators:
        own = values[(values[presence] == 0) | values[mediator].notna()]
        if own.loc[own[presence] == 0, mediator].notna().any():
            raise ValueError(f"{mediator!r} is known for patients with {presence} = 0")
        plain = [name for name in frame.covariates if name != presence]
        rows.append(_two_parts(own, exposures, outcome, presence, mediator, plain, draws, seed))
    return pd.concat(rows, ignore_index=True)


def _two_parts(
    values: pd.DataFrame, exposures: Sequence[str], outcome: str, presence: str, mediator: str,
    covariates: list[str], draws: int, seed: int,
) -> pd.DataFrame:  # fmt: skip
    present = values[presence].to_numpy()
    counted = {"n": len(values), "n_present": int(present.sum())}
    index = pd.MultiIndex.from_product([exposures, [mediator], PARTS],
                                       names=["exposure", "mediator", "part"])  # fmt: skip
    result = pd.DataFrame(counted, index=index).assign(reason="")
    result[["indirect", "indirect_standardised", "indirect_low", "indirect_high"]] = np.nan
    result["draws"] = 0
    texture = values[mediator].fillna(0).to_numpy()
    known = texture[present == 1]
    if 0 in (counted["n_present"], counted["n"] - counted["n_present"]) or not np.ptp(known):
        return result.assign(reason="all, or none, have it, or it does not vary").reset_index()
    texture = np.where(present == 1, texture - known.mean(), 0.0)
    others = np.column_stack([np.ones(len(values)), values[covariates]])
    x = values[list(exposures)].to_numpy()
    y = values[outcome].to_numpy()
    spread = x.std(axis=0, ddof=1) / y.std(ddof=1)
    given = (others, x, present, texture / texture.std(), y)
    estimate = _indirect(np.ones((1, len(y))), *given)[0]
    drawn = np.concatenate([_indirect(w, *given) for w in drawn_weights(len(y), draws, seed)])
    low, high = percentile_interval(drawn.reshape(len(drawn), -1))
    result["indirect"] = estimate.ravel()
    result["indirect_standardised"] = (estimate * spread[:, None]).ravel()
    result["indirect_low"], result["indirect_high"] = low, high
    result["draws"] = np.isfinite(drawn).reshape(len(drawn), -1).sum(axis=0)
    return result.reset_index()


def _indirect(
    weights: Array, others: Array, exposures: Array, present: Array, texture: Array, outcome: Array
) -> Array:
    """Return the three indirect effects, shape (draws, exposures, 3), by weighted least squares."""
    columns = np.column_stack([others, exposures, present, texture, outcome])
    cross = weighted_products(weights, columns)
    q, e = others.shape[1], exposures.shape[1]
    both, y = [q + e, q + e + 1], q + e + 2
    found = np.full((len(weights), e, 3), np.nan)
    for number in range(e):
        base = [*range(q), q + number]
        full = [*base, *both]
        usable = np.linalg.cond(cross[:, full][:, :, full]) < 1 / COLLINEAR
        kept = cross[usable]
        to_both = np.linalg.solve(kept[:, base][:, :, base], kept[:, base][:, :, both])[:, -1]
        to_outcome = np.linalg.solve(kept[:, full][:, :, full], kept[:, full][:, :, [y]])[:, -2:, 0]
        parts = to_both * to_outcome
        found[usable, number] = np.column_stack([parts, parts.sum(axis=1)])
    return found
