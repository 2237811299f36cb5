"""The figures of a run, from whatever tables it has, and the rows that each shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from featurespace.data.predictions import ONE_ANSWER
from featurespace.files import safe_name
from featurespace.plots.agreement import who_knows_what
from featurespace.plots.convergence import cka_convergence
from featurespace.plots.depth import gap_by_depth, geometry_by_depth, probe_by_depth
from featurespace.plots.embedding import aligned_panels, embedding_panels
from featurespace.plots.few_shot import accuracy_by_shots
from featurespace.plots.many import is_many, shown_models
from featurespace.plots.pairwise import pairwise_pages
from featurespace.plots.results import convergence_bars, loss_curves, pretraining_colours, score_pages
from featurespace.plots.similarity import corresponding_rows, heatmap_pairs, similarity_by_layer, similarity_heatmap
from featurespace.plots.trajectory import steps_of, trajectory, trajectory_rows
from featurespace.plots.weights import reuse_by_layer, uniqueness_by_layer
from featurespace.tables.convergence_time import PREFIX


class Drawn(NamedTuple):
    """A figure, its name, and the rows of the tables that it shows."""

    name: str
    figure: Figure
    data: pd.DataFrame


def figures(tables: Mapping[str, pd.DataFrame]) -> Iterator[Drawn]:
    """Yield everything that can be drawn of what the tables hold, in the order of the report."""
    if "comparison" in tables:
        yield from _of_runs(tables)
    if "layers" in tables:
        yield from _of_features(tables)


def _of_runs(tables: Mapping[str, pd.DataFrame]) -> Iterator[Drawn]:
    colours = pretraining_colours(tables["runs"]["pretraining"])
    for name, figure, rows in pairwise_pages(tables["comparison"]):
        yield Drawn(f"pairwise_{safe_name(name)}", figure, rows)
    summary = tables["runs_summary"]
    scores = summary[~summary["metric"].str.startswith(PREFIX)]  # times have a figure of their own
    for name, figure, rows in score_pages(scores, tables["runs"]):
        yield Drawn(f"scores_{safe_name(name)}", figure, rows)
    if "time_to_convergence" in tables:
        times = tables["time_to_convergence"]
        yield Drawn("time_to_convergence", convergence_bars(times, colours), times)
    if "agreement" in tables:
        table = tables["agreement"]
        for task, label in dict.fromkeys(zip(table["task"], table["label"])):
            name = f"who_knows_what_{safe_name(task)}" + ("" if label == ONE_ANSWER else f"_{safe_name(label)}")
            rows = table[(table["task"] == task) & (table["label"] == label)]
            yield Drawn(name, who_knows_what(table, task=task, label=label), rows)
    if "loss_curves" in tables:
        losses = tables["loss_curves"]
        yield Drawn("loss_curves_samples", loss_curves(losses, colours), losses)
        yield Drawn("loss_curves_epochs", loss_curves(losses, colours, over="epoch"), losses)


def _of_features(tables: Mapping[str, pd.DataFrame]) -> Iterator[Drawn]:
    layers = tables["layers"]
    if (similarity := _filled(tables, "similarity")) is not None:
        if layers["model"].nunique() > 1:
            yield Drawn("cka_by_layer", similarity_by_layer(similarity, layers), corresponding_rows(similarity, layers))
        cka, pairs = similarity[similarity["metric"] == "cka_debiased"], set(heatmap_pairs(layers))
        cka = cka[[pair in pairs for pair in zip(cka["model_a"], cka["model_b"])]]
        for data in dict.fromkeys(similarity["data"]):
            figure = similarity_heatmap(similarity, layers, data=data)
            yield Drawn(f"cka_heatmap_{safe_name(data)}", figure, cka[cka["data"] == data])
        for data in dict.fromkeys(similarity["data"]) if steps_of(layers) else ():
            rows = trajectory_rows(similarity, layers, data=data)
            yield Drawn(f"trajectory_{safe_name(data)}", trajectory(similarity, layers, data=data), rows)
    if (convergence := _filled(tables, "convergence")) is not None:
        rows = convergence
        if is_many(layers):
            a, b = convergence[["model_a", "model_b"]].iloc[0]
            rows = convergence[(convergence["model_a"] == a) & (convergence["model_b"] == b)]
        yield Drawn("cka_convergence", cka_convergence(rows), rows)
    if (probe := _filled(tables, "probe")) is not None:
        rows = probe[(probe["probe"] == "linear") & (probe["metric"] == "accuracy")]
        yield Drawn("probe_by_depth", probe_by_depth(probe, layers), rows)
    if (few := _filled(tables, "few_shot")) is not None:
        yield Drawn("few_shot", accuracy_by_shots(few, layers), few[few["metric"] == "balanced_accuracy"])
    if (gap := _filled(tables, "domain_gap")) is not None:
        for name, metric in (("domain_gap_by_depth", "mmd2"), ("frechet_by_depth", "frechet_distance_corrected")):
            yield Drawn(name, gap_by_depth(gap, layers, metric=metric), gap[gap["metric"] == metric])
    if (geometry := _filled(tables, "geometry")) is not None:
        for metric in dict.fromkeys(geometry["metric"]):
            figure = geometry_by_depth(geometry, layers, metric=metric)
            yield Drawn(f"{metric}_by_depth", figure, geometry[geometry["metric"] == metric])
    if (weights := _filled(tables, "weights")) is not None:
        for name, draw in (("feature_reuse", reuse_by_layer), ("feature_uniqueness", uniqueness_by_layer)):
            rows = weights[weights["metric"].str.startswith(name)]
            if len(rows):
                yield Drawn(name, draw(weights, layers), rows)
    yield from _embeddings(tables)


def _embeddings(tables: Mapping[str, pd.DataFrame]) -> Iterator[Drawn]:
    layers = tables["layers"]
    models = shown_models(layers) if is_many(layers) else layers["model"].unique().tolist()
    if (aligned := _filled(tables, "aligned_embedding")) is not None:
        figure = aligned_panels(aligned, tables["embedding_quality"], models=models)
        yield Drawn("aligned_umap", figure, aligned[aligned["model"].isin(models)])
    if (embedding := _filled(tables, "embedding")) is not None:
        for data, method in dict.fromkeys(zip(embedding["data"], embedding["method"])):
            rows = embedding[(embedding["data"] == data) & (embedding["method"] == method)]
            figure = embedding_panels(embedding, tables["embedding_quality"], data=data, method=method, models=models)
            yield Drawn(f"{method}_{safe_name(data)}", figure, rows[rows["model"].isin(models)])


def _filled(tables: Mapping[str, pd.DataFrame], name: str) -> pd.DataFrame | None:
    table = tables.get(name)
    return table if table is not None and len(table) else None
