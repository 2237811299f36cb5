"""How the samples of a CKA fall into units that are left out together."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from featurespace.metrics.places import Array, like, run_sums
from featurespace.stats.estimate import too_few
from featurespace.stats.resampling import resampling_units


class Units(NamedTuple):
    """Resampled units; rows are in `order`, so that a unit is a run of rows.

    With `between`, pairs within a unit are left out and each unit counts once, whatever its size.
    """

    order: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    name: str
    between: bool = False

    @property
    def single(self) -> bool:
        """Whether every unit is one sample."""
        return len(self.sizes) == len(self.order)

    @property
    def counted(self) -> int:
        """How many things are drawn: samples, or units where pairs within a unit are left out."""
        return len(self.sizes) if self.between else len(self.order)

    @property
    def roots(self) -> np.ndarray:
        """Return the root of the weight 1 / m of each row of a unit of m rows."""
        return np.repeat(1 / np.sqrt(self.sizes), self.sizes)

    @property
    def no_leave_outs(self) -> str:
        """Why there are no values without each unit; empty where there are."""
        return too_few(len(self.sizes), self.name)

    def sums(self, values: Array, *, axis: int = 0) -> Array:
        """Return the sums over each unit's rows, which lie along ``axis``."""
        return values if self.single else run_sums(values, self.starts, axis=axis)

    def weighted_sums(self, values: Array, *, axis: int = 0) -> Array:
        """Return the sums over each unit's rows, with their root weights where pairs within a unit are left out."""
        if not self.between:
            return self.sums(values, axis=axis)
        shape = [1] * values.ndim
        shape[axis] = -1
        return self.sums(values * like(self.roots.reshape(shape), values), axis=axis)

    def same_as(self, other: Units) -> bool:
        """Whether two layers were prepared with the same samples and groups."""
        return self is other or (
            (self.name, self.between) == (other.name, other.between)
            and np.array_equal(self.order, other.order)
            and np.array_equal(self.sizes, other.sizes)
        )


def cka_units(groups: Any, n: int, *, between: bool = False) -> Units:
    """Return how the rows of a data set fall into units that are left out together; for `prepare_cka`.

    Parameters
    ----------
    groups : (n,) labels (patients), or None for one unit a sample
    n : number of samples
    between : leave pairs of samples of one group out of the value itself; each group then counts once

    Returns
    -------
    Units
        Order of the rows by unit, where each unit starts, and its size.

    Raises
    ------
    ValueError
        If there are not n groups.

    Notes
    -----
    Cost O(n log n), which for text is more than what `prepare_cka` does with a narrow layer.

    Examples
    --------
    >>> units = cka_units(["b", "a", "b"], 3)
    >>> units.order.tolist(), units.sizes.tolist(), units.name
    ([1, 0, 2], [1, 2], 'group')
    """
    codes, name, count = resampling_units(groups, n)
    sizes = np.bincount(codes, minlength=count)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return Units(np.argsort(codes, kind="stable"), starts, sizes, name, between and count < n)
