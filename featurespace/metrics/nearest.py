"""Nearest rows, the one place where they are found: candidates by products, the choice by exact distances, ties by index."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from featurespace.metrics.distances import distance_rounding, squared_distances
from featurespace.metrics.pairs import row_blocks

DIGITS = 40
"""Bits in which distances are compared: two that differ by less are equal, and the first row is taken. Some thousand times
what rounding leaves in them, so that it hardly ever chooses."""

COSINE = 2.0 ** (1 - DIGITS)
"""The same as a step of squared distance of unit vectors, 2 (1 - cosine), which have no smaller unit than 1."""

NearPairs = tuple[slice, np.ndarray, np.ndarray, np.ndarray]


def near_pairs(
    Z: np.ndarray,
    given: np.ndarray | None,
    k: int,
    *,
    codes: np.ndarray | None = None,
    by_group: bool = False,
    margin: float = 0.0,
) -> Iterator[NearPairs]:
    """Yield, a block of rows at a time, all pairs of rows that can be among the k nearest.

    Parameters
    ----------
    Z : (n, d) centred rows, their squares in range, for products
    given : (n, d) the same rows as they came (times a power of two), from whose differences distances are exact; None takes
        those of the products, right to 1e-15 of the squared norms
    k : neighbours; fewer than there are other rows, or other groups
    codes : (n,) groups; rows of the own group are no neighbours. None leaves out the row itself
    by_group : neighbours are groups, each by its nearest row; rows must be sorted by group
    margin : squared distance by which a pair may lie beyond the k-th nearest

    Yields
    ------
    tuple
        The rows of the block; of each pair the row (counted within the block, ascending), the other row (ascending for
        each row) and the squared distance.
    """
    n = len(Z)
    slack = 2 * distance_rounding(Z.shape[1], float(np.vecdot(Z, Z).max())) + margin
    if codes is None:
        # the k-th smallest of the minima over runs of columns is a bound, and 4 times as fast as that of the columns
        starts = np.arange(0, n, max(1, n // (8 * k)))
    else:
        starts = np.flatnonzero(np.diff(codes, prepend=-1)) if by_group else np.arange(n)
    for rows in row_blocks(n, n):
        D = squared_distances(Z[rows], Z)
        if codes is None:
            place = np.arange(len(D))
            D[place, place + rows.start] = np.inf
        else:
            D[codes[rows, None] == codes] = np.inf
        by_run = D if len(starts) == n else np.minimum.reduceat(D, starts, axis=1)
        reach = np.partition(by_run, k - 1, axis=1)[:, k - 1, None]
        pairs = np.flatnonzero((reach * (1 + 2.0 ** (1 - DIGITS)) + slack >= D).ravel())
        row, column = pairs // n, pairs % n
        yield rows, row, column, D.ravel()[pairs] if given is None else exact_squares(given[rows], given, row, column)


def exact_squares(A: np.ndarray, B: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return squared distances of pairs of rows of A and B from their differences, the same in either direction."""
    found = np.empty(len(row))
    for part in row_blocks(len(row), A.shape[1]):
        difference = A[row[part]] - B[column[part]]
        found[part] = np.square(difference, out=difference).sum(axis=1)
    return found


def nearest_rows(
    Z: np.ndarray, given: np.ndarray | None, k: int, *, quantum: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest other rows of each row, nearest first, and their squared distances; ties go to the first row.

    Parameters
    ----------
    Z, given, k : as in `near_pairs`
    quantum : step of squared distance within which two are equal; None for `DIGITS` bits of them

    Examples
    --------
    >>> Z = np.array([[-1.0], [0.0], [1.0]])
    >>> nearest_rows(Z, Z, 1)[0].tolist()
    [[1], [0], [1]]
    """
    indices, squares = np.empty((len(Z), k), dtype=np.int64), np.empty((len(Z), k))
    for rows, row, column, squared in near_pairs(Z, given, k, margin=quantum or 0.0):
        order = np.lexsort((_rounded(squared) if quantum is None else np.rint(squared / quantum), row))
        first = np.searchsorted(row, np.arange(rows.stop - rows.start))
        chosen = order[first[:, None] + np.arange(k)]
        indices[rows], squares[rows] = column[chosen], squared[chosen]
    return indices, squares


def nearest_squares(
    Z: np.ndarray, given: np.ndarray, k: int, *, codes: np.ndarray, by_group: bool = False
) -> np.ndarray:
    """Return the (n, k) exact squared distances to the k nearest rows of other groups, or groups, ascending."""
    found = np.empty((len(Z), k))
    for rows, row, column, squared in near_pairs(Z, given, k, codes=codes, by_group=by_group):
        if by_group:  # each group by its nearest row: codes ascend, so a group is a run
            runs = np.flatnonzero(np.diff(row * len(Z) + codes[column], prepend=-1))
            row, squared = row[runs], np.minimum.reduceat(squared, runs)
        order = np.lexsort((squared, row))
        first = np.searchsorted(row, np.arange(rows.stop - rows.start))
        found[rows] = squared[order[first[:, None] + np.arange(k)]]
    return found


def _rounded(values: np.ndarray) -> np.ndarray:
    """Return values to `DIGITS` bits."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.rint(np.ldexp(mantissa, DIGITS)), exponent - DIGITS)
