"""Effects by two regressions in closed form, for mediators and outcomes of many kinds.

What is fitted here, and what `two_regressions` makes of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ssinfnet.mediation.clustered_models import clustered_pair
from ssinfnet.mediation.collinearity import adjustment, collinear_reason
from ssinfnet.mediation.design import FEWEST_CLUSTERS, Design
from ssinfnet.mediation.frames import analysis_frame, kind_of
from ssinfnet.mediation.outcome_models import (
    NotFittedError,
    Ties,
    check_models,
    fit_regression,
    tied_events,
)
from ssinfnet.mediation.two_regressions import (
    CLOSED_FORM_EFFECTS,
    FOUR_WAY_EFFECTS,
    ClosedForm,
)

__all__ = ["CLOSED_FORM_EFFECTS", "FOUR_WAY_EFFECTS", "ClosedForm", "FittedPair",
           "closed_form_effects", "fit_closed_form"]  # fmt: skip


def closed_form_effects(
    table: pd.DataFrame,
    exposure: str,
    outcome: str,
    mediator: str,
    covariates: Sequence[str] = (),
    *,
    mediator_model: str | None = None,
    outcome_model: str | None = None,
    interaction: bool = True,
    contrast: tuple[float, float] | None = None,
    at_mediator: float | None = None,
    at_covariates: Sequence[float] | Mapping[str, float] | None = None,
    event: str | None = None,
    case_control: bool = False,
    ties: Ties = "efron",
    four_way: bool = False,
) -> pd.DataFrame:
    """Estimate controlled and natural effects of an exposure through a mediator in closed form.

    Parameters
    ----------
    table : DataFrame
        One row a patient; those with a missing value are left out.
    exposure, mediator : str
    outcome : str
        The outcome's column; of a survival model the time until event or censoring.
    covariates : sequence of str
        In both models.
    mediator_model : {"linear", "logistic", "poisson"}, optional
        By default logistic for 0 and 1, else linear.
    outcome_model : str, optional
        linear, logistic (which takes the outcome to be rare), loglinear, poisson,
        negative_binomial, cox (the event to be rare), exponential or weibull (accelerated failure
        times). By default logistic for 0 and 1, cox where `event` is given, else linear.
    interaction : bool
        Whether the mediator's slope in the outcome depends on the exposure.
    contrast : (x0, x1), optional
        Exposures compared; by default 0 and 1.
    at_mediator : float, optional
        Where the controlled direct effect holds the mediator; by default its mean, or 0 of 0 and 1.
    at_covariates : sequence of float or mapping of str to float, optional
        Values of the covariates, text by its 0/1 columns, at which effects are taken; of those that
        a mapping leaves out, and by default, their means, in a case-control study those of patients
        without the outcome.
    event : str, optional
        For a survival model: the column that is 1 where the event was seen, else 0.
    case_control : bool
        Whether patients were chosen by the outcome: the mediator's model is then fitted on those
        without it.
    ties : {"efron", "breslow"}
        How Cox's model takes events at the same time, see `outcome_models.fit_regression`; the SAS
        macro takes Breslow's method (D-107).
    four_way : bool
        Whether to divide the total effect into four parts instead, which add up to it.

    Returns
    -------
    DataFrame
        One row an effect of `CLOSED_FORM_EFFECTS`: effect, estimate, se (delta method), p, low and
        high (95 %), on the outcome's scale if it is linear, else as logarithms of a ratio, which
        stands beside as ratio, ratio_low and ratio_high (of odds, risks, rates, hazards or times);
        n; ties, by which method, of a Cox model of events at the same time; covariates_dropped; and
        reason where a model has no solution and all else is missing.
        With `four_way` one row an effect of `FOUR_WAY_EFFECTS`: the controlled direct effect with
        the mediator at `at_mediator`; reference_interaction, of the exposure with the mediator as
        it is unexposed, and so what the pure direct effect has beyond the controlled one;
        mediated_interaction, with the change that the exposure makes to the mediator; and
        pure_indirect. Below their total stand mediated and interaction, both parts of each, and
        eliminated, the total less its controlled direct part. estimate is on the outcome's scale
        if that is linear, else the excess of a ratio over 1 (of odds, risks, rates, hazards or
        times), all parts relative to the unexposed; share, share_se, share_low and share_high are
        of the total.

    Raises
    ------
    ValueError
        If a model is unknown or does not fit the values, if `event` and model do not go together,
        if `at_covariates` are others, and as `frames.analysis_frame` raises.
    """
    fitted = fit_closed_form(
        table, exposure, outcome, mediator, covariates, mediator_model=mediator_model,
        outcome_model=outcome_model, interaction=interaction, contrast=contrast,
        at_mediator=at_mediator, at_covariates=at_covariates, event=event,
        case_control=case_control, ties=ties,
    )  # fmt: skip
    if fitted.form is None:
        names = FOUR_WAY_EFFECTS if four_way else CLOSED_FORM_EFFECTS
        found = pd.DataFrame({"effect": names, "estimate": np.nan, "se": np.nan, "p": np.nan,
                              "low": np.nan, "high": np.nan})  # fmt: skip
    else:
        found = fitted.form.four_way() if four_way else fitted.form.effects()
    found = found.assign(n=len(fitted.values), **({"ties": fitted.ties} if fitted.ties else {}))
    return found.assign(covariates_dropped=fitted.note, reason=fitted.reason)


@dataclass(frozen=True)
class FittedPair:
    """The models of one exposure and mediator.

    Attributes
    ----------
    form : ClosedForm or None
        None where a model has no solution.
    values : DataFrame
        The patients of whom they are.
    note : str
        Covariates that were dropped, separated by commas.
    reason : str
        Why there is no solution.
    ties : str
        ``efron`` or ``breslow`` where Cox's model met events at the same time, else empty.
    """

    form: ClosedForm | None
    values: pd.DataFrame
    note: str
    reason: str = ""
    ties: str = ""


def fit_closed_form(
    table: pd.DataFrame,
    exposure: str,
    outcome: str,
    mediator: str,
    covariates: Sequence[str] = (),
    *,
    mediator_model: str | None = None,
    outcome_model: str | None = None,
    interaction: bool = True,
    contrast: tuple[float, float] | None = None,
    at_mediator: float | None = None,
    at_covariates: Sequence[float] | Mapping[str, float] | None = None,
    event: str | None = None,
    case_control: bool = False,
    ties: Ties = "efron",
    design: Design | None = None,
) -> FittedPair:
    """Fit the two regressions of `closed_form_effects`, which says what it takes and raises.

    `design` is of a table indexed by the number of the row: regressions are weighted, and errors
    by clusters.
    """
    names = [*covariates, *([] if event is None else [event])]
    frame = analysis_frame(table, [exposure], outcome, [mediator], names,
                           as_coded=[*[exposure] * (contrast is not None),
                                     *[outcome] * (event is not None)])  # fmt: skip
    values = frame.values.dropna()
    beside = [name for name in frame.covariates if name != event]
    mediator_model = mediator_model or _default(values[mediator])
    outcome_model = outcome_model or ("cox" if event else _default(values[outcome]))
    check_models(
        values, outcome, mediator, event, mediator_model, outcome_model, case_control, ties
    )
    adjusted = adjustment(values, beside)
    kept = [name for name in beside if name not in adjusted.dropped]
    x, m, y = (values[name].to_numpy() for name in (exposure, mediator, outcome))
    z = values[kept].to_numpy()
    if reason := collinear_reason(adjusted.basis, {exposure: x, mediator: m}):
        return FittedPair(None, values, adjusted.note, reason)
    regressors = [x, m, *[x * m] * interaction, z]
    controls = y == 0 if case_control else np.ones(len(y), dtype=bool)
    sampled = None if design is None else design.at(values.index.to_numpy())
    if sampled is not None and sampled.of_several() is not None:
        if sampled.number < FEWEST_CLUSTERS:
            reason = f"known in {sampled.number} clusters, fewer than {FEWEST_CLUSTERS}"
            return FittedPair(None, values, adjusted.note, reason)
    weights = sampled.unequal() if sampled else None
    counted = None if weights is None else weights[controls]
    to_m = np.column_stack([x, z])[controls]
    try:
        to_mediator = fit_regression(mediator_model, m[controls], to_m, weights=counted)
        to_outcome = fit_regression(
            outcome_model,
            y,
            np.column_stack(regressors),
            values[event].to_numpy() if event else None,
            ties,
            weights,
        )
    except NotFittedError as error:
        return FittedPair(None, values, adjusted.note, str(error))
    held = 0.0 if mediator_model == "logistic" else float(np.average(m, weights=weights))
    own = values.loc[controls, beside]
    means = own.mean() if counted is None else own.mul(counted, axis=0).sum() / counted.sum()
    chosen = means.to_dict()
    joint, df = None, np.inf
    if sampled is not None:
        linear = mediator_model == "linear"
        rest = m[controls] - to_mediator.slopes[0] - to_m @ to_mediator.slopes[1:]
        to_mediator, to_outcome, joint = clustered_pair(
            sampled, to_mediator, to_outcome, rest * linear, controls
        )
        df = np.inf if sampled.of_several() is None else sampled.number - 1
    if at_covariates is not None:
        chosen |= (
            at_covariates
            if isinstance(at_covariates, Mapping)
            else dict(zip(beside, at_covariates, strict=True))
        )
    if unknown := [name for name in chosen if name not in beside]:
        raise ValueError(f"at_covariates names {unknown[:5]}, which are none of {beside}")
    form = ClosedForm(
        to_mediator=to_mediator, to_outcome=to_outcome, mediator_model=mediator_model,
        outcome_model=outcome_model, interaction=interaction,
        contrast=(0.0, 1.0) if contrast is None else contrast,
        at_mediator=held if at_mediator is None else at_mediator,
        at_covariates=np.array([chosen[name] for name in kept], dtype=np.float64),
        joint=joint, df=df,
    )  # fmt: skip
    tied = event if outcome_model == "cox" else None
    used = ties if tied and tied_events(values[outcome], values[tied]) else ""
    return FittedPair(form, values, adjusted.note, ties=used)


def _default(values: pd.Series) -> str:
    return "logistic" if kind_of(values) == "binary" else "linear"
