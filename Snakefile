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

NAME = str(config.get("study", "demo"))
if NAME.endswith((".yaml", ".yml")):
    NAME = str(Path(NAME).resolve())
STUDY = load_study(NAME)
RUNS = f"papermill_runs/{STUDY.name}"
COHORT = f"{RUNS}/artifacts/cohort"
SINGLE = f"{RUNS}/artifacts/single"
FIGURES = f"figures/{STUDY.name}"
RUN = "OMP_NUM_THREADS={threads} python -m ssinfnet.notebook_runs {input.notebook} {output.run}"


def settings(*parts):
    """The part of the study a rule depends on: when it changes, the rule runs again."""
    return json.dumps({part: json.loads(STUDY.model_dump_json())[part] for part in parts})


rule all:
    input:
        f"{FIGURES}/report.html",


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


rule single_segmentation:
    input:
        notebook="notebooks/03_single_segmentation.ipynb",
        cohort=rules.data_split.output.cohort,
        images=rules.data_split.output.images,
        masks=rules.data_split.output.masks,
    output:
        run=f"{RUNS}/03_single_segmentation.{{model}}.fold{{fold}}.seed{{seed}}.ipynb",
        predictions=f"{SINGLE}/{{model}}/fold{{fold}}/seed{{seed}}/predictions.npz",
    params:
        settings=settings("single", "image_size", "threads"),
    wildcard_constraints:
        fold=r"\d+",
        seed=r"\d+",
    threads: STUDY.threads
    resources:
        gpu=1,
    shell:
        RUN + " -p study {NAME} -p model {wildcards.model} -p fold {wildcards.fold}"
        " -p seed {wildcards.seed}"


rule segmentation_results:
    input:
        notebook="notebooks/05_segmentation_results.ipynb",
        cohort=rules.data_split.output.cohort,
        predictions=expand(
            rules.single_segmentation.output.predictions,
            model=STUDY.single.models,
            fold=0,
            seed=STUDY.seeds,
        ),
    output:
        run=f"{RUNS}/05_segmentation_results.ipynb",
        table=f"{FIGURES}/table_3b.csv",
    params:
        settings=settings("scores", "undertrained"),
    shell:
        RUN + " -p study {NAME}"


rule report:
    input:
        notebook="notebooks/13_report.ipynb",
        table=rules.segmentation_results.output.table,
    output:
        run=f"{RUNS}/13_report.ipynb",
        page=f"{FIGURES}/report.html",
    shell:
        RUN + " -p study {NAME}"
