"""Representational similarity analysis: whether the same samples are far from each other in both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from featurespace.metrics.arrays import as_features, as_pair, centred, normalised_rows, tamed_rows, unit_scaled
from featurespace.metrics.distances import condensed_squared_distances, pairs_with
from featurespace.stats.blocks import leave_out_estimate
from featurespace.stats.estimate import MIN_UNITS, Estimate, check_level
from featurespace.stats.resampling import resampling_units

RDMS = ("correlation", "euclidean", "cosine")
COMPARISONS = ("spearman", "pearson", "cosine")
TIE = 2.0**-40
"""Dissimilarities are ranked as multiples of this share of the largest, some thousand times what rounding leaves."""


def rsa(X: Any, Y: Any, *, rdm: str = "correlation", compare: str = "spearman") -> float:
    """Correlation of the pairwise dissimilarities of paired features, in [-1, 1]; 1 is alike, 0 unrelated.

    Each input gives a representational dissimilarity matrix (RDM) of its samples; the two are compared over the
    n (n - 1) / 2 pairs.

    Parameters
    ----------
    X : (n, d1) array, features, one row a sample
    Y : (n, d2) array, features of the same samples in the same order
    rdm : dissimilarity of two samples: ``"correlation"``, 1 - Pearson over the features, ``"euclidean"``, or
        ``"cosine"``, 1 - cosine
    compare : ``"spearman"`` with mean ranks of ties, ``"pearson"``, or ``"cosine"`` (in [0, 1], and high for any two)

    Returns
    -------
    float
        In [-1, 1] but for rounding.

    Raises
    ------
    ValueError
        If n < 3 (2 for the cosine of RDMs), rows differ in number, a value is not finite, all dissimilarities of an
        input are equal (all 0 for the cosine of RDMs), a name is unknown, a row is constant over the features
        (correlation) or zero (cosine).

    Notes
    -----
    About unbiased at 0 for independent features; noise of the features pulls a true value towards 0.
    Invariant to isotropic scale; with ``"correlation"`` also to one constant added to all features (not to a shift of
    its own for each column) and with ``"euclidean"`` to translation and rotation; ``"cosine"`` also to rotation.
    Dissimilarities are ranked to 12 digits of the largest (multiples of 2^-40), so that rounding hardly ever breaks a
    tie. With d = 2 a correlation RDM holds only 0 and 2.
    Cost O(n^2 (d1 + d2 + log n)): 0.4 s at n = 4000 without ranks, 3 s with; 44 s and
    3.4 GB at n = 10,000 (d1 = d2 = 512, one core). Memory grows as 32 n^2 bytes.

    References
    ----------
    Kriegeskorte, Mur, Bandettini 2008, Frontiers in Systems Neuroscience 2:4.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((30, 4))
    >>> round(rsa(X, 2 * X + 1), 9)
    1.0
    """
    X, Y = as_pair(X, Y)
    first = rsa_ranks(X, "X", rdm=rdm, compare=compare)
    return rsa_from_ranks(first, rsa_ranks(Y, "Y", rdm=rdm, compare=compare))


def rsa_ranks(X: Any, name: str = "X", *, rdm: str = "correlation", compare: str = "spearman") -> np.ndarray:
    """Return one layer's RDM as a vector over pairs, ranked or not and centred as `compare` says, of unit length.

    Raises
    ------
    ValueError
        As `rsa`.
    """
    v = _prepared_rdm(X, name, rdm=rdm, compare=compare)
    if compare == "spearman":
        runs, less, equal = _runs(v)
        v = (less + (equal + 1) / 2)[runs]
    if compare != "cosine":
        v -= v.mean()
    v /= np.linalg.norm(v)
    return v


def rsa_from_ranks(A: np.ndarray, B: np.ndarray) -> float:
    """Return the product of two results of `rsa_ranks`."""
    return float(A @ B)


def dissimilarities(X: Any, name: str = "X", *, rdm: str = "correlation") -> np.ndarray:
    """Return the n (n - 1) / 2 dissimilarities of the samples i < j, row by row; Euclidean ones up to a factor.

    Raises
    ------
    ValueError
        As `rsa`.

    Examples
    --------
    >>> dissimilarities([[1.0, 0.0], [0.0, 2.0], [0.0, 1.0]], rdm="cosine").round(9).tolist()
    [1.0, 1.0, 0.0]
    """
    X = as_features(X, name)
    if rdm not in RDMS:
        raise ValueError(f"rdm {rdm!r} is not known; allowed: {', '.join(RDMS)}")
    if rdm == "euclidean":
        found = condensed_squared_distances(unit_scaled(X, name))
        return np.sqrt(found, out=found)
    if rdm == "correlation":
        constant = (X[:, :1] == X).all(axis=1)
        if constant.any():
            raise ValueError(
                f"{name} has {int(constant.sum())} rows that are constant over the {X.shape[1]} features, the first is "
                f"row {int(constant.argmax())}; a correlation with such a row is undefined: leave it out, or take "
                "rdm='euclidean'"
            )
        X = np.ascontiguousarray(centred(tamed_rows(X).T).T)
    found = condensed_squared_distances(normalised_rows(X, name))  # |u - v|^2 / 2 is 1 - u.v of unit vectors
    found /= 2
    return found


def _prepared_rdm(X: Any, name: str, *, rdm: str, compare: str) -> np.ndarray:
    """Return the dissimilarities, checked, on a grid so coarse that ties but for rounding are ties."""
    if compare not in COMPARISONS:
        raise ValueError(f"compare {compare!r} is not known; allowed: {', '.join(COMPARISONS)}")
    X = as_features(X, name)
    least = 2 if compare == "cosine" else 3
    if len(X) < least:
        raise ValueError(f"{name} has {len(X)} rows; RSA by {compare} is defined from {least} samples on")
    v = dissimilarities(X, name, rdm=rdm)
    largest = v.max()
    if largest == 0 or (compare != "cosine" and largest - v.min() <= TIE * largest):
        raise ValueError(
            f"all {rdm} dissimilarities of {name} are {'0' if largest == 0 else 'equal'}; similarity to such an RDM is "
            "undefined"
        )
    if compare == "spearman":
        np.rint(v * (1 / (TIE * largest)), out=v)
    return v


def _runs(v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the run of equal values that each value belongs to, and for each run how many are less and equal."""
    order = np.argsort(v)
    ordered = v[order]
    new = np.empty(len(v), dtype=bool)
    new[0] = True
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    less = np.flatnonzero(new)
    runs = np.empty(len(v), dtype=np.int64)
    runs[order] = np.cumsum(new) - 1
    return runs, less, np.diff(np.append(less, len(v)))


