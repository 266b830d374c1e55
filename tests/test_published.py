"""The paper's numbers as printed, and the comparison against ours."""

import numpy as np
import pandas as pd
import pytest

from ssinfnet.paper import published
from ssinfnet.study.models import MODEL_NAMES


def our_summary(**columns):
    row = {
        "model": "sinfnet",
        "metric": "F1",
        "mean": 0.42,
        "error": 0.05,
        "n": 30,
        "n_slices": 35,
        "n_patients": 9,
        "low": 0.36,
        "high": 0.47,
        "seeds": 1,
        "seed_spread": np.nan,
    }
    return pd.DataFrame([{**columns, **row}])


def test_figure_3b_gives_ssinfnet_the_f1_that_the_paper_prints():
    values = published.published_values("fig3b").set_index(["model", "metric"])
    assert values.loc[("single_ssinfnet", "F1"), ["mean", "error"]].tolist() == [0.38, 0.056]
    assert len(values) == 3 * 5


def test_all_tables_hold_the_columns_promised():
    values = published.published_values()
    assert list(values) == ["table", "model", "class", "metric", "mean", "error", "mark"]
    assert {"fig3b", "fig3d", "s2", "s8", "sev5"} <= set(values["table"])
    assert values["mean"].notna().all()


def test_every_published_name_of_a_model_is_in_a_published_table():
    printed = set(published.published_values()["model"].dropna())
    ours = {
        "single_semi_infnet",  # J left it out; the others are ours
        "single_sinfnet_lite",
        "single_ssinfnet_lite",
        "single_student_lite",
        "single_unet_lite",
        "multi_sinfnet_lite",
    }
    assert set(published.PUBLISHED_NAMES) - printed == ours
    for table in ("fig3b", "s4", "s7", "sev2", "sev3", "sev4", "draft1"):
        assert set(published.published_values(table)["model"]) <= set(published.PUBLISHED_NAMES)
    assert set(published.BESIDE) == set(MODEL_NAMES)
    assert set(published.BESIDE.values()) == set(published.PUBLISHED_NAMES.values())


def test_two_models_of_one_printed_row_both_stand_beside_it():
    """V table II: SInfNet 0.39 without augmentation, 0.38 with it and a cutout of 0.4."""
    names = ["sinfnet", "sinfnet_unaugmented", "sinfnet_cutout40", "sinfnet_augmented40"]
    ours = pd.concat([our_summary().assign(model=name) for name in names])
    both = published.beside_paper(ours, "sev2").set_index("model")
    assert both["paper_mean"].to_dict() == dict(zip(names, [0.39, 0.39, 0.38, 0.38], strict=True))


def test_an_unknown_table_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="fig3b"):
        published.published_values("fig9")


@pytest.mark.parametrize("labels", [{}, {"class": "lesion"}])
def test_paper_stands_beside_ours(labels):
    both = published.beside_paper(our_summary(**labels), "fig3b")
    assert list(both) == [
        *(["class"] if labels else []),
        *["model", "metric", "ours_mean", "ours_error", "ours_low", "ours_high"],
        *["paper_mean", "paper_error", "difference", "intervals_overlap"],
        *["n", "n_slices", "n_patients", "seeds", "seed_spread"],
    ]
    row = both.iloc[0]
    assert (row["paper_mean"], row["paper_error"]) == (0.39, 0.059)  # journal figure 3B
    assert row["difference"] == pytest.approx(0.03)
    assert row["intervals_overlap"]


@pytest.mark.parametrize(("mean", "overlap"), [(0.49, True), (0.51, False), (0.29, True)])
def test_intervals_overlap_when_the_means_are_nearer_than_the_errors_together(mean, overlap):
    both = published.beside_paper(our_summary().assign(mean=mean), "fig3b")  # 0.05 + 0.059
    assert both["intervals_overlap"].tolist() == [overlap]


def test_what_the_paper_does_not_print_is_missing_not_zero():
    both = published.beside_paper(our_summary().assign(metric="MAE"), "fig3b").iloc[0]
    assert np.isnan(both["paper_mean"])
    assert np.isnan(both["difference"])
    assert both["intervals_overlap"] is pd.NA


def test_overlap_is_unknown_where_our_error_is():
    both = published.beside_paper(our_summary().assign(error=np.nan), "fig3b").iloc[0]
    assert both["difference"] == pytest.approx(0.03)
    assert both["intervals_overlap"] is pd.NA


def test_a_table_of_several_classes_needs_a_class():
    with pytest.raises(ValueError, match="several classes"):
        published.beside_paper(our_summary(), "fig3d")
