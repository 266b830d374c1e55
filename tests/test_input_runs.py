"""Whole runs of `ssinfnet predict` over folders with odd inputs; see docs/inputs.md."""

import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path
from threading import Thread

import nibabel
import numpy as np
import pandas as pd
import pydicom
import pytest
import SimpleITK
from scan_files import HU, LPS, write_nifti, write_pictures, write_series
from typer.testing import CliRunner

from ssinfnet.cli import app
from ssinfnet.scans import predicted_files, prediction_plan
from ssinfnet.scans.predicted_files import predict_into
from ssinfnet.storage.written_files import WrittenFiles

pytestmark = pytest.mark.usefixtures("inputs_stay")


def excluded(out):
    return pd.read_csv(out / "table_excluded.csv", keep_default_na=False)


def run(packed, *arguments):
    return CliRunner().invoke(
        app, ["predict", *map(str, arguments), "--model", str(packed.model), "--device", "cpu"]
    )


def test_an_empty_name_is_not_the_current_folder(packed, tmp_path, monkeypatch):
    write_nifti(tmp_path / "a.nii")
    monkeypatch.chdir(tmp_path)
    for arguments in (["", "-o", "out"], ["a.nii", "-o", ""]):
        result = run(packed, *arguments)
        assert result.exit_code == 2
        assert "variable that is not set" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii"]


def test_one_bad_input_does_not_end_the_others(tmp_path, predictor):
    given, out = tmp_path / "in", tmp_path / "out"
    turned = np.array([[0.7, 0, 0, 0], [0, 0, 2.5, 0], [0, 0.8, 0, 0], [0, 0, 0, 1.0]])
    write_nifti(given / "a coronal.nii", HU[:1], turned)
    write_nifti(given / "b sagittal.nii", HU[:1], turned[[1, 0, 2, 3]])
    write_nifti(given / "c mask.nii", (HU > -500) * 1)
    write_nifti(given / "d good.nii")
    done = predict_into(out, [given], predictor)
    assert [row["scan"] for row in done.rows] == ["d good"]
    reasons = excluded(out).set_index("input")["reason"]
    assert "is one coronal slice; expected axial ones" in reasons["a coronal"]
    assert "is one sagittal slice" in reasons["b sagittal"]
    assert "a mask, no CT" in reasons["c mask"]
    assert done.status == 1


@pytest.mark.parametrize("error", [KeyError("colour"), MemoryError(), OSError(28, "disk full")])
def test_a_scan_that_cannot_be_drawn_or_written_is_listed(tmp_path, predictor, monkeypatch, error):
    write_nifti(tmp_path / "in" / "a.nii")
    write_nifti(tmp_path / "in" / "b.nii")
    draw = predicted_files._draw

    def fails(path, found, *rest):
        if found.name == "a":
            raise error
        return draw(path, found, *rest)

    monkeypatch.setattr(predicted_files, "_draw", fails)
    done = predict_into(tmp_path / "out", [tmp_path / "in"], predictor)
    assert [row["scan"] for row in done.rows] == ["b"]
    assert [one.input for one in done.refused] == ["a"]
    assert (type(error).__name__ if not isinstance(error, OSError) else "disk full") in (
        done.refused[0].reason
    )
    assert not list((tmp_path / "out").glob("a_*"))


def test_names_in_latin_1_and_names_of_235_letters_get_results(tmp_path, predictor):
    given, out = tmp_path / "in", tmp_path / "out"
    given.mkdir()
    stored = write_nifti(tmp_path / "x.nii").read_bytes()
    Path(os.fsdecode(os.fsencode(given) + b"/M\xfcller.nii")).write_bytes(stored)
    (given / f"{'l' * 231}.nii").write_bytes(stored)
    (given / f"{'l' * 230}m.nii").write_bytes(stored)
    (given / "folder").mkdir()
    for path in write_series(tmp_path / "s"):
        path.rename(
            Path(os.fsdecode(os.fsencode(given / "folder") + b"/\xe4" + path.name.encode()))
        )
    write_pictures(given / "d", count=1)
    (given / "d" / "slice2.png").rename(given / "d" / f"{'p' * 231}.png")
    Path(os.fsdecode(os.fsencode(given) + b"/\xfc.txt")).write_text("x")
    done = predict_into(out, [given], predictor)
    assert done.refused == []
    names = [row["scan"] for row in done.rows]
    assert names[:1] == ["Müller"] or "Müller" in names
    assert len(set(names)) == 5
    for name in set(names) - {"d"}:
        assert (out / f"{name}_lesion.nii.gz").is_file()
        assert (out / f"{name}_preview.png").is_file()
    assert "ü.txt" in excluded(out)["file"].tolist()
    assert predict_into(out, [given], predictor).kept == 5  # known again by their bytes


