import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from ssinfnet.data import cohort, phantom, sources, splits
from ssinfnet.storage import artifacts
from ssinfnet.study.config import SourceConfig, SplitConfig, load_study
from ssinfnet.study.paths import StudyPaths


def table(sizes, lesion_share=0.5, seed=0) -> pd.DataFrame:
    """Labelled patients with these numbers of slices."""
    rng = np.random.default_rng(seed)
    patients = np.repeat([f"p{i:03d}" for i in range(len(sizes))], sizes)
    slices = pd.DataFrame(
        {
            "patient_id": patients,
            "slice_id": [f"s{i}" for i in range(len(patients))],
            "source": "medseg", "image_path": "a", "mask_path": "m",
            "height": 8, "width": 8, "labelled": True,
            "has_lesion": rng.random(len(patients)) < lesion_share,
        }
    )  # fmt: skip
    return slices.reindex(columns=list(sources.COLUMNS)).astype(sources.COLUMNS)


MEDSEG = [1] * 100 + [39, 47, 60, 66, 75, 93, 110, 121, 218]  # sizes as in Med-Seg: 929 slices


def with_splits(slices, config=None):
    config = config or SplitConfig()
    slices = slices.assign(split=splits.assign_splits(slices, config))
    return slices.assign(fold=splits.assign_folds(slices, config))


def test_the_split_follows_the_papers_proportions_with_patients_whole():
    slices = with_splits(table(MEDSEG))
    shares = slices["split"].value_counts(normalize=True)
    assert shares["train"] == pytest.approx(6 / 8, abs=0.02)
    assert shares["validation"] == pytest.approx(1 / 8, abs=0.02)
    assert slices.groupby("patient_id")["split"].nunique().max() == 1


def test_lesions_are_spread_evenly_over_the_splits():
    slices = with_splits(table(MEDSEG, lesion_share=0.3))
    present = slices.groupby("split")["has_lesion"].mean()
    assert present.max() - present.min() < 0.05


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_rows():
    slices = table(MEDSEG)
    first = splits.assign_splits(slices, SplitConfig())
    shuffled = slices.sample(frac=1, random_state=3)
    again = splits.assign_splits(shuffled, SplitConfig())
    pd.testing.assert_series_equal(again.sort_index(), first, check_names=False)
    assert (splits.assign_splits(slices, SplitConfig(seed=1)) != first).any()


def test_patients_who_are_named_test_and_the_others_are_divided():
    slices = table([20, 20, 9, 1, 1, 1, 1, 1, 1, 1])
    slices["scan_id"] = slices["patient_id"]
    slices.loc[slices["patient_id"] == "p001", "patient_id"] = "p000"  # two scans of one
    slices.loc[slices["patient_id"] == "p009", "source_split"] = "test"
    for own, tested in ((False, {"p000"}), (True, {"p000", "p009"})):
        config = SplitConfig(test_patients=("p001",), own_test_set=own)
        split = splits.assign_splits(slices, config)
        assert set(slices.loc[split == "test", "patient_id"]) == tested
        assert {"train", "validation"} <= set(split)
        assert split.groupby(slices["patient_id"]).nunique().max() == 1
    with pytest.raises(ValueError, match=r"names \['rp_9'\], of whom no labelled slice is known"):
        splits.assign_splits(slices, SplitConfig(test_patients=("rp_9", "p000")))


def test_a_sources_own_test_set_is_kept():
    slices = table([1] * 20)
    slices["source_split"] = ["train"] * 12 + ["test"] * 8
    split = splits.assign_splits(slices, SplitConfig(own_test_set=True))
    assert (split == "test").tolist() == [False] * 12 + [True] * 8
    assert split.value_counts().to_dict() == {"train": 10, "validation": 2, "test": 8}


