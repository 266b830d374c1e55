# Which notebook runs after which, with which parameters: the only engine, local or cluster.
#
#     make reproduce STUDY=demo                       (what most people type)
#     snakemake --cores 2 --config study=demo         (the same)
#     snakemake --executor slurm --jobs 20 --config study=paper --default-resources runtime=600
#
# Each job is one notebook in one process (ssinfnet.notebook_runs). A training resumes where it was
# killed, because its weights are not among the outputs that Snakemake deletes after a failure.

import json
from pathlib import Path

from ssinfnet.config import load_study
from ssinfnet.models import MULTI_MODELS, PRIOR_MODEL, SINGLE_MODELS

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
    "OMP_NUM_THREADS={threads} python -m ssinfnet.notebook_runs {input.notebook} {output.run}"
    " -p study {resources.study}"
)
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

    `within` names what counts of the first part; a part in braces is a wildcard's value.
    """

    def chosen(wildcards):
        whole = json.loads(STUDIES[wildcards.study].model_dump_json())
        named = {part: whole[part] for part in (part.format(**wildcards) for part in parts)}
        if within:
            first = next(iter(named))
            named[first] = {name: named[first][name] for name in within}
        return json.dumps(named)

    return chosen


def longest(wildcards, attempt):
    """Minutes after which a cluster ends a training; a retry gets more, and goes on."""
    return (4 if STUDIES[wildcards.study].undertrained else 24) * 60 * attempt


def threads(wildcards):
    return STUDIES[wildcards.study].threads


def of_study(target, chosen):
    """The files `target` names, for what `chosen` returns of the study."""

    def files(wildcards):
        return expand(target, study=wildcards.study, **chosen(STUDIES[wildcards.study]))

    return files


def reads_prior(wildcards):
    """Whether a stage-2 model reads stage 1's predictions."""
    return wildcards.prior == "predicted" and MULTI_MODELS[wildcards.model].prior


def prior_files(wildcards):
    """Stage 1's predictions of all slices: of the whole network and of the cross-fitted ones."""
    at = {"study": wildcards.study, "fold": wildcards.fold, "seed": wildcards.seed}
    whole = rules.single_segmentation.output.predictions
    left_out = rules.cross_fitting.output.predictions
    return {
        "prior": expand(whole, model=PRIOR_MODEL, **at),
        "priors": [
            left_out.format(**(at | {"fold": fold}), part=part)
            for fold, part in STUDIES[wildcards.study].cross_fitted(int(wildcards.fold))
        ],
    }


def cut_files(wildcards):
    """What data set 3 is cut to before it is split."""
    if STUDIES[wildcards.study].lung_field is None:
        return {}
    return {"cut": rules.lung_field.output.cut.format(**wildcards)}


def started_files(wildcards, stage, model):
    """What a model waits for that starts from inpainting or from pseudo-labels."""
    if model.pretrained:
        return {"start": rules.pretraining.output.table.format(stage=stage, **wildcards)}
    if getattr(model, "pseudo_labels", False):
        return {"start": rules.pseudo_labels.output.table.format(**wildcards)}
    return {}


def external_files(wildcards):
    """What a test on an independent data set waits for: its own networks, and those tested there."""
    study = STUDIES[wildcards.study]
    chosen = study.external_named(wildcards.external)
    files = []
    for name in dict.fromkeys((chosen.study, chosen.transferred or study.name)):
        its = STUDIES[name]
        at = {"study": name, "fold": 0, "seed": its.seeds}
        files += expand(rules.single_segmentation.output.predictions, model=its.single.models, **at)
        files += expand(rules.multi_segmentation.output.predictions, model=its.multi.models,
                        prior="predicted", **at)  # fmt: skip
    return {"predictions": files}


def clinical_files(wildcards, models):
    """What the analyses of patients wait for: trained networks, and one that finds the lungs."""
    study = STUDIES[wildcards.study]
    at = {"study": study.name, "fold": 0, "seed": study.seeds[0]}
    files = expand(rules.single_segmentation.output.predictions, model=models, **at)
    if study.clinical.lung_field:
        files.append(rules.lung_field.output.run.format(study=study.clinical.lung_field))
    return files


