"""Mediators beside the paper's (J, figures 4 to 6), and beside what a phantom has planted."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ssinfnet.paper import published

if TYPE_CHECKING:
    from ssinfnet.mediation import PathFit

__all__ = ["joint_counts", "known_truth_table", "mediator_counts", "mediator_names", "path_tables"]

# J, Results: left after the filter of correlated ones, all of ground glass
NAMED = {
    "n_diseases": ("firstorder_entropy", "firstorder_kurtosis", "firstorder_skewness"),
    "age": ("firstorder_mean", "firstorder_area", "firstorder_entropy", "firstorder_kurtosis",
            "glcm_imc1"),
}  # fmt: skip


def mediator_counts(effects: Mapping[str, pd.DataFrame], alpha: float = 0.05) -> pd.DataFrame:
    """Count mediators by class and exposure, ours and the paper's.

    Parameters
    ----------
    effects : mapping of str to DataFrame
        Outcome → `mediation.Mediation.table`.
    alpha : float
        Below which the adjusted p of an indirect effect counts; one without a p (D-199) does not.

    Returns
    -------
    DataFrame
        outcome, class, exposure (one, or ``any``), tested, by_criterion (J, Methods),
        by_indirect_effect (adjusted p of the indirect effect below `alpha`; J, Results), by_both,
        by_joint_test, stable (of those by the criterion) and paper, the count of J; its outcome is
        infection, and its text is followed where figure 4's caption has the exposures reversed.
    """
    from ssinfnet.patients.phenotypes import CLASSES, columns  # PyRadiomics takes seconds to import

    printed = published.published_values("text")
    counted = dict(
        zip(zip(printed["class"], printed["metric"], strict=True), printed["mean"], strict=True)
    )
    rows = []
    for outcome, table in effects.items():
        for name in CLASSES:
            of_class = table[table["mediator"].isin(columns((name,)))]
            for exposure in (*dict.fromkeys(table["exposure"]), "any"):
                own = of_class if exposure == "any" else of_class[of_class["exposure"] == exposure]
                passing = own[own["mediator_by_criterion"]]
                carrying = own["p_indirect_adjusted"] < alpha
                key = (name, f"mediators of {exposure}")
                paper = counted.get(key) if outcome == "infected" else None
                rows.append(
                    {"outcome": outcome, "class": name, "exposure": exposure,
                     "tested": own.loc[own["indirect"].notna(), "mediator"].nunique(),
                     "by_criterion": passing["mediator"].nunique(),
                     "by_indirect_effect": own.loc[carrying, "mediator"].nunique(),
                     "by_both": passing.loc[carrying, "mediator"].nunique(),
                     "by_joint_test":
                         own.loc[own["mediator_by_joint_test"], "mediator"].nunique(),
                     "stable": passing.loc[passing["stable"].fillna(False), "mediator"].nunique(),
                     "paper": paper}
                )  # fmt: skip
    return pd.DataFrame(rows).astype({"paper": "Int64"})


def mediator_names(
    effects: Mapping[str, pd.DataFrame], selected: Mapping[str, Collection[str]]
) -> pd.DataFrame:
    """Say of the paper's eight names, six distinct mediators, what ours say of them.

    Parameters
    ----------
    effects : mapping of str to DataFrame
        Outcome → `mediation.Mediation.table`.
    selected : mapping of str to collection of str
        Outcome → mediators that the filter of correlated ones left.

    Returns
    -------
    DataFrame
        exposure and mediator of the paper; then for each outcome <outcome>_indirect_standardised,
        _p_indirect_adjusted, _by_criterion and _kept, whether it mediates this exposure and the
        filter left it.
    """
    rows = []
    for exposure, names in NAMED.items():
        for mediator in (f"ggo_{name}" for name in names):
            row: dict[str, object] = {"exposure": exposure, "mediator": mediator}
            for outcome, table in effects.items():
                matching = table[(table["exposure"] == exposure) & (table["mediator"] == mediator)]
                for name, column in (
                    ("indirect_standardised", "indirect_standardised"),
                    ("p_indirect_adjusted", "p_indirect_adjusted"),
                    ("by_criterion", "mediator_by_criterion"),
                ):
                    row[f"{outcome}_{name}"] = matching[column].item() if len(matching) else pd.NA
                mediates = bool(matching["mediator_by_criterion"].any())
                row[f"{outcome}_kept"] = mediates and mediator in selected[outcome]
            rows.append(row)
    return pd.DataFrame(rows)


def joint_counts(joint: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Count the phenotypes of each class that carry an effect beside the others of the class.

    Parameters
    ----------
    joint : mapping of str to DataFrame
        Outcome → `mediation.joint_tables`.

    Returns
    -------
    DataFrame
        outcome, class and exposure; n, patients; phenotypes (those asked of), same_as_another (for
        which another stands), tested (beside each other), mediate (at a false discovery rate of
        10 %), first_five of them, by q; and reason, where the class could not be analysed.
    """
    rows = []
    for outcome, table in joint.items():
        for (name, exposure), own in table.groupby(["class", "exposure"], sort=False):
            carriers = own[own["mediates"]].sort_values("q", kind="stable")["mediator"]
            rows.append(
                {"outcome": outcome, "class": name, "exposure": exposure, "n": own["n"].iloc[0],
                 "phenotypes": own["mediator"].notna().sum(),
                 "same_as_another": own["same_as"].dropna().ne("").sum(),
                 "tested": own["kept"].sum(), "mediate": len(carriers),
                 "first_five": ", ".join(carriers.head(5)),
                 "reason": own["reason"].iloc[0] if own["mediator"].isna().all() else ""}
            )  # fmt: skip
    return pd.DataFrame(rows)


