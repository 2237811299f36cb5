"""Kernel matrices of one representation: RBF, linear by blocks of columns, and their centring."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from featurespace.metrics.arrays import as_placed, centred, magnitude
from featurespace.metrics.distances import squared_distances
from featurespace.metrics.places import Array, fill_diagonal, ldexp, library, like, middle

COLUMN_BYTES = 1 << 27
"""Memory for the columns in work when a kernel is summed over blocks of them."""


def rbf_kernel(X: Array) -> Array:
    """Return ``exp(-d^2 / (2 sigma^2))`` with sigma^2 the median of the non-zero squared distances."""
    D = squared_distances(X, X)
    row = like(np.arange(len(D)), D)
    above = D[row[:, None] < row]  # twice as fast as by `triu_indices`
    D /= -sum(middle(above[above > 0]))  # twice the median
    return library(D).exp(D, out=D)


def linear_kernel(X: Any) -> Array:
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

    def columns() -> Iterator[Array]:
        for start in range(0, X.shape[1], width):
            yield as_placed(X[:, start : start + width], first_column=start)

    with np.errstate(over="ignore", invalid="ignore"):
        K = _summed(columns(), 0)
    trace = float(K.trace())
    if 1e-200 < trace < 1e200:
        return K
    peak = max(magnitude(part) for part in columns())  # of values this extreme, once more and scaled
    return _summed(columns(), -math.frexp(peak)[1])


def _summed(parts: Iterable[Array], exponent: int) -> Array:
    K: Array = 0.0
    for part in parts:
        Z = centred(ldexp(part, exponent) if exponent else part)
        K += Z @ Z.T
    return K


def doubly_centred(K: Array) -> Array:
    """Return H K H with H = I - 11'/n."""
    rows = K.mean(axis=0)
    return K - rows[:, None] - rows + rows.mean()


def u_centred(K: Array) -> Array:
    """Return the U-centred kernel: zero diagonal, zero row sums; inner products of two are n (n - 3) HSIC."""
    n = len(K)
    K = library(K).asarray(K, copy=True)
    fill_diagonal(K, 0)
    rows = K.sum(axis=0) / (n - 2)
    K -= rows[:, None]
    K -= rows
    K += rows.sum() / (n - 1)
    fill_diagonal(K, 0)
    return K
