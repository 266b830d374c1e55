"""The wheel holds all that a study needs: it runs where there is no checkout."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, built without network and unpacked into a folder of its own."""
    built, target = (tmp_path_factory.mktemp(name) for name in ("built", "target"))
    copy = tmp_path_factory.mktemp("copy")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.strip("\0").split("\0"):
        if (ROOT / name).is_file():  # one that was moved is listed until it is committed
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", built]
    subprocess.run([*pip, "wheel", copy, *options], check=True)
    (wheel,) = built.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", target, wheel], check=True)
    return target


def ssinfnet(installed, folder, *arguments):
    environment = {name: value for name, value in os.environ.items() if name != "SSINFNET_ROOT"}
    return subprocess.run(
        [sys.executable, "-m", "ssinfnet.cli", *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )


def test_all_notebooks_and_studies_are_in_the_wheel(installed):
    for folder, pattern in (("notebooks", "*.ipynb"), ("studies", "*.yaml")):
        ours = {path.name for path in (ROOT / folder).glob(pattern)}
        assert {path.name for path in (installed / "ssinfnet" / folder).glob("*")} == ours


def test_all_that_the_package_holds_beside_code_is_in_the_wheel(installed):
    held = [path for path in (ROOT / "ssinfnet").rglob("*") if path.is_file()]
    names = [path.relative_to(ROOT) for path in held if path.suffix not in (".py", ".pyc")]
    assert names
    assert [name for name in names if not (installed / name).is_file()] == []


@pytest.mark.slow
def test_a_study_is_shown_and_run_outside_a_checkout(installed, tmp_path):
    shown = ssinfnet(installed, tmp_path, "study", "demo")
    assert shown.returncode == 0, shown.stderr
    assert "image_size" in shown.stdout
    run = ssinfnet(installed, tmp_path, "train", "start", "--only", "02_data_split")
    assert run.returncode == 0, run.stderr[-2000:]
    assert (tmp_path / "papermill_runs/start/artifacts/cohort/cohort.parquet").is_file()
    assert (tmp_path / "figures/start/table_2d_split.csv").is_file()


def test_a_study_that_is_not_there_is_named_beside_those_that_are(installed, tmp_path):
    refused = ssinfnet(installed, tmp_path, "study", "demon")
    assert refused.returncode == 1
    assert "demo" in refused.stderr
    assert "covid_semiseg" in refused.stderr
