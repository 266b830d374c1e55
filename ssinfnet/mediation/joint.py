"""Many mediators at once: which carry an effect beside all the others.

One at a time a phenotype mediates as soon as it is correlated with one that does. Here each is
judged beside the others (`joint_tests`), in one table or in several imputed ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ssinfnet.mediation.frames import analysis_frame, known_together
from ssinfnet.mediation.joint_tests import FREE, Rest, check_rates, composite_q, tested_together

__all__ = ["COLUMNS", "FREE", "composite_q", "imputed_joint_mediators", "joint_mediators"]

FDR = 0.1
ALIKE = 0.95  # correlation from which mediators stand for each other
COLUMNS = ["mediator", "same_as", "stands_for", "kept", "alpha", "alpha_se", "p_alpha", "beta",
           "beta_se", "p_beta", "indirect", "low", "high", "q", "mediates", "n",
           "covariates_dropped", "reason"]  # fmt: skip


def joint_mediators(
    table: pd.DataFrame,
    exposure: str,
    outcome: str,
    mediators: Sequence[str],
    covariates: Sequence[str] = (),
    *,
    fdr: float = FDR,
    alike: float = ALIKE,
    seed: int = 2021,
) -> pd.DataFrame:
    """Find the mediators that carry an exposure's effect beside all the others.

    Parameters
    ----------
    table : DataFrame
        One row a patient. Those who lack a mediator are left out, unless too few have it: then the
        mediator is (`frames.known_together`).
    exposure, outcome : str
    mediators, covariates : sequence of str
        Thousands of mediators are possible, more than patients.
    fdr : float
        False discovery rate, within 0 and 1.
    alike : float
        Mediators correlated above it, beside exposure and covariates, stand for each other: the one
        that varies most with the exposure is tested.
    seed : int
        Seed of the intervals' draws.

    Returns
    -------
    DataFrame
        One row a mediator: mediator; stands_for (how many, itself included) or same_as (who stands
        for it); kept, whether it was tested; alpha and beta (slopes on the exposure, and of
        the outcome beside exposure and all other kept mediators) with _se and p_alpha, p_beta;
        indirect, low and high (95 %, product of normal slopes; MacKinnon et al. 2007); q, the
        smallest false discovery rate at which it is found; mediates, whether q is at most `fdr`;
        n, patients; covariates_dropped (see `effects.mediate`); and reason, where it was not
        tested, such as that too few patients have it. Of mediators that follow from each other,
        such as a total and its parts, the one that varies least with the exposure is not tested.

    Raises
    ------
    ValueError
        If `fdr` or `alike` are not within 0 and 1, the seed is below 0, there are too few patients,
        and as `frames.analysis_frame` raises.
    """
    check_rates(fdr, alike, seed)
    frame = analysis_frame(table, [exposure], outcome, mediators, covariates)
    values, left_out = known_together(frame, FREE)
    entered = [name for name in mediators if name not in left_out]
    rest = Rest.of(values, exposure, outcome, entered, frame.covariates)
    rows = tested_together([rest], entered, alike, fdr, seed)
    rows = rows.assign(n=len(values), covariates_dropped=rest.note)
    return (
        _with_left_out(rows[COLUMNS], left_out)
        .set_index("mediator")
        .loc[list(mediators)]
        .reset_index()
    )


def imputed_joint_mediators(
    tables: Sequence[pd.DataFrame],
    exposure: str,
    outcome: str,
    mediators: Sequence[str],
    covariates: Sequence[str] = (),
    *,
    fdr: float = FDR,
    alike: float = ALIKE,
    seed: int = 2021,
) -> pd.DataFrame:
    """Find the mediators that carry an effect beside all the others, over imputed tables.

    Tables that each chose for themselves would test different regressions, and Rubin's rules pool
    estimates of one. So mediators that stand for each other, those that are kept and those that are
    adjusted for are chosen once, of all tables stacked, in which a patient counts once; their
    slopes are estimated in each table and pooled by Rubin's rules (Wood, White & Royston 2008;
    D-86).

    Parameters
    ----------
    tables : sequence of DataFrame
        Tables of the same patients, see `Mediation.completed`; patients whose outcome is missing
        are left out, and all else is known.
    exposure, outcome, mediators, covariates, fdr, alike, seed
        As `joint_mediators` takes them.

    Returns
    -------
    DataFrame
        As `joint_mediators` returns it, with Barnard and Rubin's degrees of freedom behind p, and
        fraction_missing, the larger of the two slopes' shares of information that is missing.

    Raises
    ------
    ValueError
        If there are fewer than two tables, a value of them is missing, and as `joint_mediators`
        raises.
    """
    check_rates(fdr, alike, seed)
    if len(tables) < 2:
        raise ValueError(f"{len(tables) or 'no'} imputed table was given; give at least two")
    rests = []
    for table in tables:
        frame = analysis_frame(table, [exposure], outcome, mediators, covariates)
        if (
            frame.values.isna().any(axis=None)
            or (frame.left_out["reason"] != f"{outcome} is not known").any()
        ):
            raise ValueError("imputed tables lack values but of the outcome; impute all columns")
        rests.append(Rest.of(frame.values, exposure, outcome, mediators, frame.covariates))
    rows = tested_together(rests, mediators, alike, fdr, seed)
    rows = rows.assign(n=len(rests[0].x), covariates_dropped=rests[0].note)
    return rows[[*COLUMNS[:-2], "fraction_missing", *COLUMNS[-2:]]]


def _with_left_out(rows: pd.DataFrame, left_out: dict[str, str]) -> pd.DataFrame:
    """Return the rows of a result, and one of each mediator that did not enter."""
    if not left_out:
        return rows
    shared = {name: rows[name].iloc[0] for name in ("n", "covariates_dropped")}
    lost = pd.DataFrame({"mediator": list(left_out), "same_as": "", "stands_for": 0,
                         "kept": False, "mediates": False, **shared,
                         "reason": list(left_out.values())})  # fmt: skip
    return pd.concat([rows, lost], ignore_index=True)
