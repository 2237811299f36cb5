"""Kernel matrices of one representation: distances, RBF, linear by blocks of columns, and their centring."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from featurespace.metrics.arrays import as_features, centred

COLUMN_BYTES = 1 << 27
"""Memory for the columns in work when a kernel is summed over blocks of them."""


def squared_distances(X: np.ndarray) -> np.ndarray:
    """Return the (n, n) squared Euclidean distances of centred rows.

    By ``|x|^2 + |y|^2 - 2 x.y``, whose rounding is at most about d * 2e-16 of the largest squared norm: a value below
    that, negative ones included, is that of equal rows and becomes zero.
    """
    norms = np.vecdot(X, X)
    D = X @ X.T
    D *= -2
    D += norms[:, None]
    D += norms
    rounding = (16 + X.shape[1]) * np.finfo(float).eps * norms.max()
    D[rounding > D] = 0
    np.fill_diagonal(D, 0)
    return D


def rbf_kernel(X: np.ndarray) -> np.ndarray:
    """Return ``exp(-d^2 / (2 sigma^2))`` with sigma^2 the median of the non-zero squared distances."""
    D = squared_distances(X)
    above = D[np.triu_indices(len(D), 1)]
    D /= -2 * np.median(above[above > 0])
    return np.exp(D, out=D)


def linear_kernel(X: Any) -> np.ndarray:
    """Return the (n, n) inner products of centred rows of wide features, without a float64 copy of all of them.

    Up to a power of two, where values are so extreme that squares would over- or underflow.

    Parameters
    ----------
    X : (n, ...) array, e.g. maps (n, h, w, c); all axes but the first count as columns. A memory map is read once, in
        blocks of columns

    Raises
    ------
    ValueError
        If a value is not finite, with its row and column.
    """
    X = X.reshape(len(X), -1)
    width = max(1, COLUMN_BYTES // (8 * len(X)))

    def columns() -> Iterator[np.ndarray]:
        for start in range(0, X.shape[1], width):
            yield as_features(X[:, start : start + width], first_column=start)

    with np.errstate(over="ignore", invalid="ignore"):
        K = _summed(columns(), len(X), 0)
    trace = float(np.trace(K))
    if 1e-200 < trace < 1e200:
        return K
    peak = max(float(np.abs(part).max()) for part in columns())  # of values this extreme, once more and scaled
    return _summed(columns(), len(X), -int(np.frexp(peak)[1]))


def _summed(parts: Iterable[np.ndarray], n: int, exponent: int) -> np.ndarray:
    K = np.zeros((n, n))
    for part in parts:
        Z = centred(np.ldexp(part, exponent) if exponent else part)
        K += Z @ Z.T
    return K


def doubly_centred(K: np.ndarray) -> np.ndarray:
    """Return H K H with H = I - 11'/n."""
    rows = K.mean(axis=0)
    return K - rows[:, None] - rows + rows.mean()


def u_centred(K: np.ndarray) -> np.ndarray:
    """Return the U-centred kernel: zero diagonal, zero row sums; inner products of two are n (n - 3) HSIC."""
    n = len(K)
    K = K.copy()
    np.fill_diagonal(K, 0)
    rows = K.sum(axis=0) / (n - 2)
    K -= rows[:, None]
    K -= rows
    K += rows.sum() / (n - 1)
    np.fill_diagonal(K, 0)
    return K
