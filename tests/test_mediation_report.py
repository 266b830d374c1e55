"""The whole analysis of a table: what it holds, its page and files, and from the command line."""

import re

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from ssinfnet import mediation
from ssinfnet.cli import app
from ssinfnet.report import mediation_page
from ssinfnet.report.mediation_methods import agrema, methods_text


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(8)
    n = 220
    age = rng.normal(55, 12, n)
    stage = rng.choice(["I", "II", "III"], n)
    area = 0.06 * age + (stage == "III") * 1.0 + rng.normal(size=n)
    severe = (rng.random(n) < 1 / (1 + np.exp(1.4 - 1.1 * (area - area.mean())))).astype(int)
    found = pd.DataFrame(
        {
            "id": [f"p{i}" for i in range(n)], "hospital": rng.choice(["A", "B"], n), "age": age,
            "stage": stage, "ggo_area": area, "ggo_twin": area + 0.2 * rng.normal(size=n),
            "ggo_entropy": 0.03 * age + rng.normal(size=n), "ggo_noise": rng.normal(size=n),
            "severe": severe, "patient_of": np.repeat(np.arange(n // 2), 2),
        }
    )  # fmt: skip
    found.loc[::17, "ggo_entropy"] = np.nan
    return found.set_index("id")


@pytest.fixture(scope="module")
def analysis(table):
    return mediation.analyse(table, ["age", "stage"], "severe", ["ggo_*"], draws=200,
                             reference={"stage": "I"}, reliability={"ggo_area": 0.8})  # fmt: skip


@pytest.fixture(scope="module")
def written(analysis, tmp_path_factory):
    return mediation_page.write_analysis(analysis, tmp_path_factory.mktemp("page") / "out")


def test_an_analysis_is_that_of_its_parts(table, analysis):
    names = ["ggo_area", "ggo_twin", "ggo_entropy", "ggo_noise"]
    expected = mediation.mediate(
        table, ["age", "stage"], "severe", names, ["hospital"], draws=200, reference={"stage": "I"}
    )
    pd.testing.assert_frame_equal(analysis.effects.table, expected.table)
    assert analysis.asked["covariates"] == ["hospital"]
    assert analysis.patterns["patients"].sum() == len(table)
    assert not analysis.chosen.set_index("mediator").loc[["ggo_area", "ggo_twin"], "kept"].all()
    exposures = ["age", "stage: II against I", "stage: III against I"]
    for part in (analysis.joint, analysis.directions, analysis.corrected):
        assert list(dict.fromkeys(part["exposure"])) == exposures
    dummies = table.assign(II=(table["stage"] == "II") * 1.0, III=(table["stage"] == "III") * 1.0)
    own = mediation.corrected_effects(
        dummies, "III", "severe", {"ggo_area": 0.8}, ["hospital", "II"], draws=0
    )
    row = analysis.corrected.set_index("exposure").loc["stage: III against I"]
    assert row["indirect_corrected"] == pytest.approx(own["indirect_corrected"].item(), rel=1e-9)
    assert analysis.paths is not None
    assert (analysis.natural["effect"] == "proportion_mediated").any()
    assert analysis.natural["e_value"].notna().any()
    assert analysis.reasons == {}


def test_the_page_needs_no_other_file_and_says_what_there_is(written, analysis):
    page = written.read_text(encoding="utf-8")
    assert page.count("<img src=") == page.count('src="data:image/png;base64,') >= 5
    assert not re.search(r"<script src|<link|src=\"http", page)
    for words in ("AGReMA checklist", "Methods, to be pasted", "All mediators jointly",
                  "Sensitivity", "Measurement error", "stage: III against I",
                  "open: the authors"):  # fmt: skip
        assert words in page
    names = {path.name for path in written.parent.iterdir()}
    assert {"effects.csv", "joint.csv", "directions.csv", "natural.csv", "rho.csv", "methods.txt",
            "path_effects.csv", "patterns.csv", "forest_1.png", "forest_1.pdf", "path_model.png",
            "correlations.png", "sensitivity.pdf", "written_files.json"} <= names  # fmt: skip
    stored = pd.read_csv(written.parent / "effects.csv")
    np.testing.assert_allclose(stored["indirect"], analysis.effects.table["indirect"])


def test_names_of_a_table_are_escaped(table, tmp_path):
    odd = table.rename(columns={"ggo_area": "<b>area</b>"})
    found = mediation.analyse(odd, ["age"], "severe", ["<b>area</b>"], draws=50)
    page = mediation_page.write_analysis(found, tmp_path).read_text(encoding="utf-8")
    assert "<b>area</b>" not in page
    assert "&lt;b&gt;area&lt;/b&gt;" in page


def test_methods_say_what_was_done_and_no_more(table, analysis):
    text = " ".join(methods_text(analysis))
    for words in ("adjusted for hospital", "200 bootstrap draws", "stage: II against I",
                  "by Benjamini and Hochberg", "rows lacked a value", "jointly", "path model",
                  "E-values", "semopy"):  # fmt: skip
        assert words in text
    assert "imputed" not in text
    assert "clusters" not in text
    pooled = mediation.analyse(
        table, ["age"], "severe", ["ggo_area", "ggo_entropy"], [], imputations=2, draws=60
    )
    text = " ".join(methods_text(pooled))
    assert "2 tables" in text
    assert "full-information" in text
    assert "No covariates" in text


def test_the_checklist_has_all_items_and_leaves_open_what_no_program_knows(analysis):
    found = agrema(analysis)
    assert len(found) == 25
    assert found["item"].tolist() == [str(number) for number in range(1, 26)]
    answers = found.set_index("item")["answer"]
    for known in ("4", "9", "11", "14", "15", "16", "18", "20", "21"):
        assert answers[known]
    for unknown in ("1", "5", "17", "22"):
        assert answers[unknown] == ""


def test_clustered_rows_leave_out_what_takes_them_for_independent(table, tmp_path):
    found = mediation.analyse(
        table, ["age"], "severe", ["ggo_area", "ggo_noise"], [], cluster="patient_of", draws=60
    )
    assert set(found.reasons) == {"rho", "joint", "directions", "corrected"}
    alone = mediation.natural_effects(
        table, "age", "severe", "ggo_area", cluster="patient_of", draws=60
    )
    own = found.natural[found.natural["mediator"] == "ggo_area"]
    np.testing.assert_allclose(own[["se", "low"]], alone[["se", "low"]], rtol=1e-9)
    paths = mediation.fit_paths(
        table, "severe", {"ggo_area": ["age"]}, cluster="patient_of", draws=60
    )
    pd.testing.assert_frame_equal(found.paths.effects, paths.effects)
    assert "their intervals by a bootstrap of clusters" in " ".join(methods_text(found))
    weighted = mediation.analyse(
        table.assign(w=1.5), ["age"], "severe", ["ggo_area"], [], weights="w", draws=60
    )
    assert weighted.paths is None
    assert set(weighted.reasons) >= {"paths", "natural", "rho", "joint"}
    page = mediation_page.write_analysis(found, tmp_path).read_text(encoding="utf-8")
    assert "Not made: made of independent rows" in page
    assert "clusters of patient_of" in page


def test_an_analysis_in_which_nothing_mediates_says_so(table, tmp_path):
    found = mediation.analyse(table, ["age"], "severe", ["ggo_noise"], [], draws=60)
    assert found.reasons["paths"] == "no mediator passes the criterion or the joint test"
    assert found.reasons["joint"] == "there is one mediator"
    page = mediation_page.write_analysis(found, tmp_path).read_text(encoding="utf-8")
    assert "no mediator passes" in page


def test_the_command_line_writes_the_page_from_a_workbook(table, tmp_path):
    table.reset_index().to_excel(tmp_path / "own.xlsx", index=False)
    asked = ["mediate", str(tmp_path / "own.xlsx"), "--exposures", "age,stage", "--outcome",
             "severe", "--mediators", "ggo_*", "--patient", "id", "--draws", "60",
             "--reference", "stage=I", "--reliability", "ggo_area=0.8", "--interaction",
             "--report", str(tmp_path / "out")]  # fmt: skip
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.stderr
    assert str(tmp_path / "out" / "mediation.html") in result.stdout
    page = (tmp_path / "out" / "mediation.html").read_text(encoding="utf-8")
    assert "own.xlsx" in page
    assert "with an exposure-mediator product" in page
    assert "divided into four parts" in page
    parts = pd.read_csv(tmp_path / "out" / "four_way.csv")
    shares = parts.groupby(["exposure", "mediator"])["share"].apply(lambda own: own.iloc[:4].sum())
    np.testing.assert_allclose(shares.to_numpy(), 1)
    assert not (tmp_path / "own_mediation.csv").exists()
    again = CliRunner().invoke(app, asked)  # what it wrote, it replaces
    assert again.exit_code == 0, again.stderr
    (tmp_path / "out" / "mediation.html").write_text("edited")
    refused = CliRunner().invoke(app, asked)
    assert refused.exit_code == 1
    assert "holds mediation.html, which ssinfnet did not write" in refused.stderr


def test_nothing_said_of_a_users_table_is_of_lesions_or_admissions(table, tmp_path):
    table.rename(columns=lambda name: name.replace("ggo", "marker")).to_csv(tmp_path / "own.csv")
    asked = ["mediate", str(tmp_path / "own.csv"), "--exposures", "age", "--outcome", "severe",
             "--mediators", "marker_*", "--patient", "id", "--draws", "30"]  # fmt: skip
    said = []
    for more in (["--report", str(tmp_path / "out")], ["--json"]):
        result = CliRunner().invoke(app, asked + more)
        assert result.exit_code == 0, result.stderr
        said += [result.stdout, result.stderr]
    files = [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".html", ".csv")]
    said += [path.read_text(encoding="utf-8") for path in files]
    assert "mediator before the outcome" in said[0]
    assert len(files) > 5
    for text in said:
        pictures = re.sub(r"base64,[A-Za-z0-9+/=]+", "", text)
        assert re.findall(r"(?i)\w*(?:lesion|admission|phenotype|infect)\w*", pictures) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--reference", "stage"], "--reference takes EXPOSURE=LEVEL"),
        (["--reference", "stage=IX"], "has no level 'IX'"),
        (["--reliability", "ggo_area=big", "--report", "out"], "could not convert"),
        (["--reliability", "ggo_area=2", "--report", "out"], "reliability must lie above 0"),
        (["--cluster", "none"], "lacks column 'none'"),
        (["--weights", "ggo_noise"], "must be above 0"),
        (["--sheet", "one"], "is no workbook"),
    ],
)
def test_the_command_line_says_what_is_wrong(table, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    table.to_csv("own.csv")
    asked = ["mediate", "own.csv", "--exposures", "stage", "--outcome", "severe", "--mediators",
             "ggo_area", "--patient", "id", "--draws", "20"]  # fmt: skip
    result = CliRunner().invoke(app, [*asked, *arguments])
    assert result.exit_code == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_three_lines_of_python_are_enough(table, tmp_path):
    import ssinfnet as ss

    table.to_csv(tmp_path / "own.csv")
    found = ss.analyse(
        tmp_path / "own.csv", ["age"], "severe", ["ggo_area"], patient="id", draws=30
    )
    assert ss.write_analysis(found, tmp_path / "analysis").is_file()
