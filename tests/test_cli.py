import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import typer
import yaml
from conftest import ROOT
from typer import rich_utils
from typer.testing import CliRunner

import ssinfnet
from ssinfnet import mediation
from ssinfnet.cli import app, parsing
from ssinfnet.study import paths
from ssinfnet.work import progress

run = CliRunner().invoke


def test_study_prints_every_setting_defaults_included():
    result = run(app, ["study", "paper"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["single"]["training"]["epochs"] == 500


def test_study_names_what_is_wrong():
    result = run(app, ["study", "no_such"])
    assert result.exit_code == 1
    assert "the studies here are" in result.stderr


def test_study_without_a_name_lists_them_with_what_they_are_for():
    lines = run(app, ["study"]).stdout.splitlines()
    assert [line.split()[0] for line in lines] == paths.study_names()
    assert "smallest study" in next(line for line in lines if line.startswith("smoke "))


def test_studies_and_what_they_learnt_are_listed_for_programs(tmp_path, monkeypatch):
    listed = json.loads(run(app, ["study", "--json"]).stdout)
    assert list(listed) == paths.study_names()
    assert "smallest study" in listed["smoke"]
    smoke = (ROOT / "studies" / "smoke.yaml").read_text().replace("name: smoke", "name: never_run")
    (tmp_path / "never_run.yaml").write_text(smoke)
    rows = json.loads(run(app, ["learnt", str(tmp_path / "never_run.yaml"), "--json"]).stdout)
    own = [row for row in rows if row["study"] == "never_run"]
    assert {row["stage"] for row in own} >= {"single", "multi"}
    assert {(row["learnt"], row["reason"]) for row in own} == {
        (None, "not measured: run its notebook again")
    }


def test_outside_a_checkout_studies_are_refused_in_one_line_and_completion_is_silent(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(paths.ROOT_VARIABLE, raising=False)
    monkeypatch.setattr(paths, "PACKAGE", tmp_path)  # as where no wheel has put the studies
    result = run(app, ["study"])
    assert result.exit_code == 1
    assert "work inside a checkout" in result.stderr
    assert result.stderr.count("\n") == 1
    assert parsing.study_names("sm") == []


def test_a_misspelt_study_or_verb_is_answered_with_the_nearest():
    assert "did you mean 'smoke'?" in run(app, ["study", "smokee"]).stderr
    assert "Did you mean 'train'?" in run(app, ["trian"]).stderr


def test_the_version_is_that_of_the_package():
    assert run(app, ["--version"]).stdout == f"ssinfnet {ssinfnet.__version__}\n"


def verbs():
    """Every verb, as typed."""
    whole = typer.main.get_command(app)
    for name, verb in whole.commands.items():
        inner = getattr(verb, "commands", None)
        yield from [[name, one] for one in inner] if inner else [[name]]


@pytest.mark.parametrize("verb", [[], *verbs()], ids=" ".join)
def test_help_fits_80_columns_and_cuts_nothing(verb, monkeypatch):
    monkeypatch.setattr(rich_utils, "MAX_WIDTH", 80)
    said = run(app, [*verb, "--help"], terminal_width=80).stdout
    assert max(map(len, said.splitlines())) <= 80
    assert "…" not in said


def test_what_receives_results_is_named_alike_everywhere():
    named = {
        " ".join(verb): option.opts
        for verb in verbs()
        for option in command_of(verb).params
        if {"-o", "--output", "--to"} & set(option.opts)
    }
    assert len(named) == 6
    assert all(opts == ["--to", "-o"] for opts in named.values()), named


def command_of(verb):
    command = typer.main.get_command(app)
    for name in verb:
        command = command.commands[name]
    return command


def test_the_data_sets_that_may_be_fetched_are_those_of_the_list():
    listed = yaml.safe_load((ROOT / "ssinfnet/data/sources/datasets.yaml").read_text("utf-8"))
    said = run(app, ["data", "download", "none", "-o", "x"], terminal_width=400).stderr
    assert set(re.findall(r"'(\w+)'", said)) == {"NAME", "none", *listed}


def test_studies_and_models_are_completed_by_name():
    assert parsing.study_names("smo") == ["smoke", "smoke_set3"]
    completed = {
        option.name: option.shell_complete
        for option in command_of(["model", "pack"]).params
        if option.name in ("single_model", "multi_model")
    }
    found = {
        name: [one.value for one in complete(None, "f")] for name, complete in completed.items()
    }
    assert found == {"single_model": [], "multi_model": ["fcn8s"]}


def test_quiet_says_no_progress_and_verbose_shows_where_an_error_comes_from(monkeypatch, capsys):
    for variable in (progress.QUIET_VARIABLE, parsing.VERBOSE_VARIABLE):
        monkeypatch.setenv(variable, "")  # so that what the verb sets is taken back
        monkeypatch.delenv(variable)
    result = run(app, ["--verbose", "study", "no_such"])
    assert isinstance(result.exception, FileNotFoundError)
    run(app, ["--quiet", "study"])
    progress.say("epoch 1")
    assert list(progress.track([1, 2], "scoring")) == [1, 2]
    assert capsys.readouterr().err == ""


def test_phantom_writes_both_sites(tmp_path):
    result = run(app, ["phantom", str(tmp_path / "raw"), "--study", "smoke"])
    assert result.exit_code == 0
    assert (tmp_path / "raw" / "site_a" / "tr_im.nii.gz").is_file()
    assert (tmp_path / "raw" / "site_b" / "TestingSet").is_dir()


def test_phantom_of_a_study_of_real_data_is_refused(tmp_path):
    result = run(app, ["phantom", str(tmp_path), "--study", "paper"])
    assert result.exit_code == 1
    assert "has no phantom" in result.stderr


def patients_csv(path, rows=80):
    rng = np.random.default_rng(2)
    age = rng.normal(50, 10, rows)
    area = age + rng.normal(0, 5, rows)
    severe = (area + rng.normal(0, 8, rows) > 50).astype(int)
    table = pd.DataFrame({"id": [f"p{i}" for i in range(rows)], "age": age, "ggo_area": area,
                          "ggo_noise": rng.normal(size=rows), "severe": severe})  # fmt: skip
    table.loc[0, "age"] = np.nan
    table.to_csv(path, index=False)
    return table.set_index("id")


ASKED = ["--exposures", "age", "--outcome", "severe", "--mediators", "ggo_*", "--draws", "99"]


def test_mediate_writes_every_test_and_says_which_mediate(tmp_path):
    table = patients_csv(tmp_path / "own.csv")
    result = run(app, ["mediate", str(tmp_path / "own.csv"), *ASKED, "--patient", "id"])
    assert result.exit_code == 0, result.stderr
    written = pd.read_csv(tmp_path / "own_mediation.csv")
    expected = mediation.mediate(table, ["age"], "severe", ["ggo_area", "ggo_noise"], draws=99)
    empty = ["covariates_dropped", "reason"]
    assert written[empty].isna().all(axis=None)
    pd.testing.assert_frame_equal(
        written.drop(columns=empty), expected.table.drop(columns=empty), check_dtype=False
    )
    assert "1 of 2 pairs" in result.stdout
    assert "1 patients left out: age is not known" in result.stdout
    assert "ggo_area" in result.stdout
    assert "linear probability model of a binary outcome" in result.stdout
    assert "nothing unmeasured" in result.stdout


def test_mediate_prints_every_test_as_json(tmp_path):
    patients_csv(tmp_path / "own.csv")
    asked = ["mediate", str(tmp_path / "own.csv"), *ASKED, "--patient", "id"]
    table = tmp_path / "tests.csv"
    result = run(app, [*asked, "--json", "--to", str(table)])
    told = json.loads(result.stdout)
    written = pd.read_csv(table)
    assert [row["mediator"] for row in told["tests"]] == written["mediator"].tolist()
    assert [row["indirect"] for row in told["tests"]] == pytest.approx(written["indirect"].tolist())
    assert told["outcome"] == "severe"
    assert str(table) in result.stderr
    assert {"columns", "left_out", "notes", "model"} <= told.keys()
    table.unlink()
    assert json.loads(run(app, [*asked, "--json"]).stdout) == told
    assert [path.suffix for path in tmp_path.glob("*.csv")] == [".csv"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("ggo_noise", "ggo_area", 1), "occur more than once"),
        (lambda text: text.replace("p1,", "p2,", 1), "occur more than once"),
        (lambda text: text.replace("severe", "mild", 1), "lacks columns"),
        (lambda text: text.replace("ggo_", "c_"), "no column matches"),
        (lambda text: text.replace(",1\n", ",yes\n"), "no finite numbers"),
        (
            lambda text: text.replace(",1\n", ",yes\n").replace(",0\n", ",no\n"),
            "a number for each of its two words, 'no' and 'yes', such as 0 and 1",
        ),
        (lambda text: "", "cannot be read as CSV"),
        (lambda text: text.replace("id", "name", 1), "has no column 'id'"),
    ],
)
def test_mediate_says_what_is_wrong_with_a_table(tmp_path, change, words):
    path = tmp_path / "own.csv"
    patients_csv(path)
    path.write_text(change(path.read_text()))
    result = run(app, ["mediate", str(path), *ASKED, "--patient", "id"])
    assert result.exit_code == 1
    assert words in result.stderr
    assert not (tmp_path / "own_mediation.csv").exists()


def test_mediate_finds_columns_whose_names_hold_brackets_commas_and_spaces(tmp_path):
    table = patients_csv(tmp_path / "plain.csv")
    odd = {"age": "age, years", "ggo_area": "ggo area [mm²]", "ggo_noise": "ggo noise [a, b]"}
    table.rename(columns=odd).to_csv(tmp_path / "odd.csv")
    expected = mediation.mediate(table, ["age"], "severe", ["ggo_area", "ggo_noise"], draws=99)
    for mediators in ("ggo*]", 'ggo area [mm²], "ggo noise [a, b]"', "ggo area [*],ggo noise*"):
        result = run(app, [
            "mediate", str(tmp_path / "odd.csv"), "--exposures", '"age, years"', "--outcome",
            "severe", "--mediators", mediators, "--draws", "99", "--patient", "id",
        ])  # fmt: skip
        assert result.exit_code == 0, result.stderr
        written = pd.read_csv(tmp_path / "odd_mediation.csv")
        assert written["mediator"].tolist() == ["ggo area [mm²]", "ggo noise [a, b]"]
        np.testing.assert_allclose(written["indirect"], expected.table["indirect"])
    assert "[c]" not in mediation.chosen_columns(pd.DataFrame({"c": [1], "[c]": [2]}), ["c"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--exposures", ","], "exposures must name at least one column, got none"),
        (["--mediators", ""], "mediators must name at least one column, got none"),
        (["--seed", "-3"], "seed must be at least 0, got -3"),
    ],
)
def test_mediate_says_what_is_wrong_with_its_options(tmp_path, arguments, words):
    patients_csv(tmp_path / "own.csv")
    result = run(app, ["mediate", str(tmp_path / "own.csv"), *ASKED, *arguments])
    assert result.exit_code == 1
    assert words in result.stderr
    assert "Traceback" not in result.stderr


def test_a_text_in_place_of_a_list_of_columns_is_refused(tmp_path):
    table = patients_csv(tmp_path / "own.csv")
    with pytest.raises(ValueError, match=r"write \['age'\]"):
        mediation.mediate(table, "age", "severe", ["ggo_area"])


def test_mediate_replaces_its_earlier_table_and_no_other_file(tmp_path, monkeypatch):
    patients_csv(tmp_path / "own.csv")
    arguments = ["mediate", str(tmp_path / "own.csv"), *ASKED, "--patient", "id"]
    for _ in range(2):
        assert run(app, arguments).exit_code == 0
    monkeypatch.setattr(mediation, "mediate", None)  # any work from here on would fail
    (tmp_path / "own_mediation.csv").write_text("edited")
    for to in ("own_mediation.csv", "own.csv"):
        before = (tmp_path / to).read_bytes()
        result = run(app, [*arguments, "--to", str(tmp_path / to)])
        assert result.exit_code == 1
        assert f"holds {to}, which ssinfnet did not write" in result.stderr
        assert (tmp_path / to).read_bytes() == before


def test_mediate_needs_a_file(tmp_path):
    result = run(app, ["mediate", str(tmp_path / "none.csv"), *ASKED])
    assert result.exit_code == 1
    assert "is not a file" in result.stderr


def test_the_command_line_loads_no_large_library_before_a_verb_needs_it():
    code = (
        "import sys; import ssinfnet.cli; "
        "print({'torch', 'pandas', 'scipy', 'matplotlib', 'skimage'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
