"""An archive of a study's raw files, and what a machine without most packages can still do."""

import subprocess
import sys
import zipfile

import pytest
from conftest import ROOT, load_script

from ssinfnet.data import cohort, phantom
from ssinfnet.study.config import load_study

# What neither a bare GPU machine has nor the notebooks of training and scoring need
LACKING = (
    "IPython", "SimpleITK", "accelerate", "bs4", "ipykernel", "ipywidgets", "nbclient", "nbformat",
    "nibabel", "papermill", "pooch", "pydicom", "radiomics", "semopy", "snakemake", "spacy",
    "torchvision",
)  # fmt: skip
IMPORTING = f"""
import ast, importlib.abc, json, sys

class Lacking(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {LACKING!r}:
            raise ModuleNotFoundError(f"no module {{name}}", name=name)

sys.meta_path.insert(0, Lacking())
for book in sys.argv[1:]:
    for cell in json.load(open(book, encoding="utf-8"))["cells"]:
        lines = "".join(cell["source"]) if cell["cell_type"] == "code" else ""
        for node in ast.parse(lines).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                exec(ast.unparse(node))
import ssinfnet.cli, ssinfnet.evaluation.learnt, ssinfnet.engine.plain_runs
import ssinfnet.report.publication
import ssinfnet.data.sources.covid_semiseg
"""


@pytest.fixture(scope="module")
def pack():
    return load_script(ROOT / "benchmarks" / "pack.py")


@pytest.fixture
def raw(tmp_path):
    """The phantom's slices in COVID-SemiSeg's layout, and a study of them."""
    smoke = load_study("smoke")
    folder = phantom.write_phantom(tmp_path / "raw", smoke.data.phantom)
    source = smoke.data.sources[0].model_copy(update={"name": "covid_semiseg", "folder": "site_b"})
    data = smoke.data.model_copy(update={"phantom": None, "sources": (source,)})
    return folder, smoke.model_copy(update={"data": data})


def test_the_archive_gives_the_same_slices_and_leaves_out_what_no_notebook_reads(
    pack, raw, tmp_path
):
    folder, study = raw
    (folder / "site_b" / "notes.txt").write_text("nobody reads me")
    archive = tmp_path / "packed.zip"
    assert pack.pack(study, folder, archive) == archive.stat().st_size
    with zipfile.ZipFile(archive) as packed:
        names = packed.namelist()
        packed.extractall(tmp_path / "elsewhere")
    assert "site_b/notes.txt" not in names
    assert not any(name.startswith("site_a") for name in names)
    again = cohort.build(study, tmp_path / "elsewhere")
    assert again.slices.equals(cohort.build(study, folder).slices)
    before = archive.read_bytes()
    pack.pack(study, folder, archive)
    assert archive.read_bytes() == before


def test_an_archive_that_gives_other_slices_is_refused(pack, raw, tmp_path, monkeypatch):
    folder, study = raw
    build, calls = cohort.build, []

    def fewer(study, root):
        calls.append(root)
        built = build(study, root)
        return (
            built
            if len(calls) == 1
            else type(built)(built.slices.iloc[1:], built.exclusions, built.folders, built.notes)
        )

    monkeypatch.setattr(cohort, "build", fewer)
    with pytest.raises(ValueError, match="give other slices"):
        pack.pack(study, folder, tmp_path / "packed.zip")
    assert list(tmp_path.glob("*.zip")) == []


def test_training_and_scoring_import_nothing_that_a_bare_machine_lacks():
    books = [str(book) for book in sorted((ROOT / "notebooks").glob("0[1-8]_*.ipynb"))]
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING, *books], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-800:]
