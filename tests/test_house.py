"""The house as the README draws it: every room named, imports pointing up, no file too long."""

import ast
import re
from graphlib import TopologicalSorter
from itertools import pairwise

import pytest
from conftest import ROOT

LIBRARY = ROOT / "ssinfnet"
LONGEST = 400  # lines
CODE = sorted(
    path
    for pattern in (
        "ssinfnet/**/*.py",
        "tests/**/*.py",
        "benchmarks/*.py",
        "rules/*.smk",
        "Snakefile",
    )
    for path in ROOT.glob(pattern)
)
ALL_ROOMS = {
    path.stem
    for path in LIBRARY.iterdir()
    if path.suffix == ".py" or (path / "__init__.py").is_file()
} - {"__init__"}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in LIBRARY.rglob("*.py")
}


def rooms_in_order() -> list[str]:
    """The library's rooms in the README's order, the command line last."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = re.search(r"## Finding your way.*?```\n(.*?)```", readme, re.DOTALL).group(1)
    return [line.split()[0] for line in listed.splitlines()]


def imported_rooms(path) -> set[str]:
    """The rooms that a module imports, wherever in it."""
    return {name.split(".")[1] for name in imported_modules(path) if name != "ssinfnet"}


def imported_modules(path) -> set[str]:
    """The modules of the library that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & MODULES.keys()) or {node.module}
    return found & MODULES.keys()


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_file_is_too_long_to_read(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


@pytest.mark.parametrize("path", CODE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_cites_a_text_that_does_not_ship(path):
    cited = "spec " + "§"  # the project's own specification; cite the paper's section or a decision
    assert cited not in path.read_text(encoding="utf-8")


def test_the_readme_names_every_room_once():
    assert sorted(rooms_in_order()) == sorted(ALL_ROOMS)


def test_imports_point_up_the_list():
    place = {room: number for number, room in enumerate(rooms_in_order())}
    against = [
        f"{path.relative_to(LIBRARY)} imports {other}"
        for path in LIBRARY.rglob("*.py")
        if (room := path.relative_to(LIBRARY).parts[0].removesuffix(".py")) != "__init__"
        for other in sorted(imported_rooms(path))
        if place[other] > place[room]
    ]
    assert against == []


def test_no_module_needs_itself():
    """Two modules that import each other cannot be read one after the other."""
    order = TopologicalSorter(
        {name: imported_modules(path) - {name} for name, path in MODULES.items()}
    )
    order.prepare()  # CycleError names the circle


@pytest.mark.parametrize(
    "path", sorted(LIBRARY.rglob("*.py")), ids=lambda path: path.relative_to(LIBRARY).as_posix()
)
def test_every_module_says_what_it_is_and_what_it_offers(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    names = {
        name.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        for name in ast.walk(target)
        if isinstance(name, ast.Name)
    }
    assert "__all__" in names


@pytest.mark.parametrize("room", sorted(ALL_ROOMS))
def test_no_docstring_describes_something_by_half_a_sentence(room):
    """ "Of the cohort." says nothing before one has read the name that it stands below."""
    halves = [
        f"{path.relative_to(LIBRARY)}: {line.strip()}"
        for path in (LIBRARY / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        for above, line in pairwise(("x : x", *(ast.get_docstring(node) or "").splitlines()))
        if re.match(r" *(Of|As) ", line) and re.fullmatch(r" *[\w, *]+ : .*", above)
    ]
    assert halves == []
