"""The small networks that come along: `ssinfnet predict` without a model of one's own."""

import numpy as np
import pytest
from scan_files import write_nifti
from typer.testing import CliRunner

from ssinfnet.cli import app
from ssinfnet.data.phantom import Findings, draw_patient
from ssinfnet.data.sources.volume_files import read_volume
from ssinfnet.scans import model_folder
from ssinfnet.scans.prediction import predict

MOST_BYTES = 12_000_000
AXIAL = np.diag([-2.8, -2.8, 10.0, 1.0])


@pytest.fixture(scope="module")
def included():
    return model_folder.load()


def test_the_model_that_comes_along_is_whole_small_and_says_what_it_is(included):
    sizes = [path.stat().st_size for path in model_folder.INCLUDED.iterdir()]
    assert sum(sizes) <= MOST_BYTES
    assert model_folder.verify(model_folder.INCLUDED)
    assert len(included.chains) == 3
    card = included.card()
    for told in ("not a medical device", "Licence of the weights", "non-commercial", "25"):
        assert told in card
    assert included.tells_classes()
    assert included.description.training.study["name"] == "model"


def test_a_scan_is_predicted_without_a_model_being_named(tmp_path):
    findings = Findings(extent=0.3, consolidation_share=0.2)
    drawn = draw_patient(np.random.default_rng(3), [0.4, 0.5, 0.6], 128, findings)
    write_nifti(tmp_path / "scan.nii.gz", np.stack([one.hu for one in drawn]), AXIAL)
    result = CliRunner().invoke(app, ["predict", str(tmp_path / "scan.nii.gz"), "-o",
                                      str(tmp_path / "out"), "--no-flips"])  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "every file was used" in result.stdout
    assert ",covid_lesions," in (tmp_path / "out" / "predictions.csv").read_text()


def test_its_card_is_shown(tmp_path):
    result = CliRunner().invoke(app, ["model", "info"])
    assert result.exit_code == 0
    assert "# covid_lesions" in result.stdout


@pytest.mark.slow
def test_of_a_volume_it_never_saw_it_finds_the_lesion_and_little_in_healthy_slices(
    included, real_data
):
    (found,) = predict(real_data / "medseg" / "rp_im" / "9.nii.gz", included, flips=False)
    truth = read_volume(real_data / "medseg" / "rp_msk" / "9.nii.gz").slices > 0
    lesion = found.masks["lesion"]
    dice = 2 * (lesion & truth).sum() / (lesion.sum() + truth.sum())
    assert dice > 0.75  # 0.83; another processor rounds differently
    healthy = ~truth.any(axis=(1, 2))
    assert np.quantile(lesion[healthy].mean(axis=(1, 2)), 0.95) < 0.01  # 0.003
