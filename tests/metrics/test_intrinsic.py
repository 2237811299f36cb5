import numpy as np
import pytest
from oracles import geometry as oracle

from featurespace.metrics import intrinsic_dimension, intrinsic_dimension_mle, pairs


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("n, d", [(40, 4), (14, 30)])
def test_values_are_the_formulas(rng, n, d, grouped):
    X = rng.standard_normal((n, d)) * np.arange(1, d + 1) + 5
    groups = rng.permutation(np.arange(n) % (2 * n // 3)) if grouped else None
    assert intrinsic_dimension(X, groups=groups) == pytest.approx(oracle.two_nearest(X, groups), rel=1e-10)
    for k in (3, 7):
        for averaging in ("inverse", "mean"):
            found = intrinsic_dimension_mle(X, k=k, averaging=averaging, groups=groups)
            expected = oracle.levina_bickel(X, k, inverse=averaging == "inverse", groups=groups)
            assert found == pytest.approx(expected, rel=1e-10)


def test_maximum_likelihood_is_scikit_dimensions():
    # scikit-dimension 0.5.0, MLE(unbiased=False) with comb="mle" and MLE(unbiased=True) with comb="mean", n_neighbors=10
    X = np.random.default_rng(3).standard_normal((40, 6)) * np.arange(1, 7) + 2
    assert intrinsic_dimension_mle(X, k=10) == pytest.approx(4.38182557872849, abs=1e-12)
    assert intrinsic_dimension_mle(X, k=10, averaging="mean") == pytest.approx(4.147721723138462, abs=1e-12)


def test_blocks_of_rows_change_nothing(rng, monkeypatch):
    X = rng.standard_normal((50, 5))
    whole = intrinsic_dimension(X), intrinsic_dimension_mle(X)
    monkeypatch.setattr(pairs, "CELLS", 300)
    assert (intrinsic_dimension(X), intrinsic_dimension_mle(X)) == pytest.approx(whole, rel=1e-13)


def test_the_estimates_find_the_dimension_of_a_torus(rng):
    # no edge and, for a flat torus, constant density: what is left is chance
    found = []
    for _ in range(60):
        angles = rng.uniform(0, 2 * np.pi, (400, 3))
        X = np.concatenate([np.cos(angles), np.sin(angles)], axis=1) @ np.linalg.qr(rng.standard_normal((9, 6)))[0].T
        found.append([intrinsic_dimension(X), intrinsic_dimension_mle(X, k=5)])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / 60**0.5
    assert np.abs(mean[0] - 3) < 3 * error[0] + 0.03 and np.abs(mean[1] - 3) < 0.1


def test_the_factor_n_less_one_is_unbiased(rng):
    # Facco's model itself: log mu independent exponential of rate 4, n = 5
    sums = rng.standard_exponential((20000, 5)).sum(axis=1) / 4
    assert (4 / sums).mean() == pytest.approx(4, abs=4 * (4 / sums).std() / 20000**0.5)
    assert (5 / sums).mean() > 4.8


def test_neighbours_of_the_same_patient_hide_the_dimension(rng):
    patients = np.repeat(np.arange(100), 10)
    X = rng.standard_normal((100, 8))[patients]
    X[:, :2] += 0.05 * rng.standard_normal((1000, 2))
    assert intrinsic_dimension(X) < 3
    single = rng.standard_normal((100, 8))
    # both read below 8 at n = 100
    assert intrinsic_dimension(X, groups=patients) == pytest.approx(intrinsic_dimension(single), rel=0.3)
    assert intrinsic_dimension_mle(X, groups=patients) == pytest.approx(intrinsic_dimension_mle(single), rel=0.2)


def test_near_neighbours_far_from_the_centre_keep_their_digits(rng):
    X = rng.standard_normal((40, 3)) * 1e-7
    X[:20] += 1e3
    expected = oracle.two_nearest(X - np.repeat([[1e3], [0.0]], 20, axis=0))  # two clusters, never mixed
    assert intrinsic_dimension(X) == pytest.approx(oracle.two_nearest(X), rel=1e-9)
    assert intrinsic_dimension(X) != pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-150, 1e150, 1e300])
def test_extreme_scales(rng, scale):
    X = rng.standard_normal((30, 4))
    assert intrinsic_dimension(X * scale) == pytest.approx(intrinsic_dimension(X), rel=1e-10)


GRID = np.arange(9.0)[:, None] * [[1, 0]]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X: intrinsic_dimension(X[:2]), "k is 2 neighbours; with 2 samples it must lie"),
        (
            lambda X: intrinsic_dimension(X, groups=[0] * 19 + [1]),
            "k is 2 neighbours; with 2 groups it must lie between 2 and 1",
        ),
        (
            lambda X: intrinsic_dimension(np.r_[X, X[4:6]]),
            "4 of 22 samples are equal to another one, the first in row 4",
        ),
        (lambda X: intrinsic_dimension(np.kron([[1], [-1]], np.eye(4))), "the two nearest neighbours of each of the 8"),
        (lambda X: intrinsic_dimension(X, groups=[0]), "groups has shape"),
        (lambda X: intrinsic_dimension_mle(X), "k is 20 neighbours; with 20 samples it must lie between 2 and 19"),
        (lambda X: intrinsic_dimension_mle(X, k=2, averaging="mean"), "it must lie between 3 and 19"),
        (lambda X: intrinsic_dimension_mle(X, averaging="median"), "'median' is not known; allowed: inverse, mean"),
        (
            lambda X: intrinsic_dimension_mle(np.eye(5), k=4),
            "all 4 nearest neighbours of 5 of 5 samples are equally far",
        ),
        (
            lambda X: intrinsic_dimension_mle(np.r_[np.eye(4), [[9, 9, 9, 9.5]]], k=3, averaging="mean"),
            "averaging='inv",
        ),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((20, 3)))


def test_samples_on_a_grid_are_defined_where_some_ratio_is(rng):
    assert intrinsic_dimension(GRID) == pytest.approx(8 / (2 * np.log(2)))
    assert np.isfinite(intrinsic_dimension_mle(np.r_[np.eye(4), [[9, 9, 9, 9.5]]], k=3))
