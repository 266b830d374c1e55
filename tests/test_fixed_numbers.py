"""Scores, intervals, p values, mediation and fit measures of fixed inputs, to stated tolerances.

nbval compares names and shapes of what notebooks show; here a wrong number fails. The inputs are
whole numbers and the draws are numpy's, which are the same everywhere, so what differs between
processors is rounding: sums to 1e-9, and what an optimiser has found to where it stops.
"""

import numpy as np
import pandas as pd
import pytest
from fixed_runs import EXPECTED, TABLES, run

from ssinfnet.paper.comparison import read_table
from ssinfnet.study import paths

FITTED = (
    "table_paths_estimates",
    "table_paths_fit",
    "table_paths_effects",
    "table_natural_infected",
)
# Relative to the larger of a number and 1e-3 of its column's largest
CLOSE, CLOSE_FITTED = 1e-6, 1e-3

# Figures are drawn on the way; here it is their numbers that count
pytestmark = pytest.mark.filterwarnings("ignore:Tight layout not applied:UserWarning")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(paths.ROOT_VARIABLE, "set and restored")
        return run(tmp_path_factory.mktemp("fixed"))


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_every_number_is_the_stored_one(made, name):
    expected = read_table(EXPECTED, name)
    table = made[name].reset_index(drop=True)
    assert list(table) == list(expected)
    assert len(table) == len(expected)
    for column in expected:
        stored, own = expected[column], table[column]
        if pd.api.types.is_float_dtype(stored) or pd.api.types.is_float_dtype(own):
            stored, own = (one.to_numpy(np.float64, na_value=np.nan) for one in (stored, own))
            close = CLOSE_FITTED if name in FITTED else CLOSE
            largest = np.nanmax(np.abs(stored), initial=0)
            np.testing.assert_allclose(
                own, stored, rtol=close, atol=1e-3 * close * largest, err_msg=f"{name}: {column}"
            )
        else:
            pd.testing.assert_series_equal(own, stored, check_dtype=False)


def test_the_stored_numbers_are_of_something():
    """Not all alike, missing or zero: some models differ, some phenotypes mediate, models fit."""
    scores = read_table(EXPECTED, "table_3b").query("values == 'ours'")
    assert scores["F1_mean"].nunique() == 3
    tests = read_table(EXPECTED, "table_3d_tests")
    assert tests["p_permutation"].between(0, 1).sum() > 10
    counts = read_table(EXPECTED, "table_mediators").set_index(["class", "exposure"])
    assert counts.loc[("ggo", "any"), "by_criterion"] >= 3
    fit = read_table(EXPECTED, "table_paths_fit")
    assert fit["CFI"].notna().all()
