"""Lungs by classical means, against the phantom's truth and on real slices."""

import numpy as np
import pytest
from PIL import Image

from ssinfnet.data import images
from ssinfnet.data.classical_lungs import find_lungs, lung_fault
from ssinfnet.data.phantom.sites import _site_a_findings
from ssinfnet.data.phantom.slices import Findings, draw_patient


def dice(one, other):
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def drawn(number, findings, levels=(0.3, 0.5, 0.7)):
    rng = np.random.default_rng(number)
    for shown in draw_patient(rng, list(levels), 128, findings(rng, number)):
        yield images.window_hu(shown.hu).astype(np.float64), shown.lung > 0


def healthy(rng, number):
    return Findings(extent=0.0, consolidation_share=0.0)


@pytest.fixture(scope="module")
def healthy_slices():
    return [pair for number in range(6) for pair in drawn(number, healthy)]


def test_healthy_lungs_are_the_phantoms(healthy_slices):
    found = [dice(find_lungs(image), lungs) for image, lungs in healthy_slices]
    assert min(found) > 0.95


def test_lungs_with_lesions_are_the_phantoms_on_average():
    slices = [pair for number in range(1, 21) for pair in drawn(number, _site_a_findings)]
    assert np.mean([dice(find_lungs(image), lungs) for image, lungs in slices]) > 0.95


def test_turned_flipped_and_windowed_otherwise_they_are_the_same(healthy_slices):
    for image, _ in healthy_slices[::5]:
        lungs = find_lungs(image)
        assert np.array_equal(find_lungs(np.rot90(image)), np.rot90(lungs))
        assert np.array_equal(find_lungs(image[:, ::-1]), lungs[:, ::-1])
        assert dice(find_lungs(0.1 + 0.8 * image), lungs) > 0.99


def test_cropped_to_the_lungs_they_are_found_too(healthy_slices):
    for image, lungs in healthy_slices:
        rows, columns = (np.flatnonzero(lungs.any(axis=axis)) for axis in (1, 0))
        box = np.s_[rows[0] - 2 : rows[-1] + 3, columns[0] - 2 : columns[-1] + 3]
        assert dice(find_lungs(image[box]), lungs[box]) > 0.94


def test_a_slice_without_fault_has_none_and_faults_are_named(healthy_slices):
    image, lungs = healthy_slices[1]
    assert lung_fault(image, find_lungs(image)) == ""
    one = find_lungs(image)
    one[:, 64:] = False
    assert lung_fault(image, one) == "one lung is missing"
    assert "less than 2%" in lung_fault(image, np.zeros_like(lungs))
    assert "more than 75%" in lung_fault(image, np.ones_like(lungs))


def test_a_blank_slice_has_no_lungs():
    blank = np.full((64, 64), 0.5)
    assert not find_lungs(blank).any()
    assert "less than" in lung_fault(blank, find_lungs(blank))


@pytest.mark.parametrize("image", [np.zeros((2, 3, 4)), np.full((8, 8), np.nan)])
def test_what_is_no_slice_is_refused(image):
    with pytest.raises(ValueError, match="finite with two axes"):
        find_lungs(image)


def grey(path):
    return np.asarray(Image.open(path).convert("L")) / 255


def test_real_whole_slices_rarely_fail(real_data):
    paths = sorted((real_data / "ictcf" / "images").glob("Patient */CT/*.jpg"))[::6]
    faults = [lung_fault(image, find_lungs(image)) for image in map(grey, paths)]
    assert len(paths) >= 30
    assert sum(fault != "" for fault in faults) <= len(paths) // 10


def test_real_lesions_lie_within_the_lungs_that_are_found(real_data):
    folder = real_data / "covid-semiseg" / "TestingSet" / "LungInfection-Test"
    covered = []
    for path in sorted((folder / "Imgs").glob("*.jpg")):
        lesion = grey(folder / "GT" / f"{path.stem}.png") > 0.5
        covered.append(np.count_nonzero(lesion & find_lungs(grey(path))) / lesion.sum())
    assert np.median(covered) > 0.9
