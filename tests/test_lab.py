"""JupyterLab in a real browser: notebooks run on a fresh clone, and show what they find."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import nibabel
import numpy as np
import pandas as pd
import psutil
import pytest

from ssinfnet.study.paths import project_root
from ssinfnet.work import progress

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TOKEN = "of-this-test-alone"
RUN_SECONDS = 400  # 60 on a quiet machine, most of it training
CELLS = ".jp-Notebook .jp-CodeCell"
ERRORS = '[data-mime-type="application/vnd.jupyter.stderr"]'  # as the Lab draws tracebacks, too
SETTINGS = {
    # All cells are drawn, seen or not, and nothing asks for news.
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A fresh clone without any run, so that nothing is written into this one."""
    folder = tmp_path_factory.mktemp("checkout")
    for part, ending in (("notebooks", "ipynb"), ("studies", "yaml")):
        (folder / part).mkdir()
        for file in (project_root() / part).glob(f"*.{ending}"):
            shutil.copy(file, folder / part)
    for name, settings in SETTINGS.items():
        path = folder / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(settings))
    return folder


@contextmanager
def lab(folder: Path):
    """Start JupyterLab on a free port; end it and all its kernels whatever happens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {name: str(folder / name.lower()) for name in (
        "HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR",
        "JUPYTERLAB_WORKSPACES_DIR",
    )}  # fmt: skip
    own["JUPYTERLAB_SETTINGS_DIR"] = str(folder / "settings")
    own["MPLCONFIGDIR"] = mpl.get_cachedir()  # its list of fonts takes seconds to make
    own |= {"SSINFNET_ROOT": str(folder), "PYTHONPATH": str(project_root())}
    environment = os.environ | own
    for name in ("MPLBACKEND", progress.BATCH_VARIABLE):  # a run by another test may have set it
        environment.pop(name, None)
    with (folder / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
             "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0",
             f"--IdentityProvider.token={TOKEN}"],
            cwd=folder / "notebooks", env=environment, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        try:
            yield f"http://127.0.0.1:{port}", server
        finally:
            kernels = psutil.Process(server.pid).children(recursive=True) if alive(server) else []
            server.send_signal(signal.SIGTERM)  # it ends its kernels
            _, left = psutil.wait_procs(kernels, timeout=15)
            for process in left:
                process.kill()
            server.kill()
            server.wait()


def alive(server: subprocess.Popen) -> bool:
    return server.poll() is None


def wait_until_it_answers(url: str, server: subprocess.Popen, log: Path) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert alive(server), log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(f"{url}/api?token={TOKEN}", timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail("JupyterLab did not answer within a minute: " + log.read_text()[-3000:])


@pytest.fixture(scope="module")
def run_all(browser, checkout):
    """A function that opens a notebook and runs all of it, as a person would do it."""
    with lab(checkout) as (url, server):
        wait_until_it_answers(url, server, checkout / "lab.log")
        pages = []

        def opened(notebook: str):
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            pages.append(page)
            page.set_default_timeout(60_000)
            # A workspace of its own: another notebook's tab would be restored with its cells.
            page.goto(f"{url}/lab/workspaces/{notebook}/tree/{notebook}.ipynb?token={TOKEN}")
            page.get_by_text(re.compile(r"^Python 3.* \| Idle$")).wait_for()
            page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Run$")).click()
            page.locator("#jp-mainmenu-run").get_by_text("Run All Cells", exact=True).click()
            # The last cell has a stored output: the number of the one before tells that all ran.
            cells = page.locator(CELLS)
            before = cells.nth(cells.count() - 2)
            ran = before.get_by_text(f"[{cells.count() - 1}]:", exact=True)
            ran.or_(page.locator(ERRORS)).first.wait_for(timeout=RUN_SECONDS * 1000)
            page.get_by_text(re.compile(r"^Python 3.* \| Idle$")).wait_for()
            return page

        yield opened
        for page in pages:
            page.close()


@pytest.fixture(scope="module")
def executed(run_all):
    """The newcomer's walk after Run All."""
    return run_all("00_start")


