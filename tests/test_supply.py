"""What is installed: every licence is known and listed, and the audit says what it could do."""

import json
from email.message import Message

import pytest
from conftest import load_script

from ssinfnet.study.paths import project_root

ROOT = project_root()


licences, audit = (load_script(ROOT / ".ci" / f"{name}.py") for name in ("licences", "audit"))


def test_every_pinned_package_is_listed_with_a_known_licence():
    pinned = licences.pins((ROOT / "constraints.txt").read_text())
    lines = (ROOT / "LICENSES.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    listed = {name: (version, licence) for name, version, licence, _ in cells[2:]}
    assert {name: version for name, (version, _) in listed.items()} == pinned
    assert [name for name, (_, licence) in listed.items() if licence in ("", "unknown")] == []


def test_no_package_is_pinned_twice():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert len(lines) == len(set(lines))


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        ([("License-Expression", "BSD-3-Clause"), ("License", "other")], "BSD-3-Clause"),
        (
            [("Classifier", "License :: OSI Approved :: MIT License"), ("License", "x")],
            "MIT License",
        ),
        ([("Classifier", "License :: OSI Approved"), ("License", "MIT\nfull text")], "MIT"),
        ([("License", "UNKNOWN")], ""),
        ([], ""),
    ],
)
def test_a_licence_is_what_the_metadata_state_first(fields, licence):
    package = Message()
    for name, value in fields:
        package[name] = value
    assert licences.licence_of(package) == licence


def test_a_package_of_another_platform_keeps_its_line():
    earlier = "| of-windows | 1.0 | MIT | there |\n"
    assert earlier in licences.table("of-windows==1.0\n", earlier)


@pytest.mark.parametrize(
    ("answer", "complaint", "status", "said"),
    [
        ("", "python: No module named pip_audit", 0, "not audited: pip-audit is not installed"),
        ("", "ConnectionError: no route", 0, "index is not reachable"),
        ([{"name": "a", "skip_reason": "x"}], "", 0, "not audited: pip-audit's index knows none"),
        ([{"name": "a", "version": "1", "vulns": []}], "", 0, "1 packages audited"),
        (
            [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}],
            "", 1, "a 1: CVE-1, mended in ['2']",
        ),
    ],
)  # fmt: skip
def test_the_audit_fails_for_known_faults_alone(answer, complaint, status, said):
    text = json.dumps({"dependencies": answer}) if answer else ""
    got, lines = audit.summary(text, complaint)
    assert got == status
    assert said in lines[0]
