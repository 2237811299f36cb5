import numpy as np
import pytest
from oracles import distribution as oracle

from featurespace.metrics import mmd as room
from featurespace.metrics import mmd2, mmd2_permutation, pairs
from featurespace.stats import permute_units


def two(rng, n=14, m=19, d=3, shift=1.0):
    return rng.standard_normal((n, d)) + shift, 1.5 * rng.standard_normal((m, d))


def test_value_is_the_double_loop(rng):
    X, Y = two(rng)
    assert mmd2(X, Y, sigma=0.8) == pytest.approx(oracle.mmd2(X, Y, 0.8), abs=1e-12)
    sigma = oracle.median_distance(np.r_[X, Y])
    assert mmd2(X, Y) == pytest.approx(oracle.mmd2(X, Y, sigma), abs=1e-12)
    assert mmd2(X[:-1], Y) == pytest.approx(oracle.mmd2(X[:-1], Y, oracle.median_distance(np.r_[X[:-1], Y])), abs=1e-12)
    found = mmd2_permutation(X, Y, rng=rng, permutations=19)
    assert found.value == pytest.approx(mmd2(X, Y), abs=1e-14) and found.sigma == pytest.approx(sigma)
    assert (found.n_x, found.n_y, found.unit, found.n_groups, found.permutations) == (14, 19, "sample", 33, 19)


@pytest.mark.parametrize("cells", [2**22, 50])
@pytest.mark.parametrize("n, m", [(14, 19), (14, 18), (2, 3)])
def test_many_samples_are_taken_in_blocks(rng, monkeypatch, cells, n, m):
    X, Y = two(rng, n, m)
    Z = np.r_[X, Y]
    whole, given = mmd2(X, Y), mmd2(X, Y, sigma=0.8)
    monkeypatch.setattr(pairs, "CELLS", cells)
    monkeypatch.setattr(room, "WHOLE", 0)
    assert pairs.median_distance(Z - Z.mean(axis=0)) == pytest.approx(oracle.median_distance(Z), rel=1e-12)
    assert mmd2(X, Y) == pytest.approx(whole, abs=1e-13) and mmd2(X, Y, sigma=0.8) == pytest.approx(given, abs=1e-13)
    grid = rng.integers(0, 3, (25, 2)).astype(float)  # many equal distances
    assert pairs.median_distance(grid - grid.mean(axis=0)) == pytest.approx(oracle.median_distance(grid), rel=1e-12)
    with pytest.raises(ValueError, match="median distance of the pooled sample is 0"):
        mmd2(np.ones((9, 2)), np.ones((9, 2)))
    with pytest.raises(ValueError, match="sigma is 0"):
        mmd2(X, Y, sigma=0)


@pytest.mark.parametrize("whole", [0, 6000])
@pytest.mark.parametrize("factor", [2.0**-900, 2.0**900])
def test_far_scales_change_no_bit(rng, monkeypatch, whole, factor):
    monkeypatch.setattr(room, "WHOLE", whole)
    X, Y = two(rng)
    assert mmd2(factor * X, factor * Y) == mmd2(X, Y)
    assert mmd2(factor * X, factor * Y, sigma=factor * 1.5) == mmd2(X, Y, sigma=1.5)
    near, far = (mmd2_permutation(c * X, c * Y, rng=np.random.default_rng(0), permutations=5) for c in (1, factor))
    assert (far.value, far.sigma) == (near.value, factor * near.sigma)


def test_it_is_unbiased_and_negative_values_are_kept(rng):
    values = np.array([mmd2(*rng.standard_normal((2, 12, 2)), sigma=1.0) for _ in range(600)])
    assert abs(values.mean()) < 4 * values.std() / 600**0.5
    assert (values < 0).mean() > 0.3


def test_an_offset_in_float32_changes_only_the_rounding_of_the_input(rng):
    X, Y = (Z.astype(np.float32) + np.float32(1000) for Z in two(rng))
    assert mmd2(X, Y) == pytest.approx(mmd2(X.astype(float) - 1000, Y.astype(float) - 1000), abs=1e-11)


