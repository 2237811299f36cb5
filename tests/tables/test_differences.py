import dataclasses

import numpy as np
import pytest
from scipy import stats

from featurespace.metrics import participation_ratio_jackknife
from featurespace.stats.paired import paired_jackknife
from featurespace.tables.differences import mean_estimate, with_holm


def test_paired_test_of_means_is_the_paired_t_test(rng):
    a, b = rng.normal(0.3, 1, 40), rng.normal(0, 1, 40)
    difference, p = paired_jackknife(mean_estimate(a, None), mean_estimate(b, None))
    assert p == pytest.approx(stats.ttest_rel(a, b).pvalue, rel=1e-9)
    low, high = stats.ttest_1samp(a - b, 0).confidence_interval(0.95)
    assert (difference.ci_low, difference.ci_high) == pytest.approx((low, high), rel=1e-9)


def test_equal_groups_are_the_t_test_of_group_means(rng):
    a, b = rng.normal(size=60), rng.normal(size=60)
    groups = np.repeat([f"g{index}" for index in range(12)], 5)
    sizes = np.full(12, 5)
    _, p = paired_jackknife(mean_estimate(a, groups), mean_estimate(b, groups), sizes=sizes)
    means = [x.reshape(12, 5).mean(1) for x in (a, b)]
    assert p == pytest.approx(stats.ttest_rel(*means).pvalue, rel=1e-9)


def test_size_under_the_null_with_unequal_groups():
    rng = np.random.default_rng(1)
    p_values = []
    for _ in range(400):
        groups = np.repeat(np.arange(25), rng.integers(1, 12, 25))
        shared = rng.normal(size=25)[groups]
        a, b = ((rng.random(len(groups)) < 1 / (1 + np.exp(-shared - rng.normal(0, 1, 25)[groups]))) for _ in range(2))
        sizes = np.bincount(groups)
        p_values.append(paired_jackknife(mean_estimate(a, groups), mean_estimate(b, groups), sizes=sizes)[1])
    rejected = np.mean(np.array(p_values) <= 0.05)
    assert rejected <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 400)
    assert rejected >= 0.05 - 3 * np.sqrt(0.05 * 0.95 / 400)


def test_identical_values_give_p_1_and_no_interval(rng):
    a = mean_estimate(rng.random(30) < 0.5, None)
    difference, p = paired_jackknife(a, a)
    assert p == 1 and np.isnan(difference.ci_low) and "same difference" in difference.interval


def test_differences_that_are_equal_but_for_rounding_are_equal(rng):
    x = rng.normal(size=50)
    shifted, p = paired_jackknife(mean_estimate(x + 0.1, None), mean_estimate(x, None))
    assert shifted.value == pytest.approx(0.1) and np.isnan(shifted.ci_low) and np.isnan(p)
    X = rng.normal(size=(50, 5))
    scaled, p = paired_jackknife(*(participation_ratio_jackknife(each) for each in (3 * X, X)))
    assert scaled.interval == "none: every unit gives the same difference" and p == 1


def test_too_few_groups_give_no_p(rng):
    groups = np.repeat(["a", "b", "c"], 10)
    a, b = mean_estimate(rng.random(30), groups), mean_estimate(rng.random(30), groups)
    difference, p = paired_jackknife(a, b, sizes=np.full(3, 10))
    assert np.isnan(p) and "3 groups" in difference.interval


def test_errors(rng):
    a, b = mean_estimate(rng.random(30), None), mean_estimate(rng.random(20), None)
    with pytest.raises(ValueError, match="come from other samples: n 30 and 20"):
        paired_jackknife(a, b)
    with pytest.raises(ValueError, match="need their leave-one-out values"):
        paired_jackknife(dataclasses.replace(a, leave_one_out=None), a)


def test_holm_is_over_the_layers_of_one_comparison():
    base = {"analysis": "probe", "metric": "accuracy", "data": "d", "b": "y", "value": 0.1, "ci_low": 0, "ci_high": 1, "n": 9,
            "value_a": 1, "value_b": 0.9, "interval": "i", "level": 0.95, "unit": "sample", "n_groups": 9}  # fmt: skip
    rows = [
        {**base, "a": a, "layer": layer, "p_value": p}
        for a, layer, p in [("x", "1", 0.01), ("x", "2", 0.04), ("z", "1", 0.04)]
    ]
    assert with_holm(rows)["p_holm"].tolist() == pytest.approx([0.02, 0.04, 0.04])
    assert len(with_holm([])) == 0


def test_one_group_in_the_test_gives_no_interval(rng):
    one = mean_estimate(rng.random(10), np.repeat("p", 10))
    assert np.isnan(one.ci_low) and one.interval == "none: one group in the test"
    assert np.isnan(paired_jackknife(one, one)[1])
