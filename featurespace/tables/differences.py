"""Which of the values differ: paired tests over the same images."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd

from featurespace.stats.comparison import holm
from featurespace.stats.estimate import Estimate
from featurespace.stats.paired import paired_jackknife
from featurespace.stats.resampling import jackknife_estimate, resampling_units
from featurespace.tables.arms import ANALYSIS, arm_rows, similarity_arm_rows
from featurespace.tables.schema import DIFFERENCES, interval_columns, validate
from featurespace.tables.stores import Stores, compared_layers, corresponding_layers
from featurespace.tables.streamed import block_sizes, is_streamed

FAMILY = ["analysis", "metric", "data", "a", "b"]  # Holm's correction is over the layers of one comparison


def with_holm(rows: list[dict]) -> pd.DataFrame:
    """Return the rows as the table, with p corrected over the layers of each comparison; of arms those of probes."""
    rows = [row for row in rows if row["analysis"] != ANALYSIS or row["of"] == "probe"]
    table = pd.DataFrame(rows, columns=[column for column in DIFFERENCES.columns if column != "p_holm"])
    corrected = table.groupby(FAMILY, sort=False)["p_value"].transform(lambda p: holm(p.to_numpy(float)))
    return validate(table.assign(p_holm=corrected.astype(float)), DIFFERENCES)


def cka_differences(stores: Stores, data: str, cka: Mapping[tuple[str, str, str, str], Estimate]) -> list[dict]:
    """Return, layer by layer, how much closer two models are than the first is to the untrained copy of the second, and of arms.

    ``cka`` holds the estimates by (model_a, model_b, layer_a, layer_b).
    """
    sizes = _sizes(stores, data, len(stores.samples(data)))
    rows = []
    for model_a, model_b in combinations(stores.trained, 2):
        control = stores.controls.get(model_b)
        if control is None:
            continue
        # The control has the layers of its model, so the same two layers are compared.
        for layer_a, layer_b in corresponding_layers(stores.layers(model_a), stores.layers(model_b)):
            first = cka.get((model_a, model_b, layer_a, layer_b))
            second = cka.get((model_a, control, layer_a, layer_b))
            if first is not None and second is not None:
                key = {"a": f"{model_a} / {model_b}", "b": f"{model_a} / {control}", "layer": _both(layer_a, layer_b)}
                rows.append(_row("similarity", "cka_debiased", data, key, first, second, sizes))
    return rows + similarity_arm_rows(stores, data, cka, sizes)


def probe_differences(
    stores: Stores,
    data: str,
    correct: Mapping[tuple[str, str], np.ndarray],
    groups: np.ndarray | None,
    baseline: tuple[str, str],
) -> list[dict]:
    """Return the differences in test accuracy between models, layer by layer, and of each layer to the baseline.

    ``correct`` holds, by (model, layer), which test images the linear probe got right; ``groups`` their groups.
    """
    rows = []
    means = {key: mean_estimate(values, groups) for key, values in correct.items()}
    n = len(next(iter(correct.values()))) if correct else 0
    sizes = np.bincount(resampling_units(groups, n)[0]) if groups is not None else None
    for (a, layer), (b, other) in compared_layers(stores):
        if (a, layer) in means and (b, other) in means:
            key = {"a": a, "b": b, "layer": _both(layer, other)}
            rows.append(_row("probe", "accuracy", data, key, means[a, layer], means[b, other], sizes))
    pixels = means.get(baseline)
    for (model, layer), mean in means.items():
        if pixels is not None and model != baseline[0]:
            key = {"a": model, "b": baseline[0], "layer": layer}
            rows.append(_row("probe", "accuracy", data, key, mean, pixels, sizes))
    return rows + arm_rows(stores, data, means, sizes, of=("probe", "accuracy"))


def mean_estimate(values: np.ndarray, groups: np.ndarray | None) -> Estimate:
    """Return the mean with its jackknife over samples, or over groups where there are groups."""
    codes, unit, count = resampling_units(groups, len(values))
    sizes = np.bincount(codes)
    sums = np.bincount(codes, weights=values.astype(float))
    if count == 1:
        reason = f"one {unit} in the test"
        return Estimate.without_interval(float(values.mean()), n=len(values), unit=unit, n_groups=1, reason=reason)
    leave_out = (sums.sum() - sums) / (len(values) - sizes)
    return jackknife_estimate(float(values.mean()), leave_out, n=len(values), sizes=sizes, unit=unit)


def _row(analysis: str, metric: str, data: str, key: dict, a: Estimate, b: Estimate, sizes: np.ndarray | None) -> dict:
    difference, p_value = paired_jackknife(a, b, sizes=sizes)
    values = {"value_a": a.value, "value_b": b.value, "p_value": p_value, "n": a.n}
    return {"analysis": analysis, "metric": metric, "data": data, **key, **values, **interval_columns(difference)}


def _sizes(stores: Stores, data: str, n: int) -> np.ndarray | None:
    if is_streamed(stores, data):
        sizes = block_sizes(stores, data)
        return sizes[sizes > 0]
    groups = stores.column(data, "group")
    return None if groups is None else np.bincount(resampling_units(groups, n)[0])


def _both(layer_a: str, layer_b: str) -> str:
    return layer_a if layer_a == layer_b else f"{layer_a} / {layer_b}"
