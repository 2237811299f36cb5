import numpy as np
import pytest
import torch
from oracles import ridge as oracle
from sklearn.linear_model import RidgeCV
from sklearn.metrics import mean_absolute_error, r2_score

from featurespace.metrics import Probe, RegressionProbe, linear_probe, regression_probe, regression_scores, ridge_probe
from featurespace.stats import paired_jackknife

ALPHAS = [1e-4, 1e-2, 0.1, 1.0, 10.0]


def classes_of(rng, n=60, d=8, classes=3, gap=1.0):
    y = rng.permutation(np.arange(n) % classes)
    X = rng.standard_normal((n, d)) + gap * rng.standard_normal((classes, d))[y]
    return X @ rng.standard_normal((d, d)) * np.arange(1, d + 1) + 5, y


def units_of(kind, n):
    return {
        "samples": np.arange(n), "equal": np.arange(n) % 10, "unequal": np.arange(n) ** 2 % 13, "large": np.arange(n) % 2
    }[kind]  # fmt: skip


@pytest.mark.parametrize("kind", ["samples", "equal", "unequal", "large"])
@pytest.mark.parametrize("d", [1, 8, 90])
def test_classes_against_refitting_every_left_out_unit(rng, d, kind):
    X, y = classes_of(rng, 60, d)
    units = units_of(kind, 50)
    found = ridge_probe(X[:50], y[:50], X[50:], groups=None if kind == "samples" else units, alphas=ALPHAS)
    errors, predictions = oracle.probe(X[:50], np.eye(3)[y[:50]], X[50:], units, ALPHAS)
    np.testing.assert_allclose(list(found.cv_scores.values()), errors.sum(axis=1) / 50, rtol=1e-8)
    best = int(errors.sum(axis=1).argmin())
    assert found.alpha == ALPHAS[best] and list(found.cv_scores) == ALPHAS
    np.testing.assert_allclose(found.probabilities, predictions[best], atol=1e-9)
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(found.predictions, found.probabilities.argmax(axis=1))
    assert isinstance(found, Probe) and (found.name, found.C, found.k, found.note) == ("ridge", None, None, "")


@pytest.mark.parametrize("kind", ["samples", "unequal", "large"])
@pytest.mark.parametrize("d", [1, 8, 90])
def test_values_against_refitting_every_left_out_unit(rng, d, kind):
    X = rng.standard_normal((60, d)) * np.arange(1, d + 1)
    Y = np.c_[X[:, 0] + rng.standard_normal(60), 1000 + 50 * rng.standard_normal(60), X @ rng.standard_normal(d)]
    units = units_of(kind, 50)
    found = regression_probe(X[:50], Y[:50], X[50:], groups=None if kind == "samples" else units, alphas=ALPHAS)
    errors, predictions = oracle.probe(X[:50], Y[:50], X[50:], units, ALPHAS)
    means = np.array([Y[:50][units != u].mean(axis=0) for u in units])
    expected = 1 - errors / ((Y[:50] - means) ** 2).sum(axis=0)
    np.testing.assert_allclose(list(found.left_out_r2.values()), expected, atol=1e-8)
    for target, best in enumerate(errors.argmin(axis=0)):
        assert found.alpha[target] == ALPHAS[best]
        np.testing.assert_allclose(found.predictions[:, target], predictions[best][:, target], rtol=1e-8, atol=1e-8)


def test_the_choice_is_ridge_cvs(rng):
    X = rng.standard_normal((80, 6))
    Y = X[:, :2] + rng.standard_normal((80, 2)) * [0.5, 5]
    Z, T = oracle.standard(X, X)
    scale = (Z**2).sum() / 6
    theirs = RidgeCV(np.array(ALPHAS) * scale, alpha_per_target=True).fit(Z, Y)
    ours = regression_probe(X, Y, X, alphas=ALPHAS)
    np.testing.assert_allclose(ours.alpha * scale, theirs.alpha_)
    np.testing.assert_allclose(ours.predictions, theirs.predict(T), atol=1e-9)


