"""Similarity of the models' representations of the same images."""

from __future__ import annotations

from itertools import combinations_with_replacement

import pandas as pd

from featurespace.errors import FeaturespaceError
from featurespace.metrics.alignment import cka_matrices, cka_units, prepare_cka
from featurespace.metrics.hsic import PreparedCKA
from featurespace.metrics.similarity import cosine_neighbours, mutual_knn_from_neighbours, procrustes_distance
from featurespace.progress import Progress, shortened
from featurespace.stats.estimate import Estimate
from featurespace.tables.differences import cka_differences
from featurespace.tables.schema import SIMILARITY, interval_columns, validate
from featurespace.tables.stores import Stores, corresponding_layers

MIN_SAMPLES = 4  # Song's unbiased HSIC divides by n - 3
NEIGHBOURS = 10
NO_INTERVAL = {
    "ci_low": None, "ci_high": None, "se": None, "interval": "none: not estimated for this metric",
    "level": None, "unit": "sample", "n_groups": None,
}  # fmt: skip


def similarity_tables(stores: Stores, *, progress: Progress | None = None) -> tuple[pd.DataFrame, list[dict]]:
    """Return CKA of all layer pairs of all model pairs (also within a model), and the rows of its paired tests.

    ``cka_debiased`` is exact, with a jackknife interval by group where there is one. A within-model matrix is given
    whole, so (a, b) and (b, a) both stand. ``procrustes_distance`` and ``mutual_knn`` (k = 10) stand for the
    corresponding layers of two models. A layer whose features are constant has no CKA: its rows are missing, and
    the progress says so.
    """
    progress = progress or Progress()
    rows: list[dict] = []
    differences: list[dict] = []
    for data in stores.data:
        n = len(stores.samples(data))
        check_size(data, n)
        prepared = _prepare(stores, data, progress)
        pairs = list(combinations_with_replacement(stores.models, 2))
        estimates = _cka(prepared, pairs, data, progress)
        between: dict[tuple[str, str, str, str], Estimate] = {}
        for model_a, model_b in pairs:
            key = {"metric": "cka_debiased", "model_a": model_a, "model_b": model_b, "data": data, "n": n}
            rows += [
                {**key, "layer_a": layer_a, "layer_b": layer_b, "se": estimate.se, **interval_columns(estimate)}
                for (layer_a, layer_b), estimate in estimates[model_a, model_b].items()
            ]
            if model_a != model_b:
                found = estimates[model_a, model_b]
                between |= {(model_a, model_b, *layers): estimate for layers, estimate in found.items()}
        differences += cka_differences(stores, data, between)
        rows += _corresponding_rows(stores, prepared, data, n, progress)
    return validate(rows, SIMILARITY), differences


def check_size(data: str, n: int) -> None:
    """Raise FeaturespaceError where a data set is too small for a similarity."""
    if n < MIN_SAMPLES:
        raise FeaturespaceError(
            f"data set {data!r} has {n} images; a debiased similarity needs at least {MIN_SAMPLES}. "
            "Add images, or leave similarity out: --only probe,embedding,gap"
        )


def _prepare(stores: Stores, data: str, progress: Progress) -> dict[str, dict[str, PreparedCKA]]:
    units = cka_units(stores.column(data, "group"), len(stores.samples(data)))
    prepared: dict[str, dict[str, PreparedCKA]] = {}
    failures: dict[str, list[str]] = {}
    for model in stores.models:
        prepared[model] = {}
        for layer in stores.layers(model):
            try:
                prepared[model][layer] = prepare_cka(stores.features(model, data, layer), groups=units)
            except ValueError as error:
                failures.setdefault(str(error).removeprefix("X "), []).append(f"{model} {layer}")
    for reason, places in failures.items():
        progress.say(f"no similarity on {data!r} for {shortened(places)}: {reason}")
    return prepared


def _cka(
    prepared: dict[str, dict[str, PreparedCKA]], pairs: list[tuple[str, str]], data: str, progress: Progress
) -> dict[tuple[str, str], dict[tuple[str, str], Estimate]]:
    """Return the estimates of each pair of models by layers; a layer with no CKA is said, and dropped."""
    models = [model for model in prepared if prepared[model]]
    layers = {model: list(prepared[model]) for model in models}
    found: dict[tuple[str, str], dict[tuple[str, str], Estimate]] = {pair: {} for pair in pairs}
    total = sum(len(prepared[a]) * len(prepared[b]) for a, b in pairs)
    with progress.bar(f"CKA on {data}", total, "pairs") as advance:
        for (i, j), matrix in cka_matrices([list(prepared[model].values()) for model in models]):
            for a, layer_a in enumerate(layers[models[i]]):
                for b, layer_b in enumerate(layers[models[j]]):
                    # within a model the mirror image is the same number, to the last bit
                    estimate = matrix[min(a, b)][max(a, b)] if i == j else matrix[a][b]
                    if estimate is not None:
                        found[models[i], models[j]][layer_a, layer_b] = estimate
            advance(len(matrix) * len(matrix[0]))
    for model in models:
        undefined = [layer for layer in layers[model] if (layer, layer) not in found[model, model]]
        for layer in undefined:
            del prepared[model][layer]
        if undefined:
            places = shortened([f"{model} {layer}" for layer in undefined])
            progress.say(f"no similarity on {data!r} for {places}: is constant but for at most one sample")
    return found


def _corresponding_rows(stores: Stores, prepared: dict, data: str, n: int, progress: Progress) -> list[dict]:
    rows = []
    k = min(NEIGHBOURS, n - 1)
    neighbours = {
        (model, layer): cosine_neighbours(stores.features(model, data, layer), k=k)
        for model in stores.models
        for layer in prepared[model]
    }
    if k < NEIGHBOURS:
        progress.say(f"mutual kNN on {data!r} uses k = {k}, because there are {n} images")
    for model_a, model_b in combinations_with_replacement(stores.models, 2):
        if model_a == model_b:
            continue
        for layer_a, layer_b in corresponding_layers(stores.layers(model_a), stores.layers(model_b)):
            if layer_a not in prepared[model_a] or layer_b not in prepared[model_b]:
                continue
            X, Y = (stores.features(model, data, layer) for model, layer in ((model_a, layer_a), (model_b, layer_b)))
            values = {
                "procrustes_distance": procrustes_distance(X, Y),
                "mutual_knn": mutual_knn_from_neighbours(neighbours[model_a, layer_a], neighbours[model_b, layer_b]),
            }
            key = {"model_a": model_a, "model_b": model_b, "layer_a": layer_a, "layer_b": layer_b, "data": data, "n": n}
            rows += [{"metric": metric, **key, "value": value, **NO_INTERVAL} for metric, value in values.items()]
    return rows
