"""A mediator that only some patients have: whether there is a lesion, then what it looks like.

A patient without lesion has no texture (D-19). Whether there is one, L, and the texture where there
is, L·(T − mean of T), are two mediators side by side, both known for everyone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.mediation.collinearity import (
    adjustment,
    collinear_reason,
    independent_in_draws,
    unexplained,
)
from ssinfnet.mediation.few_patients import FEWEST, few_of_pairs
from ssinfnet.mediation.frames import analysis_frame
from ssinfnet.mediation.regressions import adjusted_products
from ssinfnet.mediation.resampling import drawn_weights, percentile_interval

__all__ = ["two_part_effects"]

Array = NDArray[np.float64]

PARTS = ("presence", "texture", "both")


@dataclass(frozen=True)
class _Roles:
    """Columns of a table by what they are."""

    exposures: tuple[str, ...]
    outcome: str
    presence: str
    covariates: tuple[str, ...]


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
    fewest: int = FEWEST,
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
        Number and seed of the bootstrap's draws over patients.
    fewest : int
        Intervals are missing, and the reason says why, where fewer patients differ from the
        exposure's most frequent value, or have the lesion or not (D-199).

    Returns
    -------
    DataFrame
        One row an exposure, mediator and part of `PARTS`: n, n_present, indirect,
        indirect_standardised, indirect_low and indirect_high (95 %, percentiles), draws (usable),
        covariates_dropped (see `effects.mediate`), and reason where it cannot be estimated, or
        rests on a handful of patients and has no interval.
        ``both`` does not depend on where T is centred; the split does.

    Raises
    ------
    ValueError
        If `presence` is not 0 or 1, a mediator is known without a lesion, and as
        `frames.analysis_frame` raises.
    """
    frame = analysis_frame(table, exposures, outcome, mediators, [*covariates, presence])
    values = frame.values
    if presence not in values or not values[presence].isin([0, 1]).all():  # text has its levels
        raise ValueError(f"{presence!r} must be 0 or 1, got {table[presence].unique()[:5]}")
    plain = tuple(name for name in frame.covariates if name != presence)
    roles = _Roles(tuple(exposures), outcome, presence, plain)
    rows = []
    for mediator in mediators:
        own = values[(values[presence] == 0) | values[mediator].notna()]
        if own.loc[own[presence] == 0, mediator].notna().any():
            raise ValueError(f"{mediator!r} is known for patients with {presence} = 0")
        found = _two_parts(own, roles, mediator, draws, seed)
        rows.append(_without_few(found, own, roles, fewest) if draws else found)
    return pd.concat(rows, ignore_index=True)


def _without_few(
    found: pd.DataFrame, values: pd.DataFrame, roles: _Roles, fewest: int
) -> pd.DataFrame:
    """Return the rows of a mediator without intervals that rest on a handful of patients."""
    few = few_of_pairs(values, dict.fromkeys(roles.exposures, ()), [roles.presence], fewest)
    reasons = found["exposure"].map(lambda exposure: few[exposure, roles.presence])
    lost = found["indirect"].notna() & (reasons != "")
    found.loc[lost, ["indirect_low", "indirect_high"]] = np.nan
    found.loc[lost, "draws"] = 0
    return found.assign(reason=found["reason"].where(~lost, reasons))


