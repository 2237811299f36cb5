"""Distances between two unpaired samples of one feature space; Frechet, MMD and manifolds have rooms of their own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from featurespace.metrics.arrays import as_placed_samples, as_two_samples, centred, extreme, magnitude, to_scale
from featurespace.metrics.distances import distances
from featurespace.metrics.pairs import cubic_kernel, pooled, sum_between, sum_within
from featurespace.stats.checks import check_counts, check_generator


def kid(X: Any, Y: Any) -> float:
    """Kernel Inception Distance of two unpaired samples: unbiased MMD^2 with a cubic kernel; 0 is the same distribution.

    ``mean k(x, x') + mean k(y, y') - 2 mean k(x, y)``, pairs of different samples, ``k(x, y) = (x.y / d + 1)^3``.

    Parameters
    ----------
    X : (n, d) array, features of the first sample, one row a sample
    Y : (m, d) array, features of the second sample

    Returns
    -------
    float
        In sixth powers of the features' units; small negative values occur when the distributions agree, and are kept.

    Raises
    ------
    ValueError
        If widths differ, a sample has fewer than 2 rows, a value is not finite, or the kernel leaves the range of
        float64.

    Notes
    -----
    Unbiased. All samples, once: no subsets are drawn, hence no randomness, and n and m may differ. Sees moments up to
    the third only. Cost O((n + m)^2 d) time, 32 MiB beside the features; n = m = 10,000, d = 2048 on one core: 10 s.
    Invariant to rotation of both together; not to translation or scale, so values of two layers do not compare.

    References
    ----------
    Binkowski et al. 2018, "Demystifying MMD GANs", arXiv:1801.01401, who average over subsets of 1000 samples: the
    same expectation, with more variance.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> kid(rng.standard_normal((50, 4)), rng.standard_normal((60, 4)) + 1) > 0.5
    True
    """
    X, Y = as_placed_samples(X, Y)
    n, m = len(X), len(Y)
    with np.errstate(over="ignore", invalid="ignore"):
        within = sum_within(cubic_kernel, X) / (n * (n - 1)) + sum_within(cubic_kernel, Y) / (m * (m - 1))
        value = within - 2 * sum_between(cubic_kernel, X, Y) / (n * m)
    if not math.isfinite(value):
        raise ValueError("(x.y / d + 1)^3 leaves the range of float64 (1e308); divide both samples by one factor")
    return value


def energy_distance(X: Any, Y: Any, *, unbiased: bool = False) -> float:
    """Energy distance of two unpaired samples, at least 0; 0 is the same distribution.

    ``2 E|x - y| - E|x - x'| - E|y - y'|``: the squared form, of which some libraries report the root.

    Parameters
    ----------
    X : (n, d) array, features of the first sample, one row a sample
    Y : (m, d) array, features of the second sample
    unbiased : means over pairs of different samples (U-statistic), which may be negative; otherwise over all pairs, a
        sample with itself included (V-statistic)

    Returns
    -------
    float
        In units of the features; the V-statistic is below 0 only by rounding.

    Raises
    ------
    ValueError
        If widths differ, a sample has fewer than 2 rows, or a value is not finite.

    Notes
    -----
    The V-statistic is biased upwards by E|x - x'| / n + E|y - y'| / m: for two samples of one distribution the
    U-statistic is 0 on average. Zero in the population only for equal distributions. The MMD^2 of the kernel -|x - y|.
    Cost O((n + m)^2 d) time, 32 MiB beside the features; n = m = 10,000, d = 2048 on one core: 12 s. Two
    tensors on one CUDA device are worked on there, in float64. Invariant to translation and rotation of both
    together.

    References
    ----------
    Szekely, Rizzo 2013, "Energy statistics", J. Statistical Planning and Inference 143, 1249-1272.

    Examples
    --------
    >>> energy_distance([[0.0], [2.0]], [[1.0], [1.0]])
    1.0
    """
    X, Y = as_placed_samples(X, Y)
    n, m = len(X), len(Y)
    Z, exponent = pooled(X, Y)  # homogeneous: the squares of tiny and huge features stay in range
    # each sample about its own mean: what is far from the other keeps the digits of its own distances
    within_x = sum_within(distances, centred(Z[:n])) / (n * (n - 1 if unbiased else n))
    within_y = sum_within(distances, centred(Z[n:])) / (m * (m - 1 if unbiased else m))
    return to_scale(2 * sum_between(distances, Z[:n], Z[n:]) / (n * m) - within_x - within_y, exponent)


def sliced_wasserstein(X: Any, Y: Any, *, rng: np.random.Generator, projections: int = 1000, p: float = 2) -> float:
    """Sliced Wasserstein distance of two unpaired samples, at least 0; 0 is the same distribution.

    ``(mean over directions of W_p^p)^(1/p)``, W_p the exact distance of the projections on a random direction.

    Parameters
    ----------
    X : (n, d) array, features of the first sample, one row a sample
    Y : (m, d) array, features of the second sample
    rng : source of randomness, for the directions
    projections : number of directions, uniform on the sphere
    p : order, at least 1

    Returns
    -------
    float
        In units of the features: the p-th root is taken.

    Raises
    ------
    ValueError
        If widths differ, a sample has fewer than 2 rows, a value is not finite, projections < 1, or p is below 1 or not
        finite.

    Notes
    -----
    Samples of unequal size are compared by their quantile functions, which is exact. Biased upwards: two samples of
    one normal distribution, d = 10, read 0.24 at n = m = 100 and 0.075 at 1000. A shift of length s alone reads s /
    sqrt(d). With 1000 directions the value moves by about 1 % from one seed to another. Cost O((n + m) (d + log n)) a
    direction; n = m = 10,000, d = 2048 on one core: 2.4 s. Invariant to translation of both together, to rotation up
    to the draw of the directions.

    References
    ----------
    Bonneel et al. 2015, "Sliced and Radon Wasserstein barycenters of measures", J. Mathematical Imaging and Vision 51,
    22-45; Rabin et al. 2012. As in their definition and in POT, powers are averaged before the root.

    Examples
    --------
    >>> round(sliced_wasserstein([[0.0], [1.0]], [[3.0], [4.0]], rng=np.random.default_rng(0)), 9)
    3.0
    """
    X, Y = as_two_samples(X, Y)
    check_counts(projections=projections)
    check_generator(rng)
    if projections < 1:
        raise ValueError(f"projections is {projections}; at least 1 is needed, and 100 or more for a steady value")
    if not (p >= 1 and math.isfinite(p)):
        raise ValueError(f"p is {p}; the order is a finite number from 1 on, e.g. 2")
    n, m = len(X), len(Y)
    Z, exponent = pooled(X, Y)
    directions = rng.standard_normal((projections, Z.shape[1]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    # both quantile functions are constant between the points i / n and j / m; in units of 1 / (n m) these are integers
    ends = np.union1d(np.arange(1, n + 1) * m, np.arange(1, m + 1) * n)
    widths, of_x, of_y = np.diff(ends, prepend=0) / (n * m), (ends - 1) // m, (ends - 1) // n
    total = 0.0
    for start in range(0, projections, 64):
        projected = directions[start : start + 64] @ Z.T
        first, second = np.sort(projected[:, :n], axis=1), np.sort(projected[:, n:], axis=1)
        total += float((np.abs(first[:, of_x] - second[:, of_y]) ** p @ widths).sum())
    return to_scale((total / projections) ** (1 / p), exponent)


def coral_distance(X: Any, Y: Any) -> float:
    """Distance of the covariances of two unpaired samples (deep CORAL), at least 0; 0 is alike.

    ``|C_x - C_y|_F^2 / (4 d^2)``, covariances with n - 1.

    Parameters
    ----------
    X : (n, d) array, features of the first sample, one row a sample
    Y : (m, d) array, features of the second sample

    Returns
    -------
    float
        In fourth powers of the features' units.

    Raises
    ------
    ValueError
        If widths differ, a sample has fewer than 2 rows, a value is not finite, or the squares leave the range of
        float64.

    Notes
    -----
    Biased upwards by O(1 / n): ((tr C)^2 + |C|_F^2) (1 / n + 1 / m) / (4 d^2) for normal samples. Blind to a shift of
    the mean. Cost O((n + m) d^2) time and 16 d^2 bytes, or O((n + m)^2 d) where n + m < d; n = m = 10,000, d = 2048 on
    one core: 2.1 s. Invariant to translation and rotation of both together.

    References
    ----------
    Sun, Saenko 2016, "Deep CORAL", arXiv:1607.01719.

    Examples
    --------
    >>> coral_distance([[0.0], [2.0]], [[0.0], [4.0]])  # variances 2 and 8
    9.0
    """
    X, Y = as_two_samples(X, Y)
    n, m, d = len(X), len(Y), X.shape[1]
    exponent = extreme(np.array([magnitude(X), magnitude(Y)]))
    A, B = (centred(np.ldexp(Z, -exponent) if exponent else Z) for Z in (X, Y))
    if n + m < d:  # a rotation of both into as many columns as there are rows changes no norm
        rotated = np.asarray(np.linalg.qr(np.concatenate([A, B]).T, mode="r")).T
        A, B = rotated[:n], rotated[n:]
    with np.errstate(over="ignore", invalid="ignore"):
        difference = A.T @ A / (n - 1)
        difference -= B.T @ B / (m - 1)
        value = float(np.ldexp(np.vdot(difference, difference) / (4 * d**2), 4 * exponent))
        largest = np.ldexp(max(magnitude(A), magnitude(B)), exponent)
    if not math.isfinite(value) or 0 < largest < 1e-75:  # fourth powers below 1e-300 would read as no difference
        raise ValueError("fourth powers of the features leave the range of float64; divide both samples by one factor")
    return value
