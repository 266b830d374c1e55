"""A whole cohort: maps, phenotypes and ratios, resumable, by any number of processes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from ssinfnet import inference, networks
from ssinfnet.data import cohort, preparation, slice_sets
from ssinfnet.data.classical_lungs import find_lungs, lung_fault
from ssinfnet.evaluation.maps import SliceMaps, class_masks, read_maps
from ssinfnet.inference import cohort_maps
from ssinfnet.inference.cohort_maps import segment_cohort
from ssinfnet.patients import cohort_ratios
from ssinfnet.patients.phenotypes import columns, measure_mask
from ssinfnet.patients.phenotypes.cohort import measure_cohort
from ssinfnet.patients.volume_severity import volume_severity
from ssinfnet.storage import artifacts
from ssinfnet.study.config import PhantomConfig, TextureConfig, TrainingConfig, load_study
from ssinfnet.study.models import MULTI_MODELS
from ssinfnet.study.paths import PREDICTIONS, StudyPaths
from ssinfnet.training import segmentation
from ssinfnet.training.runs import Run

CPU = torch.device("cpu")
ONE_EPOCH = TrainingConfig(epochs=1, scales=(1.0,), batch_size=4)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A cohort of six unlabelled patients, and networks of both stages that hardly learnt."""
    paths = StudyPaths("smoke", tmp_path_factory.mktemp("study"))
    study = load_study("smoke")
    phantom = PhantomConfig(
        size=64,
        volumes=3,
        slices_per_volume=4,
        single_slices=6,
        cohort_patients=6,
        small_site_train=0,
        small_site_test=0,
        small_site_volumes=0,
    )
    study = study.model_copy(update={"data": study.data.model_copy(update={"phantom": phantom})})
    built = cohort.build(study, cohort.raw_folder(study, paths))
    built.save(paths.cohort, {})
    preparation.prepare_slices(built, study, paths.cohort, {})
    train = slice_sets.single_slices(built.of_split("train"), paths)
    for model in ("sinfnet", "ssinfnet"):
        network = networks.seeded(len(model), networks.build_single, "infnet", 0.125)
        segmentation.fit_single(
            network,
            train,
            train,
            ONE_EPOCH,
            run=Run(model=model, width=0.125),
            folder=paths.single(model, 0, 1),
            device=CPU,
        )
    with_priors = replace(train, priors=train.images)
    network = networks.seeded(3, networks.build_multi, "unet", True, 0.125)
    segmentation.fit_multi(
        network,
        with_priors,
        with_priors,
        study.multi.training,
        MULTI_MODELS["ssinfnet"],
        run=Run(stage="multi", model="ssinfnet", width=0.125, prior="predicted"),
        folder=paths.multi("ssinfnet", 0, 1),
        device=CPU,
    )
    return paths, built


def segment(prepared, folder, rows=None):
    paths, built = prepared
    rows = built.of_split("unlabelled") if rows is None else rows
    return segment_cohort(paths, rows, folder, image_size=64, single_model="ssinfnet",
                          multi_model="ssinfnet", device=CPU)  # fmt: skip


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(cohort_maps, "CHUNK", 8)
    monkeypatch.setattr(cohort_ratios, "CHUNK", 8)