def _two_parts(
    values: pd.DataFrame, roles: _Roles, mediator: str, draws: int, seed: int
) -> pd.DataFrame:
    """Return the rows of one mediator, with a reason where it cannot be analysed."""
    present = values[roles.presence].to_numpy()
    counted = {"n": len(values), "n_present": int(present.sum())}
    index = pd.MultiIndex.from_product(
        [roles.exposures, [mediator], PARTS], names=["exposure", "mediator", "part"]
    )
    result = pd.DataFrame(counted, index=index)
    result[["indirect", "indirect_standardised", "indirect_low", "indirect_high"]] = np.nan
    result = result.assign(draws=0, covariates_dropped="", reason="")
    texture = values[mediator].fillna(0).to_numpy()
    known = texture[present == 1]
    if 0 in (counted["n_present"], counted["n"] - counted["n_present"]) or not np.ptp(known):
        return result.assign(reason="all, or none, have it, or it does not vary").reset_index()
    texture = np.where(present == 1, texture - known.mean(), 0.0)
    centred_values = values.assign(**{mediator: texture})
    adjusted = adjustment(values, roles.covariates)
    reasons = _reasons(centred_values, roles, mediator, adjusted.basis)
    result["reason"] = np.repeat(reasons, len(PARTS))
    if all(reasons):
        return result.reset_index()
    numbers = _estimates(centred_values, roles, mediator, adjusted.basis, (draws, seed))
    usable = np.repeat([not reason for reason in reasons], len(PARTS))
    result.loc[usable, "covariates_dropped"] = adjusted.note
    for name, value in numbers.items():
        result.loc[usable, name] = value[usable]
    return result.reset_index()


def _reasons(values: pd.DataFrame, roles: _Roles, mediator: str, basis: Array) -> list[str]:
    """Say of each exposure what follows exactly from the others; an empty text if nothing does."""
    outcome = {roles.outcome: values[roles.outcome].to_numpy()}
    return [
        collinear_reason(
            basis, {name: values[name].to_numpy() for name in (exposure, roles.presence, mediator)}
        )
        or collinear_reason(basis, outcome)
        for exposure in roles.exposures
    ]


def _estimates(
    values: pd.DataFrame, roles: _Roles, mediator: str, basis: Array, drawing: tuple[int, int]
) -> dict[str, Array]:
    """Return the numbers of all exposures and parts, each of shape (exposures x 3,)."""
    names = [*roles.exposures, roles.presence, mediator, roles.outcome]
    columns = values[names].to_numpy()
    deviation = columns.std(axis=0, ddof=1)[: len(roles.exposures)] / columns[:, -1].std(ddof=1)
    columns = unexplained(basis, columns)
    spread = np.sqrt(np.square(columns).mean(axis=0))
    columns = columns / spread
    scale = np.repeat(spread[-1] / spread[: len(roles.exposures)], len(PARTS))
    estimate = _indirect(np.ones((1, len(columns))), basis, columns)[0] * scale
    draws = drawn_weights(len(columns), *drawing)
    none = np.empty((0, len(scale)))
    drawn = np.concatenate([none, *(_indirect(own, basis, columns) for own in draws)]) * scale
    low, high = percentile_interval(drawn)
    return {
        "indirect": estimate,
        "indirect_standardised": estimate * np.repeat(deviation, 3),
        "indirect_low": low,
        "indirect_high": high,
        "draws": np.isfinite(drawn).sum(axis=0),
    }


def _indirect(weights: Array, basis: Array, columns: Array) -> Array:
    """Return three indirect effects an exposure, shape (draws, exposures x 3), by weighted fits.

    Parameters
    ----------
    weights : ndarray of float, shape (draws, n)
    basis : ndarray of float, shape (n, rank)
    columns : ndarray of float, shape (n, exposures + 3)
        What the basis leaves of exposures, presence, texture and outcome, scaled.
    """
    cross, size = adjusted_products(weights, basis, columns)
    e = columns.shape[1] - 3
    effects = np.full((len(weights), e, 3), np.nan)
    for number in range(e):
        full = [number, e, e + 1]
        usable = independent_in_draws(cross[:, full][:, :, full], size[:, full])
        kept = cross[usable]
        to_both = kept[:, number, e : e + 2] / kept[:, [number], number]
        right = kept[:, full, e + 2][..., None]
        to_outcome = np.linalg.solve(kept[:, full][:, :, full], right)[:, 1:, 0]
        parts = to_both * to_outcome
        effects[usable, number] = np.column_stack([parts, parts.sum(axis=1)])
    return effects.reshape(len(weights), -1)
