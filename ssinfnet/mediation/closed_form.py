"""Effects by two regressions in closed form, for mediators and outcomes of many kinds.

VanderWeele & Vansteelandt (2009, 2010), Valeri & VanderWeele (2013, 2015); of survival VanderWeele
(2011). All of their formulas are one: with t = θ₂ + θ₃x, the slope of the mediator m in an
outcome at exposure x, a linear outcome at (x, M(x')) is θ₁x + t·E[M(x')], and any outcome on a
logarithmic scale θ₁x + log E[exp(t·M(x'))], whose expectation is known of a normal mediator, of a
binary one, and of a count. Effects are differences of these, and so are the four parts of
VanderWeele (2014, doi:10.1097/EDE.0000000000000121): what neither mediates nor interacts, what
interacts alone, what does both, and what mediates alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm
from statsmodels.tools.numdiff import approx_fprime

from ssinfnet.mediation.collinearity import adjustment, collinear_reason
from ssinfnet.mediation.frames import analysis_frame, kind_of
from ssinfnet.mediation.outcome_models import (
    NotFittedError,
    Regression,
    Ties,
    check_models,
    fit_regression,
    tied_events,
)

__all__ = ["CLOSED_FORM_EFFECTS", "FOUR_WAY_EFFECTS", "ClosedForm", "FittedPair",
           "closed_form_effects", "fit_closed_form"]  # fmt: skip

Array = NDArray[np.float64]

CLOSED_FORM_EFFECTS = ("controlled_direct", "pure_direct", "pure_indirect", "total_direct",
                       "total_indirect", "total", "proportion_mediated")  # fmt: skip
EXPECTED: dict[str, Callable[[float], float]] = {  # a mediator, of its linear predictor
    "linear": float,
    "logistic": expit,
    "poisson": np.exp,
}
FOUR_WAY_EFFECTS = ("controlled_direct", "reference_interaction", "mediated_interaction",
                    "pure_indirect", "total", "mediated", "interaction", "eliminated")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ClosedForm:
    """Two fitted regressions, and what their effects compare.

    Attributes
    ----------
    to_mediator : Regression
        Constant, exposure, covariates.
    to_outcome : Regression
        Constant, exposure, mediator, their product where `interaction`, covariates.
    mediator_model, outcome_model : str
        Names in `MEDIATOR_MODELS` and `OUTCOME_MODELS`.
    interaction : bool
    contrast : (x0, x1)
        Exposures compared.
    at_mediator : float
        Value at which the controlled direct effect holds the mediator.
    at_covariates : ndarray of float, shape (covariates,)
        Values at which the effects are taken.
    """

    to_mediator: Regression
    to_outcome: Regression
    mediator_model: str
    outcome_model: str
    interaction: bool
    contrast: tuple[float, float]
    at_mediator: float
    at_covariates: Array

    def effects(self) -> pd.DataFrame:
        """Return the rows of `closed_form_effects`."""
        estimate, se = self._estimated(self._effects)
        found = _rows(CLOSED_FORM_EFFECTS, estimate, se)
        if self.outcome_model != "linear":
            ratios = found["effect"] != "proportion_mediated"
            for name, source in (
                ("ratio", "estimate"),
                ("ratio_low", "low"),
                ("ratio_high", "high"),
            ):
                found[name] = np.exp(found[source].where(ratios))
        return found

    def four_way(self) -> pd.DataFrame:
        """Return the rows of `closed_form_effects` with `four_way`."""
        found = _rows(FOUR_WAY_EFFECTS, *self._estimated(self._four_way))
        shares = _rows(FOUR_WAY_EFFECTS, *self._estimated(self._shares))
        for name in ("estimate", "se", "low", "high"):
            found["share" if name == "estimate" else f"share_{name}"] = shares[name]
        return found

    def _estimated(self, effects: Callable[[Array], Array]) -> tuple[Array, Array]:
        """Return effects and their errors by the delta method."""
        q, variance = len(self.to_mediator.slopes), self.to_mediator.variance
        theta = np.concatenate([self.to_mediator.slopes, [variance], self.to_outcome.slopes])
        covariance = np.zeros((len(theta), len(theta)))
        covariance[:q, :q] = self.to_mediator.covariance
        covariance[q, q] = 2 * variance**2 / self.to_mediator.residual_df
        covariance[q + 1 :, q + 1 :] = self.to_outcome.covariance
        # In steps of each one's error, so that units of exposure and mediator change nothing
        step = np.sqrt(np.diag(covariance))
        step[step == 0] = 1.0
        gradient = np.atleast_2d(approx_fprime(
            np.zeros(len(theta)), lambda moved: effects(theta + step * moved), centered=True
        )) / step  # fmt: skip
        return effects(theta), np.sqrt(np.einsum("ei,ij,ej->e", gradient, covariance, gradient))

    def _outcome(self, theta: Array) -> Callable[[float, float | None], float]:
        """Return the outcome at an exposure and the mediator that another exposure gives.

        Its logarithm unless the outcome is linear, and less what the covariates add; without
        another exposure the mediator is held at `at_mediator`.
        """
        q = len(self.to_mediator.slopes)
        beta, variance, outcome = theta[:q], theta[q], theta[q + 1 :]
        product = outcome[3] if self.interaction else 0.0

        def at(x: float, mediators_x: float | None) -> float:
            slope = outcome[2] + product * x
            if mediators_x is None:
                return float(outcome[1] * x + slope * self.at_mediator)
            mean = beta[0] + beta[1] * mediators_x + beta[2:] @ self.at_covariates
            if self.outcome_model == "linear":
                return float(outcome[1] * x + slope * EXPECTED[self.mediator_model](mean))
            if self.mediator_model == "logistic":
                odds = np.logaddexp(0, slope + mean) - np.logaddexp(0, mean)
                return float(outcome[1] * x + odds)
            if self.mediator_model == "poisson":
                return float(outcome[1] * x + np.exp(mean) * np.expm1(slope))
            return float(outcome[1] * x + slope * mean + slope**2 * variance / 2)

        return at

    def _effects(self, theta: Array) -> Array:
        """Return `CLOSED_FORM_EFFECTS`; logarithms of ratios unless the outcome is linear."""
        at, (low, high) = self._outcome(theta), self.contrast
        controlled = at(high, None) - at(low, None)
        pure_direct = at(high, low) - at(low, low)
        pure_indirect = at(low, high) - at(low, low)
        total_direct = at(high, high) - at(low, high)
        total_indirect = at(high, high) - at(high, low)
        total = at(high, high) - at(low, low)
        with np.errstate(divide="ignore", invalid="ignore"):
            mediated = (
                np.divide(total_indirect, total)
                if self.outcome_model == "linear"
                else np.divide(np.exp(pure_direct) * np.expm1(total_indirect), np.expm1(total))
            )
        return np.array(
            [controlled, pure_direct, pure_indirect, total_direct, total_indirect, total, mediated]
        )

    def _four_way(self, theta: Array) -> Array:
        """Return `FOUR_WAY_EFFECTS`; excess relative risks unless the outcome is linear."""
        at, (low, high) = self._outcome(theta), self.contrast
        reference = at(low, low)

        def excess(x: float, mediators_x: float | None) -> float:
            apart = at(x, mediators_x) - reference
            return apart if self.outcome_model == "linear" else float(np.expm1(apart))

        controlled = excess(high, None) - excess(low, None)
        alone, indirect, total = excess(high, low), excess(low, high), excess(high, high)
        both = total - alone - indirect
        return np.array([controlled, alone - controlled, both, indirect, total, both + indirect,
                         alone - controlled + both, total - controlled])  # fmt: skip

    def _shares(self, theta: Array) -> Array:
        """Return `FOUR_WAY_EFFECTS` as shares of the total."""
        parts = self._four_way(theta)
        with np.errstate(divide="ignore", invalid="ignore"):
            return parts / parts[FOUR_WAY_EFFECTS.index("total")]


def _rows(effects: Sequence[str], estimate: Array, se: Array) -> pd.DataFrame:
    """Return effects with p and 95 % intervals."""
    reach = norm.ppf(0.975) * se
    return pd.DataFrame(
        {"effect": effects, "estimate": estimate, "se": se,
         "p": 2 * norm.sf(np.abs(np.divide(estimate, se, where=se > 0, out=0 * se))),
         "low": estimate - reach, "high": estimate + reach}
    )  # fmt: skip


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
) -> FittedPair:
    """Fit the two regressions of `closed_form_effects`, which says what it takes and raises."""
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
    try:
        to_mediator = fit_regression(mediator_model, m[controls], np.column_stack([x, z])[controls])
        to_outcome = fit_regression(
            outcome_model,
            y,
            np.column_stack(regressors),
            values[event].to_numpy() if event else None,
            ties,
        )
    except NotFittedError as error:
        return FittedPair(None, values, adjusted.note, str(error))
    held = 0.0 if mediator_model == "logistic" else float(m.mean())
    chosen = values.loc[controls, beside].mean().to_dict()
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
    )  # fmt: skip
    tied = event if outcome_model == "cox" else None
    used = ties if tied and tied_events(values[outcome], values[tied]) else ""
    return FittedPair(form, values, adjusted.note, ties=used)


def _default(values: pd.Series) -> str:
    return "logistic" if kind_of(values) == "binary" else "linear"
