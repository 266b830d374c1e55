"""Sentences made from tables: the numbers in them are the tables' own."""

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from ssinfnet.report import findings

DEMO = ROOT / "docs" / "results" / "demo"


def demo(name):
    return pd.read_csv(DEMO / f"{name}.csv")


def test_the_ranking_names_the_highest_and_the_lowest_of_our_rows_alone():
    table = demo("table_3b")
    said = findings.ranking(table)
    ours = table[table["values"] == "ours"].set_index("model")["F1_mean"]
    assert f"{ours.max():.3f}" in said
    assert f"{ours.min():.3f}" in said
    assert "0.02" not in said.replace("0.026", "")  # the paper's U-Net


def test_the_ranking_of_a_class_is_of_that_class():
    table = demo("table_3d_s4")
    of_class = table[(table["values"] == "ours") & (table["class"] == "ggo")]
    said = findings.ranking(table, of="ggo")
    assert said.startswith("F1 of ground glass")
    assert f"{of_class['F1_mean'].max():.3f}" in said


@pytest.mark.parametrize("table", ["table_s2", "table_s6a"])
def test_the_lesion_is_found_where_a_column_names_it(table):
    assert "undefined" not in findings.ranking(demo(table))


def test_models_alike_are_not_ranked():
    table = pd.DataFrame(
        {"model": ["unet", "sinfnet"], "n_slices": 3, "n_patients": 2, "F1_mean": [0.0, 1e-5],
         "F1_low": 0.0, "F1_high": 0.1}
    )  # fmt: skip
    assert findings.ranking(table).endswith("3 test slices of 2 patients: all 2 models have 0.000.")
    assert findings.ranking(table[:1]).endswith(
        "U-Net has 0.000 (95 % interval over patients 0.000 to 0.100)."
    )


def test_a_score_that_nobody_has_is_said_to_be_undefined():
    table = pd.DataFrame({"model": ["unet"], "F1_mean": [np.nan]})
    assert findings.ranking(table) == "F1 of the lesion is undefined for every model."


TESTS = pd.DataFrame(
    {
        "model": ["unet", "ssinfnet"],
        "reference": "sinfnet",
        "metric": "F1",
        "mean_difference": [-0.1, 0.01],
        "p_permutation_holm": [0.0004, 0.6],
    }
)


def test_models_that_differ_are_named_with_their_p():
    assert findings.differences(TESTS) == (
        "From SInfNet differ U-Net by -0.100 (p < 0.001) (sign-flip test over patients, adjusted "
        "by Holm), of 2 compared."
    )


def test_where_none_differs_the_lowest_p_is_said():
    said = findings.differences(TESTS.iloc[1:])
    assert said.startswith("None of 1 other model differs from SInfNet")
    assert "0.600" in said


@pytest.mark.parametrize("empty", [TESTS.iloc[:0], TESTS.assign(metric="IoU")])
def test_without_a_second_model_nothing_is_compared(empty):
    assert findings.differences(empty) == "There is no second model to compare."


def test_the_gap_to_the_paper_is_over_the_numbers_that_both_have():
    table = pd.DataFrame(
        {
            "model": ["unet", "unet", "sinfnet"],
            "values": ["ours", "paper", "ours"],
            "F1_mean": [0.5, 0.02, 0.6],
        }
    )
    assert "+0.48 to +0.48 over 1 printed" in findings.gap_to_paper(table)
    assert findings.gap_to_paper(table.iloc[[0, 2]]) == "The paper prints no such number."


def test_grades_mediators_stability_and_costs_are_read_from_their_tables():
    table = demo("table_v5")
    ours = table[
        (table["values"] == "ours")
        & (table["cut_points"] == "published")
        & (table["average"] == "micro")
        & (table["unit"] == "patients")
    ]
    best = ours.loc[ours["F1_mean"].idxmax()]
    expected = f"{best['F1_mean']:.3f} over {int(best['n'])} patients"
    assert expected in findings.grades(table)
    counts = demo("table_mediators")
    of_age = counts[(counts["outcome"] == "infected") & (counts["exposure"] == "age")]
    expected = f"{of_age['by_criterion'].sum()} of {of_age['tested'].sum()} for age on infection"
    assert expected in findings.mediators(counts)
    stable = demo("table_stability")["stable"]
    assert f"{(stable == True).sum()} of {stable.notna().sum()}" in (  # noqa: E712
        findings.stability(demo("table_stability"))
    )
    assert "36.3" not in findings.costs(demo("table_costs"))
    largest = demo("table_costs").groupby("stage")["parameters"].max()
    assert all(f"{number:,}" in findings.costs(demo("table_costs")) for number in largest)


def test_costs_need_no_sinfnet_to_compare_with():
    table = pd.DataFrame({"stage": ["single"], "model": ["unet"], "parameters": [1082033],
                          "training_ms": [28.3], "training_relative": [np.nan]})  # fmt: skip
    assert findings.costs(table) == (
        "In stage 1, U-Net is largest with 1,082,033 parameters, and a training step of U-Net "
        "takes longest, 28.3 ms a slice."
    )


