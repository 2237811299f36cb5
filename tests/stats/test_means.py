import numpy as np
import pytest
import scipy.stats

from featurespace.stats import (
    bootstrap_difference,
    equivalence_test,
    hedges_g,
    mean_interval,
    paired_test,
    welch_interval,
    welch_test,
)

X, Y = [0.70, 0.72, 0.71, 0.74], [0.75, 0.76, 0.74, 0.77, 0.79]


def by_hand(x, y):
    a, b = np.var(x, ddof=1) / len(x), np.var(y, ddof=1) / len(y)
    freedom = (a + b) ** 2 / (a**2 / (len(x) - 1) + b**2 / (len(y) - 1))
    return (np.mean(x) - np.mean(y)) / np.sqrt(a + b), np.sqrt(a + b), freedom


def test_welch_by_hand():
    t, se, freedom = by_hand(X, Y)
    assert welch_test(X, Y) == pytest.approx(2 * scipy.stats.t.sf(abs(t), freedom), rel=1e-12)
    found = welch_interval(X, Y, level=0.9)
    reach = scipy.stats.t.ppf(0.95, freedom) * se
    assert (found.ci_low, found.ci_high) == pytest.approx((t * se - reach, t * se + reach), rel=1e-12)
    assert found.se == pytest.approx(se) and found.unit == "run" and found.n == 9


@pytest.mark.parametrize("scale, shift", [(1e-100, 0.0), (1e100, 0.0), (-3.0, 5.0)])
def test_units_do_not_matter(scale, shift):
    x, y = (scale * np.array(each) + shift for each in (X, Y))
    assert welch_test(x, y) == pytest.approx(welch_test(X, Y), rel=1e-9)
    assert hedges_g(x, y).value == pytest.approx(np.sign(scale) * hedges_g(X, Y).value, rel=1e-9)


def test_the_interval_holds_zero_exactly_where_the_test_says_nothing(rng):
    for _ in range(200):
        x, y = rng.standard_normal(4), rng.standard_normal(3) * 2 + 1
        found = welch_interval(x, y, level=0.8)
        assert (found.ci_low <= 0 <= found.ci_high) == (welch_test(x, y) >= 0.2)


def test_paired_test_is_that_of_the_differences():
    y = np.array(Y[:4])
    assert paired_test(X, y) == pytest.approx(scipy.stats.ttest_rel(X, y).pvalue, rel=1e-10)
    assert paired_test(X, y + np.array([1e-3, -1e-3, 2e-3, 0])) != paired_test(X, y)


def test_equivalence_is_the_90_percent_interval(rng):
    for _ in range(200):
        x, y = rng.normal(0, 1, 5), rng.normal(0.1, 0.5, 4)
        ninety = welch_interval(x, y, level=0.9)
        within = ninety.ci_low > -1.5 and ninety.ci_high < 1.5
        assert within == (equivalence_test(x, y, margin=1.5) < 0.05)


def test_equivalence_near_the_margin_keeps_its_size(rng):
    found = [equivalence_test(rng.normal(0.5, 1, 6), rng.normal(0, 1, 6), margin=0.5) <= 0.05 for _ in range(2000)]
    assert np.mean(found) < 0.065


def test_the_size_of_welchs_test(rng):
    """4.1 % of pairs of four normal runs in 200,000; 2000 pairs give 4.1 +- 0.9 %."""
    found = np.mean([welch_test(rng.standard_normal(4), rng.standard_normal(4)) <= 0.05 for _ in range(2000)])
    assert abs(found - 0.041) < 0.014


@pytest.mark.parametrize("n, m, deviation", [(4, 4, 1), (5, 5, 3), (4, 8, 1)])
def test_the_bootstrap_interval_covers(rng, n, m, deviation):
    """94 to 96 % in 1500 repeats; 600 give 95 +- 1.8 %. Plain percentiles cover 83 to 87 %."""
    covered = 0
    for _ in range(600):
        x, y = rng.normal(1, 1, n), deviation * rng.standard_normal(m)
        found = bootstrap_difference(x, y, rng=rng, draws=2000)
        covered += found.ci_low <= 1 <= found.ci_high
    assert abs(covered / 600 - 0.945) < 0.03


