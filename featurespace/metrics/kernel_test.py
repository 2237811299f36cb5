"""What any kernel of the pooled sample gives: the U-statistic, its permutations, and its values without each unit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from featurespace.metrics.arrays import to_scale
from featurespace.metrics.places import Array, fill_diagonal, library, like, run_sums, to_numpy
from featurespace.stats.estimate import Estimate, check_level, too_few
from featurespace.stats.permutation import permutation_p, permute_units
from featurespace.stats.resampling import degrees_of_freedom, jackknife_variance, resampling_units

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class KernelTest:
    """An unbiased distance from a kernel, with its permutation p-value and jackknife interval.

    Parameters
    ----------
    value : the U-statistic; may be negative
    p_value : (1 + k) / (1 + permutations)
    permutations : number of random permutations
    ci_low, ci_high, se : interval and standard error; nan where there is none
    n_x, n_y : samples of X and Y
    interval : how the interval was made, or why there is none
    unit : what was permuted and left out, ``"sample"`` or ``"group"``
    n_groups : number of such units in the pooled sample
    level : coverage that the interval aims at
    null : (permutations,) values of the permutations, for `max_t` over layers; the same rng draws the same permutations
    """

    value: float
    p_value: float
    permutations: int
    ci_low: float
    ci_high: float
    se: float
    n_x: int
    n_y: int
    interval: str
    unit: str
    n_groups: int
    level: float = LEVEL
    null: np.ndarray = field(repr=False, compare=False)


@dataclass(frozen=True)
class PooledKernel:
    """A kernel of the pooled sample, summed over pairs of units.

    Parameters
    ----------
    cells : (U, U) sums of the kernel over pairs of a sample of each unit, those of X first
    sizes : (U,) samples in each unit
    count_x : number of units of X
    unit : ``"sample"`` or ``"group"``
    across : whether pairs within a unit are left out, as they must be for an unbiased value where units are dependent
        inside; otherwise all pairs of different samples count
    """

    cells: Array
    sizes: np.ndarray
    count_x: int
    unit: str
    across: bool = False

    @property
    def n_x(self) -> int:
        """Samples of X."""
        return int(self.sizes[: self.count_x].sum())

    @property
    def n_y(self) -> int:
        """Samples of Y."""
        return int(self.sizes[self.count_x :].sum())

    @property
    def _excluded(self) -> np.ndarray:
        """Ordered pairs within each unit that do not count."""
        return self.sizes**2 if self.across else self.sizes

    @property
    def value(self) -> float:
        """The U-statistic: mean within X and within Y, less twice the mean between."""
        x, y = slice(0, self.count_x), slice(self.count_x, None)
        pairs = [self.sizes[side].sum() ** 2 - self._excluded[side].sum() for side in (x, y)]
        within = float(self.cells[x, x].sum()) / pairs[0] + float(self.cells[y, y].sum()) / pairs[1]
        return float(within - 2 * float(self.cells[x, y].sum()) / (self.n_x * self.n_y))

    def null(self, sides: np.ndarray) -> np.ndarray:
        """Return the value of every permutation, the first side of each in a row of `sides`."""
        smallest = np.sort(self.sizes)
        if smallest[: self.count_x].sum() < 2 or smallest[: len(smallest) - self.count_x].sum() < 2:
            raise ValueError(
                "a permutation of groups can leave one sample on a side; at least 2 groups each are needed"
            )
        Z = like(sides.T.astype(float), self.cells)
        within = to_numpy(library(Z).einsum("ub,ub->b", self.cells @ Z, Z))  # rows of the kernel sum to zero: the
        n = self.sizes @ sides.T  # other two sums follow
        m = self.sizes.sum() - n
        return within / (n * (n - 1)) + within / (m * (m - 1)) + 2 * within / (n * m)

    @property
    def no_leave_outs(self) -> str:
        """Why there are no values without each unit; empty where there are."""
        return too_few(min(self.count_x, len(self.sizes) - self.count_x), self.unit)

    def leave_outs(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the values without each unit of X, and without each unit of Y; empty where there are none."""
        if self.no_leave_outs:
            return np.empty(0), np.empty(0)
        first, second = slice(0, self.count_x), slice(self.count_x, None)
        return self._leave_out(first, second), self._leave_out(second, first)

    def _leave_out(self, own: slice, other: slice) -> np.ndarray:
        excluded = self._excluded
        n, m = self.sizes[own].sum() - self.sizes[own], self.sizes[other].sum()
        pairs = n**2 - (excluded[own].sum() - excluded[own])
        rows = to_numpy(self.cells[own, own].sum(axis=1))
        within = (rows.sum() - 2 * rows + to_numpy(self.cells[own, own].diagonal())) / pairs
        across = to_numpy(self.cells[own, other].sum(axis=1))
        rest = float(self.cells[other, other].sum()) / (m**2 - excluded[other].sum())
        return within + rest - 2 * (across.sum() - across) / (n * m)


