import platform

import nbformat
import pytest

from ssinfnet import notebook_runs

PARAMETERS = 'study: str = "smoke"  # a study\nepochs: int = 1\n'


@pytest.fixture
def notebook(tmp_path):
    def write(*sources: str):
        cells = [nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
        cells += [nbformat.v4.new_code_cell(source) for source in sources]
        book = nbformat.v4.new_notebook(cells=cells)
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "p", "language": "python"}
        path = tmp_path / "book.ipynb"
        nbformat.write(book, path)
        return path

    return write


@pytest.fixture
def output(tmp_path):
    return tmp_path / "runs" / "book.ipynb"


def test_an_executed_notebook_holds_its_parameters_and_results(notebook, output):
    notebook_runs.run_notebook(notebook("study * epochs"), output, {"study": "ab", "epochs": 2})
    last = nbformat.read(output, as_version=4).cells[-1]
    assert last.outputs[0]["data"]["text/plain"] == "'abab'"


def test_an_unknown_parameter_is_refused_before_anything_runs(notebook, output):
    with pytest.raises(ValueError, match=r"no parameter \['epoch'\].*'epochs'"):
        notebook_runs.run_notebook(notebook("1"), output, {"epoch": 2})
    assert not output.parent.exists()


def test_a_parameter_of_another_type_is_refused(notebook, output):
    with pytest.raises(ValueError, match="epochs must be int"):
        notebook_runs.run_notebook(notebook("1"), output, {"epochs": "many"})


def test_a_failed_cell_is_shown_with_its_error_and_the_partial_run_is_kept(notebook, output):
    output.parent.mkdir()
    output.write_text("an earlier run")
    with pytest.raises(notebook_runs.NotebookFailed) as caught:
        notebook_runs.run_notebook(notebook("x = 41", "x / 0"), output, {})
    assert "x / 0" in str(caught.value)
    assert "ZeroDivisionError: division by zero" in str(caught.value)
    assert output.read_text() == "an earlier run"
    partial = nbformat.read(output.with_suffix(".failed.ipynb"), as_version=4)
    assert any("x = 41" in cell.source for cell in partial.cells)


def test_a_dead_kernel_is_told_apart_from_a_failed_cell(notebook, output):
    with pytest.raises(notebook_runs.KernelDied, match="killed or ran out of memory"):
        notebook_runs.run_notebook(notebook("import os; os.kill(os.getpid(), 9)"), output, {})
    assert not output.exists()


def test_a_missing_notebook_is_named(tmp_path, output):
    with pytest.raises(FileNotFoundError, match=r"none\.ipynb"):
        notebook_runs.run_notebook(tmp_path / "none.ipynb", output, {})


def test_a_notebook_without_parameters_cell_is_refused(tmp_path, output):
    nbformat.write(nbformat.v4.new_notebook(), tmp_path / "bare.ipynb")
    with pytest.raises(ValueError, match="no cell tagged"):
        notebook_runs.run_notebook(tmp_path / "bare.ipynb", output, {})


def test_the_command_line_reports_a_failure_by_its_exit_status(notebook, output, caplog):
    path = str(notebook("raise ValueError('too thin')"))
    assert notebook_runs.main([path, str(output), "-p", "epochs", "3"]) == 1
    assert "ValueError: too thin" in caplog.text
    assert notebook_runs.main([str(notebook("epochs")), str(output), "-p", "epochs", "3"]) == 0


ALLOCATE = """
import resource
def faults_of_a_block_used_again():
    blocks = []
    for _ in range(8):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        bytearray(b"1") * 40_000_000
        blocks.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return min(blocks)
assert faults_of_a_block_used_again() < 1000  # of 4 KB pages 10,000
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_a_batch_run_keeps_freed_memory_unless_the_user_sets_otherwise(
    notebook, output, monkeypatch
):
    for name in notebook_runs.KEEP_MEMORY:
        monkeypatch.delenv(name, raising=False)
    assert notebook_runs.main([str(notebook(ALLOCATE)), str(output)]) == 0
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    assert notebook_runs.main([str(notebook(ALLOCATE)), str(output)]) == 1


def test_checks_are_stored_from_the_run_that_had_the_defaults(notebook, tmp_path):
    path = notebook("study * epochs", "1")
    book = nbformat.read(path, as_version=4)
    book.cells[1].metadata["tags"] = ["nbval-check-output", "keep_output"]
    nbformat.write(book, path)
    runs = tmp_path / "runs"
    with pytest.raises(FileNotFoundError, match="none of the 0 runs of book.ipynb"):
        notebook_runs.store_checks(path, runs)
    notebook_runs.run_notebook(path, runs / "smoke" / "book.a.ipynb", {"epochs": 3})
    notebook_runs.run_notebook(path, runs / "smoke" / "book.b.ipynb", {"study": "smoke"})
    notebook_runs.store_checks(path, runs)
    _, checked, other = nbformat.read(path, as_version=4).cells
    assert checked.outputs[0]["data"]["text/plain"] == "'smoke'"
    assert (checked.execution_count, other.execution_count, other.outputs) == (1, None, [])
