import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from featurespace.metrics import classifier_two_sample_test, proxy_a_distance
from featurespace.metrics import two_sample as room


def two(rng, n=60, m=40, d=4, shift=0.6):
    return rng.standard_normal((n, d)) * 3 + 5, (rng.standard_normal((m, d)) - shift) * 3 + 5


@pytest.mark.parametrize("d", [4, 90])
def test_logits_are_scikit_learns(rng, d):
    X, Y = two(rng, d=d)
    Z, T, labels = np.r_[X, Y], two(rng, d=d)[0], np.arange(100) < 60
    scaler = StandardScaler().fit(Z)
    model = LogisticRegression(C=room.C, class_weight="balanced", tol=1e-8, max_iter=5000).fit(
        scaler.transform(Z), labels
    )
    shuffled = rng.permutation(labels)
    found = room._logits(Z, np.c_[labels, shuffled, labels], T)
    np.testing.assert_allclose(found[:, 0], model.decision_function(scaler.transform(T)), atol=2e-3)
    np.testing.assert_allclose(found[:, 2], found[:, 0], atol=1e-12)


def test_accuracy_is_the_loop_over_folds(rng):
    X, Y = two(rng)
    split = room._split(X, Y, None, None, 4, np.random.default_rng(7))
    hits = np.zeros(100)
    fold = split.fold_of_unit[split.units]
    for k in range(4):
        train, test = fold != k, fold == k
        scaler = StandardScaler().fit(np.r_[X, Y][train])
        model = LogisticRegression(C=room.C, class_weight="balanced", tol=1e-8, max_iter=5000)
        model.fit(scaler.transform(np.r_[X, Y][train]), split.labels[train])
        hits[test] = model.predict(scaler.transform(np.r_[X, Y][test])) == split.labels[test]
    accuracy = (hits[:60].mean() + hits[60:].mean()) / 2
    assert proxy_a_distance(X, Y, rng=np.random.default_rng(7), folds=4) == pytest.approx(2 * (2 * accuracy - 1))
    found = classifier_two_sample_test(X, Y, rng=np.random.default_rng(7), folds=4, permutations=19)
    assert found.accuracy == pytest.approx(accuracy)
    assert (found.n_x, found.n_y, found.n_groups, found.unit, found.folds) == (60, 40, 100, "sample", 4)
    assert found.null.shape == (19,)


def test_groups_stay_in_one_fold_and_folds_are_even(rng):
    X, Y = two(rng)
    gx, gy = np.arange(60) // 5, np.arange(40) // 8
    split = room._split(X, Y, gx, gy, 3, rng)
    fold = split.fold_of_unit[split.units]
    assert all(len(set(fold[:60][gx == g])) == 1 for g in range(12)) and split.unit == "group"
    assert all(len(set(fold[60:][gy == g])) == 1 for g in range(5))
    assert set(np.bincount(split.fold_of_unit[:12])) == {4} and set(np.bincount(split.fold_of_unit[12:])) == {1, 2}


def test_every_permutation_keeps_groups_and_counts_in_each_fold(rng, monkeypatch):
    X, Y = two(rng)
    gx, gy = np.arange(60) // 5, np.arange(40) // 8
    seen = []
    monkeypatch.setattr(
        room, "_accuracies", lambda split, labels: seen.append((split, labels)) or np.zeros(labels.shape[1])
    )
    classifier_two_sample_test(X, Y, rng=rng, groups_x=gx, groups_y=gy, permutations=30)
    split, labels = seen[0]
    np.testing.assert_array_equal(labels[:, 0], np.arange(100) < 60)
    units = np.array([labels[split.units == u][0] for u in range(17)])
    assert all(np.ptp(labels[split.units == u].astype(int), axis=0).max() == 0 for u in range(17))
    for k in range(5):
        counts = units[split.fold_of_unit == k].sum(axis=0)
        assert np.ptp(counts) == 0
    assert len(np.unique(units, axis=1).T) > 10


def test_the_order_of_rows_and_the_scale_of_columns_change_nothing(rng):
    X, Y = two(rng)
    value = proxy_a_distance(X, Y, rng=np.random.default_rng(0))
    assert proxy_a_distance(X[rng.permutation(60)], Y[::-1], rng=np.random.default_rng(0)) == value
    far = [Z * [1e-150, 1e150, 1, 7] for Z in (X, Y)]
    assert proxy_a_distance(*far, rng=np.random.default_rng(0)) == value


def test_constant_features_are_chance(rng):
    assert proxy_a_distance(np.ones((6, 2)), np.ones((9, 2)), rng=rng) == 0
    assert classifier_two_sample_test(np.ones((6, 2)), np.ones((9, 2)), rng=rng, permutations=9).p_value == 1


def test_which_argument_is_which(rng):
    wide, narrow = two(rng, shift=3.0)
    found = classifier_two_sample_test(wide, narrow, rng=rng, groups_x=np.arange(60) // 2, permutations=19)
    assert (found.n_x, found.n_y, found.n_groups) == (60, 40, 70) and found.p_value == 1 / 20


def uniform(p):
    for level in (0.05, 0.2, 0.5):  # at most: equal accuracies count as ties
        assert np.mean(np.array(p) <= level) < level + 3.5 * np.sqrt(level * (1 - level) / len(p))
    assert np.mean(np.array(p) <= 0.2) > 0.2 - 0.08 * (300 / len(p)) ** 0.5  # 3.5 standard errors


@pytest.mark.parametrize("repeats", [75, pytest.param(300, marks=pytest.mark.slow)])
@pytest.mark.parametrize("grouped", [False, True])
def test_p_is_uniform_under_the_null(rng, grouped, repeats):
    p = []
    for _ in range(repeats):
        gx, gy = np.repeat(np.arange(10), rng.integers(1, 6, 10)), np.repeat(np.arange(8), rng.integers(1, 6, 8))
        X, Y = (
            (rng.standard_normal((18, 3))[g] if grouped else 0) + 0.5 * rng.standard_normal((len(g), 3))
            for g in (gx, gy)
        )
        given = {"groups_x": gx, "groups_y": gy} if grouped else {}
        p.append(classifier_two_sample_test(X, Y, rng=rng, permutations=39, folds=3, **given).p_value)
    uniform(p)


def test_ignoring_groups_reads_a_gap_that_is_none(rng):
    plain, grouped, labels = [], [], np.arange(60) // 10
    for _ in range(20):
        X, Y = (rng.standard_normal((6, 20))[labels] + 0.1 * rng.standard_normal((60, 20)) for _ in "XY")
        plain.append(proxy_a_distance(X, Y, rng=rng))
        grouped.append(proxy_a_distance(X, Y, rng=rng, groups_x=labels, groups_y=labels))
    assert np.mean(plain) > 1.9 and abs(np.mean(grouped)) < 0.4


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X, r: proxy_a_distance(X, X, rng=r, folds=1), "folds is 1"),
        (lambda X, r: proxy_a_distance(X, X, rng=r, groups_x=np.ones(10)), "only one group"),
        (lambda X, r: proxy_a_distance(X, X[:1], rng=r), "at least 2 each"),
        (lambda X, r: classifier_two_sample_test(X, X, rng=r, permutations=0), "permutations is 0"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((10, 3)), rng)
