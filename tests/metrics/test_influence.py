import itertools

import numpy as np
import pytest

from featurespace.metrics import cka, cka_difference, cka_influence, cka_jackknife, cka_null_sd, cka_permutation


def related(rng, n=60, noise=1.0):
    X = rng.standard_normal((n, 4)) + 3
    return X, X + noise * rng.standard_normal((n, 4))


@pytest.mark.parametrize("grouped, between", [(False, False), (True, False), (True, True)])
def test_changes_are_those_of_deleting_each_unit(rng, grouped, between):
    X, Y = related(rng)
    groups = np.array([f"p{i % 13}" for i in range(60)]) if grouped else None
    found = cka_influence(X, Y, groups=groups, between_groups=between)
    names = np.arange(60) if groups is None else groups
    for name, change in zip(found.names, found.change, strict=True):
        kept = names != name
        inner = groups[kept] if between else None
        assert found.estimate.value - change == pytest.approx(cka(X[kept], Y[kept], groups=inner), abs=1e-10)
    assert list(found.top) == [found.change.argmin()]
    assert found.value_without_top == pytest.approx(found.estimate.value - found.change.min(), abs=1e-10)


def test_the_images_that_make_two_models_differ_are_named(rng):
    X, _ = related(rng, 400)
    Y = X.copy()
    odd = [17, 203, 333, 398]
    Y[odd] = 3 - 4 * (X[odd] - 3)
    found = cka_influence(X, Y)
    assert set(found.top) == set(odd) and found.top_share > 0.9
    assert found.estimate.value < 0.99 and found.value_without_top == pytest.approx(1, abs=1e-12)
    noise = cka_influence(X, X + rng.standard_normal(X.shape))
    assert noise.top_share < 0.2


def test_difference_is_the_difference_and_names_arrays(rng):
    X, near = related(rng, noise=0.5)
    far = X + rng.standard_normal(X.shape)
    groups = np.arange(60) // 4
    for options in ({}, {"groups": groups}, {"groups": groups, "between_groups": True}):
        difference, p = cka_difference(X, near, X, far, **options)
        values = [cka_jackknife(X, Z, **options).value for Z in (near, far)]
        assert difference.value == pytest.approx(values[0] - values[1], abs=1e-12) and 0 < p <= 1
    assert cka_difference(X, near, X, near)[1] == 1
    with pytest.raises(ValueError, match=r"have \[60, 60, 59, 60\] rows"):
        cka_difference(X, near, X[:-1], far)
    with pytest.raises(ValueError, match="X2 has 1 values that are not finite"):
        bad = X.copy()
        bad[3, 1] = np.inf
        cka_difference(X, near, bad, far)
    with pytest.raises(ValueError, match="between_groups needs groups"):
        cka_difference(X, near, X, far, between_groups=True)


@pytest.mark.parametrize("grouped", [False, True])
def test_the_paired_test_keeps_its_size(rng, grouped):
    groups = np.repeat(np.arange(30), 4) if grouped else None
    below = 0
    for _ in range(300):
        X = rng.standard_normal((120, 4))
        if grouped:
            X = X + rng.standard_normal((30, 4))[groups]
        below += (
            cka_difference(X, X + rng.standard_normal(X.shape), X, X + rng.standard_normal(X.shape), groups=groups)[1]
            <= 0.05
        )
    assert 0.01 < below / 300 < 0.09  # 3 standard errors of 300 repeats are 0.038


def test_the_null_of_all_permutations_has_exactly_the_known_sd(rng):
    X, Y = rng.standard_normal((6, 2)), rng.standard_normal((6, 9)) ** 3
    values = [cka(X, Y[list(order)]) for order in itertools.permutations(range(6))]
    assert np.mean(values) == pytest.approx(0, abs=1e-12)
    assert np.std(values) == pytest.approx(cka_null_sd(6), rel=1e-10)


def test_permutation_values_and_p(rng):
    X, Y = related(rng, 40)
    value, p, null = cka_permutation(X, Y, rng=rng, permutations=400)
    assert value == pytest.approx(cka(X, Y), abs=1e-12) and p == 1 / 401
    assert null.std() == pytest.approx(cka_null_sd(40), rel=0.2)  # about 3 standard errors of a skewed sample
    groups = np.arange(40) % 10
    value, _, null = cka_permutation(X, Y, rng=rng, groups=groups, permutations=50)
    assert value == pytest.approx(cka(X, Y), abs=1e-12) and len(set(null)) == 50


@pytest.mark.parametrize("grouped", [False, True])
def test_p_is_uniform_for_independent_features(rng, grouped):
    groups = np.repeat(np.arange(20), 3) if grouped else None
    found = []
    for _ in range(200):
        X, Y = rng.standard_normal((2, 60, 3))
        if grouped:
            X, Y = (Z + 2 * rng.standard_normal((20, 3))[groups] for Z in (X, Y))
        found.append(cka_permutation(X, Y, rng=rng, groups=groups, permutations=99)[1])
    assert np.mean(np.array(found) <= 0.1) == pytest.approx(0.1, abs=3 * (0.09 / 200) ** 0.5)


def test_between_groups_the_number_of_groups_bounds_the_null(rng):
    groups = np.repeat(np.arange(20), 3)
    for spread in (0.0, 1.0, 5.0):
        values = []
        for _ in range(200):
            X, Y = (rng.standard_normal((60, 3)) + spread * rng.standard_normal((20, 3))[groups] for _ in range(2))
            values.append(cka(X, Y, groups=groups))
        assert np.mean(values) == pytest.approx(0, abs=4 * np.std(values) / 200**0.5)
        assert np.std(values) < cka_null_sd(20) * 1.2  # 3 standard errors of 200 skewed values
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
        (lambda X: cka_influence(X[:4], X[:4]), "no influence: 4 samples, at least 5 needed"),
        (lambda X: cka_permutation(X, X, rng=None, permutations=0), "permutations is 0"),
        (lambda X: cka_permutation(X, X, rng=None, groups=[0] * 19 + [1]), "groups have 1 to 19 samples; only groups"),
        (lambda X: cka_permutation(X[:3], X[:3], rng=None), "X has 3 rows"),
        (lambda X: cka_permutation(X, X * 0, rng=None), "Y is constant"),
        (lambda X: cka_null_sd(3), "n is 3; debiased CKA is defined from 4"),
        (lambda X: mmd2_influence(X[:2], X), "X has 2 samples; at least 3"),
        (lambda X: mmd2_influence(X, X, groups_y=np.arange(10) // 5), "Y has 2 groups; at least 3"),
        (lambda X: mmd2_influence(X, X, sigma=-1), "sigma is -1"),
        (lambda X: conformal_p_values(X, X, k=10), "k is 10; with 10 samples of X, 9 outside the largest group"),
        (lambda X: conformal_p_values(X, X, k=6, groups_x=np.arange(10) // 5), "between 1 and 5"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((20, 3)))
        call(rng.standard_normal((10, 3)))
