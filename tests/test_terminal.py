"""The command line as a person has it: in a terminal of 80 columns, and in a pipe."""

import os
import re
import subprocess
import sys

import nibabel
import numpy as np
import pexpect
import pytest

from ssinfnet.data import phantom
from ssinfnet.work import progress

COMMAND = ["-m", "ssinfnet.cli"]
COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
FORCED = ("NO_COLOR", "FORCE_COLOR", "GITHUB_ACTIONS", "COLUMNS", "_TYPER_FORCE_DISABLE_TERMINAL")


@pytest.fixture
def environment():
    """What a person's shell has; nothing that asks for colours or a width."""
    others = (*FORCED, progress.QUIET_VARIABLE, progress.BATCH_VARIABLE)
    kept = {name: value for name, value in os.environ.items() if name not in others}
    return kept | {"TERM": "xterm-256color"}


@pytest.fixture
def terminal(environment):
    """A function that starts the command line in a terminal of 24 lines of 80 columns."""
    started = []

    def start(*arguments):
        child = pexpect.spawn(
            sys.executable, [*COMMAND, *map(str, arguments)], env=environment,
            dimensions=(24, 80), encoding="utf-8", timeout=120,
        )  # fmt: skip
        started.append(child)
        return child

    yield start
    for child in started:
        child.close(force=True)


def piped(environment, *arguments):
    return subprocess.run(
        [sys.executable, *COMMAND, *map(str, arguments)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def scan(tmp_path):
    """Six slices of a phantom, as a NIfTI volume."""
    found = phantom.Findings(extent=0.3, consolidation_share=0.2)
    slices = phantom.draw_patient(np.random.default_rng(1), np.linspace(0.3, 0.7, 6), 128, found)
    hu = np.stack([one.hu for one in slices]).transpose(2, 1, 0)
    path = tmp_path / "scan.nii.gz"
    nibabel.save(nibabel.Nifti1Image(hu, np.diag([-2.8, -2.8, 10.0, 1.0])), path)
    return path


@pytest.mark.parametrize("verb", [(), ("predict",)], ids=["all", "predict"])
def test_help_is_coloured_in_a_terminal_and_plain_in_a_pipe(terminal, environment, verb):
    child = terminal(*verb, "--help")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert "\x1b[" in child.before
    shown = COLOURS.sub("", child.before).splitlines()
    assert max(map(len, shown)) <= 80
    plain = piped(environment, *verb, "--help")
    assert "\x1b" not in plain.stdout + plain.stderr
    assert plain.stdout.split() == " ".join(shown).split()


def test_predict_speaks_before_it_loads_large_libraries(environment, scan, tmp_path):
    (tmp_path / "torch.py").write_text("raise ImportError('torch was asked for')\n")
    path = os.pathsep.join([str(tmp_path), environment.get("PYTHONPATH", "")])
    said = piped(environment | {"PYTHONPATH": path}, "predict", scan, "-o", tmp_path / "out").stderr
    assert said.startswith("loading the libraries and the model …\n")
    assert "torch was asked for" in said


def test_a_scan_has_a_bar_and_ctrl_c_leaves_a_line_and_no_file(terminal, scan, tmp_path):
    out = tmp_path / "out"
    child = terminal("predict", scan, "-o", out, "--batch-size", 1)
    child.expect_exact("loading the libraries and the model …")
    child.expect(r"segmenting batches of scan: +0%\|[^\r]*0/6")
    assert len(child.after) <= 80
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    shown = COLOURS.sub("", child.before.replace("\x1b[2K", "\r")).split("\r\n")
    left = [text.split("\r")[-1].strip() for text in shown]
    assert [text for text in left if text] == ["stopped by Ctrl-C; no result is half written"]
    assert [path for path in out.rglob("*") if path.is_file()] == []
