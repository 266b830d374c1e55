"""The report in a real browser: wide and narrow, light and dark, sorted and filtered."""

from __future__ import annotations

import json
import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ssinfnet import report
from ssinfnet.study import config
from ssinfnet.study.paths import StudyPaths

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
MADE = {"study": "toy", "parameters": {"a_very_long_parameter" * 4: "b" * 200}, "versions": {}}
LONG = "phenotype_" + "of_a_very_long_name_" * 6
BEYOND = """() => [...document.querySelectorAll("body *")].filter(
    element => element.getBoundingClientRect().right > innerWidth + 1
    && !element.closest(".wide, .drawing, pre")).map(element => element.outerHTML.slice(0, 80))"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """The page of a study with a long table, long names, a figure and three repeats."""
    paths = StudyPaths("toy", tmp_path_factory.mktemp("root"))
    scores = pd.DataFrame(
        {"model": ["unet", "sinfnet", "ssinfnet"], "values": "ours", "n_slices": 9, "n_patients": 5,
         "F1_mean": [0.5, 0.25, 0.125], "F1_low": 0.1, "F1_high": 0.6, "F1_n": 9}
    )  # fmt: skip
    report.save_table(paths.figures, scores, "table_3b", "Scores of single models", MADE)
    figure, ax = plt.subplots(figsize=(9, 3))
    ax.imshow(np.eye(20))
    report.save_figure(paths.figures, figure, "figure_3a", "Predicted and true lesions", MADE)
    plt.close(figure)
    many = pd.DataFrame(
        {
            "mediator": [f"{LONG}{number}" for number in range(30)],
            "indirect": np.linspace(-1, 1, 30)[::-1],
            "reason": LONG,
        }
    )
    report.save_table(paths.figures, many, "table_mediation_infected", f"Tests, {LONG}", MADE)
    for seed in (1, 2, 3):
        name = f"table_pretraining_single_fold0_seed{seed}"
        report.save_table(paths.figures, scores, name, "Inpainting", MADE)
    data = config.DataConfig(sources=(config.SourceConfig(name="medseg", folder="toy"),))
    study = config.Study(name="toy", description=f"A study of {LONG}", data=data)
    left_out = pd.DataFrame({"file": [f"{LONG}.png"], "reason": [LONG]})
    paths.runs.mkdir(parents=True)
    for notebook in ("02_data_split", "05_single_segmentation", "07_segmentation_results"):
        noted = {"parameters": {"study": "toy"}, "duration": 75.0, "start_time": "2026-01-02"}
        book = {"cells": [], "metadata": {"papermill": noted}}
        (paths.runs / f"{notebook}.ipynb").write_text(json.dumps(book))
    return report.write_page(paths.figures, study, left_out, paths).as_uri()


@pytest.fixture
def opened(browser, address):
    """Open the page at a width, light or dark; it must say no error."""
    pages, errors = [], []

    def at(width, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        page.goto(address)
        pages.append(page)
        return page

    yield at
    for page in pages:
        page.close()
    assert errors == []


@pytest.mark.parametrize("width", [390, 1400])
def test_the_page_is_no_wider_than_the_screen(opened, width):
    page = opened(width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate(BEYOND) == []


@pytest.mark.parametrize("width", [390, 1400])
def test_the_own_result_is_within_two_screens(opened, width):
    page = opened(width)
    for what in ("#result h2", "#result table"):
        assert page.locator(what).bounding_box()["y"] < 2 * 900


def test_the_drawing_of_the_data_flow_scrolls_and_does_not_shrink(opened):
    page = opened(390)
    drawing = page.locator(".drawing svg")
    assert drawing.bounding_box()["width"] == float(drawing.get_attribute("width")) > 390
    text = drawing.locator("text").first
    assert text.bounding_box()["height"] > 11


def test_a_head_sorts_its_table_and_a_word_filters_it(opened):
    page = opened(1400)
    rows = page.locator("#table_mediation_infected tbody tr")
    page.locator("#table_mediation_infected th").nth(1).get_by_role("button").click()
    values = [
        text.replace("\u2212", "-") for text in rows.locator("td:nth-child(2)").all_inner_texts()
    ]
    numbers = [float(text) for text in values]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 20
    page.locator("#table_mediation_infected input").fill("name_29")
    assert [row for row in rows.all() if row.is_visible()] != []
    assert sum(row.is_visible() for row in rows.all()) == 1


def test_one_repeat_shows_until_another_is_chosen_or_linked(opened, address):
    page = opened(1400)
    shown = page.locator("[data-repeat]:visible")
    assert [each.get_attribute("data-repeat") for each in shown.all()] == ["fold 0, seed 1"]
    page.locator(".repeats select").select_option("table_pretraining_single_fold0_seed3")
    assert [each.get_attribute("data-repeat") for each in shown.all()] == ["fold 0, seed 3"]
    page.goto(f"{address}#table_pretraining_single_fold0_seed2")
    page.reload()
    assert [each.get_attribute("data-repeat") for each in shown.all()] == ["fold 0, seed 2"]


def test_a_dark_screen_gets_a_dark_page_with_light_words(opened):
    def lightness(colour):
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 3

    for scheme, dark in (("light", False), ("dark", True)):
        page = opened(390, scheme)
        paper, ink = (
            page.evaluate(f"getComputedStyle(document.body).{name}")
            for name in ("backgroundColor", "color")
        )
        assert (lightness(paper) < 60 < 180 < lightness(ink)) == dark
