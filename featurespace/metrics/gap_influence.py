"""Which samples make the gap: exact leave-one-out changes, the witness function, and how far a sample lies outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from featurespace.metrics.arrays import as_two_samples
from featurespace.metrics.distances import distance_rounding, squared_distances
from featurespace.metrics.mmd import rbf_matrix
from featurespace.metrics.pairs import pooled, row_blocks
from featurespace.stats.checks import check_counts
from featurespace.stats.resampling import resampling_units


@dataclass(frozen=True, eq=False)
class GapInfluence:
    """What each sample and each group does to an MMD^2.

    Parameters
    ----------
    value : unbiased MMD^2 of all samples, pairs within a group left out
    samples_x, samples_y : (n,) and (m,) value less the value without the sample; above 0 where the sample widens the gap
    groups_x, groups_y : the same for each group, in sorted order of the labels; for each sample where there are no groups
    witness_x, witness_y : (n,) and (m,) mean likeness to the samples of X less that to those of Y, own group left out, in
        [-1, 1]; the most negative of Y lie deepest in what X does not reach
    sigma : width of the kernel, in units of the features
    """

    value: float
    samples_x: np.ndarray
    samples_y: np.ndarray
    groups_x: np.ndarray
    groups_y: np.ndarray
    witness_x: np.ndarray
    witness_y: np.ndarray
    sigma: float


def mmd2_influence(
    X: Any, Y: Any, *, groups_x: Any = None, groups_y: Any = None, sigma: float | None = None
) -> GapInfluence:
    """Exact change of the unbiased MMD^2 of two unpaired samples by each sample and each group, and the witness function.

    Parameters
    ----------
    X : (n, d) array, features of the first sample, one row a sample
    Y : (m, d) array, features of the second sample
    groups_x, groups_y : (n,) and (m,) labels (patients); the same label in X and in Y is taken as two groups
    sigma : width of the kernel, in units of the features; None for the median distance in the pooled sample

    Returns
    -------
    GapInfluence
        Changes are of the order of the value over n; witness values lie in [-1, 1].

    Raises
    ------
    ValueError
        As `mmd2`; if a sample has fewer than 3 groups (3 samples where there are none).

    Notes
    -----
    All from row sums of one kernel: the cost of `mmd2`. The width stays that of all samples. A change tells what the
    value owes to a sample; the witness tells where the sample lies, and depends on the width. They differ: one sample
    (or one patient, whose own pairs do not count) far from all others changes the value little, being as unlike Y as
    it is unlike X, while its witness is near 0 and its p-value small; many that are like each other and unlike X make
    the gap. Without groups the value is the mean of `witness_x` less that of `witness_y`. How far outside of X a
    sample of Y lies, with a calibrated p-value instead of a density, tells `conformal_p_values`. Invariant to
    translation and rotation of both together and, with the median width, to isotropic scale.

    References
    ----------
    Gretton et al. 2012, JMLR 13, 723-773 (witness); Lloyd, Ghahramani 2015, "Statistical model criticism using kernel two
    sample tests", NIPS 28.

    Examples
    --------
    >>> X, Y = np.arange(6.0)[:, None], np.arange(4.0, 8.0)[:, None]
    >>> found = mmd2_influence(X, Y, sigma=3)
    >>> found.samples_x.round(2).tolist()  # those of X that lie among Y narrow the gap
    [0.09, 0.11, 0.08, 0.01, -0.09, -0.19]
    >>> found.witness_y.round(2).tolist()
    [0.0, -0.23, -0.37, -0.41]
    """
    X, Y = as_two_samples(X, Y)
    n = len(X)
    codes = [resampling_units(groups, size)[0] for groups, size in ((groups_x, n), (groups_y, len(Y)))]
    for name, each in zip("XY", codes):
        if each.max() < 2:
            unit = "samples" if groups_x is None and groups_y is None else "groups"
            raise ValueError(f"{name} has {each.max() + 1} {unit}; at least 3 are needed, so that 2 remain without one")
    K, sigma = rbf_matrix(X, Y, sigma)
    sides = [_Side(K[:n, :n], K[:n, n:].sum(axis=1), codes[0]), _Side(K[n:, n:], K[:n, n:].sum(axis=0), codes[1])]
    between = 2 * sides[0].across.sum() / (n * len(Y))
    value = float(sides[0].mean + sides[1].mean - between)
    samples, groups = (
        [
            value - (own.means_without(by) + other.mean - own.between_without(by, other.n))
            for own, other in (sides, sides[::-1])
        ]
        for by in ("sample", "group")
    )
    witness = sides[0].witness - sides[0].across / len(Y), sides[1].across / n - sides[1].witness
    return GapInfluence(value, samples[0], samples[1], groups[0], groups[1], witness[0], witness[1], sigma)


class _Side:
    """Sums of the kernel of one sample over pairs of different groups, and what they are without a sample or group."""

    def __init__(self, K: np.ndarray, across: np.ndarray, codes: np.ndarray) -> None:
        self.n, self.codes, self.sizes, self.across = len(K), codes, np.bincount(codes), across
        self.rows = np.empty(self.n)
        for part in row_blocks(self.n, self.n):
            self.rows[part] = (K[part] * (codes[part, None] != codes)).sum(axis=1)
        self.pairs = self.n**2 - int((self.sizes**2).sum())
        self.mean = self.rows.sum() / self.pairs
        self.witness = self.rows / (self.n - self.sizes[codes])

    def _sums(self, by: str, each: np.ndarray) -> np.ndarray:
        return each if by == "sample" else np.bincount(self.codes, each)

    def means_without(self, by: str) -> np.ndarray:
        """Return the mean over pairs of different groups without each sample or group."""
        size = self.sizes[self.codes] if by == "sample" else self.sizes
        gone = 2 * (self.n - size) * (1 if by == "sample" else size)
        return (self.rows.sum() - 2 * self._sums(by, self.rows)) / (self.pairs - gone)

    def between_without(self, by: str, m: int) -> np.ndarray:
        """Return twice the mean between the samples without each sample or group."""
        left = self.n - (1 if by == "sample" else self.sizes)
        return 2 * (self.across.sum() - self._sums(by, self.across)) / (left * m)


def conformal_p_values(X: Any, Y: Any, *, k: int = 5, groups_x: Any = None) -> np.ndarray:
    """How ordinary each sample of Y is beside the reference X, unpaired, in (0, 1]; small lies far outside of X.

    ``(1 + #{i : s_i >= s}) / (n + 1)``, s the distance of a sample of Y to its k-th neighbour in X, s_i that of sample i of
    X to its k-th neighbour among the rest of X and the sample of Y.

    Parameters
    ----------
    X : (n, d) array, features of the reference sample, one row a sample
    Y : (m, d) array, features of the samples that are judged
    k : neighbours, from 1 to the number of samples of X outside the largest group
    groups_x : (n,) labels (patients); neighbours in the own group do not count

    Returns
    -------
    ndarray
        (m,) p-values, multiples of 1 / (n + 1).

    Raises
    ------
    ValueError
        If k is out of range, widths differ, a sample has fewer than 2 rows, groups do not match the rows, or a value is not
        finite.

    Notes
    -----
    A sample drawn as X was has a p-value at or below any alpha with probability at most alpha, whatever the
    distribution and the dimension (conformal prediction); exact for independent samples, close with groups. The
    p-values of several samples share X and are dependent; Benjamini-Hochberg still holds their false discovery rate.
    Needs no width, unlike the witness of `mmd2_influence`. Cost O(n (n + m) d) time, 32 MiB beside the features.
    Invariant to translation, rotation and isotropic scale of both together.

    References
    ----------
    Laxhammar, Falkman 2015, "Inductive conformal anomaly detection", Annals of Mathematics and AI 74, 67-94 (k-NN score);
    Bates et al. 2023, "Testing for outliers with conformal p-values", arXiv:2104.08279 (false discovery rate).

    Examples
    --------
    >>> X = np.arange(9.0)[:, None]
    >>> conformal_p_values(X, [[4.5], [12.0]], k=1).tolist()
    [1.0, 0.1]
    """
    X, Y = as_two_samples(X, Y)
    n = len(X)
    codes, _, _ = resampling_units(groups_x, n)
    most = n - int(np.bincount(codes).max())
    check_counts(k=k)
    if not 1 <= k <= most:
        raise ValueError(
            f"k is {k}; with {n} samples of X, {most} outside the largest group, it must lie between 1 and {most}"
        )
    Z, _ = pooled(X, Y)
    X, Y = Z[:n], Z[n:]
    nearer, kth = np.zeros(n), np.empty(n)  # distance to the neighbours k - 1 (none is nearer than 0) and k
    for rows in row_blocks(n, n):
        D = squared_distances(X[rows], X)
        D[codes[rows, None] == codes] = np.inf
        D.partition(sorted({max(k - 2, 0), k - 1}), axis=1)
        kth[rows] = D[:, k - 1]
        if k > 1:
            nearer[rows] = D[:, k - 2]
    found = np.empty(len(Y))
    slack = 2 * distance_rounding(Z.shape[1], float(np.vecdot(Z, Z).max()))  # equal but for rounding is equal
    for rows in row_blocks(len(Y), n):
        D = squared_distances(Y[rows], X)
        own = np.partition(D, k - 1, axis=1)[:, k - 1, None]
        # with the sample of Y among the neighbours of X the k-th distance lies between the old two
        found[rows] = (1 + (np.clip(D, nearer, kth) >= own - slack).sum(axis=1)) / (n + 1)
    return found
