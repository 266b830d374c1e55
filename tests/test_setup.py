"""The three descriptions of the environment say the same thing."""

import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import ssinfnet
from ssinfnet.study import schedule
from ssinfnet.study.config import load_study
from ssinfnet.study.paths import project_root

ROOT = project_root()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUESTED = (
    "torch", "fastai", "jupyterlab", "papermill", "pyradiomics-bhklab", "statsmodels", "semopy",
    "seaborn", "matplotlib", "pandas", "nbval",
)  # fmt: skip


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonical(name): version for name, version in pins}


def requirements() -> list[Requirement]:
    named = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"]
    return [Requirement(line) for line in named]


def test_every_requirement_is_pinned_by_a_version_that_it_allows():
    pins = constraints()
    for requirement in requirements():
        version = pins.get(canonical(requirement.name))
        assert version, f"{requirement.name} is not in constraints.txt"
        assert requirement.specifier.contains(version)


def test_every_package_asked_for_by_name_is_required():
    assert set(REQUESTED) <= {canonical(r.name) for r in requirements()}


def test_what_is_installed_is_what_is_pinned():
    wrong = {}
    for name, version in constraints().items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue  # a pin of another platform
        if installed.split("+")[0] != version:
            wrong[name] = (installed, version)
    assert wrong == {}


def test_every_pin_installs_on_the_oldest_python_that_is_promised():
    (least,) = SpecifierSet(PROJECT["requires-python"])
    wrong = {}
    for name in constraints():
        try:
            needed = metadata.metadata(name)["Requires-Python"] or ""
        except metadata.PackageNotFoundError:
            continue  # a pin of another platform
        if not SpecifierSet(needed).contains(f"{least.version}.0"):
            wrong[name] = needed
    assert wrong == {}


def test_conda_installs_this_project_with_the_constraints():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    (pip,) = [line["pip"] for line in environment["dependencies"] if isinstance(line, dict)]
    assert pip == ["--constraint constraints.txt", "--editable .[dev]"]
    (python,) = [line for line in conda if line.startswith("python=")]
    assert Requirement("python" + PROJECT["requires-python"]).specifier.contains(
        python.split("=")[1]
    )


def test_make_installs_with_the_constraints_and_ci_calls_make_test():
    makefile = (ROOT / "Makefile").read_text()
    assert "--constraint constraints.txt --editable '.[dev]'" in makefile
    assert "make test" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("verb", ["reproduce", "test", "lab", "lint", "bench", "clean"])
def test_make_help_lists_the_verb(verb):
    assert re.search(rf"^{verb}:.*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


def make_install(folder, **environment):
    """Ask make to fill an environment that a fake Python stands in, and return what it says."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(environment.pop("script"))
    python.chmod(0o755)
    cleared = {
        name: value
        for name, value in os.environ.items()
        if name not in ("VIRTUAL_ENV", "CONDA_PREFIX", "CONDA_DEFAULT_ENV")
    }
    return subprocess.run(
        ["make", "install"],
        cwd=ROOT,
        env=cleared | environment,
        capture_output=True,
        text=True,
        check=False,
    )


OLD = '#!/bin/sh\ncase "$1" in -V) echo "Python 3.13.1";; *) exit 1;; esac\n'


def test_make_refuses_condas_base_with_the_way_out(tmp_path):
    run = make_install(tmp_path, CONDA_PREFIX=str(tmp_path), CONDA_DEFAULT_ENV="base", script=OLD)
    assert run.returncode != 0
    assert "conda's base is active" in run.stdout
    assert "conda activate ssinfnet" in run.stdout


def test_make_refuses_a_python_that_is_not_tested(tmp_path):
    run = make_install(tmp_path, VIRTUAL_ENV=str(tmp_path), script=OLD)
    assert run.returncode != 0
    assert "is Python 3.13.1, and only Python 3.11 is tested" in run.stdout


def test_make_lab_hands_arguments_to_jupyterlab():
    asked = "--no-browser --ip 127.0.0.1 --allow-root"
    run = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "lab", f"ARGS={asked}"],  # within `make test`
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"lab 00_start.ipynb {asked}\n" in run.stdout


def test_make_plan_counts_the_jobs_of_a_cluster_and_submits_none():
    asked = ["STUDY=paper", "EXECUTOR=slurm", "JOBS=20"]
    environment = os.environ | {"VIRTUAL_ENV": sys.prefix}
    environment.pop("SSINFNET_DATA", None)  # where the real data of other tests lie
    options = {"cwd": ROOT, "env": environment, "capture_output": True, "text": True}
    told = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "plan", *asked], check=True, **options
    )
    command = told.stdout.splitlines()[-1]  # before it make may install
    assert "--executor slurm --jobs 20" in command
    run = subprocess.run(command, shell=True, check=False, **options)
    assert run.returncode == 0, run.stderr
    said = run.stdout + run.stderr
    jobs = len(list(schedule.runs_of(load_study("paper"), "paper")))
    assert re.search(rf"^total +{jobs + 1}$", said, re.MULTILINE)  # and the page of all
    assert "This was a dry-run" in said


@pytest.mark.parametrize(("needed", "status"), [("", 0), ("1", 1)])
def test_tests_without_a_browser_say_so_last_or_fail_where_one_is_needed(needed, status):
    asked = ["-q", "-p", "no:cacheprovider", "tests/test_report_browser.py::"
             "test_the_drawing_of_the_data_flow_scrolls_and_does_not_shrink"]  # fmt: skip
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *asked],
        cwd=ROOT,
        env=os.environ | {"PATH": "", "SSINFNET_NEEDS_BROWSER": needed},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == status, run.stdout
    said = "the Lab and the report are not tried in a browser: no chromium on this machine"
    assert said in run.stdout
    assert bool(needed) != ("SSINFNET_NEEDS_BROWSER=1 makes that a failure" in run.stdout)


def test_nothing_of_ours_imports_torchvision():
    # It loads only beside a CUDA build of torch.
    code = "\n".join(path.read_text() for path in (ROOT / "ssinfnet").rglob("*.py"))
    assert not re.search(r"^\s*(import|from) torchvision", code, flags=re.MULTILINE)


def test_radiomics_imports():
    import radiomics

    assert radiomics.__version__


def test_one_version_is_installed_and_cited():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
    assert metadata.version("ssinfnet") == ssinfnet.__version__ == cited


def test_style_is_as_make_lint_has_it():
    for arguments in (["check"], ["format", "--check"]):
        run = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments, "."],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stdout
