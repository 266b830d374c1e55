import pytest

from ssinfnet.study.config import AugmentationConfig, Study, TrainingConfig, load_study
from ssinfnet.study.paths import project_root

STUDIES = sorted(path.stem for path in (project_root() / "studies").glob("*.yaml"))
MINIMAL = "name: mine\ndescription: d\ndata:\n  sources: [{name: medseg, folder: m}]\n"


def load(tmp_path, text: str) -> Study:
    file = tmp_path / "mine.yaml"
    file.write_text(text, encoding="utf-8")
    return load_study(str(file))


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_of_the_project_loads_under_its_own_name(name):
    assert load_study(name).name == name


def test_the_defaults_are_the_papers_settings(tmp_path):
    study = load(tmp_path, MINIMAL)
    training = study.single.training
    assert study.image_size == 352
    assert (training.epochs, training.batch_size, training.learning_rate) == (500, 8, 1e-4)
    assert training.scales == (0.75, 1.0, 1.25)
    assert study.single.network.width == 1


def test_the_defaults_of_stage_2_are_the_papers_settings(tmp_path):
    multi = load(tmp_path, MINIMAL).multi
    how = multi.training
    assert (how.optimiser, how.learning_rate, how.momentum, how.epochs) == ("sgd", 0.01, 0.7, 500)
    assert (how.gradient_clamp, how.scales) == (None, (1.0,))
    assert (how.focal_gamma, how.lookahead_steps, how.lookahead_share) == (2, 5, 0.5)
    assert multi.prior_parts == 3
    partly = load(tmp_path, MINIMAL + "multi: {training: {epochs: 3}}\n").multi.training
    assert (partly.epochs, partly.optimiser) == (3, "sgd")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("single: {pretext: {phases: [{train: coach, epochs: 1}]}}", "first phase must train"),
        ("single: {pretext: {phases: [{train: both, epochs: 1}]}}", "'network' or 'coach'"),
        ("single: {pretext: {kept: 1.0}}", "less than 1"),
        ("multi: {models: [unet, unet]}", "different names"),
        ("multi: {models: [resnet]}", "multi.models.0"),
        ("multi: {prior_parts: 1}", "greater than or equal to 2"),
        ("multi: {models: []}", "set oracle_models: \\[\\] too"),
        ("cross_validation: {multi_models: []}", "name some of both"),
        ("multi: {training: {class_weights: [0, 1, 1]}}", "class_weights.0: .*greater than 0"),
        ("single: {training: {judged_over: null, patience: 3}}", "a number in judged_over"),
        (
            "flipped_views: true\nsingle: {training: {augmentation: {flip_vertical: 0}}}",
            "single.training does not",
        ),
        (
            "flipped_views: true\nmulti: {training: {augmentation: {flip_horizontal: 0}}}",
            "multi.training does not",
        ),
        ("augmented: {single_models: []}", "name some of both"),
        ("multi: {prior_model: semi_infnet}", "starts from labels that sinfnet gave"),
        ("multi: {prior_model: mine}", "prior_model"),
        ("single: {models: [ssinfnet_lite]}", "ssinfnet_lite start from inpainting"),
        (
            "single: {pretrained_network: infnet_lite}",
            "start from inpainting by infnet,",
        ),
        ("multi: {prior_model: ssinfnet_lite}", "single.pretrained_network is infnet"),
    ],
)
def test_impossible_values_of_stage_2_and_pretraining_are_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, MINIMAL + text + "\n")


def test_stage_2_that_is_not_trained_need_not_know_flips(tmp_path):
    multi = "multi: {models: [], oracle_models: [], training: {augmentation: {flip_vertical: 0}}}\n"
    assert load(tmp_path, f"{MINIMAL}flipped_views: true\n{multi}").flipped_views


def test_new_studies_count_levels_from_a_fixed_bound_and_the_paper_as_pyradiomics():
    bounds = {
        name: load_study(name).clinical.texture.lower_bound
        for name in ("demo", "smoke", "paper", "ictcf_cpu")
    }
    assert bounds == {"demo": 0, "smoke": 0, "paper": None, "ictcf_cpu": None}


def test_the_paper_study_changes_no_setting_but_its_starts_seeds_and_rows():
    changed = load_study("paper").model_dump(exclude_unset=True)
    more = {"seeds", "single", "multi", "augmented"}
    assert set(changed) == {"name", "description", "data", "external", "clinical"} | more
    assert set(changed["single"]) == {"models", "network"}
    assert set(changed["multi"]) == {"network", "oracle_models"}
    assert len(changed["seeds"]) == 3
    assert len(changed["clinical"]["tables"]) == 2  # Union's and Liyuan's (V §V-A)


def test_the_paper_from_random_is_the_paper_but_for_the_starts():
    paper, other = (load_study(name).model_dump() for name in ("paper", "paper_from_random"))
    for stage in ("single", "multi"):
        paper[stage]["network"]["imagenet_weights"] = None
    different = {key for key in paper if paper[key] != other[key]}
    assert different == {"name", "description"}


def test_an_unknown_key_is_refused_with_its_place(tmp_path):
    with pytest.raises(ValueError, match=r"training\.epoch: unknown key; .* docs/studies"):
        load(tmp_path, MINIMAL + "single: {training: {epoch: 3}}\n")


def test_a_wrong_type_is_refused_with_what_was_got(tmp_path):
    with pytest.raises(ValueError, match=r"epochs.*'many'"):
        load(tmp_path, MINIMAL + "single: {training: {epochs: many}}\n")


def test_a_number_in_quotes_is_no_number(tmp_path):
    with pytest.raises(ValueError, match="image_size"):
        load(tmp_path, MINIMAL + "image_size: '352'\n")