def test_shifts_scales_dtypes_and_company_change_nothing(rng):
    X, y = classes_of(rng)
    Y = X[:, :2] + rng.standard_normal((60, 2))
    plain, values = ridge_probe(X, y, X), regression_probe(X, Y, X)
    for factor in (1e-150, 1e150, 1.0):
        changed = np.c_[X * factor * 10.0 ** np.arange(-4, 4), np.full(60, 3.3)]
        np.testing.assert_allclose(ridge_probe(changed, y, changed).probabilities, plain.probabilities, atol=1e-9)
        other = regression_probe(X, Y[:, :1] * factor, X).predictions
        np.testing.assert_allclose(other[:, 0] / factor, values.predictions[:, 0], atol=1e-9)
    grid = (np.round(X * 64) / 64).astype("f4")
    near, far = ridge_probe(grid, y, grid), ridge_probe(grid + np.float32(1000), y, grid + np.float32(1000))
    np.testing.assert_allclose(near.probabilities, far.probabilities, atol=1e-9)
    kept = grid.copy()
    np.testing.assert_array_equal(
        ridge_probe(torch.from_numpy(grid), y, torch.from_numpy(grid)).probabilities, near.probabilities
    )
    np.testing.assert_array_equal(grid, kept)
    half = ridge_probe(torch.from_numpy(X).bfloat16(), y, torch.from_numpy(X).bfloat16())
    np.testing.assert_allclose(half.probabilities, plain.probabilities, atol=0.1)
    ints = np.round(X).astype(int)
    np.testing.assert_array_equal(
        ridge_probe(ints, y, ints).probabilities, ridge_probe(ints * 1.0, y, ints).probabilities
    )
    torch_y = regression_probe(X, torch.from_numpy(Y[:, 0]), X).predictions
    np.testing.assert_allclose(torch_y, regression_probe(X, Y[:, 0].tolist(), X).predictions)


def test_it_finds_what_logistic_regression_finds(rng):
    X, y = classes_of(rng, 400, 8, 3, gap=1.5)
    a = ridge_probe(X[:200], y[:200], X[200:])
    b = linear_probe(X[:200], y[:200], X[200:], rng=rng)
    assert abs((a.predictions == y[200:]).mean() - (b.predictions == y[200:]).mean()) < 0.05
    noise = ridge_probe(rng.standard_normal((300, 50)), np.arange(300) % 3, rng.standard_normal((90, 50)))
    assert noise.alpha >= 1


def test_groups_change_the_choice(rng):
    groups = np.repeat(np.arange(20), 10)
    y = groups % 2
    X = rng.standard_normal((20, 30))[groups] + 0.1 * rng.standard_normal((200, 30))
    assert ridge_probe(X, y, X, groups=groups).alpha > 100 * ridge_probe(X, y, X).alpha


def test_least_data(rng):
    X = rng.standard_normal((2, 5))
    found = ridge_probe(X, ["a", "b"], X)
    assert found.predictions.tolist() == ["a", "b"]
    assert ridge_probe(X[[0, 0, 1]], [0, 0, 1], X).predictions.tolist() == [0, 1]
    one = ridge_probe(X, [0, 1], X, groups=[7, 7], alphas=[0.1, 1, 10])
    assert (
        one.alpha == 1 and one.cv_scores == {} and one.note.startswith("nothing to leave out: 1 group; alpha is the m")
    )
    assert regression_probe(X, [0, 1], X, groups=[7, 7]).left_out_r2 == {}
    duplicated = np.repeat(rng.standard_normal((30, 1)), 3, axis=1)
    assert np.isfinite(ridge_probe(duplicated, np.arange(30) % 2, duplicated).probabilities).all()


def regressed(rng, n=80):
    Y = rng.standard_normal((n, 2)) * [1, 30] + [0, 500]
    return RegressionProbe(0.8 * Y + rng.standard_normal((n, 2)) * [0.5, 10] + [0, 100], np.ones(2)), Y


