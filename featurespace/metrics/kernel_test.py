"""What any kernel of the pooled sample gives: the U-statistic, its permutations, and its values without each unit."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from featurespace.stats.estimate import too_few
from featurespace.stats.permutation import permutation_p, permute_units
from featurespace.stats.resampling import jackknife_variance, resampling_units

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
    """A U-centred kernel of the pooled sample, summed over pairs of units.

    Parameters
    ----------
    cells : (U, U) sums of the kernel over pairs of a sample of each unit, those of X first
    sizes : (U,) samples in each unit
    count_x : number of units of X
    unit : ``"sample"`` or ``"group"``
    """

    cells: np.ndarray
    sizes: np.ndarray
    count_x: int
    unit: str

    @property
    def n_x(self) -> int:
        """Samples of X."""
        return int(self.sizes[: self.count_x].sum())

    @property
    def n_y(self) -> int:
        """Samples of Y."""
        return int(self.sizes[self.count_x :].sum())

    @property
    def value(self) -> float:
        """The U-statistic: mean within X and within Y, less twice the mean between."""
        first, second = self.cells[: self.count_x], self.cells[self.count_x :]
        within = first[:, : self.count_x].sum(), second[:, self.count_x :].sum()
        return float(u_statistic(*within, first[:, self.count_x :].sum(), self.n_x, self.n_y))

    def null(self, sides: np.ndarray) -> np.ndarray:
        """Return the value of every permutation, the first side of each in a row of `sides`."""
        smallest = np.sort(self.sizes)
        if smallest[: self.count_x].sum() < 2 or smallest[: len(smallest) - self.count_x].sum() < 2:
            raise ValueError(
                "a permutation of groups can leave one sample on a side; at least 2 groups each are needed"
            )
        Z = sides.T.astype(float)
        within = np.einsum("ub,ub->b", self.cells @ Z, Z)  # rows of the kernel sum to zero: the other two sums follow
        n = self.sizes @ Z
        return u_statistic(within, within, -within, n, self.sizes.sum() - n)

    @property
    def no_leave_outs(self) -> str:
        """Why there are no values without each unit; empty where there are."""
        reason = too_few(min(self.count_x, len(self.sizes) - self.count_x), self.unit)
        largest = self.sizes[: self.count_x].max(), self.sizes[self.count_x :].max()
        if not reason and (self.n_x - largest[0] < 2 or self.n_y - largest[1] < 2):
            return "one group holds nearly all samples"
        return reason

    def leave_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the values without each unit of X, and without each unit of Y."""
        first, second = slice(0, self.count_x), slice(self.count_x, None)
        return self._leave_out(first, second), self._leave_out(second, first)

    def _leave_out(self, own: slice, other: slice) -> np.ndarray:
        n, m = self.sizes[own].sum() - self.sizes[own], self.sizes[other].sum()
        rows = self.cells[own, own].sum(axis=1)
        within = rows.sum() - 2 * rows + np.diag(self.cells[own, own])
        across = self.cells[own, other].sum(axis=1)
        return u_statistic(within, self.cells[other, other].sum(), across.sum() - across, n, m)


def u_statistic(within_x: Any, within_y: Any, between: Any, n: Any, m: Any) -> Any:
    """Return the U-statistic from sums of the kernel over ordered pairs."""
    return within_x / (n * (n - 1)) + within_y / (m * (m - 1)) - 2 * between / (n * m)


def pooled_kernel(K: np.ndarray, n: int, groups_x: Any = None, groups_y: Any = None) -> PooledKernel:
    """Return what the kernel K of the pooled sample, of which the first n rows are X, gives; K is overwritten.

    Adding a_i + a_j to all pairs i != j changes no U-statistic, of any split; with the a_i that make row sums zero the
    statistic of a split z is a multiple of z'Kz, and no digits cancel in it.
    """
    codes_x, _, count_x = resampling_units(groups_x, n)
    codes_y, _, _ = resampling_units(groups_y, len(K) - n)
    np.fill_diagonal(K, 0)
    rows, N = K.sum(axis=0), len(K)
    share = rows / (N - 2) - rows.sum() / (2 * (N - 1) * (N - 2))
    K -= share[:, None]
    K -= share
    np.fill_diagonal(K, 0)
    unit = "sample" if groups_x is None and groups_y is None else "group"
    cells, sizes = _cells(K, np.concatenate([codes_x, codes_y + count_x]))
    return PooledKernel(cells, sizes, count_x, unit)


def _cells(K: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the kernel summed over pairs of units, and the units' sizes."""
    sizes = np.bincount(codes)
    if len(sizes) == len(K):
        order = np.argsort(codes)
        return (K if (order == np.arange(len(K))).all() else K[np.ix_(order, order)]), sizes
    order = np.argsort(codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    half = np.add.reduceat(K[order], starts, axis=0)
    return np.add.reduceat(half[:, order], starts, axis=1), sizes


def kernel_test(
    kernel: PooledKernel, *, rng: np.random.Generator, permutations: int, factor: float = 1.0
) -> dict[str, Any]:
    """Return the fields of a `KernelTest`; `factor` takes values back to the units of the features."""
    sides = permute_units(len(kernel.sizes), kernel.count_x, permutations=permutations, rng=rng)
    value, null = kernel.value, kernel.null(sides)
    # equal splits differ by the order of summation, about 1e-12 of what the statistic varies by
    p_value = permutation_p(value, null, tolerance=1e-9 * max(float(null.std()), abs(value)))
    interval, half, se = "", math.nan, math.nan
    if reason := kernel.no_leave_outs:
        interval = f"none: {reason}"
    else:
        se, freedom = two_sample_se(value, kernel.leave_out(), kernel)
        if se == 0:
            interval, se = "none: all leave-one-out values equal", math.nan
        else:
            interval = "jackknife" if kernel.unit == "sample" else "group jackknife"
            half = float(stats.t.ppf(0.5 + LEVEL / 2, freedom)) * se
    return {
        "value": factor * value, "p_value": p_value, "permutations": permutations, "ci_low": factor * (value - half),
        "ci_high": factor * (value + half), "se": factor * se, "n_x": kernel.n_x, "n_y": kernel.n_y,
        "interval": interval, "unit": kernel.unit, "n_groups": len(kernel.sizes), "null": factor * null,
    }  # fmt: skip


def two_sample_se(value: float, leave_out: tuple[np.ndarray, np.ndarray], kernel: PooledKernel) -> tuple[float, float]:
    """Return the standard error, and the degrees of freedom, from the delete-m_j jackknife of each sample by itself."""
    sizes = kernel.sizes[: kernel.count_x], kernel.sizes[kernel.count_x :]
    variances = [jackknife_variance(value, each, own.astype(float))[1] for each, own in zip(leave_out, sizes)]
    total = sum(variances)
    if total == 0:
        return 0.0, math.nan
    # Welch-Satterthwaite
    freedom = total**2 / sum(variance**2 / (len(each) - 1) for variance, each in zip(variances, leave_out))
    return math.sqrt(total), freedom
