"""Files that promise more than they hold, or than anybody needs, are refused undecoded."""

import contextlib
import gzip
import io
import struct
import tracemalloc
import zipfile
import zlib

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from pydicom.uid import DeflatedExplicitVRLittleEndian
from test_volumes import write_slice

from ssinfnet.data.sources import download, files, volumes
from ssinfnet.data.sources.listing import Lister
from ssinfnet.data.sources.volume_files import read_volume
from ssinfnet.mediation import patient_files
from ssinfnet.networks import blocks
from ssinfnet.storage import artifacts, untrusted
from ssinfnet.storage.untrusted import UnreadableFile
from ssinfnet.study import config, paths
from ssinfnet.training import checkpoints


def nifti_bytes(shape=(3, 4, 5), **fields):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header["dim"][:4] = (3, *shape)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock + bytes(4)


def chunk(kind, content):
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def png(width, height):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (nifti_bytes((32000, 32000, 32000)), "at most 4294967296 are taken"),
        (nifti_bytes((500, 500, 500)), "header names 250000352 bytes, it holds"),
        (nifti_bytes((3, -4, 5)), "expected a volume with voxels"),
        (nifti_bytes(vox_offset=1e9) + bytes(120), "voxels at byte 1000000000"),
        (nifti_bytes(datatype=32, bitpix=64) + bytes(480), "voxels of complex64"),
        (nifti_bytes() + bytes(119), "truncated: its header names 472 bytes, it holds 471"),
        (nifti_bytes(qform_code=0, sform_code=1) + bytes(120), "an affine that spans no volume"),
        (b"GIF89a", "no NIfTI file"),
    ],
)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_nifti_header_is_compared_with_the_file(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(UnreadableFile, match=rf"{name} .*{words}"):
        read_volume(tmp_path / name)


def test_a_gzip_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti_bytes() + bytes(120) + bytes(2**22)))
    with pytest.raises(UnreadableFile, match="unpacks to more than the 472 bytes"):
        read_volume(path)
    path.write_bytes(gzip.compress(nifti_bytes(qform_code=1) + bytes(120) + bytes(1000)))
    assert read_volume(path).shape == (3, 4, 5)  # some programs pad


def test_the_checksum_of_a_packed_volume_is_compared(tmp_path, rng):
    path = tmp_path / "a.nii.gz"
    content = bytearray(gzip.compress(nifti_bytes(qform_code=1) + rng.bytes(120)))
    content[-8] ^= 1
    path.write_bytes(content)
    with pytest.raises(UnreadableFile, match="CRC check failed"):
        read_volume(path)


def test_a_picture_larger_than_any_slice_is_refused_by_its_header(tmp_path):
    for width in (4097, 20_000, 2**31 - 1):
        (tmp_path / "a.png").write_bytes(png(width, 4096))
        with pytest.raises(UnreadableFile, match=r"a\.png .*"):
            files.read_picture(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(png(10, 9))
    assert files.read_picture(tmp_path / "a.png").shape == (9, 10)


def test_a_picture_that_cannot_be_opened_is_refused_by_name(tmp_path):
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "folder.png").mkdir()
    for name in ("link.png", "folder.png"):
        with pytest.raises(UnreadableFile, match=name):
            files.read_picture(tmp_path / name)


def test_a_chunk_that_claims_gigabytes_takes_no_memory(tmp_path):
    chunk = png(10, 9).index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(png(10, 9)[:chunk] + b"\xff" * 4 + png(10, 9)[chunk + 4 :])
    tracemalloc.start()
    try:
        with contextlib.suppress(UnreadableFile):
            files.read_picture(tmp_path / "a.png")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_dicom_slice_that_is_too_large_or_deflated_is_left_out(tmp_path):
    write_slice(tmp_path / "a.dcm", 0, Rows=60_000, Columns=60_000)
    with pytest.raises(UnreadableFile, match="at most 16777216 are taken"):
        read_volume(tmp_path)
    write_slice(tmp_path / "a.dcm", 0, NumberOfFrames=10**6)
    with pytest.raises(UnreadableFile, match="at most 16777216 are taken"):
        read_volume(tmp_path)
    import pydicom

    deflated = pydicom.dcmread(write_slice(tmp_path / "a.dcm", 0))
    deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    deflated.save_as(tmp_path / "a.dcm")
    with pytest.raises(UnreadableFile, match="deflated as a whole"):
        read_volume(tmp_path)


def write_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def npy(shape, content=b""):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f8", "fortran_order": False, "shape": shape}
    )
    return stream.getvalue() + content


def test_an_npz_is_measured_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    write_zip(path, {"a.npy": npy((10**6, 10**6), bytes(80))})
    with pytest.raises(ValueError, match=r"array of \(1000000, 1000000\) float64 in other bytes"):
        artifacts.read_arrays(path)
    write_zip(path, {"a.npy": npy((1000,), bytes(8000))})
    assert artifacts.read_arrays(path)["a"].shape == (1000,)
    monkeypatch.setattr(untrusted, "MOST_ARRAY_BYTES", 8000)
    with pytest.raises(ValueError, match="1 members that would unpack from .* at most 8000"):
        artifacts.read_arrays(path)


