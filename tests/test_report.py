"""Files that the report writes, and its page."""

import base64
import io
import json
import re
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ssinfnet import report
from ssinfnet.storage import provenance
from ssinfnet.study.config import DataConfig, SourceConfig, Study, load_study

MADE = {"study": "toy", "parameters": {"seed": 5}, "versions": {"numpy": "9.9"}, "inputs": {}}
FRAME = pd.DataFrame({"model": ["unet", "sinfnet"], "F1_mean": [1 / 3, np.nan]}).assign(
    F1_error=[0.05, np.nan], n_slices=pd.array([7, pd.NA], dtype="Int64")
)


@pytest.fixture
def figure():
    figure, ax = plt.subplots(figsize=(1.5, 1), layout="constrained")
    ax.plot([0, 1], [1, 3], label="loss")
    ax.set(xlabel="Epoch")
    return figure


@pytest.fixture
def study():
    source = SourceConfig(name="medseg", folder="toy")
    return Study(
        name="toy",
        description="Toy <study>",
        seeds=(5, 6),
        image_size=64,
        undertrained=True,
        data=DataConfig(sources=(source,)),
    )


def bytes_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_table_keeps_full_precision_in_csv(tmp_path):
    path = report.save_table(tmp_path, FRAME, "table_3b", "Scores", MADE)
    assert path == tmp_path / "table_3b.csv"
    assert pd.read_csv(path)["F1_mean"].iloc[0] == 1 / 3


def test_table_is_rounded_in_markdown_with_title_and_label(tmp_path):
    report.save_table(tmp_path, FRAME, "table_3b", "Scores", MADE, undertrained=True)
    text = (tmp_path / "table_3b.md").read_text(encoding="utf-8")
    assert text.startswith("**Scores** (undertrained)\n")
    assert "| U-Net   | 0.333 ± 0.050 | 7" in text
    assert "1.96 standard errors" in text


def test_a_trained_table_without_means_has_neither_label_nor_note(tmp_path):
    report.save_table(tmp_path, FRAME[["model"]], "table_2d_split", "Split", MADE)
    text = (tmp_path / "table_2d_split.md").read_text(encoding="utf-8")
    assert "undertrained" not in text
    assert "1.96" not in text


def test_table_without_rows_is_saved_as_such(tmp_path):
    report.save_table(tmp_path, FRAME.iloc[:0], "table_3b", "Scores", MADE)
    assert "No rows." in (tmp_path / "table_3b.md").read_text(encoding="utf-8")


