"""Slices that look like one slice: hashes, correlations, and a search that misses none."""

import numpy as np
import pandas as pd
import pytest

from ssinfnet.data import duplicates


def test_the_hash_ignores_brightness_and_contrast(rng):
    thumbnail = rng.random((1, 32, 32)).astype(np.float32)
    first = duplicates.perceptual_hash(thumbnail)
    assert first.shape == (1, 63)
    np.testing.assert_array_equal(duplicates.perceptual_hash(thumbnail * 0.5 + 0.2), first)


def test_hash_distances_agree_with_counting_bits(rng):
    thumbnails = rng.random((12, 32, 32)).astype(np.float32)
    rows = pd.DataFrame(
        {"slice_id": [str(i) for i in range(12)], "split": ["train"] * 6 + ["test"] * 6}
    )
    found = duplicates.near_duplicates(rows, thumbnails, rows["split"], 63, -1.0)
    hashes = duplicates.perceptual_hash(thumbnails)
    assert len(found) == 36
    for pair in found.itertuples():
        assert pair.bits == (hashes[int(pair.slice_a)] != hashes[int(pair.slice_b)]).sum()


def test_a_low_correlation_is_no_near_duplicate_however_alike_the_hash(rng):
    thumbnails = rng.random((2, 32, 32)).astype(np.float32)
    rows = pd.DataFrame({"slice_id": ["a", "b"], "split": ["train", "test"]})
    assert len(duplicates.near_duplicates(rows, thumbnails, rows["split"], 63, -1.0)) == 1
    assert duplicates.near_duplicates(rows, thumbnails, rows["split"], 63, 0.5).empty


def test_pairs_beyond_the_first_block_are_named_rightly(rng, monkeypatch):
    monkeypatch.setattr(duplicates, "BLOCK", 4)
    monkeypatch.setattr(duplicates, "CANDIDATES", 3)
    thumbnails = rng.random((11, 32, 32)).astype(np.float32)
    thumbnails[10] = thumbnails[6]
    rows = pd.DataFrame({"slice_id": list("abcdefghijk"), "split": ["train"] * 8 + ["test"] * 3})
    found = duplicates.near_duplicates(rows, thumbnails, rows["split"], 6, 0.9)
    assert found[["slice_a", "slice_b"]].to_numpy().tolist() == [["g", "k"]]


def test_blank_slices_are_no_duplicates_of_anything():
    rows = pd.DataFrame({"slice_id": ["a", "b"], "split": ["train", "test"]})
    blank = np.zeros((2, 32, 32), np.float32)
    assert duplicates.near_duplicates(rows, blank, rows["split"], 6, 0.96).empty


@pytest.mark.parametrize("most_bits", [0, 3, 6, 11, 12, 20])
def test_the_search_finds_what_comparing_every_pair_finds(rng, most_bits):
    """Every pair's bits are counted here, one by one."""
    hashes = rng.integers(0, 2, (300, 63)).astype(bool)
    for copy in range(100, 300):  # near ones, by up to 24 bits
        hashes[copy] = hashes[copy - 100] ^ (rng.random(63) < rng.uniform(0, 0.4))
    group = rng.integers(0, 5, 300)
    bits = (hashes[:, None] != hashes).sum(axis=2)
    expected = np.argwhere(
        (bits <= most_bits) & (group[:, None] != group) & np.triu(np.ones((300, 300), bool), 1)
    )
    found = duplicates._near_hashes(duplicates._packed(hashes), group, most_bits)
    np.testing.assert_array_equal(np.stack(found, axis=1), expected)
    assert len(expected) > 0 or most_bits == 0


def test_far_fewer_pairs_are_looked_at_than_there_are(rng, monkeypatch):
    """Of 4,000 random hashes there are 8 million pairs; a thousandth of them are candidates."""
    looked_at = []
    pairs = duplicates._pairs

    def counted(*args):
        for a, b in pairs(*args):
            looked_at.append((a < b).sum())
            yield a, b

    monkeypatch.setattr(duplicates, "_pairs", counted)
    packed = duplicates._packed(rng.integers(0, 2, (4000, 63)).astype(bool))
    first, _ = duplicates._near_hashes(packed, np.arange(4000), 6)
    assert len(first) == 0
    # Of four parts each pair shares one, but for at most one bit, with probability
    expected = 8e6 * (3 * 17 / 2**16 + 16 / 2**15)
    assert sum(looked_at) == pytest.approx(expected, rel=0.1)


def test_thumbnails_lie_in_no_named_file(tmp_path):
    stored = duplicates.thumbnail_store(3, tmp_path)
    stored[1] = 0.5
    assert stored[:, 0, 0].tolist() == [0, 0.5, 0]
    assert list(tmp_path.iterdir()) == []
    assert duplicates.thumbnail_store(0).shape == (0, 32, 32)
