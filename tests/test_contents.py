"""The contents: one row a table or figure, which the report, the comparison and the docs read."""

import itertools
import re

import pytest
from conftest import ROOT

from ssinfnet.paper import published
from ssinfnet.paper.contents import contents, find_item

DEMO = sorted(path.stem for path in (ROOT / "docs/results/demo/manifest").glob("*.json"))
SMOKE = re.findall(r"'((?:figure|table)_\w+)'", (ROOT / "notebooks/18_report.ipynb").read_text())


@pytest.mark.parametrize("name", [*DEMO, *SMOKE])
def test_every_item_that_a_study_made_has_a_row(name):
    assert find_item(name) is not None


def test_every_row_is_needed():
    made = {find_item(name) for name in (*DEMO, *SMOKE)}
    elsewhere = {  # of studies whose lungs are cut first, or with external volumes; a benchmark's
        "table_lung_field",
        "*_lung_field*",
        "*_s[56]_volumes",
        "table_leakage",
    }
    assert {item.pattern for item in contents() if item not in made} <= elsewhere


def test_the_notebook_of_a_row_saves_it():
    sources = {path.stem: path.read_text("utf-8") for path in ROOT.glob("notebooks/*.ipynb")}
    sources |= {
        f"benchmarks/{path.name}": path.read_text("utf-8") for path in ROOT.glob("benchmarks/*.py")
    }
    assert {item.notebook for item in contents()} <= set(sources)
    put_together = re.compile(r"[*\[]|_s[56]|table_learning")  # of a pattern, a study, a constant
    for item in contents():
        if not put_together.search(item.pattern):
            assert item.pattern in sources[item.notebook], item.pattern


def test_every_published_table_stands_beside_one_of_ours():
    beside = [printed for item in contents() for printed in item.published]
    assert sorted(beside) == sorted(published.published_values()["table"].unique())


def test_chapters_are_in_one_piece():
    chapters = [chapter for chapter, _ in itertools.groupby(contents(), lambda item: item.chapter)]
    assert len(chapters) == len(set(chapters))


@pytest.mark.parametrize(
    ("figure", "counted"),
    [
        ("figure_3a", "table_3b: n_slices n_patients"),
        ("figure_5_severe", "table_mediation_severe: n"),
        ("figure_4b", "figure_4b_data: n"),
    ],
)
def test_a_figure_names_the_table_that_counts_its_slices(figure, counted):
    item = find_item(figure)
    assert item.counted.format(name=figure, rest=item.rest(figure)) == counted


def test_nothing_is_known_of_a_name_that_no_row_matches():
    assert find_item("table_mine") is None
