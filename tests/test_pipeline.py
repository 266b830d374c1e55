"""The smoke study from raw files to the report, as `make reproduce` runs it, then the notebooks."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import interrupted
import pandas as pd
import pytest

from ssinfnet.storage import artifacts
from ssinfnet.study import schedule
from ssinfnet.study.config import load_study
from ssinfnet.study.paths import DATA_VARIABLE, PREDICTIONS, StudyPaths

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # a whole study is one fixture
PLACES = StudyPaths.of("smoke")
SET_3 = StudyPaths.of("smoke_set3")


def snakemake(*arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    environment.pop(DATA_VARIABLE, None)  # where the real data of other tests lie
    return subprocess.run(
        [
            sys.executable, "-m", "snakemake", "--cores", "2", "--config", "study=smoke",
            "--rerun-incomplete", *arguments,
        ],
        cwd=PLACES.root, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def status_before(git):
    return git("status", "--porcelain").stdout


@pytest.fixture(scope="module")
def executed():
    run = snakemake("--forceall")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return run


# First, so that the status is asked before the run.
def test_a_run_leaves_git_status_as_it_was(status_before, executed, git):
    assert git("status", "--porcelain").stdout == status_before


def test_the_pipeline_leaves_every_notebook_table_and_figure(executed):
    planned = list(schedule.runs_of(load_study("smoke"), "smoke"))
    ends = re.findall(rf"^\[ *(\d+)/{len(planned)}\] .*$", executed.stderr, re.MULTILINE)
    assert len(ends) == len(planned)
    assert ends[-1] == str(len(planned))
    assert "epoch 1/" not in executed.stderr  # which is in the logs
    for paths in (PLACES, SET_3):
        ours = [run for run, parameters in planned if parameters["study"] == paths.study]
        assert len(list(paths.runs.glob("*.ipynb"))) == len(ours)
        assert len(list(paths.runs.glob("*.log"))) == len(ours)
        assert not list(paths.runs.rglob("*.partial*"))
    for name in ("table_2d_split.csv", "table_3b.csv", "table_3b.md", "figure_2.png",
                 "figure_3a.pdf", "figure_3b.png", "figure_s4.pdf", "table_3d_s4.csv",
                 "figure_3c.png", "figure_3d.pdf", "table_v4_oracle.csv", "table_s7.csv",
                 "figure_1.pdf", "figure_inpainting_single_fold0_seed1.png",
                 "table_s2.csv", "table_s3.csv", "figure_s2_s3_folds.pdf", "table_volumes.csv",
                 "figure_volumes.png", "table_v2.csv", "table_v3.csv", "table_d1.csv",
                 "figure_v6.png", "table_s6a.csv", "table_s6b_moved.csv", "table_s6_tests.csv",
                 "figure_s6.png", "table_s8.csv", "table_costs.csv", "table_trainings.csv",
                 "table_pseudo_labels_fold0_seed1.csv", "table_patient_flow.csv", "table_v5.csv",
                 "figure_lungs.png", "figure_severity.pdf", "figure_calibration.png",
                 "table_ct_ss.csv", "table_s1.csv", "table_stability.csv", "table_learning.csv",
                 "figure_phenotypes_ggo.png", "table_mediators.csv", "table_mediation_infected.csv",
                 "table_mediation_two_part.csv", "figure_4a.png", "figure_4b.pdf",
                 "table_mediator_names.csv", "table_paths_fit.csv", "table_known_truth.csv",
                 "figure_5_infected.png", "figure_6_infected.pdf", "figure_rho_infected.png",
                 "figure_known_truth.png", "report.html"):  # fmt: skip
        assert (PLACES.figures / name).stat().st_size > 0
    assert (SET_3.figures / "figure_lung_field.png").stat().st_size > 0


def test_smoke_stays_small():
    assert len(list(schedule.runs_of(load_study("smoke"), "smoke"))) <= 45


def test_the_mediation_is_of_the_patients_and_phenotypes_of_the_run(executed):
    found = pd.read_csv(PLACES.figures / "table_mediation_infected.csv")
    means = artifacts.read_table(PLACES.phenotypes / "patients.parquet")
    known = means[found["mediator"].unique()].notna().sum()
    tested = found[found["beta21"].notna()]
    assert len(tested)
    assert (tested["n"] == tested["mediator"].map(known)).all()
    assert found.loc[found["beta21"].isna(), "reason"].notna().all()
    counts = pd.read_csv(PLACES.figures / "table_mediators.csv")
    each = counts[counts["exposure"] != "any"]
    assert each["tested"].sum() == len(tested)
    wider = pd.read_csv(PLACES.figures / "table_repeated_infected.csv")
    tried = wider.dropna(subset=["mediator"])  # none where no mediator was found
    assert tried.empty or "bin_width_50" in set(tried["of"])


def test_the_known_truth_is_of_the_runs_patients(executed):
    table = pd.read_csv(PLACES.figures / "table_known_truth.csv")
    assert len(table) == 12  # three exposures, four mediators, one outcome
    assert table[["planted", "cohort_indirect", "f1"]].notna().all(axis=None)
    lesions = table[table["mediator"] == "lesion_extent"]
    means = artifacts.read_table(PLACES.phenotypes / "patients.parquet")
    assert (lesions["n_both"] == len(means)).all()
    lost = table["predicted_indirect"].isna()
    assert table.loc[lost, "reason"].str.contains("predicted").all()


def test_what_the_table_shows_follows_from_the_scores_of_the_run(executed):
    table = pd.read_csv(PLACES.figures / "table_3b.csv")
    per_slice = artifacts.read_table(PLACES.single_scores / "slices.parquet")
    ours = table[table["values"] == "ours"].set_index("model")
    for model, rows in per_slice.groupby("model"):
        assert ours.loc[model, "F1_mean"] == pytest.approx(rows["F1"].mean())
        assert ours.loc[model, "AUC_mean"] == pytest.approx(rows["AUC"].mean())
        assert ours.loc[model, "F1_n"] == rows["F1"].notna().sum()


def test_the_papers_numbers_stand_beside_ours(executed):
    table = pd.read_csv(PLACES.figures / "table_3b.csv")
    paper = table[table["values"] == "paper"].set_index("model")
    assert paper.loc["sinfnet", "F1_mean"] == 0.39
    assert paper.loc["unet", "AUC_mean"] == 0.4243


def test_stage_2s_tables_follow_from_the_scores_of_the_run(executed):
    per_class = artifacts.read_table(PLACES.multi_scores / "slices.parquet")
    for name in ("table_3d_s4", "table_s7"):
        table = pd.read_csv(PLACES.figures / f"{name}.csv")
        ours = table[table["values"] == "ours"].set_index(["model", "class"])
        for (model, own), row in ours.iterrows():
            if own in ("background", "ggo", "consolidation"):
                rows = per_class[(per_class["model"] == model) & (per_class["class"] == own)]
                assert row["F1_mean"] == pytest.approx(rows["F1"].mean(), nan_ok=True)
        means = ours["F1_mean"].unstack("class")
        overall = means[["background", "ggo", "consolidation"]].mean(axis=1, skipna=False)
        assert means["overall"].to_numpy() == pytest.approx(overall.to_numpy(), nan_ok=True)
    paper = table[table["values"] == "paper"].set_index(["model", "class"])
    assert paper.loc[("ssinfnet", "overall"), "F1_mean"] == 0.63


def test_every_training_slice_was_predicted_by_a_network_that_left_its_patient_out(executed):
    slices = artifacts.read_table(PLACES.cohort / "cohort.parquet").set_index("slice_id")
    predicted = [
        set(artifacts.read_arrays(PLACES.single("sinfnet", 0, 1, part) / PREDICTIONS))
        for part in (1, 2)
    ]
    train = slices[slices["split"] == "train"]
    assert predicted[0] | predicted[1] == set(train.index)
    patients = [set(train.loc[sorted(names), "patient_id"]) for names in predicted]
    assert not patients[0] & patients[1]
    whole = set(artifacts.read_arrays(PLACES.single("sinfnet", 0, 1) / PREDICTIONS))
    assert not whole & set(train.index)


def test_in_a_fold_no_network_behind_a_test_slice_or_a_prior_saw_its_patient(executed):
    slices = artifacts.read_table(PLACES.cohort / "cohort.parquet").set_index("slice_id")
    labelled = slices[slices["labelled"]]
    tested = []
    for fold in (1, 2, 3):
        whole = set(artifacts.read_arrays(PLACES.single("sinfnet", fold, 1) / PREDICTIONS))
        tested += sorted(whole & set(labelled.index[labelled["fold"] == fold]))
        assert whole >= set(labelled.index[labelled["fold"] == fold])
        for other in {1, 2, 3} - {fold}:
            pair = PLACES.single("sinfnet", min(fold, other), 1, max(fold, other))
            left_out = set(artifacts.read_arrays(pair / PREDICTIONS))
            assert left_out == set(labelled.index[labelled["fold"].isin([fold, other])])
    assert sorted(tested) == sorted(labelled.index)


def test_the_cross_validation_pools_what_its_folds_show(executed):
    per_slice = artifacts.read_table(PLACES.cross_validation_scores / "single.parquet")
    pooled = pd.read_csv(PLACES.figures / "table_s2.csv").query("values == 'ours'")
    folds = pd.read_csv(PLACES.figures / "table_s2_folds.csv")
    assert per_slice["slice_id"].is_unique
    assert pooled["F1_n"].item() == folds["F1_n"].sum()
    weighted = (folds["F1_mean"] * folds["F1_n"]).sum() / folds["F1_n"].sum()
    assert pooled["F1_mean"].item() == pytest.approx(weighted)


def test_networks_that_moved_are_scored_on_the_slices_of_those_trained_there(executed):
    there = pd.read_csv(PLACES.figures / "table_s6b.csv").query("values == 'ours'")
    moved = pd.read_csv(PLACES.figures / "table_s6b_moved.csv")
    both = there.merge(moved, on=["model", "class"], suffixes=("", "_moved"))
    assert len(both) == 5
    assert both["F1_n"].tolist() == both["F1_n_moved"].tolist()
    assert not both["F1_mean"].equals(both["F1_mean_moved"])


def test_the_patients_flow_ends_with_those_whose_phenotypes_were_measured(executed):
    flow = pd.read_csv(PLACES.figures / "table_patient_flow.csv").set_index("step")
    slices = artifacts.read_table(PLACES.phenotypes / "slices.parquet")
    patients = artifacts.read_table(PLACES.phenotypes / "patients.parquet")
    assert flow.loc["In the table", "patients"] == 20
    assert flow.loc["With CT", "patients"] == len(patients) == slices["patient_id"].nunique()
    assert len(patients.columns) == 205
    means = slices.groupby("patient_id")["lesion_firstorder_area"].mean()
    measured = patients.set_index("patient_id")["lesion_firstorder_area"]
    assert measured.to_dict() == pytest.approx(means.to_dict())


def test_severity_is_judged_on_patients_that_fitted_nothing(executed):
    patients = artifacts.read_table(PLACES.severity / "patients.parquet")
    judged = patients[(patients["half"] == "judge") & patients["ratio"].notna()]
    table = pd.read_csv(PLACES.figures / "table_v5.csv")
    table = table.query("values == 'ours' and unit == 'patients'")
    for model, rows in judged.groupby("model"):
        own = table[(table["model"] == model) & (table["cut_points"] == "published")]
        assert set(own["n"]) == {len(rows)}
        given = pd.cut(rows["ratio"], [-1, 0.01, 0.5, 2], right=False, labels=[0, 1, 2])
        micro = own.set_index("average").loc["micro", "F1_mean"]
        assert micro == pytest.approx((given.astype(int) == rows["grade"]).mean())


def test_no_patient_is_in_two_splits(executed):
    slices = artifacts.read_table(PLACES.cohort / "cohort.parquet")
    assert slices.groupby("patient_id")["split"].nunique().max() == 1


def test_the_report_is_one_page_that_needs_nothing_else(executed):
    page = (PLACES.figures / "report.html").read_text(encoding="utf-8")
    assert "undertrained" in page
    assert not re.search(r'src="(?!data:)', page)
    assert not re.search(r'href="https?:[^"]*\.(css|js)', page)


def test_a_second_call_has_nothing_to_do(executed):
    assert "Nothing to be done" in (lambda run: run.stdout + run.stderr)(snakemake())


def test_a_changed_setting_reruns_what_depends_on_it_alone(executed, tmp_path):
    study = (PLACES.root / "studies" / "smoke.yaml").read_text()
    changed = tmp_path / "smoke.yaml"
    changed.write_text(study.replace("bootstrap_draws: 200", "bootstrap_draws: 300"))
    run = snakemake("--dry-run", "--config", f"study={changed}")
    planned = set(re.findall(r"^rule (\w+):", run.stdout, flags=re.MULTILINE))
    assert "segmentation_results" in planned
    assert "data_split" not in planned


def test_nbval_finds_the_stored_outputs_in_every_notebook(executed):
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval-lax", "-q", "-p", "no:cacheprovider",
         "-p", "nbval_sockets", "-o", "pythonpath=tests", "-o", "addopts=", "-o", "filterwarnings=",
         "notebooks"],
        cwd=PLACES.root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:]
    assert re.search(r"\d+ passed", run.stdout)


STAGE_1_ALONE = """
name: lesions
description: lesion masks, no classes
data: {sources: [{name: volumes, folder: mine}]}
multi: {models: [], oracle_models: []}
augmented: {single_models: [], multi_models: []}
cross_validation: {single_models: [], multi_models: []}
"""


@pytest.mark.parametrize("text", [None, STAGE_1_ALONE])
def test_the_plain_runs_are_those_of_the_snakefile(text, tmp_path):
    study = "smoke"
    if text:
        (tmp_path / "lesions.yaml").write_text(text)
        study = str(tmp_path / "lesions.yaml")
    planned = snakemake("--dry-run", "--forceall", "--config", f"study={study}").stdout
    jobs = re.findall(r"^\s*rule (?!all)(\w+):", planned, flags=re.MULTILINE)
    assert len(jobs) == len(list(schedule.runs_of(load_study(study), study)))
    assert ("class_results" in jobs) == (text is None)


def test_the_whole_study_run_again_in_one_process_gives_the_same_tables(executed, tmp_path):
    root = interrupted.checkout(tmp_path / "again")
    again = subprocess.run(
        [sys.executable, "-m", "ssinfnet.cli", "train", "smoke"],
        cwd=root,
        env=interrupted.environment(root),
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 0, again.stderr[-3000:]
    assert interrupted.different(root, PLACES.root) == []
    tables = [
        {path.name for path in (folder / "figures" / "smoke").glob("*.csv")}
        for folder in (root, PLACES.root)
    ]
    assert tables[0] == tables[1]
    assert "figures have been opened" not in again.stderr


def test_a_run_killed_three_times_goes_on_to_the_same_tables(executed, tmp_path):
    root = interrupted.checkout(tmp_path / "again", PLACES.root)
    paths = StudyPaths("smoke", root)
    target = "figures/smoke/table_3b.csv"  # one training, and what shows it
    shutil.rmtree(paths.single("unet", 0, 1))
    (root / target).unlink()
    running, met = interrupted.snakemake(root, target), []
    for phase, after_s, whole in (
        ("training", 2.0, True),
        ("papermill", 0.5, False),
        ("writing", 0.0, False),
    ):
        left = interrupted.kill(running, root, after_s, phase, whole)
        met.append(left.phase)
        assert left.orphans == 0, left
        running = interrupted.recover(root, target)
    assert running.wait() == 0, (root / "snakemake.log").read_text()[-3000:]
    assert "finished" not in met
    assert interrupted.different(root, PLACES.root) == []
    assert not list(root.rglob(".*.partial*"))
