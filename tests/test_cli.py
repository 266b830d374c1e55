import json

from typer.testing import CliRunner

from ssinfnet.cli import app

run = CliRunner().invoke


def test_study_prints_every_setting_defaults_included():
    result = run(app, ["study", "paper"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["single"]["training"]["epochs"] == 500


def test_study_names_what_is_wrong():
    result = run(app, ["study", "no_such"])
    assert result.exit_code == 1
    assert "the studies here are" in result.stderr


def test_phantom_writes_both_sites(tmp_path):
    result = run(app, ["phantom", str(tmp_path / "raw"), "--study", "smoke"])
    assert result.exit_code == 0
    assert (tmp_path / "raw" / "site_a" / "tr_im.nii.gz").is_file()
    assert (tmp_path / "raw" / "site_b" / "TestingSet").is_dir()


def test_phantom_of_a_study_of_real_data_is_refused(tmp_path):
    result = run(app, ["phantom", str(tmp_path), "--study", "paper"])
    assert result.exit_code == 1
    assert "has no phantom" in result.stderr
