"""Effects beside what others print: as tests/comparisons.py, for the kinds of models and tables."""

from dataclasses import replace

import numpy as np
import pandas as pd
from comparisons import MEASURES, REFERENCE, rows_of
from scipy.special import expit, logit
from scipy.stats import norm

from ssinfnet.mediation import (
    closed_form_effects,
    corrected_effects,
    fit_paths,
    mediate,
    natural_effects,
    pooled,
)
from ssinfnet.mediation.closed_form import ClosedForm
from ssinfnet.mediation.outcome_models import Regression, fit_regression

# Of a comparison's largest relative difference
BOUNDS = {
    "SAS macro, estimates": 2e-5,  # five digits are printed
    "SAS macro, intervals": 1e-4,  # it takes 1.96 for 1.95996
    "SAS macro, its own errors": 1e-4,
    "SAS macro, stopped early": 2e-4,
    "regmedint, effects": 1e-6,
    "R mediation, framing": 0.02,  # theirs are simulated
    "R mediation, jobs": 5e-3,  # three digits are printed
    "medflex, natural effects": 0.1,  # theirs weight patients
    "R, regressions": 1e-5,
    "R, their errors": 1e-3,
    "lavaan FIML, estimates": 1e-4,
    "lavaan FIML, errors": 1e-4,
    "lavaan FIML, effects": 1e-4,
    "lavaan FIML, fit": 1e-4,
    "mice, Rubin's rules": 1e-8,
    "mice, effects": 0.05,  # what imputations differ by
    "mice, errors": 0.12,
    "sandwich, errors": 1e-7,
    "survey, errors": 1e-7,
    "clubSandwich, CR2 errors": 1e-7,
    "lavaan, errors by clusters": 1e-4,
    "lavaan, latent mediator": 1e-6,
}


# ------------------------------------------------------------------------------------------------
# The SAS macro of Valeri and VanderWeele on survival::pbc; tests/reference/sas.py says how

RUN = ["mediator", "outcome", "interaction", "case_control", "covariates"]


def macro_printed():
    """Return what the macro has printed, a row an effect."""
    return pd.read_csv(REFERENCE / "sas_mediation.csv", keep_default_na=False)


def macro_regression(rows):
    """Return one stored regression and the means of its covariates."""
    v = rows.filter(regex=r"^v\d$").to_numpy()[:, : len(rows)]
    first = rows.iloc[0]
    fit = Regression(rows["estimate"].to_numpy(), v, first["variance"], int(first["df"]))
    return fit, rows["mean"].dropna().to_numpy()


def macro_form(run, stored):
    """Return the closed form of one run, a row of `RUN`; None where its model was not fitted."""
    number = 0 if run.covariates == "none" else 3
    own = stored[(stored["mediator"] == run.mediator) & (stored["covariates"] == number)]
    of_mediator = own[own["outcome"].isna() & (own["controls"] == run.case_control)]
    of_outcome = own[(own["outcome"] == run.outcome) & (own["interaction"] == run.interaction)]
    if of_outcome.empty:
        return None
    to_mediator, means = macro_regression(of_mediator)
    return ClosedForm(
        to_mediator=to_mediator,
        to_outcome=macro_regression(of_outcome)[0],
        mediator_model=run.mediator,
        outcome_model=run.outcome,
        interaction=run.interaction,
        contrast=(1.1, 2.3),
        at_mediator=1.4,
        at_covariates=np.array([50.0, 1.0, 2.0]) if run.covariates == "given" else means,
    )


def macro_forms():
    """Return each run of the macro that prints effects: its closed form, and its rows."""
    stored = pd.read_csv(REFERENCE / "sas_regressions.csv")
    for _, rows in macro_printed().groupby(RUN, sort=False):
        yield macro_form(rows.iloc[0], stored), rows


def with_variance_slip(form):
    """Return the form with σ² where the variance of σ² belongs, 2σ⁴ over its degrees of freedom."""
    own = form.to_mediator
    return replace(form, to_mediator=replace(own, residual_df=2 * own.variance))