@pytest.mark.parametrize(
    "line",
    [
        "seeds: []",
        "seeds: [1, 1]",
        "single: {training: {learning_rate: 0}}",
        "single: {training: {scales: [3.0]}}",
        "single: {models: [unet, unet]}",
        "single: {models: [resnet]}",
        "scores: {threshold: 1.5}",
        "split: {test: -1}",
        "image_size: 0",
        "split: {folds: 1}",
    ],
)
def test_an_impossible_value_is_refused(tmp_path, line):
    with pytest.raises(ValueError, match="not a valid study"):
        load(tmp_path, MINIMAL + line + "\n")


def test_an_image_size_off_the_grid_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="multiple of 32.*got 100.*nearest is 96"):
        load(tmp_path, MINIMAL + "image_size: 100\n")


def test_a_learning_rate_may_be_written_without_a_dot(tmp_path):
    study = load(tmp_path, MINIMAL + "single: {training: {learning_rate: 1e-3}}\n")
    assert study.single.training.learning_rate == 0.001


def test_a_key_given_twice_is_refused(tmp_path):
    with pytest.raises(ValueError, match="image_size is given twice"):
        load(tmp_path, MINIMAL + "image_size: 64\nimage_size: 96\n")


@pytest.mark.parametrize("text", ["", "just text", "[1, 2]", "a: [", "name: 2021-01-01"])
def test_what_is_no_study_is_refused_with_the_files_name(tmp_path, text):
    with pytest.raises(ValueError, match=r"mine\.yaml"):
        load(tmp_path, text)


def test_an_unknown_study_lists_those_there_are():
    with pytest.raises(FileNotFoundError, match="'demo'"):
        load_study("dmeo")


def test_a_source_named_twice_is_refused(tmp_path):
    text = MINIMAL.replace("folder: m}]", "folder: m}, {name: medseg, folder: n}]")
    with pytest.raises(ValueError, match="named once"):
        load(tmp_path, text)


def test_a_study_cannot_be_changed(tmp_path):
    with pytest.raises(ValueError, match="frozen"):
        load(tmp_path, MINIMAL).image_size = 64


def test_cross_fitting_of_folds_shares_its_networks():
    study = load_study("paper")
    assert study.cross_fitted(0) == [(0, 1), (0, 2), (0, 3)]
    by_fold = {fold: study.cross_fitted(fold) for fold in (1, 2, 3)}
    assert by_fold == {1: [(1, 2), (1, 3)], 2: [(1, 2), (2, 3)], 3: [(1, 3), (2, 3)]}


def test_cutout_changes_nothing_but_what_is_erased():
    training = load_study("paper").single.training
    erasing = training.augmented("study", 0.4)
    assert training.augmented("study", 0) is training
    assert (erasing.augmentation.cutout, erasing.augmentation.cutout_fraction) == (0.5, 0.4)
    assert erasing.model_copy(update={"augmentation": training.augmentation}) == training


def test_the_manuscripts_augmentation_is_flips_crop_and_cutout_against_nothing():
    """V §V-C names vertical and horizontal flips, random crop and random cutout."""
    study = TrainingConfig(augmentation=AugmentationConfig(quarter_turn=0.5, noise=0.5))
    none = study.augmented("none", 0).augmentation.model_dump()
    probabilities = {"flip_vertical", "flip_horizontal", "quarter_turn", "crop", "cutout", "noise",
                     "rotation", "scaling", "blur", "brightness", "contrast", "gamma"}  # fmt: skip
    assert not any(none[name] for name in probabilities)
    own = study.augmented("published", 0.4).augmentation.model_dump()
    changed = {name for name in probabilities if own[name]}
    assert changed == {"flip_vertical", "flip_horizontal", "crop", "cutout"}
    assert own["cutout_fraction"] == 0.4
    assert study.augmented("study", 0.4).augmentation.noise == 0.5


@pytest.mark.parametrize(
    "named", ["[{study: mine, tables: s6}]", "[{study: a, tables: s5}, {study: a, tables: s6}]"]
)
def test_external_data_sets_are_other_studies_each_once(tmp_path, named):
    with pytest.raises(ValueError, match="external must name other studies, each once"):
        load(tmp_path, f"{MINIMAL}external: {named}\n")


def test_an_unknown_external_data_set_says_which_there_are():
    paper = load_study("paper")
    assert paper.other_studies() == ["covid_semiseg", "paper_volumes", "ccii"]
    with pytest.raises(ValueError, match=r"it has \['covid_semiseg', 'ccii'\]"):
        paper.external_named("elsewhere")


def test_a_broken_pattern_of_patients_is_refused(tmp_path):
    broken = MINIMAL.replace("folder:", "patients: '(', folder:")
    with pytest.raises(ValueError, match="no regular expression"):
        load(tmp_path, broken)


def test_a_fold_trains_for_its_share_of_the_epochs(tmp_path):
    text = """
single:
  training: {epochs: 9}
  pretext: {phases: [{train: network, epochs: 4}, {train: coach, epochs: 1}]}
multi: {training: {epochs: 8}}
cross_validation: {epochs_share: 0.25}
"""
    study = load(tmp_path, MINIMAL + text)
    fold = study.in_fold(2)
    assert study.in_fold(0) == study
    assert (fold.single.training.epochs, fold.multi.training.epochs) == (3, 2)
    assert [phase.epochs for phase in fold.single.pretext.phases] == [1, 1]
    assert fold.single.training.learning_rate == study.single.training.learning_rate
    assert fold.single.pseudo_labels == study.single.pseudo_labels
    assert "0.25" in fold.cross_validation.remark()
    assert load_study("paper").cross_validation.remark() == ""
    assert load_study("paper").in_fold(1) == load_study("paper")
