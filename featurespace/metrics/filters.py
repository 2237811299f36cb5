"""A layer's weights as rows of in-channels, and their kernels, prepared once for all that they are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurespace.metrics.alignment import cka_estimate
from featurespace.metrics.arrays import as_features, unit_scaled
from featurespace.metrics.kernels import doubly_centred, rbf_kernel, u_centred
from featurespace.metrics.places import from_tensor
from featurespace.metrics.prepared import KERNELS, PreparedCKA, PreparedKernel
from featurespace.metrics.units import cka_units
from featurespace.stats.estimate import Estimate, check_level, too_few
from featurespace.stats.resampling import jackknife_estimate


def filter_rows(W: Any, name: str = "W") -> np.ndarray:
    """Return a layer's weights as float64 rows (out x h x w, in): output channel, then place in the filter.

    Parameters
    ----------
    W : (out, in, ...) array or torch tensor: a convolution in one to three dimensions, or a linear layer (out, in).
        Of a depthwise convolution, in is 1. A transposed convolution has (in, out, ...): exchange its first two axes.
    name : what to call it in an error

    Raises
    ------
    ValueError
        If W has fewer than 2 axes, or values that are not finite real numbers.

    Examples
    --------
    >>> filter_rows(np.arange(12).reshape(2, 3, 2, 1)).tolist()
    [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0], [6.0, 8.0, 10.0], [7.0, 9.0, 11.0]]
    """
    array = from_tensor(W) if hasattr(W, "detach") else np.asarray(W)
    if array.ndim < 2 or not array.size:
        raise ValueError(f"{name} has shape {array.shape}; weights are (out, in) or (out, in, h, w)")
    return as_features(np.moveaxis(array, 1, -1).reshape(-1, array.shape[1]), f"{name}, as rows of in-channels,")


def checked_rows(X: np.ndarray, name: str, debiased: bool) -> np.ndarray:
    """Return the rows, of which CKA is defined.

    Raises
    ------
    ValueError
        If there are fewer than 2 (4 for debiased CKA), or all are equal.
    """
    least = 4 if debiased else 2
    if len(X) < least:
        raise ValueError(f"{name} has {len(X)} rows (out x h x w); at least {least} are needed")
    if (X[0] == X).all():
        raise ValueError(f"{name} is constant: all its rows are equal, so likeness to it is undefined")
    return X


@dataclass(frozen=True, eq=False)
class PreparedFilters:
    """What `reuse_estimate` needs of one layer's weights: a kernel of its rows, (out h w)^2 numbers; from `prepare_filters`.

    Parameters
    ----------
    filters : number of output channels, each with as many rows
    centred : the doubly centred kernel of unit norm, of the plug-in measure
    own : (filters,) its squared norm without each filter; empty where there are fewer than 5
    debiased : the prepared layer of debiased CKA
    """

    filters: int
    centred: np.ndarray | None
    own: np.ndarray
    debiased: PreparedCKA | None


def prepare_filters(
    W: Any, *, kernel: str = "rbf", debiased: Sequence[bool] = (False, True), name: str = "W"
) -> PreparedFilters:
    """Do the part of `feature_reuse_jackknife` that belongs to one network, once for all that it is compared with.

    Parameters
    ----------
    W, kernel : as in `feature_reuse`
    debiased : which measures it is prepared for
    name : what to call W in an error

    Raises
    ------
    ValueError
        As `feature_reuse`.
    """
    return prepare_rows(checked_rows(filter_rows(W, name), name, min(debiased)), len(W), kernel, debiased)


def prepare_rows(X: np.ndarray, filters: int, kernel: str, debiased: Sequence[bool]) -> PreparedFilters:
    """Do what `prepare_filters` does with rows of which each filter has as many."""
    if kernel not in KERNELS:
        raise ValueError(f"kernel {kernel!r} is not known; allowed: {', '.join(KERNELS)}")
    Z = unit_scaled(X, "W")
    K = rbf_kernel(Z) if kernel == "rbf" else Z @ Z.T
    K /= float(K.trace()) / len(K)  # as `prepare_cka` does
    prepared, centred, own = None, None, np.empty(0)
    if True in debiased and len(K) >= 4:
        units = cka_units(np.repeat(np.arange(filters), len(X) // filters), len(X))
        prepared = PreparedKernel(u_centred(K), units)
    if False in debiased:
        centred = doubly_centred(K)
        centred /= np.linalg.norm(centred)
        own = own if too_few(filters, "filter") else _hsic_without(centred, centred, filters)
    return PreparedFilters(filters, centred, own, prepared)


def reuse_estimate(A: PreparedFilters, B: PreparedFilters, *, debiased: bool = False, level: float = 0.95) -> Estimate:
    """Return `feature_reuse_jackknife` of two layers of one shape that were prepared for it."""
    check_level(level)
    if debiased:
        if A.debiased is None or B.debiased is None:
            raise ValueError("a layer of fewer than 4 rows (out x h x w) has no debiased CKA")
        return cka_estimate(A.debiased, B.debiased, level=level)
    assert A.centred is not None and B.centred is not None
    value, n = float(np.vdot(A.centred, B.centred)), len(A.centred)
    reason = too_few(A.filters, "filter")
    if not reason:
        rounding = 16 * np.finfo(float).eps * n  # what may be left of sums that are zero
        reason = "all rows are equal when one filter is left out" if min(A.own.min(), B.own.min()) <= rounding else ""
    if reason:
        return Estimate.without_interval(value, n=n, unit="group", n_groups=A.filters, reason=reason, level=level)
    leave_out = _hsic_without(A.centred, B.centred, A.filters) / np.sqrt(A.own * B.own)
    return jackknife_estimate(value, leave_out, n=n, unit="group", level=level)


def _hsic_without(K: np.ndarray, L: np.ndarray, count: int) -> np.ndarray:
    """Return the plug-in HSIC, times the squared number of rows, without each of ``count`` runs of rows.

    K and L have zero row sums, so that those without a run g are less the sums k_g over it:
    ``sum_ij k_ij l_ij - 2 / m sum_j k_gj l_gj + k_gg l_gg / m^2``, i and j not in g, m rows left.
    """
    n = len(K)
    size = n // count
    products = (K * L).reshape(count, size, count, size)
    left = products.sum() - 2 * products.sum(axis=(1, 2, 3)) + np.einsum("aiaj->a", products)
    of_k, of_l = (Z.reshape(count, size, n).sum(axis=1) for Z in (K, L))
    own_k, own_l = (np.einsum("aaj->a", Z.reshape(count, count, size)) for Z in (of_k, of_l))
    both = (of_k * of_l).reshape(count, count, size)
    crossed = both.sum(axis=(1, 2)) - np.einsum("aaj->a", both)
    return left - 2 * crossed / (n - size) + own_k * own_l / (n - size) ** 2
