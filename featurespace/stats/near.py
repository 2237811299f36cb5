"""Pairs of images that look alike."""

from __future__ import annotations

from typing import Any

import numpy as np

BLOCK = 1 << 22  # pairs of hashes compared at a time
PART = 1 << 14  # pairs of pictures
DISTANCE = 10
LIKE = 0.98


def near_pairs(
    hashes_a: Any, hashes_b: Any, pictures_a: Any, pictures_b: Any, *, distance: int = DISTANCE, like: float = LIKE
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of two sets of images that look alike, and how much: the correlation of their small pictures, at most 1.

    Parameters
    ----------
    hashes_a, hashes_b : (n_a,) and (n_b,) uint64, perceptual hashes
    pictures_a, pictures_b : (n_a, p) and (n_b, p) small pictures of mean 0 and length 1
    distance : bits by which two hashes may differ for their pictures to be compared, 0 to 64
    like : least correlation of two pictures that look alike

    Returns
    -------
    tuple of arrays
        rows of a, rows of b, correlations; in the order of a, then of b.

    Raises
    ------
    ValueError
        If the counts of hashes and pictures differ, distance is not 0 to 64, or like is not in (0, 1].

    Notes
    -----
    Every pair is compared: O(n_a n_b) time, bounded memory.

    Examples
    --------
    >>> picture = np.eye(2) / 1.0
    >>> near_pairs(np.array([1, 64], np.uint64), np.array([1], np.uint64), picture, picture[:1])
    (array([0]), array([0]), array([1.]))
    """
    a, b = np.asarray(hashes_a, np.uint64), np.asarray(hashes_b, np.uint64)
    A, B = np.asarray(pictures_a), np.asarray(pictures_b)
    if (len(a), len(b)) != (len(A), len(B)):
        raise ValueError(f"there are {len(a)} and {len(b)} hashes for {len(A)} and {len(B)} pictures")
    if not 0 <= distance <= 64:
        raise ValueError(f"distance is {distance}; hashes of 64 bits differ by 0 to 64")
    if not 0 < like <= 1:
        raise ValueError(f"like is {like}; a correlation above 0 and at most 1 is needed")
    rows_a, rows_b = [np.empty(0, int)], [np.empty(0, int)]
    step = max(1, BLOCK // max(len(b), 1))
    for start in range(0, len(a), step):
        close = np.bitwise_count(a[start : start + step, None] ^ b[None, :]) <= distance
        i, j = np.nonzero(close)
        rows_a.append(i + start)
        rows_b.append(j)
    i, j = np.concatenate(rows_a), np.concatenate(rows_b)
    correlations = np.concatenate(
        [
            np.empty(0),
            *((A[i[part : part + PART]] * B[j[part : part + PART]]).sum(1) for part in range(0, len(i), PART)),
        ]
    )
    kept = correlations >= like - 1e-6
    return i[kept], j[kept], np.minimum(correlations[kept], 1.0)
