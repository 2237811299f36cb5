import numpy as np
import pytest
from scipy.stats import t

from featurespace.stats import wilson_estimate


def test_wilson_against_statsmodels():
    # proportion_confint(45, 50, method="wilson") of statsmodels 0.14
    found = wilson_estimate(np.arange(50) < 45)
    assert (found.ci_low, found.ci_high) == pytest.approx((0.7864, 0.9565), abs=1e-4)
    assert found.interval == "Wilson" and found.se == pytest.approx((0.9 * 0.1 / 50) ** 0.5)


@pytest.mark.parametrize("share, correlation", [(0.7, 0.0), (0.95, 0.0), (0.7, 0.8), (0.9, 0.8), (0.95, 0.8)])
def test_it_covers(rng, share, correlation):
    groups = np.repeat(np.arange(40), 5)
    inside = naive = 0
    for _ in range(500):
        shared = rng.uniform(size=40)[groups] < share
        own = rng.uniform(size=200) < share
        correct = np.where(rng.uniform(size=40)[groups] < correlation, shared, own)
        grouped = wilson_estimate(correct, groups=groups)
        plain = wilson_estimate(correct)
        inside += grouped.ci_low <= share <= grouped.ci_high
        naive += plain.ci_low <= share <= plain.ci_high
    assert 0.915 < inside / 500 <= 0.99  # 3 standard errors of 500 repeats are 0.029
    assert (naive / 500 > 0.92) == (correlation == 0)


def test_few_groups_with_a_miss_count_as_fully_correlated():
    groups, hits = np.arange(200) // 5, np.ones(200, bool)
    hits[[0, 5]] = False  # two groups of 40 hold a miss each: too few to say that samples of a group are independent
    found, plain = wilson_estimate(hits, groups=groups), wilson_estimate(hits)
    z2 = t.ppf(0.975, 39) ** 2 / 40
    assert (found.ci_low + found.ci_high) / 2 == pytest.approx((0.99 + z2 / 2) / (1 + z2))
    assert found.ci_low < plain.ci_low - 0.05
    hits[::20] = False  # eleven groups: hardly any correlation is to be seen
    assert wilson_estimate(hits, groups=groups).ci_low > wilson_estimate(hits).ci_low - 0.02


def test_the_ends_have_intervals():
    full = wilson_estimate(np.ones(60, bool))
    assert full.ci_high == 1 and full.ci_low == pytest.approx(60 / (60 + 1.959964**2))
    none = wilson_estimate(np.zeros(60, bool), groups=np.arange(60) // 6)
    assert none.ci_low == 0 and none.ci_high > 0.2 and none.interval == "Wilson, design effect of groups"
    assert wilson_estimate([True, False]).interval == "none: 2 samples, at least 5 needed"


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: wilson_estimate([]), r"hits have shape \(0,\)"),
        (lambda: wilson_estimate([True] * 6, groups=[1]), "groups has shape"),
        (lambda: wilson_estimate([True] * 6, level=1), "level is 1"),
    ],
)
def test_errors_name_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()
