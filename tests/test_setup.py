"""The three descriptions of the environment say the same thing."""

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


def test_make_lab_hands_arguments_to_jupyterlab():
    asked = "--no-browser --ip 127.0.0.1 --allow-root"
    run = subprocess.run(
        ["make", "--dry-run", "lab", f"ARGS={asked}"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.rstrip().endswith(f"lab 00_start.ipynb {asked}")


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
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stdout
