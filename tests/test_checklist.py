"""Reporting checklists, filled by facts."""

import re

import pandas as pd
import pytest

from ssinfnet.report import checklist
from ssinfnet.report.checklist import filling
from ssinfnet.study import config

SPLIT = pd.DataFrame(
    {"source": "medseg", "split": ["train", "validation", "test"], "patients": [10, 2, 3],
     "slices": [40, 5, 6], "slices_with_lesion": [30, 4, 5], "slices_with_ggo": [30, 4, 5],
     "slices_with_consolidation": [10, 1, 1]}
)  # fmt: skip
SCORES = pd.DataFrame({"model": ["unet"], "values": ["ours"], "F1_mean": [0.5], "F1_low": [0.4],
                       "F1_high": [0.6], "F1_n": [6]})  # fmt: skip


def known(tables=None, **changes):
    if "study" not in changes:
        source = config.SourceConfig(name="medseg", folder="toy")
        data = config.DataConfig(sources=(source,))
        changes["study"] = config.Study(name="toy", description="toy", data=data)
    return checklist.Known(read=(tables or {}).get, **changes)


def answer(guideline, item, about):
    table = checklist.filled(guideline, about).set_index("item")
    return table.loc[item, "answer"]


@pytest.mark.parametrize(
    ("guideline", "count"), [("claim", 44), ("clear", 58), ("metrics", 30), ("tripod_ai", 52)]
)
def test_all_items_are_there_once_in_order_with_a_known_fact(guideline, count):
    items = checklist.items(guideline)
    assert len(items) == items["item"].nunique() == count
    numbers = [int(re.match(r"\d+", item).group()) for item in items["item"]]
    assert numbers == sorted(numbers)
    assert set(items["fact"]) - {""} <= set(filling.facts(known()))
    assert (items[["section", "asks"]] != "").all(axis=None)


def test_no_fact_is_left_unused():
    used = {fact for name in checklist.GUIDELINES for fact in checklist.items(name)["fact"]}
    assert used - {""} == set(filling.facts(known()))


def test_guidelines_are_named_with_their_source():
    table = checklist.guidelines()
    assert tuple(table.index) == checklist.GUIDELINES
    assert table["doi"].str.match(r"10\.\d{4,}/\S+$").all()


@pytest.mark.parametrize("guideline", checklist.GUIDELINES)
def test_a_run_that_saved_nothing_says_nothing_of_results(guideline):
    table = checklist.filled(guideline, known())
    results = table["section"].isin(["Results", "Performance", "Evaluation", "Training"])
    assert table.loc[results, "open"].all()


def test_items_without_a_fact_are_open_for_the_authors_whatever_was_run():
    full = known({"table_2d_split": SPLIT, "table_3b": SCORES}, exclusions=pd.DataFrame())
    for guideline in checklist.GUIDELINES:
        items, table = checklist.items(guideline), checklist.filled(guideline, full)
        of_authors = (items["fact"] == "").to_numpy()
        assert table.loc[of_authors, "open"].all()
        assert (table.loc[of_authors, "whose"] == "authors").all()
        assert (table.loc[table["open"] & ~of_authors, "whose"] == "run").all()
        assert (table.loc[~table["open"], "whose"] == "").all()


def test_answers_follow_what_was_saved():
    before = known({"table_2d_split": SPLIT})
    more = SPLIT.assign(patients=[10, 2, 33])
    assert "test 3 patients with 6 slices" in answer("claim", "19", before)
    assert "test 33 patients" in answer("claim", "19", known({"table_2d_split": more}))
    assert answer("claim", "37", before) == ""
    scored = known({"table_3b": SCORES})
    assert answer("claim", "37", scored) == "Lesion: F1 of U-Net 0.500 [0.400, 0.600], n = 6."
    better = known({"table_3b": SCORES.assign(F1_mean=0.55)})
    assert "0.550" in answer("claim", "37", better)


