import numpy as np
import pytest

from featurespace.stats import block_jackknife
from featurespace.stats.blocks import unit_blocks


def mean(*arrays):
    return float(np.mean(arrays[0]))


def test_blocks_of_one_are_the_plain_jackknife(rng):
    x = rng.standard_normal((30, 1))
    found = block_jackknife(mean, [x], rng=rng, blocks=99)
    assert found.se == pytest.approx(x.std(ddof=1) / 30**0.5) and found.n_groups == 30
    assert found.interval == "jackknife over 30 blocks" and found.unit == "sample"
    np.testing.assert_allclose(np.sort(found.leave_one_out), np.sort((x.sum() - x.ravel()) / 29))


def test_units_stay_whole_and_arrays_stay_paired(rng):
    groups = np.arange(60) % 23
    seen = []

    def statistic(X, Y):
        assert (X == Y).all()
        seen.append(set(X.ravel()))
        return float(len(X))

    found = block_jackknife(statistic, [groups[:, None]] * 2, rng=rng, groups=groups, blocks=6)
    gone = [set(range(23)) - each for each in seen[1:]]
    assert sorted(g for block in gone for g in block) == list(range(23)) and len(gone) == 6
    assert found.interval == "jackknife over 6 blocks of groups" and found.n_groups == 6


def test_blocks_are_even_and_drawn(rng):
    codes = np.repeat(np.arange(20), 5)
    a, b = (unit_blocks(codes, blocks=7, rng=rng) for _ in range(2))
    assert np.bincount(a).max() - np.bincount(a).min() <= 5 and not (a == b).all()
    assert unit_blocks(np.repeat([0, 1, 2], [1, 50, 1]), blocks=3, rng=rng).max() == 2


@pytest.mark.parametrize("grouped", [False, True])
def test_the_interval_covers(rng, grouped):
    hits = 0
    for _ in range(400):
        x = rng.standard_normal((120, 1)) + (np.repeat(rng.standard_normal(30), 4)[:, None] if grouped else 0)
        found = block_jackknife(mean, [x], rng=rng, groups=np.repeat(np.arange(30), 4) if grouped else None)
        hits += found.ci_low <= 0 <= found.ci_high
    assert 0.917 < hits / 400 < 0.983  # 3 standard errors of 400 repeats


def test_no_interval_and_why(rng):
    x = np.arange(20.0)[:, None]
    few = block_jackknife(mean, [x], rng=rng, groups=np.arange(20) % 4)
    assert few.interval == "none: 4 groups, at least 5 needed" and few.value == 9.5

    def picky(X):
        if 0 not in X:
            raise ValueError("undefined")
        return float(X.mean())

    assert "undefined when one block of samples" in block_jackknife(picky, [x], rng=rng, blocks=5).interval


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda x, rng: block_jackknife(mean, [], rng=rng), r"arrays have \[\] rows; at least one"),
        (lambda x, rng: block_jackknife(mean, [x, x[:3]], rng=rng), r"arrays have \[9, 3\] rows"),
        (lambda x, rng: block_jackknife(mean, [x], rng=rng, blocks=4), "blocks is 4; at least 5"),
        (lambda x, rng: block_jackknife(mean, [x], rng=rng, level=95), "level is 95"),
        (
            lambda x, rng: unit_blocks(np.arange(9), blocks=10, rng=rng),
            "blocks is 10; with 9 units it must lie between",
        ),
        (lambda x, rng: unit_blocks(np.arange(9), blocks=1, rng=rng), "blocks is 1"),
    ],
)
def test_errors_name_the_reason(rng, call, message):
    with pytest.raises(ValueError, match=message):
        call(np.arange(9.0)[:, None], rng)
