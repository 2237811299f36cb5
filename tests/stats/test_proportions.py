import numpy as np
import pytest
from oracles import labels as oracle
from scipy.stats import norm, t

from featurespace.stats import stratified_wilson_estimate, wilson_estimate


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


def sizes_of(kind, rng, units=40):
    """Patients of one size, of geometric size, of Pareto's size up to 140 samples."""
    if kind == "equal":
        return np.full(units, 5)
    return rng.geometric(0.2, units) if kind == "geometric" else np.clip(rng.pareto(1, units) + 1, 1, 140).astype(int)


@pytest.mark.parametrize("repeats", [300, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["equal", "geometric", "pareto"])
@pytest.mark.parametrize("share, correlation", [(0.55, 0.4), (0.75, 0.8), (0.9, 0.1), (0.95, 0.4)])
def test_groups_of_very_unequal_size_are_covered(rng, kind, share, correlation, repeats):
    inside = 0
    a, b = (part * (1 - correlation) / correlation for part in (share, 1 - share))
    for _ in range(repeats):
        groups = np.repeat(np.arange(40), sizes_of(kind, rng))
        found = wilson_estimate(rng.uniform(size=len(groups)) < rng.beta(a, b, 40)[groups], groups=groups)
        inside += found.ci_low <= share <= found.ci_high
    error = 3 * np.sqrt(0.05 * 0.95 / repeats)
    # few groups with a miss count as fully correlated, which is on the safe side
    assert 0.935 - error < inside / repeats < (0.975 if share < 0.95 else 0.99) + error


@pytest.mark.parametrize("units", [None, 30, 4])
def test_strata_are_the_loops(rng, units):
    hits, strata = rng.uniform(size=60) < 0.7, rng.choice(list("abc"), 60, p=[0.6, 0.3, 0.1])
    groups = None if units is None else rng.integers(0, units, 60)
    found = stratified_wilson_estimate(hits, strata, groups=groups)
    codes = np.arange(60) if groups is None else np.unique(groups, return_inverse=True)[1]
    value, without = oracle.mean_of_shares(hits, strata, codes)
    assert found.value == pytest.approx(value) and found.n_groups == codes.max() + 1
    if units == 4:
        assert found.interval == "none: 4 groups, at least 5 needed"
    else:
        np.testing.assert_allclose(found.leave_one_out, without, atol=1e-12)
        assert found.ci_low < value < found.ci_high


def test_one_stratum_is_the_plain_share(rng):
    hits, groups = rng.uniform(size=60) < 0.7, rng.integers(0, 20, 60)
    for of in (None, groups):
        assert stratified_wilson_estimate(hits, ["a"] * 60, groups=of) == wilson_estimate(hits, groups=of)


def test_no_more_observations_are_counted_than_there_are():
    # a negative correlation in the groups: each holds two hits and two misses
    hits, groups = np.arange(200) % 2 == 0, np.arange(200) // 4
    grouped, plain = wilson_estimate(hits, groups=groups), wilson_estimate(hits)
    assert (grouped.ci_low, grouped.se) == (plain.ci_low, plain.se)
    # 5 and 45 samples, one all hits and one all misses: nothing varies, and 4 / (1 / 5 + 1 / 45) observations are counted
    strata = np.arange(50) < 5
    found = stratified_wilson_estimate(strata, strata)
    assert found.se == pytest.approx((0.5 * 0.5 / 18) ** 0.5) and found.value == 0.5


def test_a_stratum_in_one_group_is_no_evidence():
    hits = np.arange(80) % 3 > 0
    groups, strata = np.arange(80) // 8, np.arange(80) // 8 == 9
    found = stratified_wilson_estimate(hits, strata, groups=groups)
    # one stratum of 9 groups and one of 1 are worth 4 / (1 / 9 + 1) groups
    assert found.se == pytest.approx((found.value * (1 - found.value) / 3.6) ** 0.5)


def test_all_right_in_groups_that_hold_all_strata_is_no_more_than_the_groups():
    groups, strata = np.arange(100) // 10, np.arange(100) % 5
    found = stratified_wilson_estimate(np.ones(100, bool), strata, groups=groups)
    assert found.ci_high == 1 and found.ci_low == pytest.approx(10 / (10 + t.ppf(0.975, 9) ** 2))
    alone = stratified_wilson_estimate(np.ones(100, bool), strata)
    assert alone.ci_low == pytest.approx(100 / (100 + norm.ppf(0.975) ** 2))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: wilson_estimate([]), r"hits have shape \(0,\)"),
        (lambda: wilson_estimate([True] * 6, groups=[1]), "groups has shape"),
        (lambda: wilson_estimate([True] * 6, level=1), "level is 1"),
        (lambda: wilson_estimate([[True] * 6]), r"hits have shape \(1, 6\)"),
        (
            lambda: stratified_wilson_estimate([True] * 6, ["a"]),
            r"strata have shape \(1,\); it needs one label for each of",
        ),
        (lambda: stratified_wilson_estimate([], []), r"hits have shape \(0,\)"),
    ],
)
def test_errors_name_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()
