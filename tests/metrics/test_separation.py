import numpy as np
import pytest
import torch
from oracles import geometry as oracle
from scipy.stats import f_oneway
from sklearn.metrics import silhouette_score

from featurespace.metrics import fisher_ratio, pairs, silhouette
from featurespace.stats import block_jackknife


def classes(rng, n=60, d=5, count=3, apart=1.0):
    y = np.r_[np.arange(count), rng.integers(0, count, n - count)]
    return rng.standard_normal((n, d)) * np.arange(1, d + 1) + apart * y[:, None] + 3, y


@pytest.mark.parametrize("block", [2**22, 300])
@pytest.mark.parametrize("count", [2, 3, 40])  # 40 of 60: some alone in their class
def test_silhouette_is_scikit_learns(rng, monkeypatch, block, count):
    monkeypatch.setattr(pairs, "CELLS", block)
    for apart in (0.0, 2.0):
        X, y = classes(rng, count=count, apart=apart)
        assert silhouette(X, y) == pytest.approx(silhouette_score(X, y), abs=1e-12)


@pytest.mark.parametrize("multivariate", [False, True])
def test_fisher_ratio_is_the_formula(rng, multivariate):
    for count in (2, 5):
        X, y = classes(rng, count=count)
        expected = oracle.fisher_ratio(X, y, multivariate)
        assert fisher_ratio(X, y, multivariate=multivariate) == pytest.approx(expected, rel=1e-10)


def test_fisher_ratio_of_one_column_is_an_analysis_of_variance(rng):
    X, y = classes(rng, d=1)
    F = f_oneway(*(X[y == c, 0] for c in range(3))).statistic
    assert fisher_ratio(X, y) * (60 - 3) / (3 - 1) == pytest.approx(F)
    assert fisher_ratio(X, y, multivariate=True) == pytest.approx(fisher_ratio(X, y))


def test_fisher_ratio_of_unrelated_labels(rng):
    plain, shaped = np.mean(
        [
            [fisher_ratio(X, y, multivariate=m) for m in (False, True)]
            for X, y in (classes(rng, count=4, apart=0) for _ in range(400))
        ],
        axis=0,
    )
    assert plain == pytest.approx(3 / 56, rel=0.1) and shaped == pytest.approx(5 * 3 / (60 - 4 - 5 - 1), rel=0.1)


@pytest.mark.parametrize("metric", [silhouette, fisher_ratio, lambda X, y: fisher_ratio(X, y, multivariate=True)])
def test_invariances_types_and_direction(rng, metric):
    X, y = classes(rng)
    value = metric(X, y)
    Q = np.linalg.qr(rng.standard_normal((5, 5)))[0]
    for changed in ((X + 7) @ Q, 1e-150 * X, 1e150 * X, X[::1]):
        assert metric(changed, y) == pytest.approx(value, rel=1e-9)
    order = rng.permutation(60)
    assert type(value) is float and metric(X[order], y[order]) == pytest.approx(value, rel=1e-12)
    assert metric(X, np.array(["b", "a", "c"], dtype=object)[y]) == pytest.approx(value, rel=1e-12)
    assert metric(torch.from_numpy(X).requires_grad_(), torch.from_numpy(y)) == value
    assert metric(X + 2 * y[:, None], y) > value > metric(X, rng.permutation(y))
    grid = np.round(X * 256) / 256
    assert metric((grid + 1000).astype("f4"), y) == pytest.approx(metric(grid, y), rel=1e-9)
    kept = X.copy()
    assert metric(X, y) == value and np.array_equal(X, kept)


def test_only_the_multivariate_ratio_ignores_the_shape_of_the_classes(rng):
    X, y = classes(rng)
    A = rng.standard_normal((5, 5)) + 3 * np.eye(5)
    assert fisher_ratio(X @ A, y, multivariate=True) == pytest.approx(fisher_ratio(X, y, multivariate=True))
    assert fisher_ratio(X @ A, y) != pytest.approx(fisher_ratio(X, y), rel=1e-2)
    scales = 10.0 ** np.arange(-12, 13, 6)
    assert fisher_ratio(X * scales, y, multivariate=True) == pytest.approx(fisher_ratio(X, y, multivariate=True))


def test_degenerate_samples():
    assert silhouette(np.ones((4, 2)), [0, 0, 1, 1]) == 0  # everything equally near
    assert silhouette([[0.0], [0.0], [1.0]], [0, 0, 1]) == pytest.approx(2 / 3)
    assert fisher_ratio([[0.0], [1.0], [5.0]], [0, 0, 1]) > 0


def test_an_interval_by_blocks_of_patients(rng):
    y = np.repeat(np.arange(2), 150)
    X = rng.standard_normal((300, 4)) + y[:, None]
    found = block_jackknife(fisher_ratio, [X, y], rng=rng, groups=np.repeat(np.arange(60), 5))
    assert found.ci_low < found.value < found.ci_high and found.n_groups == 20


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X: silhouette(X, [0, 1]), r"y has shape \(2,\); it needs one label for each of the 20"),
        (lambda X: silhouette(X, ["a"] * 20), "y has only the class a; classes are apart from 2 on"),
        (lambda X: silhouette(X, np.arange(20)), "y has 20 classes for 20 samples; the silhouette needs"),
        (lambda X: fisher_ratio(X, [None, 1] * 10), "y has 10 missing labels, the first in row 0"),
        (lambda X: fisher_ratio(X, [1.0, float("nan")] * 10), "y has 10 missing labels, the first in row 1"),
        (lambda X: fisher_ratio(X, np.arange(20)), "each of the 20 classes is a single point"),
        (lambda X: fisher_ratio(X * 0 + 0.1, [0, 1] * 10), "each of the 2 classes is a single point"),
        (lambda X: fisher_ratio(X[:4], [0, 1] * 2, multivariate=True), "has rank 2 for 3 columns, and no inverse"),
        (lambda X: fisher_ratio(np.c_[X, X[:, 0]], [0, 1] * 10, multivariate=True), "has rank 3 for 4 columns"),
        (lambda X: fisher_ratio(np.c_[X, np.ones(20)], [0, 1] * 10, multivariate=True), "has rank 3 for 4 columns"),
        (lambda X: silhouette(X * np.nan, [0, 1] * 10), "X has 60 values that are not finite"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((20, 3)))
