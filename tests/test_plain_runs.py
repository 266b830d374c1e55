import nbformat
import pytest

from ssinfnet.engine import plain_runs
from ssinfnet.study import schedule
from ssinfnet.study.config import load_study
from ssinfnet.study.paths import project_root


def notebook(folder, *cells):
    book = nbformat.v4.new_notebook()
    book.cells = [
        nbformat.v4.new_code_cell(
            "study: str = 'smoke'\ncount: int = 2", metadata={"tags": ["parameters"]}
        ),
        nbformat.v4.new_markdown_cell("words"),
        *(nbformat.v4.new_code_cell(cell) for cell in cells),
    ]
    path = folder / "book.ipynb"
    nbformat.write(book, path)
    return path


def test_cells_run_in_order_with_parameters_in_force(tmp_path):
    path = notebook(tmp_path, "doubled = 2 * count", "text = f'{study} {doubled}';")
    assert plain_runs.run_notebook(path, {"count": 5})["text"] == "smoke 10"


def test_an_unknown_parameter_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no parameter \['size'\]"):
        plain_runs.run_notebook(notebook(tmp_path), {"size": 1})


def test_a_failed_cell_is_named_with_its_error(tmp_path):
    with pytest.raises(RuntimeError, match="book.ipynb failed in code cell 3: division by zero"):
        plain_runs.run_notebook(notebook(tmp_path, "1", "1 / 0"), {})


def test_every_run_names_a_notebook_and_parameters_it_has():
    for name in ("smoke", "paper"):
        for book, parameters in schedule.runs_of(load_study(name), name):
            path = project_root() / "notebooks" / f"{book}.ipynb"
            cell = next(
                c
                for c in nbformat.read(path, 4).cells
                if "parameters" in c.metadata.get("tags", [])
            )
            assert parameters["study"]
            for parameter in parameters:
                assert f"{parameter}: " in cell.source


def test_only_the_notebooks_that_are_asked_for_run_in_their_order():
    smoke = load_study("smoke")
    wanted = plain_runs.runs_wanted(smoke, "smoke", ["0[78]_*", "0[1-2]_*"])
    books = [book for book, _ in wanted]
    assert books[0].startswith("02_")
    assert "08_class_results" in books
    assert {book[:2] for book in books} == {"01", "02", "07", "08"}
    every = list(schedule.runs_of(smoke, "smoke"))
    assert [run for run in every if run in wanted] == wanted
    assert plain_runs.runs_wanted(smoke, "smoke") == every


def test_a_pattern_that_no_notebook_matches_is_refused():
    with pytest.raises(ValueError, match=r"no notebook of smoke matches '5_\*'; it has \['02_data"):
        plain_runs.runs_wanted(load_study("smoke"), "smoke", ["01_*", "5_*"])


def test_a_study_without_ssinfnet_runs_no_ablation():
    smoke = load_study("smoke")
    alone = smoke.model_copy(
        update={"multi": smoke.multi.model_copy(update={"models": ("sinfnet",)})}
    )
    assert "11_ablation" in [book for book, _ in schedule.runs_of(smoke, "smoke")]
    assert "11_ablation" not in [book for book, _ in schedule.runs_of(alone, "smoke")]


def test_what_another_prior_needs_runs_before_stage_2():
    smoke = load_study("smoke")
    multi = smoke.multi.model_copy(
        update={"prior_model": "ssinfnet_lite", "models": ("sinfnet",), "oracle_models": ()}
    )
    single = smoke.single.model_copy(
        update={"models": ("sinfnet_lite",), "pretrained_network": "infnet_lite"}
    )
    lite = smoke.model_copy(update={
        "multi": multi, "single": single, "clinical": None, "external": (),
        "augmented": smoke.augmented.model_copy(update={"single_models": (), "multi_models": ()}),
        "cross_validation":
            smoke.cross_validation.model_copy(update={"single_models": (), "multi_models": ()}),
    })  # fmt: skip
    runs = list(schedule.runs_of(lite, "smoke"))
    trained = [
        (book[:2], at.get("model") or at.get("stage"), at.get("part", 0))
        for book, at in runs
        if book[:2] in ("03", "05", "06")
    ]
    assert trained == [
        ("03", "single", 0), ("05", "sinfnet_lite", 0), ("05", "ssinfnet_lite", 0),
        ("05", "ssinfnet_lite", 1), ("05", "ssinfnet_lite", 2), ("06", "sinfnet", 0),
    ]  # fmt: skip


def test_teachers_of_every_seed_run_before_their_student():
    smoke = load_study("smoke")
    multi = smoke.multi.model_copy(
        update={"prior_model": "student_lite", "models": ("sinfnet",), "oracle_models": ()}
    )
    none = {"single_models": (), "multi_models": ()}
    taught = smoke.model_copy(update={
        "multi": multi, "single": smoke.single.model_copy(update={"models": ("student_lite",)}),
        "clinical": None, "external": (), "seeds": (1, 2),
        "augmented": smoke.augmented.model_copy(update=none),
        "cross_validation": smoke.cross_validation.model_copy(update=none),
    })  # fmt: skip
    trained = [
        (at["model"], at.get("part", 0), at["seed"])
        for book, at in schedule.runs_of(taught, "smoke")
        if book[:2] in ("05", "06")
    ]
    parts = [(part, seed) for part in (0, 1, 2) for seed in (1, 2)]
    assert set(trained) == {("sinfnet", 0, 1), ("sinfnet", 0, 2)} | {
        (model, *of) for model in ("unet_lite", "student_lite") for of in parts
    }
    for part, seed in parts:
        student = trained.index(("student_lite", part, seed))
        for each in (1, 2):
            assert trained.index(("unet_lite", part, each)) < student
    assert trained.index(("student_lite", 2, 1)) < trained.index(("sinfnet", 0, 1))


def test_only_a_phantoms_cohort_has_a_known_truth():
    knowing = {"demo": True, "smoke": True, "ictcf_cpu": False, "smoke_set3": False}
    for name, known in knowing.items():
        books = [book for book, _ in schedule.runs_of(load_study(name), name)]
        assert ("16_known_truth" in books) == known
