"""Covariates of every path, and exposures that adjust for each other."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from typer.testing import CliRunner

from ssinfnet import mediation
from ssinfnet.cli import app
from ssinfnet.mediation import (
    correlations,
    filter_correlated,
    fit_paths,
    mediate,
    natural_effects,
    planted_effects,
    two_part_effects,
    vanishing_rho,
)
from ssinfnet.study.config import MediationConfig

EXPOSURES = ["age", "n_diseases", "gender"]
MEDIATORS = ["ggo_area", "ggo_entropy"]
PATHS = {"ggo_area": ("age", "n_diseases"), "ggo_entropy": ("age",)}


def design(table, exposure, covariates):
    """Constant, exposure and covariates; the hospital as R and statsmodels code it."""
    columns = [table[[exposure]], *(table[[name]] for name in covariates if name != "hospital")]
    if "hospital" in covariates:
        columns.append((table[["hospital"]] == "Union").rename(columns={"hospital": "Union"}))
    return sm.add_constant(pd.concat(columns, axis=1).astype(float))


def slopes(table, exposure, mediator, outcome, covariates):
    x = design(table, exposure, covariates)
    both = x.assign(m=table[mediator])
    return sm.OLS(table[mediator], x).fit(), sm.OLS(table[outcome], both).fit()


def test_exposures_adjust_for_each_other_where_asked_for(clinic):
    given = (clinic, EXPOSURES, "severity", MEDIATORS, ["hospital"])
    found = mediate(*given, draws=0, adjust_exposures=True)
    for row in found.table.to_dict("records"):
        others = [name for name in EXPOSURES if name != row["exposure"]]
        to_mediator, to_outcome = slopes(
            clinic, row["exposure"], row["mediator"], "severity", [*others, "hospital"]
        )
        expected = [
            to_mediator.params[row["exposure"]],
            to_mediator.bse[row["exposure"]],
            to_outcome.params["m"],
            to_outcome.pvalues["m"],
        ]
        ours = [row[name] for name in ("beta21", "beta21_se", "beta32", "p_beta32")]
        np.testing.assert_allclose(ours, expected, rtol=1e-8)
    assert "beside hospital_Union, the other exposures;" in found.text()
    alone = mediate(*given, draws=0)
    assert "beside hospital_Union;" in alone.text()
    assert not np.allclose(alone.table["beta21"], found.table["beta21"], rtol=1e-3)


def test_draws_are_the_same_whether_the_others_are_exposures_or_covariates(clinic):
    given = ("severity", MEDIATORS)
    by_switch = mediate(clinic, EXPOSURES, *given, adjust_exposures=True, draws=200).table
    by_name = mediate(clinic, ["age"], *given, ["n_diseases", "gender"], draws=200).table
    for name in ("indirect_low", "indirect_high"):
        own = by_switch.loc[by_switch["exposure"] == "age", name]
        np.testing.assert_allclose(own, by_name[name], rtol=1e-9)


def test_a_patient_without_age_is_analysed_with_the_other_exposures(clinic):
    clinic.loc["patient_3", "age"] = np.nan
    clinic.loc["patient_7", "severity"] = np.nan
    found = mediate(clinic, EXPOSURES, "severity", ["ggo_area"], draws=100)
    n = found.table.set_index("exposure")["n"]
    assert n.to_dict() == {"age": 238, "n_diseases": 239, "gender": 239}
    assert found.left_out.set_index("patient")["reason"].to_dict() == {
        "patient_3": "age is not known, for exposure age",
        "patient_7": "severity is not known",
    }
    alone = mediate(clinic, ["gender"], "severity", ["ggo_area"], draws=100).table.iloc[0]
    own = found.table.set_index("exposure").loc["gender"]
    for name in ("indirect", "indirect_low", "p_beta32"):
        assert own[name] == pytest.approx(alone[name], rel=1e-10)
    adjusted = mediate(clinic, EXPOSURES, "severity", ["ggo_area"], draws=0, adjust_exposures=True)
    assert (adjusted.table["n"] == 238).all()
    rho = vanishing_rho(clinic, EXPOSURES, "severity", ["ggo_area"])
    assert rho["n"].tolist() == [238, 239, 239]


def test_path_models_with_a_covariate_are_least_squares_on_it(clinic):
    # Without covariances of mediators each equation is a regression of its own
    fit = fit_paths(clinic, "severity", PATHS, ["hospital", "gender"], correlated=False, draws=0)
    found = fit.estimates[fit.estimates["op"] == "~"].set_index(["lhs", "rhs"])
    beside = ["hospital", "gender"]
    for mediator, exposures in PATHS.items():
        x = design(clinic, exposures[0], [*exposures[1:], *beside])
        fitted = sm.OLS(clinic[mediator], x).fit()
        for exposure in exposures:
            assert found.loc[(mediator, exposure), "estimate"] == pytest.approx(
                fitted.params[exposure], rel=1e-6
            )
            of_ml = fitted.bse[exposure] * np.sqrt(fitted.df_resid / len(clinic))
            assert found.loc[(mediator, exposure), "se"] == pytest.approx(of_ml, rel=1e-5)
    assert "c2*n_diseases + hospital_Union + gender\n" in fit.syntax
    assert fit.measures["df"] == 2


def test_covariates_that_say_nothing_change_no_path_model(clinic):
    plain = fit_paths(clinic, "severity", PATHS, ["gender"], draws=60)
    more = clinic.assign(twin=3 - 2 * clinic["gender"], constant=1.0)
    found = fit_paths(more, "severity", PATHS, ["gender", "twin", "constant"], draws=60)
    assert found.covariates_dropped == "twin, constant"
    np.testing.assert_allclose(found.effects["drawn_low"], plain.effects["drawn_low"], rtol=1e-8)
    np.testing.assert_allclose(found.measures, plain.measures, rtol=1e-8)
    with pytest.raises(ValueError, match=r"\['ggo_area'\] follow exactly from the covariates"):
        fit_paths(clinic.assign(same=clinic["ggo_area"] * 2), "severity", PATHS, ["same"], draws=0)


def test_each_draw_of_a_path_model_has_the_covariates_of_its_patients(clinic):
    # A hospital of one patient, whom half of the draws miss, costs no draw
    clinic.loc["patient_0", "hospital"] = "Far"
    fit = fit_paths(clinic, "severity", PATHS, ["hospital"], draws=100)
    assert (fit.effects["draws"] == 100).all()
    without = fit_paths(clinic.iloc[1:], "severity", PATHS, ["hospital"], draws=0)
    np.testing.assert_allclose(fit.effects["estimate"], without.effects["estimate"], rtol=1e-6)


def test_correlations_are_partial_beside_covariates(clinic):
    clinic.loc[clinic.index[::5], "ggo_area"] = np.nan
    clinic.loc["patient_1", "gender"] = np.nan
    names = ["ggo_area", "ggo_entropy", "ggo_skewness"]
    found = correlations(clinic, names, ["hospital", "gender", "age"])
    own = clinic[clinic[["ggo_area", "gender"]].notna().all(axis=1)]
    x = design(own, "age", ["hospital", "gender"])
    rest = [sm.OLS(own[name], x).fit().resid for name in ("ggo_area", "ggo_entropy")]
    assert found.loc["ggo_area", "ggo_entropy"] == pytest.approx(np.corrcoef(rest)[0, 1], rel=1e-9)
    np.testing.assert_allclose(found, found.T)


def test_mediators_that_only_a_covariate_correlates_are_both_kept():
    rng = np.random.default_rng(5)
    site = np.repeat(["a", "b"], 100)
    shift = np.where(site == "a", 0.0, 6.0)
    table = pd.DataFrame(
        {"site": site, "m1": shift + rng.normal(size=200), "m2": shift + rng.normal(size=200)}
    )
    effects = pd.Series({"m1": 0.2, "m2": 0.1})
    assert filter_correlated(table, effects)["kept"].tolist() == [True, False]
    assert filter_correlated(table, effects, covariates=["site"])["kept"].all()


def sites_without_mediation(number, n=120):
    """Two hospitals that differ in everything, within which nothing mediates."""
    rng = np.random.default_rng([9, number])
    hospital = rng.integers(0, 2, n)
    age = 50 + 8 * hospital + rng.normal(0, 8, n)
    area = 100 + 30 * hospital + rng.normal(0, 20, n)
    infected = (rng.random(n) < 0.25 + 0.5 * hospital).astype(int)
    return pd.DataFrame({"hospital": np.where(hospital == 1, "Union", "Liyuan"), "age": age,
                         "ggo_area": area, "infected": infected})  # fmt: skip


def test_two_hospitals_feign_mediation_unless_they_are_a_covariate():
    found = {}
    for covariates in ((), ("hospital",)):
        hits = [mediate(sites_without_mediation(number), ["age"], "infected", ["ggo_area"],
                        covariates, draws=0).table["mediator_by_joint_test"].item()
                for number in range(60)]  # fmt: skip
        found[covariates] = np.mean(hits)
    assert found[()] > 0.3
    assert found["hospital",] <= 0.05


# A study's settings


def how_with(**settings):
    return MediationConfig(exposures=("age", "n_diseases"), model_draws=0, **settings)


@pytest.fixture
def cohort(clinic):
    rng = np.random.default_rng(1)
    clinic["hospital"] = np.where(rng.random(len(clinic)) < 0.5, "Union", "Liyuan")
    clinic["ggo_area"] += 900 * (clinic["hospital"] == "Union")
    clinic["severity"] += 0.8 * (clinic["hospital"] == "Union")
    return clinic.drop(columns="infected").assign(
        infected=(clinic["severity"] > clinic["severity"].quantile(0.3)).astype(int)
    )


@pytest.mark.parametrize(
    ("settings", "of_age"),
    [
        ({}, ["hospital"]),
        ({"covariates": ()}, []),
        ({"adjust_exposures": True}, ["hospital", "n_diseases"]),
    ],
)
def test_a_studys_covariates_reach_every_path(cohort, settings, of_age):
    how, paths = how_with(**settings), {"ggo_area": ("age",), "ggo_entropy": ("age",)}
    assert list(mediation.covariates_of(how, "age")) == of_age
    rho = mediation.rho_table(cohort, "infected", paths, how)
    expected = vanishing_rho(cohort, ["age"], "infected", ["ggo_area", "ggo_entropy"], of_age)
    assert rho["rho"].tolist() == expected["rho"].tolist()
    to_mediator, to_outcome = slopes(cohort, "age", "ggo_area", "infected", of_age)
    total = sm.OLS(cohort["infected"], design(cohort, "age", of_age)).fit()
    assert rho["rho"].iloc[0] == pytest.approx(np.corrcoef(total.resid, to_mediator.resid)[0, 1])
    natural = mediation.natural_tables(cohort, "infected", paths, how)
    by_hand = natural_effects(cohort, "age", "infected", "ggo_area", of_age, draws=0)
    assert natural["estimate"].tolist()[: len(by_hand)] == by_hand["estimate"].tolist()
    fits, _ = mediation.path_models(cohort, "infected", paths, how)
    direct = fits["as published"].estimates.query("lhs == 'infected' and rhs == 'ggo_area'")
    both = design(cohort, "age", [name for name in of_age if name == "hospital"])
    fitted = sm.OLS(cohort["infected"], both.join(cohort[list(paths)])).fit()
    assert direct["estimate"].item() == pytest.approx(fitted.params["ggo_area"], rel=1e-5)


def test_two_part_effects_take_a_studys_covariates(cohort):
    lacking = cohort["ggo_skewness"] < -0.8
    table = cohort.assign(
        any_ggo=(~lacking).astype(int), ggo_entropy=cohort["ggo_entropy"].mask(lacking)
    )
    how = how_with(adjust_exposures=True)
    beside = mediation.covariates_of(how, "n_diseases")
    found = two_part_effects(
        table, ["n_diseases"], "infected", "any_ggo", ["ggo_entropy"], beside, draws=0
    )
    x = design(table, "n_diseases", ["age", "hospital"])
    texture = (table["ggo_entropy"] - table["ggo_entropy"].mean()).fillna(0)
    total = sm.OLS(table["infected"], x).fit().params["n_diseases"]
    direct = sm.OLS(table["infected"], x.assign(any=table["any_ggo"], t=texture)).fit()
    both = found.set_index("part").loc["both", "indirect"]
    assert both == pytest.approx(total - direct.params["n_diseases"], rel=1e-8)


def test_every_mediator_takes_every_exposure_where_exposures_adjust(cohort):
    fits, _ = mediation.path_models(cohort, "infected", PATHS, how_with(adjust_exposures=True))
    slopes = fits["with covariances"].estimates.query("op == '~'")
    assert set(slopes.loc[slopes["lhs"] == "ggo_entropy", "rhs"]) == {"age", "n_diseases"}
    assert fits["with covariances"].measures["df"] == 0


def test_a_column_cannot_be_exposure_and_covariate():
    with pytest.raises(ValueError, match="adjust_exposures: true"):
        MediationConfig(covariates=("age",))
    assert MediationConfig().covariates == ("hospital",)


def test_planted_effects_adjust_exposures_as_the_study_does():
    plain, adjusted = (
        planted_effects(MediationConfig(outcomes=("infected",), adjust_exposures=switch), n=40_000)
        for switch in (False, True)
    )
    alone = {"exposures": ("age",), "covariates": ("male", "n_diseases")}
    by_name = planted_effects(MediationConfig(outcomes=("infected",), **alone), n=40_000)
    own = adjusted.loc[adjusted["exposure"] == "age", "planted"].to_numpy()
    np.testing.assert_allclose(own, by_name["planted"], rtol=1e-9)
    assert not np.allclose(plain["planted"], adjusted["planted"])


# Hospitals by their names


@pytest.fixture(scope="module")
def two_sites():
    """Two sites that differ in exposure, mediator and outcome, none of which acts on another."""
    rng = np.random.default_rng(9)
    site = rng.permutation(np.repeat([1, 2, 3], 60))
    x, m, y = rng.normal(size=(3, 180)) + 1.2 * (site == 3)
    return pd.DataFrame({"x": x, "m": m, "y": y, "place": site})


@pytest.mark.parametrize(
    "name",
    ["Hospital_ID", "hospital", "SITE", "Site_ID", "center", "Centre", "institution",
     "hospital id", "SiteNo", "centre.code"],
)  # fmt: skip
def test_a_column_named_after_a_place_is_a_covariate_by_default(two_sites, name):
    table = two_sites.rename(columns={"place": name})
    by_hand = sm.OLS.from_formula("m ~ x + C(place)", two_sites).fit()
    found = mediation.analyse(table, ["x"], "y", ["m"], draws=40)
    assert found.asked["covariates"] == [name]
    assert found.effects.table["beta21"].item() == pytest.approx(by_hand.params["x"], rel=1e-9)
    note = found.effects.columns.set_index("column").loc[name, "note"]
    assert note.startswith("a covariate by its name, as nobody named covariates")
    assert "its numbers name places" in note
    named = mediation.analyse(table, ["x"], "y", ["m"], [name], draws=40).effects
    assert "by its name" not in named.text()
    assert mediation.analyse(table, ["x"], "y", ["m"], [], draws=40).asked["covariates"] == []


@pytest.mark.parametrize(
    "name", ["hospitalised", "site_of_lesion", "hospital_days", "centred", "my_hospital"]
)
def test_other_names_are_no_place(two_sites, name):
    assert mediation.default_covariates(two_sites.rename(columns={"place": name}), []) == []


def test_one_place_or_one_for_each_patient_is_no_covariate(two_sites):
    numbers = two_sites.assign(Hospital_ID=range(180), centre=1)
    assert mediation.default_covariates(numbers, ["x", "y", "m"]) == []


def test_mediate_adjusts_for_nothing_by_itself_and_notes_the_place_that_it_leaves_out(two_sites):
    table = two_sites.rename(columns={"place": "Site_ID"})
    silent = mediate(table, ["x"], "y", ["m"], [], draws=0)
    noted = mediate(table, ["x"], "y", ["m"], draws=0)
    pd.testing.assert_frame_equal(silent.table, noted.table)
    crude = sm.OLS.from_formula("m ~ x", two_sites).fit()
    assert noted.table["beta21"].item() == pytest.approx(crude.params["x"], rel=1e-9)
    said = "not adjusted for Site_ID, of which there are 3"
    assert said in noted.text()
    assert said in noted.json()
    assert said in noted._repr_html_()
    assert "not adjusted" not in silent.text()
    assert "not adjusted" not in mediate(table, ["x"], "y", ["m"], ["Site_ID"], draws=0).text()
    modelled = mediation.modelled_effects(table, ["x"], "y", ["m"], outcome_model="linear")
    assert said in modelled.text()


def test_the_command_line_shows_the_place_it_adjusts_for(two_sites, tmp_path):
    two_sites.rename(columns={"place": "Hospital_ID"}).to_csv(tmp_path / "own.csv", index=False)
    asked = ["mediate", str(tmp_path / "own.csv"), "--exposures", "x", "--outcome", "y",
             "--mediators", "m", "--draws", "0"]  # fmt: skip
    default = CliRunner().invoke(app, asked)
    assert default.exit_code == 0, default.stderr
    assert "Hospital_ID: a covariate by its name" in default.stdout
    assert "beside Hospital_ID_2, Hospital_ID_3" in default.stdout
    none = CliRunner().invoke(app, [*asked, "--covariates", "none"])
    assert "Hospital_ID" not in none.stdout
