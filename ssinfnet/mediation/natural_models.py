"""What natural effects are computed from: models of mediator and outcome, and E[Y(x, M(x'))]."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import norm, poisson
from statsmodels.miscmodels.ordinal_model import OrderedModel

from ssinfnet.mediation.collinearity import collinear_reason, independent_columns
from ssinfnet.mediation.outcome_models import NotFittedError, fit_regression

__all__ = ["LINKS", "MEDIATORS", "NaturalData", "expected_outcomes", "fit_models",
           "without_collinear"]  # fmt: skip

Array = NDArray[np.float64]
Link = Literal["logit", "probit", "linear", "poisson"]
MediatorModel = Literal["normal", "logistic", "poisson"]

LINKS = ("logit", "probit", "linear", "poisson")
MEDIATORS = ("normal", "logistic", "poisson")
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(40)
NODE_WEIGHTS = NODE_WEIGHTS / NODE_WEIGHTS.sum()
BEYOND = 1e-9  # chance of a count above those that are summed
LARGEST_EXPONENT = 700.0  # of a count's expectation


@dataclass(frozen=True)
class NaturalData:
    """Exposure, mediator, outcome and covariates of some patients, and how they are modelled.

    Attributes
    ----------
    x, m, y : ndarray of float, shape (n,)
        y holds grades from 0 for logit and probit.
    covariates : ndarray of float, shape (n, q)
        Without constant.
    interaction : bool
    link : str
        Link of the outcome's model, a name in `LINKS`.
    mediator : str
        Kind of the mediator's model, a name in `MEDIATORS`.
    held : float, or ndarray of float of shape (q,)
        Values at which covariates are held while effects are averaged; NaN for each patient's own.
    """

    x: Array
    m: Array
    y: Array
    covariates: Array
    interaction: bool
    link: Link
    mediator: MediatorModel = "normal"
    held: Array | float = np.nan

    def drawn(self, rows: NDArray[np.intp]) -> NaturalData:
        """Return the data of some patients, each as often as named."""
        return replace(
            self, x=self.x[rows], m=self.m[rows], y=self.y[rows], covariates=self.covariates[rows]
        )

    @property
    def grades(self) -> int:
        """Thresholds of the outcome: 1 unless it has several grades."""
        return int(self.y.max()) if self.link in ("logit", "probit") else 1


def without_collinear(
    data: NaturalData, names: tuple[str, str] = ("exposure", "mediator")
) -> NaturalData:
    """Return data without the covariates that add nothing to those before them.

    Raises
    ------
    NotFittedError
        If exposure, mediator or their product follows from the others.
    """
    basis, kept = independent_columns(np.column_stack([np.ones(len(data.x)), data.covariates]))
    columns = dict(zip(names, (data.x, data.m), strict=True))
    if data.interaction:
        columns["their product"] = data.x * data.m
    if reason := collinear_reason(basis, columns):
        raise NotFittedError(reason)
    held = np.broadcast_to(data.held, len(kept) - 1)[kept[1:]]
    return replace(data, covariates=data.covariates[:, kept[1:]], held=held)


def fit_models(data: NaturalData) -> tuple[Array, Array]:
    """Return the parameters of both models and their covariance.

    Order: mediator's constant, exposure, covariates; its standard deviation, 0 unless it is normal;
    outcome's exposure, mediator, covariates, interaction; then thresholds as statsmodels fits them
    (the first, and the logarithms of the steps), of linear and Poisson models less the constant.

    Raises
    ------
    NotFittedError
        If a likelihood has no finite maximum, or it was not reached.
    """
    n = len(data.x)
    model = "linear" if data.mediator == "normal" else data.mediator
    mediator = fit_regression(model, data.m, np.column_stack([data.x, data.covariates]))
    spread = float(np.sqrt(mediator.variance * mediator.residual_df / n))
    regressors = [data.x, data.m, data.covariates]
    if data.interaction:
        regressors.append(data.x * data.m)
    outcome, its_covariance = _fit_outcome(data, np.column_stack(regressors))
    parameters = np.concatenate([mediator.slopes, [spread], outcome])
    covariance = np.zeros((len(parameters), len(parameters)))
    q = len(mediator.slopes)
    covariance[:q, :q] = mediator.covariance
    covariance[q, q] = spread**2 / (2 * n)
    covariance[q + 1 :, q + 1 :] = its_covariance
    return parameters, covariance


def _fit_outcome(data: NaturalData, regressors: Array) -> tuple[Array, Array]:
    """Return slopes and thresholds with their covariance."""
    if data.link in ("linear", "poisson"):
        fit = fit_regression(data.link, data.y, regressors)
        turned = np.append(fit.slopes[1:], -fit.slopes[0])
        sign = np.append(np.ones(len(turned) - 1), -1.0)
        covariance = np.roll(np.roll(fit.covariance, -1, axis=0), -1, axis=1)
        return turned, covariance * np.outer(sign, sign)
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
            raise NotFittedError(
                f"the {data.link} model has no finite solution ({error})"
            ) from error
    if not (fitted.mle_retvals["converged"] and np.isfinite(covariance).all()):
        raise NotFittedError(f"the {data.link} model of the outcome did not converge")
    return np.asarray(fitted.params), covariance


def expected_outcomes(theta: Array, data: NaturalData, x: float, mediators_x: float) -> Array:
    """Return E[Y(x, M(mediators_x))], averaged over the patients.

    Of grades it is the chance at or above each. The average over the mediator is exact for binary
    ones and counts, and for normal ones in probit and linear models; else by Gauss-Hermite
    quadrature.

    Parameters
    ----------
    theta : ndarray of float
        From `fit_models`.
    data : NaturalData
    x, mediators_x : float

    Returns
    -------
    ndarray of float, shape (grades,)
    """
    covariates = np.where(np.isnan(data.held), data.covariates, data.held)
    q = covariates.shape[1]
    to_mediator, spread, outcome = theta[: q + 2], theta[q + 2], theta[q + 3 :]
    mean = to_mediator[0] + to_mediator[1] * mediators_x + covariates @ to_mediator[2:]
    slope = outcome[1] + (outcome[2 + q] * x if data.interaction else 0.0)
    first = 2 + q + data.interaction
    thresholds = np.cumsum(
        np.concatenate([outcome[first : first + 1], np.exp(outcome[first + 1 :])])
    )
    without = (outcome[0] * x + covariates @ outcome[2 : 2 + q])[:, None] - thresholds
    if data.mediator == "normal" and data.link == "probit":
        centre = without + (slope * mean)[:, None]
        return norm.cdf(centre / np.hypot(1, slope * spread)).mean(axis=0)
    values, weights = _distribution(data.mediator, mean, spread)
    reached = _response(without[..., None] + (slope * values)[:, None, :], data.link)
    return (reached * weights[:, None, :]).sum(axis=2).mean(axis=0)


def _distribution(kind: MediatorModel, mean: Array, spread: float) -> tuple[Array, Array]:
    """Return values of each patient's mediator, and their chances; a first axis of 1 is of all."""
    if kind == "normal":
        return mean[:, None] + spread * NODES, NODE_WEIGHTS[None]
    if kind == "logistic":
        chance = expit(mean)[:, None]
        return np.array([[0.0, 1.0]]), np.hstack([1 - chance, chance])
    rate = np.exp(mean)[:, None]
    values = np.arange(poisson.isf(BEYOND, rate.max()) + 1)[None]
    return values, poisson.pmf(values, rate)


def _response(linear: Array, link: Link) -> Array:
    if link == "linear":
        return linear
    if link == "poisson":
        return np.exp(np.minimum(linear, LARGEST_EXPONENT))
    return expit(linear) if link == "logit" else norm.cdf(linear)
