"""Figures of the similarity table."""

from __future__ import annotations

from itertools import combinations, combinations_with_replacement

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from featurespace.plots.many import Panel, heatmaps, is_many, part_of, shown_models
from featurespace.plots.style import (
    LAYER_CHARACTERS,
    MOST_BANDS,
    PAGE_MM,
    band_text,
    bars_at,
    control_of,
    controls,
    draw_line,
    label_layers,
    layer_names,
    legend_below,
    mark,
    model_colours,
    new_figure,
    panel_grid,
    styled,
    trained,
)
from featurespace.tables.stores import corresponding_layers

MOST_PAIRED = 4  # models of which a heatmap shows every pair
METRIC_NAMES = {
    "cka_debiased": "linear CKA, debiased",
    "procrustes_distance": "Procrustes distance",
    "mutual_knn": "mutual kNN, k = 10",
}


@styled
def similarity_heatmap(table: pd.DataFrame, layers: pd.DataFrame, *, data: str, metric: str = "cka_debiased") -> Figure:
    """Draw one square a pair of layers and one panel a pair of models, within and between them, on a scale of 0 to 1.

    Values outside the scale take its end colours and keep their value in the table. A pair that the table lacks is
    hatched.
    """
    rows = table[(table["metric"] == metric) & (table["data"] == data)]
    pairs = heatmap_pairs(layers)
    across = _across(len(pairs))
    down, across = panel_grid(len(pairs), across=across)
    # Panels of one architecture share their layer names, which then stand at the left and below only.
    shared = _same_layers(layers)
    names_mm = 4 + 1.15 * min(LAYER_CHARACTERS, layers["layer"].str.len().max())
    side = (PAGE_MM - 16 - (names_mm if shared else names_mm * across)) / across - 6
    figure = new_figure(PAGE_MM, 8 + down * (side + 9) + (names_mm if shared else names_mm * down))
    panels = figure.subplots(down, across, squeeze=False)
    image = None
    for place, (axes, (model_a, model_b)) in enumerate(zip(panels.flat, pairs)):
        names_a, names_b = layer_names(layers, model_a), layer_names(layers, model_b)
        pair = rows[(rows["model_a"] == model_a) & (rows["model_b"] == model_b)]
        matrix = pair.pivot(index="layer_a", columns="layer_b", values="value").reindex(index=names_a, columns=names_b)
        image = _draw_matrix(axes, matrix.to_numpy(float))
        label_layers(axes, names_b, which="x", room_mm=side)
        label_layers(axes, names_a, which="y", room_mm=side)
        if shared:
            is_lowest = place + across >= len(pairs)
            axes.tick_params(labelleft=place % across == 0, labelbottom=is_lowest)
        axes.set(xlabel=model_b, ylabel=model_a)
    for axes in list(panels.flat)[len(pairs) :]:
        axes.set_axis_off()
    n = int(rows["n"].iloc[0]) if len(rows) else 0
    name = METRIC_NAMES.get(metric, metric)
    if image is not None:
        figure.colorbar(image, ax=panels, label=name, shrink=0.6, pad=0.01, aspect=30)
    part = (
        f": {pairs[0][0]} with {part_of(len(pairs), layers['model'].nunique(), 'similarity')}"
        if is_many(layers)
        else ""
    )
    figure.suptitle(f"Similarity of all layers on {data} (n = {n:,} images){part}", fontsize=8, x=0.01, ha="left")
    return figure


