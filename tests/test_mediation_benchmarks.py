"""What the stored benchmarks of mediation show, against what the project promises.

`python benchmarks/mediation.py grid` and `python benchmarks/mediators.py` make them. The bars are
the project's: 95 % intervals hold the effect in 93.5 to 96.5 % of cohorts, and at most 6 % of null
mediators are found; jointly at most 10 % of what is found is wrong where 10 % are asked for, more
is found than by the paper's criterion, and 2,000 mediators of 1,500 patients take two minutes.
"""

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

GRID = pd.read_csv(ROOT / "benchmarks" / "mediation_grid.csv")
MANY = pd.read_csv(ROOT / "benchmarks" / "mediators.csv")
JOINT, CRITERION = "jointly, false discovery rate 10 %", "one by one, the paper's criterion"
LOWEST, HIGHEST, FALSE = 0.935, 0.965, 0.06
# Of 50 patients with moderate slopes the percentile interval is a little short (D-95)
SHORT = {(50, "both")}
# So few patients, or so little said by a binary outcome, that keeping the rate costs power (D-96)
WEAK = {(100, 200, "number"), (100, 2000, "number"), (300, 200, "binary")}


@pytest.fixture(scope="module")
def percentile():
    """The default interval's cells."""
    return GRID[GRID["method"] == "percentile"].set_index(["n", "truth"])


def test_the_grid_is_whole_and_its_monte_carlo_error_small():
    # 10,000 cohorts: a share of 5 % has an error of 0.22 %
    deciding = GRID[GRID["method"].isin(["percentile", "joint test"])]
    assert len(deciding) == 2 * 5 * 5
    assert deciding["cohorts"].eq(10_000).all()
    shares = deciding[deciding["method"] == "percentile"]
    assert shares["error"].max() < 0.0026


def test_the_default_interval_holds_the_effect_as_often_as_it_says(percentile):
    own = percentile[percentile.index.get_level_values("truth") != "neither"]
    assert len(own) == 20
    outside = own[~own["covered"].between(LOWEST, HIGHEST)]
    assert set(outside.index) <= SHORT
    # None lies outside by more than Monte Carlo error
    reach = 2 * own["error"]
    assert (own["covered"] + reach >= LOWEST).all()
    assert (own["covered"] - reach <= HIGHEST).all()


def test_the_pages_name_the_cell_that_misses(percentile):
    for page in ("benchmarks/README.md", "docs/mediation.md"):
        text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
        for n, truth in SHORT:
            share = f"{100 * percentile.loc[(n, truth), 'covered']:.1f} %"
            assert f"of {n} patients with moderate slopes it is {share}" in text


def test_where_both_slopes_are_0_intervals_err_on_the_safe_side_only(percentile):
    # A product of two estimates that are both near 0 is far nearer to 0 than either, so that any
    # interval of it holds 0 far more often than 95 %: that cell cannot lie within the bar
    own = percentile.xs("neither", level="truth")
    assert len(own) == 5
    assert (own["covered"] > HIGHEST).all()
    assert (own["found"] < 0.01).all()


@pytest.mark.parametrize("method", ["percentile", "joint test"])
def test_few_null_mediators_are_found(method):
    null = GRID[(GRID["method"] == method) & (GRID["a"] * GRID["b"] == 0)]
    assert len(null) == 15
    assert (null["found"] <= FALSE).all()


def test_bca_intervals_find_more_null_mediators_than_the_bar_allows():
    # Why they are not the default (D-91)
    bca = GRID[
        (GRID["method"] == "BCa") & (GRID["n"] <= 200) & GRID["truth"].str.startswith("only")
    ]
    assert (bca["found"] - 2 * bca["error"] > 0.05).all()
    assert bca["found"].max() > 0.09


@pytest.fixture(scope="module")
def many():
    """The joint method's cells, and the criterion's beside them."""
    cells = MANY.set_index(["patients", "mediators", "outcome"])
    joint, criterion = (cells[cells["method"] == name] for name in (JOINT, CRITERION))
    assert joint.index.equals(criterion.index)
    return joint, criterion


def test_many_mediators_are_measured_on_200_cohorts_a_cell(many):
    joint, _ = many
    assert joint["cohorts"].min() >= 200
    wanted = {(100, 2000, "number"), (1500, 200, "number"), (1500, 2000, "number")}
    assert wanted <= set(joint.index)
    assert "binary" in joint.index.get_level_values("outcome")


def test_jointly_a_tenth_is_wrong_at_most(many):
    joint, criterion = many
    assert (joint["false_discovery_rate"] + 2 * joint["rate_error"] <= 0.1).all()
    assert (criterion["false_discovery_rate"] > 0.3).all()


def test_jointly_more_is_found_than_by_the_papers_criterion(many):
    joint, criterion = many
    ahead = joint["power"] - criterion["power"]
    error = np.hypot(joint["power_error"], criterion["power_error"])
    assert set(ahead.index[ahead < 0]) == WEAK
    assert (ahead - 2 * error > 0)[[cell not in WEAK for cell in ahead.index]].all()


def test_the_page_says_where_jointly_less_is_found(many):
    text = " ".join((ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8").split())
    for cell in WEAK:
        joint, criterion = (100 * own.loc[cell, "power"] for own in many)
        assert f"{joint:.1f} % against {criterion:.1f} %" in text


def test_2000_mediators_of_1500_patients_take_two_minutes_of_a_core_at_most(many):
    # As stored, with the machine's other work; no time is measured here
    joint, _ = many
    assert joint.loc[(1500, 2000, "number"), "seconds"] <= 120
