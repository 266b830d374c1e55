"""What is seen goes back into the input's own geometry, is written whole, and is not made twice."""

import json

import highdicom
import nibabel
import numpy as np
import pandas as pd
import pydicom
import pytest
import SimpleITK
from PIL import Image
from scan_files import HU, LPS, write_nifti, write_pictures, write_series
from typer.testing import CliRunner

from ssinfnet.cli import app
from ssinfnet.data.sources import dicom_seg
from ssinfnet.data.sources.volume_files import read_volume
from ssinfnet.patients import phenotypes
from ssinfnet.scans import Place, burden, model_packing, predicted_files, read_scan
from ssinfnet.scans.predicted_files import predict_into
from ssinfnet.scans.prediction import Prediction, Predictor
from ssinfnet.storage import artifacts

pytestmark = pytest.mark.usefixtures("inputs_stay")

AFFINES = {
    "LPS": LPS,
    "flipped": np.diag([0.7, -0.8, -2.5, 1]),
    "sagittal": np.array([[0, 0, 2.0, -8], [0.7, 0, 0, 3], [0, -0.8, 0, 1], [0, 0, 0, 1]]),
    "oblique": np.array([[0.7, 0.1, 0, 5], [-0.1, 0.8, 0.2, 6], [0, -0.3, 2, 7], [0, 0, 0, 1.0]]),
}


def place_marks(monkeypatch, predictor):
    """Let the predictor see lesion where the scan itself is bright, so that places can be told."""

    def marked(self, scan):
        lesion = (scan.slices > -900).astype(np.float16) * np.float16(0.75)
        classes = (scan.slices > -900).astype(np.uint8) + (scan.slices > -500)
        return Prediction(scan, lesion, classes, lesion / 4, 0.5)

    monkeypatch.setattr(Predictor, "__call__", marked)
    return predictor


@pytest.mark.parametrize("name", AFFINES)
def test_maps_lie_where_the_volume_lies(tmp_path, monkeypatch, predictor, name):
    path = write_nifti(tmp_path / "a.nii.gz", affine=AFFINES[name])
    predict_into(tmp_path / "out", [path], place_marks(monkeypatch, predictor))
    given = nibabel.load(path)
    hu = np.asarray(given.dataobj)
    for part, expected in (
        ("lesion", np.where(hu > -900, np.float32(0.75), 0)),
        ("classes", (hu > -900).astype(int) + (hu > -500)),
        ("uncertainty", np.where(hu > -900, np.float32(0.1875), 0)),
    ):
        stored = nibabel.load(tmp_path / "out" / f"a_{part}.nii.gz")
        assert stored.get_data_dtype() == (np.uint8 if part == "classes" else np.float32)
        np.testing.assert_array_equal(np.asarray(stored.dataobj), expected)
        np.testing.assert_array_equal(stored.affine, given.affine)
        for key in ("dim", "pixdim", "qform_code", "sform_code", "xyzt_units", "quatern_b"):
            np.testing.assert_array_equal(stored.header[key], given.header[key])


def test_maps_of_a_series_lie_where_simpleitk_sees_the_series(tmp_path, monkeypatch, predictor):
    write_series(tmp_path / "s")
    predict_into(tmp_path / "out", [tmp_path / "s"], place_marks(monkeypatch, predictor))
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "s"))
    series = SimpleITK.ReadImage(names)
    classes = SimpleITK.ReadImage(str(tmp_path / "out" / "s_classes.nii.gz"))
    for index in np.ndindex(5, 6, 4):
        point = series.TransformIndexToPhysicalPoint(index)
        there = classes.TransformPhysicalPointToIndex(point)
        hu = series[index]
        assert classes[there] == (hu > -900) + (hu > -500)


def test_dicom_seg_refers_to_the_series_and_holds_its_pixels(tmp_path, monkeypatch, predictor):
    paths = write_series(tmp_path / "s")
    predict_into(tmp_path / "out", [tmp_path / "s"], place_marks(monkeypatch, predictor))
    stored = highdicom.seg.segread(tmp_path / "out" / "s_seg.dcm")
    headers = [pydicom.dcmread(path) for path in paths]
    assert stored.FrameOfReferenceUID == headers[0].FrameOfReferenceUID
    assert stored.StudyInstanceUID == headers[0].StudyInstanceUID
    assert (stored.PatientID, stored.Modality) == ("pseudonym", "SEG")
    labels = [stored.get_segment_description(number).segment_label for number in (1, 2)]
    assert labels == ["Ground-glass opacity", "Consolidation"]
    kinds = [
        segment.SegmentedPropertyTypeCodeSequence[0].CodeValue for segment in stored.SegmentSequence
    ]
    assert kinds == ["112120", "112001"]
    assert [s.SegmentAlgorithmType for s in stored.SegmentSequence] == ["AUTOMATIC"] * 2
    assert "research only" in stored.SeriesDescription
    uids = [header.SOPInstanceUID for header in headers]
    pixels = stored.get_pixels_by_source_instance(uids)  # slices, rows, columns, segments
    np.testing.assert_array_equal(pixels[..., 0], (HU > -900) & (HU <= -500))
    np.testing.assert_array_equal(pixels[..., 1], HU > -500)


