"""Results go into any folder, and whatever was there before stays: files, scans, rows."""

import nibabel
import numpy as np
import pandas as pd
import pytest
from scan_files import HU, write_nifti, write_pictures, write_series
from typer.testing import CliRunner

from ssinfnet.cli import app
from ssinfnet.scans import Place, find_scans, predicted_files, read_scan
from ssinfnet.scans.predicted_files import predict_into
from ssinfnet.scans.prediction import Predictor
from ssinfnet.scans.prediction_plan import PHENOTYPES, PREDICTIONS, record_name
from ssinfnet.storage import artifacts, written_files

pytestmark = pytest.mark.usefixtures("inputs_stay")


@pytest.fixture
def unused(monkeypatch):
    """Fail if a network is asked."""

    def refuse(self, scan):
        raise AssertionError(f"{scan.name} was predicted")

    monkeypatch.setattr(Predictor, "__call__", refuse)


def tree(folder):
    """The bytes of every file below a folder, by name."""
    return {
        path.relative_to(folder).as_posix(): artifacts.sha256(path)
        for path in folder.rglob("*")
        if path.is_file()
    }


def scans_in(folder):
    return pd.read_csv(folder / PREDICTIONS)["scan"].tolist()


def test_the_mask_of_a_user_beside_the_scan_survives_and_the_command_says_why(
    packed, tmp_path, unused
):
    write_nifti(tmp_path / "a" / "ct.nii.gz")
    write_nifti(tmp_path / "a" / "ct_mask.nii.gz")
    write_nifti(tmp_path / "a" / "ct_lesion.nii.gz")
    before = tree(tmp_path)
    result = CliRunner().invoke(
        app, ["predict", str(tmp_path / "a" / "ct.nii.gz"), "--model", str(packed.model),
              "-o", str(tmp_path / "a"), "--device", "cpu"],
    )  # fmt: skip
    assert result.exit_code == 1
    assert "holds ct_lesion.nii.gz, which ssinfnet did not write" in result.stderr
    assert "Give another folder" in result.stderr
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "name",
    ["ct_lesion.nii.gz", "ct_classes.nii.gz", "ct_uncertainty.nii.gz", "ct_preview.png",
     "records/ct.json", PREDICTIONS, PHENOTYPES, "table_excluded.csv", "manifest.json",
     "written_files.json", "records"],
)  # fmt: skip
def test_no_file_that_is_not_ours_is_replaced(packed, tmp_path, unused, name):
    path = write_nifti(tmp_path / "ct.nii.gz")
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    before = tree(tmp_path)
    flipping = Predictor.of(packed.model, device="cpu", flips=True)
    with pytest.raises((FileExistsError, ValueError), match=name.split("/")[0]):
        predict_into(tmp_path, [path], flipping, phenotypes=True)
    assert tree(tmp_path) == before


def test_a_link_in_the_place_of_a_result_is_not_replaced(tmp_path, predictor, unused):
    path = write_nifti(tmp_path / "ct.nii.gz")
    (tmp_path / "ct_lesion.nii.gz").symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match="ct_lesion"):
        predict_into(tmp_path, [path], predictor)
    assert (tmp_path / "ct_lesion.nii.gz").is_symlink()


def test_a_folder_that_takes_no_files_is_refused_before_any_work(tmp_path, predictor, monkeypatch):
    asked = []
    monkeypatch.setattr(Predictor, "__call__", lambda self, scan: asked.append(scan.name))
    (tmp_path / "notes").write_text("mine")
    path = write_nifti(tmp_path / "ct.nii.gz")
    with pytest.raises(OSError, match=r"out takes no files \(Not a directory\); give another"):
        predict_into(tmp_path / "notes" / "out", [path], predictor)
    assert asked == []


def test_masks_of_pictures_and_dicom_seg_of_others_are_not_replaced(tmp_path, predictor, unused):
    write_pictures(tmp_path / "d")
    (tmp_path / "d_classes").mkdir()
    (tmp_path / "d_classes" / "slice10_jpg.png").write_text("mine")
    write_series(tmp_path / "s")
    (tmp_path / "s_seg.dcm").write_text("mine")
    before = tree(tmp_path)
    for name, message in (("d", "d_classes/slice10_jpg.png"), ("s", r"s_seg\.dcm")):
        with pytest.raises(FileExistsError, match=message):
            predict_into(tmp_path, [tmp_path / name], predictor)
    assert tree(tmp_path) == before


