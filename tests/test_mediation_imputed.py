"""Imputation reaches natural effects and sensitivity, and says what it cannot reach."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from ssinfnet import mediation
from ssinfnet.mediation import imputation
from ssinfnet.mediation.imputed_effects import pooled_natural, pooled_rho
from ssinfnet.report.mediation_methods import methods_text

IMPUTATIONS = 3
NAMES = [f"m{i}" for i in range(8)]
OF_ONE = ("directions", "corrected")


@pytest.fixture(scope="module")
def table():
    """200 patients, of whom 42 or so have all eight mediators; the first two carry an effect."""
    rng = np.random.default_rng(3)
    n = 200
    x, c = rng.normal(size=(2, n))
    m = rng.normal(size=(n, 8))
    m[:, :2] += 0.8 * x[:, None]
    y = (m[:, 0] + m[:, 1] + 0.3 * x + rng.normal(size=n) > 0).astype(int)
    found = pd.DataFrame(m, columns=NAMES).assign(x=x, c=c, y=y)
    found[NAMES] = found[NAMES].mask(rng.random((n, 8)) < 0.18)
    found.loc[::20, "c"] = np.nan
    return found


@pytest.fixture(scope="module")
def analysis(table):
    return mediation.analyse(
        table, ["x"], "y", NAMES, ["c"], imputations=IMPUTATIONS, draws=90, reliability={"m0": 0.8}
    )


def test_natural_effects_are_of_all_patients_and_pooled_by_rubins_rules(table, analysis):
    assert set(analysis.effects.table["n"]) == set(analysis.natural["n"]) == {200}
    own = analysis.natural.query("mediator == 'm0'").set_index("effect")
    contrast = (table["x"].mean(), table["x"].mean() + table["x"].std())
    tables = mediation.imputed_tables(
        table[["x", "y", *NAMES, "c"]], ["x", "y", *NAMES, "c"], IMPUTATIONS, 2021
    )
    each = [
        mediation.natural_effects(one, "x", "y", "m0", ["c"], draws=0, contrast=contrast).set_index(
            "effect"
        )
        for one in tables
    ]
    for effect in ("total_indirect", "indirect_risk_ratio"):
        ratio = effect == "indirect_risk_ratio"
        values = [one.loc[effect, "estimate"] for one in each]
        errors = [
            one.loc[effect, "se"] / (one.loc[effect, "estimate"] if ratio else 1) for one in each
        ]
        by_hand = mediation.pooled(np.log(values) if ratio else values, errors, 200 - 4)
        row = own.loc[effect]
        estimate = np.log(row["estimate"]) if ratio else row["estimate"]
        assert estimate == pytest.approx(by_hand["estimate"], rel=1e-6)
        assert row["fraction_missing"] == pytest.approx(by_hand["fraction_missing"], rel=1e-4)
        se = row["se"] / row["estimate"] if ratio else row["se"]
        assert se == pytest.approx(by_hand["se"], rel=1e-4)
        assert row["low"] < row["estimate"] < row["high"]
    assert np.isfinite(own.loc["indirect_risk_ratio", "e_value"])


def test_correlations_of_errors_are_pooled_by_fishers_z(table, analysis):
    row = analysis.rho.set_index("mediator").loc["m0"]
    tables = mediation.imputed_tables(
        table[["x", "y", *NAMES, "c"]], ["x", "y", *NAMES, "c"], IMPUTATIONS, 2021
    )
    z = [
        np.arctanh(mediation.vanishing_rho(one, ["x"], "y", ["m0"], ["c"])["rho"].item())
        for one in tables
    ]
    assert np.arctanh(row["rho"]) == pytest.approx(np.mean(z), rel=1e-9)
    total = 1 / (200 - 3 - 2) + (1 + 1 / IMPUTATIONS) * np.var(z, ddof=1)
    reach = (np.arctanh(row["rho_high"]) - np.arctanh(row["rho_low"])) / 2
    assert 1.96 < reach / np.sqrt(total) < 3
    assert row["n"] == 200


def test_what_differs_between_imputed_tables_is_left_out_with_a_reason(analysis):
    for name in OF_ONE:
        assert getattr(analysis, name).empty
        assert "imputed" in analysis.reasons[name]
    text = " ".join(methods_text(analysis))
    assert (
        "single mediators 200, joint analysis 200, natural effects 200, sensitivity 200, path "
        "model 190."
    ) in text
    assert "chosen once, of all imputed tables stacked" in text


def test_a_binary_mediator_with_gaps_has_a_reason_and_one_without_none(table):
    binary = table.assign(m0=(table["m0"] > 0).astype(float).mask(table["m0"].isna()))
    found = mediation.analyse(binary, ["x"], "y", ["m0", "m1"], ["c"], imputations=2, draws=40)
    reasons = found.natural.groupby("mediator")["reason"].first()
    assert "0 and 1" in reasons["m0"]
    assert reasons["m1"] == ""


def test_without_gaps_imputed_effects_are_those_of_the_table(table):
    whole = table.fillna(0.0)
    plain, imputed = (
        mediation.analyse(whole, ["x"], "y", ["m0", "m1"], ["c"], draws=40, **given)
        for given in ({}, {"imputations": 2})
    )
    for name, columns in (("natural", ["estimate", "se"]), ("rho", ["rho"])):
        np.testing.assert_allclose(
            getattr(imputed, name)[columns], getattr(plain, name)[columns], rtol=1e-6
        )


def test_a_table_that_could_not_be_analysed_is_counted():
    good = pd.DataFrame({"effect": ["total"], "estimate": [0.2], "se": 0.1, "n": 50, "reason": ""})
    bad = good.assign(estimate=np.nan, se=np.nan, reason="did not converge")
    assert pooled_natural([good, bad], 4)["reason"].item() == (
        "did not converge (in 1 of 2 imputed tables)"
    )
    assert pooled_rho([bad, bad])["reason"].item().endswith("(in 2 of 2 imputed tables)")


def test_an_analysis_imputes_its_tables_once(table, monkeypatch):
    made = []
    original = imputation.imputed_tables
    monkeypatch.setattr(
        imputation, "imputed_tables", lambda *given: made.append(given[2]) or original(*given)
    )
    found = mediation.analyse(table, ["x"], "y", ["m0", "m1"], ["c"], imputations=2, draws=40)
    assert made == [2]
    assert (found.natural["reason"] == "").all()
    assert len(found.effects.completed.tables) == 2


# All mediators jointly


def test_joint_slopes_are_pooled_over_the_same_regressions_by_rubins_rules(table, analysis):
    found = analysis.joint.set_index("mediator")
    tables = analysis.effects.completed.tables
    for name in ("m0", "m1", "m5"):
        fits = [sm.OLS(one[name], sm.add_constant(one[["x", "c"]])).fit() for one in tables]
        alpha = mediation.pooled(
            [fit.params["x"] for fit in fits], [fit.bse["x"] for fit in fits], 200 - 3
        )
        fits = [sm.OLS(one["y"], sm.add_constant(one[["x", "c", *NAMES]])).fit() for one in tables]
        beta = mediation.pooled(
            [fit.params[name] for fit in fits], [fit.bse[name] for fit in fits], 200 - 11
        )
        row = found.loc[name]
        for slope, by_hand in (("alpha", alpha), ("beta", beta)):
            assert row[slope] == pytest.approx(by_hand["estimate"], rel=1e-8)
            assert row[f"{slope}_se"] == pytest.approx(by_hand["se"], rel=1e-8)
            assert row[f"p_{slope}"] == pytest.approx(by_hand["p"], rel=1e-6)
        assert row["fraction_missing"] == pytest.approx(
            max(alpha["fraction_missing"], beta["fraction_missing"]), rel=1e-6
        )
    assert (found["n"] == 200).all()
    assert found.index[found["mediates"]].tolist() == ["m0", "m1"]
    complete = mediation.joint_mediators(table, "x", "y", NAMES, ["c"])
    assert complete["n"].iloc[0] < 100  # of whom it finds less


def test_tables_without_gaps_are_one_table_jointly():
    """Beside more mediators than are kept, of whom neighbours and a lasso's choice are others."""
    rng = np.random.default_rng(2)
    x, m = rng.normal(size=150), rng.normal(size=(150, 60))
    m[:, :4] += 0.6 * x[:, None]
    m[:, 5] = m[:, 4] + 0.1 * rng.normal(size=150)
    names = [f"m{i}" for i in range(60)]
    one = pd.DataFrame(m, columns=names).assign(x=x, y=m[:, 0] + m[:, 40] + rng.normal(size=150))
    alone = mediation.joint_mediators(one, "x", "y", names)
    both = mediation.imputed_joint_mediators([one, one, one], "x", "y", names)
    assert alone["kept"].sum() == int(150 / np.log(150))
    for name in ("kept", "same_as", "stands_for", "mediates"):
        assert both[name].tolist() == alone[name].tolist()
    for name in ("alpha", "alpha_se", "beta", "beta_se", "indirect", "low", "high"):
        np.testing.assert_allclose(both[name], alone[name], rtol=1e-7)
    assert both.loc[both["kept"], "fraction_missing"].max() < 0.03  # 2 / (df + 3) of none


