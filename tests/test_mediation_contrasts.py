"""Contrasts of a category in a whole analysis: each against one level, not against all others."""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from ssinfnet import mediation


@pytest.fixture(scope="module")
def table():
    """Stage II acts through the mediator, stage III beside it; a quarter of patients each."""
    rng = np.random.default_rng(0)
    stage = rng.choice(["I", "II", "III"], 300, p=[0.5, 0.25, 0.25])
    m = (stage == "II") + rng.normal(size=300)
    y = 0.6 * m + 1.5 * (stage == "III") + rng.normal(size=300)
    return pd.DataFrame({"stage": stage, "m": m, "y": y})


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
