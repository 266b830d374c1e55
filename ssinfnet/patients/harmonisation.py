"""Phenotypes freed of what their hospital or scanner adds: ComBat, with covariates kept.

Johnson, Li & Rabinovic (2007), Biostatistics 8:118; for images Fortin et al. (2017), NeuroImage
161:149. A phenotype of a patient at site i is α + Xβ + σ (γᵢ + δᵢ ε): γᵢ and δᵢ, what the site adds
and how it scales, are shrunk towards what the site does to all phenotypes, and taken out; the
covariates' part Xβ stays. Values agree with those of R's sva.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from ssinfnet.study.config import HarmonisationConfig

__all__ = ["ComBat", "Harmonised", "fit_combat", "harmonised", "site_effects"]

Floats = NDArray[np.float64]
Table = TypeVar("Table", pd.Series, pd.DataFrame)
FEWEST = 2  # patients of a site, from which a variance is estimated
SETTLED, ROUNDS = 1e-10, 1000  # relative change at which the iteration ends, and its bound


@dataclass(frozen=True)
class ComBat:
    """The effects of the sites, fitted, which `apply` takes out of any patients' phenotypes.

    Attributes
    ----------
    level : DataFrame, one row a phenotype
        ``mean`` (α), ``deviation`` (σ) and a slope (β) for each covariate.
    shift, scale : DataFrame, one row a site, one column a phenotype
        γ and δ, in standard deviations.
    reasons : dict
        Phenotype → why it is left as it is.
    """

    level: pd.DataFrame
    shift: pd.DataFrame
    scale: pd.DataFrame
    reasons: dict[str, str]

    def apply(
        self, values: pd.DataFrame, site: pd.Series, covariates: pd.DataFrame | None = None
    ) -> pd.DataFrame:
        """Return phenotypes without their sites' part; those of held-out patients as well.

        Parameters
        ----------
        values : DataFrame
            One row a patient, one column a phenotype, NaN where it is unknown.
        site : Series
            Site of each patient, on the same index; NaN where it is unknown, which makes the
            patient's phenotypes NaN.
        covariates : DataFrame or None
            Covariates on the same index, with the columns of the fit; a NaN does the same.

        Raises
        ------
        ValueError
            If a site was not in the fit, a covariate is missing, or patients have none of either.
        """
        names = list(self.level.columns[2:])
        site = _names_of_sites(site, values.index)
        if unseen := sorted(set(site.dropna()) - set(self.shift.index)):
            raise ValueError(
                f"sites {unseen} were not fitted; those fitted: {list(self.shift.index)}"
            )
        x = _covariates(covariates, names, values.index)
        known = site.notna() & x.notna().all(axis=1)
        result = values.astype("float64").where(known, axis=0)
        columns = self.level.index
        given = result.loc[known, columns].to_numpy()
        expected = (
            self.level["mean"].to_numpy() + x[known].to_numpy() @ self.level[names].to_numpy().T
        )
        deviation = self.level["deviation"].to_numpy()
        shift, scale = (
            table.loc[site[known], columns].to_numpy() for table in (self.shift, self.scale)
        )
        standard = (given - expected) / deviation
        result.loc[known, columns] = (standard - shift) / scale * deviation + expected
        return result


def fit_combat(
    values: pd.DataFrame,
    site: pd.Series,
    covariates: pd.DataFrame | None = None,
) -> ComBat:
    """Learn what each site adds to phenotypes and how it scales them, from training patients alone.

    Parameters
    ----------
    values : DataFrame
        One row a patient, one column a phenotype; NaN where it is unknown, which leaves the patient
        out of that phenotype's fit.
    site : Series
        Hospital or scanner of each patient, of the same index; patients without one are left out.
    covariates : DataFrame or None
        Numbers whose part in the phenotypes is kept; patients without one are left out.

    Returns
    -------
    ComBat

    Raises
    ------
    ValueError
        If there are fewer than two sites, one with fewer than two patients, covariates from which
        the site follows, or patients who are not in site or covariates.
    """
    names = [] if covariates is None else list(covariates.columns)
    site = _names_of_sites(site, values.index)
    x = _covariates(covariates, names, values.index)
    known = site.notna() & x.notna().all(axis=1)
    site, x = site[known], x[known].to_numpy()
    sites = sorted(site.unique())
    sizes = site.value_counts()
    if len(sites) < 2 or sizes.min() < FEWEST:
        raise ValueError(
            f"ComBat needs two sites or more of {FEWEST} patients or more each, got "
            f"{sizes.sort_index().to_dict()}; join small sites to others, or leave them out"
        )
    design = np.column_stack([*(site == name for name in sites), x]).astype(np.float64)
    if np.linalg.matrix_rank(design) < design.shape[1]:
        raise ValueError(f"sites and covariates {names} follow from each other; leave some out")
    levels, standard, reasons = {}, {}, {}
    for name, column in values[known].items():
        y = column.to_numpy(np.float64)
        if reason := _unfit(y, design, len(sites)):
            reasons[name] = reason
        else:
            levels[name], standard[name] = _standardised(y, design, len(sites))
    level = pd.DataFrame.from_dict(levels, orient="index", columns=["mean", "deviation", *names])
    z = np.array([*standard.values()]).reshape(len(standard), len(site))
    effects = [_shrunk(z[:, site == name]) for name in sites]
    shift, scale = (
        pd.DataFrame(list(part), sites, level.index) for part in zip(*effects, strict=True)
    )
    return ComBat(level, shift, scale, reasons)


def _covariates(
    covariates: pd.DataFrame | None, names: Sequence[str], index: pd.Index
) -> pd.DataFrame:
    given = pd.DataFrame(index=index) if covariates is None else covariates
    if missing := [name for name in names if name not in given]:
        raise ValueError(f"covariates {missing} of the fit are not given")
    return _in_order(given[list(names)], index, "covariates").astype("float64")


def _names_of_sites(site: pd.Series, index: pd.Index) -> pd.Series:
    """Return sites as text, whole numbers without a point, in the patients' order."""

    def text(own: object) -> str:
        return str(int(own)) if isinstance(own, float) and own.is_integer() else str(own)

    return _in_order(site.map(text, na_action="ignore"), index, "site")


