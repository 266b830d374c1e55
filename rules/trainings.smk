# 01 to 06: the data, and every training.


def reads_prior(wildcards):
    """Whether a stage-2 model reads stage 1's predictions."""
    return wildcards.prior == "predicted" and MULTI_MODELS[wildcards.model].prior


def whole_prior(wildcards):
    """Predictions of the whole network that gives a fold and seed its priors."""
    study = STUDIES[wildcards.study]
    return stage_1(study, study.multi.prior_model, wildcards.fold, wildcards.seed)


def labelling_network(wildcards):
    """Predictions of the network that labels slices for Semi-Inf-Net."""
    return stage_1(STUDIES[wildcards.study], PRIOR_MODEL, wildcards.fold, wildcards.seed)


def prior_files(wildcards):
    """Stage 1's predictions of all slices: of the whole network and of the cross-fitted ones."""
    study, left_out = STUDIES[wildcards.study], rules.cross_fitting.output.predictions
    of = {"study": study.name, "model": study.multi.prior_model, "seed": wildcards.seed}
    return {
        "prior": whole_prior(wildcards),
        "priors": [
            left_out.format(fold=fold, part=part, **of)
            for fold, part in study.cross_fitted(int(wildcards.fold))
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
    if getattr(model, "taught", False):
        return {"teachers": teachers(wildcards)}
    return {}


def teachers(wildcards):
    """Predictions of the networks that label slices for a student, of every seed."""
    study = STUDIES[wildcards.study]
    models = study.single.student.teachers
    if not hasattr(wildcards, "part"):
        return stage_1(study, models, wildcards.fold)
    return expand(
        rules.cross_fitting.output.predictions,
        study=study.name, model=models, fold=wildcards.fold, seed=study.seeds, part=wildcards.part,
    )  # fmt: skip


rule lung_field:
    input:
        notebook="notebooks/01_lung_field.ipynb",
    output:
        run=f"{RUNS}/01_lung_field.ipynb",
        cut=directory(f"{RUNS}/artifacts/lung_field/cut"),
    params:
        settings=settings("data", "split", "image_size", "lung_field", "threads"),
        raw=raw_files,
    threads: threads
    resources:
        **OF_A_TRAINING,
    shell:
        RUN


rule data_split:
    input:
        unpack(lambda wildcards: cut_files(wildcards)),
        notebook="notebooks/02_data_split.ipynb",
    output:
        run=f"{RUNS}/02_data_split.ipynb",
        cohort=f"{COHORT}/cohort.parquet",
        images=f"{COHORT}/images.npy",
        masks=f"{COHORT}/masks.npy",
    params:
        settings=settings("data", "split", "image_size"),
        raw=raw_files,
    resources:
        study=given,
    shell:
        RUN


rule pretraining:
    input:
        unpack(lambda wildcards: prior_files(wildcards) if wildcards.stage == "multi" else {}),
        notebook="notebooks/03_pretraining.ipynb",
        cohort=rules.data_split.output.cohort,
        images=rules.data_split.output.images,
    output:
        run=f"{RUNS}/03_pretraining.{{stage}}.fold{{fold}}.seed{{seed}}.ipynb",
        table=f"{FIGURES}/table_pretraining_{{stage}}_fold{{fold}}_seed{{seed}}.csv",
    params:
        settings=settings("{stage}", "image_size", "threads", within=("network", "pretrained_network", "pretext")),
    threads: threads
    resources:
        **OF_A_TRAINING,
    shell:
        RUN + AT_SEED + " -p stage {wildcards.stage}"


rule pseudo_labels:
    input:
        notebook="notebooks/04_pseudo_labels.ipynb",
        cohort=rules.data_split.output.cohort,
        images=rules.data_split.output.images,
        masks=rules.data_split.output.masks,
        first=labelling_network,
    output:
        run=f"{RUNS}/04_pseudo_labels.fold{{fold}}.seed{{seed}}.ipynb",
        table=f"{FIGURES}/table_pseudo_labels_fold{{fold}}_seed{{seed}}.csv",
    params:
        settings=settings(
            "single", "image_size", "threads", within=("network", "training", "pseudo_labels")
        ),
    threads: threads
    resources:
        **OF_A_TRAINING,
    shell:
        RUN + AT_SEED


rule single_segmentation:
    input:
        unpack(lambda wildcards: started_files(wildcards, "single", SINGLE_MODELS[wildcards.model])),
        notebook="notebooks/05_single_segmentation.ipynb",
        cohort=rules.data_split.output.cohort,
        images=rules.data_split.output.images,
        masks=rules.data_split.output.masks,
    output:
        run=f"{RUNS}/05_single_segmentation.{{model}}.fold{{fold}}.seed{{seed}}.ipynb",
        predictions=f"{SINGLE}/{{model}}/fold{{fold}}/seed{{seed}}/predictions.npz",
    params:
        settings=settings(
            "single", "image_size", "threads", "flipped_views",
            within=("network", "training", "student"),
        ),
    threads: threads
    resources:
        **OF_A_TRAINING,
    shell:
        RUN + AT_SEED + " -p model {wildcards.model}"


rule cross_fitting:
    input:
        unpack(lambda wildcards: started_files(wildcards, "single", SINGLE_MODELS[wildcards.model])),
        notebook="notebooks/05_single_segmentation.ipynb",
        cohort=rules.data_split.output.cohort,
        images=rules.data_split.output.images,
        masks=rules.data_split.output.masks,
    output:
        run=f"{RUNS}/05_single_segmentation.{{model}}.fold{{fold}}.seed{{seed}}.part{{part}}.ipynb",
        predictions=f"{SINGLE}/{{model}}/fold{{fold}}/seed{{seed}}/part{{part}}/predictions.npz",
    params:
        settings=settings(
            "single", "image_size", "threads", "flipped_views",
            within=("network", "training", "student"),
        ),
        parts=lambda wildcards: STUDIES[wildcards.study].multi.prior_parts,
    threads: threads
    resources:
        **OF_A_TRAINING,
    shell:
        RUN + AT_SEED + " -p model {wildcards.model} -p part {wildcards.part}"


rule multi_segmentation:
    input:
        unpack(lambda wildcards: started_files(wildcards, "multi", MULTI_MODELS[wildcards.model])),
        unpack(lambda wildcards: prior_files(wildcards) if reads_prior(wildcards) else {}),
        notebook="notebooks/06_multi_segmentation.ipynb",
        cohort=rules.data_split.output.cohort,
        images=rules.data_split.output.images,
        masks=rules.data_split.output.masks,
    output:
        run=f"{RUNS}/06_multi_segmentation.{{prior}}.{{model}}.fold{{fold}}.seed{{seed}}.ipynb",
        predictions=f"{MULTI}/{{prior}}/{{model}}/fold{{fold}}/seed{{seed}}/predictions.npz",
    params:
        settings=settings(
            "multi", "image_size", "threads", "flipped_views", within=("network", "training")
        ),
    threads: threads
    resources:
        **OF_A_TRAINING,
    shell:
        RUN + AT_SEED + " -p model {wildcards.model} -p prior {wildcards.prior}"
