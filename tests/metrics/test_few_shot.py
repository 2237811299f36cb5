import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from featurespace.metrics import few_shot, knn_probe, learning, linear_probe, ridge_probe


def data(rng, n=120, m=90, d=6, gap=1.5, classes=3):
    y = np.r_[np.arange(n) % classes, np.sort(np.arange(m) ** 2 % 7 % classes)]  # unequal classes in the test set
    X = rng.standard_normal((n + m, d)) + gap * np.eye(classes, d)[y]
    y = np.array(["ant", "bee", "cat", "dog"])[y]
    return X[:n], y[:n], X[n:], y[n:]


@pytest.fixture
def drawn(monkeypatch):
    """Every fit's training rows and predictions."""
    calls, original = [], learning._fit

    def spy(probe, X, y, T, rng):
        fitted = original(probe, X, y, T, rng)
        calls.append((X, y, fitted.predictions))
        return fitted

    monkeypatch.setattr(learning, "_fit", spy)
    return calls


@pytest.mark.parametrize(
    "probe, fit",
    [
        ("ridge", ridge_probe),
        ("knn", lambda X, y, T: knn_probe(X, y, T, k=min(20, len(X)))),
        ("linear", lambda X, y, T: linear_probe(X, y, T, rng=np.random.default_rng(0), C=[0.1])),
    ],
)
def test_values_are_means_over_draws_of_the_probe(rng, drawn, probe, fit):
    X, y, T, truth = data(rng)
    found = few_shot(X, y, T, truth, rng=rng, shots=[10, 2], repeats=4, probe=probe)
    assert list(found) == [2, 10] and len(drawn) == 8
    for position, k in enumerate(found):
        accuracies, balanced = [], []
        for rows, labels, predictions in drawn[position::2]:
            assert np.unique(labels, return_counts=True)[1].tolist() == [k] * 3
            assert len(np.unique(rows, axis=0)) == 3 * k and np.isin(rows, X).all()
            if probe != "linear":  # whose C would have to be the same
                np.testing.assert_array_equal(predictions, fit(rows, labels, T).predictions)
            accuracies.append((predictions == truth).mean())
            balanced.append(balanced_accuracy_score(truth, predictions))
        np.testing.assert_allclose(found[k].accuracies, accuracies)
        np.testing.assert_allclose(found[k].balanced_accuracies, balanced)
        assert found[k].accuracy.value == pytest.approx(np.mean(accuracies))
        assert found[k].balanced_accuracy.value == pytest.approx(np.mean(balanced))
        assert (found[k].repeats, found[k].n_train, found[k].accuracy.n) == (4, 3 * k, 90)
    first, second = drawn[0][0], drawn[1][0]
    assert np.isin(first, second).all()  # a smaller draw is a part of a larger one


