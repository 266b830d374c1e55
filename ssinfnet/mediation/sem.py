"""Several mediators at once: the path model of J eq 15, fitted by maximum likelihood.

semopy finds the estimates and the information matrix. What it lacks or computes otherwise than
lavaan is ours: measures of fit, defined effects with their errors, and when a fit has failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from semopy import Model

from ssinfnet.mediation.collinearity import adjustment, centred, unexplained
from ssinfnet.mediation.design import FEWEST_CLUSTERS, Design, sampling_design
from ssinfnet.mediation.drawn_paths import drawn_covariances, mediator_slopes, outcome_slopes
from ssinfnet.mediation.few_patients import FEWEST
from ssinfnet.mediation.fiml import fit_full_information
from ssinfnet.mediation.fit import fit_measures
from ssinfnet.mediation.frames import analysis_frame
from ssinfnet.mediation.path_fit import (
    ESTIMATES,
    PathFit,
    effects_table,
    estimates_table,
    with_own_names,
    without_few,
)
from ssinfnet.mediation.path_syntax import Paths, formula_names
from ssinfnet.mediation.resampling import FEWEST_DRAWS, drawn_weights, percentile_interval
from ssinfnet.mediation.sandwich import robust_covariance

__all__ = ["NotConvergedError", "PathFit", "fit_paths"]

Array = NDArray[np.float64]

FLAT = 1e-5  # largest slope of the likelihood per patient that counts as its maximum
SMALLEST_EIGENVALUE = 1e-8  # of the correlation matrix


class NotConvergedError(RuntimeError):
    """The likelihood has no maximum that was reached; there are no estimates."""


def fit_paths(
    table: pd.DataFrame,
    outcome: str,
    paths: Mapping[str, Sequence[str]],
    covariates: Sequence[str] = (),
    *,
    correlated: bool = True,
    missing: Literal["complete", "fiml"] = "complete",
    cluster: str | None = None,
    draws: int = 1000,
    seed: int = 2021,
    fewest: int = FEWEST,
) -> PathFit:
    """Fit a path model: exposures to mediators, both to the outcome (J eq 15).

    Parameters
    ----------
    table : DataFrame
        One row a patient; those with a missing value are left out and counted, see `missing`.
    outcome : str
        Numbers; 0 and 1 are modelled linearly, the paper's choice.
    paths : mapping of str to sequence of str
        Mediator → the exposures that it carries. All exposures also act directly.
    covariates : sequence of str
        Act on every mediator and on the outcome; text becomes categories. Estimates, errors and
        measures of fit are those of the whole model, in which their slopes are parameters too.
    correlated : bool
        Whether what exposures leave of the mediators may be correlated; eq 15 is silent.
    missing : {"complete", "fiml"}
        Patients with all variables, or all whose exposures and covariates are known: what is
        missing of mediators and outcome then depends on what is known alone (missing at random),
        errors are those of the observed information, and there is no bootstrap (D-132).
    cluster : str, optional
        Column, or name of the index, that rows of one patient or site share: robust errors are by
        clusters, and the bootstrap draws clusters (D-88), of which it takes 8 (D-180); the classic
        errors and the measures of fit still take rows for independent.
    draws, seed : int
        Number and seed of the bootstrap's draws over patients; 0 for none.
    fewest : int
        What is of draws is missing, and a note says why, where fewer patients differ from the most
        frequent value of an exposure or mediator (D-199).

    Returns
    -------
    PathFit

    Raises
    ------
    ValueError
        If there is no mediator, if one has no exposure, if a variable follows from others, if there
        are fewer patients than parameters, and as `frames.analysis_frame` and
        `design.sampling_design` raise.
    NotConvergedError
        If the likelihood's maximum was not reached.
    """
    if not paths:
        raise ValueError("there is no mediator to put into it; name at least one with an exposure")
    if bare := [mediator for mediator, own in paths.items() if not own]:
        raise ValueError(f"each mediator needs an exposure; {bare} has none")
    exposures = list(dict.fromkeys(x for own in paths.values() for x in own))
    if missing not in ("complete", "fiml"):
        raise ValueError(f"missing must be complete or fiml, got {missing!r}")
    design = sampling_design(table, cluster, None)
    if design:  # whose rows are found again by their number
        table = table.set_axis(pd.RangeIndex(len(table)))
    frame = analysis_frame(table, exposures, outcome, list(paths), covariates)
    complete = frame.values.dropna()
    adjusted = adjustment(complete, frame.covariates)
    kept = [name for name in frame.covariates if name not in adjusted.dropped]
    names = formula_names([outcome, *exposures, *paths, *kept])
    model = Paths(
        names[outcome],
        tuple(names[x] for x in exposures),
        {names[m]: tuple(names[x] for x in own) for m, own in paths.items()},
        tuple(names[z] for z in kept),
        correlated,
    )
    variables = [outcome, *exposures, *paths]
    data = complete[variables].rename(columns=names)
    rest = pd.DataFrame(unexplained(adjusted.basis, data.to_numpy()), data.index, data.columns)
    _check(data, rest, model, names)
    if missing == "fiml":
        known = frame.whole[[*exposures, *kept]].notna().all(axis=1)
        values = frame.whole[known]
        estimates, effects, measures = _by_full_information(
            model,
            values[variables].rename(columns=names),
            values[kept],
            design.at(values.index.to_numpy()) if design else None,
        )
    else:
        values, own = complete, design.at(complete.index.to_numpy()) if design else None
        estimates, effects, measures = _by_complete_rows(
            model, data, rest, adjusted.basis, _Drawing(draws, seed, own)
        )
    shown = {safe: name for name, safe in names.items()}
    estimates, effects, notes = without_few(
        with_own_names(estimates[[*ESTIMATES]], shown), with_own_names(effects, shown),
        values, list(paths), fewest,
    )  # fmt: skip
    return PathFit(
        estimates, effects, values[exposures].corr(), measures, model.lavaan(), len(values),
        len(table) - len(values), adjusted.note, notes,
    )  # fmt: skip


@dataclass(frozen=True)
class _Drawing:
    """How often patients are drawn, or clusters where rows are not independent."""

    draws: int
    seed: int
    design: Design | None

    @property
    def number(self) -> int:
        """Draws; 0 of few clusters."""
        few = self.design is not None and self.design.number < FEWEST_CLUSTERS
        return 0 if few else self.draws

    def weights(self, n: int) -> Iterator[Array]:
        """Yield how often each of n rows is drawn, chunk by chunk."""
        return (
            self.design.drawn(self.number, self.seed)
            if self.design
            else drawn_weights(n, self.number, self.seed)
        )


def _by_full_information(
    model: Paths, data: pd.DataFrame, covariates: pd.DataFrame, design: Design | None
) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Return estimates, effects and measures of fit of rows that are partly known."""
    spread = data.std(ddof=0)
    beside = (covariates - covariates.mean()) / covariates.std(ddof=0)
    try:
        fitted = fit_full_information(
            model, (data - data.mean()) / spread, beside, design.clusters if design else None
        )
    except (ValueError, np.linalg.LinAlgError) as error:
        raise NotConvergedError(f"the path model did not converge: {error}") from error
    estimates = estimates_table(model, fitted.labels, fitted.covariances, spread, fitted.implied)
    effects = effects_table(model, fitted.labels, fitted.covariances, spread, fitted.implied)
    measures = fitted.measures.copy()
    # The likelihood is of the data as they were
    units = (data.notna().sum() * np.log(spread))[[*model.mediators, model.outcome]].sum()
    measures["log_likelihood"] -= units
    measures[["AIC", "BIC"]] += 2 * units
    return estimates, effects, measures


