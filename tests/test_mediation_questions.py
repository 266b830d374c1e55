"""Questions of other packages' users, re-created; docs/mediation.md says where they were asked."""

import re

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import ROOT

from ssinfnet.mediation import (
    closed_form_effects,
    fit_paths,
    joint_mediators,
    mediate,
    mediating_directions,
    natural_effects,
    pooled,
)


def cohort(seed=0, n=200):
    rng = np.random.default_rng(seed)
    x, c = rng.normal(size=(2, n))
    m = 0.5 * x + 0.3 * c + rng.normal(size=n)
    y = 0.5 * m + 0.2 * x + 0.3 * c + rng.normal(size=n)
    return pd.DataFrame({"x": x, "c": c, "m": m, "y": y})


def test_every_question_of_the_page_has_its_test_here():
    page = (ROOT / "docs" / "mediation.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_question_\w+)`", page))
    here = {name for name in globals() if name.startswith("test_question_")}
    assert named == here
    assert len(named) >= 10


def test_question_draws_that_fail_leave_errors_and_p_of_the_others():
    # A site of three patients is missed by some draws, and then no draw of it can be analysed
    table = cohort().assign(site=["A"] * 3 + ["B"] * 197)
    table["x"] = np.where(table["site"] == "A", 1.0, 0.0)
    row = mediate(table, ["x"], "y", ["m"], draws=600).table.iloc[0]
    assert 500 < row["draws"] < 600
    assert np.isfinite(row[["indirect_low", "indirect_high", "p_indirect"]].astype(float)).all()


def test_question_robust_errors_and_draws_stand_side_by_side_for_the_indirect_effect():
    fit = fit_paths(cohort(), "y", {"m": ["x"]}, ["c"], draws=300)
    row = fit.effects.set_index("through").loc["m"]
    assert np.isfinite(row[["se", "se_robust", "se_drawn", "drawn_low"]].astype(float)).all()
    assert row["se_robust"] == pytest.approx(row["se_drawn"], rel=0.25)


def test_question_interval_and_p_of_the_same_effect_agree():
    for seed in range(12):
        row = mediate(cohort(seed, 60), ["x"], "y", ["m"], ["c"], draws=400).table.iloc[0]
        outside = row["indirect_low"] > 0 or row["indirect_high"] < 0
        assert outside == (row["p_indirect"] < 0.05)


def test_question_draws_take_whole_clusters():
    table = cohort(1, 50)
    four = table.loc[np.repeat(table.index, 4)].assign(patient=np.repeat(np.arange(50), 4))
    four = four.reset_index(drop=True)
    once = mediate(table, ["x"], "y", ["m"], draws=300).table.iloc[0]
    clustered = mediate(four, ["x"], "y", ["m"], draws=300, cluster="patient").table.iloc[0]
    assert clustered["indirect_low"] == pytest.approx(once["indirect_low"])
    wrong = mediate(four, ["x"], "y", ["m"], draws=300).table.iloc[0]
    assert wrong["indirect_high"] - wrong["indirect_low"] < 0.7 * (
        once["indirect_high"] - once["indirect_low"]
    )


def test_question_errors_by_clusters_as_lm_robust_gives_them():
    table = cohort(2, 120).assign(patient=np.repeat(np.arange(30), 4))
    row = mediate(table, ["x"], "y", ["m"], ["c"], draws=0, cluster="patient").table.iloc[0]
    design = sm.add_constant(table[["x", "c"]])
    fit = sm.OLS(table["m"], design).fit(cov_type="cluster", cov_kwds={"groups": table["patient"]})
    assert row["beta21_se"] == pytest.approx(fit.bse["x"], rel=1e-8)


def test_question_an_exposure_of_several_groups_is_compared_with_one_of_them():
    table = cohort(3)
    table["group"] = np.random.default_rng(3).choice(["placebo", "low", "high"], len(table))
    found = mediate(table, ["group"], "y", ["m"], ["c"], draws=0,
                    reference={"group": "placebo"}).table  # fmt: skip
    assert found["exposure"].tolist() == ["group: high against placebo",
                                          "group: low against placebo"]  # fmt: skip
    dummies = pd.get_dummies(table["group"], dtype=float)[["high", "low"]]
    fit = sm.OLS(table["m"], sm.add_constant(dummies.assign(c=table["c"]))).fit()
    assert found["beta21"].tolist() == pytest.approx(fit.params[["high", "low"]].tolist())


