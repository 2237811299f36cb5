"""Do intervals aimed at 95 % cover? Truth by simulation: the expected value at this n, and the limit where promised."""

from functools import partial

import numpy as np
import pytest

from featurespace.metrics import (
    cca,
    distance_correlation,
    distance_correlation_jackknife,
    mutual_knn_jackknife,
    procrustes_jackknife,
    pwcca,
    rsa,
    rsa_jackknife,
    svcca,
)
from featurespace.stats import block_jackknife


def draw(rng, n, d, groups=None):
    """All directions related; optionally with an effect of each patient on both sides."""
    shared = rng.standard_normal((n, d))
    X, Y = (
        shared * np.linspace(1, 2, d) + 0.5 * rng.standard_normal((n, d)) + 1,
        shared + rng.standard_normal((n, d)) + 1,
    )
    if groups is not None:
        X, Y = (Z + rng.standard_normal((n, d))[groups] for Z in (X, Y))
    return X, Y


def blocks_of(metric):
    def interval(X, Y, *, groups):
        return block_jackknife(metric, [X, Y], rng=np.random.default_rng(1), groups=groups)

    return interval


INTERVALS = {  # the interval, and what share at most covers where it is known to be wide
    "procrustes": (procrustes_jackknife, 0.985),
    "distance_correlation": (distance_correlation_jackknife, 0.985),
    "distance_correlation_biased": (partial(distance_correlation_jackknife, debiased=False), 0.985),
    "rsa_pearson": (partial(rsa_jackknife, rdm="euclidean", compare="pearson"), 0.985),
    "rsa": (rsa_jackknife, 0.985),
    "mutual_knn": (partial(mutual_knn_jackknife, k=5), 1.0),
    "cca": (blocks_of(cca), 0.99),
    "svcca": (blocks_of(svcca), 0.99),
    "pwcca": (blocks_of(pwcca), 0.995),
}
LIMITS = {
    "distance_correlation": distance_correlation,
    "rsa_pearson": partial(rsa, rdm="euclidean", compare="pearson"),
    "rsa": rsa,
}


def check(rng, name, *, n, d, groups, repeats):
    interval, most = INTERVALS[name]
    found = [interval(*draw(rng, n, d, groups), groups=groups) for _ in range(repeats)]
    assert not any(each.interval.startswith("none") for each in found)

    def covered(truth):
        return np.mean([each.ci_low <= truth <= each.ci_high for each in found])

    error = 3 * np.sqrt(0.05 * 0.95 / repeats)
    assert 0.945 - error < covered(np.mean([each.value for each in found])) <= most + error / 3
    if name in LIMITS and groups is None:
        limit = np.mean([LIMITS[name](*draw(rng, 2000, d)) for _ in range(3)])
        assert 0.945 - error < covered(limit) <= most + error / 3


@pytest.mark.parametrize("repeats", [50, pytest.param(200, marks=pytest.mark.slow)])
@pytest.mark.parametrize("grouped", [False, True], ids=["samples", "groups"])
@pytest.mark.parametrize("name", INTERVALS)
def test_intervals_cover(rng, name, grouped, repeats):
    groups = np.repeat(np.arange(25), 4) if grouped else None
    check(rng, name, n=100 if grouped else 60, d=4, groups=groups, repeats=repeats)


@pytest.mark.slow
@pytest.mark.parametrize("grouped", [False, True], ids=["samples", "groups"])
@pytest.mark.parametrize("name", INTERVALS)
def test_intervals_cover_at_the_documented_size(rng, name, grouped):
    groups = np.repeat(np.arange(60), 5) if grouped else None
    check(rng, name, n=300 if grouped else 200, d=10, groups=groups, repeats=400)