def rsa_jackknife(
    X: Any,
    Y: Any,
    *,
    groups: Any = None,
    rdm: str = "correlation",
    compare: str = "spearman",
    level: float = 0.95,
) -> Estimate:
    """Correlation of the pairwise dissimilarities of paired features with its jackknife interval.

    Parameters
    ----------
    X : (n, d1) array, features, one row a sample
    Y : (n, d2) array, features of the same samples in the same order
    groups : (n,) labels (patients) to leave out together; None leaves out samples
    rdm, compare : as in `rsa`
    level : coverage that the interval aims at

    Returns
    -------
    Estimate
        Value as `rsa`; without interval, and with the reason, where fewer than 5 units exist, or where the value is
        undefined without some unit.

    Raises
    ------
    ValueError
        As `rsa`, or if groups are not n labels.

    Notes
    -----
    Samples are left out with all their pairs (pairs are not independent: an interval from the number of pairs is far too
    narrow), and each value without a unit is exact, ranks included. Cost O(n^2) a unit: 0.06 s at n = 200, 2 s at n = 500,
    18 s at n = 1000; without ranks O(n) a unit.
    Of intervals aimed at 95 %, n = 200, d = 10, this share covers the limit of many samples (500 simulated pairs each):
    96 % for features whose directions are all or half related, 99 % for independent ones, whose statistic is degenerate
    (standard errors 1.5 times too large). With 60 groups of 5 the expected value at these groups is covered by 96, 98,
    99 %; pairs within a group stay in the value and shift it.

    References
    ----------
    As `rsa`; Busing, Meijer, van der Leeden 1999, Statistics and Computing 9, 3-8 (unequal groups).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((30, 4))
    >>> estimate = rsa_jackknife(X, X + rng.standard_normal((30, 4)))
    >>> estimate.ci_low < estimate.value < estimate.ci_high
    True
    """
    X, Y = as_pair(X, Y)
    check_level(level)
    codes, unit, count = resampling_units(groups, len(X))
    value = rsa(X, Y, rdm=rdm, compare=compare)
    sizes = np.bincount(codes)
    v, w = (_prepared_rdm(Z, name, rdm=rdm, compare=compare) for Z, name in ((X, "X"), (Y, "Y")))
    rows = np.split(np.argsort(codes, kind="stable"), np.cumsum(sizes)[:-1])
    dropped = (pairs_with(each, len(X)) for each in rows)
    without = _without_by_ranks(v, w, dropped) if compare == "spearman" else _without(v, w, dropped, compare)
    leave_out = np.fromiter(without, dtype=float, count=count) if count >= MIN_UNITS else np.empty(0)
    return leave_out_estimate(value, leave_out, n=len(X), sizes=sizes, unit=unit, level=level)


def _without_by_ranks(v: np.ndarray, w: np.ndarray, dropped: Iterable[np.ndarray]) -> Iterator[float]:
    """Yield the Spearman correlation without the dropped pairs, of which each step takes the places."""
    sides = [_runs(v), _runs(w)]
    for places in dropped:
        mean = (len(v) - len(places) + 1) / 2
        ranks = []
        for runs, _, equal in sides:
            left = equal - np.bincount(runs[places], minlength=len(equal))
            of_pair = (np.cumsum(left) - (left - 1) / 2 - mean)[runs]
            of_pair[places] = 0
            ranks.append(of_pair)
        yield _ratio(ranks[0] @ ranks[1], ranks[0] @ ranks[0], ranks[1] @ ranks[1])


def _without(v: np.ndarray, w: np.ndarray, dropped: Iterable[np.ndarray], compare: str) -> Iterator[float]:
    """Yield the Pearson correlation or the cosine without the dropped pairs, from sums over these alone."""
    if compare == "pearson":
        v, w = v - v.mean(), w - w.mean()
    vv, vw, ww = v @ v, v @ w, w @ w
    for places in dropped:
        a, b = v[places], w[places]
        left = len(v) - len(places)
        totals = (a.sum(), b.sum()) if compare == "pearson" and left else (0.0, 0.0)
        mean_v, mean_w = (total / max(left, 1) for total in totals)  # of what is left, up to the sign of both
        yield _ratio(
            vw - a @ b - left * mean_v * mean_w, vv - a @ a - left * mean_v**2, ww - b @ b - left * mean_w**2, vv, ww
        )


def _ratio(vw: float, vv: float, ww: float, scale_v: float = 0.0, scale_w: float = 0.0) -> float:
    """Return vw / sqrt(vv ww), nan where vv or ww is no more than what rounding leaves of its scale."""
    if vv <= 1e-13 * scale_v or ww <= 1e-13 * scale_w:
        return float("nan")
    return float(vw / np.sqrt(vv) / np.sqrt(ww))
