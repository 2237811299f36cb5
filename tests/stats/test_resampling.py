import numpy as np
import pytest
from scipy import stats as scipy_stats

from featurespace.stats import Estimate, bootstrap_weights, jackknife_estimate, percentile_estimate, resampling_units


def delete_each(x, units, statistic):
    return np.array([statistic(x[units != u]) for u in np.unique(units)])


def test_jackknife_of_the_mean_is_the_t_interval(rng):
    x = rng.standard_normal(17)
    found = jackknife_estimate(x.mean(), delete_each(x, np.arange(17), np.mean), n=17, level=0.9)
    low, high = scipy_stats.ttest_1samp(x, 0).confidence_interval(0.9)
    assert (found.ci_low, found.ci_high) == pytest.approx((low, high))
    assert (found.interval, found.unit, found.n, found.n_groups, found.level) == ("jackknife", "sample", 17, 17, 0.9)


def test_bias_correction_makes_the_variance_unbiased(rng):
    x = rng.standard_normal(12)
    leave_out = delete_each(x, np.arange(12), np.var)
    corrected = jackknife_estimate(x.var(), leave_out, n=12, bias_corrected=True)
    assert corrected.value == pytest.approx(x.var(ddof=1))
    assert corrected.ci_low + corrected.ci_high == pytest.approx(2 * corrected.value)
    assert jackknife_estimate(x.var(), leave_out, n=12).value == x.var()


def test_unequal_groups_keep_busings_value_and_the_variance_of_deleted_groups(rng):
    x = rng.standard_normal(21)
    groups = np.repeat(np.arange(6), [1, 2, 3, 4, 5, 6])
    leave_out, sizes = delete_each(x, groups, np.var), np.arange(1, 7)
    found = jackknife_estimate(x.var(), leave_out, n=21, sizes=sizes, unit="group", bias_corrected=True)
    assert found.value == pytest.approx(6 * x.var() - ((1 - sizes / 21) * leave_out).sum())
    assert found.se == pytest.approx(np.sqrt(5 * leave_out.var()))
    freedom = 21**2 / (sizes**2).sum() - 1
    assert found.ci_high - found.value == pytest.approx(scipy_stats.t.ppf(0.975, freedom) * found.se)
    assert found.interval == "group jackknife"
    np.testing.assert_array_equal(found.leave_one_out, leave_out)


PARETO = [1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 9, 11, 14, 20, 32, 60, 80]


@pytest.mark.parametrize("alike", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("sizes", [[6] * 30, range(1, 31), PARETO], ids=["equal", "uneven", "a few large"])
def test_means_over_patients_of_any_size_are_covered(rng, sizes, alike):
    sizes = np.array(sizes)
    groups, n = np.repeat(np.arange(len(sizes)), sizes), sizes.sum()
    covered = []
    for _ in range(1500):
        x = alike**0.5 * rng.standard_normal(len(sizes))[groups] + (1 - alike) ** 0.5 * rng.standard_normal(n)
        sums = np.bincount(groups, x)
        found = jackknife_estimate(x.mean(), (x.sum() - sums) / (n - sizes), n=n, sizes=sizes, unit="group")
        covered.append(found.ci_low <= 0 <= found.ci_high)
    assert 0.93 <= np.mean(covered) <= 0.975  # 95 +- 2 %, and a little for 1500 repeats


def test_equal_shares_need_not_sum_exactly(rng):
    x = rng.standard_normal(30)
    found = jackknife_estimate(1.0, 1 + x / 100, n=177, sizes=np.full(30, 177 / 30), unit="group")
    assert np.full(30, 177 / 30).sum() != 177 and found.se > 0


def test_a_missing_group_of_any_library_is_named():
    import pandas as pd

    for missing in (None, np.nan, pd.NA, pd.NaT):
        with pytest.raises(ValueError, match="groups has 1 missing labels, the first in row 1"):
            resampling_units(np.array(["a", missing, "b"], dtype=object), 3)
    with pytest.raises(ValueError, match="1 missing"):
        resampling_units(pd.Series(["a", pd.NA, "b"], dtype="string"), 3)


def test_few_units_have_no_interval_and_say_why():
    found = jackknife_estimate(1.0, [1.0, 1.1, 0.9], n=30, unit="group")
    assert found.interval == "none: 3 groups, at least 5 needed"
    assert np.isnan([found.ci_low, found.ci_high, found.se]).all() and found.value == 1.0
    assert Estimate.without_interval(1, n=1, unit="sample", n_groups=1, reason="x").interval == "none: x"


def test_bootstrap_draws_whole_groups(rng):
    groups = np.array(["b", "a", "b", "c", "a", "b"])
    weights = bootstrap_weights(groups, 6, draws=500, rng=rng)
    assert weights.shape == (500, 6)
    for name in "abc":
        assert np.ptp(weights[:, groups == name], axis=1).max() == 0
    first = [np.flatnonzero(groups == name)[0] for name in "abc"]
    assert (weights[:, first].sum(axis=1) == 3).all()
    plain = bootstrap_weights(None, 40, draws=2000, rng=rng)
    assert (plain.sum(axis=1) == 40).all() and plain.mean() == 1
    assert plain.var() == pytest.approx(1 - 1 / 40, abs=0.03)


def test_percentiles_leave_out_undefined_draws(rng):
    draws = rng.standard_normal(1000)
    draws[::10] = np.nan
    found = percentile_estimate(0.1, draws, n=50)
    assert (found.ci_low, found.ci_high) == pytest.approx(tuple(np.nanquantile(draws, [0.025, 0.975])))
    assert found.interval == "bootstrap" and found.n_groups == 50
    assert percentile_estimate(0.1, draws, n=50, n_groups=9, unit="group").interval == "group bootstrap"


def test_equal_replicates_are_no_interval():
    assert percentile_estimate(1.0, np.ones(10), n=50).interval == "none: all replicates equal"


def test_units_are_sorted_labels():
    codes, unit, count = resampling_units([10, 2, 10], 3)
    assert codes.tolist() == [1, 0, 1] and (unit, count) == ("group", 2)
    assert resampling_units(None, 3)[1:] == ("sample", 3)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: jackknife_estimate(1, [1, 2], n=2, level=95), "level is 95"),
        (lambda: jackknife_estimate(1, [1, 2], n=2, unit="patient"), "unit is 'patient'; allowed"),
        (lambda: jackknife_estimate(1, [1, np.nan], n=2), "finite values"),
        (lambda: jackknife_estimate(1, [1], n=2), "at least 2 units, not 1"),
        (lambda: jackknife_estimate(1, [1, 2], n=9, sizes=[3, 3]), "sum to 6; 2 that sum to 9"),
        (lambda: jackknife_estimate(1, [1, 2], n=9, sizes=[9, 0]), "one unit holds all samples"),
        (lambda: bootstrap_weights(None, 3, draws=0, rng=np.random.default_rng(0)), "draws is 0"),
        (lambda: percentile_estimate(1, [np.nan, 1], n=9), "1 of 2 replicates are defined"),
        (lambda: resampling_units(["a"], 2), r"groups has shape \(1,\)"),
        (lambda: resampling_units(["a", None], 2), "1 missing labels, the first in row 1"),
        (lambda: resampling_units([np.nan, 1.0], 2), "1 missing labels, the first in row 0"),
    ],
)
def test_errors_name_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()
