import numpy as np
import pytest
import torch
from oracles import predictivity as oracle

from featurespace.metrics import (
    linear_predictivity,
    linear_predictivity_jackknife,
    linear_predictivity_matrices,
    predictivity,
)
from featurespace.stats.blocks import unit_blocks


def related(rng, n, d1, d2):
    X = rng.standard_normal((n, d1)) * np.arange(1, d1 + 1) + 3
    return X, X @ rng.standard_normal((d1, d2)) + 4 * rng.standard_normal((n, d2))


def value(X, Y, seed=3, **options):
    return linear_predictivity(X, Y, rng=np.random.default_rng(seed), **options)


@pytest.mark.parametrize("kind", ["samples", "equal", "unequal"])
@pytest.mark.parametrize("n, d1, d2", [(40, 5, 3), (30, 50, 2), (30, 3, 60)])
def test_against_refitting_every_left_out_unit(rng, n, d1, d2, kind):
    X, Y = related(rng, n, d1, d2)
    groups = {"samples": None, "equal": np.arange(n) % 10, "unequal": np.sort(np.arange(n) ** 2 % 13)[::-1]}[kind]
    units = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    alphas = [1e-4, 1e-2, 0.1, 1, 10]
    fold = unit_blocks(units, blocks=4, rng=np.random.default_rng(3))
    expected = oracle.r2(X, Y, units, fold, alphas)
    assert value(X, Y, groups=groups, folds=4, alphas=alphas) == pytest.approx(expected, abs=1e-9)


def test_each_alpha_alone(rng):
    X, Y = related(rng, 40, 5, 3)
    fold = unit_blocks(np.arange(40), blocks=5, rng=np.random.default_rng(3))
    single = [value(X, Y, alphas=[alpha]) for alpha in (1e-3, 1, 100)]
    expected = [oracle.r2(X, Y, np.arange(40), fold, [alpha]) for alpha in (1e-3, 1, 100)]
    np.testing.assert_allclose(single, expected, atol=1e-10)
    assert value(X, Y, alphas=[1e-3, 1, 100]) == pytest.approx(max(single), abs=1e-9)


def test_invariances_and_what_breaks_it(rng):
    X, Y = related(rng, 50, 6, 4)
    before = value(X, Y)
    Q, R = np.linalg.qr(rng.standard_normal((6, 6)))[0], np.linalg.qr(rng.standard_normal((4, 4)))[0]
    assert value(7 * X @ Q - 90, 0.1 * Y @ R + 5) == pytest.approx(before, abs=1e-9)
    assert value(X * 1e150, Y * 1e-150) == pytest.approx(before, abs=1e-9)
    assert value(X * [9, 1, 1, 1, 1, 0.1], Y) != pytest.approx(before, abs=1e-4)
    assert value(X, Y * [9, 1, 1, 1]) != pytest.approx(before, abs=1e-4)  # columns count by their variance
    assert value(Y, X) != pytest.approx(before, abs=1e-2)
    assert value(X, Y, seed=4) != before and value(X, Y) == before
    grid = np.round(X * 256) / 256
    assert value((grid + 1000).astype("f4"), Y) == pytest.approx(value(grid.astype("f4"), Y), abs=1e-9)
    assert value(torch.from_numpy(X).bfloat16(), Y) == pytest.approx(before, abs=0.02)


def test_known_values(rng):
    X = rng.standard_normal((2000, 5))
    Y = X + rng.standard_normal((2000, 5))  # half of the variance
    assert value(X, Y) == pytest.approx(0.5, abs=0.03)
    assert value(X, X) > 1 - 1e-9
    noise = [value(*rng.standard_normal((2, 60, 30)), seed=seed) for seed in range(40)]
    assert -0.1 < np.mean(noise) < 0.02


def test_groups_are_kept_whole(rng):
    groups = np.repeat(np.arange(20), 6)
    X, Y = (rng.standard_normal((20, 15))[groups] + 0.1 * rng.standard_normal((120, 15)) for _ in range(2))
    assert value(X, Y) > 0.4  # a neighbour of the same patient gives the answer away
    assert value(X, Y, groups=groups) < 0.1


def test_features_that_are_constant_in_training(rng):
    Y = rng.standard_normal((9, 2))
    assert value(np.eye(9)[:, :1], Y, folds=9) <= 0
    assert np.isfinite(value(Y[:3], Y[:3], folds=3)) and np.isfinite(value(rng.standard_normal((6, 90)), Y[:6]))


def interval(X, Y, seed=3, **options):
    return linear_predictivity_jackknife(X, Y, rng=np.random.default_rng(seed), **options)


@pytest.mark.parametrize("units", [pytest.param(None, marks=pytest.mark.slow), 14])
def test_the_jackknife_takes_blocks_out_of_training_and_test(rng, units):
    X, Y = related(rng, 36, 4, 3)
    groups = None if units is None else rng.integers(0, units, 36)
    found = interval(X, Y, groups=groups, blocks=6)
    assert found.value == value(X, Y, groups=groups)
    draws = np.random.default_rng(3)
    codes = np.arange(36) if groups is None else np.unique(groups, return_inverse=True)[1]
    fold, block = (unit_blocks(codes, blocks=count, rng=draws) for count in (5, 6))
    alphas = [10.0**power for power in range(-6, 7)]
    expected = [oracle.r2(X[block != b], Y[block != b], codes[block != b], fold[block != b], alphas) for b in range(6)]
    np.testing.assert_allclose(found.leave_one_out, expected, atol=1e-9)
    assert found.ci_low < found.value < found.ci_high < 1 and found.n_groups == 6
    assert found.interval == f"jackknife over 6 blocks{' of groups' if units else ''}, log scale"


