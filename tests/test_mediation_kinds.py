"""Mediators and outcomes of every kind: against R's regressions, and by summing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import poisson

from ssinfnet.mediation import closed_form_effects, natural_effects
from ssinfnet.mediation.outcome_models import NotFittedError, fit_regression

REFERENCE = Path(__file__).with_name("reference")
OUTCOMES = {"linear": "y", "logistic": "y_binary", "loglinear": "y_rare", "poisson": "y_count",
            "negative_binomial": "y_count", "cox": "time", "exponential": "time",
            "weibull": "time"}  # fmt: skip


@pytest.fixture
def kinds():
    return pd.read_csv(REFERENCE / "kinds.csv")


@pytest.mark.parametrize("model", OUTCOMES)
def test_regressions_are_rs(kinds, model):
    theirs = pd.read_csv(REFERENCE / "regressions.csv")
    theirs = theirs[theirs["model"] == model].set_index("term")
    y, event = (kinds[name].to_numpy(float) for name in (OUTCOMES[model], "event"))
    fit = fit_regression(model, y, kinds[["x", "m", "c"]].to_numpy(), event, "breslow")
    for number, term in enumerate(("(Intercept)", "x", "m", "c")):
        if term in theirs.index:
            assert fit.slopes[number] == pytest.approx(theirs.loc[term, "estimate"], rel=2e-4)
            error = np.sqrt(fit.covariance[number, number])
            # R's takes the dispersion for known, and of log risks the expected information, where
            # ours, as SAS's, is the observed one
            rel = {"negative_binomial": 0.05, "loglinear": 0.1}.get(model, 1e-3)
            assert error == pytest.approx(theirs.loc[term, "se"], rel=rel)


def test_a_regression_without_a_maximum_is_said(kinds):
    x = kinds[["x"]].to_numpy()
    for model, y in (("logistic", x[:, 0] > 0), ("loglinear", np.ones(len(x)))):
        with pytest.raises(NotFittedError, match=f"the {model} model"):
            fit_regression(model, y.astype(float), x)


@pytest.mark.parametrize("model", ["logistic", "poisson"])
def test_a_group_without_any_event_has_no_finite_slope(kinds, model):
    """The likelihood rises without end; fits stopped at a log ratio of 33, error a million."""
    exposed = (kinds["x"] > 0).astype(float)
    y = kinds["y_binary" if model == "logistic" else "y_count"] * exposed
    table = kinds.assign(exposed=exposed, y=y)
    found = closed_form_effects(
        table, "exposed", "y", "m", ["c"], outcome_model=model, interaction=False
    )
    assert found[["estimate", "p"]].isna().all(axis=None)
    assert found["reason"].str.contains("separated").all()
    rare = table.assign(y=y.where(table.index != table.index[exposed == 0][0], 1.0))
    found = closed_form_effects(
        rare, "exposed", "y", "m", ["c"], outcome_model=model, interaction=False
    )
    family = sm.families.Binomial() if model == "logistic" else sm.families.Poisson()
    fit = sm.GLM(rare["y"], sm.add_constant(rare[["exposed", "m", "c"]]), family=family).fit()
    direct = found.set_index("effect").loc["controlled_direct"]
    assert direct["estimate"] == pytest.approx(fit.params["exposed"], rel=1e-6)
    assert direct["se"] == pytest.approx(fit.bse["exposed"], rel=1e-5)


@pytest.mark.parametrize("model", ["cox", "exponential", "weibull"])
def test_a_survival_model_without_any_event_says_so(kinds, model):
    table = kinds.assign(none=0.0)
    found = closed_form_effects(table, "x", "time", "m", outcome_model=model, event="none")
    assert found["estimate"].isna().all()
    assert set(found["reason"]) == {f"the {model} model has no event among {len(kinds)} patients"}


@pytest.mark.parametrize("model", ["linear", "logistic"])
def test_an_outcome_that_is_the_same_for_all_with_the_mediator_has_no_effects(kinds, model):
    table = kinds.assign(m=kinds["m"].where(kinds["y_binary"] == 0))
    found = closed_form_effects(table, "x", "y_binary", "m", outcome_model=model)
    assert found["estimate"].isna().all()
    assert found["reason"].str.contains("does not vary among").all()


def test_controls_that_are_all_unexposed_have_no_model_of_the_mediator(kinds):
    table = kinds.assign(exposed=(kinds["x"] > 0) * kinds["y_binary"])
    found = closed_form_effects(table, "exposed", "y_binary", "m", case_control=True)
    assert found["reason"].str.contains("a regressor of the linear model does not vary").all()


# From a table


def test_closed_forms_of_linear_models_are_products_of_slopes(kinds):
    found = closed_form_effects(kinds, "x", "y", "m", ["c"], interaction=False).set_index("effect")
    z = sm.add_constant(kinds[["x", "c"]])
    a = sm.OLS(kinds["m"], z).fit()
    b = sm.OLS(kinds["y"], z.assign(m=kinds["m"])).fit()
    indirect = a.params["x"] * b.params["m"]
    assert found.loc["total_indirect", "estimate"] == pytest.approx(indirect, rel=1e-8)
    assert found.loc["controlled_direct", "estimate"] == pytest.approx(b.params["x"], rel=1e-8)
    share = indirect / (indirect + b.params["x"])
    assert found.loc["proportion_mediated", "estimate"] == pytest.approx(share, rel=1e-8)
    sobel = np.hypot(a.params["x"] * b.bse["m"], b.params["m"] * a.bse["x"])
    assert found.loc["total_indirect", "se"] == pytest.approx(sobel, rel=1e-6)
    # They are the natural effects of the linear link
    natural = natural_effects(kinds, "x", "y", "m", ["c"], contrast=(0, 1), draws=0)
    natural = natural.set_index("effect")
    for effect in ("total_indirect", "pure_direct", "total", "proportion_mediated"):
        assert natural.loc[effect, "estimate"] == pytest.approx(found.loc[effect, "estimate"])
    assert np.isnan(natural.loc["indirect_risk_ratio", "estimate"])


def test_parts_add_up_on_the_logarithmic_scale(kinds):
    runs = [
        ("y_binary", None, None),
        ("y_count", "poisson", None),
        ("time", "weibull", "event"),
        ("time", None, "event"),
    ]
    for outcome, model, event in runs:
        for mediator in ("m", "m_binary"):
            found = closed_form_effects(
                kinds, "x", outcome, mediator, ["c"], outcome_model=model, event=event
            ).set_index("effect")["estimate"]
            assert found["total"] == pytest.approx(found["pure_direct"] + found["total_indirect"])
            assert found["total"] == pytest.approx(found["total_direct"] + found["pure_indirect"])


def test_a_share_mediated_of_a_total_near_0_ends_in_no_overflow(kinds):
    """Its interval reaches beyond what e can be raised to; it is no ratio's logarithm."""
    table = kinds.assign(y_count=kinds["y_count"].iloc[::-1].to_numpy())
    found = closed_form_effects(
        table, "x", "y_count", "m", outcome_model="poisson", contrast=(0, 0.2027)
    ).set_index("effect")
    assert found.loc["total", "estimate"] == pytest.approx(0, abs=1e-6)
    assert found.loc["proportion_mediated", ["ratio", "ratio_high"]].isna().all()


