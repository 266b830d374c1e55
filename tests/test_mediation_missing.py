"""Missing values: patterns, imputed tables and full information, against R's mice and lavaan."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from effect_comparisons import FIML

from ssinfnet.mediation import (
    NotConvergedError,
    analyse,
    fit_paths,
    imputed_joint_mediators,
    imputed_tables,
    mediate,
    missing_patterns,
    pooled,
    single_effects,
)
from ssinfnet.mediation.chained import chained, drawn_regression

REFERENCE = Path(__file__).with_name("reference")


@pytest.fixture
def partly():
    return pd.read_csv(REFERENCE / "partly_known.csv")


def test_patients_of_whom_something_is_known_count_in_full_information(partly):
    """Its estimates are lavaan's: `effect_comparisons.with_fiml`, held in test_validation.py."""
    fit = fit_paths(partly, "y", {"m1": ["x1"]}, missing="fiml", draws=0)
    assert fit.n == len(partly) > len(partly.dropna())


def test_full_information_of_complete_rows_is_maximum_likelihood(partly):
    complete = partly.dropna()
    for model in ("restricted", "covariate"):
        paths, covariates, correlated = FIML[model]
        ours, plain = (
            fit_paths(
                complete, "y", paths, covariates, correlated=correlated, missing=missing, draws=0
            )
            for missing in ("fiml", "complete")
        )
        np.testing.assert_allclose(ours.effects["estimate"], plain.effects["estimate"], rtol=1e-5)
        np.testing.assert_allclose(ours.effects["se_robust"], plain.effects["se_robust"], rtol=1e-4)
        assert ours.measures["chi_square"] == pytest.approx(plain.measures["chi_square"], abs=1e-4)


def test_what_cannot_be_fitted_by_full_information_is_said(partly):
    with pytest.raises(ValueError, match="missing must be complete or fiml"):
        fit_paths(partly, "y", {"m1": ["x1"]}, missing="pairwise")
    with pytest.raises((ValueError, NotConvergedError)):
        fit_paths(partly.assign(m2=partly["m1"]), "y", {"m1": ["x1"], "m2": ["x1"]}, missing="fiml")


def test_effects_over_imputed_tables_are_micess(partly):
    theirs = pd.read_csv(REFERENCE / "pooled.csv").set_index("term")
    found = mediate(partly, ["x1"], "y", ["m1", "m2"], ["x2"], imputations=30, draws=0)
    rows = found.table.set_index("mediator")
    for mediator in ("m1", "m2"):
        for beta, term in (
            ("beta21", f"{mediator} ~ x1 + x2"),
            ("beta32", f"y ~ x1 + x2 + {mediator}"),
        ):
            row = theirs.loc[term]
            # Both draw what is missing: a tenth of a standard error is what draws differ by
            assert rows.loc[mediator, beta] == pytest.approx(row["estimate"], abs=0.25 * row["se"])
            assert rows.loc[mediator, f"{beta}_se"] == pytest.approx(row["se"], rel=0.12)
    assert rows["n"].tolist() == [partly["y"].notna().sum()] * 2
    assert rows["n_imputed"].tolist() == [
        int((partly["y"].notna() & partly[m].isna()).sum()) for m in ("m1", "m2")
    ]
    assert ((rows["fraction_missing"] > 0.05) & (rows["fraction_missing"] < 0.6)).all()
    assert "pooled over 30 imputed tables" in found.text()


def test_errors_over_imputed_tables_are_those_of_full_information():
    rng = np.random.default_rng(7)
    x = rng.normal(size=300)
    m = 0.5 * x + rng.normal(size=300)
    table = pd.DataFrame({"x": x, "m": m, "y": 0.4 * m + 0.2 * x + rng.normal(size=300)})
    table.loc[rng.random(300) < 0.5, "m"] = np.nan
    found = mediate(table, ["x"], "y", ["m"], imputations=150, draws=0).table.iloc[0]
    fit = fit_paths(table, "y", {"m": ["x"]}, missing="fiml", draws=0)
    theirs = fit.estimates.set_index(["lhs", "rhs"])
    for beta, path in (("beta21", ("m", "x")), ("beta32", ("y", "m"))):
        assert found[beta] == pytest.approx(theirs.loc[path, "estimate"], abs=0.02)
        # Of 150 tables the error is known to a fortieth
        assert found[f"{beta}_se"] == pytest.approx(theirs.loc[path, "se"], rel=0.08)
    assert 0.3 < found["fraction_missing"] < 0.7


