import numpy as np
import pytest
import torch
from oracles import transferability as oracle
from scipy.optimize import minimize
from scipy.stats import multivariate_normal, ortho_group
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import BayesianRidge

from featurespace.metrics import h_score, leep, log_me, log_me_regression


def shrunk(X, y):
    return h_score(X, y, shrinkage=True)


def data(rng, n=80, d=6, classes=3, gap=1.0):
    y = rng.permutation(np.arange(n) % classes)
    return rng.standard_normal((n, d)) * np.arange(1, d + 1) + gap * rng.standard_normal((classes, d))[y] + 1, y


@pytest.mark.parametrize("n, d", [(80, 1), (80, 6), (40, 20), (30, 60)])
def test_log_me_is_the_papers_fixed_point(rng, n, d):
    X, y = data(rng, n, d, gap=2)
    assert log_me(X, y) == pytest.approx(oracle.log_me(X, np.eye(3)[y]), abs=1e-7)
    Y = np.c_[X[:, 0] + 3 * rng.standard_normal(n), X @ rng.standard_normal(d) + 20 * rng.standard_normal(n)]
    assert log_me_regression(X, Y) == pytest.approx(oracle.log_me(X, Y), abs=1e-7)
    assert log_me_regression(X, Y) == pytest.approx(np.mean([log_me_regression(X, each) for each in Y.T]))


def test_log_me_is_the_largest_density_of_the_targets(rng):
    X, _ = data(rng, 25, 4)
    y = X[:, 0] + rng.standard_normal(25)

    def loss(logs):
        a, b = np.exp(logs)
        return -multivariate_normal(np.zeros(25), np.eye(25) / b + X @ X.T / a).logpdf(y) / 25

    found = min(minimize(loss, start, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).fun
                for start in ([0, 0], [3, 0], [-3, 2]))  # fmt: skip
    assert log_me_regression(X, y) == pytest.approx(-found, abs=1e-8)


def test_log_me_is_scikit_learns_evidence(rng):
    X, _ = data(rng, 60, 5)
    y = X @ rng.standard_normal(5) + rng.standard_normal(60)
    tiny = {"alpha_1": 0, "alpha_2": 0, "lambda_1": 0, "lambda_2": 0}
    model = BayesianRidge(compute_score=True, fit_intercept=False, max_iter=5000, tol=1e-12, **tiny).fit(X, y)
    assert log_me_regression(X, y) == pytest.approx(model.scores_[-1] / 60, abs=1e-6)


@pytest.mark.parametrize("n, d", [(80, 1), (80, 6), (40, 30)])
def test_h_score_is_the_loop_and_discriminant_analysis(rng, n, d):
    X, y = data(rng, n, d)
    assert h_score(X, y) == pytest.approx(oracle.h_score(X, y))
    Z = np.c_[X, X[:, :1] * 2]  # singular covariance
    assert h_score(Z, y) == pytest.approx(oracle.h_score(Z, y)) == pytest.approx(h_score(X, y))
    if d > 1:
        ratios = LinearDiscriminantAnalysis(solver="eigen").fit(X, y)
        within = np.linalg.eigvals(
            np.linalg.solve(ratios.covariance_, np.cov(X.T, bias=True) - ratios.covariance_)
        ).real
        assert h_score(X, y) == pytest.approx((within / (1 + within)).sum())


@pytest.mark.parametrize("n, d", [(80, 1), (80, 6), (30, 60), (12, 200)])
def test_shrunk_h_score_is_the_loop_with_ledoit_wolf(rng, n, d):
    X, y = data(rng, n, d)
    amount = ledoit_wolf_shrinkage(X)
    assert shrunk(X, y) == pytest.approx(oracle.h_score(X, y, amount))


def test_leep_is_the_loop(rng):
    P, y = rng.dirichlet(np.ones(5) * 0.3, 60), rng.choice(["a", "b", "c"], 60)
    assert leep(P, y) == pytest.approx(oracle.leep(P, y))
    assert leep(np.c_[P, np.zeros(60)], y) == pytest.approx(oracle.leep(P, y))  # a source class that never occurs
    blind = np.tile(P[:1], (60, 1))
    shares = np.unique(y, return_counts=True)[1] / 60
    assert leep(blind, y) == pytest.approx((shares * np.log(shares)).sum())
    assert leep(np.eye(3)[np.unique(y, return_inverse=True)[1]], y) == 0


@pytest.mark.parametrize("score", [log_me, h_score, shrunk])
def test_better_features_score_higher(rng, score):
    y = np.arange(300) % 3
    noise = rng.standard_normal((300, 8))
    scores = [score(noise + gap * np.eye(3, 8)[y], y) for gap in (0, 1, 2, 4)]
    assert np.all(np.diff(scores) > 0)


def test_better_source_classes_score_higher(rng):
    y = np.arange(300) % 3
    logits = rng.standard_normal((300, 5))
    scores = []
    for gap in (0, 1, 3):
        e = np.exp(logits + gap * np.eye(3, 5)[y])
        scores.append(leep(e / e.sum(axis=1, keepdims=True), y))
    assert np.all(np.diff(scores) > 0) and scores[-1] < 0


