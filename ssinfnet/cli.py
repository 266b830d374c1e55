"""`ssinfnet …` on the command line: thin calls into the library."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ssinfnet.study import config

__all__ = ["app"]

Threads = Annotated[
    int | None,
    typer.Option(min=1, help="processor threads", show_default="OMP_NUM_THREADS, or 1"),
]

app = typer.Typer(no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)

data_app = typer.Typer(no_args_is_help=True, help="Raw data: look at them, fetch them.")
app.add_typer(data_app, name="data")

model_app = typer.Typer(no_args_is_help=True, help="Trained models: pack them, check them.")
app.add_typer(model_app, name="model")


@contextmanager
def _refusals() -> Iterator[None]:
    """Say in one line what the library refused, and leave with exit status 1."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from error


@data_app.command("inspect")
def inspect_data(
    folder: Annotated[Path, typer.Argument(help="folder of raw data")],
    source: Annotated[str, typer.Option(help="layout: a module of ssinfnet/data/sources")],
) -> None:
    """Say what a folder holds, what cannot be used, and which slices occur twice."""
    from ssinfnet.data import inspection

    with _refusals():
        typer.echo(inspection.inspect(folder, source).text())


@data_app.command("download")
def download_data(
    name: Annotated[str, typer.Argument(help="medseg or covid19_ct_seg")],
    to: Annotated[Path, typer.Option(help="folder that receives it")],
) -> None:
    """Fetch a freely available data set, or what is missing of it."""
    from ssinfnet.data.sources import download

    with _refusals():
        typer.echo(download.download(name, to))


@model_app.command("pack")
def pack_model(
    study: Annotated[str, typer.Argument(help="trained study: a name, or a YAML file's path")],
    to: Annotated[Path, typer.Option("--to", "-o", metavar="DIR", help="folder to make")],
    single_model: Annotated[
        str | None, typer.Option(help="of stage 1; ssinfnet where it was trained")
    ] = None,
    multi_model: Annotated[
        str | None, typer.Option(help="of stage 2, or none for stage 1 alone")
    ] = None,
    folds: Annotated[
        str, typer.Option(help="an average over several: 0 (the study's split), or 1,2,3")
    ] = "0",
    seeds: Annotated[str, typer.Option(help="likewise, such as 1,2; all by default")] = "",
) -> None:
    """Copy a study's networks into a folder that describes itself, scores and limits included.

    The folder is all that `ssinfnet predict` needs, and what may be published.
    """
    from ssinfnet.scans import model_folder, model_packing

    with _refusals():
        packed = model_packing.pack(
            config.load_study(study), to, single_model=single_model, multi_model=multi_model,
            folds=_numbers(folds), seeds=_numbers(seeds) or None,
        )  # fmt: skip
        typer.echo(model_folder.verify(packed))


@model_app.command("verify")
def verify_model(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="of `ssinfnet model pack`")],
) -> None:
    """Check every hash and key of a model, and that each of its networks answers."""
    from ssinfnet.scans import model_folder

    with _refusals():
        typer.echo(model_folder.verify(folder))


@app.command("predict")
def predict(
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT",
            help="DICOM folders or files, NIfTI volumes, folders of slice pictures, pictures, or "
            "folders of such",
        ),
    ],
    model: Annotated[Path, typer.Option(metavar="DIR", help="of `ssinfnet model pack`")],
    to: Annotated[Path, typer.Option("--to", "-o", metavar="OUT", help="receives the results")],
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1 or mps; CUDA where there is one")
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="slices at once; fewer need less memory")
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
        typer.Option(help="bfloat16; on CUDA alone by default", show_default=False),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="probability from which a pixel is lesion; the model's")
    ] = None,
    threads: Threads = None,
    phenotypes: Annotated[
        bool, typer.Option("--phenotypes", help="measure the radiomic phenotypes of each scan")
    ] = False,
    dicom_seg: Annotated[
        bool, typer.Option(help="write DICOM-SEG of DICOM series (needs highdicom)")
    ] = True,
    slope: Annotated[
        float | None, typer.Option(help="intensities that are no HU: HU = slope · stored + offset")
    ] = None,
    offset: Annotated[float | None, typer.Option(help="likewise, such as -1024")] = None,
    window: Annotated[
        str | None,
        typer.Option(metavar="LOW,HIGH", help="HU that grey values of 0..1, -1..1 or 0..255 span"),
    ] = None,
    resample: Annotated[
        bool, typer.Option("--resample", help="tilted gantries: predict on a grid at right angles")
    ] = False,
) -> None:
    """Segment scans: maps and masks in their own geometry, tables and a picture of each.

    For research only, not a medical device. Run again, it goes on where it stopped. The exit status
    is 0 if every file was used, 1 if an input could not be used, and 3 if only files beside the
    scans were not; table_excluded.csv says why. OUT may be any folder: scans of earlier calls stay
    in it, and nothing that ssinfnet did not write is replaced or removed.
    """
    from ssinfnet.data.sources.intensities import Declared
    from ssinfnet.scans import predicted_files
    from ssinfnet.scans.prediction import Predictor

    with _refusals():
        predictor = Predictor.of(
            model, device=device, batch_size=batch_size, flips=flips,
            mixed_precision=mixed_precision, threshold=threshold, threads=threads,
        )  # fmt: skip
        written = predicted_files.predict_into(
            to, inputs, predictor, phenotypes=phenotypes, dicom=dicom_seg,
            declared=Declared(slope, offset, _window(window)), resample=resample,
        )  # fmt: skip
    typer.echo(written.text(to))
    for one in written.refused:
        typer.echo(f"not used: {one.input}: {one.reason}", err=True)
    if written.status:
        raise typer.Exit(written.status)