def test_scores_are_scikit_learns_and_leave_outs_are_exact(rng):
    probe, Y = regressed(rng)
    for groups in (None, np.arange(80) % 9):
        found = regression_scores(probe, Y, groups=groups)
        units = np.arange(80) if groups is None else groups
        for target in (0, 1):
            for name, score in (("r2", r2_score), ("mae", mean_absolute_error)):
                estimate = found[target][name]
                assert estimate.value == pytest.approx(score(Y[:, target], probe.predictions[:, target]))
                without = [
                    score(Y[units != u, target], probe.predictions[units != u, target]) for u in np.unique(units)
                ]
                np.testing.assert_allclose(estimate.leave_one_out, without)
                assert estimate.ci_low < estimate.value < estimate.ci_high and estimate.se > 0
            assert found[target]["r2"].ci_high < 1 and found[target]["mae"].ci_low > 0
    assert found[0]["r2"].interval == "group jackknife, log scale" and found[0]["r2"].n_groups == 9
    better = regression_scores(RegressionProbe(Y + 0.01 * rng.standard_normal(Y.shape), np.ones(2)), Y, groups=groups)
    assert paired_jackknife(better[0]["r2"], found[0]["r2"])[1] < 0.01
    huge = regression_scores(RegressionProbe(probe.predictions * 1e150, np.ones(2)), Y * 1e150)
    assert huge[1]["r2"].value == pytest.approx(found[1]["r2"].value)
    assert huge[1]["mae"].ci_low == pytest.approx(1e150 * regression_scores(probe, Y)[1]["mae"].ci_low)


def test_exact_predictions_and_few_units_have_no_interval(rng):
    Y = rng.standard_normal(30)
    found = regression_scores(RegressionProbe(Y[:, None], np.ones(1)), Y)[0]
    assert (found["r2"].value, found["mae"].value) == (1, 0)
    assert found["r2"].interval.startswith("none: the value is 0, with or without some sample")
    found = regression_scores(RegressionProbe(Y[:, None] + 1, np.ones(1)), Y, groups=np.arange(30) % 3)[0]
    assert found["r2"].interval == "none: 3 groups, at least 5 needed"


@pytest.mark.parametrize("repeats", [300, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("count, size, r2", [(30, 1, 0.5), (30, 1, 0.9), (50, 5, 0.1)])
def test_intervals_of_regression_scores_cover(rng, count, size, r2, repeats):
    inside = np.zeros(2)
    groups = np.repeat(np.arange(count), size)
    for _ in range(repeats):
        f, e = (
            np.sqrt(share / 2) * (rng.standard_normal(count)[groups] + rng.standard_normal(count * size))
            for share in (r2, 1 - r2)
        )
        found = regression_scores(RegressionProbe(f[:, None], np.ones(1)), f + e, groups=groups if size > 1 else None)[
            0
        ]
        truth = {"r2": r2, "mae": np.sqrt(2 * (1 - r2) / np.pi)}
        inside += [found[name].ci_low <= value <= found[name].ci_high for name, value in truth.items()]
    tolerance = 0.02 + 3 * np.sqrt(0.05 * 0.95 / repeats)
    np.testing.assert_allclose(inside / repeats, 0.95, atol=tolerance)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X, y: ridge_probe(X, y * 0, X), "y_train has one class, 0"),
        (lambda X, y: ridge_probe(X, y, X[:, :2]), "X_train has 3 columns and X_test 2"),
        (lambda X, y: ridge_probe(X * 0, y, X), "X_train is constant"),
        (lambda X, y: ridge_probe(X, y, X, alphas=[]), r"alphas are \[\]"),
        (lambda X, y: ridge_probe(X, y, X, groups=[1]), "groups has shape"),
        (lambda X, y: regression_probe(X, y, X[:, :2]), "X_train has 3 columns and X_test 2"),
        (lambda X, y: regression_probe(X, y[1:], X), "Y_train has 29 rows and X_train 30"),
        (lambda X, y: regression_probe(X, np.c_[y, y * 0], X), "target 1 of Y_train is constant"),
        (lambda X, y: regression_probe(X, y * np.nan, X), "Y_train has 30 values that are not finite"),
        (lambda X, y: regression_probe(X, y, X, alphas=[0]), "alphas are .* from 1e-10 on"),
        (
            lambda X, y: regression_scores(RegressionProbe(X, y), y),
            r"Y_test has shape \(30, 1\); the probe predicted \(30, 3",
        ),
        (lambda X, y: regression_scores(RegressionProbe(X, y), X * [1, 1, 0]), "target 2 is constant in Y_test"),
        (lambda X, y: regression_scores(RegressionProbe(X, y), X, level=2), "level is 2"),
        (lambda X, y: regression_scores(RegressionProbe(X, y), X, groups=[1]), "groups has shape"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((30, 3)), np.arange(30) % 2)