def test_whole_groups_are_drawn(rng, drawn):
    X, y, T, truth = data(rng)
    groups = rng.permutation(np.arange(120) // 4 % 17)
    patient_of = {tuple(row): group for row, group in zip(X, groups)}
    found = few_shot(X, y, T, truth, rng=rng, shots=[3], repeats=5, groups=(groups, np.arange(90) % 11))
    for rows, labels, _ in drawn:
        for label in "ant", "bee", "cat":
            chosen = {patient_of[tuple(row)] for row in rows[labels == label]}
            assert len(chosen) == 3
            assert (labels == label).sum() == np.isin(groups[y == label], list(chosen)).sum()
    assert found[3].n_train == np.mean([len(labels) for _, labels, _ in drawn])
    assert found[3].accuracy.unit == "group" and found[3].accuracy.n_groups == 11
    assert found[3].accuracy.interval == "Wilson, jackknife over test groups and 5 draws of training groups"


def test_both_sources_widen_the_interval(rng):
    X, y, T, truth = data(rng, 600, 600)
    se = {}
    for repeats in (3, 30):
        for m in (60, 600):
            rows = rng.permutation(600)[:m]
            found = few_shot(X, y, T[rows], truth[rows], rng=np.random.default_rng(1), shots=[1, 20], repeats=repeats)
            se[repeats, m] = [each.accuracy.se for each in found.values()]
            assert found[20].accuracy.value > found[1].accuracy.value
    # with one shot the draw of training samples decides, with 20 that of test samples
    assert se[3, 600][0] > 1.4 * se[30, 600][0] and se[30, 60][1] > 1.8 * se[30, 600][1]


def test_a_draw_repeats_and_inputs_are_kept(rng):
    X, y, T, truth = data(rng)
    kept = X.copy()
    a, b = (few_shot(X, y, T, truth, rng=np.random.default_rng(3), shots=[5]) for _ in range(2))
    assert a[5].accuracy == b[5].accuracy and a[5].repeats == 20
    np.testing.assert_array_equal(X, kept)
    far = few_shot((X + 1000).astype("f8"), y, T + 1000, truth, rng=np.random.default_rng(3), shots=[5])
    assert far[5].accuracy.value == pytest.approx(a[5].accuracy.value, abs=0.01)


def test_no_interval_has_a_reason_and_certainty_has_one(rng):
    X, y, T, truth = data(rng, gap=40)
    sure = few_shot(X, y, T, truth, rng=rng, shots=[5], repeats=3)[5].accuracy
    assert sure.value == sure.ci_high == 1 and sure.ci_low == pytest.approx(0.958, abs=1e-3)
    few = few_shot(X, y, T, truth, rng=rng, shots=[5], repeats=3, groups=(np.arange(120), np.arange(90) % 3))
    assert few[5].accuracy.interval == "none: 3 groups, at least 5 needed"
    _, lone = np.unique(truth, return_inverse=True)
    groups = np.where(lone == 1, 99, np.arange(90) % 9)
    one = few_shot(X, y, T, truth, rng=rng, shots=[5], repeats=3, groups=(np.arange(120), groups))
    assert one[5].balanced_accuracy.interval == "none: one group holds all test samples of a class"
    assert one[5].accuracy.ci_low < 1


@pytest.mark.parametrize("repeats", [60, pytest.param(400, marks=pytest.mark.slow)])
@pytest.mark.parametrize("pool, size", [(100, 1), (24, 1), (20, 3)])
def test_intervals_cover_draws_of_training_and_test_samples(rng, pool, size, repeats):
    gap, k = 1.5, 5

    def draw(units):
        y = np.repeat(np.arange(2), units * size)
        shared = rng.standard_normal((2 * units, 4))[np.arange(len(y)) // size]
        X = (shared + rng.standard_normal((len(y), 4))) / np.sqrt(2) + gap * np.eye(2, 4)[y]
        return X, y, np.arange(len(y)) // size

    T, truth, _ = draw(2000)
    expected = np.mean([
        (ridge_probe(X, y, T).predictions == truth).mean() for X, y, _ in (draw(k) for _ in range(300))
    ])  # fmt: skip
    inside = 0
    for _ in range(repeats):
        (X, y, own), (T, truth, theirs) = draw(pool), draw(40)
        groups = (own, theirs) if size > 1 else None
        found = few_shot(X, y, T, truth, rng=rng, shots=[k], repeats=10, groups=groups)[k].accuracy
        inside += found.ci_low <= expected <= found.ci_high
    assert inside / repeats > 0.93 - 3 * np.sqrt(0.05 * 0.95 / repeats)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"shots": []}, r"shots are \[\]; at least one number"),
        ({"shots": [0, 5]}, r"shots are \[0, 5\]"),
        ({"shots": [1, 40]}, "class ant has 40 training samples; 40 shots need more than 40 to draw from"),
        ({"repeats": 1}, "repeats is 1; at least 2"),
        ({"probe": "svm"}, "probe is 'svm'; allowed are 'ridge', 'linear', 'knn'"),
        ({"probe": "linear"}, "one shot and probe 'linear'"),
        ({"groups": (np.arange(120) % 4, None)}, "class ant has 4 training groups; 5 shots"),
        ({"groups": ([1], None)}, "groups has shape"),
        ({"groups": (None, [1])}, "groups has shape"),
        ({"y_test": ["dog"] * 90}, "class dog of y_test is not among the training classes"),
        ({"y_test": ["ant"] * 89}, r"y_test has shape \(89,\)"),
        ({"X_train": np.ones((120, 3))}, "X_train has 3 columns and X_test 6"),
    ],
)
def test_errors_name_the_reason(rng, options, message):
    X, y, T, truth = data(rng)
    whole = {"X_train": X, "y_train": y, "X_test": T, "y_test": truth, "shots": [1, 5], **options}
    arrays = [whole.pop(name) for name in ("X_train", "y_train", "X_test", "y_test")]
    with pytest.raises(ValueError, match=message):
        few_shot(*arrays, rng=rng, **whole)