def _by_complete_rows(
    model: Paths, data: pd.DataFrame, rest: pd.DataFrame, basis: Array, drawing: _Drawing
) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Return estimates, effects and measures of fit of rows that are known as a whole.

    `rest` is what the basis of constant and covariates leaves of the data.
    """
    spread = rest.std(ddof=0)
    scaled = rest / spread
    fitted = _fit(model, scaled)
    sample, sigma = _with_covariates(
        (data - data.mean()) / spread, basis, _implied(fitted, list(data.columns))
    )
    labels = dict(zip(_active(fitted), fitted.param_vals, strict=True))
    classic = pd.DataFrame(np.linalg.inv(fitted.calc_fim()), list(labels), list(labels))
    robust = robust_covariance(
        model, scaled, pd.Series(labels), drawing.design.clusters if drawing.design else None
    )
    errors = {"": classic, "_robust": robust}
    estimates = estimates_table(model, labels, errors, spread, sigma)
    effects = effects_table(model, labels, errors, spread, sigma)
    if drawing.number:
        slopes = _drawn_slopes(model, basis, scaled, drawing)
        estimates["se_drawn"] = estimates["label"].map(_deviations(slopes)) * estimates["unit"]
        drawn = _drawn_effects(model, slopes, spread)
        effects["se_drawn"] = _deviations(drawn).to_numpy()
        effects["drawn_low"], effects["drawn_high"] = percentile_interval(drawn.to_numpy())
        effects["draws"] = np.isfinite(drawn.to_numpy()).sum(axis=0)
    outside = [name for name in sample if name not in (model.outcome, *model.mediators)]
    measures = fit_measures(sample, sigma, len(data), model.parameters(), outside, spread)
    return estimates, effects, measures


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
        Orthonormal columns that span constant and covariates.
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


def _deviations(drawn: pd.DataFrame) -> pd.Series:
    """Return the standard deviation of each column over the usable draws; NaN of too few."""
    usable = drawn.replace([np.inf, -np.inf], np.nan)
    return usable.std().where(usable.count() >= FEWEST_DRAWS)


def _drawn_slopes(
    model: Paths, basis: Array, scaled: pd.DataFrame, drawing: _Drawing
) -> pd.DataFrame:
    """Return the slopes in each draw, a column a label; NaN without a fit.

    `basis` is that of constant and covariates, and `scaled` what it leaves of the variables.
    """
    row = {name: number for number, name in enumerate(scaled.columns)}
    mediators, exposures = (
        [row[name] for name in own] for own in (model.mediators, model.exposures)
    )
    free = np.array([[x in own for x in model.exposures] for own in model.paths.values()])
    parts = []
    for weights in drawing.weights(len(scaled)):
        drawn = drawn_covariances(weights, basis, scaled.to_numpy())
        on_outcome = outcome_slopes(drawn, row[model.outcome], [*mediators, *exposures])
        on_mediators = mediator_slopes(drawn, mediators, exposures, free, model.correlated)
        slopes = dict(zip(((model.outcome, x) for x in (*model.mediators, *model.exposures)),
                          on_outcome.T, strict=True))  # fmt: skip
        slopes |= {
            (m, x): on_mediators[:, i, j]
            for i, m in enumerate(model.mediators)
            for j, x in enumerate(model.exposures)
        }
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
