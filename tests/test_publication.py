"""The copies that the repository shows, what is never among them, and a clean `git status`."""

import re

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from conftest import ROOT
from typer.testing import CliRunner

from ssinfnet import cli, report
from ssinfnet.report import publication
from ssinfnet.storage import artifacts
from ssinfnet.study.config import DataConfig, ExternalConfig, SourceConfig, Study, load_study
from ssinfnet.study.paths import StudyPaths

MADE = {"study": "toy", "parameters": {}, "versions": {}, "inputs": {}}
SCORES = pd.DataFrame({"model": ["unet", "sinfnet"], "F1_mean": [0.4, 0.5], "n_patients": [9, 9]})
PATIENTS = pd.DataFrame({"patient_id": ["rp_2", "rp_5"], "DSC": [0.25, 0.5]})
RESULTS = sorted(path.parent for path in (ROOT / "docs/results").glob("*/manifest"))
DEMO = ROOT / "docs" / "results" / "demo"
IDS_OF_THE_PHANTOM = re.compile(r"\brp_\d|\bpatient_?\d|\btr\.\d|\.png|\.jpg|\.nii")


@pytest.fixture
def paths(tmp_path):
    return StudyPaths("toy", tmp_path)


@pytest.fixture
def phantom():
    return load_study("start").model_copy(update={"name": "toy"})


@pytest.fixture
def real():
    source = SourceConfig(name="medseg", folder="toy")
    return Study(name="toy", description="real", data=DataConfig(sources=(source,)))


@pytest.fixture
def save(paths):
    """A function that saves an item of a run: a figure, or a table."""

    def save_item(name, frame=SCORES):
        if name.startswith("table"):
            return report.save_table(paths.figures, frame, name, "Toy", MADE)
        figure, ax = plt.subplots(figsize=(1, 1))
        ax.plot([0, 1])
        return report.save_figure(paths.figures, figure, name, "Toy", MADE, data=frame)

    return save_item


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# What is copied


def test_of_a_phantom_tables_and_figures_of_the_paper_are_copied(paths, phantom, save):
    for name in ("table_3b", "figure_3a", "figure_lungs", "table_mediation_severe"):
        save(name)
    save("table_ct_ss", PATIENTS)
    done = publication.publish(phantom, paths)
    manifest = {path.name for path in (paths.figures / "manifest").iterdir()}
    kept = {"table_3b.csv", "table_3b.md", "table_ct_ss.csv", "table_ct_ss.md", "figure_3a.png",
            "figure_3a_data.csv"}  # fmt: skip
    assert files_of(paths.published) == kept | {f"manifest/{name}" for name in manifest}
    for file in files_of(paths.published):
        assert (paths.published / file).read_bytes() == (paths.figures / file).read_bytes()
    assert (done.tables, done.figures) == (("table_3b", "table_ct_ss"), ("figure_3a",))
    assert set(done.against) == {"figure_lungs", "table_mediation_severe"}


def test_of_real_data_only_declared_tables_over_many_patients_are_copied(paths, real, save):
    for name in ("table_3b", "figure_3a", "figure_3b", "table_new"):
        save(name)
    for name in ("table_ct_ss", "table_s2_folds"):  # the second is declared
        save(name, PATIENTS)
    save("table_volumes", SCORES.assign(n_patients=[9, 1]))
    done = publication.publish(real, paths)
    assert files_of(paths.published) == {"table_3b.csv", "table_3b.md", "manifest/table_3b.json"}
    assert "patient_id" in done.against["table_s2_folds"]
    assert "n_patients" in done.against["table_volumes"]
    assert "contents.csv" in done.against["table_new"]
    assert "not published: figure_3a" in done.text()


@pytest.mark.parametrize(
    "column", ["patient_id", "slice_id", "slice_a", "file", "row", "Volume", "scan_name"]
)
def test_a_column_that_names_individuals_keeps_a_table_of_real_data_back(save, column):
    folder = save("table_3b", SCORES.assign(**{column: ["a", "b"]})).parent
    record = report.read_manifest(folder).iloc[0]
    assert column in publication.reason_against(folder, record, real=True)
    assert publication.reason_against(folder, record, real=False) == ""


