"""Single mediators by models that are named: binary outcomes, counts, times until an event.

`effects.mediate` fits linear regressions, as the paper does. Where a mediator is binary or a count,
or an outcome binary, a count or a time that censoring may cut short, each pair of exposure and
mediator has the two regressions of `closed_form.closed_form_effects`, and tests and intervals are
adjusted over the mediators as `mediate`'s are (D-87).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2
from scipy.stats import f as fisher
from scipy.stats import t as student

from ssinfnet.mediation.analysed_table import analysed_table
from ssinfnet.mediation.closed_form import ClosedForm, FittedPair, fit_closed_form
from ssinfnet.mediation.decided import check_decision, interval_level, same_columns, with_adjusted
from ssinfnet.mediation.design import FEW_CLUSTERS, Design, deviations, sampling_design
from ssinfnet.mediation.effects import ALPHA, FEWEST, check_patients, left_out_patients, mediate
from ssinfnet.mediation.frames import (
    AnalysisFrame,
    analysis_frame,
    check_names,
    complete_groups,
    default_covariates,
    kind_of,
    marked_default,
    refuse_none,
    unadjusted_places,
)
from ssinfnet.mediation.modelled_result import MODELS, ModelledMediation
from ssinfnet.mediation.natural import default_contrast
from ssinfnet.mediation.outcome_models import Regression, Ties, tied_events
from ssinfnet.mediation.repeated_rows import repeated_rows
from ssinfnet.mediation.results import Mediation

__all__ = ["ModelledMediation", "modelled_effects", "single_effects"]

Array = NDArray[np.float64]

RARE = 0.1  # share of patients up to which an outcome is called rare (Valeri & VanderWeele 2013)
OF_DRAWS = ("imputations", "cluster_errors", "draws", "interval", "seed")
SHOWN = {"direct": "pure_direct", "indirect": "total_indirect", "total": "total"}


def modelled_effects(
    table: pd.DataFrame,
    exposures: Sequence[str],
    outcome: str,
    mediators: Sequence[str],
    covariates: Sequence[str] | None = None,
    *,
    mediator_model: str | None = None,
    outcome_model: str | None = None,
    event: str | None = None,
    interaction: bool = False,
    case_control: bool = False,
    ties: Ties = "efron",
    adjust_exposures: bool = False,
    reference: Mapping[str, str] | None = None,
    kinds: Mapping[str, str] | None = None,
    missing: Sequence[float] | None = None,
    cluster: str | None = None,
    weights: str | None = None,
    adjustment: Literal["fdr_bh", "holm"] = "fdr_bh",
    fewest: int = FEWEST,
    alpha: float = ALPHA,
) -> ModelledMediation:
    """Estimate the effects of all mediators and exposures by models of named kinds.

    Parameters
    ----------
    table, exposures, outcome, mediators, covariates
        As `effects.mediate` takes them; of a survival model `outcome` is the time until event or
        censoring.
    mediator_model, outcome_model, event, interaction, case_control, ties
        As `closed_form.closed_form_effects` takes them. By default each mediator's and the
        outcome's kind decides: logistic for 0 and 1, else linear, and Cox with an `event`.
    adjust_exposures, reference, kinds, missing, adjustment, alpha
        As `effects.mediate` takes them.
    cluster : str, optional
        Column, or name of the index, that rows of one patient or site share: errors are by
        clusters, of both models together, and degrees of freedom one less than clusters (D-139).
        A pair that is known in fewer than 8 clusters is not analysed.
    weights : str, optional
        Column of sampling weights, by which likelihoods are weighted; errors are then robust.
    fewest : int
        A mediator known for fewer patients with either value of a binary outcome, or fewer events,
        is not analysed.

    Returns
    -------
    ModelledMediation
        Its table has, a row a pair: exposure, mediator, n, events (of a binary outcome or of
        times), from and to, the exposures compared (0 and 1, or the mean and one standard
        deviation above it); alpha, the exposure's slope in the mediator's model, and beta, the
        mediator's in the outcome's, with _se and p_alpha, p_beta (of slope and product together
        with `interaction`); direct (pure), indirect and total, each with _se, p_, _low and _high
        (95 %, delta method), on the outcome's scale if it is linear, else logarithms of a ratio,
        which stands beside as _ratio, _ratio_low and _ratio_high; indirect_standardised of a
        linear outcome; proportion_mediated with _low and _high; p_indirect_adjusted with
        indirect_low_adjusted and indirect_high_adjusted, which agree; p_joint (the larger of
        p_alpha and p_beta) and p_joint_adjusted; mediator_by_joint_test; same_as;
        covariates_dropped; and reason, where a pair could not be analysed.

    Raises
    ------
    ValueError
        If no mediator can be analysed, or a negative binomial model is to be weighted; see also
        `closed_form.closed_form_effects`, `frames.analysis_frame`, `design.sampling_design` and
        `contrasts.with_contrasts`.
    """
    check_decision(adjustment, alpha)
    refuse_none(exposures=exposures, mediators=mediators)
    seen = [] if event is None else [event]
    used = [*exposures, outcome, *seen, *mediators, cluster, weights]
    told = (*unadjusted_places(table, covariates, used), *repeated_rows(table))
    covariates = covariates or ()
    check_names(table, [*exposures, outcome, *seen, *covariates, *mediators])
    if weights and outcome_model == "negative_binomial":
        raise ValueError(
            "a negative binomial model takes no weights; name poisson, whose errors are robust "
            "where rows are weighted"
        )
    design, patients = sampling_design(table, cluster, weights), table.index
    check_patients(patients, design)
    if design:  # whose rows are found again by their number
        table = table.set_axis(pd.RangeIndex(len(table)))
    options = {
        "kinds": kinds,
        "reference": reference,
        "missing": missing,
        "adjust_exposures": adjust_exposures,
    }
    own = analysed_table(table, exposures, outcome, mediators, covariates, options, event=event)
    frames = {x: analysis_frame(own.values, [x], outcome, mediators, [*beside, *seen])
              for x, beside in own.beside.items()}  # fmt: skip
    outcome_model = outcome_model or _model_of(frames, outcome, event)
    models: dict[str, Any] = {
        "mediator_model": mediator_model, "outcome_model": outcome_model, "event": event,
        "interaction": interaction, "case_control": case_control, "ties": ties,
    }  # fmt: skip
    alike = _alike(next(iter(frames.values())))
    rows, parts = [], []
    for exposure, mediator in ((x, m) for x in frames for m in mediators):
        x = frames[exposure].values[exposure]
        sampled = design.at(x.index.to_numpy()) if design else None
        spread = float(deviations(sampled, x.to_numpy()[:, None])[0])
        contrast = _contrast(x, sampled, spread)
        held = dict.fromkeys(own.siblings[exposure], 0.0)
        fitted = fit_closed_form(own.values, exposure, outcome, mediator, own.beside[exposure],
                                 contrast=contrast, at_covariates=held, design=design,
                                 **models)  # fmt: skip
        row, part = _pair(fitted, outcome, outcome_model, event, fewest, contrast)
        if "indirect" in row and outcome_model == "linear":
            own_design = design.at(fitted.values.index.to_numpy()) if design else None
            of_y = deviations(own_design, fitted.values[[outcome]].to_numpy())[0]
            apart = contrast[1] - contrast[0]
            row["indirect_standardised"] = row["indirect"] / apart * spread / of_y
        named = {"exposure": exposure, "mediator": mediator}
        rows.append(named | row | {"same_as": alike[mediator]})
        parts.append(part.assign(**named))
    found = pd.DataFrame(rows)
    if "p_joint" not in found:
        raise ValueError(f"no mediator can be analysed: {found['reason'].unique().tolist()[:5]}")
    kept = next(iter(frames.values())).covariates
    timed = [(frame.values[outcome], frame.values[event]) for frame in frames.values()
             if event and outcome_model == "cox"]  # fmt: skip
    tied = max((tied_events(*own) for own in timed), default=0)
    left_out = left_out_patients(list(frames.values()), list(frames))
    if design:
        left_out["patient"] = patients[left_out["patient"].to_numpy(dtype=int)]
    return ModelledMediation(
        _decided(found, adjustment, alpha), outcome, "time" if event else kind_of(
            own.values[outcome]), tuple(z for z in kept if z not in {*seen, *frames}),
        adjust_exposures and len(frames) > 1, adjustment,
        left_out, own.taken,
        (*told, *_notes(found, outcome_model, event, case_control), *_of_ties(tied, ties),
         *_of_design(design, cluster, weights)),
        mediator_model=mediator_model or "", outcome_model=outcome_model, event=event,
        interaction=interaction, case_control=case_control, ties=ties if tied else "",
        parts=pd.concat(parts, ignore_index=True),
    )  # fmt: skip


def single_effects(
    table: pd.DataFrame, exposures: Sequence[str], outcome: str, mediators: Sequence[str],
    covariates: Sequence[str] | None = None,
    *,
    mediator_model: str | None = None,
    outcome_model: str | None = None,
    event: str | None = None,
    case_control: bool = False,
    ties: Ties = "efron",
    interaction: bool = False,
    **options: Any,
) -> Mediation:  # fmt: skip
    """Return `effects.mediate` of a table, or `modelled_effects` where a model is named.

    Parameters
    ----------
    table, exposures, outcome, mediators
        As both take them.
    covariates : sequence of str, optional
        By default the hospitals of a table with several (`frames.default_covariates`), of which the
        result's ``columns`` say so.
    mediator_model, outcome_model, event, case_control
        Of `modelled_effects`, by which a pair is analysed if any of them is given.
    ties : {"efron", "breslow"}
        How Cox's model takes events at the same time, see `modelled_effects`.
    interaction : bool
        Whether exposure and mediator interact, see `modelled_effects`.
    **options
        Of `effects.mediate`.

    Raises
    ------
    ValueError
        If models are named with imputations or bias-reduced errors; and as both raise.
    """
    models: dict[str, Any] = {
        "mediator_model": mediator_model, "outcome_model": outcome_model, "event": event,
        "case_control": case_control,
    }  # fmt: skip
    by_name: list[str] = []
    if covariates is None:
        seen = [] if event is None else [event]
        covariates = by_name = default_covariates(table, [*exposures, outcome, *seen, *mediators])
    given = (table, exposures, outcome, mediators, covariates)
    if not any(models.values()):
        if ties != "efron":
            raise ValueError(f"ties are of Cox's model, which needs an event; leave {ties!r} out")
        found = mediate(*given, **options)
        return replace(found, columns=marked_default(found.columns, by_name))
    if options.get("imputations"):
        raise ValueError(
            "named models take complete rows, and imputations were asked for; leave out one of "
            "them: without imputations patients with all values of a pair are analysed, and "
            "imputed tables by linear regressions"
        )
    if options.get("cluster_errors", "CR1") != "CR1":
        raise ValueError(
            "bias-reduced errors (CR2) are of linear regressions; take CR1 for named models, or "
            "leave the models out"
        )
    taken = {name: value for name, value in options.items() if name not in OF_DRAWS}
    models |= {"interaction": interaction, "ties": ties}
    modelled = modelled_effects(*given, **(models | taken))
    return replace(modelled, columns=marked_default(modelled.columns, by_name))


def _model_of(frames: Mapping[str, AnalysisFrame], outcome: str, event: str | None) -> str:
    """Return the model that an outcome's kind asks for."""
    values = pd.concat([frame.values[outcome] for frame in frames.values()])
    return "cox" if event else "logistic" if kind_of(values) == "binary" else "linear"


