import numpy as np
import pytest
from oracles import probe as oracle
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

from featurespace.metrics import knn_probe, linear_probe


def classes_of(rng, n=150, d=8, classes=4, gap=1.0, correlated=True):
    y = rng.permutation(np.arange(n) % classes)
    X = rng.standard_normal((n, d)) + gap * rng.standard_normal((classes, d))[y]
    if correlated:
        X = X @ rng.standard_normal((d, d)) * np.arange(1, d + 1) + 5
    return X, np.array(["ant", "bee", "cat", "dog", "eel", "fox"])[y]


@pytest.mark.parametrize("C", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("d, classes", [(1, 3), (8, 2), (8, 4), (60, 6), (250, 3)])
def test_the_optimum_is_scikit_learns(rng, d, classes, C):
    X, y = classes_of(rng, 200, d, classes)
    found = linear_probe(X[:150], y[:150], X[150:], rng=rng, C=[C])
    np.testing.assert_allclose(found.probabilities, oracle.linear(X[:150], y[:150], X[150:], C), atol=1e-3)
    assert found.C == C and found.cv_scores == {} and found.name == "linear"
    np.testing.assert_array_equal(found.predictions, found.classes[found.probabilities.argmax(axis=1)])
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)


def test_cross_validation_is_scikit_learns(rng):
    X, y = classes_of(rng, 120, 10, 3)
    found = linear_probe(X, y, X, rng=np.random.default_rng(4), folds=3)
    seed = int(np.random.default_rng(4).integers(2**32))
    standard = (X - X.mean(0)) / X.std(0)
    for C, score in found.cv_scores.items():
        total = 0.0
        for train, held_out in StratifiedKFold(3, shuffle=True, random_state=seed).split(X, y):
            model = LogisticRegression(C=C, tol=1e-9, max_iter=9999).fit(standard[train], y[train])
            p = model.predict_proba(standard[held_out])
            total += np.log(p[np.arange(len(held_out)), np.searchsorted(model.classes_, y[held_out])]).sum()
        assert score == pytest.approx(total / len(y), abs=5e-3)
    best = max(found.cv_scores.values())
    assert min(C for C, score in found.cv_scores.items() if score >= best - 1e-3) == found.C
    assert found.folds == 3 and found.note == "" and found.C > 1e-3
    np.testing.assert_allclose(found.probabilities, oracle.linear(X, y, X, found.C), atol=1e-3)  # refitted with it


def test_groups_stay_in_one_fold_and_change_the_choice(rng):
    # 20 patients with a strong fingerprint: only folds by patient see that it does not carry over
    groups = np.repeat(np.arange(20), 10)
    y = groups % 2
    X = rng.standard_normal((20, 30))[groups] + 0.1 * rng.standard_normal((200, 30))
    plain = linear_probe(X, y, X, rng=rng)
    grouped = linear_probe(X, y, X, rng=rng, groups=groups)
    assert max(grouped.cv_scores.values()) < -0.6 < -0.1 < max(plain.cv_scores.values())
    assert grouped.C < plain.C


def test_the_test_set_is_never_touched(rng):
    X, y = classes_of(rng)
    T = rng.standard_normal((30, 8)) * 100 + 50
    whole = linear_probe(X, y, T, rng=np.random.default_rng(1))
    first = linear_probe(X, y, T[:1], rng=np.random.default_rng(1))
    np.testing.assert_allclose(whole.probabilities[:1], first.probabilities, atol=1e-12)
    assert whole.C == first.C and whole.cv_scores == first.cv_scores


def test_constant_columns_and_scales_change_nothing(rng):
    X, y = classes_of(rng)
    changed = np.c_[X * 10.0 ** np.arange(-4, 4) + 7, np.full(len(X), 3.3)]
    T = changed.copy()
    T[:, -1] = rng.standard_normal(len(X))  # constant in training only
    plain = linear_probe(X, y, X, rng=np.random.default_rng(1))
    other = linear_probe(changed, y, T, rng=np.random.default_rng(1))
    np.testing.assert_allclose(plain.probabilities, other.probabilities, atol=1e-6)


def test_wide_features_are_rotated_exactly(rng):
    X, y = classes_of(rng, 60, 200, 3)
    found = linear_probe(X[:50], y[:50], X[50:], rng=rng, C=[1.0])
    np.testing.assert_allclose(found.probabilities, oracle.linear(X[:50], y[:50], X[50:], 1.0), atol=1e-3)


