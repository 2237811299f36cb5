"""The figures of a run, from whatever tables it has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd
from matplotlib.figure import Figure

from featurespace.files import safe_name
from featurespace.plots.convergence import cka_convergence
from featurespace.plots.depth import gap_by_depth, geometry_by_depth, probe_by_depth
from featurespace.plots.embedding import embedding_panels
from featurespace.plots.few_shot import accuracy_by_shots
from featurespace.plots.similarity import similarity_by_layer, similarity_heatmap


def figures(tables: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, Figure]]:
    """Yield the name and the figure of everything that the tables hold, in the order of the report."""
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
    embedding = tables.get("embedding")
    if embedding is not None and len(embedding):
        for data in dict.fromkeys(embedding["data"]):
            for method in dict.fromkeys(embedding["method"]):
                yield (
                    f"{method}_{safe_name(data)}",
                    embedding_panels(embedding, tables["embedding_quality"], data=data, method=method),
                )
