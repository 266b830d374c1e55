"""Single mediators by named models, against R's regressions, `mediate` and sums over counts."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.stats import norm
from typer.testing import CliRunner

from ssinfnet import mediation
from ssinfnet.cli import app
from ssinfnet.mediation import closed_form_effects, modelled_effects, natural_effects
from ssinfnet.report import mediation_page
from ssinfnet.report.mediation_methods import methods_text

REFERENCE = Path(__file__).with_name("reference")
OUTCOMES = {"linear": "y", "logistic": "y_binary", "loglinear": "y_rare", "poisson": "y_count",
            "negative_binomial": "y_count", "cox": "time", "exponential": "time",
            "weibull": "time"}  # fmt: skip
SURVIVAL = ("cox", "exponential", "weibull")


@pytest.fixture(scope="module")
def kinds():
    return pd.read_csv(REFERENCE / "kinds.csv")


@pytest.fixture(scope="module")
def cohort():
    """Times until death of 400 patients: `area` carries age's effect, `noise` none."""
    rng = np.random.default_rng(5)
    n = 400
    age = rng.normal(60, 10, n)
    area = 0.08 * age + rng.normal(size=n)
    hazard = np.exp(0.9 * (area - area.mean()) + 0.01 * (age - 60))
    time, stop = rng.exponential(40 / hazard), rng.uniform(2, 12, n)
    return pd.DataFrame(
        {"age": age, "area": area, "noise": rng.normal(size=n), "days": np.minimum(time, stop),
         "died": (time < stop).astype(int), "lobes": rng.poisson(np.exp(0.02 * (age - 60)))}
    )  # fmt: skip


@pytest.mark.parametrize("model", OUTCOMES)
def test_effects_of_every_model_are_products_of_rs_slopes(kinds, model):
    theirs = pd.read_csv(REFERENCE / "regressions.csv")
    theirs = theirs[theirs["model"] == model].set_index("term")
    event = "event" if model in SURVIVAL else None
    row = modelled_effects(
        kinds, ["x"], OUTCOMES[model], ["m"], ["c"], outcome_model=model, event=event, fewest=1
    ).table.iloc[0]
    a = sm.OLS(kinds["m"], sm.add_constant(kinds[["x", "c"]])).fit()
    apart = kinds["x"].std()
    assert row["to"] - row["from"] == pytest.approx(apart, rel=1e-12)
    b, direct = theirs.loc["m", "estimate"], theirs.loc["x", "estimate"]
    assert row["indirect"] == pytest.approx(a.params["x"] * b * apart, rel=2e-4)
    assert row["direct"] == pytest.approx(direct * apart, rel=2e-4)
    assert row["p_alpha"] == pytest.approx(a.pvalues["x"], rel=1e-6)
    if model not in ("linear", "negative_binomial", "loglinear"):  # whose errors R has otherwise
        p = 2 * norm.sf(abs(b / theirs.loc["m", "se"]))
        assert np.log(row["p_beta"]) == pytest.approx(np.log(p), rel=5e-3)
    if model != "linear":
        assert row["indirect_ratio"] == pytest.approx(np.exp(row["indirect"]), rel=1e-12)
    if model in SURVIVAL:
        assert row["events"] == kinds["event"].sum()


def test_linear_models_are_those_of_mediate(kinds):
    table = kinds.assign(noise=np.random.default_rng(0).normal(size=len(kinds)))
    given = (table, ["x"], "y", ["m", "noise"], ["c"])
    ours = modelled_effects(*given, outcome_model="linear").table
    theirs = mediation.mediate(*given, draws=0).table
    apart = table["x"].std()
    for effect in ("direct", "indirect", "total"):
        np.testing.assert_allclose(ours[effect], theirs[effect] * apart, rtol=1e-9)
    np.testing.assert_allclose(ours["indirect_se"], theirs["indirect_se"] * apart, rtol=1e-6)
    for name in ("p_joint", "p_joint_adjusted", "indirect_standardised"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-8)
    np.testing.assert_allclose(ours["p_indirect"], theirs["p_sobel"], rtol=1e-5)
    assert ours["mediator_by_joint_test"].tolist() == [True, False]


