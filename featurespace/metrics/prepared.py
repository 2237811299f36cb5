"""What CKA needs of one layer, made once: centred features or a kernel, in the order of the resampled units."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from featurespace.metrics.arrays import as_features, centred, tamed
from featurespace.metrics.kernels import linear_kernel, rbf_kernel, u_centred
from featurespace.metrics.units import Units, cka_units

KERNELS = ("linear", "rbf")


@dataclass(eq=False)
class PreparedCKA:
    """A layer's centred features for CKA; made by `prepare_cka`.

    Rows are sorted by unit and scaled to a mean square length of 1; where pairs within a unit are left out, they bear
    the root of their weight, so that a product of two kernels bears the weight of both rows. Held per layer: the
    features and O(n) sums.
    """

    X: np.ndarray
    units: Units
    norms: np.ndarray = field(init=False)  # a_i = |x_i|^2
    rows: np.ndarray = field(init=False)  # r_i, row sums of the kernel without its diagonal, or without the own unit

    def __post_init__(self) -> None:
        self.norms = np.vecdot(self.X, self.X)
        if self.units.between:
            self.rows = self.X @ self.unit_sums.sum(axis=0) - self.to_unit
        else:
            self.rows = self.X @ self.X.sum(axis=0) - self.norms

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.X)

    @property
    def width(self) -> int:
        """Columns of the features: what a row of the kernel costs."""
        return self.X.shape[1]

    @cached_property
    def unit_sums(self) -> np.ndarray:
        """S_g, the sum of each unit's rows; their mean where each unit counts once."""
        return self.units.weighted_sums(self.X)

    @cached_property
    def to_unit(self) -> np.ndarray:
        """Return x_j . S_g for each row j and its own unit g."""
        if self.units.single:
            return self.norms
        return np.vecdot(self.X, np.repeat(self.unit_sums, self.units.sizes, axis=0))

    @cached_property
    def own_unit(self) -> np.ndarray:
        """|S_g|^2 of each unit."""
        return np.vecdot(self.unit_sums, self.unit_sums)

    @cached_property
    def within(self) -> np.ndarray:
        """Kernels within units, diagonals zero, unit after unit: sum of m_g^2 numbers."""
        blocks = []
        for start, size in zip(self.units.starts, self.units.sizes):
            block = self.X[start : start + size] @ self.X[start : start + size].T
            np.fill_diagonal(block, 0.0)
            blocks.append(block.ravel())
        return np.concatenate(blocks)

    def side(self, name: str) -> np.ndarray:
        """Return the features of the ``"rows"`` or of the ``"units"``."""
        return self.X if name == "rows" else self.unit_sums

    def kernel(self, left: str, right: str, part: slice, out: np.ndarray) -> None:
        """Write the part of the kernel's rows: inner products of rows or units on the left with those on the right."""
        np.matmul(self.side(left)[part], self.side(right).T, out=out)

    def unit_dot(self, values: np.ndarray, side: str = "rows") -> np.ndarray:
        """Return the units' kernel with all rows (or units) times (rows, m) values."""
        return self.unit_sums @ (self.side(side).T @ values)


class PreparedKernel(PreparedCKA):
    """A layer's kernel for CKA, where that is smaller than the features or not linear; made by `prepare_cka`.

    `X` is the (n, n) U-centred kernel, which has the same HSIC without loss of digits; its diagonal is zero.
    """

    def __post_init__(self) -> None:
        self.norms = np.zeros(len(self.X))
        self.rows = self.unit_sums.sum(axis=0) - self.to_unit if self.units.between else self.X.sum(axis=0)

    @property
    def width(self) -> int:
        """Rows of the kernel are there: they cost nothing."""
        return 0

    @cached_property
    def to_unit(self) -> np.ndarray:
        """Return k_jg for each row j and its own unit g."""
        return self.unit_sums[np.repeat(np.arange(len(self.units.sizes)), self.units.sizes), np.arange(self.n)]

    @cached_property
    def between_units(self) -> np.ndarray:
        """Return the (G, G) kernel of the units."""
        return self.units.weighted_sums(self.unit_sums, axis=1)

    @cached_property
    def own_unit(self) -> np.ndarray:
        """k_gg of each unit."""
        return np.diag(self.between_units).copy()

    @cached_property
    def within(self) -> np.ndarray:
        """Kernels within units, unit after unit."""
        bounds = zip(self.units.starts, self.units.starts + self.units.sizes)
        return np.concatenate([self.X[start:stop, start:stop].ravel() for start, stop in bounds])

    def _matrix(self, left: str, right: str) -> np.ndarray:
        if left == right:
            return self.X if left == "rows" else self.between_units
        return self.unit_sums if left == "units" else self.unit_sums.T

    def kernel(self, left: str, right: str, part: slice, out: np.ndarray) -> None:
        """Write the part of the kernel's rows."""
        out[:] = self._matrix(left, right)[part]

    def unit_dot(self, values: np.ndarray, side: str = "rows") -> np.ndarray:
        """Return the units' kernel with all rows (or units) times (rows, m) values."""
        return self._matrix("units", side) @ values


