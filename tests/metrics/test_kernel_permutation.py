import numpy as np
import pytest
from oracles import distribution as oracle

from featurespace.metrics import energy_distance, energy_permutation, kid, kid_permutation
from featurespace.stats import permute_units

TESTS = {
    "kid": (kid_permutation, oracle.kid),
    "energy": (energy_permutation, lambda X, Y: oracle.energy(X, Y, unbiased=True)),
}


def two(rng, n=14, m=19, d=3, shift=1.0):
    return rng.standard_normal((n, d)) + shift, 1.5 * rng.standard_normal((m, d))


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("name", TESTS)
def test_value_null_and_leave_outs_are_the_loop(rng, name, grouped):
    test, loop = TESTS[name]
    X, Y = two(rng)
    gx, gy = (np.arange(14) // 2, np.arange(19) % 6) if grouped else (np.arange(14), np.arange(19))
    given = {"groups_x": gx, "groups_y": gy} if grouped else {}
    found = test(X, Y, rng=np.random.default_rng(3), permutations=12, **given)
    assert found.value == pytest.approx(loop(X, Y), rel=1e-9)
    codes, pooled = np.r_[gx, gy + gx.max() + 1], np.r_[X, Y]
    count = codes.max() + 1
    for side, value in zip(
        permute_units(count, gx.max() + 1, permutations=12, rng=np.random.default_rng(3)), found.null
    ):
        assert value == pytest.approx(loop(pooled[side[codes]], pooled[~side[codes]]), rel=1e-8, abs=1e-9)
    total = 0.0
    for units, deleted in ((gx, lambda u: (X[gx != u], Y)), (gy, lambda u: (X, Y[gy != u]))):
        h = len(units) / np.bincount(units)
        without = np.array([loop(*deleted(u)) for u in range(len(h))])
        total += (len(without) - 1) * np.var(without)
    assert found.se == pytest.approx(total**0.5, rel=1e-8)
    assert found.interval == ("group jackknife" if grouped else "jackknife")
    assert (found.n_x, found.n_y, found.n_groups) == (14, 19, 13 if grouped else 33)


def test_values_are_those_of_the_plain_functions(rng):
    X, Y = two(rng, 40, 30)
    assert kid_permutation(X, Y, rng=rng, permutations=1).value == pytest.approx(kid(X, Y), rel=1e-11)
    energy = energy_permutation(X, Y, rng=rng, permutations=1)
    assert energy.value == pytest.approx(energy_distance(X, Y, unbiased=True), rel=1e-11)
    far = energy_permutation(1e150 * X, 1e150 * Y, rng=rng, permutations=1)
    assert (far.value, far.se) == pytest.approx((1e150 * energy.value, 1e150 * energy.se), rel=1e-9)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("name", TESTS)
def test_p_is_uniform_under_the_null(rng, name, grouped):
    p = []
    for _ in range(400):
        gx, gy = np.repeat(np.arange(8), rng.integers(1, 5, 8)), np.repeat(np.arange(10), rng.integers(1, 5, 10))
        X, Y = (
            (rng.standard_normal((18, 2))[g] if grouped else 0) + 0.3 * rng.standard_normal((len(g), 2))
            for g in (gx, gy)
        )
        given = {"groups_x": gx, "groups_y": gy} if grouped else {}
        p.append(TESTS[name][0](X, Y, rng=rng, permutations=99, **given).p_value)
    for level in (0.05, 0.2, 0.5, 0.8):
        assert np.mean(np.array(p) <= level) == pytest.approx(level, abs=3.5 * np.sqrt(level * (1 - level) / 400))


def test_the_interval_of_kid_covers_a_known_gap(rng):
    inside, s = 0, 1.0  # normals of width 1, one of them shifted by s: E (x y + 1)^3 in closed form, d = 1

    def moment(a, b):
        t, t2 = a * b, (1 + a * a) * (1 + b * b)
        return (a**3 + 3 * a) * (b**3 + 3 * b) + 3 * t2 + 3 * t + 1

    truth = moment(s, s) + moment(0, 0) - 2 * moment(s, 0)
    for _ in range(300):
        found = kid_permutation(rng.standard_normal((80, 1)) + s, rng.standard_normal((60, 1)), rng=rng, permutations=1)
        inside += found.ci_low <= truth <= found.ci_high
    assert 0.88 < inside / 300 <= 0.985  # a cubic kernel of 60 samples has heavy tails


def test_equal_samples_have_p_one_and_no_interval(rng):
    for test, _ in TESTS.values():
        found = test(np.ones((9, 2)), np.ones((8, 2)), rng=rng, permutations=9)
        assert (found.value, found.p_value) == (0, 1) and found.interval == "none: all leave-one-out values equal"


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X, r: kid_permutation(1e150 * X, X, rng=r), r"\(x.y / d \+ 1\)\^3 leaves the range"),
        (lambda X, r: kid_permutation(X, X, rng=r, permutations=0), "permutations is 0"),
        (lambda X, r: energy_permutation(X, X, rng=r, groups_x=np.zeros(10)), "can leave one sample on a side"),
        (lambda X, r: energy_permutation(X, X[:, :1], rng=r), "share one feature space"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((10, 3)), rng)