def test_the_exit_status_tells_an_unused_input_from_a_file_beside(packed, tmp_path):
    write_nifti(tmp_path / "a" / "ct.nii")
    assert run(packed, tmp_path / "a", "-o", tmp_path / "out").exit_code == 0
    (tmp_path / "a" / "README").write_text("x")
    beside = run(packed, tmp_path / "a", "-o", tmp_path / "out")
    assert beside.exit_code == 3
    assert "0 input(s) and 1 file(s) beside not used" in beside.stdout
    assert excluded(tmp_path / "out").to_numpy().tolist() == [["a", "README", "is no image", ""]]
    write_nifti(tmp_path / "a" / "seg.nii", (HU > -500) * 1)
    assert run(packed, tmp_path / "a", "-o", tmp_path / "out").exit_code == 1


def test_a_scan_that_was_refused_under_another_name_is_refused_no_more(tmp_path, predictor):
    first, out = write_nifti(tmp_path / "a" / "ct.nii"), tmp_path / "out"
    predict_into(out, [first], predictor)
    second = write_nifti(tmp_path / "b" / "ct.nii", HU / 1000)
    predict_into(out, [second], predictor)
    assert excluded(out)["input"].tolist() == ["b_ct"]
    write_nifti(second, HU[1:])
    done = predict_into(out, [second], predictor)
    assert [row["scan"] for row in done.rows] == ["b_ct"]
    assert excluded(out).empty


def test_an_input_that_was_refused_stays_until_its_place_is_looked_at_again(tmp_path, predictor):
    first, second, out = (tmp_path / name for name in ("a", "b", "out"))
    write_nifti(first / "ct.nii", (HU > -500) * 1)
    predict_into(out, [first], predictor)
    write_nifti(second / "ct.nii")  # another scan of that name
    (row,) = predict_into(out, [second], predictor).rows
    assert row["scan"] == "b_ct"
    assert excluded(out)["input"].tolist() == ["ct"]
    predict_into(out, [tmp_path / "c"], predictor)
    (tmp_path / "d" / "c").mkdir(parents=True)
    predict_into(out, [tmp_path / "d" / "c"], predictor)
    assert excluded(out)["reason"].tolist()[1:] == ["it does not exist", "it is empty"]
    write_nifti(first / "ct.nii", HU[1:])
    (row,) = predict_into(out, [first], predictor).rows
    assert row["scan"] == "ct"
    assert excluded(out)["input"].tolist() == ["c", "c"]
    write_nifti(tmp_path / "c" / "one.nii")
    predict_into(out, [tmp_path / "c"], predictor)
    assert excluded(out)["reason"].tolist() == ["it is empty"]


def test_folders_that_were_mixed_up_and_set_right_have_the_scans_that_lie_there(
    tmp_path, predictor
):
    given, out = tmp_path / "w", tmp_path / "out"
    write_nifti(given / "P1" / "ct.nii")
    write_nifti(given / "P2" / "ct.nii", HU[1:])
    first = {row["scan"]: row for row in predict_into(out, [given], predictor).rows}
    assert list(first) == ["P1_ct", "P2_ct"]
    for old, new in (("P1", "t"), ("P2", "P1"), ("t", "P2")):
        (given / old).rename(given / new)
    (row,) = predict_into(out, [given / "P1"], predictor).rows
    assert row["identity"] == first["P2_ct"]["identity"]
    assert row["location"] == first["P1_ct"]["location"]
    assert row["slices"] == len(HU) - 1
    table = pd.read_csv(out / "predictions.csv", keep_default_na=False).set_index("scan")
    assert list(table.index) == ["P1_ct", "P2_ct", row["scan"]]
    assert f"has held another scan since, {row['scan']}" in table.loc["P1_ct", "reason"]
    assert "another scan since" not in table.loc["P2_ct", "reason"]
    second = predict_into(out, [given], predictor)
    assert second.kept == 1
    assert [one["slices"] for one in second.rows] == [len(HU) - 1, len(HU)]
    for old, new in (("P1", "t"), ("P2", "P1"), ("t", "P2")):  # as they were: not current, anew
        (given / old).rename(given / new)
    third = predict_into(out, [given], predictor)
    assert [one["scan"] for one in third.rows] == ["P1_ct", "P2_ct"]
    table = pd.read_csv(out / "predictions.csv", keep_default_na=False).set_index("scan")
    assert "has held another scan since, P1_ct" in table.loc[row["scan"], "reason"]
    assert "another scan since" not in table.loc["P1_ct", "reason"]


