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

import pandas as pd

from ssinfnet.mediation.analysed_pairs import (
    curves_over_rho,
    four_way_of_pair,
    natural_of_pair,
    rho_of_pair,
)
from ssinfnet.mediation.analysed_table import AnalysedTable, analysed_table
from ssinfnet.mediation.directions import mediating_directions
from ssinfnet.mediation.few_patients import FEWEST
from ssinfnet.mediation.frames import chosen_columns
from ssinfnet.mediation.imputation import missing_patterns
from ssinfnet.mediation.joint import imputed_joint_mediators, joint_mediators
from ssinfnet.mediation.measurement_error import check_reliability, corrected_effects
from ssinfnet.mediation.modelled import single_effects
from ssinfnet.mediation.modelled_result import ModelledMediation
from ssinfnet.mediation.outcome_models import Ties
from ssinfnet.mediation.path_fit import PathFit
from ssinfnet.mediation.patient_files import read_patients_table
from ssinfnet.mediation.results import Mediation
from ssinfnet.mediation.selection import correlations, filter_correlated
from ssinfnet.mediation.sem import NotConvergedError, fit_paths

__all__ = ["MediationAnalysis", "analyse"]

MOST_PATHS = 6  # mediators of a path model
MOST_PAIRS = 12  # of which natural effects and sensitivity are asked
MOST_DRAWS = 500  # of clusters, of a pair's natural effects
FEWEST_DIRECTIONS = 4  # mediators, of which components say less than they do
INDEPENDENT = "made of independent rows that count alike, which clustered or weighted ones are not"
OF_CLUSTERS = "made of draws of clusters, which those of imputed tables are not"
OF_TIMES = "made of linear models, which would take times until censoring for times until the event"
OF_LINEAR = "made of linear models; E-values of natural effects ask the same of others"
OF_LINES = ("rho", "joint", "directions", "corrected")  # made of linear models of single rows
OF_COMPONENTS = (
    "not made of imputed tables, whose components would differ; without imputations they are made "
    "of the patients who have all mediators"
)
OF_MEASURED = "made of values measured with an error, which imputed ones are not"
NOBODY = "no mediator passes the criterion or the joint test"


@dataclass(frozen=True, kw_only=True)
class MediationAnalysis:
    """All that was asked of a table.

    Attributes
    ----------
    effects : Mediation
        Single mediators, see `effects.mediate`, or `modelled.modelled_effects` where models were
        named.
    patterns : DataFrame
        The patterns of missing values, see `imputation.missing_patterns`.
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
        Name of one of these → why there is nothing.
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
    mediator_model: str | None = None,
    outcome_model: str | None = None,
    event: str | None = None,
    case_control: bool = False,
    ties: Ties = "efron",
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
        By default the hospital, centre, site or institution of a table with several, known by its
        name (D-89).
    patient, sheet : str, optional
        Where a path is given: the column that names the patients, and the sheet of a workbook.
    mediator_model, outcome_model, event, case_control, ties
        Of `modelled.modelled_effects`, which then analyses single mediators in place of linear
        regressions (D-87); natural effects and their four parts are of these models too.
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
        As `effects.mediate`, `modelled.modelled_effects` and `patient_files.read_patients_table`
        raise, and if named models are asked of imputed tables.
    """
    source = (
        table.attrs.get("source", "a table")
        if isinstance(table, pd.DataFrame)
        else Path(table).name
    )
    if not isinstance(table, pd.DataFrame):
        codes = [options["cluster"]] if options.get("cluster") else []
        table = read_patients_table(Path(table), patient, sheet, codes)
    exposures, mediators = (
        chosen_columns(table, own) if not isinstance(own, str) else own
        for own in (exposures, mediators)
    )
    models: dict[str, Any] = {
        "mediator_model": mediator_model,
        "outcome_model": outcome_model,
        "event": event,
        "case_control": case_control,
        "ties": ties,
    }
    check_reliability(reliability or {}, mediators)
    effects = single_effects(table, exposures, outcome, mediators, covariates,
                             **(models | {"interaction": interaction} | options))  # fmt: skip
    covariates = list(effects.columns.loc[effects.columns["role"] == "covariate", "column"])
    given = (table, exposures, outcome, mediators, covariates)
    own = analysed_table(*given, options, effects.completed, event=event)
    found = _further(
        own, effects, _parts_left_out(effects, options), interaction, reliability or {}, options
    )
    used = [
        *dict.fromkeys([*exposures, outcome, *([event] if event else []), *covariates, *mediators])
    ]
    asked = {
        "source": source, "rows": len(table), "exposures": list(exposures), "outcome": outcome,
        "mediators": list(mediators), "covariates": list(covariates), "interaction": interaction,
        "reliability": dict(reliability or {}), **models, **options,
    }  # fmt: skip
    return MediationAnalysis(effects=effects, patterns=missing_patterns(table, used),
                             reasons=own.reasons, asked=asked, **found)  # fmt: skip


def _parts_left_out(effects: Mediation, options: Mapping[str, Any]) -> dict[str, str]:
    """Return the parts of an analysis that are not made → why."""
    if options.get("weights"):
        return dict.fromkeys(("chosen", "paths", "natural", "four_way", *OF_LINES), INDEPENDENT)
    if options.get("cluster"):
        drawn = {"natural": OF_CLUSTERS} if options.get("imputations") else {}
        timed = isinstance(effects, ModelledMediation) and effects.event
        drawn |= {"paths": OF_TIMES} if timed else {}
        return dict.fromkeys(("four_way", *OF_LINES), INDEPENDENT) | drawn
    if isinstance(effects, ModelledMediation) and effects.event:
        return dict.fromkeys(("paths", *OF_LINES), OF_TIMES)
    if isinstance(effects, ModelledMediation) and effects.outcome_model != "linear":
        return {"rho": OF_LINEAR}
    return {}