def pooled_kernel(K: Array, n: int, groups_x: Any = None, groups_y: Any = None) -> PooledKernel:
    """Return what the kernel K of the pooled sample, of which the first n rows are X, gives; K is overwritten.

    Adding a_i + a_j to all pairs i != j changes no U-statistic, of any split; with the a_i that make row sums zero the
    statistic of a split z is a multiple of z'Kz, and no digits cancel in it.
    """
    fill_diagonal(K, 0)
    rows, N = K.sum(axis=0), len(K)
    share = rows / (N - 2) - rows.sum() / (2 * (N - 1) * (N - 2))
    K -= share[:, None]
    K -= share
    fill_diagonal(K, 0)
    return PooledKernel(*_units(K, n, groups_x, groups_y))


def pooled_kernel_across(K: Array, n: int, groups_x: Any = None, groups_y: Any = None) -> PooledKernel:
    """Return the same without the pairs within a group; K is overwritten.

    Raises
    ------
    ValueError
        If a sample has one group.
    """
    fill_diagonal(K, 0)
    cells, sizes, count_x, unit = _units(K, n, groups_x, groups_y)
    if min(count_x, len(sizes) - count_x) < 2:
        raise ValueError("X or Y has only one group; pairs of samples of different groups need at least 2 each")
    fill_diagonal(cells, 0)
    return PooledKernel(cells, sizes, count_x, unit, across=True)


def _units(K: Array, n: int, groups_x: Any, groups_y: Any) -> tuple[Array, np.ndarray, int, str]:
    """Return the kernel by pairs of units, the units' sizes, how many are of X, and their name."""
    codes_x, _, count_x = resampling_units(groups_x, n)
    codes_y, _, _ = resampling_units(groups_y, len(K) - n)
    cells, sizes = _cells(K, np.concatenate([codes_x, codes_y + count_x]))
    return cells, sizes, count_x, "sample" if groups_x is None and groups_y is None else "group"


def _cells(K: Array, codes: np.ndarray) -> tuple[Array, np.ndarray]:
    """Return the kernel summed over pairs of units, and the units' sizes."""
    sizes = np.bincount(codes)
    if len(sizes) == len(K):
        order = np.argsort(codes)
        return (K if (order == np.arange(len(K))).all() else K[order][:, order]), sizes
    order = np.argsort(codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    half = run_sums(K[order], starts)
    return run_sums(half[:, order], starts, axis=1), sizes


def kernel_test(
    kernel: PooledKernel, *, rng: np.random.Generator, permutations: int, exponent: int = 0
) -> dict[str, Any]:
    """Return the fields of a `KernelTest`; two to the exponent takes values back to the units of the features."""
    sides = permute_units(len(kernel.sizes), kernel.count_x, permutations=permutations, rng=rng)
    value, null = kernel.value, kernel.null(sides)
    # equal splits differ by the order of summation, about 1e-12 of what the statistic varies by
    p_value = permutation_p(value, null, tolerance=1e-9 * max(float(null.std()), abs(value)))
    found = kernel_estimate(kernel, level=LEVEL, exponent=exponent)
    return {
        "value": found.value, "p_value": p_value, "permutations": permutations, "ci_low": found.ci_low,
        "ci_high": found.ci_high, "se": found.se, "n_x": kernel.n_x, "n_y": kernel.n_y, "interval": found.interval,
        "unit": kernel.unit, "n_groups": len(kernel.sizes), "null": to_scale(null, exponent),
    }  # fmt: skip


def kernel_estimate(kernel: PooledKernel, *, level: float, exponent: int = 0) -> Estimate:
    """Return the value with its jackknife interval; two to the exponent takes it back to the units of the features."""
    check_level(level)
    return two_sample_estimate(kernel.value, kernel.leave_outs(), kernel, level)[0].times_two_to(exponent)


def two_sample_estimate(
    value: float, leave_out: Sequence[np.ndarray], like: PooledKernel, level: float
) -> tuple[Estimate, float]:
    """Return a value with its interval from the values without each unit of X and of Y, and the two-sided p of zero.

    The jackknife variances of the two samples add up (Welch-Satterthwaite degrees of freedom).
    """
    n, unit, count = like.n_x + like.n_y, like.unit, len(like.sizes)
    reason = like.no_leave_outs
    if not reason:
        se, freedom = two_sample_se(value, leave_out, like)
        reason = "" if se > 0 else "all leave-one-out values equal"
    if reason:
        bare = Estimate.without_interval(value, n=n, unit=unit, n_groups=count, reason=reason, level=level)
        same = not like.no_leave_outs and value == 0
        return bare, 1.0 if same else math.nan
    half = float(stats.t.ppf(0.5 + level / 2, freedom)) * se
    name = "group jackknife" if unit == "group" else "jackknife"
    found = Estimate(value, value - half, value + half, se, n, unit, count, name, level, np.concatenate(leave_out))
    return found, float(2 * stats.t.sf(abs(value) / se, freedom))


def two_sample_se(value: float, leave_out: Sequence[np.ndarray], kernel: PooledKernel) -> tuple[float, float]:
    """Return the standard error, and the degrees of freedom, from the jackknife of each sample by itself."""
    sizes = kernel.sizes[: kernel.count_x], kernel.sizes[kernel.count_x :]
    variances = [jackknife_variance(value, each, own.astype(float))[1] for each, own in zip(leave_out, sizes)]
    total = sum(variances)
    if total == 0:
        return 0.0, math.nan
    # Welch-Satterthwaite
    freedom = 1 / sum((variance / total) ** 2 / degrees_of_freedom(own) for variance, own in zip(variances, sizes))
    return math.sqrt(total), freedom
