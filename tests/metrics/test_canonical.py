import numpy as np
import pytest
from oracles import canonical as oracle
from scipy.linalg import subspace_angles

from featurespace.metrics import cca, pwcca, svcca
from featurespace.metrics.canonical import canonical_basis, leading_basis


def related(rng, n, d1, d2):
    X = rng.standard_normal((n, d1)) * np.arange(1, d1 + 1) + 3
    shared = min(d1, d2, 3)
    return X, np.c_[X[:, :shared], np.zeros((n, d2 - shared))] + rng.standard_normal((n, d2)) * np.arange(1, d2 + 1)


@pytest.mark.parametrize("n, d1, d2", [(40, 3, 5), (40, 6, 2), (30, 12, 12), (9, 4, 3), (200, 1, 1)])
def test_cca_by_two_other_roads(rng, n, d1, d2):
    X, Y = related(rng, n, d1, d2)
    assert cca(X, Y) == pytest.approx(oracle.cca(X, Y), abs=1e-10)
    angles = subspace_angles(X - X.mean(axis=0), Y - Y.mean(axis=0))
    assert cca(X, Y) == pytest.approx(np.cos(angles).mean(), abs=1e-10)


@pytest.mark.parametrize("variance", [0.5, 0.9, 0.99, 1])
def test_svcca_is_the_formula(rng, variance):
    X, Y = related(rng, 60, 8, 5)
    assert svcca(X, Y, variance=variance) == pytest.approx(oracle.svcca(X, Y, variance), abs=1e-10)
    if variance == 1:
        assert svcca(X, Y, variance=1) == pytest.approx(cca(X, Y), abs=1e-12)
    else:
        assert svcca(X, Y, variance=variance) != pytest.approx(cca(X, Y), abs=1e-3)


def test_svcca_keeps_the_fewest_components():
    X = np.array([[3.0, 0, 0], [-3, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 0.5], [0, 0, -0.5]])  # shares 18, 2, 0.5
    for share, kept in [(0.5, 1), (18 / 20.5 - 1e-9, 1), (18 / 20.5 + 1e-9, 2), (0.99, 3)]:
        assert leading_basis(X, variance=share).shape == (6, kept)


@pytest.mark.parametrize("d1, d2", [(3, 5), (4, 4), (6, 3)])
def test_pwcca_takes_the_weights_of_the_smaller(rng, d1, d2):
    X, Y = related(rng, 40, d1, d2)
    expected = oracle.pwcca(X, Y) if d1 <= d2 else oracle.pwcca(Y, X)
    assert pwcca(X, Y) == pytest.approx(expected, abs=1e-10)
    assert (pwcca(Y, X) == pytest.approx(pwcca(X, Y), abs=1e-12)) is (d1 != d2)
    A = rng.standard_normal((max(d1, d2),) * 2) + 3 * np.eye(max(d1, d2))
    changed = (X, Y @ A) if d2 >= d1 else (X @ A, Y)
    assert pwcca(*changed) == pytest.approx(pwcca(X, Y), abs=1e-9)


def test_dependent_columns_do_not_count(rng):
    X, Y = related(rng, 40, 4, 6)
    dependent = np.c_[X, 2 * X[:, 0] - X[:, 1], np.full(40, 0.1), 1e-9 * X[:, 2] + 5e-9]
    assert canonical_basis(dependent).shape == (40, 4)
    assert cca(dependent, Y) == pytest.approx(cca(X, Y), abs=1e-9)
    assert pwcca(np.c_[X, np.zeros(40)], Y) == pytest.approx(pwcca(X, Y), abs=1e-9)
    assert canonical_basis(X * [1, 1e-120, 1e90, 1e150]).shape == (40, 4)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
@pytest.mark.parametrize("metric", [cca, svcca, pwcca])
def test_scales_near_the_ends_of_float64(rng, metric, scale):
    X, Y = related(rng, 30, 4, 4)
    assert metric(X * scale, Y) == pytest.approx(metric(X, Y), abs=1e-12)


@pytest.mark.parametrize("metric", [cca, pwcca])
def test_any_data_correlate_perfectly_once_d_reaches_n(rng, metric):
    X, Y = rng.standard_normal((2, 20, 19))
    assert metric(X, Y) == pytest.approx(1, abs=1e-10)
    assert metric(X, rng.standard_normal((20, 400))) == pytest.approx(1, abs=1e-10)
    assert metric(X[:2], Y[:2]) == pytest.approx(1) and metric(X[:3], Y[:3]) == pytest.approx(1)
    # 12 + 12 directions in 19: five of the twelve correlations are 1
    angles = subspace_angles(*(Z[:, :12] - Z[:, :12].mean(axis=0) for Z in (X, Y)))
    assert (np.cos(angles) > 1 - 1e-10).sum() == 5
    assert metric(X[:, :12], Y[:, :12]) < 0.99


def test_noise_has_the_value_that_the_documentation_tells(rng):
    assert np.mean([cca(*rng.standard_normal((2, 1000, 100))) for _ in range(3)]) == pytest.approx(0.27, abs=0.01)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X: cca(X[:1], X[:1]), "canonical correlations need at least 2 samples"),
        (lambda X: svcca(X[:1], X[:1]), "canonical correlations need at least 2 samples"),
        (lambda X: cca(X * 0 + 0.1, X), "X is constant"),
        (lambda X: svcca(X, X * 0 + 0.1), "Y is constant"),
        (lambda X: pwcca(X, X * 0), "Y is constant"),
        (lambda X: svcca(X, X, variance=0), "variance is 0; the share to keep lies above 0 and at most at 1"),
        (lambda X: svcca(X, X, variance=99), "variance is 99"),
        (lambda X: pwcca(X, X[:-1]), "X has 20 rows and Y 19; paired"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((20, 3)))
