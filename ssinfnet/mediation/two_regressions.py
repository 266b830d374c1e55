"""The effects of an exposure through a mediator, of two fitted regressions, in closed form.

VanderWeele & Vansteelandt (2009, 2010), Valeri & VanderWeele (2013, 2015); of survival VanderWeele
(2011). All of their formulas are one: with t = θ₂ + θ₃x, the slope of the mediator m in an
outcome at exposure x, a linear outcome at (x, M(x')) is θ₁x + t·E[M(x')], and any outcome on a
logarithmic scale θ₁x + log E[exp(t·M(x'))], whose expectation is known of a normal mediator, of a
binary one, and of a count. Effects are differences of these, and so are the four parts of
VanderWeele (2014, doi:10.1097/EDE.0000000000000121): what neither mediates nor interacts, what
interacts alone, what does both, and what mediates alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import block_diag
from scipy.special import expit
from scipy.stats import t as student
from statsmodels.tools.numdiff import approx_fprime

from ssinfnet.mediation.outcome_models import Regression

__all__ = ["CLOSED_FORM_EFFECTS", "FOUR_WAY_EFFECTS", "ClosedForm"]

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
    joint : ndarray of float, square, optional
        Covariance of the mediator's slopes, the variance of its residuals and the outcome's slopes,
        where rows are clustered or weighted; else the two regressions are independent.
    df : float
        Degrees of freedom of p and intervals: one less than clusters, else infinite.
    """

    to_mediator: Regression
    to_outcome: Regression
    mediator_model: str
    outcome_model: str
    interaction: bool
    contrast: tuple[float, float]
    at_mediator: float
    at_covariates: Array
    joint: Array | None = None
    df: float = np.inf

    def effects(self) -> pd.DataFrame:
        """Return the rows of `closed_form_effects`."""
        estimate, se = self._estimated(self._effects)
        found = _rows(CLOSED_FORM_EFFECTS, estimate, se, self.df)
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
        found = _rows(FOUR_WAY_EFFECTS, *self._estimated(self._four_way), self.df)
        shares = _rows(FOUR_WAY_EFFECTS, *self._estimated(self._shares), self.df)
        for name in ("estimate", "se", "low", "high"):
            found["share" if name == "estimate" else f"share_{name}"] = shares[name]
        return found

    def _estimated(self, effects: Callable[[Array], Array]) -> tuple[Array, Array]:
        """Return effects and their errors by the delta method."""
        variance = self.to_mediator.variance
        theta = np.concatenate([self.to_mediator.slopes, [variance], self.to_outcome.slopes])
        covariance = self._independent() if self.joint is None else self.joint
        # In steps of each one's error, so that units of exposure and mediator change nothing
        step = np.sqrt(np.diag(covariance))
        step[step == 0] = 1.0
        gradient = np.atleast_2d(approx_fprime(
            np.zeros(len(theta)), lambda moved: effects(theta + step * moved), centered=True
        )) / step  # fmt: skip
        return effects(theta), np.sqrt(np.einsum("ei,ij,ej->e", gradient, covariance, gradient))

    def _independent(self) -> Array:
        """Return the covariance of all parameters where rows are independent and count alike."""
        of_mediator, of_outcome = self.to_mediator, self.to_outcome
        varied = 2 * of_mediator.variance**2 / of_mediator.residual_df
        return block_diag(of_mediator.covariance, varied, of_outcome.covariance)

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


def _rows(effects: Sequence[str], estimate: Array, se: Array, df: float) -> pd.DataFrame:
    """Return effects with p and 95 % intervals."""
    reach = student.ppf(0.975, df) * se
    return pd.DataFrame(
        {"effect": effects, "estimate": estimate, "se": se,
         "p": 2 * student.sf(np.abs(np.divide(estimate, se, where=se > 0, out=0 * se)), df),
         "low": estimate - reach, "high": estimate + reach}
    )  # fmt: skip
