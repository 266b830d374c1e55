"""The order of a report, and what n is of."""

from pathlib import Path

import pandas as pd

from ssinfnet.report import chapters

SAVED = Path(__file__).parents[1] / "docs/results/demo/manifest"


def test_every_item_of_the_demo_has_a_chapter_and_is_in_one_only():
    names = sorted(
        path.stem for path in SAVED.glob("*.json") if "paper_comparison" not in path.stem
    )
    told = chapters.chaptered(names)
    assert chapters.REST not in told
    assert sorted(name for items in told.values() for name in items) == names
    assert "figure_s3" in told["Networks and pretraining"]
    assert "table_s3_folds" in told["Cross-validation and volumes"]


def test_what_no_chapter_knows_comes_last():
    told = chapters.chaptered(["table_mine", "table_3b"])
    assert list(told) == ["Lesions: stage 1", "Further tables and figures"]


def test_captions_count_slices_and_patients_once():
    split = pd.DataFrame({"source": ["a", "b", "all"], "slices": [3, 4, 7], "patients": [1, 2, 3]})
    scores = pd.DataFrame({"n_slices": [9, None], "n_patients": [5, None]})
    flow = pd.DataFrame({"patients": [240, 214]})
    paths = pd.DataFrame({"outcome": ["infected", "severe"], "n": [211.0, 143.0]})
    saved = {
        "table_2d_split": split,
        "table_3b": scores,
        "table_patient_flow": flow,
        "table_paths_fit": paths,
    }
    assert chapters.caption_count("figure_2", saved.get) == "n = 7 slices of 3 patients"
    assert chapters.caption_count("figure_3a", saved.get) == "n = 9 slices of 5 patients"
    assert chapters.caption_count("figure_phenotypes_ggo", saved.get) == "n = 214 patients"
    assert chapters.caption_count("figure_6_severe_as_published", saved.get) == "n = 143 patients"


def test_captions_give_the_range_and_nothing_where_no_table_says():
    data = {"figure_4a_data": pd.DataFrame({"n": [211, 214]})}
    assert chapters.caption_count("figure_4a", data.get) == "n = 211 to 214 patients"
    assert chapters.caption_count("figure_4b", data.get) == ""
    assert chapters.caption_count("figure_1", data.get) == ""