def test_an_array_that_needs_pickle_is_not_read(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([{"x": 1}], dtype=object))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        artifacts.read_arrays(tmp_path / "a.npz")


def test_a_table_is_measured_before_it_is_read(tmp_path, monkeypatch):
    csv = tmp_path / "a.csv"
    for before in ("", "\n", "a,b\n"):  # pandas skips an empty line
        csv.write_text(before + ",".join(f"c{n}" for n in range(5000)))
        with pytest.raises(UnreadableFile, match="5000 columns"):
            patient_files.read_patients_table(csv)
    csv.write_text("a,b\n1,2,3\n4,5,6\n")
    with pytest.raises(UnreadableFile, match="cannot be read as CSV.*loss of data"):
        patient_files.read_patients_table(csv)
    artifacts.write_table(tmp_path / "a.parquet", pd.DataFrame({"a": range(10)}), {})
    csv.write_text("a\n" + "1\n" * 10)
    monkeypatch.setattr(untrusted, "MOST_CELLS", 9)
    with pytest.raises(UnreadableFile, match="11 rows"):
        patient_files.read_patients_table(csv)
    with pytest.raises(ValueError, match="10 rows and 1 columns"):
        artifacts.read_table(tmp_path / "a.parquet")
    monkeypatch.setattr(untrusted, "MOST_TEXT_BYTES", 9)
    with pytest.raises(UnreadableFile, match="more than 9 bytes"):
        patient_files.read_patients_table(csv)


def test_json_without_end_is_refused(tmp_path):
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"a\.json is not JSON"):
        artifacts.read_json(tmp_path / "a.json")


def test_a_checkpoint_with_a_header_beyond_its_end_is_refused(tmp_path):
    path = checkpoints.save(tmp_path / "a.safetensors", {"a": torch.ones(2)}, {})
    content = path.read_bytes()
    path.write_bytes(struct.pack("<Q", len(content)) + content[8:])
    with pytest.raises(ValueError, match=r"a\.safetensors is truncated or no safetensors"):
        checkpoints.read(path)


class Runs:
    """What a pickle may do as it is read."""

    def __reduce__(self):
        return (print, ("this must not be run",))


def test_published_weights_run_nothing(tmp_path, capsys):
    torch.save({"w": Runs()}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"a\.pth is truncated or no file of weights"):
        blocks.read_published(tmp_path / "a.pth", "Res2Net")
    assert capsys.readouterr().out == ""
    torch.save([torch.ones(2)], tmp_path / "a.pth")
    with pytest.raises(ValueError, match="no weights by name; expected those of Res2Net"):
        blocks.read_published(tmp_path / "a.pth", "Res2Net")


def test_nothing_of_ours_unpickles():
    code = "".join(path.read_text() for path in (paths.project_root() / "ssinfnet").rglob("*.py"))
    assert "import pickle" not in code
    assert "allow_pickle=True" not in code
    assert code.count("torch.load(") == code.count("weights_only=True)") == 1


@pytest.mark.parametrize("name", ["../a.nii", "/a.nii", "..\\a.nii", "C:\\a.nii", ".", "x/.."])
def test_members_of_an_archive_stay_in_its_folder(tmp_path, name):
    write_zip(tmp_path / "a.zip", {name: b"x"})
    with pytest.raises(ValueError, match=r"a\.zip holds .* a place outside"):
        download.unpack(tmp_path / "a.zip", tmp_path / "into")
    assert not (tmp_path / "a.nii").exists()


@pytest.mark.parametrize("folder", ["/etc", "../medseg", "a/../../b"])
def test_a_study_reads_below_the_data_folder_only(folder):
    with pytest.raises(ValueError, match="below the data folder"):
        config.SourceConfig(name="medseg", folder=folder)


def test_what_a_killed_run_left_half_written_is_read_by_nobody(tmp_path, rng):
    grey = rng.integers(0, 255, (2, 3, 4)).astype(np.int16)
    (tmp_path / "images").mkdir()
    lister = Lister("volumes", tmp_path)
    with artifacts.replacing(tmp_path / "images" / "a.nii") as temporary:
        nibabel.save(nibabel.Nifti1Image(grey, np.diag([-1, -1, 1, 1])), temporary)
        assert list(volumes._volumes(lister, tmp_path / "images")) == []
    assert list(volumes._volumes(lister, tmp_path / "images")) == ["a"]
    (tmp_path / "images" / "._a.nii").write_bytes(b"notes of macOS")
    (tmp_path / "images" / ".b.1.partial.png").write_bytes(b"half")
    assert list(volumes._volumes(lister, tmp_path / "images")) == ["a"]
    assert lister.excluded == []
    assert files.pictures(tmp_path / "images") == []