def test_invariances_and_what_breaks_them(rng):
    X, y = data(rng)
    Q = ortho_group.rvs(6, random_state=1)
    A = rng.standard_normal((6, 6))
    for score in (log_me, h_score, shrunk):
        before = score(X, y)
        names = np.array(["z", "k", "a"])[y]
        order = rng.permutation(80)
        for changed in (X @ Q, 7 * X, X * 1e-150, X * 1e150):
            assert score(changed, y) == pytest.approx(before, abs=1e-9)
        assert score(X[order], names[order]) == pytest.approx(before, abs=1e-9)
    for score in (h_score, shrunk):
        assert score(X - 90, y) == pytest.approx(score(X, y), abs=1e-9)
        grid = (np.round(X * 256) / 256).astype("f4")
        assert score(grid + np.float32(1000), y) == pytest.approx(score(grid, y), abs=1e-7)
    assert h_score(X @ A, y) == pytest.approx(h_score(X, y), abs=1e-9)
    assert shrunk(X @ A, y) != pytest.approx(shrunk(X, y), abs=1e-3)
    assert log_me(X - 90, y) != pytest.approx(log_me(X, y), abs=1e-3)
    assert log_me(X * [9, 1, 1, 1, 1, 0.1], y) != pytest.approx(log_me(X, y), abs=1e-3)
    P = rng.dirichlet(np.ones(4), 80)
    assert leep(P[:, ::-1], y) == pytest.approx(leep(P, y))


def test_dtypes_and_inputs_kept(rng):
    X, y = data(rng)
    for score in (log_me, h_score, shrunk):
        kept = X.copy()
        assert score(torch.from_numpy(X), y) == score(X, y)
        np.testing.assert_array_equal(X, kept)
        assert score(torch.from_numpy(X).bfloat16(), y) == pytest.approx(score(X, y), abs=0.02)
        assert score(X.astype(np.float16), y) == pytest.approx(score(X, y), abs=0.005)
        assert score(np.round(X).astype(int), y) == score(np.round(X), y)
    assert log_me_regression(X, torch.from_numpy(X[:, 0] + y)) == log_me_regression(X, (X[:, 0] + y).tolist())
    scaled = log_me_regression(X, 1e150 * (X[:, 0] + y))
    assert scaled == pytest.approx(log_me_regression(X, X[:, 0] + y) - 150 * np.log(10))


def test_labels_that_tell_nothing(rng):
    X = rng.standard_normal((60, 20))
    found = [h_score(X, rng.permutation(60) % 3) for _ in range(400)]
    assert np.mean(found) == pytest.approx(20 * 2 / 59, abs=4 * np.std(found) / 20)
    # evidence does not grow with useless features, while the H-score does
    y = np.arange(60) % 3
    assert log_me(np.c_[X[:, :2], rng.standard_normal((60, 30))], y) < log_me(np.c_[X[:, :2], np.ones(60)], y)


def test_constant_features_and_many_features(rng):
    y = np.arange(30) % 2
    # features of one value stand for an intercept: the evidence is that of a mean
    assert log_me(np.full((30, 3), 0.7), y) == pytest.approx(
        oracle.log_me(np.full((30, 3), 0.7), np.eye(2)[y]), abs=1e-7
    )
    wide = rng.standard_normal((30, 300))
    assert np.isfinite(log_me(wide, y)) and 0 <= shrunk(wide, y) <= 1
    assert np.isfinite(log_me(wide[:2], y[:2])) and np.isfinite(log_me(wide[:3], y[:3]))
    duplicated = np.repeat(rng.standard_normal((15, 4)), 2, axis=0)
    assert 0 <= h_score(duplicated, y) <= 1


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X, y: log_me(X * 0, y), "X is 0 throughout"),
        (lambda X, y: log_me(X, y * 0), "y has one class, 0"),
        (lambda X, y: log_me(X, y[1:]), r"y has shape \(79,\)"),
        (lambda X, y: log_me(X * np.nan, y), "X has 480 values that are not finite"),
        (lambda X, y: log_me(np.eye(3)[y], y), "the features fit class 0 exactly, so that its evidence has no bound"),
        (lambda X, y: log_me_regression(X, X[:, :2]), "the features fit target 0 exactly"),
        (lambda X, y: log_me_regression(X, y[1:]), "X has 80 rows and Y 79"),
        (lambda X, y: log_me_regression(X, np.c_[y, y * 0]), "target 1 is 0 throughout"),
        (lambda X, y: h_score(X * 0 + 3, y), "X is constant"),
        (lambda X, y: shrunk(X * 0 + 3, y), "X is constant"),
        (lambda X, y: h_score(X[:7], y[:7]), "7 samples span 6 of at most 6 directions, .* shrinkage=True"),
        (
            lambda X, y: h_score(np.random.default_rng(0).normal(size=(80, 75)), y),
            "80 samples span 75 of at most 79 directions",
        ),
        (lambda X, y: h_score(X, [None, *y[1:]]), "y has missing labels"),
        (lambda X, y: leep(X, y), "probabilities are negative in row"),
        (lambda X, y: leep(np.abs(X), y), "probabilities sum to .* in row 0; rows sum to 1"),
        (lambda X, y: leep(np.ones((80, 1)), y * 0), "y has one class"),
        (lambda X, y: leep(np.ones((80, 1)) * np.inf, y), "probabilities has 80 values that are not finite"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(*data(rng))


def test_two_values_in_equal_parts_are_not_shrunk():
    """All samples are equally far from the mean and in one direction: Ledoit and Wolf shrink by nothing."""
    y = np.tile([0, 1], 20)
    X = np.stack([y, 3 * y, 0 * y], axis=1)
    assert shrunk(X, y) == pytest.approx(1) == pytest.approx(h_score(X, y))
    assert shrunk(X, np.repeat([0, 1], 20)) == pytest.approx(0, abs=1e-12)
