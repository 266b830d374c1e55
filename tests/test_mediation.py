"""Univariate mediation against statsmodels, scipy and lavaan; see tests/reference."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api as sm
from statsmodels.stats.mediation import Mediation as StatsmodelsMediation
from statsmodels.stats.multitest import multipletests

from ssinfnet.mediation import (
    chosen_columns,
    correlations,
    e_value,
    filter_correlated,
    indirect_at_rho,
    leave_one_group_out,
    mediate,
    natural_effects,
    repeated,
    vanishing_rho,
)
from ssinfnet.mediation.regressions import indirect_effects, weighted_indirect_effects
from ssinfnet.mediation.resampling import bca_interval, drawn_weights, percentile_interval
from ssinfnet.mediation.two_part import two_part_effects

REFERENCE = Path(__file__).with_name("reference")
MEDIATORS = ["ggo_area", "ggo_entropy", "ggo_skewness"]


@pytest.fixture
def cohort():
    rng = np.random.default_rng(4)
    n = 240
    age = rng.normal(50, 15, n)
    diseases = rng.poisson(0.8, n)
    area = 4000 + 60 * age + 500 * diseases + rng.normal(0, 900, n)
    entropy = 2 + 0.01 * age + rng.normal(0, 0.4, n)
    severity = 0.0004 * area + 0.5 * entropy + 0.01 * age + rng.normal(size=n)
    return pd.DataFrame(
        {
            "age": age,
            "n_diseases": diseases,
            "gender": rng.integers(0, 2, n),
            "hospital": rng.choice(["Union", "Liyuan"], n),
            "ggo_area": area,
            "ggo_entropy": entropy,
            "ggo_skewness": rng.normal(size=n),
            "severity": severity,
            "infected": (severity > np.quantile(severity, 0.3)).astype(int),
            "grade": np.digitize(severity, np.quantile(severity, [0.5, 0.85])),
        },
        index=[f"patient_{i}" for i in range(n)],
    )


def statsmodels_slopes(table, exposure, mediator, outcome, covariates=()):
    x = sm.add_constant(table[[exposure]].astype(float))
    if covariates:
        x = x.join(pd.get_dummies(table[list(covariates)], drop_first=True, dtype=float))
    both = x.assign(m=table[mediator])
    fits = {
        "beta11": (sm.OLS(table[outcome], x), exposure),
        "beta21": (sm.OLS(table[mediator], x), exposure),
        "beta31": (sm.OLS(table[outcome], both), exposure),
        "beta32": (sm.OLS(table[outcome], both), "m"),
    }
    return {name: (model.fit(), model.fit(cov_type="HC3", use_t=True), term)
            for name, (model, term) in fits.items()}  # fmt: skip


@pytest.mark.parametrize("covariates", [[], ["gender", "hospital"]])
@pytest.mark.parametrize("outcome", ["severity", "infected"])
def test_slopes_errors_and_p_are_statsmodels(cohort, outcome, covariates):
    cohort.loc[cohort.index[::9], "ggo_entropy"] = np.nan
    found = mediate(cohort, ["age", "n_diseases"], outcome, MEDIATORS, covariates, draws=0).table
    assert len(found) == 6
    for row in found.to_dict("records"):
        own = cohort[cohort[row["mediator"]].notna()]
        assert row["n"] == len(own)
        fits = statsmodels_slopes(own, row["exposure"], row["mediator"], outcome, covariates)
        for name, (fit, robust, term) in fits.items():
            expected = [fit.params[term], fit.bse[term], robust.bse[term], fit.pvalues[term],
                        robust.pvalues[term]]  # fmt: skip
            ours = [row[name], row[f"{name}_se"], row[f"{name}_hc3"], row[f"p_{name}"],
                    row[f"p_{name}_hc3"]]  # fmt: skip
            np.testing.assert_allclose(ours, expected, rtol=1e-8)


def test_effects_add_up_and_standardise(cohort):
    found = mediate(cohort, ["age"], "severity", MEDIATORS, draws=0).table
    np.testing.assert_allclose(found["total"], found["direct"] + found["indirect"], rtol=1e-10)
    np.testing.assert_allclose(found["indirect"], found["beta21"] * found["beta32"], rtol=1e-12)
    numbers = cohort.drop(columns="hospital")
    scaled = (numbers - numbers.mean()) / numbers.std()
    again = mediate(scaled, ["age"], "severity", MEDIATORS, draws=0).table
    for name in ("indirect", "direct", "total", "beta21", "beta32"):
        np.testing.assert_allclose(found[f"{name}_standardised"], again[name], rtol=1e-10)


def test_the_indirect_effects_error_is_sobels(cohort):
    row = mediate(cohort, ["age"], "severity", ["ggo_area"], draws=0).table.iloc[0]
    by_hand = np.sqrt((row["beta21"] * row["beta32_se"]) ** 2
                      + (row["beta32"] * row["beta21_se"]) ** 2)  # fmt: skip
    assert row["indirect_se"] == pytest.approx(by_hand)
    assert row["p_indirect"] == pytest.approx(
        2 * scipy.stats.norm.sf(abs(row["indirect"]) / by_hand)
    )
    assert row["p_joint"] == max(row["p_beta21"], row["p_beta32"])


def test_univariate_effects_are_lavaans():
    estimates = pd.read_csv(REFERENCE / "lavaan_estimates.csv")
    for name in ("simulated", "phantom"):
        table = pd.read_csv(REFERENCE / f"{name}.csv")
        row = mediate(table, ["x1"], "y", ["m1"], draws=0, fewest=0).table.iloc[0]
        theirs = estimates[(estimates["cohort"] == name) & (estimates["model"] == "univariate")]
        theirs = theirs.set_index(["lhs", "op", "rhs"])
        n = len(table)
        # lavaan divides residual variances by n, least squares by the degrees of freedom
        for ours, key, df in (
            ("beta21", ("m1", "~", "x1"), n - 2),
            ("beta32", ("y", "~", "m1"), n - 3),
            ("beta31", ("y", "~", "x1"), n - 3),
        ):
            assert row[ours] == pytest.approx(theirs.loc[key, "est"], rel=1e-6)
            assert row[f"{ours}_se"] * np.sqrt(df / n) == pytest.approx(
                theirs.loc[key, "se"], rel=1e-4
            )
        indirect = theirs.loc[("ind_x1_m1", ":=", "a*b")]
        assert row["indirect"] == pytest.approx(indirect["est"], rel=1e-6)
        assert row["indirect_standardised"] == pytest.approx(indirect["std.all"], rel=1e-6)
        assert row["indirect_se"] == pytest.approx(indirect["se"], rel=0.01)


# Bootstrap


def test_weighted_effects_are_those_of_the_drawn_patients(cohort):
    others = np.column_stack([np.ones(len(cohort)), cohort["gender"]])
    x, m = (cohort[names].to_numpy(float) for names in (["age", "n_diseases"], MEDIATORS))
    y = cohort["severity"].to_numpy()
    weights = next(drawn_weights(len(y), 5, seed=3))
    found = weighted_indirect_effects([weights], others, x, m, y)
    for draw, counted in enumerate(weights):
        rows = np.repeat(np.arange(len(y)), counted.astype(int))
        drawn = cohort.iloc[rows].reset_index(drop=True)
        for i, exposure in enumerate(["age", "n_diseases"]):
            for j, mediator in enumerate(MEDIATORS):
                fits = statsmodels_slopes(drawn, exposure, mediator, "severity", ["gender"])
                a, b = (fits[name][0].params[fits[name][2]] for name in ("beta21", "beta32"))
                assert found[draw, i, j] == pytest.approx(a * b, rel=1e-8)
    np.testing.assert_allclose(
        indirect_effects(others, x, m, y),
        mediate(cohort, ["age", "n_diseases"], "severity", MEDIATORS, ["gender"], draws=0)
        .table["indirect"].to_numpy().reshape(2, 3), rtol=1e-9,
    )  # fmt: skip


def test_percentiles_are_numpys_and_leave_failed_draws_out():
    drawn = np.random.default_rng(0).normal(size=(501, 4))
    drawn[:40, 2] = np.nan
    low, high = percentile_interval(drawn)
    np.testing.assert_allclose(low, np.nanquantile(drawn, 0.025, axis=0))
    np.testing.assert_allclose(high, np.nanquantile(drawn, 0.975, axis=0))


def test_bca_intervals_are_scipys():
    data = np.random.default_rng(1).exponential(size=60)
    result = scipy.stats.bootstrap((data,), np.var, n_resamples=1999, method="BCa", rng=2)
    drawn = result.bootstrap_distribution[:, None]
    left_out = np.array([np.var(np.delete(data, i)) for i in range(len(data))])[:, None]
    low, high = bca_interval(drawn, np.array([np.var(data)]), left_out)
    assert low[0] == pytest.approx(result.confidence_interval.low, rel=1e-9)
    assert high[0] == pytest.approx(result.confidence_interval.high, rel=1e-9)


@pytest.mark.parametrize("interval", ["bca", "percentile"])
def test_a_subset_of_mediators_has_the_same_numbers(cohort, interval):
    given = {"draws": 600, "interval": interval}
    whole = mediate(cohort, ["age", "n_diseases"], "severity", MEDIATORS, **given).table
    alone = mediate(cohort, ["n_diseases"], "severity", ["ggo_entropy"], **given).table
    same = whole[(whole["exposure"] == "n_diseases") & (whole["mediator"] == "ggo_entropy")]
    for name in ("indirect", "indirect_low", "indirect_high"):
        assert alone[name].item() == pytest.approx(same[name].item(), rel=1e-10)
    assert alone["draws"].item() == 600
    assert (whole["indirect_low"] < whole["indirect"]).all()
    assert (whole["indirect"] < whole["indirect_high"]).all()


def test_seeds_decide_the_draws(cohort):
    first, same, other = (
        mediate(cohort, ["age"], "severity", ["ggo_area"], draws=300, seed=seed).table
        for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(first, same)
    assert first["indirect_low"].item() != other["indirect_low"].item()


# Decisions


def test_p_values_are_adjusted_within_each_exposure(cohort):
    found = mediate(cohort, ["age", "n_diseases"], "severity", MEDIATORS, draws=0).table
    for _, own in found.groupby("exposure"):
        for test in ("beta11", "beta21", "beta32", "indirect", "joint"):
            np.testing.assert_allclose(
                own[f"p_{test}_adjusted"], multipletests(own[f"p_{test}"], method="fdr_bh")[1]
            )
    holm = mediate(cohort, ["age"], "severity", MEDIATORS, draws=0, adjustment="holm").table
    np.testing.assert_allclose(
        holm["p_beta21_adjusted"], multipletests(holm["p_beta21"], method="holm")[1]
    )


def test_identical_mediators_count_once(cohort):
    cohort["ggo_twin"] = -3 * cohort["ggo_entropy"] + 7
    given = (["age"], "severity")
    three = mediate(cohort, *given, MEDIATORS, draws=0).table.set_index("mediator")
    four = mediate(cohort, *given, [*MEDIATORS, "ggo_twin"], draws=0).table.set_index("mediator")
    adjusted = [name for name in three if name.endswith("_adjusted")]
    np.testing.assert_allclose(four.loc[MEDIATORS, adjusted], three[adjusted])
    np.testing.assert_allclose(four.loc["ggo_twin", adjusted].astype(float),
                               three.loc["ggo_entropy", adjusted].astype(float))  # fmt: skip


def test_the_papers_criterion_needs_three_significant_slopes_and_a_smaller_direct_effect(cohort):
    found = mediate(cohort, ["age"], "severity", MEDIATORS, draws=0)
    table = found.table.set_index("mediator")
    assert table.loc["ggo_area", "mediator_by_criterion"]
    assert not table.loc["ggo_skewness", "mediator_by_criterion"]
    assert "ggo_area" in found.mediators("age")
    opposed = cohort.assign(ggo_area=-cohort["ggo_area"] + 400 * cohort["age"])
    against = mediate(opposed, ["age"], "severity", ["ggo_area"], draws=0).table.iloc[0]
    assert abs(against["beta11"]) < abs(against["beta31"])
    assert against["mediator_by_joint_test"]
    assert not against["mediator_by_criterion"]


def test_the_result_says_in_jupyter_what_model_it_is(cohort):
    binary = mediate(cohort, ["age"], "infected", MEDIATORS, draws=0)
    assert "linear model of a binary outcome, the paper's choice" in binary._repr_html_()
    assert "ggo_area" in binary._repr_html_()
    graded = mediate(cohort, ["age"], "severity", MEDIATORS, draws=0)
    assert "of a binary outcome" not in graded._repr_html_()


# What is missing


def test_patients_are_left_out_and_mediators_refused_with_a_reason(cohort):
    cohort.loc["patient_3", "age"] = np.nan
    cohort["ggo_area"] = cohort["ggo_area"].where(cohort["infected"] == 1)
    cohort["ggo_entropy"] = 2.5
    cohort["ggo_none"] = np.nan
    cohort["ggo_age"] = 3 * cohort["age"] - 1
    names = [*MEDIATORS, "ggo_none", "ggo_age"]
    found = mediate(cohort, ["age"], "infected", names, draws=100)
    assert found.left_out.to_numpy().tolist() == [["patient_3", "age is not known"]]
    table = found.table.set_index("mediator")
    assert table.index.tolist() == names
    assert table.loc["ggo_skewness", "reason"] == ""
    assert table.loc["ggo_area", "reason"].startswith("known for 0 patients with infected = 0")
    assert table.loc["ggo_entropy", "reason"] == "does not vary"
    assert table.loc["ggo_none", "reason"].startswith("known for 0 patients")
    assert table.loc["ggo_age", "reason"] == "follows exactly from age"
    refused = table.drop(index="ggo_skewness")
    assert refused[["indirect", "p_indirect", "indirect_low"]].isna().all(axis=None)
    assert not refused["mediator_by_criterion"].any()
    assert (table["n_0"] + table["n_1"] == table["n"]).all()


def test_a_small_class_is_analysed_where_asked_for(cohort):
    few = cohort.groupby("infected").head(15)
    given = (few, ["age"], "infected", ["ggo_area"])
    with pytest.raises(ValueError, match="15 patients with infected = 0, fewer than 20"):
        mediate(*given, draws=0)
    assert mediate(*given, draws=0, fewest=10).table["indirect"].notna().all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="age"), "lacks columns"),
        (lambda t: t.assign(age=5), "must vary"),
        (lambda t: t.assign(severity=1), "must vary"),
        (lambda t: t.assign(age=["x", *t["age"].iloc[1:]]), "'x' of patient 'patient_0'"),
        (lambda t: t.assign(ggo_area=np.inf), "no finite numbers"),
        (lambda t: pd.concat([t, t.iloc[:1]]), "occur more than once"),
        (lambda t: t.assign(gender=2 * t["age"]), "follows exactly from the covariates"),
        (lambda t: t.iloc[:4], "cannot fit"),
        (lambda t: t.rename(columns={"n_diseases": "age"}), "occur more than once"),
    ],
)
def test_bad_tables_are_refused(cohort, change, words):
    with pytest.raises(ValueError, match=words):
        mediate(change(cohort), ["age"], "severity", MEDIATORS, ["gender"], draws=0)


def test_bad_wishes_are_refused(cohort):
    with pytest.raises(ValueError, match="two roles"):
        mediate(cohort, ["age"], "severity", ["age"], draws=0)
    with pytest.raises(ValueError, match="adjustment"):
        mediate(cohort, ["age"], "severity", MEDIATORS, adjustment="none")
    with pytest.raises(ValueError, match="interval"):
        mediate(cohort, ["age"], "severity", MEDIATORS, interval="wald")
    with pytest.raises(ValueError, match="no column matches"):
        chosen_columns(cohort, ["lesion_*"])
    assert chosen_columns(cohort, ["ggo_*", "ggo_area"]) == MEDIATORS


def test_column_names_may_hold_anything(cohort):
    strange = cohort.rename(columns={"ggo_area": "GGO: area (mm²) ~ 1", "age": "age in years"})
    found = mediate(strange, ["age in years"], "severity", ["GGO: area (mm²) ~ 1"], draws=0)
    plain = mediate(cohort, ["age"], "severity", ["ggo_area"], draws=0)
    assert found.table["indirect"].item() == plain.table["indirect"].item()


# Two parts


def test_two_parts_are_two_mediators_side_by_side(cohort):
    present = (cohort["ggo_area"] > cohort["ggo_area"].quantile(0.3)).astype(int)
    cohort["any_ggo"] = present
    cohort["ggo_entropy"] = cohort["ggo_entropy"].where(present == 1)
    found = two_part_effects(
        cohort, ["age"], "severity", "any_ggo", ["ggo_entropy"], ["gender"], draws=200
    ).set_index("part")
    texture = (cohort["ggo_entropy"] - cohort["ggo_entropy"].mean()).fillna(0)
    x = sm.add_constant(cohort[["age", "gender"]].astype(float))
    y = sm.OLS(cohort["severity"], x.assign(any=present, texture=texture)).fit()
    for part, own, name in (("presence", present, "any"), ("texture", texture, "texture")):
        expected = sm.OLS(own, x).fit().params["age"] * y.params[name]
        assert found.loc[part, "indirect"] == pytest.approx(expected, rel=1e-8)
    total = sm.OLS(cohort["severity"], x).fit().params["age"]
    assert found.loc["both", "indirect"] == pytest.approx(total - y.params["age"], rel=1e-8)
    assert (found["indirect_low"] < found["indirect"]).all()
    assert found["n_present"].unique().tolist() == [int(present.sum())]
    wrong = cohort.assign(ggo_entropy=1.0)
    with pytest.raises(ValueError, match="known for patients with any_ggo = 0"):
        two_part_effects(wrong, ["age"], "severity", "any_ggo", ["ggo_entropy"])


# Natural effects


def by_integration(cohort, link, contrast, interaction=False):
    """E[Y(x, M(x'))] by a fine sum over the mediator, from statsmodels' own fits."""
    x = sm.add_constant(cohort[["age", "gender"]].astype(float))
    mediator = sm.OLS(cohort["ggo_entropy"], x).fit()
    spread = np.sqrt(mediator.ssr / len(cohort))
    both = x.assign(m=cohort["ggo_entropy"])
    if interaction:
        both["xm"] = both["age"] * both["m"]
    model = (sm.Logit if link == "logit" else sm.Probit)(cohort["infected"], both).fit(disp=0)
    grid = np.linspace(-8, 8, 4001)
    density = scipy.stats.norm.pdf(grid) / scipy.stats.norm.pdf(grid).sum()

    def chance(own, others):
        centre = mediator.predict(x.assign(age=others)).to_numpy()
        chances = []
        for z, share in zip(grid, density, strict=True):
            drawn = both.assign(age=own, m=centre + spread * z)
            if interaction:
                drawn["xm"] = own * drawn["m"]
            chances.append(share * model.predict(drawn).mean())
        return np.sum(chances)

    low, high = contrast
    return {
        "total_indirect": chance(high, high) - chance(high, low),
        "pure_direct": chance(high, low) - chance(low, low),
        "total": chance(high, high) - chance(low, low),
        "indirect_risk_ratio": chance(high, high) / chance(high, low),
    }


@pytest.mark.parametrize("link", ["logit", "probit"])
@pytest.mark.parametrize("interaction", [False, True])
def test_natural_effects_are_their_definition_integrated(cohort, link, interaction):
    found = natural_effects(
        cohort, "age", "infected", "ggo_entropy", ["gender"], link=link, contrast=(45, 60),
        interaction=interaction, draws=0,
    ).set_index("effect")  # fmt: skip
    expected = by_integration(cohort, link, (45, 60), interaction)
    for effect, value in expected.items():
        assert found.loc[effect, "estimate"] == pytest.approx(value, abs=2e-6)
    parts = found["estimate"]
    assert parts["total"] == pytest.approx(parts["total_indirect"] + parts["pure_direct"])
    assert parts["total"] == pytest.approx(parts["pure_indirect"] + parts["total_direct"])


@pytest.mark.slow
def test_natural_effects_are_those_of_statsmodels_simulation(cohort):
    x = sm.add_constant(cohort[["gender", "ggo_entropy"]].astype(float))
    outcome = sm.Probit(cohort["infected"], x)
    mediator = sm.OLS(cohort["ggo_entropy"], x[["const", "gender"]])
    np.random.seed(0)  # noqa: NPY002 (statsmodels draws from it)
    theirs = (
        StatsmodelsMediation(
            outcome, mediator, [x.columns.get_loc("gender"), 1], x.columns.get_loc("ggo_entropy")
        )
        .fit(n_rep=1000)
        .summary()
    )
    ours = natural_effects(cohort, "gender", "infected", "ggo_entropy", link="probit", draws=1000)
    ours = ours.set_index("effect")
    for effect, row in (("total_indirect", "ACME (treated)"), ("pure_direct", "ADE (control)"),
                        ("total", "Total effect")):  # fmt: skip
        low, high = theirs.loc[row, ["Lower CI bound", "Upper CI bound"]]
        assert ours.loc[effect, "estimate"] == pytest.approx(theirs.loc[row, "Estimate"], abs=0.01)
        # It draws each patient's mediator too, so that its intervals are up to a fifth wider.
        width = ours.loc[effect, "drawn_high"] - ours.loc[effect, "drawn_low"]
        assert width == pytest.approx(high - low, rel=0.3)


def test_delta_and_bootstrap_intervals_agree(cohort):
    found = natural_effects(cohort, "age", "infected", "ggo_area", draws=300).set_index("effect")
    assert (found["draws"] > 290).all()
    for effect in ("total_indirect", "total", "indirect_risk_ratio"):
        row = found.loc[effect]
        width = row["drawn_high"] - row["drawn_low"]
        assert width == pytest.approx(row["high"] - row["low"], rel=0.35)
        assert row["drawn_low"] < row["estimate"] < row["drawn_high"]


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_graded_outcomes_have_effects_at_each_grade(cohort, link):
    found = natural_effects(cohort, "age", "grade", "ggo_area", link=link, draws=0)
    assert found.groupby("at_least").size().tolist() == [6, 6]
    share = found[found["effect"] == "total"]["estimate"]
    assert (share > 0).all()
    # Of two grades the model of grades is the binary one
    merged = cohort.assign(grade=(cohort["grade"] > 0).astype(int))
    binary = natural_effects(merged, "age", "grade", "ggo_area", link=link, draws=0)
    assert binary["estimate"].to_numpy() == pytest.approx(
        found[found["at_least"] == 1]["estimate"].to_numpy(), rel=0.25
    )


def test_natural_effects_refuse_a_continuous_outcome_and_tell_of_separation(cohort):
    with pytest.raises(ValueError, match="neither 0 and 1 nor grades"):
        natural_effects(cohort, "age", "severity", "ggo_area")
    with pytest.raises(ValueError, match="link must be"):
        natural_effects(cohort, "age", "infected", "ggo_area", link="log")
    separated = cohort.assign(infected=(cohort["ggo_area"] > 7500).astype(int))
    found = natural_effects(separated, "age", "infected", "ggo_area", draws=0)
    assert found["estimate"].isna().all()
    assert (found["reason"] != "").all()


# Sensitivity


def test_the_indirect_effect_vanishes_at_the_reported_correlation(cohort):
    rho = vanishing_rho(cohort, ["age"], "severity", ["ggo_area"], ["gender"]).iloc[0]
    x = sm.add_constant(cohort[["age", "gender"]].astype(float))
    outcome, mediator = (sm.OLS(cohort[name], x).fit() for name in ("severity", "ggo_area"))
    assert rho["rho"] == pytest.approx(np.corrcoef(outcome.resid, mediator.resid)[0, 1])
    partial = scipy.stats.pearsonr(outcome.resid, mediator.resid).confidence_interval()
    assert [rho["rho_low"], rho["rho_high"]] == pytest.approx(list(partial), abs=0.01)
    row = mediate(cohort, ["age"], "severity", ["ggo_area"], ["gender"], draws=0).table.iloc[0]
    given = (row["beta21"], outcome.resid.std(), mediator.resid.std(), rho["rho"])
    assert indirect_at_rho(*given, 0.0) == pytest.approx(row["indirect"], rel=1e-8)
    assert indirect_at_rho(*given, rho["rho"]) == pytest.approx(0, abs=1e-12)
    with pytest.raises(ValueError, match="within -1 and 1"):
        indirect_at_rho(*given, 1.0)


def test_e_values_are_the_published_ones():
    # VanderWeele & Ding (2017): 3.9 (1.8 to 8.7) gives 7.26 and 3.0; protective effects turn over
    found = e_value([3.9, 1 / 3.9, 1.2], [1.8, 1 / 8.7, 0.9], [8.7, 1 / 1.8, 1.6])
    assert found["e_value"].tolist() == pytest.approx([7.26, 7.26, 1.69], abs=0.005)
    assert found["e_value_limit"].tolist() == pytest.approx([3.0, 3.0, 1.0], abs=0.005)
    with pytest.raises(ValueError, match="positive"):
        e_value([-1.0], [-2.0], [0.0])


def test_an_analysis_is_repeated_without_each_hospital(cohort):
    tables = leave_one_group_out(cohort, cohort["hospital"])
    found = repeated(
        tables, lambda table: mediate(table, ["age"], "severity", ["ggo_area"], draws=0)
    ).set_index("of")
    assert set(found.index) == {"all", "without Union", "without Liyuan"}
    liyuan = cohort[cohort["hospital"] == "Liyuan"]
    alone = mediate(liyuan, ["age"], "severity", ["ggo_area"], draws=0).table
    assert found.loc["without Union", "indirect"] == alone["indirect"].item()
    assert found.loc["without Union", "n"] == len(liyuan)
    nobody = repeated({"few": cohort.iloc[:3]}, lambda table: mediate(
        table, ["age"], "severity", ["ggo_area"]))  # fmt: skip
    assert "cannot fit" in nobody["reason"].item()


# Selection


def test_of_correlated_mediators_one_is_kept():
    rng = np.random.default_rng(0)
    base, other = rng.normal(size=(2, 400))
    table = pd.DataFrame(
        {
            "ggo_firstorder_area": base,
            "ggo_gldm_large": base + 0.1 * rng.normal(size=400),
            "ggo_firstorder_uniformity": -other,
            "ggo_firstorder_entropy": other + 0.2 * rng.normal(size=400),
            "ggo_glcm_x": other + 0.3 * rng.normal(size=400),
            "ggo_free": rng.normal(size=400),
        }
    )
    effects = pd.Series([0.1, 0.5, 0.4, 0.2, 0.3, 0.01], index=table.columns)
    kept = filter_correlated(table, effects).set_index("mediator")
    # Area over all, entropy over uniformity in spite of their effects; else the larger effect
    assert kept["kept"].tolist() == [True, False, False, False, True, True]
    assert kept.loc["ggo_gldm_large", "dropped_for"] == "ggo_firstorder_area"
    assert kept.loc["ggo_firstorder_uniformity", "dropped_for"] == "ggo_firstorder_entropy"
    assert kept.loc["ggo_firstorder_entropy", "dropped_for"] == "ggo_glcm_x"
    left = correlations(table, kept.index[kept["kept"]])
    assert np.abs(left.to_numpy()[~np.eye(3, dtype=bool)]).max() <= 0.8
    pd.testing.assert_frame_equal(
        correlations(table, list(table)), table.corr(), check_exact=False, rtol=1e-12
    )
