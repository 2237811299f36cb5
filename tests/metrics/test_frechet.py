import numpy as np
import pytest
from oracles import distribution as oracle

from featurespace.metrics import distribution as room
from featurespace.metrics import frechet_distance, frechet_distance_corrected


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
    bx, by = room._blocks(X, Y, given.get("groups_x"), given.get("groups_y"), 7, np.random.default_rng(9))
    expected = [frechet_distance(X[bx != j], Y[by != j]) for j in range(7)]
    np.testing.assert_allclose(found.leave_one_out, expected, rtol=tolerance)
    if grouped:
        assert all(len(set(bx[given["groups_x"] == g])) == 1 for g in range(n // 3))
    assert found.n == n + m and found.n_groups == 7
    assert found.interval == "jackknife over 7 blocks" + (" of groups" if grouped else "")
    assert found.unit == ("group" if grouped else "sample")


def test_blocks_are_even(rng):
    bx, by = room._blocks(np.zeros((101, 1)), np.zeros((60, 1)), None, np.arange(60) // 3, 20, rng)
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


def test_the_correction_removes_the_bias_and_covers(rng):
    d, n, shift, scale = 16, 200, 0.1, 1.1
    expected, corrected, plain, inside = truth(shift, scale, d), [], [], 0
    for _ in range(200):
        X, Y = rng.standard_normal((n, d)), scale * rng.standard_normal((n, d)) + shift
        found = frechet_distance_corrected(X, Y, rng=rng)
        corrected.append(found.value)
        plain.append(frechet_distance(X, Y))
        inside += found.ci_low <= expected <= found.ci_high
    error = np.std(corrected) / 200**0.5
    assert np.mean(corrected) == pytest.approx(expected, abs=4 * error + 0.02 * expected)
    assert np.mean(plain) - expected > 20 * error
    assert 0.90 < inside / 200 <= 0.99


def test_groups_widen_the_interval_and_cover(rng):
    d, patients, slices, inside, narrow = 4, 40, 5, 0, 0
    expected = truth(0.5, 1.0, d)
    labels = np.repeat(np.arange(patients), slices)
    for _ in range(200):
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
    assert 0.89 < inside / 200 <= 0.99 and narrow < inside - 30


def test_few_groups_have_a_value_but_no_interval(rng):
    X, Y = two(rng)
    found = frechet_distance_corrected(X, Y, rng=rng, groups_x=np.arange(60) // 20)
    assert found.interval == "none: 3 groups, at least 5 needed" and np.isfinite(found.value)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda X, r: frechet_distance(X, X[:, :2]), "share one feature space"),
        (lambda X, r: frechet_distance(X[:1], X), "X has 1 rows and Y 10; at least 2 each"),
        (lambda X, r: frechet_distance_corrected(X, X, rng=r, blocks=1), "blocks is 1"),
        (lambda X, r: frechet_distance_corrected(X, X, rng=r, groups_y=np.ones(10)), "only one group"),
        (lambda X, r: frechet_distance_corrected(X, X[:2], rng=r), "fewer than 2 samples remain"),
        (lambda X, r: frechet_distance_corrected(X, X, rng=r, level=0), "level is 0"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng.standard_normal((10, 3)), rng)