def severity_files(wildcards):
    """What 10_severity waits for: its networks, and those of the folds that test volumes."""
    study = STUDIES[wildcards.study]
    files = clinical_files(wildcards, sorted({PRIOR_MODEL, *study.clinical.severity_models}))
    if PRIOR_MODEL in study.cross_validation.single_models:
        files += expand(
            rules.single_segmentation.output.predictions, model=PRIOR_MODEL, study=study.name,
            fold=study.cross_validated_folds(), seed=study.seeds[0],
        )  # fmt: skip
    return files


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
    files = result_files(wildcards) + [file.format(**at) for file in files]
    external = [rules.external_data.output.run.format(external=one.study, **at)
                for one in study.external]  # fmt: skip
    return {"tables": files, "external": external}


rule all:
    input:
        f"figures/{STUDY.name}/report.html",


rule lung_field:
    input:
        notebook="notebooks/01_lung_field.ipynb",
    output:
        run=f"{RUNS}/01_lung_field.ipynb",
        cut=directory(f"{RUNS}/artifacts/lung_field/cut"),
    params:
        settings=settings("data", "split", "image_size", "lung_field", "threads"),
    threads: threads
    resources:
        study=given,
        gpu=1,
        mem_mb=TRAINING_MB,
        runtime=longest,
    shell:
        RUN


rule data_split:
    input:
        unpack(lambda wildcards: cut_files(wildcards)),
        notebook="notebooks/01_data_split.ipynb",
    output:
        run=f"{RUNS}/01_data_split.ipynb",
        cohort=f"{COHORT}/cohort.parquet",
        images=f"{COHORT}/images.npy",
        masks=f"{COHORT}/masks.npy",
    params:
        settings=settings("data", "split", "image_size"),
    resources:
        study=given,
    shell:
        RUN


rule pretraining:
    input:
        unpack(lambda wildcards: prior_files(wildcards) if wildcards.stage == "multi" else {}),
        notebook="notebooks/02_pretraining.ipynb",
        cohort=rules.data_split.output.cohort,
        images=rules.data_split.output.images,
    output:
        run=f"{RUNS}/02_pretraining.{{stage}}.fold{{fold}}.seed{{seed}}.ipynb",
        table=f"{FIGURES}/table_pretraining_{{stage}}_fold{{fold}}_seed{{seed}}.csv",
    params:
        settings=settings("{stage}", "image_size", "threads", within=("network", "pretext")),
    threads: threads
    resources:
        study=given,
        gpu=1,
        mem_mb=TRAINING_MB,
        runtime=longest,
    shell:
        RUN + AT_SEED + " -p stage {wildcards.stage}"


rule pseudo_labels:
    input:
        notebook="notebooks/02_pseudo_labels.ipynb",
        cohort=rules.data_split.output.cohort,
        images=rules.data_split.output.images,
        masks=rules.data_split.output.masks,
        first=lambda wildcards: rules.single_segmentation.output.predictions.format(
            model=PRIOR_MODEL, **wildcards
        ),
    output:
        run=f"{RUNS}/02_pseudo_labels.fold{{fold}}.seed{{seed}}.ipynb",
        table=f"{FIGURES}/table_pseudo_labels_fold{{fold}}_seed{{seed}}.csv",
    params:
        settings=settings(
            "single", "image_size", "threads", within=("network", "training", "pseudo_labels")
        ),
    threads: threads
    resources:
        study=given,
        gpu=1,
        mem_mb=TRAINING_MB,
        runtime=longest,
    shell:
        RUN + AT_SEED


rule single_segmentation:
    input:
        unpack(lambda wildcards: started_files(wildcards, "single", SINGLE_MODELS[wildcards.model])),
        notebook="notebooks/03_single_segmentation.ipynb",
        cohort=rules.data_split.output.cohort,
        images=rules.data_split.output.images,
        masks=rules.data_split.output.masks,
    output:
        run=f"{RUNS}/03_single_segmentation.{{model}}.fold{{fold}}.seed{{seed}}.ipynb",
        predictions=f"{SINGLE}/{{model}}/fold{{fold}}/seed{{seed}}/predictions.npz",
    params:
        settings=settings("single", "image_size", "threads", within=("network", "training")),
    threads: threads
    resources:
        study=given,
        gpu=1,
        mem_mb=TRAINING_MB,
        runtime=longest,
    shell:
        RUN + AT_SEED + " -p model {wildcards.model}"


