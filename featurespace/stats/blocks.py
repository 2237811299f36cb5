"""The jackknife over blocks of units, for any statistic of paired arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from featurespace.stats.checks import check_counts, check_generator
from featurespace.stats.estimate import Estimate, check_level, too_few
from featurespace.stats.resampling import jackknife_estimate, resampling_units


def leave_out_estimate(
    value: float, leave_out: np.ndarray, *, n: int, sizes: np.ndarray, unit: str, level: float
) -> Estimate:
    """Return the jackknife estimate, or one without interval where there are few units or some leave-out is undefined.

    Parameters
    ----------
    value : estimate from all samples
    leave_out : (G,) estimates without unit j, nan where undefined
    n : number of samples
    sizes : (G,) samples in each unit
    unit : ``"sample"`` or ``"group"``
    level : coverage that the interval aims at

    Returns
    -------
    Estimate

    Raises
    ------
    ValueError
        If the level is out of range.

    Examples
    --------
    >>> nothing = np.array([1.0, 1.0, np.nan, 1.0, 1.0])
    >>> leave_out_estimate(1.0, nothing, n=5, sizes=np.ones(5), unit="sample", level=0.95).interval
    'none: the value is undefined when one sample is left out'
    """
    check_level(level)
    reason = too_few(len(sizes), unit)
    if not reason and not np.isfinite(leave_out).all():
        reason = f"the value is undefined when one {unit} is left out"
    if reason:
        count = len(sizes)
        return Estimate.without_interval(value, n=n, unit=unit, n_groups=count, reason=reason, level=level)
    return jackknife_estimate(value, leave_out, n=n, sizes=sizes, unit=unit, level=level)


def unit_blocks(codes: np.ndarray, *, blocks: int, rng: np.random.Generator) -> np.ndarray:
    """Return the block of each sample: whole units, in random order, blocks as even as the units allow.

    Parameters
    ----------
    codes : (n,) unit of each sample, 0 to G - 1, as from `resampling_units`
    blocks : number of blocks, 2 to G
    rng : source of randomness

    Returns
    -------
    ndarray
        (n,) integers from 0 to blocks - 1; every block holds a unit.

    Raises
    ------
    ValueError
        If blocks is out of range.

    Notes
    -----
    Cost O(n + G (log G + blocks)): large units first, each to the smallest block.

    Examples
    --------
    >>> unit_blocks(np.array([0, 0, 0, 1, 2, 2]), blocks=2, rng=np.random.default_rng(0)).tolist()
    [0, 0, 0, 1, 1, 1]
    """
    sizes = np.bincount(codes)
    check_counts(blocks=blocks)
    check_generator(rng)
    if not 2 <= blocks <= len(sizes):
        raise ValueError(f"blocks is {blocks}; with {len(sizes)} units it must lie between 2 and {len(sizes)}")
    order = rng.permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    of_unit, filled = np.empty(len(sizes), dtype=np.int64), np.zeros(blocks)
    for unit in order:
        of_unit[unit] = filled.argmin()
        filled[of_unit[unit]] += sizes[unit]
    return of_unit[codes]


def block_jackknife(
    statistic: Callable[..., float],
    arrays: Sequence[Any],
    *,
    rng: np.random.Generator,
    groups: Any = None,
    blocks: int = 20,
    level: float = 0.95,
) -> Estimate:
    """Jackknife interval of any smooth statistic of paired arrays, leaving out one block of units after the other.

    Parameters
    ----------
    statistic : ``f(*arrays) -> float``
    arrays : arrays of n rows each; row i of all of them is the same sample
    rng : source of randomness, for the blocks
    groups : (n,) labels (patients) kept together in a block; None takes samples
    blocks : number of blocks; fewer are used where there are fewer units
    level : coverage that the interval aims at

    Returns
    -------
    Estimate
        `n_groups` counts the blocks, in whose order `leave_one_out` comes. Without interval, and with the reason, where
        there are fewer than 5 units, or the statistic is undefined (ValueError, or not finite) without some block.

    Raises
    ------
    ValueError
        If there are no arrays, their rows differ in number, blocks < 5, groups are not n labels, or the level is out of
        range; and what the statistic raises for all samples.

    Notes
    -----
    Costs one evaluation a block and one for the value. Valid where (1) the statistic is smooth in the weights of the
    samples: means, correlations, traces, distances away from 0, not medians or nearest neighbours; (2) units are
    independent; (3) a block is a small part of n, so that the statistic's dependence on n (its bias, as of canonical
    correlations with d near n) differs little between n and n (1 - 1/blocks): the bias enters each leave-out alike
    and not the variance. The interval is about the statistic's expectation at this n; bias against the limit of many
    samples stays in it. With B blocks the t quantile has B - 1 degrees of freedom.

    References
    ----------
    Shao, Wu 1989, Annals of Statistics 17, 1176-1197 (delete-d); Busing, Meijer, van der Leeden 1999, Statistics and
    Computing 9, 3-8 (unequal blocks).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 1))
    >>> found = block_jackknife(lambda Z: float(Z.mean()), [X], rng=rng)
    >>> found.ci_low < 0 < found.ci_high, found.n_groups
    (True, 20)
    """
    check_level(level)
    arrays = [each if hasattr(each, "shape") else np.asarray(each) for each in arrays]
    if not arrays or any(len(each) != len(arrays[0]) for each in arrays):
        raise ValueError(
            f"arrays have {[len(each) for each in arrays]} rows; at least one is needed, all of the same n"
        )
    check_counts(blocks=blocks)
    check_generator(rng)
    if blocks < 5:
        raise ValueError(f"blocks is {blocks}; at least 5 are needed for an interval, 20 for a steady one")
    n = len(arrays[0])
    codes, unit, count = resampling_units(groups, n)
    value = float(statistic(*arrays))
    reason = too_few(count, unit)
    if reason:
        return Estimate.without_interval(value, n=n, unit=unit, n_groups=count, reason=reason, level=level)
    of_sample = unit_blocks(codes, blocks=min(blocks, count), rng=rng)
    sizes = np.bincount(of_sample)
    leave_out = np.array([_without(statistic, arrays, of_sample != block) for block in range(len(sizes))])
    found = leave_out_estimate(value, leave_out, n=n, sizes=sizes, unit=unit, level=level)
    if found.interval.startswith("none"):
        return replace(found, interval=f"none: the value is undefined when one block of {unit}s is left out")
    return replace(found, interval=f"jackknife over {len(sizes)} blocks{' of groups' if unit == 'group' else ''}")


def _without(statistic: Callable[..., float], arrays: Sequence[Any], kept: np.ndarray) -> float:
    """Return the statistic of the kept rows, nan where it refuses them."""
    try:
        return float(statistic(*(each[kept] for each in arrays)))
    except ValueError:
        return float("nan")
