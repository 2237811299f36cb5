"""Jackknife and bootstrap over samples or whole groups."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats

from featurespace.stats.estimate import MIN_UNITS, Estimate, check_level, check_unit, too_few


def resampling_units(groups: Any, n: int) -> tuple[np.ndarray, str, int]:
    """Return the unit of each sample as a code, the unit's name and the number of units.

    Parameters
    ----------
    groups : (n,) labels such as patients, or None for one unit a sample
    n : number of samples

    Returns
    -------
    tuple
        (n,) integer codes (sorted order of the labels), ``"group"`` or ``"sample"``, number of units.

    Raises
    ------
    ValueError
        If there are not n labels, or some are missing (None or nan).

    Examples
    --------
    >>> codes, unit, count = resampling_units(["b", "a", "b"], 3)
    >>> codes.tolist(), unit, count
    ([1, 0, 1], 'group', 2)
    """
    if groups is None:
        return np.arange(n), "sample", n
    labels = np.asarray(groups)
    if labels.shape != (n,):
        raise ValueError(f"groups has shape {labels.shape}; it needs one label for each of the {n} samples")
    missing = np.array([label is None or label != label for label in labels.tolist()], dtype=bool)
    if missing.any():
        raise ValueError(
            f"groups has {int(missing.sum())} missing labels, the first in row {int(missing.argmax())}; "
            "give such samples groups of their own"
        )
    if labels.dtype == object:
        labels = labels.astype(str)
    names, codes = np.unique(labels, return_inverse=True)
    return codes, "group", len(names)


def jackknife_estimate(
    value: float,
    leave_out: Any,
    *,
    n: int,
    sizes: Any = None,
    unit: str = "sample",
    level: float = 0.95,
    bias_corrected: bool = False,
) -> Estimate:
    """Jackknife interval from the values without each unit, t quantile with G - 1 degrees of freedom.

    Equal units give the delete-one (delete-m) jackknife; unequal ones the delete-m_j jackknife with pseudo-values
    ``h_j value - (h_j - 1) leave_out_j``, ``h_j = n / m_j``.

    Parameters
    ----------
    value : estimate from all samples
    leave_out : (G,) estimates without unit j
    n : number of samples
    sizes : (G,) samples in each unit; None if all are equal
    unit : ``"sample"`` or ``"group"``
    level : coverage that the interval aims at
    bias_corrected : report the jackknife's bias-corrected value and centre the interval on it

    Returns
    -------
    Estimate
        Without interval, and with the reason, if there are fewer than 5 units.

    Raises
    ------
    ValueError
        If a value is not finite, a unit holds all samples, or sizes do not add up to n.

    Notes
    -----
    Cost O(G). First-order unbiased variance for smooth statistics; not for medians or quantiles.

    References
    ----------
    Busing, Meijer, van der Leeden 1999, "Delete-m jackknife for unequal m", Statistics and Computing 9, 3-8.

    Examples
    --------
    >>> x = np.array([1.0, 2.0, 4.0, 5.0, 8.0])
    >>> round(jackknife_estimate(4.0, (x.sum() - x) / 4, n=5).se, 4), round(float(x.std(ddof=1)) / 5**0.5, 4)
    (1.2247, 1.2247)
    """
    check_level(level)
    check_unit(unit)
    leave_out = np.asarray(leave_out, dtype=float)
    sizes = _unit_sizes(sizes, len(leave_out), n)
    if not (math.isfinite(value) and np.isfinite(leave_out).all()):
        raise ValueError("the jackknife needs finite values; the statistic is undefined with or without some unit")
    count = len(leave_out)
    if count < 2:
        raise ValueError(f"the jackknife needs at least 2 units, not {count}")
    corrected, variance = jackknife_variance(value, leave_out, sizes)
    centre = corrected if bias_corrected else float(value)
    reason = too_few(count, unit)
    if reason:
        return Estimate.without_interval(centre, n=n, unit=unit, n_groups=count, reason=reason, level=level)
    se = math.sqrt(variance)
    half = float(stats.t.ppf(0.5 + level / 2, count - 1)) * se
    name = "group jackknife" if unit == "group" else "jackknife"
    return Estimate(centre, centre - half, centre + half, se, int(n), unit, count, name, level, leave_out)


def _unit_sizes(sizes: Any, count: int, n: int) -> np.ndarray:
    """Return the unit sizes, all n / G where none are given."""
    if sizes is None:
        return np.full(count, n / max(count, 1))
    sizes = np.asarray(sizes, dtype=float)
    if sizes.shape != (count,) or sizes.sum() != n:
        raise ValueError(f"sizes has {sizes.size} entries that sum to {sizes.sum():g}; {count} that sum to {n} needed")
    if (sizes >= n).any():
        raise ValueError("one unit holds all samples; nothing remains when it is left out")
    return sizes


def jackknife_variance(value: float, leave_out: np.ndarray, sizes: np.ndarray) -> tuple[float, float]:
    """Return the bias-corrected value and the variance of the delete-m_j jackknife (Busing et al. 1999).

    Examples
    --------
    >>> corrected, variance = jackknife_variance(2.0, np.array([2.5, 2.0, 1.5]), np.ones(3))
    >>> corrected, round(variance, 6)
    (2.0, 0.333333)
    """
    n, count = sizes.sum(), len(sizes)
    h = n / sizes
    # deviations from the value, not the values themselves: nothing cancels when h is large
    shift = (h - 1) * (leave_out - value)
    bias = float(((1 - sizes / n) * (leave_out - value)).sum())
    return float(value) - bias, float(((bias - shift) ** 2 / (h - 1)).sum() / count)


def bootstrap_weights(groups: Any, n: int, *, draws: int, rng: np.random.Generator) -> np.ndarray:
    """How often each sample occurs in each bootstrap draw; whole groups are drawn where there are groups.

    Parameters
    ----------
    groups : (n,) labels, or None to draw samples
    n : number of samples
    draws : number of bootstrap draws
    rng : source of randomness

    Returns
    -------
    ndarray
        (draws, n) non-negative multiplicities (float64, for the products they go into).

    Raises
    ------
    ValueError
        If draws < 1, or the groups are not n labels.

    Notes
    -----
    Cost O(draws n). For statistics of single samples only: in a statistic of pairs (CKA, MMD) a sample drawn twice
    is its own neighbour, and the interval covers far less than it says; use the jackknife there.

    Examples
    --------
    >>> bootstrap_weights(["a", "a", "b"], 3, draws=2, rng=np.random.default_rng(0)).shape
    (2, 3)
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}; at least 1 is needed, 1000 or more for an interval")
    codes, _, count = resampling_units(groups, n)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=draws).astype(float)
    return drawn if groups is None else drawn[:, codes]