rule cross_fitting:
    input:
        notebook="notebooks/03_single_segmentation.ipynb",
        cohort=rules.data_split.output.cohort,
        images=rules.data_split.output.images,
        masks=rules.data_split.output.masks,
    output:
        run=f"{RUNS}/03_single_segmentation.{PRIOR_MODEL}.fold{{fold}}.seed{{seed}}.part{{part}}.ipynb",
        predictions=f"{SINGLE}/{PRIOR_MODEL}/fold{{fold}}/seed{{seed}}/part{{part}}/predictions.npz",
    params:
        settings=settings("single", "image_size", "threads", within=("network", "training")),
        parts=lambda wildcards: STUDIES[wildcards.study].multi.prior_parts,
    threads: threads
    resources:
        study=given,
        gpu=1,
        mem_mb=TRAINING_MB,
        runtime=longest,
    shell:
        RUN + AT_SEED + " -p model {PRIOR_MODEL} -p part {wildcards.part}"


rule multi_segmentation:
    input:
        unpack(lambda wildcards: started_files(wildcards, "multi", MULTI_MODELS[wildcards.model])),
        unpack(lambda wildcards: prior_files(wildcards) if reads_prior(wildcards) else {}),
        notebook="notebooks/04_multi_segmentation.ipynb",
        cohort=rules.data_split.output.cohort,
        images=rules.data_split.output.images,
        masks=rules.data_split.output.masks,
    output:
        run=f"{RUNS}/04_multi_segmentation.{{prior}}.{{model}}.fold{{fold}}.seed{{seed}}.ipynb",
        predictions=f"{MULTI}/{{prior}}/{{model}}/fold{{fold}}/seed{{seed}}/predictions.npz",
    params:
        settings=settings("multi", "image_size", "threads", within=("network", "training")),
    threads: threads
    resources:
        study=given,
        gpu=1,
        mem_mb=TRAINING_MB,
        runtime=longest,
    shell:
        RUN + AT_SEED + " -p model {wildcards.model} -p prior {wildcards.prior}"


rule segmentation_results:
    input:
        notebook="notebooks/05_segmentation_results.ipynb",
        cohort=rules.data_split.output.cohort,
        single=of_study(
            rules.single_segmentation.output.predictions,
            lambda study: {
                "model": study.single.models,
                "fold": 0,
                "seed": study.seeds,
            },
        ),
    output:
        run=f"{RUNS}/05_segmentation_results.ipynb",
        table=f"{FIGURES}/table_3b.csv",
    params:
        settings=settings("scores", "undertrained"),
    resources:
        study=given,
    shell:
        RUN


rule class_results:
    input:
        notebook="notebooks/05_class_results.ipynb",
        cohort=rules.data_split.output.cohort,
        multi=of_study(
            rules.multi_segmentation.output.predictions,
            lambda study: {
                "prior": "predicted",
                "model": study.multi.models,
                "fold": 0,
                "seed": study.seeds,
            },
        ),
        oracle=of_study(
            rules.multi_segmentation.output.predictions,
            lambda study: {
                "prior": "ground_truth",
                "model": study.multi.oracle_models,
                "fold": 0,
                "seed": study.seeds,
            },
        ),
    output:
        run=f"{RUNS}/05_class_results.ipynb",
        table=f"{FIGURES}/table_3d_s4.csv",
        scores=f"{RUNS}/artifacts/scores/multi/slices.parquet",
    params:
        settings=settings("scores", "undertrained"),
    resources:
        study=given,
    shell:
        RUN


rule ablation:
    input:
        notebook="notebooks/08_ablation.ipynb",
        scores=rules.class_results.output.scores,
    output:
        run=f"{RUNS}/08_ablation.ipynb",
        table=f"{FIGURES}/table_s7.csv",
    params:
        settings=settings("scores", "undertrained"),
    resources:
        study=given,
    shell:
        RUN


rule augmentation:
    input:
        notebook="notebooks/08_augmentation.ipynb",
        cohort=rules.data_split.output.cohort,
        single=of_study(
            rules.single_segmentation.output.predictions,
            lambda study: {
                "model": study.augmented.single_models,
                "fold": 0,
                "seed": study.seeds,
            },
        ),
        multi=of_study(
            rules.multi_segmentation.output.predictions,
            lambda study: {
                "prior": "predicted",
                "model": study.augmented.multi_models,
                "fold": 0,
                "seed": study.seeds,
            },
        ),
    output:
        run=f"{RUNS}/08_augmentation.ipynb",
        table=f"{FIGURES}/table_v2.csv",
    params:
        settings=settings("augmented", "scores", "undertrained"),
    resources:
        study=given,
    shell:
        RUN


