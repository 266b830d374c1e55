"""Thousands of broken files: each is read, or refused by name, in a second and bounded memory."""

import importlib
import pkgutil
import shutil
import time
import warnings
import zipfile

import hypothesis.strategies as st
import nbformat
import nibabel
import numpy as np
import pandas as pd
import psutil
import pydicom
import pytest
import SimpleITK
import torch
from hypothesis import HealthCheck, Phase, given, settings
from PIL import Image
from pydicom.uid import RLELossless
from scan_files import write_enhanced, write_rtstruct, write_series
from test_volumes import write_slice

import ssinfnet
from ssinfnet.data.sources import (
    ccii,
    dicom_seg,
    download,
    files,
    ictcf,
    mask_files,
    volume_files,
)
from ssinfnet.engine import notebook_runs
from ssinfnet.mediation import patient_files
from ssinfnet.networks import blocks
from ssinfnet.patients import clinical
from ssinfnet.scans import model_folder
from ssinfnet.storage import artifacts, strict_yaml, untrusted_zip
from ssinfnet.study import config, paths
from ssinfnet.training import checkpoints

resource = pytest.importorskip("resource", reason="memory can be capped on Unix only")

FILES = 400  # a reader; the same in every run of the same code
SECONDS = 10.0  # of processor time, for a file of some kilobytes: hanging, not a slow machine
MEMORY = 2**30  # bytes beyond what the tests hold already
EXTREMES = [
    bytes(4), b"\xff" * 4, b"\xff\xff\xff\x7f", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x80",
    b"\x00\x00\xc0\x7f", b"\xff" * 8, b"\xff" * 7 + b"\x7f", b"\x01\x00\x00\x00",
]  # fmt: skip
TEXTS = [
    ",", ";", "\n", "\r", "\0", '"', "'", "[" * 3000, "{a: " * 100, "&a ", "*a", "!!bool ", "!",
    "? ", "<<: *a", "---\n", ": ", "\t", "1e999", "-1e999", "nan", ".inf", "9" * 5000,
    "0x" + "f" * 9999, "\ufeff", "\u2028", "2021-99-99", "1:" * 2000, "a" * 70_000, "," * 20_000,
    "\\ud800", "-", "null",
]  # fmt: skip
TOKENS = [text.encode() for text in TEXTS]
SQUARE = np.random.default_rng(7).integers(-1000, 400, (32, 32)).astype(np.int16)
HU = np.random.default_rng(7).integers(-1000, 400, (5, 6, 4)).astype(np.int16)


def changes(extras):
    """How a file is broken: what is done, where as a share of the file, and with what."""
    near_the_start = st.floats(0, 1).map(lambda at: at**3)
    change = st.one_of(
        st.tuples(st.just("flip"), near_the_start, st.integers(1, 255)),
        st.tuples(st.just("cut"), st.floats(0, 1), st.none()),
        st.tuples(st.just("over"), near_the_start, st.sampled_from(extras)),
        st.tuples(st.just("insert"), st.floats(0, 1), st.sampled_from(extras)),
        st.tuples(st.just("insert"), near_the_start, st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("repeat"), st.floats(0, 1), st.integers(2, 50)),
    )
    return st.lists(change, min_size=1, max_size=4)


def broken(content: bytes, how) -> bytes:
    for kind, share, what in how:
        at = min(int(share * len(content)), max(len(content) - 1, 0))
        if kind == "flip" and content:
            content = content[:at] + bytes([content[at] ^ what]) + content[at + 1 :]
        elif kind == "cut":
            content = content[:at]
        elif kind == "over":
            content = content[:at] + what + content[at + len(what) :]
        elif kind == "insert":
            content = content[:at] + what + content[at:]
        elif kind == "repeat":
            content = content[:at] + content[at : at + 40] * what + content[at + 40 :]
    return content


def read_or_refused(read, path):
    """Read a file under a cap of memory and of time; fail unless that ends well."""
    if read_once(read, path) >= SECONDS:  # a library may have been loaded at the first
        assert read_once(read, path) < SECONDS


def read_once(read, path) -> float:
    """Return the processor time that reading or refusing a file takes, in seconds."""
    held = psutil.Process().memory_info().vms
    before = resource.getrlimit(resource.RLIMIT_AS)
    began = time.process_time()
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, before[1]))
    refused = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as outside of tests, where they stop nothing
            read(path)
    except (ValueError, FileNotFoundError) as error:
        refused = error
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    took = time.process_time() - began
    if refused is not None:
        assert path.name in str(refused) or path.parent.name in str(refused), repr(refused)
    while refused is not None:
        assert not isinstance(refused, MemoryError)
        refused = refused.__cause__
    return took


def nifti(path):
    nibabel.save(nibabel.Nifti1Image(HU, np.diag([-1, -1, 2, 1])), path)


def nifti_2(path):
    nibabel.save(nibabel.Nifti2Image(HU.astype(np.float32), np.diag([1, 1, 2, 1])), path)


def itk_image(path):
    image = SimpleITK.GetImageFromArray(HU)
    SimpleITK.WriteImage(image, str(path), useCompression=path.stem == "packed")


