"""The whole analysis of a table: single and joint effects, path model, what they depend on.

What single functions of this room answer is asked here in one order, of one table, with the same
covariates, so that a page can be made of it (`report.mediation_page`). What an analysis cannot be
made of is said with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ssinfnet.mediation.analysed_table import AnalysedTable, analysed_table
from ssinfnet.mediation.closed_form import closed_form_effects
from ssinfnet.mediation.directions import mediating_directions
from ssinfnet.mediation.effects import mediate
from ssinfnet.mediation.frames import chosen_columns, default_covariates, kind_of
from ssinfnet.mediation.imputation import missing_patterns
from ssinfnet.mediation.imputed_effects import pooled_natural, pooled_rho
from ssinfnet.mediation.joint import joint_mediators
from ssinfnet.mediation.measurement_error import check_reliability, corrected_effects
from ssinfnet.mediation.natural import default_contrast, natural_effects
from ssinfnet.mediation.path_fit import PathFit
from ssinfnet.mediation.patient_files import read_patients_table
from ssinfnet.mediation.results import Mediation
from ssinfnet.mediation.selection import correlations, filter_correlated
from ssinfnet.mediation.sem import NotConvergedError, fit_paths
from ssinfnet.mediation.sensitivity import e_value, effect_over_rho, vanishing_rho

__all__ = ["MediationAnalysis", "analyse"]

MOST_PATHS = 6  # mediators of a path model
MOST_PAIRS = 12  # of which natural effects and sensitivity are asked
FEWEST_DIRECTIONS = 4  # mediators, of which components say less than they do
INDEPENDENT = "made of independent rows that count alike, which clustered or weighted ones are not"
OF_CHOICES = (
    "not made of imputed tables, which would differ in the mediators that it chooses; without "
    "imputations it is made of the patients who have them"
)
OF_MEASURED = "made of values measured with an error, which imputed ones are not"
BINARY = "imputed values of a mediator of 0 and 1 are numbers, which its logistic model refuses"
NOBODY = "no mediator passes the criterion or the joint test"


@dataclass(frozen=True, kw_only=True)
class MediationAnalysis:
    """All that was asked of a table.

    Attributes
    ----------
    effects : Mediation
        Single mediators, see `effects.mediate`.
    patterns : DataFrame
        Of missing values, see `imputation.missing_patterns`.
    chosen : DataFrame
        Which mediators the filter of correlated ones keeps, see `selection.filter_correlated`.
    r : DataFrame
        Correlations of the mediators that pass, square.
    paths : PathFit or None
    natural : DataFrame
        Natural effects of the pairs that pass, with E-values of risk ratios.
    four_way : DataFrame
        Their total effects in four parts, see `closed_form.closed_form_effects`; no rows without
        interaction.
    rho : DataFrame
        See `sensitivity.vanishing_rho`.
    curves : dict of str to DataFrame
        Pair → effect over the correlation of errors, see `sensitivity.indirect_at_rho`.
    joint : DataFrame
        See `joint.joint_mediators`, exposure first.
    directions : DataFrame
        See `directions.mediating_directions`, exposure first.
    corrected : DataFrame
        See `measurement_error.corrected_effects`, exposure first; no rows without reliabilities.
    reasons : dict of str to str
        Of these → why there is nothing.
    asked : dict
        What was asked: source, rows, exposures, outcome, mediators, covariates and options.
    """

    effects: Mediation
    patterns: pd.DataFrame
    chosen: pd.DataFrame
    r: pd.DataFrame
    paths: PathFit | None
    natural: pd.DataFrame
    four_way: pd.DataFrame
    rho: pd.DataFrame
    curves: dict[str, pd.DataFrame]
    joint: pd.DataFrame
    directions: pd.DataFrame
    corrected: pd.DataFrame
    reasons: dict[str, str]
    asked: dict[str, Any]

    def _repr_html_(self) -> str:
        return self.effects._repr_html_()


def analyse(
    table: pd.DataFrame | Path | str,
    exposures: Sequence[str],
    outcome: str,
    mediators: Sequence[str],
    covariates: Sequence[str] | None = None,
    *,
    patient: str | None = None,
    sheet: str | None = None,
    interaction: bool = False,
    reliability: Mapping[str, float] | None = None,
    **options: Any,
) -> MediationAnalysis:
    """Analyse a table as a whole.

    Parameters
    ----------
    table : DataFrame or path
        One row a patient; a path as `patient_files.read_patients_table` reads it.
    exposures, mediators : sequence of str
        Columns, or patterns such as ``ggo_*``.
    outcome : str
    covariates : sequence of str, optional
        By default the hospital, centre or site of a table with several (D-90).
    patient, sheet : str, optional
        Of a path: the column that names the patients, the sheet of a workbook.
    interaction : bool
        Whether the mediator's slope in the outcome of natural effects depends on the exposure, and
        total effects are divided into four parts.
    reliability : mapping of str to float, optional
        Mediator → share of its variance that is not error; their effects are corrected.
    **options
        Of `effects.mediate`.

    Raises
    ------
    ValueError, FileNotFoundError
        As `effects.mediate` and `patient_files.read_patients_table` raise.
    """
    source = (table.attrs.get("source", "a table") if isinstance(table, pd.DataFrame)
              else Path(table).name)  # fmt: skip
    if not isinstance(table, pd.DataFrame):
        codes = [options["cluster"]] if options.get("cluster") else []
        table = read_patients_table(Path(table), patient, sheet, codes)
    exposures, mediators = (chosen_columns(table, own) if not isinstance(own, str) else own
                            for own in (exposures, mediators))  # fmt: skip
    if covariates is None:
        covariates = default_covariates(table, [*exposures, outcome, *mediators])
    check_reliability(reliability or {}, mediators)
    effects = mediate(table, exposures, outcome, mediators, covariates, **options)
    own = analysed_table(table, exposures, outcome, mediators, covariates, options,
                         effects.completed)  # fmt: skip
    passing = effects.table[
        effects.table["mediator_by_criterion"] | effects.table["mediator_by_joint_test"]
    ].sort_values("p_indirect", kind="stable")
    independent = options.get("cluster") is None and options.get("weights") is None
    found = (_further(own, passing, interaction, reliability or {}, options) if independent
             else _nothing(own, ("chosen", "paths", "natural", "rho", "joint", "directions",
                                 "corrected"), INDEPENDENT))  # fmt: skip
    used = [*dict.fromkeys([*exposures, outcome, *covariates, *mediators])]
    asked = {
        "source": source, "rows": len(table), "exposures": list(exposures), "outcome": outcome,
        "mediators": list(mediators), "covariates": list(covariates), "interaction": interaction,
        "reliability": dict(reliability or {}), **options,
    }  # fmt: skip
    return MediationAnalysis(effects=effects, patterns=missing_patterns(table, used),
                             reasons=own.reasons, asked=asked, **found)  # fmt: skip


def _nothing(own: AnalysedTable, names: Sequence[str], reason: str) -> dict[str, Any]:
    """Return empty results, and say why of each."""
    own.reasons |= dict.fromkeys(names, reason)
    empty = {name: pd.DataFrame() for name in ("chosen", "r", "natural", "four_way", "rho",
                                               "joint", "directions", "corrected")}  # fmt: skip
    return empty | {"paths": None, "curves": {}}


def _further(
    own: AnalysedTable, passing: pd.DataFrame, interaction: bool, reliability: Mapping[str, float],
    options: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Return what is asked beyond single mediators."""
    found = _nothing(own, (), "")
    found |= _joint(own, options)
    if reliability and own.imputed:
        own.reasons["corrected"] = OF_MEASURED
    elif reliability:
        found["corrected"] = own.of_each("corrected", lambda x: corrected_effects(
            own.values, x, own.outcome, reliability, own.beside[x],
            draws=options.get("draws", 2000), seed=options.get("seed", 2021)))  # fmt: skip
    else:
        own.reasons["corrected"] = "no reliability of a mediator was given"
    if passing.empty:
        own.reasons |= dict.fromkeys(("chosen", "paths", "natural", "rho"), NOBODY)
        return found
    size = passing.groupby("mediator", sort=False)["indirect_standardised"]
    shared = list(next(iter(own.beside.values()))) if len(own.beside) == 1 else [
        name for name in next(iter(own.beside.values())) if name not in own.beside]  # fmt: skip
    found["chosen"] = filter_correlated(own.values, size.apply(lambda e: e.abs().max()),
                                        covariates=shared)  # fmt: skip
    found["r"] = correlations(own.values, list(found["chosen"]["mediator"]), shared)
    kept = found["chosen"].loc[found["chosen"]["kept"], "mediator"].tolist()
    found["paths"] = _paths(own, passing, kept, options)
    pairs = list(passing[["exposure", "mediator"]].head(MOST_PAIRS).itertuples(index=False))
    found["natural"] = pd.concat([_natural(own, x, m, interaction) for x, m in pairs],
                                 ignore_index=True)  # fmt: skip
    if interaction:
        found["four_way"] = pd.concat([_four_way(own, x, m) for x, m in pairs], ignore_index=True)
    found["rho"] = pd.concat([_rho(own, x, m) for x, m in pairs], ignore_index=True)
    standardised = passing.set_index(["exposure", "mediator"])["indirect_standardised"]
    found["curves"] = _curves(found["rho"], standardised)
    return found