@pytest.mark.parametrize(
    "n, d, ratio, size, repeats",
    [
        *((*case, 40) for case in ((60, 4, 0.5, 1), (60, 12, 2.0, 1), (60, 4, 1.0, 3))),
        *(
            pytest.param(*case, 400, marks=pytest.mark.slow)
            for case in ((100, 5, 0.5, 1), (100, 20, 2.0, 1), (200, 8, 1.0, 5))
        ),
    ],
)
def test_the_interval_covers_the_expectation_at_this_n(rng, n, d, ratio, size, repeats):
    groups, mix = None if size == 1 else np.arange(n) // size, np.random.default_rng(1).standard_normal((d, d)) / d**0.5

    def noise():
        own = rng.standard_normal((n, d))
        return own if size == 1 else (own + rng.standard_normal((n // size, d))[groups]) / 2**0.5

    found = []
    for _ in range(repeats):
        X = noise()
        found.append(interval(X, X @ mix + noise() / ratio**0.5, seed=int(rng.integers(2**32)), groups=groups))
    truth = np.mean([each.value for each in found])
    covered = np.mean([each.ci_low <= truth <= each.ci_high for each in found])
    assert covered > 0.94 - 3 * np.sqrt(0.05 * 0.95 / repeats)


def test_no_interval_has_a_reason(rng):
    X, Y = related(rng, 20, 3, 2)
    few = interval(X, Y, groups=np.arange(20) % 4, folds=4)
    assert few.interval == "none: 4 groups, at least 5 needed" and few.value == value(
        X, Y, groups=np.arange(20) % 4, folds=4
    )
    one = np.zeros((20, 1))
    one[3] = 1.0  # without this sample nothing is left to predict
    assert interval(X, one).interval.startswith("none: the value is undefined when one block of samples is left out")
    with pytest.raises(ValueError, match="blocks is 4; at least 5"):
        interval(X, Y, blocks=4)
    with pytest.raises(ValueError, match="level is 95"):
        interval(X, Y, level=95)
    with pytest.raises(ValueError, match="folds is 1"):
        interval(X, Y, folds=1)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X: value(X, X, folds=1), "folds is 1; with 20 samples it must lie between 2 and 20"),
        (lambda X: value(X, X, folds=4, groups=np.arange(20) % 3), "folds is 4; with 3 groups"),
        (lambda X: value(X[:1], X[:1]), "folds is 5; with 1 sample it"),
        (lambda X: value(X[:2], X[:2], folds=2), "one sample is left to train on; .* more folds than 2"),
        (lambda X: value(X, X, folds=2, groups=np.arange(20) % 3), "one group is left to train on"),
        (lambda X: value(X, X, alphas=[]), r"alphas are \[\]; at least one"),
        (lambda X: value(X, X, alphas=[0.0, 1]), "alphas are .* from 1e-10 on"),
        (lambda X: value(X, X, alphas=[np.nan]), "alphas are"),
        (lambda X: value(X * 0, X), "X is constant"),
        (lambda X: value(X, X * 0), "Y is constant"),
        (lambda X: value(X, X[:-1]), "X has 20 rows and Y 19; paired"),
        (lambda X: value(X, X, groups=[1]), "groups has shape"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((20, 3)))


@pytest.fixture
def models(rng):
    shared = rng.standard_normal((40, 3))
    return [
        [np.c_[shared, rng.standard_normal((40, d - 3))] @ rng.standard_normal((d, d)) + 1 for d in widths]
        for widths in ((4, 9), (60,))
    ]


@pytest.mark.parametrize("groups, folds", [(None, 5), (np.arange(40) // 4, 3)])
def test_matrices_are_the_function_itself_in_both_directions(models, groups, folds):
    options = {"groups": groups, "folds": folds}
    found = dict(linear_predictivity_matrices(models, rng=np.random.default_rng(7), **options))
    assert list(found) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for (i, j), values in found.items():
        expected = [[value(X, Y, seed=7, **options) for Y in models[j]] for X in models[i]]
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)
    assert abs(found[0, 1] - found[1, 0].T).max() > 0.01  # one direction is not the other


def test_matrices_decompose_each_layer_once_a_fold(models, monkeypatch):
    made = []
    kept = predictivity.ridge_basis
    monkeypatch.setattr(predictivity, "ridge_basis", lambda X: made.append(X.shape) or kept(X))
    pairs = [(1, 0), (0, 1), (1, 0)]
    found = list(linear_predictivity_matrices(models, rng=np.random.default_rng(0), folds=4, pairs=pairs))
    assert [pair for pair, _ in found] == pairs and len(made) == 3 * 4
    np.testing.assert_array_equal(found[0][1], found[2][1])


@pytest.mark.parametrize(
    "change, options, message",
    [
        (lambda m: m, {"folds": 41}, "folds is 41; with 40 samples it must lie between 2 and 40"),
        (lambda m: m, {"pairs": [(0, 2)]}, r"pairs hold \(0, 2\); there are 2 models"),
        (lambda m: [m[0], []], {}, r"a model of the pair \(0, 1\) has no layers"),
        (lambda m: [m[0], [m[1][0] * 0]], {}, "layer 0 of model 1 is constant"),
        (lambda m: [m[0], [m[1][0][:9]]], {}, "layer 1 of model 0 has 40 rows and layer 0 of model 1 9"),
        (lambda m: m, {"rng": 3}, "rng is"),
        (lambda m: m, {"groups": np.arange(40) // 20, "folds": 2}, "one group is left to train on"),
    ],
)
def test_errors_of_the_matrices_name_the_reason(models, change, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        list(linear_predictivity_matrices(change(models), **{"rng": np.random.default_rng(0)} | options))
