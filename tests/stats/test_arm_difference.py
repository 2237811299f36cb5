from dataclasses import replace

import numpy as np
import pytest

from featurespace.stats import Estimate, arm_difference, jackknife_estimate


def mean_of(v, groups=None):
    if groups is None:
        return jackknife_estimate(v.mean(), (v.sum() - v) / (len(v) - 1), n=len(v))
    sizes, sums = np.bincount(groups), np.bincount(groups, weights=v)
    leave_out = (v.sum() - sums) / (len(v) - sizes)
    return jackknife_estimate(v.mean(), leave_out, n=len(v), sizes=sizes, unit="group")


def arms(rng, seeds, *, n=60, shift=0.0, between=0.3, groups=None):
    """Two arms over the same samples: effects of samples (some of them on one arm only), of seeds, and of both."""
    easy = rng.normal(size=n)
    if groups is not None:
        easy = easy + 2 * rng.normal(size=groups.max() + 1)[groups]

    def arm(mean):
        liked = 0.5 * rng.normal(size=n)
        values = [easy + liked + mean + between * rng.normal() + rng.normal(size=n) for _ in range(seeds)]
        return [mean_of(v, groups) for v in values]

    return arm(shift), arm(0.0)


@pytest.mark.parametrize("seeds, between", [(2, 0.3), (4, 0.3), (4, 0.0), (4, 2.0), (2, 0.0)])
def test_intervals_cover_and_p_is_uniform(rng, seeds, between):
    found = [arm_difference(*arms(rng, seeds, shift=0.0, between=between)) for _ in range(600)]
    covered = np.mean([each.ci_low <= 0 <= each.ci_high for each, _ in found])
    # 3 standard errors of 600 repeats are 0.027; on the safe side where seeds differ little
    assert 0.915 < covered < (0.98 if between >= 0.3 else 0.998)
    assert np.mean([p <= 0.05 for _, p in found]) == pytest.approx(1 - covered, abs=1e-12)


def test_groups_and_unequal_sizes(rng):
    groups = np.sort(rng.integers(0, 25, 100))
    groups = np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(groups)
    found = [arm_difference(*arms(rng, 3, n=100, groups=groups), sizes=sizes)[0] for _ in range(400)]
    assert 0.917 < np.mean([each.ci_low <= 0 <= each.ci_high for each in found]) < 0.99


def test_samples_alone_would_cover_far_less(rng):
    narrow = 0
    for _ in range(300):
        a, b = arms(rng, 2, between=1.0)
        leave_out = np.mean([each.leave_one_out for each in a], axis=0) - np.mean([e.leave_one_out for e in b], axis=0)
        value = np.mean([each.value for each in a]) - np.mean([each.value for each in b])
        samples = jackknife_estimate(value, leave_out, n=60)
        narrow += samples.ci_low <= 0 <= samples.ci_high
    assert narrow / 300 < 0.6


def test_more_seeds_find_a_difference(rng):
    powers = [np.mean([arm_difference(*arms(rng, k, shift=0.6))[1] <= 0.05 for _ in range(100)]) for k in (2, 6)]
    assert powers[0] + 0.2 < powers[1]


def gaps(rng, seeds, *, between=0.3, n=60, m=40):
    """Two arms' differences of means of two samples, which all models see."""
    easy, other = rng.normal(size=n), rng.normal(size=m)

    def arm():
        found = []
        liked = 0.5 * rng.normal(size=n), 0.5 * rng.normal(size=m)
        for _ in range(seeds):
            x, y = easy + liked[0] + rng.normal(size=n), other + liked[1] + rng.normal(size=m)
            value, shift = x.mean() - y.mean(), between * rng.normal()
            left_out = np.r_[(x.sum() - x) / (n - 1) - y.mean(), x.mean() - (y.sum() - y) / (m - 1)] + shift
            found.append(
                Estimate(value + shift, np.nan, np.nan, np.nan, n + m, "sample", n + m, "jackknife", 0.95, left_out)
            )
        return found

    return arm(), arm()


@pytest.mark.parametrize("repeats", [150, pytest.param(3000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("seeds", [2, 3, 4])
def test_values_of_two_samples(rng, seeds, repeats):
    found = [arm_difference(*gaps(rng, seeds), count_x=60) for _ in range(repeats)]
    covered = np.mean([each.ci_low <= 0 <= each.ci_high for each, _ in found])
    assert 0.94 - 3 * np.sqrt(0.05 * 0.95 / repeats) < covered < 0.995
    a, b = gaps(rng, seeds)
    leave_out = np.mean([each.leave_one_out for each in a], axis=0) - np.mean([e.leave_one_out for e in b], axis=0)
    parts = [(len(part) - 1) ** 2 / len(part) * part.var(ddof=1) for part in (leave_out[:60], leave_out[60:])]
    parts += [np.var([each.value for each in arm], ddof=1) / seeds for arm in (a, b)]
    assert arm_difference(a, b, count_x=60)[0].se == pytest.approx(sum(parts) ** 0.5)


def test_one_seed_is_no_test(rng):
    a, b = arms(rng, 2)
    difference, p = arm_difference(a[:1], b)
    assert np.isnan(p) and np.isnan(difference.ci_low)
    assert "one seed in an arm cannot separate the way of training from its seed" in difference.interval
    assert difference.value == pytest.approx(a[0].value - np.mean([each.value for each in b]))


def test_errors_and_empty_intervals(rng):
    a, b = arms(rng, 2)
    with pytest.raises(ValueError, match="level is 95"):
        arm_difference(a, b, level=95)
    with pytest.raises(ValueError, match="the estimates of all seeds need their leave-one-out values"):
        arm_difference([replace(each, leave_one_out=None) for each in a], b)
    with pytest.raises(ValueError, match="the arms have 2 and 0 seeds"):
        arm_difference(a, [])
    with pytest.raises(ValueError, match="other samples: n 60 and 30"):
        arm_difference(a, arms(rng, 2, n=30)[0])
    few = [mean_of(np.arange(4.0))] * 2
    difference, p = arm_difference(few, few)
    assert difference.interval == "none: 4 samples, at least 5 needed" and np.isnan(p)
    same = [mean_of(np.arange(6.0))] * 2
    assert arm_difference(same, same)[1] == 1
    assert arm_difference(same, same)[0].interval == "none: every seed and every unit gives the same difference"