def _alike(frame: AnalysisFrame) -> dict[str, str]:
    """Return mediator → the first that is the same up to scale among those with it."""
    found: dict[str, str] = {}
    for names, known in complete_groups(frame.values[list(frame.mediators)]):
        found |= same_columns(frame.values.loc[known, names])
    return found


def _pair(
    fitted: FittedPair, outcome: str, model: str, event: str | None, fewest: int,
    contrast: tuple[float, float],
) -> tuple[dict[str, Any], pd.DataFrame]:  # fmt: skip
    """Return the row of a pair, and the effects it is made of."""
    values, form = fitted.values, fitted.form
    row: dict[str, Any] = {"n": len(values)}
    shares = values[event or outcome]
    counted = event is not None or kind_of(shares) == "binary"
    if counted:
        row["events"] = int(shares.sum())
    row |= {"from": contrast[0], "to": contrast[1]}
    last = {"covariates_dropped": fitted.note, "reason": fitted.reason}
    if counted and form is not None:
        fewer = row["events"] if event else min(row["events"], row["n"] - row["events"])
        if fewer < max(fewest, 1):
            what = "events" if event else f"patients with one value of {outcome}"
            last["reason"] = f"known for {fewer} {what}, fewer than {max(fewest, 1)}"
    if form is None or last["reason"]:
        return row | last, pd.DataFrame([last | {"n": len(values)}])
    part = form.effects()
    effects = part.set_index("effect")
    row |= _slopes(form)
    for name, source in SHOWN.items():
        own = effects.loc[source]
        row |= {name: own["estimate"], f"{name}_se": own["se"], f"p_{name}": own["p"],
                f"{name}_low": own["low"], f"{name}_high": own["high"]}  # fmt: skip
        if model != "linear":
            row |= {f"{name}_{ratio}": own[ratio] for ratio in ("ratio", "ratio_low", "ratio_high")}
    mediated = effects.loc["proportion_mediated"]
    row |= {"proportion_mediated": mediated["estimate"], "proportion_mediated_low": mediated["low"],
            "proportion_mediated_high": mediated["high"]}  # fmt: skip
    row["df"] = form.df
    row["p_joint"] = max(row["p_alpha"], row["p_beta"])
    return row | last, part.assign(n=len(values), **last)


