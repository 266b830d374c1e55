"""`ssinfnet model …`: pack trained networks, show, check and export packed ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ssinfnet.cli import parsing
from ssinfnet.study import config
from ssinfnet.study.models import MULTI_MODELS, SINGLE_MODELS

__all__ = ["app"]

PackedModel = Annotated[
    Path | None,
    typer.Argument(
        metavar="[DIR]", help="of `ssinfnet model pack`; the one that comes with ssinfnet"
    ),
]

app = typer.Typer(no_args_is_help=True, help="Trained models: pack, show, check, export them.")


@app.command("pack")
def pack_model(
    study: parsing.StudyName,
    to: Annotated[Path, typer.Option("--to", "-o", metavar="DIR", help="folder to make")],
    single_model: Annotated[
        str | None,
        typer.Option(
            help=f"of stage 1, {parsing.some_of(SINGLE_MODELS)}; ssinfnet where it was trained",
            autocompletion=parsing.models_of(SINGLE_MODELS),
        ),
    ] = None,
    multi_model: Annotated[
        str | None,
        typer.Option(
            help=f"of stage 2, {parsing.some_of(MULTI_MODELS)}, or none for stage 1 alone",
            autocompletion=parsing.models_of(MULTI_MODELS),
        ),
    ] = None,
    folds: Annotated[
        str, typer.Option(help="an average over several: 0 (the study's split), or 1,2,3")
    ] = "0",
    seeds: Annotated[str, typer.Option(help="likewise, such as 1,2; all by default")] = "",
    half: Annotated[
        bool, typer.Option("--half", help="convolutions at 16 bits, in half the space")
    ] = False,
) -> None:
    """Copy a study's networks into a folder that describes itself, scores and limits included.

    The folder is all that `ssinfnet predict` needs, and what may be published.
    """
    from ssinfnet.scans import model_folder, model_packing

    with parsing.refusals():
        packed = model_packing.pack(
            config.load_study(study), to, single_model=single_model, multi_model=multi_model,
            folds=parsing.numbers(folds), seeds=parsing.numbers(seeds) or None, half=half,
        )  # fmt: skip
        typer.echo(model_folder.verify(packed))


@app.command("export")
def export_model(
    to: Annotated[Path, typer.Option("--to", "-o", metavar="ONNX", help="file to make")],
    folder: PackedModel = None,
    flips: Annotated[
        bool | None,
        typer.Option(
            help="average over four flipped views; as the model's study did", show_default=False
        ),
    ] = None,
) -> None:
    """Write a model as one ONNX file, for programs without PyTorch, and compare the two.

    The file takes grey slices at the network's size and gives probabilities; its metadata say how
    slices are windowed and resized. Needs the extra `onnx`.
    """
    from ssinfnet.scans import exporting, model_folder

    with parsing.refusals():
        off = exporting.export_onnx(folder or model_folder.INCLUDED, to, flips=flips)
        typer.echo(f"{to}; probabilities differ from PyTorch's by at most {off:.1g}")


@app.command("info")
def show_model(
    folder: PackedModel = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="print its description, model.json, for programs")
    ] = False,
) -> None:
    """Show a model's card: what it is for, its data, licence, scores and limits."""
    from ssinfnet.scans import model_folder

    with parsing.refusals():
        model = model_folder.load(folder or model_folder.INCLUDED)
        typer.echo(model.described() if as_json else model.card())


@app.command("verify")
def verify_model(folder: PackedModel = None) -> None:
    """Check every hash and key of a model, and that each of its networks answers."""
    from ssinfnet.scans import model_folder

    with parsing.refusals():
        typer.echo(model_folder.verify(folder or model_folder.INCLUDED))
