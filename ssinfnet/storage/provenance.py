"""What was run: executed notebooks and how long they took, versions, the machine, hashes.

All of it is read from what lies on disk: papermill's own notes in the executed notebooks, the
record beside each artifact, the manifest of the figures. Nothing here names a host, a user or a
folder, so that a page may leave the house.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ssinfnet.storage import artifacts

__all__ = ["code_version", "hashed_artifacts", "instructions", "machine", "notebook_runs",
           "processor", "versions"]  # fmt: skip

WRITES_THE_PAGE = "18_report"  # not among what it reports: it is still running
RUN_COLUMNS = ["study", "notebook", "parameters", "seconds", "started"]
HASH_COLUMNS = ["study", "artifact", "rows", "sha256"]
RECORDED = (".parquet", ".npz")  # their hashes stand in the record beside them
HASHED_HERE = ("images.npy", "masks.npy", "weights.safetensors")


def machine() -> dict[str, Any]:
    """Describe this machine without naming it.

    Returns
    -------
    dict
        processor, cores, memory_gib and operating_system.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "operating_system": f"{_operating_system()} ({platform.machine()})",
    }


def notebook_runs(folders: Iterable[Path]) -> pd.DataFrame:
    """Return which notebooks have been executed, with which parameters, and for how long.

    Parameters
    ----------
    folders : iterable of Path
        ``papermill_runs/<study>``; one that does not exist has no runs.

    Returns
    -------
    DataFrame
        study (the folder's name), notebook (without ending), parameters (dict, without the study),
        seconds (of the whole notebook) and started (UTC, ISO 8601); by study and notebook. Failed
        and unfinished runs are left out. No rows where papermill was not used.

    Raises
    ------
    ValueError
        If a file is no notebook.
    """
    rows = []
    for folder in folders:
        for path in sorted(folder.glob("*.ipynb")):
            hidden = path.name.startswith(".") or path.name.endswith(".failed.ipynb")
            notebook = path.name.partition(".")[0]
            noted = {} if hidden else artifacts.read_json(path)["metadata"].get("papermill", {})
            if not noted or notebook == WRITES_THE_PAGE:
                continue
            parameters = {k: v for k, v in noted.get("parameters", {}).items() if k != "study"}
            rows.append((folder.name, notebook, parameters, noted.get("duration"),
                         (noted.get("start_time") or "")[:19]))  # fmt: skip
    return pd.DataFrame(rows, columns=RUN_COLUMNS)


def versions(records: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the versions that made some items; several of one package stand side by side.

    Parameters
    ----------
    records : iterable of mapping
        The column ``made`` of `report.read_manifest`.

    Examples
    --------
    >>> versions([{"versions": {"numpy": "2.3"}}, {"versions": {"numpy": "2.4"}}, {}])
    {'numpy': '2.3, 2.4'}
    """
    seen: dict[str, set[str]] = {}
    for made in records:
        for package, version in made.get("versions", {}).items():
            seen.setdefault(package, set()).add(version)
    return {package: ", ".join(sorted(found)) for package, found in sorted(seen.items())}


def hashed_artifacts(folders: Mapping[str, Path]) -> pd.DataFrame:
    """Return what one notebook left for the next, with hashes: slices, tables, maps, weights.

    Parameters
    ----------
    folders : mapping of str to Path
        Study → its folder of artifacts; one that does not exist has none.

    Returns
    -------
    DataFrame
        study, artifact (path within the folder), rows (NA but of tables) and sha256: of tables and
        arrays as recorded when they were written, of prepared slices and weights as they are now.
    """
    rows = []
    for study, folder in folders.items():
        for path in sorted(folder.rglob("*.*")):
            noted: dict[str, Any] = {}
            if path.name in HASHED_HERE:
                noted = {"sha256": artifacts.sha256(path)}
            elif path.suffix == ".json" and path.with_suffix("").suffix in RECORDED:
                noted, path = artifacts.read_json(path), path.with_suffix("")
            if "sha256" in noted:
                name = path.relative_to(folder).as_posix()
                rows.append((study, name, noted.get("rows"), noted["sha256"]))
    return pd.DataFrame(rows, columns=HASH_COLUMNS).astype({"rows": "Int64"})


def code_version(root: Path) -> str:
    """Return the commit of a checkout, and whether files differ from it; "" where git says nothing.

    Parameters
    ----------
    root : Path
        From `paths.project_root`.
    """
    commit = _git(root, "rev-parse", "HEAD")
    if not commit:
        return ""
    changed = _git(
        root, "status", "--porcelain", "--untracked-files=no", "--", "ssinfnet", "notebooks"
    )
    return f"{commit[:12]}, with changes" if changed else commit[:12]


def _git(root: Path, *arguments: str) -> str:
    try:
        answer = subprocess.run(
            ["git", "-C", str(root), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):  # no git, or no checkout
        return ""
    return answer.stdout.strip()


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):  # not Linux, or a very small one
        return f"{platform.system()} {platform.release()}"


@cache
def processor() -> str:
    """Return the name of the processor's model."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


@cache
def instructions() -> tuple[str, ...]:
    """Return the sets of vector instructions that numpy computes with here, the oldest first.

    Sums are rounded in another order with each, so that a figure may differ in its last digits.
    """
    features = np.show_config(mode="dicts")["SIMD Extensions"]
    return (*features.get("baseline", ()), *features.get("found", ()))
