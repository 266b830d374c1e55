"""What `import ssinfnet` offers, the README's lines of Python, and every example in a docstring."""

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

import ssinfnet as ss
from ssinfnet.networks import build_multi

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(ss.__path__, "ssinfnet.")
    if ">>> "
    in (
        ROOT / (module.name.replace(".", "/") + ".py")
        if not module.ispkg
        else ROOT / module.name.replace(".", "/") / "__init__.py"
    ).read_text("utf-8")
)

SHORTER = {  # what makes the README's lines a test of seconds
    "60, size=128": "9, size=32", "[48:]": "[7:]", "[48]": "[7]",
    "masks[:48])": "masks[:48], config=ss.TrainingConfig(epochs=1, scales=(1.0,)))",
    "[:48]": "[:7]", "share\"])": "share\"], draws=200)",
}  # fmt: skip


def test_importing_the_package_loads_no_library_of_weight():
    code = (
        "import sys, ssinfnet; "
        "print({'torch', 'numpy', 'pandas', 'fastai', 'matplotlib'} & sys.modules.keys())"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"


def test_everything_that_tab_shows_is_there_and_in_the_contents():
    shown = [name for name in dir(ss) if not name.startswith("_")]
    assert all(getattr(ss, name) is not None for name in shown)
    assert set(shown) == set(re.findall(r"`(\w+)`", ss.__doc__))


def test_a_wrong_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="InvNet"):
        _ = ss.InvNet


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    module = importlib.import_module(name)
    assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0


def test_the_readmes_lines_of_python_run(tmp_path, monkeypatch):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    for long, short in SHORTER.items():
        assert long in code
        code = code.replace(long, short)
    monkeypatch.chdir(tmp_path)
    variables = {}
    exec(compile(code, "README.md", "exec"), variables)
    assert variables["lesion"].shape == (2, 32, 32)
    assert list(variables["scores"].index) == ["F1", "IoU", "Recall", "Precision"]
    assert set(variables["found"].mediators("age")) <= {"lesion_extent", "consolidation_share"}
    assert len(variables["phenotypes"]) == 68


def test_a_network_on_arrays_learns_classes_too():
    images, masks = ss.phantom.example_slices(6, size=32, seed=1)
    assert (images.dtype, masks.max()) == (np.uint8, 2)
    network = build_multi("unet", True, 0.125)
    config = ss.MultiTrainingConfig(epochs=1, learning_rate=0.1)
    priors = (masks > 0).astype(np.uint8) * 255
    validation = images[4:], masks[4:], priors[4:]
    trained = ss.train(
        images[:4],
        masks[:4],
        priors=priors[:4],
        validation=validation,
        network=network,
        config=config,
    )
    assert trained.network is network
    assert list(trained.history["epoch"]) == [1]
    probability = trained.predict(images, priors)
    assert probability.shape == (6, 3, 32, 32)
    assert 0 <= probability.min() <= probability.max() <= 1
    assert ("ggo", "F1") in trained.score(images, masks, priors=priors).index


def test_a_training_on_arrays_is_kept_where_a_folder_is_named(tmp_path):
    images, masks = ss.phantom.example_slices(6, size=32, seed=1)
    config = ss.TrainingConfig(epochs=1, scales=(1.0,))
    given = {"validation": (images[4:], masks[4:]), "config": config, "folder": tmp_path}
    network = ss.UNet(3, 1, width=0.125)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    ss.train(images[:4], masks[:4], network=network, **given)
    assert {"weights.safetensors", "history.csv"} <= {file.name for file in tmp_path.iterdir()}
    again = ss.UNet(3, 1, width=0.125)
    again.load_state_dict(before)
    ss.train(images[:4], masks[:4], network=again, **given)  # finished: takes the kept weights
    first, second = (ss.segment(one, images[4:]) for one in (network, again))
    assert np.array_equal(first, second)
