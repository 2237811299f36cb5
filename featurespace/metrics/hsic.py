"""Unbiased HSIC of many layers at once, for all samples and without each unit, from sums over pairs of samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np

from featurespace.stats.estimate import too_few

KERNEL_ROWS = 128
"""Rows of all kernels in memory at once: as many as give the matrix product its full speed."""
PRODUCT_BYTES = 1 << 29
"""Memory for the products of one pass over the kernels; pairs of models beyond it wait for another pass."""
CHUNK_BYTES = 1 << 26
"""Memory for one array of leave-outs."""

Pair = tuple[int, ...]  # two models, or one: each of its layers with itself


class Units(NamedTuple):
    """Resampled units; rows are in `order`, so that a unit is a run of rows."""

    order: np.ndarray
    starts: np.ndarray
    sizes: np.ndarray
    name: str

    @property
    def single(self) -> bool:
        """Whether every unit is one sample."""
        return len(self.sizes) == len(self.order)

    @property
    def no_leave_outs(self) -> str:
        """Why there are no values without each unit; empty where there are."""
        rows, largest = len(self.order), int(self.sizes.max())
        if rows - largest < 4 and not too_few(len(self.sizes), self.name):
            return f"the largest group holds {largest} of {rows} samples, and 4 must remain without it"
        return too_few(len(self.sizes), self.name)

    def sums(self, values: np.ndarray, *, axis: int = 0) -> np.ndarray:
        """Return the sums over each unit's rows, which lie along ``axis``."""
        return values if self.single else np.add.reduceat(values, self.starts, axis=axis)

    def same_as(self, other: Units) -> bool:
        """Whether two layers were prepared with the same samples and groups."""
        return self is other or (
            self.name == other.name
            and np.array_equal(self.order, other.order)
            and np.array_equal(self.sizes, other.sizes)
        )


@dataclass(eq=False)
class PreparedCKA:
    """All of a layer's CKA that does not depend on the other layer; made by `prepare_cka`.

    Rows are sorted by unit and scaled to a mean square length of 1. Held per layer: the centred features and O(n)
    sums.
    """

    X: np.ndarray
    units: Units
    norms: np.ndarray = field(init=False)  # a_i = |x_i|^2
    rows: np.ndarray = field(init=False)  # r_i, row sums of the kernel without its diagonal

    def __post_init__(self) -> None:
        self.norms = np.vecdot(self.X, self.X)
        self.rows = self.X @ self.X.sum(axis=0) - self.norms

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.X)

    @cached_property
    def unit_sums(self) -> np.ndarray:
        """S_g, the sum of each unit's rows."""
        return self.units.sums(self.X)

    @cached_property
    def to_unit(self) -> np.ndarray:
        """Return x_j . S_g for each row j and its own unit g."""
        if self.units.single:
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


Layers = Sequence[PreparedCKA]
Side = Callable[[PreparedCKA], np.ndarray]


def hsic_matrices(
    models: Sequence[Layers], pairs: Sequence[Pair]
) -> Iterator[tuple[Pair, np.ndarray, np.ndarray | None]]:
    """Yield, in the order of the pairs of models, the unbiased HSIC of all their layers and those without each unit.

    Parameters
    ----------
    models : prepared layers of each model, all of the same samples and units
    pairs : which models to combine, by index; (i, i) is all layers of a model with all, (i,) each with itself

    Yields
    ------
    tuple
        The pair, (La, Lb) HSIC, and (La, Lb, G) HSIC without each unit, or None where there are no leave-outs;
        (L,) and (L, G) for (i,).

    Notes
    -----
    There are two ways to the sums over j of k_ij l_ij, and each pair takes the cheaper one: rows of all kernels, in
    O(n^2 (Da + Db)) time, where a model counts once for all its pairs and no n x n matrix is kept; or moments,
    x_i' C y_i with C = X'Y, in O(n Da Db) time. Da is the sum of the widths of the model's layers.
    """
    todo = list(pairs)
    while todo:
        count, size = 0, 0
        while count < len(todo) and (count == 0 or size <= PRODUCT_BYTES):
            first, second = models[todo[count][0]], models[todo[count][-1]]
            size += 8 * first[0].n * len(first) * len(second)
            count += 1
        batch, todo = todo[:count], todo[count:]
        by_kernel = [pair for pair in batch if kernels_are_cheaper(models[pair[0]], models[pair[-1]])]
        sides = _sides(models[0]) if by_kernel else []
        products = [_kernel_products(models, by_kernel, side) for side in sides]
        for pair in batch:
            made = [each.pop(pair) for each in products] if pair in by_kernel else None
            if len(pair) == 1:
                yield pair, *_own_hsic(models[pair[0]], made)
            else:
                yield pair, *_hsic_matrix(models[pair[0]], models[pair[1]], made)


def kernels_are_cheaper(first: Layers, second: Layers) -> bool:
    """Whether rows of kernels cost fewer operations than moments, for all pairs of layers of two models."""
    a, b = (sum(layer.X.shape[1] for layer in layers) for layers in (first, second))
    return first[0].n * (a + b) < 2 * a * b


def _sides(layers: Layers) -> list[Side]:
    """Return what stands on the left of x_i . x_j: the rows, and the sums of each unit's rows where these differ."""
    units = layers[0].units
    return [lambda layer: layer.X] if units.single or units.no_leave_outs else [
        lambda layer: layer.X, lambda layer: layer.unit_sums]  # fmt: skip


