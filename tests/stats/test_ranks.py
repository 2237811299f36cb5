import itertools

import numpy as np
import pytest
from scipy.stats import weightedtau

from featurespace.stats import weighted_tau, weighted_tau_over_runs, weighted_tau_permutation


def slow_tau(x, y):
    """Vigna's definition: pairs weighed by the ranks of x, then of y, and the mean of both."""

    def by(order):
        rank = np.empty(len(order), int)
        rank[np.argsort(-order, kind="stable")] = np.arange(len(order))
        total = np.zeros(3)
        for i, j in itertools.combinations(range(len(x)), 2):
            weight = 1 / (rank[i] + 1) + 1 / (rank[j] + 1)
            a, b = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
            total += weight * np.array([a * b, a * a, b * b])
        return total[0] / np.sqrt(total[1] * total[2])

    return (by(np.asarray(x, float)) + by(np.asarray(y, float))) / 2


@pytest.mark.parametrize("seed", range(20))
def test_against_the_definition(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 12))
    x, y = rng.standard_normal(n), rng.standard_normal(n)
    assert weighted_tau(x, y) == pytest.approx(slow_tau(x, y), abs=1e-12)
    assert weighted_tau(x, y) == pytest.approx(weighted_tau(y, x), abs=1e-12)
    assert weighted_tau(x, np.exp(x)) == pytest.approx(1) and weighted_tau(x, -x) == pytest.approx(-1)


@pytest.mark.parametrize("n", [3, 8, 40])
def test_ties_are_those_of_scipy(rng, n):
    for _ in range(20):
        x, y = rng.integers(0, 4, (2, n)) / 3 + np.r_[1, np.zeros(n - 1)]
        assert weighted_tau(x, y) == pytest.approx(weightedtau(x, y).statistic, abs=1e-12)


def test_exchanges_among_the_best_count_more():
    assert weighted_tau([1, 2, 3, 4], [2, 1, 3, 4]) > weighted_tau([1, 2, 3, 4], [1, 2, 4, 3])


@pytest.mark.parametrize("n", [4, 6, 9])
def test_p_is_uniform_for_unrelated_values(n):
    rng = np.random.default_rng(0)
    p = [weighted_tau_permutation(rng.standard_normal(n), rng.standard_normal(n), rng=rng, permutations=99)
         for _ in range(80)]  # fmt: skip
    assert abs(np.mean(p) - 0.5) < 4 * 0.29 / np.sqrt(len(p)) and min(p) >= (1 / 24 if n == 4 else 0)


def test_the_interval_shrinks_with_the_noise_of_the_runs_and_holds_what_reruns_give(rng):
    x, truth = np.arange(5.0), np.array([0.1, 0.2, 0.3, 0.25, 0.5])
    sure = weighted_tau_over_runs(x, truth[:, None] + 1e-6 * rng.standard_normal((5, 4)), rng=rng)
    assert sure.ci_low == sure.ci_high == pytest.approx(weighted_tau(x, truth))
    held = 0
    for _ in range(60):
        found = weighted_tau_over_runs(x, truth[:, None] + 0.05 * rng.standard_normal((5, 4)), rng=rng, draws=200)
        held += found.ci_low <= weighted_tau(x, truth) <= found.ci_high
    assert held >= 51  # 57 +- 1.7 of 95 %


def test_reasons(rng):
    assert (
        weighted_tau_over_runs([1, 2, 3], [[1], [2, 3], [4, 5]], rng=rng).interval
        == "none: an item has 1 run, at least 2 needed"
    )
    for call, message in (
        (lambda: weighted_tau([1, 2], [1, 2]), "x has 2 items; at least 3 are needed for an order"),
        (lambda: weighted_tau([1, 2, 3], [1, 2, 3, 4]), "x has 3 items and y 4; they must be the same items"),
        (lambda: weighted_tau([1, np.nan, 3], [1, 2, 3]), r"x holds nan \(item 1\)"),
        (lambda: weighted_tau([1, 2, 3], [2, 2, 2]), "all 3 items of y are 2.0; there is no order"),
        (lambda: weighted_tau_over_runs([1, 2, 3], [[1, 2], [], [3]], rng=rng), "item 1 has no run"),
    ):
        with pytest.raises(ValueError, match=message):
            call()