def test_a_drawn_regression_draws_from_the_posterior():
    rng = np.random.default_rng(0)
    given = rng.normal(size=(40, 2))
    wanted = 1 + given @ [0.5, -0.3] + rng.normal(size=40)
    drawn = [drawn_regression(given, wanted, rng) for _ in range(4000)]
    coefficients = np.stack([slopes for slopes, _ in drawn])
    design = sm.add_constant(given)
    theirs = sm.OLS(wanted, design).fit()
    freedom = theirs.df_resid
    np.testing.assert_allclose(coefficients.mean(0), theirs.params, atol=0.02)
    # The posterior is Student's: its covariance is the estimate's times freedom / (freedom - 2)
    np.testing.assert_allclose(
        np.cov(coefficients.T), theirs.cov_params() * freedom / (freedom - 2), rtol=0.1, atol=2e-3
    )
    variances = [deviation**2 for _, deviation in drawn]
    assert np.mean(variances) == pytest.approx(theirs.ssr / (freedom - 2), rel=0.02)


def test_hundreds_of_columns_are_imputed_from_their_nearest():
    rng = np.random.default_rng(3)
    values = rng.normal(size=(80, 60))
    values[:, 1] = values[:, 0] + 0.1 * rng.normal(size=80)
    values[:, 2] = 0.0  # a column that does not vary
    holes = values.copy()
    holes[::3, 1] = np.nan
    tables = np.stack([chained(holes, rng) for _ in range(10)])
    np.testing.assert_array_equal(tables[0][1::3], values[1::3])
    drawn = tables.mean(axis=0)
    assert np.corrcoef(drawn[::3, 1], values[::3, 1])[0, 1] > 0.95


def test_imputed_tables_keep_what_is_known_and_the_seed_decides(partly):
    columns = list(partly)
    first, same, other = (imputed_tables(partly, columns, 2, seed) for seed in (1, 1, 2))
    known = partly.notna()
    for table in first:
        assert table.notna().all(axis=None)
        pd.testing.assert_frame_equal(table.where(known), partly.where(known))
    pd.testing.assert_frame_equal(first[1], same[1])
    missing = ~known["m1"]
    assert (first[0]["m1"][missing] != first[1]["m1"][missing]).all()
    assert (first[0]["m1"][missing] != other[0]["m1"][missing]).all()
    with pytest.raises(ValueError, match="imputations must be at least 1"):
        imputed_tables(partly, columns, 0, 1)
    with pytest.raises(ValueError, match="fewer than 3 patients"):
        imputed_tables(partly.assign(m1=np.nan), columns, 1, 1)


def test_a_table_without_missing_values_is_pooled_to_itself(clinic):
    given = {"draws": 200, "seed": 5}
    plain = mediate(clinic, ["age"], "severity", ["ggo_area"], ["hospital"], **given).table
    once = mediate(clinic, ["age"], "severity", ["ggo_area"], ["hospital"], imputations=2, **given)
    shared = [
        name
        for name in plain.select_dtypes("number")
        if not name.startswith(("p_", "indirect_low", "indirect_high"))
    ]
    np.testing.assert_allclose(once.table[shared], plain[shared], rtol=1e-9)
    assert once.table["n_imputed"].item() == 0


def test_the_draws_of_all_tables_make_interval_and_test(partly):
    found = mediate(partly, ["x1", "x2"], "y", ["m1", "m2"], imputations=4, draws=400).table
    assert found["draws"].tolist() == [400] * 4
    outside = (found["indirect_low"] > 0) | (found["indirect_high"] < 0)
    assert (outside == (found["p_indirect"] < 0.05)).all()
    assert (found["indirect_low"] < found["indirect"]).all()


def test_patterns_are_counted_and_named(partly):
    found = missing_patterns(partly, ["x1", "m1", "y"])
    assert found["patients"].sum() == len(partly)
    assert found["share"].sum() == pytest.approx(1)
    assert found.loc[0, "missing"] == "none"
    both = partly["m1"].isna() & partly["y"].isna()
    assert found.set_index("missing").loc["m1, y", "patients"] == both.sum()
    wide = pd.DataFrame(np.nan, index=range(2), columns=[f"c{i}" for i in range(9)])
    assert missing_patterns(wide, list(wide))["missing"].item().endswith("c5, 3 more")


@pytest.mark.parametrize("of", [mediate, analyse, single_effects])
def test_one_imputation_is_refused_with_what_to_do(partly, of):
    """Its errors are those of complete data: intervals of the slope held it in 81 % of tables."""
    with pytest.raises(ValueError, match=r"0 or at least 2, got 1: .*take 20, or 0"):
        of(partly, ["x1"], "y", ["m1"], imputations=1, draws=20)
    with pytest.raises(ValueError, match="at least 2 imputed tables are pooled, got 1"):
        pooled([0.4], [0.1], 97)
    with pytest.raises(ValueError, match="1 imputed table was given; give at least two"):
        imputed_joint_mediators([partly.dropna()], "x1", "y", ["m1", "m2"])
