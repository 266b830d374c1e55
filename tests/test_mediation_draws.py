"""Too few draws, and too few clusters to draw, give no p and no interval (D-179, D-180)."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from ssinfnet.mediation import (
    corrected_effects,
    fit_paths,
    mediate,
    natural_effects,
    two_part_effects,
)
from ssinfnet.mediation.resampling import percentile_interval

DRAWN = ["p_indirect", "indirect_low", "indirect_high", "p_indirect_adjusted",
         "indirect_low_adjusted", "indirect_high_adjusted"]  # fmt: skip


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, 120).astype(float)
    m = 0.5 * x + rng.normal(size=120)
    lesion = (rng.random(120) < 0.7).astype(float)
    return pd.DataFrame({"x": x, "m": m, "y": 0.5 * m + rng.normal(size=120), "lesion": lesion,
                         "texture": np.where(lesion == 1, m, np.nan),
                         "two": np.arange(120) % 2, "ten": np.arange(120) % 10})  # fmt: skip


@pytest.mark.parametrize("interval", ["percentile", "bca"])
def test_few_draws_give_no_p_and_no_interval_and_say_so(table, interval):
    found = mediate(table, ["x"], "y", ["m"], draws=19, interval=interval)
    assert found.table[DRAWN].isna().all(axis=None)
    assert found.table["draws"].item() == 19
    assert found.table["p_joint"].notna().all()
    assert "take at least 20 usable draws, got 19" in found.text()
    enough = mediate(table, ["x"], "y", ["m"], draws=30, interval=interval)
    assert enough.table[DRAWN].notna().all(axis=None)
    assert "30 draws leave p and intervals of indirect effects to a normal tail" in enough.text()
    assert mediate(table, ["x"], "y", ["m"], draws=200, interval=interval).notes == ()
    assert mediate(table, ["x"], "y", ["m"], draws=0, interval=interval).notes == ()


def test_the_interval_of_the_fewest_draws_is_a_normal_tail():
    drawn = np.random.default_rng(1).normal(size=(20, 1))
    low, high = percentile_interval(drawn)
    edges, spread = np.quantile(drawn, [5 / 21, 16 / 21]), drawn.std()
    assert low[0] == pytest.approx(edges[0] + spread * (norm.ppf(0.025) - norm.ppf(5 / 21)))
    assert high[0] == pytest.approx(edges[1] + spread * (norm.ppf(0.975) - norm.ppf(16 / 21)))
    drawn[3] = np.nan
    assert np.isnan(percentile_interval(drawn)).all()


def test_other_analyses_keep_to_the_same_fewest(table):
    few = 19
    paths = fit_paths(table, "y", {"m": ["x"]}, draws=few)
    assert paths.effects[["se_drawn", "drawn_low", "drawn_high"]].isna().all(axis=None)
    assert paths.estimates["se_drawn"].isna().all()
    natural = natural_effects(table, "x", "y", "m", draws=few)
    assert natural[["drawn_low", "drawn_high"]].isna().all(axis=None)
    assert natural["estimate"].notna().any()
    parts = two_part_effects(table, ["x"], "y", "lesion", ["texture"], draws=few)
    assert parts[["indirect_low", "indirect_high"]].isna().all(axis=None)
    corrected = corrected_effects(table, "x", "y", {"m": 0.9}, draws=few)
    assert corrected[["corrected_low", "corrected_high", "p_corrected"]].isna().all(axis=None)
    assert (pd.concat([paths.effects, parts, corrected])["draws"] == few).all()


@pytest.mark.parametrize("interval", ["percentile", "bca"])
def test_few_clusters_are_not_drawn(table, interval):
    """Of two clusters there are three different draws, whose spread says nothing."""
    given = {"draws": 300, "interval": interval}
    found = mediate(table, ["x"], "y", ["m"], cluster="two", **given)
    assert found.table[DRAWN].isna().all(axis=None)
    assert found.table["draws"].item() == 0
    assert found.table["p_beta21"].notna().all()
    assert found.notes[0] == "errors by the 2 clusters of two"
    assert "draws of at least 8 clusters" in found.text()
    assert "fewer than 30 clusters" in found.text()
    enough = mediate(table, ["x"], "y", ["m"], cluster="ten", **given)
    assert enough.table[DRAWN].notna().all(axis=None)
    assert "at least 8" not in enough.text()


def test_bca_intervals_are_refused_over_imputed_tables(table):
    with pytest.raises(ValueError, match="bca.*imputed"):
        mediate(table.assign(m=table["m"].mask(table.index < 9)), ["x"], "y", ["m"],
                imputations=2, interval="bca")  # fmt: skip


@pytest.mark.parametrize("errors", ["CR1", "CR2"])
def test_intervals_by_draws_of_fewer_than_40_clusters_are_said_to_be_narrow(errors):
    rng = np.random.default_rng(8)
    rows = pd.DataFrame(rng.normal(size=(400, 3)), columns=["x", "m", "y"])

    def said(clusters, draws=60):
        named = rows.assign(g=np.arange(400) % clusters)
        found = mediate(named, ["x"], "y", ["m"], cluster="g", cluster_errors=errors, draws=draws)
        return "draws of fewer than 40 clusters are somewhat too narrow" in found.text()

    assert [said(8), said(39), said(40), said(400)] == [True, True, False, False]
    assert not said(7)  # has none
    assert not said(20, draws=0)
