"""A whole study or CD: which series are predicted, and what tells them apart; docs/inputs.md."""

import hashlib
import json
import shutil

import numpy as np
import pandas as pd
import pydicom
import pytest
from scan_files import HU, write_nifti, write_series
from typer.testing import CliRunner

from ssinfnet.cli import app
from ssinfnet.data.sources.volume_files import read_volume
from ssinfnet.scans import choose_series, find_scans
from ssinfnet.scans.predicted_files import predict_into

pytestmark = pytest.mark.usefixtures("inputs_stay")

CORONAL = [1, 0, 0, 0, 0, -1]
TALL = np.resize(HU, (10, 6, 5))  # 25 mm from the first slice to the last


def write_disc(folder):
    """Write two studies as on a CD: thick and thin slices, a reformat, and a few of a bolus."""
    kept = {"StudyInstanceUID": "1.2.1", "PatientID": "p1"}
    write_series(folder / "p1" / "s1", TALL, SeriesNumber=1, SeriesDescription="Lung 5.0 B70f",
                 SliceThickness=5, SeriesInstanceUID="1.2.1.1", **kept)  # fmt: skip
    write_series(folder / "p1" / "s2", TALL + 1, SeriesNumber=2, SeriesDescription="Soft 1.0 B30f",
                 SliceThickness=1, SeriesInstanceUID="1.2.1.2", **kept)  # fmt: skip
    cor = write_series(folder / "p1" / "s3", HU, SeriesNumber=3, SeriesDescription="Cor Lung",
                       ImageOrientationPatient=CORONAL, SliceThickness=0.5, **kept)  # fmt: skip
    for number, path in enumerate(cor):
        data = pydicom.dcmread(path)
        data.ImagePositionPatient = [-9, -4 + 2.5 * number, 30]
        data.save_as(path)
    write_series(folder / "p1" / "s4", HU[:1], SeriesNumber=4, SeriesDescription="Premonitoring",
                 SliceThickness=10, **kept)  # fmt: skip
    write_series(folder / "p2" / "s1", TALL, SeriesNumber=1, SeriesDescription=None,
                 StudyInstanceUID="1.2.2", SeriesInstanceUID="1.2.2.1", PatientID="p2")  # fmt: skip
    return folder


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ((), ["p1_s1", "s2", "s4", "p2_s1"]),
        (["*lung*"], ["p1_s1", "s3"]),
        (["SOFT*"], ["s2"]),
        (["1.2.1.2"], ["s2"]),
        (["thinnest"], ["s2", "p2_s1"]),
        (["thickest"], ["p1_s1", "p2_s1"]),
        (["1.2.2.1", "cor*"], ["s3", "p2_s1"]),
    ],
)
def test_series_of_a_study_are_chosen_by_description_uid_or_thickness(tmp_path, wanted, expected):
    write_disc(tmp_path / "cd")
    places, excluded = find_scans([tmp_path / "cd"])
    assert excluded == []
    kept, others = choose_series(places, wanted)
    assert [place.name for place in kept] == expected
    assert sorted([*expected, *(one.input for one in others)]) == [
        "p1_s1",
        "p2_s1",
        "s2",
        "s3",
        "s4",
    ]
    assert all(one.file.startswith("series ") for one in others)


def test_a_reformat_is_listed_where_an_axial_series_shows_the_same_chest(tmp_path):
    write_disc(tmp_path / "cd")
    _, (coronal,) = choose_series(find_scans([tmp_path / "cd"])[0])
    assert coronal.file == "series 3 (Cor Lung, 0.5 mm)"
    assert "is coronal, and its study has an axial series" in coronal.reason
    alone, others = choose_series(find_scans([tmp_path / "cd" / "p1" / "s3"])[0])
    assert ([place.series.plane for place in alone], others) == (["coronal"], [])