def _kernel_products(models: Sequence[Layers], pairs: Sequence[Pair], side: Side) -> dict[Pair, np.ndarray]:
    """Return sum_j (u_i . x_j)(v_i . y_j) as (La, Lb, rows) of each pair of models; u and v are the ``side`` rows.

    (L, rows) of one model's layers, each with itself.
    """
    used = sorted({each for pair in pairs for each in pair})
    rows, n = len(side(models[used[0]][0])), models[used[0]][0].n
    kernels = {each: np.empty((len(models[each]), min(KERNEL_ROWS, rows), n)) for each in used}
    products = {pair: np.empty((*(len(models[each]) for each in pair), rows)) for pair in pairs}
    for start in range(0, rows, KERNEL_ROWS):
        stop = min(start + KERNEL_ROWS, rows)
        block = {each: kernel[:, : stop - start] for each, kernel in kernels.items()}
        for each in used:
            for layer, kernel in zip(models[each], block[each], strict=True):
                np.matmul(side(layer)[start:stop], layer.X.T, out=kernel)
        for pair in pairs:
            first, second = block[pair[0]], block[pair[-1]]
            if len(pair) == 1:
                products[pair][:, start:stop] = np.vecdot(first, first)
            else:
                product = first.transpose(1, 0, 2) @ second.transpose(1, 2, 0)
                products[pair][..., start:stop] = product.transpose(1, 2, 0)
    return products


def _moment_products(first: Layers, second: Layers, side: Side) -> np.ndarray:
    """Return what `_kernel_products` does for two models, from C = X'Y."""
    products = np.empty((len(first), len(second), len(side(first[0]))))
    for a, A in enumerate(first):
        for b, B in enumerate(second):
            products[a, b] = np.vecdot(side(A) @ (A.X.T @ B.X), side(B))
    return products


def _hsic_matrix(first: Layers, second: Layers, made: list[np.ndarray] | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Return HSIC for all samples and without each unit, a few layers of the second model at a time."""
    width = max(1, CHUNK_BYTES // (8 * first[0].n * len(first)))
    values: list[np.ndarray] = []
    without: list[np.ndarray] = []
    for start in range(0, len(second), width):
        part = second[start : start + width]
        if made is None:
            products = [_moment_products(first, part, side) for side in _sides(first)]
        else:
            products = [each[:, start : start + width] for each in made]
        value, leave_out = _combine(first, part, products)
        values.append(value)
        if leave_out is not None:
            without.append(leave_out)
    return np.concatenate(values, axis=1), np.concatenate(without, axis=1) if without else None


def _own_hsic(layers: Layers, made: list[np.ndarray] | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Return HSIC of each layer with itself, for all samples (L,) and without each unit (L, G)."""
    values, without = [], []
    for place, layer in enumerate(layers):
        products = None if made is None else [each[None, None, place] for each in made]
        value, leave_out = _hsic_matrix([layer], [layer], products)
        values.append(value[0, 0])
        without.append(None if leave_out is None else leave_out[0, 0])
    return np.array(values), None if without[0] is None else np.array(without)


def _combine(first: Layers, second: Layers, products: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
    """Return HSIC of (La, Lb) pairs of layers and, exactly, without each unit.

    With k^g_j the kernel of row j summed over unit g, row sums become r_j - k^g_j and the rows of g go, hence
    cross - sum_g r s - sum_{j not in g} (k^g_j s_j + l^g_j r_j - k^g_j l^g_j).
    """
    units = first[0].units
    n, sums = first[0].n, partial(units.sums, axis=-1)
    a, r, to_a = (np.stack([getattr(layer, name) for layer in first])[:, None] for name in ("norms", "rows", "to_unit"))
    b, s, to_b = (np.stack([getattr(layer, name) for layer in second]) for name in ("norms", "rows", "to_unit"))
    pairs = products[0] - a * b  # sum_j k_ij l_ij without the diagonal
    trace, cross = pairs.sum(axis=-1), r[:, 0] @ s.T
    total_k, total_l = r.sum(axis=-1), s.sum(axis=-1)
    value = _hsic(trace, total_k, total_l, cross, n)
    if units.no_leave_outs:
        return value, None
    k_s = np.stack([A.unit_sums @ (A.X.T @ s.T) for A in first]).swapaxes(1, 2) - sums(to_a * s)
    l_r = np.stack([B.unit_sums @ (B.X.T @ r[:, 0].T) for B in second]).transpose(2, 0, 1) - sums(to_b * r)
    k_l = products[-1] - sums(to_a * to_b)
    without = _hsic(
        trace[..., None] - 2 * sums(pairs) + _within(first, second),
        (total_k[..., None] - 2 * sums(r) + sums(to_a - a)),
        (total_l[..., None] - 2 * sums(s) + sums(to_b - b)),
        cross[..., None] - sums(r * s) - k_s - l_r + k_l,
        n - units.sizes,
    )
    return value, without


def _within(first: Layers, second: Layers) -> np.ndarray | float:
    """Return the sums over i and j in one unit of k_ij l_ij, (La, Lb, G)."""
    units = first[0].units
    if units.single:
        return 0.0
    blocks = np.array([A.within * B.within for A in first for B in second])
    ends = np.concatenate([[0], np.cumsum(units.sizes**2)[:-1]])
    return np.add.reduceat(blocks, ends, axis=-1).reshape(len(first), len(second), -1)


def _hsic(trace: Any, total_k: Any, total_l: Any, cross: Any, n: Any) -> Any:
    """Return Song's unbiased HSIC of n samples from sums over kernels without diagonals.

    Parameters
    ----------
    trace : sum_ij k_ij l_ij
    total_k, total_l : sum_ij k_ij and sum_ij l_ij
    cross : sum_j r_j s_j, r and s the row sums
    """
    mean = total_k * total_l / ((n - 1) * (n - 2))
    return (trace + mean - 2 * cross / (n - 2)) / (n * (n - 3))