def swapped_error(form):
    """Return the error of the pure indirect effect, exposures swapped in one of its derivatives.

    That by the exposure's slope on a binary mediator, which the macro has so without covariates.
    """
    (low, high), beta, theta = form.contrast, form.to_mediator.slopes, form.to_outcome.slopes
    of_slope = np.array([0, 0, 1, low]) if form.interaction else np.array([0, 0, 1])
    with_it, without = (
        [expit(slope + beta[0] + beta[1] * x) for x in (low, high)]
        for slope in (of_slope @ theta, 0)
    )
    rise = np.subtract(with_it, without)
    gradient = np.array([rise[1] - rise[0], low * rise[1] - high * rise[0]])
    variance = gradient @ form.to_mediator.covariance @ gradient
    direct = with_it[1] - with_it[0]
    return np.sqrt(variance + direct**2 * (of_slope @ form.to_outcome.covariance @ of_slope))


def as_the_macro(form, rows):
    """Return the effects as the macro computes them, with its own errors."""
    found = form.effects().set_index("effect")
    if rows["differs"].eq("variance").any():
        differ = rows.loc[rows["differs"] == "variance", "effect"].unique()
        found.loc[differ] = with_variance_slip(form).effects().set_index("effect").loc[differ]
    if rows["differs"].eq("swapped").any():
        reach = norm.ppf([0.025, 0.975]) * swapped_error(form)
        limits = found.loc["pure_indirect", "estimate"] + reach
        found.loc["pure_indirect", ["ratio_low", "ratio_high"]] = np.exp(limits)
    linear = form.outcome_model == "linear"
    return found[["estimate", "low", "high"] if linear else ["ratio", "ratio_low", "ratio_high"]]


def with_sas():
    """Compare all effects of the macro's 80 listings but the four that did not converge."""
    tables = []
    for form, rows in macro_forms():
        if form is None:
            continue
        found = as_the_macro(form, rows)
        for row in rows.itertuples(index=False):
            ours, name = found.loc[row.effect].tolist(), "-".join(map(str, row[:6]))
            theirs = [row.estimate, row.low, row.high]
            own = {"": "intervals", "one step": "stopped early"}.get(row.differs, "its own errors")
            first = "stopped early" if row.differs == "one step" else "estimates"
            tables.append(rows_of(f"SAS macro, {first}", [name], ours[:1], theirs[:1]))
            tables.append(rows_of(f"SAS macro, {own}", [name] * 2, ours[1:], theirs[1:]))
    return pd.concat(tables, ignore_index=True)


# ------------------------------------------------------------------------------------------------
# What others print of examples of their own

REGMEDINT = {  # effect → estimate and error that its README prints of vv2015.csv
    "controlled_direct": (0.541070807, 0.29422958), "pure_direct": (0.488930417, 0.21049248),
    "total_indirect": (0.018240025, 0.03706111), "total_direct": (0.498503455, 0.21209540),
    "pure_indirect": (0.008666987, 0.02730994), "total": (0.507170442, 0.21090051),
}  # fmt: skip


def with_regmedint(oracles):
    """Compare log ratios of survival times and their errors."""
    table = pd.read_csv(oracles / "mediation" / "vv2015.csv")
    found = closed_form_effects(table, "x", "y", "m", ["c"], outcome_model="weibull",
                                event="event", at_mediator=1.0, at_covariates=[0.5])  # fmt: skip
    ours = found.set_index("effect").loc[list(REGMEDINT), ["estimate", "se"]].to_numpy()
    return rows_of(
        "regmedint, effects",
        np.repeat(list(REGMEDINT), 2),
        ours.ravel(),
        np.ravel(list(REGMEDINT.values())),
    )


