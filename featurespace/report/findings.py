"""One plain sentence for each finding, chosen by interval or p, and traceable to its rows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

import pandas as pd

from featurespace.run import Run
from featurespace.stats.comparison import holm
from featurespace.tables.stores import corresponding_layers

ALPHA = 0.05


class Finding(NamedTuple):
    """A sentence, the table it comes from, and whether a difference is shown."""

    table: str
    data: str
    sentence: str
    shown: bool


def findings(run: Run) -> list[Finding]:
    """Return the findings of a run in reading order.

    A difference counts as shown where two 95 % intervals do not overlap, or where p (Holm-corrected over the layers)
    is at most 0.05; otherwise the sentence says "no difference shown". Intervals that overlap can still hide a
    difference: the rule is conservative.
    """
    tables, layers = run.tables, run.tables["layers"]
    found: list[Finding] = []
    for name, describe in (("similarity", _similarity), ("probe", _probe), ("domain_gap", _gap)):
        if name in tables and len(tables[name]):
            found += describe(tables[name], layers)
    return found


def number(value: float, digits: int = 3) -> str:
    """Return a value with ``digits`` decimals, or with as many significant digits where it is small."""
    if pd.isna(value):
        return "not estimated"
    if value != 0 and abs(value) < 0.5 * 10.0**-digits:
        return f"{value:.{digits - 1}e}"
    return f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:,.0f}"


def with_interval(row: pd.Series) -> str:
    """Return e.g. ``0.812 (0.790 to 0.834)``; without an interval, the reason."""
    if pd.isna(row["ci_low"]):
        reason = str(row["interval"]).removeprefix("none: ")
        return f"{number(row['value'])} (no interval: {reason})"
    return f"{number(row['value'])} ({number(row['ci_low'])} to {number(row['ci_high'])})"


def count_of(row: pd.Series) -> str:
    """Return e.g. ``n = 2,100 images in 108 groups``."""
    if "n" in row:
        images = f"{row['n']:,} images"
    elif "n_a" in row:
        images = f"{row['n_a']:,} and {row['n_b']:,} images"
    else:
        images = f"{row['n_train']:,} training and {row['n_test']:,} test images"
    return f"n = {images}" + (f" in {row['n_groups']:,} groups" if row["unit"] == "group" and pd.notna(row["n_groups"]) else "")


def _apart(a: pd.Series, b: pd.Series) -> int:
    """Return 1 if a lies above b, -1 if below, 0 if the intervals overlap or one is missing."""
    if a["ci_low"] > b["ci_high"]:
        return 1
    return -1 if a["ci_high"] < b["ci_low"] else 0


def _names(layers: pd.DataFrame, role: str) -> list[str]:
    return list(dict.fromkeys(layers.loc[layers["role"] == role, "model"]))


def _layers_of(layers: pd.DataFrame, model: str) -> list[str]:
    return layers[layers["model"] == model].sort_values("depth")["layer"].tolist()


def _diagonal(rows: pd.DataFrame, layers: pd.DataFrame, model_a: str, model_b: str) -> pd.DataFrame:
    pairs = corresponding_layers(_layers_of(layers, model_a), _layers_of(layers, model_b))
    between = rows[(rows["model_a"] == model_a) & (rows["model_b"] == model_b)].set_index(["layer_a", "layer_b"])
    return between.loc[[pair for pair in pairs if pair in between.index]].reset_index()


def _similarity(table: pd.DataFrame, layers: pd.DataFrame) -> Iterator[Finding]:
    table = table[table["metric"] == "cka_debiased"]
    models, controls = _names(layers, "model"), _names(layers, "control")
    for data in dict.fromkeys(table["data"]):
        rows = table[table["data"] == data]
        for model_a, model_b in combinations(models, 2):
            pair = _diagonal(rows, layers, model_a, model_b)
            if not len(pair):
                continue
            yield _change_over_depth(pair, model_a, model_b, data)
            for control in controls:
                yield _against_control(pair, _diagonal(rows, layers, model_a, control), model_a, model_b, control, data)


def _change_over_depth(pair: pd.DataFrame, model_a: str, model_b: str, data: str) -> Finding:
    least, most = pair.loc[pair["value"].idxmin()], pair.loc[pair["value"].idxmax()]
    if _apart(most, least) == 1:
        sentence = (
            f"On {data}, {model_a} and {model_b} are least alike in {_layer(least)}, linear CKA {with_interval(least)}, "
            f"and most alike in {_layer(most)}, {with_interval(most)}; {count_of(least)}."
        )
        return Finding("similarity", data, sentence, True)
    sentence = (
        f"On {data}, no difference between layers is shown in how alike {model_a} and {model_b} are: linear CKA runs from "
        f"{with_interval(least)} in {_layer(least)} to {with_interval(most)} in {_layer(most)}; {count_of(least)}."
    )
    return Finding("similarity", data, sentence, False)


def _against_control(
    pair: pd.DataFrame, control_pair: pd.DataFrame, model_a: str, model_b: str, control: str, data: str
) -> Finding:
    both = pair.merge(control_pair, on="layer_a", suffixes=("", "_control"))
    above = int((both["ci_low"] > both["ci_high_control"]).sum())
    sentence = (
        f"On {data}, {model_b} is closer to {model_a} than {control} (random weights) is in {above} of {len(both)} layers"
        + (" (intervals apart)." if above == len(both) else "; in the others no such difference is shown.")
    )
    return Finding("similarity", data, sentence, above > 0)


def _layer(row: pd.Series) -> str:
    return row["layer_a"] if row["layer_a"] == row["layer_b"] else f"{row['layer_a']} / {row['layer_b']}"


def _probe(table: pd.DataFrame, layers: pd.DataFrame) -> Iterator[Finding]:
    table = table[(table["probe"] == "linear") & (table["metric"] == "accuracy")]
    models, controls = _names(layers, "model"), _names(layers, "control")
    for data in dict.fromkeys(table["data"]):
        rows = table[table["data"] == data]
        last = {model: _last_row(rows, layers, model) for model in [*models, *controls]}
        for model_a, model_b in combinations(models, 2):
            if last[model_a] is not None and last[model_b] is not None:
                yield _probe_pair(last[model_b], last[model_a], data, f"the last layer of {model_b}", f"that of {model_a}")
        pixels = rows[rows["model"] == "pixels"]
        for model in [*models, *controls]:
            if last[model] is not None and len(pixels):
                yield _probe_pair(last[model], pixels.iloc[0], data, f"the last layer of {model}", "raw pixels")


def _last_row(rows: pd.DataFrame, layers: pd.DataFrame, model: str) -> pd.Series | None:
    names = _layers_of(layers, model)
    found = rows[(rows["model"] == model) & (rows["layer"] == names[-1])]
    return found.iloc[0] if len(found) else None


def _probe_pair(a: pd.Series, b: pd.Series, data: str, name_a: str, name_b: str) -> Finding:
    order = _apart(a, b)
    words = {1: "reads the class better from", -1: "reads the class worse from"}
    values = f"test accuracy {with_interval(a)} against {with_interval(b)}; {count_of(a)}; chance {number(a['chance'])}"
    if order:
        return Finding("probe", data, f"On {data}, a linear probe {words[order]} {name_a} than from {name_b}: {values}.", True)
    return Finding("probe", data, f"On {data}, no difference is shown between a linear probe on {name_a} and on {name_b}: {values}.", False)


def _gap(table: pd.DataFrame, layers: pd.DataFrame) -> Iterator[Finding]:
    table = table[table["metric"] == "mmd2"]
    for (data_a, data_b), rows in table.groupby(["data_a", "data_b"], sort=False):
        for model in [*_names(layers, "model"), *_names(layers, "control")]:
            of_model = rows[rows["model"] == model].set_index("layer").reindex(_layers_of(layers, model)).dropna(subset=["value"])
            if not len(of_model):
                continue
            of_model = of_model.assign(p_holm=holm(of_model["p_value"].to_numpy()))
            apart = int((of_model["p_holm"] <= ALPHA).sum())
            largest = of_model.loc[of_model["value"].idxmax()]
            where = f"largest in {of_model['value'].idxmax()}, MMD² {with_interval(largest)}, p = {number(largest['p_holm'])}; {count_of(largest)}"
            lead = (
                f"{data_a} and {data_b} lie apart in {apart} of {len(of_model)} layers of {model} (permutation test, Holm over layers)"
                if apart
                else f"No difference is shown between {data_a} and {data_b} in any layer of {model} (permutation test, Holm over layers)"
            )
            yield Finding("domain_gap", f"{data_a}, {data_b}", f"{lead}; {where}.", apart > 0)
