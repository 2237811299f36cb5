"""Two unpaired samples: blocks of whole units, and the jackknife over them for any statistic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from featurespace.stats.blocks import unit_blocks
from featurespace.stats.checks import check_counts, check_generator
from featurespace.stats.estimate import Estimate
from featurespace.stats.resampling import jackknife_estimate, resampling_units


def two_sample_blocks(
    n: int, m: int, *, rng: np.random.Generator, groups_x: Any = None, groups_y: Any = None, blocks: int = 20
) -> tuple[np.ndarray, np.ndarray]:
    """Return the block of each sample of X and of Y: whole units, in random order, blocks as even as units allow.

    Parameters
    ----------
    n, m : numbers of samples of X and of Y
    rng : source of randomness
    groups_x, groups_y : (n,) and (m,) labels (patients) kept together; None where each sample is a unit
    blocks : number of blocks; fewer are used where a sample has fewer units

    Returns
    -------
    tuple
        (n,) and (m,) block numbers from 0 on, as many in X as in Y.

    Raises
    ------
    ValueError
        If blocks < 2, a sample has one group, or fewer than 2 samples would remain without a block.

    Notes
    -----
    Cost O(units blocks).

    Examples
    --------
    >>> of_x, of_y = two_sample_blocks(6, 4, rng=np.random.default_rng(0), blocks=2)
    >>> np.bincount(of_x).tolist(), np.bincount(of_y).tolist()
    ([3, 3], [2, 2])
    """
    units = [resampling_units(groups_x, n), resampling_units(groups_y, m)]
    check_counts(blocks=blocks)
    check_generator(rng)
    if blocks < 2:
        raise ValueError(f"blocks is {blocks}; at least 2 are needed, and 5 for an interval")
    least = min(count for _, _, count in units)
    if least < 2:
        raise ValueError("X or Y has only one group; the jackknife leaves whole groups out and needs at least 2 each")
    of_sample = [unit_blocks(codes, blocks=min(blocks, least), rng=rng) for codes, _, _ in units]
    if any(len(each) - np.bincount(each).max() < 2 for each in of_sample):
        raise ValueError("without one block fewer than 2 samples remain in X or Y; more groups are needed")
    return of_sample[0], of_sample[1]


def block_estimate(
    value: float,
    leave_out: Any,
    of_x: np.ndarray,
    of_y: np.ndarray,
    *,
    grouped: bool,
    level: float = 0.95,
    bias_corrected: bool = False,
) -> Estimate:
    """Return the jackknife estimate from a value and the values without each block of `two_sample_blocks`.

    Parameters
    ----------
    value : the statistic of both samples
    leave_out : (B,) the statistic without block j of X and of Y
    of_x, of_y : what `two_sample_blocks` returned
    grouped : whether blocks were made of groups
    level, bias_corrected : as in `jackknife_estimate`

    Returns
    -------
    Estimate
        `n` counts both samples, `n_groups` the blocks.

    Raises
    ------
    ValueError
        As `jackknife_estimate`.

    Examples
    --------
    >>> of_x, of_y = np.arange(6), np.arange(6)
    >>> block_estimate(1.0, [1.1, 0.9, 1.0, 1.2, 0.8, 1.0], of_x, of_y, grouped=False).interval
    'jackknife over 6 blocks'
    """
    sizes = np.bincount(of_x) + np.bincount(of_y)
    unit, n = "group" if grouped else "sample", len(of_x) + len(of_y)
    found = jackknife_estimate(
        value, leave_out, n=n, sizes=sizes, unit=unit, level=level, bias_corrected=bias_corrected
    )
    if found.interval.startswith("none"):
        return found
    return replace(found, interval=f"jackknife over {len(sizes)} blocks{' of groups' if grouped else ''}")


def two_sample_jackknife(
    statistic: Callable[[Any, Any], float],
    X: Any,
    Y: Any,
    *,
    rng: np.random.Generator,
    groups_x: Any = None,
    groups_y: Any = None,
    blocks: int = 20,
    level: float = 0.95,
) -> Estimate:
    """Any statistic of two unpaired samples, with a jackknife interval over blocks of whole units.

    Parameters
    ----------
    statistic : ``f(X, Y) -> float``, e.g. ``energy_distance`` or ``lambda X, Y: prdc(X, Y).coverage``; one that draws
        random numbers must draw the same ones in each call
    X : (n, d) array, features of the first sample, one row a sample
    Y : (m, d) array, features of the second sample
    rng : source of randomness, for the blocks
    groups_x, groups_y : (n,) and (m,) labels (patients) kept together in a block; the same label in X and in Y is
        taken as two groups
    blocks : number of blocks; fewer are used where a sample has fewer units
    level : coverage that the interval aims at

    Returns
    -------
    Estimate
        The statistic itself, and the interval around it. `n` counts both samples, `n_groups` the blocks.

    Raises
    ------
    ValueError
        As the statistic; if a sample has one group, blocks < 2, or a block would leave fewer than 2 samples.

    Notes
    -----
    Block j of X and of Y are left out together: ``blocks + 1`` evaluations of the statistic. Nothing is drawn twice,
    so a statistic of pairs or of neighbours sees no copies, which is where a bootstrap of rows fails. The interval
    is one for what the statistic estimates at this n: a biased statistic keeps its bias (`frechet_distance_corrected`
    removes it). How often a 95 % interval held the mean of the statistic, n = 150, m = 100 (and 40 groups of 4), d = 10, a
    gap and none: sliced Wasserstein 94-99 %, energy distance 94-99 %, CORAL 98-100 %; precision, recall, density and
    coverage 97-100 %, their standard errors 1.1 to 1.8 times what they should be, since neighbours are not smooth; proxy
    A-distance 99-100 %, 1.6 to 2.7 times: take the p-value of `classifier_two_sample_test` there. A maximum or a median
    has no valid jackknife. For MMD, KID and energy distance the exact `mmd2_jackknife` and its sisters cost less.

    References
    ----------
    Busing, Meijer, van der Leeden 1999, "Delete-m jackknife for unequal m", Statistics and Computing 9, 3-8.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, Y = rng.standard_normal((100, 1)) + 3, rng.standard_normal((80, 1))
    >>> found = two_sample_jackknife(lambda X, Y: X.mean() - Y.mean(), X, Y, rng=rng)
    >>> found.ci_low < 3 < found.ci_high, found.interval
    (True, 'jackknife over 20 blocks')
    """
    X, Y = (Z if hasattr(Z, "shape") else np.asarray(Z) for Z in (X, Y))
    of_x, of_y = two_sample_blocks(len(X), len(Y), rng=rng, groups_x=groups_x, groups_y=groups_y, blocks=blocks)
    keep = [(np.flatnonzero(of_x != j), np.flatnonzero(of_y != j)) for j in range(of_x.max() + 1)]
    leave_out = [statistic(X[rows_x], Y[rows_y]) for rows_x, rows_y in keep]
    grouped = groups_x is not None or groups_y is not None
    return block_estimate(statistic(X, Y), leave_out, of_x, of_y, grouped=grouped, level=level)
