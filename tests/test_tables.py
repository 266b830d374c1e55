"""Tables on toy data with numbers counted by hand."""

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from ssinfnet import plots, scores, tables
from ssinfnet.patients import severity


@pytest.fixture
def cohort_slices():
    rows = [
        # source, patient, split, has_lesion, has_ggo, has_consolidation
        ("medseg", "v1", "train", True, True, False),
        ("medseg", "v1", "train", False, False, False),
        ("medseg", "v2", "test", True, True, True),
        ("medseg", "v3", None, True, True, True),
        ("covid_semiseg", "w1", "train", True, None, None),
        ("covid_semiseg", "w2", "unlabelled", None, None, None),
    ]
    names = ["source", "patient_id", "split", "has_lesion", "has_ggo", "has_consolidation"]
    flags = dict.fromkeys(names[3:], "boolean")
    return pd.DataFrame(rows, columns=names).astype(flags)


@pytest.fixture
def slice_scores():
    rng = np.random.default_rng(3)
    rows = [
        {"model": model, "patient_id": patient, "slice_id": patient, "F1": value, "IoU": value / 2}
        for model, shift in {"unet": 0.1, "sinfnet": 0.4}.items()
        for patient, value in zip("abcdefgh", shift + rng.uniform(0, 0.2, 8), strict=True)
    ]
    return pd.DataFrame(rows)


def test_split_table_counts_patients_slices_and_lesions(cohort_slices):
    table = tables.split_table(cohort_slices).set_index(["source", "split"])
    train = table.loc[("medseg", "train")]
    assert train[["patients", "slices", "slices_with_lesion"]].tolist() == [1, 2, 1]
    assert train[["slices_with_ggo", "slices_with_consolidation", "excluded"]].tolist() == [1, 0, 0]
    assert table.loc[("all", "train"), ["patients", "slices"]].tolist() == [2, 3]


def test_split_table_does_not_count_the_unknown_as_none(cohort_slices):
    table = tables.split_table(cohort_slices).set_index(["source", "split"])
    assert table.loc[("covid_semiseg", "train"), "slices_with_lesion"] == 1
    assert table.loc[("covid_semiseg", "train"), "slices_with_ggo"] is pd.NA
    assert table.loc[("covid_semiseg", "unlabelled"), "slices_with_lesion"] is pd.NA


def test_split_table_lists_excluded_slices_in_rows_of_their_own(cohort_slices):
    more = pd.DataFrame({"source": ["medseg", "medseg"], "reason": "unreadable"})
    table = tables.split_table(cohort_slices, more).set_index(["source", "split"])
    assert table.loc[("medseg", "excluded"), "excluded"] == 1 + 2
    assert table.loc[("all", "excluded"), "excluded"] == 3
    assert ("covid_semiseg", "excluded") not in table.index
    assert table.loc[("medseg", "excluded"), "slices"] is pd.NA


def test_split_table_of_one_source_has_no_rows_for_all(cohort_slices):
    table = tables.split_table(cohort_slices[cohort_slices["source"] == "medseg"])
    assert table["source"].unique().tolist() == ["medseg"]
    assert table["split"].tolist() == ["train", "test", "excluded"]


def test_split_table_refuses_an_unknown_split(cohort_slices):
    with pytest.raises(ValueError, match="validate"):
        tables.split_table(cohort_slices.assign(split="validate"))


def test_segmentation_table_has_our_row_and_the_papers_for_each_model(slice_scores):
    summary = scores.summarise(slice_scores, metrics=["F1", "IoU"])
    table = tables.segmentation_table(summary)
    assert table["model"].tolist() == ["unet", "unet", "sinfnet", "sinfnet"]
    assert table["values"].tolist() == ["ours", "paper"] * 2
    ours, paper = table.iloc[2], table.iloc[3]
    of_sinfnet = slice_scores[slice_scores["model"] == "sinfnet"]
    assert ours["F1_mean"] == pytest.approx(of_sinfnet["F1"].mean())
    assert ours["IoU_error"] == pytest.approx(1.96 * of_sinfnet["IoU"].sem())
    assert (ours["F1_n"], ours["n_patients"]) == (8, 8)
    assert (paper["F1_mean"], paper["F1_error"]) == (0.39, 0.059)
    assert paper["F1_n"] is pd.NA


