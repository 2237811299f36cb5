"""Fewer features that keep inner products: what makes sums of products of very wide layers possible."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np


class CountSketch:
    """A random projection of features to fewer, under which the inner product of two rows keeps its mean.

    Each feature is added to one of ``width`` others with a random sign. The inner product of rows x and y then has the
    variance ``(|x|^2 |y|^2 + (x.y)^2 - 2 sum x_i^2 y_i^2) / width``. Two independent sketches of one layer give its
    unbiased HSIC with itself as their HSIC with each other.

    Parameters
    ----------
    features : number of features
    width : number that is left
    rng : source of randomness

    Notes
    -----
    O(n d) time for n rows of d features.

    References
    ----------
    Charikar, Chen, Farach-Colton 2004, Theoretical Computer Science 312, 3-15; Weinberger et al. 2009, arXiv:0902.2206.

    Examples
    --------
    >>> sketch = CountSketch(1000, width=400, rng=np.random.default_rng(0))
    >>> x = np.ones((1, 1000))
    >>> abs((sketch(x) @ sketch(x).T).item() / 1000 - 1) < 0.3
    True
    """

    def __init__(self, features: int, *, width: int, rng: np.random.Generator):
        self.width = width
        self.places = rng.integers(0, width, features, dtype=np.int32)
        self.signs = rng.integers(0, 2, features, dtype=np.int8) * 2 - 1

    @cached_property
    def _matrix(self) -> Any:
        from scipy.sparse import csr_array

        count = len(self.places)
        return csr_array((self.signs.astype(float), (self.places, np.arange(count))), shape=(self.width, count))

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Return (n, width) features of (n, d) ones, in float64."""
        return np.ascontiguousarray((self._matrix @ np.asarray(X, dtype=np.float64).T).T)
