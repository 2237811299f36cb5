"""Kernel alignment of paired representations: the rows of X and Y are the same samples in the same order."""

from __future__ import annotations

import math
from typing import Any

from featurespace.metrics.alignment import debiased_cka
from featurespace.metrics.arrays import as_placed_pair, unit_scaled
from featurespace.metrics.kernels import doubly_centred, rbf_kernel
from featurespace.metrics.places import inner
from featurespace.metrics.prepared import KERNELS


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
    twice. Two tensors on one CUDA device are worked on there, in float64 (which consumer cards do at 1/32 to 1/64 of
    their float32 speed); all others on the CPU, Apple's MPS included, which has no float64. Invariant to translation,
    rotation and isotropic scale of either input. Plug-in CKA of independent noise is 0.67 at n = 256, d = 512; debiased
    it is 0 on average.

    References
    ----------
    Kornblith et al. 2019, arXiv:1905.00414; Song et al. 2012, JMLR 13, 1393-1434 (unbiased HSIC). Differs from
    Kornblith's RBF rule (a fraction of the median distance) by taking the median of squared distances itself.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((30, 4))
    >>> round(cka(X, 2 * X + 1), 9)
    1.0
    """
    if kernel not in KERNELS:
        raise ValueError(f"kernel {kernel!r} is not known; allowed: {', '.join(KERNELS)}")
    if debiased:
        return debiased_cka(X, Y, groups=groups, between_groups=groups is not None, kernel=kernel)
    if groups is not None:
        raise ValueError("groups are for the debiased value; the plug-in has all pairs, even of a sample with itself")
    X, Y = as_placed_pair(X, Y)
    if len(X) < 2:
        raise ValueError(f"X and Y have {len(X)} rows; CKA is defined from 2 samples on")
    X, Y = unit_scaled(X, "X"), unit_scaled(Y, "Y")
    if kernel == "linear" and X.shape[1] * Y.shape[1] <= len(X) * (X.shape[1] + Y.shape[1]):
        xx, yy, xy = X.T @ X, Y.T @ Y, X.T @ Y  # moments: |X'Y|^2 is the sum over pairs of k_ij l_ij
        return inner(xy, xy) / math.sqrt(inner(xx, xx) * inner(yy, yy))
    K, L = (X @ X.T, Y @ Y.T) if kernel == "linear" else (rbf_kernel(X), rbf_kernel(Y))
    K, L = doubly_centred(K), doubly_centred(L)
    return inner(K, L) / math.sqrt(inner(K, K) * inner(L, L))
