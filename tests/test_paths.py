import subprocess
import sys

import pytest

from ssinfnet import networks
from ssinfnet.study import paths
from ssinfnet.study.config import load_study


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


def test_published_weights_lie_below_the_raw_data(tmp_path, monkeypatch):
    own = paths.StudyPaths("demo", tmp_path)
    assert own.published_weights(None) is None
    assert own.published_weights("/x/res2net.pth") == "/x/res2net.pth"
    monkeypatch.setenv(paths.DATA_VARIABLE, str(tmp_path))
    assert own.published_weights("imagenet/vgg16.pth") == str(tmp_path / "imagenet/vgg16.pth")


def test_study_paper_asks_for_the_published_files_by_name(tmp_path, monkeypatch):
    """Res2Net-50 v1b's and VGG16's, as Res2Net's authors and torchvision name them."""
    monkeypatch.setenv(paths.DATA_VARIABLE, str(tmp_path))
    own, study = paths.StudyPaths("paper", tmp_path), load_study("paper")
    backbone = own.published_weights(study.single.network.imagenet_weights)
    with pytest.raises(FileNotFoundError, match=r"res2net50_v1b_26w_4s-3cf99910\.pth"):
        networks.build_single("infnet", imagenet_weights=backbone)
    vgg = own.published_weights(study.multi.network.imagenet_weights)
    with pytest.raises(FileNotFoundError, match=r"vgg16-397923af\.pth"):
        networks.build_multi("fcn8s", True, imagenet_weights=vgg)
    assert load_study("paper_from_random").single.network.imagenet_weights is None
