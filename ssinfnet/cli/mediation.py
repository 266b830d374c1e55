"""`ssinfnet mediate`: mediation on a table of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ssinfnet.cli.parsing import AsJson, listed, named_values, numbers, refusals

__all__ = ["mediate_table"]


def mediate_table(
    table: Annotated[
        Path, typer.Argument(help="one row a patient: .csv, .tsv, .txt, .xlsx or .parquet")
    ],
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
            "centre, site or institution of a table with several, known by its name",
            show_default=False,
        ),
    ] = None,
    adjust_exposures: Annotated[
        bool, typer.Option("--adjust-exposures", help="make the other exposures covariates too")
    ] = False,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            help="EXPOSURE=LEVEL that the other levels of a category are compared with, the most "
            "frequent by default; may be repeated"
        ),
    ] = None,
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
    imputations: Annotated[
        int,
        typer.Option(
            min=0, help="tables of multiple imputation, at least 2; 0: patients with all values"
        ),
    ] = 0,
    cluster: Annotated[
        str | None, typer.Option(help="column that rows of one patient or site share")
    ] = None,
    cluster_errors: Annotated[
        Literal["CR1", "CR2"],
        typer.Option(help="CR2 is bias-reduced, for few clusters"),
    ] = "CR1",
    weights: Annotated[str | None, typer.Option(help="column of sampling weights")] = None,
    patient: Annotated[str | None, typer.Option(help="column that names the patients")] = None,
    sheet: Annotated[str | None, typer.Option(help="of a workbook with several")] = None,
    mediator_model: Annotated[
        Literal["linear", "logistic", "poisson"] | None,
        typer.Option(
            help="of every mediator, in closed forms in place of linear regressions; by default "
            "its kind decides where one of the next three is given, else linear",
            show_default=False,
        ),
    ] = None,
    outcome_model: Annotated[
        Literal[
            "linear",
            "logistic",
            "loglinear",
            "poisson",
            "negative_binomial",
            "cox",
            "exponential",
            "weibull",
        ]
        | None,
        typer.Option(
            help="of the outcome, likewise; the last three are of times until an event",
            show_default=False,
        ),
    ] = None,
    event: Annotated[
        str | None,
        typer.Option(
            help="column that is 1 where the event was seen, 0 where a patient was censored; the "
            "outcome is then a time, by Cox's model unless another is named",
        ),
    ] = None,
    case_control: Annotated[
        bool,
        typer.Option("--case-control", help="patients were sampled by a binary outcome"),
    ] = False,
    ties: Annotated[
        Literal["efron", "breslow"],
        typer.Option(
            help="how Cox's model takes events at the same time; breslow, the SAS macro's, draws "
            "slopes towards 0 where many are tied",
        ),
    ] = "efron",
    interaction: Annotated[
        bool,
        typer.Option(
            "--interaction",
            help="in named models and the report's natural effects, let a mediator's slope depend "
            "on the exposure, and divide total effects into four parts",
        ),
    ] = False,
    reliability: Annotated[
        list[str] | None,
        typer.Option(
            help="MEDIATOR=SHARE of its variance that is not error, such as an ICC: the report "
            "corrects its effects; may be repeated"
        ),
    ] = None,
    adjustment: Annotated[
        Literal["fdr_bh", "holm"], typer.Option(help="of p, within an exposure")
    ] = "fdr_bh",
    draws: Annotated[
        int, typer.Option(min=0, help="of the bootstrap; named models have none")
    ] = 5000,
    interval: Annotated[
        Literal["percentile", "expanded", "bca"],
        typer.Option(
            help="expanded is wider for few patients or clusters; bca too narrow for small tables"
        ),
    ] = "percentile",
    seed: Annotated[int, typer.Option(help="of the draws")] = 2021,
    fewest: Annotated[
        int,
        typer.Option(
            min=1,
            help="patients of either value of a binary outcome, or no mediator is analysed; and "
            "patients who differ from the most frequent value of exposure and mediator, or have "
            "either level of a contrast, or there is no p and no interval by draws",
        ),
    ] = 20,
    to: Annotated[
        Path | None,
        typer.Option("--to", "-o", metavar="CSV", help="receives every test", show_default=False),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="folder for the whole analysis: one page with methods text and AGReMA checklist, "
            "path model, natural effects, sensitivity, all mediators jointly, figures and tables",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Test which columns carry the effect of exposures on an outcome.

    Prints the mediators; every test goes to TABLE_mediation.csv, or where `--to` says, unless
    `--json` prints them. With `--report` the whole analysis goes into a folder. A file there that
    ssinfnet did not write is not replaced; what it wrote is listed in written_files.json.
    """
    from ssinfnet import mediation

    asked: dict[str, Any] = {
        "adjust_exposures": adjust_exposures, "imputations": imputations, "cluster": cluster,
        "cluster_errors": cluster_errors,
        "weights": weights, "adjustment": adjustment, "draws": draws, "interval": interval,
        "seed": seed, "fewest": fewest,
    }  # fmt: skip
    if to is None and report is None and not as_json:
        to = table.with_name(f"{table.stem}_mediation.csv")
    with refusals():
        asked["kinds"] = named_values(kind or [], "--kind", "COLUMN=KIND, such as stage=category")
        asked["reference"] = named_values(reference or [], "--reference", "EXPOSURE=LEVEL")
        if missing is not None:
            asked["missing"] = numbers(
                missing.removeprefix("none"), float, "--missing takes numbers with commas between"
            )
        shares = named_values(reliability or [], "--reliability", "MEDIATOR=SHARE")
        models = {
            "mediator_model": mediator_model,
            "outcome_model": outcome_model,
            "event": event,
            "case_control": case_control,
        }
        asked["ties"] = ties
        asked |= {**models, "interaction": interaction}
        if report is None and (shares or (interaction and not any(models.values()))):
            raise ValueError("--interaction and --reliability act in the report; add --report DIR")
        _refuse_others(to, report)  # before the draws, which take minutes
        codes = [cluster] if cluster else []
        patients = mediation.read_patients_table(table, patient, sheet, codes)
        patients.attrs["source"] = table.name
        tested = mediation.chosen_columns(patients, listed(mediators))
        beside = None if covariates is None else listed(covariates.removeprefix("none"))
        given = (patients, listed(exposures), outcome, tested, beside)
        if report is None:
            found = mediation.single_effects(*given, **asked)
        else:
            analysis = mediation.analyse(
                *given, reliability={name: float(share) for name, share in shares.items()}, **asked
            )
            found = analysis.effects
    typer.echo(found.json() if as_json else found.text())
    with refusals():
        if to is not None:
            typer.echo(_write_tests(found, to), err=as_json)
        if report is not None:
            from ssinfnet.report import mediation_page

            typer.echo(mediation_page.write_analysis(analysis, report), err=as_json)
    typer.echo(mediation.ASSUMPTIONS, err=as_json)


def _refuse_others(to: Path | None, report: Path | None) -> None:
    """Raise FileExistsError where a result would replace a file that is not ours."""
    from ssinfnet.storage.written_files import WrittenFiles

    if to is not None:
        WrittenFiles.of(to.parent).refuse_others([to.name])
    if report is not None:
        from ssinfnet.report import mediation_page

        WrittenFiles.of(report).refuse_others([mediation_page.PAGE])


def _write_tests(found: Any, to: Path) -> Path:
    """Write every test as CSV; return the file."""
    from ssinfnet.storage import artifacts
    from ssinfnet.storage.written_files import WrittenFiles

    with WrittenFiles.of(to.parent).replacing() as staged:
        rows = found.table.to_csv(index=False, lineterminator="\n")
        artifacts.write_text(staged / to.name, rows)
    return to
