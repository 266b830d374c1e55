import os
import platform
import re
import subprocess
import sys
import time

import nbformat
import pytest

from ssinfnet.engine import notebook_runs

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
    kept = "import os; assert os.environ['MALLOC_MMAP_THRESHOLD_'] == '65536'"
    assert notebook_runs.main([str(notebook(kept)), str(output)]) == 0


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


def test_the_terminal_gets_one_line_and_the_log_what_cells_and_kernel_say(notebook, output, capfd):
    cells = "print('a cell says')", "import os; _ = os.write(2, b'the kernel says')"
    began = time.time() - 32
    given = ["-p", "epochs", "3", "--progress", "3", str(began), str(output.parent)]
    assert notebook_runs.main([str(notebook(*cells)), str(output), *given]) == 0
    (line,) = capfd.readouterr().err.splitlines()
    assert re.fullmatch(r"\[1/3\] book epochs=3: \d+ s, about 1 min \d+ s left", line)
    story = output.with_suffix(".log").read_text(encoding="utf-8")
    assert "a cell says" in story
    assert "the kernel says" in story

    assert notebook_runs.main([str(notebook("1 / 0")), str(output)]) == 1
    assert "ZeroDivisionError: division by zero" in (told := capfd.readouterr().err)
    assert str(output.with_suffix(".log")) in told

    assert notebook_runs.main([str(notebook(*cells)), str(output), "-v"]) == 0
    assert "a cell says" in capfd.readouterr().err


def test_a_line_counts_the_notebooks_executed_since_the_run_began(tmp_path):
    for name, age in (("a", 500), ("b.fold1", 50), ("c", 10), (".d.partial", 5)):
        path = tmp_path / f"{name}.ipynb"
        path.touch()
        os.utime(path, (1_000_000 - age,) * 2)
    run = ["8", str(1_000_000 - 100), str(tmp_path)]
    line = notebook_runs._done(tmp_path / "c.ipynb", {"fold": 1}, 1_000_000 - 12, run, 1_000_000)
    assert line == "[2/8] c fold=1: 12 s, about 5 min 0 s left"


def test_tables_are_written_after_a_notebook_ran_in_the_same_process(tmp_path):
    """Papermill is imported without pyarrow's file systems, which pandas needs for a table."""
    code = f"""
import sys, pandas
from ssinfnet.engine import notebook_runs
notebook_runs._papermill()
assert not {{*notebook_runs.UNUSED}} & {{*sys.modules}}, "neither was needed, nor is hidden"
pandas.DataFrame({{"a": [1]}}).to_parquet({str(tmp_path / "a.parquet")!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True)
