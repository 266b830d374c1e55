"""Questions of other packages' users, re-created; docs/mediation.md says where they were asked.

Of packages in R; those of packages in Python are in test_python_questions.py.
"""

import re

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from conftest import ROOT
from scipy.special import expit

from ssinfnet.mediation import (
    closed_form_effects,
    fit_paths,
    joint_mediators,
    mediate,
    mediating_directions,
    natural_effects,
)
from ssinfnet.mediation.imputation import imputed_tables
from ssinfnet.mediation.resampling import drawn_weights


def cohort(seed=0, n=200):
    rng = np.random.default_rng(seed)
    x, c = rng.normal(size=(2, n))
    m = 0.5 * x + 0.3 * c + rng.normal(size=n)
    y = 0.5 * m + 0.2 * x + 0.3 * c + rng.normal(size=n)
    return pd.DataFrame({"x": x, "c": c, "m": m, "y": y})


def least_squares(table, response, names):
    return sm.OLS(table[response], sm.add_constant(table[names])).fit()


def two_regressions(table, covariates=()):
    """The mediator's and the outcome's, by statsmodels."""
    return (
        least_squares(table, "m", ["x", *covariates]),
        least_squares(table, "y", ["x", "m", *covariates]),
    )


def drawn_products(table, covariates, draws, seed=2021):
    """The indirect effect in each draw of patients that can be analysed, by numpy's lstsq."""
    ones = np.ones((len(table), 1))
    first = np.hstack([ones, table[["x", *covariates]]])
    second = np.hstack([table[["m"]], first])
    m, y = table["m"].to_numpy(), table["y"].to_numpy()
    products = []
    for weights in drawn_weights(len(table), draws, seed):
        for counted in weights.astype(int):
            drawn = np.repeat(np.arange(len(table)), counted)
            to_mediator, _, rank, _ = np.linalg.lstsq(first[drawn], m[drawn], rcond=None)
            to_outcome = np.linalg.lstsq(second[drawn], y[drawn], rcond=None)[0]
            if rank == first.shape[1]:
                products.append(to_mediator[1] * to_outcome[0])
    return np.array(products)


