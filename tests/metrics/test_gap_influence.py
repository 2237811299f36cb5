import numpy as np
import pytest
from oracles import distribution as oracle

from featurespace.metrics import conformal_p_values, mmd2, mmd2_influence, pairs


@pytest.fixture(params=[2**22, 40])
def cells(request, monkeypatch):
    monkeypatch.setattr(pairs, "CELLS", request.param)


def two(rng, n=15, m=12, d=3):
    return rng.standard_normal((n, d)) + 1, 1.5 * rng.standard_normal((m, d))


@pytest.mark.parametrize("grouped", [False, True])
def test_changes_are_the_value_with_and_without(rng, cells, grouped):
    X, Y = two(rng)
    gx, gy = (np.array(list("aababcccddddede")), np.arange(12) % 4) if grouped else (np.arange(15), np.arange(12))
    found = mmd2_influence(X, Y, sigma=1.4, **({"groups_x": gx, "groups_y": gy} if grouped else {}))

    def loop(x=slice(None), y=slice(None)):
        return oracle.mmd2_across(X[x], Y[y], gx[x], gy[y], 1.4)

    value = loop()
    assert found.value == pytest.approx(value, abs=1e-12) and found.sigma == 1.4
    every_x, every_y = np.arange(15), np.arange(12)
    np.testing.assert_allclose(found.samples_x, [value - loop(x=every_x != i) for i in every_x], atol=1e-12)
    np.testing.assert_allclose(found.samples_y, [value - loop(y=every_y != i) for i in every_y], atol=1e-12)
    np.testing.assert_allclose(found.groups_x, [value - loop(x=gx != g) for g in np.unique(gx)], atol=1e-12)
    np.testing.assert_allclose(found.groups_y, [value - loop(y=gy != g) for g in np.unique(gy)], atol=1e-12)

    def k(a, others):
        return np.mean([np.exp(-((a - b) ** 2).sum() / (2 * 1.4**2)) for b in others])

    np.testing.assert_allclose(found.witness_y, [k(y, X) - k(y, Y[gy != g]) for y, g in zip(Y, gy)], atol=1e-12)
    np.testing.assert_allclose(found.witness_x, [k(x, X[gx != g]) - k(x, Y) for x, g in zip(X, gx)], atol=1e-12)


def test_the_value_is_the_difference_of_mean_witnesses(rng):
    X, Y = two(rng)
    found = mmd2_influence(X, Y)
    assert found.value == pytest.approx(mmd2(X, Y), abs=1e-12)
    assert found.witness_x.mean() - found.witness_y.mean() == pytest.approx(found.value, abs=1e-12)


def test_the_patients_that_make_the_gap_are_found(rng):
    X, Y = rng.standard_normal((60, 5)), rng.standard_normal((50, 5))
    labels = np.arange(50) // 5
    moved = labels >= 5
    Y[moved] += 2
    found = mmd2_influence(X, Y, groups_x=np.arange(60), groups_y=labels)
    assert found.groups_y[5:].min() > 0 > found.groups_y[:5].max() and len(found.groups_x) == 60
    assert found.samples_y[moved].mean() > 0 > found.samples_y[~moved].mean()
    assert found.witness_y[moved].max() < found.witness_y[~moved].mean()
    p = conformal_p_values(X, Y)
    assert np.median(p[moved]) < 0.05 < np.median(p[~moved])


def test_one_patient_far_away_lies_outside_but_makes_little_of_the_gap(rng):
    X, Y = rng.standard_normal((60, 5)) + 1, rng.standard_normal((50, 5))
    labels = np.arange(50) // 5
    Y[labels == 7] += 40
    found = mmd2_influence(X, Y, groups_y=labels)
    np.testing.assert_allclose(found.witness_y[labels == 7], 0, atol=1e-6)
    np.testing.assert_array_equal(conformal_p_values(X, Y)[labels == 7], 1 / 61)
    assert abs(found.groups_y[7]) < 0.3 * found.value


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("grouped", [False, True])
def test_conformal_p_is_the_loop_over_augmented_samples(rng, cells, k, grouped):
    X, Y = two(rng)
    groups = np.arange(15) // 2 if grouped else np.arange(15)
    found = conformal_p_values(X, Y, k=k, groups_x=groups if grouped else None)
    for y, p in zip(Y, found):
        own = np.sort(np.linalg.norm(X - y, axis=1))[k - 1]
        at_least = 0
        for i in range(15):
            others = np.r_[X[groups != groups[i]], [y]]
            at_least += np.sort(np.linalg.norm(others - X[i], axis=1))[k - 1] >= own
        assert p == pytest.approx((1 + at_least) / 16)


@pytest.mark.parametrize("d", [1, 20])
def test_conformal_p_is_uniform_for_samples_like_x(rng, d):
    p = np.concatenate([conformal_p_values(*rng.standard_normal((2, 19, d)), k=3)[:1] for _ in range(2000)])
    for level in (0.05, 0.2, 0.5):
        assert np.mean(p <= level + 1e-12) == pytest.approx(level, abs=3.5 * np.sqrt(level * (1 - level) / 2000))


def test_copies_and_scales(rng):
    X, Y = two(rng)
    assert (conformal_p_values(X, X, k=1) == 1).all()
    assert (conformal_p_values(np.ones((4, 2)), np.ones((3, 2)), k=2) == 1).all()
    for factor in (1e-150, 1e150):
        np.testing.assert_array_equal(conformal_p_values(factor * X, factor * Y), conformal_p_values(X, Y))


def test_which_argument_is_which(rng):
    wide, narrow = rng.standard_normal((60, 2)), 0.05 * rng.standard_normal((40, 2))
    assert conformal_p_values(wide, narrow).min() > 0.3
    assert np.median(conformal_p_values(narrow, wide)) == pytest.approx(1 / 41)
    found = mmd2_influence(wide, narrow)
    assert (len(found.samples_x), len(found.groups_y)) == (60, 40) and found.witness_y.max() < 0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X: mmd2_influence(X[:2], X), "X has 2 samples; at least 3"),
        (lambda X: mmd2_influence(X, X, groups_y=np.arange(10) // 5), "Y has 2 groups; at least 3"),
        (lambda X: mmd2_influence(X, X, sigma=-1), "sigma is -1"),
        (lambda X: conformal_p_values(X, X, k=10), "k is 10; with 10 samples of X, 9 outside the largest group"),
        (lambda X: conformal_p_values(X, X, k=6, groups_x=np.arange(10) // 5), "between 1 and 5"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((10, 3)))


def test_conformal_ties_on_a_grid_are_those_of_exact_integers(rng):
    for seed in range(20):
        draw = np.random.default_rng(seed)
        X, Y = draw.integers(-9, 10, (30, 4)), draw.integers(-9, 10, (20, 4))
        found = conformal_p_values(X, Y, k=2)
        for y, p in zip(Y, found):
            own = np.sort(((X - y) ** 2).sum(axis=1))[1]
            count = 0
            for i in range(30):
                rest = np.sort([*(((X - X[i]) ** 2).sum(axis=1)[np.arange(30) != i]), ((X[i] - y) ** 2).sum()])
                count += rest[1] >= own
            assert p == (1 + count) / 31
