"""What docs/validation.md says: largest differences from what others give, computed anew."""

import comparisons
import effect_comparisons
import pandas as pd
import pytest
from conftest import ROOT

BOUNDS = comparisons.BOUNDS | effect_comparisons.BOUNDS
PRINTED = pd.read_csv(ROOT / "ssinfnet" / "report" / "validation.csv")


def check(table):
    """Hold a comparison below its bounds, and the page to it."""
    largest = comparisons.relative(table).groupby(table["compared"]).agg(["size", "max"])
    page = PRINTED.set_index("compared")
    for name, (numbers, difference) in largest.iterrows():
        assert difference <= BOUNDS[name], name
        assert page.loc[name, "numbers"] == numbers
        assert page.loc[name, "largest"] <= page.loc[name, "bound"] == BOUNDS[name]


@pytest.mark.parametrize(
    "compare",
    [comparisons.slices_with_pyradiomics, comparisons.volumes_with_pyradiomics,
     comparisons.with_lavaan, comparisons.with_statsmodels,
     comparisons.with_statsmodels_models, comparisons.with_sva,
     *effect_comparisons.ALONE],
    ids=lambda one: one.__name__,
)  # fmt: skip
def test_differences_stay_below_their_bounds_and_stand_on_the_page(compare):
    check(compare())


@pytest.mark.parametrize("compare", effect_comparisons.OF_ORACLES, ids=lambda one: one.__name__)
def test_effects_that_others_print_of_their_examples_are_ours(compare, oracles):
    check(compare(oracles))


def test_every_comparison_stands_on_the_page_and_in_the_report():
    sets = {f"IBSI, {name}" for name in (*comparisons.BY_SLICE, *comparisons.IN_SPACE)}
    assert set(PRINTED["compared"]) == sets | set(BOUNDS)
    text = (ROOT / "docs" / "validation.md").read_text("utf-8")
    assert all(f"| {name} |" in text for name in PRINTED["compared"])


def test_what_docs_say_of_comparisons_is_the_tables():
    """Numbers are copied into no other page: it would go on saying what was true once."""
    text = (ROOT / "docs" / "mediation.md").read_text("utf-8")
    assert "(validation.md)" in text
    assert "largest difference" not in text
