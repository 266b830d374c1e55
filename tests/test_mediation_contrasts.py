"""Contrasts of a category in a whole analysis: each against one level, not against all others."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy.special import expit

from ssinfnet import mediation


@pytest.fixture(scope="module")
def table():
    """Stage II acts through the mediator, stage III beside it; a quarter of patients each."""
    rng = np.random.default_rng(0)
    stage = rng.choice(["I", "II", "III"], 300, p=[0.5, 0.25, 0.25])
    m = (stage == "II") + rng.normal(size=300)
    y = 0.6 * m + 1.5 * (stage == "III") + rng.normal(size=300)
    severe = rng.random(300) < expit(m + 1.5 * (stage == "III") - 2)
    return pd.DataFrame({"stage": stage, "m": m, "y": y, "severe": severe.astype(float)})


def test_the_path_model_of_a_contrast_keeps_the_other_levels(table):
    found = mediation.analyse(table, ["stage"], "y", ["m"], [], draws=100)
    effects = found.paths.effects.set_index("through")
    assert set(effects["exposure"]) == {"stage: II against I"}  # III has no effect through it
    levels = pd.get_dummies(table["stage"], dtype=float)[["II", "III"]]
    total = sm.OLS(table["y"], sm.add_constant(levels)).fit().params["II"]
    beside = sm.OLS(table["y"], sm.add_constant(levels.join(table["m"]))).fit().params
    to_mediator = sm.OLS(table["m"], sm.add_constant(levels)).fit().params["II"]
    expected = {"m": to_mediator * beside["m"], "direct": beside["II"], "total": total}
    for through, value in expected.items():
        assert effects.loc[through, "estimate"] == pytest.approx(value, abs=1e-6)


def test_natural_effects_of_a_contrast_are_of_patients_with_one_level(table):
    found = mediation.analyse(table, ["stage"], "severe", ["m"], [], draws=100)
    own = found.natural[found.natural["exposure"] == "stage: II against I"]
    levels = pd.get_dummies(table["stage"], dtype=float)[["II", "III"]]
    of_mediator = sm.OLS(table["m"], sm.add_constant(levels)).fit()
    of_outcome = sm.Logit(table["severe"], sm.add_constant(levels.join(table["m"]))).fit(disp=0)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    spread = np.sqrt(np.square(of_mediator.resid).mean())
    b, c = of_mediator.params, of_outcome.params

    def chance(x, mediators_x):  # of patients who are not at stage III
        m = b["const"] + b["II"] * mediators_x + spread * nodes
        return expit(c["const"] + c["II"] * x + c["m"] * m) @ weights / weights.sum()

    expected = {
        "total_indirect": chance(1, 1) - chance(1, 0),
        "total": chance(1, 1) - chance(0, 0),
        "indirect_risk_ratio": chance(1, 1) / chance(1, 0),
    }
    estimates = own.set_index("effect")["estimate"]
    for effect, value in expected.items():
        assert estimates[effect] == pytest.approx(value, rel=1e-5)


def test_a_held_value_must_be_of_a_covariate(table):
    with pytest.raises(ValueError, match="held names"):
        mediation.natural_effects(table, "m", "severe", "y", held={"z": 0.0}, draws=0)


@pytest.mark.parametrize("coded", [[1, 2, 3, -99], ["I", "II", "III", "-99"]])
def test_a_code_of_missing_values_is_no_level(table, coded):
    unknown = table.index[::10]
    stage = table["stage"].map(dict(zip(["I", "II", "III"], coded, strict=False)))
    stage[unknown] = coded[3]
    found = mediation.mediate(table.assign(stage=stage), ["stage"], "y", ["m"], draws=0,
                              reference={"stage": str(coded[0])})  # fmt: skip
    expected = mediation.mediate(
        table.drop(index=unknown), ["stage"], "y", ["m"], draws=0, reference={"stage": "I"}
    )
    np.testing.assert_allclose(found.table["indirect"], expected.table["indirect"], rtol=1e-9)
    assert set(found.left_out["patient"]) == set(unknown)
    named = mediation.mediate(table.assign(stage=stage), ["stage"], "y", ["m"], draws=0,
                              reference={"stage": str(coded[0])}, missing=[])  # fmt: skip
    assert f"stage: -99 against {coded[0]}" in set(named.table["exposure"])