def test_segmentation_table_shows_the_metrics_asked_for_in_their_order(slice_scores):
    summary = scores.summarise(slice_scores, metrics=["F1", "IoU"])
    table = tables.segmentation_table(summary, metrics=["IoU"])
    assert [name for name in table if name.startswith("F1")] == []
    with pytest.raises(ValueError, match="AUC"):
        tables.segmentation_table(summary, metrics=["AUC"])


def test_model_that_the_paper_does_not_print_has_no_row_of_the_paper(slice_scores):
    renamed = slice_scores.assign(model=slice_scores["model"].replace({"unet": "mine"}))
    table = tables.segmentation_table(scores.summarise(renamed, metrics=["F1"]))
    assert table.loc[table["model"] == "mine", "values"].tolist() == ["ours"]


def test_comparison_table_marks_tests_below_five_percent(slice_scores):
    table = tables.comparison_table(slice_scores, "unet", metrics=["F1", "IoU"])
    assert table["metric"].tolist() == ["F1", "IoU"]
    assert table["mark"].tolist() == ["*^", "*^"]
    same = slice_scores.assign(F1=0.5)
    assert tables.comparison_table(same, "unet", metrics=["F1"])["mark"].tolist() == [""]


@pytest.mark.parametrize("models", [["unet"], ["fcn8s"]])
def test_a_study_of_one_model_has_nothing_to_compare(slice_scores, models):
    alone = slice_scores[slice_scores["model"] == "unet"].assign(model=models[0])
    full = tables.comparison_table(slice_scores, "unet", metrics=["F1"])
    empty = tables.comparison_table(alone, "unet", metrics=["F1"])
    assert empty.empty
    assert list(empty) == list(full)
    classed = alone.assign(**{"class": "ggo"})
    assert tables.class_comparison_table(classed, "unet", metrics=["F1"]).empty
    assert tables.display(empty).empty


def test_marks_are_of_the_tests_as_they_are_and_holms_stand_beside(slice_scores):
    third = slice_scores[slice_scores["model"] == "unet"].assign(model="ssinfnet")
    noise = np.random.default_rng(1).normal(0.03, 0.035, len(third))
    three = pd.concat([slice_scores, third.assign(F1=third["F1"] + noise)])
    row = tables.comparison_table(three, "unet", metrics=["F1"]).set_index("model").loc["ssinfnet"]
    assert row["p_t_holm"] >= row["p_t"]
    assert ("*" in row["mark"]) == (row["p_t"] < 0.05)
    assert ("^" in row["mark"]) == (row["p_wilcoxon"] < 0.05)


def test_class_comparisons_leave_background_out(slice_scores):
    classes = ("background", "ggo", "overall")
    stacked = pd.concat([slice_scores.assign(**{"class": name}) for name in classes])
    table = tables.class_comparison_table(stacked, "unet", metrics=["F1"])
    assert table["class"].tolist() == ["ggo", "overall"]
    alone = tables.comparison_table(slice_scores, "unet", metrics=["F1"])
    assert table["p_t"].tolist() == pytest.approx(alone["p_t"].tolist() * 2)


def test_display_joins_mean_error_interval_and_n():
    frame = pd.DataFrame(
        {"model": ["sinfnet"], "F1_mean": 0.61249, "F1_error": 0.0341, "F1_low": 0.5, "F1_n": 12}
    ).assign(F1_high=0.7)
    shown = tables.display(frame)
    assert shown.to_dict("records") == [
        {"model": "SInfNet", "F1": "0.612 ± 0.034 [0.500, 0.700], n = 12"}
    ]


def test_display_of_a_summary_keeps_n_apart_and_hides_the_spread_of_one_seed(slice_scores):
    shown = tables.display(scores.summarise(slice_scores, metrics=["F1"]))
    assert list(shown) == ["model", "metric", "mean", "n", "n slices", "n patients", "seeds"]


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("p_t", 0.0004, "<0.001"),
        ("p_t", 0.04, "0.040"),
        ("difference", -0.25, "−0.250"),
        ("difference", -0.0001, "−0.0001"),
        ("difference", np.nan, "–"),
        ("slices", 6654, "6,654"),
        ("overlap", True, "yes"),
        ("metric", "F1_missed_as_zero", "F1 missed as zero"),
        ("patient_id", "p_1", "p_1"),
    ],
)
def test_display_writes_a_value_as_a_paper_would(column, value, text):
    shown = tables.display(pd.DataFrame({column: [value]}))
    assert shown.iloc[0, 0] == text
    assert shown.columns[0] == column.replace("_", " ")


