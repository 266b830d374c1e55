"""Harmonisation against R's sva, statsmodels, and what must hold whatever the numbers.

tests/reference/combat.csv comes from sva 3.46 (`make reference`).
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from statsmodels.stats.anova import anova_lm

from ssinfnet.patients.harmonisation import fit_combat, harmonised, site_effects
from ssinfnet.study.config import HarmonisationConfig

REFERENCE = Path(__file__).parent / "reference"
SVA = pd.read_csv(REFERENCE / "combat.csv")
PATIENTS = pd.read_csv(REFERENCE / "sites.csv")
VALUES = PATIENTS.filter(regex=r"^f\d+$")
SITE, KEPT = PATIENTS["site"], PATIENTS[["age", "male"]]


def cleaned(values, site, covariates):
    return fit_combat(values, site, covariates).apply(values, site, covariates)


@pytest.mark.parametrize(("case", "covariates"), [("covariates", KEPT), ("none", None)])
def test_combat_is_svas(case, covariates):
    ours = cleaned(VALUES, SITE, covariates)
    theirs = SVA[SVA["case"] == case][VALUES.columns].to_numpy()
    assert ours.to_numpy() == pytest.approx(theirs, rel=1e-7)


def test_site_effects_are_the_f_test_of_statsmodels():
    found = site_effects(VALUES, SITE, KEPT)
    for name in VALUES:
        data = PATIENTS.assign(y=VALUES[name])
        full = smf.ols("y ~ age + male + C(site)", data).fit()
        table = anova_lm(smf.ols("y ~ age + male", data).fit(), full)
        assert found.loc[name, "p"] == pytest.approx(table["Pr(>F)"].iloc[1], rel=1e-8)
        shares = table["ss_diff"].iloc[1] / table["ssr"].iloc[0]
        assert found.loc[name, "r2"] == pytest.approx(shares)
        spreads = full.resid.groupby(SITE).std()
        assert found.loc[name, "spread"] == pytest.approx(spreads.max() / spreads.min())


def test_sites_are_gone_and_covariates_stay():
    before, after = (site_effects(one, SITE, KEPT) for one in (VALUES, cleaned(VALUES, SITE, KEPT)))
    assert before["r2"].median() > 0.3
    assert after["r2"].max() < 0.02
    assert after["spread"].max() < 1.5 < before["spread"].max()
    slopes = [
        smf.ols("y ~ age + male + C(site)", PATIENTS.assign(y=one["f3"])).fit().params["age"]
        for one in (VALUES, cleaned(VALUES, SITE, KEPT))
    ]
    assert slopes[1] == pytest.approx(slopes[0], rel=0.2)


def test_held_out_patients_are_harmonised_by_what_training_patients_taught():
    train = np.arange(len(VALUES)) % 3 > 0
    fitted = fit_combat(VALUES[train], SITE[train], KEPT[train])
    held = fitted.apply(VALUES[~train], SITE[~train], KEPT[~train])
    one = fitted.apply(VALUES[~train][:1], SITE[~train][:1], KEPT[~train][:1])
    pd.testing.assert_frame_equal(one, held[:1])  # the others of the fold do not matter
    name, row = "f5", held.index[0]
    mean, deviation, age, male = fitted.level.loc[name]
    expected = mean + age * KEPT.loc[row, "age"] + male * KEPT.loc[row, "male"]
    shift, scale = fitted.shift.loc[SITE[row], name], fitted.scale.loc[SITE[row], name]
    by_hand = (((VALUES.loc[row, name] - expected) / deviation) - shift) / scale
    assert held.loc[row, name] == pytest.approx(by_hand * deviation + expected)
    changed = VALUES.assign(f5=np.where(train, VALUES["f5"], 1e9))
    again = fit_combat(changed[train], SITE[train], KEPT[train])
    pd.testing.assert_frame_equal(again.shift, fitted.shift)


def test_units_of_a_phenotype_do_not_matter():
    straight = cleaned(VALUES, SITE, KEPT)
    scaled = cleaned(VALUES * 1000 - 7, SITE, KEPT)
    assert scaled.to_numpy() == pytest.approx(straight.to_numpy() * 1000 - 7, rel=1e-6)


def test_missing_phenotypes_stay_missing_and_the_others_are_harmonised():
    some = VALUES.copy()
    some.loc[::4, "f0"] = np.nan
    found = cleaned(some, SITE, KEPT)
    assert found["f0"].isna().equals(some["f0"].isna())
    assert site_effects(found, SITE, KEPT).loc["f0", "r2"] < 0.05
    whole = cleaned(VALUES, SITE, KEPT)  # the priors differ a little
    assert found["f1"].to_numpy() == pytest.approx(whole["f1"].to_numpy(), rel=0.02)


def test_what_cannot_be_fitted_stays_and_says_why():
    odd = VALUES.assign(flat=np.where(SITE == "a", 3.0, VALUES["f1"]))
    odd["rare"] = VALUES["f2"].where(SITE != "c")
    fitted = fit_combat(odd, SITE, KEPT)
    assert fitted.reasons == {
        "flat": "it does not vary within a site",
        "rare": "a site has fewer than 2 patients with it",
    }
    found = fitted.apply(odd, SITE, KEPT)
    pd.testing.assert_series_equal(found["flat"], odd["flat"])
    pd.testing.assert_series_equal(found["rare"], odd["rare"])


def test_patients_without_site_or_covariate_have_no_harmonised_phenotypes():
    site, kept = SITE.copy(), KEPT.astype(float)
    site[3], kept.loc[5, "age"] = np.nan, np.nan
    found = cleaned(VALUES, site, kept)
    assert np.flatnonzero(found.isna().all(axis=1)).tolist() == [3, 5]
    assert found.notna().all(axis=1).sum() == len(VALUES) - 2


def test_a_single_phenotype_is_not_shrunk():
    found = cleaned(VALUES[["f4"]], SITE, None)
    groups = found["f4"].groupby(SITE)
    assert np.ptp(groups.mean()) == pytest.approx(0, abs=1e-8 * VALUES["f4"].mean())
    assert np.ptp(groups.std()) == pytest.approx(0, abs=1e-8 * VALUES["f4"].std())


@pytest.mark.parametrize(
    ("site", "covariates", "words"),
    [
        (SITE.where(SITE == "a"), None, r"two sites or more of 2 patients or more each, got \{'a'"),
        (SITE.mask(SITE.index == 0, "z"), None, "'z': 1"),
        (SITE, pd.DataFrame({"b": (SITE == "b").astype(int)}), r"\['b'\] follow from each other"),
    ],
)
def test_what_combat_cannot_tell_apart_is_refused(site, covariates, words):
    with pytest.raises(ValueError, match=words):
        fit_combat(VALUES, site, covariates)


def test_a_site_that_was_not_fitted_is_refused():
    fitted = fit_combat(VALUES, SITE, KEPT)
    with pytest.raises(
        ValueError, match=r"\['q'\] were not fitted; those fitted: \['a', 'b', 'c'\]"
    ):
        fitted.apply(VALUES, SITE.replace("a", "q"), KEPT)
    with pytest.raises(ValueError, match=r"\['age', 'male'\] of the fit are not given"):
        fitted.apply(VALUES, SITE)


def test_a_study_shows_its_hospitals_effects_before_and_after():
    patients = PATIENTS.rename(columns={"site": "hospital"}).assign(n_diseases=PATIENTS.index % 3)
    plain = harmonised(VALUES, patients, None)
    assert plain.values is VALUES
    assert list(plain.effects) == [
        "phenotype",
        "n_before",
        "r2_before",
        "p_before",
        "spread_before",
    ]
    found = harmonised(VALUES, patients, HarmonisationConfig())
    assert (found.effects["r2_after"] < found.effects["r2_before"]).all()
    assert found.effects["reason"].eq("").all()
    one_site = harmonised(VALUES, patients.assign(hospital="a"), HarmonisationConfig())
    assert one_site.values is VALUES
    assert one_site.effects.empty


def test_sites_and_covariates_may_stand_in_another_order():
    turned = VALUES.index[::-1]
    ours = cleaned(VALUES, SITE[turned], KEPT.loc[turned])
    pd.testing.assert_frame_equal(ours, cleaned(VALUES, SITE, KEPT))
    pd.testing.assert_frame_equal(
        site_effects(VALUES, SITE[turned], KEPT.loc[turned]), site_effects(VALUES, SITE, KEPT)
    )
    with pytest.raises(ValueError, match="site must have each patient"):
        fit_combat(VALUES, SITE.iloc[1:])
    with pytest.raises(ValueError, match="covariates must have each patient"):
        fit_combat(VALUES, SITE, KEPT.iloc[1:])


@pytest.mark.parametrize("kind", ["int64", "float64"])
def test_sites_may_be_numbers(kind):
    numbers = pd.Series(pd.factorize(SITE, sort=True)[0], SITE.index)
    fitted = fit_combat(VALUES, numbers, KEPT)
    ours = fitted.apply(VALUES, numbers.astype(kind), KEPT)
    pd.testing.assert_frame_equal(ours, cleaned(VALUES, SITE, KEPT))
