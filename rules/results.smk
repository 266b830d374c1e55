# 07 to 12 and 17: what the trained networks are worth.


def external_files(wildcards):
    """What a test on an independent data set waits for: its own networks, and those tested there."""
    study = STUDIES[wildcards.study]
    chosen = study.external_named(wildcards.external)
    files = []
    for name in dict.fromkeys((chosen.study, chosen.transferred or study.name)):
        its = STUDIES[name]
        files += stage_1(its, its.single.models) + stage_2(its, its.multi.models)
    return {"predictions": files}


rule segmentation_results:
    input:
        notebook="notebooks/07_segmentation_results.ipynb",
        cohort=rules.data_split.output.cohort,
        single=single_files(lambda study: study.single.models),
    output:
        run=f"{RUNS}/07_segmentation_results.ipynb",
        table=f"{FIGURES}/table_3b.csv",
    params:
        settings=settings("scores", "undertrained"),
    resources:
        study=given,
    shell:
        RUN


rule class_results:
    input:
        notebook="notebooks/08_class_results.ipynb",
        cohort=rules.data_split.output.cohort,
        multi=multi_files(lambda study: study.multi.models),
        oracle=multi_files(lambda study: study.multi.oracle_models, prior="ground_truth"),
    output:
        run=f"{RUNS}/08_class_results.ipynb",
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
        notebook="notebooks/11_ablation.ipynb",
        scores=rules.class_results.output.scores,
    output:
        run=f"{RUNS}/11_ablation.ipynb",
        table=f"{FIGURES}/table_s7.csv",
    params:
        settings=settings("scores", "undertrained"),
    resources:
        study=given,
    shell:
        RUN


rule augmentation:
    input:
        notebook="notebooks/12_augmentation.ipynb",
        cohort=rules.data_split.output.cohort,
        single=single_files(lambda study: study.augmented.single_models),
        multi=multi_files(lambda study: study.augmented.multi_models),
    output:
        run=f"{RUNS}/12_augmentation.ipynb",
        table=f"{FIGURES}/table_v2.csv",
    params:
        settings=settings("augmented", "scores", "undertrained"),
    resources:
        study=given,
    shell:
        RUN


rule cross_validation:
    input:
        notebook="notebooks/09_cross_validation.ipynb",
        cohort=rules.data_split.output.cohort,
        single=single_files(lambda study: study.cross_validation.single_models, validated),
        multi=multi_files(lambda study: study.cross_validation.multi_models, validated),
    output:
        run=f"{RUNS}/09_cross_validation.ipynb",
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
        notebook="notebooks/10_external_datasets.ipynb",
    output:
        run=f"{RUNS}/10_external_datasets.{{external}}.ipynb",
    params:
        settings=settings("external", "scores", "flipped_views", "undertrained"),
    threads: threads
    resources:
        **OF_A_TRAINING,
    shell:
        RUN + " -p external {wildcards.external}"


rule cost:
    input:
        notebook="notebooks/17_cost.ipynb",
        results=result_files,
    output:
        run=f"{RUNS}/17_cost.ipynb",
        table=f"{FIGURES}/table_s8.csv",
    params:
        settings=settings("cost", "undertrained", "threads"),
    threads: workflow.cores  # alone, so that nothing disturbs the times
    resources:
        **OF_A_TRAINING,
    shell:
        RUN
