"""Univariate mediation against statsmodels, scipy and lavaan; see tests/reference."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api as sm
from conftest import assert_interval_and_p_agree
from statsmodels.stats.multitest import multipletests

from ssinfnet.mediation import (
    chosen_columns,
    mediate,
)
from ssinfnet.mediation.regressions import indirect_effects, weighted_indirect_effects
from ssinfnet.mediation.resampling import (
    DrawnEffects,
    bca_interval,
    drawn_weights,
    percentile_interval,
)

REFERENCE = Path(__file__).with_name("reference")
MEDIATORS = ["ggo_area", "ggo_entropy", "ggo_skewness"]


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
    return {
        name: (model.fit(), model.fit(cov_type="HC3", use_t=True), term)
        for name, (model, term) in fits.items()
    }


@pytest.mark.parametrize("covariates", [[], ["gender", "hospital"]])
@pytest.mark.parametrize("outcome", ["severity", "infected"])
def test_slopes_errors_and_p_are_statsmodels(clinic, outcome, covariates):
    clinic.loc[clinic.index[::9], "ggo_entropy"] = np.nan
    found = mediate(clinic, ["age", "n_diseases"], outcome, MEDIATORS, covariates, draws=0).table
    assert len(found) == 6
    for row in found.to_dict("records"):
        own = clinic[clinic[row["mediator"]].notna()]
        assert row["n"] == len(own)
        fits = statsmodels_slopes(own, row["exposure"], row["mediator"], outcome, covariates)
        for name, (fit, robust, term) in fits.items():
            expected = [fit.params[term], fit.bse[term], robust.bse[term], fit.pvalues[term],
                        robust.pvalues[term]]  # fmt: skip
            ours = [row[name], row[f"{name}_se"], row[f"{name}_hc3"], row[f"p_{name}"],
                    row[f"p_{name}_hc3"]]  # fmt: skip
            np.testing.assert_allclose(ours, expected, rtol=1e-8)


def test_effects_add_up_and_standardise(clinic):
    found = mediate(clinic, ["age"], "severity", MEDIATORS, draws=0).table
    np.testing.assert_allclose(found["total"], found["direct"] + found["indirect"], rtol=1e-10)
    np.testing.assert_allclose(found["indirect"], found["beta21"] * found["beta32"], rtol=1e-12)
    numbers = clinic.drop(columns="hospital")
    scaled = (numbers - numbers.mean()) / numbers.std()
    again = mediate(scaled, ["age"], "severity", MEDIATORS, draws=0).table
    for name in ("indirect", "direct", "total", "beta21", "beta32"):
        np.testing.assert_allclose(found[f"{name}_standardised"], again[name], rtol=1e-10)


def test_the_indirect_effects_error_is_sobels(clinic):
    row = mediate(clinic, ["age"], "severity", ["ggo_area"], draws=0).table.iloc[0]
    by_hand = np.sqrt(
        (row["beta21"] * row["beta32_se"]) ** 2 + (row["beta32"] * row["beta21_se"]) ** 2
    )
    assert row["indirect_se"] == pytest.approx(by_hand)
    assert row["p_sobel"] == pytest.approx(2 * scipy.stats.norm.sf(abs(row["indirect"]) / by_hand))
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


def test_weighted_effects_are_those_of_the_drawn_patients(clinic):
    others = np.column_stack([np.ones(len(clinic)), clinic["gender"]])
    x, m = (clinic[names].to_numpy(float) for names in (["age", "n_diseases"], MEDIATORS))
    y = clinic["severity"].to_numpy()
    weights = next(drawn_weights(len(y), 5, seed=3))
    found = weighted_indirect_effects([weights], others, x, m, y)
    for draw, counted in enumerate(weights):
        rows = np.repeat(np.arange(len(y)), counted.astype(int))
        drawn = clinic.iloc[rows].reset_index(drop=True)
        for i, exposure in enumerate(["age", "n_diseases"]):
            for j, mediator in enumerate(MEDIATORS):
                fits = statsmodels_slopes(drawn, exposure, mediator, "severity", ["gender"])
                a, b = (fits[name][0].params[fits[name][2]] for name in ("beta21", "beta32"))
                assert found[draw, i, j] == pytest.approx(a * b, rel=1e-8)
    np.testing.assert_allclose(
        indirect_effects(others, x, m, y),
        mediate(clinic, ["age", "n_diseases"], "severity", MEDIATORS, ["gender"], draws=0)
        .table["indirect"]
        .to_numpy()
        .reshape(2, 3),
        rtol=1e-9,
    )


def test_percentiles_are_numpys_and_leave_failed_draws_out():
    drawn = np.random.default_rng(0).normal(size=(501, 4))
    drawn[:40, 2] = np.nan
    low, high = percentile_interval(drawn)
    np.testing.assert_allclose(low, np.nanquantile(drawn, 0.025, axis=0))
    np.testing.assert_allclose(high, np.nanquantile(drawn, 0.975, axis=0))


def test_bca_intervals_are_scipys():
    data = np.random.default_rng(1).exponential(size=60)
    result = scipy.stats.bootstrap((data,), np.var, n_resamples=9999, method="BCa", rng=2)
    drawn = result.bootstrap_distribution[:, None]
    left_out = np.array([np.var(np.delete(data, i)) for i in range(len(data))])[:, None]
    low, high = bca_interval(drawn, np.array([np.var(data)]), left_out)
    assert low[0] == pytest.approx(result.confidence_interval.low, rel=1e-9)
    assert high[0] == pytest.approx(result.confidence_interval.high, rel=1e-9)


@pytest.mark.parametrize("interval", ["bca", "percentile"])
def test_a_subset_of_mediators_has_the_same_numbers(clinic, interval):
    given = {"draws": 600, "interval": interval}
    whole = mediate(clinic, ["age", "n_diseases"], "severity", MEDIATORS, **given).table
    alone = mediate(clinic, ["n_diseases"], "severity", ["ggo_entropy"], **given).table
    same = whole[(whole["exposure"] == "n_diseases") & (whole["mediator"] == "ggo_entropy")]
    for name in ("indirect", "indirect_low", "indirect_high"):
        assert alone[name].item() == pytest.approx(same[name].item(), rel=1e-10)
    assert alone["draws"].item() == 600
    assert (whole["indirect_low"] < whole["indirect"]).all()
    assert (whole["indirect"] < whole["indirect_high"]).all()


def test_seeds_decide_the_draws(clinic):
    first, same, other = (
        mediate(clinic, ["age"], "severity", ["ggo_area"], draws=300, seed=seed).table
        for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(first, same)
    assert first["indirect_low"].item() != other["indirect_low"].item()


def doubtful(seed, k=40, n=300):
    """40 mediators from none to strong."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    m = x[:, None] * np.linspace(0, 0.5, k) + rng.normal(size=(n, k))
    table = pd.DataFrame(m, columns=[f"m{i}" for i in range(k)])
    slopes = np.where(np.arange(k) % 5 == 4, np.linspace(0, 0.6, k), 0)
    return table.assign(x=x, y=m @ slopes + rng.normal(size=n)), list(table)


