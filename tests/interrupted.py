"""Kill a run of the pipeline, look at what is left, let it go on: for a test and a benchmark."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil

from ssinfnet.study import paths

TIMED = ("table_s8", "table_costs", "table_trainings", "figure_costs")  # nothing but timings
COMPARED_TIMES = b"s8,table_s8,"  # the rows of table_paper_comparison that repeat table_s8
TRAINING = ("01_lung", "03_", "04_", "05_", "06_")  # notebooks
PARTS = ("Snakefile", "rules", "notebooks", "studies")  # what Snakemake runs
SERVER = "ssinfnet.engine.fork_server"  # also what it has forked is called so
PHASES = ("training", "writing", "papermill", "snakemake")
GRACE_S = 60.0  # in which what was started ends by itself, on a busy machine
STEP_S = 0.002


@dataclass(frozen=True)
class Left:
    """What a kill met and left."""

    phase: str  # where the run was; "finished" if it was over before
    seconds_to_end: float  # until the last process was gone
    orphans: int  # processes still there after GRACE_S
    seen: tuple[str, ...] = ()  # what each of them was doing


def checkout(root: Path, finished: Path | None = None) -> Path:
    """Make a project folder with runs and figures of its own; return its path.

    Parameters
    ----------
    root : Path
        Is made.
    finished : Path or None
        Another project folder, what it has run is copied.
    """
    root.mkdir(parents=True)
    for name in PARTS:
        (root / name).symlink_to(paths.project_root() / name)
    for name in ("papermill_runs", "figures", ".snakemake"):
        if finished is not None:
            ignored = shutil.ignore_patterns("locks", "log")
            shutil.copytree(finished / name, root / name, ignore=ignored)  # times are kept
    return root


def environment(root: Path) -> dict[str, str]:
    """Return the environment of a run in a project folder."""
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(paths.project_root()),
        "SSINFNET_ROOT": str(root),
    }


def snakemake(root: Path, *arguments: str) -> subprocess.Popen:
    """Start Snakemake in a process group of its own, as a terminal does."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", "study=smoke"]
    with (root / "snakemake.log").open("a") as log:
        return subprocess.Popen(
            [*command, "--rerun-incomplete", *arguments],
            cwd=root,
            env=environment(root),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def finish(root: Path, *arguments: str) -> None:
    """Run Snakemake to its end; an error shows the end of its log."""
    if snakemake(root, *arguments).wait():
        raise RuntimeError((root / "snakemake.log").read_text()[-3000:])


def processes(root: Path) -> list[psutil.Process]:
    """Return what runs for a project folder: Snakemake, notebooks, kernels, their workers."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("SSINFNET_ROOT") == str(root)
            if ours and process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def phase_of(root: Path) -> str:
    """Say what a run is doing: one of `PHASES`."""
    if _is_writing(root):
        return "writing"
    commands = []
    for process in processes(root):
        try:
            commands.append((process, " ".join(process.cmdline())))
        except psutil.NoSuchProcess:
            continue
    books = [(process, command) for process, command in commands if "notebook_runs" in command]
    kernels = {process.ppid() for process, command in commands if "ipykernel" in command}
    if not books:
        return "snakemake"
    forked = _has_forked_kernel([process for process, command in commands if SERVER in command])
    running = [command for process, command in books if forked or process.pid in kernels]
    if any(f"/{name}" in command for name in TRAINING for command in running):
        return "training"
    return "papermill"


def _has_forked_kernel(forked: list[psutil.Process]) -> bool:
    """Say whether one is the child of a notebook's process, which is the server's child."""
    parents = {}
    for process in forked:
        try:
            parents[process.pid] = process.ppid()
        except psutil.NoSuchProcess:
            continue
    return any(parents.get(parents.get(parent, -1), -1) != -1 for parent in parents.values())


def _is_writing(root: Path) -> bool:
    """Say whether a process that lives has a file half-written."""
    for part in ("figures", "papermill_runs"):
        for _, _, names in os.walk(root / part):
            for name in names:
                writer = re.fullmatch(r"\..+\.(\d+)\.partial.*(?<!\.ipynb)", name)  # all its time
                if writer and psutil.pid_exists(int(writer[1])):
                    return True
    return False


def kill(running: subprocess.Popen, root: Path, after_s: float, phase: str, whole: bool) -> Left:
    """Kill a run with SIGKILL, some time after it has come to a phase.

    Parameters
    ----------
    running : Popen
        From `snakemake`.
    root : Path
    after_s : float
        Time in the phase; writing takes milliseconds, so there it is waited for after this time.
    phase : str
        One of `PHASES`.
    whole : bool
        The whole process group, or Snakemake alone. Kernels have groups of their own either way.
    """
    if phase == "writing":
        time.sleep(after_s)
        while running.poll() is None and not _is_writing(root):
            time.sleep(STEP_S)
    else:
        while running.poll() is None and phase_of(root) != phase:
            time.sleep(STEP_S)
        time.sleep(after_s)
    met = "finished"
    if running.poll() is None:
        # What is being written is soon done: it is not looked at a second time.
        met = phase if phase == "writing" else phase_of(root)
        (os.killpg if whole else os.kill)(running.pid, signal.SIGKILL)
    running.wait()
    began = time.perf_counter()
    while (left := processes(root)) and time.perf_counter() - began < GRACE_S:
        time.sleep(0.05)
    took = time.perf_counter() - began
    seen = tuple(map(_described, left))
    for process in left:
        process.kill()
    return Left(met, round(took, 2), len(left), seen)


def _described(process: psutil.Process) -> str:
    """Say what a process is and what each of its threads waits in, for whoever reads a failure."""
    try:
        waits = [path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/wchan")]
        used, command = sum(process.cpu_times()[:2]), " ".join(process.cmdline())
        return (
            f"{process.pid}, child of {process.ppid()}, {process.status()}, {used:.1f} s of a "
            f"core, threads in {waits}: {command}"
        )
    except (psutil.NoSuchProcess, OSError):
        return f"{process.pid}, which has ended since"


def recover(root: Path, *arguments: str) -> subprocess.Popen:
    """Clear the lock that a killed run has left, and run on."""
    finish(root, "--unlock")
    return snakemake(root, *arguments)


def different(root: Path, other: Path) -> list[str]:
    """Return the tables of two runs that differ, timings apart; of `root` if `other` lacks them."""
    names = sorted(
        str(path.relative_to(root / "figures")) for path in (root / "figures").rglob("[!.]*.csv")
    )
    return [
        name
        for name in names
        if not Path(name).name.startswith(TIMED)
        and _content(root / "figures" / name) != _content(other / "figures" / name)
    ]


def _content(path: Path) -> bytes:
    """Return a table's bytes, without the column of seconds or the rows of times if it has such."""
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    content = b"".join(line for line in lines if not line.startswith(COMPARED_TIMES))
    if b"seconds" not in content.partition(b"\n")[0].split(b","):
        return content
    return pd.read_csv(path, dtype=str).drop(columns="seconds").to_csv(index=False).encode()
