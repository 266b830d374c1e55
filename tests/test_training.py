import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from ssinfnet import inference, networks
from ssinfnet.data import batches
from ssinfnet.networks.unet import UNetOutput
from ssinfnet.study.config import AugmentationConfig, MultiTrainingConfig, TrainingConfig
from ssinfnet.study.models import MULTI_MODELS
from ssinfnet.training import checkpoints, fitting, segmentation
from ssinfnet.training.fitting import callbacks
from ssinfnet.training.runs import Run

CPU = torch.device("cpu")
CONFIG = TrainingConfig(
    epochs=4,
    learning_rate=1e-3,
    scales=(1.0,),
    schedule="cosine",
    augmentation=AugmentationConfig(quarter_turn=0.5, crop=0.5, cutout=0.5),
)
DESCRIBED = {"model": "sinfnet", "width": 0.125}


@pytest.fixture
def slices(square_slices):
    return batches.SliceSet.of(*square_slices)


def part(slices, first, last):
    return batches.SliceSet(slices.images[first:last], slices.labels[first:last])


def fit(slices, folder, config=CONFIG, seed=1, **more):
    network = networks.seeded(seed, networks.build_single, "infnet", 0.125)
    history = segmentation.fit_single(
        network,
        part(slices, 0, 9),
        part(slices, 9, 12),
        config,
        run=Run(seed=seed, **DESCRIBED),
        folder=folder,
        device=CPU,
        **more,
    )
    return network, history


def epoch_of(slices, config=CONFIG, seed=1, epoch=0, train=True):
    made = batches.Batches(
        slices,
        batches.lesion_view,
        seed=seed,
        device=CPU,
        batch_size=config.batch_size,
        augmentation=config.augmentation if train else None,
        scales=config.scales if train else (1.0,),
    )
    made.epoch = epoch
    return made


def test_one_epoch_visits_every_slice_once(slices):
    plain = TrainingConfig(
        scales=(1.0,),
        batch_size=5,
        augmentation=AugmentationConfig(flip_vertical=0, flip_horizontal=0),
    )
    seen = torch.cat([x[:, 0] for x, _, _ in epoch_of(slices, plain)])
    expected = batches.network_input(slices.images.float() / 255)[:, 0]

    def in_order(grey):
        return torch.stack(sorted(grey.flatten(1), key=lambda row: row[:99].tolist()))

    torch.testing.assert_close(in_order(seen), in_order(expected))


def test_a_last_batch_of_one_slice_joins_the_one_before(slices):
    config = CONFIG.model_copy(update={"batch_size": 11})
    assert [len(x) for x, _, _ in epoch_of(slices, config)] == [12]
    assert len(epoch_of(slices, config)) == 1


def test_batches_depend_on_seed_and_epoch_alone(slices):
    def first(**changed):
        return next(iter(epoch_of(slices, **changed)))[0]

    torch.testing.assert_close(first(), first(), rtol=0, atol=0)
    assert not torch.equal(first(), first(epoch=1))
    assert not torch.equal(first(), first(seed=2))


def test_each_scale_is_a_step_of_its_own_in_order(slices):
    config = CONFIG.model_copy(update={"scales": (0.5, 1.0, 1.5)})
    sizes = [x.shape[-1] for x, _, _ in epoch_of(slices, config)]
    assert sizes == [32, 64, 96, 32, 64, 96]
    assert len(epoch_of(slices, config)) == 6


def test_validation_batches_are_whole_ordered_and_unchanged(slices):
    got = torch.cat([lesion for _, lesion, _ in epoch_of(slices, train=False)])
    torch.testing.assert_close(got, slices.labels.float())


def test_each_slice_is_standardised_by_its_own_mean_and_deviation(slices):
    grey = slices.images.float() / 255
    got = batches.network_input(grey).numpy()
    expected = stats.zscore(slices.images[:, 0].numpy() / 255, axis=(1, 2))
    np.testing.assert_allclose(got, expected[:, None].repeat(3, 1), rtol=1e-4, atol=1e-5)


def test_another_window_of_a_slice_is_the_same_to_a_network(slices):
    grey = slices.images.float() / 255
    torch.testing.assert_close(
        batches.network_input(0.5 * grey + 0.2), batches.network_input(grey), atol=1e-4, rtol=1e-4
    )


