import numpy as np
import pytest
import scipy.stats

from featurespace.stats import detectable_difference, runs_needed, welch_power


def simulated(difference, sd_a, sd_b, n_a, n_b, repeats=4000, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(difference, sd_a, (repeats, n_a))
    y = rng.normal(0, sd_b, (repeats, n_b))
    return np.mean(scipy.stats.ttest_ind(x, y, axis=1, equal_var=False).pvalue < 0.05)


@pytest.mark.parametrize("case", [(1.0, 1, 1, 10, 10), (2.5, 1, 1, 4, 4), (1.5, 0.5, 2, 10, 20), (0.0, 1, 1, 8, 8)])
def test_power_against_simulation(case):
    difference, sd_a, sd_b, n_a, n_b = case
    assert welch_power(difference, sd_a, sd_b, n_a=n_a, n_b=n_b) == pytest.approx(simulated(*case), abs=0.03)


def test_power_of_equal_variances_in_cohens_table():
    """Cohen 1988, table 2.4.1: 64 of each for d = 0.5 and 26 for d = 0.8 at a power of 80 %."""
    assert runs_needed(0.5, 1, 1) == 64 and runs_needed(0.8, 1, 1) == 26
    assert runs_needed(-0.8, 1, 1) == 26


def test_the_number_needed_is_the_smallest_that_suffices(rng):
    for _ in range(30):
        difference, sd_a, sd_b = rng.uniform(0.2, 3), rng.uniform(0.1, 2), rng.uniform(0.1, 2)
        found = runs_needed(difference, sd_a, sd_b, power=0.7)
        assert welch_power(difference, sd_a, sd_b, n_a=found, n_b=found) >= 0.7
        assert found == 2 or welch_power(difference, sd_a, sd_b, n_a=found - 1, n_b=found - 1) < 0.7


def test_the_detectable_difference_has_just_that_power():
    for sd_a, sd_b, n_a, n_b in ((1, 1, 4, 4), (1e-4, 3e-4, 3, 5), (0, 2, 4, 4)):
        found = detectable_difference(sd_a, sd_b, n_a=n_a, n_b=n_b)
        assert welch_power(found, sd_a, sd_b, n_a=n_a, n_b=n_b) == pytest.approx(0.8, abs=1e-6)


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: welch_power(1, 0, 0, n_a=4, n_b=4),
            "standard deviations are 0 and 0; they must be finite, and one of them pos",
        ),
        (lambda: welch_power(1, np.nan, 1, n_a=4, n_b=4), "standard deviations are nan and 1"),
        (lambda: welch_power(1, -1, 1, n_a=4, n_b=4), "standard deviations are -1 and 1"),
        (lambda: welch_power(1, 1, 1, n_a=1, n_b=4), "n_a is 1; at least 2 runs are needed"),
        (lambda: welch_power(1, 1, 1, n_a=4, n_b=4, alpha=0), "alpha is 0; it must lie between 0 and 1"),
        (lambda: runs_needed(1, 1, 1, power=0.01), "power is 0.01; it must lie between alpha .0.05. and 1"),
        (lambda: runs_needed(0, 1, 1), "difference is 0; it must be finite and not zero"),
        (lambda: runs_needed(1e-9, 1, 1), "needs more than 1,000,000,000 runs"),
        (lambda: detectable_difference(1, 1, n_a=4, n_b=4, power=1), "power is 1; it must lie between"),
    ],
)
def test_errors_name_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()
