import errno
import json

import numpy as np
import pandas as pd
import pytest

from ssinfnet.storage import artifacts, untrusted


@pytest.fixture
def table():
    return pd.DataFrame({"patient_id": ["p1", "p2"], "f1": [0.5, np.nan]})


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_table_comes_back_as_it_was(tmp_path, table):
    path = artifacts.write_table(tmp_path / "t.parquet", table, {"study": "s"})
    pd.testing.assert_frame_equal(artifacts.read_table(path), table)
    assert json.loads((tmp_path / "t.parquet.json").read_text())["rows"] == 2


def test_a_full_disk_leaves_the_earlier_table_intact(tmp_path, table, monkeypatch):
    path = artifacts.write_table(tmp_path / "t.parquet", table, {})
    monkeypatch.setattr(pd.DataFrame, "to_parquet", full_disk)
    with pytest.raises(OSError, match="No space left"):
        artifacts.write_table(path, table.head(1), {})
    pd.testing.assert_frame_equal(artifacts.read_table(path), table)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.parquet", "t.parquet.json"]


def test_a_disk_that_fills_while_arrays_are_written_leaves_the_earlier_ones(tmp_path, monkeypatch):
    path = artifacts.write_arrays(tmp_path / "a.npz", {"x": np.arange(3)}, {})

    def half_then_full(stream, **arrays):
        stream.write(b"half")
        full_disk()

    monkeypatch.setattr(np, "savez_compressed", half_then_full)
    with pytest.raises(OSError, match="No space left"):
        artifacts.write_arrays(path, {"x": np.arange(9)}, {})
    assert artifacts.read_arrays(path)["x"].tolist() == [0, 1, 2]
    assert not list(tmp_path.glob(".*"))


def test_a_folder_appears_whole_in_place_of_the_earlier_one(tmp_path):
    for text in ("first", "second"):
        with artifacts.replacing_folder(tmp_path / "f") as temporary:
            artifacts.write_text(temporary / "below" / f"{text}.txt", text)
            assert not (tmp_path / "f" / "below" / f"{text}.txt").exists()
    assert [path.name for path in tmp_path.rglob("*.*")] == ["second.txt"]


def test_a_disk_that_fills_while_a_folder_is_written_leaves_the_earlier_one(tmp_path):
    artifacts.write_text(tmp_path / "f" / "earlier.txt", "whole")

    def half_then_full():
        with artifacts.replacing_folder(tmp_path / "f") as temporary:
            (temporary / "later.txt").write_text("half")
            full_disk()

    with pytest.raises(OSError, match="No space left"):
        half_then_full()
    assert [path.name for path in tmp_path.rglob("*.*")] == ["earlier.txt"]


def test_a_folder_to_be_made_anew_takes_no_other_ones_place(tmp_path):
    with artifacts.replacing_folder(tmp_path / "f", anew=True) as temporary:
        (temporary / "a.txt").write_text("first")

    def late():
        with artifacts.replacing_folder(tmp_path / "f", anew=True) as temporary:
            (temporary / "a.txt").write_text("second")

    with pytest.raises(OSError, match="not empty"):
        late()
    assert (tmp_path / "f" / "a.txt").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_arrays_that_need_pickle_are_refused(tmp_path):
    with pytest.raises(ValueError, match="Python objects"):
        artifacts.write_arrays(tmp_path / "a.npz", {"x": np.array([{}], dtype=object)}, {})


def test_a_truncated_npz_is_refused_by_name(tmp_path):
    path = artifacts.write_arrays(tmp_path / "a.npz", {"x": np.arange(1000)}, {})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"a\.npz cannot be read"):
        artifacts.read_arrays(path)


def test_a_truncated_table_is_refused_by_name(tmp_path, table):
    path = artifacts.write_table(tmp_path / "t.parquet", table, {})
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match=r"t\.parquet cannot be read"):
        artifacts.read_table(path)


def test_a_missing_artifact_says_to_run_its_notebook(tmp_path):
    with pytest.raises(FileNotFoundError, match="run the notebook"):
        artifacts.read_table(tmp_path / "t.parquet")


def test_the_record_of_equal_runs_is_equal_and_hashes_inputs(tmp_path):
    source = artifacts.write_text(tmp_path / "in.csv", "a\n1\n")
    first = artifacts.made_by("demo", {"seed": 1}, [source])
    assert first == artifacts.made_by("demo", {"seed": 1}, [source])
    source.write_text("a\n2\n")
    assert first["inputs"] != artifacts.made_by("demo", {"seed": 1}, [source])["inputs"]
    assert first["versions"]["numpy"] == np.__version__


def test_some_rows_of_a_table_are_read_however_many_come_at_once(tmp_path, monkeypatch):
    table = pd.DataFrame({"split": ["train", "unlabelled"] * 5, "file": list("abcdefghij")})
    path = artifacts.write_table(tmp_path / "t.parquet", table, {})
    monkeypatch.setattr(untrusted, "ROWS_AT_ONCE", 3)
    some = artifacts.read_table(path, keep=lambda rows: rows["split"] != "unlabelled")
    pd.testing.assert_frame_equal(some, table.iloc[::2], check_index_type=False)