def test_stage_2_sees_density_whatever_else_the_slice_holds(slices):
    grey = slices.images.float() / 255
    given = batches.network_input(grey, tells_classes=True)
    assert torch.equal(given[:, :1] > 0, grey > 0.45)
    one_step = (given[:, 0] - given[:, 0].flatten()[0]) / (grey[:, 0] - grey[:, 0].flatten()[0])
    np.testing.assert_allclose(one_step[one_step.isfinite()], 1 / 0.3, rtol=1e-3)
    darker = torch.cat([grey[:1], torch.zeros_like(grey[:1])])  # what lies beside changes nothing
    assert torch.equal(batches.network_input(darker, tells_classes=True)[0], given[0])


def test_a_blank_slice_stays_blank():
    assert batches.network_input(torch.full((1, 1, 8, 8), 0.7)).abs().max() < 1e-4


def test_the_loss_falls_on_one_batch(slices, tmp_path):
    config = TrainingConfig(
        epochs=20,
        learning_rate=3e-3,
        scales=(1.0,),
        batch_size=9,
        augmentation=AugmentationConfig(flip_vertical=0, flip_horizontal=0),
    )
    _, history = fit(slices, tmp_path, config)
    assert history["train_loss"].iloc[-1] < 0.8 * history["train_loss"].iloc[0]


def test_validation_f1_agrees_with_scikit_learn(slices, tmp_path):
    from sklearn.metrics import f1_score

    network, history = fit(slices, tmp_path, CONFIG.model_copy(update={"epochs": 1}))
    held_out = part(slices, 9, 12)
    maps = inference.predict(network, held_out, [(64, 64)] * 3, device=CPU)
    expected = np.mean(
        [
            f1_score(truth.flatten(), probability.flatten() > 0.5)
            for truth, probability in zip(held_out.labels.numpy(), maps, strict=True)
        ]
    )
    assert history["validation_f1"].iloc[0] == pytest.approx(expected, abs=2e-3)


def test_the_best_validation_weights_are_kept_not_the_last(slices, tmp_path):
    config = CONFIG.model_copy(
        update={"epochs": 6, "learning_rate": 0.3, "schedule": "constant"}
    )  # so large a rate that later epochs are worse
    network, history = fit(slices, tmp_path, config)
    best = history[history["best"]].iloc[-1]
    assert best["validation_f1"] == pytest.approx(history["validation_f1"].max())
    stored = checkpoints.read(tmp_path / fitting.WEIGHTS)
    assert stored.description["finished"]
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, stored.tensors[name], rtol=0, atol=0)


def test_averaged_weights_are_the_ones_validated_and_kept(slices, tmp_path, monkeypatch):
    steps, validated = [], []

    def spy(cls, name, record):
        original = getattr(cls, name)

        def spied(self, *arguments):
            record(*(arguments or (self,)))
            return original(self, *arguments)

        monkeypatch.setattr(cls, name, spied)

    def weights(learn):
        return {name: p.detach().clone() for name, p in learn.model.named_parameters()}

    spy(callbacks.AveragedWeights, "update", lambda callback: steps.append(weights(callback)))
    spy(fitting.SliceF1, "accumulate", lambda learn: validated.append(weights(learn)))
    config = CONFIG.model_copy(update={"epochs": 1, "batch_size": 2, "averaging": 0.3})
    network, _ = fit(slices, tmp_path, config)
    expected = steps[0]
    for number, step in enumerate(steps[1:], start=1):
        decay = min(0.3, (1 + number) / (10 + number))
        expected = {k: decay * v + (1 - decay) * step[k] for k, v in expected.items()}
    for name, value in network.named_parameters():
        torch.testing.assert_close(value.detach(), expected[name])
        torch.testing.assert_close(validated[-1][name], value.detach(), rtol=0, atol=0)


def test_patience_stops_early(slices, tmp_path):
    config = CONFIG.model_copy(update={"epochs": 30, "learning_rate": 1e-9, "patience": 2})
    _, history = fit(slices, tmp_path, config)
    last_best = history.loc[history["best"], "epoch"].max()
    assert len(history) == last_best + 2


def test_the_same_seed_gives_the_same_weights_and_another_does_not(slices, tmp_path):
    short = CONFIG.model_copy(update={"epochs": 1})
    weights = [fit(slices, tmp_path / str(i), short, seed=s)[0] for i, s in enumerate((1, 1, 2))]
    digests = [checkpoints.digest(network.state_dict()) for network in weights]
    assert digests[0] == digests[1] != digests[2]


