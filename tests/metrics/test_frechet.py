import numpy as np
import pytest
from oracles import distribution as oracle

from featurespace.metrics import frechet as room
from featurespace.metrics import frechet_distance, frechet_distance_corrected, frechet_distance_infinity
from featurespace.stats import two_sample_blocks


def two(rng, n=60, m=45, d=6):
    return rng.standard_normal((n, d)) @ rng.standard_normal((d, d)), rng.standard_normal((m, d)) + 0.5


@pytest.mark.parametrize("n, m, d", [(60, 45, 6), (30, 50, 1), (200, 30, 20)])
def test_value_is_scipys_matrix_root(rng, n, m, d):
    X, Y = two(rng, n, m, d)
    if d > 1:
        assert frechet_distance(X, Y) == pytest.approx(oracle.frechet(X, Y), rel=1e-9)
    else:
        expected = (X.mean() - Y.mean()) ** 2 + (X.std(ddof=1) - Y.std(ddof=1)) ** 2
        assert frechet_distance(X, Y) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n, m, d", [(20, 15, 40), (20, 60, 40)])
def test_singular_covariances_are_exact_and_real(rng, n, m, d):
    X, Y = two(rng, n, m, d)
    A, B = (X - X.mean(0)) / np.sqrt(n - 1), (Y - Y.mean(0)) / np.sqrt(m - 1)
    nuclear = np.linalg.svd(A @ B.T, compute_uv=False).sum()
    shift = X.mean(0) - Y.mean(0)
    expected = shift @ shift + (A**2).sum() + (B**2).sum() - 2 * nuclear
    assert frechet_distance(X, Y) == pytest.approx(expected, rel=1e-11)
    assert frechet_distance(X, Y) == pytest.approx(oracle.frechet(X, Y), rel=1e-3)  # sqrtm itself is off here


def test_dead_features_and_identity(rng):
    X, Y = two(rng)
    dead = np.c_[X, np.zeros((60, 3)), X[:, :1]], np.c_[Y, np.zeros((45, 3)), Y[:, :1]]
    assert frechet_distance(dead[0], dead[0].copy()) == pytest.approx(0, abs=1e-11)
    assert frechet_distance(*(Z[:, :-1] for Z in dead)) == pytest.approx(frechet_distance(X, Y), rel=1e-12)
    assert isinstance(frechet_distance(*dead), float)
    assert np.isfinite(frechet_distance_corrected(*dead, rng=rng).value)


def test_an_offset_in_float32_changes_only_the_rounding_of_the_input(rng):
    X, Y = (Z.astype(np.float32) + np.float32(1000) for Z in two(rng))
    assert frechet_distance(X, Y) == pytest.approx(frechet_distance(X.astype(float) - 1000, Y.astype(float) - 1000))


