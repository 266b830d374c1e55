"""Regressions of a mediator or an outcome by its kind, each with slopes and their covariance."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
import pandas as pd
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.linalg import eigvalsh
from statsmodels.tools.numdiff import approx_fprime

from ssinfnet.mediation.collinearity import centred
from ssinfnet.mediation.cox import cox_likelihood

__all__ = [
    "MEDIATOR_MODELS", "OUTCOME_MODELS", "SURVIVAL", "NotFittedError", "Regression", "Ties",
    "check_models", "fit_regression", "tied_events",
]  # fmt: skip

Array = NDArray[np.float64]
Ties = Literal["efron", "breslow"]

MEDIATOR_MODELS = ("linear", "logistic", "poisson")
OUTCOME_MODELS = ("linear", "logistic", "loglinear", "poisson", "negative_binomial", "cox",
                  "exponential", "weibull")  # fmt: skip
SURVIVAL = ("cox", "exponential", "weibull")
ROUNDS, FLAT = 100, 1e-9  # of Newton's method; largest slope of the likelihood a patient
SMALLEST_STEP = 1e-6  # share of Newton's own
SEPARATED = 1e-8  # mean weight of the patients who tell a slope, below which its fit runs away


class NotFittedError(RuntimeError):
    """A model that has no finite maximum, or did not reach it."""


@dataclass(frozen=True)
class Regression:
    """A fitted regression.

    Attributes
    ----------
    slopes : ndarray of float, shape (1 + regressors,)
        The constant first; 0 where the model has none.
    covariance : ndarray of float, square
        Covariance of the slopes, by maximum likelihood; by least squares of a linear model.
    variance : float
        Variance of a linear model's residuals, by its degrees of freedom; else 0.
    residual_df : int
    moved : ndarray of float, shape (n, 1 + regressors)
        By how much each row moves the slopes, to first order: its score times the inverse
        information. Sums of their squares are robust covariances (Huber 1967).
    """

    slopes: Array
    covariance: Array
    variance: float
    residual_df: int
    moved: Array = field(default_factory=lambda: np.empty((0, 0)), repr=False)


def fit_regression(
    model: str,
    response: Array,
    regressors: Array,
    event: Array | None = None,
    ties: Ties = "efron",
    weights: Array | None = None,
) -> Regression:
    """Fit a regression with a constant.

    Parameters
    ----------
    model : str
        One of `OUTCOME_MODELS`.
    response : ndarray of float, shape (n,)
        The outcome; of a survival model the time until event or censoring, above 0.
    regressors : ndarray of float, shape (n, q)
        Without the constant; none follows from the others.
    event : ndarray of float, shape (n,), optional
        For a survival model: 1 where the event was seen, 0 where the patient was censored.
    ties : {"efron", "breslow"}
        How Cox's likelihood takes events at the same time: Efron (1977, JASA 72:557), or Breslow
        (1974), which draws slopes towards 0 where many are tied (D-107). Of other models none.
    weights : ndarray of float, shape (n,), optional
        Above 0: the likelihood is weighted, by these over their mean. The covariance takes them for
        counts: errors are those of `Regression.moved`. Not of a negative binomial model.

    Raises
    ------
    NotFittedError
        If the likelihood has no finite maximum or it was not reached, response or a regressor do
        not vary, or no event was seen.
    """
    if not (model in SURVIVAL or centred(response).any()):
        raise NotFittedError(
            f"the {model} model's response does not vary among {len(response)} patients"
        )
    if not centred(regressors).any(axis=0).all():
        raise NotFittedError(
            f"a regressor of the {model} model does not vary among {len(response)} patients"
        )
    if event is not None and not event.any():
        raise NotFittedError(f"the {model} model has no event among {len(response)} patients")
    weights = None if weights is None else weights / weights.mean()
    # What is fitted does not depend on units, but whether a fit converges does
    centre, spread = regressors.mean(axis=0), regressors.std(axis=0)
    scaled = np.column_stack([np.ones(len(response)), (regressors - centre) / spread])
    back = np.diag(np.append(1.0, 1 / spread))
    back[0, 1:] = -centre / spread
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that fails is told below, by its result
        try:
            seen = np.ones(len(response)) if event is None else event
            fit = _cox(ties) if model == "cox" else FITS[model]
            found = fit(response, scaled, seen, weights)
        except (np.linalg.LinAlgError, ValueError) as error:
            raise NotFittedError(f"the {model} model has no finite solution ({error})") from error
    if not (np.isfinite(found.slopes).all() and np.isfinite(found.covariance).all()):
        raise NotFittedError(f"the {model} model did not converge")
    return replace(found, slopes=back @ found.slopes, covariance=back @ found.covariance @ back.T,
                   moved=found.moved @ back.T)  # fmt: skip


def _counted(weights: Array | None, n: int) -> Array:
    return np.ones(n) if weights is None else weights


def _linear(y: Array, design: Array, event: Array, weights: Array | None) -> Regression:
    w = _counted(weights, len(y))
    fit = sm.WLS(y, design, w).fit() if weights is not None else sm.OLS(y, design).fit()
    moved = design * (w * fit.resid)[:, None] @ fit.normalized_cov_params
    return Regression(fit.params, fit.cov_params(), float(fit.mse_resid),
                      len(y) - design.shape[1], moved)  # fmt: skip


def _generalised(family: Callable[[], sm.families.Family]) -> Callable[..., Regression]:
    def fit(y: Array, design: Array, event: Array, weights: Array | None) -> Regression:
        model = sm.GLM(y, design, family=family(), freq_weights=weights)
        found = model.fit(maxiter=200, tol=1e-12)
        if not found.converged:
            raise ValueError("it did not converge")
        # Where all have it, or none has, a fit ends as the likelihood stops rising, at any slope
        curve = -model.hessian(found.params)  # beyond all numbers where a slope ran away
        if not np.isfinite(curve).all() or eigvalsh(curve, design.T @ design)[0] < SEPARATED:
            raise ValueError("patients with and without it are separated")
        rest = _counted(weights, len(y)) * (y - found.mu)  # both links are canonical
        moved = design * rest[:, None] @ found.cov_params()
        return Regression(found.params, found.cov_params(), 0.0, len(y) - design.shape[1], moved)

    return fit


def _negative_binomial(y: Array, design: Array, event: Array, weights: Array | None) -> Regression:
    if weights is not None:
        raise ValueError("it takes no weights; a poisson model does")
    start = np.append(sm.GLM(y, design, family=sm.families.Poisson()).fit().params, 0.1)
    model = sm.NegativeBinomial(y, design)
    found = model.fit(start, method="newton", maxiter=200, disp=0)
    if not found.mle_retvals["converged"]:
        raise ValueError("it did not converge")
    q = design.shape[1]  # the dispersion comes last
    scores = approx_fprime(found.params, model.loglikeobs, centered=True)
    moved = (scores @ found.cov_params())[:, :q]
    return Regression(found.params[:q], found.cov_params()[:q, :q], 0.0, len(y) - q - 1, moved)


def _cox(ties: Ties) -> Callable[..., Regression]:
    def fit(y: Array, design: Array, event: Array, weights: Array | None) -> Regression:
        w, q = _counted(weights, len(y)), design.shape[1]

        def likelihood(theta: Array) -> tuple[float, Array, Array]:
            return cox_likelihood(theta, y, design[:, 1:], event, w, ties == "efron")

        slopes, inside, moves = _newton(likelihood, np.zeros(q - 1), len(y))
        covariance, moved = np.zeros((q, q)), np.zeros((len(y), q))
        covariance[1:, 1:], moved[:, 1:] = inside, moves
        return Regression(np.append(0.0, slopes), covariance, 0.0, len(y) - len(slopes), moved)

    return fit


def _loglinear(y: Array, design: Array, event: Array, weights: Array | None) -> Regression:
    """Fit log risks, which must stay below 0: scoring by itself steps beyond."""
    w = _counted(weights, len(y))
    start = sm.GLM(y, design, family=sm.families.Poisson()).fit().params
    start[0] -= max((design @ start).max() + 0.01, 0.0)

    def likelihood(theta: Array) -> tuple[float, Array, Array]:
        eta = design @ theta
        if eta.max() >= 0:
            return -np.inf, theta[None], np.eye(len(theta))
        risk = np.exp(eta)
        value = float(w @ (y * eta + (1 - y) * np.log1p(-risk)))
        curve = (design.T * (w * (y - 1) * risk / (1 - risk) ** 2)) @ design
        return value, design * (w * (y - risk) / (1 - risk))[:, None], curve

    theta, covariance, moved = _newton(likelihood, start, len(y))
    return Regression(theta, covariance, 0.0, len(y) - len(theta), moved)


def _accelerated(free: bool) -> Callable[..., Regression]:
    """Return the fit of log times with extreme-value errors, their scale free or 1."""

    def fit(y: Array, design: Array, event: Array, weights: Array | None) -> Regression:
        w = _counted(weights, len(y))
        time, q = np.log(y), design.shape[1]
        start = np.linalg.lstsq(design, time, rcond=None)[0]
        scale = [np.log(max((time - design @ start).std(), 1e-3))] if free else []

        def likelihood(theta: Array) -> tuple[float, Array, Array]:
            return _accelerated_likelihood(theta, time, design, event, w)

        theta, covariance, moved = _newton(likelihood, np.append(start, scale), len(y))
        return Regression(theta[:q], covariance[:q, :q], 0.0, len(y) - len(theta), moved[:, :q])

    return fit


def _accelerated_likelihood(
    theta: Array, time: Array, design: Array, event: Array, weights: Array
) -> tuple[float, Array, Array]:
    """Return log-likelihood, scores and Hessian of slopes and, if free, log scale."""
    q = design.shape[1]
    log_scale = theta[q] if len(theta) > q else 0.0
    scale = np.exp(log_scale)
    z = (time - design @ theta[:q]) / scale
    with np.errstate(over="ignore"):
        e = np.exp(z)
    rest = e - event
    scores = np.column_stack([design * rest[:, None] / scale, e * z - event * (z + 1)])
    curve = np.empty((q + 1, q + 1))
    curve[:q, :q] = -(design.T * (weights * e)) @ design / scale**2
    curve[:q, q] = curve[q, :q] = -design.T @ (weights * (e * z + rest)) / scale
    curve[q, q] = weights @ (event * z - e * z**2 - e * z)
    value = float(weights @ (event * (z - log_scale) - e))
    held = len(theta)
    return value, (scores * weights[:, None])[:, :held], curve[:held, :held]


def _newton(
    likelihood: Callable[[Array], tuple[float, Array, Array]], theta: Array, n: int
) -> tuple[Array, Array, Array]:
    """Return where a likelihood of n patients is largest, the covariance, and `Regression.moved`.

    The likelihood returns its value, the scores (n, parameters) and its Hessian.

    Raises
    ------
    ValueError
        If no maximum is reached.
    """
    for _ in range(ROUNDS):
        value, scores, curve = likelihood(theta)
        slope = scores.sum(axis=0)
        if not (np.isfinite(slope).all() and np.isfinite(curve).all()):
            break
        if np.abs(slope).max() < FLAT * n:
            covariance = np.asarray(np.linalg.inv(-curve), dtype=np.float64)
            return theta, covariance, scores @ covariance
        # Away from the maximum the likelihood may curve upwards
        least = np.linalg.eigvalsh(-curve)[0]
        damping = max(0.0, SMALLEST_STEP * n - least)
        step, share = np.linalg.solve(curve - damping * np.eye(len(theta)), slope), 1.0
        while share > SMALLEST_STEP and not likelihood(theta - share * step)[0] >= value:
            share /= 2
        theta = theta - share * step
    raise ValueError("its likelihood has no maximum that was reached")


FITS: dict[str, Callable[..., Regression]] = {
    "linear": _linear,
    "logistic": _generalised(sm.families.Binomial),
    "loglinear": _loglinear,
    "poisson": _generalised(sm.families.Poisson),
    "negative_binomial": _negative_binomial,
    "exponential": _accelerated(free=False),
    "weibull": _accelerated(free=True),
}


def tied_events(time: pd.Series, event: pd.Series) -> int:
    """Return how many events share their time with another event.

    Parameters
    ----------
    time, event : Series
        Times, and 1 where the event was seen; patients of whom either is missing do not count.
    """
    return int(time[(event == 1) & time.notna()].duplicated(keep=False).sum())


def check_models(
    values: pd.DataFrame, outcome: str, mediator: str, event: str | None, mediator_model: str,
    outcome_model: str, case_control: bool, ties: str,
) -> None:  # fmt: skip
    """Raise ValueError where models and values do not go together."""
    for model, known in ((mediator_model, MEDIATOR_MODELS), (outcome_model, OUTCOME_MODELS)):
        if model not in known:
            raise ValueError(f"a model must be one of {', '.join(known)}, got {model!r}")
    if ties not in get_args(Ties):
        raise ValueError(f"ties must be one of {', '.join(get_args(Ties))}, got {ties!r}")
    if ties != "efron" and outcome_model != "cox":
        raise ValueError(f"ties are of Cox's model; leave {ties!r} out for {outcome_model!r}")
    if (event is not None) != (outcome_model in SURVIVAL):
        raise ValueError(
            f"the models {', '.join(SURVIVAL)} need a column of events, and no other takes one; "
            f"got {outcome_model!r} with event {event!r}"
        )
    binary = {mediator: mediator_model == "logistic",
              outcome: outcome_model in ("logistic", "loglinear") or case_control}  # fmt: skip
    binary |= {} if event is None else {event: True}
    for name, needed in binary.items():
        if needed and not (name in values and set(values[name]) <= {0.0, 1.0}):  # text is not
            raise ValueError(f"{name!r} must be 0 and 1 for this model; got others")
    for role, name, model in (("outcome", outcome, outcome_model),
                              ("mediator", mediator, mediator_model)):  # fmt: skip
        counts = model in ("poisson", "negative_binomial")
        if counts and ((values[name] < 0) | (values[name] % 1 != 0)).any():
            raise ValueError(f"{role} {name!r} must hold counts for a {model} model")
    if outcome_model in SURVIVAL and (early := int((values[outcome] <= 0).sum())):
        raise ValueError(
            f"outcome {outcome!r} must hold times above 0 for a {outcome_model} model, got "
            f"{values[outcome].min():g} as the least and {early} of {len(values)} that are 0 or "
            "less; count in finer units, or as half a day what ended on day 0, and leave times "
            "that cannot be empty"
        )
