# 13 to 16: from slices to patients.


def clinical_files(wildcards, models):
    """What the analyses of patients wait for: trained networks, and one that finds the lungs."""
    study = STUDIES[wildcards.study]
    files = stage_1(study, models, **first_seed(study))
    if study.clinical.lung_field:
        files.append(rules.lung_field.output.run.format(study=study.clinical.lung_field))
    return files


def severity_files(wildcards):
    """What 13_severity waits for: its networks, and those of the folds that test volumes."""
    study = STUDIES[wildcards.study]
    files = clinical_files(wildcards, sorted({PRIOR_MODEL, *study.clinical.severity_models}))
    if PRIOR_MODEL in study.cross_validation.single_models:
        files += stage_1(study, PRIOR_MODEL, **validated(study))
    return files


def cohort_models(wildcards):
    """The models of stage 1 that segment a cohort: one for its lesions, one for priors."""
    study = STUDIES[wildcards.study]
    return [study.multi.prior_model, study.clinical.single_model]


rule severity:
    input:
        notebook="notebooks/13_severity.ipynb",
        cohort=rules.data_split.output.cohort,
        networks=severity_files,
    output:
        run=f"{RUNS}/13_severity.ipynb",
        table=f"{FIGURES}/table_v5.csv",
    params:
        settings=settings(
            "clinical", "scores", "cross_validation", "flipped_views", "undertrained",
            within=("source", "tables", "severity_models", "fitted_on", "lung_field"),
        ),
    threads: threads
    resources:
        **OF_A_TRAINING,
    shell:
        RUN


rule phenotypes:
    input:
        notebook="notebooks/14_phenotypes.ipynb",
        cohort=rules.data_split.output.cohort,
        single=lambda wildcards: clinical_files(wildcards, cohort_models(wildcards)),
        multi=multi_files(lambda study: study.clinical.multi_model, first_seed),
    output:
        run=f"{RUNS}/14_phenotypes.ipynb",
        table=f"{FIGURES}/table_stability.csv",
        patients=f"{RUNS}/artifacts/phenotypes/patients.parquet",
    params:
        settings=settings(
            "clinical", "image_size", "flipped_views", "undertrained",
            within=("source", "tables", "single_model", "multi_model", "threshold", "texture",
                    "harmonisation", "other_bin_widths", "other_thresholds"),
        ),
    threads: threads
    resources:
        **OF_A_TRAINING,
    shell:
        RUN


rule known_truth:
    input:
        notebook="notebooks/16_known_truth.ipynb",
        cohort=rules.data_split.output.cohort,
        patients=rules.phenotypes.output.patients,
    output:
        run=f"{RUNS}/16_known_truth.ipynb",
        table=f"{FIGURES}/table_known_truth.csv",
    params:
        settings=settings(
            "clinical", "undertrained", within=("source", "tables", "threshold", "mediation"),
        ),
    resources:
        study=given,
    shell:
        RUN


rule mediation:
    input:
        notebook="notebooks/15_mediation.ipynb",
        cohort=rules.data_split.output.cohort,
        patients=rules.phenotypes.output.patients,
    output:
        run=f"{RUNS}/15_mediation.ipynb",
        table=f"{FIGURES}/table_mediators.csv",
    params:
        settings=settings(
            "clinical", "undertrained",
            within=("source", "tables", "texture", "mediation", "other_bin_widths", "other_thresholds"),
        ),
    threads: threads
    resources:
        study=given,
    shell:
        RUN
