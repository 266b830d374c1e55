"""The slice viewer: pixels worked out by hand, and widgets that follow them."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ssinfnet.data.cohort import Cohort
from ssinfnet.plots import pixels, viewer
from ssinfnet.storage import artifacts
from ssinfnet.study.config import load_study
from ssinfnet.study.paths import PREDICTIONS, StudyPaths

GREY = np.array([[0, 51], [102, 255]], dtype=np.uint8)


def opened(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)))


def square(side, first, last, label=255):
    mask = np.zeros((side, side), dtype=np.uint8)
    mask[first:last, first:last] = label
    return mask


def test_a_slice_alone_is_grey():
    picture = pixels.render_slice(GREY / np.float32(255))
    assert (picture.dtype, picture.shape) == (np.uint8, (2, 2, 3))
    assert (picture == GREY[..., None]).all()


def test_intensities_beyond_the_window_are_clipped():
    picture = pixels.render_slice(np.array([[-1.0, 2.0, 0.5]]))
    assert picture[0, :, 0].tolist() == [0, 255, 128]


def test_each_class_is_filled_with_its_colour_at_the_opacity():
    labels = np.array([[1, 2], [255, 0]], dtype=np.uint8)
    picture = pixels.render_slice(GREY, labels, opacity=0.25)
    # 0.75 · grey + 0.25 · colour, of #56B4E9, #D55E00 and #CC79A7
    assert picture[0, 0].tolist() == [22, 45, 58]
    assert picture[0, 1].tolist() == [92, 62, 38]
    assert picture[1, 0].tolist() == [128, 107, 118]
    assert picture[1, 1].tolist() == [255, 255, 255]


def test_a_class_that_is_switched_off_is_not_drawn():
    labels = np.array([[1, 2], [0, 0]], dtype=np.uint8)
    picture = pixels.render_slice(GREY, labels, opacity=1, layers=["consolidation"])
    assert picture[0].tolist() == [[0, 0, 0], [213, 94, 0]]


def test_the_truth_is_outlined_inside_its_border():
    picture = pixels.render_slice(np.zeros((9, 9)), truth=square(9, 1, 8))
    outlined = (picture == [240, 228, 66]).all(axis=-1)
    expected = square(9, 1, 8, 1) - square(9, 3, 6, 1)  # two pixels wide
    assert outlined.tolist() == expected.astype(bool).tolist()
    assert not picture[~outlined].any()
    assert not pixels.render_slice(np.zeros((9, 9)), truth=square(9, 1, 8), layers=[]).any()


def test_the_truth_is_outlined_by_class_only_beside_classes():
    truth = square(16, 0, 16, 1)
    truth[:, 8:] = 2
    lesion, classes = np.full((16, 16), 255, np.uint8), np.full((16, 16), 1, np.uint8)
    assert not yellow(pixels.render_slice(np.zeros((16, 16)), lesion, truth)).any()
    beside = yellow(pixels.render_slice(np.zeros((16, 16)), classes, truth))
    assert np.flatnonzero(beside.all(axis=0)).tolist() == [6, 7, 8, 9]


def yellow(picture):
    return (picture == [240, 228, 66]).all(axis=-1)


def test_an_enlarged_pixel_is_a_square():
    picture = pixels.render_slice(GREY, zoom=3)
    assert picture.shape == (6, 6, 3)
    assert picture[:, :, 1].tolist() == np.kron(GREY, np.ones((3, 3), np.uint8)).tolist()


def test_masks_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"truth \(3, 3\) and image \(2, 2\)"):
        pixels.render_slice(GREY, truth=square(3, 0, 1))


def test_a_pixel_at_the_threshold_is_lesion_and_classes_ignore_it():
    stage_1 = np.array([[0.29, 0.3], [0.31, 0.0]])
    assert viewer.predicted_labels(stage_1, 0.3).tolist() == [[0, 255], [255, 0]]
    scaled = np.array([[76, 77]], dtype=np.uint8)  # 0.3 of 255 is 76.5
    assert viewer.predicted_labels(scaled, 0.3).tolist() == [[0, 255]]
    stage_2 = np.array([[[0.1, 0.3]], [[0.2, 0.2]], [[0.05, 0.1]]])
    assert viewer.predicted_labels(stage_2, 0.9).tolist() == [[1, 0]]


def test_the_png_holds_the_picture(rng):
    noise = rng.integers(0, 256, (7, 5, 3)).astype(np.uint8)
    assert opened(pixels.png(noise)).tolist() == noise.tolist()
    picture = pixels.render_slice(GREY, np.array([[1, 0], [0, 0]], dtype=np.uint8))
    assert opened(pixels.png(picture)).tolist() == picture.tolist()
    assert opened(pixels.png(pixels.render_slice(GREY))).tolist() == GREY.tolist()


@pytest.fixture
def shown():
    slices = np.zeros((3, 8, 8), dtype=np.float32)
    slices[2] = 1
    truth = [square(8, 0, 2), square(8, 0, 4), None]
    maps = np.where(np.stack([square(8, 0, 4)] * 3) > 0, 0.6, 0.1)
    return viewer.view(slices, {"one": maps, "<b>two": maps / 2}, truth, names=list("abc"))


def test_the_viewer_opens_at_the_slice_with_most_lesion(shown):
    assert (shown.position.value, shown.caption.value) == (2, "b")
    assert list(shown.shown) == ["lesion", "truth"]


def test_moving_the_slice_draws_the_other_one(shown):
    shown.position.value = 3
    alone = opened(shown.pictures["CT slice"].value)
    assert (alone.shape, set(alone.ravel())) == ((384, 384), {255})
    assert shown.titles["one"].value == "<b>one</b>"  # its truth is not known


def test_the_threshold_and_the_switches_act_on_the_pictures(shown):
    assert shown.titles["one"].value == "<b>one</b> · F1 1.00"
    assert shown.titles["<b>two"].value == "<b>&lt;b&gt;two</b> · F1 0.00"
    filled = opened(shown.pictures["one"].value)
    shown.threshold.value = 0.7
    assert shown.titles["one"].value == "<b>one</b> · F1 0.00"
    shown.shown["truth"].value = False
    assert opened(shown.pictures["one"].value).tolist() == np.zeros((384, 384)).tolist()
    shown.threshold.value = 0.5
    shown.opacity.value = 1
    picture = opened(shown.pictures["one"].value)
    assert picture[0, 0].tolist() == [204, 121, 167]
    assert picture[0, 0].tolist() != filled[100, 100].tolist()


def test_a_mapped_volume_of_500_slices_is_read_one_slice_at_a_time(tmp_path):
    read = []

    class Lazy(list):
        def __getitem__(self, at):
            read.append(at)
            return super().__getitem__(at)

    volume = Lazy([np.zeros((16, 16), dtype=np.uint8)] * 500)
    widget = viewer.view(volume, {"model": np.zeros((500, 16, 16))})
    assert widget.position.max == 500
    read.clear()
    widget.position.value = 7
    assert read == [6]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"slices": []}, "no slice"),
        ({"probabilities": {"m": np.zeros((2, 4, 4))}}, "got 1 slices and 2 of 'm'"),
        ({"probabilities": {"m": np.zeros((1, 5, 4))}}, r"slice 1 is \(4, 4\) and 'm' of it"),
        ({"names": ["a", "b"]}, "1 slices and 2 names"),
        ({"classes": ["tumour"]}, "tumour"),
    ],
)
def test_what_does_not_fit_together_is_refused(changed, message):
    given = {"slices": np.zeros((1, 4, 4)), "probabilities": {"m": np.zeros((1, 4, 4))}}
    with pytest.raises(ValueError, match=message):
        viewer.view(**(given | changed))


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study whose cohort has two test patients, with predictions of one network."""
    rows = pd.DataFrame(
        {
            "slice_id": ["s0", "s1", "s2"],
            "patient_id": ["p", "q", "q"],
            "split": "test",
            "has_lesion": [True, True, False],
        }
    )
    whole = Cohort(rows, pd.DataFrame(), {}, {})
    pixels = {f"s{n}": np.full((4, 4), n / 10, np.float32) for n in range(3)}
    monkeypatch.setattr(Cohort, "load", classmethod(lambda cls, folder: whole))
    monkeypatch.setattr(
        Cohort,
        "read",
        lambda self, rows: (
            (row, pixels[row.slice_id], square(4, 0, 2)) for row in rows.itertuples()
        ),
    )
    settings, paths = load_study("smoke"), StudyPaths("smoke", tmp_path)
    maps = {name: own[None].astype(np.float16) for name, own in pixels.items()}
    artifacts.write_arrays(paths.single("sinfnet", 0, 1) / PREDICTIONS, maps, {})
    return settings, paths


def test_a_studys_patient_is_shown_with_the_models_that_have_predicted(study):
    first = viewer.view_patient(*study)
    assert (first.caption.value, list(first.pictures)) == ("Patient p, s0", ["CT slice", "SInfNet"])
    other = viewer.view_patient(*study, patient="q")
    other.position.value = 2
    assert (other.position.max, other.caption.value) == (2, "Patient q, s2")
    assert set(opened(other.pictures["CT slice"].value).ravel()) == {51}


def test_a_stranger_or_a_model_that_has_not_predicted_is_refused(study):
    with pytest.raises(ValueError, match=r"'r' is no test patient of 'smoke'; those are \['p', 'q"):
        viewer.view_patient(*study, patient="r")
    with pytest.raises(FileNotFoundError, match="unet"):
        viewer.view_patient(*study, models=["unet"])
    with pytest.raises(ValueError, match="no model of 'smoke' has predicted"):
        viewer.view_patient(*study, models=[])
