"""What training leaves of a layer's filters, and how much they differ among themselves: from weights, without images."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from featurespace.metrics.alignment import cka_matrices
from featurespace.metrics.filters import (
    PreparedFilters,
    checked_rows,
    filter_rows,
    prepare_filters,
    prepare_rows,
    reuse_estimate,
)
from featurespace.metrics.similarity import cka
from featurespace.stats.checks import check_counts
from featurespace.stats.estimate import Estimate, check_level
from featurespace.stats.resampling import jackknife_estimate


def feature_reuse(W_before: Any, W_after: Any, *, kernel: str = "rbf", debiased: bool = False) -> float:
    """Likeness of a layer's filters before and after training, 1 for the same: CKA of their rows of in-channels.

    Parameters
    ----------
    W_before : (out, in, ...) array, weights of a convolution or a linear layer; rows are out x h x w, columns in
    W_after : the same shape, weights of the same layer of the other network
    kernel : ``"rbf"`` with sigma^2 the median of the non-zero squared distances of each input, or ``"linear"``
    debiased : Song's unbiased HSIC, 0 on average for unrelated weights; False is the published measure

    Returns
    -------
    float
        At most 1; at least 0 when not debiased.

    Raises
    ------
    ValueError
        If the shapes differ, a value is not finite, there are fewer than 2 rows (4 when debiased), all rows are equal, or
        the kernel is unknown.

    Notes
    -----
    Cost O(n^2 in) time for n = out h w rows, and 8 n^2 bytes four times (0.7 GB for 512 x 512 x 3 x 3, n = 4608).
    Invariant to one permutation of the in-channels of both, to rotation of either, to a constant added to all filters of
    one in-channel and to one factor; not to a permutation of the filters of one network alone.
    The published measure is far from 0 for weights that have nothing in common where rows are not many times the
    in-channels. Of independent normal weights it is 0.63 for 64 x 64 x 1 x 1, 0.16 for 64 x 64 x 3 x 3, 0.002 for 64 x 3 x 7 x 7,
    and 0.63 and 0.16 for 512 x 512 x 1 x 1 and 512 x 512 x 3 x 3; debiased 0.00 for all (means of 20 and 3 repeats).

    References
    ----------
    Jonske et al. 2025, Computer Methods and Programs in Biomedicine, arXiv:2306.17555 (feature reuse: RBF CKA of filters);
    Kornblith et al. 2019, arXiv:1905.00414 (CKA). The median of an even number of distances is the mean of the two in
    the middle here, the lower of them there.

    Examples
    --------
    >>> W = np.random.default_rng(0).standard_normal((16, 3, 3, 3))
    >>> round(feature_reuse(W, 2 * W), 9)
    1.0
    """
    _check_pair(W_before, W_after)
    X, Y = (
        checked_rows(filter_rows(W, name), name, debiased) for W, name in ((W_before, "W_before"), (W_after, "W_after"))
    )
    return cka(X, Y, kernel=kernel, debiased=debiased)


def feature_reuse_jackknife(
    W_before: Any, W_after: Any, *, kernel: str = "rbf", debiased: bool = False, level: float = 0.95
) -> Estimate:
    """`feature_reuse` with a jackknife interval that leaves out filters, an output channel with all its rows at a time.

    Parameters
    ----------
    W_before, W_after, kernel, debiased : as in `feature_reuse`
    level : coverage that the interval aims at

    Returns
    -------
    Estimate
        `n` counts rows, `n_groups` filters. Without interval, and with the reason, where there are fewer than 5 filters or the
        others are constant without one of them.

    Raises
    ------
    ValueError
        As `feature_reuse`, or if level is out of range.

    Notes
    -----
    The interval says how the value varies with the filters that a training happens to make, not from training to training:
    for that, repeat the training. It is about the expectation at this number of filters. Measured coverage of the 95 %
    interval, 300 repeats a cell, 16 to 64 filters with 1 or 9 places, unrelated to nearly the same: 93 to 100 % for 16 and 64
    in-channels, alike or of very unequal size; for 3 in-channels 92 to 99 % alike and 85 to 98 % unequal, least where reuse is
    near 1. It is wider than need be where little is shared.
    Leave-outs are exact, in closed form, the widths of the kernels held. Cost of about three evaluations of `feature_reuse`.

    References
    ----------
    As `feature_reuse`; Busing et al. 1999, Statistics and Computing 9, 3-8 (jackknife).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> W = rng.standard_normal((32, 3, 3, 3))
    >>> found = feature_reuse_jackknife(W, W + 0.5 * rng.standard_normal(W.shape))
    >>> found.ci_low < found.value < found.ci_high, found.n, found.n_groups
    (True, 288, 32)
    """
    _check_pair(W_before, W_after)
    prepared = (
        prepare_filters(W, kernel=kernel, debiased=[debiased], name=name)
        for W, name in ((W_before, "W_before"), (W_after, "W_after"))
    )
    return reuse_estimate(*prepared, debiased=debiased, level=level)


def split_uniqueness(W: Any, *, splits: int = 8, kernel: str = "rbf", debiased: bool = False) -> np.ndarray:
    """Return 1 - CKA of each pair of equal, consecutive splits of a layer's rows; their mean is `feature_uniqueness`.

    Parameters
    ----------
    W, splits, kernel, debiased : as in `feature_uniqueness`

    Returns
    -------
    ndarray
        (splits (splits - 1) / 2,), pairs (0, 1), (0, 2), ... in order. The published figure shows their standard deviation
        (ddof 0).

    Raises
    ------
    ValueError
        As `feature_uniqueness`.

    Examples
    --------
    >>> split_uniqueness(np.random.default_rng(0).standard_normal((16, 3, 3, 3)), splits=4).shape
    (6,)
    """
    parts = _splits(W, splits, debiased)
    return np.array([1 - cka(X, Y, kernel=kernel, debiased=debiased) for X, Y in combinations(parts, 2)])


def feature_uniqueness(W: Any, *, splits: int = 8, kernel: str = "rbf", debiased: bool = False) -> float:
    """How little the parts of a layer's filters resemble each other: 1 - mean CKA of equal splits, near 0 if all alike.

    Parameters
    ----------
    W : (out, in, ...) array, weights of a convolution or a linear layer; rows are out x h x w, columns in
    splits : number of splits of the rows, consecutive and of equal size, each compared with each other one
    kernel : as in `feature_reuse`
    debiased : Song's unbiased HSIC, for which filters drawn independently have 1 on average, whatever their shape

    Returns
    -------
    float
        In [0, 1] when not debiased; may exceed 1 otherwise.

    Raises
    ------
    ValueError
        If splits < 2, the rows cannot be divided by it, a split has fewer than 2 rows (4 when debiased) or equal rows, a value is
        not finite, or the kernel is unknown.

    Notes
    -----
    Rows of two splits are paired by their place, so that where filters divide by the splits, row (filter, y, x) meets row
    (another filter, y, x). The published measure tells shapes apart before it tells weights apart, since CKA of few rows
    with many columns is near 1 for anything: compare it between weights of one shape, or take ``debiased``. Of independent normal
    weights it is 0.98 for 64 x 3 x 7 x 7, 0.40 for 64 x 64 x 3 x 3 and 0.07 for 64 x 64 x 1 x 1 (standard deviation over the pairs
    0.004, 0.009, 0.016); debiased 1.00, 1.00 and 1.01 (means of 20 repeats). Cost O(n^2 in) time and 8 (n / splits)^2 bytes four
    times for n rows.

    References
    ----------
    As `feature_reuse`.

    Examples
    --------
    >>> W = np.random.default_rng(0).standard_normal((64, 3, 7, 7))
    >>> feature_uniqueness(W) > 0.95, feature_uniqueness(W[:, :, :1, :1]) < 0.95
    (True, True)
    """
    return float(split_uniqueness(W, splits=splits, kernel=kernel, debiased=debiased).mean())


def feature_uniqueness_jackknife(
    W: Any, *, splits: int = 8, kernel: str = "rbf", debiased: bool = False, level: float = 0.95
) -> Estimate:
    """`feature_uniqueness` with a jackknife interval that leaves out one filter of each split at a time.

    Parameters
    ----------
    W, splits, kernel, debiased : as in `feature_uniqueness`
    level : coverage that the interval aims at

    Returns
    -------
    Estimate
        `n` counts rows, `n_groups` filters a split. Without interval, and with the reason, where a split has fewer than 5 filters
        or parts of filters.

    Raises
    ------
    ValueError
        As `feature_uniqueness`, or if level is out of range.

    Notes
    -----
    Filters at one place of the splits are left out together, since their rows are paired. The interval is about the
    expectation at this number of filters, were they drawn independently. Measured coverage of the 95 % interval, 300 repeats a
    cell, 64 to 256 filters: 95 to 100 %, in one of 20 cells 91 % (64 x 16 x 3 x 3, filters of very unequal size).

    References
    ----------
    As `feature_reuse_jackknife`.

    Examples
    --------
    >>> found = feature_uniqueness_jackknife(np.random.default_rng(0).standard_normal((64, 3, 3, 3)))
    >>> found.ci_low < found.value < found.ci_high, found.n, found.n_groups
    (True, 576, 8)
    """
    return uniqueness_estimate(W, splits=splits, kernel=kernel, debiased=debiased, level=level)[0]


def uniqueness_estimate(
    W: Any, *, splits: int = 8, kernel: str = "rbf", debiased: bool = False, level: float = 0.95
) -> tuple[Estimate, np.ndarray]:
    """Return `feature_uniqueness_jackknife` and `split_uniqueness`, each split prepared once."""
    check_level(level)
    parts = _splits(W, splits, debiased)
    filters, n = len(W), splits * len(parts[0])
    if filters % splits:
        of_pairs = split_uniqueness(W, splits=splits, kernel=kernel, debiased=debiased)
        reason = f"{filters} filters cannot be divided into {splits} splits of whole filters"
        return Estimate.without_interval(
            of_pairs.mean(), n=n, unit="group", n_groups=filters, reason=reason, level=level
        ), of_pairs
    made = [prepare_rows(X, filters // splits, kernel, [debiased]) for X in parts]
    found = _debiased_pairs(made, level) if debiased else [
        reuse_estimate(A, B, level=level) for A, B in combinations(made, 2)
    ]  # fmt: skip
    of_pairs = np.array([1 - each.value for each in found])
    value = float(of_pairs.mean())
    bare = next((each for each in found if each.interval.startswith("none")), None)
    if bare is not None:
        return replace(bare, value=value, n=n), of_pairs
    leave_out = 1 - np.mean(np.array([each.leave_one_out for each in found]), axis=0)
    return jackknife_estimate(value, leave_out, n=n, unit="group", level=level), of_pairs


def _debiased_pairs(splits: list[PreparedFilters], level: float) -> list[Estimate]:
    """Return debiased CKA of each two splits, all in one pass."""
    layers = [each.debiased for each in splits if each.debiased is not None]
    ((_, estimates),) = cka_matrices([layers], [(0, 0)], level=level)
    found = [estimates[a][b] for a, b in combinations(range(len(layers)), 2)]
    if any(each is None for each in found):
        raise ValueError("a split of W is constant but for at most one row, so debiased CKA with it is undefined")
    return [each for each in found if each is not None]


def _check_pair(W_before: Any, W_after: Any) -> None:
    shapes = [tuple(np.shape(W)) for W in (W_before, W_after)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"W_before has shape {shapes[0]} and W_after {shapes[1]}; reuse is of the same layer, of one shape"
        )


def _splits(W: Any, splits: int, debiased: bool) -> list[np.ndarray]:
    check_counts(splits=splits)
    if splits < 2:
        raise ValueError(f"splits is {splits}; at least 2 are compared, the published measure has 8")
    X = filter_rows(W)
    if len(X) % splits:
        fitting = [each for each in range(2, min(len(X) // 2, 64) + 1) if len(X) % each == 0]
        raise ValueError(
            f"W has {len(X)} rows (out x h x w), which cannot be divided into {splits} equal splits; "
            f"splits that fit: {', '.join(map(str, fitting)) or 'none'}"
        )
    return [checked_rows(each, f"split {i} of W", debiased) for i, each in enumerate(np.split(X, splits))]