def _slopes(form: ClosedForm) -> dict[str, float]:
    """Return the two slopes of an indirect effect, with errors and p."""
    a, b = form.to_mediator, form.to_outcome
    tested = [2, 3] if form.interaction else [2]
    return {
        "alpha": float(a.slopes[1]), "alpha_se": float(np.sqrt(a.covariance[1, 1])),
        "p_alpha": _p(a, [1], form.mediator_model, form.df),
        "beta": float(b.slopes[2]), "beta_se": float(np.sqrt(b.covariance[2, 2])),
        "p_beta": _p(b, tested, form.outcome_model, form.df),
    }  # fmt: skip


def _p(fit: Regression, slopes: list[int], model: str, df: float) -> float:
    """Return the p of some slopes being 0, by Wald's test; by t or F of clusters or of a line."""
    own = fit.slopes[slopes]
    wald = float(own @ np.linalg.solve(fit.covariance[np.ix_(slopes, slopes)], own))
    if model == "linear":
        df = min(df, fit.residual_df)
    if np.isinf(df):
        return float(chi2.sf(wald, len(slopes)))
    if len(slopes) == 1:
        return float(2 * student.sf(np.sqrt(wald), df))
    return float(fisher.sf(wald / len(slopes), len(slopes), df))


def _contrast(x: pd.Series, design: Design | None, spread: float) -> tuple[float, float]:
    """Return the exposures compared, a mean by the weights where there are any."""
    low, high = default_contrast(x)
    if design is None or (low, high) == (0.0, 1.0):
        return low, high
    mean = float(np.average(x, weights=design.weights))
    return mean, mean + spread