def with_r_mediation(oracles):
    """Compare the effects that R's mediation prints of its two examples, Tingley et al. (2014).

    Framing: of the anxiety that a news story about immigration causes, on whether a message is
    sent to Congress. Theirs are simulated, ours are not. Jobs: of the confidence that a training
    gives, on depression.
    """
    framing, jobs = (
        pd.read_csv(oracles / "mediation" / f"{name}.csv") for name in ("framing", "jobs")
    )
    found = natural_effects(
        framing, "treat", "cong_mesg", "emo", ["age", "educ", "gender", "income"],
        link="probit", draws=0,
    ).set_index("effect")["estimate"]  # fmt: skip
    effects = ["total_indirect", "pure_indirect"]
    first = rows_of(
        "R mediation, framing", ["treated", "control"], found[effects], [0.0857, 0.0851]
    )
    found = natural_effects(
        jobs, "treat", "depress2", "job_seek", ["econ_hard", "sex", "age"], draws=0
    ).set_index("effect")["estimate"]
    effects = ["total_indirect", "pure_direct", "total"]
    second = rows_of("R mediation, jobs", effects, found[effects], [-0.0157, -0.0403, -0.0560])
    return pd.concat([first, second], ignore_index=True)


def with_medflex(oracles):
    """Compare log odds ratios of a natural effect model, at the means of its covariates.

    Steen et al. (2017): of anxious attachment, through negative affect, on unwanted pursuit of the
    former partner. Theirs weight patients by their mediator; ours model the outcome given it.
    """
    columns = ["attbin", "negaff", "UPB", "gender", "educ", "age"]
    table = pd.read_csv(oracles / "mediation" / "UPBdata.csv")[columns]
    table = pd.get_dummies(table, columns=["gender", "educ"], drop_first=True, dtype=float)
    beside = list(table.columns.difference(columns))
    found = natural_effects(table, "attbin", "UPB", "negaff", ["age", *beside], draws=0,
                            held=table[["age", *beside]].mean().to_dict())  # fmt: skip
    found = found.set_index("effect")["estimate"]
    # Exposed, with the mediator of the unexposed
    crossed = found["total_indirect"] / (found["indirect_risk_ratio"] - 1)
    chances = [crossed + found["total_indirect"], crossed, crossed - found["pure_direct"]]
    exposed, crossed, unexposed = logit(chances)
    return rows_of(
        "medflex, natural effects",
        ["direct", "indirect"],
        [crossed - unexposed, exposed - crossed],
        [0.3959, 0.3520],
    )


# ------------------------------------------------------------------------------------------------
# What R makes of tables made for the tests; tests/reference/statistics.R

OUTCOMES = {"linear": "y", "logistic": "y_binary", "loglinear": "y_rare", "poisson": "y_count",
            "negative_binomial": "y_count", "cox": "time", "exponential": "time",
            "weibull": "time"}  # fmt: skip
TERMS = ("(Intercept)", "x", "m", "c")


def with_r_regressions():
    """Compare the slopes of eight models, and the errors of six.

    R's error takes the dispersion of a negative binomial model for known, and of log risks the
    expected information, where ours, as SAS's, takes the observed one.
    """
    kinds = pd.read_csv(REFERENCE / "kinds.csv")
    printed = pd.read_csv(REFERENCE / "regressions.csv").set_index(["model", "term"])
    tables = []
    for model, outcome in OUTCOMES.items():
        y, event = (kinds[name].to_numpy(float) for name in (outcome, "event"))
        fit = fit_regression(model, y, kinds[["x", "m", "c"]].to_numpy(), event)
        own = printed.loc[model]
        shown = [TERMS.index(term) for term in own.index if term in TERMS]
        own, names = own.loc[[TERMS[i] for i in shown]], [f"{model} {TERMS[i]}" for i in shown]
        tables.append(rows_of("R, regressions", names, fit.slopes[shown], own["estimate"]))
        if model not in ("negative_binomial", "loglinear"):
            errors = np.sqrt(np.diag(fit.covariance))[shown]
            tables.append(rows_of("R, their errors", names, errors, own["se"]))
    return pd.concat(tables, ignore_index=True)


FIML = {  # model of tests/reference/statistics.R → paths, covariates, whether mediators correlate
    "full": ({"m1": ["x1", "x2"], "m2": ["x1", "x2"]}, (), True),
    "restricted": ({"m1": ["x1"], "m2": ["x1", "x2"]}, (), False),
    "covariate": ({"m1": ["x1"], "m2": ["x1"]}, ("x2",), True),
}