def test_float32_torch_and_repeats(rng):
    import torch

    X, y = classes_of(rng)
    X = X.astype(np.float32)
    kept = X.copy()
    a = linear_probe(X, y, X, rng=np.random.default_rng(1))
    b = linear_probe(torch.from_numpy(X), y, torch.from_numpy(X), rng=np.random.default_rng(1))
    np.testing.assert_array_equal(a.probabilities, b.probabilities)
    np.testing.assert_array_equal(X, kept)


def test_noise_takes_the_strongest_penalty_and_chance(rng):
    X, y = rng.standard_normal((300, 20)), rng.integers(0, 3, 300)
    found = linear_probe(X[:200], y[:200], X[200:], rng=rng)
    assert found.C == 1e-5 and (found.predictions == y[200:]).mean() < 0.5


def test_fewer_folds_are_said(rng):
    X, y = classes_of(rng, 60, 3, 3)
    y = np.where(np.arange(60) < 2, "rare", y)
    found = linear_probe(X, y, X, rng=rng)
    assert found.folds == 2 and found.note == "2 folds, not 4: the smallest class has 2 samples"
    found = linear_probe(X, y, X, rng=rng, groups=np.arange(60) % 3)
    assert "and there are 3 groups" in found.note
    found = linear_probe(X, y, X, rng=rng, groups=np.zeros(60), C=[0.1, 1, 10])
    assert (found.C, found.folds, found.cv_scores) == (1.0, 0, {})
    assert found.note == "no cross-validation: 1 group; C is the middle of the path"


def test_a_class_within_one_group_is_fitted(rng):
    X, y = classes_of(rng, 60, 3, 3)
    groups = np.arange(60) // 4
    y[groups == 5] = "eel"
    found = linear_probe(X, y, X, rng=rng, groups=groups)
    assert "eel" in found.classes and np.isfinite(list(found.cv_scores.values())).all()


@pytest.mark.parametrize("k", [1, 5, 20])
def test_knn_is_the_loop(rng, k):
    X, y = classes_of(rng, 90, 4, 3, correlated=False)
    found = knn_probe(X[:60], y[:60], X[60:], k=k)
    np.testing.assert_allclose(found.probabilities, oracle.knn(X[:60], y[:60], X[60:], k), atol=1e-12)
    assert found.k == k and found.C is None and found.name == "knn"


def test_knn_in_batches(rng):
    X, y = classes_of(rng, 1300, 4, 3)
    whole = knn_probe(X[:200], y[:200], X[200:])
    last = knn_probe(X[:200], y[:200], X[-5:])
    np.testing.assert_allclose(whole.probabilities[-5:], last.probabilities, atol=1e-12)


@pytest.mark.parametrize("function", [lambda *a: linear_probe(*a, rng=np.random.default_rng(0)), knn_probe])
@pytest.mark.parametrize(
    "change, message",
    [
        (lambda X, y, T: (X, np.zeros(30), T), "y_train has one class, 0.0; a probe needs at least 2"),
        (lambda X, y, T: (X, y[:-1], T), r"y_train has shape \(29,\)"),
        (lambda X, y, T: (X, [None, *y[1:]], T), "y_train has missing labels"),
        (lambda X, y, T: (X, y, T[:, :1]), "X_train has 3 columns and X_test 1"),
        (lambda X, y, T: (X, y, T * np.nan), "X_test has 15 values that are not finite"),
        (lambda X, y, T: (X * np.inf, y, T), "X_train has 90 values"),
    ],
)
def test_errors_of_both_probes(rng, function, change, message):
    X, y, T = rng.standard_normal((30, 3)), np.arange(30) % 2, rng.standard_normal((5, 3))
    with pytest.raises(ValueError, match=message):
        function(*change(X, y, T))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X, y, r: linear_probe(X, y, X, rng=r, C=[]), "must hold positive numbers"),
        (lambda X, y, r: linear_probe(X, y, X, rng=r, C=[0, 1]), "must hold positive numbers"),
        (lambda X, y, r: linear_probe(X, y, X, rng=r, folds=1), "folds is 1"),
        (lambda X, y, r: linear_probe(X, np.r_[y[:-1], 9], X, rng=r), "class 9 has 1 training sample; .* leave it out"),
        (lambda X, y, r: linear_probe(X * 0 + 0.1, y, X, rng=r), "X_train is constant"),
        (lambda X, y, r: linear_probe(X, y, X, rng=r, groups=[1]), "groups has shape"),
        (lambda X, y, r: knn_probe(X, y, X, k=31), "k is 31; with 30 training samples"),
        (lambda X, y, r: knn_probe(X, y, X * 0), "X_test has 30 rows of zeros"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((30, 3)), np.arange(30) % 2, rng)