def _in_order(given: Table, index: pd.Index, name: str) -> Table:
    """Return what is given of patients in their order; ValueError where some are not in it."""
    if given.index.equals(index):
        return given
    if not given.index.is_unique or not index.isin(given.index).all():
        raise ValueError(f"{name} must have each patient of the phenotypes once, by their index")
    return given.reindex(index)


def _unfit(y: Floats, design: Floats, sites: int) -> str:
    """Return why a phenotype is left as it is, or nothing."""
    known = np.isfinite(y)
    groups = [y[known & (design[:, i] == 1)] for i in range(sites)]
    if min(map(len, groups)) < FEWEST:
        return f"a site has fewer than {FEWEST} patients with it"
    if any(np.ptp(group) == 0 for group in groups):
        return "it does not vary within a site"
    if np.linalg.matrix_rank(design[known]) < design.shape[1]:
        return "sites and covariates follow from each other where it is known"
    return ""


def _standardised(y: Floats, design: Floats, sites: int) -> tuple[list[float], Floats]:
    """Return mean, deviation and slopes of a phenotype, and its standardised values."""
    known = np.isfinite(y)
    rows = design[known]
    coefficients = np.linalg.lstsq(rows, y[known], rcond=None)[0]
    deviation = np.sqrt(np.mean((y[known] - rows @ coefficients) ** 2))
    mean = rows[:, :sites].mean(axis=0) @ coefficients[:sites]
    slopes = coefficients[sites:]
    standard = (y - mean - design[:, sites:] @ slopes) / deviation
    return [mean, deviation, *slopes], standard


def _shrunk(z: Floats) -> tuple[Floats, Floats]:
    """Return shift and scale of one site, shrunk by empirical Bayes (Johnson et al., eq 3.1).

    Parameters
    ----------
    z : ndarray, shape (phenotypes, patients of the site)
        Standardised; NaN where unknown.
    """
    if not len(z):
        return np.empty(0), np.empty(0)
    n = np.isfinite(z).sum(axis=1)
    raw_shift, raw_variance = np.nanmean(z, axis=1), np.nanvar(z, axis=1, ddof=1)
    if len(z) == 1:  # nothing to learn from: nothing is shrunk
        return raw_shift, np.sqrt(raw_variance)
    prior_mean, prior_variance = raw_shift.mean(), raw_shift.var(ddof=1)

    def shrunk(variance: Floats) -> Floats:
        weight = n * prior_variance / (n * prior_variance + variance)
        return weight * raw_shift + (1 - weight) * prior_mean

    # The inverse gamma distribution that has the variances' mean and variance.
    mean = raw_variance.mean()
    spread = max(raw_variance.var(ddof=1), mean**2 * SETTLED)
    a, b = mean**2 / spread + 2, mean**3 / spread + mean
    shift, variance = raw_shift, raw_variance
    for _ in range(ROUNDS):
        new_shift = shrunk(variance)
        squares = np.nansum((z - new_shift[:, None]) ** 2, axis=1)
        new_variance = (b + squares / 2) / (n / 2 + a - 1)
        change = max(_change(new_shift, shift), _change(new_variance, variance))
        shift, variance = new_shift, new_variance
        if change < SETTLED:
            break
    return shift, np.sqrt(variance)


