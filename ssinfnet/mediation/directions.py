"""Mediating directions: the principal components of many correlated mediators, tested together.

Phenotypes of one lesion say a few things in many ways. Their components, beside exposure and
covariates, are uncorrelated, so that a test of each is a test beside all others, and the sum of
their effects is the effect through all of them (Huang & Pan 2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.mediation.collinearity import adjustment, extended, unexplained
from ssinfnet.mediation.effects import mediate
from ssinfnet.mediation.few_patients import FEWEST
from ssinfnet.mediation.frames import analysis_frame, known_together
from ssinfnet.mediation.joint import FREE

__all__ = ["Directions", "mediating_directions"]

Array = NDArray[np.float64]

EXPLAINED = 0.8
LARGEST_LOADINGS = 5  # named for each direction
MOST_OF_PATIENTS = 5  # patients to a direction, at least


@dataclass(frozen=True)
class Directions:
    """Principal components of mediators as mediators.

    Attributes
    ----------
    effects : DataFrame
        One row a direction: mediator (``direction 1`` …), explained (share of the mediators'
        standardised variance beside exposure and covariates), the columns of `effects.mediate`,
        largest, the mediators with the largest correlations, mediators and left_out.
    loadings : DataFrame
        Correlation of each mediator (row) with each direction (column), beside exposure and
        covariates.
    left_out : DataFrame
        ``mediator`` and ``reason`` of those that are in no direction; effects count them, and the
        others, in ``left_out`` and ``mediators``.
    """

    effects: pd.DataFrame
    loadings: pd.DataFrame
    left_out: pd.DataFrame


def mediating_directions(
    table: pd.DataFrame,
    exposure: str,
    outcome: str,
    mediators: Sequence[str],
    covariates: Sequence[str] = (),
    *,
    explained: float = EXPLAINED,
    draws: int = 2000,
    seed: int = 2021,
    fewest: int = FEWEST,
) -> Directions:
    """Test the principal components of mediators in place of each of them.

    Parameters
    ----------
    table : DataFrame
        One row a patient. Those who lack a mediator are left out, unless too few have it: then the
        mediator is (`frames.known_together`).
    exposure, outcome : str
    mediators, covariates : sequence of str
    explained : float
        Share of the variance up to which components are taken, within 0 and 1, and not more than
        one to five patients.
    draws, seed : int
        Number and seed of the bootstrap's draws, over given directions.
    fewest : int
        The same as `effects.mediate` takes.

    Raises
    ------
    ValueError
        If `explained` is not within 0 and 1, no mediator varies, fewer than `fewest` patients have
        either value of a binary outcome, and as `frames.analysis_frame` raises.
    """
    if not 0 < explained < 1:
        raise ValueError(f"explained must lie within 0 and 1, got {explained}")
    frame = analysis_frame(table, [exposure], outcome, mediators, covariates)
    values, rare = known_together(frame, FREE)
    entered = [name for name in mediators if name not in rare]
    basis = adjustment(values, frame.covariates).basis
    x = unexplained(basis, values[exposure].to_numpy())
    if np.isnan(x).any():
        raise ValueError(
            f"exposure {exposure!r} follows from the covariates among the "
            f"{len(values)} patients with all mediators"
        )
    rest = unexplained(extended(basis, x), values[entered].to_numpy())
    usable = np.asarray(np.isfinite(rest).all(axis=0))
    if not usable.any():
        raise ValueError("no mediator varies beside exposure and covariates")
    names = [name for name, is_usable in zip(entered, usable, strict=True) if is_usable]
    scale = np.linalg.norm(rest[:, usable], axis=0)
    _, size, axes = np.linalg.svd(rest[:, usable] / scale, full_matrices=False)
    share = np.square(size) / np.square(size).sum()
    number = min(
        int(np.searchsorted(np.cumsum(share), explained)) + 1,
        max(len(values) // MOST_OF_PATIENTS, 1),
        int((share > 1e-10).sum()),
    )
    axes = (
        axes[:number]
        * np.sign(axes[:number][np.arange(number), np.abs(axes[:number]).argmax(1)])[:, None]
    )
    own = values[names].to_numpy()
    scores = ((own - own.mean(axis=0)) / scale) @ axes.T
    labels = [f"direction {place + 1}" for place in range(number)]
    whole = pd.concat([values, pd.DataFrame(scores, values.index, labels)], axis=1)
    whole.attrs = values.attrs
    found = mediate(
        whole, [exposure], outcome, labels, list(frame.covariates),
        draws=draws, seed=seed, fewest=fewest,
    ).table  # fmt: skip
    loadings = pd.DataFrame(axes.T * size[:number], index=names, columns=labels)
    largest = [
        ", ".join(loadings[label].abs().nlargest(LARGEST_LOADINGS).index) for label in labels
    ]
    still = dict.fromkeys(set(entered) - set(names), "does not vary beside exposure and covariates")
    reasons = [(name, (rare | still)[name]) for name in mediators if name not in names]
    left_out = pd.DataFrame(reasons, columns=["mediator", "reason"])
    found = found.assign(
        explained=share[:number], largest=largest, mediators=len(names), left_out=len(left_out)
    )
    first = ["mediator", "explained"]
    return Directions(found[[*first, *found.columns.drop(first)]], loadings, left_out)
