"""The one room for nearest rows: exact ties are ties, and the first row is taken."""

from fractions import Fraction

import numpy as np
import pytest

from featurespace.metrics import (
    continuity,
    exact_neighbours,
    intrinsic_dimension_mle,
    knn_preservation,
    mutual_knn,
    nearest,
    pairs,
    prdc,
    trustworthiness,
)
from featurespace.metrics.nearest import near_pairs, nearest_rows, nearest_squares


def exact_squares(A, B):
    """Return squared distances as fractions: no rounding anywhere."""
    A, B = ([[Fraction(float(value)) for value in row] for row in Z] for Z in (A, B))
    return [[sum((x - y) ** 2 for x, y in zip(a, b)) for b in B] for a in A]


def ranking(X):
    """Return for each row the others from near to far, ties by index, and all squared distances."""
    D = exact_squares(X, X)
    return [sorted((j for j in range(len(D)) if j != i), key=lambda j, i=i: (D[i][j], j)) for i in range(len(D))], D


def slow_rank_score(ranked, chosen, k):
    """Return Venna and Kaski's formula; samples equally far share the smallest rank."""
    n = len(ranked)
    near, (_, D) = ranking(chosen)[0], ranking(ranked)
    beyond = 0
    for i in range(n):
        for j in near[i][:k]:
            rank = 1 + sum(D[i][other] < D[i][j] for other in range(n) if other != i)
            beyond += max(0, rank - k)
    return 1 - 2 * beyond / (n * k * (2 * n - 3 * k - 1))


def slow_preservation(X, E, k):
    a, b = ranking(X)[0], ranking(E)[0]
    return float(np.mean([len(set(p[:k]) & set(q[:k])) / k for p, q in zip(a, b)]))


def grids():
    rng = np.random.default_rng(0)
    integers = rng.integers(0, 4, (40, 5)).astype(float)
    return {
        "integers": (integers, integers[:, :2] + rng.integers(0, 2, (40, 2))),
        "shifted": (integers + 1000, integers[:, :2] * 3 - 7),
        "eighths": (integers / 8, rng.integers(0, 5, (40, 2)) / 16),
        "thin": (integers * [1, 0, 0, 0, 0], rng.integers(0, 3, (40, 1)).astype(float)),
        "far": (np.r_[integers, integers[:2] + 2**12], rng.integers(0, 4, (42, 2)).astype(float)),
        "huge": (np.ldexp(integers, 900), np.ldexp(integers[:, :2], -900)),
    }


@pytest.mark.parametrize("k", [1, 5, 12])
@pytest.mark.parametrize("name", grids())
def test_quality_on_grids_is_that_of_exact_loops(name, k):
    X, E = grids()[name]
    assert trustworthiness(X, E, k=k) == pytest.approx(slow_rank_score(X, E, k), abs=1e-14)
    assert continuity(X, E, k=k) == pytest.approx(slow_rank_score(E, X, k), abs=1e-14)
    assert knn_preservation(X, E, k=k) == pytest.approx(slow_preservation(X, E, k), abs=1e-14)


@pytest.mark.parametrize("cells", [10, 2**22])
@pytest.mark.parametrize("name", grids())
def test_neighbours_on_grids_are_those_of_exact_loops(monkeypatch, name, cells):
    monkeypatch.setattr(pairs, "CELLS", cells)
    X, _ = grids()[name]
    order, D = ranking(X)
    indices, distances = exact_neighbours(X, k=8)
    assert [row[1:].tolist() for row in indices] == [row[:7] for row in order]
    assert (indices[:, 0] == np.arange(len(X))).all()
    expected = [[float(D[i][j]) if name != "huge" else 0 for j in row[:7]] for i, row in enumerate(order)]
    if name != "huge":
        np.testing.assert_allclose(distances[:, 1:], np.sqrt(expected), rtol=1e-15)


def test_a_grid_in_tenths_has_ties_but_for_rounding():
    line = np.arange(30)[:, None] / 10 + 0.3  # 0.1 + 0.2 is not 0.3
    assert nearest_rows(line - line.mean(axis=0), line, 2)[0][1:-1].tolist() == [[i - 1, i + 1] for i in range(1, 29)]


@pytest.mark.parametrize("offset", [0, 1000])
def test_distances_below_the_rounding_of_products_are_ranked(offset):
    rng = np.random.default_rng(0)
    X = np.float32(np.r_[rng.integers(0, 8, (20, 3)) * 2.0**-14 + offset, [[2.0**15] * 3]]).astype(float)
    order, _ = ranking(X)
    assert [row[1:].tolist() for row in exact_neighbours(X, k=6)[0]] == [row[:5] for row in order]


def test_groups_by_their_nearest_row():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((40, 3))
    codes = np.sort(rng.integers(0, 8, 40))
    Z = X - X.mean(axis=0)
    D = ((X[:, None] - X) ** 2).sum(axis=2)
    by_row = np.sort(np.where(codes[:, None] == codes, np.inf, D), axis=1)[:, :4]
    np.testing.assert_allclose(nearest_squares(Z, X, 4, codes=codes), by_row, rtol=1e-12)
    by_group = np.array([[D[i, codes == g].min() for g in range(8) if g != codes[i]] for i in range(40)])
    found = nearest_squares(Z, X, 4, codes=codes, by_group=True)
    np.testing.assert_allclose(found, np.sort(by_group, axis=1)[:, :4], rtol=1e-12)


def test_products_are_enough_for_unit_vectors():
    U = np.random.default_rng(0).standard_normal((50, 4))
    U /= np.linalg.norm(U, axis=1, keepdims=True)
    found = nearest_rows(U, None, 5, quantum=nearest.COSINE)
    np.testing.assert_array_equal(found[0], nearest_rows(U, U, 5)[0])
    np.testing.assert_allclose(found[1], nearest_rows(U, U, 5)[1], rtol=1e-12)


def test_near_pairs_hold_the_nearest_and_hardly_more():
    X = np.random.default_rng(0).standard_normal((60, 4))
    found = [len(row) for _, row, _, _ in near_pairs(X, X, 5)]
    assert 60 * 5 <= sum(found) < 60 * 7


def test_copies_in_all_users():
    X = np.repeat(np.random.default_rng(0).integers(0, 3, (30, 3)).astype(float), 2, axis=0)
    assert mutual_knn(X + 1, X + 1, k=3) == 1 and prdc(X, X, k=1).density == pytest.approx(
        prdc(X + 7, X + 7, k=1).density
    )
    with pytest.raises(ValueError, match="samples are equal to another one"):
        intrinsic_dimension_mle(X, k=3)
