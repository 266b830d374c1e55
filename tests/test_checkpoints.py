import errno

import pytest
import torch
from safetensors.torch import save_file

from ssinfnet import networks
from ssinfnet.training import checkpoints, stages


@pytest.fixture
def network():
    return networks.build_single("infnet", width=0.125)


@pytest.fixture
def saved(tmp_path, network):
    return checkpoints.save(tmp_path / "w.safetensors", network.state_dict(), {"model": "sinfnet"})


def test_weights_and_description_come_back_as_they_were(saved, network):
    other = networks.build_single("infnet", width=0.125)
    assert checkpoints.load_weights(other, saved) == {"model": "sinfnet"}
    for name, value in network.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=0, atol=0)


def test_channels_last_weights_are_stored_alike(tmp_path, network, saved):
    network.to(memory_format=torch.channels_last)
    again = checkpoints.save(tmp_path / "l.safetensors", network.state_dict(), {"model": "sinfnet"})
    assert again.read_bytes() == saved.read_bytes()


@pytest.mark.parametrize("model_and_width", [("unet", 0.125), ("infnet", 0.25)])
def test_another_architecture_is_refused(saved, model_and_width):
    with pytest.raises(ValueError, match="another architecture"):
        checkpoints.load_weights(networks.build_single(*model_and_width), saved)


def test_a_truncated_checkpoint_is_refused(saved):
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(ValueError, match="truncated"):
        checkpoints.read(saved)


def test_one_altered_byte_is_refused(saved):
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    saved.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="altered"):
        checkpoints.read(saved)


def test_an_altered_description_is_refused(saved):
    saved.write_bytes(saved.read_bytes().replace(b"sinfnet", b"zinfnet"))
    with pytest.raises(ValueError, match="altered"):
        checkpoints.read(saved)


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    save_file({"x": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="no ssinfnet description"):
        checkpoints.read(tmp_path / "foreign.safetensors")


def test_a_missing_checkpoint_says_to_train(tmp_path):
    with pytest.raises(FileNotFoundError, match="run the training"):
        checkpoints.read(tmp_path / "none.safetensors")


def test_a_full_disk_leaves_the_earlier_checkpoint_intact(saved, network, monkeypatch):
    before = saved.read_bytes()

    def half_then_full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", half_then_full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(saved, network.state_dict(), {})
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == [saved.name]


@pytest.mark.parametrize("stage", ["single", "multi"])
def test_a_transfer_loads_all_but_the_heads_and_says_so(tmp_path, stage):
    pretrained = networks.build_inpainter(stage, 0.125)
    path = tmp_path / "weights.safetensors"
    checkpoints.save(path, pretrained.state_dict(), {})
    if stage == "single":
        network = networks.build_single("infnet", 0.125)
    else:
        network = networks.build_multi("unet", True, 0.125)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    transfer = stages.start_from(network, tmp_path)
    heads = {name for name in before if networks.is_head(network, name)}
    assert set(transfer.left_as_they_were) == heads
    assert set(transfer.loaded) == before.keys() - heads
    assert all(networks.is_head(pretrained, name) for name in transfer.not_used)
    after = network.state_dict()
    for name, value in after.items():
        source = before if name in heads else pretrained.state_dict()
        torch.testing.assert_close(value, source[name], rtol=0, atol=0)


@pytest.mark.parametrize("wrong", ["width", "stage", "missing"])
def test_a_transfer_refuses_anything_but_other_heads(tmp_path, wrong):
    width, stage = (0.25 if wrong == "width" else 0.125), "multi" if wrong == "stage" else "single"
    weights = dict(networks.build_inpainter(stage, width).state_dict())
    if wrong == "missing":
        del weights["backbone.bn1.weight"]
    checkpoints.save(tmp_path / "weights.safetensors", weights, {})
    network = networks.build_single("infnet", 0.125)
    before = checkpoints.digest(network.state_dict())
    with pytest.raises(ValueError, match="holds another architecture than InfNet"):
        stages.start_from(network, tmp_path)
    assert checkpoints.digest(network.state_dict()) == before


def test_a_start_from_pseudo_labels_takes_the_heads_too(tmp_path):
    learnt = networks.build_single("infnet", 0.125)
    checkpoints.save(tmp_path / "weights.safetensors", learnt.state_dict(), {})
    network = networks.build_single("infnet", 0.125)
    transfer = stages.start_from(network, tmp_path, with_heads=True)
    assert transfer.left_as_they_were == []
    assert checkpoints.digest(network.state_dict()) == checkpoints.digest(learnt.state_dict())
