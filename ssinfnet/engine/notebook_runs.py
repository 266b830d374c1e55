"""Execute one notebook with parameters, in a process of its own.

`python -m ssinfnet.engine.notebook_runs NOTEBOOK OUTPUT` is the command.

Papermill does the work. What it leaves open is closed here: an unknown parameter is refused
before anything runs, the executed notebook appears under its name only when every cell has
succeeded, a failed cell is shown with its error, a dead kernel is told apart from it, and in both
cases the partly executed notebook is kept as `*.failed.ipynb` for reading. What the cells say goes
to a log beside the executed notebook; the terminal gets one line.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TextIO

from ssinfnet.engine import warm_start
from ssinfnet.engine.warm_start import KEEP_MEMORY
from ssinfnet.storage import artifacts, strict_yaml
from ssinfnet.work import parent_watch, progress

__all__ = ["KernelDied", "NotebookFailed", "main", "run_notebook", "store_checks"]

log = logging.getLogger("ssinfnet")

UNUSED = ("rfc3987_syntax", "pyarrow.fs")


class NotebookFailed(RuntimeError):
    """A cell raised; the message holds the cell and its error."""


class KernelDied(RuntimeError):
    """The kernel process ended under the notebook (killed, out of memory, crashed)."""


def run_notebook(notebook: Path, output: Path, parameters: Mapping[str, Any]) -> Path:
    """Execute a notebook and return the path of the executed copy.

    Parameters
    ----------
    notebook : Path
        With a cell tagged `parameters`.
    output : Path
        Where the executed notebook goes; an earlier one stays until this run has succeeded.
    parameters : mapping
        Values for the parameters cell, each of the type of its default there.

    Raises
    ------
    FileNotFoundError
        If there is no such notebook.
    ValueError
        If a parameter is unknown or of another type than its default.
    NotebookFailed, KernelDied
        See the module's text.
    """
    papermill = _papermill()
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    from ssinfnet.engine.kernels import SocketKernelManager

    if not notebook.is_file():
        raise FileNotFoundError(f"no notebook at {notebook}")
    check_parameters(notebook, parameters)
    failed = output.with_suffix(".failed.ipynb")
    failed.unlink(missing_ok=True)
    with artifacts.replacing(output) as temporary:
        try:
            papermill.execute_notebook(
                str(notebook),
                str(temporary),
                parameters=dict(parameters),
                progress_bar=sys.stderr.isatty(),
                log_output=True,
                autosave_cell_every=0,
                cwd=str(notebook.parent),
                kernel_manager_class=SocketKernelManager,
                extra_arguments=["--IPKernelApp.extra_extensions=ssinfnet.work.parent_watch"],
            )
        except PapermillExecutionError as error:
            _keep(temporary, failed)
            raise NotebookFailed(
                f"{notebook.name} failed in cell {error.exec_count}:\n{_indent(error.source)}\n"
                f"{error.ename}: {error.evalue}\nRead {failed} for the whole run."
            ) from error
        except DeadKernelError as error:
            _keep(temporary, failed)
            raise KernelDied(
                f"the kernel of {notebook.name} died ({error}); it was killed or ran out of "
                f"memory. Run the same command again: trainings resume. Partial run: {failed}"
            ) from error
    return output


def check_parameters(notebook: Path, parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that the notebook does not have, or of another type than their default.

    Papermill itself accepts any name and leaves the default in force.
    """
    defaults = _defaults(notebook)
    unknown = sorted(set(parameters) - set(defaults))
    if unknown:
        raise ValueError(f"{notebook.name} has no parameter {unknown}; it has {sorted(defaults)}")
    for name, value in parameters.items():
        if defaults[name] is not None and type(value) is not type(defaults[name]):
            raise ValueError(
                f"{notebook.name}: parameter {name} must be {type(defaults[name]).__name__} as its "
                f"default {defaults[name]!r}, got {value!r}"
            )


def _defaults(notebook: Path) -> dict[str, Any]:
    """Return the parameters of a notebook with their defaults."""
    found = _papermill().inspect_notebook(str(notebook))
    if not found:
        raise ValueError(f"{notebook} has no cell tagged `parameters`")
    return {name: ast.literal_eval(known["default"]) for name, known in found.items()}


def store_checks(notebook: Path, runs: Path) -> None:
    """Copy the outputs of the check cells of an executed notebook into its source.

    These are the outputs that nbval compares (tag `nbval-check-output`); `make checks` calls this
    after a deliberate change.

    Parameters
    ----------
    notebook : Path
    runs : Path
        Folder of executed notebooks, a folder a study below it. The run whose parameters are the
        notebook's defaults is taken, since nbval runs it with those.

    Raises
    ------
    FileNotFoundError
        If there is no such run.
    """
    import nbformat

    defaults = _defaults(notebook)
    executed = [
        nbformat.read(path, as_version=4) for path in sorted(runs.glob(f"*/{notebook.stem}*.ipynb"))
    ]
    alike = [run for run in executed if defaults | run.metadata.papermill.parameters == defaults]
    if not alike:
        raise FileNotFoundError(
            f"none of the {len(executed)} runs of {notebook.name} below {runs} has its defaults "
            f"{defaults}; run the study {defaults['study']!r}"
        )
    source = nbformat.read(notebook, as_version=4)
    by_id = {cell.id: cell for cell in alike[0].cells}
    for cell in source.cells:
        if cell.cell_type == "code":
            checked = "nbval-check-output" in cell.metadata.get("tags", [])
            cell.outputs = by_id[cell.id].outputs if checked else []
            cell.execution_count = 1 if checked else None
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = 1
    with artifacts.replacing(notebook) as temporary:
        nbformat.write(source, temporary)


