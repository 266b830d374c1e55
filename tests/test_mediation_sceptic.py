"""What a sceptical biostatistician found: wrong numbers that nothing was said of."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from typer.testing import CliRunner

from ssinfnet.cli import app
from ssinfnet.mediation import (
    closed_form_effects,
    fit_paths,
    imputed_tables,
    joint_mediators,
    mediate,
    natural_effects,
    read_patients_table,
    vanishing_rho,
)


@pytest.fixture
def table():
    rng = np.random.default_rng(4)
    age = rng.normal(60, 10, 300).round()
    m = 0.05 * age + rng.normal(size=300)
    return pd.DataFrame({"age": age, "m": m, "y": 0.4 * m + 0.01 * age + rng.normal(size=300)})


def test_a_hospital_that_is_numbered_is_a_category():
    rng = np.random.default_rng(4)
    hospital = rng.integers(1, 4, 300)
    shift = np.array([0, 3, 0])[hospital - 1]
    table = pd.DataFrame({"hospital": hospital, "age": 60 + 5 * shift + rng.normal(0, 5, 300)})
    table["ggo"] = shift + rng.normal(size=300)
    table["y"] = shift + rng.normal(size=300)
    found = mediate(table, ["age"], "y", ["ggo"], ["hospital"], draws=0)
    theirs = smf.ols("ggo ~ age + C(hospital)", table).fit()
    row = found.table.iloc[0]
    assert row["beta21"] == pytest.approx(theirs.params["age"])
    assert row["p_beta21"] == pytest.approx(theirs.pvalues["age"])
    assert "its numbers name places: taken as categories" in found.text()
    ordered = mediate(
        table, ["age"], "y", ["ggo"], ["hospital"], draws=0, kinds={"hospital": "ordinal"}
    ).table.iloc[0]
    linear = smf.ols("ggo ~ age + hospital", table).fit()
    assert ordered["beta21"] == pytest.approx(linear.params["age"])


def test_codes_of_missing_values_are_taken_alike_by_every_analysis(table):
    coded = table.copy()
    coded.loc[::15, "age"] = -999
    whole = coded[coded["age"] > 0]
    with pytest.warns(UserWarning, match="exposure 'age': -999 of 20 patients is taken as missing"):
        fit = fit_paths(coded, "y", {"m": ["age"]}, draws=0)
    assert fit.n == 280
    right = fit_paths(whole, "y", {"m": ["age"]}, draws=0)
    pd.testing.assert_frame_equal(fit.estimates, right.estimates)
    for analysis in (joint_mediators, natural_effects, vanishing_rho):
        single = analysis is natural_effects
        names = (
            ("age", "y", "m")
            if single
            else ("age" if analysis is joint_mediators else ["age"], "y", ["m"])
        )
        options = {"draws": 0} if single else {}
        with pytest.warns(UserWarning, match="taken as missing"):
            found = analysis(coded, *names, **options)
        pd.testing.assert_frame_equal(found, analysis(whole, *names, **options))


def test_an_exposure_of_two_codes_is_compared_as_0_and_1(table):
    table["x"] = (table["age"] > 60).astype(float)
    for analysis, options in ((natural_effects, {"draws": 0}), (closed_form_effects, {})):
        right = analysis(table, "x", "y", "m", interaction=True, **options)
        other = table.assign(x=table["x"] + 1)
        with pytest.warns(UserWarning, match="coded 1, 2: taken as 0, 1"):
            found = analysis(other, "x", "y", "m", interaction=True, **options)
        np.testing.assert_allclose(found["estimate"], right["estimate"], rtol=1e-6)
        # Who names the values that are compared, names them as they stand
        named = analysis(other, "x", "y", "m", interaction=True, contrast=(1, 2), **options)
        np.testing.assert_allclose(named["estimate"], right["estimate"], rtol=1e-6)


def test_codes_among_negative_numbers_are_named(table):
    table.loc[:9, "m"] = -999
    table.loc[20, "m"] = -1
    found = mediate(table, ["age"], "y", ["m"], draws=0)
    assert "m: -999 of 10 patients lies far from the rest: a code, or a limit? If" in found.text()


def test_points_of_thousands_beside_decimal_commas_are_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("age;volume\n61,5;4.960\n59,25;976\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"'volume' has '4.960' while other columns have decimal"):
        read_patients_table(path)
    path.write_text("age;volume\n61,5;4.96\n59,25;976\n", encoding="utf-8")
    assert read_patients_table(path)["volume"].tolist() == [4.96, 976]


def test_a_mediator_that_is_the_outcome_is_none(table):
    table["again"] = 2 * table["y"] + 1
    rows = mediate(table, ["age"], "y", ["again", "m"], draws=0).table.set_index("mediator")
    assert rows.loc["again", "reason"] == "follows exactly from the outcome y"
    assert rows.loc["m", "reason"] == ""
    found = natural_effects(table, "age", "y", "again", draws=0)
    assert found["estimate"].isna().all()
    assert "y follows exactly from age and again" in found["reason"].iloc[0]


def test_a_patient_who_is_left_out_twice_is_one(table):
    table["stage"] = np.array(["I", "II", "III"])[np.arange(300) % 3]
    table.loc[:9, "stage"] = None
    table.loc[20:24, "age"] = np.nan
    found = mediate(table, ["age", "stage"], "y", ["m"], draws=0)
    assert "; 15 patients left out)" in found.text()


def test_one_cluster_is_refused(table):
    with pytest.raises(ValueError, match="all rows are of one cluster by 'ward'"):
        mediate(table.assign(ward=1), ["age"], "y", ["m"], draws=0, cluster="ward")


def test_options_of_the_report_need_one(table, tmp_path):
    table.to_csv(tmp_path / "t.csv", index=False)
    given = ["mediate", str(tmp_path / "t.csv"), "--exposures", "age", "--outcome", "y",
             "--mediators", "m", "--draws", "0"]  # fmt: skip
    for more in (["--interaction"], ["--reliability", "m=0.5"]):
        result = CliRunner().invoke(app, [*given, *more])
        assert result.exit_code == 1
        assert "add --report DIR" in result.stderr


@pytest.mark.parametrize("text", ["{:02d}.03.2020", "3/{:02d}/20", "2020-03-{:02d} 10:15"])
def test_dates_as_people_write_them_are_dates(table, text):
    dates = [text.format(1 + index % 28) for index in range(300)]
    with pytest.raises(ValueError, match="covariate 'seen' is a date"):
        mediate(table.assign(seen=dates), ["age"], "y", ["m"], ["seen"], draws=0)


def test_a_covariate_that_nobody_has_is_named(table):
    with pytest.raises(ValueError, match=r"columns \['z'\] are not known of any patient"):
        mediate(table.assign(z=np.nan), ["age"], "y", ["m"], ["z"], draws=0)


def test_empty_lists_and_negative_seeds_are_refused_in_words(table):
    for exposures, mediators, words in (
        ([], ["m"], "exposures"),
        (["age"], [], "mediators"),
        ("age", ["m"], "exposures"),
    ):
        with pytest.raises(ValueError, match=f"{words} must "):
            vanishing_rho(table, exposures, "y", mediators)
    for analysis in (
        lambda: joint_mediators(table, "age", "y", ["m"], seed=-1),
        lambda: imputed_tables(table[["age", "m"]], ["age", "m"], 2, -1),
        lambda: natural_effects(table, "age", "y", "m", draws=20, seed=-1),
        lambda: mediate(table, ["age"], "y", ["m"], draws=20, imputations=2, seed=-1),
    ):
        with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
            analysis()
