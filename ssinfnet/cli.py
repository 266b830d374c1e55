"""`ssinfnet …` on the command line: thin calls into the library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssinfnet import config

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)


@app.command("study")
def show_study(name: Annotated[str, typer.Argument(help="name, or path of a YAML file")]) -> None:
    """Check a study and print every setting, defaults included."""
    try:
        study = config.load_study(name)
    except (FileNotFoundError, ValueError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from error
    typer.echo(study.model_dump_json(indent=2))


@app.command("phantom")
def write_phantom(
    folder: Annotated[Path, typer.Argument(help="where the raw files go")],
    study: Annotated[str, typer.Option(help="study whose phantom to write")] = "demo",
) -> None:
    """Write the embedded data set as raw files in the layouts of the real sources."""
    from ssinfnet import phantom

    settings = config.load_study(study).data.phantom
    if settings is None:
        typer.echo(f"study {study!r} reads real data; it has no phantom", err=True)
        raise typer.Exit(1)
    typer.echo(phantom.write_phantom(folder, settings))
