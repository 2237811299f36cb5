"""Figures of the embedding table."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from featurespace.plots.many import part_of
from featurespace.plots.style import (
    CONTROL,
    MARKERS,
    MAX_CLASSES,
    PAGE_MM,
    PALETTE,
    legend_below,
    new_figure,
    panel_grid,
    styled,
)

TITLE_CHARACTERS = 34  # a line of a panel's title
METHOD_NAMES = {"umap": "UMAP", "pca": "PCA"}


@styled
def embedding_panels(
    table: pd.DataFrame, quality: pd.DataFrame, *, data: str, method: str = "umap", models: Sequence[str] | None = None
) -> Figure:
    """Draw the images of one data set as points, one panel a model, coloured by label, with trustworthiness.

    ``models`` are those shown; by default all.
    """
    rows, models, part = _part(table[(table["data"] == data) & (table["method"] == method)], models, "embedding")
    down, across = panel_grid(len(models), across=3)
    figure = new_figure(PAGE_MM, 14 + down * (PAGE_MM / across + 4))
    panels = figure.subplots(down, across, squeeze=False)
    labels = sorted(rows["label"].dropna().unique())
    palette = matplotlib.colormaps["tab10" if len(labels) <= 10 else "tab20"]
    colours = {label: palette(index % palette.N) for index, label in enumerate(labels)}
    size = max(0.8, min(6.0, 3000 / max(1, len(rows) / len(models))))
    for axes, model in zip(panels.flat, models):
        points = rows[rows["model"] == model]
        trust = quality[(quality["model"] == model) & (quality["data"] == data) & (quality["method"] == method)][
            "value"
        ].iloc[0]
        for label in labels:
            of_label = points[points["label"] == label]
            axes.scatter(of_label["x"], of_label["y"], s=size, color=colours[label], linewidths=0, label=label)
        unlabelled = points[points["label"].isna()]
        axes.scatter(unlabelled["x"], unlabelled["y"], s=size, color="0.5", linewidths=0)
        _frame(axes, points, trust)
    for axes in list(panels.flat)[len(models) :]:
        axes.set_axis_off()
    if 0 < len(labels) <= MAX_CLASSES:
        legend_below(figure, panels[0, 0], markerscale=2.5)
    figure.suptitle(f"{METHOD_NAMES[method]} of {data}{part}", fontsize=8, x=0.01, ha="left")
    return figure


@styled
def aligned_panels(table: pd.DataFrame, quality: pd.DataFrame, *, models: Sequence[str] | None = None) -> Figure:
    """Draw the images of all data sets in one panel a model, coloured by label, a marker a data set.

    ``table`` is `aligned_embedding`; the same place in two panels means the same only as far as the layouts agree.
    ``models`` are those shown; by default all.
    """
    table, models, part = _part(table, models, "aligned_embedding")
    domains = list(dict.fromkeys(table["data"]))
    down, across = panel_grid(len(models), across=3)
    figure = new_figure(PAGE_MM, 18 + down * (PAGE_MM / across + 4))
    panels = figure.subplots(down, across, squeeze=False)
    kinds = table[["data", "label"]].drop_duplicates().sort_values(["data", "label"], kind="stable")
    labels = sorted(kinds["label"].dropna().unique())
    colours = {label: PALETTE[index % len(PALETTE)] for index, label in enumerate(labels)}
    for axes, model in zip(panels.flat, models):
        points = table[table["model"] == model]
        for data, label in kinds.itertuples(index=False):
            own = points[
                points["data"].eq(data) & (points["label"].isna() if pd.isna(label) else points["label"].eq(label))
            ]
            name = data if pd.isna(label) else f"{data}, {label}"
            axes.scatter(own["x"], own["y"], s=5, color=CONTROL if pd.isna(label) else colours[label], linewidths=0.2,
                         edgecolors="0.2", marker=MARKERS[domains.index(data) % len(MARKERS)], label=name)  # fmt: skip
        trust = quality.loc[quality["method"].eq("aligned_umap") & quality["model"].eq(model), "value"].iloc[0]
        _frame(axes, points, trust)
    for axes in list(panels.flat)[len(models) :]:
        axes.set_axis_off()
    if len(kinds) <= MAX_CLASSES:
        legend_below(figure, panels[0, 0], markerscale=2)
    figure.suptitle(f"UMAP of all data sets together, aligned over the models{part}", fontsize=8, x=0.01, ha="left")
    return figure


def _part(rows: pd.DataFrame, models: Sequence[str] | None, table: str) -> tuple[pd.DataFrame, list[str], str]:
    """Return the rows of the models shown, these models, and where some are left out what the title says of it."""
    every = list(dict.fromkeys(rows["model"]))
    shown = every if models is None else [model for model in models if model in every]
    part = f" ({part_of(len(shown), len(every), table)})" if len(shown) < len(every) else ""
    return rows[rows["model"].isin(shown)], shown, part


def _frame(axes: Axes, points: pd.DataFrame, trust: float) -> None:
    """Give the panel of a model its title and a frame without numbers, which would mean nothing."""
    name = textwrap.fill(f"{points['model'].iloc[0]}, {points['layer'].iloc[0]}", TITLE_CHARACTERS)
    axes.set_title(f"{name}\ntrustworthiness {trust:.2f}, n = {len(points):,}")
    axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    axes.spines[["top", "right"]].set_visible(True)
