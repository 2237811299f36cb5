"""The tables that the report shows, of numbers as text."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pandas as pd

from featurespace.plots.many import MANY, MOST_PANELS, is_many, shown_models
from featurespace.report.arms import arm_tables
from featurespace.report.numbers import number, with_interval
from featurespace.report.weights import weights_tables
from featurespace.run import Run
from featurespace.tables.stores import corresponding_layers

PAIRS_SHOWN = 20  # of leakage
PAIR = ["model_a", "model_b", "layer_a", "layer_b"]
MEASURES = {
    "cka_debiased": "linear CKA", "cka_between_groups": "CKA between groups", "cka_rbf_debiased": "RBF CKA",
    "procrustes_distance": "Procrustes distance", "mutual_knn": "mutual kNN", "distance_correlation": "distance correlation",
    "rsa": "RSA", "cca": "CCA", "svcca": "SVCCA", "pwcca": "PWCCA", "shape_angle": "shape angle",
    "knn_jaccard": "kNN Jaccard", "linear_predictivity": "linear predictivity",
}  # fmt: skip
SCALE_COLUMNS = {
    "null_sd": "sd of CKA by chance",
    "control": "CKA with untrained",
    "ceiling": "CKA of own halves",
    "seeds": "CKA of seeds",
}


def report_tables(run: Run, name: str) -> Iterator[dict[str, Any]]:
    """Yield title, columns and rows of the tables of the chapter that is named after a table of the run."""
    table = run.tables[name]
    if name == "leakage":
        if (table["pairs"].fillna(0) > 0).any():
            yield from _leakage(table, run.tables["leakage_pairs"])
    elif name == "similarity":
        for data in dict.fromkeys(table["data"]):
            yield _similarity_by_layer(run, table[table["data"] == data], data)
    elif name == "influence_summary":
        yield from _influence(run)
    elif name == "probe":
        rows = table[(table["probe"] == "linear") & (table["metric"] == "accuracy")]
        for data in dict.fromkeys(rows["data"]):
            yield _by_model(rows[rows["data"] == data], f"Linear probe on {data}, test accuracy (95 % interval)")
        yield from _learning(run)
    elif name == "domain_gap":
        for metric, title in (("mmd2", "MMD²"), ("frechet_distance_corrected", "Fréchet distance, corrected")):
            for pair, rows in table[table["metric"] == metric].groupby(["data_a", "data_b"], sort=False):
                yield _by_model(rows, f"{title} between {pair[0]} and {pair[1]} (95 % interval)")
        if "gap_influence" in run.tables:
            shown = shown_models(run.tables["layers"])
            influence = run.tables["gap_influence"]
            yield from _outermost(influence[influence["model"].isin(shown)])
    elif name == "geometry":
        for (metric, data), rows in table.groupby(["metric", "data"], sort=False):
            yield _by_model(rows, f"{metric.replace('_', ' ')} on {data} (95 % interval)")
    elif name == "weights":
        yield from weights_tables(table)
    elif name == "arms":
        yield from arm_tables(table)
    elif name == "embedding":
        quality = run.tables["embedding_quality"]
        yield {
            "title": "Trustworthiness of the pictures (k = 10)", "columns": ["data", "model", "method", "value", "n"],
            "rows": [[row.data, row.model, row.method, number(row.value), f"{row.n:,}"] for row in quality.itertuples()],
        }  # fmt: skip


def _leakage(counts: pd.DataFrame, pairs: pd.DataFrame) -> Iterator[dict[str, Any]]:
    yield {
        "title": "What is shared", "columns": ["a", "b", "what", "pairs", "images of a", "images of b"],
        "rows": [[row.a, row.b, row.kind, *map(_known, (row.pairs, row.shared_a, row.shared_b))] for row in counts.itertuples()],
    }  # fmt: skip
    yield {
        "title": f"Which: the first {min(len(pairs), PAIRS_SHOWN)} of {len(pairs):,} in the table leakage_pairs",
        "columns": ["a", "b", "what", "image of a", "image of b", "correlation"],
        "rows": [[row.a, row.b, row.kind, row.sample_a, row.sample_b, number(row.likeness) if row.likeness == row.likeness else ""]
                 for row in pairs.head(PAIRS_SHOWN).itertuples()],
    }  # fmt: skip


def _known(count: Any) -> str:
    return "not known" if pd.isna(count) else f"{count:,}"


def _influence(run: Run) -> Iterator[dict[str, Any]]:
    """Name the images and groups of the layer of each pair of models that the most influential ones move most.

    Of many models, of those pairs with the first that they move most.
    """
    summary, influence = run.tables["influence_summary"], run.tables["influence"]
    summary = summary.assign(rise=summary["value_without_top"] - summary["value"])
    if is_many(run.tables["layers"]):
        first = run.tables["layers"]["model"].iloc[0]
        rises = summary[summary["model_a"] == first].groupby(["model_a", "model_b"], as_index=False)["rise"].max()
        told = rises.nlargest(MOST_PANELS, "rise")
        summary, influence = (told[["model_a", "model_b"]].merge(table) for table in (summary, influence))
        yield {
            "title": f"The {len(told)} of {len(rises):,} models whose CKA with {first} the most influential images change most",
            "columns": ["model", "largest change"],
            "rows": [[row["model_b"], number(row["rise"])] for _, row in told.iterrows()],
        }
    for (data, a, b, unit), pair in summary.groupby(["data", "model_a", "model_b", "unit"], sort=False):
        most = pair.loc[pair["rise"].idxmax()]
        rows = influence.merge(most[["data", "model_a", "model_b", "unit", "layer_a", "layer_b"]].to_frame().T)
        named = "image" if unit == "sample" else "group"
        yield {
            "title": f"The {named}s that lower CKA of {a} and {b} most on {data}, in {most['layer_a']}",
            "columns": [named, "label", "group", "CKA without it", "change"],
            "rows": [[row.name_, row.label, row.group, number(row.value_without, 4), number(row.change, 4)]
                     for row in rows.rename(columns={"name": "name_"}).fillna("").itertuples()],
        }  # fmt: skip


def _outermost(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Name the images of each data set that lie furthest from the other one in each model's last layer."""
    for (model, data_a, data_b), rows in table.groupby(["model", "data_a", "data_b"], sort=False):
        for data, other, sign in ((data_a, data_b, -1), (data_b, data_a, 1)):
            own = rows[rows["data"] == data]
            first = own.assign(order=sign * own["witness"]).sort_values(["p_outside", "order"]).head(20)
            yield {
                "title": f"The images of {data} furthest from {other} in the last layer of {model}",
                "columns": ["image", "label", "group", "p of lying outside", "witness", "change of MMD²"],
                "rows": [[row.name_, row.label, row.group, number(row.p_outside), number(row.witness), number(row.change, 5)]
                         for row in first.rename(columns={"name": "name_"}).fillna("").itertuples()],
            }  # fmt: skip


