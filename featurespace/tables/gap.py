"""How far apart two domains lie in each layer of each model."""

from __future__ import annotations

from functools import partial
from itertools import combinations

import pandas as pd

from featurespace import seeding
from featurespace.metrics.frechet import frechet_distance
from featurespace.metrics.frechet_jackknife import frechet_distance_corrected
from featurespace.metrics.mmd import mmd2_permutation
from featurespace.progress import Progress, shortened
from featurespace.stats.comparison import holm
from featurespace.tables.memo import Result
from featurespace.tables.schema import DOMAIN_GAP, interval_columns, validate
from featurespace.tables.stores import Stores

PERMUTATIONS = 1000
# Holm's smallest p over L layers is L / (B + 1): with many layers more permutations, or no gap could ever be shown.
PERMUTATIONS_PER_LAYER = 60


def gap_table(stores: Stores, *, seed: int, progress: Progress | None = None) -> pd.DataFrame:
    """Return the distance between every two data sets, per layer and model.

    ``mmd2`` is the unbiased RBF MMD² (median heuristic) with a permutation p, the same after Holm's correction over the
    layers of a model (``p_holm``), and a jackknife interval; ``frechet_distance`` the plug-in value, which small samples
    bias upwards; ``frechet_distance_corrected`` the jackknife over blocks, with its interval. Groups are permuted and
    left out whole where there are groups.
    """
    progress = progress or Progress()
    pairs = list(combinations(stores.data, 2))
    jobs = [(a, b, model, layer) for a, b in pairs for model in stores.models for layer in stores.layers(model)]
    if not pairs:
        progress.say("no domain gap: it needs two data sets (--data twice)")
    most = max(len(stores.layers(model)) for model in stores.models)
    permutations = max(PERMUTATIONS, PERMUTATIONS_PER_LAYER * most)
    rows: list[dict] = []
    failures: dict[str, list[str]] = {}
    with progress.bar("domain gap", len(jobs), "layers") as advance:
        for data_a, data_b, model, layer in jobs:
            key = {"model": model, "layer": layer, "data_a": data_a, "data_b": data_b}
            content = [stores.content(model, data, [layer]) for data in (data_a, data_b)]
            make = partial(_gap_rows, stores, key, seed=seed, permutations=permutations)
            made_from = {**key, "content": content, "seed": seed, "permutations": permutations}
            try:
                rows += stores.memo.recall("gap", made_from, make).rows
            except ValueError as error:
                failures.setdefault(f"{data_a!r} to {data_b!r}: {error}", []).append(f"{model} {layer}")
            advance(1)
    for reason, places in failures.items():
        progress.say(f"no domain gap for {shortened(places)}, {reason}")
    table = pd.DataFrame(rows, columns=[column for column in DOMAIN_GAP.columns if column != "p_holm"])
    family = table.groupby(["metric", "model", "data_a", "data_b"], sort=False)["p_value"]
    corrected = family.transform(lambda p: holm(p.to_numpy(float)))
    return validate(table.assign(p_holm=corrected.astype(float)), DOMAIN_GAP)


def _gap_rows(stores: Stores, key: dict, *, seed: int, permutations: int) -> Result:
    names = (key["data_a"], key["data_b"])
    X, Y = (stores.features(key["model"], data, key["layer"]) for data in names)
    groups_x, groups_y = (stores.column(data, "group") for data in names)
    if groups_x is not None or groups_y is not None:
        # A data set without groups beside one with groups: each of its images is a group of its own.
        groups_x, groups_y = (
            stores.samples(data)["id"].to_numpy(str) if groups is None else groups
            for data, groups in zip(names, (groups_x, groups_y))
        )
    # The same permutations and blocks for every model and layer.
    test = mmd2_permutation(
        X,
        Y,
        rng=seeding.child(seed, "permutation", *names),
        groups_x=groups_x,
        groups_y=groups_y,
        permutations=permutations,
    )
    corrected = frechet_distance_corrected(
        X, Y, rng=seeding.child(seed, "blocks", *names), groups_x=groups_x, groups_y=groups_y
    )
    plain = {
        "value": frechet_distance(X, Y), "ci_low": None, "ci_high": None, "interval": "none: biased, see the corrected value",
        "level": None, "unit": corrected.unit, "n_groups": None,
    }  # fmt: skip
    counts = {"n_a": len(X), "n_b": len(Y)}
    interval = interval_columns(corrected)
    if min(len(X), len(Y)) < 2 * X.shape[1]:
        interval["interval"] += "; bias remains, because n is below twice the width"
    rows = [
        {"metric": "mmd2", **key, **counts, "p_value": test.p_value, **interval_columns(test)},
        {"metric": "frechet_distance", **key, **counts, "p_value": None, **plain},
        {"metric": "frechet_distance_corrected", **key, **counts, "p_value": None, **interval},
    ]
    return Result(rows, {})