def test_files_that_no_result_needs_are_nobodys_business(tmp_path, predictor):
    path = write_nifti(tmp_path / "a" / "ct.nii.gz")
    for name in ("ct_mask.nii.gz", "ct_seg.dcm", "ct_uncertainty.nii.gz", PHENOTYPES):
        (tmp_path / "a" / name).write_text("mine")
    before = tree(tmp_path)
    assert len(predict_into(tmp_path / "a", [path], predictor).rows) == 1
    assert before.items() <= tree(tmp_path).items()


def test_a_result_that_was_edited_is_neither_replaced_nor_removed(
    packed, tmp_path, predictor, monkeypatch
):
    path, out = write_nifti(tmp_path / "a.nii"), tmp_path / "out"
    flipping = Predictor.of(packed.model, device="cpu", flips=True)
    predict_into(out, [path], flipping)
    (out / "a_uncertainty.nii.gz").write_bytes(b"corrected by hand")
    before = tree(tmp_path)
    with pytest.raises(FileExistsError, match=r"a_uncertainty\.nii\.gz.*was changed since"):
        predict_into(out, [path], flipping)
    with pytest.raises(FileExistsError, match=r"a_uncertainty\.nii\.gz.*removed"):
        predict_into(out, [path], predictor)
    assert tree(tmp_path) == before


def test_a_file_that_appears_during_the_work_is_not_replaced(tmp_path, predictor, monkeypatch):
    path = write_nifti(tmp_path / "a.nii")
    original = Predictor.__call__

    def slow(self, scan):
        (tmp_path / "a_lesion.nii.gz").write_text("mine")
        return original(self, scan)

    monkeypatch.setattr(Predictor, "__call__", slow)
    with pytest.raises(FileExistsError, match=r"a_lesion\.nii\.gz"):
        predict_into(tmp_path, [path], predictor)
    assert sorted(tree(tmp_path)) == ["a.nii", "a_lesion.nii.gz"]
    assert (tmp_path / "a_lesion.nii.gz").read_text() == "mine"


@pytest.mark.parametrize("write", [write_series, write_pictures, None])
def test_results_within_the_input_are_no_input(tmp_path, predictor, write):
    """Series, pictures and a volume, each with the results beside its slices, asked for twice."""
    folder = tmp_path / "d"
    if write is None:
        write_nifti(folder / "ct.nii.gz")
    else:
        write(folder)
    before = tree(folder)
    first = predict_into(folder, [folder], predictor)
    written = tree(folder)
    assert before.items() <= written.items()
    second = predict_into(folder, [folder], predictor)
    assert (len(first.rows), len(second.rows), second.kept) == (1, 1, 1)
    assert second.excluded == []
    assert tree(folder) == written


def test_a_folder_of_results_below_the_input_is_no_input(tmp_path, predictor):
    for patient in ("p1", "p2"):
        write_nifti(tmp_path / patient / f"{patient}.nii.gz")
    write_pictures(tmp_path / "p3")
    for out in (tmp_path / "out", tmp_path / "out", tmp_path / "other"):
        predict_into(out, [tmp_path], predictor)
        assert scans_in(out) == ["p1", "p2", "p3"]


def test_a_result_named_as_input_is_refused_and_a_copy_elsewhere_is_not(tmp_path, predictor):
    out = tmp_path / "out"
    predict_into(out, [write_nifti(tmp_path / "a.nii")], predictor)
    places, excluded = find_scans([out / "a_lesion.nii.gz", out, out / "records"])
    assert places == []
    assert {one.reason for one in excluded} == {"it is a result of ssinfnet, no scan"}
    (tmp_path / "b.nii.gz").write_bytes((out / "a_lesion.nii.gz").read_bytes())
    assert len(find_scans([tmp_path / "b.nii.gz"])[0]) == 1


def test_somebodys_file_of_the_records_name_hides_no_scan(tmp_path):
    write_pictures(tmp_path / "d")
    (tmp_path / "d" / "written_files.json").write_text("[1]")
    assert [place.name for place in find_scans([tmp_path / "d"])[0]] == ["d"]
    assert len(read_scan(Place("d", tmp_path / "d"))) == 3


