"""Closed forms against all that the SAS macro of Valeri and VanderWeele has printed."""

import effect_comparisons as effects
import numpy as np
import pandas as pd
import pytest
from comparisons import REFERENCE, relative

from ssinfnet.mediation.outcome_models import fit_regression

PRINTED = effects.macro_printed()


def test_all_80_runs_of_the_macro_are_stored():
    runs = PRINTED.assign(covariates=PRINTED["covariates"] != "none")[effects.RUN]
    assert len(runs.drop_duplicates()) == 80
    assert len(PRINTED) == 597
    assert set(PRINTED["outcome"]) == {
        "linear", "logistic", "loglinear", "poisson", "negative_binomial", "cox", "exponential",
        "weibull"}  # fmt: skip


def test_every_run_is_the_macros_to_the_digits_printed():
    table = effects.with_sas()
    largest = relative(table).groupby(table["compared"]).max()
    assert (largest <= pd.Series(effects.BOUNDS)[largest.index]).all(), largest
    # An estimate and an interval each; what SAS doubts itself is left out
    assert len(table) == 3 * (len(PRINTED) - 30)


def test_p_values_are_the_macros():
    for form, rows in effects.macro_forms():
        own = rows[rows["differs"] == ""]
        if len(own):
            found = form.effects().set_index("effect").loc[own["effect"], "p"]
            # Five digits; SAS's logistic regressions without covariates stop after one step
            np.testing.assert_allclose(found, own["p"], atol=5e-5)


def test_only_the_runs_that_sas_doubts_have_no_fit_here():
    runs = [
        (form is None, *rows.iloc[0][["mediator", "outcome", "covariates"]], *rows["differs"])
        for form, rows in effects.macro_forms()
    ]
    for unfitted, mediator, outcome, covariates, *differs in runs:
        doubted = (mediator, outcome) == ("linear", "loglinear") and covariates != "none"
        assert unfitted == doubted == (set(differs) == {"not converged"})


def test_without_interaction_the_macro_contradicts_itself_where_its_derivative_is_swapped():
    """Pure and total indirect effect are then one number, of which it prints two intervals."""
    swapped = PRINTED[(PRINTED["differs"] == "swapped") & ~PRINTED["interaction"]]
    same = ["mediator", "outcome", "case_control", "interaction", "covariates"]
    total = PRINTED[PRINTED["effect"] == "total_indirect"]
    both = swapped.merge(total, on=same)
    assert len(both) == len(swapped) == 9
    assert (both["estimate_x"] == both["estimate_y"]).all()
    assert (both["low_x"] != both["low_y"]).all()


def test_the_regressions_behind_the_macro_are_rs():
    """R's own fits, of the models with covariates, are those of tests/reference/statistics.R."""
    rs = pd.read_csv(REFERENCE / "pbc_models.csv").fillna({"second": ""})
    stored = pd.read_csv(REFERENCE / "sas_regressions.csv")
    ours = stored[(stored["covariates"] == 3) & stored["outcome"].notna()]
    compared = 0
    for (mediator, outcome, interaction), rows in ours.groupby(
        ["mediator", "outcome", "interaction"]
    ):
        column = "bili" if mediator == "linear" else "bili_bin"
        own = rs[rs["model"] == f"outcome {column} {outcome} {'t' if interaction else 'f'}"]
        own = own.set_index(["first", "second"])["value"]
        theirs = {"constant": "(Intercept)", "mediator": column, "product": f"trt:{column}"}
        for number, row in enumerate(rows.itertuples()):
            term = theirs.get(row.term, row.term)
            if (term, "estimate") in own.index:
                assert row.estimate == pytest.approx(own[term, "estimate"], rel=1e-4)
                variance = getattr(row, f"v{number}")
                assert variance == pytest.approx(own[term, term], rel=1e-3)
                compared += 1
    assert compared == 126


def test_the_81st_listing_has_the_regressions_of_the_example_of_2015(oracles):
    """It prints no effects; regmedint does, see `effect_comparisons.with_regmedint`."""
    table = pd.read_csv(oracles / "mediation" / "vv2015.csv")
    x, m, c = (table[name].to_numpy(float) for name in ("x", "m", "c"))
    fit = fit_regression(
        "exponential",
        table["y"].to_numpy(),
        np.column_stack([x, m, x * m, c]),
        table["event"].to_numpy(float),
    )
    np.testing.assert_allclose(fit.slopes, [-1.0548, 0.4387, 0.0929, 0.0981, -0.0642], atol=6e-5)
    variances = [0.038017, 0.096983, 0.076959, 0.189642, 0.009013]
    np.testing.assert_allclose(np.diag(fit.covariance), variances, atol=6e-7)
    binary = fit_regression("logistic", m, np.column_stack([x, c]))
    np.testing.assert_allclose(binary.slopes, [-0.3545, 0.3842, 0.2694], atol=6e-5)
    np.testing.assert_allclose(
        np.sqrt(np.diag(binary.covariance)), [0.3252, 0.4165, 0.2058], atol=6e-5
    )
