"""Kernel alignment of paired representations: the rows of X and Y are the same samples in the same order."""

from __future__ import annotations

from typing import Any

import numpy as np

from featurespace.metrics.alignment import debiased_cka
from featurespace.metrics.arrays import as_features, as_pair, centred, normalised_rows, tamed
from featurespace.metrics.kernels import doubly_centred, rbf_kernel
from featurespace.metrics.prepared import KERNELS
from featurespace.metrics.alignment import debiased_linear_cka
from featurespace.metrics.arrays import as_pair, centred

KERNELS = ("linear", "rbf")


def cka(X: Any, Y: Any, *, kernel: str = "linear", debiased: bool = True, groups: Any = None) -> float:
    """Centred kernel alignment of paired features: 1 is alike, 0 unrelated; debiased values may be negative.

    ``HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y))``.

    Parameters
    ----------
    X : (n, d1) array, features, one row a sample; when debiased also maps (n, h, w, c), unpooled
    Y : (n, d2) array, features of the same samples in the same order
    kernel : ``"linear"``, or ``"rbf"`` with sigma^2 the median of the non-zero squared distances of each input
    debiased : Song's unbiased HSIC; otherwise the plug-in, which is near 1 for noise when d is not far below n
    groups : (n,) labels (patients) whose pairs within a group are left out of a debiased value, each group then
        counting once; None takes all pairs of samples

    Returns
    -------
    float
        At most 1; at least 0 when not debiased.

    Raises
    ------
    ValueError
        If n < 4 (2 when not debiased) or there are fewer than 4 groups, rows differ in number, a value is not finite,
        features are constant, the kernel is unknown, or groups are given for the plug-in.

    Notes
    -----
    Cost O(n d1 d2) for the linear kernel or O(n^2 (d1 + d2)), whichever is less; the RBF kernel takes 8 n^2 bytes
    twice. Invariant to translation, rotation and isotropic scale of either input. Plug-in CKA of independent noise
    is 0.67 at n = 256, d = 512; debiased it is 0 on average.

    References
    ----------
    Kornblith et al. 2019, arXiv:1905.00414; Song et al. 2012, JMLR 13, 1393-1434 (unbiased HSIC). Differs from
    Kornblith's RBF rule (a fraction of the median distance) by taking the median of squared distances itself.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((30, 4))
    >>> round(cka(X, 2 * X + 1), 9)
    1.0
    """
    if kernel not in KERNELS:
        raise ValueError(f"kernel {kernel!r} is not known; allowed: {', '.join(KERNELS)}")
    if debiased:
        return debiased_cka(X, Y, kernel=kernel, groups=groups)
    if groups is not None:
        raise ValueError("groups are for the debiased value; the plug-in has all pairs, even of a sample with itself")
    X, Y = as_pair(X, Y)
    if len(X) < 2:
        raise ValueError(f"X and Y have {len(X)} rows; CKA is defined from 2 samples on")
    X, Y = _scaled(X, "X"), _scaled(Y, "Y")
    if kernel == "linear" and X.shape[1] * Y.shape[1] <= len(X) * (X.shape[1] + Y.shape[1]):
        xx, yy, xy = X.T @ X, Y.T @ Y, X.T @ Y  # moments: |X'Y|^2 is the sum over pairs of k_ij l_ij
        return float(np.vdot(xy, xy) / (np.linalg.norm(xx) * np.linalg.norm(yy)))
    K, L = (X @ X.T, Y @ Y.T) if kernel == "linear" else (rbf_kernel(X), rbf_kernel(Y))
    K, L = doubly_centred(K), doubly_centred(L)
    return float(np.vdot(K, L) / (np.linalg.norm(K) * np.linalg.norm(L)))


def _scaled(X: np.ndarray, name: str) -> np.ndarray:
    """Return X centred and of unit Frobenius norm."""
    Z = centred(tamed(X))
    norm = np.linalg.norm(Z)
    if norm == 0:
        raise ValueError(f"{name} is constant: every sample has the same features, so similarity to it is undefined")
    return Z / norm


