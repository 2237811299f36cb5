"""The figures of a run, from whatever tables it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd
from matplotlib.figure import Figure

from featurespace.data.predictions import ONE_ANSWER
from featurespace.files import safe_name
from featurespace.plots.agreement import who_knows_what
from featurespace.plots.convergence import cka_convergence
from featurespace.plots.depth import gap_by_depth, geometry_by_depth, probe_by_depth
from featurespace.plots.embedding import aligned_panels, embedding_panels
from featurespace.plots.few_shot import accuracy_by_shots
from featurespace.plots.pairwise import pairwise_pages
from featurespace.plots.results import convergence_bars, loss_curves, pretraining_colours, score_pages
from featurespace.plots.similarity import similarity_by_layer, similarity_heatmap
from featurespace.plots.weights import reuse_by_layer, uniqueness_by_layer
from featurespace.tables.convergence_time import PREFIX


def figures(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of everything that the tables hold, in the order of the report."""
    if "comparison" in tables:
        yield from _of_runs(tables)
    if "layers" in tables:
        yield from _of_features(tables)


def _of_runs(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    colours = pretraining_colours(tables["runs"]["pretraining"])
    for name, figure in pairwise_pages(tables["comparison"]):
        yield f"pairwise_{safe_name(name)}", figure
    summary = tables["runs_summary"]
    scores = summary[~summary["metric"].str.startswith(PREFIX)]  # times have a figure of their own
    for name, figure in score_pages(scores, tables["runs"]):
        yield f"scores_{safe_name(name)}", figure
    if "time_to_convergence" in tables:
        yield "time_to_convergence", convergence_bars(tables["time_to_convergence"], colours)
    if "agreement" in tables:
        table = tables["agreement"]
        for task, label in dict.fromkeys(zip(table["task"], table["label"])):
            name = f"who_knows_what_{safe_name(task)}" + ("" if label == ONE_ANSWER else f"_{safe_name(label)}")
            yield name, who_knows_what(table, task=task, label=label)
    if "loss_curves" in tables:
        yield "loss_curves_samples", loss_curves(tables["loss_curves"], colours)
        yield "loss_curves_epochs", loss_curves(tables["loss_curves"], colours, over="epoch")


def _of_features(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    layers = tables["layers"]
    similarity = tables.get("similarity")
    if similarity is not None and len(similarity):
        if layers["model"].nunique() > 1:
            yield "cka_by_layer", similarity_by_layer(similarity, layers)
        for data in dict.fromkeys(similarity["data"]):
            yield f"cka_heatmap_{safe_name(data)}", similarity_heatmap(similarity, layers, data=data)
    convergence = tables.get("convergence")
    if convergence is not None and len(convergence):
        yield "cka_convergence", cka_convergence(convergence)
    probe = tables.get("probe")
    if probe is not None and len(probe):
        yield "probe_by_depth", probe_by_depth(probe, layers)
    few = tables.get("few_shot")
    if few is not None and len(few):
        yield "few_shot", accuracy_by_shots(few, layers)
    gap = tables.get("domain_gap")
    if gap is not None and len(gap):
        yield "domain_gap_by_depth", gap_by_depth(gap, layers)
        yield "frechet_by_depth", gap_by_depth(gap, layers, metric="frechet_distance_corrected")
    geometry = tables.get("geometry")
    for metric in dict.fromkeys(geometry["metric"]) if geometry is not None else ():
        yield f"{metric}_by_depth", geometry_by_depth(geometry, layers, metric=metric)
    weights = tables.get("weights")
    if weights is not None and len(weights):
        if weights["metric"].str.startswith("feature_reuse").any():
            yield "feature_reuse", reuse_by_layer(weights, layers)
        if weights["metric"].str.startswith("feature_uniqueness").any():
            yield "feature_uniqueness", uniqueness_by_layer(weights, layers)
    aligned = tables.get("aligned_embedding")
    if aligned is not None and len(aligned):
        yield "aligned_umap", aligned_panels(aligned, tables["embedding_quality"])
    embedding = tables.get("embedding")
    if embedding is not None and len(embedding):
        for data in dict.fromkeys(embedding["data"]):
            for method in dict.fromkeys(embedding["method"]):
                yield (
                    f"{method}_{safe_name(data)}",
                    embedding_panels(embedding, tables["embedding_quality"], data=data, method=method),
                )