def test_dicom_seg_of_a_scan_without_lesion_is_empty_and_readable(tmp_path):
    paths = write_series(tmp_path / "s")
    volume = read_volume(tmp_path / "s")
    nothing = np.zeros(volume.slices.shape, bool)
    masks = {"ggo": nothing, "consolidation": nothing}
    path = dicom_seg.write_segmentation(tmp_path / "a.dcm", masks, volume, "m", "1")
    uids = [pydicom.dcmread(one).SOPInstanceUID for one in paths]
    stored = highdicom.seg.segread(path)
    assert not stored.get_pixels_by_source_instance(uids, ignore_spatial_locations=True).any()


def test_the_same_masks_of_a_series_are_the_same_dicom_instance(tmp_path):
    write_series(tmp_path / "s")
    volume = read_volume(tmp_path / "s")
    lesion = volume.slices > -900

    def identities(mask):
        path = dicom_seg.write_segmentation(tmp_path / "a.dcm", {"lesion": mask}, volume, "m", "1")
        stored = pydicom.dcmread(path)
        segment = stored.SegmentSequence[0]
        return [stored.SeriesInstanceUID, stored.SOPInstanceUID, segment.TrackingUID]

    first = identities(lesion)
    assert identities(lesion) == first
    assert len({*first, *identities(~lesion)}) == 6


def test_a_series_that_dicom_seg_cannot_refer_to_says_so(tmp_path, predictor):
    write_series(tmp_path / "s", FrameOfReferenceUID=None)
    done = predict_into(tmp_path / "out", [tmp_path / "s"], predictor)
    assert not (tmp_path / "out" / "s_seg.dcm").exists()
    assert "no DICOM-SEG: its headers lack FrameOfReferenceUID" in done.rows[0]["reason"]
    assert (tmp_path / "out" / "s_classes.nii.gz").is_file()


def test_without_highdicom_the_row_says_what_to_install(tmp_path, predictor, monkeypatch):
    monkeypatch.setattr(dicom_seg, "available", lambda: False)
    write_series(tmp_path / "s")
    done = predict_into(tmp_path / "out", [tmp_path / "s"], predictor)
    assert "pip install 'ssinfnet[dicom]'" in done.rows[0]["reason"]


def test_masks_of_pictures_have_their_names_and_pixels(tmp_path, predictor):
    write_pictures(tmp_path / "d", size=(64, 48))
    predict_into(tmp_path / "out", [tmp_path / "d"], predictor)
    found = predictor(read_scan(Place("d", tmp_path / "d")))
    for index, name in enumerate(["slice2_png", "slice10_jpg", "slice11_png"]):
        mask = np.asarray(Image.open(tmp_path / "out" / "d_classes" / f"{name}.png"))
        np.testing.assert_array_equal(mask, found.classes[index])
        with Image.open(tmp_path / "out" / "d_lesion" / f"{name}.png") as picture:
            assert (picture.mode, picture.size) == ("I;16", (48, 64))
            np.testing.assert_allclose(np.asarray(picture) / 65535, found.lesion[index], atol=1e-5)
    record = artifacts.read_json(tmp_path / "out" / "records" / "d.json")
    assert record["pictures"] == {
        name: f"{name.replace('.', '_')}.png"
        for name in ("slice2.png", "slice10.jpg", "slice11.png")
    }


def test_a_model_of_one_stage_writes_its_lesion(packed, tmp_path):
    folder = model_packing.pack(
        packed.study, tmp_path / "m", paths=packed.paths, single_model="sinfnet", multi_model="none"
    )
    path = write_nifti(tmp_path / "a.nii")
    write_series(tmp_path / "s")
    predictor = Predictor.of(folder, device="cpu", threshold=0.01)
    predict_into(tmp_path / "out", [path, tmp_path / "s"], predictor)
    mask = np.asarray(nibabel.load(tmp_path / "out" / "a_mask.nii.gz").dataobj)
    chance = np.asarray(nibabel.load(tmp_path / "out" / "a_lesion.nii.gz").dataobj)
    np.testing.assert_array_equal(mask == 1, chance >= np.float32(np.float16(0.01)))
    assert not (tmp_path / "out" / "a_classes.nii.gz").exists()
    seg = highdicom.seg.segread(tmp_path / "out" / "s_seg.dcm")
    assert seg.get_segment_description(1).segment_label == "Lesion"


