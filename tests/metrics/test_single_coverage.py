"""Whether 95 % intervals of metrics of one representation hold what their docstrings say: skewed features, patients."""

from functools import partial

import numpy as np
import pytest

from featurespace.metrics import (
    anisotropy,
    anisotropy_jackknife,
    effective_rank,
    fisher_ratio,
    intrinsic_dimension,
    intrinsic_dimension_mle,
    participation_ratio,
    participation_ratio_jackknife,
    silhouette,
    spectrum_decay,
    uniformity,
    uniformity_jackknife,
)
from featurespace.stats import block_jackknife

D, N = 20, 300
PATIENTS = np.repeat(np.arange(60), 5)
REPEATS = 400
CHANCE = 3 * (0.95 * 0.05 / REPEATS) ** 0.5  # 3 standard errors of a coverage of 95 %


def draw(rng, patients):
    """Features whose eigenvalues are 1 / rank, half of the variance between patients, and a class of each patient."""
    between, within = (rng.standard_exponential((m, D)) - 1 for m in (patients.max() + 1, len(patients)))
    Z = (between[patients] + within) / 2**0.5 * np.arange(1, D + 1) ** -0.5 + 0.5
    y = patients % 3
    return Z, y


def coverage(estimate, truth=None):
    """Return the share of intervals that hold the truth, or the mean value where there is none."""
    found = [estimate(*draw(rng, PATIENTS), rng) for rng in map(np.random.default_rng, range(REPEATS))]
    truth = np.mean([each.value for each in found]) if truth is None else truth
    return np.mean([each.ci_low <= truth <= each.ci_high for each in found])


def alone(metric, n):
    """Return the metric of n patients of one sample: what groups should give."""
    return metric(draw(np.random.default_rng(0), np.arange(n))[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    "jackknife, truth",
    [
        (participation_ratio_jackknife, partial(alone, participation_ratio, 200_000)),
        (uniformity_jackknife, partial(alone, uniformity, 10_000)),
        (anisotropy_jackknife, partial(alone, anisotropy, 200_000)),
    ],
)
def test_exact_jackknives_cover_the_population(jackknife, truth):
    found = coverage(lambda X, y, rng: jackknife(X, groups=PATIENTS), truth())
    least = 0.91 if jackknife is participation_ratio_jackknife else 0.95  # a skewed ratio, as its docstring says
    assert least - CHANCE < found < 0.95 + CHANCE


@pytest.mark.slow
@pytest.mark.parametrize("metric", [effective_rank, participation_ratio, spectrum_decay])
def test_blocks_cover_the_expectation_of_smooth_metrics(metric):
    found = coverage(lambda X, y, rng: block_jackknife(metric, [X], rng=rng, groups=PATIENTS))
    assert 0.93 - CHANCE < found < 0.97 + CHANCE


@pytest.mark.slow
@pytest.mark.parametrize("metric", [intrinsic_dimension, intrinsic_dimension_mle, silhouette, fisher_ratio])
def test_blocks_cover_at_least_what_they_say_elsewhere(metric):
    of_labels = metric in (silhouette, fisher_ratio)

    def estimate(X, y, rng):
        return block_jackknife(metric, [X, y] if of_labels else [X], rng=rng, groups=PATIENTS)

    assert coverage(estimate) > 0.94 - CHANCE
