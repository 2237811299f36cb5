"""Average precision, for all bootstrap draws at once, and its interval."""

from __future__ import annotations

import numpy as np
from scipy import stats

from featurespace.stats.estimate import Estimate, too_few
from featurespace.stats.proportions import wilson_interval

BLOCK = 2_000_000  # values at a time, so that memory stays below 100 MB whatever n


def weighted_average_precision(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the average precision for each row of weights; nan where a row has no positive.

    ``sum (recall_k - recall_(k-1)) precision_k`` over thresholds, samples of equal score at one threshold, not interpolated.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    found = np.empty(len(weights))
    rows = max(1, BLOCK // len(scores))
    for start in range(0, len(weights), rows):
        drawn = weights[start : start + rows, order]
        total = np.cumsum(drawn, axis=1)[:, last]
        hits = np.cumsum(drawn * positive[order], axis=1)[:, last]
        precision = np.divide(hits, total, out=np.zeros_like(hits), where=total > 0)
        gained = np.einsum("bk,bk->b", np.diff(hits, axis=1, prepend=0.0), precision)
        count = hits[:, -1]
        found[start : start + rows] = np.divide(gained, count, out=np.full(len(count), np.nan), where=count > 0)
    return found


def average_precision_estimate(
    value: float, replicates: np.ndarray, *, n: int, unit: str, counts: tuple[int, int], level: float
) -> Estimate:
    """Return the estimate of an average precision, or of a mean of several, from its bootstrap replicates.

    Wilson's interval with ``value (1 - value) / variance`` observations, and no more than the units with a positive.

    Parameters
    ----------
    value : from all samples
    replicates : (draws,) values of the draws; nan where undefined
    n : samples
    unit : ``"sample"`` or ``"group"``
    counts : number of units, and of units with a positive
    level : coverage that the interval aims at
    """
    units, positive = counts
    reason = too_few(units, unit)
    if not reason and positive < 2:
        reason = f"all positives are in one {unit}"
    if reason:
        return Estimate.without_interval(value, n=n, unit=unit, n_groups=units, reason=reason, level=level)
    variance = float(np.nanvar(replicates, ddof=1))
    effective = min(value * (1 - value) / variance, positive) if variance > 0 else float(positive)
    low, high = wilson_interval(value, effective, float(stats.t.ppf(0.5 + level / 2, positive - 1)))
    name = f"Wilson, {'group ' if unit == 'group' else ''}bootstrap variance"
    return Estimate(value, low, high, variance**0.5, n, unit, units, name, level)