@pytest.mark.parametrize("seed", range(5))
def test_each_source_is_divided_by_itself_where_the_study_says_so(seed):
    volumes = table([100, 20, 20])
    singles = table([1] * 40).assign(source="covid_semiseg")
    singles["patient_id"] = "s" + singles["patient_id"]
    both = pd.concat([volumes, singles], ignore_index=True)
    both.loc[140, "patient_id"] = "p002"  # one patient of both sources
    shares = {"train": 2.0, "validation": 1.0, "test": 1.0, "seed": seed}
    divided = with_splits(both, SplitConfig(each_source=True, **shares))
    counted = divided[divided["source"] == "covid_semiseg"]["split"].value_counts()
    assert counted.reindex(["train", "validation", "test"]).tolist() == pytest.approx(
        [20, 10, 10], abs=1
    )
    assert set(divided[divided["source"] == "medseg"]["split"]) == {"train", "validation", "test"}
    splits.refuse_leakage(divided)
    assert divided.groupby("patient_id")["fold"].nunique().max() == 1
    # Otherwise the large volume fills the training set, and the single slices validate and test.
    together = with_splits(both, SplitConfig(**shares))
    trained = together[together["source"] == "covid_semiseg"]["split"] == "train"
    assert trained.sum() < 10


@pytest.mark.parametrize("patients", [3, 4, 5, 6])
def test_no_split_stays_empty_where_there_are_patients_for_all(patients):
    # alike in size and lesions: whoever takes what lacks most would give them all to training
    split = splits.assign_splits(table([3] * patients, lesion_share=1.0), SplitConfig())
    assert set(split) == {"train", "validation", "test"}


def test_an_empty_split_is_refused_with_the_number_of_patients():
    with pytest.raises(ValueError, match=r"\['test'\] empty: 2 labelled patients"):
        splits.assign_splits(table([5, 5]), SplitConfig())


def test_a_patient_in_two_splits_is_an_error_that_names_the_patient():
    slices = with_splits(table([2] * 10))
    slices.loc[0, "split"] = "test" if slices.loc[1, "split"] != "test" else "train"
    with pytest.raises(ValueError, match="1 patients are in two splits: p000 in"):
        splits.refuse_leakage(slices)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_an_unlabelled_slice_of_an_unseen_patient_is_leakage_too(split):
    slices = with_splits(table([1] * 10))
    tested = slices.index[slices["split"] == split][0]
    extra = slices.loc[[tested]].assign(split="unlabelled", labelled=False, slice_id="extra")
    with pytest.raises(ValueError, match="in two splits"):
        splits.refuse_leakage(pd.concat([slices, extra]))


def test_unlabelled_slices_of_unseen_patients_are_left_out_and_listed():
    slices = with_splits(table([1] * 10))
    trained = slices.index[slices["split"] == "train"][0]
    tested = slices.index[slices["split"] == "test"][0]
    extra = slices.loc[[trained, tested]].assign(split="unlabelled", slice_id=["a", "b"])
    kept, exclusions = cohort._without_unseen_patients(pd.concat([slices, extra]))
    assert "a" in set(kept["slice_id"])
    assert "b" not in set(kept["slice_id"])
    assert exclusions["reason"].tolist() == ["unlabelled slice of a validation or test patient"]


def test_every_labelled_patient_is_tested_in_exactly_one_fold():
    slices = with_splits(table(MEDSEG))
    parts = slices.groupby("patient_id")["fold"].unique()
    assert parts.map(len).max() == 1
    assert slices["fold"].value_counts(normalize=True).between(0.3, 0.37).all()


def test_a_fold_tests_its_own_part_and_shares_no_patient():
    whole = cohort.Cohort(with_splits(table([3] * 21)), pd.DataFrame(), {}, {})
    for fold in (1, 2, 3):
        slices = whole.in_fold(fold).slices
        assert (slices.loc[slices["split"] == "test", "fold"] == fold).all()
        assert set(slices["split"]) == {"train", "validation", "test"}
        splits.refuse_leakage(slices)
    assert whole.in_fold(0) is whole
    with pytest.raises(ValueError, match="fold must be 0"):
        whole.in_fold(4)


def test_a_fold_drops_unlabelled_slices_of_the_patients_it_does_not_train_on():
    slices = with_splits(table([3] * 21))
    extra = slices.groupby("patient_id").head(1).assign(labelled=False, split="unlabelled")
    extra["slice_id"] = "u" + extra["slice_id"]
    whole = cohort.Cohort(pd.concat([slices, extra], ignore_index=True), pd.DataFrame(), {}, {})
    kept = whole.in_fold(1).slices
    unlabelled = set(kept.loc[kept["split"] == "unlabelled", "patient_id"])
    assert unlabelled == set(kept.loc[kept["split"] == "train", "patient_id"])


