"""What a paper says of a mediation analysis: methods to be pasted, and the AGReMA checklist."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pandas as pd

import ssinfnet
from ssinfnet import mediation

__all__ = ["agrema", "methods_text"]

ITEMS = Path(__file__).with_name("checklist") / "agrema.csv"
NAMED = 8  # columns that a sentence names
ADJUSTED = {"fdr_bh": "by Benjamini and Hochberg", "holm": "by Holm"}


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
    beside = ([*asked["covariates"]]
              + ["the other exposures"] * bool(asked.get("adjust_exposures")))  # fmt: skip
    text = (
        f"We analysed whether {_names(asked['mediators'])} ({len(asked['mediators'])} "
        f"{_plural(len(asked['mediators']), 'mediator')}) carry the effect of "
        f"{_names(asked['exposures'])} on {asked['outcome']} in {asked['rows']:,} rows of "
        f"{asked['source']}. "
    )
    text += (f"All regressions were adjusted for {_names(beside)}. " if beside
             else "No covariates were adjusted for. ")  # fmt: skip
    contrasts = [name for name in dict.fromkeys(effects.table["exposure"])
                 if name not in asked["exposures"]]  # fmt: skip
    if contrasts:
        text += f"Categories entered as contrasts ({_names(contrasts)}). "
    return text.strip()


def _single(analysis: mediation.MediationAnalysis) -> str:
    asked, effects = analysis.asked, analysis.effects
    draws, interval = asked.get("draws", 5000), asked.get("interval", "percentile")
    adjusted = ADJUSTED[effects.adjustment]
    rows = "clusters" if asked.get("cluster") else "patients"
    drawn = (
        f"{interval} intervals and p values of indirect effects came from {draws:,} bootstrap "
        f"draws of {rows} (seed {asked.get('seed', 2021)}; beyond the five outermost draws of "
        "either end a normal tail was assumed)" if draws else "no bootstrap was drawn"
    )  # fmt: skip
    text = (
        "For each pair of exposure and mediator we fitted three linear regressions: outcome on "
        "exposure (total effect), mediator on exposure (slope a), and outcome on exposure (direct "
        f"effect) and mediator (slope b), a {effects.model}. The indirect effect is a·b; {drawn}. "
        f"P values and intervals were adjusted {adjusted} over the mediators of each exposure. A "
        "mediator was declared by the criterion of Fung et al. (2021; total effect, a and b "
        "significant, and the direct effect smaller than the total one) or by the joint test of a "
        "and b."
    )
    if asked.get("cluster"):
        text += (f" Errors were robust to the clusters of {asked['cluster']} (Liang and Zeger, "
                 "with the small-sample factor HC1) and the bootstrap drew clusters.")  # fmt: skip
    if asked.get("weights"):
        text += f" Rows were weighted by {asked['weights']}, with robust errors."
    return text


def _missing(analysis: mediation.MediationAnalysis) -> str:
    lacking = int(analysis.patterns.loc[analysis.patterns["n_missing"] > 0, "patients"].sum())
    if not lacking:
        return "No value was missing."
    imputations = analysis.asked.get("imputations", 0)
    share = f"{lacking:,} of {analysis.asked['rows']:,} rows lacked a value"
    if imputations:
        return (
            f"{share}. Exposures, mediators and covariates were multiply imputed ({imputations} "
            "tables, chained Bayesian linear regressions given all variables, the outcome "
            "included); rows without the outcome were left out of the analyses. Estimates and "
            "errors were pooled by Rubin's rules with the degrees of freedom of Barnard and "
            "Rubin, and indirect effects' intervals are those of the bootstrap draws of all "
            "tables together."
            + " The path model was fitted by full-information maximum likelihood."
            * (analysis.paths is not None)
        )
    return f"{share}; each pair was analysed among those with all variables of its regressions."


def _several(analysis: mediation.MediationAnalysis) -> str:
    text = ""
    if len(analysis.joint):
        text += (
            "All mediators were then analysed jointly: those correlated by more than 0.95 stood "
            "for each other, the n / log n that varied most with the exposure were tested beside "
            "each other and beside their nearest neighbours and what a lasso selected of the "
            "rest, and the false discovery rate of the composite null hypothesis was estimated "
            "from the shares of null slopes (level 10 %). "
        )
    if len(analysis.directions):
        text += ("Principal components of the mediators (80 % of their variance beside exposure "
                 "and covariates) were tested as mediating directions. ")  # fmt: skip
    if analysis.paths is not None:
        text += (
            "Of the mediators found, those correlated by more than 0.8 were thinned and at most "
            "six entered a path model with correlated residuals, fitted by maximum likelihood "
            "with Huber-White errors. "
        )
    if len(analysis.corrected):
        text += ("Effects were corrected for measurement error by the mediators' reliabilities "
                 "(method of moments). ")  # fmt: skip
    return text.strip()


def _natural(analysis: mediation.MediationAnalysis) -> str:
    if not len(analysis.natural):
        return ""
    product = "with" if analysis.asked["interaction"] else "without"
    return (
        "Natural direct and indirect effects were computed by their definition (Pearl 2001) from "
        f"models of mediator and outcome of their own kind, {product} an exposure-mediator "
        "product, and their intervals by the delta method. We report the correlation of the "
        "errors at which each indirect effect would vanish (Imai et al. 2010) and E-values of "
        "indirect risk ratios (VanderWeele and Ding 2017)."
    )


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
    found = analysis.effects.table
    passing = int((found["mediator_by_criterion"] | found["mediator_by_joint_test"]).sum())
    return f"{passing} of {tested} pairs pass; “Single mediators” lists all with intervals"


def _sensitivity_found(analysis: mediation.MediationAnalysis) -> str:
    if not len(analysis.rho):
        return "none: " + analysis.reasons.get("rho", "")
    smallest = analysis.rho["rho"].abs().min()
    return f"errors correlated by {smallest:.2f} would make the least robust indirect effect vanish"


def _flow(analysis: mediation.MediationAnalysis) -> str:
    left_out = analysis.effects.left_out
    return f"{analysis.asked['rows']:,} rows; {len(left_out):,} left out, listed with reasons"


FACTS: dict[str, Callable[[mediation.MediationAnalysis], str]] = {
    "objective": _design,
    "participants": _flow,
    "effects": lambda _: "total, direct and indirect effects of each pair; natural effects of "
                         "those that pass",
    "diagram": lambda found: "the path model" if found.paths is not None else "",
    "causal_assumptions": lambda _: mediation.ASSUMPTIONS,
    "measurements": lambda found: f"“What each column was taken for” lists kinds and values of "
                                  f"{len(found.effects.columns)} columns",
    "reliability": lambda found: "given, and corrected for" if len(found.corrected) else "",
    "statistics": _single,
    "missing": _missing,
    "sensitivity": _natural,
    "flow": _flow,
    "estimates": _estimates,
    "sensitivity_found": _sensitivity_found,
    "code": lambda _: _software(),
}  # fmt: skip
