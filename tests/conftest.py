"""What all tests share: one thread, one checkout, and the real data where they are."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

# Before numpy and torch start their threads: several processes of tests share the processors.
os.environ["OMP_NUM_THREADS"] = "1"

import matplotlib
import numpy as np
import pandas as pd
import pytest

from ssinfnet.training.runs import Run

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("SSINFNET_ROOT", str(ROOT))
matplotlib.use("Agg")


def load_script(path: Path) -> ModuleType:
    """Load a file that no package holds."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def assert_interval_and_p_agree(found) -> None:
    """Some indirect effects have a p below 0.05: those whose interval leaves out 0 (D-93)."""
    for low, high, p in (
        ("indirect_low", "indirect_high", "p_indirect"),
        ("indirect_low_adjusted", "indirect_high_adjusted", "p_indirect_adjusted"),
    ):
        outside = (found[low] > 0) | (found[high] < 0)
        assert (outside == (found[p] < 0.05)).all()
        assert 0 < outside.sum() < len(found)


@pytest.fixture(autouse=True)
def _figures_closed():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(2021)


@pytest.fixture
def inputs_stay(request, monkeypatch, tmp_path):
    """Fail if a call that reads scans changes or removes a file that was there before it.

    Returns a set that receives what a test itself changes during a call.
    """
    import hashlib

    from ssinfnet.data import inspection
    from ssinfnet.data.sources import volumes
    from ssinfnet.scans import predicted_files
    from ssinfnet.storage.written_files import RECORD, WrittenFiles

    excused: set[Path] = set()

    def hashes() -> dict[Path, str]:
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        records = [
            WrittenFiles.of(path.parent)
            for path in files
            if path.name == RECORD and b'"files"' in path.read_bytes()
        ]
        ours = {one.folder / name for one in records for name in (*one.hashes, RECORD)}
        return {
            path: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
            if path not in ours | excused
        }

    def watched(call):
        def checked(*arguments, **options):
            before = hashes()
            try:
                return call(*arguments, **options)
            finally:
                after = hashes()
                assert {path: after.get(path) for path in before if path not in excused} == {
                    path: its for path, its in before.items() if path not in excused
                }

        return checked

    names = ("find_scans", "read_scan", "read_volume", "predict_into", "look_through", "read_mask")
    here = [(request.module, name) for name in names if hasattr(request.module, name)]
    here += [(predicted_files, "predict_into"), (inspection, "inspect"), (volumes, "list_slices")]
    for home, name in here:
        monkeypatch.setattr(home, name, watched(getattr(home, name)))
    return excused


@pytest.fixture
def square_slices(rng):
    """Twelve 64 px slices, each with one bright square that is the lesion."""
    images = rng.integers(0, 100, (12, 64, 64)).astype(np.uint8)
    masks = np.zeros_like(images)
    for image, mask, (row, column) in zip(images, masks, rng.integers(4, 40, (12, 2)), strict=True):
        mask[row : row + 16, column : column + 16] = 1
        image[row : row + 16, column : column + 16] += 80
    return images, masks


@pytest.fixture
def clinic():
    """240 patients whose age and diseases act on severity by way of ground glass."""
    rng = np.random.default_rng(4)
    n = 240
    age = rng.normal(50, 15, n)
    diseases = rng.poisson(0.8, n)
    area = 4000 + 60 * age + 500 * diseases + rng.normal(0, 900, n)
    entropy = 2 + 0.01 * age + rng.normal(0, 0.4, n)
    severity = 0.0004 * area + 0.5 * entropy + 0.01 * age + rng.normal(size=n)
    return pd.DataFrame(
        {
            "age": age,
            "n_diseases": diseases,
            "gender": rng.integers(0, 2, n),
            "hospital": rng.choice(["Union", "Liyuan"], n),
            "ggo_area": area,
            "ggo_entropy": entropy,
            "ggo_skewness": rng.normal(size=n),
            "severity": severity,
            "infected": (severity > np.quantile(severity, 0.3)).astype(int),
            "grade": np.digitize(severity, np.quantile(severity, [0.5, 0.85])),
        },
        index=[f"patient_{i}" for i in range(n)],
    )


