import numpy as np
import pytest

from featurespace.results.convergence import time_to_convergence


def slow(curve, tolerance, last, tail, missing):
    level = sum(curve[-last:]) / last
    for epoch in range(len(curve) - tail):
        if abs(curve[epoch] - level) <= tolerance * abs(level):
            return epoch
    return missing


@pytest.mark.parametrize("seed", range(30))
def test_against_a_loop(seed):
    rng = np.random.default_rng(seed)
    epochs = int(rng.integers(10, 120))
    curve = (
        0.9 - rng.uniform(0, 1) * np.exp(-np.arange(epochs) / rng.uniform(1, 30)) + 0.004 * rng.standard_normal(epochs)
    )
    options = {
        "tolerance": rng.choice([0.001, 0.005, 0.02]),
        "last": int(rng.integers(1, 10)),
        "tail": int(rng.integers(0, 6)),
    }
    assert time_to_convergence(curve, missing=777, **options) == slow(curve.tolist(), missing=777, **options)


def test_a_curve_that_arrives_too_late_never_does():
    curve = np.r_[np.zeros(40), np.ones(10)]
    assert time_to_convergence(curve) == 40
    curve = np.r_[np.linspace(0, 0.9, 46), 1, 1, 1, 1]
    assert time_to_convergence(curve, last=4) == 100  # epoch 46 is one of the last five
    assert (
        time_to_convergence(np.r_[np.linspace(0, 0.9, 146), 1, 1, 1, 1], last=4) == 150
    )  # never less than the epochs there are
    assert time_to_convergence(curve, last=4, missing=-1) == -1 and time_to_convergence(curve, last=4, tail=0) == 46


def test_scores_below_zero_and_at_zero():
    assert time_to_convergence(np.r_[-3.0, -2.0, np.full(20, -1.0)]) == 2
    assert time_to_convergence(np.r_[1.0, np.zeros(20)]) == 1


@pytest.mark.parametrize(
    "curve, options, message",
    [
        (np.ones(9), {}, "the curve has 9 epochs; at least 10 are needed"),
        (np.ones(5), {"last": 2}, "the curve has 5 epochs; at least 6 are needed"),
        (np.r_[np.ones(12), np.nan], {}, "epoch 12 is nan"),
        (np.ones(12), {"last": 0}, "last is 0"),
        (np.ones(12), {"tail": -1}, "tail is -1; it must be a whole number from 0 on"),
        (np.ones(12), {"tolerance": np.nan}, "tolerance is nan; it must be finite and not negative"),
    ],
)
def test_errors_name_the_reason(curve, options, message):
    with pytest.raises(ValueError, match=message):
        time_to_convergence(curve, **options)
