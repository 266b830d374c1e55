"""A comparison that rests on a handful of patients has no interval and no p by draws (D-199)."""

import warnings

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from ssinfnet import plots
from ssinfnet.mediation import (
    analyse,
    corrected_effects,
    fit_paths,
    mediate,
    mediating_directions,
    natural_effects,
    two_part_effects,
)
from ssinfnet.mediation.few_patients import few_of_exposure, few_of_mediator
from ssinfnet.report.mediation_page import write_analysis

DRAWN = ["p_indirect", "indirect_low", "indirect_high", "p_indirect_adjusted",
         "indirect_low_adjusted", "indirect_high_adjusted"]  # fmt: skip


@pytest.fixture
def stages():
    """Return 200 patients, one of stage IV; his volume and score are high, as some others' are."""
    rng = np.random.default_rng(3)
    stage = np.where(np.arange(200) == 0, "IV", np.where(np.arange(200) < 90, "I", "II"))
    volume = rng.normal(size=200)
    volume[0] = 1.2
    score = 0.5 * volume + rng.normal(size=200)
    return pd.DataFrame({"stage": stage, "volume": volume, "score": score})


def exposed(number, n=200, seed=5):
    rng = np.random.default_rng(seed)
    x = (np.arange(n) < number).astype(float)
    m = rng.normal(size=n)
    return pd.DataFrame({"x": x, "m": m, "y": 0.5 * m + rng.normal(size=n)})


@pytest.mark.parametrize("interval", ["percentile", "bca"])
def test_one_patient_of_a_level_has_no_interval_but_the_p_of_least_squares(stages, interval):
    found = mediate(stages, ["stage"], "score", ["volume"], draws=300, interval=interval)
    rows = found.table.set_index("exposure")
    one, many = rows.loc["stage: IV against II"], rows.loc["stage: I against II"]
    assert one[DRAWN].isna().all()
    assert one["draws"] == 0
    assert many[DRAWN].notna().all()
    assert one["reason"] == (
        "no p or interval by draws: 1 patient of a level of stage: IV against II, fewer than 20"
    )
    assert many["reason"] == ""
    levels = sm.add_constant(np.column_stack([stages["stage"] == "IV", stages["stage"] == "I"]) * 1)
    slope = sm.OLS(stages["volume"], levels).fit()
    assert one["p_joint"] == pytest.approx(slope.pvalues.iloc[1], rel=1e-9)
    assert one["beta21_se"] == pytest.approx(slope.bse.iloc[1], rel=1e-9)
    assert f"1 pair has {one['reason']}; p_joint holds (D-199)" in found.text()
    assert "not analysed" not in found.text()


def test_an_interval_by_draws_needs_20_patients_on_either_side():
    def row(number):
        return mediate(exposed(number), ["x"], "y", ["m"], draws=60).table.iloc[0]

    assert row(19)[DRAWN].isna().all()
    assert row(181)[DRAWN].isna().all()
    assert row(19)["reason"].endswith("19 patients differ from the most frequent value of x, "
                                      "fewer than 20")  # fmt: skip
    for number in (20, 180):
        assert row(number)[DRAWN].notna().all()
        assert row(number)["reason"] == ""


def test_the_level_compared_with_is_counted_too(stages):
    found = mediate(
        stages, ["stage"], "score", ["volume"], reference={"stage": "IV"}, draws=60
    ).table
    assert found[DRAWN].isna().all(axis=None)
    assert found["reason"].str.contains("1 patient of a level of stage").all()


def test_a_study_may_ask_for_fewer():
    row = mediate(exposed(15), ["x"], "y", ["m"], draws=60, fewest=15).table.iloc[0]
    assert row[DRAWN].notna().all()


def test_a_mediator_that_few_patients_have_has_no_interval():
    table = exposed(100)
    rare = np.zeros(200)
    rare[[3, 50, 120]] = [1.5, 2.25, 0.5]
    found = mediate(table.assign(rare=rare), ["x"], "y", ["m", "rare"], draws=60).table
    plain = mediate(table, ["x"], "y", ["m"], draws=60).table
    rows = found.set_index("mediator")
    assert rows.loc["rare", DRAWN].isna().all()
    assert rows.loc["rare", "reason"].endswith(
        "3 patients differ from the mediator's most frequent value, fewer than 20"
    )
    alike = ["p_indirect", "indirect_low", "p_indirect_adjusted", "indirect_low_adjusted"]
    assert rows.loc["m", alike].tolist() == pytest.approx(plain.loc[0, alike].tolist())
    assert found["p_joint"].notna().all()


def test_continuous_columns_of_a_few_patients_are_not_touched():
    values = pd.Series([1.0, 2.0, 2.0, 3.5, 4.0, 7.0, np.nan])
    assert few_of_mediator(values, 20) == ""
    assert few_of_exposure(values.to_frame("x"), "x", (), 20) == ""
    assert few_of_mediator(pd.Series([0.0, 0.0, 0.0, 1.0, np.nan]), 2) == (
        "1 patient differs from the mediator's most frequent value, fewer than 2"
    )


def test_imputed_values_are_no_patients_who_differ(stages):
    table = exposed(100)
    rare = np.zeros(200)
    rare[:5] = 1
    rare[100:160] = np.nan
    found = mediate(
        table.assign(rare=rare), ["x"], "y", ["m", "rare"], imputations=2, draws=60
    ).table.set_index("mediator")
    assert found.loc["rare", DRAWN].isna().all()
    assert "5 patients differ" in found.loc["rare", "reason"]
    assert found.loc["m", DRAWN].notna().all()
    assert found["p_joint"].notna().all()


