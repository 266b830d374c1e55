"""The documents say what the code does: pages, links, verbs, rooms, numbers and diffs."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from conftest import load_script

from ssinfnet.study import paths, schedule
from ssinfnet.study.config import load_study

ROOT = paths.project_root()
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "data").glob("*.md")),
    ROOT / "DECISIONS.md",
    ROOT / "benchmarks" / "README.md",
]
GENERATED = {"studies": "studies_page", "commands": "commands_page"}


@pytest.fixture(scope="module")
def generate():
    return load_script(ROOT / "docs" / "generate.py")


def text_of(page):
    return page.read_text(encoding="utf-8")


def command_text(page):
    """What a page shows as code: fenced blocks and words in backticks."""
    text = text_of(page)
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    rest = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return "\n".join([*blocks, *re.findall(r"`([^`]+)`", rest)])


# What docs/generate.py writes


@pytest.mark.parametrize("name", GENERATED)
def test_a_generated_page_is_current(generate, name):
    written = text_of(ROOT / "docs" / f"{name}.md")
    assert written == getattr(generate, GENERATED[name])(), "run `python docs/generate.py`"


def keys_of(content, place=""):
    """Yield (place, key) of everything that a study file sets."""
    if isinstance(content, list):
        for one in content:
            yield from keys_of(one, place)
    elif isinstance(content, dict):
        for key, value in content.items():
            yield place, key
            yield from keys_of(value, f"{place}.{key}".strip("."))


@pytest.mark.parametrize(
    "file", sorted((ROOT / "studies").glob("*.yaml")), ids=lambda file: file.stem
)
def test_every_key_of_a_study_is_on_the_page_of_studies(file):
    page = text_of(ROOT / "docs" / "studies.md")
    keys = {}
    for section in page.split("\n## ")[1:]:
        under = re.search(r"^Under (.*)\.$", section, flags=re.MULTILINE)
        places = re.findall(r"`([^`]+)`", under[1]) if under else [""]
        rows = re.findall(r"^\| `(\w+)` \|", section, flags=re.MULTILINE)
        keys |= {place: set(rows) for place in places if place or section.startswith("Study")}
    missing = [
        f"{place}.{key}"
        for place, key in keys_of(yaml.safe_load(text_of(file)))
        if key not in keys[place]
    ]
    assert missing == []


def test_every_key_says_what_it_is(generate):
    silent = [
        f"{part.__name__}.{name}"
        for part in generate.parts()
        for name in part.model_fields
        if not generate.comment(part, name)
    ]
    assert silent == []


def test_a_comment_is_read_from_beside_its_key(generate):
    from ssinfnet.study.config import FittingConfig

    comments = generate.field_comments(FittingConfig)
    assert comments["momentum"] == "of SGD"
    inherited = set(FittingConfig.__base__.model_fields)
    assert set(comments) == set(FittingConfig.model_fields) - inherited
    assert "state" in generate.comment(FittingConfig, "state_seconds")


def test_no_command_option_or_verb_is_without_help(generate):
    silent = [
        f"{name} {given.name}"
        for name, command in generate.commands()
        for given in command.params
        if not given.help
    ]
    assert silent == []
    assert [name for name, command in generate.commands() if not command.help] == []
    targets = re.findall(r"^([a-z]+):(?!=)", text_of(ROOT / "Makefile"), flags=re.MULTILINE)
    assert set(targets) == set(generate.make_verbs())


def test_pages_hold_no_terminal_colours():
    for page in PAGES:
        assert "\x1b" not in text_of(page)


# Links and verbs


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_relative_link_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {link}"


def anchors(page):
    headings = re.findall(r"^#+ (.*)$", text_of(page), flags=re.MULTILINE)
    named = re.findall(r'<a id="([\w-]+)"></a>', text_of(page))
    return named + [
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_decision_that_a_page_names_is_a_link(page):
    if page.name in ("DECISIONS.md", "CHANGELOG.md"):
        return
    text = re.sub(
        r"^```.*?^```|`[^`\n]*`|\[[^\]\n]*\]\([^)\n]*\)", "", text_of(page), flags=re.M | re.S
    )
    assert re.findall(r"\bD-\d{2,3}\b", text) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_make_verb_and_command_named_exists(generate, page):
    code = command_text(page)
    verbs = set(re.findall(r"\bmake ([a-z]+)\b", code)) - {"VERB"}
    assert verbs <= set(generate.make_verbs())
    known = {name.removeprefix("ssinfnet ") for name, _ in generate.commands()}
    groups = {name.split()[0] for name in known if " " in name}
    named = re.findall(r"^\s*(?:python -m )?ssinfnet(?:\.cli)? ([a-z]+)(?: ([a-z]+))?", code, re.M)
    for first, second in named:
        assert (f"{first} {second}" if first in groups else first) in known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_option_of_a_command_shown_exists(generate, page):
    options = {
        name: {o for given in command.params for o in given.opts}
        for name, command in generate.commands()
    }
    joined = command_text(page).replace("\\\n", " ")
    for line in joined.splitlines():
        for name, known in options.items():
            if re.match(rf"\s*(python -m )?{re.escape(name)}\b", line):
                shown = set(re.findall(r"(?<=\s)(--?[a-z][a-z-]*)\b", line))
                assert shown <= known | {"--help"}, line


# What the README promises


def test_the_study_of_the_readme_is_one(tmp_path):
    (shown,) = re.findall(r"^```yaml\n(.*?)^```", text_of(ROOT / "README.md"), re.M | re.S)
    file = tmp_path / "mine.yaml"
    file.write_text(shown)
    assert load_study(str(file)).data.sources[0].name == "volumes"
    assert len(shown.splitlines()) <= 10
    file.write_text(
        re.sub("^multi: .*$", "multi: {models: [], oracle_models: []}", shown, flags=re.M)
    )
    assert not load_study(str(file)).multi.models


def rooms():
    """Modules of the README's list, in its order."""
    text = text_of(ROOT / "README.md").split("## Finding your way")[1]
    block = re.search(r"^```\n(.*?)^```", text, re.M | re.S)[1]
    return re.findall(r"\w+", " ".join(re.split(r" {2,}", row)[0] for row in block.splitlines()))