def test_display_does_not_touch_the_numbers():
    frame = pd.DataFrame({"x_mean": [1 / 3], "x_error": [0.1]})
    tables.display(frame)
    assert frame["x_mean"].tolist() == [1 / 3]


@pytest.fixture
def shown_cells(html_cells):
    """Return a function: the shown table's cells, its caption, and each cell's classes."""

    def read(frame, **how):
        page = tables.show(frame, **how).to_html()
        soup = BeautifulSoup(page, "html.parser")
        rows = soup.select("tbody tr")
        classes = [[cell.get("class", []) for cell in row.select("td")] for row in rows]
        return html_cells(page), soup.caption and soup.caption.get_text(), classes

    return read


def test_shown_in_a_notebook_the_papers_rows_are_marked_and_ours_are_not(slice_scores, shown_cells):
    table = tables.segmentation_table(scores.summarise(slice_scores, metrics=["F1"]))
    cells, caption, classes = shown_cells(table, title="Overall lesion")
    assert cells["values"].tolist() == ["ours", "paper"] * 2
    assert [{"paper" in own for own in row} for row in classes] == [{False}, {True}] * 2
    assert caption.startswith("Overall lesion · n = 8 slices, 8 patients, 1 seed")
    assert "Mean ± 1.96 standard errors" in caption
    assert cells.loc[1, "F1"] == "0.020\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}0.006"


def test_counts_that_differ_stay_in_their_column(shown_cells):
    frame = pd.DataFrame({"model": ["unet", "fcn8s"], "n_slices": [3, 4], "seeds": [2, 2]})
    cells, caption, _ = shown_cells(frame)
    assert cells["n slices"].tolist() == ["3", "4"]
    assert (caption, "seeds" in cells) == ("n = 2 seeds", False)


def test_what_is_missing_is_a_dash_and_an_empty_column_is_left_out(shown_cells):
    frame = pd.DataFrame({"p_t": [0.0002, np.nan], "joule": np.nan, "paper_loss": [1.5, np.nan]})
    cells, _, classes = shown_cells(frame)
    assert cells.to_dict("list") == {"p t": ["<0.001", "–"], "paper loss": ["1.500", "–"]}
    assert ["paper" in own for own in classes[0]] == [False, True]


def test_whatever_comes_from_data_is_escaped():
    evil = "<script>alert(1)</script>"
    page = tables.show(pd.DataFrame({evil: [evil], "n": [3]}), title=evil).to_html()
    assert "<script>" not in page
    assert page.count("&lt;script&gt;") == 3


def test_of_a_long_table_rows_with_numbers_are_shown_before_those_with_a_reason():
    frame = pd.DataFrame({"x": range(6), "reason": ["none", "", "none", None, "", "none"]})
    assert tables.first_rows(frame, 4)["x"].tolist() == [1, 3, 4, 0]
    assert tables.first_rows(frame, 6)["x"].tolist() == [0, 1, 2, 3, 4, 5]


def test_of_a_long_table_the_first_rows_are_shown_and_the_caption_says_so(shown_cells):
    cells, caption, _ = shown_cells(pd.DataFrame({"x": range(1200)}), most_rows=3)
    assert (cells["x"].tolist(), caption) == (["0", "1", "2"], "3 of 1,200 rows")


def test_a_table_without_rows_is_shown_with_its_header(shown_cells):
    cells, _, _ = shown_cells(pd.DataFrame({"mediator": pd.Series(dtype="str"), "p_t": []}))
    assert (list(cells), len(cells)) == (["mediator", "p t"], 0)


def test_without_a_published_table_there_are_no_rows_of_the_paper(slice_scores):
    table = tables.segmentation_table(scores.summarise(slice_scores, metrics=["F1"]), None)
    assert table["values"].tolist() == ["ours", "ours"]
    assert table["F1_mean"].notna().all()