def prepare_cka(X: Any, *, groups: Any = None, kernel: str = "linear") -> PreparedCKA:
    """Do the part of `cka_matrices` that belongs to one layer: centring, scaling, sums.

    Parameters
    ----------
    X : (n, d) array, features, one row a sample; or maps (n, h, w, c), unpooled, which count as n x (h w c). A memory
        map is never held whole where it is wider than long
    groups : (n,) labels (patients) to leave out together; None leaves out samples. Or what `cka_units` made of them,
        which saves doing it for every layer
    kernel : ``"linear"``, or ``"rbf"`` with sigma^2 the median of the non-zero squared distances (of all samples, also
        in the leave-outs)

    Returns
    -------
    PreparedCKA
        For `cka_matrices` and `cka_estimate`.

    Raises
    ------
    ValueError
        If n < 4 (or 4 groups, where pairs within a group are left out), a value is not finite, the features are
        constant, there are not n groups, or the kernel is unknown.

    Notes
    -----
    Cost O(n d) time and memory where d <= n; else, and for the RBF kernel, O(n^2 d) time and 8 n^2 bytes.

    Examples
    --------
    >>> prepare_cka(np.eye(5)[:, :3] + np.arange(15).reshape(5, 3) % 4).n
    5
    """
    if kernel not in KERNELS:
        raise ValueError(f"kernel {kernel!r} is not known; allowed: {', '.join(KERNELS)}")
    if not hasattr(X, "shape"):
        X = as_features(X)
    shape = tuple(X.shape)
    n = shape[0]
    units = groups if isinstance(groups, Units) else cka_units(groups, n)
    if units.counted < 4:
        what = f"{len(units.sizes)} groups" if units.between else f"{n} rows"
        raise ValueError(f"X has {what}; debiased CKA is defined from 4 {'groups' * units.between or 'samples'} on")
    order = units.order if units.name == "group" else slice(None)
    if len(shape) > 2 or (len(shape) == 2 and shape[1] > n) or kernel == "rbf":
        return PreparedKernel(_kernel(X, kernel, units, order), units)
    copied = isinstance(X, np.ndarray) and X.dtype != np.float64  # `as_features` then gives memory of its own
    Z = centred(tamed(as_features(X)), in_place=copied)[order]
    Z /= _scale(math.sqrt(np.vdot(Z, Z) / n))  # CKA does not depend on it, and fourth powers stay far from overflow
    if units.between:
        Z *= units.roots[:, None]
    return PreparedCKA(Z, units)


def _kernel(X: Any, kernel: str, units: Units, order: Any) -> np.ndarray:
    """Return the U-centred kernel of the rows in the units' order, scaled and weighted."""
    if kernel == "linear":
        K = linear_kernel(X)
    else:
        Z = centred(tamed(as_features(X)))
        K = rbf_kernel(Z / _scale(float(np.abs(Z).max())))
    K /= _scale(float(np.trace(K)) / len(K))
    K = u_centred(K)[order][:, order] if units.name == "group" else u_centred(K)
    if units.between:
        K *= units.roots
        K *= units.roots[:, None]
    return K


def _scale(scale: float) -> float:
    if scale == 0:
        raise ValueError("X is constant: every sample has the same features, so CKA with it is undefined")
    return scale