@pytest.mark.parametrize("model", ["linear", "logistic"])
def test_units_change_no_error_of_a_closed_form(kinds, model):
    outcome = OUTCOMES[model]
    expected = closed_form_effects(kinds, "x", outcome, "m", ["c"], contrast=(0, 1))
    for x, m in ((1e6, 1.0), (1.0, 1e4), (1.0, 1e-8)):
        scaled = kinds.assign(x=x * kinds["x"], m=m * kinds["m"])
        found = closed_form_effects(scaled, "x", outcome, "m", ["c"], contrast=(0, x))
        for name in ("estimate", "se"):
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"outcome_model": "logit"}, "a model must be one of"),
        ({"outcome_model": "cox"}, "need a column of events"),
        ({"outcome_model": "logistic"}, "must be 0 and 1 for this model"),
        ({"mediator_model": "logistic"}, "must be 0 and 1 for this model"),
        ({"outcome_model": "poisson"}, "must hold counts"),
        ({"event": "y_binary"}, "must hold times above 0"),
    ],
)
def test_models_that_do_not_fit_the_values_are_refused(kinds, options, words):
    with pytest.raises(ValueError, match=words):
        closed_form_effects(kinds, "x", "y", "m", **options)


def test_events_as_text_are_refused(kinds):
    table = kinds.assign(event=np.where(kinds["event"] == 1, "dead", "alive"))
    with pytest.raises(ValueError, match="'event' must be 0 and 1 for this model"):
        closed_form_effects(table, "x", "time", "m", event="event")


