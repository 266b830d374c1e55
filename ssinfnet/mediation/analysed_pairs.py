"""Natural effects and sensitivity of single pairs of exposure and mediator, within an analysis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ssinfnet.mediation.analysed_table import AnalysedTable
from ssinfnet.mediation.closed_form import closed_form_effects
from ssinfnet.mediation.few_patients import UNDRAWN
from ssinfnet.mediation.frames import kind_of
from ssinfnet.mediation.imputed_effects import pooled_natural, pooled_rho
from ssinfnet.mediation.modelled import RARE
from ssinfnet.mediation.modelled_result import ModelledMediation
from ssinfnet.mediation.natural import default_contrast, natural_effects
from ssinfnet.mediation.natural_models import Link, MediatorModel
from ssinfnet.mediation.results import Mediation
from ssinfnet.mediation.sensitivity import e_value, effect_over_rho, vanishing_rho

__all__ = ["NATURAL_LINKS", "curves_over_rho", "four_way_of_pair", "modelled_parts",
           "natural_of_pair", "rho_of_pair"]  # fmt: skip

BINARY = "imputed values of a mediator of 0 and 1 are numbers, which its logistic model refuses"
NATURAL_LINKS: dict[str, Link] = {"linear": "linear", "logistic": "logit", "poisson": "poisson"}
NATURAL_MEDIATORS: dict[str, MediatorModel] = {
    "linear": "normal",
    "logistic": "logistic",
    "poisson": "poisson",
}
RISKS = ("loglinear", "poisson", "negative_binomial")  # models whose ratios are of risks or rates
RARE_RISKS = ("logistic", "cox")  # those whose are, of a rare outcome


def natural_of_pair(
    own: AnalysedTable,
    effects: Mediation,
    exposure: str,
    mediator: str,
    interaction: bool,
    drawing: tuple[int, int] = (0, 0),
) -> pd.DataFrame:
    """Return natural effects of a pair, E-values beside risk ratios.

    Errors are by the delta method, or by draws of clusters where rows are clustered. Effects are by
    their definition where there is one of the models that were named, else in closed form.

    Parameters
    ----------
    own : AnalysedTable
    effects : Mediation
        The effects of single mediators.
    exposure, mediator : str
    interaction : bool
        Whether the mediator's slope in the outcome depends on the exposure.
    drawing : (int, int)
        Draws of clusters, and their seed.
    """
    link: Link | None = "linear" if own.linear else None
    model: MediatorModel | None = None
    if isinstance(effects, ModelledMediation):
        if effects.outcome_model not in NATURAL_LINKS or effects.case_control:
            return modelled_parts(effects, exposure, mediator)
        link = NATURAL_LINKS[effects.outcome_model]
        model = NATURAL_MEDIATORS.get(effects.mediator_model)
    draws, seed = drawing if own.cluster else (0, 0)
    few = _why_undrawn(effects, exposure, mediator) if draws else ""
    tables, beside = own.completed(exposure)
    x, m = (own.values.loc[own.values[own.outcome].notna(), name] for name in (exposure, mediator))
    try:
        if own.imputed and m.isna().any() and kind_of(m) == "binary":
            raise ValueError(BINARY)
        results = [
            natural_effects(
                table, exposure, own.outcome, mediator, beside, interaction=interaction,
                cluster=own.cluster, draws=0 if few else draws, seed=seed,
                contrast=default_contrast(x.dropna()) if own.imputed else None,
                link=link, mediator_model=model,
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
        found["reason"] = found["reason"].where(found["reason"] != "", few)
        ratio = found["effect"] == "indirect_risk_ratio"
        ratio &= found["estimate"].between(found["low"], found["high"])
        found = _with_e_values(found, ratio, ["estimate", "low", "high"])
    return _named(found, exposure, mediator)


def _why_undrawn(effects: Mediation, exposure: str, mediator: str) -> str:
    """Return why a pair has no p and no interval by draws; empty where it may have them."""
    table = effects.table
    own = table.loc[(table["exposure"] == exposure) & (table["mediator"] == mediator), "reason"]
    return next((why for why in own if why.startswith(UNDRAWN)), "")


def modelled_parts(effects: ModelledMediation, exposure: str, mediator: str) -> pd.DataFrame:
    """Return the closed forms of a pair, with E-values where indirect ratios are of risks.

    Those of odds and hazards are where the outcome is rare; those of times never.
    """
    pair = {"exposure": exposure, "mediator": mediator}
    found, row = (
        table[(table[list(pair)] == pd.Series(pair)).all(axis=1)]
        for table in (effects.parts, effects.table)
    )
    found = found.drop(columns=list(pair)).reset_index(drop=True)
    if "ratio" in found:
        share = (row["events"] / row["n"]).item() if "events" in row else 1.0
        rare = effects.case_control or share <= RARE
        usable = effects.outcome_model in RISKS or (effects.outcome_model in RARE_RISKS and rare)
        indirect = (found["effect"] == "total_indirect") & found["ratio"].notna() & usable
        found = _with_e_values(found, indirect, ["ratio", "ratio_low", "ratio_high"])
    return _named(found, exposure, mediator)


def _with_e_values(found: pd.DataFrame, rows: pd.Series, columns: list[str]) -> pd.DataFrame:
    """Return effects with the E-values of some rows, of ratios in three columns."""
    found[["e_value", "e_value_limit"]] = np.nan
    if rows.any():
        values = found.loc[rows, columns].to_numpy(float).T
        found.loc[rows, ["e_value", "e_value_limit"]] = e_value(*values).to_numpy()
    return found


def _named(found: pd.DataFrame, exposure: str, mediator: str) -> pd.DataFrame:
    found.insert(0, "exposure", exposure)
    found.insert(1, "mediator", mediator)
    return found


def four_way_of_pair(
    own: AnalysedTable, effects: Mediation, exposure: str, mediator: str
) -> pd.DataFrame:
    """Return a pair's total effect in four parts, of the exposures that natural effects compare."""
    beside, held = own.beside[exposure], dict.fromkeys(own.siblings[exposure], 0.0)
    known = own.values[[exposure, own.outcome, mediator, *beside]].dropna()
    models: dict[str, Any] = {}
    if isinstance(effects, ModelledMediation):
        models = {
            "mediator_model": effects.mediator_model or None,
            "event": effects.event,
            "outcome_model": effects.outcome_model,
            "case_control": effects.case_control,
            "ties": effects.ties or "efron",
        }
    try:
        if not models and (kind_of(known[own.outcome]) == "ordinal" or own.imputed):
            raise ValueError("no closed form of grades or of imputed tables")
        found = closed_form_effects(own.values, exposure, own.outcome, mediator, beside,
                                    contrast=default_contrast(known[exposure]), four_way=True,
                                    at_covariates=held, **models)  # fmt: skip
    except ValueError as error:
        found = pd.DataFrame([{"reason": str(error)}])
    return _named(found, exposure, mediator)


def rho_of_pair(own: AnalysedTable, exposure: str, mediator: str) -> pd.DataFrame:
    """Return `sensitivity.vanishing_rho` of a pair."""
    tables, beside = own.completed(exposure)
    results = [
        vanishing_rho(table, [exposure], own.outcome, [mediator], beside) for table in tables
    ]
    return pooled_rho(results) if own.imputed else results[0]


def curves_over_rho(rho: pd.DataFrame, standardised: pd.Series) -> dict[str, pd.DataFrame]:
    """Return each pair's standardised effect over the correlation of the errors."""
    known = rho[rho["rho"].notna()].itertuples()
    return {
        f"{row.exposure} → {row.mediator}": effect_over_rho(
            standardised[row.exposure, row.mediator], row.rho
        )
        for row in known
    }
