"""`ssinfnet …` on the command line: thin calls into the library."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import ssinfnet
from ssinfnet.cli import data_verbs, model_verbs, parsing
from ssinfnet.cli.mediation import mediate_table
from ssinfnet.study import config, paths
from ssinfnet.work import progress

__all__ = ["app"]

Threads = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="of the processor; 1, or OMP_NUM_THREADS", show_default=False
    ),
]

EMPTY_LINE = "\x1b[2K\x1b[G"  # takes away what is left of a bar; click leaves it out in a pipe


class Verbs(TyperGroup):
    """The verbs. One that is stopped by Ctrl-C says so in a line and exits with status 130."""

    def invoke(self, ctx: Any) -> Any:
        """Call the verb that the command line names."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            typer.echo(f"{EMPTY_LINE}stopped by Ctrl-C; no result is half written", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode="markdown",  # the lines of a paragraph flow
    pretty_exceptions_enable=False,
    epilog="Help on a verb: `ssinfnet VERB --help`. All of them: docs/commands.md.",
)

app.add_typer(data_verbs.app, name="data")
app.add_typer(model_verbs.app, name="model")


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"ssinfnet {ssinfnet.__version__}")
        raise typer.Exit


@app.callback()
def whole(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="say the version"),
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="show where an error comes from")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="say results and errors alone, no progress")
    ] = False,
) -> None:
    """Segment lesions of lung CT, measure them, and ask what they mediate."""
    if verbose:
        os.environ[parsing.VERBOSE_VARIABLE] = "1"
    if quiet:
        os.environ[progress.QUIET_VARIABLE] = "1"


@app.command("predict")
def predict(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT",
            parser=parsing.path,  # one that cannot be read must not end the others
            help="DICOM folders or files, NIfTI, NRRD or MetaImage volumes, folders of slice "
            "pictures, pictures, or folders and ZIP archives of such",
        ),
    ],
    to: Annotated[
        Path,
        typer.Option("--to", "-o", metavar="OUT", parser=parsing.path, help="receives the results"),
    ],
    model: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="of `ssinfnet model pack`; the one that comes with ssinfnet"
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="cpu, cuda, cuda:1 or mps; CUDA where there is one"),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, metavar="N", help="slices at once; fewer need less memory")
    ] = 8,
    flips: Annotated[
        bool | None,
        typer.Option(
            help="average over four flipped views, four times the work; as the model's study did",
            show_default=False,
        ),
    ] = None,
    mixed_precision: Annotated[
        bool | None,
        typer.Option(
            "--mixed-precision/--float32",
            help="bfloat16; on CUDA alone by default",
            show_default=False,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(metavar="P", help="probability from which a pixel is lesion; the model's"),
    ] = None,
    threads: Threads = None,
    phenotypes: Annotated[
        bool, typer.Option("--phenotypes", help="measure the radiomic phenotypes of each scan")
    ] = False,
    texture: Annotated[
        Path | None, typer.Option(metavar="YAML", help="what they are: keys of `clinical.texture`")
    ] = None,
    dicom_seg: Annotated[
        bool, typer.Option(help="write DICOM-SEG of DICOM series (needs highdicom)")
    ] = True,
    rtstruct: Annotated[
        bool, typer.Option("--rtstruct", help="write RTSTRUCT of DICOM series, contours")
    ] = False,
    slope: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="intensities that are no HU: HU = slope · stored + offset; stored is the number "
            "after the file's own slope and intercept, so DICOM that is in HU by these is refused",
        ),
    ] = None,
    offset: Annotated[
        float | None, typer.Option(metavar="X", help="likewise, such as -1024")
    ] = None,
    window: Annotated[
        str | None,
        typer.Option(metavar="LOW,HIGH", help="HU that grey values of 0..1, -1..1 or 0..255 span"),
    ] = None,
    resample: Annotated[
        bool,
        typer.Option(
            "--resample",
            help="tilted gantries and uneven slices: predict on a grid at right angles, evenly",
        ),
    ] = False,
    series: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHICH",
            help="CT series of a study or CD: the description or a part of it such as lung, a "
            "pattern such as 'lung*1.0*', a SeriesInstanceUID, thickest or thinnest of each study; "
            "may be repeated. Every axial one by default",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="print rows, files and what was not used as JSON")
    ] = False,
) -> None:
    """Segment scans: maps and masks in their own geometry, tables and a picture of each.

    For research only, not a medical device. Run again, it goes on where it stopped. The exit status
    is 0 if every file was used, 1 if an input could not be used, and 3 if only files beside the
    scans were not; table_excluded.csv says why. OUT may be any folder: scans of earlier calls stay
    in it, and nothing that ssinfnet did not write is replaced or removed.
    """
    progress.say("loading the libraries and the model …")  # seconds, in which nothing else is said
    from ssinfnet.data.sources.intensities import Declared
    from ssinfnet.scans import burden, model_folder, predicted_files
    from ssinfnet.scans.prediction import Predictor

    with parsing.refusals():
        predictor = Predictor.of(
            model or model_folder.INCLUDED, device=device, batch_size=batch_size, flips=flips,
            mixed_precision=mixed_precision, threshold=threshold, threads=threads,
        )  # fmt: skip
        written = predicted_files.predict_into(
            to, inputs, predictor, phenotypes=phenotypes or texture is not None, dicom=dicom_seg,
            texture=config.load_texture(texture) if texture else config.DEFAULT_TEXTURE,
            declared=Declared(slope, offset, parsing.window(window)), resample=resample,
            series=series or (), structures=rtstruct,
        )  # fmt: skip
    if as_json:
        typer.echo(written.json(to))
    else:
        for row in written.rows:
            typer.echo(burden.headline(row))
        if predictor.model.description.training.study.get("undertrained"):
            typer.echo("undertrained: it shows that the chain runs, not what can be reached")
        typer.echo(written.text(to))
    for one in written.refused:
        typer.echo(f"not used: {one.input}: {one.reason}", err=True)
    if written.status:
        raise typer.Exit(written.status)


