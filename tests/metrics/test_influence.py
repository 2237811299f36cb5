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


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X: cka_influence(X[:4], X[:4]), "no influence: 4 samples, at least 5 needed"),
        (lambda X: cka_permutation(X, X, rng=np.random.default_rng(0), permutations=0), "permutations is 0"),
        (
            lambda X: cka_permutation(X, X, rng=np.random.default_rng(0), groups=[0] * 19 + [1]),
            "groups have 1 to 19 samples; only groups",
        ),
        (lambda X: cka_permutation(X[:3], X[:3], rng=np.random.default_rng(0)), "X has 3 rows"),
        (lambda X: cka_permutation(X, X * 0, rng=np.random.default_rng(0)), "Y is constant"),
        (lambda X: cka_null_sd(3), "n is 3; debiased CKA is defined from 4"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((20, 3)))


def test_a_value_that_does_not_exist_without_the_top_is_an_error_and_no_rounding(rng):
    """Four images of 300 are not zero, and three are the top: the CKA of what remains is 0 / 0."""
    X, Y = np.zeros((300, 3)), 0.01 * rng.standard_normal((300, 3))
    X[:4] = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]
    Y[:4] += [[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]]
    for first, second, name in ((X, Y, "X"), (Y, X, "Y")):
        with pytest.raises(
            ValueError, match=f"without the most influential samples, {name} is constant but for at most"
        ):
            cka_influence(first, second)
    with pytest.raises(ValueError, match="Y is constant"):
        cka_influence(Y, 0 * Y)
