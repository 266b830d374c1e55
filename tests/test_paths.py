import subprocess
import sys

import pytest

from ssinfnet.study import paths


def test_the_root_is_found_from_the_notebooks_folder(monkeypatch):
    root = paths.project_root()
    monkeypatch.delenv(paths.ROOT_VARIABLE)
    monkeypatch.chdir(root / "notebooks")
    assert paths.project_root() == root


def test_outside_a_checkout_the_remedy_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv(paths.ROOT_VARIABLE)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=paths.ROOT_VARIABLE):
        paths.project_root()


def test_a_missing_data_folder_is_named_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv(paths.DATA_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere is not a folder"):
        _ = paths.StudyPaths.of("paper").data


def test_an_unset_data_folder_says_which_command_sets_it(monkeypatch):
    monkeypatch.delenv(paths.DATA_VARIABLE, raising=False)
    with pytest.raises(FileNotFoundError, match="make reproduce STUDY=paper DATA="):
        _ = paths.StudyPaths.of("paper").data


def test_importing_the_package_loads_no_torch():
    code = "import ssinfnet, ssinfnet.study.config, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
