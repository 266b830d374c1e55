"""Path models on all patients, missing mediators and outcomes included, by full information.

The likelihood of each patient is that of what is known of him (Anderson 1957; Arbuckle 1996), as
lavaan's ``missing = "fiml"`` with exogenous variables fixed. It is maximised by expectation and
maximisation (Dempster, Laird & Rubin 1977), of which each step solves the path model's own
regressions. Errors come from the observed information: a patient's score is the mean of the score
that the whole row would have (Fisher's identity).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2, multivariate_normal, norm

from ssinfnet.mediation.drawn_paths import mediator_slopes, outcome_slopes
from ssinfnet.mediation.path_syntax import Paths
from ssinfnet.mediation.sandwich import squared_scores

__all__ = ["FullInformation", "fit_full_information"]

Array = NDArray[np.float64]

ROUNDS, SETTLED = 5000, 1e-10  # of the iteration; largest change of a parameter in the last
STEP = 1e-5  # of the numerical derivative of the scores


@dataclass(frozen=True)
class FullInformation:
    """A path model at its likelihood's maximum, on the scale of the data that it was given.

    Attributes
    ----------
    labels : dict
        Label → estimate, of slopes, residual variances and covariances.
    covariances : dict
        ``""`` and ``_robust`` → covariance of those estimates, square, by label.
    implied : DataFrame
        Covariance of outcome, exposures and mediators that the model implies.
    measures : Series
        The measures of `fit.fit_measures`, intercepts among the parameters; SRMR is missing.
    """

    labels: dict[str, float]
    covariances: dict[str, pd.DataFrame]
    implied: pd.DataFrame
    measures: pd.Series


@dataclass(frozen=True)
class _Patients:
    """Fixed columns, of which the first is the constant, and what is known of the others."""

    fixed: Array  # (n, q)
    values: Array  # (n, p), NaN where missing
    patterns: list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]  # known columns, their rows

    @classmethod
    def of(cls, fixed: Array, values: Array) -> _Patients:
        kinds, number = np.unique(~np.isnan(values), axis=0, return_inverse=True)
        number = number.ravel()
        return cls(fixed, values, [(kind, number == i) for i, kind in enumerate(kinds)])


@dataclass(frozen=True)
class _Layout:
    """Where a path model's free parameters stand, and which of them are shown by a label."""

    slopes: list[tuple[int, int]]  # equation, column of (fixed, endogenous)
    pairs: list[tuple[int, int]]  # of residual variances and covariances
    labels: list[str]  # "" of intercepts and slopes of covariates
    endogenous: list[str]
    exposures: int
    fixed: int
    correlated: bool

    @classmethod
    def of(cls, model: Paths, covariates: int) -> _Layout:
        endogenous = [*model.mediators, model.outcome]
        fixed = 1 + len(model.exposures) + covariates
        column = {name: 1 + number for number, name in enumerate(model.exposures)}
        column |= {name: fixed + number for number, name in enumerate(endogenous)}
        slopes, labels = [], []
        for number in range(len(endogenous)):
            beside = [0, *range(1 + len(model.exposures), fixed)]
            slopes += [(number, place) for place in beside]
            labels += [""] * len(beside)
        for (response, regressor), label in model.slopes().items():
            slopes.append((endogenous.index(response), column[regressor]))
            labels.append(label)
        pairs = [(endogenous.index(a), endogenous.index(b)) for a, b in model.covariances()]
        labels += model.covariances().values()
        return cls(slopes, pairs, labels, endogenous, len(model.exposures), fixed, model.correlated)

    def matrices(self, theta: Array) -> tuple[Array, Array]:
        """Return coefficients (p, q + p) of (fixed, endogenous), and residual covariance (p, p)."""
        p = len(self.endogenous)
        coefficients, residual = np.zeros((p, self.fixed + p)), np.zeros((p, p))
        for place, value in zip(self.slopes, theta, strict=False):
            coefficients[place] = value
        for (a, b), value in zip(self.pairs, theta[len(self.slopes) :], strict=True):
            residual[a, b] = residual[b, a] = value
        return coefficients, residual

    def theta(self, coefficients: Array, residual: Array) -> Array:
        """Return the free parameters of `matrices`."""
        return np.array(
            [
                *(coefficients[place] for place in self.slopes),
                *(residual[place] for place in self.pairs),
            ]
        )