def _joint(own: AnalysedTable, options: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Return the joint analysis of all mediators, and their directions."""
    seed, draws = options.get("seed", 2021), min(options.get("draws", 2000), 2000)
    found = {"joint": pd.DataFrame(), "directions": pd.DataFrame()}
    if len(own.mediators) < 2:
        own.reasons |= dict.fromkeys(found, "there is one mediator")
        return found
    if own.imputed:
        own.reasons |= dict.fromkeys(found, OF_CHOICES)
        return found
    found["joint"] = own.of_each("joint", lambda x: joint_mediators(
        own.values, x, own.outcome, own.mediators, own.beside[x], seed=seed))  # fmt: skip
    if len(own.mediators) < FEWEST_DIRECTIONS:
        own.reasons["directions"] = f"there are fewer than {FEWEST_DIRECTIONS} mediators"
        return found
    found["directions"] = own.of_each(
        "directions",
        lambda x: (
            mediating_directions(
                own.values, x, own.outcome, own.mediators, own.beside[x], draws=draws, seed=seed
            ).effects
        ),
    )
    return found  # fmt: skip


def _paths(
    own: AnalysedTable, passing: pd.DataFrame, kept: list[str], options: Mapping[str, Any]
) -> PathFit | None:
    """Fit the path model of the mediators that pass, the strongest first.

    Exposures beside which a pair was analysed, and that carry no effect, are covariates: without
    the other levels of a category its contrast would be against all of them.
    """
    paths: dict[str, tuple[str, ...]] = {}
    for row in passing[passing["mediator"].isin(kept)].itertuples():
        if row.mediator in paths or len(paths) < MOST_PATHS:
            paths[row.mediator] = (*paths.get(row.mediator, ()), row.exposure)
    carried = dict.fromkeys(x for exposures in paths.values() for x in exposures)
    beside = dict.fromkeys(z for x in carried for z in own.beside[x] if z not in carried)
    try:
        return fit_paths(
            own.values, own.outcome, paths, list(beside), seed=options.get("seed", 2021),
            draws=min(options.get("draws", 1000), 1000),
            missing="fiml" if options.get("imputations") else "complete",
        )  # fmt: skip
    except (ValueError, NotConvergedError) as error:
        own.reasons["paths"] = str(error)
        return None


def _natural(own: AnalysedTable, exposure: str, mediator: str, interaction: bool) -> pd.DataFrame:
    """Return natural effects of a pair by the delta method, E-values beside risk ratios."""
    tables, beside = own.completed(exposure)
    x, m = (own.values.loc[own.values[own.outcome].notna(), name] for name in (exposure, mediator))
    try:
        if own.imputed and m.isna().any() and kind_of(m) == "binary":
            raise ValueError(BINARY)
        results = [
            natural_effects(
                table, exposure, own.outcome, mediator, beside, interaction=interaction, draws=0,
                contrast=default_contrast(x.dropna()) if own.imputed else None,
                link="linear" if own.linear else None,
                held=dict.fromkeys(own.siblings[exposure], 0.0),
            )
            for table in tables
        ]  # fmt: skip
    except ValueError as error:
        found = pd.DataFrame([{"reason": str(error)}])
    else:
        parameters = 3 + interaction + len(beside)
        found = pooled_natural(results, parameters) if own.imputed else results[0]
        found = found.drop(columns=["drawn_low", "drawn_high", "draws"])
        ratio = (found["effect"] == "indirect_risk_ratio") & found["estimate"].notna()
        found[["e_value", "e_value_limit"]] = np.nan
        if ratio.any():
            values = found.loc[ratio, ["estimate", "low", "high"]].to_numpy(float).T
            found.loc[ratio, ["e_value", "e_value_limit"]] = e_value(*values).to_numpy()
    found.insert(0, "exposure", exposure)
    found.insert(1, "mediator", mediator)
    return found


def _four_way(own: AnalysedTable, exposure: str, mediator: str) -> pd.DataFrame:
    """Return a pair's total effect in four parts, of the exposures that natural effects compare."""
    beside, held = own.beside[exposure], dict.fromkeys(own.siblings[exposure], 0.0)
    known = own.values[[exposure, own.outcome, mediator, *beside]].dropna()
    try:
        if kind_of(known[own.outcome]) == "ordinal" or own.imputed:
            raise ValueError("no closed form of grades or of imputed tables")
        found = closed_form_effects(own.values, exposure, own.outcome, mediator, beside,
                                    contrast=default_contrast(known[exposure]), four_way=True,
                                    at_covariates=held)  # fmt: skip
    except ValueError as error:
        found = pd.DataFrame([{"reason": str(error)}])
    found.insert(0, "exposure", exposure)
    found.insert(1, "mediator", mediator)
    return found


def _rho(own: AnalysedTable, exposure: str, mediator: str) -> pd.DataFrame:
    """Return `sensitivity.vanishing_rho` of a pair."""
    tables, beside = own.completed(exposure)
    results = [vanishing_rho(table, [exposure], own.outcome, [mediator], beside)
               for table in tables]  # fmt: skip
    return pooled_rho(results) if own.imputed else results[0]


def _curves(rho: pd.DataFrame, standardised: pd.Series) -> dict[str, pd.DataFrame]:
    """Return each pair's standardised effect over the correlation of the errors."""
    known = rho[rho["rho"].notna()].itertuples()
    return {f"{row.exposure} → {row.mediator}":
            effect_over_rho(standardised[row.exposure, row.mediator], row.rho)
            for row in known}  # fmt: skip