def test_collinear_covariates_are_named_and_nothing_follows_is_said(kinds):
    table = kinds.assign(twin=2 * kinds["c"])
    found = closed_form_effects(table, "x", "y", "m", ["c", "twin"])
    assert set(found["covariates_dropped"]) == {"twin"}
    expected = closed_form_effects(kinds, "x", "y", "m", ["c"])
    np.testing.assert_allclose(found["estimate"], expected["estimate"], rtol=1e-7)
    found = closed_form_effects(table.assign(m2=table["c"]), "x", "y", "m2", ["c"])
    assert found["estimate"].isna().all()
    assert found["reason"].str.contains("follows exactly").all()


# Natural effects by summing over the mediator


def summed(table, mediator, outcome, family, contrast, interaction):
    """E[Y(x, M(x'))] of a binary mediator or a count, from statsmodels' own fits."""
    z = sm.add_constant(table[["x", "c"]])
    of_mediator = sm.families.Binomial() if mediator == "m_binary" else sm.families.Poisson()
    first = sm.GLM(table[mediator], z, family=of_mediator).fit()

    def design(x, m):
        both = z.assign(x=x, m=m)
        return both.assign(xm=both["x"] * both["m"]) if interaction else both

    second = sm.GLM(table[outcome], design(table["x"], table[mediator]), family=family).fit()

    def at(x, mediators_x):
        mean = first.predict(z.assign(x=mediators_x))
        values = range(2) if mediator == "m_binary" else range(60)
        chance = (
            [1 - mean, mean] if mediator == "m_binary" else [poisson.pmf(m, mean) for m in values]
        )
        return sum(
            (second.predict(design(x, m)) * p).mean() for m, p in zip(values, chance, strict=True)
        )

    low, high = contrast
    return {
        "total_indirect": at(high, high) - at(high, low),
        "pure_direct": at(high, low) - at(low, low),
        "pure_indirect": at(low, high) - at(low, low),
    }


@pytest.mark.parametrize(
    ("mediator", "outcome", "link", "family", "options"),
    [
        ("m_binary", "y_binary", "logit", sm.families.Binomial(), {}),
        ("m_binary", "y", "linear", sm.families.Gaussian(), {}),
        ("m_binary", "y_count", "poisson", sm.families.Poisson(), {}),
        ("y_count", "y_binary", "logit", sm.families.Binomial(), {"mediator_model": "poisson"}),
        ("y_count", "y", "linear", sm.families.Gaussian(), {"mediator_model": "poisson"}),
    ],
)
@pytest.mark.parametrize("interaction", [False, True])
def test_effects_through_binary_mediators_and_counts_are_sums(
    kinds, mediator, outcome, link, family, options, interaction
):
    found = natural_effects(
        kinds, "x", outcome, mediator, ["c"], link=link, contrast=(-0.5, 1),
        interaction=interaction, draws=0, **options,
    ).set_index("effect")  # fmt: skip
    expected = summed(kinds, mediator, outcome, family, (-0.5, 1), interaction)
    for effect, value in expected.items():
        assert found.loc[effect, "estimate"] == pytest.approx(value, rel=2e-4, abs=1e-7)
    total = found.loc["total", "estimate"]
    share = found.loc["total_indirect", "estimate"] / total
    assert found.loc["proportion_mediated", "estimate"] == pytest.approx(share)
    assert (found["se"].dropna() > 0).all()


def test_intervals_of_a_binary_mediator_hold_by_draws_too(kinds):
    found = natural_effects(kinds, "x", "y", "m_binary", ["c"], draws=200).set_index("effect")
    row = found.loc["total_indirect"]
    assert row["drawn_high"] - row["drawn_low"] == pytest.approx(row["high"] - row["low"], rel=0.3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"link": "poisson"}, "must hold counts"),
        ({"mediator_model": "poisson"}, "must hold counts"),
        ({"mediator_model": "logistic"}, "must be 0 and 1"),
        ({"mediator_model": "gamma"}, "mediator_model must be one of"),
    ],
)
def test_natural_models_that_do_not_fit_are_refused(kinds, options, words):
    with pytest.raises(ValueError, match=words):
        natural_effects(kinds, "x", "y", "m", **options)
