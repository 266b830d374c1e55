"""Univariate mediation: every mediator between every exposure and the outcome (J eq 14)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Literal, get_args

import numpy as np
import pandas as pd

from ssinfnet.mediation.columns import TYPED, typed_columns
from ssinfnet.mediation.contrasts import with_contrasts
from ssinfnet.mediation.decided import Drawing, check_decision, decided, same_columns
from ssinfnet.mediation.design import ClusterErrors, Design, notes_of, sampling_design
from ssinfnet.mediation.few_patients import FEWEST, UNDRAWN
from ssinfnet.mediation.frames import (
    AnalysisFrame,
    analysis_frame,
    check_names,
    complete_groups,
    kind_of,
    refuse_none,
    unadjusted_places,
)
from ssinfnet.mediation.imputation import CompletedTables, pooled_rows
from ssinfnet.mediation.pair_effects import Plan, group_effects
from ssinfnet.mediation.repeated_rows import repeated_rows
from ssinfnet.mediation.resampling import Interval
from ssinfnet.mediation.results import Mediation

__all__ = ["ALPHA", "FEWEST", "check_patients", "left_out_patients", "mediate"]

Adjustment = Literal["fdr_bh", "holm"]

ALPHA = 0.05


def mediate(
    table: pd.DataFrame,
    exposures: Sequence[str],
    outcome: str,
    mediators: Sequence[str],
    covariates: Sequence[str] | None = None,
    *,
    adjust_exposures: bool = False,
    reference: Mapping[str, str] | None = None,
    kinds: Mapping[str, str] | None = None,
    missing: Sequence[float] | None = None,
    imputations: int = 0,
    cluster: str | None = None,
    cluster_errors: ClusterErrors = "CR1",
    weights: str | None = None,
    adjustment: Adjustment = "fdr_bh",
    draws: int = 5000,
    interval: Interval = "percentile",
    seed: int = 2021,
    fewest: int = FEWEST,
    alpha: float = ALPHA,
) -> Mediation:
    """Estimate direct, indirect and total effects of all mediators and exposures (J eq 14).

    Three linear regressions a pair, on the patients who have the mediator (D-19): outcome on
    exposure (slope β11), mediator on exposure (β21), outcome on exposure (β31, the direct effect)
    and mediator (β32). The indirect effect is β21·β32, the total one β11.

    Parameters
    ----------
    table : DataFrame
        One row a patient, indexed by patient; all columns below hold numbers.
    exposures, mediators, covariates : sequence of str
        Each pair of exposure and mediator is analysed by itself, beside all covariates, on the
        patients who have this exposure. One that is a category becomes a contrast of each level
        against one, ``stage: II against I``, beside its others. Without covariates there are none,
        whatever the table holds: `analysis.analyse` and the command line take the hospital of a
        table with several, and here a note of the result says that it is left out (D-89).
    outcome : str
    adjust_exposures : bool
        Whether the other exposures are covariates too (D-90).
    reference : mapping of str to str, optional
        Exposure → the level compared with; by default the most frequent.
    kinds, missing
        What columns are, and which numbers mean a missing value, where `columns.typed_columns` is
        to take them for something else than they look (D-94).
    imputations : int
        Tables in which what is missing of exposures, mediators and covariates is imputed, and over
        which results are pooled (D-132), 2 or more; 0 analyses the patients who have each
        mediator. Not for textures, which a patient without lesion cannot have (D-19).
    cluster : str, optional
        Column, or name of the index, that rows of one patient or site share: errors are by
        clusters, and the bootstrap draws clusters (D-133).
    cluster_errors : {"CR1", "CR2"}
        Liang & Zeger's with a small-sample factor, or bias-reduced with Satterthwaite's degrees of
        freedom, for few clusters (D-88); not of imputed tables.
    weights : str, optional
        Column of sampling weights.
    adjustment : {"fdr_bh", "holm"}
        How p values are adjusted within each exposure (D-17). Mediators that are the same up to
        scale count once.
    draws : int
        Bootstrap draws of patients for p and interval of the indirect effect, which are missing of
        fewer than 20 usable draws (D-179), and of fewer than 8 clusters (D-180).
    interval : {"percentile", "expanded", "bca"}
        Expanded percentile intervals are wider for few patients or clusters (Hesterberg 2015,
        D-138). BCa intervals leave out 0 for too many null mediators of small tables (D-91).
    seed : int
        Seed of the draws.
    fewest : int
        A mediator known for fewer patients of either class of a binary outcome is not analysed; a
        pair has no p and no interval by draws, but a reason, where fewer patients differ from the
        most frequent value of exposure or mediator, or have either level of a contrast (D-199).
    alpha : float
        Adjusted p values below it are significant.

    Returns
    -------
    Mediation
        Its table has, a row a pair: exposure, mediator, n, and n_0 and n_1 of a binary outcome;
        beta11, beta21, beta31, beta32, direct, indirect, total; <beta>_se and <beta>_hc3 (classic
        and robust errors, under the same name HC3, with weights HC1, and of clusters
        `cluster_errors`), p_<beta> and p_<beta>_hc3; indirect_se and p_sobel;
        p_indirect, indirect_low and indirect_high (95 %), all of the same draws, and
        indirect_low_adjusted and indirect_high_adjusted, which leave out 0 where
        p_indirect_adjusted is below `alpha` (D-93), draws (that were usable);
        <effect>_standardised; p_<test>_adjusted; p_joint and p_joint_adjusted (the larger of
        p_beta21 and p_beta32); mediator_by_criterion (J: β11, β21 and β32 significant after
        adjustment, and |β11| > |β31|), mediator_by_joint_test; covariates_dropped, which among the
        patients of this mediator do not vary or follow from the covariates before them, separated
        by commas; n_imputed and fraction_missing (of information, the larger of β21's and β32's)
        with imputations; and reason, where a pair could not be analysed and all else is missing,
        or where it rests on a handful of patients and has no p_indirect and no interval.

    Raises
    ------
    ValueError
        If bca intervals are asked of imputed tables, or one imputation; see also
        `frames.analysis_frame`, `design.sampling_design` and `contrasts.with_contrasts`.
    """
    check_decision(adjustment, alpha)
    if interval not in get_args(Interval):
        raise ValueError(
            f"interval must be one of {', '.join(get_args(Interval))}, got {interval!r}"
        )
    if imputations == 1:
        raise ValueError(
            "imputations must be 0 or at least 2, got 1: errors of one imputed table are those of "
            "complete data, too small; take 20, or 0 for the patients with all values"
        )
    if imputations and interval == "bca":
        raise ValueError(
            "bca intervals are of one table, not of imputed ones; take percentile or expanded"
        )
    if imputations and cluster_errors == "CR2":
        raise ValueError(
            "bias-reduced errors (CR2) are of one table, not of imputed ones; take CR1"
        )
    refuse_none(exposures=exposures, mediators=mediators)
    used = [*exposures, outcome, *mediators, cluster, weights]
    told = (*unadjusted_places(table, covariates, used), *repeated_rows(table))
    covariates = covariates or ()
    check_names(table, [*exposures, outcome, *covariates, *mediators])
    design, patients = sampling_design(table, cluster, weights, cluster_errors), table.index
    check_patients(patients, design)
    if design:  # whose rows are found again by their number
        table = table.set_axis(pd.RangeIndex(len(table)))
    table, siblings = with_contrasts(table, exposures, kinds or {}, reference or {}, missing)
    named = {x: kind for x, kind in (kinds or {}).items() if x in siblings or x not in exposures}
    exposures = list(siblings)
    roles = (
        dict.fromkeys(exposures, "exposure")
        | {outcome: "outcome"}
        | dict.fromkeys(covariates, "covariate")
        | dict.fromkeys(mediators, "mediator")
    )
    table, taken = typed_columns(table, roles, named, missing)
    plan = Plan(outcome, tuple(mediators), tuple(covariates),
                 _exposure_groups(table, siblings, adjust_exposures),
                 draws, interval, seed, fewest, design, siblings)  # fmt: skip
    completed = None
    if imputations:
        completed = CompletedTables.of(
            table, exposures, outcome, mediators, covariates, imputations, seed
        )
        plan = replace(plan, observed=table)
        share = -(-draws // imputations)
        results = [
            _analysed(
                own, replace(plan, covariates=completed.covariates, draws=share, seed=seed + i)
            )
            for i, own in enumerate(completed.tables)
        ]
        found, drawings = pooled_rows([result[:2] for result in results])
        found["n_imputed"] = completed.imputed_patients(found)
        frames = results[0][2]
    else:
        found, drawings, frames = _analysed(table, plan)
    kind = kind_of(pd.concat([frame.values[outcome] for frame in frames]))
    beside = tuple(name for name in frames[0].covariates if name not in exposures)
    left_out = left_out_patients(frames, exposures)
    found = decided(found, drawings, adjustment, alpha)
    drawn = found.loc[~found["reason"].str.startswith(UNDRAWN), "draws"]
    if design:
        left_out["patient"] = patients[left_out["patient"].to_numpy(dtype=int)]
    return Mediation(
        found, outcome, kind, beside,
        adjust_exposures and len(exposures) > 1, adjustment, left_out, taken,
        (*told, *notes_of(design, cluster, weights, imputations,
                          drawn.max() if draws else np.nan, interval)),
        completed,
    )  # fmt: skip


def check_patients(patients: pd.Index, design: Design | None) -> None:
    """Raise ValueError where a patient has several rows, and nothing says that they are one's."""
    if design is None and not patients.is_unique:
        twice = patients[patients.duplicated()].unique().tolist()
        raise ValueError(
            f"patients {twice[:5]} occur more than once; keep one row a patient, or name as "
            "cluster what their rows share"
        )


