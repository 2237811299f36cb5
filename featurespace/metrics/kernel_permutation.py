"""Permutation tests of the kernel distances that need no width: KID and the energy distance."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurespace.metrics.arrays import as_placed_samples, magnitude
from featurespace.metrics.distances import distances
from featurespace.metrics.kernel_test import KernelTest, kernel_test, pooled_kernel
from featurespace.metrics.pairs import cubic_kernel, pooled
from featurespace.metrics.places import Array, library


def kid_permutation(
    X: Any,
    Y: Any,
    *,
    rng: np.random.Generator,
    groups_x: Any = None,
    groups_y: Any = None,
    permutations: int = 1000,
) -> KernelTest:
    """KID of two unpaired samples, about 0 for equal distributions, with permutation p-value and jackknife interval.

    Parameters
    ----------
    X : (n, d) array, features of the first sample, one row a sample
    Y : (m, d) array, features of the second sample
    rng : source of randomness
    groups_x, groups_y : (n,) and (m,) labels (patients), permuted and left out whole; the same label in X and in Y
        is taken as two groups
    permutations : number of random permutations

    Returns
    -------
    KernelTest
        Its value is that of `kid`. Without interval, and with the reason, if a sample has fewer than 5 units.

    Raises
    ------
    ValueError
        As `kid`; if groups do not match the rows, or a permutation could leave fewer than 2 samples on a side.

    Notes
    -----
    As `mmd2_permutation`, pairs within a group included (`kid_jackknife` leaves them out): cost
    O((n + m)^2 (d + permutations)) time and 16 (n + m)^2 bytes.

    References
    ----------
    Binkowski et al. 2018, arXiv:1801.01401; Phipson, Smyth 2010, arXiv:1603.05766 (p-value).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.standard_normal((50, 2)), rng.standard_normal((50, 2)) + 2
    >>> kid_permutation(X, Y, rng=rng, permutations=99).p_value
    0.01
    """
    X, Y = as_placed_samples(X, Y)
    kernel = pooled_kernel(cubic_matrix(X, Y), len(X), groups_x, groups_y)
    return KernelTest(**kernel_test(kernel, rng=rng, permutations=permutations))


def cubic_matrix(X: Array, Y: Array) -> Array:
    """Return the cubic kernel of the pooled sample, less 1."""
    Z = library(X).concatenate([X, Y])
    with np.errstate(over="ignore", invalid="ignore"):
        K = cubic_kernel(Z, Z)
        largest = magnitude(K) * len(K) ** 2  # no sum over pairs lies above
    if not np.isfinite(largest):
        raise ValueError("(x.y / d + 1)^3 leaves the range of float64 (1e308); divide both samples by one factor")
    return K


def energy_permutation(
    X: Any,
    Y: Any,
    *,
    rng: np.random.Generator,
    groups_x: Any = None,
    groups_y: Any = None,
    permutations: int = 1000,
) -> KernelTest:
    """Unbiased energy distance of two unpaired samples, about 0 for equal distributions, with permutation p and interval.

    Parameters
    ----------
    X, Y, rng, groups_x, groups_y, permutations : as in `kid_permutation`

    Returns
    -------
    KernelTest
        Its value is that of ``energy_distance(X, Y, unbiased=True)``. Without interval, and with the reason, if a
        sample has fewer than 5 units.

    Raises
    ------
    ValueError
        As `energy_distance`; if groups do not match the rows, or a permutation could leave fewer than 2 samples on a
        side.

    Notes
    -----
    As `mmd2_permutation`, with the kernel -|x - y|, pairs within a group included (`energy_jackknife` leaves them out):
    cost O((n + m)^2 (d + permutations)) time and 16 (n + m)^2 bytes.

    References
    ----------
    Szekely, Rizzo 2013, J. Statistical Planning and Inference 143, 1249-1272; Sejdinovic et al. 2013, arXiv:1207.6076
    (the energy distance is an MMD^2).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.standard_normal((50, 2)), rng.standard_normal((50, 2)) + 2
    >>> found = energy_permutation(X, Y, rng=rng, permutations=99)
    >>> found.p_value, found.ci_low > 0.5
    (0.01, True)
    """
    X, Y = as_placed_samples(X, Y)
    K, exponent = energy_matrix(X, Y)
    kernel = pooled_kernel(K, len(X), groups_x, groups_y)
    return KernelTest(**kernel_test(kernel, rng=rng, permutations=permutations, exponent=exponent))


def energy_matrix(X: Array, Y: Array) -> tuple[Array, int]:
    """Return the kernel -|x - y| of the pooled sample, scaled to squares in range, and the exponent of two undoing it."""
    Z, exponent = pooled(X, Y)
    K = distances(Z, Z)
    K *= -1
    return K, exponent
