"""Natural direct and indirect effects on a binary or graded outcome, by their definition.

Pearl (2001): Y(x, M(x')) is the outcome at exposure x with the mediator as exposure x' would have
made it. The mediator is normal given exposure and covariates, the outcome logistic or probit, one
slope for all grades. The average over the mediator is exact for probit and by Gauss-Hermite
quadrature for logit.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm
from statsmodels.miscmodels.ordinal_model import OrderedModel
from statsmodels.tools.numdiff import approx_fprime

from ssinfnet.mediation.collinearity import (
    adjustment,
    centred,
    collinear_reason,
    independent_columns,
)
from ssinfnet.mediation.frames import analysis_frame, kind_of
from ssinfnet.mediation.resampling import drawn_weights, percentile_interval

__all__ = ["EFFECTS", "natural_effects"]

Array = NDArray[np.float64]
Link = Literal["logit", "probit"]

EFFECTS = {
    "total_indirect": "E[Y(x1, M(x1))] - E[Y(x1, M(x0))]",
    "pure_indirect": "E[Y(x0, M(x1))] - E[Y(x0, M(x0))]",
    "total_direct": "E[Y(x1, M(x1))] - E[Y(x0, M(x1))]",
    "pure_direct": "E[Y(x1, M(x0))] - E[Y(x0, M(x0))]",
    "total": "E[Y(x1, M(x1))] - E[Y(x0, M(x0))]",
    "indirect_risk_ratio": "E[Y(x1, M(x1))] / E[Y(x1, M(x0))]",
}
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(40)
NODE_WEIGHTS = NODE_WEIGHTS / NODE_WEIGHTS.sum()


@dataclass(frozen=True)
class _Data:
    """Exposure, mediator, outcome (grades from 0) and covariates of some patients."""

    x: Array
    m: Array
    y: Array
    covariates: Array  # (n, q), without constant
    interaction: bool
    link: Link

    def drawn(self, rows: NDArray[np.intp]) -> _Data:
        return _Data(self.x[rows], self.m[rows], self.y[rows], self.covariates[rows],
                     self.interaction, self.link)  # fmt: skip

    @property
    def grades(self) -> int:
        """Thresholds: 1 for a binary outcome."""
        return int(self.y.max())


def natural_effects(
    table: pd.DataFrame,
    exposure: str,
    outcome: str,
    mediator: str,
    covariates: Sequence[str] = (),
    *,
    link: Link = "logit",
    contrast: tuple[float, float] | None = None,
    interaction: bool = False,
    draws: int = 1000,
    seed: int = 2021,
) -> pd.DataFrame:
    """Estimate natural effects of one exposure through one mediator on the chance of an outcome.

    Parameters
    ----------
    table : DataFrame
        One row a patient; those with a missing value are left out.
    exposure, mediator : str
    outcome : str
        0 and 1, or grades 0, 1, 2 …, of which each reaches its chance at or above a grade.
    covariates : sequence of str
        In both models; effects are averaged over the patients'.
    link : {"logit", "probit"}
    contrast : (x0, x1), optional
        Exposures compared; by default 0 and 1 of a binary one, else its mean and one standard
        deviation above.
    interaction : bool
        Whether the mediator's slope in the outcome depends on the exposure.
    draws, seed : int
        Of the bootstrap over patients; 0 draws none.

    Returns
    -------
    DataFrame
        One row a grade and effect of `EFFECTS`: at_least (grade), effect, estimate, se (delta
        method), low and high (95 %, by it; a risk ratio's on the log scale), drawn_low and
        drawn_high (percentiles of the draws), draws (that converged), n, covariates_dropped (see
        `effects.mediate`), and reason where the models did not converge, or exposure or mediator
        follows exactly from the others, and all else is missing.

    Raises
    ------
    ValueError
        If the outcome is continuous, and as `frames.analysis_frame` raises.
    """
    if link not in ("logit", "probit"):
        raise ValueError(f"link must be logit or probit, got {link!r}")
    frame = analysis_frame(table, [exposure], outcome, [mediator], covariates)
    values = frame.values.dropna()
    kind = kind_of(values[outcome])
    if kind == "continuous":
        raise ValueError(
            f"outcome {outcome!r} is neither 0 and 1 nor grades from 0; a {link} model needs one "
            "of them; the linear model is `mediate`"
        )
    low, high = contrast if contrast is not None else _default_contrast(values[exposure])
    # Chances do not depend on units, but whether a fit converges does.
    deviation = pd.DataFrame(centred(values.to_numpy()), values.index, values.columns)
    centre, spread = values.mean(), deviation.std().replace(0, 1)
    scaled = deviation / spread
    low, high = ((x - centre[exposure]) / spread[exposure] for x in (low, high))
    data = _Data(scaled[exposure].to_numpy(), scaled[mediator].to_numpy(),
                 values[outcome].to_numpy(), scaled[list(frame.covariates)].to_numpy(),
                 interaction, link)  # fmt: skip
    result = _without_numbers(data.grades, len(values))
    try:
        data = _without_collinear(data, (exposure, mediator))
        parameters, covariance = _fit(data)
    except _NotFitted as error:
        return result.assign(reason=str(error))

    def effects(theta: Array) -> Array:
        return _effects(theta, data, low, high)

    estimate = effects(parameters)
    gradient = np.atleast_2d(approx_fprime(parameters, effects, centered=True))
    se = np.sqrt(np.einsum("ei,ij,ej->e", gradient, covariance, gradient))
    ratio = (result["effect"] == "indirect_risk_ratio").to_numpy()
    reach = norm.ppf(0.975) * se
    with np.errstate(over="ignore"):
        factor = np.exp(reach / estimate)
    result["estimate"], result["se"] = estimate, se
    result["low"] = np.where(ratio, estimate / factor, estimate - reach)
    result["high"] = np.where(ratio, estimate * factor, estimate + reach)
    if draws:
        drawn = _drawn_effects(data, low, high, draws, seed)
        result["drawn_low"], result["drawn_high"] = percentile_interval(drawn)
        result["draws"] = np.isfinite(drawn).sum(axis=0)
    return result.assign(covariates_dropped=adjustment(values, frame.covariates).note, reason="")


def _without_numbers(grades: int, n: int) -> pd.DataFrame:
    """Return the rows of a result whose numbers are missing."""
    rows = [(grade, effect) for grade in range(1, grades + 1) for effect in EFFECTS]
    result = pd.DataFrame(rows, columns=["at_least", "effect"]).assign(n=n)
    result[["estimate", "se", "low", "high", "drawn_low", "drawn_high"]] = np.nan
    return result.assign(draws=0, covariates_dropped="")


def _default_contrast(x: pd.Series) -> tuple[float, float]:
    if set(x) == {0.0, 1.0}:
        return 0.0, 1.0
    return float(x.mean()), float(x.mean() + x.std())


class _NotFitted(RuntimeError):
    """A model that has no finite maximum, or did not reach it."""


def _without_collinear(data: _Data, names: tuple[str, str] = ("exposure", "mediator")) -> _Data:
    """Return data without the covariates that add nothing to those before them.

    Raises
    ------
    _NotFitted
        If exposure, mediator or their product follows from the others.
    """
    basis, kept = independent_columns(np.column_stack([np.ones(len(data.x)), data.covariates]))
    columns = dict(zip(names, (data.x, data.m), strict=True))
    if data.interaction:
        columns["their product"] = data.x * data.m
    if reason := collinear_reason(basis, columns):
        raise _NotFitted(reason)
    return replace(data, covariates=data.covariates[:, kept[1:]])


def _fit(data: _Data) -> tuple[Array, Array]:
    """Return the parameters of both models and their covariance.

    Order: mediator's constant, exposure, covariates; its standard deviation; outcome's exposure,
    mediator, covariates, interaction; then thresholds as statsmodels fits them (the first, and the
    logarithms of the steps).
    """
    n = len(data.x)
    design = np.column_stack([np.ones(n), data.x, data.covariates])
    mediator = sm.OLS(data.m, design).fit()
    spread = float(np.sqrt(mediator.ssr / n))
    regressors = [data.x, data.m, data.covariates]
    if data.interaction:
        regressors.append(data.x * data.m)
    outcome, its_covariance = _fit_outcome(data, np.column_stack(regressors))
    parameters = np.concatenate([mediator.params, [spread], outcome])
    covariance = np.zeros((len(parameters), len(parameters)))
    q = len(mediator.params)
    covariance[:q, :q] = mediator.cov_params()
    covariance[q, q] = spread**2 / (2 * n)
    covariance[q + 1 :, q + 1 :] = its_covariance
    return parameters, covariance


def _fit_outcome(data: _Data, regressors: Array) -> tuple[Array, Array]:
    """Return slopes and thresholds with their covariance."""
    # Statsmodels' own model of grades needs three; a binary outcome is its own.
    binary = data.grades == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that fails is told below, by its result
        try:
            if binary:
                model = (sm.Logit if data.link == "logit" else sm.Probit)(
                    data.y, np.column_stack([regressors, -np.ones(len(data.y))])
                )
                fitted = model.fit(disp=0, method="newton", maxiter=50)
            else:
                model = OrderedModel(data.y.astype(int), regressors, distr=data.link)
                fitted = model.fit(disp=0, method="bfgs", maxiter=500, gtol=1e-8)
            covariance = np.asarray(fitted.cov_params())
        except (np.linalg.LinAlgError, ValueError) as error:
            raise _NotFitted(f"the {data.link} model has no finite solution ({error})") from error
    if not (fitted.mle_retvals["converged"] and np.isfinite(covariance).all()):
        raise _NotFitted(f"the {data.link} model of the outcome did not converge")
    return np.asarray(fitted.params), covariance


def _effects(theta: Array, data: _Data, low: float, high: float) -> Array:
    """Return the effects of `EFFECTS`, grade by grade."""
    chance = {(x, own): _chance(theta, data, x, own) for x in (low, high) for own in (low, high)}
    at = {
        "total_indirect": chance[high, high] - chance[high, low],
        "pure_indirect": chance[low, high] - chance[low, low],
        "total_direct": chance[high, high] - chance[low, high],
        "pure_direct": chance[high, low] - chance[low, low],
        "total": chance[high, high] - chance[low, low],
        "indirect_risk_ratio": chance[high, high] / chance[high, low],
    }
    return np.stack([at[effect] for effect in EFFECTS], axis=1).ravel()


def _chance(theta: Array, data: _Data, x: float, mediators_x: float) -> Array:
    """Return E[Y(x, M(mediators_x)) >= grade] for each grade, averaged over the patients."""
    q = data.covariates.shape[1]
    to_mediator, spread, outcome = theta[: q + 2], theta[q + 2], theta[q + 3 :]
    mean = to_mediator[0] + to_mediator[1] * mediators_x + data.covariates @ to_mediator[2:]
    slope = outcome[1] + (outcome[2 + q] * x if data.interaction else 0.0)
    first = 2 + q + data.interaction
    thresholds = np.cumsum(np.concatenate([outcome[first : first + 1],
                                           np.exp(outcome[first + 1 :])]))  # fmt: skip
    centre = outcome[0] * x + data.covariates @ outcome[2 : 2 + q] + slope * mean
    centre = centre[:, None] - thresholds
    if data.link == "probit":
        return norm.cdf(centre / np.hypot(1, slope * spread)).mean(axis=0)
    reached = expit(centre[..., None] + slope * spread * NODES) @ NODE_WEIGHTS
    return reached.mean(axis=0)


def _drawn_effects(data: _Data, low: float, high: float, draws: int, seed: int) -> Array:
    """Return the effects in each draw of patients; NaN where a model did not converge."""
    found = []
    places = np.arange(len(data.x))
    for weights in drawn_weights(len(data.x), draws, seed):
        for counted in weights:
            drawn = data.drawn(np.repeat(places, counted.astype(int)))
            effects = np.full(data.grades * len(EFFECTS), np.nan)
            if set(np.unique(drawn.y)) == set(range(data.grades + 1)):
                try:
                    drawn = _without_collinear(drawn)
                    parameters, _ = _fit(drawn)
                    effects = _effects(parameters, drawn, low, high)
                except _NotFitted:
                    pass  # counted: `draws` says how many are left
            found.append(effects)
    return np.stack(found)
