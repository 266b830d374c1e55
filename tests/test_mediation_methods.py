"""Methods text and AGReMA checklist name what was made, and nothing that was not."""

import numpy as np
import pandas as pd
import pytest

from ssinfnet import mediation
from ssinfnet.report.mediation_methods import agrema, methods_text


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    x = rng.normal(size=120)
    m = 0.6 * x + rng.normal(size=120)
    y = 0.6 * m + rng.normal(size=120)
    found = pd.DataFrame({"x": x, "m": m, "other": rng.normal(size=120), "y": y,
                          "severe": (y > 0).astype(float), "many": np.arange(120) // 3,
                          "few": np.arange(120) // 40})  # fmt: skip
    found.loc[::20, "m"] = np.nan
    return found


def said(table, outcome="y", **options):
    """Return the methods text, and item → answer of the checklist."""
    found = mediation.analyse(table, ["x"], outcome, ["m", "other"], [], **options)
    return " ".join(methods_text(found)), agrema(found).set_index("item")["answer"]


def test_weighted_rows_claim_no_natural_effects(table):
    text, answers = said(table.assign(w=2.0), draws=40, cluster="many", weights="w")
    assert answers["9"] == "total, direct and indirect effects of each pair"
    assert answers["16"] == ""
    assert "clusters of many" in answers["15"]
    assert "adjusted by Benjamini and Hochberg" in answers["15"]
    assert "Natural" not in text
    assert "the bootstrap drew clusters" in text


def test_clustered_rows_say_how_their_errors_came(table):
    text, answers = said(table, draws=40, cluster="many", cluster_errors="CR2")
    assert answers["9"].endswith("; natural effects of 1 of the 1 that pass")
    assert "their intervals by a bootstrap of clusters" in text
    assert "Huber-White errors by clusters and a bootstrap of clusters" in text
    assert "CR2 of Bell and McCaffrey" in text
    assert "HC1" not in text
    assert "delta method" not in text


def test_effects_of_interest_count_the_natural_ones(table):
    _, answers = said(table, draws=40)
    assert answers["9"].endswith("; natural effects of 1 of the 1 that pass")


@pytest.mark.parametrize(
    ("outcome", "model", "has_e_values"), [("y", "linear", False), ("severe", "logistic", True)]
)
def test_natural_effects_name_their_model_and_e_values_where_there_are_any(
    table, outcome, model, has_e_values
):
    text, _ = said(table, outcome, draws=40)
    assert f"from a {model} model of the outcome" in text
    assert ("E-values" in text) == has_e_values


def test_natural_effects_without_a_solution_are_not_claimed(table):
    separated = table.assign(severe=(table["x"] + table["m"] > 0).astype(float))
    found = mediation.analyse(separated, ["x"], "severe", ["m", "other"], [], draws=40)
    assert found.natural["reason"].str.contains("logit").all()
    text = " ".join(methods_text(found))
    assert "Natural" not in text
    assert "natural" not in agrema(found).set_index("item").loc["9", "answer"]


def test_no_draws_are_claimed_where_none_are_shown(table):
    for options in (
        {"draws": 3},
        {"draws": 0},
        {"draws": 200, "cluster": "few"},
        {"draws": 0, "imputations": 2},
    ):
        text, _ = said(table, **options)
        assert "no interval of it was drawn by a bootstrap" in text
        assert "bootstrap draws" not in text
        assert "bootstrap drew" not in text
    assert "came from 42 bootstrap draws" in said(table, draws=41, imputations=2)[0]


def test_each_part_says_of_how_many_patients_it_is(table):
    text, _ = said(table, draws=40, imputations=2)
    assert "those of natural effects too" in text
    n = len(table)
    for part in ("single mediators", "joint analysis", "natural effects", "sensitivity",
                 "path model"):  # fmt: skip
        assert f"{part} {n}" in text
    assert "mediating directions" not in text  # whose reason the page has
    text, _ = said(table, draws=40)
    known = table["m"].notna()
    both = int((known & table["other"].notna()).sum())
    assert f"joint analysis {both}" in text
    assert f"natural effects {int(known.sum())}" in text
    assert both < n


def test_patients_left_out_for_several_reasons_count_once(table):
    unknown = table.assign(z=table["x"] + 1).astype(float)
    unknown.loc[:4, "x"], unknown.loc[:4, "z"] = np.nan, np.nan
    found = mediation.analyse(unknown, ["x", "z"], "y", ["m", "other"], [], draws=40)
    answers = agrema(found).set_index("item")["answer"]
    assert answers["18"] == "120 rows; 5 patients left out, listed with reasons"
