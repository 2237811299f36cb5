"""Whether ways of training, with several seeds each, differ by more than seeds and samples do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from featurespace.stats.arm_pairs import arm_similarity
from featurespace.stats.arms import arm_difference
from featurespace.stats.comparison import holm
from featurespace.stats.estimate import Estimate
from featurespace.tables.schema import ARMS, interval_columns, validate
from featurespace.tables.stores import Stores, corresponding_layers

ANALYSIS = "arms"


def arm_rows(
    stores: Stores,
    data: str,
    means: Mapping[tuple[str, str], Estimate],
    sizes: np.ndarray | None,
    *,
    of: tuple[str, str],
    count_x: int | None = None,
) -> list[dict]:
    """Return the differences between every two arms, layer by layer: a later arm less an earlier one.

    ``means`` holds the estimate of each (model, layer) with its values without each unit, ``sizes`` those of the units, of which
    ``count_x`` are of the first of two data sets; ``of`` names the analysis and the metric. Seeds and samples are separate
    sources of variation; an arm of one seed has no interval and no p.
    """
    rows = []
    for (name_b, first), (name_a, second) in combinations(stores.arms.items(), 2):
        for layer_b, layer_a in corresponding_layers(stores.layers(first[0]), stores.layers(second[0])):
            a = [means[model, layer_a] for model in second if (model, layer_a) in means]
            b = [means[model, layer_b] for model in first if (model, layer_b) in means]
            if len(a) < len(second) or len(b) < len(first):
                continue  # a layer without a value in one seed, as was said
            difference, p_value = arm_difference(a, b, sizes=sizes, count_x=count_x)
            key = {
                "of": of[0],
                "metric": of[1],
                "data": data,
                "layer": _both(layer_a, layer_b),
                "a": name_a,
                "b": name_b,
            }
            values = {
                f"value_{side}": float(np.mean([each.value for each in arm])) for side, arm in (("a", a), ("b", b))
            }
            rows.append(_row(key, "difference", difference, (len(a), len(b)), {"p_value": p_value, **values}))
    return rows


def similarity_arm_rows(
    stores: Stores, data: str, cka: Mapping[tuple[str, str, str, str], Estimate], sizes: np.ndarray | None
) -> list[dict]:
    """Return the CKA within and between every two arms, layer by layer, and whether between is below within.

    ``cka`` holds the estimates by (model_a, model_b, layer_a, layer_b). The p-value permutes models over arms.
    """
    either_way = {(b, a, of_b, of_a): each for (a, b, of_a, of_b), each in cka.items()} | dict(cka)
    rows = []
    for (name_b, first), (name_a, second) in combinations(stores.arms.items(), 2):
        for layer_b, layer_a in corresponding_layers(stores.layers(first[0]), stores.layers(second[0])):
            layers = dict.fromkeys(first, layer_b) | dict.fromkeys(second, layer_a)
            places = {(i, j): (i, j, layers[i], layers[j]) for i, j in combinations(layers, 2)}
            if any(place not in either_way for place in places.values()):
                continue  # a layer without CKA in one seed, as was said
            pairs = {models: either_way[place] for models, place in places.items()}
            found = arm_similarity(pairs, second, first, sizes=sizes)
            key = {"of": "similarity", "metric": "cka_debiased", "data": data, "layer": _both(layer_a, layer_b)}
            key |= {"a": name_a, "b": name_b}
            kinds = {"within_a": found.within_a, "within_b": found.within_b, "between": found.between}
            kinds["within_less_between"] = found.deficit
            for kind, estimate in kinds.items():
                if estimate is not None:
                    tested = kind == "within_less_between"
                    p = {"p_value": found.p_value, "p_least": found.least_p} if tested else {}
                    rows.append(_row(key, kind, estimate, (len(second), len(first)), p))
    return rows


def arms_table(rows: list[dict], earlier: pd.DataFrame | None, made: Collection[str]) -> pd.DataFrame:
    """Return the rows of all arms as the table, p corrected over the layers of each comparison.

    Rows of analyses that an earlier command made and this one did not are kept.
    """
    table = pd.DataFrame(rows, columns=["of", "a", "b", *ARMS.columns]).drop(
        columns=["analysis", "arm_a", "arm_b", "p_holm"]
    )
    table = table.rename(columns={"of": "analysis", "a": "arm_a", "b": "arm_b"})
    family = table.groupby([each for each in ARMS.key if each != "layer"], sort=False)["p_value"]
    table["p_holm"] = family.transform(lambda p: holm(p.to_numpy(float))).astype(float)
    kept = [] if earlier is None else [earlier[~earlier["analysis"].isin(list(made))]]
    return validate(pd.concat([*(each for each in kept if len(each)), table], ignore_index=True), ARMS)


def _row(key: dict, kind: str, found: Estimate, seeds: tuple[int, int], values: dict) -> dict:
    blank = {"p_value": np.nan, "p_least": np.nan, "value_a": np.nan, "value_b": np.nan}
    return {"analysis": ANALYSIS, **key, "kind": kind, "n": found.n, "seeds_a": seeds[0], "seeds_b": seeds[1],
            **blank, **values, **interval_columns(found)}  # fmt: skip


def _both(layer_a: str, layer_b: str) -> str:
    return layer_a if layer_a == layer_b else f"{layer_a} / {layer_b}"


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
