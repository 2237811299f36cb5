import numpy as np
import pytest
from oracles import geometry as oracle
from sklearn import manifold

from featurespace.metrics import continuity, knn_preservation, pairs, trustworthiness

ALL = (trustworthiness, continuity, knn_preservation)


def embedded(rng, n=40):
    X = rng.standard_normal((n, 5)) + 3
    return X, X[:, :2] + 0.3 * rng.standard_normal((n, 2))


@pytest.mark.parametrize("block", [2**22, 100])
@pytest.mark.parametrize("k", [1, 5, 19])
def test_values_are_the_formulas_and_scikit_learns(rng, monkeypatch, k, block):
    monkeypatch.setattr(pairs, "CELLS", block)
    X, E = embedded(rng)
    assert trustworthiness(X, E, k=k) == pytest.approx(oracle.trustworthiness(X, E, k), abs=1e-12)
    assert trustworthiness(X, E, k=k) == pytest.approx(manifold.trustworthiness(X, E, n_neighbors=k), abs=1e-12)
    assert continuity(X, E, k=k) == pytest.approx(manifold.trustworthiness(E, X, n_neighbors=k), abs=1e-12)
    assert knn_preservation(X, E, k=k) == pytest.approx(oracle.knn_preservation(X, E, k), abs=1e-12)
    assert trustworthiness(X, E, k=k) != pytest.approx(continuity(X, E, k=k), abs=1e-4)


@pytest.mark.parametrize("metric", ALL)
def test_invariances_and_itself(rng, metric):
    X, E = embedded(rng, 60)
    value = metric(X, E)
    Q = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    assert type(value) is float and 0 < value < 1
    for changed in ((X + 1000) @ Q, 1e150 * X, 1e-150 * X, X.tolist()):
        assert metric(changed, E) == pytest.approx(value, abs=1e-12)
    assert metric(X, 1e-150 * (E - 7)) == pytest.approx(value, abs=1e-12)
    order = rng.permutation(60)
    assert metric(X[order], E[order]) == pytest.approx(value, abs=1e-12)
    assert metric(X, 3 * X @ Q + 1) == 1
    clusters = np.repeat(np.eye(5) * 1e6, 12, axis=0) + X  # distances far below the largest norm
    assert metric(clusters, clusters @ Q) == pytest.approx(1, abs=1e-3) and metric(clusters, clusters) == 1


def test_noise(rng):
    X, E = rng.standard_normal((200, 4)), rng.standard_normal((200, 2))
    assert trustworthiness(X, E) == pytest.approx(0.5, abs=0.05)
    assert continuity(X, E) == pytest.approx(0.5, abs=0.05)
    assert knn_preservation(X, E) == pytest.approx(10 / 199, abs=0.03)


def test_torn_and_laid_over_each_other(rng):
    X = np.r_[rng.standard_normal((50, 2)), rng.standard_normal((50, 2)) + 20]
    over = X - 20 * (np.arange(100) >= 50)[:, None]
    assert continuity(X, over) > trustworthiness(X, over) + 0.1
    cluster = rng.standard_normal((100, 2))
    torn = cluster + 20 * (cluster[:, :1] > 0) * [1, 0]
    assert trustworthiness(cluster, torn) > continuity(cluster, torn) + 0.02


def test_one_point_is_continuous_and_not_trustworthy(rng):
    X = rng.standard_normal((100, 3))
    assert continuity(X, X * 0 + 0.1) == 1 and trustworthiness(X, X * 0 + 0.1) < 0.8


def test_duplicates_are_true_neighbours_whatever_their_order(rng):
    X = np.repeat(rng.standard_normal((10, 3)), 6, axis=0)
    E = rng.standard_normal((60, 2)) * 1e-3 + X[:, :2]
    order = rng.permutation(60)
    assert trustworthiness(X, E, k=3) == trustworthiness(X[order], E[order], k=3) == 1


@pytest.mark.parametrize("metric", ALL)
def test_errors_name_the_reason(rng, metric):
    X = rng.standard_normal((20, 3))
    with pytest.raises(ValueError, match="X has 20 rows and E 19; an embedding has one row a sample"):
        metric(X, X[:-1])
    with pytest.raises(ValueError, match="E has 60 values that are not finite"):
        metric(X, X * np.nan)
    with pytest.raises(ValueError, match="k is 0; with 20 samples it must"):
        metric(X, X, k=0)


def test_the_largest_k(rng):
    X = rng.standard_normal((20, 3))
    for metric in (trustworthiness, continuity):
        with pytest.raises(ValueError, match="k is 10; with 20 samples it must be at least 1 and below 10"):
            metric(X, X)
    assert knn_preservation(X, X[::-1], k=19) == 1
    with pytest.raises(ValueError, match="k is 20; with 20 samples it must lie between 1 and 19"):
        knn_preservation(X, X, k=20)
