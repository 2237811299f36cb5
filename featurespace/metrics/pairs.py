"""Sums and comparisons over all pairs of rows, a block of rows at a time: no n x n matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

CELLS = 2**22
"""Pairs in a block: 32 MiB. Blocks four times smaller or larger take as long."""

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]


def scaled(Z: np.ndarray) -> tuple[np.ndarray, float]:
    """Return features of largest magnitude between 0.5 and 1, whose squares stay in range, and the factor that did it.

    The factor is a power of two, so that no digit changes.
    """
    largest = max(float(Z.max()), -float(Z.min()))
    factor = 2.0 ** -max(math.frexp(largest)[1], -1000)
    return Z * factor, factor


def row_blocks(n: int, m: int) -> Iterator[slice]:
    """Yield slices of n rows, each with so many rows that a block against m others has about `CELLS` pairs."""
    step = max(1, CELLS // m)
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def sum_within(kernel: Kernel, Z: np.ndarray) -> float:
    """Return the sum of a symmetric kernel over ordered pairs of different rows; half of them are computed."""
    total = 0.0
    for rows in row_blocks(len(Z), len(Z)):
        block = kernel(Z[rows], Z[rows.start :])
        own = rows.stop - rows.start
        np.fill_diagonal(block, 0)
        total += float(block[:, :own].sum()) + 2 * float(block[:, own:].sum())
    return total


def sum_between(kernel: Kernel, A: np.ndarray, B: np.ndarray) -> float:
    """Return the sum of a kernel over all pairs of a row of A and a row of B."""
    return sum(float(kernel(A[rows], B).sum()) for rows in row_blocks(len(A), len(B)))


def squared_distances_between(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Return the squared Euclidean distances of the rows of A and B, both centred alike.

    Rounding as in `kernels.squared_distances`: values below it become zero.
    """
    norms_a, norms_b = np.vecdot(A, A), np.vecdot(B, B)
    D = A @ B.T
    D *= -2
    D += norms_a[:, None]
    D += norms_b
    D[distance_rounding(A.shape[1], max(norms_a.max(), norms_b.max())) > D] = 0
    return D


def distance_rounding(d: int, largest: float) -> float:
    """Return the bound on the rounding of a squared distance of rows with d columns and this largest squared norm."""
    return float((16 + d) * np.finfo(float).eps * largest)


def distances_between(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Return the Euclidean distances of the rows of A and B, both centred alike."""
    D = squared_distances_between(A, B)
    return np.sqrt(D, out=D)


def cubic_kernel(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Return ``(a.b / d + 1)^3 - 1``: no difference of means sees the 1, and tiny features keep their digits."""
    T = A @ B.T
    T /= A.shape[1]
    return T * (T * (T + 3) + 3)


BINS = 2**16


def median_distance(Z: np.ndarray) -> float:
    """Return the median distance of centred rows, pairs of different rows, without holding the distances.

    One pass counts squared distances in bins, a second keeps those of the bins that hold the middle: exact.
    """
    n = len(Z)
    pairs = n * (n - 1) // 2
    middle = np.array([(pairs - 1) // 2, pairs // 2])
    largest = 4 * float(np.vecdot(Z, Z).max())  # of a squared distance
    if largest == 0:
        return 0.0
    counts = np.zeros(BINS + 1, dtype=np.int64)
    for values in _upper(Z):
        counts += np.bincount(_bins(values, largest), minlength=BINS + 1)
    ends = np.cumsum(counts)
    low, high = np.searchsorted(ends, middle, side="right")
    kept = [values[(found >= low) & (found <= high)] for values in _upper(Z) for found in [_bins(values, largest)]]
    ordered = np.sort(np.concatenate(kept))
    return float(np.sqrt(ordered[middle - (ends[low] - counts[low])]).mean())


def _bins(values: np.ndarray, largest: float) -> np.ndarray:
    return np.minimum(values * (BINS / largest), BINS).astype(np.int32)


def _upper(Z: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the squared distances of each pair of rows once, a block at a time."""
    for rows in row_blocks(len(Z), len(Z)):
        D = squared_distances_between(Z[rows], Z[rows.start :])
        own = rows.stop - rows.start
        yield D[:, :own][np.triu_indices(own, 1)]
        yield D[:, own:].ravel()