def photograph(page, checkout, name: str) -> None:
    page.screenshot(path=checkout / f"{name}.png")


def cell_with(page, source: str):
    return page.locator(CELLS, has_text=source)


def assert_that_all_cells_ran(page) -> None:
    assert page.locator(ERRORS).all_inner_texts() == []
    numbers = page.locator(f"{CELLS} .jp-InputPrompt").all_inner_texts()
    folded = page.locator(CELLS).last  # the check, whose source a placeholder stands for
    assert folded.locator(".jp-Placeholder").is_visible()
    assert numbers[:-1] == [f"[{n}]:" for n in range(1, len(numbers))]


def ran_whole(run_all, checkout, notebook: str):
    page = run_all(notebook)
    photograph(page, checkout, notebook)
    assert_that_all_cells_ran(page)
    return page


def test_every_cell_of_the_walk_runs_without_an_error(executed, checkout):
    photograph(executed, checkout, "end")
    assert_that_all_cells_ran(executed)
    assert "'lesion_extent'" in cells_text(executed.locator(CELLS).last)


def test_slices_and_training_are_drawn(executed, checkout):
    for source in ("plot_cohort_examples", "plot_training"):
        cell = cell_with(executed, source).first
        cell.scroll_into_view_if_needed()
        photograph(executed, checkout, source)
        assert cell.locator(".jp-RenderedImage img").first.is_visible()


def cells_text(cell) -> str:
    return "\n".join(cell.locator(".jp-OutputArea-output").all_inner_texts())


def test_the_cohort_the_scores_and_the_mediation_are_tables(executed, checkout):
    for source, words in {
        "cohort.build": ["medseg", "lesion share", "files or slices left out"],
        "segmentation_table": ["SInfNet", "ours", "paper", "n = ", "0.390"],
        "mediation.mediate": ["lesion_extent", "yes", "<0.001"],
    }.items():
        cell = cell_with(executed, source).first
        cell.scroll_into_view_if_needed()
        photograph(executed, checkout, source)
        table = cell.locator(".jp-RenderedHTMLCommon table").first
        assert table.is_visible()
        for word in words:
            assert word in cells_text(cell)
    papers = cell_with(executed, "segmentation_table").locator("td.paper").first
    ours = cell_with(executed, "segmentation_table").locator("td:not(.paper)").first
    colour = "cell => getComputedStyle(cell).color"
    assert papers.evaluate(colour) != ours.evaluate(colour)


def test_the_viewer_draws_and_its_slider_moves_to_another_slice(executed, checkout):
    cell = cell_with(executed, "viewer.view_patient").first
    cell.scroll_into_view_if_needed()
    pictures = cell.locator("img")
    pictures.first.wait_for()
    assert pictures.count() == 2
    size = "picture => [picture.naturalWidth, picture.naturalHeight]"
    assert pictures.first.evaluate(size) == [384, 384]
    before = [picture.screenshot() for picture in pictures.all()]
    photograph(executed, checkout, "viewer")
    handle = cell.locator(".noUi-handle").first
    caption = cell.get_by_text(re.compile("^Patient ")).first
    first = caption.inner_text()
    handle.focus()
    at_its_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemin")
    for _ in range(2):
        executed.keyboard.press("ArrowRight" if at_its_end else "ArrowLeft")
    wait_for_another_caption(caption, first)
    executed.wait_for_timeout(500)  # until the pictures behind the caption are painted
    photograph(executed, checkout, "viewer_moved")
    assert all(a != b.screenshot() for a, b in zip(before, pictures.all(), strict=True))


def wait_for_another_caption(caption, first: str) -> None:
    until = time.monotonic() + 10
    while caption.inner_text() == first:
        assert time.monotonic() < until, "the slider moved and the caption did not"
        time.sleep(0.05)


