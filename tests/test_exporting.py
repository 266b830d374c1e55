"""A packed model as an ONNX file: it answers as `predict` does, in another program."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from ssinfnet.cli import app
from ssinfnet.scans import Place, exporting, model_folder, read_scan
from ssinfnet.scans.prediction import Predictor


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """Three pictures at the network's own size, so that nothing is resized."""
    folder = tmp_path_factory.mktemp("scan")
    rng = np.random.default_rng(5)
    for number in range(3):
        grey = rng.integers(0, 120, (64, 64)).astype(np.uint8)
        grey[10:30, 5 + 10 * number : 30 + 10 * number] += 90
        Image.fromarray(grey).save(folder / f"{number}.png")
    return read_scan(Place("a", folder))


def shown(scan):
    return torch.from_numpy(scan.slices[:, None].astype(np.float32) / 255)


@pytest.mark.parametrize("flips", [False, True])
def test_the_module_that_is_exported_answers_as_predict_does(packed, scan, flips):
    found = Predictor.of(packed.model, device="cpu", flips=flips)(scan)
    segmenter = exporting.Segmenter(model_folder.load(packed.model).chains, flips=flips).eval()
    with torch.inference_mode():
        lesion, classes = (maps.numpy() for maps in segmenter(shown(scan)))
    np.testing.assert_allclose(lesion[:, 0], found.lesion, atol=2e-3)  # float16
    margin = np.diff(np.sort(classes, axis=1)[:, 1:], axis=1)[:, 0]
    clear = margin > 5e-3
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(classes.argmax(1)[clear], found.classes[clear])


def test_the_file_answers_any_number_of_slices_and_says_what_it_needs(packed, scan, tmp_path):
    target = tmp_path / "model.onnx"
    call = ["model", "export", str(packed.model), "-o", str(target), "--flips"]
    done = CliRunner().invoke(app, call)
    assert done.exit_code == 0, done.output
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    segmenter = exporting.Segmenter(model_folder.load(packed.model).chains, flips=True).eval()
    chains = model_folder.load(packed.model).chains
    segmenter = exporting.Segmenter(chains, flips=True).eval()
    content = target.read_bytes()
    for slices in (shown(scan), shown(scan)[:1]):
        assert exporting.difference(content, segmenter, slices) < 1e-4
    other = exporting.Segmenter(chains, flips=False).eval()
    assert exporting.difference(content, other, shown(scan)) > 1e-3
    facts = session.get_modelmeta().custom_metadata_map
    described = model_folder.read_description(packed.model)
    assert json.loads(facts["window_hu"]) == list(described.window_hu)
    assert json.loads(facts["image_size"]) == described.image_size == 64
    assert json.loads(facts["flipped_views"]) is True
    again = CliRunner().invoke(app, call)
    assert again.exit_code == 1
    assert "is there already" in again.stderr


def test_another_ending_is_refused(packed, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.onnx"):
        exporting.export_onnx(packed.model, tmp_path / "model.pb")


def test_a_models_card_is_shown(packed):
    told = CliRunner().invoke(app, ["model", "info", str(packed.model)])
    assert told.exit_code == 0
    assert told.stdout.strip() == (packed.model / "MODEL_CARD.md").read_text().strip()
    assert "not a medical device" in told.stdout
    described = CliRunner().invoke(app, ["model", "info", str(packed.model), "--json"])
    assert json.loads(described.stdout) == json.loads((packed.model / "model.json").read_text())
