import errno
import threading
import time

import pytest
import torch
from torch.overrides import TorchFunctionMode

from ssinfnet import networks
from ssinfnet.data import batches
from ssinfnet.study.config import MultiTrainingConfig, PretextConfig, TrainingConfig
from ssinfnet.training import checkpoints, fitting, segmentation
from ssinfnet.training.fitting import writer as writer_module
from ssinfnet.training.runs import Run

CONFIG = TrainingConfig(epochs=5, learning_rate=1e-3, scales=(1.0,), batch_size=4)


@pytest.fixture
def parts(square_slices):
    images, masks = square_slices
    return [batches.SliceSet.of(images[p], masks[p]) for p in (slice(0, 8), slice(8, 12))]


def fit(parts, folder, **changed):
    network = networks.seeded(1, networks.build_single, "infnet", 0.125)
    return segmentation.fit_single(
        network,
        *parts,
        CONFIG.model_copy(update=changed),
        run=Run(seed=1),
        folder=folder,
        device=torch.device("cpu"),
    )


@pytest.fixture
def saving(monkeypatch):
    """Make writing slow, and count how many writes are under way at a time."""
    now, most = [], []

    def slow(tensors, path, metadata, written=checkpoints.save_file):
        now.append(threading.current_thread().name)
        most.append(len(now))
        time.sleep(0.1)
        written(tensors, path, metadata)
        now.pop()

    monkeypatch.setattr(checkpoints, "save_file", slow)
    return most


def rows(epochs):
    return [{"epoch": epoch + 1} for epoch in range(epochs)]


def test_one_state_is_written_at_a_time_and_the_last_one_stays(tmp_path, saving):
    with fitting.StateWriter(tmp_path, 0, 0) as writer:
        for epoch in range(4):
            assert writer.is_due()
            writer.write({"x": torch.tensor([epoch])}, {"run": {}}, rows(epoch))
    assert saving == [1, 1, 1, 1]
    assert checkpoints.read(tmp_path / fitting.STATE).tensors["x"].item() == 3
    assert len((tmp_path / fitting.HISTORY).read_text().splitlines()) == 4


def test_training_goes_on_while_a_state_of_before_is_written(tmp_path, saving):
    weights, history = torch.zeros(1000), rows(1)
    with fitting.StateWriter(tmp_path, 0, 0) as writer:
        began = time.perf_counter()
        writer.write({"x": weights}, {"run": {}}, history)
        assert time.perf_counter() - began < 0.1  # which writing takes at least
        weights += 1
        history.append({"epoch": 2})
        writer.wait()
        stored = checkpoints.read(tmp_path / fitting.STATE)
        assert not stored.tensors["x"].any()
        assert stored.description["history"] == rows(1)
        writer.write({"x": weights}, {"run": {}}, history)
    assert checkpoints.read(tmp_path / fitting.STATE).tensors["x"].all()


