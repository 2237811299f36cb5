import numpy as np
import pytest
from oracles import similarity as oracle

from featurespace.metrics import (
    cosine_neighbours,
    knn_jaccard,
    knn_jaccard_from_neighbours,
    mutual_knn,
    mutual_knn_jackknife,
)
from featurespace.metrics.neighbours import ranked_neighbours


def related(rng, n, d=3):
    X = rng.standard_normal((n, d)) + 0.5
    return X, X + 0.5 * rng.standard_normal((n, d))


@pytest.mark.parametrize("k", [1, 4, 11])
def test_knn_jaccard_against_sets(rng, k):
    X, Y = related(rng, 40)
    assert knn_jaccard(X, Y, k=k) == pytest.approx(oracle.knn_jaccard(X, Y, k))
    assert knn_jaccard(X, Y, k=k) <= mutual_knn(X, Y, k=k)


def test_ranked_neighbours_nearest_first_and_ties_to_the_first(rng):
    X = rng.standard_normal((700, 4))
    U = X / np.linalg.norm(X, axis=1, keepdims=True)
    likeness = U @ U.T - 9 * np.eye(700)
    np.testing.assert_array_equal(ranked_neighbours(X, k=5), np.argsort(-likeness, axis=1)[:, :5])
    copies = np.repeat(X[:50], 3, axis=0)
    found = ranked_neighbours(copies, k=2)
    np.testing.assert_array_equal(found[::3], np.arange(150)[::3, None] + [1, 2])
    assert ranked_neighbours(np.ones((9, 2)) * np.arange(1, 10)[:, None], k=2)[5].tolist() == [0, 1]
    for k in range(1, 12):  # the same copies are taken but for about one in a thousand
        assert mutual_knn(copies, copies * (0.1 + rng.random((150, 1))), k=k) > 1 - 1e-3


@pytest.mark.parametrize("kind", ["samples", "equal", "unequal", "one large"])
@pytest.mark.parametrize("k", [1, 3, 8])
def test_every_leave_out_equals_deleting_the_rows(rng, k, kind):
    n = 42
    X, Y = related(rng, n)
    X[5] = X[7] * 2  # tied for all others
    groups = {
        "samples": None,
        "equal": np.arange(n) % 7,
        "unequal": np.sort(np.arange(n) ** 2 % 13)[::-1],
        "one large": np.maximum(np.arange(n) - 30, 0),
    }[kind]
    units = np.arange(n) if groups is None else groups
    found = mutual_knn_jackknife(X, Y, k=k, groups=groups)
    expected = [mutual_knn(X[units != u], Y[units != u], k=k) for u in np.unique(units)]
    np.testing.assert_allclose(found.leave_one_out, expected, rtol=0, atol=1e-12)
    assert found.value == mutual_knn(X, Y, k=k) and found.n_groups == len(expected)


def test_no_interval_and_why(rng):
    X, Y = related(rng, 20)
    assert mutual_knn_jackknife(X, Y, groups=np.arange(20) % 4).interval == "none: 4 groups, at least 5 needed"
    assert mutual_knn_jackknife(X[:4], Y[:4], k=2).interval == "none: 4 samples, at least 5 needed"
    undefined = "none: the value is undefined when one sample is left out"
    assert mutual_knn_jackknife(X, Y, k=19).interval == undefined
    assert mutual_knn_jackknife(X, Y, k=18).interval == "jackknife"


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_scales_near_the_ends_of_float64(rng, scale):
    X, Y = related(rng, 30)
    assert mutual_knn(X * scale, Y) == mutual_knn(X, Y)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X: knn_jaccard(X, X, k=20), "k is 20; with 20 samples it must lie between 1 and 19"),
        (lambda X: knn_jaccard(X, np.r_[X[:19], X[:1] * 0]), "Y has 1 rows of zeros, the first is row 19"),
        (lambda X: knn_jaccard(X[:1], X[:1]), "k is 10; with 1 samples"),
        (lambda X: mutual_knn_jackknife(X, X, level=95), "level is 95"),
        (lambda X: mutual_knn_jackknife(X, X, k=0), "k is 0"),
        (lambda X: mutual_knn_jackknife(X, X, groups=[1]), "groups has shape"),
        (lambda X: knn_jaccard_from_neighbours(cosine_neighbours(X, k=2), cosine_neighbours(X, k=3)), "shapes"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((20, 3)))
