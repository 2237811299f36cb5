"""How far apart two domains lie in each layer of each model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from featurespace import seeding
from featurespace.metrics.arrays import as_placed_samples
from featurespace.metrics.frechet import frechet_distance
from featurespace.metrics.frechet_jackknife import frechet_distance_corrected
from featurespace.metrics.kernel_jackknife import mmd2_jackknife
from featurespace.metrics.kernel_test import kernel_estimate, kernel_test, pooled_kernel, pooled_kernel_across
from featurespace.metrics.mmd import rbf_matrix
from featurespace.progress import Progress, shortened
from featurespace.stats.classes import per_class
from featurespace.stats.comparison import holm
from featurespace.stats.permutation import max_t
from featurespace.tables.distances import DISTANCES
from featurespace.tables.gap_differences import gap_differences
from featurespace.tables.memo import Result
from featurespace.tables.sampling import sampled
from featurespace.tables.schema import DOMAIN_GAP, DOMAIN_GAP_BY_CLASS, interval_columns, validate
from featurespace.tables.stores import Stores

PERMUTATIONS = 1000
LEAST_OF_CLASS = 10
"""Images of a class that each data set needs for a row of its own."""

Part = tuple[str, str, Callable[[Stores], Result]]  # what a remembered result is called, what it is, and how it is made


def gap_tables(
    stores: Stores, *, seed: int, distances: Sequence[str] = (), progress: Progress | None = None
) -> tuple[dict[str, pd.DataFrame], list[dict]]:
    """Return the tables domain_gap and domain_gap_by_class, and the rows of tests that two models see other gaps.

    ``mmd2`` is the unbiased RBF MMD² (median heuristic) with a jackknife interval; where there are groups, pairs within
    a group are left out. Its p comes from permuting images, or whole groups; ``p_holm`` is the same after Holm's
    correction over the layers of a model, ``p_max`` after comparison with the null of the maximum over them.
    ``frechet_distance`` is the plug-in value, which small samples bias upwards; ``frechet_distance_corrected`` the
    jackknife over blocks, with its interval. Further ``distances`` on request. Every class that both data sets share
    has its MMD² in the second table.
    """
    progress = progress or Progress()
    stores = sampled(stores, "gap", seed=seed)
    pairs = list(combinations(stores.data, 2))
    jobs = [(a, b, model, layer) for a, b in pairs for model in stores.models for layer in stores.layers(model)]
    if not pairs:
        progress.say("no domain gap: it needs two data sets (--data twice)")
    rows: dict[str, list[dict]] = {"gap": [], "class": []}
    arrays: dict[tuple[str, str, str, str], Mapping[str, np.ndarray]] = {}
    failures: dict[tuple[str, str], list[str]] = {}
    with progress.bar("domain gap", len(jobs), "layers") as advance:
        for data_a, data_b, model, layer in jobs:
            key = {"model": model, "layer": layer, "data_a": data_a, "data_b": data_b}
            content = [stores.content(model, data, [layer]) for data in (data_a, data_b)]
            made_from = {**key, "content": content, "seed": seed}
            for kind, what, make in _parts(key, distances, seed=seed):
                try:
                    result = stores.compute(partial(_recalled, kind=kind, key=made_from, make=make), progress)
                except ValueError as error:
                    failures.setdefault((what, f"{data_a!r} to {data_b!r}: {error}"), []).append(f"{model} {layer}")
                    if kind == "gap":
                        break  # the others fail for the same reason
                    continue
                for row in result.rows:
                    rows["class" if "label" in row else "gap"].append(row)
                if kind == "gap":
                    arrays[model, layer, data_a, data_b] = result.arrays
            advance(1)
    for (what, reason), places in failures.items():
        progress.say(f"no {what} for {shortened(places)}, {reason}")
    by_class = validate(rows["class"], DOMAIN_GAP_BY_CLASS)
    tables = {"domain_gap": _with_corrections(rows["gap"], arrays), "domain_gap_by_class": by_class}
    return tables, gap_differences(stores, rows["gap"], arrays)


def _with_corrections(rows: list[dict], arrays: Mapping[tuple[str, str, str, str], Mapping]) -> pd.DataFrame:
    """Return the table with p over the layers of a model corrected: Holm, and the null of the maximum."""
    table = pd.DataFrame(rows, columns=[each for each in DOMAIN_GAP.columns if each not in ("p_holm", "p_max")])
    family = table.groupby(["metric", "model", "data_a", "data_b"], sort=False)["p_value"]
    table["p_holm"] = family.transform(lambda p: holm(p.to_numpy(float))).astype(float)
    table["p_max"] = np.nan
    tested = table[table["metric"] == "mmd2"]
    for _, layers in tested.groupby(["model", "data_a", "data_b"], sort=False):
        places = [arrays[row.model, row.layer, row.data_a, row.data_b] for row in layers.itertuples()]
        observed = [float(each["observed"]) for each in places]
        table.loc[layers.index, "p_max"] = max_t(observed, np.stack([each["null"] for each in places], axis=1))
    return validate(table, DOMAIN_GAP)


def _recalled(stores: Stores, *, kind: str, key: dict, make: Callable[[Stores], Result]) -> Result:
    return stores.memo.recall(kind, {**key, **stores.place()}, partial(make, stores))


def _parts(key: dict, distances: Sequence[str], *, seed: int) -> Iterator[Part]:
    yield "gap", "domain gap", partial(_gap_rows, key=key, seed=seed)
    yield "gapclass", "domain gap of classes", partial(_class_rows, key=key)
    for name in distances:
        yield f"gap{name.replace('_', '')}", name, partial(_distance_rows, key=key, name=name, seed=seed)


def _sides(stores: Stores, key: dict) -> tuple[list[Any], dict[str, Any]]:
    """Return the features of both data sets, on the device of the statistics, and their groups as keywords."""
    names = (key["data_a"], key["data_b"])
    features = [stores.placed(key["model"], data, key["layer"]) for data in names]
    return features, groups_of(stores, *names)


def groups_of(stores: Stores, data_a: str, data_b: str) -> dict[str, Any]:
    """Return the groups of two data sets; beside one with groups, each image of one without is its own group."""
    groups = [stores.column(data, "group") for data in (data_a, data_b)]
    if any(each is not None for each in groups):
        names = [stores.samples(data)["id"].to_numpy(str) for data in (data_a, data_b)]
        groups = [own if each is None else each for own, each in zip(names, groups)]
    return {"groups_x": groups[0], "groups_y": groups[1]}


def _gap_rows(stores: Stores, key: dict, *, seed: int) -> Result:
    (X, Y), groups = _sides(stores, key)
    names = (key["data_a"], key["data_b"])
    K, _ = rbf_matrix(*as_placed_samples(X, Y), None)
    pairs = tuple(groups.values())
    grouped = groups["groups_x"] is not None
    across = pooled_kernel_across(1 * K, len(X), *pairs) if grouped else None
    whole = pooled_kernel(K, len(X), *pairs)
    # Without groups every pair is one of two units, and the kernel, of many gigabytes perhaps, need not be there twice.
    estimate = kernel_estimate(across or whole, level=0.95)
    # The same permutations and blocks for every model and layer.
    rng = seeding.child(seed, "permutation", *names)
    test = kernel_test(whole, rng=rng, permutations=PERMUTATIONS)
    counts = {"n_a": len(X), "n_b": len(Y)}
    rows = [{"metric": "mmd2", **key, **counts, "p_value": test["p_value"], **interval_columns(estimate)}]
    rows += _frechet_rows(sampled(stores, "frechet", seed=seed), key, seed=seed)
    arrays = {"null": test["null"], "observed": np.array(test["value"]), "sizes": whole.sizes,
              "count_x": np.array(whole.count_x)}  # fmt: skip
    if estimate.leave_one_out is not None:
        arrays["leave_outs"] = estimate.leave_one_out
    return Result(rows, arrays)


def _frechet_rows(stores: Stores, key: dict, *, seed: int) -> list[dict]:
    (X, Y), groups = _sides(stores, key)
    rng = seeding.child(seed, "blocks", key["data_a"], key["data_b"])
    corrected = frechet_distance_corrected(X, Y, rng=rng, **groups)
    plain = {
        "value": frechet_distance(X, Y), "ci_low": None, "ci_high": None, "interval": "none: biased, see the corrected value",
        "level": None, "unit": corrected.unit, "n_groups": None,
    }  # fmt: skip
    counts = {"n_a": len(X), "n_b": len(Y)}
    interval = interval_columns(corrected)
    if min(len(X), len(Y)) < 2 * X.shape[1]:
        interval["interval"] += "; bias remains, because n is below twice the width"
    return [
        {"metric": "frechet_distance", **key, **counts, "p_value": None, **plain},
        {"metric": "frechet_distance_corrected", **key, **counts, "p_value": None, **interval},
    ]


def _distance_rows(stores: Stores, key: dict, name: str, *, seed: int) -> Result:
    (X, Y), groups = _sides(stores, key)
    found = DISTANCES[name](X, Y, groups, seeding.child(seed, name, key["data_a"], key["data_b"]))
    row = {"metric": name, **key, "n_a": len(X), "n_b": len(Y), "p_value": None, **interval_columns(found)}
    return Result([row], {})


def _class_rows(stores: Stores, key: dict) -> Result:
    """Return the MMD² of each class that both data sets have often enough; a class beyond that has no row."""
    (X, Y), groups = _sides(stores, key)
    labels = [stores.column(key[f"data_{side}"], "label") for side in "ab"]
    if labels[0] is None or labels[1] is None:
        return Result([], {})
    grouped = {} if groups["groups_x"] is None else groups
    found = per_class(mmd2_jackknife, X, Y, *labels, least=LEAST_OF_CLASS, **grouped)
    rows = [
        {"metric": "mmd2", **key, "label": label, "n_a": found.counts[label][0], "n_b": found.counts[label][1],
         **interval_columns(estimate)}
        for label, estimate in found.values.items() if label != ""
    ]  # fmt: skip
    return Result(rows, {})
