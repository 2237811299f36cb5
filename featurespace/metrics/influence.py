"""Which samples, or groups of samples, make two representations differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from featurespace.metrics.alignment import cka_jackknife, debiased_cka
from featurespace.metrics.arrays import as_pair
from featurespace.stats.estimate import Estimate
from featurespace.stats.resampling import resampling_units

TOP = 0.01


@dataclass(frozen=True, eq=False)
class CKAInfluence:
    """Contribution of each sample or group to a debiased CKA.

    Parameters
    ----------
    estimate : the CKA with its jackknife interval
    names : (G,) the units: row numbers, or sorted labels of the groups
    change : (G,) value less the value without the unit; below 0 for units that make the representations differ
    top : (k,) places of the 1 % of units (at least one) that lower the value most, the first most
    top_share : share of all lowering, the sum of the negative changes, that these hold, in [0, 1]; 0 where none lowers
    value_without_top : the value without these
    """

    estimate: Estimate
    names: np.ndarray
    change: np.ndarray
    top: np.ndarray
    top_share: float
    value_without_top: float


def cka_influence(X: Any, Y: Any, *, groups: Any = None, between_groups: bool = False) -> CKAInfluence:
    """Exact contribution of each sample, or group, to the debiased linear CKA of two representations.

    Parameters
    ----------
    X : (n, d1) array, features, one row a sample
    Y : (n, d2) array, features of the same samples in the same order
    groups : (n,) labels (patients) to leave out together; None leaves out samples
    between_groups : leave pairs of samples of one group out of the value, as in `cka_jackknife`

    Returns
    -------
    CKAInfluence
        Exact leave-one-out changes, and what the most influential 1 % hold together.

    Raises
    ------
    ValueError
        As `cka_jackknife`; if there are fewer than 5 units, or the value without one unit, or without the most influential
        ones, is undefined.

    Notes
    -----
    Cost of about four evaluations of `cka`. Changes of single units do not add up: two copies of an image hide each
    other, which is why the value without all of the top is given as well.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 3))
    >>> Y = X.copy()
    >>> Y[7] = -5 * X[7]
    >>> found = cka_influence(X, Y)
    >>> found.top.tolist(), round(found.value_without_top, 9)
    ([7], 1.0)
    """
    X, Y = as_pair(X, Y)
    estimate = cka_jackknife(X, Y, groups=groups, between_groups=between_groups)
    return influence_of_estimate(estimate, X, Y, groups=groups, between_groups=between_groups)


def influence_of_estimate(
    estimate: Estimate, X: Any, Y: Any, *, groups: Any = None, between_groups: bool = False
) -> CKAInfluence:
    """Return what `cka_influence` does, of a CKA that is known; the cost is one evaluation of `cka`."""
    codes, unit, count = resampling_units(groups, len(X))
    names = np.arange(count) if groups is None else np.unique(np.asarray(groups).astype(str))
    if estimate.leave_one_out is None:
        raise ValueError(f"no influence: {estimate.interval.removeprefix('none: ')}")
    change = estimate.value - estimate.leave_one_out
    order = np.argsort(change, kind="stable")
    top = order[: max(1, round(TOP * count))]
    lowering = -change[change < 0].sum()
    share = float(-change[top][change[top] < 0].sum() / lowering) if lowering > 0 else 0.0
    kept = ~np.isin(codes, top)
    rest = None if groups is None else codes[kept]
    try:
        without = debiased_cka(X[kept], Y[kept], groups=rest, between_groups=between_groups)
    except ValueError as error:
        raise ValueError(f"no influence: without the most influential {unit}s, {error}") from None
    return CKAInfluence(estimate, names, change, top, share, without)