rule cross_validation:
    input:
        notebook="notebooks/06_cross_validation.ipynb",
        cohort=rules.data_split.output.cohort,
        single=of_study(
            rules.single_segmentation.output.predictions,
            lambda study: {
                "model": study.cross_validation.single_models,
                "fold": study.cross_validated_folds(),
                "seed": study.seeds[0],
            },
        ),
        multi=of_study(
            rules.multi_segmentation.output.predictions,
            lambda study: {
                "prior": "predicted",
                "model": study.cross_validation.multi_models,
                "fold": study.cross_validated_folds(),
                "seed": study.seeds[0],
            },
        ),
    output:
        run=f"{RUNS}/06_cross_validation.ipynb",
        table=f"{FIGURES}/table_s2.csv",
    params:
        settings=settings("cross_validation", "scores", "undertrained"),
    resources:
        study=given,
    shell:
        RUN


rule external_data:
    input:
        unpack(external_files),
        notebook="notebooks/07_external_datasets.ipynb",
    output:
        run=f"{RUNS}/07_external_datasets.{{external}}.ipynb",
    params:
        settings=settings("external", "scores", "undertrained"),
    threads: threads
    resources:
        study=given,
        gpu=1,
        mem_mb=TRAINING_MB,
        runtime=longest,
    shell:
        RUN + " -p external {wildcards.external}"


rule severity:
    input:
        notebook="notebooks/10_severity.ipynb",
        cohort=rules.data_split.output.cohort,
        networks=severity_files,
    output:
        run=f"{RUNS}/10_severity.ipynb",
        table=f"{FIGURES}/table_v5.csv",
    params:
        settings=settings(
            "clinical", "scores", "cross_validation", "undertrained",
            within=("source", "severity_models", "fitted_on", "lung_field"),
        ),
    threads: threads
    resources:
        study=given,
        gpu=1,
        mem_mb=TRAINING_MB,
        runtime=longest,
    shell:
        RUN


rule phenotypes:
    input:
        notebook="notebooks/11_phenotypes.ipynb",
        cohort=rules.data_split.output.cohort,
        single=lambda wildcards: clinical_files(
            wildcards, [PRIOR_MODEL, STUDIES[wildcards.study].clinical.single_model]
        ),
        multi=of_study(
            rules.multi_segmentation.output.predictions,
            lambda study: {
                "prior": "predicted",
                "model": study.clinical.multi_model,
                "fold": 0,
                "seed": study.seeds[0],
            },
        ),
    output:
        run=f"{RUNS}/11_phenotypes.ipynb",
        table=f"{FIGURES}/table_stability.csv",
        patients=f"{RUNS}/artifacts/phenotypes/patients.parquet",
    params:
        settings=settings(
            "clinical", "image_size", "undertrained",
            within=("source", "single_model", "multi_model", "threshold", "bin_width",
                    "other_bin_widths", "other_thresholds"),
        ),
    threads: threads
    resources:
        study=given,
        gpu=1,
        mem_mb=TRAINING_MB,
        runtime=longest,
    shell:
        RUN


rule mediation:
    input:
        notebook="notebooks/12_mediation.ipynb",
        cohort=rules.data_split.output.cohort,
        patients=rules.phenotypes.output.patients,
    output:
        run=f"{RUNS}/12_mediation.ipynb",
        table=f"{FIGURES}/table_mediators.csv",
    params:
        settings=settings("clinical", "undertrained", within=("source", "mediation")),
    threads: threads
    resources:
        study=given,
    shell:
        RUN


rule cost:
    input:
        notebook="notebooks/09_cost.ipynb",
        results=result_files,
    output:
        run=f"{RUNS}/09_cost.ipynb",
        table=f"{FIGURES}/table_s8.csv",
    params:
        settings=settings("cost", "undertrained", "threads"),
    threads: workflow.cores  # alone, so that nothing disturbs the times
    resources:
        study=given,
        gpu=1,
        mem_mb=TRAINING_MB,
        runtime=longest,
    shell:
        RUN


rule report:
    input:
        unpack(reported_files),
        notebook="notebooks/13_report.ipynb",
    output:
        run=f"{RUNS}/13_report.ipynb",
        page=f"{FIGURES}/report.html",
    resources:
        study=given,
    shell:
        RUN
