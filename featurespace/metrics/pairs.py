"""Sums and comparisons over all pairs of rows, a block of rows at a time: no n x n matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from featurespace.metrics.arrays import centred, extreme, magnitude
from featurespace.metrics.distances import squared_distances
from featurespace.metrics.places import Array, fill_diagonal, ldexp, library, like, to_numpy, vecdot

CELLS = 2**22
"""Pairs in a block: 32 MiB. Blocks four times smaller or larger take as long."""

Kernel = Callable[[Array, Array], Array]


def scaled(Z: Array) -> tuple[Array, float]:
    """Return features of largest magnitude between 0.5 and 1, whose squares stay in range, and the factor that did it.

    The factor is a power of two, so that no digit changes.
    """
    factor = 2.0 ** -max(math.frexp(magnitude(Z))[1], -1000)
    return Z * factor, factor


def pooled(X: Array, Y: Array) -> tuple[Array, int]:
    """Return both samples about their common mean, scaled as by `scaled`, and the exponent of two that undoes it."""
    Z = library(X).concatenate([X, Y])
    exponent = extreme(Z)
    Z, factor = scaled(centred(ldexp(Z, -exponent) if exponent else Z, in_place=True))
    return Z, exponent + 1 - math.frexp(factor)[1]


def row_blocks(n: int, m: int) -> Iterator[slice]:
    """Yield slices of n rows, each with so many rows that a block against m others has about `CELLS` pairs."""
    step = max(1, CELLS // m)
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def sum_within(kernel: Kernel, Z: Array) -> float:
    """Return the sum of a symmetric kernel over ordered pairs of different rows; half of them are computed."""
    total = 0.0
    for rows in row_blocks(len(Z), len(Z)):
        block = kernel(Z[rows], Z[rows.start :])
        own = rows.stop - rows.start
        fill_diagonal(block, 0)
        total += float(block[:, :own].sum()) + 2 * float(block[:, own:].sum())
    return total


def sum_between(kernel: Kernel, A: Array, B: Array) -> float:
    """Return the sum of a kernel over all pairs of a row of A and a row of B."""
    return sum(float(kernel(A[rows], B).sum()) for rows in row_blocks(len(A), len(B)))


def cubic_kernel(A: Array, B: Array) -> Array:
    """Return ``(a.b / d + 1)^3 - 1``: no difference of means sees the 1, and tiny features keep their digits."""
    T = A @ B.T
    T /= A.shape[1]
    return T * (T * (T + 3) + 3)


BINS = 2**16


def median_distance(Z: Array) -> float:
    """Return the median distance of centred rows, pairs of different rows, without holding the distances.

    One pass counts squared distances in bins, a second keeps those of the bins that hold the middle: exact.
    """
    n = len(Z)
    pairs = n * (n - 1) // 2
    middle = np.array([(pairs - 1) // 2, pairs // 2])
    largest = 4 * float(vecdot(Z, Z).max())  # of a squared distance
    if largest == 0:
        return 0.0
    counts = np.zeros(BINS + 1, dtype=np.int64)
    for values in _upper(Z):
        counts += to_numpy(library(Z).bincount(_bins(values, largest), minlength=BINS + 1))
    ends = np.cumsum(counts)
    low, high = np.searchsorted(ends, middle, side="right")
    kept = [values[(found >= low) & (found <= high)] for values in _upper(Z) for found in [_bins(values, largest)]]
    ordered = np.sort(np.concatenate([to_numpy(values) for values in kept]))
    return float(np.sqrt(ordered[middle - (ends[low] - counts[low])]).mean())


def _bins(values: Array, largest: float) -> Array:
    xp = library(values)
    return xp.asarray((values * (BINS / largest)).clip(max=BINS), dtype=xp.int32)


def _upper(Z: Array) -> Iterator[Array]:
    """Yield the squared distances of each pair of rows once, a block at a time."""
    for rows in row_blocks(len(Z), len(Z)):
        D = squared_distances(Z[rows], Z[rows.start :])
        own = rows.stop - rows.start
        place = like(np.arange(own), D)
        yield D[:, :own][place[:, None] < place]
        yield D[:, own:].ravel()