def _further(
    own: AnalysedTable,
    effects: Mediation,
    left_out: Mapping[str, str],
    interaction: bool,
    reliability: Mapping[str, float],
    options: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what is asked beyond single mediators, but for the parts that are left out."""
    empty = ("chosen", "r", "natural", "four_way", "rho", "joint", "directions", "corrected")
    found: dict[str, Any] = {name: pd.DataFrame() for name in empty}
    found |= {"paths": None, "curves": {}}
    own.reasons |= {
        name: why for name, why in left_out.items() if interaction or name != "four_way"
    }
    if "joint" not in left_out:
        found |= _joint(own, options)
    if "corrected" not in left_out:
        found["corrected"] = _corrected(own, reliability, options)
    passing = effects.table[effects.passing].sort_values("p_indirect", kind="stable")
    if passing.empty:
        own.reasons |= {
            name: own.reasons.get(name, NOBODY) for name in ("chosen", "paths", "natural", "rho")
        }
        return found
    if "chosen" not in left_out:
        found |= _thinned(own, passing)
        kept = found["chosen"].loc[found["chosen"]["kept"], "mediator"].tolist()
    if "paths" not in left_out:
        found["paths"] = _paths(own, passing, kept, options)
    pairs = list(passing[["exposure", "mediator"]].head(MOST_PAIRS).itertuples(index=False))
    drawing = min(options.get("draws", 1000), MOST_DRAWS), options.get("seed", 2021)
    if "natural" not in left_out:
        found["natural"] = pd.concat(
            [natural_of_pair(own, effects, x, m, interaction, drawing) for x, m in pairs],
            ignore_index=True,
        )
    if interaction and "four_way" not in left_out:
        found["four_way"] = pd.concat(
            [four_way_of_pair(own, effects, x, m) for x, m in pairs], ignore_index=True
        )
    if "rho" not in left_out:
        found["rho"] = pd.concat([rho_of_pair(own, x, m) for x, m in pairs], ignore_index=True)
        standardised = passing.set_index(["exposure", "mediator"])["indirect_standardised"]
        found["curves"] = curves_over_rho(found["rho"], standardised)
    return found


def _corrected(
    own: AnalysedTable, reliability: Mapping[str, float], options: Mapping[str, Any]
) -> pd.DataFrame:
    """Return effects corrected for measurement error, where reliabilities were given."""
    if reliability and own.imputed:
        own.reasons["corrected"] = OF_MEASURED
    elif reliability:
        return own.of_each("corrected", lambda x: corrected_effects(
            own.values, x, own.outcome, reliability, own.beside[x],
            draws=options.get("draws", 2000), seed=options.get("seed", 2021),
            fewest=options.get("fewest", FEWEST)))  # fmt: skip
    else:
        own.reasons["corrected"] = "no reliability of a mediator was given"
    return pd.DataFrame()


def _thinned(own: AnalysedTable, passing: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return which of correlated mediators are kept, and the correlations of all that pass."""
    size = "indirect_standardised" if "indirect_standardised" in passing else "indirect"
    largest = passing.groupby("mediator", sort=False)[size].apply(lambda e: e.abs().max())
    shared = (
        list(next(iter(own.beside.values())))
        if len(own.beside) == 1
        else [name for name in next(iter(own.beside.values())) if name not in own.beside]
    )
    chosen = filter_correlated(own.values, largest, covariates=shared)
    return {"chosen": chosen, "r": correlations(own.values, list(chosen["mediator"]), shared)}


def _joint(own: AnalysedTable, options: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Return the joint analysis of all mediators, and their directions."""
    seed, draws = options.get("seed", 2021), min(options.get("draws", 2000), 2000)
    found = {"joint": pd.DataFrame(), "directions": pd.DataFrame()}
    if len(own.mediators) < 2:
        own.reasons |= dict.fromkeys(found, "there is one mediator")
        return found
    if own.imputed:
        found["joint"] = own.of_each(
            "joint",
            lambda x: imputed_joint_mediators(
                own.completed(x)[0], x, own.outcome, own.mediators, own.completed(x)[1], seed=seed
            ),
        )
        own.reasons["directions"] = OF_COMPONENTS
        return found
    found["joint"] = own.of_each(
        "joint",
        lambda x: joint_mediators(
            own.values, x, own.outcome, own.mediators, own.beside[x], seed=seed
        ),
    )
    if len(own.mediators) < FEWEST_DIRECTIONS:
        own.reasons["directions"] = f"there are fewer than {FEWEST_DIRECTIONS} mediators"
        return found
    drawing = {"draws": draws, "seed": seed, "fewest": options.get("fewest", FEWEST)}
    found["directions"] = own.of_each(
        "directions",
        lambda x: (
            mediating_directions(
                own.values, x, own.outcome, own.mediators, own.beside[x], **drawing
            ).effects
        ),
    )
    return found


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
            missing="fiml" if options.get("imputations") else "complete", cluster=own.cluster,
            fewest=options.get("fewest", FEWEST),
        )  # fmt: skip
    except (ValueError, NotConvergedError) as error:
        own.reasons["paths"] = str(error)
        return None
