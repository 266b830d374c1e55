"""What docs/validation.md says: largest differences from what others give, computed anew."""

import comparisons
import pandas as pd
import pytest
from conftest import ROOT

PRINTED = pd.read_csv(ROOT / "ssinfnet" / "report" / "validation.csv")


@pytest.mark.parametrize(
    "compare",
    [comparisons.slices_with_pyradiomics, comparisons.volumes_with_pyradiomics,
     comparisons.with_lavaan, comparisons.with_statsmodels, comparisons.with_sva],
    ids=lambda one: one.__name__,
)  # fmt: skip
def test_differences_stay_below_their_bounds_and_stand_on_the_page(compare):
    table = compare()
    largest = comparisons.relative(table).groupby(table["compared"]).agg(["size", "max"])
    page = PRINTED.set_index("compared")
    for name, (numbers, difference) in largest.iterrows():
        assert difference <= comparisons.BOUNDS[name]
        assert page.loc[name, "numbers"] == numbers
        assert page.loc[name, "largest"] <= page.loc[name, "bound"] == comparisons.BOUNDS[name]


def test_effects_that_rs_mediation_prints_are_ours_but_for_its_simulation(oracles):
    table = comparisons.with_r_mediation(oracles)
    assert comparisons.relative(table).max() <= comparisons.BOUNDS["R mediation, framing"]


def test_every_comparison_stands_on_the_page_and_in_the_report():
    sets = {f"IBSI, {name}" for name in (*comparisons.BY_SLICE, *comparisons.IN_SPACE)}
    assert set(PRINTED["compared"]) == sets | set(comparisons.BOUNDS)
    text = (ROOT / "docs" / "validation.md").read_text("utf-8")
    assert all(f"| {name} |" in text for name in PRINTED["compared"])