def test_question_a_continuous_exposure_is_compared_at_two_values():
    # 0 against 5 and 20 against 25 differ only where the mediator's slope depends on the exposure
    table = cohort(4).assign(bmi=lambda t: 25 + 4 * t["x"])
    for interaction in (False, True):
        far, near = (
            closed_form_effects(table, "bmi", "y", "m", ["c"], interaction=interaction,
                                contrast=contrast)["estimate"].iloc[[1, 4]]
            for contrast in ((0, 5), (20, 25))
        )  # fmt: skip
        assert np.allclose(far, near) == (not interaction)


def test_question_a_binary_mediator_coded_as_text_or_1_and_2_is_told():
    table = cohort(5).assign(high=lambda t: (t["m"] > 0).astype(int))
    words = table.assign(high=np.where(table["high"] == 1, "yes", "no"))
    with pytest.raises(ValueError, match="code them as numbers"):
        natural_effects(words, "x", "y", "high")
    assert natural_effects(table, "x", "y", "high", draws=50)["estimate"].notna().sum() == 6


def test_question_a_binary_mediator_has_bootstrap_intervals():
    table = cohort(6).assign(high=lambda t: (t["m"] > 0).astype(int))
    row = natural_effects(table, "x", "y", "high", ["c"], draws=150).set_index("effect")
    row = row.loc["total_indirect"]
    assert row["draws"] == 150
    assert row["drawn_low"] < row["estimate"] < row["drawn_high"]


def test_question_results_over_imputed_tables_have_one_p():
    table = cohort(7)
    table.loc[::5, "m"] = np.nan
    row = mediate(table, ["x"], "y", ["m"], ["c"], imputations=5, draws=500).table.iloc[0]
    assert row["draws"] == 500
    assert 0 <= row["p_indirect"] <= 1
    assert (row["indirect_low"] > 0 or row["indirect_high"] < 0) == (row["p_indirect"] < 0.05)


def test_question_slopes_are_pooled_over_imputed_tables_for_each_regression():
    table = cohort(8)
    table.loc[::4, "m"] = np.nan
    row = mediate(table, ["x"], "y", ["m"], ["c"], imputations=4, draws=0).table.iloc[0]
    assert {"beta21", "beta21_se", "p_beta21", "beta32", "beta32_se"} <= set(row.index)
    # With the same slope in every table nothing is lost
    same = pooled([0.5] * 4, [0.1] * 4, 100)
    assert (same["estimate"], same["se"]) == pytest.approx((0.5, 0.1))


def test_question_a_proportion_mediated_has_an_interval_and_may_be_senseless():
    found = closed_form_effects(cohort(9), "x", "y", "m", ["c"]).set_index("effect")
    row = found.loc["proportion_mediated"]
    assert row["low"] < row["estimate"] < row["high"]
    opposed = cohort(9)
    opposed["y"] -= 0.6 * opposed["x"]
    row = closed_form_effects(opposed, "x", "y", "m", ["c"]).set_index("effect")
    row = row.loc["proportion_mediated"]
    assert row["high"] - row["low"] > 1  # the total effect is near 0: nothing to be a share of


def test_question_fewer_mediators_than_patients_allow_are_not_screened():
    rng = np.random.default_rng(100)
    table = cohort(10).assign(m2=rng.normal(size=200), m3=rng.normal(size=200))
    found = joint_mediators(table, "x", "y", ["m", "m2", "m3"], ["c"])
    assert found["kept"].all()
    assert found.loc[found["mediates"], "mediator"].tolist() == ["m"]


def test_question_directions_of_mediators_take_covariates():
    table = cohort(11)
    rng = np.random.default_rng(11)
    names = [f"m{i}" for i in range(6)]
    table = table.assign(**{name: table["m"] + 0.5 * rng.normal(size=200) for name in names})
    with_c, without = (mediating_directions(table, "x", "y", names, own, draws=0).effects
                       for own in (["c"], []))  # fmt: skip
    assert not np.allclose(with_c["indirect"].iloc[0], without["indirect"].iloc[0])


def test_question_an_indirect_effect_without_a_total_one_is_found():
    table = cohort(13, 400)
    table["y"] -= 0.45 * table["x"]
    row = mediate(table, ["x"], "y", ["m"], ["c"], draws=500).table.iloc[0]
    assert row["p_beta11"] > 0.05
    assert row["mediator_by_joint_test"]
    assert not row["mediator_by_criterion"]
    assert row["p_indirect"] < 0.001