def test_counts_of_slices_and_patients_keep_nothing_back(save):
    frame = SCORES.assign(n_slices=[20, 20], slices_with_lesion=[1, 2], patients=[1, 5])
    folder = save("table_3b", frame).parent
    record = report.read_manifest(folder).iloc[0]
    assert publication.reason_against(folder, record, real=True) == ""


def test_a_phantom_that_is_tested_on_real_data_counts_as_real(phantom):
    assert not publication.reads_real_data(load_study("demo"))
    assert publication.reads_real_data(load_study("covid_semiseg_cpu"))
    external = (ExternalConfig(study="covid_semiseg_cpu", tables="s5"),)
    assert publication.reads_real_data(phantom.model_copy(update={"external": external}))


# What an earlier run has left


def test_a_complete_run_removes_what_it_no_longer_makes(paths, phantom, save):
    for name in ("table_3b", "figure_5_severe"):
        save(name)
    publication.publish(phantom, paths)
    report.forget(paths.figures, "figure_5_*")
    report.write_page(paths.figures, phantom)
    done = publication.publish(phantom, paths)
    assert done.removed == ("figure_5_severe.png", "figure_5_severe_data.csv")
    assert "removed: figure_5_severe.png" in done.text()
    assert done.earlier == ()
    expected = {"table_3b.csv", "table_3b.md", "manifest/table_3b.json"}
    assert files_of(paths.published) == expected


@pytest.mark.parametrize("page", ["none", "of an earlier run"])
def test_a_run_that_was_cut_off_removes_nothing(paths, phantom, save, page):
    for name in ("table_3b", "figure_5_severe"):
        save(name)
    if page == "of an earlier run":
        report.write_page(paths.figures, phantom)
    publication.publish(phantom, paths)
    before = files_of(paths.published)
    report.forget(paths.figures, "figure_5_*")
    save("table_3b", SCORES.head(1))
    done = publication.publish(phantom, paths)
    assert files_of(paths.published) == before
    assert (done.removed, done.earlier) == ((), ("figure_5_severe",))
    assert len(pd.read_csv(paths.published / "table_3b.csv")) == 1


def test_a_table_that_now_singles_patients_out_is_removed_at_once(paths, real, save):
    save("table_3b")
    publication.publish(real, paths)
    save("table_3b", SCORES.assign(patient_id=["a", "b"]))
    done = publication.publish(real, paths)
    assert done.removed == ("table_3b.csv", "table_3b.md")
    assert files_of(paths.published) == set()


def test_a_page_is_complete_only_with_exactly_what_is_saved(paths, phantom, save):
    save("table_3b")
    save("table_paper_comparison")
    assert not report.is_complete(paths.figures)
    report.write_page(paths.figures, phantom)
    assert report.is_complete(paths.figures)
    save("table_3b", SCORES.head(1))
    assert not report.is_complete(paths.figures)


@pytest.mark.parametrize("fault", ["changed", "missing", "large"])
def test_an_error_leaves_the_published_folder_as_it_was(paths, phantom, save, monkeypatch, fault):
    csv = save("table_3b")
    publication.publish(phantom, paths)
    save("table_s7")
    if fault == "changed":
        csv.write_text("model\nunet\n")
    elif fault == "missing":
        csv.unlink()
    else:
        monkeypatch.setattr(publication, "LIMIT_BYTES", 100)
    words = {"changed": "has changed", "missing": "is missing", "large": "at most 100 may be"}
    with pytest.raises((ValueError, FileNotFoundError), match=words[fault]):
        publication.publish(phantom, paths)
    assert "table_3b.csv" in files_of(paths.published)
    assert "table_s7.csv" not in files_of(paths.published)
    assert [path.name for path in paths.published.parent.iterdir()] == ["toy"]


