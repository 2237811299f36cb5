"""What CKA needs of one layer, made once: centred features or a kernel, in the order of the resampled units."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from featurespace.metrics.arrays import as_features, as_placed, centred, magnitude, tamed
from featurespace.metrics.kernels import linear_kernel, rbf_kernel, u_centred
from featurespace.metrics.places import Array, fill_diagonal, inner, library, like, stays, to_numpy, vecdot
from featurespace.metrics.units import Units, cka_units

KERNELS = ("linear", "rbf")


@dataclass(eq=False)
class PreparedCKA:
    """A layer's centred features for CKA; made by `prepare_cka`.

    Rows are sorted by unit and scaled to a mean square length of 1; where pairs within a unit are left out, they bear
    the root of their weight, so that a product of two kernels bears the weight of both rows. Held per layer: the
    features, on the GPU where they lie there, and O(n) sums.
    """

    X: Array
    units: Units
    norms: np.ndarray = field(init=False)  # a_i = |x_i|^2
    rows: np.ndarray = field(init=False)  # r_i, row sums of the kernel without its diagonal, or without the own unit
    own: tuple[np.ndarray, np.ndarray | None] | None = field(init=False, default=None)  # HSIC with itself, once known

    def __post_init__(self) -> None:
        self.norms = to_numpy(vecdot(self.X, self.X))
        if self.units.between:
            self.rows = to_numpy(self.X @ self.unit_sums.sum(axis=0)) - self.to_unit
        else:
            self.rows = to_numpy(self.X @ self.X.sum(axis=0)) - self.norms

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.X)

    @property
    def width(self) -> int:
        """Columns of the features: what a row of the kernel costs."""
        return self.X.shape[1]

    @cached_property
    def unit_sums(self) -> Array:
        """S_g, the sum of each unit's rows; their mean where each unit counts once."""
        return self.units.weighted_sums(self.X)

    @cached_property
    def to_unit(self) -> np.ndarray:
        """Return x_j . S_g for each row j and its own unit g."""
        if self.units.single:
            return self.norms
        own = np.repeat(np.arange(len(self.units.sizes)), self.units.sizes)
        return to_numpy(vecdot(self.X, self.unit_sums[own]))

    @cached_property
    def own_unit(self) -> np.ndarray:
        """|S_g|^2 of each unit."""
        return to_numpy(vecdot(self.unit_sums, self.unit_sums))

    @cached_property
    def within(self) -> np.ndarray:
        """Kernels within units, diagonals zero, unit after unit: sum of m_g^2 numbers."""
        blocks = []
        for start, size in zip(self.units.starts, self.units.sizes):
            block = self.X[start : start + size] @ self.X[start : start + size].T
            fill_diagonal(block, 0.0)
            blocks.append(block.ravel())
        return to_numpy(library(self.X).concatenate(blocks))

    def side(self, name: str) -> Array:
        """Return the features of the ``"rows"`` or of the ``"units"``."""
        return self.X if name == "rows" else self.unit_sums

    def kernel(self, left: str, right: str, rows: slice, columns: slice, out: Array) -> None:
        """Write a part of the kernel: inner products of rows or units on the left with those on the right."""
        library(out).matmul(self.side(left)[rows], self.side(right)[columns].T, out=out)

    def unit_dot(self, values: np.ndarray, side: str = "rows") -> np.ndarray:
        """Return the units' kernel with all rows (or units) times (rows, m) values."""
        return to_numpy(self.unit_sums @ (self.side(side).T @ like(values, self.X)))


class PreparedKernel(PreparedCKA):
    """A layer's kernel for CKA, where that is smaller than the features or not linear; made by `prepare_cka`.

    `X` is the (n, n) U-centred kernel, which has the same HSIC without loss of digits; its diagonal is zero.
    """

    def __post_init__(self) -> None:
        self.norms = np.zeros(len(self.X))
        sums = to_numpy((self.unit_sums if self.units.between else self.X).sum(axis=0))
        self.rows = sums - self.to_unit if self.units.between else sums

    @cached_property
    def to_unit(self) -> np.ndarray:
        """Return k_jg for each row j and its own unit g."""
        own = np.repeat(np.arange(len(self.units.sizes)), self.units.sizes)
        return to_numpy(self.unit_sums[own, np.arange(self.n)])

    @cached_property
    def between_units(self) -> Array:
        """Return the (G, G) kernel of the units."""
        return self.units.weighted_sums(self.unit_sums, axis=1)

    @cached_property
    def own_unit(self) -> np.ndarray:
        """k_gg of each unit."""
        return to_numpy(self.between_units.diagonal()).copy()

    @cached_property
    def within(self) -> np.ndarray:
        """Kernels within units, unit after unit."""
        bounds = zip(self.units.starts, self.units.starts + self.units.sizes)
        blocks = [self.X[start:stop, start:stop].ravel() for start, stop in bounds]
        return to_numpy(library(self.X).concatenate(blocks))

    def _matrix(self, left: str, right: str) -> Array:
        if left == right:
            return self.X if left == "rows" else self.between_units
        return self.unit_sums if left == "units" else self.unit_sums.T

    def kernel(self, left: str, right: str, rows: slice, columns: slice, out: Array) -> None:
        """Write a part of the kernel."""
        out[:] = self._matrix(left, right)[rows, columns]

    def unit_dot(self, values: np.ndarray, side: str = "rows") -> np.ndarray:
        """Return the units' kernel with all rows (or units) times (rows, m) values."""
        return to_numpy(self._matrix("units", side) @ like(values, self.X))


@contextmanager
def called(name: str) -> Iterator[None]:
    """Let an error of `prepare_cka` call the features by this name."""
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error).replace("X ", f"{name} ", 1)) from None


def prepare_cka(X: Any, *, groups: Any = None, kernel: str = "linear") -> PreparedCKA:
    """Do the part of `cka_matrices` that belongs to one layer: centring, scaling, sums.

    Parameters
    ----------
    X : (n, d) array, features, one row a sample; or maps (n, h, w, c), unpooled, which count as n x (h w c). A memory
        map is never held whole where it is wider than long. A tensor on a GPU stays there, and all that is large is done there
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
    Z = as_placed(X)
    copied = (isinstance(X, np.ndarray) or stays(X)) and X.dtype != Z.dtype  # then it is memory of its own
    Z = centred(tamed(Z), in_place=copied)[order]
    Z /= _scale(math.sqrt(inner(Z, Z) / n))  # CKA does not depend on it, and fourth powers stay far from overflow
    if units.between:
        Z *= like(units.roots[:, None], Z)
    return PreparedCKA(Z, units)


def _kernel(X: Any, kernel: str, units: Units, order: Any) -> Array:
    """Return the U-centred kernel of the rows in the units' order, scaled and weighted."""
    if kernel == "linear":
        K = linear_kernel(X)
    else:
        Z = centred(tamed(as_placed(X)))
        K = rbf_kernel(Z / _scale(magnitude(Z)))
    K /= _scale(float(K.trace()) / len(K))
    K = u_centred(K)[order][:, order] if units.name == "group" else u_centred(K)
    if units.between:
        roots = like(units.roots, K)
        K *= roots
        K *= roots[:, None]
    return K


def _scale(scale: float) -> float:
    if scale == 0:
        raise ValueError("X is constant: every sample has the same features, so CKA with it is undefined")
    return scale
