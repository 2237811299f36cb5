"""Distances between the samples of one layer, some rows at a time, and triangles of matrices as vectors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

ROWS = 256
"""Rows of a distance matrix that are in memory at once: 100 MB at n = 50,000, and long enough products."""
NEAR = 1e-4
"""Share of the squared norms below which a squared distance is taken from the differences, not from the products."""


def squared_distance_rows(Z: np.ndarray, start: int, stop: int, *, norms: np.ndarray, first: int = 0) -> np.ndarray:
    """Return the squared Euclidean distances of rows start to stop to all rows from `first` on.

    Parameters
    ----------
    Z : (n, d) float64 array, centred for the sake of digits
    start, stop : rows
    norms : (n,) squared norms of the rows
    first : first column wanted

    Returns
    -------
    ndarray
        (stop - start, n - first), at least 0, exactly 0 between equal rows. The absolute error of the distance (not
        squared) is below 1e-13 of the norms: by ``|x|^2 + |y|^2 - 2 x.y``, and from differences where that cancels.

    Examples
    --------
    >>> Z = np.array([[-1.0], [0.0], [1.0]])
    >>> squared_distance_rows(Z, 0, 2, norms=(Z**2).sum(axis=1)).tolist()
    [[0.0, 1.0, 4.0], [1.0, 0.0, 1.0]]
    """
    D = Z[start:stop] @ Z[first:].T
    D *= -2
    scale = norms[start:stop, None] + norms[first:]
    D += scale
    scale *= NEAR
    i, j = np.nonzero(scale >= D)
    step = max(1, 2**22 // Z.shape[1])
    for begin in range(0, len(i), step):
        rows, columns = i[begin : begin + step], j[begin : begin + step]
        difference = Z[start + rows] - Z[first + columns]
        D[rows, columns] = np.vecdot(difference, difference)
    return D


def upper_rows(Z: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Yield (start, stop, squared distances of these rows to all rows from start on): each pair of blocks once."""
    norms = np.vecdot(Z, Z)
    for start in range(0, len(Z), ROWS):
        stop = min(start + ROWS, len(Z))
        yield start, stop, squared_distance_rows(Z, start, stop, norms=norms, first=start)


def condensed_squared_distances(Z: np.ndarray) -> np.ndarray:
    """Return the n (n - 1) / 2 squared distances of i < j, row by row.

    Examples
    --------
    >>> condensed_squared_distances(np.array([[-1.0], [0.0], [1.0]])).tolist()
    [1.0, 4.0, 1.0]
    """
    n = len(Z)
    found = np.empty(n * (n - 1) // 2)
    place = 0
    for start, stop, block in upper_rows(Z):
        for i in range(start, stop):
            row = block[i - start, i - start + 1 :]
            found[place : place + len(row)] = row
            place += len(row)
    return found


def pairs_with(rows: np.ndarray, n: int) -> np.ndarray:
    """Return the places in a condensed triangle of the pairs that hold one of the rows, each once.

    Examples
    --------
    >>> pairs_with(np.array([0, 3]), 4).tolist()
    [0, 1, 2, 4, 5]
    """
    held = np.zeros(n, dtype=bool)
    held[rows] = True
    others = np.flatnonzero(~held)
    i = np.concatenate([np.repeat(rows, len(others)), np.repeat(rows, len(rows))])
    j = np.concatenate([np.tile(others, len(rows)), np.tile(rows, len(rows))])
    keep = held[j] <= (i < j)  # a pair within the rows comes in both orders
    low, high = np.minimum(i, j)[keep], np.maximum(i, j)[keep]
    return np.sort(low * (2 * n - low - 1) // 2 + high - low - 1)
