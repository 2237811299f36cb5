import numpy as np
import pytest
from oracles import distribution as oracle
from scipy.stats import t as student

from featurespace.metrics import (
    frechet_difference,
    frechet_distance,
    frechet_distance_corrected,
    mmd2_difference,
    mmd2_permutation,
)
from featurespace.stats import two_sample_blocks


def seen_by_two(rng, n, m, shifts, alike=0.9, d=4):
    """The same images in two models, with one gap each."""
    found = []
    for size, moved in ((n, shifts), (m, (0, 0))):
        first, second = rng.standard_normal((2, size, d))
        found.append((first + moved[0], alike * first + np.sqrt(1 - alike**2) * second + moved[1]))
    (X1, X2), (Y1, Y2) = found
    return X1, Y1, X2, Y2


@pytest.mark.parametrize("grouped", [False, True])
def test_mmd2_difference_is_the_jackknife_by_deleting(rng, grouped):
    X1, Y1, X2, Y2 = seen_by_two(rng, 24, 18, (0.5, 0.2))
    gx, gy = (np.arange(24) // 3, np.arange(18) // 3) if grouped else (np.arange(24), np.arange(18))
    given = {"groups_x": gx, "groups_y": gy} if grouped else {}
    found, p = mmd2_difference(X1, Y1, X2, Y2, sigma=(1.5, 2.0), **given)

    def difference(x, y):
        of_one = oracle.mmd2_across(X1[x], Y1[y], gx[x], gy[y], 1.5)
        return of_one - oracle.mmd2_across(X2[x], Y2[y], gx[x], gy[y], 2.0)

    every_x, every_y = np.ones(24, bool), np.ones(18, bool)
    of_x = np.array([difference(gx != u, every_y) for u in np.unique(gx)])
    of_y = np.array([difference(every_x, gy != u) for u in np.unique(gy)])
    np.testing.assert_allclose(found.leave_one_out, np.r_[of_x, of_y], atol=1e-12)
    assert found.value == pytest.approx(difference(every_x, every_y), abs=1e-12)
    variances = [(len(v) - 1) ** 2 / len(v) * v.var(ddof=1) for v in (of_x, of_y)]
    freedom = sum(variances) ** 2 / sum(v**2 / (len(each) - 1) for v, each in zip(variances, (of_x, of_y)))
    assert found.se == pytest.approx(sum(variances) ** 0.5)
    assert p == pytest.approx(2 * student.sf(abs(found.value) / found.se, freedom))
    assert found.ci_high - found.value == pytest.approx(student.ppf(0.975, freedom) * found.se)
    assert (found.n, found.n_groups, found.unit) == (42, 14 if grouped else 42, "group" if grouped else "sample")


def test_frechet_difference_is_that_of_the_corrected_distances(rng):
    X1, Y1, X2, Y2 = seen_by_two(rng, 80, 60, (0.5, 0.2))
    seed = np.random.default_rng
    found, p = frechet_difference(X1, Y1, X2, Y2, rng=seed(4))
    a, b = (frechet_distance_corrected(X, Y, rng=seed(4)) for X, Y in ((X1, Y1), (X2, Y2)))
    assert found.value == pytest.approx(a.value - b.value)
    of_x, of_y = two_sample_blocks(80, 60, rng=seed(4))
    without = [
        frechet_distance(X1[of_x != j], Y1[of_y != j]) - frechet_distance(X2[of_x != j], Y2[of_y != j])
        for j in range(20)
    ]
    np.testing.assert_allclose(found.leave_one_out, without, atol=1e-10)
    assert found.se == pytest.approx(19 / 20**0.5 * np.std(without, ddof=1))
    assert p == pytest.approx(2 * student.sf(abs(found.value) / found.se, 19))
    assert found.se < min(a.se, b.se)  # what both models see alike cancels


def test_which_model_and_which_sample_is_which(rng):
    X, Y = rng.standard_normal((60, 2)), rng.standard_normal((50, 3))[:, :2]
    wide = (X, Y + 3, np.c_[X, X], np.c_[Y, Y])
    found, p = mmd2_difference(*wide, groups_x=np.arange(60) // 2, level=0.9)
    assert found.ci_low > 0 and p < 1e-4 and found.n_groups == 30 + 50 and found.level == 0.9
    assert frechet_difference(*wide, rng=rng)[0].ci_low > 0
    assert mmd2_difference(*wide[2:], *wide[:2])[0].ci_high < 0


@pytest.mark.parametrize(
    "shift, repeats", [(0.0, 50), *(pytest.param(shift, 150, marks=pytest.mark.slow) for shift in (0.0, 0.6))]
)
def test_equal_gaps_keep_the_level(rng, shift, repeats):
    p_mmd, p_frechet = [], []
    for _ in range(repeats):
        data = seen_by_two(rng, 60, 50, (shift, shift))
        p_mmd.append(mmd2_difference(*data)[1])
        p_frechet.append(frechet_difference(*data, rng=rng)[1])
    bound = 0.05 + 3 * np.sqrt(0.05 * 0.95 / repeats)
    assert np.mean(np.array(p_mmd) <= 0.05) < bound
    assert np.mean(np.array(p_frechet) <= 0.05) < bound


def test_it_finds_what_two_intervals_hide(rng):
    paired, apart = 0, 0
    for _ in range(60):
        X1, Y1, X2, Y2 = seen_by_two(rng, 100, 80, (0.8, 0.6))
        paired += mmd2_difference(X1, Y1, X2, Y2)[1] <= 0.05
        a, b = (mmd2_permutation(X, Y, rng=rng, permutations=1) for X, Y in ((X1, Y1), (X2, Y2)))
        apart += a.ci_low > b.ci_high
    assert paired > 40 and apart < 25


def test_the_same_model_twice(rng):
    X, Y = rng.standard_normal((30, 2)), rng.standard_normal((20, 2))
    found, p = mmd2_difference(X, Y, X, Y)
    assert (found.value, p, found.interval) == (0, 1, "none: all leave-one-out values equal")
    found, p = frechet_difference(X, Y, X, Y, rng=rng)
    assert (found.value, p, found.interval) == (0, 1, "none: every block gives the same difference")


def test_few_groups_have_no_interval(rng):
    data = seen_by_two(rng, 12, 12, (1, 0))
    for found, p in (
        mmd2_difference(*data, groups_x=np.arange(12) // 4),
        frechet_difference(*data, rng=rng, groups_x=np.arange(12) // 4),
    ):
        assert found.interval == "none: 3 groups, at least 5 needed" and np.isnan([p, found.se]).all()


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X, r: mmd2_difference(X, X, X[1:], X), "the first model has 10 and 10 rows, the second 9 and 10"),
        (lambda X, r: frechet_difference(X, X, X, X[1:], rng=r), "the same images in the same order"),
        (lambda X, r: mmd2_difference(X, X, X, X, level=2), "level is 2"),
        (lambda X, r: mmd2_difference(X, X, X, X, sigma=(1, 0)), "sigma is 0"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((10, 3)), rng)