def test_a_copy_of_a_scan_in_another_folder_is_a_row_of_its_own_in_a_later_call_too(
    tmp_path, predictor
):
    for folder in ("a", "b"):
        write_nifti(tmp_path / folder / "ct.nii")
        predict_into(tmp_path / "out", [tmp_path / folder], predictor)
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert table["scan"].tolist() == ["ct", "b_ct"]
    assert table["identity"].nunique() == 1
    assert table["location"].nunique() == 2


def test_two_archives_of_one_name_are_refused_apart(tmp_path, predictor):
    out = tmp_path / "out"
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        with zipfile.ZipFile(tmp_path / folder / "ct.zip", "w") as archive:
            archive.write(write_nifti(tmp_path / "seg.nii", (HU > -500) * 1), "ct/seg.nii")
        predict_into(out, [tmp_path / folder / "ct.zip"], predictor)
    assert len(excluded(out)) == excluded(out)["location"].nunique() == 2
    predict_into(out, [tmp_path / "b" / "ct.zip"], predictor)
    assert len(excluded(out)) == 2


def test_intensities_are_declared_on_the_command_line(packed, tmp_path):
    path = write_nifti(tmp_path / "a.nii", HU + 2000)
    out = tmp_path / "out"
    refused = run(packed, path, "-o", out)
    assert refused.exit_code == 1
    assert "hold no air" in refused.stderr
    assert run(packed, path, "-o", out, "--offset", "-2000").exit_code == 0
    assert pd.read_csv(out / "predictions.csv")["scan"].tolist() == ["a"]
    record = pd.read_json(out / "records" / "a.json", typ="series")
    assert record["made"]["parameters"]["declared"] == {"offset": -2000}
    assert run(packed, path, "-o", out, "--window", "wide").exit_code == 1
    assert run(packed, path, "-o", out, "--window", "-1000,400", "--slope", "2").exit_code == 1


def test_a_tilted_gantry_and_slices_that_are_not_axial_are_said_in_the_row(tmp_path, predictor):
    sheared = LPS.copy()
    sheared[1, 2] = 0.9
    coronal = np.array([[0.7, 0, 0, 0], [0, 0, 5.0, 0], [0, 0.7, 0, 0], [0, 0, 0, 1.0]])
    given = tmp_path / "in"
    write_nifti(given / "a.nii", affine=sheared)
    write_nifti(given / "b.nii", affine=coronal)
    done = predict_into(tmp_path / "out", [given], predictor)
    reasons = {row["scan"]: row["reason"] for row in done.rows}
    assert "axes are not at right angles" in reasons["a"]
    assert "pixels are 5 × 0.7 mm, as of slices that are not axial" in reasons["b"]
    assert nibabel.load(tmp_path / "out" / "b_classes.nii.gz").shape == (5, 6, 4)


@pytest.mark.parametrize(("kind", "tilt"), [("NIfTI", 0.6), ("NIfTI", -1.1), ("DICOM", 0.6)])
def test_a_tilted_volume_is_resampled_to_right_angles_where_it_is_asked_for(
    tmp_path, predictor, kind, tilt
):
    """Of intensities that are linear in space, linear interpolation loses nothing."""
    shape, affine = (9, 12, 10), np.diag([-0.7, -0.8, 2.5, 1])  # slices, rows, columns
    affine[:3, 3], affine[1, 2] = (11, 20, -40), tilt
    index = np.stack(np.meshgrid(*map(np.arange, shape[::-1]), indexing="ij"), -1)
    right, front, head = np.moveaxis(index @ affine[:3, :3].T + affine[:3, 3], -1, 0)
    hu = (-800 + 20 * right + 10 * front + 5 * head).transpose(2, 1, 0).round(3)
    given = tmp_path / "in"
    if kind == "NIfTI":
        path = write_nifti(given / "a.nii", hu, affine)
    else:
        for number, path in enumerate(write_series(given / "a", hu)):
            data = pydicom.dcmread(path)
            data.ImagePositionPatient = [-11, -20 - tilt * number, -40 + 2.5 * number]
            data.save_as(path)
        path = given / "a"
    done = predict_into(tmp_path / "out", [path], predictor, resample=True)
    assert "was resampled" in done.rows[0]["reason"]
    ct = SimpleITK.ReadImage(str(tmp_path / "out" / "a_ct.nii.gz"))
    lesion = SimpleITK.ReadImage(str(tmp_path / "out" / "a_lesion.nii.gz"))
    assert lesion.GetSize() == ct.GetSize() == (10, 18 if tilt > 0 else 23, 9)
    np.testing.assert_allclose(ct.GetSpacing(), (0.7, 0.8, 2.5), rtol=1e-5)
    seen = SimpleITK.GetArrayFromImage(ct)
    assert (seen == -1024).sum() > 0
    inside = 0
    for at in np.ndindex(ct.GetSize()):
        left, back, up = ct.TransformIndexToPhysicalPoint(at)
        expected = -800 - 20 * left - 10 * back + 5 * up
        if (value := ct[at]) != -1024:
            inside += 1
            assert value == pytest.approx(expected, abs=1.2 if kind == "DICOM" else 0.01)
    assert inside > 0.4 * np.prod(ct.GetSize())


