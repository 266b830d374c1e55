"""Our numbers beside the paper's."""

import numpy as np
import pandas as pd
import pytest

from ssinfnet.paper import comparison, published


def saved(folder, name, rows):
    pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False)


@pytest.fixture
def folder(tmp_path):
    # J figure 3B prints F1 0.39 ± 0.059 for SInfNet and 0.38 ± 0.056 for SSInfNet
    rows = [
        {"model": "sinfnet", "values": "ours", "F1_mean": 0.30, "F1_low": 0.25, "F1_high": 0.34,
         "F1_n": 12},
        {"model": "sinfnet", "values": "paper", "F1_mean": 0.39, "F1_low": np.nan,
         "F1_high": np.nan, "F1_n": np.nan},
        {"model": "ssinfnet", "values": "ours", "F1_mean": 0.20, "F1_low": 0.10, "F1_high": 0.30,
         "F1_n": 9},
        {"model": "unet", "values": "ours", "F1_mean": np.nan, "F1_low": np.nan,
         "F1_high": np.nan, "F1_n": 0},
    ]  # fmt: skip
    saved(tmp_path, "table_3b", rows)
    return tmp_path


def one(folder, **named):
    table = comparison.paper_comparison(folder)
    for column, value in named.items():
        table = table[table[column] == value]
    assert len(table) == 1
    return table.iloc[0]


def test_difference_and_intervals_are_those_computed_by_hand(folder):
    row = one(folder, published="fig3b", model="sinfnet", metric="F1")
    assert row["difference"] == pytest.approx(0.30 - 0.39)
    assert (row["paper_low"], row["paper_high"]) == pytest.approx((0.331, 0.449))
    assert (row["ours_low"], row["ours_high"], row["n"]) == (0.25, 0.34, 12)
    assert row["intervals_overlap"]  # 0.34 is above 0.331
    assert row["reason"] == ""
    assert "1.96 SE" in row["paper_interval"]


def test_intervals_that_share_no_point_are_apart(folder):
    row = one(folder, published="fig3b", model="ssinfnet", metric="F1")
    assert row["paper_low"] == pytest.approx(0.324)  # above our 0.30
    assert not row["intervals_overlap"]


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ({"published": "fig3b", "model": "unet", "metric": "F1"}, "undefined"),
        ({"published": "fig3b", "model": "unet", "metric": "IoU"}, "no such number"),
        ({"published": "s2", "model": "unet", "metric": "F1"}, "makes no table_s2"),
        ({"published": "sev5", "model": "ssinfnet", "metric": "F1"}, "makes no table_v5"),
    ],
)
def test_what_cannot_be_compared_is_nan_and_says_why(folder, named, reason):
    row = one(folder, **named)
    assert pd.isna(row["difference"])
    assert pd.isna(row["intervals_overlap"])
    assert reason in row["reason"]


def test_every_published_number_has_one_row_and_its_value(folder):
    table = comparison.paper_comparison(folder)
    printed = published.published_values()
    assert table["paper"].tolist() == printed["mean"].tolist()
    assert not table.duplicated(comparison.KEYS).any()
    assert (table["reason"] != "").sum() == table["intervals_overlap"].isna().sum()


def test_losses_of_both_stages_are_told_apart(tmp_path):
    # D table I: 7.95 for stage 1, 1.17 for stage 2
    ours = {"single": 8.0, "multi": 1.0}
    rows = [{"stage": stage, "model": "sinfnet", "test_loss": loss} for stage, loss in ours.items()]
    saved(tmp_path, "table_d1", rows)
    assert one(tmp_path, published="draft1", model="sinfnet", **{"class": "single"})[
        "difference"
    ] == pytest.approx(0.05)
    row = one(tmp_path, published="draft1", model="sinfnet", **{"class": "multi"})
    assert row["difference"] == pytest.approx(-0.17)
    assert row["reason"] == "no interval: the paper's and ours"


