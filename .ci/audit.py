"""Ask pip-audit for known vulnerabilities of the packages in constraints.txt; exit 1 if any."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"


def summary(answer: str, complaint: str) -> tuple[int, list[str]]:
    """Return exit status and lines to print, from what pip-audit has written."""
    if "No module named" in complaint:
        return 0, ["not audited: pip-audit is not installed (pip install pip-audit)"]
    try:
        packages = json.loads(answer)["dependencies"]
    except (ValueError, KeyError):
        last = (complaint.strip().splitlines() or ["no answer"])[-1]
        return 0, [f"not audited: pip-audit's index is not reachable ({last:.150})"]
    asked = [package for package in packages if "vulns" in package]
    if not asked:
        return 0, [f"not audited: pip-audit's index knows none of {len(packages)} packages"]
    found = [
        f"{package['name']} {package['version']}: {fault['id']}, mended in {fault['fix_versions']}"
        for package in asked
        for fault in package["vulns"]
    ]
    skipped = len(packages) - len(asked)
    said = f"{len(asked)} packages audited, {skipped} unknown to the index, {len(found)} faults"
    return int(bool(found)), [*found, said]


def main() -> int:
    """Run pip-audit and say what it found."""
    asked = subprocess.run(
        [sys.executable, "-m", "pip_audit", "--requirement", str(CONSTRAINTS), "--no-deps",
         "--disable-pip", "--format", "json", "--progress-spinner", "off"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    status, lines = summary(asked.stdout, asked.stderr)
    sys.stdout.write("\n".join(lines) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