def with_fiml():
    """Compare path models with missing values, by full information."""
    table, tables = pd.read_csv(REFERENCE / "partly_known.csv"), []
    printed, fits = (pd.read_csv(REFERENCE / f"fiml_{kind}.csv") for kind in ("estimates", "fit"))
    for model, (paths, covariates, correlated) in FIML.items():
        fit = fit_paths(
            table, "y", paths, covariates, correlated=correlated, missing="fiml", draws=0
        )
        theirs = printed[printed["model"] == model].set_index(["lhs", "op", "rhs"])
        for row in fit.estimates.to_dict("records"):
            key = (row["lhs"], row["op"], row["rhs"])
            other = theirs.loc[key if key in theirs.index else key[::-1]]
            tables.append(rows_of("lavaan FIML, estimates", [key] * 2,
                                  [row["estimate"], row["standardised"]],
                                  other[["est", "std.all"]]))  # fmt: skip
            tables.append(rows_of("lavaan FIML, errors", [key] * 2, [row["se"], row["se_robust"]],
                                  other[["se", "se.mlr"]]))  # fmt: skip
        effects = fit.effects.set_index(["exposure", "through"])
        for mediator in ("m1", "m2"):
            other = theirs.xs(f"ind_x1_{mediator}", level="lhs").iloc[0]
            tables.append(rows_of("lavaan FIML, effects", [mediator] * 2,
                                  effects.loc[("x1", mediator), ["estimate", "se"]],
                                  other[["est", "se"]]))  # fmt: skip
        own = fits[fits["model"] == model].set_index("measure")["value"].dropna()
        ours = [fit.measures[MEASURES[name]] for name in own.index]
        tables.append(rows_of("lavaan FIML, fit", list(own.index), ours, own))
    return pd.concat(tables, ignore_index=True)


def with_mice():
    """Compare Rubin's rules, and slopes over tables that both impute by draws of their own."""
    printed = pd.read_csv(REFERENCE / "pooled.csv").set_index("term")
    ours = pooled(
        [0.41, 0.37, 0.45, 0.52, 0.33], np.sqrt([0.011, 0.012, 0.010, 0.013, 0.011]), 120 - 4
    )
    names = ["estimate", "se", "df", "fraction_missing"]
    tables = [rows_of("mice, Rubin's rules", names, [ours[name] for name in names],
                      printed.loc["scalar", ["estimate", "se", "df", "fmi"]])]  # fmt: skip
    partly = pd.read_csv(REFERENCE / "partly_known.csv")
    found = mediate(partly, ["x1"], "y", ["m1", "m2"], ["x2"], imputations=30, draws=0).table
    for row in found.to_dict("records"):
        for beta, term in (
            ("beta21", f"{row['mediator']} ~ x1 + x2"),
            ("beta32", f"y ~ x1 + x2 + {row['mediator']}"),
        ):
            own, se = printed.loc[term], row[f"{beta}_se"]
            tables.append(rows_of("mice, effects", [term], [row[beta]], [own["estimate"]]))
            tables.append(rows_of("mice, errors", [term], [se], [own["se"]]))
    return pd.concat(tables, ignore_index=True)


SLOPES = {
    "beta11": ("y ~ x + c", "x"),
    "beta21": ("m ~ x + c", "x"),
    "beta31": ("y ~ x + c + m", "x"),
    "beta32": ("y ~ x + c + m", "m"),
}


