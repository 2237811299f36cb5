"""Other similarities than CKA, of layers that stand for each other in two models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from featurespace import seeding
from featurespace.metrics.alignment import cka_jackknife
from featurespace.metrics.canonical import cca, pwcca, svcca
from featurespace.metrics.dependence import distance_correlation_jackknife
from featurespace.metrics.dissimilarity import rsa
from featurespace.metrics.neighbours import knn_jaccard
from featurespace.metrics.neighbours_jackknife import PreparedNeighbours, mutual_knn_estimate, prepare_neighbours
from featurespace.metrics.predictivity import linear_predictivity_jackknife
from featurespace.metrics.shape import procrustes_jackknife, shape_angle
from featurespace.progress import Progress, shortened
from featurespace.stats.blocks import block_jackknife
from featurespace.stats.estimate import Estimate
from featurespace.tables.kept import Kept
from featurespace.tables.memo import Result
from featurespace.tables.schema import interval_columns
from featurespace.tables.stores import Stores, corresponding_layers

NEIGHBOURS = 10

Measure = Callable[..., Estimate]  # f(X, Y, groups=, rng=); X and Y as `Sides` has them


def _plain(jackknife: Callable[..., Estimate], **options: object) -> Measure:
    return lambda X, Y, groups, rng: jackknife(X, Y, groups=groups, **options)


def _by_blocks(statistic: Callable[..., float]) -> Measure:
    return lambda X, Y, groups, rng: block_jackknife(statistic, [X, Y], groups=groups, rng=rng)


def _nearest(
    A: PreparedNeighbours, B: PreparedNeighbours, groups: np.ndarray | None, rng: np.random.Generator
) -> Estimate:
    return mutual_knn_estimate(A, B)


def _jaccard(X: np.ndarray, Y: np.ndarray) -> float:
    return knn_jaccard(X, Y, k=min(NEIGHBOURS, len(X) - 1))


MEASURES: dict[str, Measure] = {
    "procrustes_distance": _plain(procrustes_jackknife),
    "mutual_knn": _nearest,
    "distance_correlation": _plain(distance_correlation_jackknife),
    "cka_rbf_debiased": _plain(cka_jackknife, kernel="rbf"),
    "rsa": _by_blocks(rsa),
    "cca": _by_blocks(cca),
    "svcca": _by_blocks(svcca),
    "pwcca": _by_blocks(pwcca),
    "shape_angle": _by_blocks(shape_angle),
    "knn_jaccard": _by_blocks(_jaccard),
    "linear_predictivity": linear_predictivity_jackknife,
}
"""Each measure with its interval."""
DIRECTED = {"linear_predictivity"}
"""Measures that say something else from b to a than from a to b: both rows stand."""


def corresponding_rows(
    stores: Stores,
    usable: Mapping[str, Sequence[str]],
    data: str,
    *,
    measures: Sequence[str],
    seed: int,
    progress: Progress,
) -> Iterator[dict]:
    """Yield the rows of the measures for corresponding layers of two models; what has no value is said.

    ``usable`` names the layers of each model that are not constant. Blocks and folds are the same for all models and
    layers of a data set.
    """
    n = len(stores.samples(data))
    if n <= NEIGHBOURS and {"mutual_knn", "knn_jaccard"} & set(measures):
        progress.say(f"nearest neighbours on {data!r} are k = {n - 1}, because there are {n} images")
    failures: dict[str, list[str]] = {}
    pairs = []
    for a, b in combinations(stores.models, 2):
        layers = [(one, other) for one, other in corresponding_layers(stores.layers(a), stores.layers(b))
                  if one in usable[a] and other in usable[b]]  # fmt: skip
        pairs += [(a, b, layers)] if layers else []
    sides, total = Sides(stores, data), len(measures) * sum(len(layers) for _, _, layers in pairs)
    with progress.bar(f"other similarities on {data}", total, "values") as advance:
        for a, b, layers in pairs:
            rows: list[dict] = []
            for measure in measures:
                made_from = {"a": stores.content(a, data, [one for one, _ in layers]), "measure": measure, "seed": seed,
                             "b": stores.content(b, data, [other for _, other in layers])}  # fmt: skip
                make = partial(_rows, sides, a, b, layers, measure, seed=seed)
                for row in stores.memo.recall("corresponding", made_from, make).rows:
                    if "problem" in row:
                        places = failures.setdefault(f"no {measure} on {data!r} for {{}}: {row['problem']}", [])
                        places.append(row["place"])
                    else:
                        rows.append(row)
                advance(len(layers))
            yield from _by_layer(rows, a, layers)
    for reason, places in failures.items():
        progress.say(reason.replace("{}", shortened(places), 1))


def _by_layer(rows: Sequence[dict], model: str, layers: Sequence[tuple[str, str]]) -> list[dict]:
    """Return the rows of a pair in the order of the first model's layers, and within a layer as they are."""
    order = {layer: place for place, (layer, _) in enumerate(layers)}
    return sorted(rows, key=lambda row: order[row["layer_a"] if row["model_a"] == model else row["layer_b"]])


class Sides:
    """What the measures take of a layer: its features, or its neighbours, which are kept for the pairs to come."""

    def __init__(self, stores: Stores, data: str):
        self.stores, self.data = stores, data
        self.groups = stores.column(data, "group")
        self.kept: Kept[PreparedNeighbours] = Kept(lambda layer: layer.ranked.nbytes)

    def side(self, model: str, layer: str, measure: str) -> Any:
        """Return what a measure takes of a layer."""
        if measure == "mutual_knn":
            return self.kept.get((model, layer), partial(self._neighbours, model, layer))
        return self._features(model, layer)

    def _features(self, model: str, layer: str) -> np.ndarray:
        return np.asarray(self.stores.features(model, self.data, layer))

    def _neighbours(self, model: str, layer: str) -> PreparedNeighbours:
        X = self._features(model, layer)
        return prepare_neighbours(X, k=min(NEIGHBOURS, len(X) - 1), groups=self.groups)


def _rows(
    sides: Sides, model_a: str, model_b: str, layers: Sequence[tuple[str, str]], measure: str, *, seed: int
) -> Result:
    ways = [(model_a, one, model_b, other) for one, other in layers]
    if measure in DIRECTED:
        ways = [each for a, one, b, other in ways for each in ((a, one, b, other), (b, other, a, one))]
    n = len(sides.stores.samples(sides.data))
    rows: list[dict] = []
    for a, one, b, other in ways:
        try:
            found = MEASURES[measure](
                sides.side(a, one, measure), sides.side(b, other, measure), groups=sides.groups,
                rng=seeding.child(seed, measure, sides.data),
            )  # fmt: skip
        except ValueError as error:  # a row of zeros, for one, has no cosine
            rows.append({"problem": str(error).removeprefix("X "), "place": f"{a} {one} and {b} {other}"})
            continue
        rows.append({"model_a": a, "model_b": b, "layer_a": one, "layer_b": other, "data": sides.data, "n": n,
                     "metric": measure, "se": found.se, **interval_columns(found)})  # fmt: skip
    return Result(rows, {})
