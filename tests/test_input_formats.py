"""Volumes in formats other than NIfTI and classic DICOM; see docs/inputs.md."""

import gzip
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK
from scan_files import HU, write_nifti

from ssinfnet.data.sources.files import UnreadableFile
from ssinfnet.data.sources.volume_files import read_volume, write_mask
from ssinfnet.scans import Place, find_scans, read_scan
from ssinfnet.scans.predicted_files import predict_into

pytestmark = pytest.mark.usefixtures("inputs_stay")

OBLIQUE = np.array([[0.6, 0.0, 0.8], [0.8, 0.0, -0.6], [0.0, 1.0, 0.0]])  # axes as columns
TURNED = np.array([[0.0, 1, 0], [0, 0, -1], [1, 0, 0]])
SPACES = {"left-posterior-superior": (-1, -1, 1), "LPS": (-1, -1, 1), "RAS": (1, 1, 1),
          "right-anterior-superior": (1, 1, 1), "left-anterior-superior": (-1, 1, 1)}  # fmt: skip
STEPS = (0.7, 0.8, 2.5)  # mm from column to column, row to row, slice to slice
META = "TransformMatrix = -1 0 0 0 0 1 0 1 0\nOffset = -9 4 30\nElementSpacing = 0.7 0.8 2.5\n"


def affine_of(axes):
    """Place voxels on axes, which are columns, to the right, front and head."""
    affine = np.eye(4)
    affine[:3, :3] = axes * STEPS
    affine[:3, 3] = (9, -4, 30)
    return affine


def nrrd_header(affine, space="LPS", *, encoding="raw", more="", sizes="5 6 4"):
    """Write an NRRD header by hand; an affine of None leaves the place out."""
    lines = ["NRRD0004", "# made up", "type: short", "dimension: 3", f"sizes: {sizes}",
             "endian: little", f"encoding: {encoding}"]  # fmt: skip
    if affine is not None:
        placed = np.diag(SPACES[space]) @ affine[:3]
        vectors = [f"({','.join(f'{one:.17g}' for one in column)})" for column in placed.T]
        lines += [
            f"space: {space}",
            f"space directions: {' '.join(vectors[:3])}",
            f"space origin: {vectors[3]}",
        ]
    return ("\n".join(lines) + f"\n{more}\n").encode()


def meta_header(data, more=META, sizes="5 6 4"):
    text = (
        f"ObjectType = Image\nNDims = 3\nDimSize = {sizes}\nElementType = MET_SHORT\n{more}"
        f"ElementDataFile = {data}\n"
    )
    return text.encode()


VOXELS = HU.astype("<i2").tobytes()  # slices, rows, columns: columns run fastest


def expected(tmp_path, axes):
    return read_volume(write_nifti(tmp_path / "reference.nii", affine=affine_of(axes)))


def assert_same(volume, reference):
    np.testing.assert_array_equal(volume.slices, reference.slices)
    np.testing.assert_allclose(volume.affine, reference.affine, atol=1e-5)
    np.testing.assert_allclose(volume.spacing_mm, reference.spacing_mm, rtol=1e-5)
    assert volume.spacing_known


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("axes", [np.eye(3), TURNED, OBLIQUE], ids=["axial", "turned", "oblique"])
def test_an_nrrd_lies_as_the_same_nifti_whatever_its_space(tmp_path, space, axes):
    path = tmp_path / "a.nrrd"
    path.write_bytes(nrrd_header(affine_of(axes), space) + VOXELS)
    assert_same(read_volume(path), expected(tmp_path, axes))