def test_without_draws_nothing_is_said():
    found = mediate(exposed(3), ["x"], "y", ["m"], draws=0)
    assert found.table["reason"].item() == ""
    assert found.notes == ()


def test_other_draws_keep_to_the_same_patients():
    table = exposed(5)
    m = table["m"]
    natural = natural_effects(table, "x", "y", "m", draws=40)
    assert natural[["drawn_low", "drawn_high"]].isna().all(axis=None)
    assert natural.set_index("effect").loc["total", ["low", "high"]].notna().all()
    assert natural["reason"].str.contains("5 patients differ").all()
    clusters = table.assign(g=np.arange(200) // 4)
    clustered = natural_effects(clusters, "x", "y", "m", draws=40, cluster="g")
    assert clustered[["se", "low", "high"]].isna().all(axis=None)
    paths = fit_paths(table, "y", {"m": ["x"]}, draws=40)
    assert paths.effects[["se_drawn", "drawn_low", "drawn_high"]].isna().all(axis=None)
    assert paths.effects[["low", "high"]].notna().all(axis=None)
    assert paths.notes == ("nothing of x is by draws: 5 patients differ from the most frequent "
                           "value of x, fewer than 20",)  # fmt: skip
    corrected = corrected_effects(table, "x", "y", {"m": 0.8}, draws=40)
    assert corrected[["corrected_low", "corrected_high", "p_corrected"]].isna().all(axis=None)
    assert corrected["indirect_corrected"].notna().all()
    texture = table.assign(any=table["x"], t=m.where(table["x"] == 1), x=m)
    parts = two_part_effects(texture, ["x"], "y", "any", ["t"], draws=40)
    assert parts[["indirect_low", "indirect_high"]].isna().all(axis=None)
    assert parts["indirect"].notna().all()
    many = table.assign(**{f"m{i}": np.random.default_rng(i).normal(size=200) for i in range(3)})
    directions = mediating_directions(many, "x", "y", ["m", "m0", "m1", "m2"], draws=40).effects
    assert directions["p_indirect"].isna().all()
    for own in (natural, corrected, parts, directions):
        assert own["reason"].str.startswith("no p or interval by draws: ").all()


def test_the_page_shows_such_pairs_and_says_why(stages, tmp_path):
    stages["high"] = (stages["volume"] > 1).astype(float)
    stages["twice"] = 3 * stages["volume"] + np.random.default_rng(1).normal(size=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = analyse(stages, ["stage"], "score", ["volume", "twice"], draws=60)
    page = write_analysis(found, tmp_path / "own").read_text(encoding="utf-8")
    assert "1 patient of a level of stage: IV against II, fewer than 20" in page
    assert "but for 2 pairs in whose exposure or mediator fewer than 20 patients differ" in page
    assert "Indirect effects of stage: IV against II" in page


def test_a_forest_draws_an_effect_without_interval_alone():
    row = {"mediator": "m", "family": "f", "stable": True, "indirect": 0.5, "n": 200,
           "indirect_low_adjusted": np.nan, "indirect_high_adjusted": np.nan,
           "p_indirect_adjusted": np.nan, "indirect_standardised": 0.1}  # fmt: skip
    figure = plots.plot_forest(pd.DataFrame([row]), {}, "effect")
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert any("(–)" in text for text in texts)
    assert not any("nan" in text for text in texts)
    assert "draws give none" in figure.axes[0].get_xlabel().replace("\n", " ")


def in_clusters(exposed_clusters, clusters=40, size=10, seed=8):
    """Return a cohort in clusters, some of which are exposed whole."""
    rng = np.random.default_rng(seed)
    site = np.repeat(np.arange(clusters), size)
    x = (site < exposed_clusters).astype(float)
    m = 0.5 * rng.normal(size=clusters)[site] + rng.normal(size=len(site))
    return pd.DataFrame({"x": x, "m": m, "y": 0.5 * m + rng.normal(size=len(site)), "site": site})


def test_an_exposure_that_few_clusters_have_has_no_interval_where_clusters_are_drawn():
    few, enough = in_clusters(3), in_clusters(12)
    found = mediate(few, ["x"], "y", ["m"], draws=200, cluster="site").table.iloc[0]
    assert found[DRAWN].isna().all()
    assert found["reason"] == (
        "no p or interval by draws: patients of 3 clusters differ from the most frequent value of "
        "x, fewer than 8"
    )
    natural = natural_effects(few, "x", "y", "m", draws=50, cluster="site")
    assert "patients of 3 clusters" in natural["reason"].iloc[0]
    assert natural["low"].isna().all()
    assert mediate(few, ["x"], "y", ["m"], draws=200).table[DRAWN].notna().all(axis=None)
    whole = mediate(enough, ["x"], "y", ["m"], draws=200, cluster="site").table
    assert whole[DRAWN].notna().all(axis=None)


def test_a_level_that_few_clusters_have_has_none_either():
    table = in_clusters(3).assign(stage=lambda one: np.where(one["x"] == 1, "III", "I"))
    table.loc[table["site"] > 25, "stage"] = "II"
    found = mediate(table, ["stage"], "y", ["m"], draws=200, cluster="site").table
    reasons = found.set_index("exposure")["reason"]
    assert "is in 3 clusters, fewer than 8" in reasons[[n for n in reasons.index if "III" in n][0]]
    assert (reasons[[n for n in reasons.index if "III" not in n]] == "").all()
