"""What the CKA of two corresponding layers is worth: its scale, its convergence, and the images that drive it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd

from featurespace import seeding
from featurespace.metrics.cka_tests import cka_null_sd
from featurespace.metrics.influence import CKAInfluence, influence_of_estimate
from featurespace.metrics.similarity import cka
from featurespace.progress import Progress, shortened
from featurespace.stats.estimate import Estimate
from featurespace.tables.memo import Result
from featurespace.tables.prepared_layers import Place, PreparedLayers, ways_of
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
    jobs = {data: list(_jobs(stores, usable[data], data)) for data in stores.data}
    with progress.bar("images that drive CKA", sum(map(len, jobs.values())), "pairs of layers") as advance:
        for data, keys in jobs.items():
            found = _of_data_set(stores, usable[data], data, keys, seed=seed, advance=advance)
            for key, row in ((key, row) for key, result in zip(keys, found) for row in result.rows):
                if "problem" in row:
                    place = f"{key['model_a']} {key['layer_a']} and {key['model_b']} {key['layer_b']}"
                    failures.setdefault(f"on {data!r}: {row['problem']}", []).append(place)
                else:
                    rows[row["table"]].append(key | {name: value for name, value in row.items() if name != "table"})
    for reason, places in failures.items():
        progress.say(f"no images that drive CKA for {shortened(places)}, {reason}")
    return {tag: validate(rows[tag], schema) for tag, schema in TABLES.items()}, rows["similarity"]


def _of_data_set(
    stores: Stores,
    usable: Usable,
    data: str,
    keys: list[dict[str, str]],
    *,
    seed: int,
    advance: Callable[[int], object],
) -> list[Result]:
    """Return the results of the keys, in their order; worked through a layer at a time, which pairs of models share."""
    found: dict[int, Result] = {}
    depth = {model: {layer: place for place, layer in enumerate(stores.layers(model))} for model in stores.trained}
    of_data = _DataSet(stores, data, seed)
    for place in sorted(range(len(keys)), key=lambda each: depth[keys[each]["model_a"]][keys[each]["layer_a"]]):
        key = keys[place]
        content = [stores.content(key[f"model_{side}"], data, [key[f"layer_{side}"]]) for side in "ab"]
        control = _control(stores, usable, key)
        content += [stores.content(control, data, [key["layer_b"]])] if control else []
        made_from = {**key, "content": content, "seed": seed}
        found[place] = stores.memo.recall("pair", made_from, partial(of_data.rows, key, control))
        advance(1)
    return [found[place] for place in range(len(keys))]


def _jobs(stores: Stores, usable: Usable, data: str) -> Iterator[dict[str, str]]:
    for model_a, model_b in combinations(stores.trained, 2):
        for layer_a, layer_b in corresponding_layers(stores.layers(model_a), stores.layers(model_b)):
            if layer_a in usable[model_a] and layer_b in usable[model_b]:
                yield {"model_a": model_a, "model_b": model_b, "layer_a": layer_a, "layer_b": layer_b, "data": data}


def _control(stores: Stores, usable: Usable, key: dict[str, str]) -> str | None:
    """Return the control of the second model, where it has one with that layer."""
    control = stores.controls.get(key["model_b"])
    return control if control is not None and key["layer_b"] in usable[control] else None


class _DataSet:
    """A data set's layers as all pairs of models share them."""

    def __init__(self, stores: Stores, data: str, seed: int):
        self.stores, self.seed = stores, seed
        samples = stores.samples(data)
        self.n, self.groups = len(samples), stores.column(data, "group")
        self.counted = self.n if self.groups is None else len(np.unique(self.groups))
        named = samples[["id", "label", "group", "path"]].astype(object)
        self.samples = named.where(named.notna(), None).to_dict("records")
        self.whole = "sample" if self.groups is None else "group"  # what is left out for intervals
        parts = dict(_parts(self.n, self.groups, rng=seeding.child(seed, "convergence", data)))
        self.parts = {f"1/{part}": 1 / part for part in parts}
        self.layers = PreparedLayers(stores, data, ways_of(self.n, self.groups, dict(zip(self.parts, parts.values()))))
        self.ceilings: dict[tuple[str, str], float | None] = {}
        self.controls: dict[Place, float] = {}

    def rows(self, key: dict[str, str], control: str | None) -> Result:
        """Return the rows of a pair of layers."""
        place = (key["model_a"], key["layer_a"], key["model_b"], key["layer_b"])
        try:
            found = {unit: self.layers.estimate(place, unit) for unit in dict.fromkeys(("sample", self.whole))}
            of_control = None if control is None else self._control((*place[:2], control, place[3]))
        except ValueError as error:  # constant in these images, which may be a sample of those that told what is usable
            return Result([{"problem": str(error)}], {})
        rows = list(self._convergence(place, found[self.whole]))
        rows.append({
            "table": "scale", "metric": METRIC, "n": self.n, "value": found["sample"].value, "seeds": None, "null_mean": 0.0,
            "null_sd": cka_null_sd(self.counted) if self.counted >= 4 else None, "ceiling_a": self._ceiling(*place[:2]),
            "ceiling_b": self._ceiling(*place[2:]), "control": of_control,
        })  # fmt: skip
        X, Y = self.layers.features(*place[:2]), self.layers.features(*place[2:])
        for unit, estimate in found.items():
            try:
                influence = influence_of_estimate(estimate, X, Y, groups=self.groups if unit == "group" else None)
            except ValueError as error:
                rows.append({"problem": str(error).removeprefix("no influence: ")})
            else:
                rows += _influence(influence, unit, self.samples)
        if self.groups is not None:
            try:
                between = self.layers.estimate(place, "between")
            except ValueError as error:
                rows.append({"problem": f"without pairs within groups, {error}"})
            else:
                rows.append({"table": "similarity", "metric": "cka_between_groups", "n": self.n, "se": between.se,
                             **interval_columns(between)})  # fmt: skip
        return Result(rows, {})

    def _control(self, place: Place) -> float:
        if place not in self.controls:
            self.controls[place] = self.layers.estimate(place, "sample").value
        return self.controls[place]

    def _ceiling(self, model: str, layer: str) -> float | None:
        if (model, layer) not in self.ceilings:
            self.ceilings[model, layer] = _ceiling(self.layers.features(model, layer), self.seed, model, layer)
        return self.ceilings[model, layer]

    def _convergence(self, place: Place, whole: Estimate) -> Iterator[dict]:
        for way, part in self.parts.items():
            try:
                found = whole if part == 1 else self.layers.estimate(place, way)
            except ValueError:  # constant in so few images
                continue
            yield {"table": "convergence", "metric": METRIC, "n": found.n, "part": part, **interval_columns(found)}


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