def test_a_name_that_no_series_has_is_refused_with_those_there_are(tmp_path, predictor):
    write_disc(tmp_path / "cd")
    for wanted in ("*liver*", "1.2.1", "thin"):
        with pytest.raises(ValueError, match=r"names no series.*Lung 5.0 B70f, 5 mm"):
            predict_into(tmp_path / "out", [tmp_path / "cd"], predictor, series=[wanted])
    write_nifti(tmp_path / "n" / "a.nii")
    with pytest.raises(ValueError, match="there are: none"):
        choose_series(find_scans([tmp_path / "n"])[0], ["thickest"])
    assert not (tmp_path / "out").exists()


def test_a_disc_is_predicted_with_a_row_a_series_and_json(packed, tmp_path):
    disc, out = write_disc(tmp_path / "cd"), tmp_path / "out"
    arguments = ["predict", str(disc), "--model", str(packed.model), "-o", str(out), "--device",
                 "cpu", "--series", "thickest", "--series", "cor*", "--json"]  # fmt: skip
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    table = pd.read_csv(out / "predictions.csv")
    assert table["scan"].tolist() == ["p1_s1", "s3", "p2_s1"]
    assert table["series_description"].fillna("").tolist() == ["Lung 5.0 B70f", "Cor Lung", ""]
    assert table["series_uid"].tolist()[::2] == ["1.2.1.1", "1.2.2.1"]
    assert table["study_uid"].tolist() == ["1.2.1", "1.2.1", "1.2.2"]
    assert said["status"] == 0
    assert [row["scan"] for row in said["scans"]] == table["scan"].tolist()
    assert [row["identity"] for row in said["scans"]] == table["identity"].tolist()
    for row in said["scans"]:
        assert f"{row['scan']}_lesion.nii.gz" in row["files"]
        assert all((out / name).is_file() for name in row["files"])
    assert {(one["input"], one["reason"]) for one in said["not_used"]} == {
        (name, "was not chosen by --series thickest, cor*") for name in ("s2", "s4")
    }
    assert sorted(pd.read_csv(out / "table_excluded.csv")["input"]) == ["s2", "s4"]
    by_default = CliRunner().invoke(app, [*arguments[:8], "--json"])
    assert by_default.exit_code == 3  # the reformat is beside


def test_a_scan_has_one_identity_whatever_it_is_called_and_lies_beside(tmp_path, predictor):
    path = write_nifti(tmp_path / "a" / "ct.nii")
    shutil.copy(path, tmp_path / "a" / "renamed.nii")
    series = write_series(tmp_path / "b" / "s", TALL)
    shutil.copytree(tmp_path / "b" / "s", tmp_path / "c" / "s")
    (tmp_path / "c" / "s" / "README").write_text("x")
    for number, slice_ in enumerate(sorted((tmp_path / "c" / "s").glob("*.dcm"))):
        slice_.rename(slice_.with_name(f"IM{number}"))
    given = [tmp_path / name for name in "abc"]
    rows = {row["scan"]: row for row in predict_into(tmp_path / "out", given, predictor).rows}
    its = hashlib.sha256(path.read_bytes()).hexdigest()
    assert rows["ct"]["identity"] == rows["renamed"]["identity"] == its
    hashes = sorted(hashlib.sha256(one.read_bytes()).hexdigest() for one in series)
    expected = hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    assert rows["b_s"]["identity"] == rows["c_s"]["identity"] == expected
    assert rows["ct"]["series_uid"] is None


def test_a_slice_with_a_dot_in_front_of_its_name_is_a_slice(tmp_path):
    write_series(tmp_path / "a")
    files = sorted((tmp_path / "a").iterdir())
    files[-1].rename(files[-1].with_name(f".{files[-1].name}"))
    (tmp_path / "a" / f"._{files[0].name}").write_bytes(b"a note of macOS")
    volume = read_volume(tmp_path / "a")
    assert len(volume.slices) == len(files)
    assert volume.left_out == ()


def test_a_series_in_a_folder_with_a_latin_1_name_is_read(tmp_path):
    folder = tmp_path / b"M\xfcller".decode(errors="surrogateescape")
    write_series(folder)
    write_series(tmp_path / "plain")
    np.testing.assert_array_equal(
        read_volume(folder).slices, read_volume(tmp_path / "plain").slices
    )