def test_a_table_without_rows_says_why_in_its_title(tmp_path):
    for frame, title in ((FRAME.iloc[:0], "Scores: nothing ran"), (FRAME, "Scores")):
        report.save_table(tmp_path, frame, "table_3b", "Scores", MADE, empty="nothing ran")
        assert report.read_manifest(tmp_path)["title"].item() == title
        assert f"**{title}**" in (tmp_path / "table_3b.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["", "Table", "../table", "a b", "table.csv"])
def test_a_name_that_would_not_be_a_plain_file_name_is_refused(tmp_path, figure, name):
    with pytest.raises(ValueError, match="small letters"):
        report.save_table(tmp_path, FRAME, name, "Scores", MADE)
    with pytest.raises(ValueError, match="small letters"):
        report.save_figure(tmp_path, figure, name, "Scores", MADE)


def test_figure_is_saved_as_png_and_pdf_with_its_data(tmp_path, figure):
    path = report.save_figure(tmp_path, figure, "figure_3b", "Losses", MADE, data=FRAME)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert (tmp_path / "figure_3b.pdf").read_bytes().startswith(b"%PDF")
    assert len(pd.read_csv(tmp_path / "figure_3b_data.csv")) == 2


def test_pdf_embeds_truetype_fonts_and_no_time(tmp_path, figure):
    report.save_figure(tmp_path, figure, "figure_3b", "Losses", MADE)
    pdf = (tmp_path / "figure_3b.pdf").read_bytes()
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf


def test_saving_again_gives_the_same_bytes_and_leaves_nothing_else(tmp_path, figure, study):
    saved = []
    for _ in range(2):
        report.save_figure(tmp_path, figure, "figure_3b", "Losses", MADE, data=FRAME)
        report.save_table(tmp_path, FRAME, "table_3b", "Scores", MADE)
        report.write_page(tmp_path, study)
        saved.append(bytes_of(tmp_path))
    assert saved[0] == saved[1]
    assert set(saved[0]) == {
        *("figure_3b.png", "figure_3b.pdf", "figure_3b_data.csv", "manifest/figure_3b.json"),
        *("table_3b.csv", "table_3b.md", "table_3b.tex", "manifest/table_3b.json", "report.html"),
        "toy_tables_and_figures.zip",
    }


def test_manifest_lists_by_name_what_was_saved_and_what_made_it(tmp_path, figure):
    report.save_table(tmp_path, FRAME, "table_3b", "Scores", MADE, undertrained=True)
    report.save_figure(tmp_path, figure, "figure_3b", "Losses", MADE)
    manifest = report.read_manifest(tmp_path)
    assert manifest["name"].tolist() == ["figure_3b", "table_3b"]
    assert manifest["kind"].tolist() == ["figure", "table"]
    assert manifest["undertrained"].tolist() == [False, True]
    assert manifest["files"].iloc[1] == ["table_3b.csv", "table_3b.md", "table_3b.tex"]
    assert manifest["made"].iloc[0] == MADE
    machine = manifest["machine"].iloc[0]
    assert machine["processor"] == provenance.machine()["processor"]
    assert machine["instructions"] == list(provenance.instructions())
    assert machine["instructions"]  # numpy names at least those that it was built for


def test_manifest_of_an_empty_folder_has_no_rows(tmp_path):
    assert len(report.read_manifest(tmp_path)) == 0


def test_page_holds_every_item(tmp_path, figure, study):
    png = report.save_figure(tmp_path, figure, "figure_3b", "Losses", MADE)
    report.save_table(tmp_path, FRAME, "table_3b", "Scores & more", MADE, undertrained=True)
    page = report.write_page(tmp_path, study).read_text(encoding="utf-8")
    (encoded,) = re.findall(r'src="data:image/(?:webp|png);base64,([^"]+)"', page)
    saved, shown = (
        np.asarray(Image.open(file).convert("RGB"), float)
        for file in (png, io.BytesIO(base64.b64decode(encoded)))
    )
    assert shown.shape == saved.shape
    assert np.abs(shown - saved).mean() < 5  # of 255
    assert "Scores &amp; more" in page
    assert "0.333\u00a0±\u00a00.050" in page
    assert "Toy &lt;study&gt;" in page
    assert "seeds 5, 6" in page
    assert "numpy 9.9" in page
    assert "None are recorded" in page


def test_page_keeps_whole_numbers_whole_beside_missing_ones(tmp_path, study):
    report.save_table(tmp_path, FRAME, "table_3b", "Scores", MADE)
    page = report.write_page(tmp_path, study).read_text(encoding="utf-8")
    assert "<td>7</td>" in page
    assert "<td>–</td>" in page


def test_table_is_also_latex_with_its_caption_and_note(tmp_path):
    report.save_table(tmp_path, FRAME, "table_3b", "Scores & more", MADE, undertrained=True)
    latex = (tmp_path / "table_3b.tex").read_text(encoding="utf-8")
    assert r"\caption{Scores \& more (undertrained)}" in latex
    assert r"U-Net & 0.333 $\pm$ 0.050 & 7 \\" in latex
    assert "1.96 standard errors" in latex


def test_importing_the_report_imports_neither_statsmodels_nor_torch():
    code = "import sys, ssinfnet.report; print({'statsmodels', 'semopy', 'torch'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


@pytest.mark.parametrize(("undertrained", "labels"), [(True, 2), (False, 0)])
def test_page_says_undertrained_where_it_is_true(tmp_path, study, undertrained, labels):
    report.save_table(tmp_path, FRAME, "table_3b", "Scores", MADE, undertrained=undertrained)
    study = study.model_copy(update={"undertrained": undertrained})
    page = report.write_page(tmp_path, study).read_text(encoding="utf-8")
    assert page.count('class="label">undertrained') == labels


def test_page_lists_exclusions_with_their_reason(tmp_path, study):
    report.save_table(tmp_path, FRAME, "table_3b", "Scores", MADE)
    left_out = pd.DataFrame({"slice_id": ["tr_5"], "reason": ["unreadable"]})
    assert "<td>unreadable</td>" in report.write_page(tmp_path, study, left_out).read_text()
    assert "Nothing was left out" in report.write_page(tmp_path, study, left_out[:0]).read_text()


def test_page_of_an_empty_folder_is_refused(tmp_path, study):
    with pytest.raises(FileNotFoundError, match="run the notebooks"):
        report.write_page(tmp_path, study)


def test_page_refuses_a_file_that_is_not_the_one_saved(tmp_path, study):
    path = report.save_table(tmp_path, FRAME, "table_3b", "Scores", MADE)
    path.write_text("model\nmine\n")
    with pytest.raises(ValueError, match="changed"):
        report.write_page(tmp_path, study)
    path.unlink()
    with pytest.raises(FileNotFoundError, match="missing"):
        report.write_page(tmp_path, study)


def test_records_are_json_with_the_hash_of_each_file(tmp_path):
    report.save_table(tmp_path, FRAME, "table_3b", "Scores", MADE)
    record = json.loads((tmp_path / "manifest" / "table_3b.json").read_text())
    assert set(record["sha256"]) == {"table_3b.csv", "table_3b.md", "table_3b.tex"}
    assert all(len(digest) == 64 for digest in record["sha256"].values())


def test_long_tables_are_shown_in_part_and_written_whole(tmp_path, study):
    table = pd.DataFrame({"mediator": [f"m{i}" for i in range(100)]})
    csv = report.save_table(tmp_path, table, "table_long", "Every test", MADE)
    assert len(pd.read_csv(csv)) == 100
    markdown = csv.with_suffix(".md").read_text(encoding="utf-8")
    page = report.write_page(tmp_path, study).read_text(encoding="utf-8")
    for text in (markdown, page):
        assert "m59" in text
        assert "m60" not in text
        assert "40 more rows" in text


def test_the_page_of_a_mediation_says_what_it_does_not_show(tmp_path, study):
    report.save_table(tmp_path, pd.DataFrame({"n": [1]}), "table_x", "X", MADE)
    assert "nothing unmeasured" not in report.write_page(tmp_path, study).read_text()
    mediated = load_study("smoke")
    page = report.write_page(tmp_path, mediated).read_text(encoding="utf-8")
    assert "nothing unmeasured acts" in page


def test_what_an_earlier_run_saved_can_be_forgotten(tmp_path, figure, study):
    report.save_figure(tmp_path, figure, "figure_5_infected", "Five", MADE, data=FRAME)
    report.save_figure(tmp_path, figure, "figure_50", "Fifty", MADE)
    report.save_table(tmp_path, FRAME, "table_5_x", "Table", MADE)
    assert report.forget(tmp_path, "figure_5_*", "figure_6_*") == ["figure_5_infected"]
    assert report.read_manifest(tmp_path)["name"].tolist() == ["figure_50", "table_5_x"]
    assert not list(tmp_path.glob("figure_5_*"))
    assert "Fifty" in report.write_page(tmp_path, study).read_text(encoding="utf-8")