def fit_full_information(
    model: Paths,
    data: pd.DataFrame,
    covariates: pd.DataFrame,
    clusters: NDArray[np.intp] | None = None,
) -> FullInformation:
    """Fit a path model to rows of which mediators and outcome may be missing.

    Parameters
    ----------
    model : Paths
    data : DataFrame
        Outcome, exposures and mediators, on about the same scale; exposures are known.
    covariates : DataFrame
        Known; none follows from the others.
    clusters : ndarray of int, shape (n,), optional
        Each row's, of which robust errors take account.

    Raises
    ------
    ValueError
        If the iteration does not settle.
    """
    layout = _Layout.of(model, covariates.shape[1])
    fixed = np.column_stack([np.ones(len(data)), data[list(model.exposures)], covariates])
    patients = _Patients.of(fixed, data[layout.endogenous].to_numpy())
    theta, likelihood = _maximised(layout, patients)
    scores = _scores(layout, theta, patients)
    sides = STEP * np.eye(len(theta))
    information = np.stack([
        (_scores(layout, theta - side, patients) - _scores(layout, theta + side, patients)).sum(0)
        / (2 * STEP) for side in sides
    ])  # fmt: skip
    inverse = np.linalg.inv((information + information.T) / 2)
    shown = [number for number, label in enumerate(layout.labels) if label]
    labels = [layout.labels[number] for number in shown]
    covariances = {"": inverse, "_robust": inverse @ squared_scores(scores, clusters) @ inverse}
    return FullInformation(
        dict(zip(labels, theta[shown], strict=True)),
        {
            kind: pd.DataFrame(own[np.ix_(shown, shown)], labels, labels)
            for kind, own in covariances.items()
        },
        _implied(layout, theta, fixed, model).loc[list(data), list(data)],
        _measures(layout, patients, likelihood, len(theta)),
    )


def _reduced(coefficients: Array, residual: Array) -> tuple[Array, Array]:
    """Return slopes of the endogenous on the fixed ones, and the covariance of what they leave."""
    p = len(residual)
    turned = np.linalg.inv(np.eye(p) - coefficients[:, -p:])
    return turned @ coefficients[:, :-p], turned @ residual @ turned.T


def _expected(slopes: Array, left: Array, patients: _Patients) -> tuple[Array, Array, float]:
    """Return endogenous values as expected (n, p), their covariance (n, p, p), log-likelihood."""
    mean = patients.fixed @ slopes.T
    filled, spread, likelihood = mean.copy(), np.zeros((*mean.shape, mean.shape[1])), 0.0
    for known, rows in patients.patterns:
        if not known.any():
            spread[rows] = left
            continue
        missing = ~known
        inside = left[np.ix_(known, known)]
        rest = patients.values[np.ix_(rows, known)] - mean[np.ix_(rows, known)]
        carried = np.linalg.solve(inside, left[np.ix_(known, missing)]).T
        filled[np.ix_(rows, known)] += rest
        filled[np.ix_(rows, missing)] += rest @ carried.T
        unknown = left[np.ix_(missing, missing)] - carried @ left[np.ix_(known, missing)]
        whole = np.zeros_like(left)
        whole[np.ix_(missing, missing)] = unknown
        spread[rows] = whole
        likelihood += multivariate_normal(cov=inside).logpdf(rest).sum()
    return filled, spread, float(likelihood)


def _maximised(layout: _Layout, patients: _Patients) -> tuple[Array, float]:
    """Return the parameters at which the likelihood is largest, and its logarithm."""
    p, q = len(layout.endogenous), layout.fixed
    theta = layout.theta(np.zeros((p, q + p)), np.eye(p))
    for _ in range(ROUNDS):
        filled, spread, likelihood = _expected(*_reduced(*layout.matrices(theta)), patients)
        ahead = layout.theta(*_regressions(layout, patients.fixed, filled, spread.sum(axis=0)))
        change, theta = np.abs(ahead - theta).max(), ahead
        if change < SETTLED:
            return theta, likelihood
        if not np.isfinite(change):
            break
    raise ValueError("the likelihood of the path model did not settle; fewer mediators may help")


def _regressions(
    layout: _Layout, fixed: Array, filled: Array, spread: Array
) -> tuple[Array, Array]:
    """Return coefficients and residual covariance that fit expected values best."""
    (n, q), p = fixed.shape, filled.shape[1]
    w = np.hstack([fixed, filled])
    products = w.T @ w / n
    products[q:, q:] += spread / n
    mean = products[0, 1:]
    covariance = (products[1:, 1:] - np.outer(mean, mean))[None]  # without the constant
    free = np.zeros((p - 1, q - 1), dtype=bool)
    for equation, column in layout.slopes:
        if equation < p - 1 and 0 < column < q:
            free[equation, column - 1] = True
    mediators, others = range(q - 1, q + p - 2), range(q - 1)
    coefficients = np.zeros((p, q + p))
    coefficients[:-1, 1:q] = mediator_slopes(
        covariance, mediators, others, free, layout.correlated
    )[0]
    on_outcome = outcome_slopes(covariance, q + p - 2, [*others, *mediators])[0]
    coefficients[-1, 1 : q + p - 1] = on_outcome
    own = np.hstack([np.zeros((p, q)), np.eye(p)])
    coefficients[:, 0] = (own - coefficients)[:, 1:] @ mean
    residual = (own - coefficients) @ products @ (own - coefficients).T
    residual[-1, :-1] = residual[:-1, -1] = 0
    return coefficients, residual if layout.correlated else np.diag(np.diag(residual))