def test_every_question_of_the_page_has_its_test():
    page = (ROOT / "docs" / "mediation.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_question_\w+)`", page)
    here = [
        name
        for file in ("test_mediation_questions.py", "test_python_questions.py")
        for name in re.findall(
            r"^def (test_question_\w+)",
            (ROOT / "tests" / file).read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    ]
    assert sorted(named) == sorted(here)


def test_question_draws_that_fail_leave_errors_and_p_of_the_others():
    # A site of three patients is missed by some draws, and then no draw of it can be analysed
    table = cohort()
    table["x"] = [1.0] * 3 + [0.0] * 197
    row = mediate(table, ["x"], "y", ["m"], draws=600, fewest=3).table.iloc[0]
    products = drawn_products(table, [], 600)
    assert row["draws"] == len(products) < 600
    low, high = np.quantile(products, [0.025, 0.975])
    assert (row["indirect_low"], row["indirect_high"]) == pytest.approx((low, high), rel=1e-8)
    share = (products < 0).mean()
    assert row["p_indirect"] == pytest.approx(2 * min(share, 1 - share), abs=4 / len(products))


def test_question_robust_errors_and_draws_stand_side_by_side_for_the_indirect_effect():
    table = cohort(n=400)
    rng = np.random.default_rng(1)
    table["m"] += 1.5 * np.abs(table["x"]) * rng.normal(size=400)
    table["y"] += np.abs(table["x"]) * rng.normal(size=400)
    fit = fit_paths(table, "y", {"m": ["x"]}, ["c"], draws=600)
    row = fit.effects.set_index("through").loc["m"]
    to_mediator, to_outcome = two_regressions(table, ["c"])
    # What each patient moves either slope by (White 1980), and so their product
    moved = []
    for fitted, name in ((to_mediator, "x"), (to_outcome, "m")):
        place = fitted.model.exog_names.index(name)
        moved.append(fitted.model.pinv_wexog[place] * fitted.resid.to_numpy())
    a, b = to_mediator.params["x"], to_outcome.params["m"]
    robust = np.sqrt(np.square(b * moved[0] + a * moved[1]).sum())
    assert row["se_robust"] == pytest.approx(robust, rel=1e-4)
    assert row["se_robust"] > 1.2 * row["se"]  # the classic one takes variances for equal
    assert row["se_drawn"] == pytest.approx(drawn_products(table, ["c"], 600).std(), rel=0.01)


def test_question_interval_and_p_of_the_same_effect_agree():
    outsides = set()
    for seed in range(12):
        table = cohort(seed, 60)
        row = mediate(table, ["x"], "y", ["m"], ["c"], draws=400).table.iloc[0]
        outside = bool(row["indirect_low"] > 0 or row["indirect_high"] < 0)
        assert outside == (row["p_indirect"] < 0.05)
        share = (drawn_products(table, ["c"], 400) < 0).mean()
        assert row["p_indirect"] == pytest.approx(2 * min(share, 1 - share), abs=0.02)
        outsides.add(outside)
    assert outsides == {False, True}


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
    found = mediate(
        table, ["group"], "y", ["m"], ["c"], draws=0, reference={"group": "placebo"}
    ).table
    assert found["exposure"].tolist() == [
        "group: high against placebo",
        "group: low against placebo",
    ]
    dummies = pd.get_dummies(table["group"], dtype=float)[["high", "low"]]
    fit = sm.OLS(table["m"], sm.add_constant(dummies.assign(c=table["c"]))).fit()
    assert found["beta21"].tolist() == pytest.approx(fit.params[["high", "low"]].tolist())


@pytest.mark.parametrize("interaction", [False, True])
@pytest.mark.parametrize("contrast", [(0, 5), (20, 25)])
def test_question_a_continuous_exposure_is_compared_at_two_values(interaction, contrast):
    # 0 against 5 and 20 against 25 differ only where the mediator's slope depends on the exposure
    table = cohort(4).assign(x=lambda t: 25 + 4 * t["x"])
    table["y"] += 0.02 * table["x"] * table["m"]
    found = closed_form_effects(
        table, "x", "y", "m", ["c"], interaction=interaction, contrast=contrast
    ).set_index("effect")["estimate"]
    together = table.assign(xm=table["x"] * table["m"])
    a = least_squares(table, "m", ["x", "c"]).params["x"]
    slopes = least_squares(together, "y", ["x", "m", "c", *["xm"] * interaction]).params
    moved = 5 * a
    low, high = (moved * (slopes["m"] + slopes.get("xm", 0.0) * x) for x in contrast)
    assert found["pure_indirect"] == pytest.approx(low, rel=1e-8)
    assert found["total_indirect"] == pytest.approx(high, rel=1e-8)


def test_question_a_binary_mediator_coded_as_text_or_1_and_2_is_told():
    table = cohort(5).assign(high=lambda t: (t["m"] > 0).astype(int))
    words = table.assign(high=np.where(table["high"] == 1, "yes", "no"))
    with pytest.raises(
        ValueError,
        match="'high' holds 200 values .* first '(yes|no)'.*a number for each of its two words",
    ):
        natural_effects(words, "x", "y", "high")
    with pytest.warns(UserWarning, match="mediator 'high': coded 1, 2"):
        natural_effects(table.assign(high=table["high"] + 1), "x", "y", "high", draws=0)
    notes = mediate(table.assign(high=table["high"] + 1), ["x"], "y", ["high"], draws=0).columns
    assert notes.set_index("column").loc["high", "note"] == "coded 1, 2"


def through_binary(table, x0, x1):
    """E[Y(x1, M(x1))] - E[Y(x1, M(x0))] of a logistic mediator and a linear outcome."""
    design = sm.add_constant(table[["x", "c"]])
    slopes = sm.Logit(table["high"], design).fit(disp=False).params
    b = least_squares(table, "y", ["x", "high", "c"]).params["high"]
    at = [expit(slopes["const"] + slopes["x"] * x + slopes["c"] * table["c"]) for x in (x0, x1)]
    return b * (at[1] - at[0]).mean()


def test_question_a_binary_mediator_has_bootstrap_intervals():
    table = cohort(6).assign(high=lambda t: (t["m"] > 0).astype(int))
    row = natural_effects(table, "x", "y", "high", ["c"], draws=220).set_index("effect")
    row = row.loc["total_indirect"]
    values = table["x"].mean(), table["x"].mean() + table["x"].std()
    assert row["estimate"] == pytest.approx(through_binary(table, *values), rel=1e-6)
    (weights,) = drawn_weights(len(table), 220, 2021)
    drawn = [
        through_binary(table.loc[np.repeat(table.index, own.astype(int))], *values)
        for own in weights
    ]
    assert row["draws"] == 220
    bounds = np.quantile(drawn, [0.025, 0.975])
    assert row[["drawn_low", "drawn_high"]].tolist() == pytest.approx(bounds.tolist(), rel=1e-5)


def imputed_cohort(seed, imputations):
    """A cohort that lacks mediators, and the tables that `mediate` imputes of it."""
    table = cohort(seed)
    table.loc[::4, "m"] = np.nan
    return table, imputed_tables(table, ["x", "y", "m", "c"], imputations, 2021)


def test_question_results_over_imputed_tables_have_one_p():
    table, whole = imputed_cohort(7, 5)
    table["y"] -= 0.42 * table["m"].fillna(0)  # so that p is neither 0 nor 1
    whole = imputed_tables(table, ["x", "y", "m", "c"], 5, 2021)
    row = mediate(table, ["x"], "y", ["m"], ["c"], imputations=5, draws=1000).table.iloc[0]
    products = np.concatenate(
        [drawn_products(own, ["c"], 200, 2021 + number) for number, own in enumerate(whole)]
    )
    assert row["draws"] == len(products) == 1000
    bounds = np.quantile(products, [0.025, 0.975])
    assert row[["indirect_low", "indirect_high"]].tolist() == pytest.approx(bounds.tolist())
    share = (products < 0).mean()
    assert 0.001 < row["p_indirect"] < 1
    assert row["p_indirect"] == pytest.approx(2 * min(share, 1 - share), abs=0.004)


def test_question_slopes_are_pooled_over_imputed_tables_for_each_regression():
    table, whole = imputed_cohort(8, 4)
    row = mediate(table, ["x"], "y", ["m"], ["c"], imputations=4, draws=0).table.iloc[0]
    fits = [(least_squares(own, "y", ["x", "c"]), *two_regressions(own, ["c"])) for own in whole]
    for beta, place, name in (
        ("beta11", 0, "x"),
        ("beta21", 1, "x"),
        ("beta31", 2, "x"),
        ("beta32", 2, "m"),
    ):
        slopes = np.array([own[place].params[name] for own in fits])
        within = np.mean([own[place].bse[name] ** 2 for own in fits])
        pooled = np.sqrt(within + (1 + 1 / 4) * slopes.var(ddof=1))  # Rubin 1987
        assert row[beta] == pytest.approx(slopes.mean(), rel=1e-8)
        assert row[f"{beta}_se"] == pytest.approx(pooled, rel=1e-8)
    assert row["beta32_se"] > 1.05 * np.sqrt(within)  # by what is missing


def test_question_a_proportion_mediated_has_an_interval_and_may_be_senseless():
    table = cohort(9)
    opposed = table.assign(y=table["y"] - 0.6 * table["x"])
    for own in (table, opposed):
        to_mediator, to_outcome = two_regressions(own, ["c"])
        a, b, c = to_mediator.params["x"], to_outcome.params["m"], to_outcome.params["x"]
        total = c + a * b
        gradient = np.array([a * c, -a * b]) / total**2  # by the outcome's two slopes
        between = to_outcome.cov_params().loc[["m", "x"], ["m", "x"]].to_numpy()
        variance = (b * c / total**2 * to_mediator.bse["x"]) ** 2 + gradient @ between @ gradient
        row = closed_form_effects(own, "x", "y", "m", ["c"], interaction=False)
        row = row.set_index("effect").loc["proportion_mediated"]
        assert row["estimate"] == pytest.approx(a * b / total, rel=1e-8)
        reach = 1.959964 * np.sqrt(variance)
        assert row["high"] - row["estimate"] == pytest.approx(reach, rel=1e-4)
        assert row["estimate"] - row["low"] == pytest.approx(reach, rel=1e-4)
    assert row["high"] - row["low"] > 1  # the total effect is near 0: nothing to be a share of


def test_question_fewer_mediators_than_patients_allow_are_not_screened():
    rng = np.random.default_rng(100)
    table = cohort(10).assign(m2=rng.normal(size=200), m3=rng.normal(size=200))
    found = joint_mediators(table, "x", "y", ["m", "m2", "m3"], ["c"])
    assert found["kept"].all()
    assert found.loc[found["mediates"], "mediator"].tolist() == ["m"]
    fitted = least_squares(table, "y", ["x", "c", "m", "m2", "m3"])
    assert found["beta"].tolist() == pytest.approx(fitted.params[["m", "m2", "m3"]].tolist())
    assert found["p_beta"].tolist() == pytest.approx(fitted.pvalues[["m", "m2", "m3"]].tolist())


def test_question_directions_of_mediators_take_covariates():
    table = cohort(11)
    rng = np.random.default_rng(11)
    names = [f"m{i}" for i in range(6)]
    table = table.assign(**{name: table["m"] + 0.5 * rng.normal(size=200) for name in names})
    found = mediating_directions(table, "x", "y", names, ["c"], draws=0).effects.iloc[0]
    # The first component of what exposure and covariate leave of the mediators, as a mediator
    left = np.column_stack([least_squares(table, name, ["x", "c"]).resid for name in names])
    size = np.linalg.norm(left, axis=0)
    variances, axes = np.linalg.eigh((left / size).T @ (left / size))
    table["m"] = (table[names].to_numpy() / size) @ axes[:, -1]
    to_mediator, to_outcome = two_regressions(table, ["c"])
    indirect = to_mediator.params["x"] * to_outcome.params["m"]
    assert found["explained"] == pytest.approx(variances[-1] / 6, rel=1e-8)
    assert found["indirect"] == pytest.approx(indirect, rel=1e-8)
    assert found["p_beta32"] == pytest.approx(to_outcome.pvalues["m"], rel=1e-6)


def test_question_an_indirect_effect_without_a_total_one_is_found():
    table = cohort(13, 400)
    table["y"] -= 0.45 * table["x"]
    row = mediate(table, ["x"], "y", ["m"], ["c"], draws=500).table.iloc[0]
    assert row["p_beta11"] > 0.05
    assert row["mediator_by_joint_test"]
    assert not row["mediator_by_criterion"]
    assert row["p_indirect"] < 0.001
