"""Distances of two data sets beside MMD² and Fréchet, each with its interval."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import astuple
from functools import partial
from typing import Any

import numpy as np

from featurespace.metrics.distribution import coral_distance, sliced_wasserstein
from featurespace.metrics.frechet import frechet_distance_infinity
from featurespace.metrics.kernel_jackknife import energy_jackknife, kid_jackknife
from featurespace.metrics.manifold import prdc
from featurespace.metrics.two_sample import proxy_a_distance
from featurespace.stats.estimate import Estimate
from featurespace.stats.two_samples import two_sample_jackknife

Groups = Mapping[str, Any]  # groups_x and groups_y
Distance = Callable[[np.ndarray, np.ndarray, Groups, np.random.Generator], Estimate]


def _closed(jackknife: Callable[..., Estimate]) -> Distance:
    return lambda X, Y, groups, rng: jackknife(X, Y, **groups)


def _by_blocks(statistic: Callable[..., float]) -> Distance:
    return lambda X, Y, groups, rng: two_sample_jackknife(statistic, X, Y, rng=rng, **groups)


def _seeded(statistic: Callable[..., float]) -> Distance:
    """Draw the same directions or folds for the value and for every leave-out, so that only samples differ."""

    def distance(X: np.ndarray, Y: np.ndarray, groups: Groups, rng: np.random.Generator) -> Estimate:
        seed = int(rng.integers(2**63))

        def again(A: Any, B: Any) -> float:
            return statistic(A, B, rng=np.random.default_rng(seed))

        return two_sample_jackknife(again, X, Y, rng=rng, **groups)

    return distance


def _prdc(place: int, X: Any, Y: Any) -> float:
    return float(astuple(prdc(X, Y))[place])


def _extrapolated(X: np.ndarray, Y: np.ndarray, groups: Groups, rng: np.random.Generator) -> Estimate:
    found = frechet_distance_infinity(X, Y, rng=rng, **groups)
    unit = "sample" if groups["groups_x"] is None else "group"
    counts = [len(Z) if each is None else len(np.unique(each)) for Z, each in zip((X, Y), groups.values())]
    return Estimate.without_interval(
        found.value, n=len(X) + len(Y), unit=unit, n_groups=sum(counts),
        reason="not estimated for an extrapolation; see frechet_distance_corrected",
    )  # fmt: skip


DISTANCES: dict[str, Distance] = {
    "kid": _closed(kid_jackknife),
    "energy_distance": _closed(energy_jackknife),
    "sliced_wasserstein": _seeded(sliced_wasserstein),
    "coral_distance": _by_blocks(coral_distance),
    "precision": _by_blocks(partial(_prdc, 0)),
    "recall": _by_blocks(partial(_prdc, 1)),
    "density": _by_blocks(partial(_prdc, 2)),
    "coverage": _by_blocks(partial(_prdc, 3)),
    "proxy_a_distance": _seeded(proxy_a_distance),
    "frechet_distance_infinity": _extrapolated,
}
"""The first data set is the reference; `kid` and `energy_distance` are unbiased and leave pairs within a group out."""