def _learning(run: Run) -> Iterator[dict[str, Any]]:
    """Show what shuffled labels and few labelled images give in the last layer."""
    if "probe_control" in run.tables:
        rows = run.tables["probe_control"]
        yield {
            "title": "Ridge probe on the last layer, and on shuffled training labels",
            "columns": ["data", "model", "accuracy", "on shuffled labels", "difference (95 % interval)", "p"],
            "rows": [[row["data"], row["model"], number(row["accuracy"]), number(row["shuffled"]), with_interval(row),
                      number(row["p_value"])] for _, row in rows.iterrows()],
        }  # fmt: skip
    if "few_shot" in run.tables:
        table = run.tables["few_shot"]
        for data, rows in table[table["metric"] == "accuracy"].groupby("data", sort=False):
            unit = "groups" if rows["unit"].iloc[0] == "group" else "images"
            of_shots = rows.assign(layer=[f"{shots:,} {unit} a class" for shots in rows["shots"]])
            title = f"Ridge probe on the last layer with few training {unit} on {data}"
            yield _by_model(of_shots, f"{title}, accuracy (95 % interval)")


def _by_model(rows: pd.DataFrame, title: str) -> dict[str, Any]:
    models = list(dict.fromkeys(rows["model"]))
    names = list(dict.fromkeys(rows["layer"]))
    cells = {(row["model"], row["layer"]): with_interval(row) for _, row in rows.iterrows()}
    if len(models) > MANY:
        lines = [[model, *(cells.get((model, layer), "") for layer in names)] for model in models]
        return {"title": title, "columns": ["model", *names], "rows": lines}
    return {
        "title": title, "columns": ["layer", *models],
        "rows": [[layer, *(cells.get((model, layer), "") for model in models)] for layer in names],
    }  # fmt: skip


def _similarity_by_layer(run: Run, rows: pd.DataFrame, data: str) -> dict[str, Any]:
    """Show every measure of corresponding layers, and beside CKA what it can be compared with.

    Of many models, those of the first with each other one.
    """
    layers = run.tables["layers"]
    models = list(dict.fromkeys(layers["model"]))
    pairs = list(combinations(models, 2))
    if is_many(layers):
        pairs = [(models[0], model) for model in models[1:]]
        rows = rows[rows["model_a"] == models[0]]
    values = {
        (row["metric"], row["model_a"], row["model_b"], row["layer_a"], row["layer_b"]): row
        for _, row in rows.iterrows()
    }
    scale = run.tables["scale"] if "scale" in run.tables else pd.DataFrame(columns=["data", *PAIR])
    scales = scale[scale["data"] == data].set_index(PAIR)
    measures = list(dict.fromkeys(rows["metric"]))
    measures.sort(key=lambda metric: not metric.startswith("cka"))  # those first
    names = {model: layers[layers["model"] == model]["layer"].tolist() for model in models}
    lines = []
    for model_a, model_b in pairs:
        for layer_a, layer_b in corresponding_layers(names[model_a], names[model_b]):
            place = (model_a, model_b, layer_a, layer_b)
            found = [values.get((metric, *place)) for metric in measures]
            if found[0] is None:
                continue
            beside = scales.loc[place] if place in scales.index else None
            worth = ["" if beside is None else _worth(beside, column) for column in SCALE_COLUMNS]
            cells = ["" if row is None else with_interval(row) for row in found]
            layer = layer_a if layer_a == layer_b else f"{layer_a} / {layer_b}"
            lines.append([f"{model_a} / {model_b}", layer, cells[0], *worth, *cells[1:]])
    whose = f" of {models[0]} and each other model" if is_many(layers) else ""
    return {
        "title": f"Corresponding layers{whose} on {data}, n = {int(rows['n'].iloc[0]):,} (95 % intervals)",
        "columns": ["models", "layer", MEASURES.get(measures[0], measures[0]), *SCALE_COLUMNS.values(),
                    *(MEASURES.get(metric, metric) for metric in measures[1:])],
        "rows": lines,
    }  # fmt: skip


def _worth(beside: pd.Series, column: str) -> str:
    if column == "ceiling":
        values = beside[["ceiling_a", "ceiling_b"]].dropna()
        return number(values.mean()) if len(values) else ""
    return "" if pd.isna(beside[column]) else number(beside[column])