def _papermill() -> ModuleType:
    """Import papermill, without two packages that it would import and never use here.

    A grammar of URIs, compiled on import, and Hadoop's file system: more than half of the time
    that a notebook's own process takes to start. Both are optional, to jsonschema and papermill.
    Whoever else asks for them later gets them: without its file systems, pyarrow reads no table.
    """
    hidden = [name for name in UNUSED if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        return importlib.import_module("papermill")
    finally:
        for name in hidden:
            del sys.modules[name]


def _only_what_the_cells_say(record: logging.LogRecord) -> bool:
    """Drop papermill's own two lines a cell and ipykernel's notice on local sockets."""
    text = record.getMessage()
    return not text.startswith(("Executing Cell", "Ending Cell", "[IPKernelApp] WARNING | Kernel"))


@contextmanager
def _said_to(path: Path) -> Iterator[None]:
    """Let this process and its kernel write to a file whatever they would to standard error.

    The descriptor itself is turned, since the kernel inherits it. Only what `log` says reaches
    the terminal, and the file too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stderr.flush()
    terminal = os.dup(2)
    with path.open("w", encoding="utf-8") as file, open(terminal, "w", encoding="utf-8") as shown:
        os.dup2(file.fileno(), 2)
        try:
            with _logged(logging.getLogger(), file), _logged(log, shown):
                yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)


@contextmanager
def _logged(logger: logging.Logger, stream: TextIO) -> Iterator[None]:
    """Write what a logger and those below it say to a stream."""
    handler, level = logging.StreamHandler(stream), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _done(
    output: Path, parameters: Mapping[str, Any], began: float, run: Sequence[str], now: float
) -> str:
    """Return the line of an executed notebook: which of how many, what, how long, time left.

    Parameters
    ----------
    output : Path
        Just executed.
    parameters : mapping
    began, now : float
        Seconds since the epoch.
    run : sequence of str
        What ``--progress`` was given, or nothing.
    """
    named = [f"{name}={value}" for name, value in parameters.items()]
    line = (
        f"{' '.join([output.name.partition('.')[0], *named])}: {progress.seconds_text(now - began)}"
    )
    if not run:
        return line
    total, run_began, *folders = run
    notebooks = [path for folder in folders for path in Path(folder).glob("[!.]*.ipynb")]
    executed = [path for path in notebooks if not path.name.endswith(".failed.ipynb")]
    number = sum(path.stat().st_mtime >= float(run_began) for path in executed)
    remaining_s = (now - float(run_began)) / max(number, 1) * (int(total) - number)
    ends = f", about {progress.seconds_text(remaining_s)} left" if number < int(total) else ""
    return f"[{number:{len(total)}}/{total}] {line}{ends}"


def _keep(temporary: Path, failed: Path) -> None:
    if temporary.exists():
        temporary.replace(failed)


def _indent(source: str) -> str:
    return "\n".join(f"    {line}" for line in source.splitlines())


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of a command line, this process's if None."""
    parser = argparse.ArgumentParser(
        prog="python -m ssinfnet.engine.notebook_runs", description=__doc__
    )
    parser.add_argument("notebook", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument(
        "-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), dest="parameters"
    )
    parser.add_argument(
        "--store-checks",
        action="store_true",
        help="copy check outputs into NOTEBOOK; OUTPUT: papermill_runs",
    )
    parser.add_argument(
        "--parent", type=int, help="process id of the caller: end when it is gone, even if killed"
    )
    parser.add_argument(
        "--progress",
        nargs="+",
        default=[],
        metavar=("NOTEBOOKS", "BEGAN FOLDER"),
        help="number of notebooks of the run, its beginning (seconds), folders of its notebooks",
    )
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="say here what the cells say, without a log"
    )
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Run one notebook, say how it went and return the exit status."""
    os.environ[progress.BATCH_VARIABLE] = "1"
    for name, value in KEEP_MEMORY.items():
        os.environ.setdefault(name, value)
    story = options.output.with_suffix(".log")
    logging.getLogger("papermill").addFilter(_only_what_the_cells_say)
    with _logged(logging.getLogger(), sys.stderr) if options.verbose else _said_to(story):
        began = time.time()
        try:
            parameters = {
                name: strict_yaml.parse(value, f"parameter {name}")
                for name, value in options.parameters
            }
            run_notebook(options.notebook, options.output, parameters)
        except (FileNotFoundError, ValueError, NotebookFailed, KernelDied) as error:
            log.error("%s", error if options.verbose else f"{error}\nWhat it said: {story}")
            return 1
        log.info(_done(options.output, parameters, began, options.progress, time.time()))
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run one notebook from the command line; return the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = options_of(arguments)
    if options.parent is not None:
        parent_watch.start(options.parent)
    if options.store_checks:
        store_checks(options.notebook, options.output)
        return 0
    status = warm_start.ask(arguments)
    return run(options) if status is None else status


if __name__ == "__main__":
    sys.exit(main())