def dicom(path):
    write_slice(path, 0)


def packed_dicom(path):
    data = pydicom.dcmread(write_slice(path, 0, SQUARE, Rows=32, Columns=32))
    data.compress(RLELossless)
    data.save_as(path)


def jpeg_dicom(path):
    writer = SimpleITK.ImageFileWriter()
    writer.SetImageIO("GDCMImageIO")
    writer.UseCompressionOn()
    writer.SetCompressor("JPEG2000")
    writer.SetFileName(str(path))
    writer.Execute(SimpleITK.GetImageFromArray(SQUARE))
    packed = pydicom.dcmread(path)
    data = pydicom.dcmread(write_slice(path, 0, SQUARE, Rows=32, Columns=32))
    data.PixelData = packed.PixelData
    data.file_meta.TransferSyntaxUID = packed.file_meta.TransferSyntaxUID
    data.save_as(path)


def enhanced(path):
    write_enhanced(path, SQUARE[:, None].repeat(32, 1)[:3], packed=path.stem == "packed")


def seg(path):
    series = path.parent.parent / "series"
    write_series(series)
    volume = volume_files.read_volume(series)
    dicom_seg.write_segmentation(path, {"ggo": volume.slices > 0}, volume, "m", "1")


def rtstruct(path):
    square = [(-9, -4, 30), (-6.9, -4, 30), (-6.9, -1.6, 30), (-9, -1.6, 30)]
    above = [(x, y, 32.5) for x, y, _ in square[1:]]
    write_rtstruct(path, {"GGO": [square, square[:2]], "consolidation": [above]})


def read_drawn_mask(path):
    affine = np.array([[-0.7, 0, 0, 9], [0, -0.8, 0, 4], [0, 0, 2.5, 30], [0, 0, 0, 1.0]])
    image = volume_files.from_stored(np.zeros((5, 6, 4), np.int16), affine)
    mask_files.read_mask(path, image, of="lesions" if path.stem == "seg" else "classes")


def picture(path):
    grey = np.random.default_rng(7).integers(0, 255, (24, 20)).astype(np.uint8)
    Image.fromarray(grey).save(path)


def deep_picture(path):
    grey = np.random.default_rng(7).integers(0, 60000, (24, 20)).astype(np.uint16)
    pages = [Image.fromarray(grey + page) for page in range(3)]
    packed = {"compression": "tiff_deflate"} if path.stem == "packed" else {}
    several = {"save_all": True, "append_images": pages[1:]} if path.suffix == ".tif" else {}
    pages[0].save(path, **several, **packed)


def labels(path):
    stored = Image.fromarray(np.arange(480).reshape(24, 20).astype(np.uint8) % 4).convert("P")
    stored.save(path)


def clinical_table(path):
    rows = {name: ["x"] * 3 for name in ictcf.NEEDED}
    rows |= {"ID": [f"Patient {n}" for n in (1, 2, 3)], "Age": ["48", "", "7x"],
             "Gender": ["Male", "f", "?"], "Underlying diseases": ["No", "Hypertension, gout", ""],
             "Morbidity outcome": ["Mild", "Severe", "Control"]}  # fmt: skip
    pd.DataFrame(rows).to_csv(path, index=False)


def patients_table(path):
    rows = [f"p{n},{n % 2},{n % 3},{n * 1.5},{'ab'[n % 2]}" for n in range(12)]
    path.write_text("\n".join(["id,severe,age,ggo_area,site", *rows]), encoding="utf-8")


def study(path):
    path.write_bytes((paths.project_root() / "studies" / "smoke.yaml").read_bytes())


def parameter(path):
    path.write_text("{a: [1, 1e-4, smoke], b: 'x', c: &c [yes, null], d: *c}")


def split(path):
    path.write_text("patient,split\n1,train\n2,test\n")


def weights(path):
    tensors = {
        "a.weight": torch.arange(6.0).reshape(2, 3),
        "b": torch.tensor([1], dtype=torch.int64),
    }
    checkpoints.save(path, tensors, {"run": {"seed": 1}, "finished": True})


def published(path):
    torch.save({"conv1.weight": torch.ones(2, 3)}, path)


def published_before_zip(path):
    torch.save({"w": torch.ones(2, 3)}, path, _use_new_zipfile_serialization=False)


def arrays(path):
    artifacts.write_arrays(path, {"a": np.zeros((40, 30)), "b": np.array(["x", "yz"])}, {})


def table(path):
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", None], "c": pd.array([True, None], "boolean")})
    artifacts.write_table(path, frame, {})


def record(path):
    artifacts.write_json(path, {"study": "smoke", "inputs": {"a": [1, 2.5, None]}})


