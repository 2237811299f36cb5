import numpy as np
import pytest

from featurespace.metrics import knn_probe, linear_probe, ridge_probe, shuffled_label_control
from featurespace.stats import wilson_estimate


def data(rng, n=60, m=50, d=4, gap=1.0, size=1):
    y, truth = rng.integers(0, 3, n // size).repeat(size), rng.integers(0, 3, m)
    centres = gap * np.eye(3, d)
    labels = np.array(["ant", "bee", "cat"])
    X = rng.standard_normal((n // size, d)).repeat(size, axis=0) + 0.1 * rng.standard_normal((n, d)) + centres[y]
    return X, labels[y], rng.standard_normal((m, d)) + centres[truth], labels[truth]


@pytest.mark.parametrize(
    "probe, refit",
    [
        ("ridge", lambda X, y, T, alpha: ridge_probe(X, y, T, alphas=[alpha])),
        ("knn", lambda X, y, T, alpha: knn_probe(X, y, T, k=20)),
    ],
)
@pytest.mark.parametrize("d", [4, 90])
def test_every_permutation_is_a_refit(rng, probe, refit, d):
    X, y, T, truth = data(rng, d=d)
    found = shuffled_label_control(X, y, T, truth, rng=np.random.default_rng(5), permutations=30, probe=probe)
    shuffled = np.random.default_rng(5).permuted(np.tile(y, (30, 1)), axis=1)
    expected = [(refit(X, row, T, found.probe.alpha).predictions == truth).mean() for row in shuffled]
    np.testing.assert_allclose(found.null, expected)
    own = ridge_probe(X, y, T) if probe == "ridge" else knn_probe(X, y, T)
    np.testing.assert_array_equal(found.probe.predictions, own.predictions)
    assert found.accuracy == wilson_estimate(own.predictions == truth)
    assert found.p_value == (1 + (found.null >= found.accuracy.value - 1e-12).sum()) / 31
    assert found.selectivity.value == pytest.approx(found.accuracy.value - np.mean(expected))


def test_the_linear_probe_is_refitted(rng):
    X, y, T, truth = data(rng)
    found = shuffled_label_control(X, y, T, truth, rng=np.random.default_rng(5), permutations=3, probe="linear")
    draws = np.random.default_rng(5)
    shuffled = draws.permuted(np.tile(y, (3, 1)), axis=1)
    whole = [linear_probe(X, row, T, rng=draws) for row in [y, *shuffled]]
    assert [each.predictions.tolist() for each in whole][0] == found.probe.predictions.tolist()
    np.testing.assert_allclose(found.null, [(each.predictions == truth).mean() for each in whole[1:]])


def test_blocks_change_nothing(rng, monkeypatch):
    X, y, T, truth = data(rng)
    whole = shuffled_label_control(X, y, T, truth, rng=np.random.default_rng(5), permutations=20)
    monkeypatch.setattr("featurespace.metrics.controls.BLOCK", 60 * 3 * 7)
    parts = shuffled_label_control(X, y, T, truth, rng=np.random.default_rng(5), permutations=20)
    np.testing.assert_array_equal(whole.null, parts.null)
    assert whole.selectivity.value == pytest.approx(parts.selectivity.value)


def test_labels_move_between_whole_groups(rng):
    # patients with a fingerprint: single shuffled labels are read from nobody, whole patients' labels from each one
    X, y, T, truth = data(rng, n=120, size=6, gap=0)
    groups = np.arange(120) // 6
    same = shuffled_label_control(X, y, X, y, rng=rng, permutations=99, groups=(groups, groups), probe="knn")
    assert same.accuracy.value > 0.9 and same.selectivity.n_groups == 20
    single = shuffled_label_control(X, y, X, y, rng=rng, permutations=99, probe="knn")
    assert single.null.std() < same.null.std()


def test_signal_has_a_small_p_and_noise_has_not(rng):
    X, y, T, truth = data(rng, gap=3)
    found = shuffled_label_control(X, y, T, truth, rng=rng, permutations=199)
    assert found.p_value == 1 / 200 and found.selectivity.ci_low > 0.3
    assert found.selectivity.ci_low < found.selectivity.value < found.selectivity.ci_high
    assert found.selectivity.interval == "MOVER, Wilson and jackknife"


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize("probe", ["ridge", "knn"])
def test_p_is_valid_where_labels_tell_nothing(rng, size, probe):
    p = []
    for _ in range(200):
        X, y, T, truth = data(rng, n=40, gap=0, size=size)
        if len(np.unique(y)) < 3:
            continue
        groups = (np.arange(40) // size, None) if size > 1 else None
        p.append(shuffled_label_control(X, y, T, truth, rng=rng, permutations=39, groups=groups, probe=probe).p_value)
    for level in (0.05, 0.1, 0.25):
        assert np.mean(np.array(p) <= level) <= level + 3 * np.sqrt(level * (1 - level) / len(p))


@pytest.mark.parametrize("repeats", [60, pytest.param(400, marks=pytest.mark.slow)])
@pytest.mark.parametrize("gap", [1.0, 4.0])
def test_the_interval_of_selectivity_covers(rng, gap, repeats):
    X, y, T, truth = data(rng, 90, 6000, gap=gap)
    expected = shuffled_label_control(X, y, T, truth, rng=rng, permutations=2000).selectivity.value
    inside = 0
    for _ in range(repeats):
        rows = rng.choice(6000, 80, replace=False)
        found = shuffled_label_control(X, y, T[rows], truth[rows], rng=rng, permutations=200).selectivity
        inside += found.ci_low <= expected <= found.ci_high
    assert inside / repeats > 0.93 - 3 * np.sqrt(0.05 * 0.95 / repeats)


def test_no_interval_has_a_reason(rng):
    X, y, T, truth = data(rng)
    one = shuffled_label_control(X, y, T, truth, rng=rng, permutations=1)
    assert one.selectivity.interval == "none: one permutation" and one.p_value in (0.5, 1)
    few = shuffled_label_control(X, y, T, truth, rng=rng, permutations=9, groups=(None, np.arange(50) % 3))
    assert few.selectivity.interval == "none: 3 groups, at least 5 needed"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"permutations": 0}, "permutations is 0; at least 1"),
        ({"probe": "svm"}, "probe is 'svm'; allowed are"),
        (
            {"groups": (np.arange(60) // 30, None)},
            "training group 0 has the classes .* and .*; labels are shuffled between",
        ),
        ({"groups": ([1], None)}, "groups has shape"),
        ({"groups": (None, [1])}, "groups has shape"),
    ],
)
def test_errors_name_the_reason(rng, options, message):
    X, y, T, truth = data(rng)
    with pytest.raises(ValueError, match=message):
        shuffled_label_control(X, y, T, truth, rng=rng, **options)
    with pytest.raises(ValueError, match="class dog of y_test is not among"):
        shuffled_label_control(X, y, T, ["dog"] * 50, rng=rng)