def drag_from_outside(page, path: Path) -> None:
    """Drop a file onto the list of files, as somebody does who drags it from their computer."""
    box = page.locator(".jp-DirListing-content").first.bounding_box()
    at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] - 40}
    carried = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
    browser = page.context.new_cdp_session(page)
    for kind in ("dragEnter", "dragOver", "drop"):
        browser.send("Input.dispatchDragEvent", {"type": kind, **at, "data": carried})


def test_a_scan_that_is_dragged_into_the_lab_is_shown_with_its_lesions(
    executed, checkout, tmp_path
):
    rng = np.random.default_rng(3)
    hu = np.clip(rng.normal(-850, 40, (64, 64, 3)), -1000, 0).astype(np.int16)
    own = tmp_path / "chest.nii"
    nibabel.save(nibabel.Nifti1Image(hu, np.diag([-5.0, -5.0, 10.0, 1.0])), own)
    drag_from_outside(executed, own)
    files = executed.locator(".jp-DirListing-content").first
    files.get_by_text("chest.nii", exact=True).wait_for()
    assert (checkout / "notebooks/chest.nii").read_bytes() == own.read_bytes()
    cell = cell_with(executed, "own_scan or scan")
    cell.scroll_into_view_if_needed()
    assert cell.get_by_text(re.compile("^phantom_scan, slice ")).first.is_visible()
    line = cell.locator(".cm-line").first
    line.click()
    executed.keyboard.press("Home")
    for _ in 'own_scan = "':
        executed.keyboard.press("ArrowRight")  # to between the quotes
    executed.keyboard.type("chest.nii")
    executed.keyboard.press("Shift+Enter")
    cell.get_by_text(re.compile("^chest, slice ")).first.wait_for()
    photograph(executed, checkout, "dragged")
    assert cell.locator("img").count() == 3  # as scanned, its lesion, its classes
    assert executed.locator(ERRORS).all_inner_texts() == []


def test_stage_1_is_trained_on_a_fresh_clone(run_all, checkout):
    assert not (checkout / "papermill_runs/smoke").exists()
    page = ran_whole(run_all, checkout, "05_single_segmentation")
    assert (checkout / "papermill_runs/smoke/artifacts/cohort/cohort.parquet").is_file()
    curves = cell_with(page, "plot_training").locator(".jp-RenderedImage img")
    assert curves.first.evaluate("picture => picture.naturalWidth") > 300
    assert "validation_F1" in cells_text(cell_with(page, "learning.record"))
    assert re.search(r"[1-9]\d* slices predicted", cells_text(cell_with(page, "predict_held_out")))
    assert "'finite': True" in cells_text(page.locator(CELLS).last)


def test_mediation_makes_what_it_lacks_on_a_fresh_clone(run_all, checkout):
    assert not (checkout / "papermill_runs/smoke/artifacts/phenotypes").exists()
    page = ran_whole(run_all, checkout, "15_mediation")
    artifacts = checkout / "papermill_runs/smoke/artifacts"
    assert len(pd.read_parquet(artifacts / "phenotypes/patients.parquet"))
    assert re.search(r"\d+ of \d+ pairs", cells_text(cell_with(page, "analyse = partial")))
    for source in ("patients[columns]", "mediator_counts", "two_part_tables", "joint_counts"):
        table = cell_with(page, source).locator(".jp-RenderedHTMLCommon table").first
        table.scroll_into_view_if_needed()
        assert table.is_visible()
    for source in ("plots.plot_forest", "plot_correlations", "plot_path_model", "plot_rho"):
        drawn = cell_with(page, source).locator(".jp-RenderedImage img").first
        assert drawn.evaluate("picture => picture.naturalWidth") > 300


def test_no_kernel_outlives_its_server(checkout):
    with lab(checkout) as (url, server):
        wait_until_it_answers(url, server, checkout / "lab.log")
        request = urllib.request.Request(
            f"{url}/api/kernels?token={TOKEN}", data=b"{}", method="POST"
        )
        urllib.request.urlopen(request).close()
        children = psutil.Process(server.pid).children(recursive=True)
        assert any("ipykernel" in " ".join(child.cmdline()) for child in children)
    assert not any(child.is_running() for child in children)
    assert not alive(server)
