"""The page of a study: whole, self-contained, escaped."""

import base64
import hashlib
import io
import json
import re
import zipfile
from html.parser import HTMLParser
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ssinfnet import report
from ssinfnet.paper import published
from ssinfnet.report import html_page, own_result, pairs
from ssinfnet.storage import artifacts
from ssinfnet.study import config
from ssinfnet.study.paths import StudyPaths

HOSTILE = "<script>alert('x')</script>"
VOID = {"meta", "img", "br", "rect", "path", "link", "input", "hr"}
MADE = {
    "study": "toy",
    "parameters": {"note": HOSTILE},
    "versions": {"ssinfnet": "0.1.0"},
    "inputs": {"a.csv": "0" * 64},
}
SCORES = pd.DataFrame(
    {"model": ["sinfnet", "sinfnet"], "values": ["ours", "paper"], "n_slices": [9, None],
     "n_patients": [5, None], "F1_mean": [0.30, 0.39], "F1_error": [0.05, 0.059],
     "F1_low": [0.25, None], "F1_high": [0.34, None], "F1_n": [9, None]}
)  # fmt: skip


class Page(HTMLParser):
    """Tags that are open, ids, links and sources of a page."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.links = [], [], []
        self.images, self.tags, self.faults = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[name] for name in ("href", "src") if name in given]
        self.images += [given] if tag == "img" else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "DECISIONS.md").write_text(
        "## Scores\n\n- **D-13 Beside the paper**: an interval.\n- **D-99 Unused.** Never shown.\n"
    )
    paths = StudyPaths("toy", tmp_path)
    noted = {
        "parameters": {"model": HOSTILE, "study": "/home/me/toy.yaml"},
        "duration": 75.0,
        "start_time": "2026-01-02T03:04:05",
    }
    paths.runs.mkdir(parents=True)
    book = {"cells": [], "metadata": {"papermill": noted}}
    (paths.runs / "05_single_segmentation.x.ipynb").write_text(json.dumps(book))
    cohort = pd.DataFrame({"slice_id": ["a"]})
    artifacts.write_table(paths.cohort / "cohort.parquet", cohort, artifacts.made_by("toy", {}))
    return paths


@pytest.fixture
def study():
    source = config.SourceConfig(name="medseg", folder="toy")
    data = config.DataConfig(sources=(source,))
    return config.Study(name="toy", description=HOSTILE, data=data)


@pytest.fixture
def text(paths, study):
    figure, ax = plt.subplots(figsize=(1.5, 1))
    ax.plot([0, 1])
    report.save_figure(paths.figures, figure, "figure_3b", f'"Scores" {HOSTILE}', MADE)
    report.save_table(paths.figures, SCORES, "table_3b", HOSTILE, MADE)
    notes = pd.DataFrame({"patient_id": [HOSTILE], "reason": ["'\"&<i>"]})
    report.save_table(paths.figures, notes, "table_clinical_notes", "Notes", MADE)
    left_out = pd.DataFrame({"file": [f"{HOSTILE}.png"], "reason": ["unreadable <b>"]})
    return report.write_page(paths.figures, study, left_out, paths).read_text(encoding="utf-8")


def test_every_tag_is_closed_and_every_id_is_one_elements_own(text):
    page = Page(text)
    assert page.open == []
    assert page.faults == []
    assert len(set(page.ids)) == len(page.ids)


def test_links_lead_to_the_page_to_files_beside_it_or_to_a_doi(text, paths):
    page = Page(text)
    inner = [link for link in page.links if link.startswith("#")]
    assert {link[1:] for link in inner} <= set(page.ids)
    assert len(inner) > 10
    for link in set(page.links) - set(inner):
        beside = (paths.figures / link).is_file() if len(link) < 100 else False
        picture = link.startswith(("data:image/png;base64,", "data:image/webp;base64,"))
        assert beside or picture or link.startswith("https://doi.org/10.")
    assert not {"link", "iframe", "object", "base", "form"} & set(page.tags)
    for words in ("url(", "@import", "javascript:", "onclick", "onload"):
        assert words not in text


def test_a_drawing_loses_nothing_and_a_slice_little():
    rng = np.random.default_rng(0)
    slice_ = np.clip(rng.normal(120, 30, (200, 200, 1)) + np.zeros(3), 0, 255).astype(np.uint8)
    drawing = np.full((200, 200, 3), 255, np.uint8)
    drawing[50:150, 80:82] = (0, 114, 178)
    for pixels, most in ((drawing, 0), (slice_, 40)):
        png = io.BytesIO()
        Image.fromarray(pixels).save(png, "PNG")
        shown = html_page._embedded(png.getvalue())
        stored = base64.b64decode(shown.split(",")[1])
        assert len(stored) < 0.5 * len(png.getvalue())
        found = np.asarray(Image.open(io.BytesIO(stored)).convert("RGB"))
        assert np.abs(found.astype(int) - pixels).max() <= most


def test_names_that_are_code_are_shown_and_not_run(text):
    assert text.count("<script") == 1  # the page's own, the only one that its policy lets run
    own = text[text.index("<script>") + len("<script>") : text.index("</script>")]
    sha256 = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'; " in text
    assert f"script-src 'sha256-{sha256}'" in text
    assert "<i>" not in text
    assert "<b>" not in text
    assert text.count("&lt;script&gt;") >= 5  # description, titles, cell, exclusion, parameter


def test_the_contents_name_items_of_one_title_once(paths, study):
    for fold in (1, 2):
        report.save_table(paths.figures, SCORES, f"table_s2_folds_{fold}", "Fold by fold", MADE)
    page = report.write_page(paths.figures, study, paths=paths).read_text(encoding="utf-8")
    contents = page[page.index("<nav") : page.index("</nav>")]
    assert contents.count("Fold by fold") == 1
    assert page.count("Fold by fold") == 3


def test_folds_and_seeds_are_one_section_that_names_each(paths, study):
    for fold, seed in ((1, 10), (1, 2), (0, 1)):
        name = f"table_pretraining_single_fold{fold}_seed{seed}"
        report.save_table(paths.figures, SCORES, name, "Inpainting", MADE)
    report.save_table(paths.figures, SCORES, "table_pretraining_multi_fold0_seed1", "Classes", MADE)
    page = report.write_page(paths.figures, study, paths=paths).read_text(encoding="utf-8")
    assert re.findall(r'data-repeat="([^"]*)"', page) == [
        "fold 0, seed 1",
        "fold 1, seed 2",
        "fold 1, seed 10",
    ]
    assert page.count('class="repeats"') == 1
    assert "<h3>Inpainting, fold 1, seed 10<" in page
    assert "<h3>Classes<" in page


def test_the_page_opens_with_the_studys_own_result(text):
    result = text[text.index('<section id="result"') : text.index('<section id="paper"')]
    assert "F1 of the lesion, mean over 9 test slices of 5 patients: SInfNet has 0.300" in result
    assert "0.300 [0.250, 0.340]" in result
    assert "0.390" not in result  # the paper's
    assert "1 files or slices" in result


def test_the_result_says_what_its_numbers_rest_on(paths, study, monkeypatch):
    rows = pd.DataFrame({"patient_id": list("aab"), "has_consolidation": [True, True, False]})
    whole = SimpleNamespace(with_classes=lambda split: rows)
    monkeypatch.setattr(own_result.Cohort, "load", lambda folder: whole)
    artifacts.write_json(paths.cohort / "sources.json", {})
    tested = pd.DataFrame(
        {
            "mediator": ["a", "b"],
            "class": "ggo",
            "shown": ["Area", "Mean"],
            "mediator_by_criterion": [True, True],
            "stable": [True, None],
        }
    )
    report.save_table(paths.figures, SCORES, "table_3b", "Scores", MADE)
    by_class = SCORES.assign(**{"class": "consolidation"})
    report.save_table(paths.figures, by_class, "table_3d_s4", "Classes", MADE)
    report.save_table(paths.figures, tested, "table_mediation_infected", "Tests", MADE)
    page = report.write_page(paths.figures, study, paths=paths).read_text(encoding="utf-8")
    result = page[page.index('<section id="result"') : page.index('<section id="paper"')]
    assert "Consolidation shows on 2 of 3 test slices, of 1 of 2 patients" in result
    assert "Each mask is one reading: no second reader&#39;s is published" in result
    assert "of 2 mediators for infection 1 are stable (Area of ground glass)" in result


def test_the_paper_is_beside_only_what_the_study_has(paths, study):
    notes = pd.DataFrame({"patient_id": ["a"], "reason": ["b"]})
    report.save_table(paths.figures, notes, "table_clinical_notes", "Notes", MADE)
    page = report.write_page(paths.figures, study, paths=paths).read_text(encoding="utf-8")
    assert 'id="paper"' not in page
    assert "No network was tested in this study." in page


def test_the_methods_are_written_from_the_run_with_references_in_order(text):
    part = text[text.index('<section id="methods"') : text.index('<section id="decisions"')]
    assert "Stage 1, slice to lesion: U-Net, SInfNet, SSInfNet." in part
    assert "500 epochs, batch 8, adam, learning rate 0.0001" in part
    assert "10.1186/s12967-021-02992-2" in part
    assert "D-" not in part.replace("COVID-19", "").replace("doi", "").split("[1] ")[0]
    numbers = [int(number) for number in re.findall(r'class="reference">\[(\d+)\]', part)]
    assert numbers == list(range(1, len(numbers) + 1))
    first = [int(number) for number in dict.fromkeys(re.findall(r" \[(\d+)\]", part))]
    assert first == sorted(first)
    assert first == numbers


def test_tables_and_figures_are_one_zip_file_of_the_same_bytes(text, paths, study):
    path = paths.figures / "toy_tables_and_figures.zip"
    assert f'<a href="{path.name}" download>' in text
    with zipfile.ZipFile(path) as packed:
        names = packed.namelist()
        assert {entry.date_time for entry in packed.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert packed.read("toy/report.html").decode() == text
        saved = paths.figures / "table_3b.csv"
        assert packed.read("toy/table_3b.csv") == saved.read_bytes()
    assert {"toy/figure_3b.png", "toy/figure_3b.pdf", "toy/table_3b.tex"} <= set(names)
    before = path.read_bytes()
    left_out = pd.DataFrame({"file": [f"{HOSTILE}.png"], "reason": ["unreadable <b>"]})
    report.write_page(paths.figures, study, left_out, paths)
    assert path.read_bytes() == before


def test_images_have_words_and_a_size_and_captions_an_n(text):
    (image,) = Page(text).images
    assert "Scores" in image["alt"]
    assert image["alt"].endswith("n = 9 slices of 5 patients")
    assert int(image["width"]) > 0
    assert int(image["height"]) > 0
    caption = text[text.index("<figcaption>") : text.index("</figcaption>")]
    assert caption.endswith("n = 9 slices of 5 patients.")


def test_a_table_stands_beside_the_papers_numbers(text):
    # J figure 3B: F1 0.39 ± 0.059
    part = text[text.index('<section id="table_3b"') :]
    part = part[: part.index("</section>")]
    assert "0.300 [0.250, 0.340]" in part
    assert "0.390 [0.331, 0.449]" in part
    assert '<span class="overlap">−0.090, overlap</span>' in part
    assert "1 of 1 pairs of intervals overlap" in part


def test_the_page_says_what_ran_and_for_how_long_without_paths(text):
    assert "1 executed, 1 min 15 s of computing" in text
    assert "<svg" in text
    assert "05 single segmentation" in text
    assert "/home/me" not in text
    assert str(StudyPaths.of("toy").root) not in text


def test_hashes_of_artifacts_and_of_tables_are_shown(text, paths):
    record = artifacts.read_json(paths.cohort / "cohort.parquet.json")
    assert record["sha256"] in text
    assert artifacts.sha256(paths.figures / "table_3b.csv") in text


def test_decisions_that_shape_an_item_are_quoted_and_others_are_not(text):
    assert '<a href="#D-13">D-13</a>' in text
    assert '<p id="D-13"><strong>D-13 Beside the paper</strong>: an interval.</p>' in text
    assert "Never shown" not in text


def test_open_items_of_the_checklists_are_visible(text):
    assert text.count("<strong>Open</strong>: for the authors") > 50
    assert "<strong>Open</strong>: this run does not show it" in text
    assert "F1 of SInfNet 0.300 [0.250, 0.340], n = 9" in text


def test_the_same_files_make_the_same_page(text, paths, study):
    left_out = pd.DataFrame({"file": [f"{HOSTILE}.png"], "reason": ["unreadable <b>"]})
    again = report.write_page(paths.figures, study, left_out, paths)
    assert again.read_text(encoding="utf-8") == text


def test_a_table_that_no_record_names_is_not_taken_for_this_runs(text, paths, study):
    stale = pd.DataFrame({"feature": ["Area"], "family": ["First order"]})
    stale.to_csv(paths.figures / "table_s1.csv", index=False)
    page = report.write_page(paths.figures, study, None, paths).read_text(encoding="utf-8")
    assert "Original slices only" not in page
    report.save_table(paths.figures, stale, "table_s1", "Phenotypes", MADE)
    page = report.write_page(paths.figures, study, None, paths).read_text(encoding="utf-8")
    assert "Original slices only" in page


def test_thousands_of_exclusions_are_counted_and_shown_in_part(text, paths, study):
    left_out = pd.DataFrame({"file": [f"f{i}.png" for i in range(1200)], "reason": "unreadable"})
    page = report.write_page(paths.figures, study, left_out, paths).read_text(encoding="utf-8")
    assert "1200 files or slices were left out" in page
    assert "700 more in table_exclusions.csv" in page
    assert "f499.png" in page
    assert "f500.png" not in page


def test_every_published_table_has_a_name_and_lies_out_as_a_matrix():
    """Counts have no model, and a matrix needs a key to name its rows by."""
    known = pairs.PRINTED.keys() | {"s2", "s3", "s4", "s5a", "s5b", "s6a", "s6b", "s7", "s8"}
    values = published.published_values()
    assert set(values["table"]) <= known
    assert (values["model"].notna() | values["class"].notna()).all()