def _window(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    asked = "expected a window such as -1000,400"
    numbers = _numbers(text, float, asked)
    if len(numbers) != 2:
        raise ValueError(f"{asked}, got {text!r}")
    return numbers[0], numbers[1]


@app.command("study")
def show_study(name: Annotated[str, typer.Argument(help="name, or path of a YAML file")]) -> None:
    """Check a study and print every setting, defaults included."""
    with _refusals():
        study = config.load_study(name)
    typer.echo(study.model_dump_json(indent=2))


@app.command("phantom")
def write_phantom(
    folder: Annotated[Path, typer.Argument(help="where the raw files go")],
    study: Annotated[str, typer.Option(help="study whose phantom to write")] = "demo",
) -> None:
    """Write the embedded data set as raw files in the layouts of the real sources."""
    from ssinfnet.data import phantom

    with _refusals():
        settings = config.load_study(study).data.phantom
        if settings is None:
            raise ValueError(f"study {study!r} reads real data; it has no phantom")
        typer.echo(phantom.write_phantom(folder, settings))


@app.command("mediate")
def mediate_table(
    table: Annotated[Path, typer.Argument(help="CSV of one row a patient")],
    exposures: Annotated[
        str,
        typer.Option(help="columns, separated by commas; one that holds a comma in double quotes"),
    ],
    outcome: Annotated[str, typer.Option(help="a column")],
    mediators: Annotated[str, typer.Option(help="columns or patterns such as 'ggo_*'")],
    covariates: Annotated[
        str | None,
        typer.Option(
            help="columns; text becomes categories; 'none' for none. By default the hospital, "
            "centre or site of a table with several",
            show_default=False,
        ),
    ] = None,
    adjust_exposures: Annotated[
        bool, typer.Option("--adjust-exposures", help="make the other exposures covariates too")
    ] = False,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            help="COLUMN=KIND where a column is something else than said: continuous, count, "
            "ordinal, binary, category, date or id; may be repeated"
        ),
    ] = None,
    missing: Annotated[
        str | None,
        typer.Option(
            help="numbers that mean a missing value, or 'none'; by default -99, -999 and -9999 of "
            "columns in which nothing else is negative"
        ),
    ] = None,
    patient: Annotated[str | None, typer.Option(help="column that names the patients")] = None,
    adjustment: Annotated[str, typer.Option(help="fdr_bh or holm, within an exposure")] = "fdr_bh",
    draws: Annotated[int, typer.Option(min=0, help="of the bootstrap")] = 5000,
    interval: Annotated[
        str, typer.Option(help="percentile, or bca, which is too narrow for small tables")
    ] = "percentile",
    seed: Annotated[int, typer.Option(help="of the draws")] = 2021,
    to: Annotated[Path | None, typer.Option(help="CSV that receives every test")] = None,
) -> None:
    """Test which columns carry the effect of exposures on an outcome.

    Prints the mediators; every test goes to TABLE_mediation.csv, or where `--to` says. A file there
    that ssinfnet did not write is not replaced; what it wrote is listed in written_files.json.
    """
    from ssinfnet import mediation
    from ssinfnet.storage import artifacts
    from ssinfnet.storage.written_files import WrittenFiles

    to = to or table.with_name(f"{table.stem}_mediation.csv")
    with _refusals():
        written = WrittenFiles.of(to.parent)
        written.refuse_others([to.name])  # before the draws, which take minutes
        patients = mediation.read_patients_table(table, patient)
        tested = mediation.chosen_columns(patients, _listed(mediators))
        beside = (
            mediation.default_covariates(patients, [*_listed(exposures), outcome, *tested])
            if covariates is None else _listed(covariates.removeprefix("none"))
        )  # fmt: skip
        found = mediation.mediate(
            patients, _listed(exposures), outcome, tested, beside,
            adjust_exposures=adjust_exposures, kinds=_kinds(kind or []),
            missing=None if missing is None else _numbers(
                missing.removeprefix("none"), float, "--missing takes numbers with commas between"
            ),
            adjustment=adjustment, draws=draws, interval=interval, seed=seed,
        )  # fmt: skip
    typer.echo(found.text())
    with _refusals(), written.replacing() as staged:
        rows = found.table.to_csv(index=False, lineterminator="\n")
        artifacts.write_text(staged / to.name, rows)
    typer.echo(to)
    typer.echo(mediation.ASSUMPTIONS)


