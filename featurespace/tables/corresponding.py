"""Other similarities than CKA, of layers that stand for each other in two models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations

import numpy as np

from featurespace import seeding
from featurespace.metrics.alignment import cka_jackknife
from featurespace.metrics.canonical import cca, pwcca, svcca
from featurespace.metrics.dependence import distance_correlation_jackknife
from featurespace.metrics.dissimilarity import rsa
from featurespace.metrics.neighbours import knn_jaccard, mutual_knn_jackknife
from featurespace.metrics.predictivity import linear_predictivity_jackknife
from featurespace.metrics.shape import procrustes_jackknife, shape_angle
from featurespace.progress import Progress, shortened
from featurespace.stats.blocks import block_jackknife
from featurespace.stats.estimate import Estimate
from featurespace.tables.memo import Result
from featurespace.tables.schema import interval_columns
from featurespace.tables.stores import Stores, corresponding_layers

NEIGHBOURS = 10

Measure = Callable[..., Estimate]  # f(X, Y, groups=, rng=)


def _plain(jackknife: Callable[..., Estimate], **options: object) -> Measure:
    return lambda X, Y, groups, rng: jackknife(X, Y, groups=groups, **options)


def _by_blocks(statistic: Callable[..., float]) -> Measure:
    return lambda X, Y, groups, rng: block_jackknife(statistic, [X, Y], groups=groups, rng=rng)


def _nearest(X: np.ndarray, Y: np.ndarray, groups: np.ndarray | None, rng: np.random.Generator) -> Estimate:
    return mutual_knn_jackknife(X, Y, k=min(NEIGHBOURS, len(X) - 1), groups=groups)


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
    jobs = [
        (model_a, model_b, layer_a, layer_b, measure)
        for model_a, model_b in combinations(stores.models, 2)
        for layer_a, layer_b in corresponding_layers(stores.layers(model_a), stores.layers(model_b))
        if layer_a in usable[model_a] and layer_b in usable[model_b]
        for measure in measures
    ]
    with progress.bar(f"other similarities on {data}", len(jobs), "values") as advance:
        for model_a, model_b, layer_a, layer_b, measure in jobs:
            key = {"model_a": model_a, "model_b": model_b, "layer_a": layer_a, "layer_b": layer_b, "data": data, "n": n}
            made_from = {"a": stores.content(model_a, data, [layer_a]), "b": stores.content(model_b, data, [layer_b]),
                         "measure": measure, "seed": seed}  # fmt: skip
            make = partial(_rows, stores, key, measure, seed=seed)
            for row in stores.memo.recall("corresponding", made_from, make).rows:
                if "problem" in row:
                    places = failures.setdefault(f"no {measure} on {data!r} for {{}}: {row['problem']}", [])
                    places.append(f"{model_a} {layer_a} and {model_b} {layer_b}")
                else:
                    yield row
            advance(1)
    for reason, places in failures.items():
        progress.say(reason.replace("{}", shortened(places), 1))


def _rows(stores: Stores, key: dict, measure: str, *, seed: int) -> Result:
    sides = [key, {**key, "model_a": key["model_b"], "model_b": key["model_a"], "layer_a": key["layer_b"],
                   "layer_b": key["layer_a"]}]  # fmt: skip
    groups = stores.column(key["data"], "group")
    rows: list[dict] = []
    for side in sides if measure in DIRECTED else sides[:1]:
        X, Y = (np.asarray(stores.features(side[f"model_{each}"], key["data"], side[f"layer_{each}"])) for each in "ab")
        try:
            found = MEASURES[measure](X, Y, groups=groups, rng=seeding.child(seed, measure, key["data"]))
        except ValueError as error:  # a row of zeros, for one, has no cosine
            return Result([{"problem": str(error).removeprefix("X ")}], {})
        rows.append({**side, "metric": measure, "se": found.se, **interval_columns(found)})
    return Result(rows, {})