def heatmap_pairs(layers: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the pairs of models that a heatmap shows: each two, each with itself, and the first with its control.

    Of more than four models, the first with itself and with each other one; of many, with the first of them.
    """
    models = trained(layers)
    if is_many(layers):
        return [(models[0], model) for model in shown_models(layers)]
    pairs = list(combinations_with_replacement(models if len(models) <= MOST_PAIRED else models[:1], 2))
    pairs += [(models[0], model) for model in models[1:]] if len(models) > MOST_PAIRED else []
    return pairs + [(model, control) for model in models[:1] if (control := control_of(layers, model))]


def _across(count: int) -> int:
    # Panels side by side: as square a block as possible, at most four.
    return min(4, int(np.ceil(np.sqrt(count))))


def _draw_matrix(axes: Axes, matrix: np.ndarray) -> AxesImage:
    image = axes.imshow(matrix, vmin=0, vmax=1, cmap="viridis", origin="lower", aspect="auto", interpolation="nearest")
    axes.set_box_aspect(1)
    for row, column in np.argwhere(np.isnan(matrix)):
        axes.add_patch(
            Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, hatch="////", edgecolor="0.6", linewidth=0)
        )
    axes.spines[:].set_visible(False)
    return image


@styled
def similarity_by_layer(table: pd.DataFrame, layers: pd.DataFrame, *, metric: str = "cka_debiased") -> Figure:
    """Draw the similarity of corresponding layers by depth, with its interval, one panel a data set.

    Two or three models: every pair, and in grey each model against its untrained control. More: the first model
    against each other one, and against the controls of all.
    """
    rows = table[table["metric"] == metric]
    domains = list(dict.fromkeys(rows["data"]))
    if is_many(layers):
        return _with_first(rows, layers, metric)
    down, across = panel_grid(len(domains), across=2)
    figure = new_figure(PAGE_MM if across > 1 else PAGE_MM * 0.6, 12 + 68 * down)
    panels = figure.subplots(down, across, squeeze=False, sharey=True)
    colours = model_colours(layers)
    marks = list(colours)
    for axes, data in zip(panels.flat, domains):
        on_data = rows[rows["data"] == data]
        count = len(trained(layers))  # a line less than that, or of three models three
        first, crowded = trained(layers)[0], len(trained(layers)) > MOST_BANDS
        for number, (model_a, model_b) in enumerate(_shown_pairs(layers)):
            pair = _corresponding(on_data, layers, model_a, model_b)
            is_control = model_b in controls(layers)
            # A pair has the colour and the mark of the model that the first one is compared with; where several are compared
            # with one control, in grey, the mark of the other.
            of = model_b if is_control or model_a == first else first
            draw_line(axes, pair["position"], pair, colour=colours[of], label=f"{model_a} / {model_b}", dashed=is_control,
                      mark=mark(marks.index(model_a if is_control and not crowded else of)), band=not (is_control and crowded),
                      bars_at=None if is_control else bars_at(number, count, pair["position"]))  # fmt: skip
        axes.set_title(f"{data} (n = {on_data['n'].iloc[0]:,}{band_text(on_data, count=count)})")
        _depth_axis(axes, layers)
        axes.grid(axis="y", linewidth=0.3, alpha=0.5)
    for axes in list(panels.flat)[len(domains) :]:
        axes.set_axis_off()
    for axes in panels[:, 0]:
        axes.set_ylabel(METRIC_NAMES.get(metric, metric))
    if metric != "procrustes_distance":
        panels[0, 0].set_ylim(min(-0.02, rows["ci_low"].min(skipna=True) if rows["ci_low"].notna().any() else 0), 1.0)
    legend_below(figure, panels[0, 0])
    return figure


def _with_first(rows: pd.DataFrame, layers: pd.DataFrame, metric: str) -> Figure:
    pairs = _shown_pairs(layers)
    names = layer_names(layers, pairs[0][0]) if _same_layers(layers) else None
    rows = rows[rows["model_a"] == pairs[0][0]]
    panels = [
        Panel(f"{data} (n = {on_data['n'].iloc[0]:,})", names,
              {b: _along(on_data, layers, a, b)["value"].to_numpy(float) for a, b in pairs})
        for data, on_data in rows.groupby("data", sort=False)
    ]  # fmt: skip
    norm = None if metric == "procrustes_distance" else Normalize(0, 1)
    label = f"{METRIC_NAMES.get(metric, metric)}, with {pairs[0][0]}"
    return heatmaps(panels, label=label, apart=len(controls(layers)), norm=norm)


def corresponding_rows(table: pd.DataFrame, layers: pd.DataFrame, *, metric: str = "cka_debiased") -> pd.DataFrame:
    """Return the rows that `similarity_by_layer` shows."""
    rows = table[table["metric"] == metric]
    names = {model: layer_names(layers, model) for model in layers["model"].unique()}
    shown = {(a, b, x, y) for a, b in _shown_pairs(layers) for x, y in corresponding_layers(names[a], names[b])}
    return rows[[each in shown for each in zip(rows["model_a"], rows["model_b"], rows["layer_a"], rows["layer_b"])]]


def _shown_pairs(layers: pd.DataFrame) -> list[tuple[str, str]]:
    models = trained(layers)
    few = len(models) <= 3
    pairs = list(combinations(models, 2)) if few else [(models[0], model) for model in models[1:]]
    if few:
        return pairs + [(model, control) for model in models if (control := control_of(layers, model))]
    of_all = dict.fromkeys(control for model in models if (control := control_of(layers, model)))
    return pairs + [(models[0], control) for control in of_all]


def _along(rows: pd.DataFrame, layers: pd.DataFrame, model_a: str, model_b: str) -> pd.DataFrame:
    pairs = corresponding_layers(layer_names(layers, model_a), layer_names(layers, model_b))
    indexed = rows[(rows["model_a"] == model_a) & (rows["model_b"] == model_b)].set_index(["layer_a", "layer_b"])
    return indexed.reindex(pd.MultiIndex.from_tuples(pairs)).reset_index(drop=True)


def _corresponding(rows: pd.DataFrame, layers: pd.DataFrame, model_a: str, model_b: str) -> pd.DataFrame:
    found = _along(rows, layers, model_a, model_b)
    position = np.arange(len(found), dtype=float)
    return found.assign(position=position if _same_layers(layers) else position / max(1, len(found) - 1))


def _same_layers(layers: pd.DataFrame) -> bool:
    lists = [layer_names(layers, model) for model in dict.fromkeys(layers["model"])]
    return all(each == lists[0] for each in lists)


def _depth_axis(axes: Axes, layers: pd.DataFrame) -> None:
    if _same_layers(layers):
        label_layers(axes, layer_names(layers, layers["model"].iloc[0]), room_mm=PAGE_MM * 0.42)
    else:
        axes.set_xlabel("relative depth (0 = stem, 1 = pooled output)")
