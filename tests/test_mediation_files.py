"""A table of patients is the same in every format that people keep it in."""

import zipfile

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from ssinfnet.cli import app
from ssinfnet.mediation import analyse, read_patients_table
from ssinfnet.storage import untrusted


@pytest.fixture
def patients():
    return pd.DataFrame(
        {"id": ["001", "1", "2"], "age": [50.5, np.nan, 61.25], "severe": [0, 1, 1],
         "note": ["None", "a, b", "x;y"], "share": [0.5, 0.25, 1.0]}
    )  # fmt: skip


def written(table, path):
    ending = path.suffix
    if ending == ".xlsx":
        table.to_excel(path, index=False)
    elif ending == ".parquet":
        table.to_parquet(path)
    elif ending == ".tsv":
        table.to_csv(path, sep="\t", index=False)
    elif path.stem == "german":
        table.to_csv(path, sep=";", decimal=",", index=False, encoding="utf-8-sig")
    else:
        table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    "name", ["own.csv", "own.tsv", "german.csv", "own.xlsx", "own.parquet", "OWN.txt"]
)
def test_every_format_gives_the_same_table(patients, tmp_path, name):
    found = read_patients_table(written(patients, tmp_path / name), "id")
    pd.testing.assert_frame_equal(found, patients.set_index("id"), check_dtype=False)
    assert found["age"].dtype == "float64"
    numbered = read_patients_table(tmp_path / name)
    assert numbered.index.tolist() == [1, 2, 3]


def test_decimal_commas_are_read_only_where_the_comma_does_not_separate(tmp_path):
    (tmp_path / "a.csv").write_text("id;x;text;whole\n1;1,5;1,5 to 2;3\n2;-2,25E1;none;4\n3;;z;5\n")
    found = read_patients_table(tmp_path / "a.csv")
    np.testing.assert_allclose(found["x"], [1.5, -22.5, np.nan])
    assert found["text"].tolist() == ["1,5 to 2", "none", "z"]
    assert found["whole"].tolist() == [3, 4, 5]
    (tmp_path / "b.csv").write_text('id,cells\n1,"1,234"\n')
    assert read_patients_table(tmp_path / "b.csv")["cells"].tolist() == ["1,234"]


def test_one_column_and_quoted_separators_are_read(tmp_path):
    (tmp_path / "a.csv").write_text('"a;b;c",d\n1,2\n')
    assert list(read_patients_table(tmp_path / "a.csv")) == ["a;b;c", "d"]
    (tmp_path / "one.csv").write_text("x\n1\n2\n")
    assert read_patients_table(tmp_path / "one.csv")["x"].tolist() == [1, 2]


def test_a_workbook_of_several_sheets_needs_a_name(patients, tmp_path):
    path = tmp_path / "own.xlsx"
    with pd.ExcelWriter(path) as book:
        patients.to_excel(book, sheet_name="patients", index=False)
        patients.head(1).to_excel(book, sheet_name="legend", index=False)
        pd.DataFrame().to_excel(book, sheet_name="empty", index=False)
    with pytest.raises(
        ValueError, match=r"2 sheets with content, \['patients', 'legend'\]; .*--sheet"
    ):
        read_patients_table(path)
    assert len(read_patients_table(path, "id", "patients")) == 3
    with pytest.raises(ValueError, match="has no sheet 'other'"):
        read_patients_table(path, sheet="other")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("own.xls", b"", "tables are read from .csv"),
        ("own.xlsx", b"no archive", "cannot be read as an Excel workbook"),
        ("own.parquet", b"nothing", "cannot be read as Parquet"),
        ("own.csv", b"a,a\n1,2\n", "occur more than once"),
        ("own.tsv", b"", "cannot be read as CSV"),
    ],
)
def test_what_cannot_be_read_is_said_by_name(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_patients_table(tmp_path / name)


def test_a_sheet_of_a_text_file_is_refused(patients, tmp_path):
    with pytest.raises(ValueError, match="is no workbook"):
        read_patients_table(written(patients, tmp_path / "own.csv"), sheet="one")


def test_a_column_that_stands_twice_in_a_workbook_is_refused(tmp_path):
    pd.DataFrame([["a", "a"], [1, 2]]).to_excel(tmp_path / "own.xlsx", index=False, header=False)
    with pytest.raises(ValueError, match="occur more than once"):
        read_patients_table(tmp_path / "own.xlsx")


def test_a_workbook_that_unpacks_to_too_much_is_refused(patients, tmp_path, monkeypatch):
    path = written(patients, tmp_path / "own.xlsx")
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    monkeypatch.setattr(untrusted, "MOST_TEXT_BYTES", unpacked - 1)
    with pytest.raises(untrusted.UnreadableFile, match="unpacks to more than"):
        read_patients_table(path)


def test_ids_of_a_workbook_stay_text(tmp_path):
    pd.DataFrame({"id": ["001", "1"], "x": [1, 2]}).to_excel(tmp_path / "own.xlsx", index=False)
    assert read_patients_table(tmp_path / "own.xlsx", "id").index.tolist() == ["001", "1"]


@pytest.mark.parametrize("name", ["own.csv", "own.tsv", "own.xlsx"])
def test_clusters_and_sites_with_leading_zeros_are_text(tmp_path, name):
    table = pd.DataFrame({"pid": ["1", "01", "2", ""], "Site": ["007", "7", "8", "8"],
                          "centre": ["1", "2", "1", "2"], "x": ["01", "2", "3", "4"]})  # fmt: skip
    written(table, tmp_path / name)
    found = read_patients_table(tmp_path / name, codes=["pid"])
    assert found["pid"].tolist()[:3] == ["1", "01", "2"]
    assert found["pid"].isna().tolist() == [False] * 3 + [True]
    assert found["Site"].tolist() == ["007", "7", "8", "8"]
    assert found["centre"].tolist() == [1, 2, 1, 2]
    assert found["x"].tolist() == [1, 2, 3, 4]
    # Without being told that it names something, pid is a number
    assert pd.api.types.is_numeric_dtype(read_patients_table(tmp_path / name)["pid"])


def test_the_command_line_tells_clusters_1_and_01_apart(tmp_path):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(rng.normal(size=(120, 3)), columns=["x", "m", "y"])
    rows["pid"] = [f"{'0' * (i % 2)}{i % 12 + 1 - i % 2}" for i in range(120)]
    assert rows["pid"].nunique() == 12
    assert rows["pid"].astype(int).nunique() == 6
    rows.to_csv(tmp_path / "own.csv", index=False)
    arguments = [str(tmp_path / "own.csv"), "--exposures", "x", "--outcome", "y", "--mediators",
                 "m", "--cluster", "pid", "--draws", "20"]  # fmt: skip
    said = CliRunner().invoke(app, ["mediate", *arguments]).output
    assert "the 12 clusters of pid" in said
    found = analyse(tmp_path / "own.csv", ["x"], "y", ["m"], cluster="pid", draws=20)
    assert "the 12 clusters of pid" in found.effects.text()
