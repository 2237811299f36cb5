"""What the CKA of two corresponding layers is worth: its scale, its convergence, and the images that drive it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd

from featurespace import seeding
from featurespace.metrics.alignment import cka_jackknife
from featurespace.metrics.cka_tests import cka_null_sd
from featurespace.metrics.influence import CKAInfluence, cka_influence
from featurespace.metrics.similarity import cka
from featurespace.progress import Progress, shortened
from featurespace.tables.memo import Result
from featurespace.tables.schema import (
    CONVERGENCE,
    INFLUENCE,
    INFLUENCE_SUMMARY,
    SCALE,
    Schema,
    interval_columns,
    validate,
)
from featurespace.tables.stores import Stores, corresponding_layers

METRIC = "cka_debiased"
TOP_ROWS = 20
"""Images and groups named for each pair of layers."""
PARTS = (8, 4, 2, 1)
"""The convergence is shown at n over each of these."""
SPLITS = 3
"""Random halves of the channels whose mean CKA is the ceiling."""
LEAST = 8
"""Images of the smallest part."""

# tag of a row -> the table it belongs to; rows tagged "similarity" go to the table of that name
TABLES: dict[str, Schema] = {
    "scale": SCALE, "convergence": CONVERGENCE, "influence": INFLUENCE, "influence_summary": INFLUENCE_SUMMARY,
}  # fmt: skip

Usable = Mapping[str, list[str]]  # layers of each model that have a CKA


def pair_tables(
    stores: Stores, usable: Mapping[str, Usable], *, seed: int, progress: Progress | None = None
) -> tuple[dict[str, pd.DataFrame], list[dict]]:
    """Return the tables scale, convergence, influence and influence_summary, and rows for the table of similarity.

    For corresponding layers of trained models. ``scale`` holds what a CKA can be compared with: its null (rows permuted:
    mean 0, the standard deviation exact, or with groups an upper bound), the CKA with the untrained control, and a
    ceiling, the CKA of two random halves of a layer's own channels. ``convergence`` is the value at n/8, n/4, n/2 and n.
    ``influence`` names the images and groups without which the CKA would rise most, ``influence_summary`` what the most
    influential 1 % hold together. Where there are groups, ``cka_between_groups`` leaves pairs within a group out.

    Parameters
    ----------
    usable : data set -> model -> layers that have a CKA
    """
    progress = progress or Progress()
    rows: dict[str, list[dict]] = {tag: [] for tag in [*TABLES, "similarity"]}
    failures: dict[str, list[str]] = {}
    jobs = [job for data in stores.data for job in _jobs(stores, usable[data], data)]
    with progress.bar("images that drive CKA", len(jobs), "pairs of layers") as advance:
        for key in jobs:
            content = [stores.content(key[f"model_{side}"], key["data"], [key[f"layer_{side}"]]) for side in "ab"]
            control = _control(stores, usable[key["data"]], key)
            content += [stores.content(control, key["data"], [key["layer_b"]])] if control else []
            make = partial(_rows, stores, key, control, seed=seed)
            made_from = {**key, "content": content, "seed": seed}
            for row in stores.memo.recall("pair", made_from, make).rows:
                if "problem" in row:
                    place = f"{key['model_a']} {key['layer_a']} and {key['model_b']} {key['layer_b']}"
                    failures.setdefault(f"on {key['data']!r}: {row['problem']}", []).append(place)
                else:
                    rows[row["table"]].append(
                        {**key, **{name: value for name, value in row.items() if name != "table"}}
                    )
            advance(1)
    for reason, places in failures.items():
        progress.say(f"no images that drive CKA for {shortened(places)}, {reason}")
    return {tag: validate(rows[tag], schema) for tag, schema in TABLES.items()}, rows["similarity"]


def _jobs(stores: Stores, usable: Usable, data: str) -> Iterator[dict[str, str]]:
    for model_a, model_b in combinations(stores.trained, 2):
        for layer_a, layer_b in corresponding_layers(stores.layers(model_a), stores.layers(model_b)):
            if layer_a in usable[model_a] and layer_b in usable[model_b]:
                yield {"model_a": model_a, "model_b": model_b, "layer_a": layer_a, "layer_b": layer_b, "data": data}


def _control(stores: Stores, usable: Usable, key: dict[str, str]) -> str | None:
    """Return the control of the second model, where it has one with that layer."""
    control = stores.controls.get(key["model_b"])
    return control if control is not None and key["layer_b"] in usable[control] else None


def _rows(stores: Stores, key: dict[str, str], control: str | None, *, seed: int) -> Result:
    data = key["data"]
    X, Y = (np.asarray(stores.features(key[f"model_{side}"], data, key[f"layer_{side}"])) for side in "ab")
    groups = stores.column(data, "group")
    try:
        value = cka(X, Y)
        of_control = None if control is None else cka(X, stores.features(control, data, key["layer_b"]))
    except ValueError as error:  # constant in these images, which may be a sample of those that told what is usable
        return Result([{"problem": str(error)}], {})
    rows = list(_convergence(X, Y, groups, rng=seeding.child(seed, "convergence", data)))
    scale = {**_scale(X, Y, key, seed, groups), "control": of_control}
    rows.append({"table": "scale", "metric": METRIC, "n": len(X), "value": value, **scale})
    samples = stores.samples(data)
    for unit in ("sample",) if groups is None else ("sample", "group"):
        try:
            found = cka_influence(X, Y, groups=groups if unit == "group" else None)
        except ValueError as error:
            rows.append({"problem": str(error).removeprefix("no influence: ")})
        else:
            rows += _influence(found, unit, samples)
    if groups is not None:
        try:
            between = cka_jackknife(X, Y, groups=groups, between_groups=True)
        except ValueError as error:
            rows.append({"problem": f"without pairs within groups, {error}"})
        else:
            rows.append({"table": "similarity", "metric": "cka_between_groups", "n": len(X), "se": between.se,
                         **interval_columns(between)})  # fmt: skip
    return Result(rows, {})


def _scale(X: np.ndarray, Y: np.ndarray, key: dict[str, str], seed: int, groups: np.ndarray | None) -> dict:
    counted = len(X) if groups is None else len(np.unique(groups))
    sides = {"a": X, "b": Y}
    ceilings = {f"ceiling_{side}": _ceiling(Z, seed, key[f"model_{side}"], key[f"layer_{side}"])
                for side, Z in sides.items()}  # fmt: skip
    return {"seeds": None, "null_mean": 0.0, "null_sd": cka_null_sd(counted) if counted >= 4 else None, **ceilings}


def _ceiling(Z: np.ndarray, seed: int, model: str, layer: str) -> float | None:
    """Return the mean CKA of random halves of the channels; None where one half is constant or there is one channel."""
    rng = seeding.child(seed, "halves", model, layer)
    width = Z.shape[1]
    if width < 2:
        return None
    values = []
    for _ in range(SPLITS):
        order = rng.permutation(width)
        try:
            values.append(cka(Z[:, order[: width // 2]], Z[:, order[width // 2 :]]))
        except ValueError:
            return None
    return float(np.mean(values))


def _convergence(
    X: np.ndarray, Y: np.ndarray, groups: np.ndarray | None, *, rng: np.random.Generator
) -> Iterator[dict]:
    codes = np.arange(len(X)) if groups is None else np.unique(groups, return_inverse=True)[1]
    order = rng.permutation(int(codes.max()) + 1)
    for part in PARTS:
        rows = np.flatnonzero(np.isin(codes, order[: len(order) // part]))
        if len(rows) < LEAST and part > 1:
            continue
        try:
            found = cka_jackknife(X[rows], Y[rows], groups=None if groups is None else groups[rows])
        except ValueError:  # constant in so few images
            continue
        yield {"table": "convergence", "metric": METRIC, "n": len(rows), "part": 1 / part, **interval_columns(found)}


def _influence(found: CKAInfluence, unit: str, samples: pd.DataFrame) -> Iterator[dict]:
    shared = {"metric": METRIC, "unit": unit, "value": found.estimate.value, "n": len(samples)}
    order = np.argsort(found.change, kind="stable")[:TOP_ROWS]
    for rank, place in enumerate(order[found.change[order] < 0].tolist(), start=1):
        of_sample = {name: None if pd.isna(value) else str(value)
                     for name, value in samples.iloc[place][["id", "label", "group", "path"]].items()}  # fmt: skip
        named = {"name": of_sample.pop("id"), **of_sample} if unit == "sample" else {
            "name": str(found.names[place]), "label": None, "group": str(found.names[place]), "path": None}  # fmt: skip
        change = float(found.change[place])
        yield {"table": "influence", **shared, "rank": rank, **named, "change": change,
               "value_without": found.estimate.value - change}  # fmt: skip
    yield {"table": "influence_summary", **shared, "n_units": len(found.change), "top_units": len(found.top),
           "top_share": found.top_share, "value_without_top": found.value_without_top}  # fmt: skip