def test_no_name_is_a_formula_in_a_table(tmp_path, predictor):
    write_nifti(tmp_path / "in" / "=1+1.nii")
    write_series(tmp_path / "in" / "s", SeriesDescription="+ contrast")
    (tmp_path / "in" / "@notes").write_text("x")
    for _ in range(2):  # what was refused before is read from the table
        done = predict_into(tmp_path / "out", [tmp_path / "in", tmp_path / "-no"], predictor)
        table = pd.read_csv(tmp_path / "out" / "predictions.csv")
        assert table["scan"].tolist() == ["'=1+1", "s"]
        assert table["series_description"].tolist()[1] == "'+ contrast"
        left = excluded(tmp_path / "out")
        assert left["file"].tolist() == ["'@notes", ""]
        assert left["input"].tolist() == ["in", "'-no"]
    assert [row["scan"] for row in done.rows] == ["=1+1", "s"]


def test_an_output_that_is_a_file_is_said_to_be_one(packed, tmp_path):
    write_nifti(tmp_path / "a.nii")
    (tmp_path / "out").write_text("mine")
    result = run(packed, tmp_path / "a.nii", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "out is a file; expected a folder for the results (-o)" in result.output
    assert (tmp_path / "out").read_text() == "mine"


def test_contours_that_are_asked_for_and_cannot_be_are_said_in_the_row(tmp_path, predictor):
    write_nifti(tmp_path / "a.nii")
    (row,) = predict_into(tmp_path / "out", [tmp_path / "a.nii"], predictor, structures=True).rows
    assert "no RTSTRUCT: it is no DICOM series" in row["reason"]


def test_what_a_killed_call_left_half_written_is_removed_by_the_next(tmp_path, predictor):
    write_nifti(tmp_path / "a.nii")
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    names = {
        f".written.{platform.node()}.x1.{ended}.partial": False,
        f".written.{platform.node()}.x2.{os.getpid()}.partial": True,  # at work
        f".written.elsewhere.x3.{ended}.partial": True,  # a process of another machine
        f".mine.{ended}.partial": True,
        f".written_files.{ended}.partial.json": False,
    }
    for name in names:
        (tmp_path / "out" / name).mkdir(parents=True)
    predict_into(tmp_path / "out", [tmp_path / "a.nii"], predictor)
    assert {name: (tmp_path / "out" / name).exists() for name in names} == names


@pytest.mark.parametrize("where", [(prediction_plan, "made"), (predicted_files, "_draw")])
def test_two_calls_at_once_keep_their_scans_of_one_name(tmp_path, predictor, monkeypatch, where):
    """While one call plans or writes, another one predicts a scan of the same name."""
    paths = [write_nifti(tmp_path / name / "ct.nii", hu) for name, hu in (("a", HU), ("b", HU[1:]))]
    inner, original = [], getattr(*where)

    def interrupted(*arguments):
        if not inner:
            inner.append(None)
            inner.append(predict_into(tmp_path / "out", paths[1:], predictor))
        return original(*arguments)

    monkeypatch.setattr(*where, interrupted)
    done = predict_into(tmp_path / "out", paths[:1], predictor)
    assert (done.status, inner[1].status) == (0, 0)
    table = pd.read_csv(tmp_path / "out" / "predictions.csv").set_index("scan")
    assert table["slices"].to_dict() == {"ct": 3, "a_ct": 4}
    for name, slices in table["slices"].items():
        assert nibabel.load(tmp_path / "out" / f"{name}_lesion.nii.gz").shape[2] == slices
    assert [row["scan"] for row in done.rows] == ["a_ct"]


def test_files_of_two_processes_that_write_at_once_are_all_listed(tmp_path, monkeypatch):
    save, others = WrittenFiles._save, []

    def write(name):
        with WrittenFiles.of(tmp_path).replacing() as staged:
            (staged / name).write_text(name)

    def interrupted(self):
        if not others:
            others.append(Thread(target=write, args=["b"]))
            others[0].start()
            others[0].join(timeout=1)  # it waits for its turn
        save(self)

    monkeypatch.setattr(WrittenFiles, "_save", interrupted)
    write("a")
    others[0].join()
    assert WrittenFiles.of(tmp_path).hashes.keys() == {"a", "b"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "written_files.json"]