@pytest.mark.parametrize("adjustment", ["fdr_bh", "holm"])
@pytest.mark.parametrize("interval", ["percentile", "bca"])
def test_intervals_and_p_agree_before_and_after_adjustment(interval, adjustment):
    for seed in range(4):
        table, names = doubtful(seed)
        given = {"draws": 300, "interval": interval, "adjustment": adjustment}
        found = mediate(table, ["x"], "y", names, **given).table
        assert_interval_and_p_agree(found)
        np.testing.assert_allclose(
            found["p_indirect_adjusted"],
            multipletests(found["p_indirect"], method=adjustment)[1],
        )
        wider = found["indirect_high_adjusted"] - found["indirect_low_adjusted"]
        assert (wider >= found["indirect_high"] - found["indirect_low"] - 1e-12).all()


def test_nothing_is_found_beyond_what_the_draws_allow_by_both():
    # Where no p is small enough for any of 2,000 tests no adjusted interval leaves out 0
    drawn = np.random.default_rng(2).normal(2.5, 1, size=(400, 30))
    effects = DrawnEffects.of(drawn)
    for level in (0.9, 0.99, 1 - 0.05 / 2000):
        low, high = effects.interval(level)
        np.testing.assert_array_equal((low > 0) | (high < 0), effects.p() < 1 - level)