@pytest.mark.parametrize("outcome", ["linear", "poisson"])
def test_a_mediator_that_is_a_count_has_the_effects_summed_over_its_values(kinds, outcome):
    counts = np.random.default_rng(1).poisson(np.exp(0.1 * kinds["y_count"]))
    table = kinds.assign(m=kinds["y_count"], y=kinds["y"] if outcome == "linear" else counts)
    given = (table, "x", "y", "m")
    how = {"contrast": (-0.5, 0.8), "mediator_model": "poisson"}
    summed = natural_effects(*given, **how, interaction=True, draws=0, link=outcome)
    found = closed_form_effects(*given, **how, outcome_model=outcome)
    summed, found = (own.set_index("effect") for own in (summed, found))
    if outcome == "linear":
        for effect in ("total_indirect", "pure_indirect", "total_direct", "pure_direct", "total"):
            assert found.loc[effect, "estimate"] == pytest.approx(
                summed.loc[effect, "estimate"], rel=1e-6
            )
    else:
        ratio = summed.loc["indirect_risk_ratio", "estimate"]
        assert found.loc["total_indirect", "ratio"] == pytest.approx(ratio, rel=1e-6)
    assert found.loc["proportion_mediated", "estimate"] == pytest.approx(
        summed.loc["proportion_mediated", "estimate"], rel=1e-6
    )
    with pytest.raises(ValueError, match="mediator 'm' must hold counts for a poisson model"):
        closed_form_effects(kinds, "x", "y", "m", mediator_model="poisson")


def test_with_a_product_the_mediators_slope_is_tested_with_it(kinds):
    found = modelled_effects(
        kinds, ["x"], "y", ["m"], ["c"], outcome_model="linear", interaction=True
    ).table.iloc[0]
    design = sm.add_constant(kinds[["x", "m", "c"]]).assign(xm=kinds["x"] * kinds["m"])
    fit = sm.OLS(kinds["y"], design).fit()
    assert np.log(found["p_beta"]) == pytest.approx(
        np.log(float(fit.f_test("m = 0, xm = 0").pvalue)), rel=1e-6
    )
    a = sm.OLS(kinds["m"], sm.add_constant(kinds[["x", "c"]])).fit().params
    low, high = found["from"], found["to"]
    at_low = a["const"] + a["x"] * low + a["c"] * kinds["c"].mean()
    pure = (fit.params["x"] + fit.params["xm"] * at_low) * (high - low)
    through = (fit.params["m"] + fit.params["xm"] * high) * a["x"] * (high - low)
    assert found["direct"] == pytest.approx(pure, rel=1e-8)
    assert found["indirect"] == pytest.approx(through, rel=1e-8)


def test_intervals_adjusted_for_many_mediators_agree_with_their_p(cohort):
    rng = np.random.default_rng(2)
    others = {f"n{i}": rng.normal(size=len(cohort)) + 0.01 * cohort["age"] for i in range(8)}
    table = cohort.assign(**others, twin=3 - 2 * cohort["area"])
    for adjustment in ("fdr_bh", "holm"):
        found = modelled_effects(
            table, ["age"], "days", ["area", *others, "twin"], event="died", adjustment=adjustment
        ).table
        leaves_out = (found["indirect_low_adjusted"] > 0) | (found["indirect_high_adjusted"] < 0)
        assert (leaves_out == (found["p_indirect_adjusted"] < 0.05)).all()
        assert found.set_index("mediator")["same_as"]["twin"] == "area"


def test_events_coded_otherwise_count_and_few_have_a_reason(cohort):
    plain = modelled_effects(cohort, ["age"], "days", ["area", "noise"], event="died")
    coded = modelled_effects(
        cohort.assign(died=cohort["died"] + 1), ["age"], "days", ["area", "noise"], event="died"
    )
    pd.testing.assert_frame_equal(plain.table, coded.table)
    assert "coded 1, 2: taken as 0, 1" in coded.text()
    assert "Cox model with event died" in plain.text()
    rare = cohort.assign(area=cohort["area"].mask(cohort["died"].cumsum() > 5))
    row = modelled_effects(rare, ["age"], "days", ["area", "noise"], event="died").table.iloc[0]
    assert row["reason"] == "known for 5 events, fewer than 20"
    assert np.isnan(row["p_joint"])