@pytest.mark.parametrize("n, m, d, tolerance", [(60, 45, 6, 1e-11), (40, 25, 50, 1e-7), (30, 60, 45, 1e-7)])
@pytest.mark.parametrize("grouped", [False, True])
def test_leave_outs_equal_deleting_the_blocks(n, m, d, tolerance, grouped):
    rng = np.random.default_rng(3)
    X, Y = two(rng, n, m, d)
    X[:, 0] = 1.0  # a dead feature: R is singular
    given = {"groups_x": np.arange(n) // 3, "groups_y": np.arange(m) // 2} if grouped else {}
    found = frechet_distance_corrected(X, Y, rng=np.random.default_rng(9), blocks=7, **given)
    bx, by = two_sample_blocks(n, m, rng=np.random.default_rng(9), blocks=7, **given)
    expected = [frechet_distance(X[bx != j], Y[by != j]) for j in range(7)]
    np.testing.assert_allclose(found.leave_one_out, expected, rtol=tolerance)
    if grouped:
        assert all(len(set(bx[given["groups_x"] == g])) == 1 for g in range(n // 3))
    assert found.n == n + m and found.n_groups == 7
    assert found.interval == "jackknife over 7 blocks" + (" of groups" if grouped else "")
    assert found.unit == ("group" if grouped else "sample")


def test_blocks_are_even(rng):
    bx, by = two_sample_blocks(101, 60, rng=rng, groups_y=np.arange(60) // 3)
    assert set(np.bincount(bx)) == {5, 6} and set(np.bincount(by)) == {3}


def test_which_argument_is_which(rng):
    wide, narrow = 3 * rng.standard_normal((40, 2)), 0.1 * rng.standard_normal((60, 2))
    with pytest.raises(ValueError, match="groups has shape"):
        frechet_distance_corrected(wide, narrow, rng=rng, groups_x=np.arange(60))
    found = frechet_distance_corrected(wide, narrow, rng=rng, groups_x=np.arange(40) // 8, groups_y=np.arange(60) // 3)
    assert found.n_groups == 5
    # a block of the wide cluster moves the distance far more than one of the narrow cluster
    assert found.se > 10 * frechet_distance_corrected(narrow, narrow[::-1] + 1e-3, rng=rng).se


def truth(shift, scale, d):
    return d * shift**2 + d * (scale - 1) ** 2


@pytest.mark.parametrize("repeats", [50, pytest.param(200, marks=pytest.mark.slow)])
def test_the_correction_removes_the_bias_and_covers(rng, repeats):
    d, n, shift, scale = 16, 200, 0.1, 1.1
    expected, corrected, plain, inside = truth(shift, scale, d), [], [], 0
    for _ in range(repeats):
        X, Y = rng.standard_normal((n, d)), scale * rng.standard_normal((n, d)) + shift
        found = frechet_distance_corrected(X, Y, rng=rng)
        corrected.append(found.value)
        plain.append(frechet_distance(X, Y))
        inside += found.ci_low <= expected <= found.ci_high
    error = np.std(corrected) / repeats**0.5
    assert np.mean(corrected) == pytest.approx(expected, abs=4 * error + 0.02 * expected)
    assert np.mean(plain) - expected > 2**0.5 * np.std(corrected)
    assert inside / repeats == pytest.approx(0.945, abs=0.045 * (200 / repeats) ** 0.5)  # 3 standard errors


@pytest.mark.parametrize("repeats", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_groups_widen_the_interval_and_cover(rng, repeats):
    d, patients, slices, inside, narrow = 4, 40, 5, 0, 0
    expected = truth(0.5, 1.0, d)
    labels = np.repeat(np.arange(patients), slices)
    for _ in range(repeats):
        X, Y = (
            np.sqrt(0.8) * rng.standard_normal((patients, d))[labels]
            + np.sqrt(0.2) * rng.standard_normal((patients * slices, d))
            + s
            for s in (0.0, 0.5)
        )
        grouped = frechet_distance_corrected(X, Y, rng=rng, groups_x=labels, groups_y=labels)
        single = frechet_distance_corrected(X, Y, rng=rng)
        inside += grouped.ci_low <= expected <= grouped.ci_high
        narrow += single.ci_low <= expected <= single.ci_high
    assert inside / repeats == pytest.approx(0.94, abs=0.05 * (200 / repeats) ** 0.5)  # 3 standard errors
    assert narrow < inside - 0.15 * repeats


def test_few_groups_have_a_value_but_no_interval(rng):
    X, Y = two(rng)
    found = frechet_distance_corrected(X, Y, rng=rng, groups_x=np.arange(60) // 20)
    assert found.interval == "none: 3 groups, at least 5 needed" and np.isfinite(found.value)


@pytest.mark.parametrize("decay, by_moments", [(0.0, True), (0.5, True), (3.0, False), (4.0, False)])
def test_moments_and_nuclear_norm_agree(rng, monkeypatch, decay, by_moments):
    spread = np.arange(1, 41) ** -decay
    rotation = np.linalg.qr(rng.standard_normal((40, 40)))[0]
    X, Y = ((rng.standard_normal((n, 40)) * spread) @ rotation for n in (90, 70))
    assert (room._trace_of_root(np.cov(X.T), np.cov(Y.T), room.ROUNDING * X.var() * 40) is not None) is by_moments
    value = frechet_distance(X, Y)
    monkeypatch.setattr(room, "_trace_of_root", lambda *moments: None)
    assert value == pytest.approx(frechet_distance(X, Y), rel=1e-11)


def test_extrapolation_removes_the_bias_and_tells_its_line(rng):
    expected, found = truth(0.1, 1.1, 16), []
    for _ in range(60):
        X, Y = rng.standard_normal((200, 16)), 1.1 * rng.standard_normal((150, 16)) + 0.1
        found.append(frechet_distance_infinity(X, Y, rng=rng, points=8))
    values = np.array([each.value for each in found])
    assert values.mean() == pytest.approx(expected, abs=4 * values.std() / 60**0.5 + 0.02 * expected)
    last = found[-1]
    assert (last.n_x, last.n_y, len(last.fractions)) == (200, 150, 8)
    assert last.distances[-1] == pytest.approx(frechet_distance(X, Y), rel=1e-12)  # the whole sample
    assert last.slope + last.value == pytest.approx(last.distances[-1], abs=4 * last.residual)


def test_extrapolation_draws_whole_groups(rng, monkeypatch):
    seen, plug_in = [], room._plug_in
    monkeypatch.setattr(room, "_plug_in", lambda X, Y: seen.append((X, Y)) or plug_in(X, Y))
    X, Y = two(rng, 60, 45, 2)
    X[:, 0], Y[:, 0] = np.arange(60) // 6, np.arange(45) // 3
    frechet_distance_infinity(X, Y, rng=rng, groups_x=X[:, 0], groups_y=Y[:, 0], points=4)
    assert len(seen) == 4 and [len(first) for first, _ in seen] == [30, 42, 48, 60]
    for first, second in seen:
        assert set(np.unique(first[:, 0], return_counts=True)[1]) == {6}
        assert set(np.unique(second[:, 0], return_counts=True)[1]) == {3}


def test_far_scales_have_a_value_or_a_reason(rng):
    X, Y = two(rng)
    assert frechet_distance(1e-150 * X, 1e-150 * Y) == pytest.approx(1e-300 * frechet_distance(X, Y), rel=1e-6)
    assert frechet_distance(2.0**490 * X, 2.0**490 * Y) == 2.0**980 * frechet_distance(X, Y)
    for function in (frechet_distance, lambda X, Y: frechet_distance_corrected(X, Y, rng=rng)):
        with pytest.raises(ValueError, match="leave the range of float64"):
            function(1e160 * X, 1e160 * Y)
    near, far = (frechet_distance_corrected(c * X, c * Y, rng=np.random.default_rng(1)) for c in (1, 2.0**-490))
    assert (far.value, far.se) == pytest.approx((2.0**-980 * near.value, 2.0**-980 * near.se), rel=1e-9)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X, r: frechet_distance(X, X[:, :2]), "share one feature space"),
        (lambda X, r: frechet_distance(X[:1], X), "X has 1 rows and Y 10; at least 2 each"),
        (lambda X, r: frechet_distance_corrected(X, X, rng=r, blocks=1), "blocks is 1"),
        (lambda X, r: frechet_distance_corrected(X, X, rng=r, groups_y=np.ones(10)), "only one group"),
        (lambda X, r: frechet_distance_corrected(X, X[:2], rng=r), "fewer than 2 samples remain"),
        (lambda X, r: frechet_distance_corrected(X, X, rng=r, level=0), "level is 0"),
        (lambda X, r: frechet_distance_infinity(X, X, rng=r, points=2), "points is 2"),
        (lambda X, r: frechet_distance_infinity(X, X, rng=r, smallest=1.0), "smallest is 1.0"),
        (lambda X, r: frechet_distance_infinity(X, X[:2], rng=r), "fewer than 2 samples; raise smallest"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((10, 3)), rng)


def test_features_so_small_that_squares_vanish_are_refused(rng):
    from featurespace.metrics import coral_distance

    X = rng.standard_normal((30, 4))
    with pytest.raises(ValueError, match="squares of the features leave the range of float64"):
        frechet_distance(X * 1e-170, (X[::-1] + 0.5) * 1e-170)
    with pytest.raises(ValueError, match="fourth powers of the features leave the range"):
        coral_distance(X * 1e-90, X[::-1] * 3e-90)
    assert coral_distance(np.zeros((5, 2)), np.zeros((4, 2))) == 0