def test_p_of_normal_draws_is_that_of_the_normal_distribution_even_beyond_them():
    drawn = scipy.stats.norm.ppf((np.arange(4999) + 0.5) / 4999)[:, None]
    for z in (0.3, 1.5, 2.5, 4.5):
        expected = 2 * scipy.stats.norm.sf(z)
        assert DrawnEffects.of(drawn + z).p()[0] == pytest.approx(expected, rel=0.15)
        assert DrawnEffects.of(drawn - z).p()[0] == pytest.approx(expected, rel=0.15)
    (low,), (high,) = DrawnEffects.of(drawn).interval(1 - 1e-6)
    assert high == pytest.approx(scipy.stats.norm.isf(5e-7), rel=0.03)
    assert low == pytest.approx(-high, rel=1e-9)


# Decisions


def test_p_values_are_adjusted_within_each_exposure(clinic):
    found = mediate(clinic, ["age", "n_diseases"], "severity", MEDIATORS, draws=0).table
    for _, own in found.groupby("exposure"):
        for test in ("beta11", "beta21", "beta32", "joint"):
            np.testing.assert_allclose(
                own[f"p_{test}_adjusted"], multipletests(own[f"p_{test}"], method="fdr_bh")[1]
            )
    holm = mediate(clinic, ["age"], "severity", MEDIATORS, draws=0, adjustment="holm").table
    np.testing.assert_allclose(
        holm["p_beta21_adjusted"], multipletests(holm["p_beta21"], method="holm")[1]
    )


def test_identical_mediators_count_once(clinic):
    clinic["ggo_twin"] = -3 * clinic["ggo_entropy"] + 7
    given = (["age"], "severity")
    three = mediate(clinic, *given, MEDIATORS, draws=0).table.set_index("mediator")
    four = mediate(clinic, *given, [*MEDIATORS, "ggo_twin"], draws=0).table.set_index("mediator")
    adjusted = [name for name in three if name.endswith("_adjusted")]
    np.testing.assert_allclose(four.loc[MEDIATORS, adjusted], three[adjusted])
    np.testing.assert_allclose(
        four.loc["ggo_twin", adjusted].astype(float),
        three.loc["ggo_entropy", adjusted].astype(float),
    )


def test_the_papers_criterion_needs_three_significant_slopes_and_a_smaller_direct_effect(clinic):
    found = mediate(clinic, ["age"], "severity", MEDIATORS, draws=0)
    table = found.table.set_index("mediator")
    assert table.loc["ggo_area", "mediator_by_criterion"]
    assert not table.loc["ggo_skewness", "mediator_by_criterion"]
    assert "ggo_area" in found.mediators("age")
    opposed = clinic.assign(ggo_area=-clinic["ggo_area"] + 400 * clinic["age"])
    against = mediate(opposed, ["age"], "severity", ["ggo_area"], draws=0).table.iloc[0]
    assert abs(against["beta11"]) < abs(against["beta31"])
    assert against["mediator_by_joint_test"]
    assert not against["mediator_by_criterion"]


