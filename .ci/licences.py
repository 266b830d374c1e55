"""Write LICENSES.md: under which licence each package of constraints.txt is used.

Asks the metadata of what is installed; a package that is not, because it is for another platform,
keeps the line that it had.
"""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEAD = """# Licences

Of the packages in `constraints.txt`, as their own metadata state them; `make licences` writes this
list. This project's own is in [LICENSE](LICENSE), but for the networks in `ssinfnet/scans/models`,
whose weights carry the licences of their training data, for non-commercial research: see
[their card](ssinfnet/scans/models/covid_lesions/MODEL_CARD.md).

| package | version | licence | home |
| --- | --- | --- | --- |
"""


def pins(constraints: str) -> dict[str, str]:
    """Return name → version of the lines of a constraints file."""
    lines = [line.split("==") for line in constraints.splitlines() if "==" in line]
    return {name: version for name, version in lines if not name.startswith("#")}


def licence_of(package: metadata.PackageMetadata) -> str:
    """Return the licence that a package states: its expression, classifiers or short text."""
    if expression := package.get("License-Expression"):
        return expression
    classifiers = [
        line.rpartition(" :: ")[2]
        for line in package.get_all("Classifier") or []
        if line.startswith("License :: ") and not line.endswith("OSI Approved")
    ]
    if classifiers:
        return ", ".join(sorted(set(classifiers)))
    text = (package.get("License") or "").strip()
    return text.splitlines()[0][:60] if text and text != "UNKNOWN" else ""


def title_of_licence_file(name: str) -> str:
    """Return the first line of the licence file that a package installs."""
    for file in metadata.files(name) or []:
        if file.stem.upper() in ("LICENSE", "LICENCE") and file.locate().is_file():
            return file.locate().read_text(encoding="utf-8").strip().splitlines()[0][:60]
    return ""


def home_of(package: metadata.PackageMetadata) -> str:
    """Return a package's home page, else the first address that its metadata name."""
    if page := package.get("Home-page"):
        return page
    named = dict(
        re.split(r",\s*", line, maxsplit=1) for line in package.get_all("Project-URL") or []
    )
    wanted = ("homepage", "home", "repository", "source", "source code", "documentation")
    by_label = {label.lower(): address for label, address in named.items()}
    found = [by_label[label] for label in wanted if label in by_label]
    return (found or [*named.values(), ""])[0]


def line_of(name: str, version: str) -> str | None:
    """Return a package's line of the table, None where it is not installed."""
    try:
        package = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    licence = licence_of(package) or title_of_licence_file(name) or "unknown"
    return f"| {name} | {version} | {licence.replace('|', '/')} | {home_of(package)} |"


def table(constraints: str, earlier: str) -> str:
    """Return LICENSES.md for a constraints file; `earlier` is what it was."""
    kept = {
        line.split(" | ")[0][2:]: line for line in earlier.splitlines() if line.startswith("| ")
    }
    lines = [
        line_of(name, version) or kept.get(name, f"| {name} | {version} | unknown | |")
        for name, version in sorted(pins(constraints).items())
    ]
    return HEAD + "\n".join(lines) + "\n"


def main() -> None:
    """Write the list."""
    path = ROOT / "LICENSES.md"
    earlier = path.read_text(encoding="utf-8") if path.is_file() else ""
    path.write_text(table((ROOT / "constraints.txt").read_text(), earlier), encoding="utf-8")


if __name__ == "__main__":
    main()