@pytest.mark.parametrize("form", ["packed", "detached", "mha", "mhd", "packed mha"])
def test_voxels_are_read_packed_or_from_the_file_beside(tmp_path, form):
    folder = tmp_path / "in"
    folder.mkdir()
    affine = affine_of(np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]))
    files = {
        "packed": {"a.nrrd": nrrd_header(affine, encoding="gzip") + gzip.compress(VOXELS)},
        "detached": {"a.nhdr": nrrd_header(affine, more="data file: ct.raw\n"), "ct.raw": VOXELS},
        "mha": {"a.mha": meta_header("LOCAL") + VOXELS},
        "mhd": {"a.mhd": meta_header("ct.raw"), "ct.raw": VOXELS},
    }
    if form == "packed mha":
        plain = folder / "plain.mha"
        plain.write_bytes(meta_header("LOCAL") + VOXELS)
        SimpleITK.WriteImage(SimpleITK.ReadImage(plain), folder / "a.mha", useCompression=True)
        plain.unlink()
    for name, content in files.get(form, {}).items():
        (folder / name).write_bytes(content)
    places, excluded = find_scans([folder])
    assert excluded == []
    assert [(place.name, len(place.files)) for place in places] == [
        ("a", 2 if form in ("detached", "mhd") else 1)
    ]
    given = find_scans([places[0].path])[0]  # the header by itself
    assert [place.files for place in given] == [places[0].files]
    reference = read_volume(write_nifti(tmp_path / "r.nii", affine=affine))
    for place in (places[0], given[0]):
        scan = read_scan(place)
        assert_same(scan.volume, reference)
        assert not any("how its axes lie" in doubt for doubt in scan.doubts)


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha", "a.mhd"])
def test_packed_voxels_with_a_wrong_byte_are_refused(tmp_path, name):
    image = SimpleITK.GetImageFromArray(HU.astype(np.int16))
    SimpleITK.WriteImage(image, tmp_path / name, useCompression=True)
    read_volume(tmp_path / name)
    packed = tmp_path / "a.zraw" if name == "a.mhd" else tmp_path / name
    content = packed.read_bytes()
    for place in (-1, -5, -30, -60):  # the checksum and the voxels before it
        damaged = bytearray(content)
        damaged[place] ^= 1
        packed.write_bytes(damaged)
        with pytest.raises(UnreadableFile, match="truncated or cannot be decoded"):
            read_volume(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.mhd", meta_header("ct.raw"), "in a file that is not there"),
        ("a.mhd", meta_header("../ct.raw"), "expected one file in the same folder"),
        ("a.mhd", meta_header("/etc/passwd"), "expected one file in the same folder"),
        ("a.mhd", meta_header("LIST"), "expected one file in the same folder"),
        ("a.mhd", meta_header("ct%03d.raw 1 4 1"), "expected one file in the same folder"),
        ("a.nhdr", nrrd_header(np.eye(4), more="data file: ../x.raw\n"), "in the same folder"),
        ("a.mha", meta_header("LOCAL") + VOXELS[:-2], "is truncated: its header names 240 bytes"),
        ("a.nrrd", nrrd_header(np.eye(4)) + VOXELS[:-2], "is truncated: its header names 240"),
        ("a.nrrd", nrrd_header(np.eye(4), sizes="5 6 4 2") + VOXELS * 2, "three dimensions"),
        ("a.nrrd", nrrd_header(np.eye(4), sizes="50000 60000 400"), "bytes; at most"),
        ("a.nrrd", nrrd_header(np.eye(4), encoding="bzip2") + VOXELS, "expected raw or gzip"),
        (
            "a.mha",
            meta_header("LOCAL", "ElementToIntensityFunctionSlope = x\n") + VOXELS,
            "Slope 'x'; expected a number",
        ),
        ("a.mha", b"rubbish", "is truncated or no NRRD or MetaImage file"),
        ("a.nrrd", b"", "is truncated or no NRRD or MetaImage file"),
    ],
)
def test_headers_that_name_no_voxels_of_their_own_are_refused(tmp_path, name, content, message):
    (tmp_path / "in").mkdir()
    (tmp_path / "x.raw").write_bytes(VOXELS)
    (tmp_path / "ct.raw").write_bytes(VOXELS)
    path = tmp_path / "in" / name
    path.write_bytes(content)
    (place,), _ = find_scans([tmp_path / "in"])
    assert place.files == (path,)
    with pytest.raises(UnreadableFile, match=message):
        read_scan(place)


