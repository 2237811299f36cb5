"""Canonical correlations of paired representations: the rows of X and Y are the same samples in the same order.

Each metric is a half that belongs to one layer (``..._basis``) and a half for a pair (``..._from_bases``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from featurespace.metrics.arrays import as_features, as_pair, narrow, unit_scaled


def cca(X: Any, Y: Any) -> float:
    """Mean canonical correlation of paired features, in [0, 1]; 1 is alike, and 1 for ANY data once d reaches n - 1.

    The mean of all min(r1, r2) canonical correlations, r the rank of the centred features (their width, where columns
    are independent).

    Parameters
    ----------
    X : (n, d1) array, features, one row a sample
    Y : (n, d2) array, features of the same samples in the same order

    Returns
    -------
    float
        In [0, 1] but for rounding (1e-15).

    Raises
    ------
    ValueError
        If n < 2, rows differ in number, a value is not finite, or features are constant.

    Notes
    -----
    Biased upwards, much: r1 + r2 - (n - 1) of the correlations are 1 whatever the data are, all of them from r = n - 1
    on. Independent noise, n = 1000, d1 = d2 = 10: 0.08; 100: 0.27; 250: 0.43; 500: 0.64; 750: 0.81; 999 and above:
    1. Compare values of equal n, d1 and d2 only, and read them beside the value of Y with its rows shuffled.
    An interval: ``block_jackknife(cca, [X, Y], rng=rng)`` of `featurespace.stats`. Of those aimed at 95 %, n = 200,
    d = 10, this share covers the expected value at this n (500 simulated pairs each; 60 groups of 5 alike): 97 % where all
    directions are related, 99 % where half or none are (standard errors up to 1.5 times too large). The limit of many
    samples it covers only where all are related and n is large (94 %; 5 % and 0 % else).
    Invariant to any invertible affine map of either input. Cost O(n (d1^2 + d2^2 + d1 d2)): 2 s at n = 10,000,
    d1 = d2 = 512, one core. Columns are scaled to unit length, and directions count to the rank with a singular value above
    max(n, d) * 2.2e-16 times the largest; columns that depend on others but for rounding of their own (float32) count.

    References
    ----------
    Hotelling 1936, Biometrika 28, 321-377; Bjorck, Golub 1973, Math. Comp. 27, 579-594 (by QR). Raghu et al. 2017,
    arXiv:1706.05806, also take the mean. Kornblith et al. 2019, arXiv:1905.00414, on its use and its failure at d >= n.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((50, 3))
    >>> round(cca(X, X @ [[1, 2, 0], [0, 1, 5], [0, 0, 3]] + 7), 9)
    1.0
    """
    X, Y = _as_pair(X, Y)
    return cca_from_bases(canonical_basis(X, "X"), canonical_basis(Y, "Y"))


def svcca(X: Any, Y: Any, *, variance: float = 0.99) -> float:
    """Mean canonical correlation of the leading principal components of paired features, in [0, 1]; 1 is alike.

    Of each input the fewest components that hold the given share of its variance are kept; then as `cca`.

    Parameters
    ----------
    X : (n, d1) array, features, one row a sample
    Y : (n, d2) array, features of the same samples in the same order
    variance : share of each input's variance to keep, above 0 and at most 1; 1 keeps all and is `cca`

    Returns
    -------
    float
        In [0, 1] but for rounding (1e-15).

    Raises
    ------
    ValueError
        As `cca`, or if variance is out of range.

    Notes
    -----
    Biased upwards as `cca` is, at the number of components kept: independent noise with n = 1000 and d = 500 gives 0.61,
    since noise keeps nearly all its components; with eigenvalues 1/j it keeps about 410 and still gives 0.57.
    Invariant to translation, rotation and isotropic scale of either input. Cost of two singular value decompositions:
    2 s at n = 10,000, d1 = d2 = 512, one core.

    References
    ----------
    Raghu et al. 2017, "SVCCA", arXiv:1706.05806. The authors' code takes shares of the sum of singular values or a
    fixed number of components; here, as in the paper, it is the share of variance (of their squares).

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((50, 3)) * [9, 9, 0.1]
    >>> round(svcca(X, X * [1, -1, 0]), 9)
    1.0
    """
    X, Y = _as_pair(X, Y)
    return cca_from_bases(leading_basis(X, "X", variance=variance), leading_basis(Y, "Y", variance=variance))


def pwcca(X: Any, Y: Any) -> float:
    """Projection-weighted mean of canonical correlations of paired features, in [0, 1]; 1 is alike.

    ``sum_i a_i rho_i / sum_i a_i`` with ``a_i = sum_j |h_i . x_j|``, h_i the canonical variates of unit length and x_j
    the columns of the input of lower rank (X where both are equal), centred.

    Parameters
    ----------
    X : (n, d1) array, features, one row a sample
    Y : (n, d2) array, features of the same samples in the same order

    Returns
    -------
    float
        In [0, 1] but for rounding (1e-15). Not symmetric where the ranks are equal.

    Raises
    ------
    ValueError
        As `cca`.

    Notes
    -----
    Biased upwards as `cca` is, 1 for any data from d = n - 1 on. Invariant to translation and isotropic scale, and to any
    invertible map of the input of higher rank. Cost as `cca` and O(n d^2) for the weights.

    References
    ----------
    Morcos, Raghu, Bengio 2018, arXiv:1806.05759. The paper leaves open which input gives the weights; the authors' code
    takes that with fewer directions, and so do we.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((50, 3))
    >>> round(pwcca(X, X[:, ::-1] + 1), 9)
    1.0
    """
    X, Y = _as_pair(X, Y)
    return pwcca_from_bases(weighted_basis(X, "X"), weighted_basis(Y, "Y"))


def _as_pair(X: Any, Y: Any) -> tuple[np.ndarray, np.ndarray]:
    X, Y = as_pair(X, Y)
    if len(X) < 2:
        raise ValueError("X and Y have 1 row; canonical correlations need at least 2 samples")
    return X, Y


class WeightedBasis(NamedTuple):
    """What `pwcca` needs of one layer: an orthonormal basis, and the centred columns in its coordinates."""

    Q: np.ndarray
    loadings: np.ndarray


def canonical_basis(X: Any, name: str = "X") -> np.ndarray:
    """Return an (n, r) orthonormal basis of what the centred columns span, r their rank; `cca` says by what tolerance.

    Raises
    ------
    ValueError
        If a value is not finite or features are constant.
    """
    Z = unit_scaled(as_features(X, name), name)
    shape = Z.shape
    largest = np.abs(Z).max(axis=0)
    Z = Z[:, largest > 0] / largest[largest > 0]  # a norm of squares would lose columns below 1e-154
    Z /= np.linalg.norm(Z, axis=0)
    Q, R = np.linalg.qr(narrow(Z))
    values = np.linalg.svd(R, compute_uv=False)
    rank = _rank(values, shape)
    return Q if rank == len(values) else Q @ np.linalg.svd(R)[0][:, :rank]


def leading_basis(X: Any, name: str = "X", *, variance: float = 0.99) -> np.ndarray:
    """Return an (n, r) orthonormal basis of the fewest principal components that hold the share of variance.

    Raises
    ------
    ValueError
        If the share is out of range, a value is not finite, or features are constant.
    """
    if not 0 < variance <= 1:
        raise ValueError(f"variance is {variance}; the share to keep lies above 0 and at most at 1, e.g. 0.99")
    Z = unit_scaled(as_features(X, name), name)
    if variance == 1:
        return canonical_basis(Z, name)
    U, values, _ = np.linalg.svd(narrow(Z), full_matrices=False)
    share = np.cumsum(values**2)
    return U[:, : 1 + int(np.argmax(share >= variance * share[-1]))]


def weighted_basis(X: Any, name: str = "X") -> WeightedBasis:
    """Return the part of `pwcca` that belongs to one layer.

    Raises
    ------
    ValueError
        As `canonical_basis`.
    """
    Z = unit_scaled(as_features(X, name), name)
    Q = canonical_basis(Z, name)
    return WeightedBasis(Q, Q.T @ Z)


def cca_from_bases(A: np.ndarray, B: np.ndarray) -> float:
    """Return the mean cosine of the principal angles between two results of `canonical_basis` or `leading_basis`."""
    return float(np.linalg.svd(A.T @ B, compute_uv=False).mean())


def pwcca_from_bases(A: WeightedBasis, B: WeightedBasis) -> float:
    """Return the weighted mean of canonical correlations from two results of `weighted_basis`."""
    if B.Q.shape[1] < A.Q.shape[1]:
        A, B = B, A
    U, correlations, _ = np.linalg.svd(A.Q.T @ B.Q, full_matrices=False)
    weights = np.abs(U.T @ A.loadings).sum(axis=1)
    return float(weights @ correlations / weights.sum())


def _rank(values: np.ndarray, shape: tuple[int, ...]) -> int:
    """Return how many singular values are above what rounding leaves of the largest."""
    return int((values > max(shape) * np.finfo(float).eps * values[0]).sum())