def test_volumes_name_the_model_that_is_furthest_off_in_each_class():
    table = pd.DataFrame(
        [("unet", "lesion", 7, 1200.4, -50.0, 2450.0), ("sinfnet", "lesion", 7, -30.0, -90.0, 30.0),
         ("unet", "consolidation", 7, np.nan, np.nan, np.nan)],
        columns=["model", "class", "n_volumes", "error_ml_mean", "error_ml_low", "error_ml_high"],
    )  # fmt: skip
    said = findings.volumes(table)
    assert "7 scans: at most 1,200 ml too much (U-Net, limits of agreement −50 to 2,450 ml)" in said
    assert "consolidation" not in said
    assert "No whole volume" in findings.volumes(table.iloc[2:])


def test_the_drafts_criterion_sets_ssinfnet_beside_semi_infnet():
    rows = [("ssinfnet", 0.40, 0.3, 0.5), ("semi_infnet", 0.45, 0.4, 0.5), ("unet", 0.1, 0, 0.2)]
    table = pd.DataFrame(rows, columns=["model", "F1_mean", "F1_low", "F1_high"])
    told = findings.success(table)
    assert "F1 of SSInfNet is 0.400" in told
    assert "Semi-Inf-Net 0.450 (0.400 to 0.500), -0.050" in told
    assert findings.success(table[:1]) == ""
    assert findings.show("One.", findings.success(table[:1]), "Two.") == "One. Two."


def test_patients_with_consolidation_are_counted():
    rows = pd.DataFrame(
        {"patient_id": list("aabc"), "has_consolidation": [True, True, False, True]}
    )
    told = findings.consolidation(rows.astype({"has_consolidation": "boolean"}))
    assert told.startswith("Consolidation shows on 3 of 4 test slices, of 2 of 3 patients")


def test_mediators_that_rest_on_stable_phenotypes_are_named():
    table = pd.DataFrame(
        {
            "mediator": list("aabc"),
            "class": "ggo",
            "shown": ["Area", "Area", "Mean", "IMC1"],
            "mediator_by_criterion": [True, True, True, False],
            "stable": pd.array([True, True, False, True], "boolean"),
        }
    )
    told = findings.stable_mediators({"infected": table})
    assert "of 2 mediators for infection 1 are stable (Area of ground glass)" in told
    assert "(none)" in findings.stable_mediators({"severe": table[table["mediator"] == "b"]})


def test_an_empty_figure_says_of_what_and_where_there_are_mediators():
    counts = demo("table_mediators")
    planted = {"lesion": 27, "ggo": 0, "consolidation": 13}  # not those of the last run
    counts["by_criterion"] = counts["class"].map(planted)
    said = findings.no_mediators(counts)
    assert set(said) == {"figure_4a", "figure_4b", "infected", "severe"}
    assert said["figure_4a"].startswith(
        "None of 68 phenotypes of ground glass is shown to carry the effect of age on infection. "
        "J counts 27. By the paper's criterion the exposure changes phenotype and outcome"
    )
    assert said["figure_4a"].endswith(
        "Mediators there are 27 of the overall lesion and 13 of consolidation: "
        "figure_4_infected_age_…"
    )
    assert "effect of any exposure on severe or critical disease. By the" in said["severe"]
    assert said["severe"].endswith(
        "27 of the overall lesion and 13 of consolidation: figure_4_severe_…"
    )
    alone = counts[counts["class"] == "ggo"].assign(by_criterion=2)
    told = findings.no_mediators(alone)["figure_4b"]
    assert "2 do, but they are unstable and left out (D-93)." in told
    assert told.endswith("Of the other classes none has a mediator either.")


def test_the_known_truth_counts_what_intervals_hold_and_what_predicted_masks_leave():
    table = pd.DataFrame(
        {
            "cohort_covered": [True, True, True],
            "true_covered": [True, True, False],
            "predicted_covered": [False, True, pd.NA],
            "corrected_covered": [True, True, pd.NA],
            "attenuation": [0.5, 0.8, np.nan],
        }
    )
    said = findings.known_truth(table)
    assert said.startswith("Of 3 planted effects the 95 % intervals hold 3 by the planted numbers")
    assert "2 from true masks; 1 from predicted masks; 2 from predicted masks less" in said
    assert "0.50 to 0.80 of the effect from true masks (median 0.65, 2 effects" in said
    none = findings.known_truth(table.assign(attenuation=np.nan))
    assert none.endswith("No effect from true masks is far enough from 0 to divide by.")


def test_the_demos_known_truth_is_said_by_its_own_table():
    table = demo("table_known_truth")
    assert f"hold {table['cohort_covered'].sum()} by" in findings.known_truth(table)
