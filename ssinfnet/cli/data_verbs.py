"""`ssinfnet data …`: look at raw data, fetch them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ssinfnet.cli import parsing
from ssinfnet.study.config.data import SourceName

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Raw data: look at them, fetch them.")


@app.command("inspect")
def inspect_data(
    folder: Annotated[Path, typer.Argument(help="folder of raw data")],
    source: Annotated[
        SourceName, typer.Option(help="layout of the folder; docs/your_data.md describes each")
    ],
    mask_label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=LABEL",
            help="what masks say, as a study's mask_labels: a colour, a number or a part's name, "
            "and 0 nothing, 1 GGO or lesion, 2 consolidation, 3 effusion; may be repeated",
            show_default=False,
        ),
    ] = None,
    as_json: parsing.AsJson = False,
) -> None:
    """Say what a folder holds, what cannot be used, and which slices occur twice."""
    from ssinfnet.data import inspection

    with parsing.refusals():
        labels = parsing.mask_labels(mask_label or [])
        found = inspection.inspect(folder, source, labels)
        typer.echo(found.json() if as_json else found.text())


@app.command("download")
def download_data(
    name: Annotated[
        Literal["medseg", "covid19_ct_seg"], typer.Argument(metavar="NAME", help="data set")
    ],
    to: Annotated[Path, typer.Option("--to", "-o", metavar="DIR", help="folder that receives it")],
) -> None:
    """Fetch a freely available data set, or what is missing of it."""
    from ssinfnet.data.sources import download

    with parsing.refusals():
        typer.echo(download.download(name, to))
