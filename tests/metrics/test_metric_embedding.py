import warnings

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from featurespace.metrics import exact_neighbours, pca_embedding, trustworthiness, umap_embedding


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_neighbours_are_scikit_learns(rng, metric):
    X = rng.standard_normal((700, 5)) + 100 * (metric == "euclidean")
    indices, distances = exact_neighbours(X, k=9, metric=metric)
    expected, found = NearestNeighbors(n_neighbors=9, metric=metric, algorithm="brute").fit(X).kneighbors(X)
    np.testing.assert_array_equal(indices, found)
    np.testing.assert_allclose(distances, expected, atol=1e-5)
    assert (indices[:, 0] == np.arange(700)).all() and (distances[:, 0] == 0).all()


def test_itself_comes_before_its_duplicates():
    X = np.repeat([[0.0, 1.0], [5.0, 5.0]], 4, axis=0)
    indices, distances = exact_neighbours(X, k=4)
    assert (indices[:, 0] == np.arange(8)).all() and (distances == 0).all()
    assert all(set(row) == set(range(4 * (i // 4), 4 * (i // 4) + 4)) for i, row in enumerate(indices.tolist()))


def test_near_neighbours_keep_their_digits(rng):
    X = rng.standard_normal((50, 3)) * 1e-3 + 1e4
    X[0] += 300
    indices, distances = exact_neighbours(X, k=2)
    expected = np.array([np.linalg.norm(X[i] - X, axis=1) for i in range(50)]) + np.diag(np.full(50, np.inf))
    np.testing.assert_array_equal(indices[:, 1], expected.argmin(axis=1))
    np.testing.assert_allclose(distances[:, 1], expected.min(axis=1), rtol=1e-9)


def test_umap_repeats_bit_for_bit_and_shows_clusters(rng):
    X = np.concatenate([rng.standard_normal((40, 6)), rng.standard_normal((40, 6)) + 12]).astype(np.float32)
    kept = X.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        first = umap_embedding(X, seed=3)
    assert first.shape == (80, 2) and np.isfinite(first).all()
    np.testing.assert_array_equal(first, umap_embedding(X, seed=3))
    np.testing.assert_array_equal(X, kept)
    assert (first != umap_embedding(X, seed=4)).any()
    own = np.linalg.norm(first[:40] - first[:40].mean(0), axis=1).max()
    assert np.linalg.norm(first[:40].mean(0) - first[40:].mean(0)) > own
    assert trustworthiness(X, first) > 0.8


def test_pca_is_the_eigendecomposition_with_a_fixed_sign(rng):
    X = rng.standard_normal((40, 5)) * [5, 3, 1, 1, 1] + 7
    found = pca_embedding(X)
    values, axes = np.linalg.eigh(np.cov(X.T))
    np.testing.assert_allclose(found.var(axis=0, ddof=1), values[::-1][:2])
    np.testing.assert_allclose(np.abs(found), np.abs((X - X.mean(0)) @ axes[:, ::-1][:, :2]))
    order = rng.permutation(40)
    np.testing.assert_allclose(pca_embedding(X[order]), found[order])
    np.testing.assert_allclose(pca_embedding(-X), -found)
    assert pca_embedding(rng.standard_normal((9, 30)), components=8).shape == (9, 8)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X: exact_neighbours(X, k=21), "k is 21; with 20 samples"),
        (lambda X: exact_neighbours(X, k=2, metric="l1"), "metric 'l1' is not known; allowed: euclidean, cosine"),
        (lambda X: umap_embedding(X, seed=0, n_neighbors=21), "n_neighbors is 21; with 20 samples"),
        (lambda X: umap_embedding(X, seed=0, min_dist=2), "min_dist is 2"),
        (lambda X: umap_embedding(X[:3], seed=0), "X has 3 rows; UMAP needs at least 4"),
        (lambda X: umap_embedding(X, seed=0, start=X), r"start has the shape \(20, 3\); it must be \(20, 2\)"),
        (lambda X: pca_embedding(X, components=4), r"components is 4; X of shape \(20, 3\) has at most 3"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((20, 3)))


def test_the_nearest_sample_is_the_sample_itself(rng):
    indices, distances = exact_neighbours(rng.standard_normal((20, 3)), k=1)
    assert indices.tolist() == [[row] for row in range(20)] and distances.tolist() == [[0.0]] * 20


@pytest.mark.parametrize("exponent", [-700, 600])
def test_neighbours_do_not_depend_on_an_extreme_scale(rng, exponent):
    X = rng.standard_normal((30, 4))
    indices, distances = exact_neighbours(X, k=3)
    found = exact_neighbours(np.ldexp(X, exponent), k=3)
    np.testing.assert_array_equal(found[0], indices)
    np.testing.assert_array_equal(found[1], np.ldexp(distances, exponent))
