import os
import signal
import subprocess
import sys
import time

import nbformat
import psutil
import pytest

from ssinfnet.engine import notebook_runs
from ssinfnet.storage import artifacts

pytestmark = pytest.mark.skipif(os.name != "posix", reason="nothing is watched on Windows")
SLEEPER = (
    "import time; from ssinfnet.work import parent_watch; "
    "parent_watch.start({parent}); time.sleep(60)"
)
STARTER = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {sleeper!r}.format(parent=os.getpid())])
print(child.pid, flush=True)
time.sleep(60)
"""


def ends(process: int, within_s: float = 10) -> bool:
    began = time.monotonic()
    while time.monotonic() - began < within_s:
        if not psutil.pid_exists(process) or psutil.Process(process).status() == "zombie":
            return True
        time.sleep(0.05)
    return False


def test_a_process_ends_when_the_one_that_started_it_is_killed():
    command = [sys.executable, "-c", STARTER.format(sleeper=SLEEPER)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        child = int(starter.stdout.readline())
        time.sleep(2)
        assert psutil.pid_exists(child)
        starter.send_signal(signal.SIGKILL)
    assert ends(child)


def test_a_process_whose_starter_is_gone_before_it_looks_ends_at_once():
    orphan = [sys.executable, "-c", SLEEPER.format(parent=2**22 + 1)]
    assert subprocess.run(orphan, timeout=30, check=False).returncode == 1


def test_a_kernel_watches_the_command_that_runs_its_notebook(tmp_path):
    book = nbformat.v4.new_notebook()
    tags = {"tags": ["parameters"]}
    looked = "import threading\nsorted(t.name for t in threading.enumerate() if 'watch' in t.name)"
    book.cells = [
        nbformat.v4.new_code_cell("a: int = 1", metadata=tags),
        nbformat.v4.new_code_cell(looked),
    ]
    book.metadata["kernelspec"] = {"name": "python3", "display_name": "p", "language": "python"}
    nbformat.write(book, tmp_path / "book.ipynb")
    notebook_runs.run_notebook(tmp_path / "book.ipynb", tmp_path / "run.ipynb", {})
    (shown,) = nbformat.read(tmp_path / "run.ipynb", as_version=4).cells[-1].outputs
    assert shown["data"]["text/plain"] == "['parent watch']"


def test_leftovers_of_killed_processes_alone_are_removed(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    left = tmp_path / "a" / f".table.{gone.pid}.partial.csv"
    left.parent.mkdir()
    for path in (left, tmp_path / "a" / f".own.{os.getpid()}.partial.csv", tmp_path / "table.csv"):
        path.write_text("half")
    left_folder = tmp_path / f".phantom.{gone.pid}.partial"
    (left_folder / "site_a").mkdir(parents=True)
    assert artifacts.remove_leftovers(tmp_path) == [left_folder, left]
    assert not left_folder.exists()
    assert len(list(tmp_path.rglob("*.csv"))) == 2
