"""The rules of the house for notebooks, as tests."""

import ast

import nbformat
import pytest

from ssinfnet.study.paths import project_root

NOTEBOOKS = sorted((project_root() / "notebooks").glob("*.ipynb"))


def code_cells(path):
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]


def tagged(path, tag):
    return [c for c in code_cells(path) if tag in c.metadata.get("tags", [])]


each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_there_are_notebooks():
    assert NOTEBOOKS


@each
def test_notebook_opens_with_its_question_and_what_it_reads_and_writes(path):
    first = nbformat.read(path, as_version=4).cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith(f"# {path.stem[:2]} · ")
    for word in ("**Question.**", "**Reads**", "**Writes**", "**Runtime**"):
        assert word in first.source


@each
def test_notebook_has_one_parameters_cell_of_typed_literals(path):
    (cell,) = tagged(path, "parameters")
    body = ast.parse(cell.source).body
    assert all(isinstance(node, ast.AnnAssign) for node in body)
    # the newcomer's walk has a study of its own, whose networks find something
    expected = "start" if path.stem == "00_start" else "smoke"
    assert ast.literal_eval(body[0].value).startswith(expected)
    assert all("#" in line for line in cell.source.splitlines())


@each
def test_notebook_is_thin(path):
    cells = code_cells(path)
    assert len(cells) <= 15
    assert max(len(cell.source.splitlines()) for cell in cells) <= 10
    for cell in cells:
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.FunctionDef | ast.ClassDef | ast.For | ast.While)
        assert '"/' not in cell.source


@each
def test_no_comprehension_is_run_for_what_it_does(path):
    for cell in code_cells(path):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.ListComp | ast.DictComp | ast.SetComp):
                called = {
                    part.func.id if isinstance(part.func, ast.Name) else part.func.attr
                    for part in ast.walk(node)
                    if isinstance(part, ast.Call)
                    and isinstance(part.func, ast.Name | ast.Attribute)
                }
                assert not any(name.startswith(("save", "write")) for name in called), called


RESULTS = ("07_", "08_", "09_", "10_", "11_", "12_", "13_", "14_", "15_", "16_", "17_")


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if path.stem.startswith(RESULTS)],
                         ids=lambda path: path.stem)  # fmt: skip
def test_a_results_notebook_says_in_words_what_it_shows(path):
    assert "report.findings.show(" in code_cells(path)[-2].source


@each
def test_notebook_has_a_stored_output_for_nbval_to_check(path):
    checked = tagged(path, "nbval-check-output")
    assert checked
    assert all(cell.outputs and cell.execution_count for cell in checked)


@each
def test_the_check_cell_is_folded_away(path):
    (cell,) = tagged(path, "nbval-check-output")
    assert cell.metadata["jupyter"] == {"source_hidden": True}


@each
def test_a_notebook_opens_its_study_under_its_own_name(path):
    code = "\n".join(cell.source for cell in code_cells(path))
    assert "engine.open_study(" in code
    assert f'"{path.stem}"' in code


@each
def test_only_the_check_cell_keeps_its_output(path):
    for cell in code_cells(path):
        if "keep_output" not in cell.metadata.get("tags", []):
            assert not cell.outputs