def procrustes_distance(X: Any, Y: Any) -> float:
    """Distance of paired features after the best rotation, in [0, sqrt(2)]; 0 is alike.

    ``sqrt(2 - 2 |X'Y|_*)`` with both inputs centred and scaled to unit Frobenius norm, ``|.|_*`` the nuclear norm.

    Parameters
    ----------
    X : (n, d1) array, features, one row a sample
    Y : (n, d2) array, features of the same samples in the same order; the narrower input counts as padded with zeros

    Returns
    -------
    float
        In [0, sqrt(2)]; biased towards 0 when d is not far below n.

    Raises
    ------
    ValueError
        If n < 2, rows differ in number, a value is not finite, or features are constant.

    Notes
    -----
    Cost O(n d1 d2) and the singular values of a min(n, d1) x min(n, d2) matrix. Invariant to translation, rotation
    and isotropic scale. The nuclear norm is at most 1 (Cauchy-Schwarz) and its rounding error below 1e-12, so a
    negative argument of the root is rounding and gives 0; distances below 1e-6 are not resolved.

    References
    ----------
    Williams et al. 2021, "Generalized shape metrics on neural representations", arXiv:2110.14739.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((30, 4))
    >>> procrustes_distance(X, X[:, ::-1]) < 1e-6
    True
    """
    X, Y = as_pair(X, Y)
    if len(X) < 2:
        raise ValueError("X and Y have 1 row; at least 2 samples are needed")
    X, Y = _narrow(_scaled(X, "X")), _narrow(_scaled(Y, "Y"))
    squared = 2 - 2 * float(np.linalg.svd(X.T @ Y, compute_uv=False).sum())
    if squared < -1e-10:
        raise ArithmeticError(f"nuclear norm above 1 by {-squared / 2:.1e}, more than rounding explains")
    return math.sqrt(max(squared, 0.0))


def _narrow(X: np.ndarray) -> np.ndarray:
    """Return X rotated into at most n columns, which changes no singular value of a product with it."""
    n, d = X.shape
    return X if d <= n else np.asarray(np.linalg.qr(X.T, mode="r")).T


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
    Cost O(n^2 d) time, O(n d) memory: 512 rows at a time.

    Examples
    --------
    >>> cosine_neighbours([[1, 0], [1, 0.1], [0, 1]], k=1).ravel().tolist()
    [1, 0, 1]
    """
    X = as_features(X)
    n = len(X)
    if not 1 <= k < n:
        raise ValueError(f"k is {k}; with {n} samples it must lie between 1 and {n - 1}")
    U = normalised_rows(X, "X")
    found = np.empty((n, k), dtype=np.int64)
    for start in range(0, n, 512):
        likeness = U[start : start + 512] @ U.T
        rows = np.arange(len(likeness))
        likeness[rows, start + rows] = -np.inf
        found[start : start + 512] = np.argpartition(likeness, n - k, axis=1)[:, n - k :]
    return np.sort(found, axis=1)


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
    if A.shape != B.shape:
        raise ValueError(f"neighbours of shapes {A.shape} and {B.shape}; both need the same samples and the same k")
    merged = np.sort(np.concatenate([A, B], axis=1), axis=1)  # an index found in both stands twice
    return float(np.count_nonzero(merged[:, 1:] == merged[:, :-1]) / A.size)


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
    return mutual_knn_from_neighbours(cosine_neighbours(X, k=k), cosine_neighbours(Y, k=k))
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


def _doubly_centred(K: np.ndarray) -> np.ndarray:
    """Return H K H with H = I - 11'/n."""
    rows = K.mean(axis=0)
    return K - rows[:, None] - rows + rows.mean()


def _u_centred(K: np.ndarray) -> np.ndarray:
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
