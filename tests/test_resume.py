import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pandas as pd
import pytest

from ssinfnet.training import checkpoints, fitting, pretext

SCRIPT = textwrap.dedent(
    """
    import sys, torch, numpy as np
    from pathlib import Path
    from ssinfnet import networks
    from ssinfnet.data import batches
    from ssinfnet.training import pretext, segmentation
    from ssinfnet.study.config import (
        AugmentationConfig, MultiTrainingConfig, PhaseConfig, PretextConfig, TrainingConfig,
    )
    from ssinfnet.study.models import MULTI_MODELS
    from ssinfnet.training.runs import Run
    torch.set_num_threads(1)
    folder, kind, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    data = np.load(folder / "data.npz")
    images, masks = data["images"], data["masks"]
    changes = AugmentationConfig(quarter_turn=0.5, crop=0.5, cutout=0.5, noise=0.5)
    shared = dict(run=Run(seed=1), folder=folder, device=torch.device("cpu"))
    if kind == "single":
        parts = [batches.SliceSet.of(images[p], masks[p]) for p in (slice(0, 9), slice(9, 12))]
        config = TrainingConfig(epochs=8, learning_rate=1e-3, scales=(1.0,), schedule="cosine",
                                averaging=0.8, judged_over=2, augmentation=changes,
                                state_seconds=seconds)
        network = networks.seeded(1, networks.build_single, "infnet", 0.125)
        segmentation.fit_single(network, *parts, config, **shared)
    elif kind == "multi":
        parts = [batches.SliceSet.of(images[p], masks[p], masks[p] * 200)
                 for p in (slice(0, 9), slice(9, 12))]
        config = MultiTrainingConfig(epochs=8, batch_size=2, learning_rate=0.1,
                                     lookahead_steps=3, augmentation=changes,
                                     validate_every=2, state_seconds=seconds)
        network = networks.seeded(1, networks.build_multi, "unet", True, 0.125)
        segmentation.fit_multi(network, *parts, config, MULTI_MODELS["ssinfnet"], **shared)
    else:
        parts = [batches.SliceSet.of(images[p]) for p in (slice(0, 9), slice(9, 12))]
        turns = [PhaseConfig(train=t, epochs=3) for t in ("network", "coach", "network")]
        config = PretextConfig(phases=tuple(turns), coach_learning_rate=1e-3,
                               augmentation=changes, state_seconds=seconds)
        network = networks.seeded(1, networks.build_inpainter, "single", 0.125)
        coach = networks.seeded(1, networks.Coach, 3, 0.125)
        pretext.pretrain(network, coach, *parts, config, **shared)
    """
)


def epochs_done(folder):
    return sum(len(path.read_text().splitlines()) - 1 for path in folder.rglob(fitting.HISTORY))


def started(folder, square_slices, kind, seconds=0.0, before=""):
    folder.mkdir(exist_ok=True)
    np.savez(folder / "data.npz", images=square_slices[0], masks=square_slices[1])
    return subprocess.Popen(
        [sys.executable, "-c", before + SCRIPT, str(folder), kind, str(seconds)]
    )


# The training kills itself a little into an epoch: on a busy machine a killer comes too late.
KILLS_ITSELF = textwrap.dedent(
    """
    import os, signal, threading
    from ssinfnet.work import progress
    told = []
    def say_and_die(text, say=progress.say):
        say(text)
        told.extend([text] if text.startswith("epoch ") else [])
        if len(told) == {epochs}:
            threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGKILL)).start()
    progress.say = say_and_die
    """
)


def run_script(folder, square_slices, kind, seconds=0.0, kill_after=None) -> None:
    before = "" if kill_after is None else KILLS_ITSELF.format(epochs=kill_after)
    process = started(folder, square_slices, kind, seconds, before)
    assert process.wait() == (0 if kill_after is None else -signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "seconds"), [("single", 0), ("multi", 0), ("pretext", 0), ("single", 0.3)]
)  # with seconds between two states, epochs after the last one are repeated
def test_a_killed_training_resumes_to_bit_identical_weights(tmp_path, square_slices, kind, seconds):
    run_script(tmp_path / "whole", square_slices, kind)
    for epochs in (2, 3):  # at most 7 of 8, should a kill come a whole epoch late
        run_script(tmp_path / "killed", square_slices, kind, seconds, kill_after=epochs)
    # A state is on disk when the next one is copied; with seconds between them the first one is.
    assert (1 if seconds else 3) <= epochs_done(tmp_path / "killed") < 8
    run_script(tmp_path / "killed", square_slices, kind, seconds)
    whole, killed = (
        checkpoints.read(tmp_path / name / fitting.WEIGHTS) for name in ("whole", "killed")
    )
    assert checkpoints.digest(whole.tensors) == checkpoints.digest(killed.tensors)
    if kind == "pretext":
        coaches = [
            checkpoints.read(tmp_path / name / pretext.COACH_WEIGHTS).tensors
            for name in ("whole", "killed")
        ]
        assert checkpoints.digest(coaches[0]) == checkpoints.digest(coaches[1])
        return
    columns = ["epoch", "train_loss", "validation_loss", "validation_f1", "best"]
    pd.testing.assert_frame_equal(
        pd.DataFrame(whole.description["history"])[columns],
        pd.DataFrame(killed.description["history"])[columns],
    )


SLOW_WRITES = textwrap.dedent(
    """
    import time
    from ssinfnet.training import checkpoints
    def half_then_whole(tensors, path, metadata, written=checkpoints.save_file):
        written(tensors, path, metadata)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        time.sleep(0.3)
        path.write_bytes(content)
    checkpoints.save_file = half_then_whole
    """
)


@pytest.mark.slow
def test_killed_while_a_state_is_written_the_one_before_is_whole_and_goes_on(
    tmp_path, square_slices
):
    run_script(tmp_path / "whole", square_slices, "single")
    folder = tmp_path / "killed"
    process = started(folder, square_slices, "single", before=SLOW_WRITES)
    deadline = time.monotonic() + 300  # a busy machine takes long to import
    while time.monotonic() < deadline and process.poll() is None:
        half = list(folder.glob(f".*.{process.pid}.partial.safetensors"))
        if half and (folder / fitting.STATE).exists():
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert list(folder.glob(".*.partial.safetensors")), "nothing was being written"
    assert 1 <= len(checkpoints.read(folder / fitting.STATE).description["history"]) < 8
    run_script(folder, square_slices, "single")
    digests = [
        checkpoints.digest(checkpoints.read(tmp_path / name / fitting.WEIGHTS).tensors)
        for name in ("whole", "killed")
    ]
    assert digests[0] == digests[1]