def test_the_result_says_in_jupyter_what_model_it_is(clinic):
    binary = mediate(clinic, ["age"], "infected", MEDIATORS, draws=0)
    assert "linear probability model of a binary outcome" in binary._repr_html_()
    assert "ggo_area" in binary._repr_html_()
    graded = mediate(clinic, ["age"], "severity", MEDIATORS, draws=0)
    assert "of a binary outcome" not in graded._repr_html_()


def test_the_result_in_jupyter_reads_well_and_escapes_names(clinic, html_cells):
    evil = clinic.rename(columns={"ggo_area": "<b>area"})
    evil.loc[evil.index[:3], "age"] = np.nan
    shown = mediate(evil, ["age"], "severity", ["<b>area"], draws=0)._repr_html_()
    assert "<b>" not in shown
    assert shown.endswith("3 patients left out: age is not known")
    cells = html_cells(shown).iloc[0]
    assert (cells["mediator"], cells["mediator by criterion"]) == ("<b>area", "yes")
    assert cells["p indirect adjusted"] == "–"  # nothing was drawn
    assert cells["indirect low adjusted"] == "–"


# What is missing


def test_patients_are_left_out_and_mediators_refused_with_a_reason(clinic):
    clinic.loc["patient_3", "age"] = np.nan
    clinic["ggo_area"] = clinic["ggo_area"].where(clinic["infected"] == 1)
    clinic["ggo_entropy"] = 2.5
    clinic["ggo_none"] = np.nan
    clinic["ggo_age"] = 3 * clinic["age"] - 1
    names = [*MEDIATORS, "ggo_none", "ggo_age"]
    found = mediate(clinic, ["age"], "infected", names, draws=100)
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


def test_a_small_class_is_analysed_where_asked_for(clinic):
    few = clinic.groupby("infected").head(15)
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
def test_bad_tables_are_refused(clinic, change, words):
    with pytest.raises(ValueError, match=words):
        mediate(change(clinic), ["age"], "severity", MEDIATORS, ["gender"], draws=0)


def test_bad_wishes_are_refused(clinic):
    with pytest.raises(ValueError, match="two roles"):
        mediate(clinic, ["age"], "severity", ["age"], draws=0)
    with pytest.raises(ValueError, match="adjustment"):
        mediate(clinic, ["age"], "severity", MEDIATORS, adjustment="none")
    with pytest.raises(ValueError, match="interval"):
        mediate(clinic, ["age"], "severity", MEDIATORS, interval="wald")
    with pytest.raises(ValueError, match="no column matches"):
        chosen_columns(clinic, ["lesion_*"])
    assert chosen_columns(clinic, ["ggo_*", "ggo_area"]) == MEDIATORS


def test_column_names_may_hold_anything(clinic):
    strange = clinic.rename(columns={"ggo_area": "GGO: area (mm²) ~ 1", "age": "age in years"})
    found = mediate(strange, ["age in years"], "severity", ["GGO: area (mm²) ~ 1"], draws=0)
    plain = mediate(clinic, ["age"], "severity", ["ggo_area"], draws=0)
    assert found.table["indirect"].item() == plain.table["indirect"].item()


def test_intervals_are_percentile_ones_unless_asked_for(clinic):
    given = (clinic, ["age"], "severity", ["ggo_entropy"])
    others = np.column_stack([np.ones(len(clinic)), np.empty((len(clinic), 0))])
    x, m, y = (clinic[name].to_numpy(float) for name in ("age", "ggo_entropy", "severity"))
    drawn = weighted_indirect_effects(
        drawn_weights(len(clinic), 400, 2021), others, x[:, None], m[:, None], y
    ).ravel()
    row = mediate(*given, draws=400).table.iloc[0]
    np.testing.assert_allclose(
        [row["indirect_low"], row["indirect_high"]], np.quantile(drawn, [0.025, 0.975]), rtol=1e-9
    )
    corrected = mediate(*given, draws=400, interval="bca").table.iloc[0]
    assert corrected["indirect_low"] != row["indirect_low"]