@pytest.fixture(scope="session")
def html_cells():
    """Return a function that reads the texts of the first table of a page, cell by cell."""

    from bs4 import BeautifulSoup  # not on a bare GPU machine, which runs other tests

    def read(page: str) -> pd.DataFrame:
        table = BeautifulSoup(page, "html.parser").table
        names = [cell.get_text() for cell in table.select("thead tr:last-child th")]
        rows = [
            [cell.get_text() for cell in row.select("th, td")] for row in table.select("tbody tr")
        ]
        return pd.DataFrame(rows, columns=names, dtype="str")

    return read


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, or a skip that says why."""
    folder = Path(os.environ.get("SSINFNET_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set SSINFNET_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def oracles() -> Path:
    """The folder of images whose results others have published, or a skip that says why."""
    folder = Path(os.environ.get("SSINFNET_ORACLES", ROOT.parent / "shared" / "oracles"))
    if not folder.is_dir():
        pytest.skip(f"no images of IBSI at {folder}; set SSINFNET_ORACLES to their folder")
    return folder


@pytest.fixture(scope="session")
def git():
    """A function that asks git about this checkout; a skip where there is none."""

    def ask(*arguments: str) -> subprocess.CompletedProcess:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    if not (ROOT / ".git").exists():
        pytest.skip(f"{ROOT} is no checkout of git")
    return ask


class Packed(NamedTuple):
    """A study with networks that hardly learnt, and its model folder."""

    model: Path
    study: Any
    paths: Any
    cohort: Any


@pytest.fixture(scope="session")
def packed(tmp_path_factory) -> Packed:
    """Both stages at an eighth of the width and 64 px, trained for an epoch and packed."""
    from dataclasses import replace

    import torch

    from ssinfnet import inference, networks
    from ssinfnet.data import cohort, preparation, slice_sets
    from ssinfnet.scans import model_packing
    from ssinfnet.storage import artifacts
    from ssinfnet.study.config import PhantomConfig, TrainingConfig, load_study
    from ssinfnet.study.models import MULTI_MODELS
    from ssinfnet.study.paths import PREDICTIONS, StudyPaths
    from ssinfnet.training import segmentation

    cpu, folder = torch.device("cpu"), tmp_path_factory.mktemp("packed")
    paths, smoke = StudyPaths("smoke", folder), load_study("smoke")
    phantom = PhantomConfig(size=64, volumes=4, slices_per_volume=3, single_slices=8,
                            small_site_train=0, small_site_test=0, small_site_volumes=0,
                            cohort_patients=0)  # fmt: skip
    data = smoke.data.model_copy(update={"phantom": phantom, "sources": smoke.data.sources[:1]})
    short = TrainingConfig(epochs=1, scales=(1.0,), batch_size=4, learning_rate=1e-3)
    single = smoke.single.model_copy(update={"training": short})
    study = smoke.model_copy(update={"data": data, "single": single, "clinical": None})
    built = cohort.build(study, cohort.raw_folder(study, paths))
    built.save(paths.cohort, {})
    preparation.prepare_slices(built, study, paths.cohort, {})
    train = slice_sets.single_slices(built.of_split("train"), paths)
    held = built.of_split("validation", "test")
    shown = slice_sets.single_slices(held, paths)

    def predicted(training: Path, slices: Any) -> None:
        made = artifacts.made_by("smoke", {})
        maps = inference.predict_rows(training, held, slices, cpu)
        artifacts.write_arrays(training / PREDICTIONS, maps, made)

    for model in ("sinfnet", "ssinfnet"):
        network = networks.seeded(len(model), networks.build_single, "infnet", 0.125)
        training = paths.single(model, 0, 1)
        run = Run(study="smoke", model=model, width=0.125)
        segmentation.fit_single(network, train, train, short, run=run, folder=training, device=cpu)
        predicted(training, shown)
    network = networks.seeded(3, networks.build_multi, "unet", True, 0.125)
    with_priors = replace(train, priors=train.images)
    training = paths.multi("ssinfnet", 0, 1)
    segmentation.fit_multi(
        network,
        with_priors,
        with_priors,
        study.multi.training,
        MULTI_MODELS["ssinfnet"],
        run=Run(stage="multi", study="smoke", model="ssinfnet", width=0.125, prior="predicted"),
        folder=training,
        device=cpu,
    )
    predicted(training, replace(shown, priors=shown.images))
    model = model_packing.pack(study, folder / "model", paths=paths)
    return Packed(model, study, paths, built)


@pytest.fixture(scope="session")
def predictor(packed):
    """The packed model, ready on the processor."""
    from ssinfnet.scans.prediction import Predictor

    return Predictor.of(packed.model, device="cpu")


BROWSER_VARIABLE = "SSINFNET_NEEDS_BROWSER"
UNTRIED = "the Lab and the report are not tried in a browser: "


def _without_browser(why: str) -> None:
    """Skip what needs a browser, or fail where the environment says that there has to be one."""
    if os.environ.get(BROWSER_VARIABLE):
        pytest.fail(f"{UNTRIED}{why} ({BROWSER_VARIABLE} is set)", pytrace=False)
    pytest.skip(UNTRIED + why)


def pytest_terminal_summary(terminalreporter) -> None:
    """Say last of all what no browser has tried; among many other skips it is read over."""
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    whys = {text.partition(UNTRIED)[2].rstrip("')") for text in skipped if UNTRIED in text}
    for why in sorted(whys):
        terminalreporter.write_line(f"{UNTRIED}{why}; {BROWSER_VARIABLE}=1 makes that a failure")


@pytest.fixture(scope="module")
def browser():
    """A Chromium without a window; it serves one file of tests, then ends."""
    try:
        from playwright import sync_api as playwright
    except ModuleNotFoundError:
        _without_browser("playwright is not installed")
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        _without_browser("no chromium on this machine; apt-get install chromium")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()
