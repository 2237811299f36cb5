"""The sums over pairs of samples that unbiased HSIC is made of, for all samples and without each unit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from featurespace.stats.estimate import too_few

GRAM_PER_ROW = 20
"""Pairs with d1 d2 above this many times n use Gram matrices: measured break-even of a pair at n = 2000."""
GRAM_MAX_ROWS = 4096
"""Above this many rows a Gram matrix (8 n^2 bytes, 134 MB here) is kept only where X'Y would be larger still."""


class Units(NamedTuple):
    """Resampled units; rows are in `order`, so that a unit is a run of rows."""

    order: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    name: str

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return the sums over each unit's rows."""
        return values if len(self.sizes) == len(values) else np.add.reduceat(values, self.starts, axis=0)


class Parts(NamedTuple):
    """Sums over pairs of kernels without diagonals, for all samples or (as arrays) without each unit."""

    trace: Any  # sum_ij k_ij l_ij
    total_k: Any
    total_l: Any
    cross: Any  # sum_j r_j s_j, r and s the row sums

    def hsic(self, n: Any) -> Any:
        """Return Song's unbiased HSIC of n samples."""
        mean = self.total_k * self.total_l / ((n - 1) * (n - 2))
        return (self.trace + mean - 2 * self.cross / (n - 2)) / (n * (n - 3))


@dataclass(frozen=True, eq=False)
class PreparedCKA:
    """All of a layer's CKA that does not depend on the other layer; made by `prepare_cka`.

    Rows are sorted by unit. Held per layer: the centred features, O(n) sums, and, once a wide pair asks for it,
    the Gram matrix (8 n^2 bytes).
    """

    X: np.ndarray
    units: Units
    norms: np.ndarray  # a_i = |x_i|^2
    rows: np.ndarray  # r_i, row sums of the kernel without its diagonal
    self_hsic: float = math.nan
    self_leave_out: np.ndarray | None = None

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.X)

    @cached_property
    def gram(self) -> np.ndarray:
        """Gram matrix with its diagonal set to zero."""
        K = self.X @ self.X.T
        np.fill_diagonal(K, 0.0)
        return K

    @cached_property
    def unit_sums(self) -> np.ndarray:
        """S_g, the sum of each unit's rows."""
        return self.units.sums(self.X)

    @cached_property
    def unit_gram(self) -> np.ndarray:
        """S_g . x_j for all j, from the Gram matrix's own products (diagonal included)."""
        return self.unit_sums @ self.X.T

    @cached_property
    def to_unit(self) -> np.ndarray:
        """Return x_j . S_g for each row j and its own unit g."""
        if len(self.units.sizes) == self.n:
            return self.norms
        return np.vecdot(self.X, np.repeat(self.unit_sums, self.units.sizes, axis=0))

    @cached_property
    def within(self) -> np.ndarray:
        """Kernels within units, diagonals zero, unit after unit: sum of m_g^2 numbers."""
        blocks = []
        for start, size in zip(self.units.starts, self.units.sizes):
            block = self.X[start : start + size] @ self.X[start : start + size].T
            np.fill_diagonal(block, 0.0)
            blocks.append(block.ravel())
        return np.concatenate(blocks)


def pair_parts(A: PreparedCKA, B: PreparedCKA) -> tuple[Parts, Parts | None]:
    """Return the sums for all samples and, with 5 units or more, the sums without each unit."""
    total_k, total_l = float(A.rows.sum()), float(B.rows.sum())
    cross = float(A.rows @ B.rows)
    wanted = not too_few(len(A.units.sizes), A.units.name) and A.n - int(A.units.sizes.max()) >= 4
    cells = A.X.shape[1] * B.X.shape[1]
    if cells > GRAM_PER_ROW * A.n and (A.n <= GRAM_MAX_ROWS or cells > A.n**2):
        products = np.vecdot(A.gram, B.gram)  # t_i = sum_j k_ij l_ij
        parts = Parts(float(products.sum()), total_k, total_l, cross)
        if not wanted:
            return parts, None
        one_each = len(A.units.sizes) == A.n
        by_unit = products + A.norms * B.norms if one_each else np.vecdot(A.unit_gram, B.unit_gram)
    else:
        C = A.X.T @ B.X
        parts = Parts(float(np.vdot(C, C) - A.norms @ B.norms), total_k, total_l, cross)
        if not wanted:
            return parts, None
        projected = A.X @ C
        products = np.vecdot(projected, B.X) - A.norms * B.norms
        by_unit = np.vecdot(A.units.sums(projected), B.unit_sums)  # sum over all j of (x_j . S_g)(y_j . S'_g)
    return parts, _without_units(A, B, parts, products, by_unit)


def _without_units(A: PreparedCKA, B: PreparedCKA, parts: Parts, products: np.ndarray, by_unit: np.ndarray) -> Parts:
    """Return the four sums without each unit, exactly.

    With k^g_j the kernel of row j summed over unit g, row sums become r_j - k^g_j and the rows of g go, hence
    cross - sum_g r s - sum_{j not in g} (k^g_j s_j + l^g_j r_j - k^g_j l^g_j).
    """
    sums = A.units.sums
    within_k, within_l = A.to_unit - A.norms, B.to_unit - B.norms  # k^g_j and l^g_j for j in g
    if len(A.units.sizes) == A.n:
        block = np.zeros(A.n)
    else:
        ends = np.concatenate([[0], np.cumsum(A.units.sizes**2)[:-1]])
        block = np.add.reduceat(A.within * B.within, ends)
    k_s = A.unit_sums @ (A.X.T @ B.rows) - sums(A.norms * B.rows) - sums(within_k * B.rows)
    l_r = B.unit_sums @ (B.X.T @ A.rows) - sums(B.norms * A.rows) - sums(within_l * A.rows)
    k_l = by_unit - sums(A.to_unit * B.to_unit)
    return Parts(
        parts.trace - 2 * sums(products) + block,
        parts.total_k - 2 * sums(A.rows) + sums(within_k),
        parts.total_l - 2 * sums(B.rows) + sums(within_l),
        parts.cross - sums(A.rows * B.rows) - k_s - l_r + k_l,
    )
