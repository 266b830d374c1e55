"""Notebooks whose processes are forked from one that has imported everything."""

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import psutil
import pytest

from ssinfnet.engine import notebook_runs, warm_start

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux forks")

RUN = """
import os, subprocess, sys
from ssinfnet.engine import warm_start
server = warm_start.start()
print(os.environ[warm_start.SERVER_VARIABLE], flush=True)
sys.stdin.read()
"""
SHOWN = """import matplotlib.pyplot as plt
import os, sys, torch
figure = plt.figure(figsize=(1, 1))
print(fold, os.getcwd(), os.environ.get("SAID"), torch.get_num_threads(), file=sys.stdout)
print("beside", file=sys.stderr)
torch.ones(2).sum().item()"""


@pytest.fixture(scope="module")
def server():
    """Start a run and its server; end the run as SIGKILL would."""
    with subprocess.Popen(
        [sys.executable, "-c", RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        yield Path(run.stdout.readline().strip()), run
        run.kill()


@pytest.fixture
def notebook(tmp_path):
    def write(source, name="book"):
        book = nbformat.v4.new_notebook()
        book.cells = [
            nbformat.v4.new_code_cell("fold: int = 0", metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(source),
        ]
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "p", "language": "python"}
        nbformat.write(book, tmp_path / f"{name}.ipynb")
        return tmp_path / f"{name}.ipynb"

    return write


def command(notebook, output, *more):
    return [
        sys.executable,
        "-m",
        "ssinfnet.engine.notebook_runs",
        str(notebook),
        str(output),
        *more,
    ]


def runs(notebook, output, *more, **environment):
    """Run a notebook by the command that Snakemake gives; return what became of it."""
    return subprocess.run(
        command(notebook, output, *more),
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def shown(path):
    """Return the outputs of the last cell as they are compared: kinds with what they hold."""
    outputs = nbformat.read(path, as_version=4).cells[-1].outputs
    return [(one.output_type, one.get("text"), one.get("data")) for one in outputs]


def is_gone(path, within_s=10):
    return _until(lambda: not path.exists(), within_s)


def _until(holds, within_s):
    began = time.monotonic()
    while not holds() and time.monotonic() - began < within_s:
        time.sleep(0.05)
    return holds()


def test_a_forked_notebook_shows_what_one_that_starts_by_itself_shows(server, notebook, tmp_path):
    book = notebook(SHOWN)
    environment = {"SAID": "so", "OMP_NUM_THREADS": "1"}
    cold = runs(book, tmp_path / "cold.ipynb", "-p", "fold", "3", **environment)
    warm = runs(book, tmp_path / "warm.ipynb", "-p", "fold", "3", **environment,
                **{warm_start.SERVER_VARIABLE: str(server[0])})  # fmt: skip
    assert (cold.returncode, warm.returncode) == (0, 0)
    assert shown(tmp_path / "warm.ipynb") == shown(tmp_path / "cold.ipynb")
    kinds = [kind for kind, *_ in shown(tmp_path / "warm.ipynb")]
    assert kinds == ["stream", "stream", "execute_result", "display_data"]
    for name in ("terminal", "log"):
        told = [
            one.stderr if name == "terminal" else (tmp_path / f"{kind}.log").read_text()
            for kind, one in (("cold", cold), ("warm", warm))
        ]
        same = [re.sub(r"\.\w+\.\d+\.partial|\d+ s|cold|warm", "", text) for text in told]
        assert same[0] == same[1] != ""


def test_a_forked_notebook_has_imported_already(server, notebook, tmp_path):
    # Nor is any module missing that papermill's own process does without.
    book = notebook(
        "import sys\nprint('torch' in sys.modules, 'papermill' in sys.modules)\n"
        "assert None not in sys.modules.values()"
    )
    environment = {warm_start.SERVER_VARIABLE: str(server[0])}
    assert runs(book, tmp_path / "warm.ipynb", **environment).returncode == 0
    assert shown(tmp_path / "warm.ipynb")[0][1] == "True True\n"
    assert runs(book, tmp_path / "cold.ipynb").returncode == 0
    assert shown(tmp_path / "cold.ipynb")[0][1] == "False False\n"


def test_failures_are_told_as_ever(server, notebook, tmp_path, monkeypatch):
    environment = {warm_start.SERVER_VARIABLE: str(server[0])}
    failed = runs(notebook("1 / 0"), tmp_path / "failed.ipynb", **environment)
    assert failed.returncode == 1
    assert "ZeroDivisionError" in failed.stderr
    assert (tmp_path / "failed.failed.ipynb").exists()
    killed = notebook("import os\nos.kill(os.getpid(), 9)")
    dead = runs(killed, tmp_path / "dead.ipynb", **environment)
    assert dead.returncode == 1
    assert "was killed or ran out of memory" in dead.stderr
    wrong = runs(killed, tmp_path / "wrong.ipynb", "-p", "part", "1", **environment)
    assert wrong.returncode == 1
    assert "has no parameter ['part']" in wrong.stderr


def test_notebooks_run_side_by_side(server, notebook, tmp_path):
    book = notebook("import time\ntime.sleep(1)\nfold")
    environment = {warm_start.SERVER_VARIABLE: str(server[0])}

    def run(fold):
        return runs(book, tmp_path / f"{fold}.ipynb", "-p", "fold", str(fold), **environment)

    with ThreadPoolExecutor(3) as pool:
        assert [one.returncode for one in pool.map(run, range(3))] == [0, 0, 0]
    for fold in range(3):
        assert shown(tmp_path / f"{fold}.ipynb")[0][2] == {"text/plain": str(fold)}


def test_a_notebook_and_its_kernel_end_with_the_command_that_asked(server, notebook, tmp_path):
    book = notebook(
        f"import os, pathlib, time\npids = f'{{os.getpid()}} {{os.getppid()}}'\n"
        f"pathlib.Path({str(tmp_path / 'pids')!r}).write_text(pids)\ntime.sleep(60)"
    )
    environment = os.environ | {warm_start.SERVER_VARIABLE: str(server[0])}
    with subprocess.Popen(command(book, tmp_path / "out.ipynb"), env=environment) as asked:
        assert _until((tmp_path / "pids").exists, 60)
        assert _until((tmp_path / "pids").read_text, 5)
        processes = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
        assert all(psutil.pid_exists(pid) for pid in processes)
        asked.send_signal(signal.SIGKILL)
    assert _until(lambda: not any(psutil.pid_exists(pid) for pid in processes), 10)


def test_a_kernel_that_lets_no_thread_run_ends_with_its_notebook_too(server, notebook, tmp_path):
    """As one that computes in C and keeps Python's lock: no watch of its own helps."""
    book = notebook(
        f"import ctypes, os, pathlib\npathlib.Path({str(tmp_path / 'pid')!r}).write_text("
        "str(os.getpid()))\nctypes.PyDLL(None).sleep(60)"
    )
    environment = os.environ | {warm_start.SERVER_VARIABLE: str(server[0])}
    with subprocess.Popen(command(book, tmp_path / "out.ipynb"), env=environment) as asked:
        assert _until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), 60)
        kernel = int((tmp_path / "pid").read_text())
        asked.send_signal(signal.SIGKILL)
    assert _until(lambda: not psutil.pid_exists(kernel), 10)


def test_without_a_server_notebooks_start_by_themselves(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv(warm_start.SERVER_VARIABLE, str(tmp_path / "gone"))
    assert notebook_runs.main([str(notebook("fold + 1")), str(tmp_path / "out.ipynb")]) == 0
    assert shown(tmp_path / "out.ipynb")[0][2] == {"text/plain": "1"}


def test_a_server_that_ends_before_it_answers_is_done_without(tmp_path, monkeypatch):
    """As one does that finds a GPU."""
    monkeypatch.setattr(warm_start.sys, "executable", "/bin/true")
    monkeypatch.setenv(warm_start.SERVER_VARIABLE, "")
    warm_start.start().wait()
    address = Path(os.environ[warm_start.SERVER_VARIABLE])
    assert warm_start.ask(["book.ipynb", "out.ipynb"]) is None
    address.unlink()
    address.parent.rmdir()


def test_a_server_ends_with_the_run_that_started_it(server):
    address, run = server
    assert address.is_socket()
    assert (address.parent.stat().st_mode & 0o077) == 0  # nobody else may ask
    run.kill()
    assert is_gone(address.parent)