def path_tables(
    models: Mapping[str, tuple[Mapping[str, PathFit], pd.DataFrame]],
) -> dict[str, pd.DataFrame]:
    """Return what path models of some outcomes found, outcome and model first.

    Parameters
    ----------
    models : mapping
        Outcome → `mediation.path_models`.

    Returns
    -------
    dict of str to DataFrame
        ``estimates`` and ``effects`` of all fits, no rows if there is none, and ``fit``, with a
        reason where there is none.
    """
    labels = ["outcome", "model"]
    parts: dict[str, list[pd.DataFrame]] = {
        "estimates": [pd.DataFrame(columns=labels)],
        "effects": [pd.DataFrame(columns=labels)],
        "fit": [measures.assign(outcome=outcome) for outcome, (_, measures) in models.items()],
    }
    for outcome, (fits, _) in models.items():
        for model, fit in fits.items():
            parts["estimates"].append(fit.estimates.assign(outcome=outcome, model=model))
            parts["effects"].append(fit.effects.assign(outcome=outcome, model=model))
    whole = {name: pd.concat(own, ignore_index=True) for name, own in parts.items()}
    return {name: own[[*labels, *own.columns.drop(labels)]] for name, own in whole.items()}


def known_truth_table(
    planted: pd.DataFrame,
    recovered: pd.DataFrame,
    attenuations: pd.DataFrame,
    agreement: pd.DataFrame,
) -> pd.DataFrame:
    """Put each planted effect beside what true and predicted masks make of it.

    Parameters
    ----------
    planted, recovered, attenuations, agreement : DataFrame
        From the functions of `mediation.known_truth`.

    Returns
    -------
    DataFrame
        One row a planted effect: outcome, exposure, mediator, planted_as, planted and planted_se;
        for ``cohort`` (the planted numbers of these patients), ``true`` and ``predicted`` masks,
        and ``corrected``, the predicted ones' less their error of measurement, n, indirect, low,
        high and covered (whether the interval holds the planted effect, missing where there is
        none); n_both and attenuation with its interval, NaN where the interval from true masks
        holds 0, since nothing can then be divided by; r, icc, reliability, mask, f1 and f1_slices
        of the measurement; and reason, why numbers are missing.
    """
    keys = ["outcome", "exposure", "mediator"]
    table, reasons = planted, {}
    for masks, part in recovered.groupby("masks", sort=False):
        part = part.drop(columns="masks").set_index(keys).add_prefix(f"{masks}_")
        table = table.join(part, on=keys)
        reasons[masks] = table.pop(f"{masks}_reason").fillna("")
        low, high = table[f"{masks}_low"], table[f"{masks}_high"]
        covered = ((low <= table["planted"]) & (table["planted"] <= high)).astype("boolean")
        table[f"{masks}_covered"] = covered.mask(low.isna() | high.isna())
    table = table.join(attenuations.set_index(keys), on=keys)
    nothing = (table["true_low"] <= 0) & (table["true_high"] >= 0)
    reasons["attenuation"] = nothing.map({True: "the interval from true masks holds 0", False: ""})
    quotient = ["attenuation", "attenuation_low", "attenuation_high"]
    table.loc[nothing | table["true_low"].isna(), quotient] = np.nan
    table = table.merge(agreement, on="mediator", how="left")
    return table.assign(reason=[_said(row) for row in pd.DataFrame(reasons).to_dict("records")])


def _said(reasons: Mapping[str, str]) -> str:
    """Return reasons in words, each once with all that it is the reason of."""
    of_each: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        if reason:
            of_each.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in of_each.items())