def test_severity_is_compared_by_published_cut_points_and_micro_averages(tmp_path):
    rows = [{"model": "ssinfnet", "cut_points": cut, "average": average, "values": "ours",
             "F1_mean": value, "F1_low": 0.1, "F1_high": 0.9, "n": 70}
            for cut, average, value in (("published", "micro", 0.5), ("published", "macro", 0.4),
                                        ("fitted", "micro", 0.7))]  # fmt: skip
    rows.append({**rows[0], "unit": "patients", "F1_mean": 0.3})  # the manuscript scores images
    rows = [{"unit": "images", **row} for row in rows]
    saved(tmp_path, "table_v5", rows)
    row = one(tmp_path, published="sev5", model="ssinfnet", metric="F1")
    assert (row["ours"], row["paper"], row["n"]) == (0.5, 0.55, 70)
    assert row["reason"] == "no interval: the paper's"


def test_seconds_are_compared_epoch_by_epoch(tmp_path):
    saved(
        tmp_path,
        "table_s8",
        [{"model": "fcn8s", "values": "ours", "epoch_1": 30.0, "average": 30.0, "relative": 0.7}],
    )
    row = one(tmp_path, published="s8", model="fcn8s", metric="epoch_1_seconds")
    assert row["difference"] == pytest.approx(30 - 36.61)


def test_counts_of_mediators_are_those_of_infection(tmp_path):
    rows = [{"outcome": outcome, "class": "ggo", "exposure": "any", "tested": 68,
             "by_criterion": found, "paper": paper}
            for outcome, found, paper in (("infected", 40, 37), ("severe", 3, np.nan))]  # fmt: skip
    saved(tmp_path, "table_mediators", rows)
    row = one(tmp_path, published="text", metric="mediators of any", **{"class": "ggo"})
    assert (row["ours"], row["paper"], row["difference"], row["n"]) == (40, 37, 3, 68)


def test_slices_and_patients_are_counted_over_all_sources(tmp_path):
    # J figure 2D: 698 slices of 39 patients to train on, 6,654 of 1,338 without masks
    rows = [
        {"source": source, "split": split, "slices": slices, "patients": patients}
        for source, split, slices, patients in (
            ("medseg", "train", 700, 40),
            ("ictcf", "unlabelled", 90, 9),
            ("all", "train", 701, 40),
            ("all", "unlabelled", 90, 9),
        )
    ]
    saved(tmp_path, "table_2d_split", rows)
    slices = one(tmp_path, published="fig2d", metric="slices", **{"class": "train"})
    assert (slices["ours"], slices["paper"]) == (701, 698)
    patients = one(tmp_path, published="fig2d", metric="patients", **{"class": "unlabelled"})
    assert (patients["ours"], patients["paper"], patients["reason"]) == (
        9,
        1338,
        "counts have no interval",
    )
    saved(tmp_path, "table_2d_split", rows[:1])  # one source has no rows `all`
    assert one(tmp_path, published="fig2d", metric="slices", **{"class": "train"})["ours"] == 700


def test_patients_of_the_table_and_slices_without_lungs_are_counted(tmp_path):
    # V: 1,521 patients, 1,338 with CT, 41 slices left out
    saved(
        tmp_path,
        "table_patient_flow",
        [{"step": "In the table", "patients": 1521}, {"step": "With CT", "patients": 1300}],
    )
    saved(tmp_path, "table_lung_faults", [{"slice_id": "a", "fault": "none"}] * 40)
    steps = {
        step: one(tmp_path, published="text_flow", **{"class": step})["difference"]
        for step in ("In the table", "With CT")
    }
    assert steps == {"In the table": 0, "With CT": -38}
    assert one(tmp_path, published="text_faults")["difference"] == -1


def test_intervals_that_touch_overlap_and_missing_ends_leave_it_open():
    assert comparison.overlap((0.0, 0.5), (0.5, 1.0)) is True
    assert comparison.overlap((0.5, 1.0), (0.0, 0.5)) is True
    assert comparison.overlap((0.6, 0.7), (0.0, 0.5)) is False
    assert comparison.overlap((0.1, np.nan), (0.0, 1.0)) is None


def test_a_table_that_was_not_saved_is_none(tmp_path):
    assert comparison.read_table(tmp_path, "table_3b") is None
