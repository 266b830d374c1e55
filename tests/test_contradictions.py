"""The contradictions of the sources: each is one, and each decision that it names exists."""

import re

import pytest
from conftest import ROOT

from ssinfnet.paper import contradictions, published


@pytest.fixture(scope="module")
def listed():
    return contradictions.contradictions().set_index("subject")


def printed(table, part="mean"):
    return published.published_values(table).set_index(["model", "metric"])[part]


def test_every_row_says_what_who_and_what_is_done(listed):
    assert listed.index.is_unique
    assert (listed[["said", "here"]] != "").all(axis=None)
    told = listed.index + listed["said"] + listed["against"]
    assert told.str.contains(r"\b[JSMVD]\b|figure \d").all()


def test_its_decisions_exist(listed):
    decided = set(re.findall(r'<a id="(d-\d+)"', (ROOT / "DECISIONS.md").read_text("utf-8")))
    named = {one.lower() for cell in listed["decisions"] for one in cell.split()}
    assert named <= decided


def test_sums_and_averages_are_those_of_the_printed_numbers(listed):
    counts = published.published_values("fig2d").set_index(["class", "metric"])["mean"]
    labelled = counts.loc[["train", "validation", "test"]].unstack()
    assert labelled.sum().to_dict() == {"patients": 109, "slices": 929}
    assert "929" in listed.loc["Slices of data set 1", "against"]
    assert "109" in listed.loc["Patients of data set 1", "said"]
    seconds = printed("s8")["multi_fcn8"]
    rows = seconds[seconds.index.str.startswith("epoch_")]
    assert rows.mean() == pytest.approx(36.507)
    assert seconds["average_seconds"] == 36.051


def test_errors_of_the_ablation_are_not_the_means_of_their_classes(listed):
    errors = published.published_values("s7").query("model == 'multi_ssinfnet-focal'")
    wide = errors.pivot(index="metric", columns="class", values="error")
    means = wide[["ggo", "consolidation", "background"]].mean(axis=1)
    metrics = ["F1", "IoU", "Recall", "Precision"]
    row = listed.loc["S table 7, SSInfNet − focal"]
    for which, numbers in (("said", wide["overall"]), ("against", means)):
        told = [float(one) for one in re.findall(r"0\.\d+", row[which])]
        assert told == pytest.approx(numbers[metrics].tolist(), abs=0.0006)


def test_three_rows_of_the_manuscript_are_one():
    values = published.published_values("sev3").set_index(["model", "class", "metric"])
    rows = [
        values.loc[f"multi_{model}"] for model in ("sinfnet+aug0.4", "ssinfnet", "ssinfnet+aug")
    ]
    for row in rows[1:]:
        assert row[["mean", "error"]].equals(rows[0][["mean", "error"]])
    assert 2 * rows[0]["mean"].size == 32  # sixteen means and as many errors
