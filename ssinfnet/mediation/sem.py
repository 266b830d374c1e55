"""Several mediators at once: the path model of J eq 15, fitted by maximum likelihood.

semopy finds the estimates and the information matrix. What it lacks or computes otherwise than
lavaan is ours: measures of fit, defined effects with their errors, and when a fit has failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm
from semopy import Model

from ssinfnet.mediation.collinearity import adjustment, centred, unexplained
from ssinfnet.mediation.drawn_paths import drawn_covariances, mediator_slopes, outcome_slopes
from ssinfnet.mediation.fit import fit_measures
from ssinfnet.mediation.frames import analysis_frame
from ssinfnet.mediation.html_tables import html_table
from ssinfnet.mediation.path_syntax import Paths, formula_names
from ssinfnet.mediation.resampling import drawn_weights, percentile_interval
from ssinfnet.mediation.sandwich import robust_covariance

__all__ = ["NotConvergedError", "PathFit", "fit_paths"]

Array = NDArray[np.float64]

FLAT = 1e-5  # largest slope of the likelihood per patient that counts as its maximum
ESTIMATES = ("lhs", "op", "rhs", "estimate", "se", "z", "p", "se_robust", "p_robust", "se_drawn",
             "standardised")  # fmt: skip
REJECTED_P, SMALLEST_CFI = 0.05, 0.95
SMALLEST_EIGENVALUE = 1e-8  # of the correlation matrix


class NotConvergedError(RuntimeError):
    """The likelihood has no maximum that was reached; there are no estimates."""


@dataclass(frozen=True)
class PathFit:
    """A fitted path model; shows itself in Jupyter.

    Attributes
    ----------
    estimates : DataFrame
        ``lhs``, ``op`` (``~`` slope, ``~~`` residual variance or covariance), ``rhs``,
        ``estimate``, ``se``, ``z`` and ``p`` of normal residuals, ``se_robust`` and ``p_robust``
        (lavaan's MLR), ``se_drawn`` (bootstrap, of slopes) and ``standardised``.
    effects : DataFrame
        ``exposure``, ``through`` (a mediator, ``all mediators``, ``direct`` or ``total``),
        ``estimate``, ``se``, ``z``, ``p``, ``se_robust`` and ``p_robust`` as above (delta method),
        ``low`` and ``high`` (95 %, robust), ``standardised``, ``se_drawn``, ``drawn_low`` and
        ``drawn_high`` (percentiles of the bootstrap) and ``draws`` that converged.
    exposures : DataFrame
        Pearson's r between the exposures, square.
    measures : Series
        See `fit_measures`.
    syntax : str
        The model in lavaan's words.
    n : int
        Patients, all with every variable.
    left_out : int
        Patients without one.
    covariates_dropped : str
        Covariates that do not vary or follow from those before them, separated by commas.
    """

    estimates: pd.DataFrame
    effects: pd.DataFrame
    exposures: pd.DataFrame
    measures: pd.Series
    syntax: str
    n: int
    left_out: int
    covariates_dropped: str

    @property
    def verdict(self) -> str:
        """``rejected: CFI …`` where the data contradict the model, else empty.

        The χ² test rejects it at 0.05, and its CFI is below 0.95 (Hu & Bentler 1999).
        """
        rejected = self.measures["p"] < REJECTED_P and self.measures["CFI"] < SMALLEST_CFI
        return f"rejected: CFI {self.measures['CFI']:.2f}" if rejected else ""

    def _repr_html_(self) -> str:
        found = self.measures
        head = (
            f"<p>{self.n} patients, {self.left_out} left out; χ² = {found['chi_square']:.2f}, "
            f"{found['df']:.0f} df, CFI {found['CFI']:.3f}, RMSEA {found['RMSEA']:.3f}, "
            f"SRMR {found['SRMR']:.3f}{'; ' + self.verdict if self.verdict else ''}</p>"
        )
        return head + html_table(self.effects) + html_table(self.estimates)


def fit_paths(
    table: pd.DataFrame,
    outcome: str,
    paths: Mapping[str, Sequence[str]],
    covariates: Sequence[str] = (),
    *,
    correlated: bool = True,
    draws: int = 1000,
    seed: int = 2021,
) -> PathFit:
    """Fit a path model: exposures to mediators, both to the outcome (J eq 15).

    Parameters
    ----------
    table : DataFrame
        One row a patient; those with a missing value are left out and counted.
    outcome : str
        Numbers; 0 and 1 are modelled linearly, the paper's choice.
    paths : mapping of str to sequence of str
        Mediator → the exposures that it carries. All exposures also act directly.
    covariates : sequence of str
        Act on every mediator and on the outcome; text becomes categories. Estimates, errors and
        measures of fit are those of the whole model, in which their slopes are parameters too.
    correlated : bool
        Whether what exposures leave of the mediators may be correlated; eq 15 is silent.
    draws, seed : int
        Of the bootstrap over patients; 0 draws none.

    Returns
    -------
    PathFit

    Raises
    ------
    ValueError
        If there is no mediator, if one has no exposure, if a variable follows from others, if there
        are fewer patients than parameters, and as `frames.analysis_frame` raises.
    NotConvergedError
        If the likelihood's maximum was not reached.
    """
    if not paths:
        raise ValueError("there is no mediator to put into it; name at least one with an exposure")
    if bare := [mediator for mediator, own in paths.items() if not own]:
        raise ValueError(f"each mediator needs an exposure; {bare} has none")
    exposures = list(dict.fromkeys(x for own in paths.values() for x in own))
    frame = analysis_frame(table, exposures, outcome, list(paths), covariates)
    values = frame.values.dropna()
    adjusted = adjustment(values, frame.covariates)
    kept = [name for name in frame.covariates if name not in adjusted.dropped]
    names = formula_names([outcome, *exposures, *paths, *kept])
    model = Paths(
        names[outcome], tuple(names[x] for x in exposures),
        {names[m]: tuple(names[x] for x in own) for m, own in paths.items()},
        tuple(names[z] for z in kept), correlated,
    )  # fmt: skip
    variables = [outcome, *exposures, *paths]
    data = values[variables].rename(columns=names)
    rest = pd.DataFrame(unexplained(adjusted.basis, data.to_numpy()), data.index, data.columns)
    _check(data, rest, model, names)
    spread = rest.std(ddof=0)
    scaled = rest / spread
    fitted = _fit(model, scaled)
    sample, sigma = _with_covariates(
        (data - data.mean()) / spread, adjusted.basis, _implied(fitted, list(data.columns))
    )
    labels = dict(zip(_active(fitted), fitted.param_vals, strict=True))
    classic = pd.DataFrame(np.linalg.inv(fitted.calc_fim()), list(labels), list(labels))
    errors = {"": classic, "_robust": robust_covariance(model, scaled, pd.Series(labels))}
    shown = {safe: name for name, safe in names.items()}
    estimates = _estimates(model, labels, errors, spread, sigma)
    effects = _effects(model, labels, errors, spread, sigma)
    if draws:
        slopes = _drawn_slopes(model, adjusted.basis, scaled, draws, seed)
        estimates["se_drawn"] = estimates["label"].map(_deviations(slopes)) * estimates["unit"]
        drawn = _drawn_effects(model, slopes, spread)
        effects["se_drawn"] = _deviations(drawn).to_numpy()
        effects["drawn_low"], effects["drawn_high"] = percentile_interval(drawn.to_numpy())
        effects["draws"] = np.isfinite(drawn.to_numpy()).sum(axis=0)
    outside = [name for name in sample if name not in (model.outcome, *model.mediators)]
    return PathFit(
        _named(estimates[[*ESTIMATES]], shown),
        _named(effects, shown),
        values[exposures].corr(),
        fit_measures(sample, sigma, len(data), model.parameters(), outside, spread),
        model.lavaan(), len(data), len(table) - len(data), adjusted.note,
    )  # fmt: skip


def _with_covariates(
    data: pd.DataFrame, basis: Array, implied: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the covariance of variables and covariates as observed, and as the model implies it.

    Each covariate acts on all that is explained, so that the model reproduces what they explain.

    Parameters
    ----------
    data : DataFrame
        The variables.
    basis : ndarray of float, shape (n, rank)
        Of constant and covariates.
    implied : DataFrame
        Covariance that the model implies of what the basis leaves of the variables.
    """
    names = [f"covariate {number}" for number in range(1, basis.shape[1])]
    beside = pd.DataFrame(basis[:, 1:] * np.sqrt(len(data)), data.index, names)
    sample = data.join(beside).cov(ddof=0)
    explained = sample.loc[data.columns, names].to_numpy()
    whole = sample.copy()
    whole.loc[data.columns, data.columns] = implied + explained @ explained.T
    return sample, whole


def _check(data: pd.DataFrame, rest: pd.DataFrame, model: Paths, names: Mapping[str, str]) -> None:
    """Raise ValueError where variables, or what the covariates leave of them, fit no model."""
    parameters = model.parameters()
    if len(data) <= parameters:
        raise ValueError(
            f"{len(data)} patients have all variables; {parameters} parameters need more of them, "
            "or fewer mediators"
        )
    shown = {safe: name for name, safe in names.items()}
    still = [shown[name] for name in data if not centred(data[name].to_numpy()).any()]
    if still:
        raise ValueError(f"{still} do not vary among the {len(data)} patients; drop them")
    if follow := [shown[name] for name in rest if rest[name].isna().any()]:
        raise ValueError(f"{follow} follow exactly from the covariates; drop them")
    vectors = np.linalg.eigh(rest.corr())
    if vectors.eigenvalues[0] < SMALLEST_EIGENVALUE:
        share = np.abs(vectors.eigenvectors[:, 0])
        alike = [shown[name] for name, own in zip(rest, share, strict=True) if own > 0.1]
        raise ValueError(
            f"the covariance is not positive definite: {alike} follow from each other; drop one"
        )


def _fit(model: Paths, data: pd.DataFrame) -> Model:
    """Return the fitted model, or raise NotConvergedError."""
    fitted = Model(model.model())
    fitted.fit(data, options={"ftol": 1e-12})
    slope = np.asarray(fitted.grad_mlw(fitted.param_vals), dtype=np.float64)
    if not (np.isfinite(fitted.param_vals).all() and np.abs(slope).max() < FLAT):
        raise NotConvergedError(
            f"the path model did not converge: the likelihood still rises by "
            f"{np.abs(slope).max():.2g} a unit; fewer mediators, or more patients, may help"
        )
    return fitted


def _active(fitted: Model) -> list[str]:
    return [name for name, parameter in fitted.parameters.items() if parameter.active]


def _implied(fitted: Model, names: list[str]) -> pd.DataFrame:
    """Return the covariance that the model implies, rows and columns in the order of `names`."""
    sigma, _ = fitted.calc_sigma()
    observed = list(fitted.vars["observed"])
    return pd.DataFrame(sigma, index=observed, columns=observed).loc[names, names]


def _tested(estimate: Array, errors: Mapping[str, Array]) -> dict[str, Array]:
    """Return estimates with their classic (named "") and robust (``_robust``) errors and p."""
    found = {"estimate": estimate}
    for kind, se in errors.items():
        z = estimate / se
        found |= {f"se{kind}": se, f"z{kind}": z, f"p{kind}": 2 * norm.sf(np.abs(z))}
    return found


def _deviations(drawn: pd.DataFrame) -> pd.Series:
    """Return the standard deviation of each column over the draws that are usable."""
    return drawn.replace([np.inf, -np.inf], np.nan).std()


def _estimates(
    model: Paths, labels: Mapping[str, float], errors: Mapping[str, pd.DataFrame],
    spread: pd.Series, sigma: pd.DataFrame,
) -> pd.DataFrame:  # fmt: skip
    """Return slopes, residual variances and covariances on the scale of the table."""
    implied = np.sqrt(np.diag(sigma.to_numpy()))
    deviation = dict(zip(sigma.index, implied, strict=True))
    residual = {a: labels[label] for (a, b), label in model.covariances().items() if a == b}
    rows = []
    for (y, x), label in model.slopes().items():
        unit = spread[y] / spread[x]
        rows.append((y, "~", x, label, unit, deviation[x] / deviation[y]))
    for (a, b), label in model.covariances().items():
        unit = spread[a] * spread[b]
        by = deviation[a] ** 2 if a == b else np.sqrt(residual[a] * residual[b])
        rows.append((a, "~~", b, label, unit, 1 / by))
    table = pd.DataFrame(rows, columns=["lhs", "op", "rhs", "label", "unit", "standard"])
    found = table["label"].map(labels)
    se = {kind: np.sqrt(table["label"].map(pd.Series(np.diag(own), own.index))) * table["unit"]
          for kind, own in errors.items()}  # fmt: skip
    table = table.assign(**_tested(found * table["unit"], se), se_drawn=np.nan)
    table["standardised"] = found * table["standard"]
    return table


def _effects(
    model: Paths, labels: Mapping[str, float], errors: Mapping[str, pd.DataFrame],
    spread: pd.Series, sigma: pd.DataFrame,
) -> pd.DataFrame:  # fmt: skip
    """Return specific, summed, direct and total effects with delta-method errors."""
    rows, gradients = [], []
    y_deviation = np.sqrt(sigma.loc[model.outcome, model.outcome])
    for x, through, products in model.defined():
        slope = pd.Series(0.0, index=list(model.slopes().values()))
        for product in products:
            for label in product:
                slope[label] += np.prod([labels[other] for other in product if other != label])
        value = sum(np.prod([labels[label] for label in product]) for product in products)
        unit = spread[model.outcome] / spread[x]
        standard = np.sqrt(sigma.loc[x, x]) / y_deviation
        rows.append((x, through, value * unit, unit, value * standard))
        gradients.append(slope.to_numpy() * unit)
    table = pd.DataFrame(rows, columns=["exposure", "through", "estimate", "unit", "standardised"])
    gradient = np.stack(gradients)
    own = slope.index
    se = {kind: np.sqrt(np.einsum("ei,ij,ej->e", gradient, all_of.loc[own, own], gradient))
          for kind, all_of in errors.items()}  # fmt: skip
    table = table.assign(**_tested(table["estimate"].to_numpy(), se), draws=0)
    reach = norm.ppf(0.975) * table["se_robust"]
    table["low"], table["high"] = table["estimate"] - reach, table["estimate"] + reach
    table[["se_drawn", "drawn_low", "drawn_high"]] = np.nan
    return table[["exposure", "through", "estimate", "se", "z", "p", "se_robust", "p_robust",
                  "low", "high", "standardised", "se_drawn", "drawn_low", "drawn_high",
                  "draws"]]  # fmt: skip


def _drawn_slopes(
    model: Paths, basis: Array, scaled: pd.DataFrame, draws: int, seed: int
) -> pd.DataFrame:
    """Return the slopes in each draw of patients, a column a label; NaN without a fit.

    `basis` is that of constant and covariates, and `scaled` what it leaves of the variables.
    """
    row = {name: number for number, name in enumerate(scaled.columns)}
    mediators, exposures = (
        [row[name] for name in own] for own in (model.mediators, model.exposures)
    )
    free = np.array([[x in own for x in model.exposures] for own in model.paths.values()])
    parts = []
    for weights in drawn_weights(len(scaled), draws, seed):
        drawn = drawn_covariances(weights, basis, scaled.to_numpy())
        on_outcome = outcome_slopes(drawn, row[model.outcome], [*mediators, *exposures])
        on_mediators = mediator_slopes(drawn, mediators, exposures, free, model.correlated)
        slopes = dict(zip(((model.outcome, x) for x in (*model.mediators, *model.exposures)),
                          on_outcome.T, strict=True))  # fmt: skip
        slopes |= {(m, x): on_mediators[:, i, j] for i, m in enumerate(model.mediators)
                   for j, x in enumerate(model.exposures)}  # fmt: skip
        parts.append(pd.DataFrame({own: slopes[pair] for pair, own in model.slopes().items()}))
    return pd.concat(parts, ignore_index=True)


def _drawn_effects(model: Paths, slopes: pd.DataFrame, spread: pd.Series) -> pd.DataFrame:
    """Return the effects in each draw, from `_drawn_slopes`, in the order of `Paths.defined`."""
    return pd.DataFrame(
        {
            number: sum(slopes[list(product)].prod(axis=1, skipna=False) for product in products)
            * (spread[model.outcome] / spread[x])
            for number, (x, _, products) in enumerate(model.defined())
        }
    )


def _named(table: pd.DataFrame, shown: Mapping[str, str]) -> pd.DataFrame:
    """Return the table with the columns' own names."""
    words = [name for name in ("lhs", "rhs", "exposure", "through") if name in table]
    return table.assign(**{name: table[name].map(lambda v: shown.get(v, v)) for name in words})
