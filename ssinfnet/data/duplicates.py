"""Slices that look like one slice, among any number of slices (D-26).

Hashes are looked up by their parts and not compared one by one, so that a thousandth of all pairs
is looked at; thumbnails lie on the disk, so that the memory does not grow.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ssinfnet.data import images

__all__ = ["near_duplicates", "perceptual_hash", "thumbnail", "thumbnail_store"]

THUMBNAIL = 32  # pixels, square
BLOCK = 4096  # slices, or pairs of them, at once
CANDIDATES = 500_000  # pairs whose bits are counted at once
PARTS = (16, 16, 16, 15)  # bits of the 63
FEW_BITS = 12  # below: looked up by parts; else every slice is a candidate for every other


def thumbnail(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a slice at the size at which slices are compared, 32 × 32."""
    return images.resize_image(image, THUMBNAIL)


def thumbnail_store(count: int, folder: Path | None = None) -> NDArray[np.float16]:
    """Return room for `count` thumbnails in a file that has no name and goes with the array.

    Parameters
    ----------
    count : int
    folder : Path, optional
        Where the file lies, 2 KB a slice; the system's temporary folder by default.
    """
    shape = (count, THUMBNAIL, THUMBNAIL)
    if not count:
        return np.empty(shape, np.float16)
    with tempfile.TemporaryFile(dir=folder) as file:
        return np.memmap(file, np.float16, "w+", shape=shape)


def perceptual_hash(thumbnails: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return 63 bits a slice: which low frequencies of the cosine transform exceed their median.

    The pHash of Zauner (2010), without the constant term: brightness does not matter.

    Parameters
    ----------
    thumbnails : (n, 32, 32) float array

    Returns
    -------
    (n, 63) bool array
    """
    from scipy.fft import dctn

    waves = dctn(thumbnails.astype(np.float32), axes=(1, 2), norm="ortho")
    low = waves[:, :8, :8].reshape(len(thumbnails), -1)[:, 1:]
    return low > np.median(low, axis=1, keepdims=True)


def near_duplicates(
    rows: pd.DataFrame,
    thumbnails: NDArray[np.floating],
    apart: pd.Series,
    most_bits: int,
    least_correlation: float,
) -> pd.DataFrame:
    """List pairs of slices that should have nothing in common and look like one slice (D-26).

    Their hashes differ by at most `most_bits` bits, and their thumbnails correlate by at least
    `least_correlation`: the first alone also finds two patients' whole-body slices of one level.

    Parameters
    ----------
    rows : DataFrame
        Slices, with slice_id, and split where they have one.
    thumbnails : (n, 32, 32) float array
    apart : Series
        Slices of different values are compared: of different roles in training, or patients.
    most_bits, least_correlation

    Returns
    -------
    DataFrame
        slice_a, slice_b, split_a, split_b, bits, correlation (of the thumbnails), the most alike
        first.
    """
    ids = rows["slice_id"].to_numpy()
    split = rows["split"].to_numpy() if "split" in rows else np.full(len(rows), None)
    hashes = np.zeros(len(rows), np.uint64)
    for block in _blocks(len(rows)):
        hashes[block] = _packed(perceptual_hash(thumbnails[block]))
    first, second = _near_hashes(hashes, pd.factorize(apart)[0], most_bits)
    correlation = np.zeros(len(first), np.float32)
    for block in _blocks(len(first)):
        one, other = _unit(thumbnails[first[block]]), _unit(thumbnails[second[block]])
        correlation[block] = (one * other).sum(axis=1)
    alike = correlation >= least_correlation
    first, second = first[alike], second[alike]
    table = pd.DataFrame(
        {
            "slice_a": ids[first], "slice_b": ids[second],
            "split_a": split[first], "split_b": split[second],
            "bits": np.bitwise_count(hashes[first] ^ hashes[second]).astype(np.int64),
            "correlation": correlation[alike].astype(np.float64),
        }
    )  # fmt: skip
    return table.sort_values("correlation", ascending=False, ignore_index=True, kind="stable")


def _blocks(count: int) -> Iterator[slice]:
    return (slice(first, first + BLOCK) for first in range(0, count, BLOCK))


def _packed(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """Return (n, 63) bits as one whole number each."""
    return bits @ (np.uint64(1) << np.arange(bits.shape[1], dtype=np.uint64))


def _near_hashes(
    hashes: NDArray[np.uint64], group: NDArray[np.intp], most_bits: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs (a < b) of different groups whose hashes differ by at most so many bits.

    Of four parts of a hash one differs by at most a fourth of the bits (pigeonhole principle), so
    every pair is met where the hashes are sorted by that part with so few of its bits changed.
    """
    count = len(hashes)
    pairs = [np.empty(0, np.int64)]
    for part, changes in _parts(hashes, most_bits):
        order = np.argsort(part, kind="stable")
        keys = part[order]
        for change in changes:
            wanted = part ^ change
            starts = np.searchsorted(keys, wanted, "left")
            sizes = np.searchsorted(keys, wanted, "right") - starts
            for a, b in _pairs(order, starts, sizes):
                kept = (a < b) & (group[a] != group[b])
                a, b = a[kept], b[kept]
                near = np.bitwise_count(hashes[a] ^ hashes[b]) <= most_bits
                pairs.append(a[near] * count + b[near])
    codes = np.unique(np.concatenate(pairs))
    return codes // max(count, 1), codes % max(count, 1)


def _parts(
    hashes: NDArray[np.uint64], most_bits: int
) -> Iterator[tuple[NDArray[np.uint64], list[np.uint64]]]:
    """Yield a part of every hash, and what changes few enough of its bits."""
    if most_bits >= FEW_BITS:
        yield np.zeros_like(hashes), [np.uint64(0)]
        return
    start = 0
    for width in PARTS:
        mask = np.uint64((1 << width) - 1)
        changes = [
            np.uint64(sum(1 << bit for bit in changed))
            for few in range(most_bits // len(PARTS) + 1)
            for changed in combinations(range(width), few)
        ]
        yield (hashes >> np.uint64(start)) & mask, changes
        start += width


def _pairs(
    order: NDArray[np.intp], starts: NDArray[np.intp], sizes: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield (a, b) of each a with the `sizes[a]` slices that `order` has from `starts[a]` on."""
    ends = np.cumsum(sizes)
    begin = 0
    while begin < len(sizes):
        before = ends[begin - 1] if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + CANDIDATES, "right")))
        own = sizes[begin:end]
        a = np.repeat(np.arange(begin, end), own)
        within = np.arange(own.sum()) - np.repeat(np.cumsum(own) - own, own)
        yield a, order[np.repeat(starts[begin:end], own) + within]
        begin = end


def _unit(thumbnails: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return thumbnails as vectors of mean 0 and length 1: their products are correlations."""
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    flat -= flat.mean(axis=1, keepdims=True)
    # A blank slice has no pattern to share: its correlation with anything counts as 0.
    return flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6)