def _parts(n: int, groups: np.ndarray | None, *, rng: np.random.Generator) -> Iterator[tuple[int, np.ndarray]]:
    """Yield what share of the images, or groups, is taken, and their rows; the last are all."""
    codes = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    order = rng.permutation(int(codes.max()) + 1)
    for part in PARTS:
        rows = np.flatnonzero(np.isin(codes, order[: len(order) // part]))
        if len(rows) >= LEAST or part == 1:
            yield part, rows


def _influence(found: CKAInfluence, unit: str, samples: list[dict]) -> Iterator[dict]:
    shared = {"metric": METRIC, "unit": unit, "value": found.estimate.value, "n": len(samples)}
    order = np.argsort(found.change, kind="stable")[:TOP_ROWS]
    for rank, place in enumerate(order[found.change[order] < 0].tolist(), start=1):
        sample = samples[place]
        named = {"name": sample["id"], "label": sample["label"], "group": sample["group"], "path": sample["path"]}
        if unit == "group":
            named = {"name": str(found.names[place]), "label": None, "group": str(found.names[place]), "path": None}
        change = float(found.change[place])
        yield {"table": "influence", **shared, "rank": rank, **named, "change": change,
               "value_without": found.estimate.value - change}  # fmt: skip
    yield {"table": "influence_summary", **shared, "n_units": len(found.change), "top_units": len(found.top),
           "top_share": found.top_share, "value_without_top": found.value_without_top}  # fmt: skip
