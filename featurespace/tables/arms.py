"""Whether ways of training, with several seeds each, differ by more than seeds and samples do."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from featurespace.stats.arms import arm_difference
from featurespace.stats.estimate import Estimate
from featurespace.tables.schema import interval_columns
from featurespace.tables.stores import Stores, corresponding_layers

ANALYSIS = "arms"


def arm_rows(
    stores: Stores, data: str, means: Mapping[tuple[str, str], Estimate], sizes: np.ndarray | None, *, metric: str
) -> list[dict]:
    """Return the differences between every two arms, layer by layer: a later arm less an earlier one.

    ``means`` holds the estimate of each (model, layer) with its values without each unit, ``sizes`` those of the units.
    Seeds and samples are separate sources of variation; an arm of one seed has no interval and no p.
    """
    rows = []
    for (name_a, first), (name_b, second) in combinations(stores.arms.items(), 2):
        for layer_a, layer_b in corresponding_layers(stores.layers(first[0]), stores.layers(second[0])):
            a = [means[model, layer_a] for model in first if (model, layer_a) in means]
            b = [means[model, layer_b] for model in second if (model, layer_b) in means]
            if len(a) < len(first) or len(b) < len(second):
                continue  # a layer without a value in one seed, as was said
            difference, p_value = arm_difference(b, a, sizes=sizes)
            values = {"value_a": float(np.mean([each.value for each in b])),
                      "value_b": float(np.mean([each.value for each in a]))}  # fmt: skip
            layer = layer_a if layer_a == layer_b else f"{layer_b} / {layer_a}"
            rows.append({"analysis": ANALYSIS, "metric": metric, "data": data, "layer": layer, "a": name_b, "b": name_a,
                         "p_value": p_value, "n": difference.n, **values, **interval_columns(difference)})  # fmt: skip
    return rows


def with_seeds(scale: pd.DataFrame, similarity: pd.DataFrame, stores: Stores) -> pd.DataFrame:
    """Return the scale with ``seeds``: the mean CKA between seeds of the arms of the two models, at the same layers.

    It is what two trainings of one kind reach, and so the ceiling for those of two kinds; missing where no arm of the
    two models has two seeds.
    """
    within: dict[tuple[str, str, str], list[float]] = {}
    for row in similarity[similarity["metric"] == "cka_debiased"].itertuples():
        arm = stores.arm_of.get(row.model_a)
        if row.model_a != row.model_b and arm and arm == stores.arm_of.get(row.model_b) and row.layer_a == row.layer_b:
            within.setdefault((arm, row.layer_a, row.data), []).append(row.value)

    def of_row(row: pd.Series) -> float:
        sides = [(stores.arm_of.get(row[f"model_{side}"]), row[f"layer_{side}"], row["data"]) for side in "ab"]
        means = [np.mean(within[side]) for side in dict.fromkeys(sides) if side in within]
        return float(np.mean(means)) if means else np.nan

    return scale.assign(seeds=[of_row(row) for _, row in scale.iterrows()]).astype({"seeds": "float64"})
