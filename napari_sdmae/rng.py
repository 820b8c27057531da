"""Random numbers that depend on (seed, epoch, index, stream) only.

A counter-based generator has no state: number `j` of sample `index` is a hash of the five integers. Masks, crops and the data
order are therefore the same for any number of processes, any batch size and after any restart. The hash is the finaliser of
splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014).

The order of an epoch sorts such numbers. ``tests/test_rng.py`` pins some values, so that later versions resume older runs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MASK, CROP, FLIP, STAIN, ORDER = range(5)
PLACE, LIGHT, MIX, POLICY, ERASE, SPLIT = range(5, 11)
COMPARE, SHIFT = 11, 12
"""Streams: independent numbers for independent purposes; those of the second line are used with labelled images."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit integers (bijective; unsigned arithmetic wraps by definition)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _absorb(state: NDArray[np.uint64], value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Hash one more integer into `state`; the order of absorption matters, so (1, 2) and (2, 1) differ."""
    return _mix(state + _GOLDEN + _mix(value + _GOLDEN))


def random_bits(seed: int, epoch: int, index: NDArray[np.int64], count: int, stream: int) -> NDArray[np.uint64]:
    """Return `count` random 64-bit integers per sample, (B, count); arguments and errors as in :func:`uniforms`."""
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed {seed}: expected 0 to 2**63 - 1 ({2**63 - 1})")
    state = np.zeros(1, np.uint64)
    for value in (seed, stream, epoch):
        state = _absorb(state, np.array([value], np.uint64))
    rows = _absorb(state, np.asarray(index).astype(np.uint64))
    return _absorb(rows[:, None], np.arange(count, dtype=np.uint64)[None])


def uniforms(seed: int, epoch: int, index: NDArray[np.int64], count: int, stream: int) -> NDArray[np.float64]:
    """Return `count` uniform numbers in [0, 1) per sample.

    Parameters
    ----------
    seed
        Seed of the run, 0 to 2**63 - 1.
    epoch
        Epoch, at least 0.
    index
        Index of each sample in the data set, (B,), at least 0.
    count
        Numbers per sample.
    stream
        What they are for: MASK, CROP, FLIP, STAIN, ORDER ….

    Returns
    -------
    ndarray
        float64, (B, count), multiples of 2**-53.

    Raises
    ------
    ValueError
        If the seed is out of bounds.
    """
    return (random_bits(seed, epoch, index, count, stream) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def permutation(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    """Return the order in which the `n` samples are visited in `epoch`, int64 (n,)."""
    bits = random_bits(seed, epoch, np.arange(n, dtype=np.int64), 1, ORDER)[:, 0]
    return np.argsort(bits, kind="stable").astype(np.int64)
