"""`make gpu` on the processor, so that a GPU's few minutes are not spent on what fails anywhere."""

import argparse
import os
import subprocess
import sys
import zipfile

import pandas as pd
import pytest
from conftest import ROOT, load_script

STUDY = """
name: tiny
description: A phantom of 64 px and one network.
undertrained: true
image_size: 64
threads: 1
data:
  phantom: {size: 64, volumes: 5, slices_per_volume: 3, single_slices: 9}
  sources: [{name: medseg, folder: site_a}]
single:
  models: [sinfnet]
  network: {width: 0.125}
  training: {epochs: 1, batch_size: 8, learning_rate: 1e-3, scales: [1.0]}
multi: {models: [], oracle_models: []}
augmented: {single_models: [], multi_models: []}
cross_validation: {single_models: [], multi_models: []}
scores: {bootstrap_draws: 100, permutation_draws: 100}
"""
TINY = ["--device", "cpu", "--size", "64", "--width", "0.125", "--batches", "2", "--slices", "2",
        "--networks", "Inf-Net,U-Net of stage 2", "--block", "0.001"]  # fmt: skip


@pytest.fixture(scope="module")
def gpu():
    return load_script(ROOT / "benchmarks" / "gpu.py")


def make_gpu(folder, *arguments, root=ROOT):
    words = [sys.executable, "benchmarks/gpu.py", "--to", str(folder), *TINY, *arguments]
    environment = os.environ | {"SSINFNET_ROOT": str(root)}
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_throughput_and_accuracy_leave_their_tables(tmp_path):
    root, to = tmp_path / "root", tmp_path / "to"
    root.mkdir()
    for folder in ("studies", "notebooks", "DECISIONS.md"):
        (root / folder).symlink_to(ROOT / folder)
    study = tmp_path / "tiny.yaml"
    study.write_text(STUDY)
    done = make_gpu(
        to, "--parts", "throughput,accuracy", "--budget", "500", "--study", str(study), root=root
    )
    logs = "".join(log.read_text() for log in to.glob("*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    table = pd.read_csv(to / "gpu.csv", keep_default_na=False)
    assert set(table["reason"]) == {""}, table
    assert set(table["variant"]) == {
        "plain loop", "ours", "ours, steps alone", "float32", "channels-last", "bf16",
    }  # fmt: skip
    speeds = pd.read_csv(to / "gpu.csv")
    assert (speeds["images_per_second"] > 0).all()
    epochs = speeds[speeds["pass"] == "epoch"].set_index("variant")
    speed = epochs["images_per_second"]
    assert epochs.at["ours", "times_plain"] == pytest.approx(
        speed["ours"] / speed["plain loop"], rel=1e-2
    )
    trained = pd.read_csv(to / "accuracy.csv").set_index("notebook")
    assert trained.loc["05_single_segmentation", "epochs"] == 1
    scores = pd.read_csv(root / "figures/tiny/table_3b.csv").set_index("values")
    assert trained.loc["05_single_segmentation", "F1_mean"] == pytest.approx(
        scores.loc["ours", "F1_mean"], abs=1e-3
    )
    assert (to / "tables" / "table_3b.csv").is_file()
    assert "accuracy: finished" in done.stdout
    assert pd.read_csv(to / "summary.csv")["outcome"].tolist() == ["finished", "finished"]


def test_wheels_that_were_carried_along_are_found_by_the_parts(gpu, tmp_path):
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels" / "carried-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("carried.py", "WORD = 'here'")
    options = argparse.Namespace(to=tmp_path, wheels=tmp_path / "wheels", device="cpu")
    log = tmp_path / "part.log"
    words = ["-c", "import carried; print(carried.WORD)"]
    assert gpu.run(words, 60.0, gpu.environment_of(options), log) == "finished"
    assert log.read_text() == "here\n"


def test_a_part_is_ended_when_its_seconds_are_over(gpu, tmp_path):
    log = tmp_path / "part.log"
    sleeping = ["-c", "import time; print('begun', flush=True); time.sleep(600)"]
    assert gpu.run(sleeping, 3.0, dict(os.environ), log) == "ended at its budget"


def test_a_part_that_fails_says_where_its_log_lies(gpu, tmp_path):
    log = tmp_path / "part.log"
    assert gpu.run(["-c", "1 / 0"], 60.0, dict(os.environ), log) == (
        f"failed with status 1, see {log}"
    )
    assert "ZeroDivisionError" in log.read_text()


def test_tests_are_counted_from_a_log_that_breaks_off(gpu, tmp_path):
    (tmp_path / "tests.log").write_text(
        "tests/test_cuda.py::test_a[cuda] PASSED    [ 10%]\n"
        "tests/test_cuda.py::test_b[cuda] FAILED    [ 20%]\n"
        "tests/test_cuda.py::test_c[cuda] "
    )
    assert gpu.tests_result(tmp_path) == "1 passed, 1 failed"
    assert pd.read_csv(tmp_path / "tests.csv")["test"].tolist() == ["test_a[cuda]", "test_b[cuda]"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--parts", "speed"], "no part ['speed']"),
        (["--parts", "tests", "--budget", "1,2"], "2 numbers for 1 parts"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, arguments, words):
    refused = make_gpu(tmp_path, *arguments)
    assert refused.returncode == 2
    assert words in refused.stderr
