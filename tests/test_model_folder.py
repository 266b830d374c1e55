"""A model folder: packed whole, verified to the byte, and nothing foreign in it accepted."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from ssinfnet import inference
from ssinfnet.data import slice_sets, sources
from ssinfnet.scans import model_folder, model_packing
from ssinfnet.storage import artifacts
from ssinfnet.study.paths import PREDICTIONS, StudyPaths
from ssinfnet.training import checkpoints


def rewritten(folder, change):
    """Change `model.json` as somebody with an editor does."""
    path = folder / model_folder.DESCRIPTION
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return folder


@pytest.fixture
def copy(packed, tmp_path):
    return shutil.copytree(packed.model, tmp_path / "copied")


def test_a_packed_model_holds_the_very_networks_of_the_study(packed):
    model = model_folder.load(packed.model)
    (chain,) = model.chains
    trained = {
        "single": packed.paths.single("ssinfnet", 0, 1),
        "prior": packed.paths.single("sinfnet", 0, 1),
        "multi": packed.paths.multi("ssinfnet", 0, 1),
    }
    for stage, folder in trained.items():
        network, _ = inference.load(folder)
        packed_weights = getattr(chain, stage).state_dict()
        for name, weights in network.state_dict().items():
            torch.testing.assert_close(packed_weights[name], weights, rtol=0, atol=0)


def test_the_description_tells_the_data_and_scores_of_the_run(packed):
    described = model_folder.read_description(packed.model).training
    rows = packed.cohort.slices
    for counted in described.slices:
        own = rows[(rows["split"] == counted.split) & (rows["source"] == counted.source)]
        assert (counted.slices, counted.patients) == (len(own), own["patient_id"].nunique())
    # F1 by hand: 2 tp / (2 tp + fp + fn) of every validation slice, then their mean
    stored = artifacts.read_arrays(packed.paths.single("ssinfnet", 0, 1) / PREDICTIONS)
    f1 = []
    for row, _, mask in packed.cohort.read(packed.cohort.of_split("validation")):
        found, true = stored[row.slice_id][0] >= 0.5, mask > 0
        if (found | true).any():
            f1.append(2 * (found & true).sum() / (found.sum() + true.sum()))
    (score,) = (
        row for row in described.scores if (row.stage, row.split) == ("single", "validation")
    )
    assert score.mean == pytest.approx(sum(f1) / len(f1))
    assert score.n == len(f1)


def test_a_card_tells_the_scores_of_the_members_average_and_of_each_source(
    packed, tmp_path, monkeypatch
):
    """Of two members who find nothing and everything, the mean of both finds everything."""
    paths = StudyPaths("smoke", tmp_path)
    shutil.copytree(packed.paths.runs, paths.runs)
    stored = artifacts.read_arrays(paths.single("ssinfnet", 0, 1) / PREDICTIONS)
    for seed, found in ((1, 0.0), (2, 1.0)):
        maps = {name: np.full_like(map_, found) for name, map_ in stored.items()}
        artifacts.write_arrays(paths.single("ssinfnet", 0, seed) / PREDICTIONS, maps, {})
    monkeypatch.setitem(sources.ADAPTERS, "other", sources.ADAPTERS["medseg"])
    rows, folder = packed.cohort.slices, packed.cohort.folders["medseg"]
    source = np.where(rows["slice_id"].rank() % 2 == 0, "other", "medseg")
    folders = {"medseg": folder, "other": folder}
    cohort = replace(packed.cohort, slices=rows.assign(source=source), folders=folders)
    scored = pd.DataFrame(
        model_packing._scores(packed.study, paths, cohort, "ssinfnet", None, (0,), (1, 2))
    ).set_index(["averaged", "source", "split"])
    one_by_one, averaged = scored.loc[False, "all", "test"], scored.loc[True, "all", "test"]
    assert averaged["mean"] == pytest.approx(2 * one_by_one["mean"])  # and of none F1 is 0
    for name, own in cohort.of_split("test").groupby("source"):
        assert scored.loc[(True, name, "test"), "n_slices"] == len(own)


def test_the_card_says_what_it_is_not_for_and_what_it_was_trained_on(packed):
    card = (packed.model / model_folder.CARD).read_text()
    assert "not a medical device" in card
    assert "synthetic slices" in card
    assert "Undertrained" in card
    assert "SSInfNet, which reads the map of SInfNet" in card
    assert str(packed.paths.root) not in card + (packed.model / "model.json").read_text()


def test_the_card_gives_the_licence_of_the_data_that_the_weights_carry(packed):
    described = model_folder.read_description(packed.model)
    assert "Licence of the weights" not in (packed.model / model_folder.CARD).read_text()
    study = described.training.study
    real = described.training.model_copy(
        update={
            "study": study | {"data": study["data"] | {"phantom": None}},
            "notes": {"covid_semiseg": "no names", "volumes": "of somebody"},
        }
    )
    card = model_packing._card(described.model_copy(update={"training": real}))
    assert "Licence of the weights" in card
    assert "- covid_semiseg: non-commercial use\n" in card
    assert "- volumes: non" not in card


def test_a_model_without_a_second_stage_can_be_packed(packed, tmp_path):
    folder = model_packing.pack(packed.study, tmp_path / "one", paths=packed.paths,
                                single_model="sinfnet", multi_model="none")  # fmt: skip
    model = model_folder.load(folder)
    assert not model.tells_classes()
    assert sorted(path.name for path in folder.iterdir()) == [
        "MODEL_CARD.md",
        "fold0_seed1_single.safetensors",
        "model.json",
    ]
    assert "lesion;" in model_folder.verify(folder)


def test_halved_weights_take_half_the_space_and_answer_alike(packed, tmp_path):
    folder = model_packing.pack(packed.study, tmp_path / "half", paths=packed.paths, half=True)
    model_folder.verify(folder)
    sizes = {path.name: path.stat().st_size for path in packed.model.glob("*.safetensors")}
    for name, size in sizes.items():
        assert (folder / name).stat().st_size < 0.7 * size
    grey = slice_sets.single_slices(packed.cohort.of_split("test"), packed.paths)
    size = [packed.study.image_size] * 2
    whole, half = (
        np.stack(list(inference.predict(model_folder.load(one).chains[0].single, grey,
                                        [tuple(size)] * len(grey), device=torch.device("cpu"))))
        for one in (packed.model, folder)
    )  # fmt: skip
    np.testing.assert_allclose(half, whole, atol=5e-3)
    assert (half != whole).any()


def test_weights_that_16_bits_cannot_hold_are_not_halved(packed):
    stored = checkpoints.read(packed.paths.single("ssinfnet", 0, 1) / "weights.safetensors")
    large = {**stored.tensors, "stem.weight": torch.full((2, 2), 1e6)}
    with pytest.raises(ValueError, match="do not fit into 16 bits"):
        model_packing._halved(checkpoints.Checkpoint(stored.path, large, stored.description))


def test_an_existing_folder_is_left_as_it_is(packed):
    before = {path.name: path.read_bytes() for path in packed.model.iterdir()}
    with pytest.raises(FileExistsError, match="give another folder"):
        model_packing.pack(packed.study, packed.model, paths=packed.paths)
    assert {path.name: path.read_bytes() for path in packed.model.iterdir()} == before


def test_a_failed_packing_leaves_nothing(packed, tmp_path):
    with pytest.raises(FileNotFoundError, match="fold0/seed9"):
        model_packing.pack(packed.study, tmp_path / "m", paths=packed.paths, seeds=[1, 9])
    assert list(tmp_path.iterdir()) == []


def test_a_study_that_changed_since_it_was_trained_is_refused(packed, tmp_path):
    training = packed.study.single.training.model_copy(update={"epochs": 77})
    single = packed.study.single.model_copy(update={"training": training})
    with pytest.raises(ValueError, match="trained with other settings"):
        model_packing.pack(
            packed.study.model_copy(update={"single": single}), tmp_path / "m", paths=packed.paths
        )


@pytest.mark.parametrize("name", ["MODEL_CARD.md", "fold0_seed1_multi.safetensors"])
def test_a_changed_byte_anywhere_is_found(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[-1] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name} is not the file that was packed"):
        model_folder.verify(copy)


def test_a_missing_file_is_named(copy):
    (copy / "fold0_seed1_prior.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"prior\.safetensors is missing"):
        model_folder.load(copy)


def test_a_file_that_does_not_belong_is_named(copy):
    (copy / "weights.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(ValueError, match=r"weights\.pkl"):
        model_folder.verify(copy)


def first(content):
    return content["members"][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(format=1), "format"),
        (lambda c: c.update(format=2), "format"),
        (lambda c: c.update(run="rm -rf"), r"run: Extra inputs are not permitted"),
        (lambda c: first(c)["single"].update(file="../../etc/x.safetensors"), "members.0.single"),
        (lambda c: first(c)["single"].update(file="/x.safetensors"), "members.0.single.file"),
        (lambda c: first(c)["single"].update(file="x.pkl"), "members.0.single.file"),
        (lambda c: first(c)["single"].update(model="resnet"), "unknown model 'resnet'"),
        (lambda c: first(c)["multi"].update(sha256="0"), "members.0.multi.sha256"),
        (lambda c: first(c)["single"].update(width=float("nan")), "width"),
        (lambda c: c.update(image_size=50), "image_size: Input should be a multiple of 32"),
        (lambda c: c.update(image_size=64.0), "image_size"),
        (lambda c: c.update(members=[]), "members"),
        (lambda c: c.update(window_hu=[400, -1000]), "window_hu must grow"),
        (lambda c: first(c).update(multi=None), "prior network needs a second stage"),
        (lambda c: first(c).update(prior=first(c)["single"]), "two networks name one file"),
    ],
)
def test_a_description_out_of_order_is_refused_with_the_place(copy, change, message):
    with pytest.raises(ValueError, match=message):
        model_folder.load(rewritten(copy, change))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null"])
def test_a_description_that_is_no_json_object_is_refused(copy, content):
    (copy / model_folder.DESCRIPTION).write_bytes(content)
    with pytest.raises(ValueError, match="does not describe a model"):
        model_folder.load(copy)


def test_a_folder_without_a_description_is_no_model(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no model"):
        model_folder.load(tmp_path)


def test_weights_of_another_training_are_refused_even_with_their_hash(copy):
    """Somebody exchanges networks and corrects the hashes."""

    def exchange(content):
        one, other = first(content)["single"], first(content)["prior"]
        one["file"], other["file"] = other["file"], one["file"]
        one["sha256"], other["sha256"] = other["sha256"], one["sha256"]

    with pytest.raises(ValueError, match="holds .*'model': 'sinfnet'.*says .*'ssinfnet'"):
        model_folder.load(rewritten(copy, exchange))


def test_a_network_that_answers_nonsense_is_not_verified(copy):
    path = copy / "fold0_seed1_single.safetensors"
    stored = checkpoints.read(path)
    name = next(iter(stored.tensors))
    stored.tensors[name] = torch.full_like(stored.tensors[name], float("nan"))
    checkpoints.save(path, stored.tensors, stored.description)
    rewritten(copy, lambda c: first(c)["single"].update(sha256=artifacts.sha256(path)))
    with pytest.raises(ValueError, match="not finite"):
        model_folder.verify(copy)
