"""Neighbourhoods of paired representations: whether the same samples are near each other in both."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurespace.metrics.arrays import as_features, as_pair, normalised_rows
from featurespace.metrics.nearest import COSINE, nearest_rows
from featurespace.stats.checks import check_counts


def cosine_neighbours(X: Any, *, k: int) -> np.ndarray:
    """Return the k nearest neighbours of each sample by cosine, the sample itself excluded.

    Parameters
    ----------
    X : (n, d) array, features, one row a sample
    k : neighbours, 1 to n - 1

    Returns
    -------
    ndarray
        (n, k) row indices, ascending in each row (a set, not a ranking).

    Raises
    ------
    ValueError
        If k is out of range, a value is not finite, or a row is zero.

    Notes
    -----
    Cost O(n^2 d) time, 110 MiB beside the features: 3 s at n = 10,000, d = 512, one core. Of samples equally near
    (duplicates) the first are taken; cosines are compared to 12 digits (multiples of 2^-40), so that rounding hardly
    ever chooses.

    Examples
    --------
    >>> cosine_neighbours([[1, 0], [1, 0.1], [0, 1]], k=1).ravel().tolist()
    [1, 0, 1]
    """
    return np.sort(ranked_neighbours(X, k=k), axis=1)


def ranked_neighbours(X: Any, *, k: int) -> np.ndarray:
    """Return the same as `cosine_neighbours`, nearest first.

    Raises
    ------
    ValueError
        As `cosine_neighbours`.
    """
    X = as_features(X)
    n = len(X)
    check_counts(k=k)
    if not 1 <= k < n:
        raise ValueError(f"k is {k}; with {n} samples it must lie between 1 and {n - 1}")
    U = normalised_rows(X, "X")
    return nearest_rows(U, None, k, quantum=COSINE)[0]


def common_neighbours(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Return how many neighbours each sample has in both, from two results of `cosine_neighbours`.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if A.shape != B.shape:
        raise ValueError(f"neighbours of shapes {A.shape} and {B.shape}; both need the same samples and the same k")
    merged = np.sort(np.concatenate([A, B], axis=1), axis=1)  # an index found in both stands twice
    return np.count_nonzero(merged[:, 1:] == merged[:, :-1], axis=1)


def mutual_knn_from_neighbours(A: np.ndarray, B: np.ndarray) -> float:
    """Return the mean share of common neighbours, from two results of `cosine_neighbours`, in [0, 1].

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> mutual_knn_from_neighbours(np.array([[0, 1], [1, 2]]), np.array([[1, 2], [1, 2]]))
    0.75
    """
    return float(common_neighbours(A, B).sum() / A.size)


def knn_jaccard_from_neighbours(A: np.ndarray, B: np.ndarray) -> float:
    """Return the mean Jaccard index of neighbours, from two results of `cosine_neighbours`, in [0, 1].

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> knn_jaccard_from_neighbours(np.array([[0, 1], [1, 2]]), np.array([[1, 2], [1, 2]])) == (1 / 3 + 1) / 2
    True
    """
    common = common_neighbours(A, B)
    return float((common / (2 * A.shape[1] - common)).mean())


def mutual_knn(X: Any, Y: Any, *, k: int = 10) -> float:
    """Mean share of common cosine neighbours of paired features, in [0, 1]; 1 is alike, k / (n - 1) is chance.

    Parameters
    ----------
    X : (n, d1) array, features, one row a sample
    Y : (n, d2) array, features of the same samples in the same order
    k : neighbours, 1 to n - 1

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If k is out of range, rows differ in number, a value is not finite, or a row is zero.

    Notes
    -----
    Cost O(n^2 (d1 + d2)). Invariant to rotation and scale, not to translation: the cosine is taken from the origin.
    Grows with k / n, so compare values of equal n and k only. Where most samples have one direction (constant features, a
    single column) neighbours are those that stand first, and the value means nothing.

    References
    ----------
    Huh et al. 2024, "The Platonic representation hypothesis", arXiv:2405.07987.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((30, 4))
    >>> mutual_knn(X, 3 * X, k=5)
    1.0
    """
    X, Y = as_pair(X, Y)
    return mutual_knn_from_neighbours(cosine_neighbours(X, k=k), _neighbours_of_y(Y, k=k))


def knn_jaccard(X: Any, Y: Any, *, k: int = 10) -> float:
    """Mean Jaccard index of the cosine neighbours of paired features, in [0, 1]; 1 is alike.

    The mean over samples of ``|A and B| / |A or B|``, A and B the k nearest neighbours in each input.

    Parameters
    ----------
    X : (n, d1) array, features, one row a sample
    Y : (n, d2) array, features of the same samples in the same order
    k : neighbours, 1 to n - 1

    Returns
    -------
    float
        In [0, 1]; about k / (2 (n - 1) - k) by chance.

    Raises
    ------
    ValueError
        As `mutual_knn`.

    Notes
    -----
    With m of k neighbours in common a sample counts m / (2 k - m), where `mutual_knn` has m / k. Cost and invariances of
    `mutual_knn`.

    References
    ----------
    Klabunde et al. 2023, arXiv:2305.06329 (k-NN Jaccard similarity, among many others).

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((30, 4))
    >>> knn_jaccard(X, 3 * X, k=5)
    1.0
    """
    X, Y = as_pair(X, Y)
    return knn_jaccard_from_neighbours(cosine_neighbours(X, k=k), _neighbours_of_y(Y, k=k))


def _neighbours_of_y(Y: np.ndarray, *, k: int) -> np.ndarray:
    """Return the neighbours in the second input, so that an error names Y."""
    return cosine_neighbours(normalised_rows(Y, "Y"), k=k)