def test_a_finished_training_is_not_repeated(slices, tmp_path):
    _, history = fit(slices, tmp_path)
    written = (tmp_path / fitting.WEIGHTS).stat().st_mtime_ns
    _, again = fit(slices, tmp_path)
    pd.testing.assert_frame_equal(again, history)
    assert (tmp_path / fitting.WEIGHTS).stat().st_mtime_ns == written
    assert not (tmp_path / fitting.STATE).exists()


def test_a_changed_setting_trains_anew(slices, tmp_path):
    fit(slices, tmp_path)
    _, again = fit(slices, tmp_path, CONFIG.model_copy(update={"epochs": 2}))
    assert len(again) == 2


@pytest.mark.parametrize("file", [fitting.WEIGHTS, fitting.STATE])
def test_a_damaged_file_of_an_earlier_call_is_said_and_trained_again(
    slices, tmp_path, capsys, file
):
    short = CONFIG.model_copy(update={"epochs": 1})
    network, _ = fit(slices, tmp_path / "whole", short)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / file).write_bytes(b"\x08" + bytes(20))
    again, _ = fit(slices, tmp_path / "damaged", short)
    assert "starting over" in capsys.readouterr().err
    digests = [checkpoints.digest(n.state_dict()) for n in (network, again)]
    assert digests[0] == digests[1]


def test_an_empty_training_set_is_refused(slices, tmp_path):
    network = networks.seeded(0, networks.build_single, "unet", 0.125)
    with pytest.raises(ValueError, match="training set is empty"):
        segmentation.fit_single(
            network, part(slices, 0, 0), slices, CONFIG, run=Run(seed=0), folder=tmp_path
        )


def test_a_loss_that_is_not_finite_stops_the_run(slices, tmp_path, monkeypatch):
    def broken(output, *targets, **settings):
        return output.s_3.sum() * np.nan

    monkeypatch.setattr(segmentation, "single_loss", broken)
    with pytest.raises(ValueError, match="lower the learning rate"):
        fit(slices, tmp_path)


MULTI = MultiTrainingConfig(epochs=4, learning_rate=0.1, batch_size=4, lookahead_steps=2)


def fit_multi(slices, folder, model="ssinfnet", config=MULTI, seed=1):
    network = networks.seeded(seed, networks.build_multi, "unet", True, 0.125)
    train, validation = (
        batches.SliceSet.of(images, masks, masks * 255)
        for images, masks in (
            (slices.images[part, 0].numpy(), slices.labels[part, 0].numpy())
            for part in (slice(0, 8), slice(8, 12))
        )
    )
    history = segmentation.fit_multi(
        network,
        train,
        validation,
        config,
        MULTI_MODELS[model],
        run=Run(seed=seed),
        folder=folder,
        device=CPU,
    )
    return network, history


def test_every_switch_of_stage_2_changes_the_training(slices, tmp_path):
    names = ("sinfnet", "ssinfnet_no_lookahead", "ssinfnet_no_focal", "ssinfnet")
    digests = {
        checkpoints.digest(fit_multi(slices, tmp_path / name, name)[0].state_dict())
        for name in names
    }
    assert len(digests) == len(names)


def test_the_weights_kept_with_lookahead_are_the_slow_ones(slices, tmp_path, monkeypatch):
    validated = []

    def spied(self, learn):
        validated.append(checkpoints.digest(learn.model.state_dict()))
        return accumulate(self, learn)

    accumulate = fitting.SliceF1.accumulate
    monkeypatch.setattr(fitting.SliceF1, "accumulate", spied)
    # 2 steps an epoch and k = 3: after the first epoch the slow weights are still the start's.
    config = MULTI.model_copy(update={"epochs": 1, "lookahead_steps": 3})
    start = networks.seeded(1, networks.build_multi, "unet", True, 0.125)
    network, _ = fit_multi(slices, tmp_path, config=config)
    kept = dict(network.named_parameters())
    for name, value in start.named_parameters():
        torch.testing.assert_close(kept[name].detach(), value.detach(), rtol=0, atol=0)
    assert set(validated) == {checkpoints.digest(network.state_dict())}


def test_stage_2_validation_f1_is_over_ggo_and_consolidation_by_argmax():
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 1, 0] = 5.0  # upper row predicted GGO, the rest background by the first index
    classes = batches.classes_of(torch.tensor([[[[1, 0], [2, 0]]]]))
    predicted, true = segmentation.class_masks(UNetOutput(logits), classes)
    assert predicted[0, 0].tolist() == [[True, True], [False, False]]
    assert not predicted[0, 1].any()
    assert true[0].tolist() == [[[True, False], [False, False]], [[False, False], [True, False]]]
