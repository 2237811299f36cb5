"""Figures of the table of weights: reuse and uniqueness of filters by layer."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from featurespace.plots.many import Panel, heatmaps, is_many
from featurespace.plots.style import (
    PAGE_MM,
    PALETTE,
    controls,
    draw_line,
    label_layers,
    legend_below,
    mark,
    model_colours,
    new_figure,
    styled,
    trained,
)

NAMES = {"feature_reuse": "feature reuse, RBF CKA of filters", "feature_uniqueness": "feature uniqueness, 8 splits"}
PLAIN, DEBIASED = "as published", "debiased"


@styled
def reuse_by_layer(table: pd.DataFrame, layers: pd.DataFrame) -> Figure:
    """Draw how alike the filters of two models are in each layer, as published and debiased, with intervals over filters.

    Two or three models: every pair; more: the first with each other one, and the means of arms. Dashed: with an untrained copy.
    """
    rows = table[table["metric"].str.startswith("feature_reuse")]
    first = trained(layers)[0]
    pairs = list(dict.fromkeys(zip(rows["model_a"], rows["model_b"])))
    if len(trained(layers)) > 3:
        several = set(zip(rows.loc[rows["runs"] > 1, "model_a"], rows.loc[rows["runs"] > 1, "model_b"]))
        pairs = [pair for pair in pairs if first in pair or pair in several]
    if is_many(layers):
        pairs = [(first, model) for model in (*trained(layers)[1:], *controls(layers))]
        return _heatmaps(rows, "feature_reuse", {b: (a, b) for a, b in pairs}, layers, f", with {first}")
    colours, untrained = model_colours(layers), controls(layers)
    lines = []
    for a, b in pairs:
        # as in the figure of CKA: a pair has the colour of the model that the first one is compared with
        of = b if b in untrained or a == first else first
        colours.setdefault(of, PALETTE[len(colours) % len(PALETTE)])  # an arm
        lines.append((a, b, list(colours).index(of), colours[of], b in untrained))
    return _panels(rows, "feature_reuse", lines)


@styled
def uniqueness_by_layer(table: pd.DataFrame, layers: pd.DataFrame) -> Figure:
    """Draw how little the filters of each layer resemble each other, as published and debiased, one line a model."""
    rows = table[table["metric"].str.startswith("feature_uniqueness") & (table["runs"] == 1)]
    if is_many(layers):
        models = {model: (model, model) for model in (*trained(layers), *controls(layers))}
        return _heatmaps(rows, "feature_uniqueness", models, layers)
    colours, untrained = model_colours(layers), controls(layers)
    lines = [
        (model, model, number, colours[model], model in untrained)
        for number, model in enumerate(colours)
        if model in set(rows["model_a"])
    ]
    return _panels(rows, "feature_uniqueness", lines)


def _heatmaps(
    rows: pd.DataFrame, metric: str, names: dict[str, tuple[str, str]], layers: pd.DataFrame, end: str = ""
) -> Figure:
    places = list(dict.fromkeys(rows["layer"]))
    panels = []
    for suffix, title in (("", PLAIN), ("_debiased", DEBIASED)):
        values = rows[rows["metric"] == metric + suffix].drop_duplicates(["model_a", "model_b", "layer"])
        values = values.pivot(index=["model_a", "model_b"], columns="layer", values="value")
        values = values.reindex(index=pd.MultiIndex.from_tuples(names.values()), columns=places)
        panels.append(Panel(title, places, dict(zip(names, values.to_numpy(float)))))
    return heatmaps(panels, label=f"{NAMES[metric]}{end}", apart=len(controls(layers)))


def _panels(rows: pd.DataFrame, metric: str, lines: list[tuple[str, str, int, str, bool]]) -> Figure:
    figure = new_figure(PAGE_MM, 84)
    panels = figure.subplots(1, 2, sharey=True)
    names = list(dict.fromkeys(rows["layer"]))
    for axes, (suffix, title) in zip(panels, (("", PLAIN), ("_debiased", DEBIASED))):
        of_metric = rows[rows["metric"] == metric + suffix]
        for a, b, number, colour, dashed in lines:
            line = of_metric[(of_metric["model_a"] == a) & (of_metric["model_b"] == b)]
            line = line.drop_duplicates("layer").set_index("layer").reindex(names)
            label = a if a == b else f"{a} / {b}"
            draw_line(axes, range(len(names)), line, colour=colour, label=label, dashed=dashed,
                      mark=mark(number))  # fmt: skip
        axes.set_title(f"{title}; band: 95 % by filter" if of_metric["ci_low"].notna().any() else title)
        label_layers(axes, names, room_mm=PAGE_MM * 0.42)
        axes.grid(axis="y", linewidth=0.3, alpha=0.5)
    panels[0].set_ylabel(NAMES[metric])
    legend_below(figure, panels[0])
    return figure
