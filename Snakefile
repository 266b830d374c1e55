# Which notebook runs after which, with which parameters: the only engine, local or cluster.
#
#     make reproduce STUDY=demo                       (what most people type)
#     snakemake --cores 2 --config study=demo         (the same)
#     snakemake --executor slurm --jobs 20 --config study=paper --default-resources runtime=600
#
# Each job is one notebook in one process (ssinfnet.engine.notebook_runs). A training resumes where it was
# killed, because its weights are not among the outputs that Snakemake deletes after a failure.

import json
import logging
import os
import time
from functools import partial
from pathlib import Path

from snakemake.exceptions import WorkflowError

from ssinfnet.data import sources
from ssinfnet.engine import warm_start
from ssinfnet.storage import artifacts
from ssinfnet.study.config import load_study
from ssinfnet.study.models import MULTI_MODELS, PRIOR_MODEL, SINGLE_MODELS
from ssinfnet.study.paths import DATA_VARIABLE, StudyPaths

NAME = str(config.get("study", "demo"))
if NAME.endswith((".yaml", ".yml")):
    NAME = str(Path(NAME).resolve())
STUDY = load_study(NAME)
# Independent data sets are studies of their own, trained by the same rules.
NAMES = {STUDY.name: NAME} | {name: name for name in STUDY.other_studies()}
STUDIES = {name: load_study(given) for name, given in NAMES.items()}
RUNS = "papermill_runs/{study}"
COHORT = f"{RUNS}/artifacts/cohort"
SINGLE = f"{RUNS}/artifacts/single"
MULTI = f"{RUNS}/artifacts/multi"
FIGURES = "figures/{study}"
RUN = (
    # exec: no shell between, so that the notebook notices if this process is killed
    "OMP_NUM_THREADS={threads} exec python -m ssinfnet.engine.notebook_runs {input.notebook} {output.run}"
    " --parent {PARENT} {STARTED[progress]} {VERBOSE}"
    " -p study {resources.study}"
)
PARENT = os.getpid()
STARTED = {"progress": ""}  # how many notebooks run, once that is known; not on a cluster's nodes
VERBOSE = "--verbose" if config.get("verbose") else ""
TRAINING_MB = 24_000  # a training at 448 px, batch 8, holds 6 GiB; 10,000 prepared slices 2.5
AT_SEED = " -p fold {wildcards.fold} -p seed {wildcards.seed}"


wildcard_constraints:
    study="|".join(STUDIES),
    fold=r"\d+",
    seed=r"\d+",
    part=r"\d+",
    stage="single|multi",
    prior="predicted|ground_truth",


def given(wildcards):
    """The study as a notebook takes it: its name, or the path of its file.

    A resource and no parameter, since a file that was moved is no reason to run again.
    """
    return NAMES[wildcards.study]


def settings(*parts, within=None):
    """The part of the study a rule depends on: when it changes, the rule runs again.

    `within` names what counts of the first part; a part in braces is a wildcard's value. A rule of
    a fold depends on the study as that fold trains it.
    """

    def chosen(wildcards):
        study = STUDIES[wildcards.study].in_fold(int(getattr(wildcards, "fold", 0)))
        whole = json.loads(study.model_dump_json())
        named = {part: whole[part] for part in (part.format(**wildcards) for part in parts)}
        if within:
            first = next(iter(named))
            named[first] = {name: named[first].get(name) for name in within}
        return json.dumps(named)

    return chosen


def raw_files(wildcards):
    """The state of the study's raw files: when one is new, gone or changed, the rule runs again.

    Nothing is known of them where the data folder is not named; what is there then stays.
    """
    study = STUDIES[wildcards.study]
    if study.data.phantom is not None or DATA_VARIABLE not in os.environ:
        return ""
    return sources.state_of(study.data.sources, StudyPaths.of(study.name).data)


def refuse_wrong_data():
    """End before any job where DATA is not there or lacks the layouts or tables that a study reads."""
    for study in STUDIES.values():
        if study.data.phantom is None and DATA_VARIABLE in os.environ:
            for source in study.data.sources:
                try:
                    folder = sources.folder_of(source, StudyPaths.of(study.name).data)
                except FileNotFoundError as error:
                    raise WorkflowError(str(error)) from None
                if study.clinical and study.clinical.source == source.name:
                    refuse_missing_tables(study.clinical.tables, folder)


