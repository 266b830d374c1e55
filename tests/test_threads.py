"""Threads are chosen by whoever computes, and given back."""

import pytest
import torch

from ssinfnet.work import threads


@pytest.fixture(autouse=True)
def _three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("named", "count"), [(None, 1), ("2", 2)])
def test_one_thread_is_the_default_unless_the_environment_says_more(monkeypatch, named, count):
    monkeypatch.delenv("OMP_NUM_THREADS")
    if named:
        monkeypatch.setenv("OMP_NUM_THREADS", named)
    with threads.use_threads():
        assert torch.get_num_threads() == count
    assert torch.get_num_threads() == 3


def test_threads_that_are_asked_for_are_given_back_after_an_error():
    seen = []

    @threads.use_threads(2)
    def fails():
        seen.append(torch.get_num_threads())
        raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert [*seen, torch.get_num_threads()] == [2, 3]


def test_a_number_of_threads_below_one_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="at least 1, got 0"), threads.use_threads(0):
        pass
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    with pytest.raises(ValueError, match="OMP_NUM_THREADS must be a whole number.*'many'"):
        threads.default_threads()


def test_a_study_says_its_threads_unless_the_command_line_does(monkeypatch):
    monkeypatch.delenv(threads.THREADS_VARIABLE, raising=False)
    assert threads.study_threads(4) == 4
    monkeypatch.setenv(threads.THREADS_VARIABLE, "2")
    assert threads.study_threads(4) == 2


def test_arrays_are_trained_and_segmented_with_the_threads_asked_for(monkeypatch):
    import ssinfnet as ss
    from ssinfnet import inference
    from ssinfnet.training import segmentation

    seen = []
    images, masks = ss.phantom.example_slices(4, size=32, seed=1)
    network = ss.UNet(3, 1, width=0.125)

    def noting(call):
        def noted(*arguments, **options):
            seen.append(torch.get_num_threads())
            return call(*arguments, **options)

        return noted

    monkeypatch.setattr(segmentation, "fit_single", noting(lambda *_, **__: None))
    monkeypatch.setattr(inference, "predict", noting(inference.predict))
    ss.train(images, masks, network=network)
    ss.train(images, masks, network=network, threads=2)
    ss.segment(network, images)
    assert seen == [1, 2, 1]
    assert torch.get_num_threads() == 3
