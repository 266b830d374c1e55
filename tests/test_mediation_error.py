"""Mediators measured with error, and mediating directions: planted truth and by hand.

lavaan's latent mediator: `effect_comparisons.with_latent_mediator`, held in test_validation.py.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ssinfnet.mediation import (
    corrected_effects,
    mediate,
    mediating_directions,
    reliability_of_icc,
)
from ssinfnet.patients.phenotypes.stability import intraclass_correlation

REFERENCE = Path(__file__).with_name("reference")


def measured(seed, n=800, reliability=0.6):
    """An indirect effect of 0.5 · 0.8, its mediator measured well and badly."""
    rng = np.random.default_rng(seed)
    x, c = rng.normal(size=(2, n))
    m = 0.5 * x + 0.3 * c + rng.normal(size=n)
    y = 0.8 * m + 0.2 * x + 0.2 * c + rng.normal(size=n)
    error = np.sqrt(m.var() * (1 - reliability) / reliability)
    return pd.DataFrame({"x": x, "c": c, "m": m, "bad": m + error * rng.normal(size=n), "y": y})


def test_planted_effects_are_recovered_where_measured_ones_fall_short():
    plain, corrected, held = [], [], 0
    for seed in range(40):
        row = corrected_effects(measured(seed), "x", "y", {"bad": 0.6}, ["c"], draws=200).iloc[0]
        plain.append(row["indirect"])
        corrected.append(row["indirect_corrected"])
        held += row["corrected_low"] <= 0.4 <= row["corrected_high"]
    error = np.std(corrected) / np.sqrt(40)
    assert np.mean(corrected) == pytest.approx(0.4, abs=3 * error)
    assert np.mean(plain) < 0.25
    assert held >= 34


def test_corrections_by_the_icc_undo_the_attenuation_of_its_closed_form():
    # The slope on m + u is that on m times var(m | x) / (var(m | x) + var(u)) (Fuller 1987)
    a, b, n, error = 0.5, 0.8, 300, 0.9
    attenuated = a * b / (1 + error)
    plain, corrected, held, missed = [], [], 0, 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        x, own, u, e = rng.normal(size=(4, n))
        m = a * x + own
        measured = m + np.sqrt(error) * u
        table = pd.DataFrame({"x": x, "m": measured, "y": b * m + 0.2 * x + e})
        share = reliability_of_icc(intraclass_correlation(np.column_stack([m, measured])))
        row = corrected_effects(table, "x", "y", {"m": share}, draws=200).iloc[0]
        plain.append(row["indirect"])
        corrected.append(row["indirect_corrected"])
        held += row["corrected_low"] <= a * b <= row["corrected_high"]
        missed += abs(row["indirect"] - a * b) > 1.96 * 0.04  # the error of one as measured
    assert np.mean(plain) == pytest.approx(attenuated, abs=3 * np.std(plain) / np.sqrt(150))
    assert np.mean(corrected) == pytest.approx(a * b, abs=3 * np.std(corrected) / np.sqrt(150))
    assert 0.88 <= held / 150 <= 0.99
    assert missed / 150 > 0.9


def test_a_mediator_without_error_is_as_measured():
    table = measured(1)
    row = corrected_effects(table, "x", "y", {"m": 1.0}, ["c"], draws=300).iloc[0]
    plain = mediate(table, ["x"], "y", ["m"], ["c"], draws=300).table.iloc[0]
    assert row["indirect_corrected"] == pytest.approx(plain["indirect"], rel=1e-9)
    assert row["direct_corrected"] == pytest.approx(plain["direct"], rel=1e-9)
    for ours, theirs in (("corrected_low", "indirect_low"), ("p_corrected", "p_indirect")):
        assert row[ours] == pytest.approx(plain[theirs], rel=1e-6)


def test_what_would_be_nothing_but_error_is_said():
    table = measured(2).assign(same=lambda t: t["x"])
    found = corrected_effects(table, "x", "y", {"bad": 0.1, "same": 0.9}, draws=0)
    assert found["indirect_corrected"].isna().all()
    assert "would be error" in found["reason"][0]
    assert "follows exactly" in found["reason"][1]
    for wrong in (0.0, 1.2):
        with pytest.raises(ValueError, match="reliability must lie above 0"):
            corrected_effects(table, "x", "y", {"m": wrong})


# Directions


def phenotypes(seed, n=400):
    """Five mediators of a hidden one that carries an effect, three of one that does not."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    hidden = np.column_stack([0.6 * x, 0 * x]) + rng.normal(size=(n, 2))
    m = hidden[:, [0] * 5 + [1] * 3] + 0.3 * rng.normal(size=(n, 8))
    table = pd.DataFrame(m * [1, 2, 3, 4, 5, 1, 1, 1], columns=[f"m{i}" for i in range(8)])
    return table.assign(x=x, y=0.7 * hidden[:, 0] + 0.2 * x + rng.normal(size=n))


def test_directions_are_the_hidden_mediators_and_add_up():
    table = phenotypes(0)
    names = [f"m{i}" for i in range(8)]
    found = mediating_directions(table, "x", "y", names, draws=300)
    assert len(found.effects) == 2
    loadings = found.loadings.abs()
    groups = loadings.idxmax(axis=1)
    assert groups[:5].nunique() == groups[5:].nunique() == 1
    assert groups.iloc[0] != groups.iloc[7]
    carrying = found.effects.set_index("mediator").loc[groups.iloc[0]]
    other = found.effects.set_index("mediator").loc[groups.iloc[7]]
    assert carrying["p_indirect_adjusted"] < 0.01 < other["p_indirect_adjusted"]
    assert set(carrying["largest"].split(", ")) == set(names[:5])
    # Beside exposure and covariates directions are uncorrelated: alone and together are the same
    x = np.column_stack([np.ones(len(table)), table["x"]])
    own = table[names].to_numpy()
    rest = own - x @ np.linalg.lstsq(x, own, rcond=None)[0]
    share = np.linalg.svd(rest / np.linalg.norm(rest, axis=0))[1] ** 2 / 8
    np.testing.assert_allclose(found.effects["explained"], share[:2], rtol=1e-8)
    assert np.square(found.loadings).sum().to_numpy() == pytest.approx(8 * share[:2])


def test_all_directions_together_carry_what_all_mediators_do():
    table = phenotypes(1)
    names = [f"m{i}" for i in range(8)]
    found = mediating_directions(table, "x", "y", names, explained=0.999999, draws=0).effects
    assert len(found) == 8
    design = np.column_stack([np.ones(len(table)), table["x"], table[names]])
    direct = np.linalg.lstsq(design, table["y"], rcond=None)[0][1]
    total = np.linalg.lstsq(design[:, :2], table["y"], rcond=None)[0][1]
    assert found["indirect"].sum() == pytest.approx(total - direct, rel=1e-8)


def test_shares_and_mediators_that_cannot_be_are_refused():
    table = phenotypes(2).assign(still=1.0)
    with pytest.raises(ValueError, match="explained must lie within"):
        mediating_directions(table, "x", "y", ["m0", "m1"], explained=1.5)
    with pytest.raises(ValueError, match="no mediator varies"):
        mediating_directions(table, "x", "y", ["still"])