@app.command("study")
def show_study(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY]",
            help="a name, or a YAML file's path; without one, the names are listed",
            autocompletion=parsing.study_names,
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="list as JSON, for programs; settings always are")
    ] = False,
) -> None:
    """Check a study and print every setting, defaults included; or list the studies."""
    with parsing.refusals():
        if name is not None:
            typer.echo(config.load_study(name).model_dump_json(indent=2))
            return
        known = {name: config.load_study(name).description for name in paths.study_names()}
    if as_json:
        typer.echo(json.dumps(known, indent=2))
    else:
        for name, description in known.items():
            typer.echo(f"{name:18} {description}")


@app.command("phantom")
def write_phantom(
    folder: Annotated[Path, typer.Argument(help="where the raw files go")],
    study: Annotated[
        str,
        typer.Option(help="study whose phantom to write", autocompletion=parsing.study_names),
    ] = "demo",
) -> None:
    """Write the embedded data set as raw files in the layouts of the real sources."""
    from ssinfnet.data import phantom

    with parsing.refusals():
        settings = config.load_study(study).data.phantom
        if settings is None:
            raise ValueError(f"study {study!r} reads real data; it has no phantom")
        typer.echo(phantom.write_phantom(folder, settings))


app.command("mediate")(mediate_table)


@app.command("compare")
def compare_studies(
    first: parsing.StudyName,
    second: parsing.StudyName,
    to: Annotated[
        Path | None,
        typer.Option("--to", "-o", metavar="PAGE", help="page to write: something.html"),
    ] = None,
) -> None:
    """Put two studies side by side: every table both have, and the settings that differ.

    Writes one page, FIRST_and_SECOND.html if not told otherwise, and a CSV beside it. Files there
    that ssinfnet did not write are not replaced; what it wrote is listed in written_files.json.
    """
    from ssinfnet.report import study_comparison

    with parsing.refusals():
        studies = config.load_study(first), config.load_study(second)
        page = to or Path("_and_".join(study.name for study in studies) + ".html")
        compared = study_comparison.compare_studies(*studies)
        written = study_comparison.write(compared, *studies, page)
    for path in written:
        typer.echo(path)


@app.command("publish")
def publish_study(
    name: parsing.StudyName,
) -> None:
    """Copy what the repository shows of a study's last run into docs/results, and say what changed.

    Of a phantom tables and the paper's figures; of real data tables over many patients alone. What
    the run no longer makes is removed once the run is complete.
    """
    from ssinfnet.report import publication

    with parsing.refusals():
        typer.echo(publication.publish(config.load_study(name)).text())


@app.command("learnt")
def show_learnt(
    name: parsing.StudyName,
    as_json: parsing.AsJson = False,
) -> None:
    """Say in one line whether every training of a study's last run beat its trivial rivals.

    `--json` prints a row a training, with its scores and those of its best rival.
    """
    from ssinfnet.evaluation import learnt

    with parsing.refusals():
        study = config.load_study(name)
        typer.echo(learnt.json_of(study) if as_json else learnt.of_study(study))


@app.command("train")
def train(
    name: parsing.StudyName,
    data: Annotated[Path | None, typer.Option(help="folder of the raw data")] = None,
    only: Annotated[
        str, typer.Option(help="patterns of notebooks with commas between, such as '0[1-8]_*'")
    ] = "",
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="of the processor; those of the study", show_default=False
        ),
    ] = None,
) -> None:
    """Run a whole study in this process, without papermill and Snakemake.

    For a bare GPU machine; where both are installed, `make reproduce` runs the same notebooks in
    parallel and keeps them as executed. With `--only`, what the other notebooks need is not asked
    for: '0[1-8]_*' trains and scores without PyRadiomics and semopy.
    """
    from ssinfnet.engine import plain_runs
    from ssinfnet.evaluation import learnt

    if data is not None:
        os.environ[paths.DATA_VARIABLE] = str(data.resolve())
    with parsing.refusals():
        study = config.load_study(name)
        plain_runs.run_study(study, name, parsing.listed(only), threads)
        typer.echo(learnt.of_study(study))