def test_a_second_patient_of_the_same_name_gets_a_name_of_its_own(tmp_path, predictor):
    out = tmp_path / "out"
    first = write_nifti(tmp_path / "p1" / "ct.nii.gz")
    second = write_nifti(tmp_path / "p2" / "ct.nii.gz", HU + 1)
    predict_into(out, [first], predictor)
    before = tree(out)
    done = predict_into(out, [second], predictor)
    assert [row["scan"] for row in done.rows] == ["p2_ct"]
    assert "beside 1 of earlier calls" in done.text(out)
    assert scans_in(out) == ["ct", "p2_ct"]
    after = tree(out)
    kept = {name for name in before if name.startswith("ct_")} | {record_name("ct")}
    assert len(kept) == 4
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    manifest = artifacts.read_json(out / "manifest.json")
    assert manifest["inputs"]["ct"] == {"ct.nii.gz": artifacts.sha256(first)}
    assert manifest["inputs"]["p2_ct"] == {"ct.nii.gz": artifacts.sha256(second)}
    for path in (first, second):  # each is known again under its own name, whatever the order
        assert predict_into(out, [path], predictor).kept == 1
    assert predict_into(out, [second, first], predictor).kept == 2
    assert sorted(tree(out)) == sorted(after)


def test_a_third_call_keeps_rows_refusals_and_phenotypes_of_the_others(tmp_path, predictor):
    out = tmp_path / "out"
    (tmp_path / "bad.nii.gz").write_bytes(b"\x1f\x8bno")
    write_pictures(tmp_path / "d")
    (tmp_path / "d" / "notes.txt").write_text("x")
    predict_into(out, [tmp_path / "d", tmp_path / "bad.nii.gz"], predictor, phenotypes=True)
    predict_into(out, [write_nifti(tmp_path / "a.nii")], predictor)
    assert scans_in(out) == ["d", "a"]
    excluded = pd.read_csv(out / "table_excluded.csv", keep_default_na=False)
    assert excluded[["input", "file"]].to_numpy().tolist() == [["d", "notes.txt"], ["bad", ""]]
    assert pd.read_csv(out / PHENOTYPES)["scan"].tolist() == ["d"]
    settings = artifacts.read_json(out / "manifest.json")["settings"]
    assert [settings[name]["phenotypes"] for name in ("a", "d")] == [False, True]
    write_nifti(tmp_path / "bad.nii.gz")  # mended, it has a row and is refused no longer
    predict_into(out, [tmp_path / "bad.nii.gz"], predictor)
    assert scans_in(out) == ["a", "d", "bad"]
    excluded = pd.read_csv(out / "table_excluded.csv", keep_default_na=False)
    assert excluded["input"].tolist() == ["d"]


def test_phenotypes_that_no_scan_has_any_more_go_with_their_table(tmp_path, predictor):
    path, out = write_nifti(tmp_path / "a.nii"), tmp_path / "out"
    predict_into(out, [path], predictor, phenotypes=True)
    predict_into(out, [path], predictor)
    assert not (out / PHENOTYPES).exists()
    assert PHENOTYPES not in written_files.WrittenFiles.of(out).hashes


def test_a_scan_that_changed_is_another_scan(tmp_path, predictor):
    path, out = write_nifti(tmp_path / "p" / "a.nii"), tmp_path / "out"
    predict_into(out, [path], predictor)
    write_nifti(path, HU + 1)
    predict_into(out, [path], predictor)
    assert scans_in(out) == ["a", "p_a"]


def test_a_scan_that_changes_before_it_is_read_is_listed(
    tmp_path, predictor, monkeypatch, inputs_stay
):
    path = write_nifti(tmp_path / "a.nii")
    inputs_stay.add(path)
    original = predicted_files.read_scan

    def late(place, *rest, **more):
        write_nifti(path, HU + 1)
        return original(place, *rest, **more)

    monkeypatch.setattr(predicted_files, "read_scan", late)
    (refused,) = predict_into(tmp_path / "out", [path], predictor).refused
    assert "changed since this call began" in refused.reason


def test_a_run_killed_while_files_are_put_in_place_goes_on(tmp_path, predictor, monkeypatch):
    """The record lists old and new beforehand, so what the killed run has put there is ours."""
    path, out = write_nifti(tmp_path / "a.nii"), tmp_path / "out"
    predict_into(out, [path], predictor)
    flipping = Predictor.of(predictor.model, device="cpu", flips=True)
    renamed = type(path).replace

    def dies(self, target):
        if target == out / "a_preview.png":
            raise KeyboardInterrupt
        return renamed(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(type(path), "replace", dies)
        with pytest.raises(KeyboardInterrupt):
            predict_into(out, [path], flipping)
    done = predict_into(out, [path], flipping)
    assert (len(done.rows), done.kept) == (1, 0)
    assert np.asarray(nibabel.load(out / "a_uncertainty.nii.gz").dataobj).shape == (5, 6, 4)
    assert predict_into(out, [path], flipping).kept == 1
