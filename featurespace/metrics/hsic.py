"""Unbiased HSIC of many layers at once, for all samples and without each unit, from sums over pairs of samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from featurespace.metrics.places import Array, empty, shaped, to_numpy, vecdot
from featurespace.metrics.prepared import PreparedCKA, PreparedKernel

KERNEL_ROWS = 128
"""Rows of all kernels in memory at once: as many as give the matrix product its full speed."""
PRODUCT_BYTES = 1 << 29
"""Memory for the products of one pass over the kernels; pairs of models beyond it wait for another pass."""
CHUNK_BYTES = 1 << 26
"""Memory for one array of leave-outs."""
ROUNDING = 1024 * np.finfo(float).eps
"""An own HSIC up to which a layer, scaled to a mean square length of 1, is constant but for at most one sample; nothing above
it is changed. One sample apart from 5,000 equal ones left 35 times the precision of float64, and one of 5000 in chunks 170."""

Pair = tuple[int, ...]  # two models, or one: each of its layers with itself


Layers = Sequence[PreparedCKA]
Sides = tuple[str, str]  # what a kernel has as rows and as columns: "rows" of the features, or sums of "units"
Products = dict[Sides, np.ndarray]


def hsic_matrices(
    models: Sequence[Layers], pairs: Sequence[Pair], *, leave_outs: bool = True
) -> Iterator[tuple[Pair, np.ndarray, np.ndarray | None]]:
    """Yield, in the order of the pairs of models, the unbiased HSIC of all their layers and those without each unit.

    Parameters
    ----------
    models : prepared layers of each model, all of the same samples and units
    pairs : which models to combine, by index; (i, i) is all layers of a model with all, (i,) each with itself
    leave_outs : also without each unit

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
        products = {
            sides: _kernel_products(models, by_kernel, sides) for sides in _sides(models[0], leave_outs) if by_kernel
        }
        for pair in batch:
            made = {sides: each.pop(pair) for sides, each in products.items()} if pair in by_kernel else None
            if len(pair) == 1:
                yield pair, *_own_hsic(models[pair[0]], made, leave_outs)
            else:
                yield pair, *_hsic_matrix(models[pair[0]], models[pair[1]], made, leave_outs)


def kernels_are_cheaper(first: Layers, second: Layers) -> bool:
    """Whether rows of kernels cost fewer operations than moments, for all pairs of layers of two models."""
    if any(isinstance(layer, PreparedKernel) for layers in (first, second) for layer in layers):
        return True
    a, b = (sum(layer.width for layer in layers) for layers in (first, second))
    # A model's kernels serve all of its pairs, which ones may not change a bit. Measured: both ways take as long where
    # n (a + b) is 2.9 a b for one pair of two models, 7.2 a b for all of two, and more for all of four.
    return first[0].n * (a + b) < 5 * a * b


def _sides(layers: Layers, leave_outs: bool) -> list[Sides]:
    """Return which kernels the sums are made of."""
    units = layers[0].units
    sides = [("rows", "rows")]
    if units.between:
        sides += [("rows", "units"), ("units", "units")]
    if leave_outs and not units.single and not units.no_leave_outs:
        sides += [("units", "rows")]
    return sides


def _kernel_products(models: Sequence[Layers], pairs: Sequence[Pair], sides: Sides) -> dict[Pair, np.ndarray]:
    """Return sum_j (u_i . x_j)(v_i . y_j) as (La, Lb, rows) of each pair of models; u, v on the left, x, y on the right.

    (L, rows) of one model's layers, each with itself.
    """
    used = sorted({each for pair in pairs for each in pair})
    units = models[used[0]][0].units
    rows, columns = (len(units.order) if side == "rows" else len(units.sizes) for side in sides)
    mirrored = sides[0] == sides[1]  # symmetric: what lies below the diagonal is taken from what lies above it
    step, like = min(KERNEL_ROWS, rows), models[used[0]][0].X
    memory, mirror = ({each: empty((len(models[each]) * step * columns,), like) for each in used} for _ in range(2))
    products = {pair: np.zeros((*(len(models[each]) for each in pair), rows)) for pair in pairs}
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        first = start if mirrored else 0
        blocks = {}
        for each in used:
            blocks[each] = shaped(memory[each], (len(models[each]), stop - start, columns - first))
            for layer, block in zip(models[each], blocks[each], strict=True):
                layer.kernel(*sides, slice(start, stop), slice(first, columns), block)
        _add_row_products(products, slice(start, stop), {each: block.swapaxes(0, 1) for each, block in blocks.items()})
        if mirrored and stop < rows:
            turned = {}
            for each, layers in blocks.items():
                turned[each] = shaped(mirror[each], (rows - stop, len(layers), stop - start))
                for place, block in enumerate(layers):
                    turned[each][:, place] = block[:, stop - start :].T
            _add_row_products(products, slice(stop, rows), turned)
    return products