def test_the_command_publishes_and_says_where(tmp_path, monkeypatch, save):
    for name in ("studies", "notebooks"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.setenv("SSINFNET_ROOT", str(tmp_path))
    refused = CliRunner().invoke(cli.app, ["publish", "start"])
    assert refused.exit_code == 1
    assert "holds no tables or figures; run the study first" in refused.stderr
    paths = StudyPaths.of("start")
    report.save_table(paths.figures, SCORES, "table_3b", "Toy", MADE)
    done = CliRunner().invoke(cli.app, ["publish", "start"])
    assert done.exit_code == 0
    assert f"1 tables and 0 figures in {tmp_path / 'docs/results/start'}" in done.stdout


# What is committed


@pytest.mark.parametrize("folder", RESULTS, ids=lambda folder: folder.name)
def test_what_is_committed_is_what_the_rules_keep(folder):
    real = publication.reads_real_data(load_study(folder.name))
    expected = {f"manifest/{path.name}" for path in (folder / "manifest").iterdir()}
    for record in report.read_manifest(folder).to_dict("records"):
        reason = publication.reason_against(folder, record, real)
        assert not (real and reason), record["name"]
        for file, sha256 in record["sha256"].items() if not reason else ():
            if file.endswith(publication.FORMATS):
                assert artifacts.sha256(folder / file) == sha256, file
                expected.add(file)
    assert files_of(folder) == expected
    total = sum((folder / file).stat().st_size for file in files_of(folder))
    assert total <= publication.LIMIT_BYTES


def test_the_demo_is_among_them_with_what_the_documents_show():
    assert DEMO in RESULTS
    assert {"figure_3a.png", "table_3b.csv", "table_3d_s4.csv"} <= files_of(DEMO)


def test_no_table_that_real_data_may_show_names_a_patient_of_the_demo():
    # The demo has the tables of every notebook; its patients and files are known by their names.
    records = report.read_manifest(DEMO).to_dict("records")
    kept = [r["name"] for r in records if not publication.reason_against(DEMO, r, real=True)]
    assert len(kept) > 50
    named = [name for name in kept if IDS_OF_THE_PHANTOM.search((DEMO / f"{name}.csv").read_text())]
    assert named == []
    assert IDS_OF_THE_PHANTOM.search((DEMO / "table_ct_ss.csv").read_text())


def test_no_pattern_has_outlived_what_it_names():
    saved = report.read_manifest(DEMO)["name"]
    patterns = (*publication.OMITTED, *publication.PAPER_FIGURES, *publication.OUR_FIGURES)
    idle = {one for one in patterns if not any(publication._matches(name, [one]) for name in saved)}
    assert idle <= {"table_paper_comparison", "figure_4_*", "*_fold[1-9]_*"}


# What git sees of a run


def test_nothing_that_a_run_writes_into_is_tracked(git):
    tracked = git("ls-files", "figures", "papermill_runs").stdout.split()
    assert sorted(tracked) == ["figures/README.md", "papermill_runs/README.md"]


def test_everything_that_a_run_may_write_is_ignored(git):
    record = report.read_manifest(DEMO)
    names = [file for files in record["files"] for file in files]
    paths = [StudyPaths(name, ROOT) for name in ("demo", "smoke", "demo/on_demo_set2")]
    written = [
        path
        for place in paths
        for path in (
            *(place.figures / name for name in (*names, "report.html", ".table_3b.7.partial.csv")),
            report.record_path(place.figures, "table_3b"),
            place.runs / "05_single_segmentation.unet.ipynb",
            place.runs / "15_mediation.failed.ipynb",
            place.single("unet", 0, 1) / "weights.safetensors",
            place.cohort / "cohort.parquet.json",
        )
    ]
    written += [ROOT / ".snakemake" / "metadata" / "x", ROOT / "notebooks" / ".ipynb_checkpoints/x"]
    names = [path.relative_to(ROOT).as_posix() for path in written]
    ignored = git("check-ignore", "--no-index", *names).stdout.split()
    assert set(names) - set(ignored) == set()
    assert git("check-ignore", "--no-index", "docs/results/demo/table_3b.csv").stdout == ""


def test_documents_show_nothing_that_git_ignores(git):
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "figures" / "README.md"]
    targets = {
        (page.parent / link.partition("#")[0]).resolve().relative_to(ROOT.resolve()).as_posix()
        for page in pages
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
        if not re.match(r"[a-z]+:|#", link)
    }
    assert "docs/results/demo/figure_3a.png" in targets
    assert git("check-ignore", "--no-index", *sorted(targets)).stdout == ""
