"""Expanded percentile intervals, for few patients or clusters (Hesterberg 2015; D-138)."""

import numpy as np
import pandas as pd
import pytest
from conftest import assert_interval_and_p_agree
from scipy import stats

from ssinfnet.mediation import mediate
from ssinfnet.mediation.resampling import DrawnEffects, expanded_interval, percentile_interval


def drawn_mean(values):
    """Return draws of a mean as they would be if they were normal: quantiles one by one."""
    share = (np.arange(4999) + 0.5) / 4999
    return (values.mean() + stats.norm.ppf(share) * values.std() / np.sqrt(len(values)))[:, None]


@pytest.mark.parametrize("n", [6, 20, 100])
def test_interval_and_p_of_a_mean_are_those_of_a_t_test(n):
    """The two factors are chosen so that normal draws give the t interval."""
    values = np.random.default_rng(n).normal(0.2, 1, n)
    test = stats.ttest_1samp(values, 0)
    low, high = expanded_interval(drawn_mean(values), n)
    assert (low[0], high[0]) == pytest.approx(test.confidence_interval(), rel=0.01, abs=0.005)
    p = DrawnEffects.expanded(drawn_mean(values), n).p()[0]
    assert p == pytest.approx(test.pvalue, rel=0.03)


def test_tails_are_those_that_were_published():
    """Of 20 patients 2.5 % become Phi(-sqrt(20 / 19) t): t of 19 degrees is 2.0930 in any table."""
    drawn = np.random.default_rng(1).exponential(size=(4999, 1))
    tail = stats.norm.cdf(-np.sqrt(20 / 19) * 2.09302)
    assert tail == pytest.approx(0.0159, abs=5e-5)
    low, high = expanded_interval(drawn, 20)
    assert low[0] == pytest.approx(np.quantile(drawn, tail), rel=1e-4)
    assert high[0] == pytest.approx(np.quantile(drawn, 1 - tail), rel=1e-4)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(3)
    x = rng.normal(size=60)
    m = rng.normal(size=(60, 8)) + 0.6 * x[:, None]
    y = m @ np.linspace(0, 2, 8) + rng.normal(size=60)
    found = pd.DataFrame(m, columns=[f"m{i}" for i in range(8)])
    return found.assign(x=x, y=y, ward=np.arange(60) // 5, weight=1.0)


MEDIATORS = [f"m{i}" for i in range(8)]


def analysed(table, **given):
    return mediate(table, ["x"], "y", MEDIATORS, [], **({"draws": 400} | given)).table


@pytest.mark.parametrize("given", [{}, {"cluster": "ward"}, {"adjustment": "holm"}])
def test_interval_and_p_agree_before_and_after_adjustment(table, given):
    assert_interval_and_p_agree(analysed(table, interval="expanded", **given))


def test_patients_or_clusters_are_counted_and_not_rows(table):
    """From equal draws; rows of one cluster are no more cases, equal weights change nothing."""
    plain, expanded = (analysed(table, interval=name) for name in ("percentile", "expanded"))
    assert (expanded["indirect_low"] < plain["indirect_low"]).all()
    assert (expanded["indirect_high"] > plain["indirect_high"]).all()
    assert (expanded["p_indirect"] > plain["p_indirect"]).all()
    assert expanded["indirect"].equals(plain["indirect"])
    weighted = analysed(table, interval="expanded", weights="weight")
    pd.testing.assert_series_equal(weighted["indirect_low"], expanded["indirect_low"])
    by_ward = analysed(table, interval="percentile", cluster="ward")["p_indirect"]
    z = np.sqrt(11 / 12) * stats.norm.isf(by_ward / 2)
    np.testing.assert_allclose(
        analysed(table, interval="expanded", cluster="ward")["p_indirect"],
        2 * stats.t.sf(z, 11),
        rtol=1e-9,
    )


def test_imputed_tables_put_their_draws_together(table):
    gaps = table.assign(m0=table["m0"].where(np.arange(60) % 7 != 0))
    plain, expanded = (
        analysed(gaps, interval=name, imputations=2) for name in ("percentile", "expanded")
    )
    np.testing.assert_allclose(
        expanded["p_indirect"],
        2 * stats.t.sf(np.sqrt(59 / 60) * stats.norm.isf(plain["p_indirect"] / 2), 59),
        rtol=1e-9,
    )
    assert ((expanded["indirect_low"] > 0) == (expanded["p_indirect"] < 0.05)).all()


def test_of_very_many_patients_it_is_the_percentile_interval():
    drawn = np.random.default_rng(2).normal(1, 1, size=(999, 3))
    for wide, plain in zip(
        expanded_interval(drawn, 10**7), percentile_interval(drawn), strict=True
    ):
        np.testing.assert_allclose(wide, plain, rtol=1e-4)


def test_a_note_on_few_clusters_names_it(table):
    narrow = mediate(table, ["x"], "y", ["m0"], [], cluster="ward", draws=60)
    assert "`--interval expanded`" in narrow.text()
    wide = mediate(table, ["x"], "y", ["m0"], [], cluster="ward", draws=60, interval="expanded")
    assert "too narrow" not in wide.text()
