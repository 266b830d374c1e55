"""The gallery: ten examples that run as they are, and a page that shows them as they are."""

import math

import pytest
from conftest import ROOT, load_script

from ssinfnet.mediation import Mediation

gallery = load_script(ROOT / "docs" / "render_gallery.py")
EXAMPLES = {example.path.stem[:2]: example for example in gallery.examples()}


def test_there_are_ten_short_examples_each_with_a_title_and_words():
    assert list(EXAMPLES) == [f"{number:02}" for number in range(1, 11)]
    for example in EXAMPLES.values():
        assert example.title
        assert len(example.words.split()) > 12
        assert len(example.code.splitlines()) <= 20


def slices(found):
    assert found["masks"].shape == (3, 128, 128)
    assert (found["shares"] > 0).all()


def training(found):
    assert found["last"] < found["first"]
    assert found["lesion"].shape == (2, 64, 64)


def score(found):  # tp, fp, fn = 1, 1, 1
    scores = found["scores"]
    assert [scores[name] for name in ("F1", "Recall", "Precision")] == [0.5, 0.5, 0.5]
    assert scores["IoU"] == pytest.approx(1 / 3)


def interval(found):
    (row,) = found["summary"].to_dict("records")
    assert row["mean"] == pytest.approx(found["f1"].mean())
    assert row["low"] < row["mean"] < row["high"]
    assert row["n_patients"] == 10


def phenotypes(found):
    assert len(found["measured"]) == 68
    assert found["measured"]["ggo_firstorder_area"] == (found["masks"][0] == 1).sum()


def severity(found):
    assert found["ratios"]["ratio"].tolist() == [0.001, 0.3, 0.7]
    assert found["ratios"]["n_left_out"].tolist() == [0, 1, 0]


def mediation(found):  # both are planted
    assert isinstance(found["found"], Mediation)
    assert found["found"].mediators("age") == ["lesion_extent", "consolidation_share"]


def path_model(found):
    effects = found["fit"].effects.set_index("through")["estimate"]
    through = effects["lesion_extent"] + effects["consolidation_share"]
    assert effects["all mediators"] == pytest.approx(through)
    assert effects["total"] == pytest.approx(through + effects["direct"])


def losses(found):  # 12 sigmoids, each right with p = 1 / (1 + e^-4)
    right = 1 / (1 + math.exp(-4))
    expected = (1 - right) ** 2 * -math.log(right)
    assert float(found["loss"]) == pytest.approx(expected, rel=1e-4)


def study(found):
    assert found["study"].name == "smoke"


CHECKS = {"01": slices, "02": training, "03": score, "04": interval, "05": phenotypes,
          "06": severity, "07": mediation, "08": path_model, "09": losses, "10": study}  # fmt: skip


@pytest.mark.parametrize("number", EXAMPLES)
def test_an_example_runs_and_shows_what_it_says(number):
    variables, printed, figures = gallery.run(EXAMPLES[number])
    CHECKS[number](variables)
    assert printed.strip()
    assert len(figures) == (number in ("01", "02"))


def test_the_page_of_examples_is_current_and_the_scripts_are_on_it():
    page = (ROOT / "docs" / "gallery.md").read_text(encoding="utf-8")
    assert page == gallery.gallery_page(), "run `python docs/render_gallery.py`"
    for example in EXAMPLES.values():
        assert example.code in page