def test_exclusions_are_counted_by_reason():
    assert answer("claim", "8", known()) == ""
    none = known(exclusions=pd.DataFrame({"reason": []}))
    assert "none was left out" in answer("claim", "8", none)
    some = known(exclusions=pd.DataFrame({"reason": ["no mask", "unreadable", "no mask"]}))
    assert answer("claim", "8", some) == (
        "3 files or slices were left out: no mask (2); unreadable (1)."
    )


def test_settings_and_versions_are_the_studys_own():
    about = known({"table_3b": SCORES}, versions={"numpy": "9.9"}, code="abc123")
    assert answer("claim", "23", about) == "numpy 9.9."
    assert "Stage 1: 500 epochs, batch 8, adam" in answer("claim", "25", about)
    assert answer("claim", "43", about) == ""  # the version of ssinfnet is not known
    about = known(versions={"ssinfnet": "1.2"}, code="abc123")
    assert "ssinfnet 1.2, commit abc123" in answer("claim", "43", about)


def test_settings_off_the_papers_are_said():
    plain = known({"table_3b": SCORES, "table_2d_split": SPLIT})
    multi = config.MultiTrainingConfig(judged_over=None, class_weights=(1, 2, 3))
    study = plain.study.model_copy(
        update={"flipped_views": True, "multi": config.MultiConfig(training=multi)}
    )
    changed = known({"table_3b": SCORES, "table_2d_split": SPLIT}, study=study)
    for said in (
        "Stage 2 keeps the last epoch (D-84).",
        "stage 2 weighs pixels of background, ground glass, consolidation 1 : 2 : 3",
        "is predicted once, as the mean of four flipped views (D-83), by networks",
    ):
        found = [
            sum(said in text for text in checklist.filled("tripod_ai", about)["answer"])
            + sum(said in text for text in checklist.filled("claim", about)["answer"])
            for about in (plain, changed)
        ]
        assert found[0] == 0
        assert found[1] > 0
    kept = "the epoch with the best mean F1 of validation slices (D-14)."
    assert f"Stage 1 keeps {kept} Stage 2 keeps {kept}" in answer("claim", "26", plain)


def test_a_study_without_stage_2_says_nothing_of_it():
    about = known({"table_3b": SCORES})
    assert "Stage 2: 500 epochs" in answer("claim", "25", about)
    one_stage = about.study.model_copy(
        update={"multi": config.MultiConfig(models=(), oracle_models=())}
    )
    about = known({"table_3b": SCORES}, study=one_stage)
    for item in ("6", "22", "25"):
        assert "tage 2" not in answer("claim", item, about)


def test_radiomic_items_need_a_clinical_cohort():
    assert answer("clear", "23", known()) == ""
    clinical = config.load_study("smoke")
    assert (
        "25 of 256 grey values, counted from a fixed bound of 0 (D-123); repeated with 50"
        in answer("clear", "23", known(study=clinical))
    )


def test_radiomic_items_say_what_a_study_changes():
    catalogued = {"table_s1": pd.DataFrame({"family": ["First order"] * 68})}
    study = config.load_study("smoke")
    about = known(catalogued, study=study)
    assert answer("clear", "24", about) == "Original slices only; no filter or wavelet."
    assert answer("clear", "27", about) == "68 of each of three masks, 204 in all."
    texture = config.TextureConfig(bins=32, resegment=(10, 250), log_mm=(2,), families=("glszm",))
    clinical = study.clinical.model_copy(
        update={"texture": texture, "harmonisation": config.HarmonisationConfig()}
    )
    changed = known(catalogued, study=study.model_copy(update={"clinical": clinical}))
    assert answer("clear", "23", changed).startswith("32 levels from each mask's darkest")
    assert "Laplacian of Gaussian (2 mm)" in answer("clear", "24", changed)
    assert answer("clear", "27", changed) == "167 of each of three masks, 501 in all."
    assert "between 10 and 250" in answer("clear", "25", changed)
    assert "ComBat over hospitals" in answer("metrics", "19", changed)


def test_an_unknown_guideline_is_refused():
    with pytest.raises(ValueError, match="no guideline"):
        checklist.items("strobe")
