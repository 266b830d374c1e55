"""Natural direct and indirect effects on outcomes and through mediators of any kind, by definition.

Pearl (2001): Y(x, M(x')) is the outcome at exposure x with the mediator as exposure x' would have
made it. Given exposure and covariates the mediator is normal, binary or a count; the outcome
logistic or probit (one slope for all grades), linear or a count.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm
from statsmodels.tools.numdiff import approx_fprime

from ssinfnet.mediation.collinearity import adjustment, centred, collinear_reason
from ssinfnet.mediation.design import FEWEST_CLUSTERS, Design, sampling_design
from ssinfnet.mediation.few_patients import FEWEST, few_of_pairs
from ssinfnet.mediation.frames import analysis_frame, kind_of
from ssinfnet.mediation.natural_models import (
    LINKS,
    MEDIATORS,
    Link,
    MediatorModel,
    NaturalData,
    expected_outcomes,
    fit_models,
    without_collinear,
)
from ssinfnet.mediation.outcome_models import NotFittedError
from ssinfnet.mediation.resampling import FEWEST_DRAWS, drawn_weights, percentile_interval

__all__ = ["EFFECTS", "default_contrast", "natural_effects"]

Array = NDArray[np.float64]

EFFECTS = {
    "total_indirect": "E[Y(x1, M(x1))] - E[Y(x1, M(x0))]",
    "pure_indirect": "E[Y(x0, M(x1))] - E[Y(x0, M(x0))]",
    "total_direct": "E[Y(x1, M(x1))] - E[Y(x0, M(x1))]",
    "pure_direct": "E[Y(x1, M(x0))] - E[Y(x0, M(x0))]",
    "total": "E[Y(x1, M(x1))] - E[Y(x0, M(x0))]",
    "indirect_risk_ratio": "E[Y(x1, M(x1))] / E[Y(x1, M(x0))]",
    "proportion_mediated": "total_indirect / total",
}


def natural_effects(
    table: pd.DataFrame,
    exposure: str,
    outcome: str,
    mediator: str,
    covariates: Sequence[str] = (),
    *,
    link: Link | None = None,
    mediator_model: MediatorModel | None = None,
    contrast: tuple[float, float] | None = None,
    interaction: bool = False,
    held: Mapping[str, float] | None = None,
    cluster: str | None = None,
    draws: int = 1000,
    seed: int = 2021,
    fewest: int = FEWEST,
) -> pd.DataFrame:
    """Estimate natural effects of one exposure through one mediator.

    Parameters
    ----------
    table : DataFrame
        One row a patient; those with a missing value are left out.
    exposure, mediator : str
    outcome : str
        0 and 1, or grades in a row such as 0, 1, 2 or 1, 2, 3, of which each but the lowest has its
        chance at or above it; any number for a linear link, counts for poisson.
    covariates : sequence of str
        In both models; effects are averaged over the patients'.
    link : {"logit", "probit", "linear", "poisson"}, optional
        Link of the outcome's model; by default logit for 0 and 1 and grades, else linear.
    mediator_model : {"normal", "logistic", "poisson"}, optional
        By default logistic for 0 and 1, else normal.
    contrast : (x0, x1), optional
        Exposures compared; by default 0 and 1 of a binary one, else its mean and one standard
        deviation above.
    interaction : bool
        Whether the mediator's slope in the outcome depends on the exposure.
    held : mapping of str to float, optional
        Covariate, text by its 0/1 columns → value that it has for everybody while effects are
        averaged. The other contrasts of a category are held at 0, as nobody has two levels (D-178).
    cluster : str, optional
        Column, or name of the index, that rows of one patient or site share: the bootstrap draws
        clusters, and errors and both intervals are its, for the delta method takes rows for
        independent (D-88). Of fewer than 8 clusters they are missing (D-180).
    draws, seed : int
        Number and seed of the bootstrap's draws over patients; 0 for none.
    fewest : int
        What is of draws is missing, and the reason says why, where fewer patients differ from the
        most frequent value of exposure or mediator (D-199).

    Returns
    -------
    DataFrame
        One row a grade and effect of `EFFECTS`: at_least (grade; missing for a linear link and
        counts), effect, estimate, se (delta method), low and high (95 %, by it; a ratio's on the
        log scale, missing for a linear link, as a mean may be below 0), drawn_low and
        drawn_high (percentiles of the draws), draws (that converged), n, covariates_dropped (see
        `effects.mediate`), and reason where the models did not converge, or exposure or mediator
        follows exactly from the others, and all else is missing, or where draws say too little.

    Raises
    ------
    ValueError
        If link or model do not fit the values, `held` names no covariate, and as
        `frames.analysis_frame` and `design.sampling_design` raise.
    """
    for name, given, known in (
        ("link", link, LINKS),
        ("mediator_model", mediator_model, MEDIATORS),
    ):
        if given not in (None, *known):
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {given!r}")
    design = sampling_design(table, cluster, None)
    if design:  # whose rows are found again by their number
        table = table.set_axis(pd.RangeIndex(len(table)))
    frame = analysis_frame(table, [exposure], outcome, [mediator], covariates,
                           as_coded=[exposure] if contrast is not None else ())  # fmt: skip
    held = held or {}
    if unknown := [name for name in held if name not in frame.covariates]:
        raise ValueError(f"held names {unknown[:5]}, which are none of {list(frame.covariates)}")
    values = frame.values.dropna()
    link = link or ("linear" if kind_of(values[outcome]) == "continuous" else "logit")
    binary = kind_of(values[mediator]) == "binary"
    mediator_model = mediator_model or ("logistic" if binary else "normal")
    _check(values, outcome, mediator, link, mediator_model)
    lowest = float(values[outcome].min())
    if link in ("logit", "probit"):  # grades are counted from the lowest (D-192)
        values = values.assign(**{outcome: values[outcome] - lowest})
    low, high = contrast if contrast is not None else default_contrast(values[exposure])
    # Chances do not depend on units, but whether a fit converges does.
    deviation = pd.DataFrame(centred(values.to_numpy()), values.index, values.columns)
    centre, spread = values.mean(), deviation.std().replace(0, 1)
    scaled = deviation / spread
    low, high = ((x - centre[exposure]) / spread[exposure] for x in (low, high))
    m = scaled if mediator_model == "normal" else values
    y = scaled if link == "linear" else values
    at = np.array(
        [(held.get(name, np.nan) - centre[name]) / spread[name] for name in frame.covariates]
    )
    data = NaturalData(scaled[exposure].to_numpy(), m[mediator].to_numpy(), y[outcome].to_numpy(),
                       scaled[list(frame.covariates)].to_numpy(), interaction, link,
                       mediator_model, at)  # fmt: skip
    unit = float(spread[outcome]) if link == "linear" else 1.0
    result = _without_numbers(data, len(values))
    if link in ("logit", "probit"):
        result["at_least"] += int(lowest)
    adjusted = adjustment(values, frame.covariates)
    used = {name: values[name].to_numpy() for name in (exposure, mediator, outcome)}
    if link == "linear" and (why := collinear_reason(adjusted.basis, used)):
        return result.assign(reason=why)
    try:
        data = without_collinear(data, (exposure, mediator))
        parameters, covariance = fit_models(data)
    except NotFittedError as error:
        return result.assign(reason=str(error))

    def effects(theta: Array) -> Array:
        return _effects(theta, data, low, high, unit)

    estimate = effects(parameters)
    own = design.at(values.index.to_numpy()) if design else None
    few = ""
    if draws:
        clusters = own.of_several() if own else None
        pairs = few_of_pairs(values, {exposure: ()}, [mediator], fewest, clusters)
        few = pairs[exposure, mediator]
    draws = 0 if few else draws
    if own:
        drawn = _drawn_effects(data, low, high, unit, draws, seed, own)
        return _with_draws(result, estimate, drawn).assign(
            covariates_dropped=adjusted.note, reason=few
        )
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
        drawn = _drawn_effects(data, low, high, unit, draws, seed)
        result["drawn_low"], result["drawn_high"] = percentile_interval(drawn)
        result["draws"] = np.isfinite(drawn).sum(axis=0)
    return result.assign(covariates_dropped=adjusted.note, reason=few)


def _without_numbers(data: NaturalData, n: int) -> pd.DataFrame:
    """Return the rows of a result whose numbers are missing."""
    rows = [(grade, effect) for grade in range(1, data.grades + 1) for effect in EFFECTS]
    result = pd.DataFrame(rows, columns=["at_least", "effect"]).assign(n=n)
    if data.link in ("linear", "poisson"):
        result["at_least"] = np.nan
    result[["estimate", "se", "low", "high", "drawn_low", "drawn_high"]] = np.nan
    return result.assign(draws=0, covariates_dropped="")


def _check(
    values: pd.DataFrame, outcome: str, mediator: str, link: str, mediator_model: str
) -> None:
    """Raise ValueError where a model does not fit the values."""
    counted = {outcome: link == "poisson", mediator: mediator_model == "poisson"}
    for name, needed in counted.items():
        if needed and ((values[name] < 0) | (values[name] % 1 != 0)).any():
            raise ValueError(f"{name!r} must hold counts for a poisson model")
    if link in ("logit", "probit") and kind_of(values[outcome]) == "continuous":
        raise ValueError(
            f"outcome {outcome!r} is neither 0 and 1 nor grades in a row; a {link} model needs one "
            "of them; the linear model is `mediate`, or the link linear"
        )
    if mediator_model == "logistic" and not set(values[mediator]) <= {0.0, 1.0}:
        raise ValueError(f"mediator {mediator!r} must be 0 and 1 for a logistic model")


def default_contrast(x: pd.Series) -> tuple[float, float]:
    """Return 0 and 1 of a binary exposure, else its mean and one standard deviation above."""
    if set(x) == {0.0, 1.0}:
        return 0.0, 1.0
    return float(x.mean()), float(x.mean() + x.std())


def _effects(theta: Array, data: NaturalData, low: float, high: float, unit: float) -> Array:
    """Return the effects of `EFFECTS`, grade by grade; differences in units of the outcome."""
    chance = {
        (x, own): expected_outcomes(theta, data, x, own) for x in (low, high) for own in (low, high)
    }
    at = {
        "total_indirect": chance[high, high] - chance[high, low],
        "pure_indirect": chance[low, high] - chance[low, low],
        "total_direct": chance[high, high] - chance[low, high],
        "pure_direct": chance[high, low] - chance[low, low],
        "total": chance[high, high] - chance[low, low],
    }
    at = {effect: difference * unit for effect, difference in at.items()}
    with np.errstate(divide="ignore", invalid="ignore"):
        at["indirect_risk_ratio"] = (
            np.full(1, np.nan) if data.link == "linear" else chance[high, high] / chance[high, low]
        )
        at["proportion_mediated"] = at["total_indirect"] / at["total"]
    return np.stack([at[effect] for effect in EFFECTS], axis=1).ravel()


def _with_draws(result: pd.DataFrame, estimate: Array, drawn: Array) -> pd.DataFrame:
    """Return a result whose errors and intervals are those of draws of clusters."""
    result["estimate"] = estimate
    enough = np.isfinite(drawn).sum(axis=0) >= FEWEST_DRAWS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of effects without any usable draw
        result["se"] = np.where(enough, np.nanstd(drawn, axis=0, ddof=1), np.nan)
    result["drawn_low"], result["drawn_high"] = percentile_interval(drawn)
    return result.assign(
        low=result["drawn_low"], high=result["drawn_high"], draws=np.isfinite(drawn).sum(axis=0)
    )


def _drawn_effects(
    data: NaturalData, low: float, high: float, unit: float, draws: int, seed: int,
    clusters: Design | None = None,
) -> Array:  # fmt: skip
    """Return the effects in each draw of patients or clusters; NaN where a model has no fit."""
    found: list[Array] = [np.empty((0, data.grades * len(EFFECTS)))]
    places = np.arange(len(data.x))
    if clusters is None:
        drawing = drawn_weights(len(data.x), draws, seed)
    else:
        drawing = clusters.drawn(draws if clusters.number >= FEWEST_CLUSTERS else 0, seed)
    for weights in drawing:
        for counted in weights:
            drawn = data.drawn(np.repeat(places, counted.astype(int)))
            effects = np.full(data.grades * len(EFFECTS), np.nan)
            graded = data.link in ("logit", "probit")
            if not graded or set(np.unique(drawn.y)) == set(range(data.grades + 1)):
                try:
                    drawn = without_collinear(drawn)
                    parameters, _ = fit_models(drawn)
                    effects = _effects(parameters, drawn, low, high, unit)
                except NotFittedError:
                    pass  # counted: `draws` says how many are left
            found.append(effects[None])
    return np.concatenate(found)