def _add_row_products(products: dict[Pair, np.ndarray], rows: slice, blocks: dict[int, Array]) -> None:
    """Add, for each of the rows, the inner products of the layers' parts of it; blocks are (rows, layers, columns)."""
    for pair, into in products.items():
        first, second = blocks[pair[0]], blocks[pair[-1]]
        if len(pair) == 1:
            into[:, rows] += to_numpy(vecdot(first, first)).T
        else:
            into[..., rows] += to_numpy(first @ second.swapaxes(1, 2)).transpose(1, 2, 0)


def _moment_products(first: Layers, second: Layers, sides: Sides) -> np.ndarray:
    """Return what `_kernel_products` does for two models, from C = X'Y."""
    left, right = sides
    products = np.empty((len(first), len(second), len(first[0].side(left))))
    for a, A in enumerate(first):
        for b, B in enumerate(second):
            products[a, b] = to_numpy(vecdot(A.side(left) @ (A.side(right).T @ B.side(right)), B.side(left)))
    return products


def _hsic_matrix(
    first: Layers, second: Layers, made: Products | None, leave_outs: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return HSIC for all samples and without each unit, a few layers of the second model at a time."""
    width = max(1, CHUNK_BYTES // (8 * first[0].n * len(first)))
    values: list[np.ndarray] = []
    without: list[np.ndarray] = []
    for start in range(0, len(second), width):
        part = second[start : start + width]
        if made is None:
            products = {sides: _moment_products(first, part, sides) for sides in _sides(first, leave_outs)}
        else:
            products = {sides: each[:, start : start + width] for sides, each in made.items()}
        value, leave_out = (_between if first[0].units.between else _combine)(first, part, products, leave_outs)
        values.append(value)
        if leave_out is not None:
            without.append(leave_out)
    return np.concatenate(values, axis=1), np.concatenate(without, axis=1) if without else None


def _own_hsic(layers: Layers, made: Products | None, leave_outs: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Return HSIC of each layer with itself, for all samples (L,) and without each unit (L, G)."""
    values, without = [], []
    for place, layer in enumerate(layers):
        products = None if made is None else {sides: each[None, None, place] for sides, each in made.items()}
        value, leave_out = _hsic_matrix([layer], [layer], products, leave_outs)
        values.append(value[0, 0])
        without.append(None if leave_out is None else leave_out[0, 0])
    return np.array(values), None if without[0] is None else np.array(without)


def _stacked(layers: Layers, *names: str) -> list[np.ndarray]:
    return [np.stack([getattr(layer, name) for layer in layers]) for name in names]


def _unit_dot(layers: Layers, values: np.ndarray, side: str = "rows") -> np.ndarray:
    """Return each layer's unit kernel times every row of values, (layers, values, G)."""
    return np.stack([layer.unit_dot(values.T, side) for layer in layers]).swapaxes(1, 2)


def _combine(
    first: Layers, second: Layers, products: Products, leave_outs: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return HSIC of (La, Lb) pairs of layers and, exactly, without each unit.

    With k^g_j the kernel of row j summed over unit g, row sums become r_j - k^g_j and the rows of g go, hence
    cross - sum_g r s - sum_{j not in g} (k^g_j s_j + l^g_j r_j - k^g_j l^g_j).
    """
    units = first[0].units
    n, sums = first[0].n, partial(units.sums, axis=-1)
    a, r, to_a = (each[:, None] for each in _stacked(first, "norms", "rows", "to_unit"))
    b, s, to_b = _stacked(second, "norms", "rows", "to_unit")
    pairs = products["rows", "rows"] - a * b  # sum_j k_ij l_ij without the diagonal
    trace, cross = pairs.sum(axis=-1), r[:, 0] @ s.T
    total_k, total_l = r.sum(axis=-1), s.sum(axis=-1)
    value = _hsic(trace, total_k, total_l, cross, n)
    if units.no_leave_outs or not leave_outs:
        return value, None
    k_s = _unit_dot(first, s) - sums(to_a * s)
    l_r = _unit_dot(second, r[:, 0]).swapaxes(0, 1) - sums(to_b * r)
    k_l = products["rows" if units.single else "units", "rows"] - sums(to_a * to_b)
    without = _hsic(
        trace[..., None] - 2 * sums(pairs) + _within(first, second),
        (total_k[..., None] - 2 * sums(r) + sums(to_a - a)),
        (total_l[..., None] - 2 * sums(s) + sums(to_b - b)),
        cross[..., None] - sums(r * s) - k_s - l_r + k_l,
        n - units.sizes,
    )
    return value, without


def _between(
    first: Layers, second: Layers, products: Products, leave_outs: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return HSIC over samples of different units, of (La, Lb) pairs of layers and, exactly, without each unit.

    The U-statistic over four different units, each sum over the rows of a unit a mean: with K_ig the kernel of row i
    with unit g and A_gh that of two units, both zero within a unit, r and alpha their row sums, from
    ``sum_ij k_ij l_ij``, ``sum_i (r_i s_i - sum_h K_ih L_ih)`` and
    ``sum alpha sum beta - 4 sum_g alpha_g beta_g + 2 sum_gh A_gh B_gh``.
    """
    units = first[0].units
    count, sums = len(units.sizes), partial(units.sums, axis=-1)
    a, r, to_a, own_a = (each[:, None] for each in _stacked(first, "norms", "rows", "to_unit", "own_unit"))
    b, s, to_b, own_b = _stacked(second, "norms", "rows", "to_unit", "own_unit")
    alpha, beta = units.weighted_sums(r, axis=-1), units.weighted_sums(s, axis=-1)
    own = sums(to_a * to_b)
    within = _within(first, second)
    pairs = sums(products["rows", "rows"] - a * b)  # of each unit's rows with all others
    by_row = sums(products["rows", "units"]) - own  # sum_h K_ih L_ih over the rows i of each unit, h another
    both = products["units", "units"] - own_a * own_b  # sum_h A_gh B_gh
    trace, total = pairs.sum(axis=-1) - within.sum(axis=-1), alpha.sum(axis=-1) * beta.sum(axis=-1)
    rows, ends = sums(r * s), alpha * beta
    triples = rows.sum(axis=-1) - by_row.sum(axis=-1)
    fours = total - 4 * ends.sum(axis=-1) + 2 * both.sum(axis=-1)
    value = _u_statistic(trace, triples, fours, count)
    if units.no_leave_outs or not leave_outs:
        return value, None
    to_each = products["units", "rows"] - own  # sum_i K_ig L_ig over the rows i of all other units
    k_s = _unit_dot(first, s) - sums(to_a * s)
    l_r = _unit_dot(second, r[:, 0]).swapaxes(0, 1) - sums(to_b * r)
    a_beta = _unit_dot(first, beta, "units") - own_a * beta
    b_alpha = _unit_dot(second, alpha[:, 0], "units").swapaxes(0, 1) - own_b * alpha
    total = (alpha.sum(axis=-1)[..., None] - 2 * alpha) * (beta.sum(axis=-1)[..., None] - 2 * beta)
    ends_without = ends.sum(axis=-1)[..., None] - ends - a_beta - b_alpha + both
    without = _u_statistic(
        trace[..., None] - 2 * (pairs - within),
        triples[..., None] - rows + by_row - k_s - l_r + 2 * to_each,
        total - 4 * ends_without + 2 * (both.sum(axis=-1)[..., None] - 2 * both),
        count - 1,
    )
    return value, without


def _within(first: Layers, second: Layers) -> np.ndarray:
    """Return the sums over i and j in one unit of k_ij l_ij, (La, Lb, G)."""
    units = first[0].units
    if units.single:
        return np.zeros(1)
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
    mean = total_k * total_l / ((n - 1) * (n - 2))  # with it -4 and 2 of `_u_statistic` go into the other two
    return (trace + mean - 2 * cross / (n - 2)) / (n * (n - 3))


def _u_statistic(trace: Any, triples: Any, fours: Any, n: int) -> Any:
    """Return HSIC from the sums of k_ij l_ij, k_ij l_iq and k_ij l_qr over different indices of n things."""
    return (trace + fours / ((n - 2) * (n - 3)) - 2 * triples / (n - 2)) / (n * (n - 1))