def _kinds(named: list[str]) -> dict[str, str]:
    """Return column → kind."""
    if bare := [one for one in named if "=" not in one]:
        raise ValueError(f"--kind takes COLUMN=KIND, such as stage=category; got {bare[0]!r}")
    return dict(one.rsplit("=", 1) for one in named)


def _listed(names: str) -> list[str]:
    """Return what commas separate; a name that holds a comma stands in quotes, as in a CSV."""
    (row,) = csv.reader([names.replace("\n", " ")], skipinitialspace=True)
    return [name.strip() for name in row if name.strip()]


def _numbers(
    text: str, kind: type = int, asked: str = "expected whole numbers with commas between"
) -> list[Any]:
    """Return numbers of a kind; what was asked for is said where one is none."""
    try:
        return [kind(number) for number in _listed(text)]
    except ValueError as error:
        raise ValueError(f"{asked}, got {text!r}") from error


@app.command("compare")
def compare_studies(
    first: Annotated[str, typer.Argument(help="study: a name, or the path of a YAML file")],
    second: Annotated[str, typer.Argument(help="another study")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="page to write: something.html")
    ] = None,
) -> None:
    """Put two studies side by side: every table both have, and the settings that differ.

    Writes one page, FIRST_and_SECOND.html if not told otherwise, and a CSV beside it. Files there
    that ssinfnet did not write are not replaced; what it wrote is listed in written_files.json.
    """
    from ssinfnet.report import study_comparison

    with _refusals():
        studies = config.load_study(first), config.load_study(second)
        page = output or Path("_and_".join(study.name for study in studies) + ".html")
        compared = study_comparison.compare_studies(*studies)
        written = study_comparison.write(compared, *studies, page)
    for path in written:
        typer.echo(path)


@app.command("publish")
def publish_study(
    name: Annotated[str, typer.Argument(help="study: a name, or the path of a YAML file")],
) -> None:
    """Copy what the repository shows of a study's last run into docs/results, and say what changed.

    Of a phantom tables and the paper's figures; of real data tables over many patients alone. What
    the run no longer makes is removed once the run is complete.
    """
    from ssinfnet.report import publication

    with _refusals():
        typer.echo(publication.publish(config.load_study(name)).text())


@app.command("learnt")
def show_learnt(
    name: Annotated[str, typer.Argument(help="study: a name, or the path of a YAML file")],
) -> None:
    """Say in one line whether every training of a study's last run beat its trivial rivals."""
    from ssinfnet.evaluation import learnt

    with _refusals():
        typer.echo(learnt.of_study(config.load_study(name)))


@app.command("train")
def train(
    name: Annotated[str, typer.Argument(help="study: a name, or the path of a YAML file")],
    data: Annotated[Path | None, typer.Option(help="folder of the raw data")] = None,
    only: Annotated[
        str, typer.Option(help="patterns of notebooks with commas between, such as '0[1-8]_*'")
    ] = "",
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="processor threads", show_default="the study's `threads`"),
    ] = None,
) -> None:
    """Run a whole study in this process, without papermill and Snakemake.

    For a bare GPU machine; where both are installed, `make reproduce` runs the same notebooks in
    parallel and keeps them as executed. With `--only`, what the other notebooks need is not asked
    for: '0[1-8]_*' trains and scores without PyRadiomics and semopy.
    """
    from ssinfnet.engine import plain_runs
    from ssinfnet.evaluation import learnt
    from ssinfnet.study import paths

    if data is not None:
        os.environ[paths.DATA_VARIABLE] = str(data.resolve())
    with _refusals():
        study = config.load_study(name)
        plain_runs.run_study(study, name, _listed(only), threads)
        typer.echo(learnt.of_study(study))


if __name__ == "__main__":
    app()