def test_a_fold_without_patients_is_refused():
    slices = with_splits(table([1] * 10))
    whole = cohort.Cohort(slices.assign(fold=slices["fold"].replace(3, 4)), pd.DataFrame(), {}, {})
    with pytest.raises(ValueError, match=r"fold 3 leaves \['test'\] empty"):
        whole.in_fold(3)


def test_the_same_slices_under_two_sources_are_refused():
    med, semi = table([1] * 4), table([1] * 4).assign(source="covid_semiseg")
    med["patient_id"] = "tr_" + med["slice_id"]
    with pytest.raises(ValueError, match="same slices of the same patients"):
        cohort._refuse_shared_slices(pd.concat([med, semi]))
    med["patient_id"] = "rp_1"
    cohort._refuse_shared_slices(pd.concat([med, semi]))


def test_a_saved_cohort_comes_back_as_it_was(tmp_path):
    slices = cohort.validate(with_splits(table([1] * 10)))
    exclusions = pd.DataFrame({"source": ["medseg"], "file": ["x"], "reason": ["y"]}, dtype="str")
    saved = cohort.Cohort(slices, exclusions, {"medseg": tmp_path}, {"medseg": "n"})
    saved.save(tmp_path / "c", {})
    loaded = cohort.Cohort.load(tmp_path / "c")
    pd.testing.assert_frame_equal(loaded.slices, slices)
    pd.testing.assert_frame_equal(loaded.exclusions, exclusions)
    assert loaded.folders == saved.folders
    assert "1 files or slices left out: 1 × y." in loaded._repr_html_()


def test_a_cohort_written_before_mask_values_is_still_read(tmp_path):
    study, paths = load_study("smoke_set3"), StudyPaths("smoke_set3", tmp_path)
    whole = study.model_copy(update={"lung_field": None, "split": SplitConfig()})
    built = cohort.build(whole, cohort.raw_folder(study, paths))
    built.save(tmp_path / "cohort", {})
    earlier = artifacts.read_table(tmp_path / "cohort" / "cohort.parquet")
    artifacts.write_table(
        tmp_path / "cohort" / "cohort.parquet", earlier.drop(columns="mask_values"), {}
    )
    read = cohort.Cohort.load(tmp_path / "cohort")
    rows = read.slices.iloc[:3]
    before, now = (list(one.read(rows)) for one in (read, built))
    for (_, _, own), (_, _, other) in zip(before, now, strict=True):
        np.testing.assert_array_equal(own, other)


def test_a_cohort_shows_its_counts_and_escapes_what_comes_from_files():
    labelled = table([2, 3])
    labelled["has_lesion"] = pd.array([True, False, True, True, False], dtype="boolean")
    unlabelled = table([4]).assign(labelled=False, has_lesion=pd.NA, slice_id=list("wxyz"))
    both = pd.concat([labelled.assign(split="train"), unlabelled.assign(split="unlabelled")])
    both = both.astype(sources.COLUMNS)
    reasons = ["<i>cut</i>"] * 2 + [f"no mask {n}" for n in range(6)]
    left_out = pd.DataFrame({"source": "s", "file": "x", "reason": reasons})
    shown = cohort.Cohort(both, left_out, {}, {"<u>site</u>": "a & b"})._repr_html_()
    counts = BeautifulSoup(shown, "html.parser").select("tbody tr")
    assert [[cell.get_text() for cell in row.select("td")] for row in counts] == [
        ["2", "5", "3", "60%"],
        ["1", "4", "–", "–"],
    ]
    assert "8 files or slices left out: 2 × &lt;i&gt;cut&lt;/i&gt;; 1 × no mask 0; " in shown
    assert "no mask 3; …." in shown
    assert "no mask 4" not in shown
    assert "<li>&lt;u&gt;site&lt;/u&gt;: a &amp; b</li>" in shown


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t.drop(columns="split"), r"lacks columns \['split'\]"),
        (lambda t: t.assign(slice_id="same"), "9 slice_ids appear twice"),
        (lambda t: t.assign(height="tall"), "another type"),
        (lambda t: t.assign(mask_path=pd.NA), "10 labelled slices have no mask"),
        (lambda t: t.assign(split="holdout"), "holdout"),
        (lambda t: t.assign(split="unlabelled"), "10 labelled slices have split unlabelled"),
        (lambda t: t.assign(image_path="../a"), "must lie below the source's folder"),
        (lambda t: t.assign(image_path="/a"), "must lie below the source's folder"),
    ],
)
def test_a_broken_slice_table_is_refused_with_what_is_wrong(spoil, message):
    with pytest.raises(ValueError, match=message):
        cohort.validate(spoil(with_splits(table([1] * 10))))