@pytest.fixture
def inputs(tmp_path):
    write_pictures(tmp_path / "d")
    (tmp_path / "bad.nii.gz").write_bytes(b"\x1f\x8bno")
    return [write_nifti(tmp_path / "a.nii"), tmp_path / "d", tmp_path / "bad.nii.gz"]


def test_the_tables_have_a_row_a_scan_and_a_reason_for_the_rest(tmp_path, inputs, predictor):
    (tmp_path / "d" / "readme.txt").write_text("x")
    done = predict_into(tmp_path / "out", inputs, predictor, phenotypes=True)
    table = pd.read_csv(tmp_path / "out" / predicted_files.PREDICTIONS)
    assert table["scan"].tolist() == ["a", "d"]
    assert table["slices"].tolist() == [4, 3]
    probability = np.asarray(nibabel.load(tmp_path / "out" / "a_lesion.nii.gz").dataobj)
    lesion = probability >= np.float16(predictor.threshold)  # of a scan that shows no lungs
    assert table["lesion_outside_ml"][0] == pytest.approx(lesion.sum() * 0.7 * 0.8 * 2.5 / 1000)
    assert table["lesion_ml"].isna().all()
    excluded = pd.read_csv(tmp_path / "out" / predicted_files.EXCLUDED, keep_default_na=False)
    assert excluded["input"].tolist() == ["d", "bad"]
    assert excluded["file"].tolist() == ["readme.txt", ""]
    assert "bad.nii.gz is truncated or no NIfTI file" in excluded["reason"][1]
    assert str(tmp_path) not in excluded.to_csv()
    measured = pd.read_csv(tmp_path / "out" / predicted_files.PHENOTYPES)
    assert measured.columns.tolist() == ["scan", *phenotypes.columns(phenotypes.CLASSES)]
    assert len(done.refused) == 1


def test_the_manifest_names_model_inputs_and_outputs_by_their_bytes(tmp_path, inputs, predictor):
    predict_into(tmp_path / "out", inputs, predictor)
    manifest = json.loads((tmp_path / "out" / predicted_files.MANIFEST).read_text())
    assert manifest["inputs"]["a"] == {"a.nii": artifacts.sha256(inputs[0])}
    assert manifest["model"]["sha256"] == artifacts.sha256(predictor.model.folder / "model.json")
    for files in manifest["outputs"].values():
        for name, expected in files.items():
            assert artifacts.sha256(tmp_path / "out" / name) == expected
    assert manifest["parameters"]["threshold"] == 0.5
    assert "torch" in manifest["versions"]
    assert str(tmp_path) not in json.dumps(manifest)


def counted(monkeypatch):
    """Count the scans that are predicted."""
    names = []
    original = Predictor.__call__

    def watched(self, scan):
        names.append(scan.name)
        return original(self, scan)

    monkeypatch.setattr(Predictor, "__call__", watched)
    return names


def test_a_scan_whose_files_are_current_is_not_predicted_again(
    tmp_path, inputs, predictor, monkeypatch
):
    out = tmp_path / "out"
    predict_into(out, inputs, predictor)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    names = counted(monkeypatch)
    done = predict_into(out, inputs, predictor)
    assert (names, done.kept) == ([], 2)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_what_is_not_whole_or_has_other_settings_is_predicted_again(
    packed, tmp_path, inputs, monkeypatch
):
    out, predictor = tmp_path / "out", Predictor.of(packed.model, device="cpu")
    predict_into(out, inputs, predictor)
    names = counted(monkeypatch)
    (out / "a_classes.nii.gz").unlink()
    predict_into(out, inputs, predictor)
    assert names.pop() == "a"
    (out / "records" / "d.json").unlink()
    predict_into(out, inputs, predictor)
    assert names.pop() == "d"
    predict_into(out, inputs, Predictor.of(packed.model, device="cpu", threshold=0.4))
    assert names == ["a", "d"]


def test_a_scan_that_an_earlier_version_measured_otherwise_is_predicted_again(
    tmp_path, inputs, predictor, monkeypatch
):
    out, names = tmp_path / "out", counted(monkeypatch)
    with monkeypatch.context() as patched:
        patched.setattr(burden, "COLUMNS", burden.COLUMNS[:-1])
        predict_into(out, inputs, predictor)
    done = predict_into(out, inputs, predictor)
    assert (names, done.kept) == (["a", "d"] * 2, 0)


