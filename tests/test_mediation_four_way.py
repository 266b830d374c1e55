"""The total effect in four parts (VanderWeele 2014): by hand, by statsmodels and by summing."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from comparisons import REFERENCE
from scipy.special import expit

from ssinfnet.mediation import closed_form_effects
from ssinfnet.mediation.closed_form import ClosedForm
from ssinfnet.mediation.outcome_models import Regression

PARTS = ["controlled_direct", "reference_interaction", "mediated_interaction", "pure_indirect"]


@pytest.fixture
def kinds():
    return pd.read_csv(REFERENCE / "kinds.csv")


def four(*given, **options):
    return closed_form_effects(*given, four_way=True, **options).set_index("effect")


def test_four_parts_of_linear_slopes_worked_by_hand():
    """M is 1 + 2x; Y is 3x + 4m + 5xm; x from 0 to 1, the mediator held at 2.

    Y unexposed is 4. The mediator held at 2, Y rises by 3 + 10 = 13. As it is unexposed, at 1, Y
    rises by 3 + 5 = 8, so that interaction with it as it is takes 5 away; of what the exposure
    adds to it, 2, Y has 4·2 = 8 by itself and 5·2 = 10 with the exposure. 13 - 5 + 10 + 8 = 26,
    and Y exposed is 3 + (4 + 5)·3 = 30.
    """
    form = ClosedForm(
        to_mediator=Regression(np.array([1.0, 2.0]), np.diag([0.1, 0.2]) ** 2, 1.0, 50),
        to_outcome=Regression(np.array([0.0, 3, 4, 5]), np.diag([0, 0.3, 0.4, 0.5]) ** 2, 1.0, 50),
        mediator_model="linear",
        outcome_model="linear",
        interaction=True,
        contrast=(0.0, 1.0),
        at_mediator=2.0,
        at_covariates=np.array([]),
    )
    found = form.four_way().set_index("effect")
    assert found.loc[PARTS, "estimate"].tolist() == pytest.approx([13, -5, 10, 8])
    assert found.loc["total", "estimate"] == pytest.approx(26)
    assert found.loc[["mediated", "interaction", "eliminated"], "estimate"].tolist() == (
        pytest.approx([18, 5, 13])
    )
    # Slopes θ₁ + 2θ₃; θ₃(β₀ - 2); θ₃β₁; θ₂β₁
    errors = np.hypot([0.3, 0.5 * 1, 0.5 * 2, 0.4 * 2], [2 * 0.5, 5 * 0.1, 5 * 0.2, 4 * 0.2])
    assert found.loc[PARTS, "se"].tolist() == pytest.approx(errors.tolist(), rel=1e-6)
    assert found.loc[PARTS, "share"].tolist() == pytest.approx([0.5, -5 / 26, 10 / 26, 8 / 26])
    assert found.loc["total", ["share", "share_se"]].tolist() == pytest.approx([1, 0], abs=1e-9)


def test_four_parts_of_a_linear_outcome_are_statsmodels_slopes(kinds):
    found = four(kinds, "x", "y", "m", ["c"], contrast=(-1, 2), at_mediator=0.5)
    z = sm.add_constant(kinds[["x", "c"]])
    a = sm.OLS(kinds["m"], z).fit()
    b = sm.OLS(kinds["y"], z.assign(m=kinds["m"], xm=kinds["x"] * kinds["m"])).fit()
    unexposed = a.params["const"] - a.params["x"] + a.params["c"] * kinds["c"].mean()
    expected = [
        3 * (b.params["x"] + 0.5 * b.params["xm"]),
        3 * b.params["xm"] * (unexposed - 0.5),
        9 * b.params["xm"] * a.params["x"],
        3 * (b.params["m"] - b.params["xm"]) * a.params["x"],
    ]
    np.testing.assert_allclose(found.loc[PARTS, "estimate"], expected, rtol=1e-8)
    slopes = np.array([3.0 * (name == "x") + 1.5 * (name == "xm") for name in b.params.index])
    controlled = b.t_test(slopes).sd.item()
    assert found.loc["controlled_direct", "se"] == pytest.approx(controlled, rel=1e-6)
    both = np.hypot(a.params["x"] * b.bse["xm"], b.params["xm"] * a.bse["x"])
    assert found.loc["mediated_interaction", "se"] == pytest.approx(9 * both, rel=1e-6)


@pytest.mark.parametrize("mediator", ["m", "m_binary"])
@pytest.mark.parametrize(
    ("outcome", "model", "event"),
    [("y", "linear", None), ("y_binary", "logistic", None), ("y_rare", "loglinear", None),
     ("y_count", "poisson", None), ("y_count", "negative_binomial", None),
     ("time", "cox", "event"), ("time", "exponential", "event"), ("time", "weibull", "event")],
)  # fmt: skip
def test_parts_and_shares_add_up_to_the_total(kinds, mediator, outcome, model, event):
    options = {"outcome_model": model, "event": event, "at_mediator": 1.0}
    found = four(kinds, "x", outcome, mediator, ["c"], **options)
    total = found.loc["total", "estimate"]
    assert found.loc[PARTS, "estimate"].sum() == pytest.approx(total, rel=1e-9)
    assert found.loc[PARTS, "share"].sum() == pytest.approx(1)
    parts = found["estimate"]
    assert parts["mediated"] == parts["mediated_interaction"] + parts["pure_indirect"]
    assert parts["eliminated"] == pytest.approx(parts[PARTS[1:]].sum())
    assert (found["se"] > 0).all()
    # The same fits as the effects of two parts, whose ratios are these and 1
    two = closed_form_effects(kinds, "x", outcome, mediator, ["c"], **options).set_index("effect")
    apart = (two["estimate"] if model == "linear" else two["ratio"] - 1).astype(float)
    assert total == pytest.approx(apart["total"])
    assert parts["pure_indirect"] == pytest.approx(apart["pure_indirect"])
    direct = parts["controlled_direct"] + parts["reference_interaction"]
    assert direct == pytest.approx(apart["pure_direct"])
    mediated = two.loc["proportion_mediated"]
    assert found.loc["mediated", "share"] == pytest.approx(mediated["estimate"])
    assert found.loc["mediated", "share_se"] == pytest.approx(mediated["se"], rel=1e-5)


def test_parts_without_interaction_are_two_of_a_linear_outcome(kinds):
    found = four(kinds, "x", "y", "m", ["c"], interaction=False)["estimate"]
    assert found["interaction"] == pytest.approx(0, abs=1e-12)
    assert found["total"] == pytest.approx(found["controlled_direct"] + found["pure_indirect"])


def test_parts_of_a_binary_outcome_are_excess_odds_summed_over_the_mediator(kinds):
    """VanderWeele (2014) by definition: odds of each mediator, weighted by its chance."""
    found = four(kinds, "x", "y_binary", "m_binary", ["c"], at_mediator=1.0)
    z = sm.add_constant(kinds[["x", "c"]])
    a = sm.Logit(kinds["m_binary"], z).fit(disp=0).params
    m = kinds["m_binary"]
    b = sm.Logit(kinds["y_binary"], z.assign(m=m, xm=kinds["x"] * m)).fit(disp=0).params

    def odds(x, m):
        return np.exp(b["x"] * x + b["m"] * m + b["xm"] * x * m)

    def weighted(x, mediators_x):
        chance = expit(a["const"] + a["x"] * mediators_x + a["c"] * kinds["c"].mean())
        return odds(x, 1) * chance + odds(x, 0) * (1 - chance)

    nobody, alone, indirect, exposed = (weighted(x, y) for y, x in product((0, 1), (0, 1)))
    controlled = odds(1, 1) - odds(0, 1)
    both = exposed - alone - indirect + nobody
    expected = [controlled, alone - nobody - controlled, both, indirect - nobody]
    np.testing.assert_allclose(found.loc[PARTS, "estimate"] * nobody, expected, rtol=1e-5)


def test_errors_of_excess_odds_are_those_of_drawn_slopes():
    """Slopes drawn from their distribution, narrow enough for the delta method to be exact."""
    rng = np.random.default_rng(4)
    beta, theta = np.array([-0.5, 0.8]), np.array([-2.0, 0.4, 0.6, 0.3])
    errors = 0.01 * np.array([1.0, 0.6]), 0.01 * np.array([1.0, 0.8, 0.7, 0.5])

    def form(beta, theta):
        return ClosedForm(
            to_mediator=Regression(beta, np.diag(errors[0] ** 2), 0.0, 100),
            to_outcome=Regression(theta, np.diag(errors[1] ** 2), 0.0, 100),
            mediator_model="logistic",
            outcome_model="logistic",
            interaction=True,
            contrast=(0.0, 1.0),
            at_mediator=0.0,
            at_covariates=np.array([]),
        )

    found = form(beta, theta).four_way()
    drawn = []
    for _ in range(800):
        own = form(
            *(rng.normal(given, error) for given, error in zip((beta, theta), errors, strict=True))
        )
        drawn.append(
            own._four_way(np.concatenate([own.to_mediator.slopes, [0.0], own.to_outcome.slopes]))
        )
    # Of 800 draws an error is known to a fortieth
    np.testing.assert_allclose(found["se"], np.std(drawn, axis=0), rtol=0.1)


def test_parts_that_no_model_gives_have_the_reason(kinds):
    found = four(kinds.assign(none=0.0), "x", "time", "m", outcome_model="cox", event="none")
    assert found.index.tolist()[:4] == PARTS
    assert found["estimate"].isna().all()
    assert found["reason"].str.contains("has no event").all()


def test_covariates_may_be_held_by_name(kinds):
    first, named, means = (
        closed_form_effects(kinds, "x", "y", "m", ["c", "weight"], at_covariates=given)["estimate"]
        for given in ([40, kinds["weight"].mean()], {"c": 40}, None)
    )
    np.testing.assert_allclose(first, named, rtol=1e-12)
    assert (first != means).any()
    with pytest.raises(ValueError, match=r"at_covariates names \['d'\]"):
        four(kinds, "x", "y", "m", ["c"], at_covariates={"d": 1})