def a_cohort(slices):
    return cohort.Cohort(slices, pd.DataFrame(), {}, {})


def test_every_training_patient_is_left_out_of_exactly_one_cross_fitting_part():
    whole = a_cohort(with_splits(table([3] * 20)))
    train = whole.of_split("train")
    left = []
    for part in (1, 2, 3):
        parted = whole.leaving_out(part, 3)
        out, kept = parted.of_split(cohort.LEFT_OUT), parted.of_split("train")
        assert not set(out["patient_id"]) & set(kept["patient_id"])
        assert sorted([*out["slice_id"], *kept["slice_id"]]) == sorted(train["slice_id"])
        for split in ("validation", "test"):
            assert parted.of_split(split).equals(whole.of_split(split))
        left += out["slice_id"].tolist()
    assert sorted(left) == sorted(train["slice_id"])


@pytest.mark.parametrize(("fold", "other"), [(1, 2), (1, 3), (2, 3)])
def test_a_network_that_serves_two_folds_knows_neither(fold, other):
    slices = with_splits(table([3] * 20)).assign(fold=np.repeat(np.arange(20) % 3 + 1, 3))
    whole = a_cohort(slices)
    parted = whole.in_fold(fold).leaving_out(other, 3)
    out = parted.of_split(cohort.LEFT_OUT)
    assert set(out["fold"]) == {fold, other}
    learnt = parted.of_split("train", "validation")
    assert set(learnt["fold"]) == {1, 2, 3} - {fold, other}
    assert len(out) + len(learnt) == len(slices)
    assert not set(parted.of_split("train")["patient_id"]) & set(
        parted.of_split("validation")["patient_id"]
    )
    # The fold's own split is as it was: only the part's differs.
    assert whole.in_fold(fold).of_split("test")["fold"].unique().tolist() == [fold]


@pytest.mark.parametrize("other", [1, 2, 4])
def test_in_a_fold_the_part_left_out_is_a_later_fold(other):
    slices = with_splits(table([3] * 20)).assign(fold=np.repeat(np.arange(20) % 3 + 1, 3))
    with pytest.raises(ValueError, match="part must be a fold from 3 to 3"):
        a_cohort(slices).in_fold(2).leaving_out(other, 3)


def test_two_folds_leave_nobody_to_learn_from():
    slices = with_splits(table([3] * 20)).assign(fold=np.repeat(np.arange(20) % 2 + 1, 3))
    with pytest.raises(ValueError, match="0 patients are left; use more folds"):
        a_cohort(slices).in_fold(1).leaving_out(2, 2)


@pytest.mark.parametrize("part", [0, 4])
def test_a_part_that_does_not_exist_is_refused(part):
    with pytest.raises(ValueError, match="part must be 1 to 3"):
        a_cohort(with_splits(table([3] * 20))).leaving_out(part, 3)


def test_more_parts_than_training_patients_are_refused():
    with pytest.raises(ValueError, match="cannot make 30 parts"):
        a_cohort(with_splits(table([3] * 20))).leaving_out(1, 30)


def test_slices_whose_masks_have_no_classes_are_left_out_of_stage_2():
    slices = with_splits(table([1] * 20))
    slices["has_ggo"] = slices["has_lesion"].where(np.arange(20) % 2 == 0)
    rows = a_cohort(slices).with_classes("train", "validation", "test")
    assert set(rows["slice_id"]) == {f"s{i}" for i in range(0, 20, 2)}


