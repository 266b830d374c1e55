"""What a paper says of a mediation analysis: methods to be pasted, and the AGReMA checklist."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pandas as pd

import ssinfnet
from ssinfnet import mediation
from ssinfnet.mediation.few_patients import FEWEST, UNDRAWN
from ssinfnet.mediation.modelled import MODELS

__all__ = ["agrema", "methods_text"]

ITEMS = Path(__file__).with_name("checklist") / "agrema.csv"
NAMED = 8  # columns that a sentence names
OUTCOMES = {"binary": "logistic", "ordinal": "proportional-odds"}  # natural effects' model of it
ADJUSTED = {"fdr_bh": "by Benjamini and Hochberg", "holm": "by Holm"}
INTERVALS = {"percentile": "percentile", "expanded": "expanded percentile (Hesterberg 2015)",
             "bca": "BCa"}  # fmt: skip


def methods_text(analysis: mediation.MediationAnalysis) -> list[str]:
    """Return paragraphs that describe an analysis as a paper's methods do.

    Parameters
    ----------
    analysis : MediationAnalysis
    """
    parts = [_design(analysis), _single(analysis), _missing(analysis), _several(analysis),
             _natural(analysis), _software()]  # fmt: skip
    return [part for part in parts if part]


def _names(names: list[str]) -> str:
    shown = ", ".join(names[:NAMED])
    return f"{shown} and {len(names) - NAMED} more" if len(names) > NAMED else shown


def _design(analysis: mediation.MediationAnalysis) -> str:
    asked, effects = analysis.asked, analysis.effects
    beside = [*asked["covariates"]] + ["the other exposures"] * bool(asked.get("adjust_exposures"))
    text = (
        f"We analysed whether {_names(asked['mediators'])} ({len(asked['mediators'])} "
        f"{_plural(len(asked['mediators']), 'mediator')}) carry the effect of "
        f"{_names(asked['exposures'])} on {asked['outcome']} in {asked['rows']:,} rows of "
        f"{asked['source']}. "
    )
    text += (
        f"All regressions were adjusted for {_names(beside)}. "
        if beside
        else "No covariates were adjusted for. "
    )
    contrasts = [
        name for name in dict.fromkeys(effects.table["exposure"]) if name not in asked["exposures"]
    ]
    if contrasts:
        text += f"Categories entered as contrasts ({_names(contrasts)}). "
    return text.strip()


def _single(analysis: mediation.MediationAnalysis) -> str:
    asked, effects = analysis.asked, analysis.effects
    if isinstance(effects, mediation.ModelledMediation):
        return " ".join([_modelled(effects), *_dependence(analysis)])
    interval = INTERVALS[asked.get("interval", "percentile")]
    adjusted = ADJUSTED[effects.adjustment]
    rows = "clusters" if asked.get("cluster") else "patients"
    drawn = (
        f"{interval} intervals and p values of indirect effects came from "
        f"{effects.table['draws'].max():,.0f} bootstrap draws of {rows} (seed "
        f"{asked.get('seed', 2021)}; beyond the five outermost draws of either end a normal tail "
        f"was assumed){_undrawn(analysis)}"
        if _bootstrapped(analysis)
        else "no interval of it was drawn by a bootstrap"
    )
    text = (
        "For each pair of exposure and mediator we fitted three linear regressions: outcome on "
        "exposure (total effect), mediator on exposure (slope a), and outcome on exposure (direct "
        f"effect) and mediator (slope b), a {effects.model}. The indirect effect is a·b; {drawn}. "
        f"P values and intervals were adjusted {adjusted} over the mediators of each exposure. A "
        "mediator was declared by the criterion of Fung et al. (2021; total effect, a and b "
        "significant, and the direct effect smaller than the total one) or by the joint test of a "
        "and b."
    )
    return " ".join([text, *_dependence(analysis)])


def _modelled(effects: mediation.ModelledMediation) -> str:
    """Return a sentence on each thing that was done by models that were named."""
    product = "with" if effects.interaction else "without"
    source = (
        "VanderWeele 2011; Valeri and VanderWeele 2015"
        if effects.event
        else "Valeri and VanderWeele 2013"
    )
    scale = f" on the scale of the logarithm of the {effects.ratio}" * bool(effects.ratio)
    rare = {
        "logistic": " The outcome was taken to be rare.",
        "cox": " The event was taken to be rare.",
    }.get(effects.outcome_model, "")
    tied = (f" Events at the same time were taken by {effects.ties.capitalize()}'s method.") * bool(
        effects.ties
    )
    sampled = (
        " Patients were sampled by the outcome, and mediators' models fitted to those without it."
    ) * effects.case_control
    return (
        f"For each pair of exposure and mediator we fitted two models: of the mediator, by "
        f"{effects.of_mediators} on the exposure, and of {effects.outcome}, by a {effects.model}, "
        f"on exposure and mediator {product} their product. Pure direct, total indirect and total "
        f"effects followed in closed form ({source}){scale}, of exposures 0 and 1 or of the mean "
        f"and one standard deviation above it, covariates at their means, and their intervals by "
        f"the delta method.{rare}{tied}{sampled} P values and intervals were adjusted "
        f"{ADJUSTED[effects.adjustment]} over the mediators of each exposure. A mediator was "
        "declared by the joint test of the exposure's slope in the first model and the mediator's "
        f"in the second{', product included' * effects.interaction}."
    )


def _bootstrapped(analysis: mediation.MediationAnalysis) -> bool:
    effects = analysis.effects
    if isinstance(effects, mediation.ModelledMediation):
        return False
    return bool(effects.table["p_indirect"].notna().any())


def _undrawn(analysis: mediation.MediationAnalysis) -> str:
    """Say how many pairs rest on too few patients for an interval (D-199)."""
    pairs = int(analysis.effects.table["reason"].str.startswith(UNDRAWN).sum())
    fewest = analysis.asked.get("fewest", FEWEST)
    return (
        f", but for {pairs} {_plural(pairs, 'pair')} in whose exposure or mediator fewer than "
        f"{fewest} patients differ from the rest, which {'has' if pairs == 1 else 'have'} neither"
    ) * bool(pairs)


def _dependence(analysis: mediation.MediationAnalysis) -> list[str]:
    """Return sentences on clusters and weights."""
    asked, text = analysis.asked, []
    if asked.get("cluster"):
        drew = " and the bootstrap drew clusters" * _bootstrapped(analysis)
        errors = (
            "CR2 of Bell and McCaffrey, with Satterthwaite's degrees of freedom"
            if asked.get("cluster_errors") == "CR2"
            else "Liang and Zeger, with the small-sample factor HC1"
        )
        text.append(f"Errors were robust to the clusters of {asked['cluster']} ({errors}){drew}.")
    if asked.get("weights"):
        text.append(f"Rows were weighted by {asked['weights']}, with robust errors.")
    return text


def _missing(analysis: mediation.MediationAnalysis) -> str:
    lacking = int(analysis.patterns.loc[analysis.patterns["n_missing"] > 0, "patients"].sum())
    if not lacking:
        return "No value was missing."
    imputations = analysis.asked.get("imputations", 0)
    share = f"{lacking:,} of {analysis.asked['rows']:,} rows lacked a value"
    if imputations:
        text = (
            f"{share}. Exposures, mediators and covariates were multiply imputed ({imputations} "
            "tables, chained Bayesian linear regressions given all variables, the outcome "
            "included); rows without the outcome were left out of the analyses. Estimates and "
            "errors were pooled by Rubin's rules with the degrees of freedom of Barnard and Rubin"
        )
        text += ", those of natural effects too." * bool(_natural_pairs(analysis)) or "."
        if _bootstrapped(analysis):
            text += (
                " Indirect effects' intervals are those of the bootstrap draws of all tables "
                "together."
            )
        if analysis.paths is not None:
            text += " The path model was fitted by full-information maximum likelihood."
    else:
        text = f"{share}; each part was analysed among those with all its variables"
        alike = _estimated(analysis.joint, "q") or _estimated(analysis.directions, "indirect")
        text += ", but for mediators that few have, which the joint analysis left out" * alike + "."
    return f"{text} {_patients(analysis)}"


def _patients(analysis: mediation.MediationAnalysis) -> str:
    """Return a sentence on how many patients each part of an analysis is of."""
    parts = {
        "single mediators": (analysis.effects.table, "indirect"),
        "joint analysis": (analysis.joint, "q"),
        "mediating directions": (analysis.directions, "indirect"),
        "natural effects": (analysis.natural, "estimate"),
        "sensitivity": (analysis.rho, "rho"),
        "corrected effects": (analysis.corrected, "indirect_corrected"),
    }
    said = []
    for name, (table, column) in parts.items():
        if _estimated(table, column):
            n = table.loc[table[column].notna(), "n"].astype(int)
            said.append(f"{name} {n.min():,}" + f" to {n.max():,}" * bool(n.max() > n.min()))
    if analysis.paths is not None:
        said.append(f"path model {analysis.paths.n:,}")
    rows = "rows" if analysis.asked.get("cluster") else "patients"
    return f"Numbers of {rows}: {', '.join(said)}." if said else ""


def _estimated(found: pd.DataFrame, column: str) -> bool:
    """Say whether a part of an analysis has any number; refused ones have rows of reasons."""
    return bool(column in found and found[column].notna().any())


def _several(analysis: mediation.MediationAnalysis) -> str:
    text = ""
    by_clusters = " by clusters and a bootstrap of clusters" * bool(analysis.asked.get("cluster"))
    by_lines = " by linear regressions" * isinstance(analysis.effects, mediation.ModelledMediation)
    if _estimated(analysis.joint, "q"):
        text += (
            f"All mediators were then analysed jointly{by_lines}: those correlated by more "
            "than 0.95 stood for each other, the n / log n that varied most with the exposure were "
            "tested beside each other and beside their nearest neighbours and what a lasso "
            "selected of the rest, and the false discovery rate of the composite null hypothesis "
            "was estimated from the shares of null slopes (level 10 %). "
        )
        if analysis.asked.get("imputations"):
            text += (
                "What was to be tested was chosen once, of all imputed tables stacked, and "
                "slopes were pooled by Rubin's rules (Wood et al. 2008). "
            )
    if _estimated(analysis.directions, "indirect"):
        text += (
            "Principal components of the mediators (80 % of their variance beside exposure "
            "and covariates) were tested as mediating directions. "
        )
    if analysis.paths is not None:
        text += (
            "Of the mediators found, those correlated by more than 0.8 were thinned and at most "
            "six entered a linear path model with correlated residuals, fitted by maximum "
            f"likelihood with Huber-White errors{by_clusters}. "
        )
    if _estimated(analysis.corrected, "indirect_corrected"):
        text += (
            "Effects were corrected for measurement error by the mediators' reliabilities "
            "(method of moments). "
        )
    return text.strip()


def _natural(analysis: mediation.MediationAnalysis) -> str:
    text = []
    if pairs := _natural_pairs(analysis):
        text.append(_of_pairs(analysis, pairs))
    if _estimated(analysis.four_way, "estimate"):
        text.append(
            "Total effects were divided into four parts, mediation, interaction, both and "
            "neither (VanderWeele 2014), in closed form."
        )
    if _estimated(analysis.rho, "rho"):
        text.append(
            "We report the correlation of the errors at which an indirect effect would "
            "vanish (Imai et al. 2010)."
        )
    if _estimated(analysis.natural, "e_value"):
        text.append("E-values are of indirect risk ratios (VanderWeele and Ding 2017).")
    return " ".join(text)


def _of_pairs(analysis: mediation.MediationAnalysis, pairs: int) -> str:
    """Return a sentence on the natural effects of some pairs."""
    effects = analysis.effects
    if "ratio" in analysis.natural:
        return (
            f"Controlled and natural effects of {pairs} {_plural(pairs, 'pair')} are those of "
            "the same models."
        )
    product = "with" if analysis.asked["interaction"] else "without"
    intervals = (
        "a bootstrap of clusters (percentiles)"
        if analysis.asked.get("cluster")
        else "the delta method"
    )
    named = analysis.asked.get("kinds") or {}
    outcome = (
        "linear"
        if named.get(analysis.asked["outcome"]) == "continuous"
        else OUTCOMES.get(effects.kind, "linear")
    )
    mediator = "a linear one, logistic where it is 0 and 1, of the mediator"
    if isinstance(effects, mediation.ModelledMediation):
        outcome, mediator = MODELS[effects.outcome_model], f"{effects.of_mediators} of the mediator"
    return (
        f"Natural direct and indirect effects of {pairs} {_plural(pairs, 'pair')} were "
        f"computed by their definition (Pearl 2001) from a {outcome} model of the outcome and "
        f"{mediator}, {product} an exposure-mediator product, and their intervals by {intervals}."
    )


def _natural_pairs(analysis: mediation.MediationAnalysis) -> int:
    """Count the pairs of exposure and mediator that have natural effects."""
    if not _estimated(analysis.natural, "estimate"):
        return 0
    known = analysis.natural[analysis.natural["estimate"].notna()]
    return len(known[["exposure", "mediator"]].drop_duplicates())


def _software() -> str:
    versions = {"ssinfnet": ssinfnet.__version__}
    versions |= {name: metadata.version(name) for name in ("statsmodels", "semopy", "numpy")}
    return "Analyses were made with " + ", ".join(f"{k} {v}" for k, v in versions.items()) + "."


def _plural(number: int, word: str) -> str:
    return word if number == 1 else f"{word}s"


def agrema(analysis: mediation.MediationAnalysis) -> pd.DataFrame:
    """Fill the AGReMA checklist (Lee et al. 2021) with what an analysis shows.

    Parameters
    ----------
    analysis : MediationAnalysis

    Returns
    -------
    DataFrame
        item, section, asks and answer ("" where no program can know).
    """
    items = pd.read_csv(ITEMS, dtype=str, keep_default_na=False)
    answers = {fact: FACTS[fact](analysis) if fact else "" for fact in items["fact"].unique()}
    return items.assign(answer=items["fact"].map(answers)).drop(columns="fact")


def _estimates(analysis: mediation.MediationAnalysis) -> str:
    tested = int(analysis.effects.table["indirect"].notna().sum())
    passing = int(analysis.effects.passing.sum())
    return f"{passing} of {tested} pairs pass; “Single mediators” lists all with intervals"


def _sensitivity_found(analysis: mediation.MediationAnalysis) -> str:
    if not _estimated(analysis.rho, "rho"):
        return f"none: {analysis.reasons.get('rho') or 'see the reasons of “Sensitivity”'}"
    smallest = analysis.rho["rho"].abs().min()
    return f"errors correlated by {smallest:.2f} would make the least robust indirect effect vanish"


def _flow(analysis: mediation.MediationAnalysis) -> str:
    left_out = analysis.effects.left_out["patient"].nunique()
    return (
        f"{analysis.asked['rows']:,} rows; {left_out:,} {_plural(left_out, 'patient')} left "
        "out, listed with reasons"
    )


def _effects_of_interest(analysis: mediation.MediationAnalysis) -> str:
    natural, passing = _natural_pairs(analysis), int(analysis.effects.passing.sum())
    more = f"; natural effects of {natural} of the {passing} that pass" if natural else ""
    return f"total, direct and indirect effects of each pair{more}"


def _missing_clusters_tests(analysis: mediation.MediationAnalysis) -> str:
    adjusted = ADJUSTED[analysis.effects.adjustment]
    tests = f"P values were adjusted {adjusted} over the mediators of each exposure."
    return " ".join([_missing(analysis), *_dependence(analysis), tests])


FACTS: dict[str, Callable[[mediation.MediationAnalysis], str]] = {
    "objective": _design,
    "participants": _flow,
    "effects": _effects_of_interest,
    "diagram": lambda found: "the path model" if found.paths is not None else "",
    "causal_assumptions": lambda _: mediation.ASSUMPTIONS,
    "measurements": lambda found: f"“What each column was taken for” lists kinds and values of "
                                  f"{len(found.effects.columns)} columns",
    "reliability": lambda found: "given, and corrected for"
                   if _estimated(found.corrected, "indirect_corrected") else "",
    "statistics": _single,
    "missing": _missing_clusters_tests,
    "sensitivity": _natural,
    "flow": _flow,
    "estimates": _estimates,
    "sensitivity_found": _sensitivity_found,
    "code": lambda _: _software(),
}  # fmt: skip