def test_which_argument_is_which(rng):
    wide, narrow = rng.standard_normal((20, 2)), 0.05 * rng.standard_normal((30, 2))
    found = mmd2_permutation(wide, narrow, rng=rng, groups_x=np.arange(20) // 2, permutations=9)
    assert (found.n_x, found.n_y, found.n_groups, found.unit) == (20, 30, 10 + 30, "group")
    with pytest.raises(ValueError, match="groups has shape"):
        mmd2_permutation(wide, narrow, rng=rng, groups_y=np.arange(20))


def jackknife_by_deleting(X, Y, gx, gy, sigma):
    """Standard error from really deleting units, each sample by itself."""
    total = 0.0
    for units, deleted in ((gx, lambda u: (X[gx != u], Y)), (gy, lambda u: (X, Y[gy != u]))):
        names = np.unique(units)
        without = np.array([oracle.mmd2(*deleted(u), sigma) for u in names])
        total += (len(names) - 1) * without.var()
    return np.sqrt(total)


@pytest.mark.parametrize("grouped", [False, True])
def test_interval_is_the_jackknife_by_deleting(rng, grouped):
    X, Y = two(rng)
    gx, gy = (np.arange(14) ** 2 % 7, np.arange(19) % 6) if grouped else (np.arange(14), np.arange(19))
    gx = np.where(gx == 0, 10, gx) + np.arange(14) % 2 if grouped else gx
    given = {"groups_x": gx, "groups_y": gy} if grouped else {}
    found = mmd2_permutation(X, Y, rng=rng, permutations=9, sigma=1.2, **given)
    assert found.se == pytest.approx(jackknife_by_deleting(X, Y, gx, gy, 1.2), rel=1e-9)
    assert found.interval == ("group jackknife" if grouped else "jackknife")
    assert found.ci_high - found.value == pytest.approx(found.value - found.ci_low)
    assert 1.96 < (found.ci_high - found.value) / found.se < 2.6


@pytest.mark.parametrize("grouped", [False, True])
def test_each_permutation_is_the_loop_on_permuted_samples(rng, grouped):
    X, Y = two(rng, n=9, m=12)
    gx, gy = (np.repeat(np.arange(3), [2, 3, 4]), np.arange(12) // 3) if grouped else (np.arange(9), np.arange(12))
    kernel, sigma = room.rbf_pooled(X, Y, None, gx, gy)
    codes = np.r_[gx, gy + gx.max() + 1]
    sides = permute_units(len(kernel.sizes), kernel.count_x, permutations=15, rng=rng)
    null = kernel.null(sides)
    assert kernel.value == pytest.approx(mmd2(X, Y), abs=1e-14)
    seed = 8 if not grouped else 9
    found = mmd2_permutation(X, Y, rng=np.random.default_rng(seed), groups_x=gx, groups_y=gy, permutations=15)
    again = permute_units(len(kernel.sizes), kernel.count_x, permutations=15, rng=np.random.default_rng(seed))
    np.testing.assert_array_equal(found.null, kernel.null(again))
    pooled = np.r_[X, Y]
    for side, value in zip(sides, null):
        first = side[codes]
        assert value == pytest.approx(oracle.mmd2(pooled[first], pooled[~first], sigma), abs=1e-12)


@pytest.mark.parametrize("grouped", [False, True])
def test_p_is_uniform_under_the_null(rng, grouped):
    p = []
    for _ in range(400):
        if grouped:
            gx, gy = np.repeat(np.arange(8), rng.integers(1, 5, 8)), np.repeat(np.arange(10), rng.integers(1, 5, 10))
            centres = rng.standard_normal((18, 2))
            X, Y = (
                centres[gx] + 0.3 * rng.standard_normal((len(gx), 2)),
                centres[gy + 8] + 0.3 * rng.standard_normal((len(gy), 2)),
            )
            found = mmd2_permutation(X, Y, rng=rng, groups_x=gx, groups_y=gy, permutations=99)
        else:
            found = mmd2_permutation(*rng.standard_normal((2, 15, 2)), rng=rng, permutations=99)
        p.append(found.p_value)
    p = np.array(p)
    for level in (0.05, 0.2, 0.5, 0.8):
        assert np.mean(p <= level) == pytest.approx(level, abs=3.5 * np.sqrt(level * (1 - level) / 400))


def test_ignoring_groups_would_reject_far_too_often(rng):
    rejected = 0
    for _ in range(60):
        centres = rng.standard_normal((12, 2))
        X, Y = (np.repeat(c, 8, axis=0) + 0.2 * rng.standard_normal((48, 2)) for c in (centres[:6], centres[6:]))
        rejected += mmd2_permutation(X, Y, rng=rng, permutations=99).p_value <= 0.05
    assert rejected > 30


def test_a_real_shift_is_found(rng):
    X, Y = two(rng, 40, 50, 4, 1.5)
    found = mmd2_permutation(X, Y, rng=rng, permutations=199)
    assert found.p_value == 1 / 200 and 0 < found.ci_low < found.value < found.ci_high


def test_the_interval_covers_a_known_gap(rng):
    sigma, shift, inside = 1.5, 1.0, 0
    spread = sigma**2 / (sigma**2 + 2)  # E exp(-(a - b)^2 / (2 sigma^2)) of normals, in closed form
    truth = 2 * spread**0.5 * (1 - np.exp(-(shift**2) / (2 * (sigma**2 + 2))))
    for _ in range(300):
        X, Y = rng.standard_normal((40, 1)) + shift, rng.standard_normal((60, 1))
        found = mmd2_permutation(X, Y, rng=rng, permutations=1, sigma=sigma)
        inside += found.ci_low <= truth <= found.ci_high
    assert 0.91 < inside / 300 <= 0.985


def test_few_groups_have_a_p_but_no_interval(rng):
    X, Y = two(rng, 12, 12)
    found = mmd2_permutation(X, Y, rng=rng, groups_x=np.arange(12) // 4, groups_y=np.arange(12) // 3)
    assert found.interval == "none: 3 groups, at least 5 needed" and np.isnan([found.ci_low, found.se]).all()
    assert found.p_value >= 1 / 35 * 0.5  # 35 splits of 7 groups


def test_a_split_drawn_again_is_a_tie(rng):
    X, Y = two(rng, 12, 12, shift=9.0)
    found = mmd2_permutation(X, Y, rng=rng, groups_x=np.arange(12) // 6, groups_y=np.arange(12) // 6, permutations=600)
    # 6 splits of 4 groups in 2 and 2, of which the observed one and its mirror image have the largest value
    assert found.p_value == pytest.approx(1 / 3, abs=0.08)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X, r: mmd2(X, X[:, :1]), "3 columns and Y 1"),
        (lambda X, r: mmd2(X, X[:1]), "at least 2 each"),
        (lambda X, r: mmd2(X, X, sigma=0), "sigma is 0; the width"),
        (lambda X, r: mmd2(X, X, sigma=np.nan), "sigma is nan"),
        (lambda X, r: mmd2(X, X, sigma=1e-200), "sigma is 1e-200; the width .* within a factor of 1e150"),
        (lambda X, r: mmd2(np.ones((9, 2)), np.ones((9, 2))), "median distance of the pooled sample is 0"),
        (lambda X, r: mmd2(X[[0] * 9 + [1]], X[[0] * 9 + [1]]), "most samples are identical; pass sigma"),
        (lambda X, r: mmd2_permutation(X, X, rng=r, permutations=0), "permutations is 0"),
        (lambda X, r: mmd2_permutation(X, X, rng=r, groups_x=np.zeros(10)), "can leave one sample on a side"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((10, 3)), rng)