def test_stage_2_is_refused_at_once_where_masks_have_no_classes(tmp_path):
    slices = with_splits(table([1] * 20)).assign(has_ggo=None)
    with pytest.raises(ValueError, match=r"tell no ground glass.*models: \[\]"):
        cohort._refuse_without_classes(slices, load_study("smoke"))
    one_split_without = with_splits(table([1] * 20))
    test = one_split_without["split"] == "test"
    one_split_without["has_ggo"] = one_split_without["has_lesion"].where(~test)
    with pytest.raises(ValueError, match=r"masks of \['test'\]"):
        cohort._refuse_without_classes(one_split_without, load_study("smoke"))
    stage_1 = load_study("smoke").multi.model_copy(update={"models": (), "oracle_models": ()})
    study = load_study("smoke").model_copy(update={"multi": stage_1})
    cohort._refuse_without_classes(slices, study)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the smoke study's phantom."""
    settings = load_study("smoke").data.phantom
    return phantom.write_phantom(tmp_path_factory.mktemp("site") / "raw", settings)


def study_of_site(**source):
    """The smoke study with its first source alone, with further settings of that."""
    study = load_study("smoke")
    first = SourceConfig(name="medseg", folder="site_a", **source)
    return study.model_copy(update={"data": study.data.model_copy(update={"sources": (first,)})})


def test_only_the_patients_a_study_asks_for_are_kept_and_the_others_listed(site):
    study = study_of_site(patients="rp_.*")
    built = cohort.build(study, site)
    assert built.slices["patient_id"].str.startswith("rp_").all()
    left_out = built.exclusions[built.exclusions["reason"] == "the study leaves this patient out"]
    assert len(left_out) == study.data.phantom.single_slices
    with pytest.raises(ValueError, match="no patient of medseg matches 'nobody'"):
        cohort.build(study_of_site(patients="nobody"), site)


def test_slices_of_an_uncertain_class_stay_in_stage_1_alone(site):
    sure = cohort.build(study_of_site(), site)
    built = cohort.build(study_of_site(uncertain_classes="rp_[34]|tr_003"), site)
    meant = sure.slices["patient_id"].str.fullmatch("rp_[34]|tr_003")
    one_class = sure.slices["has_ggo"] ^ sure.slices["has_consolidation"]
    uncertain = sure.slices.loc[meant & one_class, "slice_id"]
    assert 0 < len(uncertain) < meant.sum()
    known = built.slices[built.slices["has_ggo"].notna()]
    assert set(known["slice_id"]) == set(sure.slices["slice_id"]) - set(uncertain)
    splits_of_all = ("train", "validation", "test")
    assert built.with_classes(*splits_of_all)["slice_id"].tolist() == known["slice_id"].tolist()
    # Stage 1 is as before: the same splits, the same lesions.
    same = ["slice_id", "split", "fold", "has_lesion", "lesion_pixels"]
    pd.testing.assert_frame_equal(built.slices[same], sure.slices[same])
    assert (
        f"{len(uncertain)} slices with one class alone serve stage 1 only"
        in (built.notes["medseg"])
    )
    assert len(built.exclusions) == len(sure.exclusions)


def test_the_mask_of_an_uncertain_class_tells_lesion_from_background_only(site):
    sure = cohort.build(study_of_site(), site)
    built = cohort.build(study_of_site(uncertain_classes="rp_.*|tr_003"), site)
    values = set()
    both = zip(built.read(built.slices), sure.read(sure.slices), strict=True)
    for (row, _, mask), (_, _, full) in both:
        np.testing.assert_array_equal(mask > 0, full > 0)
        if pd.isna(row.has_ggo):
            values |= set(np.unique(mask).tolist())
        else:
            np.testing.assert_array_equal(mask, full)
    assert values == {0, sources.UNKNOWN_CLASS}


def test_uncertain_classes_of_nobody_are_refused(site):
    study = study_of_site(uncertain_classes="rp_99")
    with pytest.raises(ValueError, match="no patient of medseg matches uncertain_classes 'rp_99'"):
        cohort.build(study, site)
