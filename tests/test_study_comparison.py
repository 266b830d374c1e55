"""Two studies side by side."""

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from ssinfnet import cli, report
from ssinfnet.report import study_comparison
from ssinfnet.study import config

MADE = {"study": "toy", "parameters": {}, "versions": {}, "inputs": {}}
FIRST = pd.DataFrame(
    {"model": ["unet", "unet", "sinfnet"], "values": ["ours", "paper", "ours"],
     "F1_mean": [0.5, 0.02, 0.3], "F1_error": [0.1, 0.006, 0.05], "F1_low": [0.4, np.nan, np.nan],
     "F1_high": [0.6, np.nan, np.nan], "F1_n": [9, np.nan, 9], "reason": ["", "", "few"]}
)  # fmt: skip
SECOND = FIRST.assign(
    F1_mean=[0.8, 0.02, 0.38], F1_low=[0.7, np.nan, np.nan], F1_high=[0.9, np.nan, np.nan]
)


def study(name, **changes):
    source = config.SourceConfig(name="medseg", folder="toy")
    data = config.DataConfig(sources=(source,))
    return config.Study(name=name, description="<script>x</script>", data=data, **changes)


@pytest.fixture
def root(tmp_path, monkeypatch):
    for folder in ("studies", "notebooks"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("SSINFNET_ROOT", str(tmp_path))
    return tmp_path


def save(root, name, frame, table="table_3b"):
    report.save_table(root / "figures" / name, frame, table, "Scores", MADE)


def test_rows_are_joined_by_what_names_them_and_not_by_their_order():
    table = study_comparison.compare_tables(FIRST, SECOND.iloc[::-1])
    assert table["row"].tolist() == ["model U-Net", "model SInfNet"]
    assert table["measure"].tolist() == ["F1", "F1"]
    assert table["difference"].tolist() == pytest.approx([0.3, 0.08])


def test_intervals_come_from_low_and_high_else_from_the_error():
    table = study_comparison.compare_tables(FIRST, SECOND)
    ends = table[["first_low", "first_high", "second_low", "second_high"]].to_numpy()
    assert ends.tolist() == [
        pytest.approx([0.4, 0.6, 0.7, 0.9]),
        pytest.approx([0.25, 0.35, 0.33, 0.43]),  # 0.3 and 0.38, each ± 0.05
    ]
    assert table["intervals_overlap"].tolist() == [False, True]


def test_bare_low_and_high_belong_to_the_number_before_them():
    frame = pd.DataFrame({"model": ["unet"], "AUC": [0.7], "low": [0.6], "high": [0.8], "n": [30]})
    table = study_comparison.compare_tables(frame, frame.assign(AUC=[0.9], low=[0.85], high=[0.95]))
    assert table["measure"].tolist() == ["AUC", "n"]
    assert table["intervals_overlap"].tolist() == [False, pd.NA]
    assert table.loc[0, ["first_low", "second_high"]].tolist() == [0.6, 0.95]


def test_folds_are_names_and_not_numbers_to_compare():
    frame = pd.DataFrame({"model": ["unet"] * 2, "fold": [1, 2], "F1_mean": [0.1, 0.2]})
    table = study_comparison.compare_tables(frame, frame)
    assert table["row"].tolist() == ["model U-Net, fold 1", "model U-Net, fold 2"]
    assert table["difference"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (pd.DataFrame({"x": [1, 2]}), pd.DataFrame({"x": [1, 2]}), "not told apart"),
        (pd.DataFrame({"model": ["a"]}), pd.DataFrame({"model": ["a"]}), "no numbers"),
        (pd.DataFrame({"m": ["a"], "x": [1]}), pd.DataFrame({"m": ["b"], "x": [1]}), "no row"),
    ],
)
def test_tables_that_cannot_be_joined_say_why(first, second, reason):
    with pytest.raises(ValueError, match=reason):
        study_comparison.compare_tables(first, second)


def test_settings_that_differ_are_named_by_their_place():
    table = study_comparison.settings_that_differ(
        study("one", image_size=64), study("two", image_size=96, seeds=(1, 2))
    )
    assert table.to_numpy().tolist() == [["image_size", "64", "96"], ["seeds", "1", "1, 2"]]


def test_tables_of_one_study_alone_are_listed(root):
    save(root, "one", FIRST)
    save(root, "two", SECOND)
    save(root, "two", SECOND, "table_s2")
    compared = study_comparison.compare_studies(study("one"), study("two"))
    assert compared.numbers["table"].unique().tolist() == ["table_3b"]
    assert compared.left_out.to_numpy().tolist() == [["table_s2", "only two has it"]]


def test_the_page_escapes_what_a_study_says_and_the_csv_has_every_number(root):
    save(root, "one", FIRST.replace("unet", "<script>alert(1)</script>"))
    save(root, "two", SECOND.replace("unet", "<script>alert(1)</script>"))
    both = study("one"), study("two")
    compared = study_comparison.compare_studies(*both)
    page, csv = study_comparison.write(compared, *both, root / "out.html")
    text = page.read_text(encoding="utf-8")
    assert text.count("<script") == 1  # the page's own
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text
    assert "apart" in text
    assert len(pd.read_csv(csv)) == len(compared.numbers) == 2
    with pytest.raises(ValueError, match=r"something\.html"):
        study_comparison.write(compared, *both, root / "out.csv")


@pytest.mark.parametrize("name", ["out.html", "out.csv"])
def test_a_page_replaces_its_own_earlier_one_and_no_other_file(root, name):
    save(root, "one", FIRST)
    save(root, "two", SECOND)
    both = study("one"), study("two")
    compared = study_comparison.compare_studies(*both)
    (root / name).write_text("mine")
    with pytest.raises(FileExistsError, match=name):
        study_comparison.write(compared, *both, root / "out.html")
    assert (root / name).read_text() == "mine"
    assert len(list(root.glob("out.*"))) == 1
    (root / name).unlink()
    for _ in range(2):
        study_comparison.write(compared, *both, root / "out.html")
    assert len(list(root.glob("out.*"))) == 2


def test_a_study_with_itself_is_refused(root):
    with pytest.raises(ValueError, match="two different"):
        study_comparison.compare_studies(study("one"), study("one"))


def test_the_command_takes_names_and_files_and_says_what_was_not_run(root, monkeypatch):
    for name in ("one", "two"):
        text = f"name: {name}\ndescription: toy\ndata: {{sources: [{{name: medseg, folder: x}}]}}\n"
        (root / "studies" / f"{name}.yaml").write_text(text)
    monkeypatch.chdir(root)
    file = str(root / "studies" / "two.yaml")
    save(root, "one", FIRST)
    missing = CliRunner().invoke(cli.app, ["compare", "one", file])
    assert missing.exit_code == 1
    assert "make reproduce STUDY=two" in missing.output
    save(root, "two", SECOND)
    done = CliRunner().invoke(cli.app, ["compare", "one", file])
    assert done.exit_code == 0
    assert (root / "one_and_two.html").is_file()
    assert (root / "one_and_two.csv").is_file()
