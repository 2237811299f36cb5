"""The area under the ROC curve with an interval that holds near 1 and with few positives."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import stats

from featurespace.stats.blocks import leave_out_estimate
from featurespace.stats.estimate import Estimate
from featurespace.stats.proportions import wilson_interval
from featurespace.stats.resampling import degrees_of_freedom, jackknife_variance, resampling_units

FEW_ERRORS = 5
"""Below this many units on the wrong side the variance that can be seen is not to be trusted, as of any proportion."""


def auc_jackknife(scores: Any, positive: Any, *, groups: Any = None, level: float = 0.95) -> Estimate:
    """Area under the ROC curve, in [0, 1], 0.5 by chance, high is good, with an interval by sample or by group.

    The share of pairs of a positive and a negative in which the positive has the higher score; ties count half.

    Parameters
    ----------
    scores : (n,) array, higher for what is more likely positive
    positive : (n,) booleans, or 0 and 1
    groups : (n,) labels (patients) left out whole; None if samples are independent
    level : coverage that the interval aims at

    Returns
    -------
    Estimate
        With the exact values without each unit, so that `paired_jackknife` compares two models on the same samples. No
        interval, and the reason, with fewer than 5 units, or if one unit holds all positives or all negatives.

    Raises
    ------
    ValueError
        If shapes disagree, a value is not finite, positive is not of 0 and 1, or there are no positives or no negatives.

    Notes
    -----
    Wilson's interval of a proportion with ``AUC (1 - AUC) / variance`` observations, the variance that of the jackknife
    (DeLong's, but for terms of 1 / n; with groups that of Obuchowski), Student's t with m - 1 degrees of freedom, m the units
    of the rarer class. Where m min(AUC, 1 - AUC) < 5, few errors are seen and the variance is often far too small; there no
    more than 2 m observations are counted (the least that a score gives which is right or blind), also at AUC = 1.
    Measured coverage, 800 repeats, 5 to 100 positives, 10 to 400 negatives, AUC 0.6 to 0.99, normal scores of
    equal and of threefold deviation and scores that miss some positives entirely: 92 to 100 %, most where errors are few
    (DeLong: 38 to 95 %; on the logit scale 76 to 98 %). Groups of 5, 10 to 60 a class: 94 to 100 %; 40 groups of geometric size or
    of Pareto's from 1 to 140, AUC 0.7 to 0.97: 94 to 100 %, most where the samples of a group are independent. Invariant to
    monotone maps of the scores. Cost O(n log n): 0.04 s at n = 50,000.

    References
    ----------
    DeLong, DeLong, Clarke-Pearson 1988, Biometrics 44, 837-845; Obuchowski 1997, Biometrics 53, 567-578 (groups); Wilson
    1927, JASA 22, 209-212. The bound on the number of observations is ours.

    Examples
    --------
    >>> found = auc_jackknife([0.1, 0.2, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9], [0, 0, 0, 0, 1, 1, 1, 1])
    >>> found.value, round(found.ci_low, 2), round(found.ci_high, 2)
    (0.9375, 0.55, 0.99)
    """
    scores, labels = np.asarray(scores, dtype=float), np.asarray(positive)
    if scores.ndim != 1 or labels.shape != scores.shape:
        raise ValueError(f"scores have shape {scores.shape} and positive {labels.shape}; both are (n,)")
    if not np.isfinite(scores).all():
        raise ValueError(f"scores have {int((~np.isfinite(scores)).sum())} values that are not finite")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError(f"positive has the value {labels[~np.isin(labels, (0, 1))][0]!s}; allowed are 0 and 1")
    labels = labels.astype(bool)
    codes, unit, _ = resampling_units(groups, len(labels))
    if labels.all() or not labels.any():
        missing = "negatives" if labels.all() else "positives"
        raise ValueError(f"there are no {missing} among {len(labels)} samples, so that the AUC is undefined")
    value, leave_out = auc_leave_outs(scores, labels, codes)
    rarer = min(len(np.unique(codes[labels])), len(np.unique(codes[~labels])))
    found = leave_out_estimate(value, leave_out, n=len(labels), sizes=np.bincount(codes), unit=unit, level=level)
    return found if found.interval.startswith("none") else auc_interval(found, np.bincount(codes), rarer)


def auc_leave_outs(scores: np.ndarray, positive: np.ndarray, codes: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the AUC and the (G,) values without each unit, nan where no positive or no negative remains.

    Examples
    --------
    >>> auc_leave_outs(np.array([1.0, 2.0, 3.0]), np.array([False, True, True]), np.arange(3))[1].tolist()
    [nan, 1.0, 1.0]
    """
    ordered = stats.rankdata(scores, method="dense")
    won = np.where(positive, _below(ordered, ordered[~positive]), _below(-ordered, -ordered[positive]))
    inside = stats.rankdata(codes * (len(scores) + 1.0) + ordered)  # ranks in a unit, after those of the units before
    sizes, ones = np.bincount(codes), np.bincount(codes, weights=positive)
    inside -= np.append(0, np.cumsum(sizes))[codes]
    own = np.bincount(codes, weights=inside * positive) - ones * (ones + 1) / 2
    total, count = float(won[positive].sum()), int(positive.sum())
    pairs = (count - ones) * (len(scores) - count - (sizes - ones))
    rest = total - np.bincount(codes, weights=won) + own
    left_out = np.divide(rest, pairs, out=np.full(len(sizes), np.nan), where=pairs > 0)
    return total / (count * (len(scores) - count)), left_out


def _below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return how many of the others lie below each value, those equal counted half."""
    others = np.sort(others)
    return (np.searchsorted(others, values, "left") + np.searchsorted(others, values, "right")) / 2


def auc_interval(found: Estimate, sizes: np.ndarray, rarer: int) -> Estimate:
    """Return the estimate of an AUC or a mean of AUCs with the interval of `auc_jackknife`.

    Parameters
    ----------
    found : jackknife estimate
    sizes : (G,) samples in each unit
    rarer : units of the rarer class
    """
    value, leave_out = found.value, np.asarray(found.leave_one_out)
    _, variance = jackknife_variance(value, leave_out, np.asarray(sizes, dtype=float))
    effective = value * (1 - value) / variance if variance > 0 else math.inf
    name = f"Wilson, {found.interval}"
    if rarer * min(value, 1 - value) < FEW_ERRORS:
        quantile = float(stats.norm.ppf(0.5 + found.level / 2))
        if 2 * rarer < effective:
            effective, name = 2.0 * rarer, "Wilson, few errors"
    else:
        quantile = float(stats.t.ppf(0.5 + found.level / 2, min(rarer - 1, degrees_of_freedom(sizes))))
    if math.isinf(effective):  # half of the pairs in every way: no variance, and no bound
        return replace(
            found, interval="none: every unit left out gives the same value", ci_low=math.nan, ci_high=math.nan
        )
    low, high = wilson_interval(value, effective, quantile)
    return replace(found, ci_low=low, ci_high=high, interval=name)