def _scores(layout: _Layout, theta: Array, patients: _Patients) -> Array:
    """Return how each patient's log-likelihood changes with each parameter, (n, parameters)."""
    coefficients, residual = layout.matrices(theta)
    filled, spread, _ = _expected(*_reduced(coefficients, residual), patients)
    p, q = len(residual), layout.fixed
    w = np.hstack([patients.fixed, filled])
    own = np.hstack([np.zeros((p, q)), np.eye(p)]) - coefficients
    precision = np.linalg.inv(residual)
    u = w @ own.T @ precision
    # What is not known of a row adds its covariance to every product
    turned = precision @ own[:, q:] @ spread  # (n, p, p): of residuals with endogenous values
    squares = u[:, :, None] * u[:, None, :] + turned @ own[:, q:].T @ precision
    slopes = [
        u[:, r] * w[:, s] + (turned[:, r, s - q] if s >= q else 0.0) for r, s in layout.slopes
    ]
    pairs = [
        (squares[:, a, b] - precision[a, b]) * (0.5 if a == b else 1.0) for a, b in layout.pairs
    ]
    return np.column_stack([*slopes, *pairs])


def _implied(layout: _Layout, theta: Array, fixed: Array, model: Paths) -> pd.DataFrame:
    """Return the covariance that the model implies of exposures and endogenous variables."""
    slopes, left = _reduced(*layout.matrices(theta))
    observed = np.cov(fixed[:, 1:].T, ddof=0).reshape(layout.fixed - 1, layout.fixed - 1)
    among = slopes[:, 1:] @ observed @ slopes[:, 1:].T + left
    with_exposures = observed[: layout.exposures] @ slopes[:, 1:].T
    names = [*model.exposures, *layout.endogenous]
    whole = np.block(
        [
            [observed[: layout.exposures, : layout.exposures], with_exposures],
            [with_exposures.T, among],
        ]
    )
    return pd.DataFrame(whole, names, names)


def _measures(
    layout: _Layout, patients: _Patients, likelihood: float, parameters: int
) -> pd.Series:
    """Return measures of fit, against any covariance (saturated) and independent variables."""
    p, q = len(layout.endogenous), layout.fixed
    saturated = _saturated(patients)
    known = [column[~np.isnan(column)] for column in patients.values.T]
    independent = sum(norm.logpdf(own, own.mean(), own.std()).sum() for own in known)
    chi_square, base = 2 * (saturated - likelihood), 2 * (saturated - independent)
    base_df = p * (p - 1) // 2 + p * (q - 1)
    df = p * (p + 1) // 2 + p * q - parameters
    chi_square = max(chi_square, 0.0) if df else 0.0
    misfit, base_misfit = max(chi_square - df, 0.0), max(base - base_df, 0.0)
    worst, n = max(misfit, base_misfit), len(patients.fixed)
    return pd.Series(
        {
            "chi_square": chi_square,
            "df": df,
            "p": chi2.sf(chi_square, df) if df else np.nan,
            "CFI": 1 - misfit / worst if df and worst else 1.0,
            "TLI": (base / base_df - chi_square / df) / (base / base_df - 1) if df else 1.0,
            "RMSEA": np.sqrt(misfit / (df * n)) if df else 0.0,
            "SRMR": np.nan,
            "log_likelihood": likelihood,
            "AIC": -2 * likelihood + 2 * parameters,
            "BIC": -2 * likelihood + parameters * np.log(n),
            "parameters": parameters,
            "n": n,
        }
    )


def _saturated(patients: _Patients) -> float:
    """Return the log-likelihood of regressions on all fixed columns, any covariance left."""
    slopes: Array = np.zeros((patients.values.shape[1], patients.fixed.shape[1]))
    left = np.eye(len(slopes))
    before = -np.inf
    for _ in range(ROUNDS):
        filled, spread, likelihood = _expected(slopes, left, patients)
        slopes = np.asarray(np.linalg.lstsq(patients.fixed, filled, rcond=None)[0].T, np.float64)
        rest = filled - patients.fixed @ slopes.T
        left = (rest.T @ rest + spread.sum(axis=0)) / len(rest)
        if likelihood - before < SETTLED:
            return likelihood
        before = likelihood
    raise ValueError("the likelihood of the saturated model did not settle")
