import numpy as np
import pytest
from oracles import distribution as oracle

from featurespace.metrics import pairs, prdc


def parts(found):
    return found.precision, found.recall, found.density, found.coverage


@pytest.mark.parametrize("cells", [2**22, 60])
@pytest.mark.parametrize("k", [1, 3, 7])
def test_values_are_the_loop_from_the_papers(rng, monkeypatch, k, cells):
    monkeypatch.setattr(pairs, "CELLS", cells)
    X, Y = rng.standard_normal((30, 3)), rng.standard_normal((21, 3)) + 0.7
    assert parts(prdc(X, Y, k=k)) == pytest.approx(oracle.prdc(X, Y, k), abs=1e-14)


@pytest.mark.parametrize("k", [1, 3])
def test_neighbours_of_the_own_group_set_no_radius(rng, k):
    X, Y = rng.integers(0, 6, (24, 3)), rng.integers(0, 6, (20, 3)) + 1
    gx, gy = np.arange(24) // 4, np.arange(20) // 5
    found = prdc(X, Y, k=k, groups_x=gx, groups_y=gy)
    radii = [
        np.array([np.sort(((Z[g != h] - z) ** 2).sum(axis=1))[k - 1] for z, h in zip(Z, g)])
        for Z, g in ((X, gx), (Y, gy))
    ]
    D = ((X[:, None] - Y) ** 2).sum(axis=2)
    inside, reached = radii[0][:, None] >= D, radii[1] >= D
    expected = inside.any(0).mean(), reached.any(1).mean(), inside.sum() / (k * 20), inside.any(1).mean()
    assert parts(found) == pytest.approx(expected)
    with pytest.raises(ValueError, match="k is 16; with 24 and 20 samples, less their largest group, .* 1 and 15"):
        prdc(X, Y, k=16, groups_x=gx, groups_y=gy)


def test_groups_take_most_of_what_alike_slices_do(rng):
    labels, found = np.arange(160) // 4, []
    for _ in range(60):
        X, Y = (rng.standard_normal((40, 5))[labels] + 0.5 * rng.standard_normal((160, 5)) for _ in "XY")
        independent = rng.standard_normal((2, 160, 5))
        found.append([parts(f) for f in (prdc(X, Y), prdc(X, Y, groups_x=labels, groups_y=labels), prdc(*independent))])
    single, grouped, expected = np.mean(found, axis=0)
    share = np.abs(grouped - expected) / np.abs(single - expected)
    assert (share[[0, 1, 3]] < 0.6).all() and share[2] < 1  # clumps of neighbours make the density overshoot


@pytest.mark.parametrize("offset", [0, 1000])
@pytest.mark.parametrize("k", [1, 2, 4])
def test_ties_on_a_grid_are_exact(rng, k, offset):
    X, Y = rng.integers(0, 4, (40, 3)), rng.integers(0, 4, (25, 3))
    expected = oracle.prdc(X, Y, k)
    assert parts(prdc(X + offset, Y + offset, k=k)) == pytest.approx(expected, abs=1e-14)
    assert parts(prdc((X + offset).astype(np.float32) / 8, (Y + offset) / 8, k=k)) == pytest.approx(expected, abs=1e-14)
    assert parts(prdc(X * 2.0**-500, Y * 2.0**-500, k=k)) == pytest.approx(expected, abs=1e-14)
    assert parts(prdc(X * 2.0**500, Y * 2.0**500, k=k)) == pytest.approx(expected, abs=1e-14)


def test_copies(rng):
    X = rng.standard_normal((50, 8)) + 100
    assert parts(prdc(X, X.copy())) == (1, 1, pytest.approx(6 / 5), 1)  # the k neighbours and the sample itself
    assert parts(prdc(np.ones((8, 2)), np.ones((6, 2)))) == (1, 1, pytest.approx(8 / 5), 1)


def test_which_argument_is_which(rng):
    wide, narrow = rng.standard_normal((80, 2)), 0.05 * rng.standard_normal((60, 2))
    found = prdc(wide, narrow)
    assert found.precision == 1 and found.recall < 0.2 and found.coverage < 0.5 and found.density > 0.7
    turned = prdc(narrow, wide)
    assert (turned.precision, turned.recall) == (found.recall, found.precision)
    assert turned.density < 0.1 and turned.coverage < 0.1


def test_one_outlier_inflates_precision_but_not_density_and_coverage(rng):
    X, Y = rng.standard_normal((100, 2)), rng.standard_normal((100, 2)) + [8, 0]
    outliers = np.r_[X, [[30.0, 0]]]  # one ball that reaches all of Y
    assert prdc(X, Y).precision < 0.1 and prdc(outliers, Y).precision == 1
    assert prdc(outliers, Y).coverage < 0.1 and prdc(outliers, Y).density < 0.5


@pytest.mark.parametrize("n, m", [(40, 40), (40, 25)])
def test_equal_distributions_read_what_the_docstring_says(rng, n, m):
    found = np.array([parts(prdc(rng.standard_normal((n, 2)), rng.standard_normal((m, 2)), k=3)) for _ in range(300)])
    error = 4 * found.std(axis=0) / 300**0.5
    expected = 1 - np.prod([(n - i) / (n + m - i) for i in (1, 2, 3)])
    assert found[:, 3].mean() == pytest.approx(expected, abs=error[3])
    assert found[:, 2].mean() == pytest.approx(1, abs=error[2])


@pytest.mark.parametrize("k", [0, 5, 9])
def test_k_out_of_range(rng, k):
    with pytest.raises(
        ValueError, match=f"k is {k}; with 10 and 5 samples, less their largest group, it must lie between 1 and 4"
    ):
        prdc(rng.standard_normal((10, 2)), rng.standard_normal((5, 2)), k=k)
