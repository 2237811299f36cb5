"""Which images make two data sets lie apart in the last layer, and which lie outside the other one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations

import numpy as np
import pandas as pd

from featurespace.metrics.gap_influence import conformal_p_values, mmd2_influence
from featurespace.progress import Progress, shortened
from featurespace.stats.comparison import benjamini_hochberg
from featurespace.tables.gap import groups_of
from featurespace.tables.memo import Result
from featurespace.tables.schema import GAP_INFLUENCE, validate
from featurespace.tables.stores import Stores

NEIGHBOURS = 5
COLUMNS = ("change", "witness", "p_outside", "p_outside_bh")


def gap_influence_table(stores: Stores, *, progress: Progress | None = None) -> pd.DataFrame:
    """Return one row an image of each two data sets, in the last layer of each trained model.

    ``change`` is the MMD² less the MMD² without the image: above 0 where the image widens the gap. ``witness`` is its
    mean likeness to the images of ``data_a`` less that to those of ``data_b`` (own group left out). ``p_outside`` is
    small where the image lies outside the other data set: its distance to the 5th neighbour there, ranked among the
    distances of that data set's own images; ``p_outside_bh`` the same after Benjamini-Hochberg over its data set.
    """
    progress = progress or Progress()
    parts: list[pd.DataFrame] = []
    failures: dict[str, list[str]] = {}
    for data_a, data_b in combinations(stores.data, 2):
        for model in stores.trained:
            layer = stores.layers(model)[-1]
            key = {"metric": "mmd2", "model": model, "layer": layer, "data_a": data_a, "data_b": data_b}
            content = [stores.content(model, data, [layer]) for data in (data_a, data_b)]
            try:
                result = stores.memo.recall(
                    "gapinfluence", {**key, "content": content}, partial(_influence, stores, key)
                )
            except ValueError as error:
                failures.setdefault(f"{data_a!r} to {data_b!r}: {error}", []).append(f"{model} {layer}")
                continue
            parts += _frames(stores, key, result)
    for reason, places in failures.items():
        progress.say(f"no images that make the gap for {shortened(places)}, {reason}")
    return validate(pd.concat(parts, ignore_index=True) if parts else [], GAP_INFLUENCE)


def _influence(stores: Stores, key: dict) -> Result:
    names = (key["data_a"], key["data_b"])
    X, Y = (np.asarray(stores.features(key["model"], data, key["layer"])) for data in names)
    groups = groups_of(stores, *names)
    found = mmd2_influence(X, Y, **groups)
    sides = {
        "a": (found.samples_x, found.witness_x, conformal_p_values(Y, X, k=NEIGHBOURS, groups_x=groups["groups_y"])),
        "b": (found.samples_y, found.witness_y, conformal_p_values(X, Y, k=NEIGHBOURS, groups_x=groups["groups_x"])),
    }
    return Result([], {name: np.stack([*each, benjamini_hochberg(each[2])], axis=1) for name, each in sides.items()})


def _frames(stores: Stores, key: dict, result: Result) -> Iterator[pd.DataFrame]:
    for side in "ab":
        data = key[f"data_{side}"]
        samples = stores.samples(data)
        named = samples[["label", "group", "path"]].reset_index(drop=True)
        values = pd.DataFrame(result.arrays[side], columns=list(COLUMNS))
        yield pd.concat([named, values], axis=1).assign(**key, data=data, name=samples["id"].to_numpy())