def percentile_estimate(
    value: float,
    replicates: Any,
    *,
    n: int,
    n_groups: int | None = None,
    unit: str = "sample",
    level: float = 0.95,
) -> Estimate:
    """Percentile bootstrap interval of a value from its replicates.

    Parameters
    ----------
    value : estimate from all samples
    replicates : (draws,) bootstrap replicates; those that are nan (undefined in that draw) are left out
    n : number of samples
    n_groups : number of drawn units; None if the unit is the sample
    unit : ``"sample"`` or ``"group"``
    level : coverage that the interval aims at

    Returns
    -------
    Estimate
        Without interval, and with the reason, if units are fewer than 5 or all replicates are equal.

    Raises
    ------
    ValueError
        If fewer than 2 replicates are defined.

    Examples
    --------
    >>> percentile_estimate(1.0, np.ones(100), n=20).interval
    'none: all replicates equal'
    """
    check_level(level)
    check_unit(unit)
    count = n if n_groups is None else n_groups
    replicates = np.asarray(replicates, dtype=float)
    defined = replicates[np.isfinite(replicates)]
    if defined.size < 2:
        raise ValueError(f"{defined.size} of {replicates.size} replicates are defined; an interval needs at least 2")
    reason = too_few(count, unit)
    if not reason and np.ptp(defined) <= 1e-12 * abs(defined[0]):  # equal but for the order of summation
        reason = "all replicates equal"
    if reason:
        return Estimate.without_interval(value, n=n, unit=unit, n_groups=count, reason=reason, level=level)
    low, high = np.quantile(defined, [0.5 - level / 2, 0.5 + level / 2])
    name = "group bootstrap" if unit == "group" else "bootstrap"
    se = float(defined.std(ddof=1))
    return Estimate(float(value), float(low), float(high), se, int(n), unit, count, name, level)


__all__ = [
    "MIN_UNITS",
    "bootstrap_weights",
    "jackknife_estimate",
    "jackknife_variance",
    "percentile_estimate",
    "resampling_units",
]
