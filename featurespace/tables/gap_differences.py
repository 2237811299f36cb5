"""Whether two models see other gaps between the same two data sets."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np

from featurespace.metrics.kernel_test import PooledKernel, two_sample_estimate
from featurespace.stats.estimate import Estimate
from featurespace.tables.arms import arm_rows
from featurespace.tables.schema import interval_columns
from featurespace.tables.stores import Stores, compared_layers

Arrays = Mapping[tuple[str, str, str, str], Mapping[str, np.ndarray]]


def gap_differences(stores: Stores, rows: list[dict], arrays: Arrays) -> list[dict]:
    """Return, layer by layer, the difference of the MMD² that two models see, a later model less an earlier one; of arms too.

    A model is compared with the other trained models and with its own untrained control. The test leaves images (or
    groups) of both data sets out in turn, the same in both models.
    """
    values = {
        (row["model"], row["layer"], row["data_a"], row["data_b"]): row for row in rows if row["metric"] == "mmd2"
    }
    found = []
    for data_a, data_b in combinations(stores.data, 2):
        for pair in compared_layers(stores):
            places = [(*each, data_a, data_b) for each in pair]
            if all(place in values for place in places):
                found.append(_row(f"{data_a} to {data_b}", values, arrays, places))
        found += _arm_rows(stores, data_a, data_b, values, arrays)
    return found


def _arm_rows(stores: Stores, data_a: str, data_b: str, values: Mapping, arrays: Arrays) -> list[dict]:
    """Return, layer by layer, the MMD² that the models of a later arm see less that of an earlier one, on average."""
    means, nan = {}, float("nan")
    for place in [place for place in values if place[2:] == (data_a, data_b)]:
        row, kept = values[place], arrays[place]
        about = {name: row[name] for name in ("value", "ci_low", "ci_high", "unit", "n_groups", "interval", "level")}
        means[place[:2]] = Estimate(**about, se=nan, n=row["n_a"] + row["n_b"], leave_one_out=kept.get("leave_outs"))
        sizes, count_x = np.asarray(kept["sizes"], dtype=float), int(kept["count_x"])
    if not means:
        return []
    of = ("gap", "mmd2")
    return arm_rows(stores, f"{data_a} to {data_b}", means, sizes, of=of, count_x=count_x)


def _row(data: str, values: Mapping, arrays: Arrays, places: list[tuple[str, str, str, str]]) -> dict:
    (a, layer_a, *_), (b, layer_b, *_) = places
    rows, kept = [values[place] for place in places], [arrays[place] for place in places]
    count_x = int(kept[0]["count_x"])
    # without its cells the pooled kernel still knows the units
    units = PooledKernel(np.empty((0, 0)), kept[0]["sizes"], count_x, rows[0]["unit"], across=True)
    leave_out = [each.get("leave_outs", np.empty(0)) for each in kept]
    parts = np.split(leave_out[0] - leave_out[1], [count_x]) if all(map(len, leave_out)) else [np.empty(0)] * 2
    difference, p_value = two_sample_estimate(rows[0]["value"] - rows[1]["value"], parts, units, 0.95)
    return {
        "analysis": "gap", "metric": "mmd2", "data": data, "a": a, "b": b,
        "layer": layer_a if layer_a == layer_b else f"{layer_a} / {layer_b}", "p_value": p_value, "n": difference.n,
        "value_a": rows[0]["value"], "value_b": rows[1]["value"], **interval_columns(difference),
    }  # fmt: skip