@pytest.mark.usefixtures("small_chunks")
def test_maps_are_those_of_predicting_all_at_once(prepared, tmp_path):
    paths, built = prepared
    rows = built.of_split("unlabelled")
    chunks = segment(prepared, tmp_path)
    assert len(chunks) == -(-len(rows) // 8) > 2
    found = {name: maps for chunk in chunks for name, maps in read_maps(chunk)}
    assert list(found) == rows["slice_id"].tolist()
    slices = slice_sets.single_slices(rows, paths)
    whole = inference.predict_rows(paths.single("ssinfnet", 0, 1), rows, slices, CPU)
    for name, maps in found.items():
        assert maps.lesion.shape == whole[name][0].shape
        assert np.abs(maps.lesion / 255 - whole[name][0].astype(float)).max() < 0.004
        assert maps.classes.shape == (3, *maps.lesion.shape)


@pytest.mark.usefixtures("small_chunks")
def test_a_killed_run_goes_on_where_it_stopped(prepared, tmp_path, monkeypatch):
    chunks = segment(prepared, tmp_path)
    before = [chunk.read_bytes() for chunk in chunks]
    chunks[1].unlink()
    chunks[2].write_bytes(before[2][:100])  # cut short
    made = []
    original = artifacts.write_arrays
    monkeypatch.setattr(
        artifacts, "write_arrays", lambda path, *rest: made.append(path) or original(path, *rest)
    )
    segment(prepared, tmp_path)
    assert made == chunks[1:3]
    assert [chunk.read_bytes() for chunk in chunks] == before


@pytest.mark.usefixtures("small_chunks")
def test_fewer_slices_leave_no_stale_chunk(prepared, tmp_path):
    rows = prepared[1].of_split("unlabelled")
    chunks = segment(prepared, tmp_path)
    fewer = segment(prepared, tmp_path, rows.iloc[:10])
    assert len(fewer) == 2 < len(chunks)
    assert sorted(tmp_path.glob("*.npz")) == fewer
    names = [name for chunk in fewer for name, _ in read_maps(chunk)]
    assert names == rows["slice_id"].tolist()[:10]


def test_the_three_masks_are_stage_1s_lesion_and_stage_2s_classes():
    lesion = np.array([[127, 128], [255, 0]], np.uint8)
    classes = np.array([[[9, 0], [0, 5]], [[0, 9], [0, 5]], [[0, 0], [9, 4]]], np.uint8)
    masks = class_masks(SliceMaps(lesion, classes))
    assert masks["lesion"].tolist() == [[False, True], [True, False]]
    assert masks["ggo"].tolist() == [[False, True], [False, False]]
    assert masks["consolidation"].tolist() == [[False, False], [True, False]]


@pytest.mark.usefixtures("small_chunks")
def test_phenotypes_of_a_cohort_are_those_of_its_slices_by_any_number_of_processes(
    prepared, tmp_path
):
    _, built = prepared
    chunks = segment(prepared, tmp_path / "maps")
    slices, reasons = measure_cohort(built, chunks, tmp_path / "one", threshold=0.4)
    again, its_reasons = measure_cohort(built, chunks, tmp_path / "two", threshold=0.4, workers=2)
    pd.testing.assert_frame_equal(slices, again, check_exact=True)
    pd.testing.assert_frame_equal(reasons, its_reasons)
    assert slices["slice_id"].tolist() == built.of_split("unlabelled")["slice_id"].tolist()
    maps = dict(read_maps(chunks[0]))
    for row, image, _ in built.read(built.of_split("unlabelled").iloc[:8]):
        grey = np.rint(image * 255).astype(np.uint8)
        lesion = measure_mask(grey, class_masks(maps[row.slice_id], 0.4)["lesion"]).values
        stored = slices.set_index("slice_id").loc[row.slice_id, columns(("lesion",))]
        np.testing.assert_array_equal(stored.to_numpy(float), lesion)
    missing = slices.set_index("slice_id")[columns()].isna().any(axis=1)
    assert set(missing[missing].index) <= set(reasons["slice_id"])


@pytest.mark.usefixtures("small_chunks")
def test_measured_chunks_are_not_measured_again_unless_the_settings_change(
    prepared, tmp_path, monkeypatch
):
    _, built = prepared
    chunks = segment(prepared, tmp_path / "maps")
    first, _ = measure_cohort(built, chunks, tmp_path / "out", threshold=0.4)
    written = []
    original = artifacts.write_table
    monkeypatch.setattr(
        artifacts, "write_table", lambda path, *rest: written.append(path) or original(path, *rest)
    )
    second, _ = measure_cohort(built, chunks, tmp_path / "out", threshold=0.4)
    assert not written
    pd.testing.assert_frame_equal(first, second)
    narrow = TextureConfig(bin_width=10)
    measure_cohort(built, chunks, tmp_path / "out", threshold=0.4, texture=narrow)
    assert len(written) == 2 * len(chunks)


@pytest.mark.usefixtures("small_chunks")
def test_ratios_are_lesion_within_the_lungs_over_the_lungs(prepared, tmp_path):
    paths, built = prepared
    rows = built.of_split("unlabelled")
    given = (paths, built, rows, tmp_path, ["sinfnet", "ssinfnet"])
    table = cohort_ratios.lesion_ratios(*given, device=CPU)
    assert table.groupby("model")["slice_id"].apply(list).map(len).tolist() == [len(rows)] * 2
    slices = slice_sets.single_slices(rows, paths)
    maps = inference.predict_rows(paths.single("ssinfnet", 0, 1), rows, slices, CPU)
    own = table[table["model"] == "ssinfnet"].set_index("slice_id")
    for row, image, _ in built.read(rows):
        lungs = find_lungs(image)
        found = own.loc[row.slice_id]
        if fault := lung_fault(image, lungs):
            assert found["fault"] == fault
            assert pd.isna(found["lesion"])
        else:
            assert found["lung"] == lungs.sum()
            assert found["lesion"] == pytest.approx(maps[row.slice_id][0][lungs].sum(dtype=float))


@pytest.mark.usefixtures("small_chunks")
def test_measured_ratios_are_read_again(prepared, tmp_path, monkeypatch):
    paths, built = prepared
    given = (paths, built, built.of_split("unlabelled"), tmp_path, ["sinfnet"])
    first = cohort_ratios.lesion_ratios(*given, device=CPU)
    monkeypatch.setattr(cohort_ratios, "cohort_lungs", None)  # would fail if it were called
    pd.testing.assert_frame_equal(cohort_ratios.lesion_ratios(*given, device=CPU), first)


@pytest.mark.parametrize(("slices", "faulty"), [(200, 3), (200, 60), (5, 1), (5, 0)])
def test_a_contact_sheet_shows_faults_first_and_the_rest_evenly(slices, faulty):
    rows = pd.DataFrame({"slice_id": [f"s{i}" for i in range(slices)]})
    bad = [f"s{i * 2}" for i in range(faulty)]
    shown = cohort_ratios.contact_rows(rows, bad)["slice_id"].tolist()
    assert shown[: min(faulty, 12)] == bad[:12]
    assert len(shown) == len(set(shown)) == min(slices, 24)
    others = [int(name[1:]) for name in shown[min(faulty, 12) :]]
    assert others == sorted(others)
    assert others[-1] == slices - 1


def test_a_volume_predicted_as_annotated_scores_as_annotated(prepared):
    paths, built = prepared
    study = load_study("smoke")
    for fold in (1, 2, 3):
        own = built.in_fold(fold)
        maps = {
            row.slice_id: (mask > 0)[None].astype(np.float16)
            for row, _, mask in own.read(own.of_split("test"))
        }
        artifacts.write_arrays(paths.single("sinfnet", fold, 1) / PREDICTIONS, maps, {})
    scored = volume_severity(study, paths, built, [1, 2, 3], "sinfnet", 1)
    assert scored["patient_id"].nunique() == 3
    whole = scored[scored["reason"] == ""]
    assert len(whole)
    assert (whole["annotated"] == whole["predicted"]).all()
    assert set(whole["DSC"].dropna()) <= {1.0}
    assert (whole["annotated"] > 0).any()
