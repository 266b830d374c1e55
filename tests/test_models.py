from dataclasses import asdict
from itertools import pairwise
from typing import get_args

import pytest

from ssinfnet.study.config import parts
from ssinfnet.study.models import MULTI_MODELS, PRIOR_MODEL, SINGLE_MODELS, ablation

NAMES = ("label", "published")


def differing(one, other):
    a, b = asdict(MULTI_MODELS[one]), asdict(MULTI_MODELS[other])
    return [key for key in a if key not in NAMES and a[key] != b[key]]


def test_every_ablation_switches_exactly_one_thing():
    chain = ("sinfnet", "ssinfnet_no_focal_no_lookahead", "ssinfnet_no_lookahead", "ssinfnet")
    switched = [differing(a, b) for a, b in pairwise(chain)]
    assert switched == [["pretrained"], ["focal"], ["lookahead"]]
    assert differing("ssinfnet_no_focal_no_lookahead", "ssinfnet_no_focal") == ["lookahead"]
    assert differing("ssinfnet_no_focal", "ssinfnet") == ["focal"]


def test_the_baselines_differ_from_sinfnet_in_one_thing():
    assert differing("unet", "sinfnet") == ["prior"]
    assert differing("fcn8s", "sinfnet") == ["network"]


def test_the_manuscripts_pairs_differ_in_augmentation_and_cutout_alone():
    for plain in ("sinfnet", "ssinfnet"):
        assert differing(plain, f"{plain}_augmented40") == ["cutout", "augmentation"]
        assert differing(plain, f"{plain}_unaugmented") == ["augmentation"]


def test_a_study_may_name_every_model_and_no_other():
    assert set(get_args(parts.SingleName)) == set(SINGLE_MODELS)
    assert set(get_args(parts.MultiName)) == set(MULTI_MODELS)


def test_priors_come_from_a_supervised_model():
    assert not SINGLE_MODELS[PRIOR_MODEL].pretrained


def test_the_ablations_rows_are_those_of_table_s7_in_its_order():
    table = ablation([*MULTI_MODELS])
    assert table.index.tolist()[0] == "sinfnet"
    assert table.index.tolist()[-1] == "ssinfnet"
    assert len(table) == 5
    assert table.loc["ssinfnet", ["pretrained", "focal", "lookahead"]].tolist() == [True] * 3


def test_an_ablation_without_the_full_model_is_refused():
    with pytest.raises(ValueError, match="name ssinfnet"):
        ablation(["sinfnet"])
