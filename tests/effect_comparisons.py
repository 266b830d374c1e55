"""Effects beside what others print: as tests/comparisons.py, for the kinds of models and tables."""

from dataclasses import replace

import numpy as np
import pandas as pd
from comparisons import REFERENCE, rows_of
from scipy.special import expit
from scipy.stats import norm

from ssinfnet.mediation.closed_form import ClosedForm
from ssinfnet.mediation.outcome_models import Regression

# Of a comparison's largest relative difference
BOUNDS = {
    "SAS macro, estimates": 2e-5,  # five digits are printed
    "SAS macro, intervals": 1e-4,  # it takes 1.96 for 1.95996
    "SAS macro, its own errors": 1e-4,
    "SAS macro, stopped early": 2e-4,
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
        to_mediator=to_mediator, to_outcome=macro_regression(of_outcome)[0],
        mediator_model=run.mediator, outcome_model=run.outcome, interaction=run.interaction,
        contrast=(1.1, 2.3), at_mediator=1.4,
        at_covariates=np.array([50.0, 1.0, 2.0]) if run.covariates == "given" else means,
    )  # fmt: skip


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
