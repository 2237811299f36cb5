"""Jackknife and bootstrap over samples or whole groups."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy import stats

from featurespace.stats.checks import check_counts, check_generator
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
    missing = np.array([is_missing(label) for label in labels.tolist()], dtype=bool)
    if missing.any():
        raise ValueError(
            f"groups has {int(missing.sum())} missing labels, the first in row {int(missing.argmax())}; "
            "give such samples groups of their own"
        )
    if labels.dtype == object:
        labels = labels.astype(str)
    names, codes = np.unique(labels, return_inverse=True)
    return codes, "group", len(names)


def is_missing(label: Any) -> bool:
    """Return whether a label is None, nan, or the missing value of pandas, which is not even unequal to itself."""
    return label is None or type(label).__name__ == "NAType" or bool(label != label)


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
    """Jackknife interval from the values without each unit, ``value +- t se``.

    ``se^2 = (G - 1) / G sum (leave_out_j - mean)^2``; t with ``n^2 / sum m_j^2 - 1`` degrees of freedom, G - 1 for units of
    one size. Simulated with 20 to 60 patients of very unequal size, slices independent or alike: covers 94 to 96 %.

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
    exponent = math.frexp(max(abs(value), float(np.abs(leave_out).max())))[1]
    if abs(exponent) > 400:  # squares could leave float64
        small, left = math.ldexp(value, -exponent), np.ldexp(leave_out, -exponent)
        about: dict[str, Any] = {"n": n, "sizes": sizes, "unit": unit, "level": level, "bias_corrected": bias_corrected}
        return jackknife_estimate(small, left, **about).times_two_to(exponent)
    corrected, variance = jackknife_variance(value, leave_out, sizes)
    centre = corrected if bias_corrected else float(value)
    reason = too_few(count, unit)
    if reason:
        return Estimate.without_interval(centre, n=n, unit=unit, n_groups=count, reason=reason, level=level)
    se = math.sqrt(variance)
    half = float(stats.t.ppf(0.5 + level / 2, degrees_of_freedom(sizes))) * se
    name = "group jackknife" if unit == "group" else "jackknife"
    return Estimate(centre, centre - half, centre + half, se, int(n), unit, count, name, level, leave_out)


def _unit_sizes(sizes: Any, count: int, n: int) -> np.ndarray:
    """Return the unit sizes, all n / G where none are given."""
    if sizes is None:
        return np.full(count, n / max(count, 1))
    sizes = np.asarray(sizes, dtype=float)
    if sizes.shape != (count,) or abs(sizes.sum() - n) > 1e-9 * n:  # equal shares n / G need not sum to n exactly
        raise ValueError(f"sizes has {sizes.size} entries that sum to {sizes.sum():g}; {count} that sum to {n} needed")
    if (sizes >= n).any():
        raise ValueError("one unit holds all samples; nothing remains when it is left out")
    return sizes


def jackknife_variance(value: float, leave_out: np.ndarray, sizes: np.ndarray) -> tuple[float, float]:
    """Return the bias-corrected value and the variance of the jackknife that deletes one unit after the other.

    The correction is that of the delete-m_j jackknife (Busing et al. 1999). The variance is ``(G - 1) / G`` times the sum of
    squared deviations of the leave-outs, which holds whether samples of a unit are independent or alike: that of Busing et
    al. takes a large unit for as many independent samples, and its intervals covered 87 to 89 % with 53 to 60
    unequal patients whose slices resemble each other, where this covers 95 %. For units of one size they are the same.

    Examples
    --------
    >>> corrected, variance = jackknife_variance(2.0, np.array([2.5, 2.0, 1.5]), np.ones(3))
    >>> corrected, round(variance, 6)
    (2.0, 0.333333)
    """
    n, count = sizes.sum(), len(sizes)
    bias = float(((1 - sizes / n) * (leave_out - value)).sum())
    deviations = leave_out - leave_out.mean()
    return float(value) - bias, float((count - 1) / count * np.vdot(deviations, deviations))


def effective_units(sizes: np.ndarray) -> float:
    """Return the number of units of one size that vary as much as these: ``n^2 / sum m_j^2``, at most G.

    Its number less one is the degrees of freedom of a jackknife over units of unequal size, where a few large ones
    make most of the variance.

    Examples
    --------
    >>> effective_units(np.array([5, 5, 5])), round(effective_units(np.array([13, 1, 1])), 2)
    (3.0, 1.32)
    """
    sizes = np.asarray(sizes, dtype=float)
    return float(sizes.sum() ** 2 / np.vdot(sizes, sizes))


def degrees_of_freedom(sizes: np.ndarray) -> float:
    """Return the degrees of freedom of a variance over these units, at least 1."""
    return max(effective_units(sizes) - 1, 1.0)


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
    check_counts(draws=draws)
    check_generator(rng)
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
    "degrees_of_freedom",
    "effective_units",
    "is_missing",
    "jackknife_estimate",
    "jackknife_variance",
    "percentile_estimate",
    "resampling_units",
]