def test_what_a_header_does_not_say_is_said_in_the_row(tmp_path):
    (tmp_path / "a.nrrd").write_bytes(nrrd_header(None) + VOXELS)
    (tmp_path / "b.mha").write_bytes(meta_header("LOCAL", more="") + VOXELS)
    units = 'space units: "um" "um" "um"\n'
    (tmp_path / "c.nrrd").write_bytes(nrrd_header(np.eye(4), more=units) + VOXELS)
    for name, oriented in (("a.nrrd", False), ("b.mha", False), ("c.nrrd", True)):
        scan = read_scan(Place("a", tmp_path / name))
        np.testing.assert_array_equal(scan.volume.slices, HU if not oriented else HU[:, ::-1, ::-1])
        assert scan.voxel_ml is None
        assert bool(scan.doubts) != oriented
        assert oriented or "how its axes lie in the patient" in scan.doubts[0]


@pytest.mark.parametrize("slope", ["2", "0.5"])
def test_a_metaimage_whose_intensities_are_scaled_is_read_by_its_own_rule(tmp_path, slope):
    more = (
        f"{META}ElementToIntensityFunctionSlope = {slope}\nElementToIntensityFunctionOffset = -24\n"
    )
    (tmp_path / "a.mha").write_bytes(meta_header("LOCAL", more=more) + VOXELS)
    (tmp_path / "b.mha").write_bytes(meta_header("LOCAL") + VOXELS)
    scaled, stored = (read_volume(tmp_path / name) for name in ("a.mha", "b.mha"))
    np.testing.assert_allclose(scaled.slices, stored.slices * float(slope) - 24)
    np.testing.assert_array_equal(scaled.affine, stored.affine)


@pytest.mark.parametrize(("ending", "written"), [(".nrrd", ".nrrd"), (".mhd", ".mha")])
def test_maps_are_written_in_the_format_of_the_input(tmp_path, predictor, ending, written):
    image = SimpleITK.GetImageFromArray(HU.astype(np.int16))
    image.SetDirection([0, 0, 1, 1, 0, 0, 0, 1, 0])
    image.SetSpacing(STEPS)
    image.SetOrigin((1 / 3, -20.25, 7))
    path = tmp_path / "in" / f"ct{ending}"
    path.parent.mkdir()
    SimpleITK.WriteImage(image, path)
    done = predict_into(tmp_path / "out", [tmp_path / "in"], predictor)
    assert [(row["scan"], row["kind"]) for row in done.rows] == [
        ("ct", {".nrrd": "NRRD"}.get(ending, "MetaImage"))
    ]
    assert done.status == 0
    volume = read_volume(path)
    for name, part in (("lesion", float), ("classes", np.uint8)):
        map_ = SimpleITK.ReadImage(tmp_path / "out" / f"ct_{name}{written}")
        for fact in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            np.testing.assert_allclose(getattr(map_, fact)(), getattr(image, fact)(), atol=1e-9)
        assert SimpleITK.GetArrayFromImage(map_).dtype == (np.float32 if part is float else part)
    mask = (volume.slices > -500).astype(np.uint8)
    paths = [write_mask(tmp_path / f"{name}{written}", mask, volume) for name in "mn"]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    np.testing.assert_array_equal(
        SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(paths[0])), HU > -500
    )
    again = predict_into(tmp_path / "out", [tmp_path / "in"], predictor)
    assert (again.kept, again.status) == (1, 0)  # and maps are no scans


def test_names_in_latin_1_of_two_files_are_read(tmp_path, predictor):
    folder = os.fsencode(tmp_path) + b"/M\xfcller"
    os.mkdir(folder)
    Path(os.fsdecode(folder + b"/ct.mhd")).write_bytes(meta_header("ct.raw"))
    Path(os.fsdecode(folder + b"/ct.raw")).write_bytes(VOXELS)
    done = predict_into(tmp_path / "out", [tmp_path], predictor)
    assert [row["scan"] for row in done.rows] == ["ct"]
    assert len(pd.read_csv(tmp_path / "out" / "table_excluded.csv")) == 0
