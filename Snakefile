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
RUNS = f"papermill_runs/{STUDY.name}"
COHORT = f"{RUNS}/artifacts/cohort"
SINGLE = f"{RUNS}/artifacts/single"
MULTI = f"{RUNS}/artifacts/multi"
FIGURES = f"figures/{STUDY.name}"
RUN = "OMP_NUM_THREADS={threads} python -m ssinfnet.notebook_runs {input.notebook} {output.run}"


wildcard_constraints:
    fold=r"\d+",
    seed=r"\d+",
    part=r"\d+",
    stage="single|multi",
    prior="predicted|ground_truth",


def settings(*parts, within=None):
    """The part of the study a rule depends on: when it changes, the rule runs again.

    `within` names what counts of the first part.
    """
    chosen = {part: json.loads(STUDY.model_dump_json())[part] for part in parts}
    if within:
        chosen[parts[0]] = {name: chosen[parts[0]][name] for name in within}
    return json.dumps(chosen)


def reads_prior(wildcards):
    """Whether a stage-2 model reads stage 1's predictions."""
    return wildcards.prior == "predicted" and MULTI_MODELS[wildcards.model].prior


def prior_files(wildcards):
    """Stage 1's predictions of all slices: of the whole network and of the cross-fitted ones."""
    at = {"fold": wildcards.fold, "seed": wildcards.seed}
    whole = rules.single_segmentation.output.predictions
    left_out = rules.cross_fitting.output.predictions
    return {
        "prior": expand(whole, model=PRIOR_MODEL, **at),
        "priors": [
            left_out.format(fold=fold, part=part, seed=wildcards.seed)
            for fold, part in STUDY.cross_fitted(int(wildcards.fold))
        ],
    }


def pretrained_files(wildcards, stage, models):
    """What a model that starts from inpainting waits for."""
    if not models[wildcards.model].pretrained:
        return {}
    at = {"stage": stage, "fold": wildcards.fold, "seed": wildcards.seed}
    return {"pretrained": expand(rules.pretraining.output.table, **at)}


rule all:
    input:
        f"{FIGURES}/report.html",


VALIDATED, AUGMENTED = STUDY.cross_validation, STUDY.augmented
FOLDS = range(1, STUDY.split.folds + 1)


rule data_split:
    input:
        notebook="notebooks/01_data_split.ipynb",
    output:
        run=f"{RUNS}/01_data_split.ipynb",
        cohort=f"{COHORT}/cohort.parquet",
        images=f"{COHORT}/images.npy",
        masks=f"{COHORT}/masks.npy",
    params:
        settings=settings("data", "split", "image_size"),
    shell:
        RUN + " -p study {NAME}"


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
        settings=lambda wildcards: settings(
            wildcards.stage, "image_size", "threads", within=("network", "pretext")
        ),
    threads: STUDY.threads
    resources:
        gpu=1,
    shell:
        RUN + " -p study {NAME} -p stage {wildcards.stage} -p fold {wildcards.fold}"
        " -p seed {wildcards.seed}"


rule single_segmentation:
    input:
        unpack(lambda wildcards: pretrained_files(wildcards, "single", SINGLE_MODELS)),
        notebook="notebooks/03_single_segmentation.ipynb",
        cohort=rules.data_split.output.cohort,
        images=rules.data_split.output.images,
        masks=rules.data_split.output.masks,
    output:
        run=f"{RUNS}/03_single_segmentation.{{model}}.fold{{fold}}.seed{{seed}}.ipynb",
        predictions=f"{SINGLE}/{{model}}/fold{{fold}}/seed{{seed}}/predictions.npz",
    params:
        settings=settings("single", "image_size", "threads", within=("network", "training")),
    threads: STUDY.threads
    resources:
        gpu=1,
    shell:
        RUN + " -p study {NAME} -p model {wildcards.model} -p fold {wildcards.fold}"
        " -p seed {wildcards.seed}"


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
        parts=STUDY.multi.prior_parts,
    threads: STUDY.threads
    resources:
        gpu=1,
    shell:
        RUN + " -p study {NAME} -p model {PRIOR_MODEL} -p fold {wildcards.fold}"
        " -p seed {wildcards.seed} -p part {wildcards.part}"


