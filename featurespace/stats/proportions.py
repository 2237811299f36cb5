"""Intervals of proportions, with samples in groups."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats

from featurespace.stats.estimate import Estimate, check_level, too_few
from featurespace.stats.resampling import degrees_of_freedom, resampling_units

FEW_GROUPS = 5


def wilson_estimate(hits: Any, *, groups: Any = None, level: float = 0.95) -> Estimate:
    """Share of hits, in [0, 1], with Wilson's interval, n divided by the design effect of the groups.

    Parameters
    ----------
    hits : (n,) booleans
    groups : (n,) labels (patients) of samples that depend on each other; None if samples are independent
    level : coverage that the interval aims at

    Returns
    -------
    Estimate
        Without interval, and with the reason, if there are fewer than 5 units.

    Raises
    ------
    ValueError
        If there are no samples, groups are not n labels or the level is out of range.

    Notes
    -----
    Where fewer than 5 groups hold a hit, or a miss, the design effect is a guess, and a group counts as at least fully
    correlated (so also at 0 and 1). With groups Student's t with G - 1 degrees of freedom. Measured coverage of the 95 %
    interval, 600 repeats a cell, 15 to 100 groups of 3 to 10, shares of 0.7 to 0.98, correlation in a group 0 to 0.8: 92 to
    99 % (77 to 99 % without that rule). Cost O(n log n).

    References
    ----------
    Wilson 1927, JASA 22, 209-212; Korn, Graubard 1998, Survey Methodology 24, 193-201 (design effect).

    Examples
    --------
    >>> found = wilson_estimate([True] * 9 + [False])
    >>> found.value, round(found.ci_low, 3), round(found.ci_high, 3)
    (0.9, 0.596, 0.982)
    """
    check_level(level)
    hits = np.asarray(hits, dtype=bool)
    if hits.ndim != 1 or not len(hits):
        raise ValueError(f"hits have shape {hits.shape}; a share needs (n,) with n >= 1")
    codes, unit, count = resampling_units(groups, len(hits))
    n, sizes, share = len(hits), np.bincount(codes), float(hits.mean())
    reason = too_few(count, unit)
    if reason:
        return Estimate.without_interval(share, n=n, unit=unit, n_groups=count, reason=reason, level=level)
    if unit == "sample":
        effective, name = float(n), "Wilson"
        quantile = float(stats.norm.ppf(0.5 + level / 2))
    else:
        residual = np.bincount(codes, weights=hits - share)
        variance = count / (count - 1) * float(np.square(residual).sum()) / n**2
        effective = n if variance == 0 else min(share * (1 - share) / variance, n)
        if min(len(np.unique(codes[hits])), len(np.unique(codes[~hits]))) < FEW_GROUPS:
            effective = min(effective, n**2 / float(np.square(sizes).sum()))
        name = "Wilson, design effect of groups"
        quantile = float(stats.t.ppf(0.5 + level / 2, degrees_of_freedom(sizes)))
    low, high = wilson_interval(share, effective, quantile)
    se = math.sqrt(share * (1 - share) / effective)
    return Estimate(share, low, high, se, n, unit, count, name, level)


def wilson_interval(share: float, n: float, quantile: float) -> tuple[float, float]:
    """Return Wilson's interval of a share of n observations, n not necessarily whole.

    Examples
    --------
    >>> [round(end, 4) for end in wilson_interval(0.9, 50, 1.959964)]
    [0.7864, 0.9565]
    """
    z2 = quantile**2 / n
    centre = (share + z2 / 2) / (1 + z2)
    half = quantile / (1 + z2) * math.sqrt(share * (1 - share) / n + z2 / (4 * n))
    # at 0 and 1 the ends are the value itself, but for rounding
    return min(centre - half, share), max(centre + half, share)
