"""A study opened by one line of a notebook: what it records and says of its networks."""

import json

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from conftest import ROOT

from ssinfnet import report
from ssinfnet.study.config import load_study

TABLE = pd.DataFrame({"model": ["unet"], "F1": [0.5]})


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A checkout of studies alone, so that figures/ is empty."""
    for name in ("studies", "notebooks"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.setenv("SSINFNET_ROOT", str(tmp_path))
    return tmp_path


def recorded(folder, name):
    return json.loads((folder / "figures/smoke/manifest" / f"{name}.json").read_text("utf-8"))


def test_results_record_the_part_of_the_settings_and_what_the_notebook_adds(folder):
    session = report.open_study("smoke", section="scores", model="unet")
    session.save_table(TABLE, "table_x", "A table")
    parameters = recorded(folder, "table_x")["made"]["parameters"]
    assert parameters == {**load_study("smoke").scores.model_dump(), "model": "unet"}


def test_results_say_that_their_networks_were_trained_for_a_short_time(folder):
    session = report.open_study("smoke")
    assert session.settings.undertrained
    session.save_table(TABLE, "table_x", "A table")
    session.showing().save_table(TABLE, "table_y", "Of no network")
    session.save_table(TABLE, "table_z", "Times", undertrained=False)
    said = {name: recorded(folder, f"table_{name}")["undertrained"] for name in "xyz"}
    assert said == {"x": True, "y": False, "z": False}


def test_a_table_without_rows_says_why_unless_the_call_knows_better(folder):
    session = report.open_study("smoke", empty="nothing mediates")
    session.save_tables({"a": TABLE[:0], "b": TABLE}, "table_{}", "Table {}")
    session.save_table(TABLE[:0], "table_c", "Table c", empty="none was fitted")
    titles = [recorded(folder, f"table_{name}")["title"] for name in "abc"]
    assert titles == ["Table a: nothing mediates", "Table b", "Table c: none was fitted"]


def test_titles_of_several_name_outcomes_and_classes_in_words(folder):
    session = report.open_study("smoke")
    session.save_tables({"infected": TABLE}, "table_{}", "Mediation of {}: every test")
    session.save_figures({"ggo": plt.figure()}, "figure_{}", "Patient means: {}")
    whole = {"figure_4": "Effect of age on severe through consolidation"}
    session.save_figures({"figure_4": plt.figure()}, "{}", whole)
    assert [
        recorded(folder, name)["title"] for name in ("table_infected", "figure_ggo", "figure_4")
    ] == [
        "Mediation of infection: every test",
        "Patient means: ground glass",
        "Effect of age on severe or critical disease through consolidation",
    ]


def test_a_figure_lies_beside_its_numbers(folder):
    figure, axes = plt.subplots()
    axes.plot([0, 1])
    png = report.open_study("smoke").save_figure(figure, "figure_x", "A line", data=TABLE)
    assert png == folder / "figures/smoke/figure_x.png"
    pd.testing.assert_frame_equal(pd.read_csv(png.with_name("figure_x_data.csv")), TABLE)


def test_a_fold_shortens_the_schedule_as_the_study_says(folder):
    whole, fold = (report.open_study("demo", fold=fold).settings for fold in (0, 1))
    assert fold == load_study("demo").in_fold(1)
    assert fold.single.training.epochs < whole.single.training.epochs


@pytest.mark.parametrize("section", ["clinical.mediation", "lung_field"])
def test_a_section_that_a_study_does_not_have_is_named(folder, section):
    name = section.partition(".")[0]
    with pytest.raises(ValueError, match=f"study start has no `{name}`"):
        report.open_study("start", section=section)