def description(path):
    network = {"file": "a.safetensors", "sha256": "0" * 64, "model": "sinfnet", "width": 0.25}
    score = {"stage": "single", "model": "sinfnet", "fold": 0, "split": "test", "class": "lesion",
             "metric": "F1", "mean": 0.5, "low": None, "high": None, "n": 3, "n_slices": 4,
             "n_patients": 2}  # fmt: skip
    training = {"study": {"name": "smoke"}, "notes": {}, "slices": [], "scores": [score],
                "versions": {"torch": "2"}}  # fmt: skip
    artifacts.write_json(path, {
        "format": 3, "name": "small", "image_size": 64, "window_hu": [-1250, 250], "threshold": 0.5,
        "members": [{"fold": 0, "seed": 1, "single": network}], "card_sha256": "0" * 64,
        "training": training,
    })  # fmt: skip


def archive(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("data/a.nii", bytes(500))
        packed.writestr("data/b.nii", b"abc" * 50)


def read_volume(path):
    volume = volume_files.read_volume(path)
    for index in range(min(len(volume.slices), 3)):
        if volume.fault(index) is None:
            volume.grey(index)


def read_series(path):
    read_volume(path.parent)


def read_patients(path):
    clinical.read_patients(ictcf.read_clinical(path))


def read_parameter(path):
    text = path.read_bytes().decode("utf-8", "replace")
    value = strict_yaml.parse(text, f"parameter {path.name}")
    notebook_runs.check_parameters(path.parent.parent / "book.ipynb", {"study": value})


def unpack(path):
    folder = path.parent / "unpacked"
    shutil.rmtree(folder, ignore_errors=True)  # what another archive left is not replaced
    download.unpack(path, folder)


def find_in_zip(path):
    folder = path.parent / "found"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    untrusted_zip.unpack_zip(path, folder / "in")


READERS = {
    "a.nii": (nifti, read_volume),
    "b.nii": (nifti_2, read_volume),
    "a.nii.gz": (nifti, read_volume),
    "a.nrrd": (itk_image, read_volume),
    "packed.nrrd": (itk_image, read_volume),
    "a.mha": (itk_image, read_volume),
    "packed.mha": (itk_image, read_volume),
    "a.mhd": (itk_image, read_volume),
    "a.nhdr": (itk_image, read_volume),
    "a.dcm": (dicom, read_series),
    "b.dcm": (packed_dicom, read_series),
    "c.dcm": (jpeg_dicom, read_series),
    "enhanced.dcm": (enhanced, read_volume),
    "packed.dcm": (enhanced, read_volume),
    "seg.dcm": (seg, read_drawn_mask),
    "rtstruct.dcm": (rtstruct, read_drawn_mask),
    "a.png": (picture, files.read_picture),
    "deep.png": (deep_picture, files.read_numbers),
    "a.tif": (deep_picture, files.read_numbers),
    "packed.tif": (deep_picture, files.read_numbers),
    "b.png": (labels, files.read_labels),
    "a.jpg": (picture, files.read_picture),
    "All_Patients.csv": (clinical_table, read_patients),
    "own.csv": (patients_table, lambda path: patient_files.read_patients_table(path, "id")),
    "split.csv": (split, ccii._read_split),
    "smoke.yaml": (study, lambda path: config.load_study(str(path))),
    "parameter.txt": (parameter, read_parameter),
    "a.safetensors": (weights, checkpoints.read),
    "b.safetensors": (weights, lambda path: blocks.read_published(path, "Res2Net")),
    "a.pth": (published, lambda path: blocks.read_published(path, "Res2Net")),
    "b.pth": (published_before_zip, lambda path: blocks.read_published(path, "Res2Net")),
    "a.npz": (arrays, artifacts.read_arrays),
    "a.parquet": (table, artifacts.read_table),
    "a.json": (record, artifacts.read_json),
    "model.json": (description, lambda path: model_folder.read_description(path.parent)),
    "a.zip": (archive, unpack),
    "scans.zip": (archive, find_in_zip),
}
TEXT_FILES = {".csv", ".yaml", ".txt", ".json"}


@pytest.fixture(scope="module")
def _all_modules():
    """Load every module: hypothesis draws by the constants of those that are loaded."""
    for module in pkgutil.walk_packages(ssinfnet.__path__, "ssinfnet."):
        if not module.name.endswith("__main__"):  # it would run
            importlib.import_module(module.name)


@pytest.fixture
def folder(tmp_path, _all_modules):
    """An empty folder in one that holds a notebook."""
    cell = nbformat.v4.new_code_cell("study = None", metadata={"tags": ["parameters"]})
    book = nbformat.v4.new_notebook(cells=[cell])
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "p", "language": "python"}
    nbformat.write(book, tmp_path / "book.ipynb")
    (tmp_path / "files").mkdir()
    return tmp_path / "files"


@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.parametrize("name", READERS)
def test_a_broken_file_is_read_or_refused_by_name(name, folder):
    write, read = READERS[name]
    path = folder / name
    write(path)
    valid = path.read_bytes()
    read(path)
    if name == "a.dcm":  # a series
        write_slice(folder / "other.dcm", 1)
    extras = TOKENS if path.suffix in TEXT_FILES else EXTREMES

    @settings(
        derandomize=True,
        max_examples=FILES,
        deadline=None,  # the processor's time counts, not the clock's
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(changes(extras))
    def check(how):
        path.write_bytes(broken(valid, how))
        read_or_refused(read, path)

    check()