def _change(new: Floats, old: Floats) -> float:
    return float(np.max(np.abs(new - old) / np.maximum(np.abs(old), SETTLED)))


def site_effects(
    values: pd.DataFrame, site: pd.Series, covariates: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return what sites do to each phenotype, beside the covariates.

    Parameters
    ----------
    values, site, covariates
        As for `fit_combat`.

    Returns
    -------
    DataFrame
        Indexed by phenotype: ``n`` patients; ``r2``, the share of the variance that covariates
        leave and sites explain (partial η²); ``p`` of the F test of all sites; ``spread``, the
        largest standard deviation of a site over the smallest. NaN where they are not defined.
    """
    names = [] if covariates is None else list(covariates.columns)
    site, x = _names_of_sites(site, values.index), _covariates(covariates, names, values.index)
    known = site.notna() & x.notna().all(axis=1)
    of_site = pd.get_dummies(site[known], dtype=float).to_numpy()
    ones, given = np.ones((int(known.sum()), 1)), x[known].to_numpy()
    rows = {}
    for name, column in values[known].items():
        y = column.to_numpy(np.float64)
        here = np.isfinite(y)
        rows[name] = _f_test(y[here], np.hstack([ones, given])[here], of_site[here])
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["n", "r2", "p", "spread"])
    return table.rename_axis("phenotype").astype({"n": int})


def _f_test(y: Floats, base: Floats, of_site: Floats) -> tuple[int, float, float, float]:
    full = np.hstack([base, of_site])
    few, many = (int(np.linalg.matrix_rank(one)) if len(y) else 0 for one in (base, full))
    if len(y) <= many or few == many or np.ptp(y) == 0:
        return len(y), np.nan, np.nan, np.nan
    residuals = [y - one @ np.linalg.lstsq(one, y, rcond=None)[0] for one in (base, full)]
    alone, beside = (float(part @ part) for part in residuals)
    spreads = [residuals[1][group == 1].std(ddof=1) for group in of_site.T if group.sum() > 1]
    known = len(spreads) > 1 and min(spreads) > 0
    spread = max(spreads) / min(spreads) if known else np.nan
    if beside == 0:
        return len(y), 1.0, 0.0, spread
    f = (alone - beside) / (many - few) / (beside / (len(y) - many))
    return len(y), (alone - beside) / alone, float(stats.f.sf(f, many - few, len(y) - many)), spread


class Harmonised(NamedTuple):
    """Phenotypes after harmonisation, and what sites did to them before and do after."""

    values: pd.DataFrame
    effects: pd.DataFrame


def harmonised(
    values: pd.DataFrame, patients: pd.DataFrame, config: HarmonisationConfig | None
) -> Harmonised:
    """Harmonise the phenotypes of a study's patients, where its settings ask for it (D-126).

    Parameters
    ----------
    values : DataFrame
        Patient means, indexed by patient.
    patients : DataFrame
        From `clinical.read_patients`: ``hospital`` and covariates, indexed by patient.
    config : HarmonisationConfig or None
        None: phenotypes stay, and the table has sites' effects before alone.

    Returns
    -------
    Harmonised
        ``effects`` has a row a phenotype: n, r2, p and spread ``before`` and ``after``, and
        ``reason`` why a phenotype stayed as it was. It is empty with fewer than two sites.
    """
    chosen = config or HarmonisationConfig()
    known = patients.reindex(values.index)
    site, covariates = known["hospital"], known[list(chosen.covariates)]
    if site.nunique() < 2:
        return Harmonised(values, pd.DataFrame(columns=["phenotype", *_columns(config)]))
    before = site_effects(values, site, covariates).add_suffix("_before")
    if config is None:
        return Harmonised(values, before.reset_index())
    fitted = fit_combat(values, site, covariates)
    cleaned = fitted.apply(values, site, covariates)
    after = site_effects(cleaned, site, covariates).add_suffix("_after")
    reasons = pd.Series(fitted.reasons, dtype="str").reindex(before.index).fillna("")
    table = before.join(after.drop(columns="n_after")).assign(reason=reasons)
    return Harmonised(cleaned, table.reset_index())


def _columns(config: HarmonisationConfig | None) -> list[str]:
    before = [f"{name}_before" for name in ("n", "r2", "p", "spread")]
    after = [f"{name}_after" for name in ("r2", "p", "spread")]
    return before if config is None else [*before, *after, "reason"]