def with_sandwich():
    """Compare errors by clusters and of weighted tables; survey's lack (n - 1) / (n - k)."""
    scans = pd.read_csv(REFERENCE / "kinds.csv")
    printed = pd.read_csv(REFERENCE / "clustered.csv").set_index(["formula", "term"])
    given = (["x"], "y", ["m"], ["c"])
    plain, weighted, alone = (
        mediate(scans, *given, draws=0, **options).table.iloc[0]
        for options in ({"cluster": "cluster"}, {"cluster": "cluster", "weights": "weight"},
                        {"weights": "weight"})
    )  # fmt: skip
    tables = []
    for beta, key in SLOPES.items():
        own, k = printed.loc[key], 4 if "+ m" in key[0] else 3
        factor = np.sqrt((len(scans) - 1) / (len(scans) - k))
        ours = [row[f"{beta}_se"] for row in (plain, weighted, weighted, alone)]
        theirs = [own["clustered"], own["weighted_clustered"],
                  factor * own["survey_clustered"], factor * own["survey"]]  # fmt: skip
        tables += [
            rows_of("sandwich, errors", [beta] * 2, ours[:2], theirs[:2]),
            rows_of("survey, errors", [beta] * 2, ours[2:], theirs[2:]),
        ]
    return pd.concat(tables, ignore_index=True)


def uneven_scans():
    """Return the rows that tests/reference/clusters.R keeps, in clusters of several sizes."""
    scans = pd.read_csv(REFERENCE / "kinds.csv")
    kept = scans[(np.arange(len(scans)) + 1) % 7 != 0].reset_index(drop=True)
    few = kept["cluster"] % 9
    return kept.assign(few=few, site=(few % 3).map({0: "a", 1: "b", 2: "c"}))


def with_clubsandwich():
    """Compare bias-reduced errors by many clusters and few, with sampling weights and without."""
    printed = pd.read_csv(REFERENCE / "bias_reduced.csv")
    printed = printed.set_index(["cluster", "weighted", "formula", "term"])["se"]
    tables = []
    for cluster in ("cluster", "few"):
        for weights in (None, "weight"):
            row = mediate(uneven_scans(), ["x"], "y", ["m"], ["c"], draws=0, cluster=cluster,
                          weights=weights, cluster_errors="CR2").table.iloc[0]  # fmt: skip
            theirs = [printed[cluster, weights is not None, *key] for key in SLOPES.values()]
            names = [f"{beta} {cluster}" for beta in SLOPES]
            ours = [row[f"{beta}_se"] for beta in SLOPES]
            tables.append(rows_of("clubSandwich, CR2 errors", names, ours, theirs))
    return pd.concat(tables, ignore_index=True)


def with_clustered_paths():
    """Compare robust errors of a path model by clusters, of complete rows and of all."""
    printed = pd.read_csv(REFERENCE / "clustered_paths.csv")
    scans = uneven_scans().assign(time=lambda table: table["time"] / 10)
    tables = []
    for rows, theirs in printed.groupby("rows"):
        own = scans if rows == "complete" else scans.assign(
            m=scans["m"].mask((np.arange(len(scans)) + 1) % 5 == 0))  # fmt: skip
        fit = fit_paths(own, "y", {"m": ["x"], "time": ["x"]}, ["c"], cluster="cluster",
                        missing=rows, draws=0)  # fmt: skip
        errors = fit.estimates.set_index(["lhs", "rhs"])["se_robust"].to_dict()
        errors |= fit.effects.set_index("through")["se_robust"].to_dict()
        ours = [errors[row.lhs.removeprefix("ind_") if row.op == ":=" else (row.lhs, row.rhs)]
                for row in theirs.itertuples()]  # fmt: skip
        tables.append(rows_of("lavaan, errors by clusters", theirs["label"], ours, theirs["se"]))
    return pd.concat(tables, ignore_index=True)


def with_latent_mediator():
    """Compare effects corrected for measurement error with a latent variable of one indicator."""
    kinds = pd.read_csv(REFERENCE / "kinds.csv")
    theirs = pd.read_csv(REFERENCE / "reliability.csv").set_index("label")["est"]
    row = corrected_effects(kinds, "x", "y", {"m": 0.7}, ["c"], draws=0).iloc[0]
    ours = row[["indirect_corrected", "direct_corrected"]]
    return rows_of("lavaan, latent mediator", ["indirect", "direct"], ours, theirs[["ind", "d"]])


ALONE = (with_sas, with_r_regressions, with_fiml, with_mice, with_sandwich, with_clubsandwich,
         with_clustered_paths, with_latent_mediator)  # fmt: skip
OF_ORACLES = (with_regmedint, with_r_mediation, with_medflex)  # of tables that lie outside