def test_the_bootstrap_has_its_reasons(rng):
    assert bootstrap_difference([1, 2, 3], [1, 2, 3, 4], rng=rng).interval == "none: 3 runs, at least 4 needed"
    assert bootstrap_difference([1] * 4, [1] * 4, rng=rng).interval == "none: no variance"
    found = bootstrap_difference(X, Y, rng=np.random.default_rng(1), draws=5000)
    assert (
        found.value == np.mean(X) - np.mean(Y)
        and found.interval == "bootstrap over runs, 5,000 draws, expanded percentile"
    )
    assert found.se == pytest.approx(welch_interval(X, Y).se, rel=0.05)


@pytest.mark.parametrize("repeats", [250, pytest.param(1000, marks=pytest.mark.slow)])
def test_hedges_g_is_unbiased_and_its_interval_covers(rng, repeats):
    """Exact for normal runs of one variance; 95 % of 1000 is 95 +- 1.4 %."""
    for delta, n, m in ((0.0, 4, 4), (1.5, 4, 4), (3.0, 3, 6)):
        found = [hedges_g(rng.normal(delta, 1, n), rng.standard_normal(m)) for _ in range(repeats)]
        values = np.array([each.value for each in found])
        assert abs(values.mean() - delta) < 4 * values.std() / np.sqrt(len(values))
        covered = np.mean([each.ci_low <= delta <= each.ci_high for each in found])
        assert abs(covered - 0.95) < 0.022 * (1000 / repeats) ** 0.5


def test_hedges_g_published_correction():
    """Hedges 1981, table 1: the correction for 6 degrees of freedom is 0.8686."""
    x, y = np.array([1.0, 2, 3, 4]), np.array([3.0, 4, 5, 6])
    d = -2 / np.sqrt(5 / 3)
    assert hedges_g(x, y).value / d == pytest.approx(0.8686, abs=5e-5)


def test_the_ends_of_hedges_g_are_found_however_far(rng):
    """At 1 - 1e-9 the ends lie beyond where the search begins; scipy's noncentral t has the tails there."""
    x, y = rng.normal(1, 1, 6), rng.standard_normal(5)
    found, scale = hedges_g(x, y, level=1 - 1e-9), np.sqrt(1 / 6 + 1 / 5)
    t = scipy.stats.ttest_ind(x, y).statistic
    assert scipy.stats.nct.cdf(t, 9, found.ci_high / scale) == pytest.approx(5e-10, rel=1e-3)
    assert scipy.stats.nct.sf(t, 9, found.ci_low / scale) == pytest.approx(5e-10, rel=1e-3)


def test_mean_interval_is_students():
    found = mean_interval(X)
    low, high = scipy.stats.t.interval(0.95, 3, np.mean(X), scipy.stats.sem(X))
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high), rel=1e-12)
    assert mean_interval([0.5]).interval == "none: 1 run, at least 2 needed"
    assert mean_interval([0.5, 0.5]).interval == "none: all runs are equal" and mean_interval([0.5, 0.5]).value == 0.5


def test_equal_runs_have_a_defined_value_and_two_constants_a_reason():
    same = [0.5, 0.5]
    assert welch_test(same, same) == 1 and paired_test(same, same) == 1
    assert equivalence_test(same, same, margin=0.1) == 0
    assert hedges_g(same, same).value == 0 and hedges_g(same, same).interval == "none: no variance"
    assert welch_interval(same, same).ci_low == 0
    for function in (welch_test, welch_interval, hedges_g):
        with pytest.raises(
            ValueError, match="all runs of x are 0.5 and all of y 0.6; without variance there is no test"
        ):
            function(same, [0.6, 0.6])
    assert 0 < welch_test(same, [0.6, 0.7]) < 1  # one of the two varies


@pytest.mark.parametrize("function", [welch_test, paired_test, welch_interval, hedges_g])
def test_errors_name_the_reason(function):
    with pytest.raises(ValueError, match="x has 1 run; at least 2 are needed"):
        function([0.5], [0.5, 0.6])
    with pytest.raises(ValueError, match="y has 0 runs"):
        function([0.5, 0.6], [])
    with pytest.raises(ValueError, match=r"y holds nan \(run 1\)"):
        function([0.5, 0.6], [0.5, np.nan])


def test_further_errors():
    with pytest.raises(ValueError, match="x has 2 runs and y 3; pairs need as many of both"):
        paired_test([1, 2], [1, 2, 3])
    for margin in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="margin is .*; it must be positive and finite"):
            equivalence_test(X, Y, margin=margin)
    for function in (welch_interval, hedges_g, mean_interval):
        with pytest.raises(ValueError, match="level is 1.5"):
            function(*([X, Y] if function is not mean_interval else [X]), level=1.5)