def _exposure_groups(
    table: pd.DataFrame, siblings: Mapping[str, Sequence[str]], adjusted: bool
) -> list[tuple[list[str], list[str]]]:
    """Return exposures that are analysed together, and the exposures beside them.

    Those that the same patients have share their draws' sums of products.
    """
    if adjusted:
        return [([own], [x for x in siblings if x != own]) for own in siblings]
    alone = [own for own, others in siblings.items() if not others]
    together: list[tuple[list[str], list[str]]] = [
        (names, []) for names, _ in complete_groups(table[alone])
    ]
    return together + [([own], list(others)) for own, others in siblings.items() if others]


def _analysed(
    table: pd.DataFrame, plan: Plan
) -> tuple[pd.DataFrame, list[Drawing], list[AnalysisFrame]]:
    """Return the rows of all pairs in order, their draws, and the patients analysed."""
    table.attrs[TYPED] = True  # imputed tables do not say so
    frames = [
        analysis_frame(table, own, plan.outcome, plan.mediators, [*plan.covariates, *beside])
        for own, beside in plan.groups
    ]
    kind = kind_of(pd.concat([frame.values[plan.outcome] for frame in frames]))
    pieces, drawings = [], []
    for frame in frames:
        for names, known in complete_groups(frame.values[list(plan.mediators)]):
            own = replace(frame, values=frame.values[known], mediators=tuple(names))
            rows, drawing = group_effects(own, kind, plan)
            drawings += [drawing] if drawing else []
            pieces.append(
                rows.assign(same_as=rows["mediator"].map(same_columns(own.values[names])))
            )
    found = pd.concat(pieces, ignore_index=True)
    exposures = [name for own, _ in plan.groups for name in own]
    order = {
        pair: i
        for i, pair in enumerate(product(sorted(exposures, key=list(table).index), plan.mediators))
    }
    place = [order[pair] for pair in zip(found["exposure"], found["mediator"], strict=True)]
    return found.iloc[np.argsort(place)].reset_index(drop=True), drawings, frames


def left_out_patients(frames: Sequence[AnalysisFrame], exposures: Sequence[str]) -> pd.DataFrame:
    """Return the patients that some exposure's analysis left out, each once for a reason."""
    whole = pd.concat(
        [frame.left_out.assign(exposure=name) for frame in frames for name in frame.exposures]
    )
    rows = []
    for (patient, reason), own in whole.groupby(["patient", "reason"], sort=False):
        only = "" if len(own) == len(exposures) else f", for exposure {', '.join(own['exposure'])}"
        rows.append((patient, reason + only))
    return pd.DataFrame(rows, columns=["patient", "reason"])
