import numpy as np
import pytest
from oracles import distribution as oracle
from scipy import stats as scipy_stats

from featurespace.metrics import coral_distance, energy_distance, kid, pairs, sliced_wasserstein


def two(rng, n=14, m=19, d=3, shift=1.0):
    return rng.standard_normal((n, d)) + shift, 1.5 * rng.standard_normal((m, d))


@pytest.fixture(params=[2**22, 40])
def cells(request, monkeypatch):
    """All pairs at once, and a few rows at a time."""
    monkeypatch.setattr(pairs, "CELLS", request.param)


@pytest.mark.parametrize("n, m, d", [(14, 19, 3), (2, 2, 1), (2, 30, 5), (9, 6, 40)])
def test_kid_and_energy_are_the_double_loop(rng, cells, n, m, d):
    X, Y = two(rng, n, m, d)
    assert kid(X, Y) == pytest.approx(oracle.kid(X, Y), rel=1e-10)
    assert energy_distance(X, Y) == pytest.approx(oracle.energy(X, Y), rel=1e-10)
    assert energy_distance(X, Y, unbiased=True) == pytest.approx(oracle.energy(X, Y, True), rel=1e-10)


def test_kid_is_that_of_torchmetrics(rng):
    import torch
    from torchmetrics.image.kid import poly_mmd

    X, Y = two(rng, 30, 30, 5)
    assert kid(X, Y) == pytest.approx(float(poly_mmd(torch.from_numpy(X), torch.from_numpy(Y))), rel=1e-10)


def test_energy_is_the_square_of_scipys(rng):
    X, Y = two(rng, d=1)
    assert energy_distance(X, Y) == pytest.approx(scipy_stats.energy_distance(X[:, 0], Y[:, 0]) ** 2, rel=1e-10)


def test_unbiased_values_are_zero_on_average_and_may_be_negative(rng):
    for function in (kid, lambda X, Y: energy_distance(X, Y, unbiased=True)):
        values = np.array([function(rng.standard_normal((12, 2)), rng.standard_normal((9, 2))) for _ in range(600)])
        assert abs(values.mean()) < 4 * values.std() / 600**0.5
        assert (values < 0).mean() > 0.3


def test_the_bias_of_the_energy_distance_is_the_one_written(rng):
    values = [energy_distance(rng.standard_normal((12, 1)), rng.standard_normal((9, 1))) for _ in range(2000)]
    expected = 2 / np.pi**0.5 * (1 / 12 + 1 / 9)  # E|x - x'| of standard normals is 2 / sqrt(pi)
    assert np.mean(values) == pytest.approx(expected, abs=4 * np.std(values) / 2000**0.5)


def test_distances_far_from_the_other_sample_keep_their_digits(rng):
    X, Y = 1e-4 * rng.standard_normal((9, 3)), 1e-4 * rng.standard_normal((8, 3)) + 1000
    close = energy_distance(X, Y) - 2 * np.linalg.norm(X[:, None] - Y, axis=2).mean()
    assert close == pytest.approx(oracle.energy(X, Y) - 2 * np.linalg.norm(X[:, None] - Y, axis=2).mean(), rel=1e-6)


@pytest.mark.parametrize("p", [1, 2, 3.5])
@pytest.mark.parametrize("n, m", [(5, 5), (4, 6), (7, 12), (13, 2)])
def test_one_dimension_is_the_exact_transport(rng, n, m, p):
    X, Y = two(rng, n, m, 1)
    value = sliced_wasserstein(X, Y, rng=rng, projections=3, p=p)
    assert value == pytest.approx(oracle.wasserstein_1d(X[:, 0], Y[:, 0], p), rel=1e-9)
    if p == 1:
        assert value == pytest.approx(scipy_stats.wasserstein_distance(X[:, 0], Y[:, 0]), rel=1e-9)


def test_sliced_wasserstein_is_the_loop_over_directions(rng):
    X, Y = two(rng)
    directions = np.random.default_rng(4).standard_normal((150, 3))  # three parts of 64
    powers = [oracle.wasserstein_1d(X @ u / np.linalg.norm(u), Y @ u / np.linalg.norm(u), 2) ** 2 for u in directions]
    value = sliced_wasserstein(X, Y, rng=np.random.default_rng(4), projections=150)
    assert value == pytest.approx(np.mean(powers) ** 0.5, rel=1e-10)


def test_a_shift_reads_its_length_over_the_root_of_d(rng):
    X = rng.standard_normal((20, 50))
    assert sliced_wasserstein(X, X + 3.0, rng=rng, projections=4000) == pytest.approx(3.0, rel=0.05)


@pytest.mark.parametrize("n, m, d", [(14, 19, 3), (5, 6, 12), (3, 2, 40)])
def test_coral_is_the_difference_of_covariances(rng, n, m, d):
    X, Y = two(rng, n, m, d)
    expected = ((np.cov(X.T) - np.cov(Y.T)) ** 2).sum() / (4 * d**2)
    assert coral_distance(X, Y) == pytest.approx(expected, rel=1e-11)
    assert coral_distance(X, X[::-1].copy() + 5) == pytest.approx(0, abs=1e-20 + 1e-25 * d)


def test_the_bias_of_coral_is_the_one_written(rng):
    spread = np.array([1.0, 2.0, 0.5])
    values = [
        coral_distance(rng.standard_normal((40, 3)) * spread, rng.standard_normal((30, 3)) * spread)
        for _ in range(2000)
    ]
    C = np.diag(spread**2)
    expected = (np.trace(C) ** 2 + (C**2).sum()) * (1 / 39 + 1 / 29) / 36
    assert np.mean(values) == pytest.approx(expected, abs=4 * np.std(values) / 2000**0.5)


def test_far_scales(rng):
    X, Y = two(rng)
    for factor in (1e-150, 1e150):
        assert energy_distance(factor * X, factor * Y) == pytest.approx(factor * energy_distance(X, Y), rel=1e-12)
        near, far = (sliced_wasserstein(c * X, c * Y, rng=np.random.default_rng(0)) for c in (1, factor))
        assert far == pytest.approx(factor * near, rel=1e-12)
    assert kid(1e-150 * X, 1e-150 * Y) == pytest.approx(3e-300 * _linear_mmd2(X, Y) / 3, rel=1e-6)


def _linear_mmd2(X, Y):
    n, m = len(X), len(Y)
    xx = ((X @ X.T).sum() - (X**2).sum()) / (n * (n - 1))
    yy = ((Y @ Y.T).sum() - (Y**2).sum()) / (m * (m - 1))
    return xx + yy - 2 * (X @ Y.T).mean()


def test_equal_constant_samples_are_zero(rng):
    X = np.full((4, 3), 0.1)
    assert energy_distance(X, X[:2]) == kid(X, X[:2]) == coral_distance(X, X[:2]) == 0
    assert sliced_wasserstein(X, X[:2], rng=rng) == 0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X, r: kid(1e150 * X, X), r"\(x.y / d \+ 1\)\^3 leaves the range"),
        (lambda X, r: coral_distance(1e150 * X, X), "fourth powers of the features leave the range"),
        (lambda X, r: sliced_wasserstein(X, X, rng=r, projections=0), "projections is 0"),
        (lambda X, r: sliced_wasserstein(X, X, rng=r, p=0.5), "p is 0.5; the order"),
        (lambda X, r: sliced_wasserstein(X, X, rng=r, p=np.inf), "p is inf"),
        (lambda X, r: energy_distance(X, X[:1]), "at least 2 each"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((10, 3)), rng)