def refuse_missing_tables(tables, folder):
    """End before any job where a clinical table is not there: it is read after all trainings."""
    if missing := [name for name in tables if not (folder / name).is_file()]:
        raise WorkflowError(f"clinical.tables names {missing}, which {folder} lacks; see docs/data/ictcf.md")


refuse_wrong_data()


def longest(wildcards, attempt):
    """Minutes after which a cluster ends a training; a retry gets more, and goes on."""
    return (4 if STUDIES[wildcards.study].undertrained else 24) * 60 * attempt


def threads(wildcards):
    return STUDIES[wildcards.study].threads


OF_A_TRAINING = {"study": given, "gpu": 1, "mem_mb": TRAINING_MB, "runtime": longest}


def first_seed(study):
    return {"seeds": study.seeds[:1]}


def validated(study):
    return {"folds": study.cross_validated_folds(), "seeds": study.seeds[:1]}


def stage_1(study, models, folds=0, seeds=None):
    """What stage 1's trainings of a study predict: of its own split, and of every seed if None."""
    return expand(
        rules.single_segmentation.output.predictions,
        study=study.name, model=models, fold=folds, seed=seeds or study.seeds,
    )  # fmt: skip


def stage_2(study, models, folds=0, seeds=None, prior="predicted"):
    """What stage 2's trainings of a study predict, as `stage_1`."""
    return expand(
        rules.multi_segmentation.output.predictions,
        study=study.name, model=models, fold=folds, seed=seeds or study.seeds, prior=prior,
    )  # fmt: skip


def predictions(stage, models, over=lambda study: {}, **named):
    """An input function: what a stage predicts of the models that `models` takes from the study.

    `over` takes folds and seeds from it: `first_seed` or `validated`.
    """

    def files(wildcards):
        study = STUDIES[wildcards.study]
        return stage(study, models(study), **over(study), **named)

    return files


single_files = partial(predictions, stage_1)
multi_files = partial(predictions, stage_2)


def result_files(wildcards):
    """The tables of the study's own networks; of stage 2 where it has any."""
    files = [rules.segmentation_results.output.table]
    if STUDIES[wildcards.study].multi.models:
        files.append(rules.class_results.output.table)
    return [file.format(study=wildcards.study) for file in files]


def reported_files(wildcards):
    """One file of every notebook that the study asks for."""
    study = STUDIES[wildcards.study]
    at = {"study": study.name}
    files = [rules.cost.output.table]
    if "ssinfnet" in study.multi.models:
        files.append(rules.ablation.output.table)
    if study.augmented.single_models:
        files.append(rules.augmentation.output.table)
    if study.cross_validation.single_models:
        files.append(rules.cross_validation.output.table)
    if study.clinical:
        files += [rules.severity.output.table, rules.phenotypes.output.table]
        files += [rules.mediation.output.table] if study.clinical.mediation else []
        files += [rules.known_truth.output.table] if study.knows_the_truth() else []
    files = result_files(wildcards) + [file.format(**at) for file in files]
    external = [rules.external_data.output.run.format(external=one.study, **at)
                for one in study.external]  # fmt: skip
    return {"tables": files, "external": external}


def is_no_noise(record):
    """Drop what Snakemake says beside every job: each notebook says its own line."""
    return not str(record.msg).startswith(("Select jobs to execute", "Execute "))


logging.getLogger("snakemake.logging").addFilter(is_no_noise)


onstart:
    jobs = [job for job in workflow.dag.needrun_jobs() if job.rule.name != "all"]
    folders = " ".join(RUNS.format(study=name) for name in STUDIES)
    STARTED["progress"] = f"--progress {len(jobs)} {time.time():.0f} {folders}"
    for name in STUDIES:
        for folder in ("papermill_runs", "figures"):
            artifacts.remove_leftovers(Path(folder, name))
    if workflow.local_exec and len(jobs) > 1:
        STARTED["server"] = warm_start.start()


rule all:
    input:
        f"figures/{STUDY.name}/report.html",


# What a rule names of another must be there before it.
include: "rules/trainings.smk"
include: "rules/results.smk"
include: "rules/patients.smk"


rule report:
    input:
        unpack(reported_files),
        notebook="notebooks/18_report.ipynb",
    output:
        run=f"{RUNS}/18_report.ipynb",
        page=f"{FIGURES}/report.html",
        table=f"{FIGURES}/table_paper_comparison.csv",
    resources:
        study=given,
    shell:
        RUN
