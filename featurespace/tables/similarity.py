"""Similarity of the models' representations of the same images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd

from featurespace.errors import FeaturespaceError, counted
from featurespace.metrics.alignment import cka_matrices
from featurespace.metrics.prepared import PreparedCKA, prepare_cka
from featurespace.metrics.units import Units, cka_units
from featurespace.options import DEFAULT_MEASURES
from featurespace.progress import Progress, shortened
from featurespace.stats.estimate import Estimate
from featurespace.tables import streamed
from featurespace.tables.arms import with_seeds
from featurespace.tables.corresponding import corresponding_rows
from featurespace.tables.differences import cka_differences
from featurespace.tables.memo import Result
from featurespace.tables.pairs import pair_tables
from featurespace.tables.sampling import sampled
from featurespace.tables.schema import SIMILARITY, interval_columns, validate
from featurespace.tables.stores import Stores, corresponding_layers
from featurespace.tables.streamed import Matrix, Problems, bytes_at_once, is_streamed, streamed_matrices

MIN_SAMPLES = 4  # Song's unbiased HSIC divides by n - 3


def similarity_tables(
    stores: Stores, *, seed: int, measures: Sequence[str] = DEFAULT_MEASURES, progress: Progress | None = None
) -> tuple[dict[str, pd.DataFrame], list[dict]]:
    """Return the tables similarity and those of `pair_tables` by name, and the rows of the paired tests.

    The similarity is CKA of all layer pairs of all model pairs, also within a model.

    ``cka_debiased`` is exact, with a jackknife interval by group where there is one. A within-model matrix is given
    whole, so (a, b) and (b, a) both stand. The other ``measures`` stand for the corresponding layers of two models. A
    layer whose features are constant has no CKA: its rows are missing, and the progress says so.
    """
    progress = progress or Progress()
    rows: list[dict] = []
    differences: list[dict] = []
    usable: dict[str, dict[str, list[str]]] = {}
    for data in stores.data:
        n = len(stores.samples(data))
        check_size(data, n)
        pairs = list(combinations_with_replacement(stores.models, 2))
        results = stores.compute(partial(_cka_results, data=data, pairs=pairs, progress=progress), progress)
        usable[data] = _usable_layers(stores, data, results, progress)
        between: dict[tuple[str, str, str, str], Estimate] = {}
        for model_a, model_b in pairs:
            result = results[model_a, model_b]
            key = {"metric": "cka_debiased", "model_a": model_a, "model_b": model_b, "data": data}
            rows += [{**key, **row} for row in result.rows if "problem" not in row]
            if model_a != model_b:
                between |= _estimates(model_a, model_b, result)
        differences += cka_differences(stores, data, between)
        if not stores.kept:
            continue
        few = sampled(stores, "measures", seed=seed)
        rows += corresponding_rows(few, usable[data], data, measures=measures, seed=seed, progress=progress)
    if not stores.kept:
        return {"similarity": validate(rows, SIMILARITY)}, differences
    few = sampled(stores, "influence", seed=seed)
    tables, between_groups = pair_tables(few, usable, seed=seed, progress=progress)
    similarity = validate(rows + between_groups, SIMILARITY)
    tables["scale"] = with_seeds(tables["scale"], similarity, stores)
    return {"similarity": similarity, **tables}, differences


def check_size(data: str, n: int) -> None:
    """Raise FeaturespaceError where a data set is too small for a similarity."""
    if n < MIN_SAMPLES:
        raise FeaturespaceError(
            f"data set {data!r} has {counted(n, 'image')}; a debiased similarity needs at least {MIN_SAMPLES}. "
            "Add images, or leave similarity out: --only probe,embedding,gap"
        )


def _cka_results(
    stores: Stores, data: str, pairs: list[tuple[str, str]], progress: Progress
) -> dict[tuple[str, str], Result]:
    """Return the CKA of each pair of models; only those that are not remembered are computed, all in one go."""
    if data in stores.made:
        made = stores.made[data].matrices(pairs)
        return {pair: _result(pair, matrix, problems, stores) for pair, matrix, problems in made}
    keys = {(a, b): {"a": stores.content(a, data), "b": stores.content(b, data), **stores.place()} for a, b in pairs}
    results = {pair: stores.memo.find("cka", keys[pair]) for pair in pairs}
    missing = [pair for pair in pairs if results[pair] is None]
    make = streamed_matrices if is_streamed(stores, data) else _matrices
    for pair, matrix, problems in make(stores, data, missing, progress) if missing else ():
        results[pair] = stores.memo.keep("cka", keys[pair], _result(pair, matrix, problems, stores))
    return {pair: result for pair, result in results.items() if result is not None}


def _result(pair: tuple[str, str], matrix: Matrix, problems: dict[str, Problems], stores: Stores) -> Result:
    """Return the rows of two models, with the problems of layers where both are one model."""
    usable = [[layer for layer in stores.layers(model) if layer not in problems[model]] for model in pair]
    result = _pair_result(usable[0], usable[1], matrix, same=pair[0] == pair[1])
    if pair[0] == pair[1]:
        result.rows.extend(
            {"layer_a": layer, "layer_b": layer, "problem": why} for layer, why in problems[pair[0]].items()
        )
    return result


def _matrices(
    stores: Stores, data: str, pairs: list[tuple[str, str]], progress: Progress
) -> Iterator[tuple[tuple[str, str], Matrix, dict[str, Problems]]]:
    """Yield each pair of models with the CKA of all their usable layers, and the problems of the other layers.

    Features are in memory of so many models at once as fit; those of two models always are.
    """
    units = cka_units(stores.column(data, "group"), len(stores.samples(data)))
    groups = _at_once(stores, data, list(dict.fromkeys(model for pair in pairs for model in pair)))
    total = sum(len(stores.layers(a)) * len(stores.layers(b)) for a, b in pairs)
    prepared: dict[str, dict[str, PreparedCKA]] = {}
    problems: dict[str, Problems] = {}
    with progress.bar(f"CKA on {data}", total, "pairs") as advance:
        for first, second in combinations_with_replacement(groups, 2):
            now = [
                (a, b) for a, b in pairs if {a, b} <= {*first, *second} and (first is second) == ({a, b} <= {*first})
            ]
            now = [(a, b) for a, b in now if first is second or not {a, b} <= {*second}]
            needed = list(dict.fromkeys(model for pair in now for model in pair))
            prepared = {model: layers for model, layers in prepared.items() if model in first}
            for model in needed:
                if model not in prepared:
                    prepared[model], problems[model] = _prepare(stores, model, data, units)
            models = [model for model in needed if prepared[model]]
            wanted = [(models.index(a), models.index(b)) for a, b in now if a in models and b in models]
            for (i, j), matrix in cka_matrices([list(prepared[model].values()) for model in models], wanted):
                yield (models[i], models[j]), matrix, problems
                advance(len(matrix) * len(matrix[0]))
            for a, b in now:
                if not (prepared[a] and prepared[b]):
                    yield (a, b), [], problems


def _at_once(stores: Stores, data: str, models: list[str]) -> list[list[str]]:
    """Return the models in groups, two of which have features of `MEMORY` bytes at most, or are single models."""
    groups: list[list[str]] = []
    size = 0
    n = len(stores.samples(data))
    for model in models:
        own = bytes_at_once(stores, model, n)
        if not groups or size + own > streamed.MEMORY // 2:
            groups.append([])
            size = 0
        groups[-1].append(model)
        size += own
    return groups


def _prepare(stores: Stores, model: str, data: str, units: Units) -> tuple[dict[str, PreparedCKA], Problems]:
    """Return the prepared layers of a model, and the problem of each that has no CKA."""
    prepared, problems = {}, {}
    for layer in stores.layers(model):
        try:
            prepared[layer] = prepare_cka(stores.placed(model, data, layer), groups=units)
        except ValueError as error:
            problems[layer] = str(error).removeprefix("X ")
    return prepared, problems


def _pair_result(layers_a: list[str], layers_b: list[str], matrix: Matrix, *, same: bool) -> Result:
    """Return one row a pair of layers, and the leave-outs of those that stand for each other."""
    rows: list[dict] = []
    leave_outs: dict[str, np.ndarray] = {}
    partners = set(corresponding_layers(layers_a, layers_b))
    for a, layer_a in enumerate(layers_a if matrix else []):
        for b, layer_b in enumerate(layers_b):
            # within a model the mirror image is the same number, to the last bit
            estimate = matrix[min(a, b)][max(a, b)] if same else matrix[a][b]
            if estimate is not None:
                if estimate.leave_one_out is not None and (layer_a, layer_b) in partners and not same:
                    leave_outs[str(len(rows))] = estimate.leave_one_out
                values = {"n": estimate.n, "se": estimate.se, **interval_columns(estimate)}
                rows.append({"layer_a": layer_a, "layer_b": layer_b, **values})
            elif same and a == b:
                problem = "is constant but for at most one sample, so CKA with it is undefined"
                rows.append({"layer_a": layer_a, "layer_b": layer_b, "problem": problem})
    return Result(rows, leave_outs)


def _estimates(model_a: str, model_b: str, result: Result) -> dict[tuple[str, str, str, str], Estimate]:
    """Return a result's rows as estimates again, by models and layers."""
    estimates = {}
    for place, row in enumerate(result.rows):
        values = {name: value for name, value in row.items() if name not in ("layer_a", "layer_b")}
        estimate = Estimate(**values, leave_one_out=result.arrays.get(str(place)))
        estimates[model_a, model_b, row["layer_a"], row["layer_b"]] = estimate
    return estimates


def _usable_layers(
    stores: Stores, data: str, results: dict[tuple[str, str], Result], progress: Progress
) -> dict[str, list[str]]:
    """Return the layers of each model that have a CKA, and say why the others have none."""
    usable: dict[str, list[str]] = {}
    failures: dict[str, list[str]] = {}
    for model in stores.models:
        problems = {row["layer_a"]: row["problem"] for row in results[model, model].rows if "problem" in row}
        usable[model] = [layer for layer in stores.layers(model) if layer not in problems]
        for layer, reason in problems.items():
            failures.setdefault(reason, []).append(f"{model} {layer}")
    for reason, places in failures.items():
        progress.say(f"no similarity on {data!r} for {shortened(places)}: {reason}")
    return usable
