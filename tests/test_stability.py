"""Intraclass correlations against published numbers, and what counts as stable."""

import numpy as np
import pandas as pd
import pytest

from ssinfnet.patients.phenotypes.stability import (
    changed_masks,
    intraclass_correlation,
    stability_table,
)

# Shrout & Fleiss (1979), table 2: six targets, four judges; their ICC(2,1) is 0.29.
PUBLISHED = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]


def test_the_published_example():
    assert intraclass_correlation(PUBLISHED) == pytest.approx(0.2898, abs=5e-5)


def test_a_shift_counts_against_agreement(rng):
    values = rng.normal(size=50)
    assert intraclass_correlation(np.c_[values, values]) == pytest.approx(1)
    assert intraclass_correlation(np.c_[values, values + 2]) < 0.5
    assert abs(intraclass_correlation(np.c_[values, rng.permutation(values)])) < 0.4


def test_rows_with_nan_do_not_count():
    whole = intraclass_correlation(PUBLISHED)
    assert intraclass_correlation([*PUBLISHED, [1, np.nan, 2, 3]]) == whole


@pytest.mark.parametrize("values", [[[1, 1], [2, 2]], [[1, 1]] * 5, np.empty((0, 2))])
def test_too_few_or_constant_values_have_none(values):
    assert np.isnan(intraclass_correlation(values))


def test_masks_change_by_one_pixel_and_not_at_the_slices_border():
    mask = np.zeros((9, 9), bool)
    mask[0:5, 2:7] = True
    changed = changed_masks(mask)
    assert changed["eroded"].sum() == 4 * 3
    assert changed["dilated"].sum() > mask.sum()
    assert (changed["dilated"] & mask).sum() == mask.sum()


def test_the_table_says_what_is_stable_and_on_how_many_slices(rng):
    names = [f"s{i}" for i in range(30)]
    reference = pd.DataFrame(rng.normal(size=(30, 3)), index=names, columns=["a", "b", "c"])
    near = reference + 0.01
    far = reference.assign(b=rng.normal(size=30), c=np.nan).iloc[:20]
    table = stability_table(reference, {"eroded": near, "predicted": far}).set_index("phenotype")
    assert table["eroded"].min() > 0.99
    assert table["eroded_n"].tolist() == [30, 30, 30]
    assert table["predicted_n"].tolist() == [20, 20, 0]
    assert table["stable"].tolist() == [True, False, pd.NA]
    assert np.isnan(table.loc["c", "least"])