def test_an_outcome_that_is_not_rare_is_told(cohort):
    common = modelled_effects(cohort, ["age"], "days", ["area"], event="died")
    assert any("takes the outcome to be rare" in note for note in common.notes)
    weibull = modelled_effects(
        cohort, ["age"], "days", ["area"], event="died", outcome_model="weibull"
    )
    assert not any("rare" in note for note in weibull.notes)


def test_the_page_of_times_says_its_models_and_leaves_out_linear_ones(cohort, tmp_path):
    found = mediation.analyse(
        cohort, ["age"], "days", ["area", "noise"], [], event="died", interaction=True
    )
    assert found.paths is None
    assert "times until censoring" in found.reasons["paths"] == found.reasons["joint"]
    alone = closed_form_effects(cohort, "age", "days", "area", event="died",
                                contrast=(cohort["age"].mean(),
                                          cohort["age"].mean() + cohort["age"].std()))  # fmt: skip
    np.testing.assert_allclose(found.natural["estimate"], alone["estimate"], rtol=1e-9)
    assert found.four_way["estimate"].notna().all()
    page = mediation_page.write_analysis(found, tmp_path / "out").read_text(encoding="utf-8")
    text = " ".join(methods_text(found))
    for words in (
        "a Cox model with event died",
        "with their product",
        "The event was taken to be",
        "hazard ratio",
    ):
        assert words in text
        assert words in page
    assert "three linear regressions" not in text
    assert "Three linear" not in page
    assert "bootstrap" not in text


def test_named_models_are_those_of_natural_effects(cohort, tmp_path):
    rng = np.random.default_rng(4)
    lobes = rng.poisson(np.exp(0.5 * cohort["area"] - 2))
    chance = 1 / (1 + np.exp(1.5 - 0.7 * lobes))
    table = cohort.assign(lobes=lobes, died=(rng.random(len(cohort)) < chance).astype(int))
    given = (table, ["age"], "died", ["lobes", "noise"], [])
    found = mediation.analyse(*given, mediator_model=None, outcome_model="logistic", draws=40)
    own = found.natural[found.natural["mediator"] == "lobes"]
    alone = natural_effects(table, "age", "died", "lobes", link="logit", draws=0)
    np.testing.assert_allclose(own["estimate"], alone["estimate"], rtol=1e-9)
    counted = mediation.analyse(table, ["age"], "died", ["lobes"], [], mediator_model="poisson")
    alone = natural_effects(table, "age", "died", "lobes", mediator_model="poisson", draws=0)
    np.testing.assert_allclose(counted.natural["estimate"], alone["estimate"], rtol=1e-9)
    assert found.rho.empty
    assert "linear models" in found.reasons["rho"]
    text = " ".join(methods_text(counted))
    assert "from a logistic model of the outcome and a Poisson model of the mediator" in text
    page = mediation_page.write_analysis(counted, tmp_path).read_text(encoding="utf-8")
    assert "a Poisson model" in page
    assert "log odds ratio" not in " ".join(methods_text(found))


def test_the_command_line_names_models(cohort, tmp_path):
    cohort.to_csv(tmp_path / "own.csv", index_label="id")
    asked = ["mediate", str(tmp_path / "own.csv"), "--patient", "id", "--exposures", "age",
             "--outcome", "days", "--mediators", "area,noise", "--event", "died"]  # fmt: skip
    result = CliRunner().invoke(app, [*asked, "--json"])
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    expected = modelled_effects(cohort, ["age"], "days", ["area", "noise"], event="died").table
    assert found["model"] == "Cox model with event died"
    assert [row["indirect"] for row in found["tests"]] == pytest.approx(list(expected["indirect"]))
    weibull = CliRunner().invoke(app, [*asked, "--outcome-model", "weibull", "--interaction"])
    assert weibull.exit_code == 0, weibull.stderr
    assert "Weibull" in weibull.stdout
    assert (tmp_path / "own_mediation.csv").exists()
    for more, said in (
        (["--cluster", "lobes"], "known in 7 clusters, fewer than 8"),
        (["--imputations", "2"], "imputations were asked for"),
        (["--outcome-model", "poisson"], "need a column of events"),
    ):
        refused = CliRunner().invoke(app, [*asked, *more])
        assert refused.exit_code != 0
        assert said in " ".join(refused.stderr.split())
