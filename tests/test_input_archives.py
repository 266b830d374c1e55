"""ZIP archives as inputs; see docs/inputs.md."""

import gzip
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scan_files import HU, write_nifti, write_series

from ssinfnet.scans import find_scans, read_scan
from ssinfnet.scans.predicted_files import predict_into

pytestmark = pytest.mark.usefixtures("inputs_stay")


def packed(folder, target):
    """Pack a folder's files, and remove it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder).as_posix())
    shutil.rmtree(folder)
    return target


def found(given, tmp_path):
    unpacked = tmp_path / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir()
    return find_scans(given, unpacked)


def test_an_archive_is_looked_through_like_a_folder(tmp_path):
    write_series(tmp_path / "x" / "DICOM" / "s1")
    write_series(tmp_path / "x" / "DICOM" / "s2", HU + 5)
    write_nifti(tmp_path / "x" / "ct.nii.gz", HU + 7)
    (tmp_path / "x" / "README").write_text("x")
    archive = packed(tmp_path / "x", tmp_path / "in" / "p1.ZIP")
    for given in (archive, archive.parent):
        places, excluded = found([given], tmp_path)
        assert [place.name for place in places] == ["ct", "s1", "s2"]
        scans = [read_scan(place) for place in places]
        for scan, more in zip(scans, (7, 0, 5), strict=True):
            np.testing.assert_array_equal(scan.slices, HU + more)
        assert [one[:3] for one in excluded] == [("p1.ZIP", "README", "is no image")]


def test_backslashes_between_folders_are_slashes(tmp_path):
    content = write_nifti(tmp_path / "ct.nii").read_bytes()
    archive = tmp_path / "p1.zip"
    holds(archive, "DICOM\\s1\\ct.nii", content)
    (place,), excluded = found([archive], tmp_path)
    assert (place.name, excluded) == ("ct", [])
    assert place.path.parent.name == "s1"


def test_scans_of_flat_archives_have_the_archives_names(tmp_path, predictor):
    for name in ("p1", "p2"):
        packed(write_series(tmp_path / name)[0].parent, tmp_path / "in" / f"{name}.zip")
    (tmp_path / "in" / "report.docx").write_bytes(b"PK\3\4")
    done = predict_into(tmp_path / "out", [tmp_path / "in"], predictor)
    assert [row["scan"] for row in done.rows] == ["p1", "p2"]
    assert [one[:3] for one in done.excluded] == [("in", "report.docx", "is no image")]
    assert predict_into(tmp_path / "out", [tmp_path / "in"], predictor).kept == 2
    assert not [path for path in Path(tmp_path / "out").rglob("*") if path.suffix == ".zip"]


def holds(target, name, content=b"x", **facts):
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        member = zipfile.ZipInfo(name)
        for fact, value in facts.items():
            setattr(member, fact, value)
        archive.writestr(member, content)


def encrypts(target):
    """Say of a member that it is encrypted, in its own header and in the directory."""
    holds(target, "a.nii")
    content = bytearray(target.read_bytes())
    for mark, at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + at] |= 1
    target.write_bytes(content)


def claims(target):
    """Say in the directory of an archive that a member unpacks to 4 GB less a byte."""
    holds(target, "a.nii", bytes(1000))
    content = bytearray(target.read_bytes())
    at = content.index(b"PK\1\2") + 24
    content[at : at + 4] = b"\xff\xff\xff\xfe"
    target.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: path.write_bytes(b"PK\3\4"), "is no whole ZIP"),
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "is no whole ZIP"),
        (lambda path: holds(path, "../a.nii"), "a link or a place outside it"),
        (lambda path: holds(path, "/a.nii"), "a link or a place outside it"),
        (lambda path: holds(path, "a.nii", external_attr=0o120777 << 16), "a link or a place"),
        (lambda path: holds(path, "..\\a.nii"), "a link or a place outside it"),
        (lambda path: holds(path, "C:\\a.nii"), "a link or a place outside it"),
        (encrypts, "is encrypted; unpack it with its password first"),
        (claims, "would unpack to 1 files of 4278190079 bytes"),
        (lambda path: holds(path, "notes.txt"), "is an archive that holds no scan"),
    ],
)
def test_a_broken_or_unsafe_archive_is_refused_and_leaves_nothing(tmp_path, spoil, reason):
    write_nifti(tmp_path / "x" / "ct.nii")
    archive = packed(tmp_path / "x", tmp_path / "in" / "p1.zip")
    write_nifti(tmp_path / "in" / "good.nii")
    spoil(archive)
    places, excluded = found([tmp_path / "in"], tmp_path)
    assert [place.name for place in places] == ["good"]
    whole = [one for one in excluded if not one.file]
    assert [one.input for one in whole] == ["p1.zip"]
    assert reason in whole[0].reason
    assert str(tmp_path) not in whole[0].reason
    assert not list(tmp_path.parent.glob("a.nii"))
    assert not list(tmp_path.rglob("a.nii"))


def test_an_archive_in_an_archive_is_listed(tmp_path):
    write_nifti(tmp_path / "x" / "ct.nii")
    packed(tmp_path / "x", tmp_path / "y" / "inner.zip")
    write_nifti(tmp_path / "y" / "ct.nii")
    archive = packed(tmp_path / "y", tmp_path / "in" / "p1.zip")
    places, excluded = found([archive], tmp_path)
    assert [place.name for place in places] == ["ct"]
    assert [one[:3] for one in excluded] == [
        ("p1.zip", "inner.zip", "is an archive; unpack it first"),
        ("p1", "", "holds inner.zip, in which scans may lie; unpack first"),
    ]


def test_slices_that_are_packed_one_by_one_are_an_input_that_is_refused(tmp_path, predictor):
    write_nifti(tmp_path / "in" / "good" / "ct.nii")
    for path in write_series(tmp_path / "in" / "packed"):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    done = predict_into(tmp_path / "out", [tmp_path / "in"], predictor)
    (row,) = done.refused
    assert row.input == "packed"
    assert row.reason.startswith("holds 4 archives such as ")
    assert done.status == 1
