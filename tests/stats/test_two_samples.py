import numpy as np
import pytest

from featurespace.stats import block_estimate, two_sample_blocks, two_sample_jackknife


def difference(X, Y):
    return float(X.mean() - Y.mean())


def test_leave_outs_are_the_statistic_without_the_blocks(rng):
    X, Y, gx = rng.standard_normal((30, 2)), rng.standard_normal((22, 2)), np.arange(30) // 3
    found = two_sample_jackknife(difference, X, Y, rng=np.random.default_rng(5), groups_x=gx, blocks=6)
    of_x, of_y = two_sample_blocks(30, 22, rng=np.random.default_rng(5), groups_x=gx, blocks=6)
    assert all(len(set(of_x[gx == group])) == 1 for group in range(10))
    expected = [difference(X[of_x != j], Y[of_y != j]) for j in range(6)]
    np.testing.assert_allclose(found.leave_one_out, expected)
    assert found.value == difference(X, Y) and (found.n, found.n_groups, found.unit) == (52, 6, "group")
    assert found.interval == "jackknife over 6 blocks of groups"


def test_lists_and_tensors_are_taken(rng):
    import torch

    X, Y = rng.standard_normal((30, 2)), rng.standard_normal((22, 2))
    value = two_sample_jackknife(difference, X, Y, rng=np.random.default_rng(5))
    for convert in (np.ndarray.tolist, torch.from_numpy):
        same = two_sample_jackknife(difference, convert(X), convert(Y), rng=np.random.default_rng(5))
        assert (same.value, same.se) == pytest.approx((value.value, value.se))


@pytest.mark.parametrize("grouped", [False, True])
def test_the_interval_covers_a_difference_of_means(rng, grouped):
    inside, gx, gy = 0, np.arange(160) // 4, np.arange(100) // 4
    for _ in range(600):
        X, Y = rng.standard_normal((160, 1)) + 0.5, rng.standard_normal((100, 1))
        if grouped:
            X, Y = (
                0.6 * X + 0.2 + 0.8 * rng.standard_normal((40, 1))[gx],
                0.6 * Y + 0.8 * rng.standard_normal((25, 1))[gy],
            )
        given = {"groups_x": gx, "groups_y": gy} if grouped else {}
        found = two_sample_jackknife(difference, X, Y, rng=rng, **given)
        inside += found.ci_low <= 0.5 <= found.ci_high
    assert abs(inside / 600 - 0.95) < 0.02 + 2 * np.sqrt(0.05 * 0.95 / 600)


def test_few_blocks_have_no_interval(rng):
    found = two_sample_jackknife(difference, np.arange(9.0), np.arange(9.0), rng=rng, groups_x=np.arange(9) // 3)
    assert found.interval == "none: 3 groups, at least 5 needed" and found.value == 0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda r: two_sample_blocks(9, 9, rng=r, blocks=1), "blocks is 1"),
        (lambda r: two_sample_blocks(9, 9, rng=r, groups_y=np.ones(9)), "only one group"),
        (lambda r: two_sample_blocks(9, 2, rng=r), "fewer than 2 samples remain"),
        (lambda r: two_sample_blocks(9, 9, rng=r, groups_x=np.ones(3)), "groups has shape"),
        (lambda r: block_estimate(np.nan, [1, 2], np.arange(2), np.arange(2), grouped=False), "finite values"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(rng)
