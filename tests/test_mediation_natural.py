import numpy as np
import pandas as pd
import pytest
import scipy.stats
import statsmodels.api as sm
from statsmodels.stats.mediation import Mediation as StatsmodelsMediation

from ssinfnet.mediation import (
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
from ssinfnet.mediation.two_part import two_part_effects

# Two parts


def test_two_parts_are_two_mediators_side_by_side(clinic):
    present = (clinic["ggo_area"] > clinic["ggo_area"].quantile(0.3)).astype(int)
    clinic["any_ggo"] = present
    clinic["ggo_entropy"] = clinic["ggo_entropy"].where(present == 1)
    found = two_part_effects(
        clinic, ["age"], "severity", "any_ggo", ["ggo_entropy"], ["gender"], draws=200
    ).set_index("part")
    texture = (clinic["ggo_entropy"] - clinic["ggo_entropy"].mean()).fillna(0)
    x = sm.add_constant(clinic[["age", "gender"]].astype(float))
    y = sm.OLS(clinic["severity"], x.assign(any=present, texture=texture)).fit()
    for part, own, name in (("presence", present, "any"), ("texture", texture, "texture")):
        expected = sm.OLS(own, x).fit().params["age"] * y.params[name]
        assert found.loc[part, "indirect"] == pytest.approx(expected, rel=1e-8)
    total = sm.OLS(clinic["severity"], x).fit().params["age"]
    assert found.loc["both", "indirect"] == pytest.approx(total - y.params["age"], rel=1e-8)
    assert (found["indirect_low"] < found["indirect"]).all()
    assert found["n_present"].unique().tolist() == [int(present.sum())]
    wrong = clinic.assign(ggo_entropy=1.0)
    with pytest.raises(ValueError, match="known for patients with any_ggo = 0"):
        two_part_effects(wrong, ["age"], "severity", "any_ggo", ["ggo_entropy"])


# Natural effects


def by_integration(clinic, link, contrast, interaction=False):
    """E[Y(x, M(x'))] by a fine sum over the mediator, from statsmodels' own fits."""
    x = sm.add_constant(clinic[["age", "gender"]].astype(float))
    mediator = sm.OLS(clinic["ggo_entropy"], x).fit()
    spread = np.sqrt(mediator.ssr / len(clinic))
    both = x.assign(m=clinic["ggo_entropy"])
    if interaction:
        both["xm"] = both["age"] * both["m"]
    model = (sm.Logit if link == "logit" else sm.Probit)(clinic["infected"], both).fit(disp=0)
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
def test_natural_effects_are_their_definition_integrated(clinic, link, interaction):
    found = natural_effects(
        clinic, "age", "infected", "ggo_entropy", ["gender"], link=link, contrast=(45, 60),
        interaction=interaction, draws=0,
    ).set_index("effect")  # fmt: skip
    expected = by_integration(clinic, link, (45, 60), interaction)
    for effect, value in expected.items():
        assert found.loc[effect, "estimate"] == pytest.approx(value, abs=2e-6)
    parts = found["estimate"]
    assert parts["total"] == pytest.approx(parts["total_indirect"] + parts["pure_direct"])
    assert parts["total"] == pytest.approx(parts["pure_indirect"] + parts["total_direct"])


@pytest.mark.slow
def test_natural_effects_are_those_of_statsmodels_simulation(clinic):
    x = sm.add_constant(clinic[["gender", "ggo_entropy"]].astype(float))
    outcome = sm.Probit(clinic["infected"], x)
    mediator = sm.OLS(clinic["ggo_entropy"], x[["const", "gender"]])
    np.random.seed(0)  # noqa: NPY002 (statsmodels draws from it)
    theirs = (
        StatsmodelsMediation(
            outcome, mediator, [x.columns.get_loc("gender"), 1], x.columns.get_loc("ggo_entropy")
        )
        .fit(n_rep=1000)
        .summary()
    )
    ours = natural_effects(clinic, "gender", "infected", "ggo_entropy", link="probit", draws=1000)
    ours = ours.set_index("effect")
    for effect, row in (
        ("total_indirect", "ACME (treated)"),
        ("pure_direct", "ADE (control)"),
        ("total", "Total effect"),
    ):
        low, high = theirs.loc[row, ["Lower CI bound", "Upper CI bound"]]
        assert ours.loc[effect, "estimate"] == pytest.approx(theirs.loc[row, "Estimate"], abs=0.01)
        # It draws each patient's mediator too, so that its intervals are up to a fifth wider.
        width = ours.loc[effect, "drawn_high"] - ours.loc[effect, "drawn_low"]
        assert width == pytest.approx(high - low, rel=0.3)


def test_delta_and_bootstrap_intervals_agree(clinic):
    found = natural_effects(clinic, "age", "infected", "ggo_area", draws=300).set_index("effect")
    assert (found["draws"] > 290).all()
    for effect in ("total_indirect", "total", "indirect_risk_ratio"):
        row = found.loc[effect]
        width = row["drawn_high"] - row["drawn_low"]
        assert width == pytest.approx(row["high"] - row["low"], rel=0.35)
        assert row["drawn_low"] < row["estimate"] < row["drawn_high"]


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_graded_outcomes_have_effects_at_each_grade(clinic, link):
    found = natural_effects(clinic, "age", "grade", "ggo_area", link=link, draws=0)
    assert found.groupby("at_least").size().tolist() == [7, 7]
    share = found[found["effect"] == "total"]["estimate"]
    assert (share > 0).all()
    # Of two grades the model of grades is the binary one
    merged = clinic.assign(grade=(clinic["grade"] > 0).astype(int))
    binary = natural_effects(merged, "age", "grade", "ggo_area", link=link, draws=0)
    assert binary["estimate"].to_numpy() == pytest.approx(
        found[found["at_least"] == 1]["estimate"].to_numpy(), rel=0.25
    )


@pytest.mark.parametrize("first", [1, -1])
def test_grades_from_any_number_are_those_from_0(clinic, first):
    clinic["grade"] = pd.cut(clinic["severity"], 3, labels=False)
    moved = clinic.assign(grade=clinic["grade"] + first)
    own, same = (
        natural_effects(table, "age", "grade", "ggo_area", ["gender"], draws=0)
        for table in (clinic, moved)
    )
    assert len(own) == len(same) == 14  # seven effects on the chance at or above each of two grades
    assert same["at_least"].tolist() == [grade + first for grade in own["at_least"]]
    pd.testing.assert_frame_equal(own.drop(columns="at_least"), same.drop(columns="at_least"))
    single, again = (
        mediate(table, ["age"], "grade", ["ggo_area"], ["gender"], draws=50)
        for table in (clinic, moved)
    )
    assert single.model == again.model == "linear model of an ordinal outcome"
    pd.testing.assert_frame_equal(single.table, again.table)
    assert "grades, counted from the lowest" in again.text()
    assert "counted from the lowest" not in single.text()


def test_natural_effects_refuse_a_chance_of_a_continuous_outcome_and_tell_of_separation(clinic):
    with pytest.raises(ValueError, match="neither 0 and 1 nor grades"):
        natural_effects(clinic, "age", "severity", "ggo_area", link="logit")
    with pytest.raises(ValueError, match="link must be"):
        natural_effects(clinic, "age", "infected", "ggo_area", link="log")
    separated = clinic.assign(infected=(clinic["ggo_area"] > 7500).astype(int))
    found = natural_effects(separated, "age", "infected", "ggo_area", draws=0)
    assert found["estimate"].isna().all()
    assert (found["reason"] != "").all()


# Sensitivity


def test_the_indirect_effect_vanishes_at_the_reported_correlation(clinic):
    rho = vanishing_rho(clinic, ["age"], "severity", ["ggo_area"], ["gender"]).iloc[0]
    x = sm.add_constant(clinic[["age", "gender"]].astype(float))
    outcome, mediator = (sm.OLS(clinic[name], x).fit() for name in ("severity", "ggo_area"))
    assert rho["rho"] == pytest.approx(np.corrcoef(outcome.resid, mediator.resid)[0, 1])
    partial = scipy.stats.pearsonr(outcome.resid, mediator.resid).confidence_interval()
    assert [rho["rho_low"], rho["rho_high"]] == pytest.approx(list(partial), abs=0.01)
    row = mediate(clinic, ["age"], "severity", ["ggo_area"], ["gender"], draws=0).table.iloc[0]
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


def test_an_analysis_is_repeated_without_each_hospital(clinic):
    tables = leave_one_group_out(clinic, clinic["hospital"])
    found = repeated(
        tables, lambda table: mediate(table, ["age"], "severity", ["ggo_area"], draws=0)
    ).set_index("of")
    assert set(found.index) == {"all", "without Union", "without Liyuan"}
    liyuan = clinic[clinic["hospital"] == "Liyuan"]
    alone = mediate(liyuan, ["age"], "severity", ["ggo_area"], draws=0).table
    assert found.loc["without Union", "indirect"] == alone["indirect"].item()
    assert found.loc["without Union", "n"] == len(liyuan)
    nobody = repeated(
        {"few": clinic.iloc[:3]}, lambda table: mediate(table, ["age"], "severity", ["ggo_area"])
    )
    assert "cannot fit" in nobody["reason"].item()
    adjusted = repeated(
        tables,
        lambda table: mediate(table, ["age"], "severity", ["ggo_area"], ["hospital"], draws=0),
    )
    assert adjusted.set_index("of")["covariates_dropped"].to_dict() == {
        "all": "",
        "without Union": "",
        "without Liyuan": "",
    }


def test_presence_as_text_is_refused(clinic):
    table = clinic.assign(lesion=np.where(clinic["ggo_area"] > 0, "yes", "no"))
    with pytest.raises(ValueError, match="'lesion' must be 0 or 1"):
        two_part_effects(table, ["age"], "severity", "lesion", ["ggo_entropy"], draws=0)


def test_groups_in_another_order_leave_out_the_same_patients(clinic):
    expected = leave_one_group_out(clinic, clinic["hospital"])
    turned = clinic["hospital"].astype("string").iloc[::-1]
    for name, table in leave_one_group_out(clinic, turned).items():
        pd.testing.assert_frame_equal(table, expected[name])
    unknown = turned.mask(turned.index == clinic.index[0])
    assert all(
        clinic.index[0] in own.index for own in leave_one_group_out(clinic, unknown).values()
    )
    with pytest.raises(ValueError, match="each patient of the table once"):
        leave_one_group_out(clinic, turned.iloc[1:])


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


def test_no_correlation_of_twins_is_past_1(rng):
    """Rounding took r of phenotypes in other units to 1 + 1e-15, of which no tree can be drawn."""
    x = rng.normal(size=240)
    twins = {f"m{i}": x * 10.0**power for i, power in enumerate(rng.uniform(-3, 6, 30))}
    r = correlations(pd.DataFrame({**twins, "age": rng.normal(size=240)}), list(twins), ["age"])
    assert r.to_numpy().max() == 1