def _of_design(design: Design | None, cluster: str | None, weights: str | None) -> list[str]:
    """Return what is told of clusters and weights."""
    notes = []
    if design is not None and cluster is not None:
        notes.append(f"errors by the {design.number} clusters of {cluster}")
        if design.number < FEW_CLUSTERS:
            notes.append(f"errors by fewer than {FEW_CLUSTERS} clusters tend to be too small")
    if weights is not None:
        notes.append(f"weighted by {weights}, with robust errors")
    return notes


def _decided(found: pd.DataFrame, adjustment: str, alpha: float) -> pd.DataFrame:
    """Return rows with adjusted p and intervals, and the decision by the joint test."""
    found = with_adjusted(found, ("indirect", "joint"), adjustment)
    for exposure, own in found.groupby("exposure", sort=False):
        level = interval_level(own, adjustment, alpha)
        rows = found["exposure"] == exposure
        deviate = student.ppf((1 + level) / 2, found.loc[rows, "df"])
        reach = deviate * found.loc[rows, "indirect_se"]
        found.loc[rows, "indirect_low_adjusted"] = found.loc[rows, "indirect"] - reach
        found.loc[rows, "indirect_high_adjusted"] = found.loc[rows, "indirect"] + reach
    found["mediator_by_joint_test"] = found["p_joint_adjusted"] < alpha
    last = ["same_as", "covariates_dropped", "reason"]
    return found[[*found.columns.drop([*last, "df"]), *last]]


def _notes(
    found: pd.DataFrame, model: str, event: str | None, case_control: bool
) -> tuple[str, ...]:
    """Return what is told of models: what was compared, and outcomes that are not rare."""
    notes = ["effects are of exposures 0 and 1, or of the mean and one standard deviation above it"]
    rare = model == "cox" or (model == "logistic" and not case_control)
    share = (found["events"] / found["n"]).max() if rare and "events" in found else 0.0
    if share > RARE:
        other = (
            "exponential and weibull do not"
            if event
            else "loglinear does not, nor do natural effects by definition (`--report`)"
        )
        notes.append(f"the closed form of a {MODELS[model]} model takes the outcome to be rare, "
                     f"and {share:.0%} of patients have it: {other}")  # fmt: skip
    if case_control:
        notes.append("the mediators' models are of patients without the outcome (case-control)")
    return tuple(notes)


def _of_ties(tied: int, ties: str) -> list[str]:
    """Return what is told of events at the same time."""
    if not tied:
        return []
    told = f"{tied} events share their time with others, taken by {ties.capitalize()}'s method"
    if ties == "breslow":
        return [f"{told}, which draws slopes towards 0 where many do; Efron's does so less"]
    return [f"{told}; where most do, finer times would tell slopes better"]