def test_losses_stand_beside_the_drafts():
    losses = pd.DataFrame(
        {
            "stage": ["single", "single", "multi"],
            "model": ["sinfnet_cutout20", "sinfnet_cutout20", "unet"],
            "seed": [1, 2, 1],
            "test_loss": [0.4, 0.6, 0.1],
        }
    )
    table = tables.loss_table(losses)
    assert table["test_loss"].tolist() == pytest.approx([0.5, 0.1])
    assert table["seeds"].tolist() == [2, 1]
    assert table["test_loss_seed_spread"].iloc[0] == pytest.approx(np.sqrt(0.02))
    assert table["paper_test_loss"].notna().tolist() == [True, False]


def test_moved_models_are_compared_with_themselves(slice_scores):
    there = slice_scores.assign(**{"class": "lesion"})
    elsewhere = there[there["model"] == "unet"].assign(F1=lambda rows: rows["F1"] - 0.05)
    table = tables.moved_table(there, elsewhere, permutation_draws=50)
    (row,) = table.to_dict("records")
    assert (row["class"], row["model"], row["n_pairs"]) == ("lesion", "unet", 8)
    assert row["mean_difference"] == pytest.approx(-0.05)
    both = tables.moved_table(there, there.assign(F1=there["F1"] ** 2), permutation_draws=50)
    assert both["p_wilcoxon_holm"].tolist() == scores.holm(both["p_wilcoxon"]).tolist()


def test_volume_table_gives_limits_of_agreement_and_counts_what_is_defined():
    volumes = pd.DataFrame(
        {
            "model": "unet",
            "class": "lesion",
            "Dice": [0.5, 0.7, 0.9],
            "HD95_mm": [10.0, np.nan, 20.0],
            "error_ml": [1.0, 3.0, 5.0],
        }
    )
    (row,) = tables.volume_table(volumes).to_dict("records")
    assert (row["n_volumes"], row["HD95_mm_n"], row["HD95_mm_mean"]) == (3, 2, 15)
    assert row["Dice_error"] == pytest.approx(1.96 * 0.2 / np.sqrt(3))
    assert (row["error_ml_mean"], row["error_ml_low"]) == pytest.approx((3, 3 - 1.96 * 2))


def test_volumes_that_could_not_be_scored_are_told_in_the_figure():
    volumes = pd.DataFrame(
        {"model": "unet", "class": np.nan, "error_ml": np.nan, "reason": ["spacing unknown"] * 2}
    )
    (ax,) = plots.plot_volumes(volumes).axes
    assert ax.texts[0].get_text() == "No volume could be scored. spacing unknown: 2"
    (ax,) = plots.plot_volumes(volumes.iloc[:0]).axes
    assert "Slices stand alone." in ax.texts[0].get_text()
    table = tables.volume_table(volumes)
    assert (len(table), "Dice_mean" in table) == (0, True)


def test_severity_stands_beside_the_manuscripts_micro_averages():
    scored = severity.grade_scores(severity.confusion([0, 0, 1, 2], [0, 1, 1, 2]), draws=50)
    table = tables.severity_table(
        {
            ("sinfnet", "published"): scored,
            ("sinfnet", "fitted"): scored,
            ("unet", "published"): scored,
        }
    )
    assert table["values"].tolist() == ["ours", "paper", *["ours"] * 5]
    paper = table[table["values"] == "paper"].iloc[0]
    assert (paper["average"], paper["F1_mean"]) == ("micro", 0.28)
    ours = table[(table["average"] == "macro") & (table["cut_points"] == "fitted")].iloc[0]
    assert ours["F1_mean"] == scored.set_index(["average", "metric"]).loc[("macro", "F1"), "mean"]
    assert ours["n"] == 4
    images = {"sinfnet": scored.assign(n=20)}
    both = tables.severity_table({("sinfnet", "published"): scored}, images)
    shown = both[["unit", "average", "values"]].apply(tuple, axis=1).tolist()
    assert shown == [
        ("images", "micro", "ours"),
        ("images", "micro", "paper"),
        ("images", "macro", "ours"),
        ("patients", "micro", "ours"),
        ("patients", "macro", "ours"),
    ]
