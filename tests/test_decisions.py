"""Which decisions shape which item."""

import re
from pathlib import Path

import pytest

from ssinfnet.paper.contents import contents
from ssinfnet.report import decisions

ROOT = Path(__file__).parents[1]


def test_every_decision_that_is_named_exists():
    written = decisions.read_decisions(ROOT)
    named = {f"D-{number:02d}" for item in contents() for number in item.decisions}
    assert named <= set(written)
    assert all(title for title, _ in written.values())


def test_every_entry_of_the_file_is_read_with_its_words():
    text = (ROOT / "DECISIONS.md").read_text(encoding="utf-8")
    written = decisions.read_decisions(ROOT)
    assert len(written) == len(re.findall(r"^- .*\*\*D-\d+", text, flags=re.MULTILINE))
    assert written["D-02"] == (
        "Pleural effusion is not lesion.",
        "Label 3 becomes background; its pixels are counted.",
    )
    assert "##" not in written["D-18"][1]  # the next heading ends an entry


def test_every_decision_that_code_or_pages_name_exists():
    written = decisions.read_decisions(ROOT)
    named = {
        number
        for pattern in ("ssinfnet/**/*.py", "ssinfnet/**/*.csv", "notebooks/*.ipynb", "rules/*",
                        "*.md", "docs/*.md", "studies/*", "Snakefile")
        for path in ROOT.glob(pattern)
        for number in re.findall(r"\bD-\d{2,3}\b", path.read_text(encoding="utf-8"))
    }  # fmt: skip
    assert len(named) > 50
    assert named <= set(written)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("table_s7_tests", ["D-15", "D-36"]),
        ("table_ct_ss", ["D-53"]),
        ("figure_coach", ["D-32"]),
        ("table_nobody_has", []),
    ],
)
def test_an_item_has_the_decisions_of_its_row(name, shapes):
    assert decisions.shaping(name) == shapes


def test_a_checkout_without_the_file_has_none(tmp_path):
    assert decisions.read_decisions(tmp_path) == {}