rule multi_segmentation:
    input:
        unpack(lambda wildcards: pretrained_files(wildcards, "multi", MULTI_MODELS)),
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
    threads: STUDY.threads
    resources:
        gpu=1,
    shell:
        RUN + " -p study {NAME} -p model {wildcards.model} -p fold {wildcards.fold}"
        " -p prior {wildcards.prior} -p seed {wildcards.seed}"


rule segmentation_results:
    input:
        notebook="notebooks/05_segmentation_results.ipynb",
        cohort=rules.data_split.output.cohort,
        single=expand(
            rules.single_segmentation.output.predictions,
            model=STUDY.single.models,
            fold=0,
            seed=STUDY.seeds,
        ),
        multi=expand(
            rules.multi_segmentation.output.predictions,
            prior="predicted",
            model=STUDY.multi.models,
            fold=0,
            seed=STUDY.seeds,
        ),
        oracle=expand(
            rules.multi_segmentation.output.predictions,
            prior="ground_truth",
            model=STUDY.multi.oracle_models,
            fold=0,
            seed=STUDY.seeds,
        ),
    output:
        run=f"{RUNS}/05_segmentation_results.ipynb",
        table=f"{FIGURES}/table_3b.csv",
        scores=f"{RUNS}/artifacts/scores/multi/slices.parquet",
    params:
        settings=settings("scores", "undertrained"),
    shell:
        RUN + " -p study {NAME}"


rule ablation:
    input:
        notebook="notebooks/08_ablation.ipynb",
        scores=rules.segmentation_results.output.scores,
    output:
        run=f"{RUNS}/08_ablation.ipynb",
        table=f"{FIGURES}/table_s7.csv",
    params:
        settings=settings("scores", "undertrained"),
    shell:
        RUN + " -p study {NAME}"


rule augmentation:
    input:
        notebook="notebooks/08_augmentation.ipynb",
        cohort=rules.data_split.output.cohort,
        single=expand(
            rules.single_segmentation.output.predictions,
            model=AUGMENTED.single_models,
            fold=0,
            seed=STUDY.seeds,
        ),
        multi=expand(
            rules.multi_segmentation.output.predictions,
            prior="predicted",
            model=AUGMENTED.multi_models,
            fold=0,
            seed=STUDY.seeds,
        ),
    output:
        run=f"{RUNS}/08_augmentation.ipynb",
        table=f"{FIGURES}/table_v2.csv",
    params:
        settings=settings("augmented", "scores", "undertrained"),
    shell:
        RUN + " -p study {NAME}"


rule cross_validation:
    input:
        notebook="notebooks/06_cross_validation.ipynb",
        cohort=rules.data_split.output.cohort,
        single=expand(
            rules.single_segmentation.output.predictions,
            model=VALIDATED.single_models,
            fold=FOLDS,
            seed=STUDY.seeds[0],
        ),
        multi=expand(
            rules.multi_segmentation.output.predictions,
            prior="predicted",
            model=VALIDATED.multi_models,
            fold=FOLDS,
            seed=STUDY.seeds[0],
        ),
    output:
        run=f"{RUNS}/06_cross_validation.ipynb",
        table=f"{FIGURES}/table_s2.csv",
    params:
        settings=settings("cross_validation", "scores", "undertrained"),
    shell:
        RUN + " -p study {NAME}"


rule report:
    input:
        notebook="notebooks/13_report.ipynb",
        tables=[rules.segmentation_results.output.table, rules.ablation.output.table],
        augmented=rules.augmentation.output.table if AUGMENTED.single_models else [],
        folds=rules.cross_validation.output.table if VALIDATED.single_models else [],
    output:
        run=f"{RUNS}/13_report.ipynb",
        page=f"{FIGURES}/report.html",
    shell:
        RUN + " -p study {NAME}"
