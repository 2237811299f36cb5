import numpy as np
import pytest
from scipy.stats import t

from featurespace.stats import jackknife_estimate, transformed_jackknife
from featurespace.stats.transformed import seen_degrees_of_freedom


def test_ends_are_those_of_the_transformed_values(rng):
    x = rng.uniform(0.2, 0.9, 40)
    leave_out = (x.sum() - x) / 39
    found = transformed_jackknife(x.mean(), leave_out, n=40, sizes=np.ones(40), transform="log")
    inner = jackknife_estimate(np.log(x.mean()), np.log(leave_out), n=40)
    assert (found.ci_low, found.ci_high) == pytest.approx((np.exp(inner.ci_low), np.exp(inner.ci_high)))
    assert found.se == pytest.approx(x.std(ddof=1) / 40**0.5) and found.interval == "jackknife, log scale"
    found = transformed_jackknife(x.mean(), leave_out, n=40, sizes=np.ones(40), transform="logit")
    assert 0 < found.ci_low < x.mean() < found.ci_high < 1
    found = transformed_jackknife(x.mean(), leave_out, n=40, sizes=np.ones(40), transform="identity")
    plain = jackknife_estimate(
        x.mean(), leave_out, n=40
    )  # uniform values: no unit holds more of the variance than others
    assert (found.ci_low, found.ci_high) == pytest.approx(
        (plain.ci_low, plain.ci_high)
    ) and found.interval == "jackknife"


@pytest.mark.parametrize(
    "value, leave_out, reason",
    [
        (1.0, [1.0] * 6, "none: the value is 1, with or without some sample"),
        (0.9, [0.9, 0.9, 0.9, 0.9, 1.0, 0.9], "none: the value is 1"),
        (0.0, [0.0] * 6, "none: the value is 0"),
        (0.5, [np.nan, 0.5, 0.5, 0.5, 0.5, 0.5], "none: the value is undefined when one sample is left out"),
        (0.5, [0.5] * 6, "none: every unit left out gives the same value"),
        (0.5, [0.5] * 4, "none: 4 samples, at least 5 needed"),
    ],
)
def test_no_interval_has_a_reason(value, leave_out, reason):
    found = transformed_jackknife(value, leave_out, n=len(leave_out), sizes=np.ones(len(leave_out)), transform="logit")
    assert found.value == value and found.interval.startswith(reason)


def test_few_units_with_all_of_the_variance_leave_few_degrees_of_freedom(rng):
    normal = rng.standard_normal(20000)
    assert seen_degrees_of_freedom(normal, np.ones(20000)) == pytest.approx(19999, rel=0.05)
    one = np.append(np.full(49, 0.9), 0.8)
    kurtosis = ((one - one.mean()) ** 4).mean() / one.var() ** 2
    assert seen_degrees_of_freedom(one, np.ones(50)) == pytest.approx(100 / (kurtosis - 1))
    assert seen_degrees_of_freedom(1e-200 * one, np.ones(50)) == pytest.approx(100 / (kurtosis - 1))
    assert seen_degrees_of_freedom(np.array([0.0, 1.0] * 5), np.array([91] + [1] * 9)) == 1  # one unit is nearly all
    found = transformed_jackknife(0.9, one, n=50, sizes=np.ones(50), transform="logit")
    plain = jackknife_estimate(np.log(9), np.log(one / (1 - one)), n=50)
    ratio = t.ppf(0.975, 100 / (kurtosis - 1)) / t.ppf(0.975, 49)
    assert np.log(found.ci_high / (1 - found.ci_high)) == pytest.approx(
        plain.value + ratio * (plain.ci_high - plain.value)
    )


def test_errors_name_the_reason():
    with pytest.raises(ValueError, match="transform is 'sqrt'; allowed are 'identity', 'log', 'logit'"):
        transformed_jackknife(0.5, [0.5] * 6, n=6, sizes=np.ones(6), transform="sqrt")
    with pytest.raises(ValueError, match="level is 95"):
        transformed_jackknife(0.5, [0.5] * 6, n=6, sizes=np.ones(6), transform="log", level=95)