def test_what_is_tested_is_the_same_in_every_table():
    rng = np.random.default_rng(3)
    x, m = rng.normal(size=120), rng.normal(size=(120, 50))
    m[:, :3] += 0.7 * x[:, None]
    names = [f"m{i}" for i in range(50)]
    whole = pd.DataFrame(m, columns=names).assign(x=x, y=m[:, 0] + rng.normal(size=120))
    gaps = whole.assign(**{name: whole[name].mask(rng.random(120) < 0.2) for name in names})
    tables = mediation.imputed_tables(gaps, list(gaps), 4, 1)
    found = mediation.imputed_joint_mediators(tables, "x", "y", names)
    each = [mediation.joint_mediators(one, "x", "y", names)["kept"] for one in tables]
    assert not all(own.equals(each[0]) for own in each)  # alone they choose otherwise
    assert found["kept"].sum() == int(120 / np.log(120))
    assert found.loc[found["kept"], ["p_alpha", "p_beta", "q"]].notna().all(axis=None)
    assert found.loc[0, "mediates"]


def test_joint_tables_with_gaps_are_refused(table):
    with pytest.raises(ValueError, match="impute all columns"):
        mediation.imputed_joint_mediators([table, table], "x", "y", NAMES)
    with pytest.raises(ValueError, match="no imputed table"):
        mediation.imputed_joint_mediators([], "x", "y", NAMES)