def test_the_readmes_rooms_are_the_librarys():
    library = {
        path.stem if path.is_file() else path.name
        for path in (ROOT / "ssinfnet").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert sorted(rooms()) == sorted(library - {"__init__"})


def imported_rooms(room):
    """Rooms that a room imports when it is loaded."""
    path = ROOT / "ssinfnet" / room
    files = path.rglob("*.py") if path.is_dir() else [path.with_suffix(".py")]
    for file in files:
        for line in ast.parse(text_of(file)).body:
            if isinstance(line, ast.ImportFrom) and (line.module or "").startswith("ssinfnet"):
                within = line.module.split(".")[1:2]
                yield from within or [name.name for name in line.names]


def test_the_readmes_rooms_stand_in_the_order_of_their_imports():
    order = {room: place for place, room in enumerate(rooms())}
    below = [
        f"{room} imports {other}"
        for room in order
        for other in set(imported_rooms(room)) - {room}
        if order[other] > order[room]
    ]
    assert below == []


def test_the_readme_is_short_and_every_document_is_linked_from_it():
    readme = text_of(ROOT / "README.md")
    assert len(readme.splitlines()) <= 200
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name}" in readme


# What docs/extending.md shows

DIFFS = re.findall(r"^```diff\n(.*?)^```", text_of(ROOT / "docs" / "extending.md"), re.M | re.S)
NAMED = """
from functools import partial

import pandas as pd

from ssinfnet import report, tables
from ssinfnet.study import config


def test_a_study_may_name_the_source_and_the_network():
    study = config.load_study("mine")
    assert study.data.sources[0].name == "pictures"
    assert study.single.models == ("attention_unet",)


def test_the_cell_writes_the_table(tmp_path):
    save_table = partial(report.save_table, tmp_path, made={})
    columns = {"tp": [1, 2], "fn": 0, "fp": 0, "tn": 8, "F1": [0.5, 1.0]}
    per_slice = pd.DataFrame({"model": "unet", **columns})
    exec(CELL, {**globals(), **locals()})
    assert (tmp_path / "table_lesion_size.csv").is_file()
"""


def apply(folder, diff, *options):
    outside = os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)}
    command = ["git", "apply", *options, "-"]
    return subprocess.run(
        command, cwd=folder, env=outside, input=diff, capture_output=True, text=True
    )


@pytest.fixture
def copy(tmp_path):
    """A copy of what the examples change."""
    for name in ("ssinfnet", "notebooks", "studies"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    return tmp_path


def test_a_source_a_network_and_a_table_are_shown_each_with_its_test():
    assert len(DIFFS) == 3
    assert all("+++ b/tests/test_" in diff for diff in DIFFS)


@pytest.mark.parametrize("diff", DIFFS, ids=["source", "network", "table"])
def test_each_diff_applies_by_itself(copy, diff):
    checked = apply(copy, diff, "--check")
    assert checked.returncode == 0, checked.stderr


def test_what_the_diffs_add_works(copy):
    for diff in DIFFS:
        assert apply(copy, diff).returncode == 0
    (copy / "studies" / "mine.yaml").write_text(
        "name: mine\ndescription: A try.\nsingle: {models: [attention_unet]}\n"
        "data: {sources: [{name: pictures, folder: mine}]}\n"
    )
    book = json.loads(text_of(copy / "notebooks" / "07_segmentation_results.ipynb"))
    (cell,) = [c["source"] for c in book["cells"] if "tables.size_table" in "".join(c["source"])]
    lines = "".join(cell[[n for n, line in enumerate(cell) if "size_table" in line][0] :])
    (copy / "tests" / "test_named.py").write_text(f"CELL = {lines!r}\n{NAMED}")
    env = os.environ | {"PYTHONPATH": str(copy), "SSINFNET_ROOT": str(copy)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^6 passed", done.stdout, re.M)


def test_the_page_on_servers_counts_what_the_paper_study_trains():
    stages = ("03_pretraining", "05_single_segmentation", "06_multi_segmentation")
    runs = [run.split(".")[0] for run, _ in schedule.runs_of(load_study("paper"), "paper")]
    pretrainings, *trainings = (runs.count(stage) for stage in stages)
    said = " ".join(text_of(ROOT / "docs" / "servers.md").split())
    assert f"train {sum(trainings)} networks for 500 epochs each, and {pretrainings} by" in said