def test_states_are_as_rare_as_their_cost_asks_for(tmp_path, saving, monkeypatch):
    monkeypatch.setattr(writer_module, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(writer_module, "SHARE", 0.25)
    with fitting.StateWriter(tmp_path, None, 0) as writer:
        writer.write({"x": torch.zeros(1)}, {"run": {}}, rows(1))
        assert not writer.is_due()  # it is still being written
        began = time.perf_counter()
        writer.wait()
        while not writer.is_due():
            time.sleep(0.005)
        assert time.perf_counter() - began > 0.35  # of 0.4 s, four times 0.1 s
        assert writer.states == 1
        assert 0.1 <= writer.busy_seconds < 0.2


def test_the_first_state_of_a_large_network_waits_longer(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(writer_module.time, "perf_counter", lambda: clock[0])
    small, large = (fitting.StateWriter(tmp_path, None, size) for size in (10**6, 2 * 10**8))
    due = []
    for clock[0] in (4.9, 5.1, 99.0, 101.0):  # 2e8 bytes are guessed to take 2 s
        due.append((small.is_due(), large.is_due()))
    assert due == [(False, False), (True, False), (True, False), (True, True)]


@pytest.mark.parametrize("when", ["in the training", "at its end"])
def test_an_error_of_the_writer_ends_the_training(parts, tmp_path, monkeypatch, when):
    def full(tensors, path, metadata, written=checkpoints.save_file):
        if "training" in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        written(tensors, path, metadata)

    monkeypatch.setattr(checkpoints, "save_file", full)
    epochs = 3 if when == "in the training" else 1
    with pytest.raises(OSError, match="No space left"):
        fit(parts, tmp_path, epochs=epochs, state_seconds=0.0)
    assert not any(tmp_path.glob("*.safetensors"))
    assert not [t for t in threading.enumerate() if t.name.startswith("state-writer")]


def test_a_training_that_fails_leaves_its_last_state_whole(parts, tmp_path, saving, monkeypatch):
    calls = []

    def breaks_in_the_second_epoch(*arguments, loss=segmentation.single_loss, **settings):
        calls.append(1)
        return loss(*arguments, **settings) * (float("nan") if len(calls) > 3 else 1)

    monkeypatch.setattr(segmentation, "single_loss", breaks_in_the_second_epoch)
    with pytest.raises(ValueError, match="lower the learning rate"):
        fit(parts, tmp_path, state_seconds=0.0)
    stored = checkpoints.read(tmp_path / fitting.STATE)
    assert len(stored.description["history"]) == 1


def test_no_state_is_written_before_it_is_time_and_the_history_is_complete(parts, tmp_path, saving):
    history = fit(parts, tmp_path, state_seconds=1e6)
    assert len(saving) == 1  # the weights
    assert sorted(path.name for path in tmp_path.iterdir()) == [fitting.HISTORY, fitting.WEIGHTS]
    assert len((tmp_path / fitting.HISTORY).read_text().splitlines()) - 1 == len(history) == 5


@pytest.mark.parametrize("config", [TrainingConfig, MultiTrainingConfig, PretextConfig])
def test_how_often_states_are_written_does_not_make_another_training(config):
    assert config(state_seconds=3.0).identity() == config().identity()
    assert config(validate_every=3).identity() != config().identity()


def test_an_equal_training_with_rarer_states_is_not_repeated(parts, tmp_path, capsys):
    fit(parts, tmp_path, state_seconds=0.0)
    fit(parts, tmp_path, state_seconds=60.0)
    assert "nothing to do" in capsys.readouterr().err


def test_every_second_epoch_and_the_last_are_validated(parts, tmp_path):
    plain = fit(parts, tmp_path / "plain")
    history = fit(parts, tmp_path / "rare", validate_every=2)
    validated = [False, True, False, True, True]
    assert history["validation_loss"].notna().tolist() == validated
    assert not history.loc[[0, 2], "best"].any()
    columns = ["train_loss", "validation_loss", "validation_f1"]
    for column in columns:  # the training itself is the same
        there = history[column].notna()
        assert history[column][there].tolist() == plain[column][there].tolist()
    assert history["train_loss"].notna().all()
    best = history.loc[history["best"], "epoch"].tolist()
    f1 = plain["validation_f1"].fillna(-1)
    assert best[-1] == max((2, 4, 5), key=lambda n: (f1[n - 1], -plain["validation_loss"][n - 1]))


def test_patience_counts_validated_epochs(parts, tmp_path):
    history = fit(parts, tmp_path, epochs=30, learning_rate=1e-12, patience=2, validate_every=3)
    last_best = history.loc[history["best"], "epoch"].max()
    assert len(history) == last_best + 6


class Waits(TorchFunctionMode):
    """Count what copies a number to the processor, and so waits for the device."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        waiting = {"cpu", "item", "tolist", "__bool__", "__float__", "__int__"}
        tensor = arguments[0] if arguments else None
        if getattr(function, "__name__", "") in waiting and isinstance(tensor, torch.Tensor):
            self.count += 1
        return function(*arguments, **(keywords or {}))


def test_an_epoch_waits_as_often_for_two_batches_as_for_four(parts, tmp_path):
    counts = []
    for batch_size in (4, 2):
        with Waits() as waits:
            fit(parts, tmp_path / str(batch_size), batch_size=batch_size, epochs=2)
        counts.append(waits.count)
    assert counts[0] == counts[1]
