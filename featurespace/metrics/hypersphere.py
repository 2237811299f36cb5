"""How features lie on the unit sphere: uniformity, anisotropy, and how near positive pairs are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from featurespace.metrics.arrays import as_features, as_pair, normalised_rows
from featurespace.metrics.pairs import row_blocks, sum_within
from featurespace.stats.blocks import leave_out_estimate
from featurespace.stats.estimate import Estimate, check_level
from featurespace.stats.resampling import resampling_units


def uniformity(X: Any, *, t: float = 2) -> float:
    """Uniformity of features on the unit sphere, in [-4 t, 0]: lower is more uniform, 0 is a single direction.

    ``log mean exp(-t |u - u'|^2)`` over pairs of different samples, u the features at unit length.

    Parameters
    ----------
    X : (n, d) array, features, one row a sample
    t : width of the Gaussian potential, above 0

    Returns
    -------
    float
        In [-4 t, 0]; about -2 t (1 - 1 / d) at best, where d is large.

    Raises
    ------
    ValueError
        If n < 2, a value is not finite, a row is zero, t is not above 0, or every potential leaves the range of float64.

    Notes
    -----
    The mean potential is unbiased (a U-statistic); its log is biased downwards by half of its relative variance, of
    order 1 / n. Cost O(n^2 d) time, 32 MiB beside two copies of the features; n = 10,000, d = 2048 on one core: 4 s; n
    = 50,000, d = 512: 25 s. Invariant to rotation and scale, not to translation. Pairs of one patient raise the value
    (60 patients of 5, d = 20, half of the variance between them: -1.362 for -1.370): `uniformity_jackknife` leaves them
    out.

    References
    ----------
    Wang, Isola 2020, "Understanding contrastive representation learning through alignment and uniformity on the
    hypersphere", arXiv:2005.10242.

    Examples
    --------
    >>> round(uniformity([[1, 0], [-2, 0]]), 9)
    -8.0
    """
    _check_width(t)
    U = _directions(X)
    n = len(U)
    return _log(sum_within(_potential(t), U) / (n * (n - 1)), t)


def uniformity_jackknife(X: Any, *, t: float = 2, groups: Any = None, level: float = 0.95) -> Estimate:
    """Uniformity of features on the unit sphere, in [-4 t, 0], with its jackknife interval, by sample or by group.

    As `uniformity`, and with groups over pairs of samples of different groups only.

    Parameters
    ----------
    X : (n, d) array, features, one row a sample
    t : width of the Gaussian potential, above 0
    groups : (n,) labels (patients) to leave out together; None leaves out samples
    level : coverage that the interval aims at

    Returns
    -------
    Estimate
        Without interval, and with the reason, where fewer than 5 units exist.

    Raises
    ------
    ValueError
        As `uniformity`; if there is one group, groups are not n labels, or level is out of range.

    Notes
    -----
    Every value without a unit is exact, from row sums of the potential. The 95 % interval covers the population's value
    in 95 % (n = 300, d = 20, skewed; 60 groups of 5 likewise). Cost and invariances as `uniformity`, twice the time.

    References
    ----------
    Wang, Isola 2020, arXiv:2005.10242; Busing et al. 1999, Statistics and Computing 9, 3-8 (units of unequal size).

    Examples
    --------
    >>> found = uniformity_jackknife(np.random.default_rng(0).standard_normal((50, 8)))
    >>> found.ci_low < found.value < found.ci_high, found.interval
    (True, 'jackknife')
    """
    check_level(level)
    _check_width(t)
    U = _directions(X)
    n = len(U)
    codes, _, count = resampling_units(groups, n)
    kernel, sums = _potential(t), np.zeros(n)
    for rows in row_blocks(n, n):
        block = kernel(U[rows], U)
        block[codes[rows, None] == codes] = 0
        sums[rows] = block.sum(axis=1)
    return _pair_estimate(np.bincount(codes, sums, minlength=count), codes, groups, level, lambda mean: _log(mean, t))


def anisotropy(X: Any) -> float:
    """Anisotropy of features, the mean cosine of different samples, in [-1 / (n - 1), 1]; 0 is isotropic.

    Parameters
    ----------
    X : (n, d) array, features, one row a sample

    Returns
    -------
    float
        In [-1 / (n - 1), 1]; 1 is a single direction.

    Raises
    ------
    ValueError
        If n < 2, a value is not finite, or a row is zero.

    Notes
    -----
    Unbiased, over all pairs at once: the squared length of the sum of unit vectors, less n, over n (n - 1). Cost O(n
    d); n = 10,000, d = 2048 on one core: 0.7 s. Invariant to rotation and scale, not to translation: centred features
    have about 0 whatever their spectrum. Pairs of one patient raise the value (60 patients of 5, d = 20, half of the
    variance between them: 0.623 for 0.620): `anisotropy_jackknife` leaves them out.

    References
    ----------
    Ethayarajh 2019, "How contextual are contextualized word representations?", arXiv:1909.00512, who draws pairs at
    random.

    Examples
    --------
    >>> anisotropy([[1, 0], [0, 2], [3, 0]]) == 1 / 3
    True
    """
    U = _directions(X)
    n = len(U)
    total = U.sum(axis=0)
    return float((total @ total - np.vecdot(U, U).sum()) / (n * (n - 1)))


def anisotropy_jackknife(X: Any, *, groups: Any = None, level: float = 0.95) -> Estimate:
    """Anisotropy of features, the mean cosine of different samples, with its jackknife interval, by sample or by group.

    As `anisotropy`, and with groups over pairs of samples of different groups only.

    Parameters
    ----------
    X : (n, d) array, features, one row a sample
    groups : (n,) labels (patients) to leave out together; None leaves out samples
    level : coverage that the interval aims at

    Returns
    -------
    Estimate
        Without interval, and with the reason, where fewer than 5 units exist.

    Raises
    ------
    ValueError
        As `anisotropy`; if there is one group, groups are not n labels, or level is out of range.

    Notes
    -----
    Every value without a unit is exact. The 95 % interval covers the population's value in 95 % (n = 300, d = 20,
    skewed; 60 groups of 5 likewise). Cost O(n d). Invariances as `anisotropy`.

    References
    ----------
    Ethayarajh 2019, arXiv:1909.00512; Busing et al. 1999, Statistics and Computing 9, 3-8 (units of unequal size).

    Examples
    --------
    >>> found = anisotropy_jackknife(np.random.default_rng(0).standard_normal((50, 8)) + 1)
    >>> 0.2 < found.ci_low < 0.5 < found.ci_high, found.interval
    (True, 'jackknife')
    """
    check_level(level)
    U = _directions(X)
    codes, _, count = resampling_units(groups, len(U))
    sums = np.zeros((count, U.shape[1]))
    np.add.at(sums, codes, U)
    return _pair_estimate(sums @ sums.sum(axis=0) - np.vecdot(sums, sums), codes, groups, level, float)


def alignment_loss(X: Any, Y: Any, *, alpha: float = 2) -> float:
    """Alignment loss of positive pairs on the unit sphere, in [0, 2^alpha]: 0 is the same direction in every pair.

    ``mean |u - v|^alpha``, u and v the features at unit length of the two views of a sample.

    Parameters
    ----------
    X : (n, d) array, features of one view of each sample
    Y : (n, d) array, features of the other view of the same samples in the same order, from the same model
    alpha : power, above 0

    Returns
    -------
    float
        In [0, 2^alpha]; with alpha = 2 it is 2 - 2 (mean cosine).

    Raises
    ------
    ValueError
        If shapes differ, a value is not finite, a row is zero, or alpha is not above 0.

    Notes
    -----
    A mean over samples, hence unbiased, and `block_jackknife` with groups gives its interval: at 95 % it covers the
    population's value in 94 to 96 % (n = 300, d = 20, skewed; 60 groups of 5 likewise). Cost O(n d). Invariant to scale
    and to a rotation of both together; not to translation. Read beside `uniformity`: features that collapse are
    aligned.

    References
    ----------
    Wang, Isola 2020, arXiv:2005.10242 (alignment; named a loss here, to keep it apart from kernel alignment).

    Examples
    --------
    >>> round(alignment_loss([[1, 0], [0, 3]], [[2, 0], [1, 0]]), 9)
    1.0
    """
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha is {alpha}; the power of the distance is a finite number above 0, e.g. 2")
    X, Y = as_pair(X, Y)
    if X.shape[1] != Y.shape[1]:
        raise ValueError(f"X has {X.shape[1]} columns and Y {Y.shape[1]}; two views are features of one model")
    return float((np.linalg.norm(normalised_rows(X, "X") - normalised_rows(Y, "Y"), axis=1) ** alpha).mean())


def _directions(X: Any) -> np.ndarray:
    X = as_features(X)
    if len(X) < 2:
        raise ValueError(f"X has {len(X)} rows; pairs of different samples need at least 2")
    return normalised_rows(X, "X")


def _check_width(t: float) -> None:
    if not 0 < t < math.inf:
        raise ValueError(f"t is {t}; the width of the potential is a finite number above 0, e.g. 2")


def _potential(t: float) -> Any:
    """Return the kernel exp(-t |u - v|^2) of unit vectors."""

    def kernel(A: np.ndarray, B: np.ndarray) -> np.ndarray:
        K = A @ B.T
        K -= 1
        K *= 2 * t
        return np.exp(K, out=K)

    return kernel


def _log(mean: float, t: float) -> float:
    if mean == 0:
        raise ValueError(
            f"t is {t}: the potential of every pair is below the range of float64; take a smaller t, e.g. 2"
        )
    return math.log(mean)


def _pair_estimate(sums: np.ndarray, codes: np.ndarray, groups: Any, level: float, of_mean: Any) -> Estimate:
    """Return the estimate of a function of a mean over pairs of different units, from each unit's sum with all others."""
    n, sizes = len(codes), np.bincount(codes)
    if len(sizes) < 2:
        raise ValueError("groups are all the same; pairs of samples of different groups need at least 2 groups")
    pairs = sizes * (n - sizes)
    value = of_mean(float(sums.sum() / pairs.sum()))
    remaining = pairs.sum() - 2 * pairs
    leave_out = np.full(len(sizes), np.nan)
    if len(sizes) > 2:
        leave_out = np.array([of_mean(each) for each in (sums.sum() - 2 * sums) / remaining])
    unit = "sample" if groups is None else "group"
    return leave_out_estimate(value, leave_out, n=n, sizes=sizes, unit=unit, level=level)
