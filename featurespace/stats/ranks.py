"""Whether one quantity puts things in the order of another: weighted Kendall's tau, its p and its interval."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations as every_order
from typing import Any

import numpy as np

from featurespace.stats.checks import check_counts, check_generator
from featurespace.stats.effects import stretched_means
from featurespace.stats.estimate import Estimate, check_level
from featurespace.stats.permutation import permutation_p

LEAST = 3  # of two, the order says nothing
EXACT = 6  # up to so many, every order is tried: 720


def weighted_tau(x: Any, y: Any) -> float:
    """Weighted Kendall's tau, in [-1, 1]: 1 where x puts the items in the order of y, 0 on average for unrelated ones.

    Exchanges among the best count more: a pair weighs the sum of 1 / (rank + 1) of its items, and the two results by the ranks of
    x and of y are averaged.

    Parameters
    ----------
    x, y : (n,) values of the same items

    Returns
    -------
    float
        The coefficient.

    Raises
    ------
    ValueError
        If there are fewer than 3 items, numbers differ, a value is not finite, or all values of one are equal.

    References
    ----------
    Vigna 2015, "A weighted correlation index for rankings with ties", WWW '15, 1166-1176.

    Examples
    --------
    >>> weighted_tau([1, 2, 3], [10, 20, 30]), round(weighted_tau([1, 2, 3, 4], [1, 2, 4, 3]), 3)
    (1.0, 0.52)
    """
    x, y = _items(x, "x"), _items(y, "y")
    if len(x) != len(y):
        raise ValueError(f"x has {len(x)} items and y {len(y)}; they must be the same items")
    return float(_taus(x, y[None])[0])


def weighted_tau_permutation(x: Any, y: Any, *, rng: np.random.Generator, permutations: int = 999) -> float:
    """One-sided p-value, in (0, 1], that x puts the items in the order of y no better than chance.

    Parameters
    ----------
    x, y : (n,) values of the same items
    rng : source of randomness
    permutations : random orders tried where there are more than 6 items; of up to 6 all are

    Returns
    -------
    float
        The share of orders of y by which tau is at least as large; with random orders (1 + k) / (1 + B). The least possible is
        1/6 with 3 items, 1/24 with 4, 1/120 with 5.

    Raises
    ------
    ValueError
        As `weighted_tau`.

    Examples
    --------
    >>> weighted_tau_permutation([1, 2, 3, 4], [1, 2, 3, 4], rng=np.random.default_rng(0)) == 1 / 24
    True
    """
    check_generator(rng)
    check_counts(permutations=permutations)
    value = weighted_tau(x, y)
    x, y = _items(x, "x"), _items(y, "y")
    if len(y) <= EXACT:
        null = _taus(x, y[np.array(list(every_order(range(len(y)))))])
        return float(np.mean(null >= value - 1e-12))
    null = _taus(x, np.array([rng.permutation(y) for _ in range(permutations)]))
    return float(permutation_p(value, null))


def weighted_tau_over_runs(
    x: Any, runs: Sequence[Any], *, rng: np.random.Generator, draws: int = 1000, level: float = 0.95
) -> Estimate:
    """`weighted_tau` of x and the means of repeated runs, with an interval over the runs of these items.

    Parameters
    ----------
    x : (n,) values of the items
    runs : for each item the values of its runs
    rng : source of randomness
    draws : of the bootstrap
    level : coverage that the interval aims at

    Returns
    -------
    Estimate
        `n` counts items, `n_groups` runs. Without interval, and with the reason, where an item has one run.

    Raises
    ------
    ValueError
        As `weighted_tau`; if an item has no run, or draws or level is out of range.

    Notes
    -----
    The items are given and x is, too: the interval says how the order would change if the same items were run again, not what other
    items would give. For that, see the p of `weighted_tau_permutation`. Means are drawn with the variance that means of n runs
    have, by sqrt(n / (n - 1)).

    Examples
    --------
    >>> runs = [[0.70, 0.72], [0.75, 0.76], [0.80, 0.84]]
    >>> found = weighted_tau_over_runs([1, 2, 3], runs, rng=np.random.default_rng(0))
    >>> found.value, found.ci_low > 0
    (1.0, True)
    """
    check_generator(rng)
    check_counts(draws=draws)
    check_level(level)
    values = [np.asarray(each, dtype=float).ravel() for each in runs]
    if not all(len(each) for each in values):
        raise ValueError(f"item {[len(each) for each in values].index(0)} has no run; each needs at least one")
    total = sum(map(len, values))
    value = weighted_tau(x, [each.mean() for each in values])
    if min(map(len, values)) < 2:
        return Estimate.without_interval(
            value, n=len(values), unit="run", n_groups=total, reason="an item has 1 run, at least 2 needed", level=level
        )
    means = np.stack([each.mean() + stretched_means(each, rng, draws) for each in values], axis=1)
    found = _taus(_items(x, "x"), np.array([_items(row, "y") for row in means]))
    low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
    name = f"bootstrap over runs, {draws:,} draws"
    return Estimate(value, float(low), float(high), float(found.std(ddof=1)), len(values), "run", total, name, level)


def _taus(x: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Return the coefficient of x and each row of Y at once; `scipy.stats.weightedtau` takes a millisecond a row."""
    total = np.zeros(len(Y))
    X = np.broadcast_to(x, Y.shape)
    for first, second in ((X, Y), (Y, X)):
        best_first = np.lexsort((second, first), axis=-1)[:, ::-1]
        weight = 1 / (1 + np.argsort(best_first, axis=-1))
        concordant, of_x, of_y = np.zeros((3, len(Y)))
        for i in range(len(x) - 1):
            pair = weight[:, i, None] + weight[:, i + 1 :]
            up_x, up_y = (np.sign(Z[:, i, None] - Z[:, i + 1 :]) for Z in (X, Y))
            concordant += (pair * up_x * up_y).sum(axis=1)
            of_x += (pair * up_x**2).sum(axis=1)
            of_y += (pair * up_y**2).sum(axis=1)
        total += concordant / np.sqrt(of_x * of_y)
    return np.clip(total / 2, -1, 1)


def _items(values: Any, name: str) -> np.ndarray:
    found = np.asarray(values, dtype=float).ravel()
    if len(found) < LEAST:
        raise ValueError(f"{name} has {len(found)} items; at least {LEAST} are needed for an order")
    if not np.isfinite(found).all():
        place = int(np.flatnonzero(~np.isfinite(found))[0])
        raise ValueError(f"{name} holds {found[place]} (item {place}); all values must be finite")
    if (found == found[0]).all():
        raise ValueError(f"all {len(found)} items of {name} are {found[0]}; there is no order")
    return found
