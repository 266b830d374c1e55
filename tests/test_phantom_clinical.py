from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from ssinfnet.data import phantom
from ssinfnet.data.phantom import clinical

NINE_LEVELS = {  # J, mediation analysis: "severity is measured with 9 levels"
    "Control (Healthy)",
    "Control",
    "Control (Community-acquired pneumonia)",
    "Suspected",
    "Suspected (COVID-19-confirmed later)",
    "Mild",
    "Regular",
    "Severe",
    "Critically ill",
}


@pytest.fixture(scope="module")
def cohort():
    return clinical.clinical_table(np.random.default_rng(0), 40_000)


def test_clinical_table_speaks_ictcf(cohort):
    table, truth = cohort
    assert table.columns.tolist() == [
        "ID",
        "Hospital",
        "Age",
        "Gender",
        "Underlying diseases",
        "Morbidity outcome",
    ]
    assert set(table["Morbidity outcome"]) == NINE_LEVELS
    assert set(table["Gender"]) == {"Male", "Female"}
    assert table["Hospital"].nunique() == 2
    assert table["Age"].between(18, 92).all()
    text = table["Underlying diseases"]
    counted = np.where(text == "No", 0, text.str.count(",") + 1)
    np.testing.assert_array_equal(counted, truth["n_underlying"])
    assert table["ID"].tolist() == truth["ID"].tolist()
    assert table["ID"].is_unique


def test_outcomes_agree_with_the_truth(cohort):
    table, truth = cohort
    outcome = table["Morbidity outcome"]
    free = outcome.isin(
        [
            "Control",
            "Control (Healthy)",
            "Control (Community-acquired pneumonia)",
            "Suspected",
        ]
    )
    np.testing.assert_array_equal(free, truth["infected"] == 0)
    severe = outcome.isin(["Severe", "Critically ill"])
    np.testing.assert_array_equal(severe, truth["severe"] == 1)
    assert (truth.loc[outcome == "Control (Healthy)", "lesion_extent"] == 0).all()
    assert truth["lesion_extent"].between(0, 0.9).all()
    assert truth["consolidation_share"].between(0, 1).all()


def test_regression_recovers_the_planted_coefficients(cohort):
    table, truth = cohort
    effects = clinical.EffectSizes()
    exposures = {
        "age": (table["Age"] - clinical.MEAN_AGE) / clinical.SPREAD_AGE,
        "disease": truth["n_underlying"],
        "gender": (table["Gender"] == "Male").astype(float),
    }
    for mediator in ("extent", "texture"):
        design = sm.add_constant(truth[[]].assign(**exposures))
        fit = sm.OLS(truth[f"{mediator}_score"], design).fit()
        assert fit.params["age"] == pytest.approx(getattr(effects, f"{mediator}_age"), abs=0.02)
        planted = getattr(effects, f"{mediator}_disease")
        assert fit.params["disease"] == pytest.approx(planted, abs=0.02)
        assert fit.params["gender"] == pytest.approx(0, abs=0.04)
    mediators = {"extent": truth["extent_score"], "texture": truth["texture_score"]}
    design = sm.add_constant(truth[[]].assign(**exposures, **mediators))
    fit = sm.OLS(truth["severity_score"], design).fit()
    for name in ("age", "disease", "gender", "extent", "texture"):
        planted = getattr(effects, f"severity_{name}")
        assert fit.params[name] == pytest.approx(planted, abs=0.04)


def test_population_indirect_effect_is_the_product_of_two_regressions(cohort):
    table, truth = cohort
    age = sm.add_constant(table["Age"].astype(float))
    beta21 = sm.OLS(truth["lesion_extent"], age).fit().params["Age"]
    both = age.assign(m=truth["lesion_extent"])
    beta32 = sm.OLS(truth["infected"], both).fit().params["m"]
    population = clinical.population_indirect_effect("Age", "lesion_extent", "infected", n=200_000)
    assert population == pytest.approx(beta21 * beta32, rel=0.06)


def test_gender_has_no_indirect_effect_and_age_has():
    gender, age = (
        clinical.population_indirect_effect(x, "extent_score", "severity_score", n=200_000)
        for x in ("Male", "Age")
    )
    assert abs(gender) < 0.02
    assert age > 0.02  # per year; 0.4 / 16 * 0.9 = 0.0225 through age alone


def test_clinical_table_is_reproducible_and_refuses_an_empty_cohort():
    first, again = (clinical.clinical_table(np.random.default_rng(5), 20)[0] for _ in range(2))
    assert first.equals(again)
    with pytest.raises(ValueError, match="n_patients"):
        clinical.clinical_table(np.random.default_rng(5), 0)
    with pytest.raises(ValueError, match="exposure"):
        clinical.population_indirect_effect("Weight")


def test_a_table_row_can_be_rendered(cohort):
    _, truth = cohort
    row = truth.sort_values("lesion_extent").iloc[-1]
    findings = phantom.Findings(
        extent=float(row["lesion_extent"]), consolidation_share=float(row["consolidation_share"])
    )
    drawn = phantom.draw_patient(np.random.default_rng(1), [0.5, 0.6], 64, findings)
    assert all((one.label > 0).any() for one in drawn)