def test_a_run_killed_between_two_files_leaves_whole_scans_and_goes_on(
    tmp_path, inputs, predictor, monkeypatch
):
    out = tmp_path / "out"

    def dies(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(predicted_files, "_draw", dies)
        with pytest.raises(KeyboardInterrupt):
            predict_into(out, inputs, predictor)
    assert list(out.rglob("*")) == []
    assert len(predict_into(out, inputs, predictor).rows) == 2


def test_files_of_another_setting_do_not_stay(packed, tmp_path, inputs):
    out = tmp_path / "out"
    predict_into(out, inputs, Predictor.of(packed.model, device="cpu", flips=True))
    assert (out / "a_uncertainty.nii.gz").is_file()
    assert len(list((out / "d_uncertainty").iterdir())) == 3
    predict_into(out, inputs, Predictor.of(packed.model, device="cpu"))
    assert not (out / "a_uncertainty.nii.gz").exists()
    assert not list((out / "d_uncertainty").iterdir())


def test_the_preview_is_drawn_at_a_readable_size(tmp_path, inputs, predictor):
    predict_into(tmp_path / "out", inputs, predictor)
    with Image.open(tmp_path / "out" / "a_preview.png") as picture:
        assert picture.width > 800
        assert picture.height > 500


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_line_predicts_and_tells_what_it_could_not_use(packed, tmp_path, inputs):
    result = run("predict", *inputs, "--model", packed.model, "-o", tmp_path / "out",
                 "--device", "cpu", "--batch-size", 2, "--flips", "--phenotypes")  # fmt: skip
    assert result.exit_code == 1
    assert "2 scan(s)" in result.stdout
    lines = result.stdout.splitlines()
    assert [line[:3] for line in lines[:2]] == ["a: ", "d: "]
    assert lines[2].startswith("undertrained: ")
    assert "not used: bad: bad.nii.gz is truncated" in result.stderr
    good = run("predict", *inputs[:2], "--model", packed.model, "-o", tmp_path / "out",
               "--device", "cpu", "--flips", "--phenotypes")  # fmt: skip
    assert good.exit_code == 0
    assert "2 of them current already" in good.stdout


def test_the_command_line_takes_the_keys_of_a_studys_texture(packed, tmp_path):
    scans = [write_nifti(tmp_path / "a.nii"), write_pictures(tmp_path / "d")[0].parent]
    keys = tmp_path / "texture.yaml"
    keys.write_text("{intensities: hu, lower_bound: -1000, bin_width: 50, families: [glrlm]}\n")
    command = ("predict", *scans, "--model", packed.model, "-o", tmp_path / "out",
               "--device", "cpu", "--texture", keys)  # fmt: skip
    assert run(*command).exit_code == 0
    measured = pd.read_csv(tmp_path / "out" / predicted_files.PHENOTYPES)
    assert measured["scan"].tolist() == ["a"]
    assert "lesion_glrlm_runpercentage" in measured
    rows = pd.read_csv(tmp_path / "out" / predicted_files.PREDICTIONS).set_index("scan")
    assert "phenotypes: d has grey values, no HU" in rows.loc["d", "reason"]
    assert "2 of them current already" in run(*command).stdout
    keys.write_text("{bin_width: 50}\n")
    assert "current" not in run(*command).stdout
    keys.write_text("{bin_widht: 50}\n")
    assert "bin_widht: unknown key" in run(*command).stderr


def test_the_command_line_refuses_in_one_line(packed, tmp_path, inputs):
    result = run("predict", *inputs, "--model", tmp_path, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "is no model" in result.stderr
    result = run(
        "predict", *inputs, "--model", packed.model, "-o", tmp_path / "out", "--device", "gpu0"
    )
    assert "no device 'gpu0'" in result.stderr


def test_the_command_line_packs_and_verifies(packed, tmp_path, monkeypatch):
    (tmp_path / "smoke.yaml").write_text(packed.study.model_dump_json())
    monkeypatch.setattr("ssinfnet.study.paths.StudyPaths.of", lambda name: packed.paths)
    result = run("model", "pack", tmp_path / "smoke.yaml", "-o", tmp_path / "m", "--seeds", "1")
    assert result.exit_code == 0, result.stderr
    assert "4 files verified" in result.stdout
    assert run("model", "verify", tmp_path / "m").exit_code == 0
    (tmp_path / "m" / "MODEL_CARD.md").write_text("clinically proven")
    result = run("model", "verify", tmp_path / "m")
    assert result.exit_code == 1
    assert "SHA-256 differs" in result.stderr
    result = run("model", "pack", "smoke", "-o", tmp_path / "n", "--folds", "one")
    assert "expected whole numbers" in result.stderr
